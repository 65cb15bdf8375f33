//! The softmax form as one op.
//!
//! It computes what [`composed::sx`] defines, but
//! - works on the distinct ids of the batch, since a token's scores, codes and softmax depend on its
//!   id alone, and what depends on dy is linear in it: dy is summed over an id's repetitions;
//! - never holds n x D x K numbers: a block of scores lives in the first-level cache, and is
//!   computed again on the way back;
//! - computes no softmax on the way forward, where only the argmax counts;
//! - takes the batch-norm statistics from moments (see `statistics.rs`), and folds their gradient
//!   into one matrix and one vector a group.
//!
//! # The gradient
//!
//! With dy the upstream gradient, summed over the repetitions c\[u\] of a distinct id u:
//!
//! ```text
//! dC^v[g,j]  = sum over u with code[u,g] = j of dy[u,g]
//! dp[u,g,j]  = < dy[u,g], C^v[g,j] >       (+ the entropy term's: - c beta / (n D) (log(p + 1e-10) + w / (p + 1e-10)))
//! drh        = p (dp - sum_j p dp) / tau
//! dr[i]      = (drh - mean(drh) - rh mean(drh rh)) / sd         means over all tokens and groups
//! dq[i,g]    = sum_j dr C^k[g,j]               dC^k[g,j] = sum_i dr q[i,g]
//! ```
//!
//! The two means, times N = n D, are S1\[j\] = sum drh and S2\[j\] = sum drh rh. Since rh is linear
//! in q, their share of dq is linear in q as well. With a = S1 / (N sd) and b = S2 / (N sd^2):
//!
//! ```text
//! dq[u,g]    = sum_j (drh / sd) C^k[g,j] - c[u] ( A_g (q[u,g] - mean_g) + h_g )
//! A_g        = sum_j b[j] C^k[g,j] C^k[g,j]^T
//! h_g        = sum_j (a[j] + b[j] (m[g,j] - mean[j])) C^k[g,j]
//! dC^k[g,j]  = sum_u (drh / sd) q[u,g] - (a[j] + b[j] (m[g,j] - mean[j])) n mean_g - b[j] n Cov_g C^k[g,j]
//! ```
//!
//! where mean_g, Cov_g and m\[g,j\] are the moments of the queries and scores of group g.

use super::assign::{Assigned, assign};
use super::composed::{Normalization, Quantized};
use super::scores::{BLOCK, CHUNK, Codebook, Normalizer, Queries, Score, block, score_rows};
use super::statistics::Moments;
use super::{DpqConfig, composed};
use crate::kernels::blocks::{add_outer, add_product, add_short, copy_short, padded};
use crate::kernels::elementwise::add;
use crate::kernels::exponential::exp;
use crate::kernels::level;
use crate::ops::Distinct;
use crate::parallel;
use crate::real::Real;
use crate::tape::{Context, Op, Pools, Var};
use crate::tensor::{Buffer, Tensor};
use fearless_simd::{Simd, dispatch, prelude::*};
use std::ops::Range;

/// Added to p before its logarithm is taken.
const TINY: f64 = 1e-10;

/// The softmax form for `ids` of the V x d table `queries`, keys and values G x K x s.
///
/// A NaN score, or an id outside the table, is a fault that the tape reports.
///
/// # Panics
/// If the shapes do not fit the configuration, or statistics are taken over no ids.
#[track_caller]
pub fn sx<'t, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    queries: Var<'t, T>,
    ids: &[u32],
    keys: Var<'t, T>,
    values: Var<'t, T>,
) -> Quantized<'t, T> {
    let tape = queries.tape();
    let composed = || composed::sx(config, normalization, queries.rows(ids), keys, values).0;
    tape.fused(composed, || forward(config, normalization, queries, ids, keys, values))
}

#[track_caller]
fn forward<'t, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    queries: Var<'t, T>,
    ids: &[u32],
    keys: Var<'t, T>,
    values: Var<'t, T>,
) -> Quantized<'t, T> {
    let (tape, table, keys_v, values_v) =
        (queries.tape(), queries.value(), keys.value(), values.value());
    super::assert_shapes("sx", config, &table, ids, &[&keys_v, &values_v]);
    let found = assign(tape, Score::Dot, normalization, config.groups, &table, ids, &keys_v);
    let y = found.rows(tape, &values_v, config.groups);
    let Assigned { distinct, codes, codebook, normalizer, statistics, moments } = found;
    let batch = statistics.is_some();
    let op = Sx { config: *config, distinct, codes, codebook, normalizer, moments, batch };
    let inputs = [queries, keys, values];
    if config.beta == 0.0 {
        let [rows] = tape.record(op, &inputs, [y]);
        return Quantized { rows, regulariser: None, statistics };
    }
    let entropy = op.entropy_term(tape.pools(), &table);
    let [rows, regulariser] = tape.record(op, &inputs, [y, Tensor::scalar(T::from_f64(entropy))]);
    Quantized { rows, regulariser: Some(regulariser), statistics }
}

struct Sx<T: Real> {
    config: DpqConfig,
    distinct: Distinct,
    /// Of the distinct ids, u x D.
    codes: Buffer<u32>,
    codebook: Codebook<T>,
    normalizer: Normalizer<T>,
    /// `None` where the statistics were added up from the scores.
    moments: Option<Moments>,
    /// Whether the statistics are the batch's, so that the gradient flows through them.
    batch: bool,
}

impl<T: Real> Op<T> for Sx<T> {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        let (table, keys, values) = (ctx.input(0), ctx.input(1), ctx.input(2));
        let (u, d) = (self.distinct.ids.len(), table.shape()[1]);
        let pools = ctx.pools();
        let dy = match ctx.output_grad(0) {
            Some(dy) => dy.clone(),
            None => Tensor::zeros([self.distinct.total(), d]),
        };
        let dentropy =
            if self.config.beta > 0.0 { ctx.output_grad(1).map(Tensor::item) } else { None };
        let work = Backward {
            op: self,
            pools,
            queries: Queries::new(table, Some(&self.distinct.ids), self.config.groups),
            scaled: self.scaled_keys(pools, keys),
            wide: padded::<T>(d / self.config.groups),
        };
        let mut dq = ctx.buffer([u, d]);
        let sums = work.main_sweep(&dy, values, dentropy.unwrap_or(T::ZERO), dq.data_mut());
        let (sum_keys, rest) = sums.split_at(self.codebook.elements());
        let (dvalues, means) = rest.split_at(values.data().len());
        let mut dkeys = work.unpacked_keys(sum_keys, keys);
        if self.batch {
            let [s1, s2] = [0, 1].map(|i| &means[i * self.codebook.padded..][..self.codebook.size]);
            match &self.moments {
                Some(moments) => {
                    work.correct_by_moments(moments, s1, s2, keys, dq.data_mut(), &mut dkeys)
                }
                None => {
                    let sums = work.correct_by_scores(s1, s2, dq.data_mut());
                    add(dkeys.data_mut(), work.unpacked_keys(&sums, keys).data());
                }
            }
        }
        let mut dv = ctx.buffer(values.shape());
        dv.data_mut().copy_from_slice(dvalues);
        ctx.add_rows(0, self.distinct.ids.clone(), dq);
        ctx.add(1, dkeys);
        ctx.add(2, dv);
    }
}

impl<T: Real> Sx<T> {
    /// C^k\[g, j\] / sd\[j\], G x K x wide.
    fn scaled_keys(&self, pools: &Pools<T>, keys: &Tensor<T>) -> Buffer<T> {
        let s = keys.shape()[2];
        let wide = padded::<T>(s);
        let mut scaled = pools.values.take(keys.data().len() / s.max(1) * wide);
        scaled.fill(T::ZERO);
        for (i, (scaled, key)) in scaled.chunks_exact_mut(wide).zip(keys.rows()).enumerate() {
            let reciprocal = self.normalizer.reciprocals[i % self.codebook.size];
            scaled.iter_mut().zip(key).for_each(|(scaled, &key)| *scaled = key * reciprocal);
        }
        scaled
    }

    /// - beta / (n D) times the sum over tokens and groups of log(p\[code\] + 1e-10).
    fn entropy_term(&self, pools: &Pools<T>, table: &Tensor<T>) -> f64 {
        let queries = Queries::new(table, Some(&self.distinct.ids), self.config.groups);
        let (wide, groups, columns) =
            (padded::<T>(queries.group_width()), self.config.groups, self.codebook.padded);
        let rate = T::from_f64(1.0 / self.config.temperature);
        let (mut tile, mut row, mut p) =
            (pools.values.take(wide), pools.values.take(columns), pools.values.take(columns));
        let mut sum = 0.0;
        for (i, &code) in self.codes.iter().enumerate() {
            let (u, g) = (i / groups, i % groups);
            queries.gather(u..u + 1, g, &mut tile, wide);
            dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                score_rows(simd, Score::Dot, &tile, wide, &self.codebook, g, &mut row);
                self.normalizer.apply(simd, &mut row);
                exponentials(simd, &row, row[code as usize], rate, &mut p);
            }));
            let p = (p[code as usize] / sum_of(&p)).to_f64();
            sum += self.distinct.count(u) as f64 * (p + TINY).ln();
        }
        -self.config.beta * sum / (self.distinct.total() * groups) as f64
    }
}

/// e\[j\] = exp((rh\[j\] - top) rate)
#[inline(always)]
fn exponentials<S: Simd, T: Real>(simd: S, rh: &[T], top: T, rate: T, e: &mut [T]) {
    for (rh, e) in rh.chunks_exact(T::LANES).zip(e.chunks_exact_mut(T::LANES)) {
        let scaled = (T::Wide::<S>::from_slice(simd, rh) - top) * rate;
        exp::<S, T>(simd, scaled).store_slice(e);
    }
}

/// For every row: factor = rate / sum_j e\[j\] and mean = sum_j p dp with p = e / sum e.
#[inline(always)]
fn row_sums<S: Simd, T: Real>(
    simd: S,
    e: &[T],
    dp: &[T],
    columns: usize,
    rate: T,
    out: &mut [[T; 2]],
) {
    for ((e, dp), out) in e.chunks_exact(columns).zip(dp.chunks_exact(columns)).zip(out) {
        let zero = T::Wide::<S>::splat(simd, T::ZERO);
        let (mut total, mut inner) = (zero, zero);
        for (e, dp) in e.chunks_exact(T::LANES).zip(dp.chunks_exact(T::LANES)) {
            let e = T::Wide::<S>::from_slice(simd, e);
            total += e;
            inner = e.mul_add(T::Wide::<S>::from_slice(simd, dp), inner);
        }
        let total = total.reduce_sum();
        *out = [rate / total, inner.reduce_sum() / total];
    }
}

/// rh <- drh = p (dp - mean) rate for all rows; adds the columns' sums of drh and of drh rh.
#[inline(always)]
fn softmax_rule<S: Simd, T: Real>(
    simd: S,
    rh: &mut [T],
    dp: &[T],
    e: &[T],
    rows: &[[T; 2]],
    columns: usize,
    (s1, s2): (&mut [T], &mut [T]),
) {
    for at in (0..columns).step_by(T::LANES) {
        let mut sum = T::Wide::<S>::from_slice(simd, &s1[at..at + T::LANES]);
        let mut product = T::Wide::<S>::from_slice(simd, &s2[at..at + T::LANES]);
        for (i, &[factor, mean]) in rows.iter().enumerate() {
            let lanes = i * columns + at..i * columns + at + T::LANES;
            let e = T::Wide::<S>::from_slice(simd, &e[lanes.clone()]);
            let dp = T::Wide::<S>::from_slice(simd, &dp[lanes.clone()]);
            let rh = &mut rh[lanes];
            let drh = (e * factor) * (dp - mean);
            sum += drh;
            product = drh.mul_add(T::Wide::<S>::from_slice(simd, rh), product);
            drh.store_slice(rh);
        }
        sum.store_slice(&mut s1[at..at + T::LANES]);
        product.store_slice(&mut s2[at..at + T::LANES]);
    }
}

/// The sum of a row.
fn sum_of<T: Real>(row: &[T]) -> T {
    row.iter().fold(T::ZERO, |sum, &x| sum + x)
}

/// One backward pass over an [`Sx`].
struct Backward<'a, T: Real> {
    op: &'a Sx<T>,
    pools: &'a Pools<T>,
    queries: Queries<'a, T>,
    /// C^k\[g, j\] / sd\[j\], G x K x wide.
    scaled: Buffer<T>,
    /// s, padded.
    wide: usize,
}

impl<T: Real> Backward<'_, T> {
    /// Calls `f(first row, dq of a block, sums)` for blocks of rows, chunk by chunk, and returns the
    /// sums, `len` numbers, added up in the order of the chunks.
    fn sweep(
        &self,
        dq: &mut [T],
        len: usize,
        f: impl Fn(Range<usize>, &mut [T], &mut [T]) + Sync,
    ) -> Buffer<T> {
        let d = self.queries.groups * self.queries.group_width();
        let rows = self.queries.len();
        let mut parts = self.pools.values.take(rows.div_ceil(CHUNK) * len);
        parallel::for_each_pair((dq, CHUNK * d), (&mut parts, len), |i, dq, part| {
            part.fill(T::ZERO);
            f(i * CHUNK..i * CHUNK + dq.len() / d, dq, part);
        });
        let mut sums = self.pools.values.take(len);
        parallel::for_each_chunk(&mut sums, 4096, |i, sums| {
            sums.fill(T::ZERO);
            for part in parts.chunks_exact(len) {
                add(sums, &part[i * 4096..][..sums.len()]);
            }
        });
        sums
    }

    /// dq without the share of the statistics; returns the sums behind dC^k (as the codebook is
    /// packed), dC^v, S1 and S2, one after the other.
    fn main_sweep(
        &self,
        dy: &Tensor<T>,
        values: &Tensor<T>,
        dentropy: T,
        dq: &mut [T],
    ) -> Buffer<T> {
        let Backward { op, pools, queries, wide, .. } = self;
        let (s, groups, codebook) = (queries.group_width(), queries.groups, &op.codebook);
        let (d, k, columns) = (s * groups, codebook.size, codebook.padded);
        let value_book = Codebook::new(&pools.values, values);
        let rate = T::from_f64(1.0 / op.config.temperature);
        let entropy = dentropy.to_f64() * op.config.beta / (op.distinct.total() * groups) as f64;
        let len = codebook.elements() + values.data().len() + 2 * columns;
        self.sweep(dq, len, |chunk, dq, part| {
            let size = block(columns);
            let take = |n: usize| pools.values.take(n);
            let [mut q, mut upstream, mut dq_tile] = [(); 3].map(|()| take(size * wide));
            let [mut rh, mut dp, mut e] = [(); 3].map(|()| take(size * columns));
            let mut row_factors = [[T::ZERO; 2]; BLOCK];
            let (part_keys, rest) = part.split_at_mut(codebook.elements());
            let (part_values, means) = rest.split_at_mut(values.data().len());
            let (s1, s2) = means.split_at_mut(columns);
            for g in 0..groups {
                let book = codebook.of(g);
                for first in chunk.clone().step_by(size) {
                    let rows = first..chunk.end.min(first + size);
                    let n = rows.len();
                    let (q, upstream) = (&mut q[..n * wide], &mut upstream[..n * wide]);
                    let (rh, dp) = (&mut rh[..n * columns], &mut dp[..n * columns]);
                    let (e, dq_tile) = (&mut e[..n * columns], &mut dq_tile[..n * wide]);
                    let row_factors = &mut row_factors[..n];
                    let code = |i: usize| op.codes[(first + i) * groups + g] as usize;
                    dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                        let part = g * s..(g + 1) * s;
                        queries.gather(rows.clone(), g, q, *wide);
                        op.distinct.gather_sums(dy.data(), d, part.clone(), rows.clone(), upstream, *wide);
                        score_rows(simd, Score::Dot, q, *wide, codebook, g, rh);
                        score_rows(simd, Score::Dot, upstream, *wide, &value_book, g, dp);
                        op.normalizer.apply(simd, rh);
                        for (i, (rh, e)) in rh.chunks_exact(columns).zip(e.chunks_exact_mut(columns)).enumerate() {
                            exponentials(simd, rh, rh[code(i)], rate, e);
                        }
                        if entropy != 0.0 {
                            for (i, (e, dp)) in e.chunks_exact(columns).zip(dp.chunks_exact_mut(columns)).enumerate() {
                                let weight = T::from_f64(entropy * op.distinct.count(first + i) as f64);
                                entropy_rule(&e[..k], code(i), weight, dp);
                            }
                        }
                        row_sums(simd, e, dp, columns, rate, row_factors);
                        softmax_rule(simd, rh, dp, e, row_factors, columns, (s1, s2));
                        for (i, dy) in upstream.chunks_exact(*wide).enumerate() {
                            add_short(&dy[..s], &mut part_values[(book * k + code(i)) * s..][..s]);
                        }
                        let keys = &mut part_keys[book * s * columns..][..s * columns];
                        add_outer(simd, q, *wide, rh, keys, columns);
                        self.times_keys(simd, rh, g, dq_tile);
                        for (row, tile) in rows.zip(dq_tile.chunks_exact(*wide)) {
                            let dq = &mut dq[(row - chunk.start) * d..][..d];
                            copy_short(&tile[..s], &mut dq[part.clone()]);
                        }
                    }));
                }
            }
        })
    }

    /// tile <- sum over j of dr\[., j\] C^k\[g, j\] / sd\[j\]
    #[inline(always)]
    fn times_keys<S: Simd>(&self, simd: S, dr: &[T], g: usize, tile: &mut [T]) {
        let (k, wide) = (self.op.codebook.size, self.wide);
        tile.fill(T::ZERO);
        let keys = &self.scaled[self.op.codebook.of(g) * k * wide..][..k * wide];
        add_product(simd, dr, self.op.codebook.padded, keys, tile, wide);
    }

    /// The sums behind dC^k, in the packed order, as a tensor like the keys, over sd\[j\].
    fn unpacked_keys(&self, sums: &[T], keys: &Tensor<T>) -> Tensor<T> {
        let (s, k, columns) = (keys.shape()[2], self.op.codebook.size, self.op.codebook.padded);
        let mut unpacked =
            Tensor::from_buffer(keys.shape(), self.pools.values.take(keys.data().len()));
        for (i, out) in unpacked.data_mut().chunks_exact_mut(s).enumerate() {
            let (book, j) = (i / k, i % k);
            for (t, out) in out.iter_mut().enumerate() {
                *out = sums[(book * s + t) * columns + j] * self.op.normalizer.reciprocals[j];
            }
        }
        unpacked
    }

    /// Takes the statistics' share off dq and dC^k, by the moments.
    fn correct_by_moments(
        &self,
        moments: &Moments,
        s1: &[T],
        s2: &[T],
        keys: &Tensor<T>,
        dq: &mut [T],
        dkeys: &mut Tensor<T>,
    ) {
        let Backward { op, pools, queries, wide, .. } = self;
        let (s, groups, k) = (queries.group_width(), queries.groups, op.codebook.size);
        let n = moments.total * groups as f64;
        let reciprocal = |j: usize| op.normalizer.reciprocals[j].to_f64();
        let a = |j: usize| s1[j].to_f64() * reciprocal(j) / n;
        let b = |j: usize| s2[j].to_f64() * reciprocal(j) * reciprocal(j) / n;
        let slope = |g: usize, j: usize| {
            a(j) + b(j) * (moments.score_means[g * k + j] - op.normalizer.means[j].to_f64())
        };
        // -(A_g, h_g), (s + 1) x wide a group: what c (q - mean_g, 1) is multiplied by.
        let mut matrices = pools.values.take(groups * (s + 1) * wide);
        matrices.fill(T::ZERO);
        parallel::for_each_chunk(&mut matrices, (s + 1) * wide, |g, matrix| {
            let book = op.codebook.of(g);
            let mut sums = vec![0.0; (s + 1) * s];
            for j in 0..k {
                let key = &keys.data()[(book * k + j) * s..][..s];
                let slope = slope(g, j);
                for (row, sums) in sums.chunks_exact_mut(s).enumerate() {
                    let factor = if row < s { b(j) * key[row].to_f64() } else { slope };
                    sums.iter_mut().zip(key).for_each(|(sum, key)| *sum += factor * key.to_f64());
                }
            }
            for (matrix, sums) in matrix.chunks_exact_mut(*wide).zip(sums.chunks_exact(s)) {
                matrix.iter_mut().zip(sums).for_each(|(out, sum)| *out = T::from_f64(-sum));
            }
        });
        for g in 0..groups {
            let (mean, covariance) =
                (&moments.mean[g * s..][..s], &moments.covariance[g * s * s..][..s * s]);
            let book = op.codebook.of(g);
            for j in 0..k {
                let place = (book * k + j) * s;
                let key = &keys.data()[place..][..s];
                let slope = slope(g, j);
                for (t, out) in dkeys.data_mut()[place..][..s].iter_mut().enumerate() {
                    let row = covariance[t * s..][..s].iter().zip(key);
                    let product: f64 = row.map(|(c, key)| c * key.to_f64()).sum();
                    *out -= T::from_f64(moments.total * (slope * mean[t] + b(j) * product));
                }
            }
        }
        self.add_linear(&matrices, &moments.mean, dq);
    }

    /// dq\[u, g\] += c\[u\] (q\[u, g\] - mean_g, 1) M_g, M_g being (s + 1) x wide.
    fn add_linear(&self, matrices: &[T], mean: &[f64], dq: &mut [T]) {
        let Backward { op, pools, queries, wide, .. } = self;
        let (s, groups) = (queries.group_width(), queries.groups);
        let d = s * groups;
        let mut centres = pools.values.take(groups * wide);
        centres.fill(T::ZERO);
        for (centre, mean) in centres.chunks_exact_mut(*wide).zip(mean.chunks_exact(s)) {
            centre.iter_mut().zip(mean).for_each(|(centre, &mean)| *centre = T::from_f64(mean));
        }
        parallel::for_each_chunk(dq, CHUNK * d, |i, dq| {
            let rows = i * CHUNK..i * CHUNK + dq.len() / d;
            let mut left = pools.values.take(rows.len() * wide);
            let mut tile = pools.values.take(rows.len() * wide);
            for g in 0..groups {
                let centre = &centres[g * wide..][..*wide];
                let (matrix, constant) =
                    matrices[g * (s + 1) * wide..][..(s + 1) * wide].split_at(s * wide);
                dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                    queries.gather(rows.clone(), g, &mut left, *wide);
                    let tiles = left.chunks_exact_mut(*wide).zip(tile.chunks_exact_mut(*wide));
                    for (row, (left, tile)) in rows.clone().zip(tiles) {
                        let weight = T::from_usize(op.distinct.count(row));
                        for t in 0..*wide {
                            left[t] = weight * (left[t] - centre[t]);
                            tile[t] = weight * constant[t];
                        }
                    }
                    add_product(simd, &left, *wide, matrix, &mut tile, *wide);
                    for (dq, tile) in dq.chunks_exact_mut(d).zip(tile.chunks_exact(*wide)) {
                        add_short(&tile[..s], &mut dq[g * s..][..s]);
                    }
                }));
            }
        });
    }

    /// Takes the statistics' share off dq by computing the scores again, and returns the sums
    /// behind its share of dC^k: where groups are wide and codebooks tiny.
    fn correct_by_scores(&self, s1: &[T], s2: &[T], dq: &mut [T]) -> Buffer<T> {
        let Backward { op, pools, queries, wide, .. } = self;
        let (s, groups, codebook) = (queries.group_width(), queries.groups, &op.codebook);
        let (d, columns) = (s * groups, codebook.padded);
        let n = T::from_usize(op.distinct.total() * groups);
        self.sweep(dq, codebook.elements(), |chunk, dq, part| {
            let take = |n: usize| pools.values.take(n);
            let (mut q, mut dr) = (take(chunk.len() * wide), take(chunk.len() * columns));
            let mut tile = take(chunk.len() * wide);
            for g in 0..groups {
                dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                    queries.gather(chunk.clone(), g, &mut q, *wide);
                    score_rows(simd, Score::Dot, &q, *wide, codebook, g, &mut dr);
                    op.normalizer.apply(simd, &mut dr);
                    for (row, dr) in chunk.clone().zip(dr.chunks_exact_mut(columns)) {
                        let weight = T::from_usize(op.distinct.count(row)) / n;
                        for (j, dr) in dr.iter_mut().enumerate() {
                            *dr = if j < s1.len() { -weight * (s1[j] + *dr * s2[j]) } else { T::ZERO };
                        }
                    }
                    let keys = &mut part[codebook.of(g) * s * columns..][..s * columns];
                    add_outer(simd, &q, *wide, &dr, keys, columns);
                    self.times_keys(simd, &dr, g, &mut tile);
                    for (dq, tile) in dq.chunks_exact_mut(d).zip(tile.chunks_exact(*wide)) {
                        add_short(&tile[..s], &mut dq[g * s..][..s]);
                    }
                }));
            }
        })
    }
}

/// dp\[j\] -= weight (log(p + 1e-10) + w / (p + 1e-10)) with p = e / sum e and w the one-hot code.
fn entropy_rule<T: Real>(e: &[T], code: usize, weight: T, dp: &mut [T]) {
    let (total, tiny) = (sum_of(e), T::from_f64(TINY));
    for (j, (&e, dp)) in e.iter().zip(dp).enumerate() {
        let p = e / total + tiny;
        let chosen = if j == code { T::ONE / p } else { T::ZERO };
        *dp -= weight * (p.ln() + chosen);
    }
}
