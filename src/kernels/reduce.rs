//! Sums and maxima in a fixed number of lanes.

use super::dispatch::dispatch;
use super::elementwise::CHUNK;
use super::vector::load_end;
use crate::real::Real;
use fearless_simd::{Simd, prelude::*};

/// The sum of all elements. Pieces of [`CHUNK`] elements are added up in double precision.
pub(crate) fn sum<T: Real>(x: &[T]) -> T {
    let part = |x: &[T]| dispatch!(|simd| sum_of_chunk(simd, x)).to_f64();
    T::from_f64(x.chunks(CHUNK).map(part).sum())
}

#[inline(always)]
fn sum_of_chunk<S: Simd, T: Real>(simd: S, x: &[T]) -> T {
    fold(
        simd,
        x,
        x,
        #[inline(always)]
        |sum, x, _| sum + x,
    )
}

/// The sum of a\[i\] b\[i\]. Pieces of [`CHUNK`] elements are added up in double precision.
pub(crate) fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    assert_eq!(a.len(), b.len());
    let part = |(a, b): (&[T], &[T])| dispatch!(|simd| dot_of_chunk(simd, a, b)).to_f64();
    a.chunks(CHUNK).zip(b.chunks(CHUNK)).map(part).sum()
}

/// The sum of a\[i\] b\[i\], of at most [`CHUNK`] elements.
#[inline(always)]
pub(crate) fn dot_of_chunk<S: Simd, T: Real>(simd: S, a: &[T], b: &[T]) -> T {
    fold(
        simd,
        a,
        b,
        #[inline(always)]
        |sum, a, b| a.mul_add(b, sum),
    )
}

/// Four vectors of partial sums, added up at the end.
#[inline(always)]
fn fold<S: Simd, T: Real>(
    simd: S,
    a: &[T],
    b: &[T],
    step: impl Fn(T::Wide<S>, T::Wide<S>, T::Wide<S>) -> T::Wide<S>,
) -> T {
    let mut sums = [T::Wide::<S>::splat(simd, T::ZERO); 4];
    let (mut rest_a, mut rest_b) = (a.chunks_exact(4 * T::LANES), b.chunks_exact(4 * T::LANES));
    for (a, b) in (&mut rest_a).zip(&mut rest_b) {
        for v in 0..4 {
            let lanes = v * T::LANES..(v + 1) * T::LANES;
            let (a, b) = (&a[lanes.clone()], &b[lanes]);
            sums[v] =
                step(sums[v], T::Wide::<S>::from_slice(simd, a), T::Wide::<S>::from_slice(simd, b));
        }
    }
    let rest = rest_a.remainder().chunks(T::LANES).zip(rest_b.remainder().chunks(T::LANES));
    for (sum, (a, b)) in sums.iter_mut().zip(rest) {
        let (a, b) = (load_end::<S, T>(simd, a, T::ZERO), load_end::<S, T>(simd, b, T::ZERO));
        *sum = step(*sum, a, b);
    }
    ((sums[0] + sums[1]) + (sums[2] + sums[3])).reduce_sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_every_remainder() {
        for n in [0, 1, 15, 16, 17, 64, 100, 70_000] {
            let x: Vec<f32> = (0..n).map(|i| (i % 7) as f32 - 3.0).collect();
            assert_eq!(sum(&x), x.iter().sum::<f32>(), "{n}");
            assert_eq!(dot(&x, &x), x.iter().map(|x| f64::from(x * x)).sum::<f64>(), "{n}");
        }
    }
}
