//! The backward pass: one sweep over the distinct ids, then what the batch's statistics contribute.

use super::batch_norm::{Linear, Slopes, scores_times_gradient};
use super::forward::{Sx, TINY};
use super::logits::Logits;
use super::pass::{Pass, QueryPanels};
use crate::kernels::codewords;
use crate::kernels::dispatch::dispatch;
use crate::kernels::elementwise::{add, add_short};
use crate::kernels::panel::{self, Panels};
use crate::ops::sum_rows;
use crate::parallel::{self, Order};
use crate::pq::codebook::Columns;
use crate::pq::queries::{BLOCK, PIECES};
use crate::pq::statistics::centred;
use crate::real::Real;
use crate::tape::{Context, Op};
use crate::tensor::{Buffer, Pool, Tensor};
use fearless_simd::{Simd, prelude::*};
use std::ops::Range;

impl<T: Real> Op<T> for Sx<T> {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        let (table, keys, values) = (ctx.input(0), ctx.input(1), ctx.input(2));
        let (distinct, d, pools) = (&self.scored.distinct, table.shape()[1], ctx.pools());
        let zeros = || Tensor::zeros([distinct.slots.len(), d]);
        let dy = ctx.output_grad(0).cloned().unwrap_or_else(zeros);
        let dentropy =
            if self.config.beta > 0.0 { ctx.output_grad(1).map(Tensor::item) } else { None };

        let pass = Pass::new(self, pools, table, keys);
        let mut dq = QueryPanels::new(pools, distinct, d);
        let sweep = Sweep::new(&pass, dy, values, dentropy.unwrap_or(T::ZERO));
        let mut sums = sweep.run(&mut dq);
        let Sums { keys: of_keys, values: of_values, s1 } = Sums::new(&mut sums, keys.data().len());
        if self.learns_temperature {
            // dtau = - sum drh rh / tau
            let sd = |reciprocal: &T| reciprocal.to_f64();
            let reciprocals = self.scored.normalizer.reciprocals.iter().map(sd);
            let products = scores_times_gradient(&pass, of_keys, s1);
            let sum: f64 = products.iter().zip(reciprocals).map(|(sum, r)| sum * r).sum();
            let dtau = T::from_f64(-sum / self.temperature);
            ctx.add(3, Tensor::full(ctx.input(3).shape(), dtau));
        }
        let mut dkeys = pass.over_sd(of_keys);
        let mut linear = None;
        if self.scored.statistics.is_some() {
            let slopes = Slopes::new(&pass, ctx.ranks(), of_keys, s1);
            match &self.scored.moments {
                Some(moments) => {
                    slopes.correct_keys(moments, s1, dkeys.data_mut());
                    linear = Some(slopes.linear());
                }
                None => add(dkeys.data_mut(), &slopes.correct_by_scores(&mut dq)),
            }
        }
        let mut dvalues = ctx.uninit(values.shape());
        dvalues.data_mut().copy_from_slice(of_values);
        ctx.add_rows(0, distinct.live().to_vec().into(), rows(&pass, linear, dq));
        ctx.add(1, dkeys);
        ctx.add(2, dvalues);
    }
}

/// Sums over the distinct ids.
struct Sums<'a, T> {
    /// P, G x K x s
    keys: &'a mut [T],
    /// dC^v, G x K x s
    values: &'a mut [T],
    /// S1 of every group, D x K
    s1: &'a mut [T],
}

impl<'a, T> Sums<'a, T> {
    /// All of them in one slice; a codebook has `len` elements.
    fn new(all: &'a mut [T], len: usize) -> Self {
        let (keys, rest) = all.split_at_mut(len);
        let (values, s1) = rest.split_at_mut(len);
        Sums { keys, values, s1 }
    }
}

/// The main sweep: dq without the statistics' contribution, and the [`Sums`].
struct Sweep<'a, T: Real> {
    pass: &'a Pass<'a, T>,
    dy: Tensor<T>,
    values: Columns<T>,
    /// C^k\[g, j\] / sd\[j\], G x K x s
    keys_over_sd: Tensor<T>,
    logits: Logits<T>,
    /// 1 / tau
    rate: T,
    /// beta / N times the gradient of the entropy term.
    entropy: f64,
    /// Distinct ids that are worked on together: whole panels.
    block: usize,
}

/// Room for a block of ids in a tile of groups.
struct Scratch<T: Real> {
    /// Panels of queries and of dy, as many rows as the tile is wide.
    q: Buffer<T>,
    dy: Buffer<T>,
    /// dy of the ids of a panel, row by row, where an id is repeated.
    sums: Buffer<T>,
    /// e^logit of a panel, K rows.
    e: Buffer<T>,
    /// Panels of one group: drh, K rows, and (q', 1), s + 1 rows.
    drh: Buffer<T>,
    off: Buffer<T>,
    /// P and S1 of one group and block, K x (s + 1).
    products: Buffer<T>,
}

impl<T: Real> Scratch<T> {
    fn new(pool: &Pool<T>, block: usize, tile: usize, [k, s, _]: [usize; 3]) -> Self {
        let take = |len: usize| pool.take(len);
        let [q, dy] = [(); 2].map(|()| take(block * tile));
        let (sums, e) = (take(T::LANES * tile), take(k * T::LANES));
        let (drh, off) = (take(k * block), take((s + 1) * block));
        Scratch { q, dy, sums, e, drh, off, products: take(k * (s + 1)) }
    }
}

impl<'a, T: Real> Sweep<'a, T> {
    fn new(pass: &'a Pass<'a, T>, dy: Tensor<T>, values: &Tensor<T>, dentropy: T) -> Self {
        let (op, k) = (pass.op, pass.sizes()[0]);
        Sweep {
            pass,
            dy,
            values: Columns::new(&pass.pools.values, values),
            keys_over_sd: pass.over_sd(pass.keys.data()),
            logits: op.logits(pass.pools, pass.keys),
            rate: T::from_f64(1.0 / op.temperature),
            entropy: dentropy.to_f64() * op.config.beta / op.parts() as f64,
            block: ((1 << 15) / k).next_multiple_of(T::LANES).clamp(T::LANES, BLOCK),
        }
    }

    /// Fills dq, and returns the sums.
    fn run(&self, dq: &mut QueryPanels<T>) -> Buffer<T> {
        let Pass { pools, queries, keys, .. } = self.pass;
        let (sizes, book) = (self.pass.sizes(), keys.data().len());
        let ([k, _, d], pool) = (sizes, &pools.values);
        let piece = |(rows, dq): (Range<usize>, &mut [T]), sums: &mut [T]| {
            let mut sums = Sums::new(sums, book);
            let mut scratch = Scratch::new(pool, self.block, queries.tile_width(), sizes);
            let blocks = rows.clone().step_by(self.block).zip(dq.chunks_mut(self.block * d));
            for (first, dq) in blocks {
                let ids = first..rows.end.min(first + self.block);
                dispatch!(|simd| self.block(simd, ids, &mut scratch, dq, &mut sums));
            }
        };
        let mut sums = pool.take(2 * book + queries.groups * k);
        let work = (queries.pieces(), dq.of_ids(queries.piece()));
        parallel::sum(pool, PIECES, Order::Forward, work, &mut sums, piece, add);
        sums
    }

    /// dq and the sums of a block of ids.
    #[inline(always)]
    fn block<S: Simd>(
        &self,
        simd: S,
        ids: Range<usize>,
        scratch: &mut Scratch<T>,
        dq: &mut [T],
        sums: &mut Sums<'_, T>,
    ) {
        for tile in self.pass.queries.tiles() {
            self.gather(simd, ids.clone(), tile.clone(), scratch, sums.values);
            for g in tile.clone() {
                self.softmax_gradient(simd, ids.clone(), tile.clone(), g, scratch, dq);
                self.add_to_keys(simd, ids.len(), g, scratch, sums);
            }
        }
    }

    /// Panels of the queries of a block and of their dy, which is also added to the values' sums.
    #[inline(always)]
    fn gather<S: Simd>(
        &self,
        simd: S,
        ids: Range<usize>,
        tile: Range<usize>,
        scratch: &mut Scratch<T>,
        values: &mut [T],
    ) {
        let Scratch { q, dy, sums, .. } = scratch;
        self.pass.queries.panels(simd, ids.clone(), tile.clone(), q);
        let panels = dy.chunks_exact_mut(tile.len() * self.pass.queries.group_width() * T::LANES);
        for (ids, dy) in panel::tokens::<T>(ids).zip(panels) {
            self.gather_upstream(simd, ids, tile.clone(), sums, dy, values);
        }
    }

    /// dy of a panel of ids in a tile of groups, summed over their repetitions; adds it to the sums
    /// of the chosen values. `sums` is room for the panel row by row.
    #[inline(always)]
    fn gather_upstream<S: Simd>(
        &self,
        simd: S,
        ids: Range<usize>,
        tile: Range<usize>,
        sums: &mut [T],
        upstream: &mut [T],
        values: &mut [T],
    ) {
        let (op, sizes, [_, s, d]) = (self.pass.op, self.values.sizes, self.pass.sizes());
        let columns = tile.start * s..tile.end * s;
        let row = |i: u32| &self.dy.data()[i as usize * d..][..d][columns.clone()];
        for (u, sum) in ids.clone().zip(sums.chunks_exact_mut(columns.len())) {
            match op.scored.distinct.positions(u) {
                [_] => {}
                positions => sum_rows(positions, row, sum),
            }
        }
        let sum_of = |u: usize| match op.scored.distinct.positions(u) {
            [only] => row(*only),
            _ => &sums[(u - ids.start) * columns.len()..][..columns.len()],
        };
        // The panel first, which waits less for rows that are far away.
        panel::gather(
            simd,
            ids.clone(),
            #[inline(always)]
            |u| sum_of(u),
            upstream,
        );
        let values = &mut values[sizes.codeword(tile.start, 0) * s..];
        for u in ids.clone() {
            if let Some(codes) = op.codes.common(u) {
                codewords::add(sum_of(u), sizes.stride(), &codes[tile.clone()], values);
                continue;
            }
            for &i in op.scored.distinct.positions(u) {
                codewords::add(
                    row(i),
                    sizes.stride(),
                    &op.codes.of(i as usize)[tile.clone()],
                    values,
                );
            }
        }
    }

    /// drh and (q', 1) of a block in group g, and with drh the group's part of dq.
    #[inline(always)]
    fn softmax_gradient<S: Simd>(
        &self,
        simd: S,
        ids: Range<usize>,
        tile: Range<usize>,
        g: usize,
        scratch: &mut Scratch<T>,
        dq: &mut [T],
    ) {
        let ([k, s, d], sizes) = (self.pass.sizes(), self.values.sizes);
        let Scratch { q, dy, e, drh, off, .. } = scratch;
        let (width, part) = (tile.len() * s * T::LANES, (g - tile.start) * s * T::LANES);
        let keys = &self.keys_over_sd.data()[sizes.elements_of(g)];
        let panels = q
            .chunks_exact(width)
            .zip(dy.chunks_exact(width))
            .zip(drh.chunks_exact_mut(k * T::LANES))
            .zip(off.chunks_exact_mut((s + 1) * T::LANES))
            .zip(dq.chunks_exact_mut(d * T::LANES));
        for (ids, ((((q, dy), drh), off), dq)) in panel::tokens::<T>(ids).zip(panels) {
            let [q, dy] = [q, dy].map(|panel| &panel[part..][..s * T::LANES]);
            centred(simd, q, self.pass.centre(g), off);
            let total = self.logits.powers(simd, g, q, self.pass.op.limits(ids.clone()), e);
            let inner = self.values_gradient(simd, ids, g, dy, e, drh);
            softmax_rule(simd, e, total, inner, self.rate, drh);
            panel::product(simd, keys, drh, &mut dq[g * s * T::LANES..][..s * T::LANES]);
        }
    }

    /// dp of a panel in group g, the entropy term's included; returns sum_j e dp.
    #[inline(always)]
    fn values_gradient<S: Simd>(
        &self,
        simd: S,
        ids: Range<usize>,
        g: usize,
        dy: &[T],
        e: &[T],
        dp: &mut [T],
    ) -> T::Wide<S> {
        let values = self.values.of(g);
        if self.entropy == 0.0 {
            return panel::product_and_dot(simd, values, dy, e, dp);
        }
        panel::product(simd, values, dy, dp);
        self.add_entropy(ids, g, e, dp);
        panel::dot(simd, e, dp)
    }

    /// dp\[j\] -= entropy c (log(p + 1e-10) + w / (p + 1e-10)) for a panel, with p = e / sum e and w
    /// the one-hot code.
    fn add_entropy(&self, ids: Range<usize>, g: usize, e: &[T], dp: &mut [T]) {
        let (op, tiny) = (self.pass.op, T::from_f64(TINY));
        for (lane, u) in ids.enumerate() {
            let positions = op.scored.distinct.positions(u);
            let total = e.iter().skip(lane).step_by(T::LANES).fold(T::ZERO, |sum, &e| sum + e);
            let p = |j: usize| e[j * T::LANES + lane] / total + tiny;
            let weight = |count: usize| T::from_f64(self.entropy * count as f64);
            for j in 0..e.len() / T::LANES {
                dp[j * T::LANES + lane] -= weight(positions.len()) * p(j).ln();
            }
            let mut choose = |code: u32, count: usize| {
                let j = code as usize;
                dp[j * T::LANES + lane] -= weight(count) / p(j);
            };
            match op.codes.common(u) {
                Some(codes) => choose(codes[g], positions.len()),
                None => positions.iter().for_each(|&i| choose(op.codes.of(i as usize)[g], 1)),
            }
        }
    }

    /// Adds drh q' of a block to P, and drh to S1, in group g.
    #[inline(always)]
    fn add_to_keys<S: Simd>(
        &self,
        simd: S,
        ids: usize,
        g: usize,
        scratch: &mut Scratch<T>,
        sums: &mut Sums<'_, T>,
    ) {
        let ([k, s, _], lanes) = (self.pass.sizes(), ids.next_multiple_of(T::LANES));
        let Scratch { drh, off, products, .. } = scratch;
        let drh = Panels::new(&drh[..lanes * k], k);
        let off = Panels::new(&off[..lanes * (s + 1)], s + 1);
        panel::outer(simd, drh, off, products);
        let keys = &mut sums.keys[self.values.sizes.elements_of(g)];
        let rows = products.chunks_exact(s + 1).zip(keys.chunks_exact_mut(s));
        for ((products, key), s1) in rows.zip(&mut sums.s1[g * k..][..k]) {
            add_short(&products[..s], key);
            *s1 += products[s];
        }
    }
}

/// dp <- drh = p (dp - sum p dp) rate for a panel, with p = e / total and inner = sum e dp.
#[inline(always)]
fn softmax_rule<S: Simd, T: Real>(
    simd: S,
    e: &[T],
    total: T::Wide<S>,
    inner: T::Wide<S>,
    rate: T,
    dp: &mut [T],
) {
    let (mean, factor) = (inner / total, T::Wide::<S>::splat(simd, rate) / total);
    for (e, dp) in e.chunks_exact(T::LANES).zip(dp.chunks_exact_mut(T::LANES)) {
        let off = T::Wide::<S>::from_slice(simd, dp) - mean;
        ((T::Wide::<S>::from_slice(simd, e) * factor) * off).store_slice(dp);
    }
}

/// Distinct ids whose panels a thread makes rows of: half a block, or with few ids a thread would be
/// left with too many.
const FINISHED: usize = BLOCK / 2;

/// The rows of dq, with the statistics' contribution where that is linear in q'.
fn rows<T: Real>(
    pass: &Pass<'_, T>,
    linear: Option<Linear<'_, T>>,
    mut dq: QueryPanels<T>,
) -> Tensor<T> {
    let ([_, s, d], queries) = (pass.sizes(), pass.queries);
    let take = |rows: usize| pass.pools.values.take(rows * T::LANES);
    parallel::for_each(Order::Backward, dq.of_ids(FINISHED), |i, dq| {
        let [mut q, mut off, mut weighted, mut whole] =
            [queries.tile_width(), s + 1, s + 1, d].map(take);
        let ids = i * FINISHED..queries.len().min((i + 1) * FINISHED);
        for (ids, dq) in panel::tokens::<T>(ids).zip(dq.chunks_exact_mut(d * T::LANES)) {
            let scratch = [&mut q[..], &mut off, &mut weighted];
            dispatch!(|simd| finish_panel(simd, pass, &linear, ids, scratch, &mut whole, dq));
        }
    });
    dq.into_rows(queries.len())
}

/// Corrects a panel of dq, and makes rows of it where it stands.
#[inline(always)]
fn finish_panel<S: Simd, T: Real>(
    simd: S,
    pass: &Pass<'_, T>,
    linear: &Option<Linear<'_, T>>,
    ids: Range<usize>,
    scratch: [&mut [T]; 3],
    whole: &mut [T],
    dq: &mut [T],
) {
    match linear {
        None => whole.copy_from_slice(dq),
        Some(linear) => linear.correct(simd, ids.clone(), dq, scratch, whole),
    }
    let [_, s, d] = pass.sizes();
    for tile in pass.queries.tiles() {
        let columns = tile.start * s..tile.end * s;
        let rows = dq.chunks_exact_mut(d).take(ids.len());
        let part = &whole[columns.start * T::LANES..columns.end * T::LANES];
        panel::scatter(simd, part, rows.map(|row| &mut row[columns.clone()]));
    }
}
