//! The linear layer.

use crate::init::Init;
use crate::params::{ParamId, Scope};
use crate::real::Real;
use crate::tape::{Bound, Var};
use crate::tensor::Tensor;

/// y = x W + b, x m x inputs (leading axes are kept), W inputs x outputs, b outputs.
///
/// PyTorch keeps the transpose of W.
///
/// ```
/// use dpq::nn::Linear;
/// use dpq::{Params, Tape, Tensor};
/// let mut params = Params::<f32>::new();
/// let linear = Linear::new(params.scope("out"), 3, 2);
/// let tape = Tape::new();
/// let p = tape.evaluate(&params);
/// let y = linear.forward(&p, tape.constant(Tensor::zeros([4, 3])));
/// assert_eq!(y.value(), Tensor::zeros([4, 2]));
/// ```
#[derive(Clone, Debug)]
pub struct Linear {
    weight: ParamId,
    bias: Option<ParamId>,
}

impl Linear {
    /// Adds `weight`, Glorot uniform unless the scope says otherwise, and `bias`, 0.
    ///
    /// # Panics
    /// If there are no inputs or outputs, or the scope has parameters of these names already.
    #[track_caller]
    pub fn new<T: Real>(mut scope: Scope<'_, T>, inputs: usize, outputs: usize) -> Self {
        let weight = weight(&mut scope, inputs, outputs);
        Linear { weight, bias: Some(scope.add("bias", Tensor::zeros([outputs]))) }
    }

    /// Adds `weight` alone: y = x W.
    ///
    /// # Panics
    /// If there are no inputs or outputs, or the scope has a `weight` already.
    #[track_caller]
    pub fn without_bias<T: Real>(mut scope: Scope<'_, T>, inputs: usize, outputs: usize) -> Self {
        Linear { weight: weight(&mut scope, inputs, outputs), bias: None }
    }

    /// W, inputs x outputs.
    pub fn weight(&self) -> ParamId {
        self.weight
    }

    /// b, if there is one.
    pub fn bias(&self) -> Option<ParamId> {
        self.bias
    }

    /// y = x W + b
    ///
    /// # Panics
    /// If x's last axis is not the number of inputs.
    #[track_caller]
    pub fn forward<'t, T: Real>(&self, p: &Bound<'t, T>, x: Var<'t, T>) -> Var<'t, T> {
        let y = x.matmul(p[self.weight]);
        match self.bias {
            Some(bias) => y + p[bias],
            None => y,
        }
    }
}

#[track_caller]
fn weight<T: Real>(scope: &mut Scope<'_, T>, inputs: usize, outputs: usize) -> ParamId {
    assert!(inputs > 0 && outputs > 0, "linear: {inputs} inputs and {outputs} outputs");
    scope.weight("weight", [inputs, outputs], Init::Glorot)
}
