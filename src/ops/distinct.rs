//! The distinct ids of a batch, and where each occurs.

use super::ids::{Ids, checked};
use crate::kernels::dispatch::dispatch;
use crate::parallel;
use crate::real::{Element, Real};
use crate::tape::{Pools, Tape};
use crate::tensor::{Buffer, Pool, Tensor};
use fearless_simd::Simd;
use std::ops::Range;
use std::sync::Arc;

/// The distinct ones among some ids, and where each occurs.
pub(crate) struct Distinct {
    /// The distinct ids, in the order in which they come up first: so what is kept per distinct id
    /// is read nearly sequentially when positions are visited in order. The padding id comes last.
    pub(crate) ids: Buffer<u32>,
    /// How many of them are not padding.
    live: usize,
    /// For every position, which distinct id it holds; shared, as codes are told by it.
    pub(crate) slots: Arc<Buffer<u32>>,
    /// All positions, those of the first distinct id first, each id's in order.
    positions: Buffer<u32>,
    /// Where in `positions` those of each distinct id end.
    ends: Buffer<u32>,
    /// The positions whose ids are outside the table. Elsewhere they count as id 0.
    outside: Vec<usize>,
}

impl Distinct {
    /// Finds equal ids by sorting them. Those outside `0..height` are reported to the tape, which
    /// then fails, and count as 0 until it does.
    pub(crate) fn new<T: Real>(tape: &Tape<T>, ids: Ids<'_>, height: usize) -> Distinct {
        let (pool, padding) = (&tape.pools().ids, ids.padding);
        let outside = |i: &usize| ids.ids[*i] as usize >= height;
        let outside = (0..ids.ids.len()).filter(outside).collect();
        let ids = checked(tape, ids.ids, height);
        let firsts = first_occurrences(pool, &ids);
        let (distinct, live, slots) = number(pool, &ids, &firsts, padding);
        let (positions, ends) = group(pool, &slots, distinct.len());
        Distinct { ids: distinct, live, slots: Arc::new(slots), positions, ends, outside }
    }

    /// The distinct ids that are not padding.
    #[inline(always)]
    pub(crate) fn live(&self) -> &[u32] {
        &self.ids[..self.live]
    }

    /// How many positions hold ids that are not padding.
    #[inline(always)]
    pub(crate) fn total(&self) -> usize {
        if self.live == 0 { 0 } else { self.ends[self.live - 1] as usize }
    }

    /// Makes the rows of ids outside the table NaN: nothing that could be taken for a result.
    pub(crate) fn spoil_outside<T: Real>(&self, rows: &mut Tensor<T>) {
        let width = rows.shape().as_matrix().1;
        for &i in &self.outside {
            rows.data_mut()[i * width..][..width].fill(T::NAN);
        }
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

    /// Room for `ids` times `each` elements. The buffer is as large as if all ids were distinct, so
    /// that every step asks the pool for the same size.
    pub(crate) fn room<E: Element>(&self, pool: &Pool<E>, ids: usize, each: usize) -> Buffer<E> {
        let mut room = pool.take(self.slots.len().max(ids) * each);
        room.truncate(ids * each);
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

    /// For every distinct id that is not padding the sum of its rows of `x`.
    pub(crate) fn sums<T: Real>(&self, pools: &Pools<T>, x: &Tensor<T>) -> Tensor<T> {
        let width = x.shape().as_matrix().1;
        let mut sums = self.room(&pools.values, self.live, width);
        parallel::for_each_chunk(&mut sums, CHUNK * width, |i, sums| {
            dispatch!(|simd| self.sums_from(simd, i * CHUNK, x, sums));
        });
        Tensor::from_buffer([self.live, width], sums)
    }

    /// The sums of the distinct ids from `first` on.
    #[inline(always)]
    fn sums_from<S: Simd, T: Real>(&self, _: S, first: usize, x: &Tensor<T>, sums: &mut [T]) {
        let width = x.shape().as_matrix().1.max(1);
        for (u, sum) in (first..).zip(sums.chunks_exact_mut(width)) {
            self.sum(u, x, sum);
        }
    }
}

/// Rows of a piece of work.
pub(super) const CHUNK: usize = 64;

/// For every position the first one that holds the same id.
fn first_occurrences(pool: &Pool<u32>, ids: &[u32]) -> Buffer<u32> {
    let [mut sorted, mut firsts] = [(); 2].map(|()| pool.take(ids.len()));
    sorted.iter_mut().zip(0..).for_each(|(position, i)| *position = i);
    sorted.sort_unstable_by_key(|&i| (ids[i as usize], i));
    let id = |position: &u32| ids[*position as usize];
    for equal in sorted.chunk_by(|a, b| id(a) == id(b)) {
        equal.iter().for_each(|&i| firsts[i as usize] = equal[0]);
    }
    firsts
}

/// Numbers the distinct ids in the order in which they come up first, the padding id last: the ids by
/// number, how many of them are not padding, and for every position its id's number.
fn number(
    pool: &Pool<u32>,
    ids: &[u32],
    firsts: &[u32],
    padding: Option<u32>,
) -> (Buffer<u32>, usize, Buffer<u32>) {
    let ([mut distinct, mut slots], mut live) = ([(); 2].map(|()| pool.take(ids.len())), 0);
    let mut padded = None;
    for (i, &first) in firsts.iter().enumerate() {
        if Some(ids[i]) == padding {
            padded = padding;
        } else if first as usize == i {
            (distinct[live], slots[i]) = (ids[i], live as u32);
            live += 1;
        } else {
            slots[i] = slots[first as usize];
        }
    }
    if let Some(padding) = padded {
        distinct[live] = padding;
        let of_padding = slots.iter_mut().zip(ids).filter(|(_, id)| **id == padding);
        of_padding.for_each(|(slot, _)| *slot = live as u32);
    }
    distinct.truncate(live + usize::from(padded.is_some()));
    (distinct, live, slots)
}

/// The positions of slot 0 in order, then those of slot 1, and so on; and where each slot's end.
fn group(pool: &Pool<u32>, slots: &[u32], n: usize) -> (Buffer<u32>, Buffer<u32>) {
    let [mut positions, mut ends] = [(); 2].map(|()| pool.take(slots.len()));
    ends.truncate(n);
    ends.fill(0);
    slots.iter().for_each(|&slot| ends[slot as usize] += 1);
    let mut start = 0;
    for end in ends.iter_mut() {
        start += std::mem::replace(end, start);
    }
    // Every slot's end starts at its start, and moves on with each of its positions.
    for (i, &slot) in (0..).zip(slots) {
        let end = &mut ends[slot as usize];
        positions[*end as usize] = i;
        *end += 1;
    }
    (positions, ends)
}

/// sum <- the sum of the rows at some positions, in their order.
#[inline(always)]
pub(crate) fn sum_rows<'a, T: Real>(
    positions: &[u32],
    row: impl Fn(u32) -> &'a [T],
    sum: &mut [T],
) {
    if positions.len() > MANY {
        return sum_many(positions, row, sum);
    }
    sum.iter_mut().zip(row(positions[0])).for_each(|(sum, x)| *sum = *x);
    for &i in &positions[1..] {
        sum.iter_mut().zip(row(i)).for_each(|(sum, x)| *sum += *x);
    }
}

/// More rows than this are added up in double precision.
const MANY: usize = 64;

/// Columns that are then added up at a time.
const STRIP: usize = 256;

#[inline(always)]
fn sum_many<'a, T: Real>(positions: &[u32], row: impl Fn(u32) -> &'a [T], sum: &mut [T]) {
    for (strip, sum) in sum.chunks_mut(STRIP).enumerate() {
        let mut sums = [0.0; STRIP];
        for &i in positions {
            let part = &row(i)[strip * STRIP..][..sum.len()];
            sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x.to_f64());
        }
        sum.iter_mut().zip(sums).for_each(|(sum, total)| *sum = T::from_f64(total));
    }
}
