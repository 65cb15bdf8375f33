//! Panels: some numbers of as many tokens as a vector has lanes, one token a lane.
//!
//! A panel is rows of [`LANES`](Real::LANES): row t holds the t-th number of every token. What is
//! done with each token's numbers is then done in vectors over tokens: however few numbers a token
//! has, no lane idles, and sums and maxima over them need no shuffles. Panels of the same tokens and
//! of the tokens after them follow one another in one slice.
//!
//! To be called inside a kernel that is dispatched already.

use super::transpose::{SQUARE, square, transpose};
use crate::real::Real;
use fearless_simd::{Simd, prelude::*};
use std::ops::Range;

/// The lanes of a vector, and so the tokens of a panel, are at most this many.
pub(crate) const MOST_LANES: usize = 16;

/// The tokens of every panel that a range of tokens takes.
pub(crate) fn tokens<T: Real>(range: Range<usize>) -> impl ExactSizeIterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(T::LANES).map(move |first| first..end.min(first + T::LANES))
}

/// Fills the first rows of a panel from the tokens' own rows; lanes without a token become 0.
#[inline(always)]
pub(crate) fn gather<'a, S: Simd, T: Real>(
    simd: S,
    tokens: Range<usize>,
    row: impl Fn(usize) -> &'a [T],
    panel: &mut [T],
) {
    if tokens.len() < T::LANES {
        panel.fill(T::ZERO);
    }
    transpose(
        simd,
        tokens.len(),
        #[inline(always)]
        |r| row(tokens.start + r),
        panel,
        T::LANES,
    );
}

/// The opposite of [`gather`]: writes the lanes of a panel to the tokens' own rows.
#[inline(always)]
pub(crate) fn scatter<'a, S: Simd, T: Real>(
    simd: S,
    panel: &[T],
    mut tokens: impl ExactSizeIterator<Item = &'a mut [T]>,
) {
    let mut lane = 0;
    while tokens.len() >= SQUARE {
        let mut next = || tokens.next().expect("as many as were counted");
        let mut rows = [next(), next(), next(), next()];
        let whole = rows[0].len() / SQUARE;
        let (panel, rest) = panel.split_at(whole * SQUARE * T::LANES);
        for (i, panel) in panel.chunks_exact(SQUARE * T::LANES).enumerate() {
            let four = |t: usize| std::array::from_fn(|r| panel[t * T::LANES + lane + r]);
            let turned = square(simd, [&four(0), &four(1), &four(2), &four(3)]);
            for r in 0..SQUARE {
                rows[r][i * SQUARE..][..SQUARE].copy_from_slice(&turned[r]);
            }
        }
        for (t, panel) in rest.chunks_exact(T::LANES).enumerate() {
            for (r, row) in rows.iter_mut().enumerate() {
                row[whole * SQUARE + t] = panel[lane + r];
            }
        }
        lane += SQUARE;
    }
    for token in tokens {
        for (x, row) in token.iter_mut().zip(panel.chunks_exact(T::LANES)) {
            *x = row[lane];
        }
        lane += 1;
    }
}

/// out\[a\] = x\[a\] factor for every row of a panel, each token by its own factor.
#[inline(always)]
pub(crate) fn scale<S: Simd, T: Real>(simd: S, x: &[T], factors: &[T], out: &mut [T]) {
    let factors = T::Wide::<S>::from_slice(simd, &factors[..T::LANES]);
    for (x, out) in x.chunks_exact(T::LANES).zip(out.chunks_exact_mut(T::LANES)) {
        (T::Wide::<S>::from_slice(simd, x) * factors).store_slice(out);
    }
}

/// Whether the instruction set has 32 registers of 512 bits, and not 16 of 256 (two to a vector).
#[inline(always)]
const fn is_wide<S: Simd>() -> bool {
    <S::f32s as SimdBase<S>>::LEN == 16
}

/// `n` rows in as few blocks of at most `most` as there can be, the last two as even as they can be
/// (which takes no division): where each starts, and its size.
#[inline(always)]
fn blocks(n: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(
        #[inline(always)]
        move || {
            let left = n - first;
            let size =
                if left > most && left < 2 * most { left.div_ceil(2) } else { left.min(most) };
            first += size;
            (size > 0).then_some((first - size, size))
        },
    )
}

/// out\[a\] = sum over p of matrix\[p\]\[a\] x\[p\], as [`product_with`] has it.
#[inline(always)]
pub(crate) fn product<S: Simd, T: Real>(
    simd: S,
    matrix: &[T],
    height: usize,
    x: &[T],
    out: &mut [T],
) {
    product_with::<S, T, false>(
        simd,
        matrix,
        height,
        x,
        out,
        #[inline(always)]
        |_, sum| sum,
    );
}

/// [`product`], and the [`dot`] of e and its result.
#[inline(always)]
pub(crate) fn product_and_dot<S: Simd, T: Real>(
    simd: S,
    matrix: &[T],
    height: usize,
    x: &[T],
    e: &[T],
    out: &mut [T],
) -> T::Wide<S> {
    let mut total = T::Wide::<S>::splat(simd, T::ZERO);
    product_with::<S, T, false>(
        simd,
        matrix,
        height,
        x,
        out,
        #[inline(always)]
        |a, sum| {
            total =
                T::Wide::<S>::from_slice(simd, &e[a * T::LANES..][..T::LANES]).mul_add(sum, total);
            sum
        },
    );
    total
}

/// sum over a of x\[a\] y\[a\], of every token.
#[inline(always)]
pub(crate) fn dot<S: Simd, T: Real>(simd: S, x: &[T], y: &[T]) -> T::Wide<S> {
    let mut total = T::Wide::<S>::splat(simd, T::ZERO);
    for (x, y) in x.chunks_exact(T::LANES).zip(y.chunks_exact(T::LANES)) {
        total = T::Wide::<S>::from_slice(simd, x).mul_add(T::Wide::<S>::from_slice(simd, y), total);
    }
    total
}

/// out\[a\] = finish(a, sum over p of matrix\[p\]\[a\] x\[p\]), for one panel: `matrix` depth x height,
/// `x` depth rows, `out` `height` rows. With `PRECISE` every product is added with one rounding on every
/// instruction set: the same bits everywhere.
#[inline(always)]
pub(crate) fn product_with<S: Simd, T: Real, const PRECISE: bool>(
    simd: S,
    matrix: &[T],
    height: usize,
    x: &[T],
    out: &mut [T],
    mut finish: impl FnMut(usize, T::Wide<S>) -> T::Wide<S>,
) {
    let most = if const { is_wide::<S>() } { 8 } else { 4 };
    for (first, n) in blocks(height, most) {
        match n {
            1 => product_rows::<S, T, PRECISE, 1>(simd, matrix, x, out, first, height, &mut finish),
            2 => product_rows::<S, T, PRECISE, 2>(simd, matrix, x, out, first, height, &mut finish),
            3 => product_rows::<S, T, PRECISE, 3>(simd, matrix, x, out, first, height, &mut finish),
            4 => product_rows::<S, T, PRECISE, 4>(simd, matrix, x, out, first, height, &mut finish),
            _ if const { !is_wide::<S>() } => unreachable!("at most 4"),
            5 => product_rows::<S, T, PRECISE, 5>(simd, matrix, x, out, first, height, &mut finish),
            6 => product_rows::<S, T, PRECISE, 6>(simd, matrix, x, out, first, height, &mut finish),
            7 => product_rows::<S, T, PRECISE, 7>(simd, matrix, x, out, first, height, &mut finish),
            _ => product_rows::<S, T, PRECISE, 8>(simd, matrix, x, out, first, height, &mut finish),
        }
    }
}

#[inline(always)]
fn product_rows<S: Simd, T: Real, const PRECISE: bool, const R: usize>(
    simd: S,
    matrix: &[T],
    x: &[T],
    out: &mut [T],
    first: usize,
    height: usize,
    finish: &mut impl FnMut(usize, T::Wide<S>) -> T::Wide<S>,
) {
    let mut sums = [T::Wide::<S>::splat(simd, T::ZERO); R];
    // No chunks of the matrix: the division by its height would take as long as a row.
    for (p, x) in x.chunks_exact(T::LANES).enumerate() {
        let (x, factors) = (T::Wide::<S>::from_slice(simd, x), &matrix[p * height + first..][..R]);
        for r in 0..R {
            let factor = T::Wide::<S>::splat(simd, factors[r]);
            sums[r] = if PRECISE {
                factor.mul_add_precise(x, sums[r])
            } else {
                factor.mul_add(x, sums[r])
            };
        }
    }
    let out = &mut out[first * T::LANES..][..R * T::LANES];
    for (r, out) in out.chunks_exact_mut(T::LANES).enumerate() {
        finish(first + r, sums[r]).store_slice(out);
    }
}

/// out\[a\]\[b\] = sum over all tokens of left\[a\] right\[b\], for panels of `height` rows on the left
/// and of `width` on the right, as many on both sides.
#[inline(always)]
pub(crate) fn outer<S: Simd, T: Real>(
    simd: S,
    left: (&[T], usize),
    right: (&[T], usize),
    out: &mut [T],
) {
    outer_up_to(
        simd,
        left,
        right,
        out,
        #[inline(always)]
        |_| right.1,
    );
}

/// [`outer`] where only b <= a is wanted; what is above the diagonal may be written or not.
#[inline(always)]
pub(crate) fn outer_lower<S: Simd, T: Real>(
    simd: S,
    left: &[T],
    right: &[T],
    width: usize,
    out: &mut [T],
) {
    outer_up_to(
        simd,
        (left, width),
        (right, width),
        out,
        #[inline(always)]
        |end| end,
    );
}

/// Of the rows before `end`, a few at a time, the first `columns(end)` columns.
#[inline(always)]
fn outer_up_to<S: Simd, T: Real>(
    simd: S,
    left: (&[T], usize),
    right: (&[T], usize),
    out: &mut [T],
    columns: impl Fn(usize) -> usize,
) {
    let most = if const { is_wide::<S>() } { 4 } else { 2 };
    let panels = right.0.len() / (right.1 * T::LANES).max(1);
    for (row, n) in blocks(left.1, most) {
        let columns = columns(row + n);
        match n {
            1 => outer_rows::<S, T, 1>(simd, left, right, panels, out, row, columns),
            2 => outer_rows::<S, T, 2>(simd, left, right, panels, out, row, columns),
            _ if const { !is_wide::<S>() } => unreachable!("at most 2"),
            3 => outer_rows::<S, T, 3>(simd, left, right, panels, out, row, columns),
            _ => outer_rows::<S, T, 4>(simd, left, right, panels, out, row, columns),
        }
    }
}

#[inline(always)]
fn outer_rows<S: Simd, T: Real, const R: usize>(
    simd: S,
    left: (&[T], usize),
    right: (&[T], usize),
    panels: usize,
    out: &mut [T],
    row: usize,
    columns: usize,
) {
    for (column, n) in blocks(columns, 3) {
        match n {
            1 => outer_block::<S, T, R, 1>(simd, left, right, panels, out, [row, column]),
            2 => outer_block::<S, T, R, 2>(simd, left, right, panels, out, [row, column]),
            _ => outer_block::<S, T, R, 3>(simd, left, right, panels, out, [row, column]),
        }
    }
}

#[inline(always)]
fn outer_block<S: Simd, T: Real, const R: usize, const C: usize>(
    simd: S,
    (left, height): (&[T], usize),
    (right, width): (&[T], usize),
    panels: usize,
    out: &mut [T],
    [row, column]: [usize; 2],
) {
    let mut sums = [[T::Wide::<S>::splat(simd, T::ZERO); C]; R];
    for panel in 0..panels {
        let left = &left[(panel * height + row) * T::LANES..][..R * T::LANES];
        let right = &right[(panel * width + column) * T::LANES..][..C * T::LANES];
        for r in 0..R {
            let left = T::Wide::<S>::from_slice(simd, &left[r * T::LANES..][..T::LANES]);
            for c in 0..C {
                let right = T::Wide::<S>::from_slice(simd, &right[c * T::LANES..][..T::LANES]);
                sums[r][c] = left.mul_add(right, sums[r][c]);
            }
        }
    }
    for r in 0..R {
        let out = &mut out[(row + r) * width + column..][..C];
        for c in 0..C {
            out[c] = sums[r][c].reduce_sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::level;
    use fearless_simd::dispatch;

    fn number(i: usize) -> f64 {
        (i * 7 % 11) as f64 - 5.0
    }

    #[test]
    fn products_equal_their_definition_for_every_height() {
        let lanes = <f64 as Real>::LANES;
        for (depth, height) in [(1, 1), (3, 2), (4, 7), (8, 33), (0, 3)] {
            let matrix: Vec<f64> = (0..depth * height).map(number).collect();
            let x: Vec<f64> = (0..depth * lanes).map(|i| number(i + 3)).collect();
            for precise in [false, true] {
                let mut out = vec![9.0; height * lanes];
                dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                    let finish = |a: usize, sum| sum + <f64 as Real>::Wide::splat(simd, a as f64);
                    match precise {
                        true => product_with::<_, f64, true>(simd, &matrix, height, &x, &mut out, finish),
                        false => product_with::<_, f64, false>(simd, &matrix, height, &x, &mut out, finish),
                    }
                }));
                for (i, &found) in out.iter().enumerate() {
                    let term = |p: usize| matrix[p * height + i / lanes] * x[p * lanes + i % lanes];
                    let start = (i / lanes) as f64;
                    assert_eq!(found, start + (0..depth).map(term).sum::<f64>());
                }
            }
        }
    }

    #[test]
    fn sums_over_tokens_equal_their_definition() {
        let lanes = <f64 as Real>::LANES;
        for (panels, height, width) in [(1, 1, 1), (2, 3, 2), (3, 5, 7), (0, 2, 2)] {
            let left: Vec<f64> = (0..panels * height * lanes).map(number).collect();
            let right: Vec<f64> = (0..panels * width * lanes).map(|i| number(i + 4)).collect();
            let mut out = vec![9.0; height * width];
            dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                outer(simd, (&left, height), (&right, width), &mut out);
            }));
            for (i, &found) in out.iter().enumerate() {
                let term = |token: usize| {
                    let (panel, lane) = (token / lanes, token % lanes);
                    left[(panel * height + i / width) * lanes + lane]
                        * right[(panel * width + i % width) * lanes + lane]
                };
                assert_eq!(found, (0..panels * lanes).map(term).sum::<f64>());
            }
        }
    }

    #[test]
    fn tokens_go_into_lanes_and_come_back() {
        for tokens in [1, 5, <f64 as Real>::LANES] {
            let rows: Vec<f64> = (0..tokens * 6).map(number).collect();
            let mut panel = vec![9.0; 6 * <f64 as Real>::LANES];
            let row = |i: usize| &rows[i * 6..][..6];
            dispatch!(level(), simd => gather(simd, 0..tokens, row, &mut panel));
            assert!((0..tokens).all(|i| panel[i] == rows[i * 6]));
            assert!(panel[tokens..<f64 as Real>::LANES].iter().all(|&x| x == 0.0));
            let mut back = vec![0.0; tokens * 6];
            dispatch!(level(), simd => scatter(simd, &panel, back.chunks_exact_mut(6)));
            assert_eq!(back, rows);
        }
    }
}
