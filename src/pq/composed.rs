//! Both forms written from primitive ops: the definition in code, and the oracle of the fused ops.
//!
//! Everything here is as the formulae of [`pq`](super) say it, and holds n x D x K elements. The
//! fused ops compute the same without.

use super::codebook::Sizes;
use super::config::DpqConfig;
use super::normalization::{BATCH_NORM_EPS, Normalization};
use super::quantized::{Codes, Options, Quantized};
use super::score::{Metric, scores};
use crate::error::Error;
use crate::ops::{BatchStatistics, Ids, concat, one_hot};
use crate::real::Real;
use crate::tape::Var;
use crate::tensor::{Buffer, Tensor};
use std::sync::Arc;

/// Scores, normalised, n D x K.
fn normalized<'t, T: Real>(
    metric: Metric,
    normalization: Normalization<'_, T>,
    q: Var<'t, T>,
    keys: Var<'t, T>,
) -> (Var<'t, T>, Option<BatchStatistics<T>>) {
    let r = scores(metric, q, keys);
    let (rows, k) = r.shape().as_matrix();
    let r = r.reshape([rows, k]);
    match normalization {
        Normalization::Batch if rows > 0 => {
            let (rh, statistics) = r.batch_norm(BATCH_NORM_EPS);
            (rh, Some(statistics))
        }
        Normalization::Running(statistics) => (r.normalize(statistics), None),
        _ => (r, None),
    }
}

/// The softmax form: queries `q` n x d, keys and values G x K x s.
///
/// # Panics
/// If the shapes do not fit the configuration.
#[track_caller]
pub fn sx<'t, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    q: Var<'t, T>,
    keys: Var<'t, T>,
    values: Var<'t, T>,
) -> Quantized<'t, T> {
    sx_with(config, normalization, q, keys, values, Options::default())
}

/// [`sx()`] with options, whose limits are those of each token.
///
/// # Panics
/// If the shapes do not fit the configuration.
#[track_caller]
pub fn sx_with<'t, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    q: Var<'t, T>,
    keys: Var<'t, T>,
    values: Var<'t, T>,
    options: Options<'_, 't, T>,
) -> Quantized<'t, T> {
    let (n, d, k) = (q.shape()[0], q.shape()[1], config.codebook_size);
    let (groups, s) = (config.groups, d / config.groups);
    let (rh, statistics) = normalized(Metric::Dot, normalization, q.reshape([n, groups, s]), keys);
    let logits = match options.temperature {
        Some(temperature) => rh / temperature.reshape([1]),
        None => rh * T::from_f64(1.0 / config.temperature.start()),
    };
    let p = match options.limits {
        Some(limits) => logits.masked_softmax(&allowed(limits, groups, k)),
        None => logits.softmax(),
    };
    let codes = match options.draws {
        Some(draws) => sampled(p, draws),
        None => best(rh, options.limits, groups),
    };
    let w = p.straight_through(one_hot(&codes, k));

    let w3 = w.reshape([n, groups, k]);
    let sizes = Sizes::of(values.shape());
    let group = |g: usize| {
        let book = sizes.book(g);
        let values = values.slice(0, book..book + 1).reshape([k, s]);
        w3.slice(1, g..g + 1).reshape([n, k]).matmul(values)
    };
    let rows = concat(&(0..groups).map(group).collect::<Vec<_>>(), 1);
    let entropy = || {
        let log_p = (p + T::from_f64(1e-10)).ln();
        (w * log_p).sum() * T::from_f64(-config.beta / (n * groups).max(1) as f64)
    };
    let regulariser = (config.beta > 0.0).then(entropy);
    Quantized { rows, codes: own(codes, groups), regulariser, statistics }
}

/// Ones where a token may choose a codeword, n D x K.
pub(super) fn allowed<T: Real>(limits: &[u32], groups: usize, k: usize) -> Tensor<T> {
    let inside = |i: usize| i % k < limits[i / k / groups] as usize;
    let one = |i| if inside(i) { T::ONE } else { T::ZERO };
    Tensor::from_fn([limits.len() * groups, k], one)
}

/// The best of the scores n D x K that each token may choose.
fn best<T: Real>(rh: Var<'_, T>, limits: Option<&[u32]>, groups: usize) -> Vec<u32> {
    let Some(limits) = limits else { return rh.argmax() };
    let lowest = -T::ONE / T::ZERO;
    let allowed = allowed::<T>(limits, groups, rh.shape()[1]);
    let off = |i: usize| if allowed.data()[i] == T::ONE { T::ZERO } else { lowest };
    (rh + rh.tape().constant(Tensor::from_fn(allowed.shape(), off))).argmax()
}

/// For every row of p the first j for which p\[0\] + ... + p\[j\] is above its draw.
fn sampled<T: Real>(p: Var<'_, T>, draws: &Tensor<T>) -> Vec<u32> {
    let (tape, p) = (p.tape(), p.value());
    tape.freeze("sample", &[draws.data().len()], || {
        let mut codes = Vec::with_capacity(draws.data().len());
        for (p, &draw) in p.rows().zip(draws.data()) {
            let total = p.iter().fold(T::ZERO, |sum, &p| sum + p);
            if total.to_f64().is_nan() {
                tape.fail(Error::NotFinite { what: "a score".into(), value: f64::NAN });
            }
            let mut sum = T::ZERO;
            let passed = |p: &&T| {
                sum += **p;
                sum <= draw * total
            };
            codes.push(p.iter().take_while(passed).count().min(p.len() - 1) as u32);
        }
        codes
    })
}

/// Codes of tokens that each have their own.
fn own(codes: Vec<u32>, groups: usize) -> Codes {
    Codes::new(Arc::new(Buffer::from(codes)), None, groups)
}

/// The centroid form: queries `q` n x d, one codebook G x K x s for keys and values.
///
/// # Panics
/// If the shapes do not fit the configuration.
#[track_caller]
pub fn vq<'t, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    q: Var<'t, T>,
    codebook: Var<'t, T>,
) -> Quantized<'t, T> {
    vq_with(config, normalization, q, codebook, Options::default())
}

/// [`vq()`] with options, whose limits are those of each token.
///
/// # Panics
/// If the shapes do not fit the configuration.
#[track_caller]
pub fn vq_with<'t, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    q: Var<'t, T>,
    codebook: Var<'t, T>,
    options: Options<'_, 't, T>,
) -> Quantized<'t, T> {
    let (n, d) = (q.shape()[0], q.shape()[1]);
    let (groups, s) = (config.groups, d / config.groups);
    let grouped = q.stop_gradient().reshape([n, groups, s]);
    let keys = codebook.stop_gradient();
    let (rh, statistics) = normalized(Metric::SquaredDistance, normalization, grouped, keys);
    let codes = best(rh, options.limits, groups);

    let sizes = Sizes::of(codebook.shape());
    let codeword = |(i, &code)| sizes.codeword(i % groups, code as usize) as u32;
    let codewords: Vec<u32> = codes.iter().enumerate().map(codeword).collect();
    let all = codebook.reshape([sizes.books * sizes.size, s]);
    let chosen = all.gather_rows(&codewords).reshape([n, d]);
    let rows = q.straight_through(chosen.value());
    let distance = |a: Var<'t, T>, b: Var<'t, T>| {
        let difference = a - b;
        let squares = difference * difference;
        // The mean of nothing counts as 0.
        if n == 0 { squares.sum() } else { squares.mean() }
    };
    let codebook_term = || distance(chosen, q.stop_gradient());
    let commitment = || distance(chosen.stop_gradient(), q) * T::from_f64(config.beta);
    let regulariser = match (options.still_codebook, config.beta > 0.0) {
        (false, false) => Some(codebook_term()),
        (false, true) => Some(codebook_term() + commitment()),
        (true, true) => Some(commitment()),
        (true, false) => None,
    };
    Quantized { rows, codes: own(codes, groups), regulariser, statistics }
}

/// What `form`, one of the above, gives for the `ids` of a table of queries, padding excluded from
/// statistics, means and gradients: the rows of padding come from a call of its own, by the statistics
/// of the others. `form` gets the queries of some tokens, with the options for each of them.
pub fn of_ids<'t, T: Real>(
    normalization: Normalization<'_, T>,
    queries: Var<'t, T>,
    ids: Ids<'_>,
    options: Options<'_, 't, T>,
    form: impl Fn(Normalization<'_, T>, Var<'t, T>, Options<'_, 't, T>) -> Quantized<'t, T>,
) -> Quantized<'t, T> {
    let positions = || 0..ids.ids.len();
    let is_padding = |i: &usize| Some(ids.ids[*i]) == ids.padding;
    let (padding, live): (Vec<usize>, Vec<usize>) = positions().partition(is_padding);
    let of = |positions: &[usize]| positions.iter().map(|&i| ids.ids[i]).collect::<Vec<u32>>();
    let form = |normalization: Normalization<'_, T>, queries: Var<'t, T>, positions: &[usize]| {
        let draws = options.draws.map(|draws| {
            let (all, groups) = (draws.data(), draws.shape()[1]);
            let draw = |i: usize| all[positions[i / groups] * groups + i % groups];
            Tensor::from_fn([positions.len(), groups], draw)
        });
        let limits = options.limits.map(|limits| {
            // An id outside the table is reported by the lookup of its row.
            let limit = |&id: &u32| limits.get(id as usize).copied().unwrap_or(1);
            of(positions).iter().map(limit).collect::<Vec<u32>>()
        });
        let options = Options { draws: draws.as_ref(), limits: limits.as_deref(), ..options };
        form(normalization, queries.gather_rows(&of(positions)), options)
    };
    let quantized = form(normalization, queries, &live);
    if padding.is_empty() {
        return quantized;
    }
    let normalization = match (normalization, &quantized.statistics) {
        (Normalization::Batch, None) => Normalization::Off,
        (Normalization::Batch, Some(statistics)) => Normalization::Running(statistics),
        (other, _) => other,
    };
    let of_padding = form(normalization, queries.stop_gradient(), &padding);
    let rows = concat(&[quantized.rows, of_padding.rows.stop_gradient()], 0);
    // Where each position's row stands among those of `live` and then `padding`.
    let groups = quantized.codes.groups();
    let mut places = vec![0; ids.ids.len()];
    live.iter().chain(&padding).zip(0..).for_each(|(&i, place)| places[i] = place);
    let all = [quantized.codes.to_vec(), of_padding.codes.to_vec()].concat();
    let codes = Codes::new(Arc::new(all.into()), Some(Arc::new(places.clone().into())), groups);
    Quantized { rows: rows.gather_rows(&places), codes, ..quantized }
}
