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
//! through the regulariser. The codewords' sums do not need dm: they are taken on the way forward,
//! while the queries are near, and no row of queries or of codewords is read again on the way back.

use super::assign::Scored;
use super::codebook::Sizes;
use super::composed;
use super::config::DpqConfig;
use super::normalization::Normalization;
use super::quantized::{Quantized, assert_shapes};
use super::queries::PIECES;
use super::score::Score;
use crate::kernels::codewords;
use crate::kernels::dispatch::dispatch;
use crate::kernels::elementwise::add;
use crate::kernels::reduce::dot_of_chunk;
use crate::ops::Distinct;
use crate::parallel::{self, Order, chunks};
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::{Buffer, Tensor};
use fearless_simd::Simd;
use std::ops::Range;

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
    let composed = || composed::vq(config, normalization, queries.gather_rows(ids), codebook).0;
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
    assert!(!ids.is_empty(), "vq of nothing: no ids");
    assert_shapes("vq", config, &table, &[&codewords]);
    let (groups, pools) = (config.groups, tape.pools());
    let score = Score::SquaredDistance;
    let scored = Scored::new(tape, score, normalization, groups, &table, ids, &codewords);
    let choice = scored.choice(&table, groups);
    let mut codes = scored.distinct.room(&pools.ids, groups);
    let mut pulls = pools.values.take(codewords.data().len() + 1);
    let pieces = choice.queries.pieces();
    let codes_of_pieces = chunks(&mut codes, choice.queries.piece() * groups);
    let piece = |(rows, codes): (Range<usize>, &mut [u32]), pulls: &mut [T]| {
        let mut pull = pools.values.take(table.shape()[1]);
        choice.choose_rows(&pools.values, rows, codes, |rows, codes| {
            let distinct = &scored.distinct;
            dispatch!(|simd| add_pulls(
                simd, distinct, rows, &table, &codewords, codes, &mut pull, pulls
            ));
        });
    };
    let work = (pieces, codes_of_pieces);
    parallel::sum(&pools.values, PIECES, Order::Backward, work, &mut pulls, piece, add);
    if let Err(fault) = choice.check() {
        tape.fail(fault);
    }
    let y = scored.rows(tape, &codewords, &codes);
    let squares = pulls[codewords.data().len()].to_f64();
    let regulariser = (1.0 + config.beta) * squares / y.data().len() as f64;
    let regulariser = Tensor::scalar(T::from_f64(regulariser));
    let op = Vq { beta: config.beta, distinct: scored.distinct, pulls };
    let [rows, regulariser] = tape.record(op, &[queries, codebook], [y, regulariser]);
    Quantized { rows, regulariser: Some(regulariser), statistics: scored.statistics }
}

/// Adds c\[u\] (C - q) of some rows to the sums of the codewords C that they chose, and all of
/// c\[u\] ||C - q||^2 to the last sum; `pull` is room for a row.
#[expect(clippy::too_many_arguments, reason = "rows, what they chose, and sums")]
#[inline(always)]
fn add_pulls<S: Simd, T: Real>(
    simd: S,
    distinct: &Distinct,
    rows: Range<usize>,
    table: &Tensor<T>,
    codewords: &Tensor<T>,
    codes: &[u32],
    pull: &mut [T],
    sums: &mut [T],
) {
    let (groups, stride) = (codes.len() / rows.len(), Sizes::of(codewords.shape()).stride());
    let (of_codewords, of_squares) = sums.split_at_mut(codewords.data().len());
    let mut squares = 0.0;
    for (u, codes) in rows.zip(codes.chunks_exact(groups)) {
        let count = T::from_usize(distinct.count(u));
        codewords::put(codewords.data(), stride, codes, pull);
        pull.iter_mut().zip(distinct.row(u, table)).for_each(|(c, q)| *c -= *q);
        squares += count.to_f64() * dot_of_chunk(simd, pull, pull).to_f64();
        if count > T::ONE {
            pull.iter_mut().for_each(|pull| *pull *= count);
        }
        codewords::add(pull, stride, codes, of_codewords);
    }
    of_squares[0] += T::from_f64(squares);
}

struct Vq<T: Real> {
    beta: f64,
    distinct: Distinct,
    /// The sums of [`add_pulls`].
    pulls: Buffer<T>,
}

impl<T: Real> Op<T> for Vq<T> {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        let (table, codewords, y) = (ctx.input(0), ctx.input(1), ctx.output(0));
        let (u, d, pools) = (self.distinct.ids.len(), table.shape()[1], ctx.pools());
        let (dy, dm) = (ctx.output_grad(0), ctx.output_grad(1).map_or(T::ZERO, Tensor::item));
        let share = 2.0 * dm.to_f64() / y.data().len() as f64;
        let commitment = share * self.beta;

        let mut dq = self.distinct.room(&pools.values, d);
        parallel::for_each_chunk(&mut dq, CHUNK * d, |i, dq| {
            dispatch!(|simd| self.queries_gradient(simd, i * CHUNK, dy, commitment, table, y, dq));
        });
        ctx.add_rows(0, self.distinct.ids.clone(), Tensor::from_buffer([u, d], dq));
        if ctx.output_grad(1).is_some() {
            let mut dc = ctx.uninit(codewords.shape());
            let pulls = dc.data_mut().iter_mut().zip(&*self.pulls);
            pulls.for_each(|(dc, &pull)| *dc = T::from_f64(share) * pull);
            ctx.add(1, dc);
        }
    }
}

/// Rows of a piece of work.
const CHUNK: usize = 64;

impl<T: Real> Vq<T> {
    /// dq of the distinct ids from `first` on.
    #[inline(always)]
    fn queries_gradient<S: Simd>(
        &self,
        _: S,
        first: usize,
        dy: Option<&Tensor<T>>,
        commitment: f64,
        table: &Tensor<T>,
        y: &Tensor<T>,
        dq: &mut [T],
    ) {
        let d = table.shape()[1];
        for (u, dq) in (first..).zip(dq.chunks_exact_mut(d)) {
            match dy {
                Some(dy) => self.distinct.sum(u, dy, dq),
                None => dq.fill(T::ZERO),
            }
            if commitment != 0.0 {
                let positions = self.distinct.positions(u);
                let weight = T::from_f64(commitment * positions.len() as f64);
                let c = &y.data()[positions[0] as usize * d..][..d];
                let pairs = self.distinct.row(u, table).iter().zip(c);
                dq.iter_mut().zip(pairs).for_each(|(dq, (&q, &c))| *dq -= weight * (c - q));
            }
        }
    }
}
