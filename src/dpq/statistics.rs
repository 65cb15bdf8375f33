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

use super::scores::{CHUNK, Codebook, Queries, Score, batch_statistics, score_rows};
use crate::kernels::blocks::{add_outer, padded};
use crate::kernels::level;
use crate::ops::{BatchStatistics, Distinct};
use crate::parallel;
use crate::real::Real;
use crate::tape::Pools;
use crate::tensor::{Buffer, Tensor};
use fearless_simd::{Simd, dispatch};

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
    score: Score,
    queries: Queries<'_, T>,
    distinct: &Distinct,
    codebook: &Codebook<T>,
) -> (BatchStatistics<T>, Option<Moments>) {
    if queries.group_width() > 2 * codebook.size || queries.len() * queries.groups == 1 {
        return (from_scores(pools, score, queries, distinct, codebook), None);
    }
    let (s, groups, k) = (queries.group_width(), queries.groups, codebook.size);
    let total = distinct.total() as f64;
    let mean = weighted_sums(pools, queries.len(), groups * s, |rows, sums| {
        for row in rows {
            let (weight, query) = (T::from_usize(distinct.count(row)), queries.row(row));
            sums.iter_mut().zip(query).for_each(|(sum, &q)| *sum += weight * q);
        }
    });
    // Padded like the parts; what stands in their padding may be anything.
    let wide = padded::<T>(s);
    let (mut centre, mut part) = (vec![T::ZERO; groups * wide], vec![false; wide]);
    part[..s].fill(true);
    for (centre, sums) in centre.chunks_exact_mut(wide).zip(mean.chunks_exact(s)) {
        centre.iter_mut().zip(sums).for_each(|(c, sum)| *c = T::from_f64(sum / total));
    }

    // Of every group: q'^T q', b q' and q' in rows of `wide`, then the sums of b and of b^2.
    let (bs, ones, of_b) = (s * wide, (s + 1) * wide, (s + 2) * wide);
    let len = of_b + 2;
    let second = weighted_sums(pools, queries.len(), groups * len, |rows, sums| {
        let n = rows.len();
        let (mut right, mut left) = (pools.values.take(n * wide), pools.values.take(n * wide));
        for (g, sums) in sums.chunks_exact_mut(len).enumerate() {
            let centre = &centre[g * wide..][..wide];
            let (squares, rest) = sums.split_at_mut(bs);
            let (b_rows, rest) = rest.split_at_mut(wide);
            let (one_rows, b_sums) = rest.split_at_mut(wide);
            dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                queries.gather(rows.clone(), g, &mut right, wide);
                let parts = right.chunks_exact_mut(wide).zip(left.chunks_exact_mut(wide));
                for (row, (q, left)) in rows.clone().zip(parts) {
                    let weight = T::from_usize(distinct.count(row));
                    for t in 0..wide {
                        q[t] = if part[t] { q[t] - centre[t] } else { T::ZERO };
                        left[t] = weight * q[t];
                        one_rows[t] += left[t];
                    }
                    if score == Score::SquaredDistance {
                        let b = q.iter().fold(T::ZERO, |sum, &q| q.mul_add(q, sum));
                        let weighted = weight * b;
                        b_rows.iter_mut().zip(&*q).for_each(|(sum, &q)| *sum += weighted * q);
                        b_sums[0] += weighted;
                        b_sums[1] += weighted * b;
                    }
                }
                add_outer(simd, &left, wide, &right, squares, wide);
            }));
        }
    });

    let mut moments = Moments {
        total,
        mean,
        covariance: pools.moments.take(groups * s * s),
        score_means: pools.moments.take(groups * k),
    };
    let mut variances = pools.moments.take(groups * k);
    let columns: Vec<f64> = (0..codebook.of(groups))
        .chain([codebook.of(groups)])
        .flat_map(|g| codebook.columns(g).iter().map(|x| x.to_f64()))
        .collect();
    for g in 0..groups {
        let sums = &second[g * len..][..len];
        let covariance = &mut moments.covariance[g * s * s..][..s * s];
        let centre = &centre[g * wide..][..s];
        let off = |t: usize| sums[ones + t] / total;
        for a in 0..s {
            moments.mean[g * s + a] = centre[a].to_f64() + off(a);
            for b in 0..s {
                covariance[a * s + b] = sums[a * wide + b] / total - off(a) * off(b);
            }
        }
        let book = &columns[codebook.of(g) * s * codebook.padded..][..s * codebook.padded];
        let mean = &moments.mean[g * s..][..s];
        let shift = |t: usize| if score == Score::Dot { 0.0 } else { centre[t].to_f64() };
        let (means, variances) =
            (&mut moments.score_means[g * k..][..k], &mut variances[g * k..][..k]);
        quadratic_forms(covariance, book, codebook.padded, shift, variances);
        match score {
            Score::Dot => {
                means.fill(0.0);
                for t in 0..s {
                    let column = &book[t * codebook.padded..][..k];
                    means.iter_mut().zip(column).for_each(|(m, c)| *m += mean[t] * c);
                }
            }
            Score::SquaredDistance => {
                let b_mean = sums[of_b] / total;
                let b_var = sums[of_b + 1] / total - b_mean * b_mean;
                means.fill(-b_mean);
                variances.iter_mut().for_each(|v| *v = 4.0 * *v + b_var);
                for t in 0..s {
                    let with_b = sums[bs + t] / total - off(t) * b_mean;
                    for (j, c) in book[t * codebook.padded..][..k].iter().enumerate() {
                        let c = c - shift(t);
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

/// out\[j\] = (C_j - shift)^T M (C_j - shift) for the first out.len() codewords of s x padded columns.
fn quadratic_forms(
    m: &[f64],
    columns: &[f64],
    padded: usize,
    shift: impl Fn(usize) -> f64,
    out: &mut [f64],
) {
    let (s, k) = (columns.len() / padded, out.len());
    let shifted: Vec<f64> = (0..s)
        .flat_map(|t| columns[t * padded..][..k].iter().map(move |c| (c, t)))
        .map(|(c, t)| c - shift(t))
        .collect();
    let mut row = vec![0.0; k];
    out.fill(0.0);
    dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
        for a in 0..s {
            row.fill(0.0);
            for b in 0..s {
                let factor = m[a * s + b];
                row.iter_mut().zip(&shifted[b * k..][..k]).for_each(|(sum, c)| *sum += factor * c);
            }
            out.iter_mut().zip(&row).zip(&shifted[a * k..][..k]).for_each(|((out, row), c)| *out += row * c);
        }
    }));
}

/// Sums over rows, `len` numbers wide: `add` adds a chunk's rows to zeros, in T; the chunks are then
/// added in their order, in double precision.
fn weighted_sums<T: Real>(
    pools: &Pools<T>,
    rows: usize,
    len: usize,
    add: impl Fn(std::ops::Range<usize>, &mut [T]) + Sync,
) -> Buffer<f64> {
    let mut parts = pools.values.take(rows.div_ceil(CHUNK) * len);
    parallel::for_each_chunk(&mut parts, len, |i, part| {
        part.fill(T::ZERO);
        add(i * CHUNK..rows.min((i + 1) * CHUNK), part);
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
    score: Score,
    queries: Queries<'_, T>,
    distinct: &Distinct,
    codebook: &Codebook<T>,
) -> BatchStatistics<T> {
    let (wide, columns, k) = (padded::<T>(queries.group_width()), codebook.padded, codebook.size);
    let n = (distinct.total() * queries.groups) as f64;
    let (mut tile, mut first) = (pools.values.take(wide), pools.values.take(columns));
    queries.gather(0..1, 0, &mut tile, wide);
    dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
        score_rows(simd, score, &tile, wide, codebook, 0, &mut first);
    }));
    let sums = |f: &(dyn Fn(T, usize) -> T + Sync)| {
        let mut sums = weighted_sums(pools, queries.len(), columns, |rows, sums| {
            let (mut tile, mut scores) =
                (pools.values.take(rows.len() * wide), pools.values.take(rows.len() * columns));
            for g in 0..queries.groups {
                queries.gather(rows.clone(), g, &mut tile, wide);
                dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                    score_rows(simd, score, &tile, wide, codebook, g, &mut scores);
                }));
                for (row, scores) in rows.clone().zip(scores.chunks_exact(columns)) {
                    let weight = T::from_usize(distinct.count(row));
                    sums.iter_mut()
                        .zip(scores)
                        .enumerate()
                        .for_each(|(j, (sum, &r))| *sum += weight * f(r, j));
                }
            }
        });
        sums.iter_mut().for_each(|sum| *sum /= n);
        sums
    };
    // Sums of differences from the first score, which for equal scores are exactly 0.
    let off = sums(&|r, j| r - first[j]);
    let mean = Tensor::from_fn([k], |j| first[j] + T::from_f64(off[j]));
    let var =
        sums(&|r, j| if j < k { (r - mean.data()[j]) * (r - mean.data()[j]) } else { T::ZERO });
    batch_statistics(mean, Tensor::from_fn([k], |j| T::from_f64(var[j])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use crate::dpq::scores::scores;

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

                let q = tape.constant(table).rows(&ids).reshape([300, groups, s]);
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
