//! Both forms written from primitive ops: the definition in code, and the oracle of the fused ops.
//!
//! Everything here is as the formulae of [`pq`](super) say it, and holds n x D x K elements. The
//! fused ops compute the same without.

use super::codebook::Sizes;
use super::config::DpqConfig;
use super::normalization::{BATCH_NORM_EPS, Normalization};
use super::quantized::Quantized;
use super::score::{Score, scores};
use crate::ops::{BatchStatistics, Ids, concat, one_hot};
use crate::real::Real;
use crate::tape::Var;

/// Scores, normalised, n D x K.
fn normalized<'t, T: Real>(
    score: Score,
    normalization: Normalization<'_, T>,
    q: Var<'t, T>,
    keys: Var<'t, T>,
) -> (Var<'t, T>, Option<BatchStatistics<T>>) {
    let r = scores(score, q, keys);
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

/// The softmax form: queries `q` n x d, keys and values G x K x s. Also returns code\[i, g\].
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
) -> (Quantized<'t, T>, Vec<u32>) {
    let (n, d, k) = (q.shape()[0], q.shape()[1], config.codebook_size);
    let (groups, s) = (config.groups, d / config.groups);
    let (rh, statistics) = normalized(Score::Dot, normalization, q.reshape([n, groups, s]), keys);
    let codes = rh.argmax();
    let p = (rh * T::from_f64(1.0 / config.temperature)).softmax();
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
    (Quantized { rows, regulariser: (config.beta > 0.0).then(entropy), statistics }, codes)
}

/// The centroid form: queries `q` n x d, one codebook G x K x s for keys and values. Also returns
/// code\[i, g\].
///
/// # Panics
/// If the shapes do not fit the configuration.
#[track_caller]
pub fn vq<'t, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    q: Var<'t, T>,
    codebook: Var<'t, T>,
) -> (Quantized<'t, T>, Vec<u32>) {
    let (n, d) = (q.shape()[0], q.shape()[1]);
    let (groups, s) = (config.groups, d / config.groups);
    let grouped = q.stop_gradient().reshape([n, groups, s]);
    let keys = codebook.stop_gradient();
    let (rh, statistics) = normalized(Score::SquaredDistance, normalization, grouped, keys);
    let codes = rh.argmax();

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
    let mut regulariser = distance(chosen, q.stop_gradient());
    if config.beta > 0.0 {
        regulariser = regulariser + distance(chosen.stop_gradient(), q) * T::from_f64(config.beta);
    }
    (Quantized { rows, regulariser: Some(regulariser), statistics }, codes)
}

/// What `form`, one of the above, gives for the `ids` of a table of queries, padding excluded from
/// statistics, means and gradients: the rows of padding come from a call of its own, by the statistics
/// of the others.
pub fn of_ids<'t, T: Real>(
    normalization: Normalization<'_, T>,
    queries: Var<'t, T>,
    ids: Ids<'_>,
    form: impl Fn(Normalization<'_, T>, Var<'t, T>) -> Quantized<'t, T>,
) -> Quantized<'t, T> {
    let positions = || 0..ids.ids.len();
    let is_padding = |i: &usize| Some(ids.ids[*i]) == ids.padding;
    let (padding, live): (Vec<usize>, Vec<usize>) = positions().partition(is_padding);
    let of = |positions: &[usize]| positions.iter().map(|&i| ids.ids[i]).collect::<Vec<u32>>();
    let quantized = form(normalization, queries.gather_rows(&of(&live)));
    if padding.is_empty() {
        return quantized;
    }
    let normalization = match (normalization, &quantized.statistics) {
        (Normalization::Batch, None) => Normalization::Off,
        (Normalization::Batch, Some(statistics)) => Normalization::Running(statistics),
        (other, _) => other,
    };
    let of_padding = form(normalization, queries.stop_gradient().gather_rows(&of(&padding)));
    let rows = concat(&[quantized.rows, of_padding.rows.stop_gradient()], 0);
    // Where each position's row stands among those of `live` and then `padding`.
    let mut places = vec![0; ids.ids.len()];
    live.iter().chain(&padding).zip(0..).for_each(|(&i, place)| places[i] = place);
    Quantized { rows: rows.gather_rows(&places), ..quantized }
}
