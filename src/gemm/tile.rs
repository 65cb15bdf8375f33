//! The register tile of matrix products: a few rows times a few vectors of columns.

#![expect(clippy::needless_range_loop, reason = "a register tile is indexed by row and vector")]

use crate::kernels::vector::{constant, is_512_bits};
use crate::real::Real;
use fearless_simd::{Simd, prelude::*};

/// Rows of the largest tile.
pub(super) const ROWS: usize = 6;

/// Vectors of columns of the largest tile: with 32 registers of 512 bits 6 x 4, with 16 of 256
/// bits (two to a vector) 6 x 1.
#[inline(always)]
pub(super) const fn vectors<S: Simd>() -> usize {
    if is_512_bits::<S>() { 4 } else { 1 }
}

/// Rows of one length: row r starts at `data[r * stride]`.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a, T> {
    pub(super) data: &'a [T],
    pub(super) stride: usize,
}

impl<'a, T> Strided<'a, T> {
    /// Without the first `rows` rows.
    #[inline(always)]
    pub(super) fn skip(self, rows: usize) -> Self {
        Strided { data: &self.data[rows * self.stride..], ..self }
    }
}

/// c = a b, or c += a b if `accumulate`, for one tile of `rows` x `vectors * LANES`; row r of the
/// tile goes to `c[r][column..]`, as far as that row reaches.
///
/// Every element is one chain of fused additions over the depth, so its bits depend neither on the
/// tile's size nor on where it stands.
#[inline(always)]
pub(super) fn multiply<S: Simd, T: Real>(
    simd: S,
    [rows, vectors, depth]: [usize; 3],
    a: Strided<'_, T>,
    b: Strided<'_, T>,
    c: &mut [&mut [T]],
    column: usize,
    accumulate: bool,
) {
    constant!(rows, [1, 2, 3, 4, 5, 6], |R| if const { is_512_bits::<S>() } {
        constant!(vectors, [1, 2, 3, 4], |V| tile::<S, T, R, V>(
            simd, depth, a, b, c, column, accumulate
        ));
    } else {
        tile::<S, T, R, 1>(simd, depth, a, b, c, column, accumulate);
    });
}

#[inline(always)]
fn tile<S: Simd, T: Real, const R: usize, const V: usize>(
    simd: S,
    depth: usize,
    a: Strided<'_, T>,
    b: Strided<'_, T>,
    c: &mut [&mut [T]],
    column: usize,
    accumulate: bool,
) {
    let zero = T::Wide::<S>::splat(simd, T::ZERO);
    let mut sums = [[zero; V]; R];
    let mut rows = [&a.data[..0]; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &a.data[r * a.stride..][..depth];
    }
    for p in 0..depth {
        let b = &b.data[p * b.stride..][..V * T::LANES];
        let mut right = [zero; V];
        for v in 0..V {
            right[v] = T::Wide::<S>::from_slice(simd, &b[v * T::LANES..(v + 1) * T::LANES]);
        }
        for r in 0..R {
            let left = T::Wide::<S>::splat(simd, rows[r][p]);
            for v in 0..V {
                sums[r][v] = left.mul_add(right[v], sums[r][v]);
            }
        }
    }
    // The sums stay in registers only where every index into them is known when this is compiled, so
    // what reaches less far than the tile goes through memory of its own.
    let width = V * T::LANES;
    if c[..R].iter().all(|row| row.len() >= column + width) {
        for r in 0..R {
            let row = &mut c[r][column..][..width];
            for v in 0..V {
                let row = &mut row[v * T::LANES..][..T::LANES];
                let old = if accumulate { T::Wide::<S>::from_slice(simd, row) } else { zero };
                (old + sums[r][v]).store_slice(row);
            }
        }
    } else {
        let mut edge = [[zero; V]; R];
        for r in 0..R {
            for v in 0..V {
                edge[r][v] = sums[r][v];
            }
        }
        for (row, sums) in c.iter_mut().zip(&edge) {
            for (x, sum) in row[column..].iter_mut().zip(sums.iter().flat_map(|v| v.as_slice())) {
                *x = if accumulate { *x } else { T::ZERO } + *sum;
            }
        }
    }
}
