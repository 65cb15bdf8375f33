//! Vectors: their width, their loads and stores also where a row ends, and constants that a loop is
//! compiled for.

use crate::real::Real;
use fearless_simd::{Simd, SimdBase};

/// Whether the instruction set has 32 registers of 512 bits (AVX-512), and not 16 of 256 or fewer
/// bits (two and more to a vector).
#[inline(always)]
pub(crate) const fn is_512_bits<S: Simd>() -> bool {
    <S::f32s as SimdBase<S>>::LEN == 16
}

/// The lanes of a row from `at` on; those beyond its end are `filling`.
#[inline(always)]
pub(crate) fn load<S: Simd, T: Real>(simd: S, row: &[T], at: usize, filling: T) -> T::Wide<S> {
    match row.get(at..at + T::LANES) {
        Some(lanes) => T::Wide::<S>::from_slice(simd, lanes),
        None => load_end::<S, T>(simd, &row[at..], filling),
    }
}

/// The first lanes from `end`, which is shorter than a vector, the others `filling`.
#[inline(always)]
pub(crate) fn load_end<S: Simd, T: Real>(simd: S, end: &[T], filling: T) -> T::Wide<S> {
    let mut vector = T::Wide::<S>::splat(simd, filling);
    vector.as_mut_slice()[..end.len()].copy_from_slice(end);
    vector
}

/// Stores lanes to a row from `at` on; those beyond its end are dropped.
#[inline(always)]
pub(crate) fn store<S: Simd, T: Real>(x: T::Wide<S>, row: &mut [T], at: usize) {
    match row.get_mut(at..at + T::LANES) {
        Some(lanes) => x.store_slice(lanes),
        None => store_end::<S, T>(x, &mut row[at..]),
    }
}

/// Stores the first lanes to `end`, which is shorter than a vector.
#[inline(always)]
pub(crate) fn store_end<S: Simd, T: Real>(x: T::Wide<S>, end: &mut [T]) {
    end.copy_from_slice(&x.as_slice()[..end.len()]);
}

/// `constant!(n, [1, 2, 4], |N| f::<N>(x))` calls `f` as it is compiled for the constant that n is
/// equal to; `else` says what is called for an n that is not in the list.
macro_rules! constant {
    ($n:expr, [$($value:literal),*], |$name:ident| $call:expr) => {
        constant!($n, [$($value),*], |$name| $call, else unreachable!("not in the list"))
    };
    ($n:expr, [$($value:literal),*], |$name:ident| $call:expr, else $other:expr) => {
        match $n {
            $($value => {
                const $name: usize = $value;
                $call
            })*
            _ => $other,
        }
    };
}
pub(crate) use constant;
