//! Maxima and minima, over everything or over one axis.

use super::reduce::{around, without};
use crate::kernels::reduce::best_middle;
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::Buffer;

fn is_nan<T: Real>(x: T) -> bool {
    x.partial_cmp(&x).is_none()
}

impl<'t, T: Real> Var<'t, T> {
    /// y = max of all elements, a scalar; NaN if one is NaN. The gradient goes to the first element
    /// that is equal to it.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn max(self) -> Var<'t, T> {
        let elements = self.shape().elements();
        assert!(elements > 0, "max of nothing: shape {:?}", self.shape());
        self.reshape([elements]).max_axis(0)
    }

    /// y = min of all elements, a scalar, as [`max`](Var::max)
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn min(self) -> Var<'t, T> {
        let elements = self.shape().elements();
        assert!(elements > 0, "min of nothing: shape {:?}", self.shape());
        self.reshape([elements]).min_axis(0)
    }

    /// y = maxima over `axis`, which is gone; NaN where one element is NaN. The gradient goes to
    /// the first of the elements that are equal to the maximum.
    ///
    /// # Panics
    /// If there is no such axis, or it is empty.
    #[track_caller]
    pub fn max_axis(self, axis: usize) -> Var<'t, T> {
        self.extremum("max_axis", axis, |x, best| x > best)
    }

    /// y = minima over `axis`, which is gone, as [`max_axis`](Var::max_axis)
    ///
    /// # Panics
    /// If there is no such axis, or it is empty.
    #[track_caller]
    pub fn min_axis(self, axis: usize) -> Var<'t, T> {
        self.extremum("min_axis", axis, |x, best| x < best)
    }

    #[track_caller]
    fn extremum(
        self,
        name: &str,
        axis: usize,
        better: impl Fn(T, T) -> bool + Sync + Copy,
    ) -> Var<'t, T> {
        let (tape, x) = (self.tape(), self.value());
        let (_, length, after) = around(name, x.shape(), axis);
        assert!(length > 0, "{name}: axis {axis} of shape {:?} is empty", x.shape());
        let mut y = tape.uninit(without(x.shape(), axis));
        let mut places = tape.pools().ids.take(y.shape().elements());
        // A NaN is better than any number, and nothing is better than a NaN.
        let better = |x, best| better(x, best) || (is_nan(x) && !is_nan(best));
        best_middle(x.data(), length, after, (y.data_mut(), &mut places), better);
        let [y] = tape.record(Extremum { axis, places }, &[self], [y]);
        y
    }
}

struct Extremum {
    axis: usize,
    /// Where on the axis each maximum or minimum is.
    places: Buffer<u32>,
}
impl<T: Real> Op<T> for Extremum {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy at the place that was chosen, 0 elsewhere
        let Some(dy) = ctx.output_grad(0) else { return };
        let shape = ctx.input(0).shape();
        let (_, length, after) = around("extremum", shape, self.axis);
        let mut dx = ctx.uninit(shape);
        let elements = dx.data_mut();
        elements.fill(T::ZERO);
        for (i, (&dy, &place)) in dy.data().iter().zip(self.places.iter()).enumerate() {
            let (before, k) = (i / after, i % after);
            elements[(before * length + place as usize) * after + k] = dy;
        }
        ctx.add(0, dx);
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, distinct_tensors};
    use proptest::prelude::*;

    // Ties are kinks.
    let distinct = || distinct_tensors(3, 0.1);
    let along = || {
        (distinct(), 0..3_usize)
            .prop_filter("something to choose from", |(x, axis)| x.shape()[*axis] > 0)
    };
    let some = || distinct().prop_filter("something to choose from", |x| !x.data().is_empty());
    vec![
        Case::new("max_axis", along(), |(x, axis)| gradcheck([x], |[x]| x.max_axis(axis))),
        Case::new("min_axis", along(), |(x, axis)| gradcheck([x], |[x]| x.min_axis(axis))),
        Case::new("max less min", some(), |x| gradcheck([x], |[x]| x.max() - x.min())),
    ]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor};

    #[test]
    fn extremes_over_every_axis_and_over_all() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from([[[1.0, -2.0], [3.0, 4.0]], [[5.0, -6.0], [0.0, 8.0]]]));
        assert_eq!(x.max_axis(0).value(), Tensor::from([[5.0, -2.0], [3.0, 8.0]]));
        assert_eq!(x.min_axis(1).value(), Tensor::from([[1.0, -2.0], [0.0, -6.0]]));
        assert_eq!(x.max_axis(2).value(), Tensor::from([[1.0, 4.0], [5.0, 8.0]]));
        assert_eq!((x.max().value().item(), x.min().value().item()), (8.0, -6.0));
        assert_eq!(tape.leaf(Tensor::<f64>::zeros([0, 2])).max_axis(1).shape()[..], [0]);
    }

    #[test]
    fn the_first_of_equals_gets_the_gradient() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from([[2.0_f32, 7.0, 7.0], [2.0, 7.0, 1.0]]));
        let gradient = |y| tape.backward(y).unwrap().dense(x);
        assert_eq!(gradient(x.max_axis(1).sum()), Tensor::from([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]));
        assert_eq!(gradient(x.max_axis(0).sum()), Tensor::from([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]));
        assert_eq!(gradient(x.min()), Tensor::from([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]));
    }

    #[test]
    fn a_nan_is_the_extreme_wherever_it_is() {
        let tape = Tape::new();
        for place in 0..3 {
            let mut x = Tensor::from([[1.0_f32, 2.0, 3.0]]);
            x.data_mut()[place] = f32::NAN;
            let x = tape.leaf(x);
            for y in
                [x.max_axis(1), x.min_axis(1), x.max_axis(0).max(), x.transpose(0, 1).min_axis(0)]
            {
                assert!(y.value().data()[0].is_nan());
                let grads = tape.backward_from(&[(y, Tensor::full(y.shape(), 1.0))]).unwrap();
                assert_eq!(grads.dense(x).data()[place], 1.0);
            }
        }
    }

    #[test]
    #[should_panic(expected = "max_axis: axis 0 of shape [0, 2] is empty")]
    fn the_maxima_of_nothing_panic() {
        Tape::new().leaf(Tensor::<f64>::zeros([0, 2])).max_axis(0);
    }
}
