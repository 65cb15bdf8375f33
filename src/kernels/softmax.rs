//! Softmax of rows.

use super::exponential::{exp, partial};
use super::level;
use crate::real::Real;
use fearless_simd::{Simd, dispatch, prelude::*};

/// row\[j\] <- exp(row\[j\] - max); returns (max, sum of the new entries). A NaN in the row makes
/// the sum NaN.
pub(crate) fn exp_shifted<T: Real>(row: &mut [T]) -> (T, T) {
    dispatch!(level(), simd => exp_shifted_with(simd, row))
}

#[inline(always)]
fn exp_shifted_with<S: Simd, T: Real>(simd: S, row: &mut [T]) -> (T, T) {
    simd.vectorize(
        #[inline(always)]
        || {
            let lowest = -T::ONE / T::ZERO;
            let mut max = T::Wide::<S>::splat(simd, lowest);
            let vectors = row.chunks_exact(T::LANES);
            let rest = partial::<S, T>(simd, vectors.remainder(), lowest);
            for x in vectors {
                max = max.max(T::Wide::<S>::from_slice(simd, x));
            }
            let max = max.max(rest).reduce_max();
            let mut sums = [T::Wide::<S>::splat(simd, T::ZERO); 2];
            let mut vectors = row.chunks_exact_mut(T::LANES);
            for (i, x) in (&mut vectors).enumerate() {
                let e = exp::<S, T>(simd, T::Wide::<S>::from_slice(simd, x) - max);
                sums[i % 2] += e;
                e.store_slice(x);
            }
            let rest = vectors.into_remainder();
            let last = exp::<S, T>(simd, partial::<S, T>(simd, rest, lowest) - max);
            for (x, e) in rest.iter_mut().zip(last.as_slice()) {
                *x = *e;
                sums[0][0] += *e;
            }
            (max, (sums[0] + sums[1]).reduce_sum())
        },
    )
}

/// x\[j\] <- factor x\[j\]
pub(crate) fn scale<T: Real>(x: &mut [T], factor: T) {
    dispatch!(level(), simd => scale_with(simd, x, factor));
}

#[inline(always)]
fn scale_with<S: Simd, T: Real>(simd: S, x: &mut [T], factor: T) {
    simd.vectorize(
        #[inline(always)]
        || {
            for x in x {
                *x *= factor;
            }
        },
    );
}
