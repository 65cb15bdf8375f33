//! One function applied to every element, or to pairs of elements.

use super::level;
use crate::parallel;
use crate::real::Real;
use fearless_simd::{Simd, dispatch};

/// Elements of a piece of work: long enough that handing it over costs little.
pub(crate) const CHUNK: usize = 1 << 15;

/// y\[i\] = f(x\[i\])
pub(crate) fn map<T: Real>(x: &[T], y: &mut [T], f: impl Fn(T) -> T + Sync + Copy) {
    assert_eq!(x.len(), y.len());
    parallel::for_each_chunk(y, CHUNK, |i, y| {
        let x = &x[i * CHUNK..][..y.len()];
        dispatch!(level(), simd => vectorized(simd, || {
            for (y, x) in y.iter_mut().zip(x) {
                *y = f(*x);
            }
        }));
    });
}

/// y\[i\] = f(a\[i\], b\[i\])
pub(crate) fn zip<T: Real>(a: &[T], b: &[T], y: &mut [T], f: impl Fn(T, T) -> T + Sync + Copy) {
    assert!(a.len() == y.len() && b.len() == y.len());
    parallel::for_each_chunk(y, CHUNK, |i, y| {
        let (a, b) = (&a[i * CHUNK..][..y.len()], &b[i * CHUNK..][..y.len()]);
        dispatch!(level(), simd => vectorized(simd, || {
            for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
                *y = f(*a, *b);
            }
        }));
    });
}

/// y\[i\] = f(y\[i\], x\[i\])
pub(crate) fn update<T: Real>(y: &mut [T], x: &[T], f: impl Fn(T, T) -> T + Sync + Copy) {
    assert_eq!(x.len(), y.len());
    parallel::for_each_chunk(y, CHUNK, |i, y| {
        let x = &x[i * CHUNK..][..y.len()];
        dispatch!(level(), simd => vectorized(simd, || {
            for (y, x) in y.iter_mut().zip(x) {
                *y = f(*y, *x);
            }
        }));
    });
}

/// y\[i\] += x\[i\]
pub(crate) fn add<T: Real>(y: &mut [T], x: &[T]) {
    update(y, x, |y, x| y + x);
}

/// sum <- the parts, one after the other in one slice, added up in their order.
pub(crate) fn add_up<T: Real>(parts: &[T], sum: &mut [T]) {
    let (len, size) = (sum.len().max(1), CHUNK / 8);
    parallel::for_each_chunk(sum, size, |i, sum| {
        sum.fill(T::ZERO);
        for part in parts.chunks_exact(len) {
            add(sum, &part[i * size..][..sum.len()]);
        }
    });
}

/// into <- from, for rows so short that a call to copy them would take longer than the copy.
#[inline(always)]
pub(crate) fn copy_short<T: Real>(from: &[T], into: &mut [T]) {
    short(from, into, |from, into| *into = from);
}

/// into += from, for short rows.
#[inline(always)]
pub(crate) fn add_short<T: Real>(from: &[T], into: &mut [T]) {
    short(from, into, |from, into| *into += from);
}

/// Calls `f` for every pair, four at a time.
#[inline(always)]
fn short<T: Real>(from: &[T], into: &mut [T], f: impl Fn(T, &mut T)) {
    let (from, from_rest) = from.as_chunks::<4>();
    let (into, into_rest) = into.as_chunks_mut::<4>();
    for (from, into) in from.iter().zip(into) {
        for i in 0..4 {
            f(from[i], &mut into[i]);
        }
    }
    for (&from, into) in from_rest.iter().zip(into_rest) {
        f(from, into);
    }
}

#[inline(always)]
fn vectorized<S: Simd>(simd: S, f: impl FnOnce()) {
    simd.vectorize(f);
}
