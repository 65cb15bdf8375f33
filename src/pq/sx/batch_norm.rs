//! What the batch's statistics contribute to the gradient: the two means of `dr` in the
//! [front page](super)'s formulae.

use super::pass::{Pass, QueryPanels};
use crate::kernels::dispatch::dispatch;
use crate::kernels::elementwise::add;
use crate::kernels::panel::{self, Panels};
use crate::parallel::{self, Order};
use crate::pq::queries::PIECES;
use crate::pq::score::score_part;
use crate::pq::statistics::{Moments, centred};
use crate::real::Real;
use crate::tape::Ranks;
use crate::tensor::Buffer;
use fearless_simd::{Simd, prelude::*};
use std::ops::Range;

/// S2\[j\] sd\[j\], the sums of drh rh times sd, from the sums P, like the keys, and S1, D x K.
pub(super) fn scores_times_gradient<T: Real>(
    pass: &Pass<'_, T>,
    of_keys: &[T],
    s1: &[T],
) -> Vec<f64> {
    let [k, s, _] = pass.sizes();
    let mut sums = vec![0.0; k];
    for (i, (p, key)) in of_keys.chunks_exact(s).zip(pass.keys.rows()).enumerate() {
        let terms = p.iter().zip(key).map(|(p, c)| p.to_f64() * c.to_f64());
        sums[i % k] += terms.sum::<f64>();
    }
    for (i, s1) in s1.iter().enumerate() {
        let (g, j) = (i / k, i % k);
        sums[j] += pass.off_mean(g, j) * s1.to_f64();
    }
    sums
}

/// a\[j\] = S1\[j\] / (N sd\[j\]) and b\[j\] = S2\[j\] / (N sd\[j\]^2)
pub(super) struct Slopes<'a, T: Real> {
    pass: &'a Pass<'a, T>,
    a: Vec<f64>,
    b: Vec<f64>,
    /// How many ranks there are: each has its share of what follows from all ranks' moments.
    ranks: f64,
}

impl<'a, T: Real> Slopes<'a, T> {
    /// From the sums P, like the keys, and S1, D x K, of all ranks.
    pub(super) fn new(pass: &'a Pass<'a, T>, ranks: &Ranks, of_keys: &[T], s1: &[T]) -> Self {
        let [k, _, _] = pass.sizes();
        // S2 sd, S1 and N.
        let mut sums = scores_times_gradient(pass, of_keys, s1);
        sums.resize(2 * k, 0.0);
        s1.iter().enumerate().for_each(|(i, s1)| sums[k + i % k] += s1.to_f64());
        sums.push((pass.op.scored.distinct.total() * pass.op.config.groups) as f64);
        ranks.sum(&mut sums);
        let (n, a) = (sums[2 * k], sums[k..2 * k].to_vec());
        sums.truncate(k);
        let mut slopes = Slopes { pass, a, b: sums, ranks: ranks.size() as f64 };
        for j in 0..k {
            let reciprocal = pass.op.scored.normalizer.reciprocals[j].to_f64();
            slopes.a[j] *= reciprocal / n;
            slopes.b[j] *= reciprocal.powi(3) / n;
        }
        slopes
    }

    /// a\[j\] + b\[j\] (m\[g, j\] - mean\[j\])
    #[inline(always)]
    fn at(&self, g: usize, j: usize) -> f64 {
        self.a[j] + self.b[j] * self.pass.off_mean(g, j)
    }

    /// Adds to dC^k, P / sd so far, what the centring and the statistics leave.
    pub(super) fn correct_keys(&self, moments: &Moments, s1: &[T], dkeys: &mut [T]) {
        let ([k, s, _], sizes) = (self.pass.sizes(), self.pass.op.scored.keys.sizes());
        parallel::for_each_chunk(dkeys, k * s, |book, dkeys| {
            let mut product = vec![0.0; s];
            for g in (0..self.pass.queries.groups).filter(|&g| sizes.book(g) == book) {
                let s1 = &s1[g * k..][..k];
                dispatch!(|simd| self.correct_group(simd, moments, g, s1, &mut product, dkeys));
            }
        });
    }

    /// dC^k\[g, j\] += (S1 / sd - (a + b (m - mean)) n) mean_g - b n Cov_g C^k\[g, j\]; `product` is
    /// room for Cov_g C^k\[g, j\].
    #[inline(always)]
    fn correct_group<S: Simd>(
        &self,
        _: S,
        moments: &Moments,
        g: usize,
        s1: &[T],
        product: &mut [f64],
        dkeys: &mut [T],
    ) {
        let (s, n) = (product.len(), moments.total / self.ranks);
        let mean = &moments.mean[g * s..][..s];
        let covariance = &moments.covariance[g * s * s..][..s * s];
        for (j, dkey) in dkeys.chunks_exact_mut(s).enumerate() {
            product.fill(0.0);
            for (row, key) in covariance.chunks_exact(s).zip(self.pass.key(g, j)) {
                product.iter_mut().zip(row).for_each(|(sum, c)| *sum += c * key.to_f64());
            }
            let reciprocal = self.pass.op.scored.normalizer.reciprocals[j].to_f64();
            let of_mean = s1[j].to_f64() * reciprocal - n * self.at(g, j);
            let of_product = n * self.b[j];
            for ((dkey, mean), product) in dkey.iter_mut().zip(mean).zip(&*product) {
                *dkey += T::from_f64(of_mean * mean - of_product * product);
            }
        }
    }

    /// What dq is corrected by, where it is linear in q'.
    pub(super) fn linear(&self) -> Linear<'a, T> {
        let [_, s, _] = self.pass.sizes();
        let pools = self.pass.pools;
        let mut matrices = pools.values.take(self.pass.queries.groups * (s + 1) * s);
        parallel::for_each_chunk(&mut matrices, (s + 1) * s, |g, matrix| {
            let mut sums = pools.moments.take((s + 1) * s);
            dispatch!(|simd| self.matrix(simd, g, &mut sums));
            matrix.iter_mut().zip(&*sums).for_each(|(out, sum)| *out = T::from_f64(-sum));
        });
        Linear { pass: self.pass, matrices }
    }

    /// A_g, s x s, and below it h_g.
    #[inline(always)]
    fn matrix<S: Simd>(&self, _: S, g: usize, sums: &mut [f64]) {
        sums.fill(0.0);
        for j in 0..self.b.len() {
            let key = self.pass.key(g, j);
            let factors = key.iter().map(|key| self.b[j] * key.to_f64()).chain([self.at(g, j)]);
            for (sums, factor) in sums.chunks_exact_mut(key.len()).zip(factors) {
                sums.iter_mut().zip(key).for_each(|(sum, key)| *sum += factor * key.to_f64());
            }
        }
    }

    /// Corrects dq by computing the scores again, and returns what dC^k is corrected by: where groups
    /// are wide and codebooks tiny.
    pub(super) fn correct_by_scores(&self, dq: &mut QueryPanels<T>) -> Buffer<T> {
        let (pass, [k, s, d]) = (self.pass, self.pass.sizes());
        let (pool, pieces) = (&pass.pools.values, pass.queries.pieces());
        let narrow = |values: &[f64]| values.iter().map(|&x| T::from_f64(x)).collect::<Vec<T>>();
        let (a, b) = (narrow(&self.a), narrow(&self.b));
        let piece = |(rows, dq): (Range<usize>, &mut [T]), sums: &mut [T]| {
            let [mut q, mut contribution, mut dr] = [s, s, k].map(|n| pool.take(n * T::LANES));
            let mut products = pool.take(k * s);
            for (tokens, dq) in panel::tokens::<T>(rows).zip(dq.chunks_mut(T::LANES * d)) {
                let weights = pass.op.scored.distinct.weights(pool, tokens.clone());
                for (g, dq) in dq.chunks_exact_mut(s * T::LANES).enumerate() {
                    let scratch = [&mut q[..], &mut dr, &mut contribution, &mut products];
                    let tokens = tokens.clone();
                    dispatch!(|simd| correct_part(
                        simd,
                        pass,
                        [&a, &b],
                        tokens,
                        g,
                        &weights,
                        scratch,
                        dq,
                        sums
                    ));
                }
            }
        };
        let mut sums = pool.take(pass.keys.data().len());
        let work = (pieces, dq.of_ids(pass.queries.piece()));
        parallel::sum(pool, PIECES, Order::Forward, work, &mut sums, piece, add);
        sums
    }
}

/// Corrects dq of a panel of tokens in group g, and adds to what dC^k is corrected by; the scratch is
/// room for q, dr, what dq is corrected by, and dC^k of one group.
#[expect(clippy::too_many_arguments, reason = "operands, scratch and two results")]
#[inline(always)]
fn correct_part<S: Simd, T: Real>(
    simd: S,
    pass: &Pass<'_, T>,
    [a, b]: [&[T]; 2],
    tokens: Range<usize>,
    g: usize,
    weights: &[T],
    [q, dr, contribution, products]: [&mut [T]; 4],
    dq: &mut [T],
    sums: &mut [T],
) {
    let scored = &pass.op.scored;
    let ([k, s, _], book) = (pass.sizes(), scored.keys.sizes().elements_of(g));
    score_part(simd, pass.queries, &scored.keys, tokens, g, q, dr);
    for (j, dr) in dr.chunks_exact_mut(T::LANES).enumerate() {
        for (dr, &weight) in dr.iter_mut().zip(weights) {
            *dr = -weight * (a[j] + b[j] * (*dr - scored.normalizer.means[j]));
        }
    }
    panel::product(simd, &pass.keys.data()[book.clone()], dr, contribution);
    dq.iter_mut().zip(&*contribution).for_each(|(dq, x)| *dq += *x);
    panel::outer(simd, Panels::new(dr, k), Panels::new(q, s), products);
    sums[book].iter_mut().zip(&*products).for_each(|(sum, x)| *sum += *x);
}

/// - (A_g, h_g) of every group: what c (q', 1) is multiplied by.
pub(super) struct Linear<'a, T: Real> {
    pass: &'a Pass<'a, T>,
    /// D x (s + 1) x s
    matrices: Buffer<T>,
}

impl<T: Real> Linear<'_, T> {
    /// out = dq - c (A_g q' + h_g) for a panel of tokens. `q` is room for their queries in a tile of
    /// groups, `off` and `weighted` for (q', 1) of one group and its product with c.
    #[inline(always)]
    pub(super) fn correct<S: Simd>(
        &self,
        simd: S,
        tokens: Range<usize>,
        dq: &[T],
        [q, off, weighted]: [&mut [T]; 3],
        out: &mut [T],
    ) {
        let Pass { op, pools, queries, .. } = self.pass;
        let s = queries.group_width();
        let (width, matrix) = (s * T::LANES, (s + 1) * s);
        let weights = op.scored.distinct.weights(&pools.values, tokens.clone());
        for tile in queries.tiles() {
            queries.panels(simd, tokens.clone(), tile.clone(), q);
            for (g, q) in tile.zip(q.chunks_exact(width)) {
                centred(simd, q, self.pass.centre(g), off);
                panel::scale(simd, off, &weights, weighted);
                let dq = &dq[g * width..][..width];
                panel::product_with::<_, T, false>(
                    simd,
                    &self.matrices[g * matrix..][..matrix],
                    weighted,
                    &mut out[g * width..][..width],
                    #[inline(always)]
                    |a, sum| sum + T::Wide::from_slice(simd, &dq[a * T::LANES..][..T::LANES]),
                );
            }
        }
    }
}
