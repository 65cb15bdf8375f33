//! The standard normal distribution: its density phi, and Phi, the probability of a smaller value.
//!
//! For u >= 0, Phi(-u) = e^(-u^2 / 2) Q(s) / (u + 5), where s = (u - 5) / (u + 5) goes from -1 to 1 as
//! u goes from 0 to infinity. Q varies so little that one polynomial serves for all u, without
//! branches. Phi(u) = 1 - Phi(-u).

use super::dispatch::dispatch;
use super::elementwise::CHUNK;
use super::exponential::exp_negative;
use super::vector::{load_end, store_end};
use crate::parallel;
use crate::real::Real;
use fearless_simd::{Simd, prelude::*};

/// Q in single precision: equal to it at 10 Chebyshev points of s, for u from 0 to 14, and within a
/// relative 1.4e-8 between them.
const TERMS_F32: [f64; 10] = [
    0.769193053,
    -0.665382445,
    0.495306462,
    -0.313535541,
    0.165005013,
    -0.0691040978,
    0.0208935421,
    -0.00298318616,
    -0.00102041697,
    0.00038290181,
];

/// Q in double precision: equal to it at 22 Chebyshev points of s, for u from 0 to 40, and within a
/// relative 4.1e-17 between them.
const TERMS_F64: [f64; 22] = [
    0.769193049750063,
    -0.6653825028900567,
    0.49530561596997386,
    -0.31353315667129955,
    0.16502036617051113,
    -0.06911863870640436,
    0.020795066797416595,
    -0.0029933767701593532,
    -0.0007978693739469138,
    0.0005448990707733159,
    -5.937586780212169e-05,
    -4.976288868029808e-05,
    1.6681694446690882e-05,
    3.981274923141603e-06,
    -2.770264894685992e-06,
    -3.376318795644607e-07,
    4.343124300104718e-07,
    4.385236079192329e-08,
    -6.65400740125251e-08,
    -1.0623937439932971e-08,
    7.573702456952603e-09,
    2.2061860857956886e-09,
];

fn terms<T: Real>() -> &'static [f64] {
    if T::MANTISSA_BITS == f32::MANTISSA_BITS { &TERMS_F32 } else { &TERMS_F64 }
}

/// Beyond +-40, Phi(-|x|) and phi(x) are 0 in either precision.
const FAR: f64 = 40.0;

/// [Phi(x), phi(x)], each with a relative error of a few units in the last place, 0 where it would
/// be subnormal, NaN for NaN.
#[inline(always)]
fn normal<S: Simd, T: Real>(simd: S, x: T::Wide<S>) -> [T::Wide<S>; 2] {
    let splat = |value: f64| T::Wide::<S>::splat(simd, T::from_f64(value));
    let u = x.abs();
    let u = u.simd_gt(splat(FAR)).select(splat(FAR), u);
    let square = u * u;
    let e = exp_negative::<S, T>(simd, square * splat(-0.5));
    // What the square's rounding lost changes the exponential by that part of it.
    let lost = u.mul_add(u, -square);
    let e = (e * lost).mul_add(splat(-0.5), e);
    let reciprocal = splat(1.0) / (u + splat(5.0));
    let s = (u - splat(5.0)) * reciprocal;
    let (last, rest) = terms::<T>().split_last().expect("there are terms");
    let q = rest.iter().rev().fold(splat(*last), |q, &term| q.mul_add(s, splat(term)));
    let tail = e * reciprocal * q;
    let below = x.simd_lt(splat(0.0)).select(tail, splat(1.0) - tail);
    // 1 / sqrt(2 pi)
    [below, e * splat(0.398_942_280_401_432_7)]
}

/// y\[i\] = x\[i\] Phi(x\[i\])
pub(crate) fn gelu<T: Real>(x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len());
    parallel::for_each_chunk(y, CHUNK, |i, y| {
        let x = &x[i * CHUNK..][..y.len()];
        dispatch!(|simd| each(simd, x, x, y, gelu_of_vector::<_, T>));
    });
}

#[inline(always)]
fn gelu_of_vector<S: Simd, T: Real>(simd: S, x: T::Wide<S>, _: T::Wide<S>) -> T::Wide<S> {
    let [below, _] = normal::<S, T>(simd, x);
    // Minus infinity times a probability of 0 would be NaN.
    let far = T::Wide::<S>::splat(simd, T::from_f64(-FAR));
    x.simd_lt(far).select(far, x) * below
}

/// dx\[i\] = dy\[i\] (Phi(x\[i\]) + x\[i\] phi(x\[i\]))
pub(crate) fn gelu_backward<T: Real>(x: &[T], dy: &[T], dx: &mut [T]) {
    assert!(x.len() == dx.len() && dy.len() == dx.len());
    parallel::for_each_chunk(dx, CHUNK, |i, dx| {
        let (x, dy) = (&x[i * CHUNK..][..dx.len()], &dy[i * CHUNK..][..dx.len()]);
        dispatch!(|simd| each(simd, x, dy, dx, gelu_backward_of_vector::<_, T>));
    });
}

#[inline(always)]
fn gelu_backward_of_vector<S: Simd, T: Real>(
    simd: S,
    x: T::Wide<S>,
    dy: T::Wide<S>,
) -> T::Wide<S> {
    let [below, density] = normal::<S, T>(simd, x);
    // Infinity times a density of 0 would be NaN.
    let far = T::Wide::<S>::splat(simd, T::from_f64(FAR));
    let x = x.abs().simd_gt(far).select(far, x);
    dy * x.mul_add(density, below)
}

/// y\[i\] = f(a\[i\], b\[i\]), a vector at a time; the last one is filled up with zeros.
#[inline(always)]
fn each<S: Simd, T: Real>(
    simd: S,
    a: &[T],
    b: &[T],
    y: &mut [T],
    f: impl Fn(S, T::Wide<S>, T::Wide<S>) -> T::Wide<S>,
) {
    let (mut a, mut b) = (a.chunks_exact(T::LANES), b.chunks_exact(T::LANES));
    let mut y = y.chunks_exact_mut(T::LANES);
    for ((y, a), b) in (&mut y).zip(&mut a).zip(&mut b) {
        let (a, b) = (T::Wide::<S>::from_slice(simd, a), T::Wide::<S>::from_slice(simd, b));
        f(simd, a, b).store_slice(y);
    }
    let end = [a.remainder(), b.remainder()].map(|x| load_end::<S, T>(simd, x, T::ZERO));
    store_end::<S, T>(f(simd, end[0], end[1]), y.into_remainder());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    fn phi(x: f64) -> f64 {
        (-x * x / 2.0).exp() / (2.0 * PI).sqrt()
    }

    /// Phi(-u) for u >= 0: by the series of Phi(u) - 1/2 = phi(u) (u + u^3 / 3 + u^5 / (3 5) + ...) near
    /// 0, by the continued fraction phi(u) / (u + 1 / (u + 2 / (u + ...))) further out.
    fn tail(u: f64) -> f64 {
        if u < 2.5 {
            let mut term = u;
            let mut sum = 0.0;
            for k in 1..60 {
                sum += term;
                term *= u * u / f64::from(2 * k + 1);
            }
            0.5 - phi(u) * sum
        } else {
            phi(u) / (1..200).rev().fold(u, |sum, k| u + f64::from(k) / sum)
        }
    }

    fn below(x: f64) -> f64 {
        if x < 0.0 { tail(-x) } else { 1.0 - tail(x) }
    }

    /// The largest error of a function and of its slope, relative to the value, or for the slope to its two terms.
    fn worst<T: Real>(range: std::ops::Range<f64>) -> [f64; 2] {
        let n = 100_003;
        let x: Vec<T> = (0..n)
            .map(|i| {
                T::from_f64(
                    range.start + (range.end - range.start) * f64::from(i) / f64::from(n - 1),
                )
            })
            .collect();
        let ones = vec![T::ONE; x.len()];
        let (mut y, mut dx) = (ones.clone(), ones.clone());
        gelu(&x, &mut y);
        gelu_backward(&x, &ones, &mut dx);
        let (mut of_value, mut of_slope) = (0.0_f64, 0.0_f64);
        for ((x, y), dx) in x.iter().zip(&y).zip(&dx) {
            let x = x.to_f64();
            let (value, terms) = (x * below(x), [below(x), x * phi(x)]);
            if x != 0.0 {
                of_value = of_value.max(((y.to_f64() - value) / value).abs());
            }
            let error = (dx.to_f64() - (terms[0] + terms[1])).abs();
            of_slope = of_slope.max(error / terms[0].max(terms[1].abs()));
        }
        [of_value, of_slope].map(|error| error / 0.5_f64.powi(T::MANTISSA_BITS as i32))
    }

    #[test]
    fn gelu_and_its_slope_are_precise_in_the_tails_too() {
        for (name, worst) in [
            ("f32", worst::<f32>(-12.0..20.0)),
            ("f32 near 0", worst::<f32>(-0.5..0.5)),
            ("f64", worst::<f64>(-35.0..35.0)),
            ("f64 near 0", worst::<f64>(-0.5..0.5)),
        ] {
            println!("{name}: {worst:?} eps");
        }
    }
}
