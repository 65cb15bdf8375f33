//! Codes that are sampled from the softmax, token by token.

use super::forward::Sx;
use super::logits::Logits;
use crate::kernels::dispatch::dispatch;
use crate::kernels::panel::{self, MOST_LANES};
use crate::parallel;
use crate::pq::assign::Scored;
use crate::pq::queries::Queries;
use crate::real::Real;
use crate::tape::Pools;
use crate::tensor::{Buffer, Tensor};
use fearless_simd::{Simd, prelude::*};
use std::ops::Range;

/// Tokens whose codes are sampled together: whole panels.
const SAMPLED: usize = 64;

impl<T: Real> Sx<T> {
    /// For every token and group the first code for which p\[0\] + ... + p\[code\] is above its draw.
    pub(super) fn sample(
        &self,
        pools: &Pools<T>,
        table: &Tensor<T>,
        keys: &Tensor<T>,
        draws: &Tensor<T>,
    ) -> Buffer<u32> {
        let Scored { distinct, limits, .. } = &self.scored;
        let (groups, n) = (self.config.groups, distinct.slots.len());
        let mut ids = pools.ids.take(n);
        let slots = ids.iter_mut().zip(distinct.slots.iter());
        slots.for_each(|(id, &slot)| *id = distinct.ids[slot as usize]);
        let queries = Queries::new(table, Some(&ids), groups);
        let logits = self.logits(pools, keys);
        let mut codes = pools.ids.take(n * groups);
        parallel::for_each_chunk(&mut codes, SAMPLED * groups, |chunk, codes| {
            let [mut q, mut e] = [queries.group_width(), self.scored.keys.sizes().size]
                .map(|rows| pools.values.take(rows * T::LANES));
            let mut panel = [T::ZERO; MOST_LANES];
            let tokens = chunk * SAMPLED..(chunk * SAMPLED + codes.len() / groups);
            for (tokens, codes) in
                panel::tokens::<T>(tokens).zip(codes.chunks_mut(T::LANES * groups))
            {
                let mut of_tokens = [T::ZERO; MOST_LANES];
                let limits = limits.as_deref().map_or(&[][..], |limits| {
                    let slots = distinct.slots[tokens.clone()].iter();
                    let pairs = of_tokens.iter_mut().zip(slots);
                    pairs.for_each(|(limit, &slot)| *limit = limits[slot as usize]);
                    &of_tokens[..T::LANES]
                });
                for g in 0..groups {
                    let draw = |i: usize| draws.data()[i * groups + g];
                    panel.iter_mut().zip(tokens.clone()).for_each(|(x, i)| *x = draw(i));
                    let (tokens, x) = (tokens.clone(), &mut panel[..T::LANES]);
                    dispatch!(|simd| sample_part(
                        simd, &logits, queries, tokens, g, limits, &mut q, &mut e, x
                    ));
                    let codes = codes.iter_mut().skip(g).step_by(groups);
                    codes.zip(&panel).for_each(|(code, x)| *code = x.to_u32());
                }
            }
        });
        codes
    }
}

/// Draws of a panel of tokens in group g <- their codes.
#[expect(clippy::too_many_arguments, reason = "what is read, and room for it")]
#[inline(always)]
fn sample_part<S: Simd, T: Real>(
    simd: S,
    logits: &Logits<T>,
    queries: Queries<'_, T>,
    tokens: Range<usize>,
    g: usize,
    limits: &[T],
    q: &mut [T],
    e: &mut [T],
    draws: &mut [T],
) {
    queries.panels(simd, tokens, g..g + 1, q);
    logits.powers(simd, g, q, limits, e);
    let [zero, one] = [T::ZERO, T::ONE].map(|x| T::Wide::<S>::splat(simd, x));
    let rows = || e.chunks_exact(T::LANES).map(|e| T::Wide::<S>::from_slice(simd, e));
    // In order, so that the last sum is the total to the bit, and no draw reaches it.
    let total = rows().fold(zero, |sum, e| sum + e);
    let limit = T::Wide::<S>::from_slice(simd, draws) * total;
    let (mut sum, mut code) = (zero, zero);
    for e in rows() {
        sum += e;
        code += sum.simd_le(limit).select(one, zero);
    }
    let last = T::Wide::<S>::splat(simd, T::from_usize(e.len() / T::LANES - 1));
    code.min(last).store_slice(draws);
}
