//! Scores of queries against codewords, and the choice of the best.
//!
//! All scores come from [`score_rows`], for the composed and the fused forms alike: the score of a
//! (query, codeword) pair is one chain of fused additions over the group's width, whatever the
//! instruction set, the batch, or the place within it. Codes for given parameters and statistics
//! are therefore the same everywhere.

use super::BATCH_NORM_EPS;
use crate::kernels::blocks::{copy_padded, copy_short, padded};
use crate::kernels::level;
use crate::ops::BatchStatistics;
use crate::parallel;
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::{Buffer, Pool, Tensor};
use fearless_simd::{Simd, dispatch, prelude::*};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// How a codeword is scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Score {
    /// < q, C >
    Dot,
    /// -||q - C||^2, computed as 2 < q, C > - ||C||^2 - ||q||^2
    SquaredDistance,
}

/// Rows that share the loads of a codebook.
pub(crate) const ROWS: usize = 6;

/// Rows of a piece of work. Sums over rows are made within pieces first, so this is part of the
/// result's bits.
pub(crate) const CHUNK: usize = 128;

/// The most rows of scores that are worked on at once.
pub(crate) const BLOCK: usize = 16 * ROWS;

/// How many rows of `columns` scores are worked on at once: as many as stay in the first-level
/// cache.
pub(crate) fn block(columns: usize) -> usize {
    (ROWS * (256 / columns).max(1)).min(BLOCK)
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
        Queries { data: data.data(), ids, width: data.shape().rows().1, groups }
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

    /// Copies the parts g of some rows into `tile`, `wide` apart, a padded width. What stands behind
    /// a part is unspecified.
    #[inline(always)]
    pub(crate) fn gather(&self, rows: Range<usize>, g: usize, tile: &mut [T], wide: usize) {
        let (s, start) = (self.group_width(), g * self.group_width());
        let inside = start + wide <= self.width;
        for (row, into) in rows.zip(tile.chunks_exact_mut(wide)) {
            let from = &self.row(row)[start..];
            if inside {
                copy_padded(from, into, wide);
            } else {
                copy_short(&from[..s], &mut into[..s]);
            }
        }
    }
}

/// A codebook as the kernels read it: the K codewords of a group side by side.
pub(crate) struct Codebook<T: Real> {
    codebooks: usize,
    pub(crate) size: usize,
    /// K rounded up to whole vectors.
    pub(crate) padded: usize,
    width: usize,
    /// G x s x padded, filled up with zeros.
    columns: Buffer<T>,
    /// ||C||^2, G x padded.
    squares: Buffer<T>,
}

impl<T: Real> Codebook<T> {
    /// Packs G x K x s codewords.
    pub(crate) fn new(pool: &Pool<T>, codewords: &Tensor<T>) -> Self {
        let [codebooks, size, width] = codewords.shape()[..] else {
            panic!("codebook of shape {:?}, not G x K x s", codewords.shape())
        };
        let padded = size.next_multiple_of(T::LANES);
        let mut columns = pool.take(codebooks * width * padded);
        let mut squares = pool.take(codebooks * padded);
        columns.fill(T::ZERO);
        squares.fill(T::ZERO);
        for (i, codeword) in codewords.rows().enumerate() {
            let (g, j) = (i / size, i % size);
            for (t, &x) in codeword.iter().enumerate() {
                columns[(g * width + t) * padded + j] = x;
                squares[g * padded + j] = x.mul_add(x, squares[g * padded + j]);
            }
        }
        Codebook { codebooks, size, padded, width, columns, squares }
    }

    /// Numbers that the packed codewords take.
    pub(crate) fn elements(&self) -> usize {
        self.codebooks * self.width * self.padded
    }

    /// Which codebook serves group g.
    pub(crate) fn of(&self, g: usize) -> usize {
        g.min(self.codebooks - 1)
    }

    /// s x padded
    #[inline(always)]
    pub(crate) fn columns(&self, g: usize) -> &[T] {
        &self.columns[self.of(g) * self.width * self.padded..][..self.width * self.padded]
    }

    #[inline(always)]
    fn squares(&self, g: usize) -> &[T] {
        &self.squares[self.of(g) * self.padded..][..self.padded]
    }
}

/// out\[r, j\] = score of query r against codeword j of group g, for the queries of `tile` (`stride`
/// apart, as many as fit), every one to `codebook.padded` columns.
#[inline(always)]
pub(crate) fn score_rows<S: Simd, T: Real>(
    simd: S,
    score: Score,
    tile: &[T],
    stride: usize,
    codebook: &Codebook<T>,
    g: usize,
    out: &mut [T],
) {
    let whole = out.len() / codebook.padded / ROWS * ROWS;
    let (out, out_rest) = out.split_at_mut(whole * codebook.padded);
    simd.vectorize(
        #[inline(always)]
        || {
            let blocks =
                tile.chunks(ROWS * stride).zip(out.chunks_exact_mut(ROWS * codebook.padded));
            for (tile, out) in blocks {
                score_some::<S, T, ROWS>(simd, score, tile, stride, codebook, g, out);
            }
            let rows = tile[whole * stride..]
                .chunks(stride)
                .zip(out_rest.chunks_exact_mut(codebook.padded));
            for (tile, out) in rows {
                score_some::<S, T, 1>(simd, score, tile, stride, codebook, g, out);
            }
        },
    );
}

#[inline(always)]
fn score_some<S: Simd, T: Real, const R: usize>(
    simd: S,
    score: Score,
    tile: &[T],
    stride: usize,
    codebook: &Codebook<T>,
    g: usize,
    out: &mut [T],
) {
    let zero = T::Wide::<S>::splat(simd, T::ZERO);
    let mut queries = [&tile[..0]; R];
    let mut norms = [T::ZERO; R];
    for r in 0..R {
        queries[r] = &tile[r * stride..][..codebook.width];
        if score == Score::SquaredDistance {
            norms[r] = queries[r].iter().fold(T::ZERO, |sum, &q| q.mul_add(q, sum));
        }
    }
    let (columns, squares) = (codebook.columns(g), codebook.squares(g));
    for at in (0..codebook.padded).step_by(T::LANES) {
        let mut sums = [zero; R];
        for (t, column) in columns.chunks_exact(codebook.padded).enumerate() {
            let codewords = T::Wide::<S>::from_slice(simd, &column[at..at + T::LANES]);
            for r in 0..R {
                let q = T::Wide::<S>::splat(simd, queries[r][t]);
                sums[r] = q.mul_add_precise(codewords, sums[r]);
            }
        }
        for r in 0..R {
            if score == Score::SquaredDistance {
                let squares = T::Wide::<S>::from_slice(simd, &squares[at..at + T::LANES]);
                sums[r] = (sums[r] + sums[r] - squares) - norms[r];
            }
            sums[r].store_slice(&mut out[r * codebook.padded + at..][..T::LANES]);
        }
    }
}

/// What is subtracted from a codeword's scores, and what they are then multiplied by.
pub(crate) struct Normalizer<T: Real> {
    /// mean\[j\]; infinite for columns beyond K, which are then never chosen.
    pub(crate) means: Buffer<T>,
    /// 1 / sqrt(var\[j\] + eps)
    pub(crate) reciprocals: Buffer<T>,
}

impl<T: Real> Normalizer<T> {
    /// From statistics of the scores, or none.
    pub(crate) fn new(
        pool: &Pool<T>,
        codebook: &Codebook<T>,
        statistics: Option<&BatchStatistics<T>>,
    ) -> Self {
        let (mut means, mut reciprocals) = (pool.take(codebook.padded), pool.take(codebook.padded));
        means.fill(T::ONE / T::ZERO);
        means[..codebook.size].fill(T::ZERO);
        reciprocals.fill(T::ONE);
        if let Some(statistics) = statistics {
            means[..codebook.size].copy_from_slice(statistics.mean.data());
            reciprocals[..codebook.size].copy_from_slice(&statistics.reciprocals());
        }
        Normalizer { means, reciprocals }
    }

    /// row\[j\] <- (row\[j\] - mean\[j\]) / sd\[j\] for rows of scores.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(&self, simd: S, rows: &mut [T]) {
        for row in rows.chunks_exact_mut(self.means.len()) {
            for (at, row) in row.chunks_exact_mut(T::LANES).enumerate() {
                let lanes = at * T::LANES..(at + 1) * T::LANES;
                let mean = T::Wide::<S>::from_slice(simd, &self.means[lanes.clone()]);
                let reciprocal = T::Wide::<S>::from_slice(simd, &self.reciprocals[lanes]);
                ((T::Wide::<S>::from_slice(simd, row) - mean) * reciprocal).store_slice(row);
            }
        }
    }
}

/// The first column with the largest value; `None` if a value is NaN, or none is above minus
/// infinity.
///
/// Which column it is cannot be guessed, so nothing branches on it.
#[inline(always)]
fn argmax<S: Simd, T: Real>(simd: S, row: &[T]) -> Option<u32> {
    let lowest = -T::ONE / T::ZERO;
    let mut best = T::Wide::<S>::splat(simd, lowest);
    let mut nans = 0;
    for row in row.chunks_exact(T::LANES) {
        let scores = T::Wide::<S>::from_slice(simd, row);
        nans |= scores.simd_ne(scores).to_bitmask();
        best = best.max(scores);
    }
    let best = best.reduce_max();
    let mut code = 0;
    for (at, row) in row.chunks_exact(T::LANES).enumerate().rev() {
        let scores = T::Wide::<S>::from_slice(simd, row);
        let equal = scores.simd_eq(T::Wide::<S>::splat(simd, best)).to_bitmask();
        let first = (at * T::LANES) as u32 + equal.trailing_zeros();
        code = if equal != 0 { first } else { code };
    }
    (nans == 0 && best > lowest).then_some(code)
}

/// codes\[i, g\] = argmax_j of the normalised scores, the lowest j on ties. False if a NaN came up.
pub(crate) fn choose<T: Real>(
    pool: &Pool<T>,
    score: Score,
    queries: Queries<'_, T>,
    codebook: &Codebook<T>,
    normalizer: &Normalizer<T>,
    codes: &mut [u32],
) -> bool {
    let (wide, groups, columns) =
        (padded::<T>(queries.group_width()), queries.groups, codebook.padded);
    let sound = AtomicBool::new(true);
    parallel::for_each_chunk(codes, CHUNK * groups, |i, codes| {
        let size = block(columns);
        let (mut tile, mut scores) = (pool.take(size * wide), pool.take(size * columns));
        for g in 0..groups {
            for (b, codes) in codes.chunks_mut(size * groups).enumerate() {
                let first = i * CHUNK + b * size;
                let n = codes.len() / groups;
                let (tile, scores) = (&mut tile[..n * wide], &mut scores[..n * columns]);
                dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                    queries.gather(first..first + n, g, tile, wide);
                    score_rows(simd, score, tile, wide, codebook, g, scores);
                    normalizer.apply(simd, scores);
                    for (row, codes) in scores.chunks_exact(columns).zip(codes.chunks_exact_mut(groups)) {
                        codes[g] = argmax(simd, row).unwrap_or_else(|| {
                            sound.store(false, Ordering::Relaxed);
                            0
                        });
                    }
                }));
            }
        }
    });
    sound.into_inner()
}

/// r\[i, g, j\], the scores of n x D x s queries against a G x K x s codebook.
pub(crate) fn scores<'t, T: Real>(score: Score, q: Var<'t, T>, codebook: Var<'t, T>) -> Var<'t, T> {
    let (tape, qv) = (q.tape(), q.value());
    let [n, groups, s] = qv.shape()[..] else {
        panic!("queries of shape {:?}, not n x D x s", qv.shape())
    };
    let packed = Codebook::new(&tape.pools().values, &codebook.value());
    let flat = qv.reshape([n, groups * s]);
    let queries = Queries::new(&flat, None, groups);
    let mut r = tape.buffer([n, groups, packed.size]);
    let wide = padded::<T>(s);
    let (mut tile, mut padded) = (vec![T::ZERO; wide], vec![T::ZERO; packed.padded]);
    for (i, r) in r.data_mut().chunks_exact_mut(packed.size).enumerate() {
        let (row, g) = (i / groups, i % groups);
        queries.gather(row..row + 1, g, &mut tile, wide);
        dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
            score_rows(simd, score, &tile, wide, &packed, g, &mut padded);
        }));
        r.copy_from_slice(&padded[..packed.size]);
    }
    let [r] = tape.record(Scores { score }, &[q, codebook], [r]);
    r
}

struct Scores {
    score: Score,
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
                    let (by_q, by_c) = match self.score {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Pools;

    fn wave(shape: &[usize], k: f32) -> Tensor<f32> {
        Tensor::from_fn(shape, |i| ((i as f32 + 1.0) * k).sin())
    }

    #[test]
    fn chosen_codes_are_the_argmax_of_the_scores_wherever_the_row_stands() {
        let pools = Pools::default();
        let (n, groups, s, k) = (300, 3, 5, 21);
        let (queries, codewords) = (wave(&[n, groups * s], 0.37), wave(&[groups, k, s], 1.3));
        for score in [Score::Dot, Score::SquaredDistance] {
            let codebook = Codebook::new(&pools.values, &codewords);
            let normalizer = Normalizer::new(&pools.values, &codebook, None);
            let choose = |ids: Option<&[u32]>| {
                let queries = Queries::new(&queries, ids, groups);
                let mut codes = vec![0; queries.len() * groups];
                assert!(choose(&pools.values, score, queries, &codebook, &normalizer, &mut codes));
                codes
            };
            let tape = crate::Tape::new();
            let q = tape.constant(queries.clone().reshape([n, groups, s]));
            let expected = scores(score, q, tape.constant(codewords.clone())).argmax();
            assert_eq!(choose(None), expected);
            assert_eq!(choose(Some(&[7, 299])), [&expected[21..24], &expected[897..900]].concat());
        }
    }

    #[test]
    fn a_nan_query_is_reported_and_ties_go_to_the_lowest() {
        let pools = Pools::default();
        let codebook = Codebook::new(&pools.values, &Tensor::from([[[1.0_f32], [2.0], [2.0]]]));
        let normalizer = Normalizer::new(&pools.values, &codebook, None);
        let mut codes = [9; 2];
        let mut run = |x: f32| {
            let queries = Tensor::from([[x, 1.0]]);
            choose(
                &pools.values,
                Score::Dot,
                Queries::new(&queries, None, 2),
                &codebook,
                &normalizer,
                &mut codes,
            )
        };
        assert!(run(3.0));
        assert!(!run(f32::NAN));
        assert_eq!(codes, [0, 1]);
    }
}
