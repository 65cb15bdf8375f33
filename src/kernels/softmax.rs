//! Softmax of rows.

use super::dispatch::dispatch;
use super::exponential::exp_negative;
use super::vector::load_end;
use crate::real::Real;
use fearless_simd::{Simd, prelude::*};

/// row\[j\] <- exp(row\[j\] + bias\[j\] - max), max over j of row\[j\] + bias\[j\]; returns (max, sum of the
/// new entries). A NaN in the row makes the sum NaN.
pub(crate) fn exp_shifted<T: Real>(row: &mut [T], bias: Option<&[T]>) -> (T, T) {
    dispatch!(|simd| exp_shifted_in(simd, row, bias))
}

#[inline(always)]
fn exp_shifted_in<S: Simd, T: Real>(simd: S, row: &mut [T], bias: Option<&[T]>) -> (T, T) {
    let max = match bias {
        Some(bias) => add_and_largest(simd, row, bias),
        None => largest(simd, row),
    };
    (max, exp_less(simd, row, max))
}

/// x\[j\] += bias\[j\]; returns the largest.
#[inline(always)]
fn add_and_largest<S: Simd, T: Real>(simd: S, x: &mut [T], bias: &[T]) -> T {
    let lowest = -T::ONE / T::ZERO;
    let mut max = T::Wide::<S>::splat(simd, lowest);
    let (mut vectors, whole) = (x.chunks_exact_mut(T::LANES), bias.chunks_exact(T::LANES));
    let end_of_bias = whole.remainder();
    for (x, bias) in (&mut vectors).zip(whole) {
        let sum = T::Wide::<S>::from_slice(simd, x) + T::Wide::<S>::from_slice(simd, bias);
        max = max.max(sum);
        sum.store_slice(x);
    }
    let end = vectors.into_remainder();
    end.iter_mut().zip(end_of_bias).for_each(|(x, b)| *x += *b);
    max.max(load_end::<S, T>(simd, end, lowest)).reduce_max()
}

/// The largest element.
#[inline(always)]
fn largest<S: Simd, T: Real>(simd: S, x: &[T]) -> T {
    let lowest = -T::ONE / T::ZERO;
    let mut max = T::Wide::<S>::splat(simd, lowest);
    let vectors = x.chunks_exact(T::LANES);
    let end = load_end::<S, T>(simd, vectors.remainder(), lowest);
    for x in vectors {
        max = max.max(T::Wide::<S>::from_slice(simd, x));
    }
    max.max(end).reduce_max()
}

/// x\[j\] <- exp(x\[j\] - max); returns their sum.
#[inline(always)]
fn exp_less<S: Simd, T: Real>(simd: S, x: &mut [T], max: T) -> T {
    let mut sums = [T::Wide::<S>::splat(simd, T::ZERO); 2];
    let mut vectors = x.chunks_exact_mut(T::LANES);
    for (i, x) in (&mut vectors).enumerate() {
        let e = exp_negative::<S, T>(simd, T::Wide::<S>::from_slice(simd, x) - max);
        sums[i % 2] += e;
        e.store_slice(x);
    }
    let end = vectors.into_remainder();
    let lowest = -T::ONE / T::ZERO;
    let last = exp_negative::<S, T>(simd, load_end::<S, T>(simd, end, lowest) - max);
    for (x, e) in end.iter_mut().zip(last.as_slice()) {
        *x = *e;
        sums[0][0] += *e;
    }
    (sums[0] + sums[1]).reduce_sum()
}
