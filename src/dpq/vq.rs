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
use super::codes::add_to_codewords;
use super::composed::{Normalization, Quantized};
use super::scores::{Score, pieces};
use super::{DpqConfig, composed};
use crate::kernels::elementwise::add_up;
use crate::kernels::level;
use crate::kernels::reduce::squared_distance;
use crate::ops::Distinct;
use crate::parallel;
use crate::real::Real;
use crate::tape::{Context, Op, Var};
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
    let (y, squares) = found.rows(tape, &codewords, config.groups, |u, row| {
        squared_distance(found.distinct.row(u, &table), row)
    });
    let regulariser = (1.0 + config.beta) * squares / y.data().len() as f64;
    let regulariser = Tensor::scalar(T::from_f64(regulariser));
    let Assigned { distinct, codes, statistics, .. } = found;
    let op = Vq { config: *config, distinct, codes };
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
        let (table, codewords, y) = (ctx.input(0), ctx.input(1), ctx.output(0));
        let (rows, d, pools) = (self.distinct.ids.len(), table.shape()[1], ctx.pools());
        let (dy, dm) = (ctx.output_grad(0), ctx.output_grad(1).map_or(T::ZERO, Tensor::item));
        let share = 2.0 * dm.to_f64() / y.data().len() as f64;
        let beta = T::from_f64(self.config.beta);
        let (groups, len) = (self.config.groups, codewords.data().len());
        let stride = if self.config.shared { 0 } else { self.config.codebook_size };

        let mut dq = Tensor::from_buffer([rows, d], self.distinct.room(&pools.values, d));
        let (piece, mut parts) = pieces(&pools.values, rows, len);
        let pieces = ((dq.data_mut(), piece * d), (&mut parts[..], len));
        parallel::for_each_pair(pieces.0, pieces.1, |i, dq, part| {
            part.fill(T::ZERO);
            let mut pulled = pools.values.take(d);
            dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                for (row, dq) in dq.chunks_exact_mut(d).enumerate() {
                    let u = i * piece + row;
                    let positions = self.distinct.positions(u);
                    match dy {
                        Some(dy) => self.distinct.sum(u, dy, dq),
                        None => dq.fill(T::ZERO),
                    }
                    let weight = T::from_f64(share * positions.len() as f64);
                    let c = &y.data()[positions[0] as usize * d..][..d];
                    let pairs = self.distinct.row(u, table).iter().zip(c);
                    for ((pulled, dq), (&q, &c)) in pulled.iter_mut().zip(dq).zip(pairs) {
                        *pulled = weight * (c - q);
                        *dq -= beta * *pulled;
                    }
                    let codes = &self.codes[u * groups..][..groups];
                    add_to_codewords(&pulled, stride, codes, part);
                }
            }));
        });
        ctx.add_rows(0, self.distinct.ids.clone(), dq);
        if ctx.output_grad(1).is_some() {
            let mut dc = ctx.buffer(codewords.shape());
            add_up(&parts, dc.data_mut());
            ctx.add(1, dc);
        }
    }
}
