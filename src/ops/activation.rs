//! exp, ln, tanh, the logistic function and relu, element by element.

use crate::kernels::elementwise::{map, zip};
use crate::kernels::exponential::{self, Function};
use crate::real::Real;
use crate::tape::{Context, Op, Var};

impl<'t, T: Real> Var<'t, T> {
    fn activation(self, op: impl Op<T>, function: Function) -> Var<'t, T> {
        let x = self.value();
        let mut y = self.tape().uninit(x.shape());
        exponential::apply(function, x.data(), y.data_mut());
        let [y] = self.tape().record(op, &[self], [y]);
        y
    }
}

/// dx\[i\] = f(dy\[i\], y\[i\]), the rule of functions whose slope is known from their value.
fn from_output<T: Real>(ctx: &mut Context<'_, T>, f: impl Fn(T, T) -> T + Sync + Copy) {
    let Some(dy) = ctx.output_grad(0) else { return };
    let mut dx = ctx.uninit(dy.shape());
    zip(dy.data(), ctx.output(0).data(), dx.data_mut(), f);
    ctx.add(0, dx);
}

impl<'t, T: Real> Var<'t, T> {
    /// y = e^x
    pub fn exp(self) -> Var<'t, T> {
        self.activation(Exp, Function::Exp)
    }
}

struct Exp;
impl<T: Real> Op<T> for Exp {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = y dy
        from_output(ctx, |dy, y| dy * y);
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y = ln x
    pub fn ln(self) -> Var<'t, T> {
        let x = self.value();
        let mut y = self.tape().uninit(x.shape());
        map(x.data(), y.data_mut(), |x| x.ln());
        let [y] = self.tape().record(Ln, &[self], [y]);
        y
    }
}

struct Ln;
impl<T: Real> Op<T> for Ln {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy / x
        let Some(dy) = ctx.output_grad(0) else { return };
        let mut dx = ctx.uninit(dy.shape());
        zip(dy.data(), ctx.input(0).data(), dx.data_mut(), |dy, x| dy / x);
        ctx.add(0, dx);
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y = tanh x
    pub fn tanh(self) -> Var<'t, T> {
        self.activation(Tanh, Function::Tanh)
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
    pub fn sigmoid(self) -> Var<'t, T> {
        self.activation(Sigmoid, Function::Sigmoid)
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
    /// y = max(x, 0); the slope at 0 is taken to be 0
    pub fn relu(self) -> Var<'t, T> {
        let x = self.value();
        let mut y = self.tape().uninit(x.shape());
        map(x.data(), y.data_mut(), |x| if x > T::ZERO { x } else { T::ZERO });
        let [y] = self.tape().record(Relu, &[self], [y]);
        y
    }
}

struct Relu;
impl<T: Real> Op<T> for Relu {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy where x > 0
        from_output(ctx, |dy, y| if y > T::ZERO { dy } else { T::ZERO });
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, elements, nonzero_tensors, shapes, tensors};
    use proptest::prelude::*;

    vec![
        Case::new("exp", tensors(2), |x| gradcheck([x], |[x]| x.exp())),
        Case::new("ln", shapes(2).prop_flat_map(|shape| elements(shape, 0.1..4.0)), |x| {
            gradcheck([x], |[x]| x.ln())
        }),
        Case::new("tanh", tensors(3), |x| gradcheck([x], |[x]| x.tanh())),
        Case::new("sigmoid", tensors(1), |x| gradcheck([x], |[x]| x.sigmoid())),
        Case::new("relu", nonzero_tensors(2), |x| gradcheck([x], |[x]| x.relu())),
    ]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor};

    #[test]
    fn a_nan_stays_a_nan() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from([f32::NAN]));
        for y in [x.exp(), x.ln(), x.tanh(), x.sigmoid()] {
            assert!(y.value().item().is_nan());
        }
    }
}
