//! Other shapes of the same elements, parts of tensors, and tensors of parts.

use super::reduce::around;
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::{Shape, Tensor};
use std::ops::Range;

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
        let mut y = self.tape().uninit(x.shape().with(axis, range.len()));
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
        let mut dx = ctx.uninit(shape);
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
    let mut y = first.tape().uninit(shape.with(axis, lengths.iter().sum()));
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
            let mut dx = ctx.uninit(dy.shape().with(self.axis, self.lengths[i]));
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
    use crate::strategies::{Case, length, tensor, tensors};
    use proptest::prelude::*;

    vec![
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
    use crate::tape::Tape;

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
