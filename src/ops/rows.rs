//! Parts of tensors: rows by id, slices, concatenation, and other shapes of the same elements.

use super::reduce::around;
use crate::error::Error;
use crate::kernels::level;
use crate::parallel;
use crate::real::{Element, Real};
use crate::tape::{Context, Op, Pools, Tape, Var};
use crate::tensor::{Buffer, Pool, Shape, Tensor};
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
        let width = x.shape().rows().1;
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

impl<'t, T: Real> Var<'t, T> {
    /// y\[i\] = x\[ids\[i\]\], rows of a matrix. An id outside it is a fault that the tape reports.
    ///
    /// # Panics
    /// If x is no matrix.
    #[track_caller]
    pub fn rows(self, ids: &[u32]) -> Var<'t, T> {
        let x = self.value();
        let [height, width] = x.shape()[..] else {
            panic!("rows of shape {:?}: not a matrix", x.shape())
        };
        let distinct = Distinct::new(self.tape(), ids, height);
        let mut y = self.tape().buffer([ids.len(), width]);
        let rows = y.data_mut();
        for u in 0..distinct.ids.len() {
            let row = &x.data()[distinct.ids[u] as usize * width..][..width];
            for &i in distinct.positions(u) {
                rows[i as usize * width..][..width].copy_from_slice(row);
            }
        }
        let [y] = self.tape().record(GatherRows { distinct }, &[self], [y]);
        y
    }
}

struct GatherRows {
    distinct: Distinct,
}
impl<T: Real> Op<T> for GatherRows {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx[id] = sum of dy[i] over ids[i] = id; all other rows 0
        let Some(dy) = ctx.output_grad(0) else { return };
        let rows = self.distinct.sums(ctx.pools(), dy);
        ctx.add_rows(0, self.distinct.ids.clone(), rows);
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y = x, in another shape
    ///
    /// # Panics
    /// If the shapes hold different numbers of elements.
    #[track_caller]
    pub fn reshape(self, shape: impl Into<Shape>) -> Var<'t, T> {
        let [y] = self.tape().record(Reshape, &[self], [self.value().reshape(shape)]);
        y
    }
}

struct Reshape;
impl<T: Real> Op<T> for Reshape {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy, in x's shape
        let Some(dy) = ctx.output_grad(0) else { return };
        ctx.add(0, dy.clone().reshape(ctx.input(0).shape()));
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y = the part of x with `range` on `axis`
    ///
    /// # Panics
    /// If there is no such axis or range.
    #[track_caller]
    pub fn slice(self, axis: usize, range: Range<usize>) -> Var<'t, T> {
        let x = self.value();
        let (_, length, after) = around("slice", x.shape(), axis);
        assert!(
            range.start <= range.end && range.end <= length,
            "slice {range:?} of axis {axis} of {:?}",
            x.shape()
        );
        let mut y = self.tape().buffer(x.shape().with(axis, range.len()));
        let (from, to) = (length * after, range.len() * after);
        for (y, x) in
            y.data_mut().chunks_exact_mut(to.max(1)).zip(x.data().chunks_exact(from.max(1)))
        {
            y.copy_from_slice(&x[range.start * after..range.end * after]);
        }
        let [y] = self.tape().record(Slice { axis, range }, &[self], [y]);
        y
    }
}

struct Slice {
    axis: usize,
    range: Range<usize>,
}
impl<T: Real> Op<T> for Slice {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy within the range, 0 elsewhere
        let Some(dy) = ctx.output_grad(0) else { return };
        let shape = ctx.input(0).shape();
        let (_, length, after) = around("slice", shape, self.axis);
        let mut dx = ctx.buffer(shape);
        dx.data_mut().fill(T::ZERO);
        let (from, to) = (length * after, self.range.len() * after);
        for (dx, dy) in
            dx.data_mut().chunks_exact_mut(from.max(1)).zip(dy.data().chunks_exact(to.max(1)))
        {
            dx[self.range.start * after..self.range.end * after].copy_from_slice(dy);
        }
        ctx.add(0, dx);
    }
}

/// y = the parts one after the other on `axis`
///
/// # Panics
/// If there are none, or they differ on another axis.
#[track_caller]
pub fn concat<'t, T: Real>(parts: &[Var<'t, T>], axis: usize) -> Var<'t, T> {
    let first = parts.first().expect("concat of at least one part");
    let values: Vec<Tensor<T>> = parts.iter().map(Var::value).collect();
    let shape = first.shape();
    around("concat", shape, axis);
    let lengths: Vec<usize> = values
        .iter()
        .map(|x| {
            assert!(
                x.shape().len() == shape.len() && x.shape().with(axis, 0) == shape.with(axis, 0),
                "concat on axis {axis}: shapes {shape:?} and {:?}",
                x.shape()
            );
            x.shape()[axis]
        })
        .collect();
    let mut y = first.tape().buffer(shape.with(axis, lengths.iter().sum()));
    for (x, (part, whole)) in values.iter().zip(places(y.shape(), axis, &lengths)) {
        for (y, x) in y
            .data_mut()
            .chunks_exact_mut(whole.max(1))
            .zip(x.data().chunks_exact(part.len().max(1)))
        {
            y[part.clone()].copy_from_slice(x);
        }
    }
    let [y] = first.tape().record(Concat { axis, lengths }, parts, [y]);
    y
}

/// For every part: its range within a chunk of the whole, and the chunk's length.
fn places(
    shape: Shape,
    axis: usize,
    lengths: &[usize],
) -> impl Iterator<Item = (Range<usize>, usize)> {
    let (_, length, after) = around("concat", shape, axis);
    let starts = lengths.iter().scan(0, move |at, &n| {
        let start = *at;
        *at += n * after;
        Some((start..*at, length * after))
    });
    starts.collect::<Vec<_>>().into_iter()
}

struct Concat {
    axis: usize,
    lengths: Vec<usize>,
}
impl<T: Real> Op<T> for Concat {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // every part's gradient is its part of dy
        let Some(dy) = ctx.output_grad(0) else { return };
        for (i, (part, whole)) in places(dy.shape(), self.axis, &self.lengths).enumerate() {
            let mut dx = ctx.buffer(dy.shape().with(self.axis, self.lengths[i]));
            let chunks = dy.data().chunks_exact(whole.max(1));
            for (dx, dy) in dx.data_mut().chunks_exact_mut(part.len().max(1)).zip(chunks) {
                dx.copy_from_slice(&dy[part.clone()]);
            }
            ctx.add(i, dx);
        }
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, ids, length, some_length, tensor, tensors};
    use proptest::prelude::*;

    let tables = || {
        (some_length(), length(), length())
            .prop_filter("a Jacobian of moderate size", |(v, d, n)| v * d <= 120 && n * d <= 120)
            .prop_flat_map(|(v, d, n)| (tensor([v, d]), ids(n, v)))
    };
    vec![
        Case::new("rows", tables(), |(x, ids)| gradcheck([x], |[x]| x.rows(&ids))),
        Case::new("rows of a table used twice", tables(), |(x, ids)| {
            // The sums of two row-sparse gradients, and of a row-sparse and a dense one.
            gradcheck([x], |[x]| {
                (x.rows(&ids) * x.rows(&ids[..ids.len() / 2]).sum()) * (x * x).sum()
            })
        }),
        Case::new("reshape", tensors(2), |x| {
            gradcheck([x], |[x]| {
                let y = x.reshape([x.shape().elements()]);
                y * y
            })
        }),
        Case::new(
            "slice",
            (tensors(3), 0..3_usize, 0.0..1.0_f64, 0.0..1.0_f64),
            |(x, axis, a, b)| {
                let at = |fraction: f64| (x.shape()[axis] as f64 * fraction).round() as usize;
                let range = at(a.min(b))..at(a.max(b));
                gradcheck([x], |[x]| x.slice(axis, range.clone()))
            },
        ),
        Case::new(
            "concat",
            (length(), length(), length(), 0..2_usize)
                .prop_filter("a Jacobian of moderate size", |(a, b, c, _)| (a + b) * c <= 60)
                .prop_flat_map(|(a, b, c, axis)| {
                    let shape = move |n| if axis == 0 { [n, c] } else { [c, n] };
                    (tensor(shape(a)), tensor(shape(b)), Just(axis))
                }),
            |(a, b, axis)| gradcheck([a, b], |[a, b]| concat(&[a, b, a], axis)),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Gradient;

    #[test]
    fn looked_up_rows_get_a_row_sparse_gradient() {
        let tape = Tape::new();
        let table = tape.leaf(Tensor::from([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]));
        let y = table.rows(&[2, 0, 2]);
        assert_eq!(y.value(), Tensor::from([[5.0, 6.0], [1.0, 2.0], [5.0, 6.0]]));
        let grads = tape.backward(y.sum()).unwrap();
        let Some(Gradient::Rows(rows)) = grads.get(table) else { panic!("dense") };
        assert_eq!(&rows.ids[..], &[2, 0]);
        assert_eq!(rows.rows, Tensor::from([[2.0, 2.0], [1.0, 1.0]]));
    }

    #[test]
    fn an_id_outside_the_table_fails_the_pass() {
        let tape = Tape::new();
        let loss = tape.leaf(Tensor::<f32>::zeros([3, 2])).rows(&[1, 7]).sum();
        assert_eq!(
            tape.backward(loss).unwrap_err().to_string(),
            "id 7 is outside the vocabulary: expected 0..3"
        );
    }

    #[test]
    fn slices_and_concatenation_undo_each_other() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from_fn([2, 5, 3], |i| i as f64));
        for axis in 0..3 {
            let n = x.shape()[axis];
            assert_eq!(
                concat(&[x.slice(axis, 0..1), x.slice(axis, 1..n)], axis).value(),
                x.value()
            );
        }
    }
}
