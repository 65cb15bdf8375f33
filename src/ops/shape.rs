//! Other shapes of the same elements, parts of tensors, and tensors made of parts.

use super::reduce::around;
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::Shape;
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

    /// y = x with one more axis, of length 1, in place `axis`: for broadcasting along it
    ///
    /// ```
    /// use dpq::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let mask = tape.constant(Tensor::<f32>::zeros([2, 5]));
    /// let states = tape.leaf(Tensor::zeros([2, 5, 3]));
    /// assert_eq!(mask.insert_axis(2).shape()[..], [2, 5, 1]);
    /// assert_eq!((states * mask.insert_axis(2)).shape()[..], [2, 5, 3]);
    /// ```
    ///
    /// # Panics
    /// If x has four axes already, or fewer than `axis`.
    #[track_caller]
    pub fn insert_axis(self, axis: usize) -> Var<'t, T> {
        self.reshape(with_axis("insert_axis", self.shape(), axis))
    }
}

/// The shape with one more axis, of length 1, in place `axis`.
#[track_caller]
fn with_axis(op: &str, shape: Shape, axis: usize) -> Shape {
    assert!(axis <= shape.len(), "{op}: no place {axis} for an axis in shape {shape:?}");
    assert!(shape.len() < 4, "{op}: shape {shape:?} has four axes already");
    let mut lengths = shape.to_vec();
    lengths.insert(axis, 1);
    Shape::from(&lengths[..])
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
/// If there are none, there is no such axis, or they differ on another one.
#[track_caller]
pub fn concat<'t, T: Real>(parts: &[Var<'t, T>], axis: usize) -> Var<'t, T> {
    assert!(!parts.is_empty(), "concat of no parts");
    let (tape, shape) = (parts[0].tape(), parts[0].shape());
    around("concat", shape, axis);
    for part in parts {
        let other = part.shape();
        assert!(
            other.len() == shape.len() && other.with(axis, 0) == shape.with(axis, 0),
            "concat on axis {axis}: shapes {shape:?} and {other:?}"
        );
    }
    let lengths: Vec<usize> = parts.iter().map(|part| part.shape()[axis]).collect();
    let mut y = tape.uninit(shape.with(axis, lengths.iter().sum()));
    for (x, (part, whole)) in parts.iter().zip(places(y.shape(), axis, &lengths)) {
        let x = x.value();
        for (y, x) in y
            .data_mut()
            .chunks_exact_mut(whole.max(1))
            .zip(x.data().chunks_exact(part.len().max(1)))
        {
            y[part.clone()].copy_from_slice(x);
        }
    }
    let [y] = tape.record(Concat { axis, lengths }, parts, [y]);
    y
}

/// y = the parts, all of one shape, along a new axis in place `axis`: the i-th is where it is i
///
/// # Panics
/// If there are none, they differ in shape, or the result would have more than four axes.
#[track_caller]
pub fn stack<'t, T: Real>(parts: &[Var<'t, T>], axis: usize) -> Var<'t, T> {
    assert!(!parts.is_empty(), "stack of no parts");
    let shape = parts[0].shape();
    let one = with_axis("stack", shape, axis);
    let mut slices = Vec::with_capacity(parts.len());
    for part in parts {
        assert!(part.shape() == shape, "stack: shapes {shape:?} and {:?}", part.shape());
        slices.push(part.reshape(one));
    }
    concat(&slices, axis)
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
    use crate::strategies::{Case, length, shapes, tensor, tensors};
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
        Case::new("insert_axis", (tensors(2), 0..3_usize), |(x, axis)| {
            gradcheck([x], |[x]| {
                let y = x.insert_axis(axis);
                y * y
            })
        }),
        Case::new(
            "stack",
            (shapes(2), 0..3_usize)
                .prop_filter("a Jacobian of moderate size", |(shape, _)| shape.elements() <= 60)
                .prop_flat_map(|(shape, axis)| (tensor(shape), tensor(shape), Just(axis))),
            |(a, b, axis)| gradcheck([a, b], |[a, b]| stack(&[a, b, a * b], axis)),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Tape;
    use crate::tensor::Tensor;

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

    #[test]
    fn a_stack_holds_its_parts_along_the_new_axis() {
        let tape = Tape::new();
        let [a, b] = [[1.0_f32, 2.0], [3.0, 4.0]].map(|x| tape.leaf(Tensor::from(x)));
        assert_eq!(stack(&[a, b], 0).value(), Tensor::from([[1.0, 2.0], [3.0, 4.0]]));
        assert_eq!(stack(&[a, b], 1).value(), Tensor::from([[1.0, 3.0], [2.0, 4.0]]));
        let grads = tape.backward((stack(&[a, b, a], 1) * a.insert_axis(1)).sum()).unwrap();
        assert_eq!(grads.dense(b).data(), [1.0, 2.0]);
    }
}
