//! The centroid form as one op.
//!
//! It computes what [`composed::vq`] defines, on the distinct ids of the batch and without holding
//! n x D x K elements; the scores only serve to choose.
//!
//! # The gradient
//!
//! The regulariser, means over the n d elements of the n tokens that are not padding:
//!
//! ```text
//! m           = mean (C[code] - stop(q))^2 + beta mean (stop(C[code]) - q)^2
//! ```
//!
//! With dy the upstream gradient of the rows and dm that of m, c\[u\] how often the distinct id u
//! occurs:
//!
//! ```text
//! dq[u]       = sum of dy over its repetitions + dm c[u] 2 beta (q - C[code]) / (n d)
//! dC[g,j]     = dm sum over u with code[u,g] = j of c[u] 2 (C[g,j] - q[u,g]) / (n d)
//! ```
//!
//! Nothing flows through the scores or their statistics. The task loss has no gradient with respect
//! to the codebook: it moves the queries, and the regulariser's first term then moves the codewords
//! after them. The sums over u in dC do not need dm: the forward pass takes them while the queries are
//! in cache, so the backward pass reads queries again only for the commitment term.

use super::assign::{Choice, Scored};
use super::codebook::Sizes;
use super::composed;
use super::config::DpqConfig;
use super::normalization::Normalization;
use super::quantized::{Codes, Options, Quantized, assert_shapes};
use super::queries::{PIECES, Queries};
use super::score::Metric;
use crate::kernels::codewords;
use crate::kernels::dispatch::dispatch;
use crate::kernels::elementwise::add;
use crate::kernels::reduce::dot_of_piece;
use crate::ops::{Distinct, Ids};
use crate::parallel::{self, Order, chunks};
use crate::real::Real;
use crate::tape::{Context, Op, Pools, Var};
use crate::tensor::{Buffer, Tensor};
use fearless_simd::Simd;
use std::ops::Range;
use std::sync::Arc;

/// The centroid form for `ids` of the V x d table `queries`, one codebook G x K x s. Of the configuration it
/// follows the sizes and beta; the rest is what a [`Quantizer`](crate::pq::Quantizer) adds.
///
/// Positions that hold the [padding id](Ids) get its row, and take no part in statistics, regulariser
/// and gradients. Without any other ids there are no statistics, and the regulariser is 0.
///
/// A NaN score, or an id outside the table, is an error that the tape reports.
///
/// # Panics
/// If the shapes do not fit the configuration.
#[track_caller]
pub fn vq<'t, 'i, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    queries: Var<'t, T>,
    ids: impl Into<Ids<'i>>,
    codebook: Var<'t, T>,
) -> Quantized<'t, T> {
    vq_with(config, normalization, queries, ids, codebook, Options::default())
}

/// [`vq`] with options.
///
/// # Panics
/// If the shapes do not fit the configuration, or the options not the queries.
#[track_caller]
pub fn vq_with<'t, 'i, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    queries: Var<'t, T>,
    ids: impl Into<Ids<'i>>,
    codebook: Var<'t, T>,
    options: Options<'_, 't, T>,
) -> Quantized<'t, T> {
    let (tape, ids) = (queries.tape(), ids.into());
    // Here and not further in, where the caller's line is not known any more.
    let (table, books) = (queries.value(), [&codebook.value()]);
    assert_shapes("vq", config, normalization, (&table, ids.ids.len()), &books, options);
    let form = |normalization: Normalization<'_, T>, q, options: Options<'_, 't, T>| {
        composed::vq_with(config, normalization, q, codebook, options)
    };
    let composed = || composed::of_ids(normalization, queries, ids, options, form);
    tape.fused(composed, || forward(config, normalization, queries, ids, codebook, options))
}

fn forward<'t, T: Real>(
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    queries: Var<'t, T>,
    ids: Ids<'_>,
    codebook: Var<'t, T>,
    options: Options<'_, 't, T>,
) -> Quantized<'t, T> {
    let (tape, table, codewords) = (queries.tape(), queries.value(), codebook.value());
    let (groups, pools) = (config.groups, tape.pools());
    let (metric, limits) = (Metric::SquaredDistance, options.limits);
    let scored = Scored::new(tape, metric, normalization, groups, &table, ids, &codewords, limits);
    let mut codes = scored.distinct.room(&pools.ids, scored.distinct.ids.len(), groups);
    let choice = scored.choice(&table, groups);
    let pull = Pull { distinct: &scored.distinct, table: &table, codewords: &codewords };
    let pulls = pull.choose_and_sum(pools, &choice, &mut codes);
    let checked = choice.check();
    let codes = Codes::new(Arc::new(codes), Some(scored.distinct.slots.clone()), groups);
    let mut y = scored.rows(tape, &codewords, &codes);
    if let Err(fault) = checked {
        tape.fail(fault);
        y.data_mut().fill(T::NAN);
    }
    let (beta, of_codebook) = (config.beta, if options.still_codebook { 0.0 } else { 1.0 });
    let op = Vq { beta, of_codebook, distinct: scored.distinct, pulls };
    let squares = op.pulls[codewords.data().len()].to_f64();
    let regulariser = (of_codebook + beta) * squares / op.elements(&table);
    let regulariser = Tensor::scalar(T::from_f64(regulariser));
    let [rows, regulariser] = tape.record(op, &[queries, codebook], [y, regulariser]);
    let regulariser = (of_codebook + beta > 0.0).then_some(regulariser);
    Quantized { rows, codes, regulariser, statistics: scored.statistics }
}

/// C - q of rows of the table and the codewords that they choose.
struct Pull<'a, T: Real> {
    distinct: &'a Distinct,
    table: &'a Tensor<T>,
    codewords: &'a Tensor<T>,
}

impl<T: Real> Pull<'_, T> {
    /// Chooses codes, and returns for every codeword C the sum of c\[u\] (C - q) over the parts of rows
    /// that chose it, and last the sum of c\[u\] ||C - q||^2 over all.
    fn choose_and_sum(
        &self,
        pools: &Pools<T>,
        choice: &Choice<'_, T>,
        codes: &mut [u32],
    ) -> Buffer<T> {
        let (pool, groups) = (&pools.values, choice.queries.groups);
        let live = Queries::new(self.table, Some(self.distinct.live()), groups);
        let (codes, of_padding) = codes.split_at_mut(live.len() * groups);
        let piece = |(rows, codes): (Range<usize>, &mut [u32]), sums: &mut [T]| {
            let mut pull = pool.take(self.table.shape()[1]);
            choice.choose_rows(pool, rows, codes, |rows, codes| {
                dispatch!(|simd| self.add(simd, rows, codes, &mut pull, sums));
            });
        };
        let mut sums = pool.take(self.codewords.data().len() + 1);
        let work = (live.pieces(), chunks(codes, live.piece() * groups));
        parallel::sum(pool, PIECES, Order::Backward, work, &mut sums, piece, add);
        choice.choose_rows(pool, live.len()..choice.queries.len(), of_padding, |_, _| ());
        sums
    }

    /// Adds what some rows contribute to the sums; `pull` is room for a row.
    #[inline(always)]
    fn add<S: Simd>(
        &self,
        simd: S,
        rows: Range<usize>,
        codes: &[u32],
        pull: &mut [T],
        sums: &mut [T],
    ) {
        let (codewords, sizes) = (self.codewords.data(), Sizes::of(self.codewords.shape()));
        let groups = codes.len() / rows.len();
        let (of_codewords, of_squares) = sums.split_at_mut(codewords.len());
        let mut squares = 0.0;
        for (u, codes) in rows.zip(codes.chunks_exact(groups)) {
            let count = T::from_usize(self.distinct.count(u));
            codewords::put(codewords, sizes.stride(), codes, pull);
            pull.iter_mut().zip(self.distinct.row(u, self.table)).for_each(|(c, q)| *c -= *q);
            squares += count.to_f64() * dot_of_piece(simd, pull, pull).to_f64();
            if count > T::ONE {
                pull.iter_mut().for_each(|pull| *pull *= count);
            }
            codewords::add(pull, sizes.stride(), codes, of_codewords);
        }
        of_squares[0] += T::from_f64(squares);
    }
}

/// Rows of a piece of work.
const CHUNK: usize = 64;

struct Vq<T: Real> {
    beta: f64,
    /// The weight of the codebook term, 1 or 0.
    of_codebook: f64,
    distinct: Distinct,
    /// The sums of [`Pull::choose_and_sum`].
    pulls: Buffer<T>,
}

impl<T: Real> Op<T> for Vq<T> {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        let (table, codewords, y) = (ctx.input(0), ctx.input(1), ctx.output(0));
        let ([u, d], pools) = ([self.distinct.live().len(), table.shape()[1]], ctx.pools());
        let (dy, dm) = (ctx.output_grad(0), ctx.output_grad(1).map_or(T::ZERO, Tensor::item));
        let rate = 2.0 * dm.to_f64() / self.elements(table);

        let commitment = rate * self.beta;
        let mut dq = self.distinct.room(&pools.values, u, d);
        parallel::for_each_chunk(&mut dq, CHUNK * d, |i, dq| {
            dispatch!(|simd| self.sum_upstream(simd, i * CHUNK, dy, dq));
            if commitment != 0.0 {
                dispatch!(|simd| self.add_commitment(simd, i * CHUNK, commitment, table, y, dq));
            }
        });
        ctx.add_rows(0, self.distinct.live().to_vec().into(), Tensor::from_buffer([u, d], dq));
        if ctx.output_grad(1).is_some() && self.of_codebook > 0.0 {
            let mut dc = ctx.uninit(codewords.shape());
            let pulls = dc.data_mut().iter_mut().zip(&*self.pulls);
            pulls.for_each(|(dc, &pull)| *dc = T::from_f64(rate) * pull);
            ctx.add(1, dc);
        }
    }
}

impl<T: Real> Vq<T> {
    /// n d, the elements that the regulariser is the mean over; at least 1, so that the mean over
    /// none is 0 and not NaN.
    fn elements(&self, table: &Tensor<T>) -> f64 {
        (self.distinct.total() * table.shape()[1]).max(1) as f64
    }

    /// dq\[u\] = sum of dy over the repetitions of u, for the distinct ids from `first` on.
    #[inline(always)]
    fn sum_upstream<S: Simd>(&self, _: S, first: usize, dy: Option<&Tensor<T>>, dq: &mut [T]) {
        let Some(dy) = dy else { return dq.fill(T::ZERO) };
        for (u, dq) in (first..).zip(dq.chunks_exact_mut(dy.shape()[1])) {
            self.distinct.sum(u, dy, dq);
        }
    }

    /// dq\[u\] -= commitment c\[u\] (C - q), for the distinct ids from `first` on.
    #[inline(always)]
    fn add_commitment<S: Simd>(
        &self,
        _: S,
        first: usize,
        commitment: f64,
        table: &Tensor<T>,
        y: &Tensor<T>,
        dq: &mut [T],
    ) {
        let d = table.shape()[1];
        for (u, dq) in (first..).zip(dq.chunks_exact_mut(d)) {
            let positions = self.distinct.positions(u);
            let weight = T::from_f64(commitment * positions.len() as f64);
            let c = &y.data()[positions[0] as usize * d..][..d];
            let pairs = self.distinct.row(u, table).iter().zip(c);
            dq.iter_mut().zip(pairs).for_each(|(dq, (&q, &c))| *dq -= weight * (c - q));
        }
    }
}
