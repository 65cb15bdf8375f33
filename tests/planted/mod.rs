//! Rules to try gradient checkers on: wrong ones with one mistake each, every one of which must be
//! found, and right ones where checkers like to err, none of which may be accused.

mod of_dpq;
mod of_ops;
mod of_slices;

use dpq::gradcheck::{Report, rule};
use dpq::{Tape, Tensor, Var, gradcheck};
use std::rc::Rc;

/// The outputs at some inputs.
type Forward = dyn Fn(&[Tensor<f64>]) -> Vec<f64>;

/// The gradients at some inputs, for a cotangent.
type Backward = dyn Fn(&[Tensor<f64>], &[f64]) -> Vec<Vec<f64>>;

/// A function with a rule for its gradients, as different checkers want to see it.
pub struct Planted {
    pub name: String,
    pub right: bool,
    pub inputs: Vec<Tensor<f64>>,
    check: Box<dyn Fn() -> Report>,
    forward: Box<Forward>,
    backward: Box<Backward>,
}

/// All of them.
pub fn rules() -> Vec<Planted> {
    [of_dpq::rules(), of_ops::rules(), of_slices::rules()].into_iter().flatten().collect()
}

impl Planted {
    /// A closure of variables on a tape, straight-through estimators among them.
    fn of_vars(
        name: impl Into<String>,
        right: bool,
        inputs: Vec<Tensor<f64>>,
        f: impl for<'t> Fn(&[Var<'t, f64>]) -> Var<'t, f64> + 'static,
    ) -> Planted {
        let (f, given) = (Rc::new(f), inputs.clone());
        let (forward, backward) = (f.clone(), f.clone());
        Planted {
            name: name.into(),
            right,
            inputs,
            check: Box::new(move || match &given[..] {
                [a] => gradcheck([a.clone()], |x| f(&x)),
                [a, b] => gradcheck([a.clone(), b.clone()], |x| f(&x)),
                [a, b, c] => gradcheck([a.clone(), b.clone(), c.clone()], |x| f(&x)),
                _ => {
                    let [a, b, c, d] = [0, 1, 2, 3].map(|i| given[i].clone());
                    gradcheck([a, b, c, d], |x| f(&x))
                }
            }),
            forward: Box::new(move |at| {
                let tape = Tape::new();
                let leaves: Vec<_> = at.iter().map(|x| tape.leaf(x.clone())).collect();
                forward(&leaves).value().data().to_vec()
            }),
            backward: Box::new(move |at, dy| {
                let tape = Tape::new();
                let leaves: Vec<_> = at.iter().map(|x| tape.leaf(x.clone())).collect();
                let y = backward(&leaves);
                let seed = Tensor::new(y.shape(), dy.to_vec()).expect("as long as the output");
                let grads = tape.backward_from(&[(y, seed)]).expect("a pass without a fault");
                leaves.iter().map(|&x| grads.dense(x).data().to_vec()).collect()
            }),
        }
    }

    /// A forward and a backward closure over slices.
    fn of_slices<const N: usize>(
        name: impl Into<String>,
        right: bool,
        inputs: [Tensor<f64>; N],
        forward: impl Fn([&[f64]; N]) -> Vec<f64> + 'static,
        backward: impl Fn([&[f64]; N], &[f64]) -> [Vec<f64>; N] + 'static,
    ) -> Planted {
        let (forward, backward) = (Rc::new(forward), Rc::new(backward));
        let (given, f, b) = (inputs.clone(), forward.clone(), backward.clone());
        let slices = |at: &[Tensor<f64>]| -> [Vec<f64>; N] {
            std::array::from_fn(|i| at[i].data().to_vec())
        };
        Planted {
            name: name.into(),
            right,
            inputs: inputs.to_vec(),
            check: Box::new(move || {
                rule(given.clone(), |x| [f(x)], |x, [dy]: [&[f64]; 1]| b(x, dy))
            }),
            forward: Box::new(move |at| forward(slices(at).each_ref().map(|x| &x[..]))),
            backward: Box::new(move |at, dy| {
                backward(slices(at).each_ref().map(|x| &x[..]), dy).to_vec()
            }),
        }
    }

    /// This crate's check.
    pub fn check(&self) -> Report {
        (self.check)()
    }

    /// The outputs at some inputs.
    pub fn forward(&self, at: &[Tensor<f64>]) -> Vec<f64> {
        (self.forward)(at)
    }

    /// What the rule says: the gradients of < dy, outputs >.
    pub fn backward(&self, at: &[Tensor<f64>], dy: &[f64]) -> Vec<Vec<f64>> {
        (self.backward)(at, dy)
    }
}

/// Numbers of no pattern.
fn wave(shape: &[usize]) -> Tensor<f64> {
    Tensor::from_fn(shape, |i| ((i as f64 + 1.0) * 1.7).sin())
}
