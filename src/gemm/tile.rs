//! The register tile of matrix products: a few rows times a few vectors of columns.

use crate::real::Real;
use fearless_simd::{Level, Simd, prelude::*};

/// Rows of the largest tile.
pub(crate) const ROWS: usize = 6;

/// Vectors of columns of the largest tile: with 32 registers of 512 bits 6 x 4, with 16 of 256
/// bits (two to a vector) 6 x 1.
#[inline(always)]
pub(crate) fn vectors(level: Level) -> usize {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if level.as_avx512().is_some() {
        return 4;
    }
    let _ = level;
    1
}

/// c = a b, or c += a b if `accumulate`, for one tile of `rows` x `vectors * LANES`.
///
/// Row r of `a` starts at `a[r * stride]`, row p of `b` at `b[p * next]`, and row r of the tile goes
/// to `c[r][column..]`, as far as that row reaches. Every element is one chain of fused additions
/// over the depth, so its bits depend neither on the tile's size nor on where it stands.
#[inline(always)]
pub(crate) fn multiply<S: Simd, T: Real>(
    simd: S,
    [rows, vectors, depth]: [usize; 3],
    (a, stride): (&[T], usize),
    b: (&[T], usize),
    c: &mut [&mut [T]],
    column: usize,
    accumulate: bool,
) {
    match rows {
        1 => with_rows::<S, T, 1>(simd, [vectors, depth], (a, stride), b, c, column, accumulate),
        2 => with_rows::<S, T, 2>(simd, [vectors, depth], (a, stride), b, c, column, accumulate),
        3 => with_rows::<S, T, 3>(simd, [vectors, depth], (a, stride), b, c, column, accumulate),
        4 => with_rows::<S, T, 4>(simd, [vectors, depth], (a, stride), b, c, column, accumulate),
        5 => with_rows::<S, T, 5>(simd, [vectors, depth], (a, stride), b, c, column, accumulate),
        _ => with_rows::<S, T, ROWS>(simd, [vectors, depth], (a, stride), b, c, column, accumulate),
    }
}

#[inline(always)]
fn with_rows<S: Simd, T: Real, const R: usize>(
    simd: S,
    [vectors, depth]: [usize; 2],
    a: (&[T], usize),
    b: (&[T], usize),
    c: &mut [&mut [T]],
    column: usize,
    accumulate: bool,
) {
    // Known when the function is compiled for an instruction set: the others have no wider tiles.
    if const { <S::f32s as SimdBase<S>>::LEN == 16 } {
        match vectors {
            2 => return tile::<S, T, R, 2>(simd, depth, a, b, c, column, accumulate),
            3 => return tile::<S, T, R, 3>(simd, depth, a, b, c, column, accumulate),
            4 => return tile::<S, T, R, 4>(simd, depth, a, b, c, column, accumulate),
            _ => {}
        }
    }
    tile::<S, T, R, 1>(simd, depth, a, b, c, column, accumulate);
}

#[inline(always)]
fn tile<S: Simd, T: Real, const R: usize, const V: usize>(
    simd: S,
    depth: usize,
    (a, stride): (&[T], usize),
    (b, next): (&[T], usize),
    c: &mut [&mut [T]],
    column: usize,
    accumulate: bool,
) {
    let zero = T::Wide::<S>::splat(simd, T::ZERO);
    let mut sums = [[zero; V]; R];
    let mut rows = [&a[..0]; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &a[r * stride..][..depth];
    }
    for p in 0..depth {
        let b = &b[p * next..][..V * T::LANES];
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
