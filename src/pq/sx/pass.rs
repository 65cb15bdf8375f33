//! What the backward pass reads, and dq, which it writes.

use super::forward::Sx;
use crate::ops::Distinct;
use crate::parallel::{Chunks, chunks};
use crate::pq::queries::Queries;
use crate::pq::statistics::Moments;
use crate::real::Real;
use crate::tape::Pools;
use crate::tensor::{Buffer, Tensor};

/// What the backward pass reads besides dy and the values.
pub(super) struct Pass<'a, T: Real> {
    pub(super) op: &'a Sx<T>,
    pub(super) pools: &'a Pools<T>,
    pub(super) queries: Queries<'a, T>,
    /// C^k, G x K x s
    pub(super) keys: &'a Tensor<T>,
    /// The point that queries are taken about, D x s: their means, where the moments are known, else
    /// 0.
    centre: Buffer<T>,
}

impl<'a, T: Real> Pass<'a, T> {
    pub(super) fn new(
        op: &'a Sx<T>,
        pools: &'a Pools<T>,
        table: &'a Tensor<T>,
        keys: &'a Tensor<T>,
    ) -> Self {
        let mut centre = pools.values.take(table.shape()[1]);
        match &op.scored.moments {
            Some(moments) => {
                let means = centre.iter_mut().zip(&*moments.mean);
                means.for_each(|(centre, &mean)| *centre = T::from_f64(mean));
            }
            None => centre.fill(T::ZERO),
        }
        Pass { op, pools, queries: op.queries(table), keys, centre }
    }

    /// K, s and d.
    pub(super) fn sizes(&self) -> [usize; 3] {
        let s = self.queries.group_width();
        [self.op.scored.keys.sizes().size, s, s * self.queries.groups]
    }

    /// The point that the queries of group g are taken about.
    #[inline(always)]
    pub(super) fn centre(&self, g: usize) -> &[T] {
        let s = self.queries.group_width();
        &self.centre[g * s..][..s]
    }

    /// m\[g, j\] - mean\[j\], where the moments are known; - mean\[j\] elsewhere.
    #[inline(always)]
    pub(super) fn off_mean(&self, g: usize, j: usize) -> f64 {
        let scored = &self.op.scored;
        let of_group = |moments: &Moments| moments.score_means[g * scored.keys.sizes().size + j];
        scored.moments.as_ref().map_or(0.0, of_group) - scored.normalizer.means[j].to_f64()
    }

    /// C^k\[g, j\]
    #[inline(always)]
    pub(super) fn key(&self, g: usize, j: usize) -> &[T] {
        let sizes = self.op.scored.keys.sizes();
        &self.keys.data()[sizes.codeword(g, j) * sizes.width..][..sizes.width]
    }

    /// Codewords like the keys, j over sd\[j\].
    pub(super) fn over_sd(&self, codewords: &[T]) -> Tensor<T> {
        let normalizer = &self.op.scored.normalizer;
        normalizer.over_sd(&self.pools.values, self.keys.shape(), codewords, T::ONE)
    }
}

/// dq of the distinct ids in panels: d rows, one id in each lane.
pub(super) struct QueryPanels<T: Real> {
    data: Buffer<T>,
    width: usize,
}

impl<T: Real> QueryPanels<T> {
    /// Room for them.
    pub(super) fn new(pools: &Pools<T>, distinct: &Distinct, width: usize) -> Self {
        let lanes = distinct.live().len().next_multiple_of(T::LANES);
        QueryPanels { data: distinct.room(&pools.values, lanes, width), width }
    }

    /// The panels of so many ids after so many, which fill panels.
    pub(super) fn of_ids(&mut self, ids: usize) -> Chunks<'_, T> {
        chunks(&mut self.data, ids * self.width)
    }

    /// Of panels that each have become rows, those of the first `ids`.
    pub(super) fn into_rows(mut self, ids: usize) -> Tensor<T> {
        self.data.truncate(ids * self.width);
        Tensor::from_buffer([ids, self.width], self.data)
    }
}
