//! The two number types: `f32` to train, `f64` to check.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

pub(crate) use vectors::Vectors;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for u32 {}
}

/// What a [`Buffer`](crate::tensor::Buffer) can hold: numbers, ids and codes.
pub trait Element:
    sealed::Sealed + Copy + Default + PartialEq + Send + Sync + Debug + 'static
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
pub trait Real:
    Element
    + Vectors
    + PartialOrd
    + Display
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + Sum
{
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// Not a number.
    const NAN: Self;

    /// The nearest value to `x`.
    fn from_f64(x: f64) -> Self;
    /// The same value in double precision.
    fn to_f64(self) -> f64;
    /// The nearest value to a count.
    fn from_usize(n: usize) -> Self {
        Self::from_f64(n as f64)
    }
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
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    const NAN: f32 = f32::NAN;

    #[inline(always)]
    fn from_f64(x: f64) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
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
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    const NAN: f64 = f64::NAN;

    #[inline(always)]
    fn from_f64(x: f64) -> f64 {
        x
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
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

/// The bytes of numbers in their own precision, the lowest first.
pub(crate) fn to_bytes<T: Real>(numbers: &[T]) -> Vec<u8> {
    let mut bytes = vec![0; size_of_val(numbers)];
    if size_of::<T>() == 4 {
        let all = bytes.as_chunks_mut().0.iter_mut().zip(numbers);
        all.for_each(|(bytes, x)| *bytes = (x.to_f64() as f32).to_le_bytes());
    } else {
        let all = bytes.as_chunks_mut().0.iter_mut().zip(numbers);
        all.for_each(|(bytes, x)| *bytes = x.to_f64().to_le_bytes());
    }
    bytes
}

/// What `f` makes of every number and the one that [`to_bytes`] has written for it.
pub(crate) fn with_bytes<T: Real>(numbers: &mut [T], bytes: &[u8], f: impl Fn(T, T) -> T) {
    if size_of::<T>() == 4 {
        let given = bytes.as_chunks().0.iter().map(|x| f64::from(f32::from_le_bytes(*x)));
        numbers.iter_mut().zip(given).for_each(|(x, given)| *x = f(*x, T::from_f64(given)));
    } else {
        let given = bytes.as_chunks().0.iter().map(|x| f64::from_le_bytes(*x));
        numbers.iter_mut().zip(given).for_each(|(x, given)| *x = f(*x, T::from_f64(given)));
    }
}

/// Panics at the caller's line if a setting is negative or not finite, or the precision makes it 0;
/// `what` is its name and value.
#[track_caller]
pub(crate) fn assert_held<T: Real>(what: &str, value: f64) {
    let held = T::from_f64(value);
    assert!(
        value == 0.0 || (held > T::ZERO && held.is_finite()),
        "{what}: expected 0, or a positive number that the precision holds"
    );
}

/// What the kernels know of a number type beyond [`Real`]: the vectors it comes in, and its bits.
mod vectors {
    use fearless_simd::{Simd, SimdFloat, SimdFloatElement, f32x4, f32x16, f64x2, f64x8};

    /// A number type in vectors.
    pub trait Vectors: SimdFloatElement {
        /// A vector of 512 bits, whatever the machine's own width: [`LANES`](Vectors::LANES) lanes.
        /// Reductions run in this many lanes everywhere, so their bits do not depend on the machine.
        type Wide<S: Simd>: SimdFloat<S, Element = Self>;
        /// A quarter of a [`Wide`](Vectors::Wide).
        type Quarter<S: Simd>: SimdFloat<S, Element = Self>;

        /// Lanes of a [`Wide`](Vectors::Wide): 16 for `f32`, 8 for `f64`.
        const LANES: usize;
        /// Bits of the mantissa: the exponent starts above them.
        const MANTISSA_BITS: u32;
        /// 3 x 2^(mantissa bits - 1): adding it rounds a small number to an integer in the low bits.
        const ROUNDER: Self;

        /// The same whole number, of 0 to 2^22.
        fn to_u32(self) -> u32;
    }

    impl Vectors for f32 {
        type Wide<S: Simd> = f32x16<S>;
        type Quarter<S: Simd> = f32x4<S>;
        const LANES: usize = 16;
        const MANTISSA_BITS: u32 = 23;
        const ROUNDER: f32 = 12_582_912.0;

        #[inline(always)]
        fn to_u32(self) -> u32 {
            // The low bits are the number, without the checks that a cast needs.
            (self + Self::ROUNDER).to_bits() & 0x3f_ffff
        }
    }

    impl Vectors for f64 {
        type Wide<S: Simd> = f64x8<S>;
        type Quarter<S: Simd> = f64x2<S>;
        const LANES: usize = 8;
        const MANTISSA_BITS: u32 = 52;
        const ROUNDER: f64 = 6_755_399_441_055_744.0;

        #[inline(always)]
        fn to_u32(self) -> u32 {
            (self + Self::ROUNDER).to_bits() as u32
        }
    }
}
