//! The forward pass: codes, the rows that they stand for, and the entropy term.

use super::logits::Logits;
use crate::error::Error;
use crate::kernels::dispatch::dispatch;
use crate::kernels::panel::{self, MOST_LANES};
use crate::ops::Ids;
use crate::pq::assign::Scored;
use crate::pq::composed;
use crate::pq::config::DpqConfig;
use crate::pq::normalization::Normalization;
use crate::pq::quantized::{Codes, Options, Quantized, assert_shapes};
use crate::pq::queries::Queries;
use crate::pq::score::Metric;
use crate::real::Real;
use crate::tape::{Pools, Tape, Var};
use crate::tensor::Tensor;
use fearless_simd::{Simd, prelude::*};
use std::ops::Range;
use std::sync::Arc;

/// Added to p before its logarithm is taken.
pub(super) const TINY: f64 = 1e-10;

/// The softmax form for `ids` of the V x d table `queries`, keys and values G x K x s. Of the configuration
/// it follows the sizes, the start of the temperature and beta; its scores are dot products, and the rest is
/// what a [`Quantizer`](crate::pq::Quantizer) adds.
///
/// Positions that hold the [padding id](Ids) get its row, and take no part in statistics, regulariser
/// and gradients. Without any other ids there are no statistics, and the regulariser is 0.
///
/// A NaN score, or an id outside the table, is an error that the tape reports.
///
/// # Panics
/// If the shapes do not fit the configuration.
#[track_caller]
pub fn sx<'t, 'i, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    queries: Var<'t, T>,
    ids: impl Into<Ids<'i>>,
    keys: Var<'t, T>,
    values: Var<'t, T>,
) -> Quantized<'t, T> {
    sx_with(config, normalization, queries, ids, keys, values, Options::default())
}

/// [`sx`] with options. A temperature that is not positive is an error that the tape reports.
///
/// # Panics
/// If the shapes do not fit the configuration, or the options not the queries and ids.
#[track_caller]
pub fn sx_with<'t, 'i, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    queries: Var<'t, T>,
    ids: impl Into<Ids<'i>>,
    keys: Var<'t, T>,
    values: Var<'t, T>,
    options: Options<'_, 't, T>,
) -> Quantized<'t, T> {
    let (tape, ids) = (queries.tape(), ids.into());
    // Here and not further in, where the caller's line is not known any more.
    let (table, books) = (queries.value(), [&keys.value(), &values.value()]);
    assert_shapes("sx", config, normalization, (&table, ids.ids.len()), &books, options);
    let form = |normalization: Normalization<'_, T>, q, options: Options<'_, 't, T>| {
        composed::sx_with(config, normalization, q, keys, values, options)
    };
    let composed = || composed::of_ids(normalization, queries, ids, options, form);
    tape.fused(composed, || forward(config, normalization, [queries, keys, values], ids, options))
}

fn forward<'t, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    inputs: [Var<'t, T>; 3],
    ids: Ids<'_>,
    options: Options<'_, 't, T>,
) -> Quantized<'t, T> {
    let (tape, [table, keys, values]) = (inputs[0].tape(), inputs.map(|x| x.value()));
    let (groups, pools, limits) = (config.groups, tape.pools(), options.limits);
    let temperature = temperature(tape, config, options.temperature);
    let scored = Scored::new(tape, Metric::Dot, normalization, groups, &table, ids, &keys, limits);
    let mut codes = scored.distinct.room(&pools.ids, scored.distinct.ids.len(), groups);
    let choice = scored.choice(&table, groups);
    choice.choose(&pools.values, &mut codes);
    let checked = choice.check();
    let codes = Codes::new(Arc::new(codes), Some(scored.distinct.slots.clone()), groups);
    let learns_temperature = options.temperature.is_some();
    let mut op = Sx { config: *config, temperature, learns_temperature, scored, codes };
    if let Some(draws) = options.draws {
        let sampled = op.sample(pools, &table, &keys, draws);
        op.codes = Codes::new(Arc::new(sampled), None, groups);
    }
    let mut y = op.scored.rows(tape, &values, &op.codes);
    if let Err(fault) = checked {
        tape.fail(fault);
        y.data_mut().fill(T::NAN);
    }
    let (statistics, codes) = (op.scored.statistics.clone(), op.codes.clone());
    let inputs: Vec<Var<'t, T>> = inputs.into_iter().chain(options.temperature).collect();
    if config.beta == 0.0 {
        let [rows] = tape.record(op, &inputs, [y]);
        return Quantized { rows, codes, regulariser: None, statistics };
    }
    let entropy = Tensor::scalar(T::from_f64(op.entropy_term(pools, &table, &keys)));
    let [rows, regulariser] = tape.record(op, &inputs, [y, entropy]);
    Quantized { rows, codes, regulariser: Some(regulariser), statistics }
}

/// tau: the configuration's, or the one that was given. If that cannot be, the tape fails, and tau is
/// 1.
fn temperature<T: Real>(tape: &Tape<T>, config: &DpqConfig, given: Option<Var<'_, T>>) -> f64 {
    let Some(given) = given else { return config.temperature.start() };
    let (value, tau) = (given.value(), given.value().data()[0].to_f64());
    if value.data()[0] > T::ZERO && tau.is_finite() {
        return tau;
    }
    let (value, expected) = (tau.to_string(), "a positive number".into());
    tape.fail(Error::Config { name: "temperature", value, expected });
    1.0
}

/// What the backward pass needs of the forward pass.
pub(super) struct Sx<T: Real> {
    pub(super) config: DpqConfig,
    /// tau
    pub(super) temperature: f64,
    /// Whether that is the fourth input.
    pub(super) learns_temperature: bool,
    pub(super) scored: Scored<T>,
    /// Common to the tokens with the same id, unless they are sampled.
    pub(super) codes: Codes,
}

impl<T: Real> Sx<T> {
    /// The queries of the distinct ids that are not padding.
    pub(super) fn queries<'a>(&'a self, table: &'a Tensor<T>) -> Queries<'a, T> {
        Queries::new(table, Some(self.scored.distinct.live()), self.config.groups)
    }

    /// What p is the softmax of.
    pub(super) fn logits(&self, pools: &Pools<T>, keys: &Tensor<T>) -> Logits<T> {
        Logits::new(&pools.values, keys, &self.scored.normalizer, self.temperature)
    }

    /// How many codewords the ids of a panel choose from; nothing where from all.
    #[inline(always)]
    pub(super) fn limits(&self, ids: Range<usize>) -> &[T] {
        self.scored.limits.as_deref().map_or(&[], |limits| &limits[ids.start..][..T::LANES])
    }

    /// N = n D, the parts of tokens that means are taken over; 1 where there are none, whose mean
    /// counts as 0.
    pub(super) fn parts(&self) -> usize {
        (self.scored.distinct.total() * self.config.groups).max(1)
    }

    /// - beta / N times the sum over tokens and groups of log(p\[code\] + 1e-10).
    fn entropy_term(&self, pools: &Pools<T>, table: &Tensor<T>, keys: &Tensor<T>) -> f64 {
        let (queries, sizes) = (self.queries(table), self.scored.keys.sizes());
        let logits = self.logits(pools, keys);
        let [mut q, mut p] = [sizes.width, sizes.size].map(|n| pools.values.take(n * T::LANES));
        let mut totals = [T::ZERO; MOST_LANES];
        let mut sum = 0.0;
        for tokens in panel::tokens::<T>(0..queries.len()) {
            for g in 0..queries.groups {
                let (tokens_of_panel, totals) = (tokens.clone(), &mut totals[..T::LANES]);
                let limits = self.limits(tokens.clone());
                dispatch!(|simd| powers_of_part(
                    simd,
                    &logits,
                    queries,
                    tokens_of_panel,
                    g,
                    limits,
                    &mut q,
                    &mut p,
                    totals
                ));
                let log_p = |lane: usize, code: u32| {
                    let p = p[code as usize * T::LANES + lane] / totals[lane];
                    (p.to_f64() + TINY).ln()
                };
                for (lane, u) in tokens.clone().enumerate() {
                    let positions = self.scored.distinct.positions(u);
                    sum += match self.codes.common(u) {
                        Some(codes) => positions.len() as f64 * log_p(lane, codes[g]),
                        None => {
                            let of = |&i: &u32| log_p(lane, self.codes.of(i as usize)[g]);
                            positions.iter().map(of).sum()
                        }
                    };
                }
            }
        }
        -self.config.beta * sum / self.parts() as f64
    }
}

/// The [powers](Logits::powers) e of a panel of tokens in group g, and their sums; `q` is room for
/// the tokens' queries.
#[expect(clippy::too_many_arguments, reason = "what is read, and three results")]
#[inline(always)]
fn powers_of_part<S: Simd, T: Real>(
    simd: S,
    logits: &Logits<T>,
    queries: Queries<'_, T>,
    tokens: Range<usize>,
    g: usize,
    limits: &[T],
    q: &mut [T],
    e: &mut [T],
    totals: &mut [T],
) {
    queries.panels(simd, tokens, g..g + 1, q);
    logits.powers(simd, g, q, limits, e).store_slice(totals);
}
