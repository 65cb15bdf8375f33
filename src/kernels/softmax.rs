//! Softmax of rows.

use super::exponential::{exp_negative, partial};
use super::level;
use crate::real::Real;
use fearless_simd::{Simd, dispatch, prelude::*};

/// row\[j\] <- exp(row\[j\] + bias\[j\] - max), max over j of row\[j\] + bias\[j\]; returns (max, sum of the
/// new entries). A NaN in the row makes the sum NaN.
pub(crate) fn exp_shifted<T: Real>(row: &mut [T], bias: Option<&[T]>) -> (T, T) {
    dispatch!(level(), simd => exp_shifted_with(simd, row, bias))
}

#[inline(always)]
fn exp_shifted_with<S: Simd, T: Real>(simd: S, row: &mut [T], bias: Option<&[T]>) -> (T, T) {
    simd.vectorize(
        #[inline(always)]
        || {
            let lowest = -T::ONE / T::ZERO;
            let mut max = T::Wide::<S>::splat(simd, lowest);
            if let Some(bias) = bias {
                let (xs, rest) = split_mut(row);
                let whole = bias.chunks_exact(T::LANES);
                rest.iter_mut().zip(whole.remainder()).for_each(|(x, b)| *x += *b);
                for (x, bias) in xs.chunks_exact_mut(T::LANES).zip(whole) {
                    let y =
                        T::Wide::<S>::from_slice(simd, x) + T::Wide::<S>::from_slice(simd, bias);
                    max = max.max(y);
                    y.store_slice(x);
                }
            } else {
                for x in row.chunks_exact(T::LANES) {
                    max = max.max(T::Wide::<S>::from_slice(simd, x));
                }
            }
            let (row, rest) = split_mut(row);
            let max = max.max(partial::<S, T>(simd, rest, lowest)).reduce_max();
            let mut sums = [T::Wide::<S>::splat(simd, T::ZERO); 2];
            for (i, x) in row.chunks_exact_mut(T::LANES).enumerate() {
                let e = exp_negative::<S, T>(simd, T::Wide::<S>::from_slice(simd, x) - max);
                sums[i % 2] += e;
                e.store_slice(x);
            }
            let last = exp_negative::<S, T>(simd, partial::<S, T>(simd, rest, lowest) - max);
            for (x, e) in rest.iter_mut().zip(last.as_slice()) {
                *x = *e;
                sums[0][0] += *e;
            }
            (max, (sums[0] + sums[1]).reduce_sum())
        },
    )
}

/// Whole vectors, and the rest.
#[inline(always)]
fn split_mut<T: Real>(row: &mut [T]) -> (&mut [T], &mut [T]) {
    row.split_at_mut(row.len() / T::LANES * T::LANES)
}

/// x\[j\] <- factor x\[j\]; sums\[j\] += what it is then.
pub(crate) fn scale_and_add<T: Real>(x: &mut [T], factor: T, sums: &mut [T]) {
    dispatch!(level(), simd => scale_and_add_with(simd, x, factor, sums));
}

#[inline(always)]
fn scale_and_add_with<S: Simd, T: Real>(simd: S, x: &mut [T], factor: T, sums: &mut [T]) {
    simd.vectorize(
        #[inline(always)]
        || {
            for (x, sum) in x.iter_mut().zip(sums) {
                *x *= factor;
                *sum += *x;
            }
        },
    );
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
