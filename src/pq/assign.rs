//! Assigning codes: the statistics of a batch's scores, and for every group the codeword with the
//! best normalised score.

use super::normalization::{Normalization, Normalizer};
use super::quantized::Codes;
use super::queries::Queries;
use super::score::{Keys, Metric};
use super::statistics::{Moments, statistics};
use crate::error::Error;
use crate::kernels::dispatch::dispatch;
use crate::kernels::panel::{self, MOST_LANES};
use crate::ops::{BatchStatistics, Distinct, Ids};
use crate::parallel::{self, Order, Rows, chunks};
use crate::real::Real;
use crate::tape::Tape;
use crate::tensor::{Buffer, Pool, Tensor};
use fearless_simd::{Simd, prelude::*};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// The distinct ids of a batch, and what their codes depend on besides their queries.
pub(super) struct Scored<T: Real> {
    pub(super) distinct: Distinct,
    pub(super) keys: Keys<T>,
    pub(super) normalizer: Normalizer<T>,
    /// The batch's own statistics, where they normalise the scores.
    pub(super) statistics: Option<BatchStatistics<T>>,
    /// What those came from; `None` where they were added up from the scores.
    pub(super) moments: Option<Moments>,
    /// How many codewords each distinct id chooses from, where not from all; readable in panels.
    pub(super) limits: Option<Buffer<T>>,
}

impl<T: Real> Scored<T> {
    /// For the `ids` of a V x d table of queries and key codewords G x K x s. An id outside the table
    /// is an error that the tape reports. Without ids, or with padding only, there are no statistics of
    /// the batch, and scores stay as they are. `limits` has one number for each row of the table.
    #[expect(clippy::too_many_arguments, reason = "all that codes depend on")]
    pub(super) fn new(
        tape: &Tape<T>,
        metric: Metric,
        normalization: Normalization<'_, T>,
        groups: usize,
        table: &Tensor<T>,
        ids: Ids<'_>,
        codewords: &Tensor<T>,
        limits: Option<&[u32]>,
    ) -> Self {
        let pools = tape.pools();
        let distinct = Distinct::new(tape, ids, table.shape()[0]);
        let queries = Queries::new(table, Some(distinct.live()), groups);
        let keys = Keys::new(&pools.values, metric, codewords);
        let (of_batch, moments) = match normalization {
            Normalization::Batch if queries.len() > 0 || tape.ranks().are_several() => {
                let (of_batch, moments) =
                    statistics(pools, tape.ranks(), queries, &distinct, &keys);
                (Some(of_batch), moments)
            }
            _ => (None, None),
        };
        let used = match normalization {
            Normalization::Running(running) => Some(running),
            _ => of_batch.as_ref(),
        };
        let normalizer = Normalizer::new(&pools.values, keys.sizes().size, used);
        let limits = limits.map(|limits| {
            let mut of_ids = pools.values.take(ids.ids.len() + MOST_LANES);
            of_ids.fill(T::from_usize(keys.sizes().size));
            let pairs = of_ids.iter_mut().zip(&*distinct.ids);
            pairs.for_each(|(limit, &id)| *limit = T::from_usize(limits[id as usize] as usize));
            of_ids
        });
        Scored { distinct, keys, normalizer, statistics: of_batch, moments, limits }
    }

    /// The choice of codes for the distinct ids.
    pub(super) fn choice<'a>(&'a self, table: &'a Tensor<T>, groups: usize) -> Choice<'a, T> {
        let queries = Queries::new(table, Some(&self.distinct.ids), groups);
        Choice {
            limits: self.limits.as_deref(),
            ..Choice::new(queries, &self.keys, &self.normalizer)
        }
    }

    /// The rows that codes stand for, one for each token, or NaN where its id is outside the table.
    pub(super) fn rows(&self, tape: &Tape<T>, values: &Tensor<T>, codes: &Codes) -> Tensor<T> {
        let mut rows = codes.decode(tape, values);
        self.distinct.spoil_outside(&mut rows);
        rows
    }
}

/// Rows whose codes are chosen together, while their queries are in cache.
const ROWS: usize = 64;

/// The choice of codes: what it depends on, and whether it met a NaN.
pub(super) struct Choice<'a, T: Real> {
    pub(super) queries: Queries<'a, T>,
    keys: &'a Keys<T>,
    normalizer: &'a Normalizer<T>,
    /// How many codewords each row chooses from, where not from all.
    limits: Option<&'a [T]>,
    failed: AtomicBool,
}

impl<'a, T: Real> Choice<'a, T> {
    pub(super) fn new(
        queries: Queries<'a, T>,
        keys: &'a Keys<T>,
        normalizer: &'a Normalizer<T>,
    ) -> Self {
        Choice { queries, keys, normalizer, limits: None, failed: AtomicBool::new(false) }
    }

    /// codes\[i, g\] = argmax_j of the normalised scores of row i, the lowest j on ties.
    pub(super) fn choose(&self, pool: &Pool<T>, codes: &mut [u32]) {
        let rows = Rows::new(self.queries.len(), ROWS);
        let pieces = (rows, chunks(codes, ROWS * self.queries.groups));
        parallel::for_each(Order::Backward, pieces, |_, (rows, codes)| {
            self.choose_rows(pool, rows, codes, |_, _| ());
        });
    }

    /// [`choose`](Self::choose) for some rows; calls `then(rows, codes)` after each block of at most
    /// [`ROWS`] rows, while their queries are in cache.
    pub(super) fn choose_rows(
        &self,
        pool: &Pool<T>,
        rows: Range<usize>,
        codes: &mut [u32],
        mut then: impl FnMut(Range<usize>, &[u32]),
    ) {
        let mut q = pool.take(ROWS * self.queries.tile_width());
        let mut scores = pool.take(self.keys.sizes().size * T::LANES);
        let codes = codes.chunks_mut(ROWS * self.queries.groups);
        for (first, codes) in rows.clone().step_by(ROWS).zip(codes) {
            let rows = first..rows.end.min(first + ROWS);
            let (rows_of_block, q, scores) = (rows.clone(), &mut q[..], &mut scores[..]);
            match self.limits {
                None => {
                    dispatch!(|simd| self.choose_block(simd, rows_of_block, &[], q, scores, codes))
                }
                Some(limits) => dispatch!(|simd| self.choose_block(
                    simd,
                    rows_of_block,
                    limits,
                    q,
                    scores,
                    codes
                )),
            }
            then(rows, codes);
        }
    }

    /// The codes of at most [`ROWS`] rows, where there are `limits` within them. `q` is room for their
    /// queries in a tile of groups, `scores` for the scores of a panel.
    #[inline(always)]
    fn choose_block<S: Simd>(
        &self,
        simd: S,
        rows: Range<usize>,
        limits: &[T],
        q: &mut [T],
        scores: &mut [T],
        codes: &mut [u32],
    ) {
        let (groups, s) = (self.queries.groups, self.queries.group_width());
        for tile in self.queries.tiles() {
            let columns = tile.len() * s;
            self.queries.panels(simd, rows.clone(), tile.clone(), q);
            for (g, at) in tile.zip((0..columns).step_by(s)) {
                for (p, tokens) in panel::tokens::<T>(0..rows.len()).enumerate() {
                    let q = &mut q[(p * columns + at) * T::LANES..][..s * T::LANES];
                    let (code, failed) = match limits {
                        [] => self.choose_panel::<S, false>(simd, g, q, &[], scores),
                        limits => {
                            let limits = &limits[rows.start + tokens.start..][..T::LANES];
                            self.choose_panel::<S, true>(simd, g, q, limits, scores)
                        }
                    };
                    if failed & ((1 << tokens.len()) - 1) != 0 {
                        self.failed.store(true, Ordering::Relaxed);
                    }
                    for (row, code) in tokens.zip(code.as_slice()) {
                        codes[row * groups + g] = code.to_u32();
                    }
                }
            }
        }
    }

    /// argmax_j of the normalised scores of every token of a panel, the first of equals; and a bit
    /// for every token that has a NaN among its scores, or none above minus infinity, whose code is
    /// then 0. If `LIMITED`, each token only considers as many codewords as `limits` says.
    #[inline(always)]
    fn choose_panel<S: Simd, const LIMITED: bool>(
        &self,
        simd: S,
        g: usize,
        queries: &mut [T],
        limits: &[T],
        scores: &mut [T],
    ) -> (T::Wide<S>, u64) {
        let lowest = T::Wide::<S>::splat(simd, -T::ONE / T::ZERO);
        let zero = T::Wide::<S>::splat(simd, T::ZERO);
        let limits = if LIMITED { T::Wide::<S>::from_slice(simd, limits) } else { zero };
        let (mut best, mut code, mut number, mut sum) = (lowest, zero, zero, zero);
        let (means, reciprocals) = (&*self.normalizer.means, &*self.normalizer.reciprocals);
        self.keys.scores_with(
            simd,
            g,
            queries,
            scores,
            #[inline(always)]
            |j, score: T::Wide<S>| {
                let score = (score - means[j]) * reciprocals[j];
                sum += score;
                // Before the comparison and not after: only `max` then waits for the codeword before.
                let score =
                    if LIMITED { number.simd_lt(limits).select(score, lowest) } else { score };
                code = score.simd_gt(best).select(number, code);
                best = best.max(score);
                number += T::Wide::<S>::splat(simd, T::ONE);
                score
            },
        );
        // A NaN makes the sum one.
        let failed = sum.simd_ne(sum) | best.simd_eq(lowest);
        (failed.select(zero, code), failed.to_bitmask())
    }

    /// # Errors
    /// [`Error::NotFinite`] if a score was NaN.
    pub(super) fn check(self) -> Result<(), Error> {
        if self.failed.into_inner() {
            return Err(Error::NotFinite { what: "a score".into(), value: f64::NAN });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pq::score::scores;
    use crate::tape::Pools;
    use crate::tensor::Tensor;

    fn wave(shape: &[usize], k: f32) -> Tensor<f32> {
        Tensor::from_fn(shape, |i| ((i as f32 + 1.0) * k).sin())
    }

    #[test]
    fn chosen_codes_are_the_argmax_of_the_scores_wherever_the_row_stands() {
        let pools = Pools::default();
        let (n, groups, s, k) = (300, 3, 5, 21);
        let (queries, codewords) = (wave(&[n, groups * s], 0.37), wave(&[groups, k, s], 1.3));
        for metric in [Metric::Dot, Metric::SquaredDistance] {
            let keys = Keys::new(&pools.values, metric, &codewords);
            let normalizer = Normalizer::new(&pools.values, k, None);
            let choose = |ids: Option<&[u32]>| {
                let queries = Queries::new(&queries, ids, groups);
                let mut codes = vec![0; queries.len() * groups];
                let choice = Choice::new(queries, &keys, &normalizer);
                choice.choose(&pools.values, &mut codes);
                choice.check().expect("finite scores");
                codes
            };
            let tape = crate::Tape::new();
            let q = tape.constant(queries.clone().reshape([n, groups, s]));
            let expected = scores(metric, q, tape.constant(codewords.clone())).argmax();
            assert_eq!(choose(None), expected);
            assert_eq!(choose(Some(&[7, 299])), [&expected[21..24], &expected[897..900]].concat());
        }
    }

    #[test]
    fn a_nan_query_is_reported_and_ties_go_to_the_lowest() {
        let pools = Pools::default();
        let codewords = Tensor::from([[[1.0_f32], [2.0], [2.0]]]);
        let keys = Keys::new(&pools.values, Metric::Dot, &codewords);
        let normalizer = Normalizer::new(&pools.values, 3, None);
        let mut codes = [9; 2];
        let mut run = |x: f32| {
            let queries = Tensor::from([[x, 1.0]]);
            let choice = Choice::new(Queries::new(&queries, None, 2), &keys, &normalizer);
            choice.choose(&pools.values, &mut codes);
            choice.check()
        };
        assert!(run(3.0).is_ok());
        assert!(run(f32::NAN).is_err());
        assert_eq!(codes, [0, 1]);
    }

    #[test]
    fn codes_and_scores_are_the_same_bits_on_every_instruction_set() {
        use crate::kernels::dispatch::levels::at_each;
        use crate::pq::normalization::batch_statistics;
        for (groups, s, k) in [(3, 5, 21), (2, 8, 32), (4, 13, 70)] {
            for kind in [Metric::Dot, Metric::SquaredDistance] {
                let n = 210;
                let (table, codewords) = (wave(&[n, groups * s], 0.37), wave(&[groups, k, s], 1.3));
                let statistics = batch_statistics(
                    Tensor::from_fn([k], |j| (j as f32).sin()),
                    Tensor::from_fn([k], |j| 1.0 + 0.5 * (j as f32).cos()),
                );
                let found = at_each(|| {
                    let pools = Pools::default();
                    let keys = Keys::new(&pools.values, kind, &codewords);
                    let normalizer = Normalizer::new(&pools.values, k, Some(&statistics));
                    let mut codes = vec![0; n * groups];
                    let queries = Queries::new(&table, None, groups);
                    let choice = Choice::new(queries, &keys, &normalizer);
                    choice.choose(&pools.values, &mut codes);
                    choice.check().expect("finite scores");
                    let tape = crate::Tape::new();
                    let q = tape.constant(table.clone().reshape([n, groups, s]));
                    let r = scores(kind, q, tape.constant(codewords.clone())).value();
                    (codes, r.data().iter().map(|r| r.to_bits()).collect::<Vec<_>>())
                });
                for (level, result) in &found[1..] {
                    assert_eq!(*result, found[0].1, "{level} and {}", found[0].0);
                }
                #[cfg(target_arch = "x86_64")]
                {
                    let has = [
                        is_x86_feature_detected!("sse2"),
                        is_x86_feature_detected!("avx2"),
                        crate::kernels::dispatch::level().as_avx512().is_some(),
                    ];
                    let names: Vec<_> = found.iter().map(|(level, _)| level).collect();
                    assert_eq!(names.len(), has.iter().filter(|&&has| has).count(), "{names:?}");
                }
            }
        }
    }
}
