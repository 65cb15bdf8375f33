//! Matrix products on slices.
//!
//! Both sides are packed, block by block, into the order in which the register tile reads them;
//! a transposed side only changes how it is packed. The work is split over threads by rows, or by
//! columns where rows are few. Each element of the result is the same chain of fused additions
//! however the work is split.

use crate::kernels::{level, tile};
use crate::parallel;
use crate::real::Real;
use crate::tensor::{Buffer, Pool};
use fearless_simd::{Simd, dispatch, prelude::*};
use std::ops::Range;

/// A matrix in a row-major slice, or the transpose of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a, T> {
    data: &'a [T],
    /// Rows and columns of the matrix itself, not of how it is stored.
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<'a, T: Real> Matrix<'a, T> {
    /// The matrix that `data` holds row by row.
    pub(crate) fn new(data: &'a [T], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "elements of a {rows} x {columns} matrix");
        Matrix { data, rows, columns, transposed: false }
    }

    /// The transpose.
    pub(crate) fn t(self) -> Self {
        Matrix {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            transposed: !self.transposed,
        }
    }
}

/// Depth of a block: a row of tiles this deep stays in the first-level cache.
const DEPTH: usize = 512;
/// Rows of a block: a block of the left side this tall and [`DEPTH`] deep stays in the second.
const BLOCK: usize = 768;
/// With fewer rows than this for each thread, columns are split instead.
const FEW: usize = 48;

/// Columns of a panel of the right side: four vectors, so one to four tiles.
const fn panel<T: Real>() -> usize {
    4 * T::LANES
}

/// c = a b, or c += a b if `accumulate`; `c` is row-major.
pub(crate) fn multiply<T: Real>(
    pool: &Pool<T>,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [T],
    accumulate: bool,
) {
    assert_eq!(a.columns, b.rows, "inner lengths of a product");
    split(a, b.columns, c, accumulate, |rows, columns, c| {
        let mut right = pool.take(panel::<T>() * DEPTH.min(b.rows));
        let mut left = pool.take(rows.len() * DEPTH.min(a.columns));
        for start in (0..a.columns).step_by(DEPTH) {
            let depth = start..a.columns.min(start + DEPTH);
            let left = &mut left[..rows.len() * depth.len()];
            dispatch!(level(), simd => pack_left(simd, a, rows.clone(), depth.clone(), left));
            for column in columns.clone().step_by(panel::<T>()) {
                let right = &mut right[..padded::<T>(columns.end - column) * depth.len()];
                dispatch!(level(), simd => {
                    pack_panel(simd, b, depth.clone(), column..columns.end, right);
                    panel_product(simd, left, right, c, column - columns.start, accumulate || start > 0);
                });
            }
        }
    });
}

/// A right side packed once, for products that share it.
pub(crate) struct Packed<T: Real> {
    rows: usize,
    columns: usize,
    panels: Buffer<T>,
}

impl<T: Real> Packed<T> {
    /// Packs `b`.
    pub(crate) fn new(pool: &Pool<T>, b: Matrix<'_, T>) -> Self {
        let mut panels = pool.take(b.rows * b.columns.next_multiple_of(T::LANES));
        parallel::for_each_chunk(&mut panels, b.rows * panel::<T>(), |i, right| {
            let columns = i * panel::<T>()..b.columns;
            dispatch!(level(), simd => pack_panel(simd, b, 0..b.rows, columns, right));
        });
        Packed { rows: b.rows, columns: b.columns, panels }
    }

    /// c = a b, or c += a b if `accumulate`.
    pub(crate) fn multiply(&self, pool: &Pool<T>, a: Matrix<'_, T>, c: &mut [T], accumulate: bool) {
        assert_eq!(a.columns, self.rows, "inner lengths of a product");
        let depth = self.rows;
        split(a, self.columns, c, accumulate, |rows, columns, c| {
            let mut left = pool.take(rows.len() * depth);
            dispatch!(level(), simd => pack_left(simd, a, rows, 0..depth, &mut left));
            for column in columns.clone().step_by(panel::<T>()) {
                let right =
                    &self.panels[column * depth..][..padded::<T>(columns.end - column) * depth];
                dispatch!(level(), simd => {
                    panel_product(simd, &left, right, c, column - columns.start, accumulate)
                });
            }
        });
    }
}

/// Columns of a panel that has `left` columns yet to cover: whole vectors.
fn padded<T: Real>(left: usize) -> usize {
    left.min(panel::<T>()).next_multiple_of(T::LANES)
}

/// A piece of a product's result.
enum Piece<'a, 'b, T> {
    /// Whole rows of this length.
    Rows(&'a mut [T], usize),
    /// Parts of rows.
    Parts(&'a mut Vec<&'b mut [T]>),
}

impl<T> Piece<'_, '_, T> {
    fn height(&self) -> usize {
        match self {
            Piece::Rows(data, width) => data.len() / width,
            Piece::Parts(parts) => parts.len(),
        }
    }

    /// Calls `f` with the rows of a tile.
    #[inline(always)]
    fn tile(&mut self, rows: Range<usize>, f: impl FnOnce(&mut [&mut [T]])) {
        match self {
            Piece::Parts(parts) => f(&mut parts[rows]),
            Piece::Rows(data, width) => {
                let count = rows.len();
                let mut next = data[rows.start * *width..rows.end * *width].chunks_mut(*width);
                let mut tile: [&mut [T]; tile::ROWS] =
                    std::array::from_fn(|_| next.next().unwrap_or_default());
                f(&mut tile[..count]);
            }
        }
    }
}

/// Cuts c into pieces and calls `f(rows, columns, piece)` for each, a piece being its rows.
fn split<T: Real>(
    a: Matrix<'_, T>,
    columns: usize,
    c: &mut [T],
    accumulate: bool,
    f: impl Fn(Range<usize>, Range<usize>, &mut Piece<'_, '_, T>) + Sync,
) {
    assert_eq!(c.len(), a.rows * columns, "elements of a product");
    if c.is_empty() || a.columns == 0 {
        if !accumulate {
            c.fill(T::ZERO);
        }
        return;
    }
    let threads = if a.rows * a.columns * columns < 1 << 16 { 1 } else { parallel::threads() };
    if a.rows >= threads * FEW || threads == 1 {
        let pieces = a.rows.div_ceil(BLOCK).next_multiple_of(threads);
        let height = a.rows.div_ceil(pieces);
        parallel::for_each_chunk(c, height * columns, |i, piece| {
            let rows = i * height..i * height + piece.len() / columns;
            f(rows, 0..columns, &mut Piece::Rows(piece, columns));
        });
    } else {
        let width = columns.div_ceil(threads).next_multiple_of(panel::<T>());
        let mut pieces: Vec<Vec<&mut [T]>> = Vec::new();
        pieces.resize_with(columns.div_ceil(width), || Vec::with_capacity(a.rows));
        for row in c.chunks_mut(columns) {
            for (piece, row) in pieces.iter_mut().zip(row.chunks_mut(width)) {
                piece.push(row);
            }
        }
        parallel::for_each(&mut pieces, |i, piece| {
            let columns = i * width..columns.min((i + 1) * width);
            f(0..a.rows, columns, &mut Piece::Parts(piece));
        });
    }
}

/// The heights of the tiles that `rows` rows are cut into: as even as they can be.
#[inline(always)]
fn heights(rows: usize) -> impl Iterator<Item = usize> {
    let tiles = rows.div_ceil(tile::ROWS).max(1);
    (0..tiles).map(move |i| rows / tiles + usize::from(i < rows % tiles))
}

/// Packs rows x depth of `a` tile by tile, each depth x tile height.
#[inline(always)]
fn pack_left<S: Simd, T: Real>(
    simd: S,
    a: Matrix<'_, T>,
    rows: Range<usize>,
    depth: Range<usize>,
    into: &mut [T],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let (mut row, mut at) = (rows.start, 0);
            for height in heights(rows.len()) {
                let into = &mut into[at..at + height * depth.len()];
                if a.transposed {
                    for (p, into) in depth.clone().zip(into.chunks_exact_mut(height)) {
                        into.copy_from_slice(&a.data[p * a.rows + row..][..height]);
                    }
                } else {
                    let from = &a.data[row * a.columns..];
                    match height {
                        1 => interleave::<T, 1>(from, a.columns, depth.clone(), into, 1),
                        2 => interleave::<T, 2>(from, a.columns, depth.clone(), into, 2),
                        3 => interleave::<T, 3>(from, a.columns, depth.clone(), into, 3),
                        4 => interleave::<T, 4>(from, a.columns, depth.clone(), into, 4),
                        5 => interleave::<T, 5>(from, a.columns, depth.clone(), into, 5),
                        _ => interleave::<T, 6>(from, a.columns, depth.clone(), into, 6),
                    }
                }
                row += height;
                at += height * depth.len();
            }
        },
    );
}

/// Packs depth x panel of `b`, from the first of `columns` on, tile by tile, filling up with zeros.
#[inline(always)]
fn pack_panel<S: Simd, T: Real>(
    simd: S,
    b: Matrix<'_, T>,
    depth: Range<usize>,
    columns: Range<usize>,
    panel: &mut [T],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let width = tile::vectors(simd.level()) * T::LANES;
            for (i, tile) in panel.chunks_mut(width * depth.len()).enumerate() {
                let width = tile.len() / depth.len();
                let first = columns.start + i * width;
                let filled = width.min(columns.end - first);
                if filled < width {
                    tile.fill(T::ZERO);
                }
                if b.transposed {
                    transpose(
                        &b.data[first * b.rows..],
                        b.rows,
                        depth.clone(),
                        filled,
                        tile,
                        width,
                    );
                    continue;
                }
                for (p, into) in depth.clone().zip(tile.chunks_exact_mut(width)) {
                    let from = &b.data[p * b.columns + first..][..filled];
                    if filled == width {
                        for (x, into) in
                            from.chunks_exact(T::LANES).zip(into.chunks_exact_mut(T::LANES))
                        {
                            T::Wide::<S>::from_slice(simd, x).store_slice(into);
                        }
                    } else {
                        into[..filled].copy_from_slice(from);
                    }
                }
            }
        },
    );
}

/// into\[p\]\[r\] = from\[r\]\[depth.start + p\] for `rows` rows of length `stride`.
#[inline(always)]
fn transpose<T: Real>(
    from: &[T],
    stride: usize,
    depth: Range<usize>,
    rows: usize,
    into: &mut [T],
    width: usize,
) {
    let eights = rows / 8 * 8;
    for r in (0..eights).step_by(8) {
        interleave::<T, 8>(&from[r * stride..], stride, depth.clone(), &mut into[r..], width);
    }
    for r in eights..rows {
        interleave::<T, 1>(&from[r * stride..], stride, depth.clone(), &mut into[r..], width);
    }
}

/// into\[p\]\[r\] = from\[r\]\[depth.start + p\] for R rows of length `stride`; `into` has rows of `width`.
#[inline(always)]
fn interleave<T: Real, const R: usize>(
    from: &[T],
    stride: usize,
    depth: Range<usize>,
    into: &mut [T],
    width: usize,
) {
    let mut rows = [&from[..0]; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &from[r * stride..][depth.clone()];
    }
    for (p, into) in into.chunks_mut(width).enumerate().take(depth.len()) {
        let mut column = [T::ZERO; R];
        for r in 0..R {
            column[r] = rows[r][p];
        }
        into[..R].copy_from_slice(&column);
    }
}

/// Adds the product of the packed rows and one packed panel to the rows of `c`.
#[inline(always)]
fn panel_product<S: Simd, T: Real>(
    simd: S,
    left: &[T],
    panel: &[T],
    c: &mut Piece<'_, '_, T>,
    column: usize,
    accumulate: bool,
) {
    let depth = left.len() / c.height();
    let width = tile::vectors(simd.level()) * T::LANES;
    let (mut row, mut at) = (0, 0);
    for height in heights(c.height()) {
        let left = &left[at..at + height * depth];
        c.tile(row..row + height, |c| {
            for (i, right) in panel.chunks(width * depth).enumerate() {
                let size = (height, right.len() / depth / T::LANES);
                simd.vectorize(
                    #[inline(always)]
                    || tile::multiply(simd, size, left, right, c, column + i * width, accumulate),
                );
            }
        });
        row += height;
        at += height * depth;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_equal_the_definition_for_every_layout_and_remainder() {
        let pool = Pool::default();
        for (m, k, n) in
            [(1, 1, 1), (5, 3, 17), (20, 40, 70), (13, 600, 33), (210, 9, 5), (3, 0, 4), (0, 3, 4)]
        {
            let a: Vec<f64> = (0..m * k).map(|i| (i * 7 % 13) as f64 - 6.0).collect();
            let b: Vec<f64> = (0..k * n).map(|i| (i * 5 % 11) as f64 - 5.0).collect();
            let flip = |x: &[f64], rows: usize, columns: usize| -> Vec<f64> {
                (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect()
            };
            let (at, bt) = (flip(&a, m, k), flip(&b, k, n));
            let expected: Vec<f64> = (0..m * n)
                .map(|i| 1.0 + (0..k).map(|p| a[i / n * k + p] * b[p * n + i % n]).sum::<f64>())
                .collect();
            let lefts = [Matrix::new(&a, m, k), Matrix::new(&at, k, m).t()];
            let rights = [Matrix::new(&b, k, n), Matrix::new(&bt, n, k).t()];
            for threads in [1, 2] {
                for (left, right) in lefts.into_iter().flat_map(|l| rights.map(|r| (l, r))) {
                    parallel::with_threads(threads, || {
                        let mut c = vec![1.0; m * n];
                        multiply(&pool, left, right, &mut c, true);
                        assert_eq!(c, expected, "{m} x {k} x {n}");
                        c.fill(1.0);
                        Packed::new(&pool, right).multiply(&pool, left, &mut c, true);
                        assert_eq!(c, expected, "packed {m} x {k} x {n}");
                    });
                }
            }
        }
    }
}
