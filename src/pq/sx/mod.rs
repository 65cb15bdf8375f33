//! The softmax form as one op.
//!
//! It computes what [`composed::sx`] defines, but
//! - works on the distinct ids of the batch, since a token's scores, codes and softmax depend on its
//!   id alone, and what depends on dy is linear in it: dy is summed over an id's repetitions;
//! - never holds n x D x K numbers: the scores of as many tokens as a vector has lanes live in the
//!   first-level cache, and are computed again on the way back;
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
//! in q, their share of dq is linear in q as well, and S2 itself follows from sums that dC^k needs.
//! With q' = q - mean_g the queries about their group's mean, and a = S1 / (N sd), b = S2 / (N sd^2):
//!
//! ```text
//! P[g,j]     = sum_u drh q'[u,g]                        S1[g,j] = sum_u drh, of one group
//! S2[j]      = sum_g ( < P[g,j], C^k[g,j] > + (m[g,j] - mean[j]) S1[g,j] ) / sd
//! dq[u,g]    = sum_j (drh / sd) C^k[g,j] - c[u] ( A_g q'[u,g] + h_g )
//! A_g        = sum_j b[j] C^k[g,j] C^k[g,j]^T
//! h_g        = sum_j (a[j] + b[j] (m[g,j] - mean[j])) C^k[g,j]
//! dC^k[g,j]  = P[g,j] / sd + (S1[g,j] / sd - (a[j] + b[j] (m[g,j] - mean[j])) n) mean_g - b[j] n Cov_g C^k[g,j]
//! ```
//!
//! where mean_g, Cov_g and m\[g,j\] are the moments of the queries and scores of group g.

mod logits;

use crate::kernels::elementwise::{add, add_short, add_up};
use crate::kernels::level;
use crate::kernels::panel::{self, MOST_LANES};
use crate::ops::{Distinct, sum_rows};
use crate::parallel;
use crate::pq::assign::{Assigned, assign};
use crate::pq::codes::add_to_codewords;
use crate::pq::composed::{Normalization, Quantized};
use crate::pq::score::{
    BLOCK, Codebook, Normalizer, Queries, Score, groups_of_tile, pieces, score,
};
use crate::pq::statistics::{Moments, centred};
use crate::pq::{DpqConfig, composed};
use crate::real::Real;
use crate::tape::{Context, Op, Pools, Var};
use crate::tensor::{Buffer, Tensor};
use fearless_simd::{Simd, dispatch, prelude::*};
use logits::Logits;
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
    let composed = || composed::sx(config, normalization, queries.gather_rows(ids), keys, values).0;
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
    crate::pq::assert_shapes("sx", config, &table, ids, &[&keys_v, &values_v]);
    let (score, groups) = (Score::Dot, config.groups);
    let found =
        assign(tape, score, normalization, groups, &table, ids, &keys_v, 0, |_, _, _, _| ());
    let y = found.rows(tape, &values_v, groups);
    let Assigned { distinct, codes, codebook, normalizer, statistics, moments, .. } = found;
    let batch = statistics.is_some();
    let op = Sx { config: *config, distinct, codes, codebook, normalizer, moments, batch };
    let inputs = [queries, keys, values];
    if config.beta == 0.0 {
        let [rows] = tape.record(op, &inputs, [y]);
        return Quantized { rows, regulariser: None, statistics };
    }
    let entropy = op.entropy_term(tape.pools(), &table, &keys_v);
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
        let (u, d, pools) = (self.distinct.ids.len(), table.shape()[1], ctx.pools());
        let zeros = || Tensor::zeros([self.distinct.total(), d]);
        let dy = ctx.output_grad(0).cloned().unwrap_or_else(zeros);
        let dentropy =
            if self.config.beta > 0.0 { ctx.output_grad(1).map(Tensor::item) } else { None };
        let queries = Queries::new(table, Some(&self.distinct.ids), self.config.groups);
        let work = Backward { op: self, pools, queries, keys, dy };

        let whole = |tokens: usize| tokens.next_multiple_of(T::LANES) * d;
        let mut dq = pools.values.take(whole(self.distinct.total()));
        dq.truncate(whole(u));
        let sums = work.main_sweep(values, dentropy.unwrap_or(T::ZERO), &mut dq);
        let (of_keys, rest) = sums.split_at(keys.data().len());
        let (of_values, s1) = rest.split_at(values.data().len());
        let mut dkeys = work.over_sd(of_keys);
        let mut linear = None;
        if self.batch {
            let slopes = work.slopes(of_keys, s1);
            match &self.moments {
                Some(moments) => {
                    work.correct_keys(moments, &slopes, s1, dkeys.data_mut());
                    linear = Some(work.linear(&slopes));
                }
                None => add(dkeys.data_mut(), &work.correct_by_scores(&slopes, &mut dq)),
            }
        }
        work.finish(linear.as_deref(), &mut dq);
        dq.truncate(u * d);
        let mut dvalues = ctx.uninit(values.shape());
        dvalues.data_mut().copy_from_slice(of_values);
        ctx.add_rows(0, self.distinct.ids.clone(), Tensor::from_buffer([u, d], dq));
        ctx.add(1, dkeys);
        ctx.add(2, dvalues);
    }
}

impl<T: Real> Sx<T> {
    /// The code of distinct id u in group g.
    #[inline(always)]
    fn code(&self, u: usize, g: usize) -> usize {
        self.codes[u * self.config.groups + g] as usize
    }

    fn logits(&self, pools: &Pools<T>, keys: &Tensor<T>) -> Logits<T> {
        Logits::new(&pools.values, keys, &self.normalizer, self.config.temperature)
    }

    /// - beta / (n D) times the sum over tokens and groups of log(p\[code\] + 1e-10).
    fn entropy_term(&self, pools: &Pools<T>, table: &Tensor<T>, keys: &Tensor<T>) -> f64 {
        let queries = Queries::new(table, Some(&self.distinct.ids), self.config.groups);
        let (groups, k, s) = (queries.groups, self.codebook.size, queries.group_width());
        let logits = self.logits(pools, keys);
        let [mut q, mut p] = [s, k].map(|rows| pools.values.take(rows * T::LANES));
        let mut totals = [T::ZERO; MOST_LANES];
        let mut sum = 0.0;
        for tokens in panel::tokens::<T>(0..queries.len()) {
            for g in 0..groups {
                dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                    queries.panels(simd, tokens.clone(), g..g + 1, &mut q);
                    logits.powers(simd, g, &q, &mut p).store_slice(&mut totals[..T::LANES]);
                }));
                for (lane, u) in tokens.clone().enumerate() {
                    let p = p[self.code(u, g) * T::LANES + lane] / totals[lane];
                    sum += self.distinct.count(u) as f64 * (p.to_f64() + TINY).ln();
                }
            }
        }
        -self.config.beta * sum / (self.distinct.total() * groups) as f64
    }
}

/// dp <- drh = p (dp - sum p dp) rate for a panel, with p = e / total and inner = sum e dp.
#[inline(always)]
fn softmax_rule<S: Simd, T: Real>(
    simd: S,
    e: &[T],
    total: T::Wide<S>,
    inner: T::Wide<S>,
    rate: T,
    dp: &mut [T],
) {
    let (mean, factor) = (inner / total, T::Wide::<S>::splat(simd, rate) / total);
    for (e, dp) in e.chunks_exact(T::LANES).zip(dp.chunks_exact_mut(T::LANES)) {
        let off = T::Wide::<S>::from_slice(simd, dp) - mean;
        ((T::Wide::<S>::from_slice(simd, e) * factor) * off).store_slice(dp);
    }
}

/// One backward pass over an [`Sx`].
struct Backward<'a, T: Real> {
    op: &'a Sx<T>,
    pools: &'a Pools<T>,
    queries: Queries<'a, T>,
    /// C^k
    keys: &'a Tensor<T>,
    dy: Tensor<T>,
}

/// a\[j\] and b\[j\] of the module's formulae.
struct Slopes {
    a: Vec<f64>,
    b: Vec<f64>,
}

impl<T: Real> Backward<'_, T> {
    /// K, s and d.
    fn sizes(&self) -> [usize; 3] {
        let s = self.queries.group_width();
        [self.op.codebook.size, s, s * self.queries.groups]
    }

    /// mean_g, where the moments are known; 0 elsewhere.
    fn centre(&self) -> Buffer<T> {
        let mut centre = self.pools.values.take(self.sizes()[2]);
        match &self.op.moments {
            Some(moments) => {
                let means = centre.iter_mut().zip(&*moments.mean);
                means.for_each(|(centre, &mean)| *centre = T::from_f64(mean));
            }
            None => centre.fill(T::ZERO),
        }
        centre
    }

    /// A tensor like the keys: row j of every group over sd\[j\].
    fn over_sd(&self, rows: &[T]) -> Tensor<T> {
        self.op.normalizer.over_sd(&self.pools.values, self.keys.shape(), rows, T::ONE)
    }

    /// Calls `f(rows, dq of these rows in panels, sums)` for pieces of rows, and returns the sums,
    /// `len` numbers, added up in the order of the pieces.
    fn sweep(
        &self,
        dq: &mut [T],
        len: usize,
        f: impl Fn(Range<usize>, &mut [T], &mut [T]) + Sync,
    ) -> Buffer<T> {
        let ([_, _, d], rows) = (self.sizes(), self.queries.len());
        let (piece, mut parts) = pieces(&self.pools.values, rows, len);
        parallel::for_each_pair((dq, piece * d), (&mut parts, len), |i, dq, part| {
            part.fill(T::ZERO);
            f(i * piece..rows.min((i + 1) * piece), dq, part);
        });
        let mut sums = self.pools.values.take(len);
        add_up(&parts, &mut sums);
        sums
    }

    /// dq, in panels, without the share of the statistics; returns the sums P, those of dC^v, and
    /// S1 of every group, one after the other.
    fn main_sweep(&self, values: &Tensor<T>, dentropy: T, dq: &mut [T]) -> Buffer<T> {
        let Backward { op, pools, queries, keys, .. } = self;
        let ([k, s, d], groups, codebook) = (self.sizes(), queries.groups, &op.codebook);
        let value_book = Codebook::new(&pools.values, values);
        let (scaled, centre) = (self.over_sd(keys.data()), self.centre());
        let (logits, rate) = (op.logits(pools, keys), T::from_f64(1.0 / op.config.temperature));
        let entropy = dentropy.to_f64() * op.config.beta / (op.distinct.total() * groups) as f64;
        let size = ((1 << 15) / k).next_multiple_of(T::LANES).clamp(T::LANES, BLOCK);
        let book_len = keys.data().len();
        self.sweep(dq, 2 * book_len + groups * k, |rows, dq, part| {
            let (part_keys, rest) = part.split_at_mut(book_len);
            let (part_values, part_s1) = rest.split_at_mut(book_len);
            let take = |n: usize| pools.values.take(n);
            let widest = groups_of_tile(s) * s;
            let [mut q, mut upstream] = [(); 2].map(|()| take(size * widest));
            let (mut sums, mut e) = (take(T::LANES * widest), take(k * T::LANES));
            let (mut drh, mut off) = (take(k * size), take((s + 1) * size));
            let mut products = take(k * (s + 1));
            for first in rows.clone().step_by(size) {
                let block = first..rows.end.min(first + size);
                let tokens = || panel::tokens::<T>(block.clone());
                let lanes = tokens().len() * T::LANES;
                for tile in queries.tiles() {
                    let columns = tile.start * s..tile.end * s;
                    let width = columns.len() * T::LANES;
                    dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                        queries.panels(simd, block.clone(), tile.clone(), &mut q);
                        for (tokens, upstream) in tokens().zip(upstream.chunks_exact_mut(width)) {
                            self.gather_upstream(simd, tokens, tile.clone(), &mut sums, upstream, part_values);
                        }
                        for (g, part) in tile.clone().zip((0..width).step_by(s * T::LANES)) {
                            let book = codebook.of(g);
                            let scaled = &scaled.data()[book * k * s..][..k * s];
                            let part = part..part + s * T::LANES;
                            for (p, tokens) in tokens().enumerate() {
                                let (q, upstream) = (&q[p * width..][part.clone()], &upstream[p * width..][part.clone()]);
                                let drh = &mut drh[p * k * T::LANES..][..k * T::LANES];
                                let off = &mut off[p * (s + 1) * T::LANES..][..(s + 1) * T::LANES];
                                centred(simd, q, &centre[g * s..][..s], off);
                                let total = logits.powers(simd, g, q, &mut e);
                                let values = value_book.columns(g);
                                let inner = if entropy == 0.0 {
                                    panel::product_and_dot(simd, values, k, upstream, &e, drh)
                                } else {
                                    panel::product(simd, values, k, upstream, drh);
                                    self.entropy_rule(tokens.clone(), g, entropy, &e, drh);
                                    panel::dot(simd, &e, drh)
                                };
                                softmax_rule(simd, &e, total, inner, rate, drh);
                                let at = (tokens.start - rows.start) * d + g * s * T::LANES;
                                panel::product(simd, scaled, s, drh, &mut dq[at..][..s * T::LANES]);
                            }
                            panel::outer(simd, (&drh[..lanes * k], k), (&off[..lanes * (s + 1)], s + 1), &mut products);
                            for (j, products) in products.chunks_exact(s + 1).enumerate() {
                                add_short(&products[..s], &mut part_keys[(book * k + j) * s..][..s]);
                                part_s1[g * k + j] += products[s];
                            }
                        }
                    }));
                }
            }
        })
    }

    /// dy of a panel of distinct ids in a range of groups, summed over their repetitions; adds it to
    /// the sums of the chosen values. `sums` holds what a panel takes.
    #[inline(always)]
    fn gather_upstream<S: Simd>(
        &self,
        simd: S,
        tokens: Range<usize>,
        groups: Range<usize>,
        sums: &mut [T],
        upstream: &mut [T],
        part_values: &mut [T],
    ) {
        let (op, [k, s, d]) = (self.op, self.sizes());
        let columns = groups.start * s..groups.end * s;
        let stride = if op.config.shared { 0 } else { k };
        let first = groups.start * stride * s;
        let row = |i: u32| &self.dy.data()[i as usize * d..][..d][columns.clone()];
        for (u, sum) in tokens.clone().zip(sums.chunks_exact_mut(columns.len())) {
            match op.distinct.positions(u) {
                [_] => {}
                positions => sum_rows(positions, row, sum),
            }
        }
        let sum_of = |u: usize| match op.distinct.positions(u) {
            [only] => row(*only),
            _ => &sums[(u - tokens.start) * columns.len()..][..columns.len()],
        };
        // The panel first, which waits less for rows that are far away.
        panel::gather(
            simd,
            tokens.clone(),
            #[inline(always)]
            |u| sum_of(u),
            upstream,
        );
        for u in tokens.clone() {
            let codes = &op.codes[u * op.config.groups..][groups.clone()];
            add_to_codewords(sum_of(u), stride, codes, &mut part_values[first..]);
        }
    }

    /// dp\[j\] -= weight c (log(p + 1e-10) + w / (p + 1e-10)) for a panel, with p = e / sum e and w
    /// the one-hot code.
    fn entropy_rule(&self, tokens: Range<usize>, g: usize, weight: f64, e: &[T], dp: &mut [T]) {
        let tiny = T::from_f64(TINY);
        for (lane, u) in tokens.enumerate() {
            let weight = T::from_f64(weight * self.op.distinct.count(u) as f64);
            let total = e.iter().skip(lane).step_by(T::LANES).fold(T::ZERO, |sum, &e| sum + e);
            for (j, (e, dp)) in
                e.chunks_exact(T::LANES).zip(dp.chunks_exact_mut(T::LANES)).enumerate()
            {
                let p = e[lane] / total + tiny;
                let chosen = if j == self.op.code(u, g) { T::ONE / p } else { T::ZERO };
                dp[lane] -= weight * (p.ln() + chosen);
            }
        }
    }

    /// a and b, from the sums P and S1.
    fn slopes(&self, of_keys: &[T], s1: &[T]) -> Slopes {
        let ([k, s, _], groups) = (self.sizes(), self.queries.groups);
        let n = (self.op.distinct.total() * groups) as f64;
        let (mut a, mut b) = (vec![0.0; k], vec![0.0; k]);
        for (i, (p, key)) in of_keys.chunks_exact(s).zip(self.keys.rows()).enumerate() {
            let terms = p.iter().zip(key).map(|(p, c)| p.to_f64() * c.to_f64());
            b[i % k] += terms.sum::<f64>();
        }
        for (i, s1) in s1.iter().enumerate() {
            let (g, j) = (i / k, i % k);
            a[j] += s1.to_f64();
            b[j] += self.off_mean(g, j) * s1.to_f64();
        }
        for j in 0..k {
            let reciprocal = self.op.normalizer.reciprocals[j].to_f64();
            a[j] *= reciprocal / n;
            b[j] *= reciprocal.powi(3) / n;
        }
        Slopes { a, b }
    }

    /// m\[g, j\] - mean\[j\], where the moments are known; - mean\[j\] elsewhere.
    fn off_mean(&self, g: usize, j: usize) -> f64 {
        let of_group = self
            .op
            .moments
            .as_ref()
            .map_or(0.0, |moments| moments.score_means[g * self.op.codebook.size + j]);
        of_group - self.op.normalizer.means[j].to_f64()
    }

    /// Adds to dC^k, P / sd so far, what the centring and the statistics leave.
    fn correct_keys(&self, moments: &Moments, slopes: &Slopes, s1: &[T], dkeys: &mut [T]) {
        let ([k, s, _], groups, codebook) = (self.sizes(), self.queries.groups, &self.op.codebook);
        parallel::for_each_chunk(dkeys, k * s, |book, dkeys| {
            let mut product = vec![0.0; s];
            for g in (0..groups).filter(|&g| codebook.of(g) == book) {
                let mean = &moments.mean[g * s..][..s];
                let covariance = &moments.covariance[g * s * s..][..s * s];
                dispatch!(level(), simd => simd.vectorize(#[inline(always)] || for (j, dkey) in dkeys.chunks_exact_mut(s).enumerate() {
                    let key = &self.keys.data()[(book * k + j) * s..][..s];
                    product.fill(0.0);
                    for (row, key) in covariance.chunks_exact(s).zip(key) {
                        product.iter_mut().zip(row).for_each(|(sum, c)| *sum += c * key.to_f64());
                    }
                    let constant = slopes.a[j] + slopes.b[j] * self.off_mean(g, j);
                    let reciprocal = self.op.normalizer.reciprocals[j].to_f64();
                    let of_mean = s1[g * k + j].to_f64() * reciprocal - moments.total * constant;
                    let of_product = moments.total * slopes.b[j];
                    for ((dkey, mean), product) in dkey.iter_mut().zip(mean).zip(&product) {
                        *dkey += T::from_f64(of_mean * mean - of_product * product);
                    }
                }));
            }
        });
    }

    /// - (A_g, h_g) of every group, (s + 1) x s: what c (q', 1) is multiplied by.
    fn linear(&self, slopes: &Slopes) -> Buffer<T> {
        let ([k, s, _], codebook) = (self.sizes(), &self.op.codebook);
        let mut matrices = self.pools.values.take(self.queries.groups * (s + 1) * s);
        parallel::for_each_chunk(&mut matrices, (s + 1) * s, |g, matrix| {
            let mut sums = self.pools.moments.take((s + 1) * s);
            sums.fill(0.0);
            dispatch!(level(), simd => simd.vectorize(#[inline(always)] || for j in 0..k {
                let key = &self.keys.data()[(codebook.of(g) * k + j) * s..][..s];
                let constant = slopes.a[j] + slopes.b[j] * self.off_mean(g, j);
                let of_rows = key.iter().map(|key| slopes.b[j] * key.to_f64()).chain([constant]);
                for (sums, factor) in sums.chunks_exact_mut(s).zip(of_rows) {
                    sums.iter_mut().zip(key).for_each(|(sum, key)| *sum += factor * key.to_f64());
                }
            }));
            matrix.iter_mut().zip(&*sums).for_each(|(out, sum)| *out = T::from_f64(-sum));
        });
        matrices
    }

    /// Turns dq, panels so far, into rows where it stands, and takes the statistics' share off it
    /// where that is linear in q'.
    fn finish(&self, linear: Option<&[T]>, dq: &mut [T]) {
        let Backward { op, pools, queries, .. } = self;
        let ([_, s, d], centre) = (self.sizes(), self.centre());
        let width = s * T::LANES;
        // Half a block: with few rows a thread would be left with too many.
        let size = BLOCK / 2;
        parallel::for_each_chunk_back(dq, size * d, |i, dq| {
            let [mut off, mut weighted] = [(); 2].map(|()| pools.values.take(width + T::LANES));
            let mut q = pools.values.take(groups_of_tile(s) * width);
            let mut whole = pools.values.take(d * T::LANES);
            let rows = i * size..queries.len().min((i + 1) * size);
            for (tokens, dq) in panel::tokens::<T>(rows).zip(dq.chunks_exact_mut(d * T::LANES)) {
                dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                    match linear {
                        None => whole.copy_from_slice(dq),
                        Some(linear) => {
                            let weights = op.distinct.weights(&pools.values, tokens.clone());
                            for tile in queries.tiles() {
                                queries.panels(simd, tokens.clone(), tile.clone(), &mut q);
                                for (g, q) in tile.zip(q.chunks_exact(width)) {
                                    centred(simd, q, &centre[g * s..][..s], &mut off);
                                    panel::scale(simd, &off, &weights, &mut weighted);
                                    let matrix = &linear[g * (s + 1) * s..][..(s + 1) * s];
                                    let dq = &dq[g * width..][..width];
                                    panel::product_with::<_, T, false>(
                                        simd,
                                        matrix,
                                        s,
                                        &weighted,
                                        &mut whole[g * width..][..width],
                                        #[inline(always)]
                                        |a, share| share + T::Wide::from_slice(simd, &dq[a * T::LANES..][..T::LANES]),
                                    );
                                }
                            }
                        }
                    }
                    for tile in queries.tiles() {
                        let columns = tile.start * s..tile.end * s;
                        let rows = dq.chunks_exact_mut(d).take(tokens.len());
                        let whole = &whole[columns.start * T::LANES..columns.end * T::LANES];
                        panel::scatter(simd, whole, rows.map(|row| &mut row[columns.clone()]));
                    }
                }));
            }
        });
    }

    /// Takes the statistics' share off dq by computing the scores again, and returns its share of
    /// dC^k: where groups are wide and codebooks tiny.
    fn correct_by_scores(&self, slopes: &Slopes, dq: &mut [T]) -> Buffer<T> {
        let Backward { op, pools, queries, keys, .. } = self;
        let [k, s, d] = self.sizes();
        let slope = |values: &[f64]| -> Vec<T> { values.iter().map(|&x| T::from_f64(x)).collect() };
        let (a, b) = (slope(&slopes.a), slope(&slopes.b));
        self.sweep(dq, keys.data().len(), |rows, dq, part| {
            let [mut q, mut share] = [(); 2].map(|()| pools.values.take(s * T::LANES));
            let (mut dr, mut products) = (pools.values.take(k * T::LANES), pools.values.take(k * s));
            for (tokens, dq) in panel::tokens::<T>(rows).zip(dq.chunks_mut(T::LANES * d)) {
                let weights = op.distinct.weights(&pools.values, tokens.clone());
                for (g, dq) in dq.chunks_exact_mut(s * T::LANES).enumerate() {
                    let book = op.codebook.of(g) * k * s..(op.codebook.of(g) + 1) * k * s;
                    dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                        queries.panels(simd, tokens.clone(), g..g + 1, &mut q);
                        score(simd, Score::Dot, &op.codebook, g, &q, &mut dr);
                        for (j, dr) in dr.chunks_exact_mut(T::LANES).enumerate() {
                            for (dr, &weight) in dr.iter_mut().zip(&*weights) {
                                *dr = -weight * (a[j] + b[j] * (*dr - op.normalizer.means[j]));
                            }
                        }
                        panel::product(simd, &keys.data()[book.clone()], s, &dr, &mut share);
                        dq.iter_mut().zip(&*share).for_each(|(dq, share)| *dq += *share);
                        panel::outer(simd, (&dr, k), (&q, s), &mut products);
                        part[book.clone()].iter_mut().zip(&*products).for_each(|(sum, x)| *sum += *x);
                    }));
                }
            }
        })
    }
}
