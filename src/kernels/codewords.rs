//! Rows from codes and codewords, and sums of rows per codeword.

use super::dispatch::dispatch;
use super::elementwise::{add_short, copy_short};
use super::vector::constant;
use crate::parallel;
use crate::real::Real;
use fearless_simd::Simd;

/// Tokens of a piece of decoding.
const CHUNK: usize = 64;

/// Calls what is compiled for the width of a group, or for the usual widths what is compiled for
/// that width alone.
macro_rules! of_width {
    ($width:expr, |$name:ident| $constant:expr, else $any:expr) => {
        constant!($width, [4, 6, 8, 13, 16], |$name| $constant, else $any)
    };
}

/// row <- the codewords that its codes stand for, one after the other; the codewords of the next
/// group start `stride` codewords further on.
#[inline(always)]
pub(crate) fn put<T: Real>(codewords: &[T], stride: usize, codes: &[u32], row: &mut [T]) {
    let width = row.len() / codes.len();
    of_width!(
        width,
        |W| put_constant::<T, W>(codewords, stride, codes, row),
        else put_any(codewords, stride, codes, row, width)
    );
}

#[inline(always)]
fn put_constant<T: Real, const W: usize>(
    codewords: &[T],
    stride: usize,
    codes: &[u32],
    row: &mut [T],
) {
    let (codewords, parts) = (codewords.as_chunks::<W>().0, row.as_chunks_mut::<W>().0);
    let mut first = 0;
    for (part, &code) in parts.iter_mut().zip(codes) {
        *part = codewords[first + code as usize];
        first += stride;
    }
}

#[inline(always)]
fn put_any<T: Real>(codewords: &[T], stride: usize, codes: &[u32], row: &mut [T], width: usize) {
    for (g, (part, &code)) in row.chunks_exact_mut(width).zip(codes).enumerate() {
        copy_short(&codewords[(g * stride + code as usize) * width..][..width], part);
    }
}

/// Adds a row's parts to the sums of the codewords that its codes stand for; the sums are laid out
/// as the codewords of [`put`].
#[inline(always)]
pub(crate) fn add<T: Real>(row: &[T], stride: usize, codes: &[u32], sums: &mut [T]) {
    let width = row.len() / codes.len();
    of_width!(
        width,
        |W| add_constant::<T, W>(row, stride, codes, sums),
        else add_any(row, stride, codes, sums, width)
    );
}

#[inline(always)]
fn add_constant<T: Real, const W: usize>(row: &[T], stride: usize, codes: &[u32], sums: &mut [T]) {
    let (parts, sums) = (row.as_chunks::<W>().0, sums.as_chunks_mut::<W>().0);
    let mut first = 0;
    for (part, &code) in parts.iter().zip(codes) {
        // By value, so that a part is added in vectors: the two slices might be one for all LLVM knows.
        let sum = &mut sums[first + code as usize];
        let (mut total, part) = (*sum, *part);
        for t in 0..W {
            total[t] += part[t];
        }
        *sum = total;
        first += stride;
    }
}

#[inline(always)]
fn add_any<T: Real>(row: &[T], stride: usize, codes: &[u32], sums: &mut [T], width: usize) {
    for (g, (part, &code)) in row.chunks_exact(width).zip(codes).enumerate() {
        add_short(part, &mut sums[(g * stride + code as usize) * width..][..width]);
    }
}

/// rows\[i\] <- the codewords that the codes of slots\[i\] stand for, `groups` codes per slot.
pub(crate) fn decode<T: Real>(
    codewords: &[T],
    stride: usize,
    codes: &[u32],
    groups: usize,
    slots: &[u32],
    rows: &mut [T],
) {
    let size = CHUNK * (rows.len() / slots.len().max(1));
    parallel::for_each_chunk(rows, size, |i, rows| {
        let slots = &slots[i * CHUNK..];
        dispatch!(|simd| decode_chunk(simd, codewords, stride, codes, groups, slots, rows));
    });
}

#[inline(always)]
fn decode_chunk<S: Simd, T: Real>(
    _: S,
    codewords: &[T],
    stride: usize,
    codes: &[u32],
    groups: usize,
    slots: &[u32],
    rows: &mut [T],
) {
    let width = rows.len() / slots.len().min(CHUNK);
    for (&slot, row) in slots.iter().zip(rows.chunks_exact_mut(width)) {
        put(codewords, stride, &codes[slot as usize * groups..][..groups], row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_put_together_and_added_for_every_width() {
        let (k, groups, codes) = (3, 2, [[2, 0], [1, 1], [2, 2]]);
        for width in 1..=17 {
            for stride in [0, k] {
                let codewords: Vec<f64> = (0..2 * k * width).map(|i| i as f64).collect();
                let codeword = |g: usize, code: u32| {
                    &codewords[(g * stride + code as usize) * width..][..width]
                };
                let mut rows = vec![9.0; 3 * groups * width];
                decode(&codewords, stride, codes.as_flattened(), groups, &[1, 0, 1], &mut rows);
                let expected = [1, 0, 1].map(|slot: usize| {
                    [codeword(0, codes[slot][0]), codeword(1, codes[slot][1])].concat()
                });
                assert_eq!(rows, expected.concat());

                let mut sums = vec![1.0; codewords.len()];
                add(&rows[..groups * width], stride, &codes[2], &mut sums);
                for (i, sum) in sums.iter().enumerate() {
                    let of_group = |g: usize| {
                        let first = (g * stride + 2) * width;
                        let inside = (first..first + width).contains(&i);
                        if inside { rows[g * width + i - first] } else { 0.0 }
                    };
                    assert_eq!(*sum, 1.0 + of_group(0) + of_group(1), "{width} {stride} {i}");
                }
            }
        }
    }
}
