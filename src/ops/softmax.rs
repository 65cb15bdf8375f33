//! Softmax and its logarithm over the last axis.

use super::broadcast::{common_shape, zip_broadcast};
use crate::kernels::elementwise::{map, scale, update, zip};
use crate::kernels::exponential::{Function, apply};
use crate::kernels::reduce::{dot, sum};
use crate::kernels::softmax::exp_shifted;
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::Tensor;

impl<'t, T: Real> Var<'t, T> {
    /// y\[i, j\] = e^x\[i, j\] / sum over j of e^x\[i, j\]
    #[track_caller]
    pub fn softmax(self) -> Var<'t, T> {
        let x = self.value();
        let mut y = self.tape().uninit(x.shape());
        y.data_mut().copy_from_slice(x.data());
        for row in y.data_mut().chunks_exact_mut(x.shape().as_matrix().1.max(1)) {
            let (_, total) = exp_shifted(row, None);
            scale(row, T::ONE / total);
        }
        let [y] = self.tape().record(Softmax, &[self], [y]);
        y
    }
}

struct Softmax;
impl<T: Real> Op<T> for Softmax {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = y (dy - sum_j y dy)
        let Some(dy) = ctx.output_grad(0) else { return };
        let y = ctx.output(0);
        let mut dx = ctx.uninit(y.shape());
        let width = y.shape().as_matrix().1.max(1);
        for ((dx, y), dy) in dx.data_mut().chunks_exact_mut(width).zip(y.rows()).zip(dy.rows()) {
            let inner = T::from_f64(dot(y, dy));
            zip(y, dy, dx, |y, dy| y * (dy - inner));
        }
        ctx.add(0, dx);
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y\[i, j\] = mask\[i, j\] e^x\[i, j\] / sum over j of mask\[i, j\] e^x\[i, j\], for a mask of
    /// ones and zeros that broadcasts to x's shape
    ///
    /// Where the mask is 0, y is exactly 0, whatever x is there, and so is the gradient. A row whose
    /// mask is all 0 is all 0.
    ///
    /// ```
    /// use dpq::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let scores = tape.leaf(Tensor::from([[1.0_f32, 1.0, 9.0], [1.0, 1.0, 1.0]]));
    /// // The third key is padding.
    /// let y = scores.masked_softmax(&Tensor::from([1.0, 1.0, 0.0]));
    /// assert_eq!(y.value(), Tensor::from([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]));
    /// ```
    ///
    /// # Panics
    /// If the mask does not broadcast to x's shape, or has an element that is neither 0 nor 1.
    #[track_caller]
    pub fn masked_softmax(self, mask: &Tensor<T>) -> Var<'t, T> {
        let (tape, x) = (self.tape(), self.value());
        assert!(
            common_shape(x.shape(), mask.shape()) == Some(x.shape()),
            "masked_softmax: a mask of shape {:?} does not broadcast to {:?}",
            mask.shape(),
            x.shape()
        );
        if let Some(wrong) = mask.data().iter().find(|&&m| m != T::ZERO && m != T::ONE) {
            panic!("masked_softmax: the mask holds {wrong:?}, which is neither 0 nor 1");
        }
        let lowest = -T::ONE / T::ZERO;
        let (mut y, mut masks) = (tape.uninit(x.shape()), tape.uninit(x.shape()));
        zip_broadcast(&x, mask, &mut y, |x, m| if m == T::ZERO { lowest } else { x });
        zip_broadcast(&x, mask, &mut masks, |_, m| m);
        let width = x.shape().as_matrix().1.max(1);
        for (y, mask) in y.data_mut().chunks_exact_mut(width).zip(masks.rows()) {
            let (_, total) = exp_shifted(y, None);
            let factor = T::ONE / total;
            // Chosen and not multiplied: without any element that counts, the factor is NaN.
            update(y, mask, |y, m| if m == T::ZERO { m } else { y * factor });
        }
        // The rule is softmax's, for which an element of probability 0 has the gradient 0.
        let [y] = tape.record(Softmax, &[self], [y]);
        y
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y\[i, j\] = x\[i, j\] - ln sum over j of e^x\[i, j\]
    #[track_caller]
    pub fn log_softmax(self) -> Var<'t, T> {
        let x = self.value();
        let width = x.shape().as_matrix().1.max(1);
        let mut y = self.tape().uninit(x.shape());
        y.data_mut().copy_from_slice(x.data());
        for (y, x) in y.data_mut().chunks_exact_mut(width).zip(x.rows()) {
            let (max, total) = exp_shifted(y, None);
            let log_total = total.ln();
            map(x, y, |x| (x - max) - log_total);
        }
        let [y] = self.tape().record(LogSoftmax, &[self], [y]);
        y
    }
}

struct LogSoftmax;
impl<T: Real> Op<T> for LogSoftmax {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy - e^y sum_j dy
        let Some(dy) = ctx.output_grad(0) else { return };
        let y = ctx.output(0);
        let mut dx = ctx.uninit(y.shape());
        apply(Function::Exp, y.data(), dx.data_mut());
        for (dx, dy) in
            dx.data_mut().chunks_exact_mut(y.shape().as_matrix().1.max(1)).zip(dy.rows())
        {
            let total = sum(dy);
            update(dx, dy, |p, dy| dy - p * total);
        }
        ctx.add(0, dx);
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, tensors};
    use crate::tensor::Shape;
    use proptest::prelude::*;

    // A mask of x's shape, or of its last axis, or of its leading axes.
    let masked = tensors(3).prop_flat_map(|x| {
        let [a, b, c] = x.shape()[..] else { unreachable!("three axes") };
        let shapes = [Shape::from([a, b, c]), [c].into(), [a, 1, c].into(), [a, b, 1].into()];
        let mask = prop::sample::select(shapes.to_vec()).prop_flat_map(|shape| {
            prop::collection::vec(0..4_u8, shape.elements()).prop_map(move |draws| {
                Tensor::from_fn(shape, |i| if draws[i] == 0 { 0.0 } else { 1.0 })
            })
        });
        (Just(x), mask)
    });
    vec![
        Case::new("softmax", tensors(2), |x| gradcheck([x], |[x]| x.softmax())),
        Case::new("masked_softmax", masked, |(x, mask)| {
            gradcheck([x], |[x]| x.masked_softmax(&mask))
        }),
        Case::new("log_softmax", tensors(2), |x| gradcheck([x], |[x]| x.log_softmax())),
    ]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor};

    #[test]
    fn softmax_of_large_scores_and_of_an_empty_axis() {
        let tape = Tape::new();
        let y = tape.leaf(Tensor::from([[1000.0_f32, 1000.0, 0.0]])).softmax();
        assert_eq!(y.value().data(), [0.5, 0.5, 0.0]);
        assert_eq!(
            tape.leaf(Tensor::<f32>::zeros([2, 0])).softmax().value(),
            Tensor::zeros([2, 0])
        );
    }

    #[test]
    fn what_is_masked_has_no_probability_no_gradient_and_no_influence() {
        let tape = Tape::new();
        for hidden in [5.0, 1e30, f32::INFINITY, f32::NAN] {
            let x = tape.leaf(Tensor::from([[1.0, hidden, 2.0, 3.0], [hidden; 4]]));
            let mask = Tensor::from([[1.0, 0.0, 1.0, 1.0], [0.0; 4]]);
            let y = x.masked_softmax(&mask);
            let short = tape.leaf(Tensor::from([1.0, 2.0, 3.0])).softmax().value();
            let [a, b, c] = short.data()[..] else { unreachable!() };
            assert_eq!(y.value(), Tensor::from([[a, 0.0, b, c], [0.0; 4]]));
            let seed = Tensor::from([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]]);
            let dx = tape.backward_from(&[(y, seed)]).unwrap().dense(x);
            assert_eq!((dx.data()[1], &dx.data()[4..]), (0.0, &[0.0; 4][..]));
            assert!(dx.data()[0] != 0.0);
        }
    }

    #[test]
    fn nothing_masked_is_softmax_and_a_nan_that_counts_stays() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from_fn([3, 40], |i| (i as f32).sin()));
        assert_eq!(x.masked_softmax(&Tensor::from([1.0])).value(), x.softmax().value());
        let y = tape.leaf(Tensor::from([f32::NAN, 1.0])).masked_softmax(&Tensor::from([1.0, 0.0]));
        assert!(y.value().data()[0].is_nan() && y.value().data()[1] == 0.0);
    }

    #[test]
    #[should_panic(expected = "masked_softmax: a mask of shape [2, 1] does not broadcast to [3]")]
    fn a_mask_of_more_axes_panics_with_both_shapes() {
        Tape::new().leaf(Tensor::<f32>::zeros([3])).masked_softmax(&Tensor::zeros([2, 1]));
    }

    #[test]
    #[should_panic(expected = "masked_softmax: the mask holds -inf, which is neither 0 nor 1")]
    fn a_mask_to_add_is_refused() {
        let mask = Tensor::from([0.0, f32::NEG_INFINITY]);
        Tape::new().leaf(Tensor::<f32>::zeros([2])).masked_softmax(&mask);
    }
}
