//! Stopped gradients, straight-through estimators, and the discrete choices that need them.
//!
//! A straight-through estimator shows one value, the hard one, and gives another, the soft one,
//! its gradient: y = soft + stop(hard - soft). The value here is the hard tensor's own bits, read
//! and not computed. Under the checker the stopped difference stays at its base point, so y moves
//! with soft, and that motion is what the gradient is the derivative of.

use crate::error::Error;
use crate::kernels::elementwise::{update, zip};
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::Tensor;

impl<'t, T: Real> Var<'t, T> {
    /// y = stop(x): x's value, without a gradient
    pub fn stop_gradient(self) -> Var<'t, T> {
        let tape = self.tape();
        tape.constant(tape.freeze("stop_gradient", &self.shape(), || self.value()))
    }

    /// y = hard, with the gradient of self: y = self + stop(hard - self)
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn straight_through(self, hard: Tensor<T>) -> Var<'t, T> {
        let (tape, soft) = (self.tape(), self.value());
        assert_eq!(soft.shape(), hard.shape(), "straight_through: shapes of soft and hard");
        let (mut y, base) = tape.freeze("straight_through", &soft.shape(), || (hard, soft.clone()));
        if tape.is_replaying() {
            let mut moved = soft.deep_copy();
            update(moved.data_mut(), base.data(), |soft, base| soft - base);
            let hard = y;
            y = tape.uninit(hard.shape());
            zip(hard.data(), moved.data(), y.data_mut(), |hard, moved| hard + moved);
        }
        let [y] = tape.record(StraightThrough, &[self], [y]);
        y
    }
}

struct StraightThrough;
impl<T: Real> Op<T> for StraightThrough {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dsoft = dy
        let Some(dy) = ctx.output_grad(0) else { return };
        ctx.add(0, dy.clone());
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// codes\[i\] = the j that maximises x\[i, j\], the lowest on ties; a choice, without a gradient.
    /// A NaN is an error that the tape reports.
    ///
    /// # Panics
    /// If the last axis is empty.
    #[track_caller]
    pub fn argmax(self) -> Vec<u32> {
        let (tape, x) = (self.tape(), self.value());
        let (rows, length) = x.shape().as_matrix();
        assert!(length > 0, "argmax of nothing: shape {:?}", x.shape());
        tape.freeze("argmax", &[rows], || {
            let mut codes = Vec::with_capacity(rows);
            for row in x.rows() {
                if row.iter().any(|x| x.to_f64().is_nan()) {
                    tape.fail(Error::NotFinite { what: "a score".into(), value: f64::NAN });
                }
                let better = |best: usize, j: usize| if row[j] > row[best] { j } else { best };
                codes.push((0..length).fold(0, better) as u32);
            }
            codes
        })
    }
}

/// y\[i, j\] = 1 where j = codes\[i\], else 0
///
/// # Panics
/// If a code is not below `length`.
#[track_caller]
pub fn one_hot<T: Real>(codes: &[u32], length: usize) -> Tensor<T> {
    let mut y = Tensor::zeros([codes.len(), length]);
    for (row, &code) in y.data_mut().chunks_exact_mut(length).zip(codes) {
        row[code as usize] = T::ONE;
    }
    y
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, some_length, tensor, tensors};
    use proptest::prelude::*;

    let scores = || {
        (some_length(), some_length())
            .prop_filter("a Jacobian of moderate size", |(n, k)| n * k <= 60)
            .prop_flat_map(|(n, k)| tensor([n, k]))
    };
    vec![
        Case::new("stop_gradient", tensors(2), |x| gradcheck([x], |[x]| x * x.stop_gradient())),
        Case::new("straight_through", tensors(2), |x| {
            gradcheck([x], |[x]| {
                let sign = Tensor::from_fn(x.shape(), |i| x.value().data()[i].signum());
                x.tanh().straight_through(sign) * x
            })
        }),
        Case::new("one-hot of the argmax, softmax's gradient", scores(), |x| {
            gradcheck([x], |[x]| {
                let hard = one_hot(&x.argmax(), x.shape()[1]);
                x.softmax().straight_through(hard) * x
            })
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Tape;

    #[test]
    fn the_value_is_the_hard_bits_and_the_gradient_the_soft_ones() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from([0.1_f32, 0.7]));
        let hard = Tensor::from([0.3_f32, 1.0 / 3.0]);
        let y = (x * 2.0).straight_through(hard.clone());
        assert_eq!(y.value(), hard);
        assert_eq!(tape.backward(y.sum()).unwrap().dense(x).data(), [2.0, 2.0]);
    }

    #[test]
    fn the_lowest_code_wins_a_tie_and_a_nan_fails() {
        let tape = Tape::new();
        assert_eq!(tape.leaf(Tensor::from([[1.0, 3.0, 3.0], [2.0, 2.0, 0.0]])).argmax(), [1, 0]);
        tape.leaf(Tensor::from([[1.0, f64::NAN]])).argmax();
        assert!(tape.check().unwrap_err().to_string().contains("a score is NaN"));
    }
}
