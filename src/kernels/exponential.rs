//! exp, tanh and the logistic function in explicit vectors, without branches.
//!
//! e^x = 2^n e^r with n the integer nearest to x / ln 2 and |r| <= ln 2 / 2, where a polynomial is
//! as precise as the type. Adding [`Real::ROUNDER`] leaves n in the low bits, and a shift makes an
//! exponent of them: no conversion to integers.

use super::elementwise::CHUNK;
use super::level;
use crate::parallel;
use crate::real::Real;
use fearless_simd::{Simd, dispatch, prelude::*};

/// x = n ln 2 + r + lost: returns 2^n times the number whose bit pattern is `unit`, r, and what r's
/// rounding lost.
#[inline(always)]
fn reduced<S: Simd, T: Real>(simd: S, x: T::Wide<S>, unit: T::Bits) -> [T::Wide<S>; 3] {
    let splat = |value: T| T::Wide::<S>::splat(simd, value);
    let shifted = x.mul_add(splat(T::from_f64(std::f64::consts::LOG2_E)), splat(T::ROUNDER));
    let n = shifted - T::ROUNDER;
    let rough = n.mul_add(splat(-T::LN2_HIGH), x);
    let r = n.mul_add(splat(-T::LN2_LOW), rough);
    let lost = n.mul_add(splat(-T::LN2_LOW), rough - r);
    let power = (shifted.to_bits() << T::MANTISSA_BITS) + unit;
    [T::Wide::<S>::from_bits(power), r, lost]
}

/// (e^r - 1 - r) + rest for |r| <= ln 2 / 2: the even and the odd powers are added up side by side.
#[inline(always)]
fn series<S: Simd, T: Real>(simd: S, r: T::Wide<S>, rest: T::Wide<S>) -> T::Wide<S> {
    let (square, terms) = (r * r, T::EXP_TERMS.len());
    let even = every_other_term::<S, T>(simd, square, (terms - 1) & !1);
    let odd = every_other_term::<S, T>(simd, square, (terms - 2) | 1);
    odd.mul_add(r, even).mul_add(square, rest)
}

/// The sum of every other term of the polynomial in r^2, up to the term `last`.
#[inline(always)]
fn every_other_term<S: Simd, T: Real>(simd: S, square: T::Wide<S>, last: usize) -> T::Wide<S> {
    let term = T::EXP_TERMS;
    let mut sum = T::Wide::<S>::splat(simd, term[last]);
    for i in (0..last / 2).rev() {
        sum = sum.mul_add(square, T::Wide::<S>::splat(simd, term[2 * i + last % 2]));
    }
    sum
}

/// e^x within 2 units in the last place; 0 where the result would be subnormal, NaN for NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd, T: Real>(simd: S, x: T::Wide<S>) -> T::Wide<S> {
    let splat = |value: T| T::Wide::<S>::splat(simd, value);
    let x = x.simd_gt(splat(T::EXP_MAX)).select(splat(T::EXP_MAX), x);
    let x = x.simd_lt(splat(T::EXP_MIN)).select(splat(T::EXP_MIN), x);
    // Half of 2^n, since 2^n itself may be more than the largest number.
    let [half_power, r, _] = reduced::<S, T>(simd, x, T::HALF_BITS);
    let q = series::<S, T>(simd, r, r);
    let two = splat(T::ONE + T::ONE);
    q.mul_add(two, two) * half_power
}

/// e^x for x of at most 0 or NaN, as precise as [`exp`]; 0 below about half the smallest normal
/// number.
#[inline(always)]
pub(crate) fn exp_negative<S: Simd, T: Real>(simd: S, x: T::Wide<S>) -> T::Wide<S> {
    // One power of two lower than `EXP_MIN`, the bit pattern of 2^n is that of 0.
    let low = T::Wide::<S>::splat(simd, T::EXP_MIN - T::from_f64(0.7));
    let [power, r, _] = reduced::<S, T>(simd, x.simd_lt(low).select(low, x), T::ONE_BITS);
    series::<S, T>(simd, r, r).mul_add(power, power)
}

/// 2^x for x of at most 0; 0 below about half the smallest normal number.
#[inline(always)]
pub(crate) fn exp2_negative<S: Simd, T: Real>(simd: S, x: T::Wide<S>) -> T::Wide<S> {
    let splat = |value: T| T::Wide::<S>::splat(simd, value);
    let low = T::from_f64((T::EXP_MIN.to_f64() - 0.7) * std::f64::consts::LOG2_E);
    let x = x.max(splat(low));
    let shifted = x + splat(T::ROUNDER);
    let r = (x - (shifted - T::ROUNDER)) * T::from_f64(std::f64::consts::LN_2);
    let power = T::Wide::<S>::from_bits((shifted.to_bits() << T::MANTISSA_BITS) + T::ONE_BITS);
    series::<S, T>(simd, r, r).mul_add(power, power)
}

/// tanh x within 2 units in the last place: with m = e^2|x| - 1 it is m / (m + 2), or from m = 2 on
/// the more precise 1 - 2 / (m + 2), with the sign of x.
#[inline(always)]
pub(crate) fn tanh<S: Simd, T: Real>(simd: S, x: T::Wide<S>) -> T::Wide<S> {
    let saturated = T::Wide::<S>::splat(simd, T::from_f64(40.0));
    let double = x.abs() + x.abs();
    let double = double.simd_gt(saturated).select(saturated, double);
    let [power, r, lost] = reduced::<S, T>(simd, double, T::ONE_BITS);
    let q = series::<S, T>(simd, r, lost) + r;
    let m = power.mul_add(q, power - T::ONE);
    let (one, two) =
        (T::Wide::<S>::splat(simd, T::ONE), T::Wide::<S>::splat(simd, T::ONE + T::ONE));
    let large = m.simd_gt(two);
    let sum = m + two;
    let lost = (two - sum) + m;
    let quotient = large.select(two, m) / sum;
    // What the sum's rounding lost, over the sum, which is near 2 where it matters.
    let small = (quotient * T::from_f64(-0.5)).mul_add(lost, quotient);
    large.select(one - quotient, small).copysign(x)
}

/// sigma(x) = 1 / (1 + e^-x) within 2 units in the last place: with e = e^-|x| it is 1 / (1 + e) or,
/// for negative x, e / (1 + e).
#[inline(always)]
pub(crate) fn sigmoid<S: Simd, T: Real>(simd: S, x: T::Wide<S>) -> T::Wide<S> {
    let one = T::Wide::<S>::splat(simd, T::ONE);
    let e = exp_negative::<S, T>(simd, -x.abs());
    let sum = e + one;
    let lost = (one - sum) + e;
    let quotient = x.simd_lt(T::Wide::<S>::splat(simd, T::ZERO)).select(e, one) / sum;
    // What the sum's rounding lost, over the sum: somewhere between half of it and all of it.
    (quotient * T::from_f64(-0.75)).mul_add(lost, quotient)
}

/// Which function [`apply`] computes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Function {
    /// e^x
    Exp,
    /// tanh x
    Tanh,
    /// 1 / (1 + e^-x)
    Sigmoid,
}

/// y\[i\] = f(x\[i\])
pub(crate) fn apply<T: Real>(f: Function, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len());
    parallel::for_each_chunk(y, CHUNK, |i, y| {
        let x = &x[i * CHUNK..][..y.len()];
        dispatch!(level(), simd => match f {
            Function::Exp => each(simd, x, y, #[inline(always)] |x| exp::<_, T>(simd, x)),
            Function::Tanh => each(simd, x, y, #[inline(always)] |x| tanh::<_, T>(simd, x)),
            Function::Sigmoid => each(simd, x, y, #[inline(always)] |x| sigmoid::<_, T>(simd, x)),
        });
    });
}

/// Calls `f` for two vectors at a time, which then need not wait for each other's results, and for
/// what is left, filled up with zeros.
#[inline(always)]
fn each<S: Simd, T: Real>(simd: S, x: &[T], y: &mut [T], f: impl Fn(T::Wide<S>) -> T::Wide<S>) {
    simd.vectorize(
        #[inline(always)]
        || {
            let (mut x, mut y) = (x.chunks_exact(2 * T::LANES), y.chunks_exact_mut(2 * T::LANES));
            for (x, y) in (&mut x).zip(&mut y) {
                let first = f(T::Wide::<S>::from_slice(simd, &x[..T::LANES]));
                let second = f(T::Wide::<S>::from_slice(simd, &x[T::LANES..]));
                first.store_slice(&mut y[..T::LANES]);
                second.store_slice(&mut y[T::LANES..]);
            }
            let rest = x.remainder().chunks(T::LANES);
            for (x, y) in rest.zip(y.into_remainder().chunks_mut(T::LANES)) {
                let last = partial::<S, T>(simd, x, T::ZERO);
                y.copy_from_slice(&f(last).as_slice()[..x.len()]);
            }
        },
    );
}

/// The first lanes from `x`, which is shorter than a vector, the others `filling`.
#[inline(always)]
pub(crate) fn partial<S: Simd, T: Real>(simd: S, x: &[T], filling: T) -> T::Wide<S> {
    let mut vector = T::Wide::<S>::splat(simd, filling);
    vector.as_mut_slice()[..x.len()].copy_from_slice(x);
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst_ulps<T: Real>(
        f: Function,
        exact: fn(f64) -> f64,
        range: std::ops::Range<f64>,
        flushed: f64,
    ) -> f64 {
        let x: Vec<T> = (0..200_001)
            .map(|i| T::from_f64(range.start + (range.end - range.start) * i as f64 / 2e5))
            .collect();
        let mut y = vec![T::ZERO; x.len()];
        apply(f, &x, &mut y);
        x.iter()
            .zip(&y)
            .map(|(x, y)| {
                let exact = exact(x.to_f64());
                let ulp =
                    2_f64.powi(exact.abs().max(1e-300).log2().floor() as i32) * T::EPSILON.to_f64();
                if exact.abs() < flushed && y.to_f64() == 0.0 {
                    0.0
                } else {
                    (y.to_f64() - exact).abs() / ulp
                }
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn within_two_units_in_the_last_place_in_f32() {
        let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
        for (name, worst) in [
            ("exp", worst_ulps::<f32>(Function::Exp, f64::exp, -88.0..88.7, 2e-38)),
            ("exp near 0", worst_ulps::<f32>(Function::Exp, f64::exp, -1.0..1.0, 0.0)),
            ("tanh", worst_ulps::<f32>(Function::Tanh, f64::tanh, -10.0..10.0, 0.0)),
            ("tanh near 0", worst_ulps::<f32>(Function::Tanh, f64::tanh, -0.01..0.01, 0.0)),
            ("sigmoid", worst_ulps::<f32>(Function::Sigmoid, sigma, -80.0..20.0, 0.0)),
        ] {
            assert!(worst <= 2.0, "{name}: {worst} ulp");
        }
    }

    #[test]
    fn within_a_few_units_in_the_last_place_in_f64() {
        let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
        for (name, worst) in [
            ("exp", worst_ulps::<f64>(Function::Exp, f64::exp, -707.0..709.7, 0.0)),
            ("tanh", worst_ulps::<f64>(Function::Tanh, f64::tanh, -20.0..20.0, 0.0)),
            ("tanh near 0", worst_ulps::<f64>(Function::Tanh, f64::tanh, -0.01..0.01, 0.0)),
            ("sigmoid", worst_ulps::<f64>(Function::Sigmoid, sigma, -600.0..20.0, 0.0)),
        ] {
            assert!(worst <= 4.0, "{name}: {worst} ulp");
        }
    }

    #[test]
    fn powers_of_two_up_to_one() {
        let exp2 = |x: f32| {
            dispatch!(level(), simd => {
                exp2_negative::<_, f32>(simd, <f32 as Real>::Wide::splat(simd, x))[0]
            })
        };
        for i in 0..=126_000 {
            let x = -0.001 * i as f32;
            let exact = f64::from(x).exp2();
            let error = (f64::from(exp2(x)) / exact - 1.0).abs();
            assert!(error <= f64::from(f32::EPSILON), "{x}: {error}");
        }
        assert_eq!([0.0, -1.0, -126.0].map(exp2), [1.0, 0.5, f32::MIN_POSITIVE]);
        assert_eq!([-127.0, -1e30, f32::NEG_INFINITY].map(exp2), [0.0; 3]);
    }

    #[test]
    fn infinities_nans_and_signs() {
        let x = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -0.0, 1e30];
        let mut y = [0.0; 5];
        apply(Function::Exp, &x, &mut y);
        assert_eq!((y[0], y[1], y[3], y[4]), (f32::INFINITY, 0.0, 1.0, f32::INFINITY));
        assert!(y[2].is_nan());
        apply(Function::Tanh, &x, &mut y);
        assert_eq!((y[0], y[1], y[4]), (1.0, -1.0, 1.0));
        assert!(y[2].is_nan() && y[3] == 0.0 && y[3].is_sign_negative());
        apply(Function::Sigmoid, &x, &mut y);
        assert_eq!((y[0], y[1], y[3], y[4]), (1.0, 0.0, 0.5, 1.0));
        assert!(y[2].is_nan());
    }
}
