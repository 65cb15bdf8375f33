//! Matrix products on slices.
//!
//! The register tile reads the left side row by row, where it stands unless it is a transpose, and
//! the right side from panels of columns, packed in the order in which it is read unless rows are
//! few. The work is split over threads by rows, or by columns where rows are few. Each element of
//! the result is the same chain of fused additions however the work is split.

mod tile;

use crate::kernels::level;
use crate::kernels::transpose::transpose;
use crate::parallel;
use crate::real::Real;
use crate::tensor::{Buffer, Pool};
use fearless_simd::{Level, Simd, dispatch, prelude::*};
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

    /// These rows of the columns `depth`, as a left side, with the distance from one row to the
    /// next: where they stand, or turned into `space` if this is a transpose.
    fn left<'b>(
        self,
        rows: Range<usize>,
        depth: Range<usize>,
        space: &'b mut [T],
    ) -> (&'b [T], usize)
    where
        'a: 'b,
    {
        if !self.transposed {
            return (&self.data[rows.start * self.columns + depth.start..], self.columns);
        }
        let width = depth.len();
        let column = |p: usize| &self.data[(depth.start + p) * self.rows..][rows.clone()];
        dispatch!(level(), simd => simd.vectorize(
            #[inline(always)]
            || transpose(simd, width, column, space, width)
        ));
        (space, width)
    }

    /// Elements of the space that [`Matrix::left`] wants.
    fn space(self, rows: usize, depth: usize) -> usize {
        if self.transposed { rows * depth } else { 0 }
    }
}

/// Greatest depth of a block: the rows of a tile, this deep, stay in the first-level cache, and a
/// panel in the second.
const DEPTH: usize = 512;
/// Most rows of a piece of work.
const BLOCK: usize = 768;
/// With at most so many rows, packing the right side takes longer than it saves.
const UNPACKED: usize = 4 * tile::ROWS;
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
        let deep = a.columns.div_ceil(a.columns.div_ceil(DEPTH));
        let few = rows.len() <= UNPACKED;
        let mut right = pool.take(panel::<T>() * deep);
        let mut space = pool.take(a.space(rows.len(), deep));
        for start in (0..a.columns).step_by(deep) {
            let depth = start..a.columns.min(start + deep);
            let left = a.left(rows.clone(), depth.clone(), &mut space);
            for column in columns.clone().step_by(panel::<T>()) {
                let width = padded::<T>(columns.end - column);
                let right = &mut right[..width * depth.len()];
                dispatch!(level(), simd => {
                    let right = if few && !b.transposed && column + width <= b.columns {
                        Right::standing(simd.level(), b, depth.start, column, width)
                    } else {
                        pack_panel(simd, b, depth.clone(), column..columns.end, right);
                        Right::packed(simd.level(), right, depth.len())
                    };
                    panel_product(simd, left, right, depth.len(), c, column - columns.start, accumulate || start > 0);
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
            let mut space = pool.take(a.space(rows.len(), depth));
            let left = a.left(rows, 0..depth, &mut space);
            for column in columns.clone().step_by(panel::<T>()) {
                let right =
                    &self.panels[column * depth..][..padded::<T>(columns.end - column) * depth];
                dispatch!(level(), simd => {
                    panel_product(simd, left, Right::packed(simd.level(), right, depth), depth, c, column - columns.start, accumulate)
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
                let (count, mut rest) = (rows.len(), &mut data[rows.start * *width..]);
                let mut tile: [&mut [T]; tile::ROWS] = Default::default();
                for row in &mut tile[..count] {
                    (*row, rest) = std::mem::take(&mut rest).split_at_mut(*width);
                }
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
            let (deep, whole) = (depth.len(), tile::vectors(simd.level()) * T::LANES);
            let width = panel.len() / deep;
            let filled = width.min(columns.end - columns.start);
            if filled < width {
                panel.fill(T::ZERO);
            }
            if b.transposed {
                for (i, tile) in panel.chunks_mut(whole * deep).enumerate() {
                    let (first, width) = (i * whole, tile.len() / deep);
                    let column =
                        |j: usize| &b.data[(columns.start + first + j) * b.rows..][depth.clone()];
                    transpose(simd, width.min(filled - first), column, tile, width);
                }
                return;
            }
            // Row by row: what is next in memory is wanted next.
            for (p, row) in depth.clone().enumerate() {
                let row = &b.data[row * b.columns + columns.start..][..filled];
                for (i, from) in row.chunks(whole).enumerate() {
                    let width = whole.min(width - i * whole);
                    let into = &mut panel[i * whole * deep + p * width..][..width];
                    if from.len() < width {
                        into[..from.len()].copy_from_slice(from);
                        continue;
                    }
                    for (x, into) in
                        from.chunks_exact(T::LANES).zip(into.chunks_exact_mut(T::LANES))
                    {
                        T::Wide::<S>::from_slice(simd, x).store_slice(into);
                    }
                }
            }
        },
    );
}

/// Some columns of a right side, as the tiles read them.
#[derive(Clone, Copy)]
struct Right<'a, T> {
    data: &'a [T],
    /// From one row of a tile to the next.
    row: usize,
    /// From one tile to the next.
    tile: usize,
    /// Columns: whole vectors.
    width: usize,
}

impl<'a, T: Real> Right<'a, T> {
    /// Where they stand in a row-major matrix.
    fn standing(level: Level, b: Matrix<'a, T>, row: usize, column: usize, width: usize) -> Self {
        let tile = tile::vectors(level) * T::LANES;
        Right { data: &b.data[row * b.columns + column..], row: b.columns, tile, width }
    }

    /// As [`pack_panel`] leaves them.
    fn packed(level: Level, data: &'a [T], depth: usize) -> Self {
        let width = data.len() / depth;
        let row = width.min(tile::vectors(level) * T::LANES);
        Right { data, row, tile: row * depth, width }
    }
}

/// Writes the product of some rows and some columns to, or adds it to, the rows of `c`.
#[inline(always)]
fn panel_product<S: Simd, T: Real>(
    simd: S,
    (left, stride): (&[T], usize),
    right: Right<'_, T>,
    depth: usize,
    c: &mut Piece<'_, '_, T>,
    column: usize,
    accumulate: bool,
) {
    let width = tile::vectors(simd.level()) * T::LANES;
    let mut row = 0;
    for height in heights(c.height()) {
        let left = (&left[row * stride..], stride);
        c.tile(row..row + height, |c| {
            for i in 0..right.width.div_ceil(width) {
                let size = [height, right.width.min(width) / T::LANES, depth];
                let b = (&right.data[i * right.tile..], right.row);
                simd.vectorize(
                    #[inline(always)]
                    || tile::multiply(simd, size, left, b, c, column + i * width, accumulate),
                );
            }
        });
        row += height;
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
