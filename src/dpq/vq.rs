//! The centroid form as one op.
//!
//! It computes what [`composed::vq`] defines, on the distinct ids of the batch
//! and without holding n x D x K numbers; the scores only serve to choose.
//!
//! # The gradient
//!
//! With dy the upstream gradient of the rows and dm that of the regulariser, c\[u\] how often the
//! distinct id u occurs:
//!
//! ```text
//! dq[u]       = sum of dy over its repetitions + dm c[u] 2 beta (q - C[code]) / (n d)
//! dC[g,j]     = dm sum over u with code[u,g] = j of c[u] 2 (C[g,j] - q[u,g]) / (n d)
//! ```
//!
//! Nothing flows through the scores or their statistics, and the task reaches the codebook only
//! through the regulariser.

use super::assign::{Assigned, assign};
use super::composed::{Normalization, Quantized};
use super::scores::{Queries, Score};
use super::{DpqConfig, composed};
use crate::kernels::elementwise::{add, add_short};
use crate::kernels::level;
use crate::kernels::reduce::squared_distance;
use crate::ops::Distinct;
use crate::parallel;
use crate::real::Real;
use crate::tape::{Context, Op, Pools, Var};
use crate::tensor::{Buffer, Tensor};
use fearless_simd::{Simd, dispatch};

/// The centroid form for `ids` of the V x d table `queries`, one codebook G x K x s.
///
/// A NaN score, or an id outside the table, is a fault that the tape reports.
///
/// # Panics
/// If the shapes do not fit the configuration, or there are no ids.
#[track_caller]
pub fn vq<'t, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    queries: Var<'t, T>,
    ids: &[u32],
    codebook: Var<'t, T>,
) -> Quantized<'t, T> {
    let tape = queries.tape();
    let composed = || composed::vq(config, normalization, queries.rows(ids), codebook).0;
    tape.fused(composed, || forward(config, normalization, queries, ids, codebook))
}

#[track_caller]
fn forward<'t, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    queries: Var<'t, T>,
    ids: &[u32],
    codebook: Var<'t, T>,
) -> Quantized<'t, T> {
    let (tape, table, codewords) = (queries.tape(), queries.value(), codebook.value());
    super::assert_shapes("vq", config, &table, ids, &[&codewords]);
    let score = Score::SquaredDistance;
    let found = assign(tape, score, normalization, config.groups, &table, ids, &codewords);
    let y = found.rows(tape, &codewords, config.groups);
    let Assigned { distinct, codes, statistics, .. } = found;
    let op = Vq { config: *config, distinct, codes };
    let looked_up = Queries::new(&table, Some(&op.distinct.ids), config.groups);
    let regulariser = op.regulariser(tape.pools(), looked_up, &y);
    let regulariser = Tensor::scalar(T::from_f64(regulariser));
    let [rows, regulariser] = tape.record(op, &[queries, codebook], [y, regulariser]);
    Quantized { rows, regulariser: Some(regulariser), statistics }
}

struct Vq {
    config: DpqConfig,
    distinct: Distinct,
    /// Of the distinct ids, u x D.
    codes: Buffer<u32>,
}

impl<T: Real> Op<T> for Vq {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        let (table, codewords, pools) = (ctx.input(0), ctx.input(1), ctx.pools());
        let (u, d) = (self.distinct.ids.len(), table.shape()[1]);
        let mut dq = match ctx.output_grad(0) {
            Some(dy) => self.distinct.sums(pools, dy),
            None => Tensor::zeros([u, d]),
        };
        if let Some(dm) = ctx.output_grad(1) {
            let queries = Queries::new(table, Some(&self.distinct.ids), self.config.groups);
            let share = 2.0 * dm.item().to_f64() / (self.distinct.total() * d) as f64;
            let mut dc = ctx.buffer(codewords.shape());
            self.pull(pools, queries, ctx.output(0), share, dq.data_mut(), dc.data_mut());
            ctx.add(1, dc);
        }
        ctx.add_rows(0, self.distinct.ids.clone(), dq);
    }
}

impl Vq {
    /// Where the codeword that row u chose in group g starts.
    #[inline(always)]
    fn chosen(&self, u: usize, g: usize, s: usize) -> usize {
        let book = if self.config.shared { 0 } else { g };
        (book * self.config.codebook_size + self.codes[u * self.config.groups + g] as usize) * s
    }

    /// C\[code\] of distinct row u, all groups, as the output `y` holds it.
    #[inline(always)]
    fn codewords<'a, T: Real>(&self, u: usize, y: &'a Tensor<T>) -> &'a [T] {
        let d = y.shape()[1];
        &y.data()[self.distinct.positions(u)[0] as usize * d..][..d]
    }

    /// (1 + beta) times the mean squared distance of the queries from their codewords.
    fn regulariser<T: Real>(
        &self,
        pools: &Pools<T>,
        queries: Queries<'_, T>,
        y: &Tensor<T>,
    ) -> f64 {
        let (rows, piece) = (queries.len(), queries.piece());
        let mut sums = pools.moments.take(rows.div_ceil(piece));
        parallel::for_each_chunk(&mut sums, 1, |i, sum| {
            sum[0] = 0.0;
            for u in i * piece..rows.min((i + 1) * piece) {
                let squares = squared_distance(queries.row(u), self.codewords(u, y));
                sum[0] += self.distinct.count(u) as f64 * squares;
            }
        });
        let elements = y.data().len();
        (1.0 + self.config.beta) * sums.iter().sum::<f64>() / elements as f64
    }

    /// dq\[u\] += share c\[u\] beta (q - C\[code\]); dc <- the sums of share c\[u\] (C - q).
    fn pull<T: Real>(
        &self,
        pools: &Pools<T>,
        queries: Queries<'_, T>,
        y: &Tensor<T>,
        share: f64,
        dq: &mut [T],
        dc: &mut [T],
    ) {
        let (s, len, piece) = (queries.group_width(), dc.len(), queries.piece());
        let d = s * queries.groups;
        let beta = T::from_f64(self.config.beta);
        let mut parts = pools.values.take(queries.len().div_ceil(piece) * len);
        parallel::for_each_pair((dq, piece * d), (&mut parts, len), |i, dq, part| {
            part.fill(T::ZERO);
            let mut pulled = pools.values.take(d);
            dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                for (row, dq) in dq.chunks_exact_mut(d).enumerate() {
                    let u = i * piece + row;
                    let weight = T::from_f64(share * self.distinct.count(u) as f64);
                    let pairs = queries.row(u).iter().zip(self.codewords(u, y));
                    for (pulled, (&q, &c)) in pulled.iter_mut().zip(pairs) {
                        *pulled = weight * (c - q);
                    }
                    if beta != T::ZERO {
                        dq.iter_mut().zip(&*pulled).for_each(|(dq, x)| *dq -= beta * *x);
                    }
                    for (g, pulled) in pulled.chunks_exact(s).enumerate() {
                        add_short(pulled, &mut part[self.chosen(u, g, s)..][..s]);
                    }
                }
            }));
        });
        parallel::for_each_chunk(dc, 4096, |i, dc| {
            dc.fill(T::ZERO);
            parts.chunks_exact(len).for_each(|part| add(dc, &part[i * 4096..][..dc.len()]));
        });
    }
}
