//! Mean and variance of every codeword's scores, over all tokens and all groups.
//!
//! The scores of a group are linear (SX) or quadratic (VQ) in the query, so their statistics follow
//! from the queries' moments, in O(n d s) instead of O(n d K) and without a single score. The moments
//! are taken about a point near the mean, or f32 would cancel: of q' = q - centre, and for VQ of
//! b = ||q'||^2. From the moments of a group follow m\[g, j\] and v\[g, j\], mean and variance of its
//! scores over the tokens ([`Keys::statistics_of_group`]), and
//!
//! ```text
//! mean[j] = mean_g m[g,j]          var[j] = mean_g ( v[g,j] + (m[g,j] - mean[j])^2 )
//! ```
//!
//! Where the moments cost more than the scores, that is where s > 2K, the scores themselves are
//! added up. The same is done for one query with one group: its scores are their own means, and
//! normalise to exactly 0.

use super::normalization::batch_statistics;
use super::queries::{BLOCK, PIECES, Queries};
use super::score::{GroupMoments, Keys, Metric, score_part};
use crate::kernels::dispatch::dispatch;
use crate::kernels::elementwise::{add, scale};
use crate::kernels::panel::{self, Panels};
use crate::ops::{BatchStatistics, Distinct};
use crate::parallel::{self, Order};
use crate::real::Real;
use crate::tape::{Pools, Ranks};
use crate::tensor::{Buffer, Tensor};
use fearless_simd::{Simd, prelude::*};
use std::ops::Range;

/// Moments of the parts of the queries, every row counted as often as it occurs.
pub(crate) struct Moments {
    /// n, how many tokens there are.
    pub(crate) total: f64,
    /// Of every element, D x s.
    pub(crate) mean: Buffer<f64>,
    /// D x s x s
    pub(crate) covariance: Buffer<f64>,
    /// m\[g, j\], the mean of a group's scores, D x K.
    pub(crate) score_means: Buffer<f64>,
}

/// The statistics of the scores, and the moments they came from, where they did.
pub(crate) fn statistics<T: Real>(
    pools: &Pools<T>,
    ranks: &Ranks,
    queries: Queries<'_, T>,
    distinct: &Distinct,
    keys: &Keys<T>,
) -> (BatchStatistics<T>, Option<Moments>) {
    let pass = Pass { pools, queries, distinct, keys };
    let one_score = !ranks.are_several() && queries.len() * queries.groups == 1;
    if queries.group_width() > 2 * keys.sizes().size || one_score {
        return (pass.of_scores(ranks), None);
    }
    let (moments, variances) = pass.moments(ranks);
    (over_groups(&moments.score_means, &variances, queries.groups), Some(moments))
}

/// What statistics are taken of.
#[derive(Clone, Copy)]
struct Pass<'a, T: Real> {
    pools: &'a Pools<T>,
    queries: Queries<'a, T>,
    distinct: &'a Distinct,
    keys: &'a Keys<T>,
}

/// mean\[j\] and var\[j\] from m\[g, j\] and v\[g, j\].
fn over_groups<T: Real>(means: &[f64], variances: &[f64], groups: usize) -> BatchStatistics<T> {
    let k = means.len() / groups;
    let over_groups = |f: &dyn Fn(usize) -> f64| (0..groups).map(f).sum::<f64>() / groups as f64;
    let mean: Vec<f64> = (0..k).map(|j| over_groups(&|g| means[g * k + j])).collect();
    let var = |j: usize| {
        let between = |g: usize| (means[g * k + j] - mean[j]).powi(2);
        over_groups(&|g| variances[g * k + j].max(0.0) + between(g))
    };
    let tensor = |f: &dyn Fn(usize) -> f64| Tensor::from_fn([k], |j| T::from_f64(f(j)));
    batch_statistics(tensor(&|j| mean[j]), tensor(&var))
}

impl<T: Real> Pass<'_, T> {
    /// The moments, and the variances v\[g, j\].
    fn moments(self, ranks: &Ranks) -> (Moments, Buffer<f64>) {
        let Pass { queries, keys, .. } = self;
        let (pool, (s, k)) = (&self.pools.moments, (queries.group_width(), keys.sizes().size));
        let [mean, covariance, score_means, mut variances] =
            [s, s * s, k, k].map(|each| pool.take(queries.groups * each));
        let (centre, products) = (self.mean_of_first(ranks), self.moment_width().pow(2));
        let sums = self.second_moments(ranks, &centre);
        // The sum of 1 times 1.
        let total = sums[products - 1];
        let mut moments = Moments { total, mean, covariance, score_means };
        for (g, sums) in sums.chunks_exact(products).enumerate() {
            let of_group = self.moments_of_group(&centre[g * s..][..s], sums);
            moments.mean[g * s..][..s].copy_from_slice(&of_group.mean);
            moments.covariance[g * s * s..][..s * s].copy_from_slice(&of_group.covariance);
            let means = &mut moments.score_means[g * k..][..k];
            keys.statistics_of_group(pool, g, &of_group, means, &mut variances[g * k..][..k]);
        }
        (moments, variances)
    }

    /// The moments of one group, from the sums of x x^T with x = (q', b, 1), of which b counts for
    /// squared distances only.
    fn moments_of_group<'c>(self, centre: &'c [T], sums: &[f64]) -> GroupMoments<'c, T> {
        let (s, width) = (centre.len(), self.moment_width());
        // Where b and 1 stand in x.
        let (b, one) = (s, width - 1);
        let total = sums[one * width + one];
        let mean = |i: usize, j: usize| sums[i.max(j) * width + i.min(j)] / total;
        let covariance = |i: usize, j: usize| mean(i, j) - mean(one, i) * mean(one, j);
        let fill = |len: usize, f: &dyn Fn(usize) -> f64| {
            let mut filled = self.pools.moments.take(len);
            filled.iter_mut().enumerate().for_each(|(i, x)| *x = f(i));
            filled
        };
        let squares = self.keys.metric == Metric::SquaredDistance;
        GroupMoments {
            centre,
            mean: fill(s, &|t| centre[t].to_f64() + mean(one, t)),
            off: fill(s, &|t| mean(one, t)),
            covariance: fill(s * s, &|i| covariance(i / s, i % s)),
            mean_of_b: if squares { mean(one, b) } else { 0.0 },
            variance_of_b: if squares { covariance(b, b) } else { 0.0 },
            covariance_with_b: fill(if squares { s } else { 0 }, &|t| covariance(b, t)),
        }
    }

    /// A point near the mean of every element: the mean of the first rows of every rank.
    fn mean_of_first(self, ranks: &Ranks) -> Buffer<T> {
        let rows = self.queries.len().min(FIRST);
        let mut mean = self.pools.values.take(self.queries.groups * self.queries.group_width());
        mean.fill(T::ZERO);
        (0..rows).for_each(|row| add(&mut mean, self.queries.row(row)));
        if ranks.are_several() {
            let mut sums: Vec<f64> = mean.iter().map(|x| x.to_f64()).collect();
            sums.push(rows as f64);
            ranks.sum(&mut sums);
            let of_all = sums.pop().expect("the number of rows");
            mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean = T::from_f64(sum / of_all));
            return mean;
        }
        scale(&mut mean, T::ONE / T::from_usize(rows));
        mean
    }

    /// How long the x is whose products with itself are summed: (q', 1), or (q', b, 1) where b counts.
    fn moment_width(self) -> usize {
        self.queries.group_width() + if self.keys.metric == Metric::SquaredDistance { 2 } else { 1 }
    }

    /// For every group the sum over tokens, of all ranks, of x x^T, on and below the diagonal.
    fn second_moments(self, ranks: &Ranks, centre: &[T]) -> Buffer<f64> {
        let (pool, width) = (&self.pools.values, self.moment_width());
        let mut sums = self.pools.moments.take(self.queries.groups * width * width);
        let of_piece = |rows: Range<usize>, sums: &mut [T]| {
            let [mut x, mut weighted] = [(); 2].map(|()| pool.take(BLOCK * width));
            let mut q = pool.take(BLOCK * self.queries.tile_width());
            let mut products = pool.take(width * width);
            products.fill(T::ZERO);
            for first in rows.clone().step_by(BLOCK) {
                let block = first..rows.end.min(first + BLOCK);
                let counts = self.distinct.weights(pool, block.clone());
                let scratch = [&mut q[..], &mut x, &mut weighted, &mut products];
                dispatch!(|simd| self.add_block(simd, block, centre, &counts, scratch, sums));
            }
        };
        let order = Order::Forward;
        parallel::sum(
            pool,
            PIECES,
            order,
            self.queries.pieces(),
            &mut sums,
            of_piece,
            add_in_double,
        );
        ranks.sum(&mut sums);
        sums
    }

    /// Adds the products of a block of rows; the scratch is room for q, x, x times its count, and the
    /// products of one group.
    #[inline(always)]
    fn add_block<S: Simd>(
        self,
        simd: S,
        block: Range<usize>,
        centre: &[T],
        counts: &[T],
        [q, x, weighted, products]: [&mut [T]; 4],
        sums: &mut [T],
    ) {
        let (s, width) = (self.queries.group_width(), self.moment_width());
        let len = counts.len() * width;
        for tile in self.queries.tiles() {
            let columns = tile.len() * s;
            self.queries.panels(simd, block.clone(), tile.clone(), q);
            for (g, part) in tile.zip((0..columns).step_by(s)) {
                let panels = q
                    .chunks_exact(columns * T::LANES)
                    .zip(x.chunks_exact_mut(width * T::LANES))
                    .zip(weighted.chunks_exact_mut(width * T::LANES))
                    .zip(counts.chunks_exact(T::LANES));
                for (((q, x), weighted), counts) in panels {
                    let q = &q[part * T::LANES..][..s * T::LANES];
                    centred(simd, q, &centre[g * s..][..s], x);
                    panel::scale(simd, x, counts, weighted);
                }
                let (left, right) =
                    (Panels::new(&weighted[..len], width), Panels::new(&x[..len], width));
                panel::outer_lower(simd, left, right, products);
                let sums = &mut sums[g * width * width..][..width * width];
                sums.iter_mut().zip(&*products).for_each(|(sum, x)| *sum += *x);
            }
        }
    }

    /// The statistics from the scores themselves, in two passes.
    fn of_scores(self, ranks: &Ranks) -> BatchStatistics<T> {
        let k = self.keys.sizes().size;
        let first = (!ranks.are_several()).then(|| self.scores_of(0..1, 0));
        let first = |j: usize| first.as_ref().map_or(T::ZERO, |first| first[j * T::LANES]);
        // Alone, means of differences from the first score, which for equal scores are exactly 0.
        let off = self.mean_of_scores(ranks, |r, j| r - first(j));
        let mean = Tensor::from_fn([k], |j| first(j) + T::from_f64(off[j]));
        let var = self.mean_of_scores(ranks, |r, j| (r - mean.data()[j]) * (r - mean.data()[j]));
        batch_statistics(mean, Tensor::from_fn([k], |j| T::from_f64(var[j])))
    }

    /// The scores of a panel of tokens in group g, K rows.
    fn scores_of(self, tokens: Range<usize>, g: usize) -> Buffer<T> {
        let Pass { queries, keys, .. } = self;
        let [mut part, mut scores] = [queries.group_width(), keys.sizes().size]
            .map(|n| self.pools.values.take(n * T::LANES));
        dispatch!(|simd| score_part(simd, queries, keys, tokens, g, &mut part, &mut scores));
        scores
    }

    /// For every codeword j the mean over tokens and groups of f(score, j).
    fn mean_of_scores(self, ranks: &Ranks, f: impl Fn(T, usize) -> T + Sync) -> Buffer<f64> {
        let Pass { pools, queries, distinct, .. } = self;
        let mut sums = pools.moments.take(self.keys.sizes().size);
        let of_piece = |rows: Range<usize>, sums: &mut [f64]| {
            for tokens in panel::tokens::<T>(rows) {
                let weights = distinct.weights(&pools.values, tokens.clone());
                for g in 0..queries.groups {
                    let scores = self.scores_of(tokens.clone(), g);
                    let rows = sums.iter_mut().zip(scores.chunks_exact(T::LANES));
                    for (j, (sum, scores)) in rows.enumerate() {
                        let terms = scores.iter().zip(&*weights).take(tokens.len());
                        *sum = terms.fold(*sum, |sum, (&r, &w)| sum + (w * f(r, j)).to_f64());
                    }
                }
            }
        };
        let (pool, order) = (&pools.moments, Order::Forward);
        parallel::sum(pool, PIECES, order, queries.pieces(), &mut sums, of_piece, add_in_double);
        let mut n = [(distinct.total() * queries.groups) as f64];
        ranks.sum(&mut sums);
        ranks.sum(&mut n);
        sums.iter_mut().for_each(|sum| *sum /= n[0]);
        sums
    }
}

/// Rows whose mean serves as the point near the mean of all.
const FIRST: usize = 64;

fn add_in_double<T: Real>(sums: &mut [f64], part: &[T]) {
    sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x.to_f64());
}

/// A panel of queries about a point: q' = q - centre and a row of ones; between the two, if there
/// is room for it, b = ||q'||^2.
#[inline(always)]
pub(super) fn centred<S: Simd, T: Real>(simd: S, q: &[T], centre: &[T], out: &mut [T]) {
    let (parts, rest) = out.split_at_mut(q.len());
    let mut b = T::Wide::<S>::splat(simd, T::ZERO);
    let rows = q.chunks_exact(T::LANES).zip(parts.chunks_exact_mut(T::LANES));
    for ((q, part), &centre) in rows.zip(centre) {
        let off = T::Wide::<S>::from_slice(simd, q) - centre;
        b = off.mul_add(off, b);
        off.store_slice(part);
    }
    let one = T::Wide::<S>::splat(simd, T::ONE);
    for (row, value) in rest.chunks_exact_mut(T::LANES).rev().zip([one, b]) {
        value.store_slice(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use crate::pq::score::scores;

    #[test]
    fn closed_form_and_added_up_statistics_equal_those_of_the_scores() {
        let tape = Tape::<f64>::new();
        let wave = |shape: &[usize], k: f64| {
            Tensor::from_fn(shape, |i| ((i as f64 + 1.0) * k).sin() + 0.3)
        };
        // The last shape is wide with a tiny codebook: the scores are added up.
        for (groups, s, k) in [(3, 4, 5), (2, 9, 20), (1, 13, 2)] {
            for (shared, score) in
                [(false, Metric::Dot), (true, Metric::Dot), (false, Metric::SquaredDistance)]
            {
                let table = wave(&[200, groups * s], 0.71);
                let ids: Vec<u32> = (0..300).map(|i| i * i % 200).collect();
                let distinct = Distinct::new(&tape, (&ids).into(), 200);
                let codewords = wave(&[if shared { 1 } else { groups }, k, s], 1.9);
                let keys = Keys::new(&tape.pools().values, score, &codewords);
                let queries = Queries::new(&table, Some(&distinct.ids), groups);
                let (found, moments) =
                    statistics(tape.pools(), tape.ranks(), queries, &distinct, &keys);
                assert_eq!(moments.is_none(), s > 2 * k);

                let q = tape.constant(table).gather_rows(&ids).reshape([300, groups, s]);
                let r = scores(score, q, tape.constant(codewords)).reshape([300 * groups, k]);
                let (_, expected) = r.batch_norm(1e-3);
                let close = |a: &Tensor<f64>, b: &Tensor<f64>| {
                    a.data()
                        .iter()
                        .zip(b.data())
                        .for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{a} {b}"));
                };
                close(&found.mean, &expected.mean);
                close(&found.var, &expected.var);
            }
        }
    }

    #[test]
    fn a_large_common_offset_does_not_spoil_the_variance_in_f32() {
        let tape = Tape::<f32>::new();
        let table = Tensor::from_fn([256, 8], |i| 100.0 + ((i as f32) * 0.71).sin());
        let codewords = Tensor::from_fn([1, 16, 8], |i| 100.0 + ((i as f32) * 1.3).cos());
        let ids: Vec<u32> = (0..256).collect();
        let distinct = Distinct::new(&tape, (&ids).into(), 256);
        for score in [Metric::Dot, Metric::SquaredDistance] {
            let keys = Keys::new(&tape.pools().values, score, &codewords);
            let queries = Queries::new(&table, Some(&distinct.ids), 1);
            let (found, _) = statistics(tape.pools(), tape.ranks(), queries, &distinct, &keys);
            let exact = Tape::<f64>::new();
            let q = exact.constant(table.cast::<f64>().reshape([256, 1, 8]));
            let r = scores(score, q, exact.constant(codewords.cast())).reshape([256, 16]);
            let (_, expected) = r.batch_norm(1e-3);
            for (a, b) in found.var.data().iter().zip(expected.var.data()) {
                assert!((f64::from(*a) / b - 1.0).abs() < 1e-4, "{score:?}: {a} {b}");
            }
        }
    }
}
