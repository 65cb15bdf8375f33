//! Columns for rows, a square of elements at a time, in registers.
//!
//! To be called inside a kernel that is dispatched already, except [`transpose_into`].

use super::dispatch::dispatch;
use crate::real::Real;
use fearless_simd::{Simd, prelude::*};
use std::ops::Range;

/// Rows and columns of a square.
pub(crate) const SQUARE: usize = 4;

/// Elements of a row that are moved before those of the next rows: as many lines of the result as
/// stay in the first-level cache until they are full.
const BLOCK: usize = 128;

/// into\[t\]\[r\] = row(r)\[t\] for `rows` rows of one length; a row of `into` is `width` long.
#[inline(always)]
pub(crate) fn transpose<'a, S: Simd, T: Real>(
    simd: S,
    rows: usize,
    row: impl Fn(usize) -> &'a [T],
    into: &mut [T],
    width: usize,
) {
    let whole_rows = rows / SQUARE * SQUARE;
    let length = if rows > 0 { row(0).len() } else { 0 };
    for first in (0..length).step_by(BLOCK) {
        let block = first..length.min(first + BLOCK);
        let into = &mut into[first * width..block.end * width];
        for r in (0..whole_rows).step_by(SQUARE) {
            let (a, b) = (fours(row(r), &block), fours(row(r + 1), &block));
            let (c, d) = (fours(row(r + 2), &block), fours(row(r + 3), &block));
            let whole = a.0.len();
            let (squares, rest) = into.split_at_mut(whole * SQUARE * width);
            let rows = [a.0, &b.0[..whole], &c.0[..whole], &d.0[..whole]];
            for (i, into) in squares.chunks_exact_mut(SQUARE * width).enumerate() {
                // By reference: squares gathered by value go through memory, in twice the time.
                let columns = square(simd, [&rows[0][i], &rows[1][i], &rows[2][i], &rows[3][i]]);
                for t in 0..SQUARE {
                    into[t * width + r..][..SQUARE].copy_from_slice(&columns[t]);
                }
            }
            for (t, into) in rest.chunks_exact_mut(width).enumerate() {
                into[r..r + SQUARE].copy_from_slice(&[a.1[t], b.1[t], c.1[t], d.1[t]]);
            }
        }
        for r in whole_rows..rows {
            for (into, &x) in into.chunks_exact_mut(width).zip(&row(r)[block.clone()]) {
                into[r] = x;
            }
        }
    }
}

/// Part of a row, four elements at a time, and what is left.
#[inline(always)]
fn fours<'a, T>(row: &'a [T], part: &Range<usize>) -> (&'a [[T; SQUARE]], &'a [T]) {
    row[part.start..part.end].as_chunks()
}

/// A square's columns for its rows.
#[inline(always)]
pub(crate) fn square<S: Simd, T: Real>(
    simd: S,
    rows: [&[T; SQUARE]; SQUARE],
) -> [[T; SQUARE]; SQUARE] {
    if const { <T::Quarter<S> as SimdBase<S>>::LEN != SQUARE } {
        return std::array::from_fn(|t| rows.map(|row| row[t]));
    }
    let [a, b, c, d] = rows.map(|row| T::Quarter::<S>::from_slice(simd, row));
    let (low, high) = ([a.zip_low(c), b.zip_low(d)], [a.zip_high(c), b.zip_high(d)]);
    let columns = [
        low[0].zip_low(low[1]),
        low[0].zip_high(low[1]),
        high[0].zip_low(high[1]),
        high[0].zip_high(high[1]),
    ];
    columns.map(|column| std::array::from_fn(|r| column.as_slice()[r]))
}

/// into\[t, r\] = x\[r step + t\] for rows r and columns t: the transpose of a matrix whose rows are
/// `step` apart.
pub(crate) fn transpose_into<T: Real>(
    x: &[T],
    step: usize,
    (rows, columns): (usize, usize),
    into: &mut [T],
) {
    let row = |r: usize| &x[r * step..][..columns];
    dispatch!(|simd| transpose(simd, rows, row, into, rows));
}
