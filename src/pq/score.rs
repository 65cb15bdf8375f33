//! Scores of queries against codewords.
//!
//! All scores come from [`score`], for the composed and the fused forms alike: the score of a
//! (query, codeword) pair is one chain of fused additions over the group's width, whatever the
//! instruction set, the batch, or the place within it. Codes for given parameters and statistics
//! are therefore the same everywhere.

use super::BATCH_NORM_EPS;
use crate::kernels::transpose::transpose;
use crate::kernels::{level, panel};
use crate::ops::BatchStatistics;
use crate::parallel;
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::{Buffer, Pool, Shape, Tensor};
use fearless_simd::{Simd, dispatch, prelude::*};
use std::ops::Range;

/// How a codeword is scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Score {
    /// < q, C >
    Dot,
    /// -||q - C||^2, computed as 2 < q, C > - ||C||^2 - ||q||^2
    SquaredDistance,
}

/// Tokens that are worked on together: all their groups while their rows are near, and a group's
/// codewords once for all of them.
pub(crate) const BLOCK: usize = 128;

/// How many groups of width s are gathered together: their part of a row is long enough to be worth
/// visiting, and what a block of tokens has of it stays in a cache.
pub(crate) fn groups_of_tile(s: usize) -> usize {
    (128 / s).max(1)
}

/// Pieces that rows are worked on in, unless they come out shorter than [`SHORTEST`], where adding
/// up the pieces takes its time, or longer than [`LONGEST`], for single precision's sake.
const PIECES: usize = 8;
const SHORTEST: usize = 96;
const LONGEST: usize = 512;

/// How many rows are added up first before the pieces are, which is part of the result's bits, and
/// room for `len` sums of every piece.
pub(crate) fn pieces<T: Real>(pool: &Pool<T>, rows: usize, len: usize) -> (usize, Buffer<T>) {
    let count = (rows / SHORTEST).clamp(1, PIECES).max(rows.div_ceil(LONGEST));
    let piece = rows.div_ceil(count).next_multiple_of(T::LANES);
    let count = rows.div_ceil(piece);
    // As much for few rows as for more, since their number differs from step to step.
    let mut parts = pool.take(count.max(PIECES) * len);
    parts.truncate(count * len);
    (piece, parts)
}

/// Queries: rows of a matrix, all or some of them, each cut into groups.
#[derive(Clone, Copy)]
pub(crate) struct Queries<'a, T: Real> {
    data: &'a [T],
    /// Which rows; `None` for all.
    ids: Option<&'a [u32]>,
    width: usize,
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

    /// The groups, in tiles that are gathered together.
    pub(crate) fn tiles(&self) -> impl Iterator<Item = Range<usize>> {
        let (groups, size) = (self.groups, groups_of_tile(self.group_width()));
        (0..groups).step_by(size).map(move |first| first..groups.min(first + size))
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

/// A codebook as the kernels read it: the t-th numbers of a group's K codewords side by side.
pub(crate) struct Codebook<T: Real> {
    codebooks: usize,
    /// K
    pub(crate) size: usize,
    /// s
    pub(crate) width: usize,
    /// G x s x K
    columns: Buffer<T>,
    /// ||C||^2, G x K
    squares: Buffer<T>,
}

impl<T: Real> Codebook<T> {
    /// Turns G x K x s codewords around.
    pub(crate) fn new(pool: &Pool<T>, codewords: &Tensor<T>) -> Self {
        let [codebooks, size, width] = codewords.shape()[..] else {
            panic!("codebook of shape {:?}, not G x K x s", codewords.shape())
        };
        let mut columns = pool.take(codebooks * width * size);
        let mut squares = pool.take(codebooks * size);
        squares.fill(T::ZERO);
        let codeword = |i: usize| &codewords.data()[i * width..(i + 1) * width];
        let books = (&mut columns[..], width * size);
        parallel::for_each_pair(books, (&mut squares, size), |g, columns, squares| {
            dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                transpose(simd, size, #[inline(always)] |j| codeword(g * size + j), columns, size);
                for column in columns.chunks_exact(size) {
                    for (square, &x) in squares.iter_mut().zip(column) {
                        *square = x.mul_add(x, *square);
                    }
                }
            }));
        });
        Codebook { codebooks, size, width, columns, squares }
    }

    /// Which codebook serves group g.
    pub(crate) fn of(&self, g: usize) -> usize {
        g.min(self.codebooks - 1)
    }

    /// The codewords of group g, s x K.
    #[inline(always)]
    pub(crate) fn columns(&self, g: usize) -> &[T] {
        &self.columns[self.of(g) * self.width * self.size..][..self.width * self.size]
    }

    #[inline(always)]
    fn squares(&self, g: usize) -> &[T] {
        &self.squares[self.of(g) * self.size..][..self.size]
    }
}

/// out\[j\] = the score of codeword j of group g, for a panel of queries, s rows; out has K rows.
#[inline(always)]
pub(crate) fn score<S: Simd, T: Real>(
    simd: S,
    score: Score,
    codebook: &Codebook<T>,
    g: usize,
    queries: &[T],
    out: &mut [T],
) {
    score_with(
        simd,
        score,
        codebook,
        g,
        queries,
        out,
        #[inline(always)]
        |_, score| score,
    );
}

/// out\[j\] = finish(j, the [`score`] of codeword j), called for one j after the other.
#[inline(always)]
pub(super) fn score_with<S: Simd, T: Real>(
    simd: S,
    score: Score,
    codebook: &Codebook<T>,
    g: usize,
    queries: &[T],
    out: &mut [T],
    mut finish: impl FnMut(usize, T::Wide<S>) -> T::Wide<S>,
) {
    let (columns, k) = (codebook.columns(g), codebook.size);
    match score {
        Score::Dot => panel::product_with::<S, T, true>(simd, columns, k, queries, out, finish),
        Score::SquaredDistance => {
            let mut norms = T::Wide::<S>::splat(simd, T::ZERO);
            for q in queries.chunks_exact(T::LANES) {
                let q = T::Wide::<S>::from_slice(simd, q);
                norms = q.mul_add_precise(q, norms);
            }
            let squares = codebook.squares(g);
            panel::product_with::<S, T, true>(
                simd,
                columns,
                k,
                queries,
                out,
                #[inline(always)]
                |j, dot| finish(j, (dot + dot - squares[j]) - norms),
            );
        }
    }
}

/// What is subtracted from a codeword's scores, and what they are then multiplied by.
pub(crate) struct Normalizer<T: Real> {
    /// mean\[j\]
    pub(crate) means: Buffer<T>,
    /// 1 / sqrt(var\[j\] + eps)
    pub(crate) reciprocals: Buffer<T>,
}

impl<T: Real> Normalizer<T> {
    /// From statistics of the scores of `size` codewords, or none.
    pub(crate) fn new(
        pool: &Pool<T>,
        size: usize,
        statistics: Option<&BatchStatistics<T>>,
    ) -> Self {
        let (mut means, mut reciprocals) = (pool.take(size), pool.take(size));
        means.fill(T::ZERO);
        reciprocals.fill(T::ONE);
        if let Some(statistics) = statistics {
            means.copy_from_slice(statistics.mean.data());
            reciprocals.copy_from_slice(&statistics.reciprocals());
        }
        Normalizer { means, reciprocals }
    }

    /// A tensor of G x K x s: row j of every group times factor / sd\[j\].
    pub(crate) fn over_sd(&self, pool: &Pool<T>, shape: Shape, rows: &[T], factor: T) -> Tensor<T> {
        let mut scaled = Tensor::from_buffer(shape, pool.take(rows.len()));
        let s = rows.len() / (shape[0] * shape[1]);
        let parts = scaled.data_mut().chunks_exact_mut(s).zip(rows.chunks_exact(s));
        for ((scaled, row), &reciprocal) in parts.zip(self.reciprocals.iter().cycle()) {
            let factor = reciprocal * factor;
            scaled.iter_mut().zip(row).for_each(|(scaled, &x)| *scaled = x * factor);
        }
        scaled
    }
}

/// r\[i, g, j\], the scores of n x D x s queries against a G x K x s codebook.
pub(crate) fn scores<'t, T: Real>(kind: Score, q: Var<'t, T>, codebook: Var<'t, T>) -> Var<'t, T> {
    let (tape, qv) = (q.tape(), q.value());
    let [n, groups, s] = qv.shape()[..] else {
        panic!("queries of shape {:?}, not n x D x s", qv.shape())
    };
    let pool = &tape.pools().values;
    let book = Codebook::new(pool, &codebook.value());
    let flat = qv.reshape([n, groups * s]);
    let queries = Queries::new(&flat, None, groups);
    let mut r = tape.uninit([n, groups, book.size]);
    let (mut part, mut panel) = (pool.take(s * T::LANES), pool.take(book.size * T::LANES));
    for (i, r) in r.data_mut().chunks_mut(T::LANES * groups * book.size).enumerate() {
        let tokens = i * T::LANES..n.min((i + 1) * T::LANES);
        for g in 0..groups {
            dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                queries.panels(simd, tokens.clone(), g..g + 1, &mut part);
                score(simd, kind, &book, g, &part, &mut panel);
            }));
            let rows = r.chunks_exact_mut(book.size).skip(g).step_by(groups);
            dispatch!(level(), simd => panel::scatter(simd, &panel, rows));
        }
    }
    let [r] = tape.record(Scores { kind }, &[q, codebook], [r]);
    r
}

struct Scores {
    kind: Score,
}
impl<T: Real> Op<T> for Scores {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dot:               dq_i = sum_j dr_ij C_j              dC_j = sum_i dr_ij q_i
        // squared distance:  dq_i = sum_j 2 dr_ij (C_j - q_i)    dC_j = sum_i 2 dr_ij (q_i - C_j)
        let Some(dr) = ctx.output_grad(0) else { return };
        let (q, codebook) = (ctx.input(0), ctx.input(1));
        let [_, groups, s] = q.shape()[..] else { unreachable!("as in the forward pass") };
        let [codebooks, size, _] = codebook.shape()[..] else {
            unreachable!("as in the forward pass")
        };
        let (mut dq, mut dc) = (Tensor::zeros(q.shape()), Tensor::zeros(codebook.shape()));
        let two = T::ONE + T::ONE;
        for (i, (q, dr)) in q.rows().zip(dr.rows()).enumerate() {
            let g = (i % groups).min(codebooks - 1);
            let dq = &mut dq.data_mut()[i * s..][..s];
            for (j, &dr) in dr.iter().enumerate() {
                let place = (g * size + j) * s;
                let (c, dc) = (&codebook.data()[place..][..s], &mut dc.data_mut()[place..][..s]);
                for t in 0..s {
                    let (by_q, by_c) = match self.kind {
                        Score::Dot => (dr * c[t], dr * q[t]),
                        Score::SquaredDistance => {
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

/// Statistics of normalised scores as a batch or a running average gives them.
pub(crate) fn batch_statistics<T: Real>(mean: Tensor<T>, var: Tensor<T>) -> BatchStatistics<T> {
    BatchStatistics { mean, var, eps: BATCH_NORM_EPS }
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
            gradcheck([q, c], |[q, c]| scores(Score::Dot, q, c))
        }),
        Case::new("scores, squared distance", inputs(), |(q, c)| {
            gradcheck([q, c], |[q, c]| scores(Score::SquaredDistance, q, c))
        }),
    ]
}
