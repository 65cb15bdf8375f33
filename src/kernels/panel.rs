//! Panels: the elements of as many tokens as a vector has lanes, one token per lane.
//!
//! A panel is rows of [`LANES`](crate::real::Vectors::LANES): row t holds the t-th element of every
//! token. What is done with each token's elements is then done in vectors over tokens: however few
//! elements a token has, no lane idles, and sums and maxima over them need no shuffles.
//!
//! To be called inside a kernel that is dispatched already.

use super::transpose::{SQUARE, square, transpose};
use super::vector::{constant, is_512_bits};
use crate::real::Real;
use fearless_simd::{Simd, prelude::*};
use std::ops::Range;

/// Panels of consecutive tokens, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a, T> {
    data: &'a [T],
    /// Rows of a panel.
    height: usize,
}

impl<'a, T: Real> Panels<'a, T> {
    /// Panels of `height` rows.
    #[inline(always)]
    pub(crate) fn new(data: &'a [T], height: usize) -> Self {
        Panels { data, height }
    }

    /// How many panels there are.
    #[inline(always)]
    fn count(self) -> usize {
        self.data.len() / (self.height * T::LANES).max(1)
    }

    /// `N` rows of a panel, from row `first` on.
    #[inline(always)]
    fn rows<const N: usize>(self, panel: usize, first: usize) -> &'a [T] {
        &self.data[(panel * self.height + first) * T::LANES..][..N * T::LANES]
    }
}

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
            let columns = square(simd, [&four(0), &four(1), &four(2), &four(3)]);
            for r in 0..SQUARE {
                rows[r][i * SQUARE..][..SQUARE].copy_from_slice(&columns[r]);
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

/// out\[a\] = x\[a\] factor for every row of a panel, with one factor per token.
#[inline(always)]
pub(crate) fn scale<S: Simd, T: Real>(simd: S, x: &[T], factors: &[T], out: &mut [T]) {
    let factors = T::Wide::<S>::from_slice(simd, &factors[..T::LANES]);
    for (x, out) in x.chunks_exact(T::LANES).zip(out.chunks_exact_mut(T::LANES)) {
        (T::Wide::<S>::from_slice(simd, x) * factors).store_slice(out);
    }
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

/// out\[a\] = sum over p of matrix\[p\]\[a\] x\[p\] for one panel: with as many rows as `x` has and as many
/// columns as `out` has rows.
#[inline(always)]
pub(crate) fn product<S: Simd, T: Real>(simd: S, matrix: &[T], x: &[T], out: &mut [T]) {
    product_with::<S, T, false>(
        simd,
        matrix,
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
    x: &[T],
    e: &[T],
    out: &mut [T],
) -> T::Wide<S> {
    let mut total = T::Wide::<S>::splat(simd, T::ZERO);
    product_with::<S, T, false>(
        simd,
        matrix,
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

/// out\[a\] = finish(a, the a-th row of the [`product`]), called for one a after the other. With
/// `PRECISE` every product is added with one rounding on every instruction set: the same bits
/// everywhere.
#[inline(always)]
pub(crate) fn product_with<S: Simd, T: Real, const PRECISE: bool>(
    simd: S,
    matrix: &[T],
    x: &[T],
    out: &mut [T],
    mut finish: impl FnMut(usize, T::Wide<S>) -> T::Wide<S>,
) {
    let height = out.len() / T::LANES;
    if const { is_512_bits::<S>() } {
        for (first, n) in blocks(height, 8) {
            constant!(n, [1, 2, 3, 4, 5, 6, 7], |R| product_rows::<S, T, PRECISE, R>(
                simd,
                matrix,
                x,
                out,
                first,
                &mut finish
            ), else product_rows::<S, T, PRECISE, 8>(simd, matrix, x, out, first, &mut finish));
        }
    } else {
        for (first, n) in blocks(height, 4) {
            constant!(n, [1, 2, 3, 4], |R| product_rows::<S, T, PRECISE, R>(
                simd,
                matrix,
                x,
                out,
                first,
                &mut finish
            ));
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
    finish: &mut impl FnMut(usize, T::Wide<S>) -> T::Wide<S>,
) {
    let (mut sums, height) = ([T::Wide::<S>::splat(simd, T::ZERO); R], out.len() / T::LANES);
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

/// out\[a\]\[b\] = sum over all tokens of left\[a\] right\[b\], for as many panels on both sides.
#[inline(always)]
pub(crate) fn outer<S: Simd, T: Real>(
    simd: S,
    left: Panels<'_, T>,
    right: Panels<'_, T>,
    out: &mut [T],
) {
    outer_up_to(
        simd,
        left,
        right,
        out,
        #[inline(always)]
        |_| right.height,
    );
}

/// [`outer`] where only b <= a is wanted; what is above the diagonal may be written or not.
#[inline(always)]
pub(crate) fn outer_lower<S: Simd, T: Real>(
    simd: S,
    left: Panels<'_, T>,
    right: Panels<'_, T>,
    out: &mut [T],
) {
    outer_up_to(
        simd,
        left,
        right,
        out,
        #[inline(always)]
        |end| end,
    );
}

/// Of the rows before `end`, a few at a time, the first `columns(end)` columns.
#[inline(always)]
fn outer_up_to<S: Simd, T: Real>(
    simd: S,
    left: Panels<'_, T>,
    right: Panels<'_, T>,
    out: &mut [T],
    columns: impl Fn(usize) -> usize,
) {
    if const { is_512_bits::<S>() } {
        for (row, n) in blocks(left.height, 4) {
            let columns = columns(row + n);
            constant!(n, [1, 2, 3, 4], |R| outer_rows::<S, T, R>(
                simd, left, right, out, row, columns
            ));
        }
    } else {
        for (row, n) in blocks(left.height, 2) {
            let columns = columns(row + n);
            constant!(n, [1, 2], |R| outer_rows::<S, T, R>(simd, left, right, out, row, columns));
        }
    }
}

#[inline(always)]
fn outer_rows<S: Simd, T: Real, const R: usize>(
    simd: S,
    left: Panels<'_, T>,
    right: Panels<'_, T>,
    out: &mut [T],
    row: usize,
    columns: usize,
) {
    for (column, n) in blocks(columns, 3) {
        constant!(n, [1, 2, 3], |C| outer_block::<S, T, R, C>(
            simd,
            left,
            right,
            out,
            [row, column]
        ));
    }
}

#[inline(always)]
fn outer_block<S: Simd, T: Real, const R: usize, const C: usize>(
    simd: S,
    left: Panels<'_, T>,
    right: Panels<'_, T>,
    out: &mut [T],
    [row, column]: [usize; 2],
) {
    let mut sums = [[T::Wide::<S>::splat(simd, T::ZERO); C]; R];
    for panel in 0..right.count() {
        let (left, right) = (left.rows::<R>(panel, row), right.rows::<C>(panel, column));
        for r in 0..R {
            let left = T::Wide::<S>::from_slice(simd, &left[r * T::LANES..][..T::LANES]);
            for c in 0..C {
                let right = T::Wide::<S>::from_slice(simd, &right[c * T::LANES..][..T::LANES]);
                sums[r][c] = left.mul_add(right, sums[r][c]);
            }
        }
    }
    for r in 0..R {
        let out = &mut out[(row + r) * right.height + column..][..C];
        for c in 0..C {
            out[c] = sums[r][c].reduce_sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::dispatch;
    use crate::real::Vectors;

    const LANES: usize = <f64 as Vectors>::LANES;

    fn number(i: usize) -> f64 {
        (i * 7 % 11) as f64 - 5.0
    }

    /// The product, and to every row its number.
    #[inline(always)]
    fn product_and_number<S: Simd, const PRECISE: bool>(
        simd: S,
        matrix: &[f64],
        x: &[f64],
        out: &mut [f64],
    ) {
        let finish = |a: usize, sum| sum + <f64 as Vectors>::Wide::splat(simd, a as f64);
        product_with::<_, f64, PRECISE>(simd, matrix, x, out, finish);
    }

    #[test]
    fn products_equal_their_definition_for_every_height() {
        for (depth, height) in [(1, 1), (3, 2), (4, 7), (8, 33), (0, 3)] {
            let matrix: Vec<f64> = (0..depth * height).map(number).collect();
            let x: Vec<f64> = (0..depth * LANES).map(|i| number(i + 3)).collect();
            let (m, mut out, mut precise) =
                (&matrix, vec![9.0; height * LANES], vec![9.0; height * LANES]);
            dispatch!(|simd| product_and_number::<_, false>(simd, m, &x, &mut out));
            dispatch!(|simd| product_and_number::<_, true>(simd, m, &x, &mut precise));
            for (i, &found) in out.iter().enumerate() {
                let term = |p: usize| matrix[p * height + i / LANES] * x[p * LANES + i % LANES];
                let start = (i / LANES) as f64;
                assert_eq!(found, start + (0..depth).map(term).sum::<f64>());
                assert_eq!(found, precise[i]);
            }
        }
    }

    #[test]
    fn sums_over_tokens_equal_their_definition() {
        for (panels, height, width) in [(1, 1, 1), (2, 3, 2), (3, 5, 7), (0, 2, 2)] {
            let left: Vec<f64> = (0..panels * height * LANES).map(number).collect();
            let right: Vec<f64> = (0..panels * width * LANES).map(|i| number(i + 4)).collect();
            let (a, b) = (Panels::new(&left, height), Panels::new(&right, width));
            let mut out = vec![9.0; height * width];
            dispatch!(|simd| outer(simd, a, b, &mut out));
            for (i, &found) in out.iter().enumerate() {
                let term = |token: usize| {
                    let (panel, lane) = (token / LANES, token % LANES);
                    left[(panel * height + i / width) * LANES + lane]
                        * right[(panel * width + i % width) * LANES + lane]
                };
                assert_eq!(found, (0..panels * LANES).map(term).sum::<f64>());
            }
        }
    }

    #[test]
    fn tokens_go_into_lanes_and_come_back() {
        for tokens in [1, 5, LANES] {
            let rows: Vec<f64> = (0..tokens * 6).map(number).collect();
            let mut panel = vec![9.0; 6 * LANES];
            let row = |i: usize| &rows[i * 6..][..6];
            dispatch!(|simd| gather(simd, 0..tokens, row, &mut panel));
            assert!((0..tokens).all(|i| panel[i] == rows[i * 6]));
            assert!(panel[tokens..LANES].iter().all(|&x| x == 0.0));
            let mut back = vec![0.0; tokens * 6];
            dispatch!(|simd| scatter(simd, &panel, back.chunks_exact_mut(6)));
            assert_eq!(back, rows);
        }
    }
}
