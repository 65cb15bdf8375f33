//! c = a b: five loops around the register tile.

use super::matrix::Matrix;
use super::pack::{Right, left, pack, padded, panel, space};
use super::tile::{self, Strided};
use crate::kernels::dispatch::dispatch;
use crate::parallel::{self, Order};
use crate::real::Real;
use crate::tensor::{Buffer, Pool};
use fearless_simd::Simd;
use std::ops::Range;

/// Greatest depth of a block: the rows of a tile, this deep, stay in the first-level cache, and a
/// panel in the second.
const DEPTH: usize = 512;
/// Most rows of a piece of work.
const BLOCK: usize = 768;
/// With at most so many rows, packing the right side takes longer than it saves.
const UNPACKED: usize = 4 * tile::ROWS;
/// With fewer rows than this for each thread, columns are split instead.
const FEW: usize = 48;

/// c = a b, or c += a b if `accumulate`; `c` is row-major.
pub(crate) fn multiply<T: Real>(
    pool: &Pool<T>,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [T],
    accumulate: bool,
) {
    assert_eq!(a.columns, b.rows, "inner lengths of a product");
    let deep = a.columns.div_ceil(a.columns.div_ceil(DEPTH).max(1));
    product(pool, a, Source::Matrix(b), deep, c, accumulate);
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
            dispatch!(|simd| pack(simd, b, 0..b.rows, columns, right));
        });
        Packed { rows: b.rows, columns: b.columns, panels }
    }

    /// c = a b, or c += a b if `accumulate`.
    pub(crate) fn multiply(&self, pool: &Pool<T>, a: Matrix<'_, T>, c: &mut [T], accumulate: bool) {
        assert_eq!(a.columns, self.rows, "inner lengths of a product");
        product(pool, a, Source::Packed(self), self.rows, c, accumulate);
    }
}

/// Where the right side comes from.
#[derive(Clone, Copy)]
enum Source<'a, T: Real> {
    Matrix(Matrix<'a, T>),
    Packed(&'a Packed<T>),
}

impl<'a, T: Real> Source<'a, T> {
    fn columns(self) -> usize {
        match self {
            Source::Matrix(b) => b.columns,
            Source::Packed(b) => b.columns,
        }
    }

    /// Elements of the space that [`Source::panel`] wants.
    fn space(self, deep: usize) -> usize {
        match self {
            Source::Matrix(_) => panel::<T>() * deep,
            Source::Packed(_) => 0,
        }
    }

    /// A panel, from the first of `columns` on, of the rows `depth`, for products with few rows or
    /// many: packed into `space`, unless that has been done or does not pay.
    #[inline(always)]
    fn panel<'b, S: Simd>(
        self,
        simd: S,
        depth: Range<usize>,
        columns: Range<usize>,
        few: bool,
        space: &'b mut [T],
    ) -> Right<'b, T>
    where
        'a: 'b,
    {
        let (deep, width) = (depth.len(), padded::<T>(columns.len()));
        match self {
            Source::Packed(b) => {
                Right::packed(simd, &b.panels[columns.start * deep..][..width * deep], deep)
            }
            Source::Matrix(b) if few && !b.transposed && columns.start + width <= b.columns => {
                Right::standing(simd, b, depth.start, columns.start, width)
            }
            Source::Matrix(b) => {
                let space = &mut space[..width * deep];
                pack(simd, b, depth, columns, space);
                Right::packed(simd, space, deep)
            }
        }
    }
}

/// The product in blocks of at most `deep` of its depth.
fn product<T: Real>(
    pool: &Pool<T>,
    a: Matrix<'_, T>,
    b: Source<'_, T>,
    deep: usize,
    c: &mut [T],
    accumulate: bool,
) {
    // Loop 5: pieces of the rows, or of the columns, one for each thread or more.
    split(a, b.columns(), c, accumulate, |rows, columns, c| {
        let few = rows.len() <= UNPACKED;
        let mut of_right = pool.take(b.space(deep));
        let mut of_left = pool.take(space(a, rows.len(), deep));
        // Loop 4: blocks of the depth.
        for start in (0..a.columns).step_by(deep) {
            let depth = start..a.columns.min(start + deep);
            let left = left(a, rows.clone(), depth.clone(), &mut of_left);
            let accumulate = accumulate || start > 0;
            // Loop 3: panels of columns.
            for column in columns.clone().step_by(panel::<T>()) {
                let (columns, at) = (column..columns.end, column - columns.start);
                let (depth, space) = (depth.clone(), &mut of_right[..]);
                dispatch!(|simd| panel_product(
                    simd, left, b, depth, columns, few, space, c, at, accumulate
                ));
            }
        }
    });
}

/// Writes the product of some rows and a panel, of the columns from `at` on in `c`, to the rows of
/// `c`, or adds it to them.
#[expect(clippy::too_many_arguments, reason = "the operands of a product, and which part of them")]
#[inline(always)]
fn panel_product<S: Simd, T: Real>(
    simd: S,
    left: Strided<'_, T>,
    right: Source<'_, T>,
    depth: Range<usize>,
    columns: Range<usize>,
    few: bool,
    space: &mut [T],
    c: &mut Piece<'_, '_, T>,
    at: usize,
    accumulate: bool,
) {
    let deep = depth.len();
    let right = right.panel(simd, depth, columns, few, space);
    let width = tile::vectors::<S>() * T::LANES;
    let vectors = right.width.min(width) / T::LANES;
    // Loop 2: tiles of rows.
    let mut row = 0;
    for height in heights(c.height()) {
        let left = left.from_row(row);
        c.tile(
            row..row + height,
            #[inline(always)]
            |c| {
                // Loop 1: tiles of columns; the tile itself runs through the depth.
                for i in 0..right.width.div_ceil(width) {
                    let (size, column) = ([height, vectors, deep], at + i * width);
                    tile::multiply(simd, size, left, right.tile(i), c, column, accumulate);
                }
            },
        );
        row += height;
    }
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
        parallel::for_each(Order::Forward, &mut pieces[..], |i, piece| {
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
