//! Sums and means, over everything or over one axis.

use crate::kernels::reduce::{sum, sum_middle};
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::{Shape, Tensor};

impl<'t, T: Real> Var<'t, T> {
    /// y = sum of all elements, a scalar; 0 of none
    #[track_caller]
    pub fn sum(self) -> Var<'t, T> {
        let y = Tensor::scalar(sum(self.value().data()));
        let [y] = self.tape().record(Sum, &[self], [y]);
        y
    }

    /// y = mean of all elements, a scalar
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn mean(self) -> Var<'t, T> {
        let n = self.shape().elements();
        assert!(n > 0, "mean of nothing: shape {:?}", self.shape());
        self.sum() / T::from_usize(n)
    }
}

struct Sum;
impl<T: Real> Op<T> for Sum {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy for every element
        let Some(dy) = ctx.output_grad(0) else { return };
        let mut dx = ctx.uninit(ctx.input(0).shape());
        dx.data_mut().fill(dy.item());
        ctx.add(0, dx);
    }
}

/// The shape seen as before x axis x after: the elements before it, its length, those after it.
#[track_caller]
pub(super) fn around(op: &str, shape: Shape, axis: usize) -> (usize, usize, usize) {
    assert!(axis < shape.len(), "{op}: shape {shape:?} has no axis {axis}");
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

/// The shape without one of its axes.
pub(super) fn without(shape: Shape, axis: usize) -> Shape {
    let rest: Vec<usize> =
        shape.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, &n)| n).collect();
    Shape::from(&rest[..])
}

impl<'t, T: Real> Var<'t, T> {
    /// y = sums over `axis`, which is gone; 0 over an empty one
    ///
    /// [`insert_axis`](Var::insert_axis) puts the axis back, with length 1, for what is to be
    /// broadcast along it; so with the means, maxima and minima.
    ///
    /// ```
    /// use dpq::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.leaf(Tensor::from([[1.0_f32, 3.0], [2.0, 6.0]]));
    /// assert_eq!(x.sum_axis(1).value(), Tensor::from([4.0, 8.0]));
    /// let share = x / x.sum_axis(1).insert_axis(1);
    /// assert_eq!(share.value(), Tensor::from([[0.25, 0.75], [0.25, 0.75]]));
    /// ```
    ///
    /// # Panics
    /// If there is no such axis.
    #[track_caller]
    pub fn sum_axis(self, axis: usize) -> Var<'t, T> {
        let x = self.value();
        let (_, length, after) = around("sum_axis", x.shape(), axis);
        let mut y = self.tape().uninit(without(x.shape(), axis));
        sum_middle(x.data(), length, after, y.data_mut());
        let [y] = self.tape().record(SumAxis { axis }, &[self], [y]);
        y
    }

    /// y = means over `axis`, which is gone
    ///
    /// # Panics
    /// If there is no such axis, or it is empty.
    #[track_caller]
    pub fn mean_axis(self, axis: usize) -> Var<'t, T> {
        let (_, length, _) = around("mean_axis", self.shape(), axis);
        assert!(length > 0, "mean_axis: axis {axis} of shape {:?} is empty", self.shape());
        self.sum_axis(axis) / T::from_usize(length)
    }
}

struct SumAxis {
    axis: usize,
}
impl<T: Real> Op<T> for SumAxis {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy, repeated along the axis
        let Some(dy) = ctx.output_grad(0) else { return };
        let shape = ctx.input(0).shape();
        let (_, length, after) = around("sum_axis", shape, self.axis);
        let mut dx = ctx.uninit(shape);
        let size = (length * after).max(1);
        for (dx, dy) in
            dx.data_mut().chunks_exact_mut(size).zip(dy.data().chunks_exact(after.max(1)))
        {
            match dy {
                [dy] => dx.fill(*dy),
                dy => dx.chunks_exact_mut(after).for_each(|dx| dx.copy_from_slice(dy)),
            }
        }
        ctx.add(0, dx);
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, tensors};
    use proptest::prelude::*;

    vec![
        Case::new("sum", tensors(2), |x| gradcheck([x], |[x]| x.sum())),
        Case::new("mean", tensors(2).prop_filter("not empty", |x| !x.data().is_empty()), |x| {
            gradcheck([x], |[x]| x.mean())
        }),
        Case::new("sum_axis", (tensors(3), 0..3_usize), |(x, axis)| {
            gradcheck([x], |[x]| x.sum_axis(axis))
        }),
        Case::new("mean_axis", (tensors(2), 0..2_usize), |(x, axis)| {
            gradcheck(
                [x],
                |[x]| if x.shape()[axis] > 0 { x.mean_axis(axis) } else { x.sum_axis(axis) },
            )
        }),
    ]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor};

    #[test]
    fn sums_and_means_over_an_axis() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]));
        assert_eq!(x.sum_axis(0).value(), Tensor::from([[6.0, 8.0], [10.0, 12.0]]));
        assert_eq!(x.sum_axis(1).value(), Tensor::from([[4.0, 6.0], [12.0, 14.0]]));
        assert_eq!(x.mean_axis(2).value(), Tensor::from([[1.5, 3.5], [5.5, 7.5]]));
        assert_eq!(
            tape.leaf(Tensor::<f64>::zeros([0, 2])).sum_axis(0).value(),
            Tensor::from([0.0, 0.0])
        );
    }

    #[test]
    fn sums_and_means_of_many_numbers_keep_their_digits() {
        let tape = Tape::new();
        let y = tape.constant(Tensor::full([1_000_000, 2], 0.1_f32));
        assert_eq!(y.mean_axis(0).value().data(), [0.1, 0.1]);
        assert_eq!(y.mean().value().item(), 0.1);
        let x = tape.constant(Tensor::full([20_000_000, 1], 1.0_f32));
        assert_eq!(x.sum_axis(0).value().data(), [2e7]);
        let bias = tape.leaf(Tensor::from([0.0]));
        assert_eq!(tape.backward((x + bias).sum()).unwrap().dense(bias).data(), [2e7]);
    }

    #[test]
    #[should_panic(expected = "mean of nothing: shape [0, 2]")]
    fn the_mean_of_nothing_panics() {
        Tape::new().leaf(Tensor::<f64>::zeros([0, 2])).mean();
    }
}
