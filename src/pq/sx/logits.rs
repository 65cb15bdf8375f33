//! What the softmax of the softmax form is taken of: the normalised scores over the temperature.
//!
//! As powers of 2, p\[j\] = 2^l\[j\] / sum 2^l, each logit is one product with a scaled key:
//!
//! ```text
//! l[j] = log2(e) / (tau sd[j]) < C^k[j], q > - log2(e) mean[j] / (tau sd[j])
//! ```

use crate::kernels::exponential::exp2_negative;
use crate::kernels::panel;
use crate::pq::codebook::Columns;
use crate::pq::normalization::Normalizer;
use crate::real::Real;
use crate::tensor::{Buffer, Pool, Tensor};
use fearless_simd::{Simd, prelude::*};

/// The scaled keys, and what is added.
pub(super) struct Logits<T: Real> {
    /// log2(e) / (tau sd\[j\]) C^k\[j\]
    scaled_keys: Columns<T>,
    /// - log2(e) mean\[j\] / (tau sd\[j\])
    offsets: Buffer<T>,
}

impl<T: Real> Logits<T> {
    pub(super) fn new(
        pool: &Pool<T>,
        keys: &Tensor<T>,
        normalizer: &Normalizer<T>,
        temperature: f64,
    ) -> Self {
        let rate = T::from_f64(std::f64::consts::LOG2_E / temperature);
        let mut offsets = pool.take(normalizer.means.len());
        let statistics = normalizer.means.iter().zip(&*normalizer.reciprocals);
        for (offset, (&mean, &reciprocal)) in offsets.iter_mut().zip(statistics) {
            *offset = -mean * (reciprocal * rate);
        }
        let scaled = normalizer.over_sd(pool, keys.shape(), keys.data(), rate);
        Logits { scaled_keys: Columns::new(pool, &scaled), offsets }
    }

    /// e\[j\] = 2^(l\[j\] - max l) for a panel of queries of group g; returns the sum of each token's.
    /// Where there are `limits`, a token has only as many; the others are 0.
    #[inline(always)]
    pub(super) fn powers<S: Simd>(
        &self,
        simd: S,
        g: usize,
        q: &[T],
        limits: &[T],
        e: &mut [T],
    ) -> T::Wide<S> {
        match limits {
            [] => self.powers_within::<S, false>(simd, g, q, limits, e),
            limits => self.powers_within::<S, true>(simd, g, q, limits, e),
        }
    }

    #[inline(always)]
    fn powers_within<S: Simd, const LIMITED: bool>(
        &self,
        simd: S,
        g: usize,
        q: &[T],
        limits: &[T],
        e: &mut [T],
    ) -> T::Wide<S> {
        let lowest = T::Wide::<S>::splat(simd, -T::ONE / T::ZERO);
        let [zero, one] = [T::ZERO, T::ONE].map(|x| T::Wide::<S>::splat(simd, x));
        let limits = if LIMITED { T::Wide::<S>::from_slice(simd, limits) } else { zero };
        let (offsets, mut top, mut number) = (&*self.offsets, lowest, zero);
        panel::product_with::<S, T, false>(
            simd,
            self.scaled_keys.of(g),
            q,
            e,
            #[inline(always)]
            |j, dot: T::Wide<S>| {
                let mut logit = dot + offsets[j];
                if LIMITED {
                    logit = number.simd_lt(limits).select(logit, lowest);
                    number += one;
                }
                top = top.max(logit);
                logit
            },
        );
        // Two at a time, which need not wait for each other.
        let mut total = zero;
        let mut pairs = e.chunks_exact_mut(2 * T::LANES);
        for pair in &mut pairs {
            let (a, b) = pair.split_at_mut(T::LANES);
            let (x, y) = (power(simd, a, top), power(simd, b, top));
            total += x + y;
            x.store_slice(a);
            y.store_slice(b);
        }
        for last in pairs.into_remainder().chunks_exact_mut(T::LANES) {
            let x = power(simd, last, top);
            total += x;
            x.store_slice(last);
        }
        total
    }
}

/// 2^(l - top)
#[inline(always)]
fn power<S: Simd, T: Real>(simd: S, l: &[T], top: T::Wide<S>) -> T::Wide<S> {
    exp2_negative::<S, T>(simd, T::Wide::<S>::from_slice(simd, l) - top)
}
