//! The forward pass: codes, the rows that they stand for, and the entropy term.

use super::logits::Logits;
use crate::kernels::dispatch::dispatch;
use crate::kernels::panel::{self, MOST_LANES};
use crate::ops::Ids;
use crate::pq::assign::Scored;
use crate::pq::composed;
use crate::pq::config::DpqConfig;
use crate::pq::normalization::Normalization;
use crate::pq::quantized::{Quantized, assert_shapes};
use crate::pq::queries::Queries;
use crate::pq::score::Score;
use crate::real::Real;
use crate::tape::{Pools, Var};
use crate::tensor::{Buffer, Tensor};
use fearless_simd::{Simd, prelude::*};
use std::ops::Range;

/// Added to p before its logarithm is taken.
pub(super) const TINY: f64 = 1e-10;

/// The softmax form for `ids` of the V x d table `queries`, keys and values G x K x s.
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
    let (tape, ids) = (queries.tape(), ids.into());
    // Here and not further in, where the caller's line is not known any more.
    assert_shapes("sx", config, normalization, &queries.value(), &[&keys.value(), &values.value()]);
    let form = |normalization: Normalization<'_, T>, q| {
        composed::sx(config, normalization, q, keys, values).0
    };
    let composed = || composed::of_ids(normalization, queries, ids, form);
    tape.fused(composed, || forward(config, normalization, queries, ids, keys, values))
}

fn forward<'t, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    queries: Var<'t, T>,
    ids: Ids<'_>,
    keys: Var<'t, T>,
    values: Var<'t, T>,
) -> Quantized<'t, T> {
    let (tape, table, keys_v, values_v) =
        (queries.tape(), queries.value(), keys.value(), values.value());
    let (groups, pools) = (config.groups, tape.pools());
    let scored = Scored::new(tape, Score::Dot, normalization, groups, &table, ids, &keys_v);
    let mut codes = scored.distinct.room(&pools.ids, scored.distinct.ids.len(), groups);
    let choice = scored.choice(&table, groups);
    choice.choose(&pools.values, &mut codes);
    let checked = choice.check();
    let mut y = scored.rows(tape, &values_v, groups, &codes);
    if let Err(fault) = checked {
        tape.fail(fault);
        y.data_mut().fill(T::NAN);
    }
    let (op, inputs) = (Sx { config: *config, scored, codes }, [queries, keys, values]);
    let statistics = op.scored.statistics.clone();
    if config.beta == 0.0 {
        let [rows] = tape.record(op, &inputs, [y]);
        return Quantized { rows, regulariser: None, statistics };
    }
    let entropy = Tensor::scalar(T::from_f64(op.entropy_term(pools, &table, &keys_v)));
    let [rows, regulariser] = tape.record(op, &inputs, [y, entropy]);
    Quantized { rows, regulariser: Some(regulariser), statistics }
}

/// What the backward pass needs of the forward pass.
pub(super) struct Sx<T: Real> {
    pub(super) config: DpqConfig,
    pub(super) scored: Scored<T>,
    /// Of the distinct ids, u x D, padding last.
    pub(super) codes: Buffer<u32>,
}

impl<T: Real> Sx<T> {
    /// The queries of the distinct ids that are not padding.
    pub(super) fn queries<'a>(&'a self, table: &'a Tensor<T>) -> Queries<'a, T> {
        Queries::new(table, Some(self.scored.distinct.live()), self.config.groups)
    }

    /// The code of distinct id u in group g.
    #[inline(always)]
    pub(super) fn code(&self, u: usize, g: usize) -> usize {
        self.codes[u * self.config.groups + g] as usize
    }

    /// What p is the softmax of.
    pub(super) fn logits(&self, pools: &Pools<T>, keys: &Tensor<T>) -> Logits<T> {
        Logits::new(&pools.values, keys, &self.scored.normalizer, self.config.temperature)
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
                dispatch!(|simd| powers_of_part(
                    simd,
                    &logits,
                    queries,
                    tokens_of_panel,
                    g,
                    &mut q,
                    &mut p,
                    totals
                ));
                for (lane, u) in tokens.clone().enumerate() {
                    let p = p[self.code(u, g) * T::LANES + lane] / totals[lane];
                    sum += self.scored.distinct.count(u) as f64 * (p.to_f64() + TINY).ln();
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
    q: &mut [T],
    e: &mut [T],
    totals: &mut [T],
) {
    queries.panels(simd, tokens, g..g + 1, q);
    logits.powers(simd, g, q, e).store_slice(totals);
}
