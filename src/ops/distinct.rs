//! The distinct ids of a batch, and where each occurs.

use crate::error::Error;
use crate::kernels::level;
use crate::parallel;
use crate::real::{Element, Real};
use crate::tape::{Pools, Tape};
use crate::tensor::{Buffer, Pool, Tensor};
use fearless_simd::{Simd, dispatch};
use std::ops::Range;

/// The distinct ones among some ids, and where each occurs.
pub(crate) struct Distinct {
    /// The distinct ids, in the order in which they come up first: what belongs to one after the
    /// other then lies one after the other in what belongs to the positions.
    pub(crate) ids: Buffer<u32>,
    /// For every position, which distinct id stands there.
    pub(crate) slots: Buffer<u32>,
    /// All positions, those of the first id first, in order.
    positions: Buffer<u32>,
    /// Where in `positions` those of each id end.
    ends: Buffer<u32>,
}

impl Distinct {
    /// Finds equal ids by sorting them. Those outside `0..height` are reported to the tape, which
    /// then fails, and count as 0 until it does.
    pub(crate) fn new<T: Real>(tape: &Tape<T>, ids: &[u32], height: usize) -> Distinct {
        let room = || tape.pools().ids.take(ids.len());
        let mut valid = room();
        for (valid, &id) in valid.iter_mut().zip(ids) {
            *valid = if (id as usize) < height {
                id
            } else {
                tape.fail(Error::Id { id, vocabulary: height });
                0
            };
        }
        let mut positions = room();
        positions.iter_mut().enumerate().for_each(|(i, position)| *position = i as u32);
        positions.sort_unstable_by_key(|&i| (valid[i as usize], i));

        // Of every position the first one of the same id, and then that one's slot.
        let (mut slots, mut first) = (room(), 0);
        for (at, &i) in positions.iter().enumerate() {
            if at == 0 || valid[i as usize] != valid[first as usize] {
                first = i;
            }
            slots[i as usize] = first;
        }
        let (mut distinct, mut ends, mut n) = (room(), room(), 0);
        for i in 0..ids.len() {
            if slots[i] as usize == i {
                (slots[i], distinct[n], ends[n]) = (n as u32, valid[i], 0);
                n += 1;
            } else {
                slots[i] = slots[slots[i] as usize];
            }
            ends[slots[i] as usize] += 1;
        }
        distinct.truncate(n);
        ends.truncate(n);

        // From how many there are to where they start, and on to where they end.
        let mut start = 0;
        for end in ends.iter_mut() {
            start += std::mem::replace(end, start);
        }
        for (i, &slot) in slots.iter().enumerate() {
            let end = &mut ends[slot as usize];
            positions[*end as usize] = i as u32;
            *end += 1;
        }
        Distinct { ids: distinct, slots, positions, ends }
    }

    /// How many ids there are, repetitions included.
    #[inline(always)]
    pub(crate) fn total(&self) -> usize {
        self.positions.len()
    }

    /// The row of distinct id `u` in a table.
    #[inline(always)]
    pub(crate) fn row<'a, T: Real>(&self, u: usize, table: &'a Tensor<T>) -> &'a [T] {
        let width = table.shape()[1];
        &table.data()[self.ids[u] as usize * width..][..width]
    }

    /// How often distinct id `u` occurs.
    #[inline(always)]
    pub(crate) fn count(&self, u: usize) -> usize {
        self.positions(u).len()
    }

    /// Room for `each` numbers of every distinct id, out of room for as many of every position: how
    /// many ids are distinct differs from step to step, and the pool is asked for the same at each.
    pub(crate) fn room<E: Element>(&self, pool: &Pool<E>, each: usize) -> Buffer<E> {
        let mut room = pool.take(self.total() * each);
        room.truncate(self.ids.len() * each);
        room
    }

    /// How often some distinct ids occur; 0 in the lanes of their panels that are left over.
    pub(crate) fn weights<T: Real>(&self, pool: &Pool<T>, ids: Range<usize>) -> Buffer<T> {
        let mut weights = pool.take(ids.len().next_multiple_of(T::LANES));
        weights.fill(T::ZERO);
        weights.iter_mut().zip(ids).for_each(|(weight, u)| *weight = T::from_usize(self.count(u)));
        weights
    }

    /// The positions of distinct id `u`.
    #[inline(always)]
    pub(crate) fn positions(&self, u: usize) -> &[u32] {
        let start = if u == 0 { 0 } else { self.ends[u - 1] as usize };
        &self.positions[start..self.ends[u] as usize]
    }

    /// sum <- the sum of the rows of `x` at the positions of distinct id `u`, in their order.
    #[inline(always)]
    pub(crate) fn sum<T: Real>(&self, u: usize, x: &Tensor<T>, sum: &mut [T]) {
        let width = sum.len();
        sum_rows(self.positions(u), |i| &x.data()[i as usize * width..][..width], sum);
    }

    /// For every distinct id the sum of its rows of `x`.
    pub(crate) fn sums<T: Real>(&self, pools: &Pools<T>, x: &Tensor<T>) -> Tensor<T> {
        let width = x.shape().as_matrix().1;
        let mut sums = self.room(&pools.values, width);
        parallel::for_each_chunk(&mut sums, CHUNK * width, |i, sums| {
            dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                for (row, sum) in sums.chunks_exact_mut(width.max(1)).enumerate() {
                    self.sum(i * CHUNK + row, x, sum);
                }
            }));
        });
        Tensor::from_buffer([self.ids.len(), width], sums)
    }
}

/// Rows of a piece of work.
const CHUNK: usize = 64;

/// sum <- the sum of the rows at some positions, in their order.
#[inline(always)]
pub(crate) fn sum_rows<'a, T: Real>(
    positions: &[u32],
    row: impl Fn(u32) -> &'a [T],
    sum: &mut [T],
) {
    sum.iter_mut().zip(row(positions[0])).for_each(|(sum, x)| *sum = *x);
    for &i in &positions[1..] {
        sum.iter_mut().zip(row(i)).for_each(|(sum, x)| *sum += *x);
    }
}
