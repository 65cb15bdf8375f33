//! Activation functions, element by element: tanh, the logistic function, relu, GELU.

use super::elementary::from_output;
use crate::kernels::exponential::Function;
use crate::kernels::normal;
use crate::real::Real;
use crate::tape::{Context, Op, Var};

impl<'t, T: Real> Var<'t, T> {
    /// y = tanh x
    #[track_caller]
    pub fn tanh(self) -> Var<'t, T> {
        self.function(Tanh, Function::Tanh)
    }
}

struct Tanh;
impl<T: Real> Op<T> for Tanh {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = (1 - y^2) dy
        from_output(ctx, |dy, y| dy * (T::ONE - y * y));
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y = 1 / (1 + e^-x)
    #[track_caller]
    pub fn sigmoid(self) -> Var<'t, T> {
        self.function(Sigmoid, Function::Sigmoid)
    }
}

struct Sigmoid;
impl<T: Real> Op<T> for Sigmoid {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = y (1 - y) dy
        from_output(ctx, |dy, y| dy * y * (T::ONE - y));
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y = max(x, 0), and NaN of NaN; the slope at 0 is taken to be 0
    #[track_caller]
    pub fn relu(self) -> Var<'t, T> {
        self.unary(Relu, |x| if x <= T::ZERO { T::ZERO } else { x })
    }
}

struct Relu;
impl<T: Real> Op<T> for Relu {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy where y > 0; elsewhere y is 0 or NaN, and so is dx
        from_output(ctx, |dy, y| if y > T::ZERO { dy } else { y });
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y = x Phi(x), the Gaussian error linear unit in its exact form: Phi(x) is the probability that
    /// a standard normal variable is less than x, (1 + erf(x / sqrt(2))) / 2
    #[track_caller]
    pub fn gelu(self) -> Var<'t, T> {
        let x = self.value();
        let mut y = self.tape().uninit(x.shape());
        normal::gelu(x.data(), y.data_mut());
        let [y] = self.tape().record(Gelu, &[self], [y]);
        y
    }
}

struct Gelu;
impl<T: Real> Op<T> for Gelu {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = (Phi(x) + x phi(x)) dy, with phi = Phi' = e^(-x^2 / 2) / sqrt(2 pi)
        let Some(dy) = ctx.output_grad(0) else { return };
        let mut dx = ctx.uninit(dy.shape());
        normal::gelu_backward(ctx.input(0).data(), dy.data(), dx.data_mut());
        ctx.add(0, dx);
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, away_from, tensors, tensors_in};

    let wide = tensors_in(2, -6.0..6.0);
    vec![
        Case::new("tanh", tensors(3), |x| gradcheck([x], |[x]| x.tanh())),
        Case::new("sigmoid", tensors(1), |x| gradcheck([x], |[x]| x.sigmoid())),
        Case::new("relu", away_from(tensors(2), [0.0], 0.01), |x| gradcheck([x], |[x]| x.relu())),
        Case::new("gelu", wide, |x| gradcheck([x], |[x]| x.gelu())),
    ]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor, Var};

    #[test]
    fn relu_and_its_slope() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from([-2.0_f32, -0.0, 0.0, 3.0]));
        let y = x.relu();
        assert_eq!(y.value().data(), [0.0, 0.0, 0.0, 3.0]);
        let grads = tape.backward((y * -1.0).sum()).unwrap();
        let bits = grads.dense(x).data().iter().map(|dx| dx.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits, [0.0_f32, 0.0, 0.0, -1.0].map(f32::to_bits));
    }

    #[test]
    fn a_nan_stays_a_nan_and_its_gradient_is_one() {
        let functions: [fn(Var<'_, f32>) -> Var<'_, f32>; 4] =
            [|x| x.tanh(), |x| x.sigmoid(), |x| x.relu(), |x| x.gelu()];
        for f in functions {
            let tape = Tape::new();
            let x = tape.leaf(Tensor::from([f32::NAN]));
            let y = f(x);
            let grads = tape.backward_from(&[(y, Tensor::from([1.0]))]).unwrap();
            assert!(y.value().item().is_nan() && grads.dense(x).item().is_nan());
        }
    }
}
