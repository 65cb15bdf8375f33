//! The standard normal distribution: its density phi, and Phi, the probability of a smaller value.
//!
//! For u >= 0, Phi(-u) = e^(-u^2 / 2) Q(s) / (u + 5), where s = (u - 5) / (u + 5) goes from -1 to 1
//! as u goes from 0 to infinity. Q varies so little that one polynomial serves for all u, without
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

#[inline(always)]
fn terms<T: Real>() -> &'static [f64] {
    if size_of::<T>() == size_of::<f32>() { &TERMS_F32 } else { &TERMS_F64 }
}

/// Beyond +-40, Phi(-|x|) and phi(x) are 0 in either precision.
const FAR: f64 = 40.0;

/// \[Phi(x), phi(x)\], each within a few units in the last place; 0 where it would be subnormal,
/// NaN for NaN.
#[inline(always)]
fn normal<S: Simd, T: Real>(simd: S, x: T::Wide<S>) -> [T::Wide<S>; 2] {
    let splat = |value: f64| T::Wide::<S>::splat(simd, T::from_f64(value));
    let u = x.abs();
    let u = u.simd_gt(splat(FAR)).select(splat(FAR), u);
    let square = u * u;
    let e = exp_negative::<S, T>(simd, square * splat(-0.5));
    // What the square's rounding lost, which matters where the square is large: e^-(a + b) is about
    // e^-a (1 - b). (Without fused multiply-add it is not known.)
    let lost = u.mul_add(u, -square);
    let e = (e * lost).mul_add(splat(-0.5), e);
    let reciprocal = splat(1.0) / (u + splat(5.0));
    let s = (u - splat(5.0)) * reciprocal;
    // A loop and not a fold, whose closure would be called.
    let terms = terms::<T>();
    let mut q = splat(terms[terms.len() - 1]);
    for i in (0..terms.len() - 1).rev() {
        q = q.mul_add(s, splat(terms[i]));
    }
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
        dispatch!(|simd| gelu_chunk(simd, x, y));
    });
}

#[inline(always)]
fn gelu_chunk<S: Simd, T: Real>(simd: S, x: &[T], y: &mut [T]) {
    let far = T::Wide::<S>::splat(simd, T::from_f64(-FAR));
    each(
        simd,
        x,
        x,
        y,
        #[inline(always)]
        |x, _| {
            let [below, _] = normal::<S, T>(simd, x);
            // Minus infinity times a probability of 0 would be NaN.
            x.simd_lt(far).select(far, x) * below
        },
    );
}

/// dx\[i\] = dy\[i\] (Phi(x\[i\]) + x\[i\] phi(x\[i\]))
pub(crate) fn gelu_backward<T: Real>(x: &[T], dy: &[T], dx: &mut [T]) {
    assert!(x.len() == dx.len() && dy.len() == dx.len());
    parallel::for_each_chunk(dx, CHUNK, |i, dx| {
        let (x, dy) = (&x[i * CHUNK..][..dx.len()], &dy[i * CHUNK..][..dx.len()]);
        dispatch!(|simd| gelu_backward_chunk(simd, x, dy, dx));
    });
}

#[inline(always)]
fn gelu_backward_chunk<S: Simd, T: Real>(simd: S, x: &[T], dy: &[T], dx: &mut [T]) {
    let far = T::Wide::<S>::splat(simd, T::from_f64(FAR));
    each(
        simd,
        x,
        dy,
        dx,
        #[inline(always)]
        |x, dy| {
            let [below, density] = normal::<S, T>(simd, x);
            // Infinity times a density of 0 would be NaN.
            let x = x.abs().simd_gt(far).select(far, x);
            dy * x.mul_add(density, below)
        },
    );
}

/// y\[i\] = f(a\[i\], b\[i\]), a vector at a time; the last one is filled up with zeros.
#[inline(always)]
fn each<S: Simd, T: Real>(
    simd: S,
    a: &[T],
    b: &[T],
    y: &mut [T],
    f: impl Fn(T::Wide<S>, T::Wide<S>) -> T::Wide<S>,
) {
    let (mut a, mut b) = (a.chunks_exact(T::LANES), b.chunks_exact(T::LANES));
    let mut y = y.chunks_exact_mut(T::LANES);
    for ((y, a), b) in (&mut y).zip(&mut a).zip(&mut b) {
        let (a, b) = (T::Wide::<S>::from_slice(simd, a), T::Wide::<S>::from_slice(simd, b));
        f(a, b).store_slice(y);
    }
    let last_a = load_end::<S, T>(simd, a.remainder(), T::ZERO);
    let last_b = load_end::<S, T>(simd, b.remainder(), T::ZERO);
    store_end::<S, T>(f(last_a, last_b), y.into_remainder());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::levels::at_each;
    use std::ops::Range;

    /// phi(x), with the rounding of the square corrected.
    fn density(x: f64) -> f64 {
        let square = x * x;
        let lost = x.mul_add(x, -square);
        (-square / 2.0).exp() * (1.0 - lost / 2.0) / (2.0 * std::f64::consts::PI).sqrt()
    }

    /// Phi(-u) for u >= 0: near 0 by the series 1/2 - phi(u) (u + u^3 / 3 + u^5 / (3 5) + ...),
    /// further out by the continued fraction phi(u) / (u + 1 / (u + 2 / (u + ...))).
    fn tail(u: f64) -> f64 {
        if u < 1.0 {
            let (mut sum, mut term) = (0.0, u);
            for k in 1..30 {
                sum += term;
                term *= u * u / f64::from(2 * k + 1);
            }
            0.5 - density(u) * sum
        } else {
            density(u) / (1..500).rev().fold(u, |sum, k| u + f64::from(k) / sum)
        }
    }

    fn below(x: f64) -> f64 {
        if x < 0.0 { tail(-x) } else { 1.0 - tail(x) }
    }

    /// The largest errors of GELU, relative to its value, and of its slope, relative to the larger
    /// of its two terms; in units of the type's precision.
    fn worst<T: Real>(range: Range<f64>) -> [f64; 2] {
        let step = (range.end - range.start) / 1e5;
        let x: Vec<T> =
            (0..=100_000).map(|i| T::from_f64(range.start + step * f64::from(i))).collect();
        let dy = vec![T::ONE; x.len()];
        let (mut y, mut dx) = (dy.clone(), dy.clone());
        gelu(&x, &mut y);
        gelu_backward(&x, &dy, &mut dx);
        let mut worst = [0.0_f64; 2];
        for i in 0..x.len() {
            let (x, y, dx) = (x[i].to_f64(), y[i].to_f64(), dx[i].to_f64());
            let (below, other) = (below(x), x * density(x));
            // A value of 0 has no relative error.
            let of_value = (y - x * below).abs() / (x * below).abs().max(f64::MIN_POSITIVE);
            let of_slope = (dx - (below + other)).abs() / below.max(other.abs());
            worst = [worst[0].max(of_value), worst[1].max(of_slope)];
        }
        worst.map(|error| error * 2_f64.powi(T::MANTISSA_BITS as i32))
    }

    #[test]
    fn the_oracle_knows_published_values() {
        for (u, expected) in [
            (0.0, 0.5),
            (1.0, 0.158_655_253_931_457_05),
            (3.0, 1.349_898_031_630_094_6e-3),
            (8.0, 6.220_960_574_271_784e-16),
        ] {
            assert!((tail(u) / expected - 1.0).abs() < 1e-14, "{u}: {}", tail(u));
        }
        assert!((tail(1.0 - 1e-12) / tail(1.0) - 1.0).abs() < 1e-11);
    }

    #[test]
    fn gelu_and_its_slope_are_precise_also_in_the_tails() {
        for (name, worst, allowed) in [
            ("f32", worst::<f32>(-12.0..20.0), 5.0),
            ("f32 near 0", worst::<f32>(-0.5..0.5), 5.0),
            ("f64", worst::<f64>(-35.0..35.0), 8.0),
            ("f64 near 0", worst::<f64>(-0.5..0.5), 8.0),
        ] {
            println!("{name}: {worst:?}");
            assert!(worst.iter().all(|error| *error <= allowed), "{name}: {worst:?}");
        }
    }

    #[test]
    fn infinities_zeros_and_nans() {
        fn check<T: Real>() {
            let (infinite, nan) = (T::ONE / T::ZERO, T::ZERO / T::ZERO);
            let x = [infinite, -infinite, T::from_f64(1e30), T::from_f64(-1e30), T::ZERO, nan];
            let (mut y, mut dx) = ([T::ONE; 6], [T::ONE; 6]);
            gelu(&x, &mut y);
            gelu_backward(&x, &[T::ONE; 6], &mut dx);
            assert_eq!(y[..5], [infinite, T::ZERO, x[2], T::ZERO, T::ZERO]);
            assert_eq!(
                dx[..5].iter().map(|dx| dx.to_f64()).collect::<Vec<_>>(),
                [1.0, 0.0, 1.0, 0.0, 0.5]
            );
            assert!(y[5].to_f64().is_nan() && dx[5].to_f64().is_nan());
        }
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn every_instruction_set_is_precise() {
        let found = at_each(|| [worst::<f32>(-3.0..3.0), worst::<f64>(-3.0..3.0)]);
        for (level, worst) in found {
            assert!(worst.as_flattened().iter().all(|error| *error <= 10.0), "{level}: {worst:?}");
        }
    }
}
