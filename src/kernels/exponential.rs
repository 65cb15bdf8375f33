//! exp, tanh and the logistic function in explicit vectors, without branches.
//!
//! e^x = 2^n e^r with n the integer nearest to x / ln 2 and |r| <= ln 2 / 2, where a polynomial is
//! as precise as the type. Adding a number so large that its last bit counts ones leaves n in the
//! low bits, and a shift makes an exponent of them: no conversion to integers.

use super::dispatch::dispatch;
use super::elementwise::CHUNK;
use super::vector::{load_end, store_end};
use crate::parallel;
use crate::real::Real;
use fearless_simd::{Simd, prelude::*};

/// What the exponential of a number type is made of.
struct Constants {
    /// ln 2, its leading bits only, so that small integers times it are exact.
    ln2_high: f64,
    /// ln 2 less `ln2_high`.
    ln2_low: f64,
    /// From here on e^x overflows.
    max: f64,
    /// Below this e^x is 0: results smaller than the smallest normal number are flushed.
    min: f64,
    /// c\[0\], c\[1\], ... with e^x = 1 + x + x^2 (c\[0\] + c\[1\] x + ...) as precisely as the type
    /// can tell, for |x| <= ln 2 / 2.
    terms: &'static [f64],
}

/// Of `f32`; of all such polynomials the one with the least relative error, 3.1e-9.
const SINGLE: Constants = Constants {
    ln2_high: 355.0 / 512.0,
    ln2_low: -2.121_944_4e-4_f32 as f64,
    max: 89.0,
    min: -87.2,
    terms: &[
        0.499_999_93_f32 as f64,
        0.166_665_2_f32 as f64,
        0.041_668_39_f32 as f64,
        0.008_368_745_f32 as f64,
        0.001_381_454_f32 as f64,
    ],
};

/// Of `f64`; the polynomial is Taylor's, 1/k! for k = 2, 3, ...
const DOUBLE: Constants = Constants {
    ln2_high: 0.693_147_180_369_123_8,
    ln2_low: 1.908_214_929_270_587_7e-10,
    max: 710.0,
    min: -708.2,
    terms: &[
        1.0 / 2.0,
        1.0 / 6.0,
        1.0 / 24.0,
        1.0 / 120.0,
        1.0 / 720.0,
        1.0 / 5_040.0,
        1.0 / 40_320.0,
        1.0 / 362_880.0,
        1.0 / 3_628_800.0,
        1.0 / 39_916_800.0,
        1.0 / 479_001_600.0,
        1.0 / 6_227_020_800.0,
    ],
};

#[inline(always)]
const fn constants<T: Real>() -> Constants {
    if size_of::<T>() == size_of::<f32>() { SINGLE } else { DOUBLE }
}

/// A constant in every lane.
#[inline(always)]
fn splat<S: Simd, T: Real>(simd: S, value: f64) -> T::Wide<S> {
    T::Wide::<S>::splat(simd, T::from_f64(value))
}

/// x = n ln 2 + r + lost: returns 2^n times `unit`, r, and what r's rounding lost.
#[inline(always)]
fn reduced<S: Simd, T: Real>(simd: S, x: T::Wide<S>, unit: f64) -> [T::Wide<S>; 3] {
    let (log2_e, rounder) = (splat::<S, T>(simd, std::f64::consts::LOG2_E), T::ROUNDER);
    let shifted = x.mul_add(log2_e, T::Wide::<S>::splat(simd, rounder));
    let n = shifted - rounder;
    let rough = n.mul_add(splat::<S, T>(simd, -constants::<T>().ln2_high), x);
    let ln2_low = splat::<S, T>(simd, -constants::<T>().ln2_low);
    let r = n.mul_add(ln2_low, rough);
    let lost = n.mul_add(ln2_low, rough - r);
    [times_power::<S, T>(simd, unit, shifted), r, lost]
}

/// 2^n times `unit`, for n in the low bits of `shifted`: added to the exponent of `unit`.
#[inline(always)]
fn times_power<S: Simd, T: Real>(simd: S, unit: f64, shifted: T::Wide<S>) -> T::Wide<S> {
    let unit = splat::<S, T>(simd, unit).to_bits();
    T::Wide::<S>::from_bits((shifted.to_bits() << T::MANTISSA_BITS) + unit)
}

/// (e^r - 1 - r) + rest for |r| <= ln 2 / 2: the even and the odd powers are added up side by side.
#[inline(always)]
fn series<S: Simd, T: Real>(simd: S, r: T::Wide<S>, rest: T::Wide<S>) -> T::Wide<S> {
    let (square, terms) = (r * r, constants::<T>().terms.len());
    let even = every_other_term::<S, T>(simd, square, (terms - 1) & !1);
    let odd = every_other_term::<S, T>(simd, square, (terms - 2) | 1);
    odd.mul_add(r, even).mul_add(square, rest)
}

/// The sum of every other term of the polynomial in r^2, up to the term `last`.
#[inline(always)]
fn every_other_term<S: Simd, T: Real>(simd: S, square: T::Wide<S>, last: usize) -> T::Wide<S> {
    let term = constants::<T>().terms;
    let mut sum = splat::<S, T>(simd, term[last]);
    for i in (0..last / 2).rev() {
        sum = sum.mul_add(square, splat::<S, T>(simd, term[2 * i + last % 2]));
    }
    sum
}

/// e^x within 2 units in the last place; 0 where the result would be subnormal, NaN for NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd, T: Real>(simd: S, x: T::Wide<S>) -> T::Wide<S> {
    let [max, min] = [constants::<T>().max, constants::<T>().min].map(|x| splat::<S, T>(simd, x));
    let x = x.simd_gt(max).select(max, x);
    let x = x.simd_lt(min).select(min, x);
    // Half of 2^n, since 2^n itself may be more than the largest number.
    let [half_power, r, _] = reduced::<S, T>(simd, x, 0.5);
    let q = series::<S, T>(simd, r, r);
    let two = splat::<S, T>(simd, 2.0);
    q.mul_add(two, two) * half_power
}

/// e^x for x of at most 0 or NaN, as precise as [`exp`]; 0 below about half the smallest normal
/// number.
#[inline(always)]
pub(crate) fn exp_negative<S: Simd, T: Real>(simd: S, x: T::Wide<S>) -> T::Wide<S> {
    // One power of two lower than `min`, the bit pattern of 2^n is that of 0.
    let low = T::from_f64(constants::<T>().min) - T::from_f64(0.7);
    let low = T::Wide::<S>::splat(simd, low);
    let [power, r, _] = reduced::<S, T>(simd, x.simd_lt(low).select(low, x), 1.0);
    series::<S, T>(simd, r, r).mul_add(power, power)
}

/// 2^x for x of at most 0; 0 below about half the smallest normal number.
#[inline(always)]
pub(crate) fn exp2_negative<S: Simd, T: Real>(simd: S, x: T::Wide<S>) -> T::Wide<S> {
    let min = T::from_f64(constants::<T>().min).to_f64();
    let x = x.max(splat::<S, T>(simd, (min - 0.7) * std::f64::consts::LOG2_E));
    let shifted = x + T::Wide::<S>::splat(simd, T::ROUNDER);
    let r = (x - (shifted - T::ROUNDER)) * T::from_f64(std::f64::consts::LN_2);
    let power = times_power::<S, T>(simd, 1.0, shifted);
    series::<S, T>(simd, r, r).mul_add(power, power)
}

/// tanh x within 2 units in the last place: with m = e^2|x| - 1 it is m / (m + 2), or from m = 2 on
/// the more precise 1 - 2 / (m + 2), with the sign of x.
#[inline(always)]
pub(crate) fn tanh<S: Simd, T: Real>(simd: S, x: T::Wide<S>) -> T::Wide<S> {
    let saturated = splat::<S, T>(simd, 40.0);
    let double = x.abs() + x.abs();
    let double = double.simd_gt(saturated).select(saturated, double);
    let [power, r, lost] = reduced::<S, T>(simd, double, 1.0);
    let q = series::<S, T>(simd, r, lost) + r;
    let m = power.mul_add(q, power - T::ONE);
    let (one, two) = (splat::<S, T>(simd, 1.0), splat::<S, T>(simd, 2.0));
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
    let one = splat::<S, T>(simd, 1.0);
    let e = exp_negative::<S, T>(simd, -x.abs());
    let sum = e + one;
    let lost = (one - sum) + e;
    let quotient = x.simd_lt(splat::<S, T>(simd, 0.0)).select(e, one) / sum;
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
        dispatch!(|simd| apply_chunk(simd, f, x, y));
    });
}

#[inline(always)]
fn apply_chunk<S: Simd, T: Real>(simd: S, f: Function, x: &[T], y: &mut [T]) {
    match f {
        Function::Exp => each(
            simd,
            x,
            y,
            #[inline(always)]
            |x| exp::<S, T>(simd, x),
        ),
        Function::Tanh => each(
            simd,
            x,
            y,
            #[inline(always)]
            |x| tanh::<S, T>(simd, x),
        ),
        Function::Sigmoid => each(
            simd,
            x,
            y,
            #[inline(always)]
            |x| sigmoid::<S, T>(simd, x),
        ),
    }
}

/// Calls `f` for two vectors at a time, which then need not wait for each other's results, and for
/// what is left, filled up with zeros.
#[inline(always)]
fn each<S: Simd, T: Real>(simd: S, x: &[T], y: &mut [T], f: impl Fn(T::Wide<S>) -> T::Wide<S>) {
    let (mut x, mut y) = (x.chunks_exact(2 * T::LANES), y.chunks_exact_mut(2 * T::LANES));
    for (x, y) in (&mut x).zip(&mut y) {
        let first = f(T::Wide::<S>::from_slice(simd, &x[..T::LANES]));
        let second = f(T::Wide::<S>::from_slice(simd, &x[T::LANES..]));
        first.store_slice(&mut y[..T::LANES]);
        second.store_slice(&mut y[T::LANES..]);
    }
    let rest = x.remainder().chunks(T::LANES);
    for (x, y) in rest.zip(y.into_remainder().chunks_mut(T::LANES)) {
        store_end::<S, T>(f(load_end::<S, T>(simd, x, T::ZERO)), y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error in units in the last place of a result.
    fn worst_ulps<T: Real>(
        f: Function,
        exact: fn(f64) -> f64,
        range: std::ops::Range<f64>,
        flushed: f64,
    ) -> f64 {
        let epsilon = 0.5_f64.powi(T::MANTISSA_BITS as i32);
        let x: Vec<T> = (0..200_001)
            .map(|i| T::from_f64(range.start + (range.end - range.start) * i as f64 / 2e5))
            .collect();
        let mut y = vec![T::ZERO; x.len()];
        apply(f, &x, &mut y);
        x.iter()
            .zip(&y)
            .map(|(x, y)| {
                let exact = exact(x.to_f64());
                let ulp = 2_f64.powi(exact.abs().max(1e-300).log2().floor() as i32) * epsilon;
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
        #[inline(always)]
        fn of_one<S: Simd>(simd: S, x: f32) -> f32 {
            exp2_negative::<S, f32>(simd, splat::<S, f32>(simd, x.into()))[0]
        }
        let exp2 = |x: f32| dispatch!(|simd| of_one(simd, x));
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
