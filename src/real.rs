//! The two number types: `f32` to train, `f64` to check.

use fearless_simd::{Simd, SimdFloat, SimdFloatElement, f32x4, f32x8, f32x16, f64x2, f64x4, f64x8};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for u32 {}
}

/// What a [`Buffer`](crate::tensor::Buffer) can hold: numbers, ids and codes.
pub trait Element:
    sealed::Sealed + Copy + Default + PartialEq + Send + Sync + std::fmt::Debug + 'static
{
    /// Written over recycled buffers in debug builds, so that forgetting to fill one shows.
    const POISON: Self;
}

impl Element for f32 {
    const POISON: f32 = f32::NAN;
}
impl Element for f64 {
    const POISON: f64 = f64::NAN;
}
impl Element for u32 {
    const POISON: u32 = u32::MAX;
}

/// A real number: `f32` or `f64`.
///
/// Everything in the crate is generic over the two, so the code that is checked in `f64` is the
/// code that trains in `f32`.
pub trait Real: Element + SimdFloatElement + std::ops::Neg<Output = Self> {
    /// A vector of 512 bits, whatever the machine's own width: [`LANES`](Real::LANES) lanes.
    /// Reductions run in this many lanes everywhere, so their bits do not depend on the machine.
    type Wide<S: Simd>: SimdFloat<S, Element = Self>;
    /// Half a [`Wide`](Real::Wide): for rows too short to fill one.
    type Half<S: Simd>: SimdFloat<S, Element = Self>;
    /// A quarter of a [`Wide`](Real::Wide).
    type Quarter<S: Simd>: SimdFloat<S, Element = Self>;

    /// Lanes of a [`Wide`](Real::Wide): 16 for `f32`, 8 for `f64`.
    const LANES: usize;
    /// The type's name as safetensors and the reports write it.
    const NAME: &'static str;
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// The distance from 1 to the next larger number.
    const EPSILON: Self;
    /// Bits of the mantissa: how far the exponent stands from the right.
    const MANTISSA_BITS: u32;
    /// The bit pattern of one half.
    const HALF_BITS: Self::Bits;
    /// The bit pattern of one.
    const ONE_BITS: Self::Bits;
    /// 3 x 2^(mantissa bits - 1): adding it rounds a small number to an integer in the low bits.
    const ROUNDER: Self;
    /// ln 2, its leading bits only, so that small integers times it are exact.
    const LN2_HIGH: Self;
    /// ln 2 less [`LN2_HIGH`](Real::LN2_HIGH).
    const LN2_LOW: Self;
    /// From here on `exp` overflows.
    const EXP_MAX: Self;
    /// Below this `exp` is 0: the smallest normal number and less are flushed.
    const EXP_MIN: Self;
    /// c\[0\], c\[1\], ... with e^x = 1 + x + x^2 (c\[0\] + c\[1\] x + ...) as precisely as the type can
    /// tell, for |x| <= ln 2 / 2.
    const EXP_TERMS: &'static [Self];

    /// The nearest value to `x`.
    fn from_f64(x: f64) -> Self;
    /// The same value in double precision.
    fn to_f64(self) -> f64;
    /// The nearest value to a count.
    fn from_usize(n: usize) -> Self {
        Self::from_f64(n as f64)
    }
    /// The same whole number, of 0 to 2^22.
    fn to_u32(self) -> u32;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool {
        self.to_f64().is_finite()
    }
    /// The square root, correctly rounded.
    fn sqrt(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// The absolute value.
    fn abs(self) -> Self;
    /// a b + c, rounded once.
    fn mul_add(self, b: Self, c: Self) -> Self;
}

impl Real for f32 {
    type Wide<S: Simd> = f32x16<S>;
    type Half<S: Simd> = f32x8<S>;
    type Quarter<S: Simd> = f32x4<S>;
    const LANES: usize = 16;
    const NAME: &'static str = "f32";
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    const EPSILON: f32 = f32::EPSILON;
    const MANTISSA_BITS: u32 = 23;
    const HALF_BITS: u32 = 0.5_f32.to_bits();
    const ONE_BITS: u32 = 1.0_f32.to_bits();
    const ROUNDER: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const EXP_MAX: f32 = 89.0;
    const EXP_MIN: f32 = -87.2;
    // Of all such polynomials the one with the least relative error, 3.1e-9.
    const EXP_TERMS: &'static [f32] =
        &[0.499_999_93, 0.166_665_2, 0.041_668_39, 0.008_368_745, 0.001_381_454];

    #[inline(always)]
    fn from_f64(x: f64) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn to_u32(self) -> u32 {
        // The low bits are the number, without the checks that a cast needs.
        (self + Self::ROUNDER).to_bits() & 0x3f_ffff
    }
    #[inline(always)]
    fn sqrt(self) -> f32 {
        self.sqrt()
    }
    #[inline(always)]
    fn ln(self) -> f32 {
        self.ln()
    }
    #[inline(always)]
    fn abs(self) -> f32 {
        self.abs()
    }
    #[inline(always)]
    fn mul_add(self, b: f32, c: f32) -> f32 {
        self.mul_add(b, c)
    }
}

impl Real for f64 {
    type Wide<S: Simd> = f64x8<S>;
    type Half<S: Simd> = f64x4<S>;
    type Quarter<S: Simd> = f64x2<S>;
    const LANES: usize = 8;
    const NAME: &'static str = "f64";
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    const EPSILON: f64 = f64::EPSILON;
    const MANTISSA_BITS: u32 = 52;
    const HALF_BITS: u64 = 0.5_f64.to_bits();
    const ONE_BITS: u64 = 1.0_f64.to_bits();
    const ROUNDER: f64 = 6_755_399_441_055_744.0;
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const EXP_MAX: f64 = 710.0;
    const EXP_MIN: f64 = -708.2;
    // Taylor's: 1/k! for k = 2, 3, ...
    const EXP_TERMS: &'static [f64] = &[
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
    ];

    #[inline(always)]
    fn from_f64(x: f64) -> f64 {
        x
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn to_u32(self) -> u32 {
        (self + Self::ROUNDER).to_bits() as u32
    }
    #[inline(always)]
    fn sqrt(self) -> f64 {
        self.sqrt()
    }
    #[inline(always)]
    fn ln(self) -> f64 {
        self.ln()
    }
    #[inline(always)]
    fn abs(self) -> f64 {
        self.abs()
    }
    #[inline(always)]
    fn mul_add(self, b: f64, c: f64) -> f64 {
        self.mul_add(b, c)
    }
}
