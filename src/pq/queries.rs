//! Queries: rows of a table, cut into groups, and how the work on them is cut into pieces.

use crate::kernels::panel;
use crate::parallel::Rows;
use crate::real::Real;
use crate::tensor::Tensor;
use fearless_simd::Simd;
use std::ops::Range;

/// Rows that are worked on together: all their groups while the rows are in cache, and a group's
/// codewords once for all of them.
pub(crate) const BLOCK: usize = 128;

/// Elements of a row that are gathered together: long enough to be worth visiting the row, and what
/// a block has of them stays in cache.
const TILE: usize = 128;

/// The number of partial sums that sums over rows aim at, unless their pieces come out shorter than
/// [`SHORTEST`], where adding up the pieces takes its time, or longer than [`LONGEST`], for single
/// precision's sake.
pub(crate) const PIECES: usize = 8;
const SHORTEST: usize = 96;
const LONGEST: usize = 512;

/// Queries: rows of a matrix, all or some of them, each cut into groups.
#[derive(Clone, Copy)]
pub(crate) struct Queries<'a, T: Real> {
    data: &'a [T],
    /// Which rows; `None` for all.
    ids: Option<&'a [u32]>,
    width: usize,
    /// D
    pub(crate) groups: usize,
}

impl<'a, T: Real> Queries<'a, T> {
    pub(crate) fn new(data: &'a Tensor<T>, ids: Option<&'a [u32]>, groups: usize) -> Self {
        Queries { data: data.data(), ids, width: data.shape().as_matrix().1, groups }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.ids.map_or(self.data.len() / self.width.max(1), <[u32]>::len)
    }

    /// s, the width of a group.
    pub(crate) fn group_width(&self) -> usize {
        self.width / self.groups
    }

    /// Row i.
    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> &'a [T] {
        let id = self.ids.map_or(i, |ids| ids[i] as usize);
        &self.data[id * self.width..][..self.width]
    }

    /// The pieces whose partial sums make up a sum over rows: part of the result's bits.
    pub(crate) fn pieces(&self) -> Rows {
        Rows::new(self.len(), self.piece())
    }

    /// Rows of one of the [`pieces`](Self::pieces).
    pub(crate) fn piece(&self) -> usize {
        let rows = self.len();
        let count = (rows / SHORTEST).clamp(1, PIECES).max(rows.div_ceil(LONGEST));
        rows.div_ceil(count).next_multiple_of(T::LANES)
    }

    /// The groups, in tiles that are gathered together.
    pub(crate) fn tiles(&self) -> impl Iterator<Item = Range<usize>> + use<T> {
        let (groups, size) = (self.groups, (TILE / self.group_width()).max(1));
        (0..groups).step_by(size).map(move |first| first..groups.min(first + size))
    }

    /// Elements of a row in the widest of the [`tiles`](Self::tiles), at most.
    pub(crate) fn tile_width(&self) -> usize {
        let s = self.group_width();
        (TILE / s).max(1) * s
    }

    /// The parts of some rows in a range of groups, as panels one after the other.
    #[inline(always)]
    pub(crate) fn panels<S: Simd>(
        &self,
        simd: S,
        rows: Range<usize>,
        groups: Range<usize>,
        panels: &mut [T],
    ) {
        let s = self.group_width();
        let columns = groups.start * s..groups.end * s;
        let panels = panels.chunks_exact_mut(columns.len() * T::LANES);
        for (tokens, panel) in panel::tokens::<T>(rows).zip(panels) {
            panel::gather(
                simd,
                tokens,
                #[inline(always)]
                |row| &self.row(row)[columns.start..columns.end],
                panel,
            );
        }
    }
}
