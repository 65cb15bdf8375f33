//! c = a b: five loops around the register tile.

use super::matrix::Matrix;
use super::pack::{PANEL, Packed, Source, left, space};
use super::tile::{self, Strided};
use crate::kernels::dispatch::dispatch;
use crate::parallel::{self, Order};
use crate::real::Real;
use crate::tensor::Pool;
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

impl<T: Real> Packed<T> {
    /// c = a b, or c += a b if `accumulate`.
    pub(crate) fn multiply(&self, pool: &Pool<T>, a: Matrix<'_, T>, c: &mut [T], accumulate: bool) {
        assert_eq!(a.columns, self.rows, "inner lengths of a product");
        product(pool, a, Source::Packed(self), self.rows, c, accumulate);
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
            for column in columns.clone().step_by(PANEL * T::LANES) {
                let (depth, at) = (depth.clone(), column - columns.start);
                let part = Part { depth, columns: column..columns.end, few, at, accumulate };
                dispatch!(|simd| panel_product(simd, left, b, part, &mut of_right, c));
            }
        }
    });
}

/// Which part of a product is computed.
struct Part {
    depth: Range<usize>,
    /// Of b: as many of them as a panel has.
    columns: Range<usize>,
    /// Whether so few rows are multiplied that packing the columns does not pay.
    few: bool,
    /// Where the columns start in the rows of c.
    at: usize,
    accumulate: bool,
}

/// The product of some rows and a panel; `space` is room to pack the panel.
#[inline(always)]
fn panel_product<S: Simd, T: Real>(
    simd: S,
    left: Strided<'_, T>,
    b: Source<'_, T>,
    part: Part,
    space: &mut [T],
    c: &mut Piece<'_, '_, T>,
) {
    let Part { depth, columns, few, at, accumulate } = part;
    let deep = depth.len();
    let right = b.panel(simd, depth, columns, few, space);
    let width = tile::vectors::<S>() * T::LANES;
    let vectors = right.width.min(width) / T::LANES;
    // Loop 2: tiles of rows.
    let mut row = 0;
    for height in heights(c.height()) {
        let left = left.skip(row);
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
        let width = columns.div_ceil(threads).next_multiple_of(PANEL * T::LANES);
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
    use crate::kernels::dispatch::levels::assert_agree;

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

    #[test]
    fn products_agree_at_every_instruction_set() {
        let wave = |n: usize, k: f32| (0..n).map(|i| ((i as f32) * k).sin()).collect::<Vec<_>>();
        for (m, k, n) in [(5, 3, 17), (20, 40, 70), (13, 600, 33), (210, 9, 5)] {
            let (a, b) = (wave(m * k, 0.7), wave(k * n, 1.3));
            let product = |a: Matrix<'_, f32>, b: Matrix<'_, f32>| {
                let (pool, mut c) = (Pool::default(), vec![0.0; m * n]);
                multiply(&pool, a, b, &mut c, false);
                c.into_iter().map(f64::from).collect::<Vec<_>>()
            };
            // Sums of k products, each rounded once where there is a fused instruction, else twice.
            let rounding = (k as f64) * f64::from(f32::EPSILON);
            for (left, right) in [(false, false), (false, true), (true, false), (true, true)] {
                let a = if left { Matrix::new(&a, k, m).t() } else { Matrix::new(&a, m, k) };
                let b = if right { Matrix::new(&b, n, k).t() } else { Matrix::new(&b, k, n) };
                assert_agree("product", rounding, || product(a, b));
            }
        }
    }
}
