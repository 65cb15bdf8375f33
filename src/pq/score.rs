//! Scores of queries against codewords: of each kind the kernel, the statistics and the gradient.
//!
//! ```text
//! dot                r[j] = < q, C[j] >                        dq = sum_j dr[j] C[j]             dC[j] = sum dr[j] q
//! squared distance   r[j] = 2 < q, C[j] > - ||C[j]||^2 - ||q||^2
//!                                                              dq = sum_j 2 dr[j] (C[j] - q)     dC[j] = sum 2 dr[j] (q - C[j])
//! ```
//!
//! All scores come from [`Keys::scores`], for the composed and the fused forms alike: the score of a
//! (query, codeword) pair is one chain of fused additions over the group's width, whatever the
//! instruction set, the batch, or the place within it. Codes for given parameters and statistics
//! are therefore the same everywhere.
//!
//! Squared distances do not change if queries and codewords move together. Where a group's codewords
//! are far from the origin, whose squares would take up all digits, both are moved by their mean.

use super::codebook::{Columns, Sizes};
use super::queries::Queries;
use crate::kernels::dispatch::dispatch;
use crate::kernels::panel;
use crate::parallel::{self, Order, chunks};
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::{Buffer, Pool, Tensor};
use fearless_simd::{Simd, prelude::*};
use std::ops::Range;

/// How a codeword is scored by these kernels; other scores are brought to one of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Metric {
    /// < q, C >
    Dot,
    /// -||q - C||^2
    SquaredDistance,
}

/// Key codebooks, as they are scored.
pub(crate) struct Keys<T: Real> {
    /// How.
    pub(crate) metric: Metric,
    /// The codewords; of squared distances less their centre.
    columns: Columns<T>,
    /// What a codebook was moved by, G x s: of squared distances only, as what follows.
    centres: Buffer<T>,
    /// Whether that is anything but 0.
    moved: bool,
    /// ||C - centre||^2, G x K
    squares: Buffer<T>,
}

impl<T: Real> Keys<T> {
    /// Codewords G x K x s.
    pub(crate) fn new(pool: &Pool<T>, metric: Metric, codewords: &Tensor<T>) -> Self {
        let mut columns = Columns::new(pool, codewords);
        let Sizes { books, size, width } = columns.sizes;
        let books = if metric == Metric::SquaredDistance { books } else { 0 };
        let (mut centres, mut squares) = (pool.take(books * width), pool.take(books * size));
        let of_books = (chunks(&mut centres, width), chunks(&mut squares, size));
        let work = (chunks(columns.data_mut(books), size * width), of_books);
        parallel::for_each(Order::Forward, work, |_, (columns, (centre, squares))| {
            dispatch!(|simd| move_to_centre(simd, columns, centre));
            dispatch!(|simd| squared_norms(simd, columns, squares));
        });
        let moved = centres.iter().any(|&centre| centre != T::ZERO);
        Keys { metric, columns, centres, moved, squares }
    }

    /// G, K and s.
    pub(crate) fn sizes(&self) -> Sizes {
        self.columns.sizes
    }

    /// The centre of group g.
    fn centre(&self, g: usize) -> &[T] {
        let Sizes { width, .. } = self.sizes();
        &self.centres[self.sizes().book(g) * width..][..width]
    }

    /// out\[j\] = the score of codeword j of group g, for a panel of queries, s rows; out has K rows.
    /// Squared distances move the queries by the group's centre.
    #[inline(always)]
    pub(crate) fn scores<S: Simd>(&self, simd: S, g: usize, queries: &mut [T], out: &mut [T]) {
        self.scores_with(
            simd,
            g,
            queries,
            out,
            #[inline(always)]
            |_, score| score,
        );
    }

    /// out\[j\] = finish(j, the [score](Self::scores) of codeword j), called for one j after the other.
    #[inline(always)]
    pub(super) fn scores_with<S: Simd>(
        &self,
        simd: S,
        g: usize,
        queries: &mut [T],
        out: &mut [T],
        mut finish: impl FnMut(usize, T::Wide<S>) -> T::Wide<S>,
    ) {
        let columns = self.columns.of(g);
        match self.metric {
            Metric::Dot => panel::product_with::<S, T, true>(simd, columns, queries, out, finish),
            Metric::SquaredDistance => {
                let mut norms = T::Wide::<S>::splat(simd, T::ZERO);
                if self.moved {
                    for (part, &centre) in queries.chunks_exact_mut(T::LANES).zip(self.centre(g)) {
                        (T::Wide::<S>::from_slice(simd, part) - centre).store_slice(part);
                    }
                }
                for q in queries.chunks_exact(T::LANES) {
                    let q = T::Wide::<S>::from_slice(simd, q);
                    norms = q.mul_add_precise(q, norms);
                }
                let squares = &self.squares[self.sizes().codeword(g, 0)..][..self.sizes().size];
                panel::product_with::<S, T, true>(
                    simd,
                    columns,
                    queries,
                    out,
                    #[inline(always)]
                    |j, dot| finish(j, (dot + dot - squares[j]) - norms),
                );
            }
        }
    }

    /// Mean and variance over the tokens of the scores of group g, K each, from the moments of its
    /// queries. With q' = q - centre, C' = C - centre and b = ||q'||^2:
    ///
    /// ```text
    /// dot                mean[j] = < E q, C >                          var[j] = C^T Cov(q) C
    /// squared distance   mean[j] = 2 < E q', C' > - E b - ||C'||^2     var[j] = 4 C'^T Cov(q) C' - 4 < Cov(q, b), C' > + Var b
    /// ```
    pub(super) fn statistics_of_group(
        &self,
        pool: &Pool<f64>,
        g: usize,
        queries: &GroupMoments<'_, T>,
        means: &mut [f64],
        variances: &mut [f64],
    ) {
        let (k, columns) = (self.sizes().size, self.columns.of(g));
        let mut keys = pool.take(columns.len());
        let columns = keys.chunks_exact_mut(k).zip(columns.chunks_exact(k));
        for (t, (keys, column)) in columns.enumerate() {
            let centre = match self.metric {
                Metric::Dot => 0.0,
                Metric::SquaredDistance => queries.centre[t].to_f64() - self.centre(g)[t].to_f64(),
            };
            keys.iter_mut().zip(column).for_each(|(key, &c)| *key = c.to_f64() - centre);
        }
        let mut row = pool.take(k);
        dispatch!(|simd| quadratic_forms(simd, &queries.covariance, &keys, &mut row, variances));
        match self.metric {
            Metric::Dot => {
                means.fill(0.0);
                for (keys, mean) in keys.chunks_exact(k).zip(&*queries.mean) {
                    means.iter_mut().zip(keys).for_each(|(m, c)| *m += mean * c);
                }
            }
            Metric::SquaredDistance => {
                means.fill(-queries.mean_of_b);
                variances.iter_mut().for_each(|v| *v = 4.0 * *v + queries.variance_of_b);
                for (t, keys) in keys.chunks_exact(k).enumerate() {
                    let (off, with_b) = (queries.off[t], queries.covariance_with_b[t]);
                    for (j, &c) in keys.iter().enumerate() {
                        means[j] += 2.0 * off * c - c * c;
                        variances[j] -= 4.0 * with_b * c;
                    }
                }
            }
        }
    }
}

/// Codewords are far from the origin where their mean is this many times as far as the farthest of
/// them is from the mean.
const FAR: f64 = 4.0;

/// Moves the codewords of s x K columns by their mean where they are far from the origin; centre <- what
/// they were moved by.
#[inline(always)]
fn move_to_centre<S: Simd, T: Real>(_: S, columns: &mut [T], centre: &mut [T]) {
    let k = columns.len() / centre.len();
    let (mut away, mut spread) = (0.0, 0.0_f64);
    for (column, centre) in columns.chunks_exact(k).zip(&mut *centre) {
        let mean = column.iter().map(|c| c.to_f64()).sum::<f64>() / k as f64;
        *centre = T::from_f64(mean);
        away += mean * mean;
        spread = column.iter().fold(spread, |most, c| most.max((c.to_f64() - mean).abs()));
    }
    if away.sqrt() <= FAR * spread {
        return centre.fill(T::ZERO);
    }
    for (column, &centre) in columns.chunks_exact_mut(k).zip(&*centre) {
        column.iter_mut().for_each(|c| *c -= centre);
    }
}

/// squares\[j\] = ||C_j||^2 of s x K columns.
#[inline(always)]
fn squared_norms<S: Simd, T: Real>(_: S, columns: &[T], squares: &mut [T]) {
    squares.fill(T::ZERO);
    for column in columns.chunks_exact(squares.len()) {
        for (square, &x) in squares.iter_mut().zip(column) {
            *square = x.mul_add(x, *square);
        }
    }
}

/// Moments of the queries q of one group, and of b = ||q'||^2, over the tokens, with q' = q - centre.
pub(super) struct GroupMoments<'a, T> {
    /// A point near the mean, s.
    pub(super) centre: &'a [T],
    /// E q, s
    pub(super) mean: Buffer<f64>,
    /// E q', s
    pub(super) off: Buffer<f64>,
    /// Cov(q), s x s
    pub(super) covariance: Buffer<f64>,
    /// E b; of squared distances only, as what follows.
    pub(super) mean_of_b: f64,
    /// Var b
    pub(super) variance_of_b: f64,
    /// Cov(q', b), s
    pub(super) covariance_with_b: Buffer<f64>,
}

/// out\[j\] = C_j^T M C_j for the codewords of s x K columns; `row` is room for K elements.
#[inline(always)]
fn quadratic_forms<S: Simd>(_: S, m: &[f64], columns: &[f64], row: &mut [f64], out: &mut [f64]) {
    let k = out.len();
    out.fill(0.0);
    let products = m.chunks_exact(columns.len() / k).zip(columns.chunks_exact(k));
    for (factors, left) in products {
        row.fill(0.0);
        for (factor, right) in factors.iter().zip(columns.chunks_exact(k)) {
            for (sum, c) in row.iter_mut().zip(right) {
                *sum += factor * c;
            }
        }
        for ((out, row), c) in out.iter_mut().zip(&*row).zip(left) {
            *out += row * c;
        }
    }
}

/// r\[i, g, j\], the scores of n x D x s queries against a G x K x s codebook.
pub(crate) fn scores<'t, T: Real>(kind: Metric, q: Var<'t, T>, codebook: Var<'t, T>) -> Var<'t, T> {
    let (tape, qv) = (q.tape(), q.value());
    let [n, groups, s] = qv.shape()[..] else {
        panic!("queries of shape {:?}, not n x D x s", qv.shape())
    };
    let pool = &tape.pools().values;
    let keys = Keys::new(pool, kind, &codebook.value());
    let k = keys.sizes().size;
    let flat = qv.reshape([n, groups * s]);
    let queries = Queries::new(&flat, None, groups);
    let mut r = tape.uninit([n, groups, k]);
    let (mut part, mut panel) = (pool.take(s * T::LANES), pool.take(k * T::LANES));
    let panels = r.data_mut().chunks_mut((T::LANES * groups * k).max(1));
    for (tokens, r) in panel::tokens::<T>(0..n).zip(panels) {
        for g in 0..groups {
            dispatch!(|simd| score_part(
                simd,
                queries,
                &keys,
                tokens.clone(),
                g,
                &mut part,
                &mut panel
            ));
            let rows = r.chunks_exact_mut(k).skip(g).step_by(groups);
            dispatch!(|simd| panel::scatter(simd, &panel, rows));
        }
    }
    let [r] = tape.record(Scores { kind }, &[q, codebook], [r]);
    r
}

/// The scores of a panel of tokens in group g; `part` is room for its queries.
#[inline(always)]
pub(super) fn score_part<S: Simd, T: Real>(
    simd: S,
    queries: Queries<'_, T>,
    keys: &Keys<T>,
    tokens: Range<usize>,
    g: usize,
    part: &mut [T],
    scores: &mut [T],
) {
    queries.panels(simd, tokens, g..g + 1, part);
    keys.scores(simd, g, part, scores);
}

struct Scores {
    kind: Metric,
}
impl<T: Real> Op<T> for Scores {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dot:               dq[i] = sum_j dr[i,j] C[j]                dC[j] = sum_i dr[i,j] q[i]
        // squared distance:  dq[i] = sum_j 2 dr[i,j] (C[j] - q[i])     dC[j] = sum_i 2 dr[i,j] (q[i] - C[j])
        let Some(dr) = ctx.output_grad(0) else { return };
        let (q, codebook) = (ctx.input(0), ctx.input(1));
        let [_, groups, s] = q.shape()[..] else { unreachable!("as in the forward pass") };
        let sizes = Sizes::of(codebook.shape());
        let (mut dq, mut dc) = (Tensor::zeros(q.shape()), Tensor::zeros(codebook.shape()));
        let two = T::ONE + T::ONE;
        for (i, (q, dr)) in q.rows().zip(dr.rows()).enumerate() {
            let dq = &mut dq.data_mut()[i * s..][..s];
            for (j, &dr) in dr.iter().enumerate() {
                let at = sizes.codeword(i % groups, j) * s;
                let (c, dc) = (&codebook.data()[at..][..s], &mut dc.data_mut()[at..][..s]);
                for t in 0..s {
                    let (by_q, by_c) = match self.kind {
                        Metric::Dot => (dr * c[t], dr * q[t]),
                        Metric::SquaredDistance => {
                            (two * dr * (c[t] - q[t]), two * dr * (q[t] - c[t]))
                        }
                    };
                    dq[t] += by_q;
                    dc[t] += by_c;
                }
            }
        }
        ctx.add(0, dq);
        ctx.add(1, dc);
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, tensor};
    use proptest::prelude::*;

    let inputs = || {
        (1..4_usize, 1..3_usize, 1..4_usize, 2..19_usize, any::<bool>()).prop_flat_map(
            |(n, d, s, k, shared)| (tensor([n, d, s]), tensor([if shared { 1 } else { d }, k, s])),
        )
    };
    vec![
        Case::new("scores, dot", inputs(), |(q, c)| {
            gradcheck([q, c], |[q, c]| scores(Metric::Dot, q, c))
        }),
        Case::new("scores, squared distance", inputs(), |(q, c)| {
            gradcheck([q, c], |[q, c]| scores(Metric::SquaredDistance, q, c))
        }),
    ]
}
