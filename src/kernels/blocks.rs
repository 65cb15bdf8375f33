//! Products of small row-major blocks, in registers: what the fused ops are made of.
//!
//! To be called inside a kernel that is dispatched already. Widths are padded (see [`padded`]) and
//! the padding holds zeros.

use crate::real::Real;
use fearless_simd::{Simd, prelude::*};

/// Rows that share the loads of the right side.
const ROWS: usize = 6;

/// A width rounded up to what the kernels compute at once: a quarter, a half, or whole vectors.
pub(crate) fn padded<T: Real>(width: usize) -> usize {
    match width {
        w if w <= T::LANES / 4 => T::LANES / 4,
        w if w <= T::LANES / 2 => T::LANES / 2,
        w => w.next_multiple_of(T::LANES),
    }
}

/// into <- from, for rows so short that a call to copy them would take longer than the copy.
#[inline(always)]
pub(crate) fn copy_short<T: Real>(from: &[T], into: &mut [T]) {
    let (from, from_rest) = from.as_chunks::<4>();
    let (into, into_rest) = into.as_chunks_mut::<4>();
    for (into, from) in into.iter_mut().zip(from) {
        *into = *from;
    }
    for (into, from) in into_rest.iter_mut().zip(from_rest) {
        *into = *from;
    }
}

/// Copies `width` elements, a [`padded`] width, from a place that goes on at least as far.
#[inline(always)]
pub(crate) fn copy_padded<T: Real>(from: &[T], into: &mut [T], width: usize) {
    match width {
        2 => into[..2].copy_from_slice(&from[..2]),
        4 => into[..4].copy_from_slice(&from[..4]),
        8 => into[..8].copy_from_slice(&from[..8]),
        16 => into[..16].copy_from_slice(&from[..16]),
        _ => into[..width].copy_from_slice(&from[..width]),
    }
}

/// into += from, for short rows.
#[inline(always)]
pub(crate) fn add_short<T: Real>(from: &[T], into: &mut [T]) {
    let (from, from_rest) = from.as_chunks::<4>();
    let (into, into_rest) = into.as_chunks_mut::<4>();
    for (into, from) in into.iter_mut().zip(from) {
        for lane in 0..4 {
            into[lane] += from[lane];
        }
    }
    for (into, from) in into_rest.iter_mut().zip(from_rest) {
        *into += *from;
    }
}

/// out += left right: left is rows x depth, `stride` apart, right depth x width, out rows x width.
#[inline(always)]
pub(crate) fn add_product<S: Simd, T: Real>(
    simd: S,
    left: &[T],
    stride: usize,
    right: &[T],
    out: &mut [T],
    width: usize,
) {
    match width {
        w if w <= T::LANES / 4 => {
            add_product_by::<S, T, T::Quarter<S>, 2>(simd, left, stride, right, out, w)
        }
        w if w <= T::LANES / 2 => {
            add_product_by::<S, T, T::Half<S>, 2>(simd, left, stride, right, out, w)
        }
        w => add_product_by::<S, T, T::Wide<S>, 1>(simd, left, stride, right, out, w),
    }
}

#[inline(always)]
fn add_product_by<S: Simd, T: Real, V: SimdFloat<S, Element = T>, const U: usize>(
    simd: S,
    left: &[T],
    stride: usize,
    right: &[T],
    out: &mut [T],
    width: usize,
) {
    let whole = out.len() / width / ROWS * ROWS;
    let (out, out_rest) = out.split_at_mut(whole * width);
    simd.vectorize(
        #[inline(always)]
        || {
            for (left, out) in left.chunks(ROWS * stride).zip(out.chunks_exact_mut(ROWS * width)) {
                add_rows::<S, T, V, ROWS, U>(simd, left, stride, right, out, width);
            }
            for (left, out) in
                left[whole * stride..].chunks(stride).zip(out_rest.chunks_exact_mut(width))
            {
                add_rows::<S, T, V, 1, U>(simd, left, stride, right, out, width);
            }
        },
    );
}

/// R rows, with U independent sums each, so that short vectors fill the multipliers too.
#[inline(always)]
fn add_rows<S: Simd, T: Real, V: SimdFloat<S, Element = T>, const R: usize, const U: usize>(
    simd: S,
    left: &[T],
    stride: usize,
    right: &[T],
    out: &mut [T],
    width: usize,
) {
    let depth = right.len() / width;
    let mut rows = [&left[..0]; R];
    for r in 0..R {
        rows[r] = &left[r * stride..][..depth];
    }
    for at in (0..width).step_by(V::LEN) {
        let mut sums = [[V::splat(simd, T::ZERO); U]; R];
        let mut blocks = right.chunks_exact(U * width);
        let mut p = 0;
        for block in &mut blocks {
            for u in 0..U {
                let right = V::from_slice(simd, &block[u * width + at..][..V::LEN]);
                for r in 0..R {
                    sums[r][u] = V::splat(simd, rows[r][p + u]).mul_add(right, sums[r][u]);
                }
            }
            p += U;
        }
        for row in blocks.remainder().chunks_exact(width) {
            let right = V::from_slice(simd, &row[at..at + V::LEN]);
            for r in 0..R {
                sums[r][0] = V::splat(simd, rows[r][p]).mul_add(right, sums[r][0]);
            }
            p += 1;
        }
        for r in 0..R {
            let out = &mut out[r * width + at..][..V::LEN];
            let mut sum = V::from_slice(simd, out);
            for part in sums[r] {
                sum += part;
            }
            sum.store_slice(out);
        }
    }
}

/// out += left^T right: left is rows x height, `stride` apart, right rows x width, out height x
/// width.
#[inline(always)]
pub(crate) fn add_outer<S: Simd, T: Real>(
    simd: S,
    left: &[T],
    stride: usize,
    right: &[T],
    out: &mut [T],
    width: usize,
) {
    match width {
        w if w <= T::LANES / 4 => {
            add_outer_by::<S, T, T::Quarter<S>>(simd, left, stride, right, out, w)
        }
        w if w <= T::LANES / 2 => {
            add_outer_by::<S, T, T::Half<S>>(simd, left, stride, right, out, w)
        }
        w => add_outer_by::<S, T, T::Wide<S>>(simd, left, stride, right, out, w),
    }
}

#[inline(always)]
fn add_outer_by<S: Simd, T: Real, V: SimdFloat<S, Element = T>>(
    simd: S,
    left: &[T],
    stride: usize,
    right: &[T],
    out: &mut [T],
    width: usize,
) {
    let whole = right.len() / width / ROWS * ROWS;
    let (right, right_rest) = right.split_at(whole * width);
    simd.vectorize(
        #[inline(always)]
        || {
            for (left, right) in left.chunks(ROWS * stride).zip(right.chunks_exact(ROWS * width)) {
                outer_rows::<S, T, V, ROWS>(simd, left, stride, right, out, width);
            }
            for (left, right) in
                left[whole * stride..].chunks(stride).zip(right_rest.chunks_exact(width))
            {
                outer_rows::<S, T, V, 1>(simd, left, stride, right, out, width);
            }
        },
    );
}

#[inline(always)]
fn outer_rows<S: Simd, T: Real, V: SimdFloat<S, Element = T>, const R: usize>(
    simd: S,
    left: &[T],
    stride: usize,
    right: &[T],
    out: &mut [T],
    width: usize,
) {
    let height = out.len() / width;
    let mut rows = [&left[..0]; R];
    for r in 0..R {
        rows[r] = &left[r * stride..][..height];
    }
    for at in (0..width).step_by(V::LEN) {
        let mut held = [V::splat(simd, T::ZERO); R];
        for r in 0..R {
            held[r] = V::from_slice(simd, &right[r * width + at..][..V::LEN]);
        }
        for (a, out) in out.chunks_exact_mut(width).enumerate() {
            let out = &mut out[at..at + V::LEN];
            let mut sum = V::from_slice(simd, out);
            for r in 0..R {
                sum = V::splat(simd, rows[r][a]).mul_add(held[r], sum);
            }
            sum.store_slice(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::level;
    use fearless_simd::dispatch;

    #[test]
    fn both_products_equal_their_definition_for_every_width_and_remainder() {
        for (rows, depth, width) in [(1, 1, 1), (7, 5, 3), (6, 4, 8), (13, 9, 2), (20, 16, 24)] {
            let width = padded::<f64>(width);
            let number = |i: usize| (i * 7 % 11) as f64 - 5.0;
            let left: Vec<f64> = (0..rows * (depth + 1)).map(number).collect();
            let right: Vec<f64> = (0..depth * width).map(|i| number(i + 3)).collect();
            let below: Vec<f64> = (0..rows * width).map(|i| number(i + 5)).collect();
            let (mut product, mut outer) = (vec![1.0; rows * width], vec![1.0; depth * width]);
            dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                add_product(simd, &left, depth + 1, &right, &mut product, width);
                add_outer(simd, &left, depth + 1, &below, &mut outer, width);
            }));
            let at = |r: usize, p: usize| left[r * (depth + 1) + p];
            for (i, &x) in product.iter().enumerate() {
                let (r, w) = (i / width, i % width);
                assert_eq!(
                    x,
                    1.0 + (0..depth).map(|p| at(r, p) * right[p * width + w]).sum::<f64>()
                );
            }
            for (i, &x) in outer.iter().enumerate() {
                let (p, w) = (i / width, i % width);
                assert_eq!(
                    x,
                    1.0 + (0..rows).map(|r| at(r, p) * below[r * width + w]).sum::<f64>()
                );
            }
        }
    }
}
