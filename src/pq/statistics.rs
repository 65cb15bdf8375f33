//! Mean and variance of every codeword's scores, over all tokens and all groups.
//!
//! The scores of a group are linear (SX) or quadratic (VQ) in the query, so their statistics follow
//! from the queries' moments, in O(n d s) instead of O(n d K) and without a single score. The moments
//! are taken about a point near the mean, or f32 would cancel: with q' = q - centre, C' = C - centre,
//! b = ||q'||^2, and E, Cov over the tokens:
//!
//! ```text
//! SX   m[g,j] = < E q, C >                          v[g,j] = C^T Cov(q) C
//! VQ   m[g,j] = 2 < E q', C' > - E b - ||C'||^2     v[g,j] = 4 C'^T Cov(q) C' - 4 < Cov(q, b), C' > + Var b
//! mean[j] = mean_g m[g,j]                    var[j] = mean_g ( v[g,j] + (m[g,j] - mean[j])^2 )
//! ```
//!
//! Where the moments cost more than the scores, that is where s > 2K, the scores themselves are
//! added up; and where there is a single part of a single query, whose scores are their own means,
//! so that they normalise to exactly 0.

use super::score::{
    BLOCK, Codebook, Queries, Score, batch_statistics, groups_of_tile, pieces, score,
};
use crate::kernels::elementwise::add;
use crate::kernels::softmax::scale;
use crate::kernels::{level, panel};
use crate::ops::{BatchStatistics, Distinct};
use crate::parallel;
use crate::real::Real;
use crate::tape::Pools;
use crate::tensor::{Buffer, Pool, Tensor};
use fearless_simd::{Simd, dispatch, prelude::*};
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
    kind: Score,
    queries: Queries<'_, T>,
    distinct: &Distinct,
    codebook: &Codebook<T>,
) -> (BatchStatistics<T>, Option<Moments>) {
    if queries.group_width() > 2 * codebook.size || queries.len() * queries.groups == 1 {
        return (from_scores(pools, kind, queries, distinct, codebook), None);
    }
    let (s, groups, k) = (queries.group_width(), queries.groups, codebook.size);
    let total = distinct.total() as f64;
    let centre = mean_of_first(pools, queries);
    // What is multiplied with what, x = (q', b, 1), for SX without b: where b and 1 stand, and how
    // many there are.
    let (b, one) = (s, s + usize::from(kind == Score::SquaredDistance));
    let width = one + 1;
    let numbers = groups * width * width;
    let second = weighted_sums(pools, &pools.values, queries.len(), numbers, |rows, sums| {
        let [mut x, mut weighted] = [(); 2].map(|()| pools.values.take(BLOCK * width));
        let mut q = pools.values.take(BLOCK * groups_of_tile(s) * s);
        let mut products = pools.values.take(width * width);
        products.fill(T::ZERO);
        for first in rows.clone().step_by(BLOCK) {
            let block = first..rows.end.min(first + BLOCK);
            let counts = distinct.weights(&pools.values, block.clone());
            let len = counts.len() * width;
            for tile in queries.tiles() {
                let columns = tile.len() * s;
                dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                    queries.panels(simd, block.clone(), tile.clone(), &mut q);
                    for (g, part) in tile.clone().zip((0..columns).step_by(s)) {
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
                        panel::outer_lower(simd, &weighted[..len], &x[..len], width, &mut products);
                        let sums = &mut sums[g * width * width..][..width * width];
                        sums.iter_mut().zip(&*products).for_each(|(sum, x)| *sum += *x);
                    }
                }));
            }
        }
    });

    let mut moments = Moments {
        total,
        mean: pools.moments.take(groups * s),
        covariance: pools.moments.take(groups * s * s),
        score_means: pools.moments.take(groups * k),
    };
    let mut variances = pools.moments.take(groups * k);
    let (mut keys, mut row) = (pools.moments.take(s * k), pools.moments.take(k));
    for g in 0..groups {
        let sums = |a: usize, b: usize| second[(g * width + a.max(b)) * width + a.min(b)] / total;
        let covariance = &mut moments.covariance[g * s * s..][..s * s];
        let centre = &centre[g * s..][..s];
        let off = |t: usize| sums(one, t);
        for a in 0..s {
            moments.mean[g * s + a] = centre[a].to_f64() + off(a);
            for b in 0..s {
                covariance[a * s + b] = sums(a, b) - off(a) * off(b);
            }
        }
        let mean = &moments.mean[g * s..][..s];
        // For squared distances about the centre, as the queries.
        let columns = keys.chunks_exact_mut(k).zip(codebook.columns(g).chunks_exact(k));
        for ((keys, column), &centre) in columns.zip(centre) {
            let shift = if kind == Score::Dot { 0.0 } else { centre.to_f64() };
            keys.iter_mut().zip(column).for_each(|(key, &c)| *key = c.to_f64() - shift);
        }
        let (means, variances) =
            (&mut moments.score_means[g * k..][..k], &mut variances[g * k..][..k]);
        quadratic_forms(covariance, &keys, &mut row, variances);
        match kind {
            Score::Dot => {
                means.fill(0.0);
                for (keys, mean) in keys.chunks_exact(k).zip(mean) {
                    means.iter_mut().zip(keys).for_each(|(m, c)| *m += mean * c);
                }
            }
            Score::SquaredDistance => {
                let b_mean = sums(one, b);
                let b_var = sums(b, b) - b_mean * b_mean;
                means.fill(-b_mean);
                variances.iter_mut().for_each(|v| *v = 4.0 * *v + b_var);
                for (t, keys) in keys.chunks_exact(k).enumerate() {
                    let with_b = sums(b, t) - off(t) * b_mean;
                    for (j, &c) in keys.iter().enumerate() {
                        means[j] += 2.0 * off(t) * c - c * c;
                        variances[j] -= 4.0 * with_b * c;
                    }
                }
            }
        }
    }
    let over_groups = |f: &dyn Fn(usize) -> f64| (0..groups).map(f).sum::<f64>() / groups as f64;
    let score_mean: Vec<f64> =
        (0..k).map(|j| over_groups(&|g| moments.score_means[g * k + j])).collect();
    let score_var = |j: usize| {
        let between = |g: usize| (moments.score_means[g * k + j] - score_mean[j]).powi(2);
        over_groups(&|g| variances[g * k + j].max(0.0) + between(g))
    };
    let mean = Tensor::from_fn([k], |j| T::from_f64(score_mean[j]));
    let var = Tensor::from_fn([k], |j| T::from_f64(score_var(j)));
    (batch_statistics(mean, var), Some(moments))
}

/// Rows whose mean is near enough to that of all.
const FIRST: usize = 64;

/// A point near the mean of every element: the mean of the first rows.
fn mean_of_first<T: Real>(pools: &Pools<T>, queries: Queries<'_, T>) -> Buffer<T> {
    let rows = queries.len().min(FIRST);
    let mut mean = pools.values.take(queries.groups * queries.group_width());
    mean.fill(T::ZERO);
    (0..rows).for_each(|row| add(&mut mean, queries.row(row)));
    scale(&mut mean, T::ONE / T::from_usize(rows));
    mean
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

/// out\[j\] = C_j^T M C_j for the codewords of s x K columns; `row` holds K numbers on the way.
fn quadratic_forms(m: &[f64], columns: &[f64], row: &mut [f64], out: &mut [f64]) {
    let k = out.len();
    out.fill(0.0);
    dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
        let products = m.chunks_exact(columns.len() / k).zip(columns.chunks_exact(k));
        for (factors, left) in products {
            row.fill(0.0);
            for (factor, right) in factors.iter().zip(columns.chunks_exact(k)) {
                for (sum, c) in row.iter_mut().zip(right) {
                    *sum += factor * c;
                }
            }
            for ((out, row), c) in out.iter_mut().zip(&*row).zip(left) {
                *out += row * c;
            }
        }
    }));
}

/// Sums over the queries' rows, `len` numbers wide: `add` adds a piece's rows to zeros, in the
/// precision E; the pieces are then added in their order, in double precision.
fn weighted_sums<T: Real, E: Real>(
    pools: &Pools<T>,
    of_parts: &Pool<E>,
    rows: usize,
    len: usize,
    add: impl Fn(Range<usize>, &mut [E]) + Sync,
) -> Buffer<f64> {
    let (piece, mut parts) = pieces(of_parts, rows, len);
    parallel::for_each_chunk(&mut parts, len, |i, part| {
        part.fill(E::ZERO);
        add(i * piece..rows.min((i + 1) * piece), part);
    });
    let mut sums = pools.moments.take(len);
    sums.fill(0.0);
    for part in parts.chunks_exact(len) {
        sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x.to_f64());
    }
    sums
}

/// The statistics from the scores themselves, in two passes.
fn from_scores<T: Real>(
    pools: &Pools<T>,
    kind: Score,
    queries: Queries<'_, T>,
    distinct: &Distinct,
    codebook: &Codebook<T>,
) -> BatchStatistics<T> {
    let (s, k) = (codebook.width, codebook.size);
    let n = (distinct.total() * queries.groups) as f64;
    let scores_of = |tokens: Range<usize>, g: usize| {
        let (mut part, mut scores) =
            (pools.values.take(s * T::LANES), pools.values.take(k * T::LANES));
        dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
            queries.panels(simd, tokens, g..g + 1, &mut part);
            score(simd, kind, codebook, g, &part, &mut scores);
        }));
        scores
    };
    let first = scores_of(0..1, 0);
    let first = |j: usize| first[j * T::LANES];
    let mean_of = |f: &(dyn Fn(T, usize) -> T + Sync)| {
        let mut sums = weighted_sums(pools, &pools.moments, queries.len(), k, |rows, sums| {
            for tokens in panel::tokens::<T>(rows) {
                let weights = distinct.weights(&pools.values, tokens.clone());
                for g in 0..queries.groups {
                    let scores = scores_of(tokens.clone(), g);
                    for (j, (sum, scores)) in
                        sums.iter_mut().zip(scores.chunks_exact(T::LANES)).enumerate()
                    {
                        let terms = scores.iter().zip(&*weights).take(tokens.len());
                        *sum = terms.fold(*sum, |sum, (&r, &w)| sum + (w * f(r, j)).to_f64());
                    }
                }
            }
        });
        sums.iter_mut().for_each(|sum| *sum /= n);
        sums
    };
    // Means of differences from the first score, which for equal scores are exactly 0.
    let off = mean_of(&|r, j| r - first(j));
    let mean = Tensor::from_fn([k], |j| first(j) + T::from_f64(off[j]));
    let var = mean_of(&|r, j| (r - mean.data()[j]) * (r - mean.data()[j]));
    batch_statistics(mean, Tensor::from_fn([k], |j| T::from_f64(var[j])))
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
                [(false, Score::Dot), (true, Score::Dot), (false, Score::SquaredDistance)]
            {
                let table = wave(&[200, groups * s], 0.71);
                let ids: Vec<u32> = (0..300).map(|i| i * i % 200).collect();
                let distinct = Distinct::new(&tape, &ids, 200);
                let codewords = wave(&[if shared { 1 } else { groups }, k, s], 1.9);
                let codebook = Codebook::new(&tape.pools().values, &codewords);
                let queries = Queries::new(&table, Some(&distinct.ids), groups);
                let (found, moments) =
                    statistics(tape.pools(), score, queries, &distinct, &codebook);
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
        let distinct = Distinct::new(&tape, &ids, 256);
        for score in [Score::Dot, Score::SquaredDistance] {
            let codebook = Codebook::new(&tape.pools().values, &codewords);
            let queries = Queries::new(&table, Some(&distinct.ids), 1);
            let (found, _) = statistics(tape.pools(), score, queries, &distinct, &codebook);
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
