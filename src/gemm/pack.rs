//! Both sides of a product as the tiles read them: where they stand, or packed.

use super::matrix::Matrix;
use super::tile::{Strided, vectors};
use crate::kernels::dispatch::dispatch;
use crate::kernels::transpose::transpose;
use crate::parallel;
use crate::real::Real;
use crate::tensor::{Buffer, Pool};
use fearless_simd::{Simd, prelude::*};
use std::ops::Range;

/// Vectors of columns of a panel of the right side: one to four tiles.
pub(super) const PANEL: usize = 4;

/// Elements of the space that [`left`] wants.
pub(super) fn space<T>(a: Matrix<'_, T>, rows: usize, depth: usize) -> usize {
    if a.transposed { rows * depth } else { 0 }
}

/// Some rows of the columns `depth` of a left side: where they stand, or transposed into `space` if
/// the matrix is a transpose.
pub(super) fn left<'a, T: Real>(
    a: Matrix<'a, T>,
    rows: Range<usize>,
    depth: Range<usize>,
    space: &'a mut [T],
) -> Strided<'a, T> {
    if !a.transposed {
        return Strided {
            data: &a.data[rows.start * a.columns + depth.start..],
            stride: a.columns,
        };
    }
    let stride = depth.len();
    let column = |p: usize| &a.data[(depth.start + p) * a.rows..][rows.clone()];
    dispatch!(|simd| transpose(simd, stride, column, space, stride));
    Strided { data: space, stride }
}

/// Some columns of a right side, as the tiles read them.
#[derive(Clone, Copy)]
pub(super) struct Right<'a, T> {
    data: &'a [T],
    /// From one row of a tile to the next.
    row: usize,
    /// From one tile to the next.
    tile: usize,
    /// Columns: whole vectors.
    pub(super) width: usize,
}

impl<'a, T: Real> Right<'a, T> {
    /// Where they stand in a row-major matrix.
    #[inline(always)]
    pub(super) fn standing<S: Simd>(
        _: S,
        b: Matrix<'a, T>,
        row: usize,
        column: usize,
        width: usize,
    ) -> Self {
        let tile = vectors::<S>() * T::LANES;
        Right { data: &b.data[row * b.columns + column..], row: b.columns, tile, width }
    }

    /// As [`pack`] leaves them.
    #[inline(always)]
    pub(super) fn packed<S: Simd>(_: S, data: &'a [T], depth: usize) -> Self {
        let width = data.len() / depth;
        let row = width.min(vectors::<S>() * T::LANES);
        Right { data, row, tile: row * depth, width }
    }

    /// The columns of the i-th tile.
    #[inline(always)]
    pub(super) fn tile(self, i: usize) -> Strided<'a, T> {
        Strided { data: &self.data[i * self.tile..], stride: self.row }
    }
}

/// Packs the rows `depth` of `b`, as many of the columns as the panel has room for, tile by tile,
/// filling up with zeros.
#[inline(always)]
pub(super) fn pack<S: Simd, T: Real>(
    simd: S,
    b: Matrix<'_, T>,
    depth: Range<usize>,
    columns: Range<usize>,
    panel: &mut [T],
) {
    let width = panel.len() / depth.len();
    let columns = columns.start..columns.end.min(columns.start + width);
    if columns.len() < width {
        panel.fill(T::ZERO);
    }
    match b.transposed {
        true => pack_transposed(simd, b, depth, columns, panel),
        false => pack_rows(simd, b, depth, columns, panel),
    }
}

/// [`pack`] from a transpose: each tile's columns stand row by row.
#[inline(always)]
fn pack_transposed<S: Simd, T: Real>(
    simd: S,
    b: Matrix<'_, T>,
    depth: Range<usize>,
    columns: Range<usize>,
    panel: &mut [T],
) {
    let whole = vectors::<S>() * T::LANES;
    for (i, tile) in panel.chunks_mut(whole * depth.len()).enumerate() {
        let (first, width) = (columns.start + i * whole, tile.len() / depth.len());
        let column = |j: usize| &b.data[(first + j) * b.rows..][depth.clone()];
        transpose(simd, width.min(columns.end - first), column, tile, width);
    }
}

/// [`pack`] row by row: what is next in memory is wanted next.
#[inline(always)]
fn pack_rows<S: Simd, T: Real>(
    simd: S,
    b: Matrix<'_, T>,
    depth: Range<usize>,
    columns: Range<usize>,
    panel: &mut [T],
) {
    let (deep, whole) = (depth.len(), vectors::<S>() * T::LANES);
    let all = panel.len() / deep;
    for (p, row) in depth.enumerate() {
        let row = &b.data[row * b.columns..][columns.clone()];
        for (i, from) in row.chunks(whole).enumerate() {
            let width = whole.min(all - i * whole);
            let into = &mut panel[i * whole * deep + p * width..][..width];
            if from.len() < width {
                into[..from.len()].copy_from_slice(from);
                continue;
            }
            for (x, into) in from.chunks_exact(T::LANES).zip(into.chunks_exact_mut(T::LANES)) {
                T::Wide::<S>::from_slice(simd, x).store_slice(into);
            }
        }
    }
}

/// A right side packed once for several products.
pub(crate) struct Packed<T: Real> {
    pub(super) rows: usize,
    columns: usize,
    panels: Buffer<T>,
}

impl<T: Real> Packed<T> {
    /// Packs `b`.
    pub(crate) fn new(pool: &Pool<T>, b: Matrix<'_, T>) -> Self {
        let mut panels = pool.take(b.rows * b.columns.next_multiple_of(T::LANES));
        parallel::for_each_chunk(&mut panels, b.rows * PANEL * T::LANES, |i, right| {
            let columns = i * PANEL * T::LANES..b.columns;
            dispatch!(|simd| pack(simd, b, 0..b.rows, columns, right));
        });
        Packed { rows: b.rows, columns: b.columns, panels }
    }
}

/// Where the right side comes from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a, T: Real> {
    Matrix(Matrix<'a, T>),
    Packed(&'a Packed<T>),
}

impl<'a, T: Real> Source<'a, T> {
    pub(super) fn columns(self) -> usize {
        match self {
            Source::Matrix(b) => b.columns,
            Source::Packed(b) => b.columns,
        }
    }

    /// Elements of the space that [`Source::panel`] wants.
    pub(super) fn space(self, deep: usize) -> usize {
        match self {
            Source::Matrix(_) => PANEL * T::LANES * deep,
            Source::Packed(_) => 0,
        }
    }

    /// A panel, from the first of `columns` on, of the rows `depth`, for products with few rows or
    /// many: packed into `space`, unless that has been done or does not pay.
    #[inline(always)]
    pub(super) fn panel<'b, S: Simd>(
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
        let width = columns.len().min(PANEL * T::LANES).next_multiple_of(T::LANES);
        let deep = depth.len();
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
