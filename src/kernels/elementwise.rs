//! One function applied to every element, or to pairs of elements.

use super::dispatch::dispatch;
use crate::parallel;
use crate::real::Real;
use fearless_simd::Simd;

/// Elements of a piece of work: long enough that handing it over costs little.
pub(crate) const CHUNK: usize = 1 << 15;

/// y\[i\] = f(x\[i\])
pub(crate) fn map<T: Real>(x: &[T], y: &mut [T], f: impl Fn(T) -> T + Sync + Copy) {
    assert_eq!(x.len(), y.len());
    parallel::for_each_chunk(y, CHUNK, |i, y| {
        let x = &x[i * CHUNK..][..y.len()];
        dispatch!(|simd| map_chunk(simd, x, y, f));
    });
}

#[inline(always)]
fn map_chunk<S: Simd, T: Real>(_: S, x: &[T], y: &mut [T], f: impl Fn(T) -> T) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = f(*x);
    }
}

/// y\[i\] = f(a\[i\], b\[i\])
pub(crate) fn zip<T: Real>(a: &[T], b: &[T], y: &mut [T], f: impl Fn(T, T) -> T + Sync + Copy) {
    assert!(a.len() == y.len() && b.len() == y.len());
    parallel::for_each_chunk(y, CHUNK, |i, y| {
        let (a, b) = (&a[i * CHUNK..][..y.len()], &b[i * CHUNK..][..y.len()]);
        dispatch!(|simd| zip_chunk(simd, a, b, y, f));
    });
}

#[inline(always)]
fn zip_chunk<S: Simd, T: Real>(_: S, a: &[T], b: &[T], y: &mut [T], f: impl Fn(T, T) -> T) {
    for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
        *y = f(*a, *b);
    }
}

/// y\[i, j\] = f(a(i)\[j\], b(i)\[j\]) for rows of `columns` elements; a row a(i) or b(i) of one
/// element is repeated.
pub(crate) fn zip_rows<'a, T: Real>(
    columns: usize,
    a: impl Fn(usize) -> &'a [T] + Sync,
    b: impl Fn(usize) -> &'a [T] + Sync,
    y: &mut [T],
    f: impl Fn(T, T) -> T + Sync + Copy,
) {
    let height = (CHUNK / columns).max(1);
    parallel::for_each_chunk(y, height * columns, |piece, y| {
        let first = piece * height;
        dispatch!(|simd| zip_rows_chunk(simd, columns, first, &a, &b, y, f));
    });
}

#[inline(always)]
fn zip_rows_chunk<'a, S: Simd, T: Real>(
    _: S,
    columns: usize,
    first: usize,
    a: impl Fn(usize) -> &'a [T],
    b: impl Fn(usize) -> &'a [T],
    y: &mut [T],
    f: impl Fn(T, T) -> T,
) {
    for (i, y) in (first..).zip(y.chunks_exact_mut(columns)) {
        match (a(i), b(i)) {
            (a, &[b]) => y.iter_mut().zip(a).for_each(|(y, &a)| *y = f(a, b)),
            (&[a], b) => y.iter_mut().zip(b).for_each(|(y, &b)| *y = f(a, b)),
            (a, b) => y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f(a, b)),
        }
    }
}

/// y\[i\] = f(y\[i\], x\[i\])
pub(crate) fn update<T: Real>(y: &mut [T], x: &[T], f: impl Fn(T, T) -> T + Sync + Copy) {
    assert_eq!(x.len(), y.len());
    parallel::for_each_chunk(y, CHUNK, |i, y| {
        let x = &x[i * CHUNK..][..y.len()];
        dispatch!(|simd| update_chunk(simd, y, x, f));
    });
}

#[inline(always)]
fn update_chunk<S: Simd, T: Real>(_: S, y: &mut [T], x: &[T], f: impl Fn(T, T) -> T) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = f(*y, *x);
    }
}

/// y\[i\] += x\[i\]
pub(crate) fn add<T: Real>(y: &mut [T], x: &[T]) {
    update(
        y,
        x,
        #[inline(always)]
        |y, x| y + x,
    );
}

/// x\[i\] <- factor x\[i\]
pub(crate) fn scale<T: Real>(x: &mut [T], factor: T) {
    dispatch!(|simd| scale_all(simd, x, factor));
}

#[inline(always)]
fn scale_all<S: Simd, T: Real>(_: S, x: &mut [T], factor: T) {
    for x in x {
        *x *= factor;
    }
}

/// x\[i\] <- factor x\[i\]; sums\[i\] += what it is then.
pub(crate) fn scale_and_add<T: Real>(x: &mut [T], factor: T, sums: &mut [T]) {
    dispatch!(|simd| scale_and_add_all(simd, x, factor, sums));
}

#[inline(always)]
fn scale_and_add_all<S: Simd, T: Real>(_: S, x: &mut [T], factor: T, sums: &mut [T]) {
    for (x, sum) in x.iter_mut().zip(sums) {
        *x *= factor;
        *sum += *x;
    }
}

/// into <- from, for rows so short that a call to copy them would take longer than the copy.
#[inline(always)]
pub(crate) fn copy_short<T: Real>(from: &[T], into: &mut [T]) {
    short(
        from,
        into,
        #[inline(always)]
        |from, into| *into = from,
    );
}

/// into += from, for short rows.
#[inline(always)]
pub(crate) fn add_short<T: Real>(from: &[T], into: &mut [T]) {
    short(
        from,
        into,
        #[inline(always)]
        |from, into| *into += from,
    );
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
