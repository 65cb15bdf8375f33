//! Checks of closures from variables to a variable.

use super::function::{Cotangents, Fault, Function, Input, PulledBack, Rule, unravel};
use super::report::Report;
use super::settings::Gradcheck;
use crate::error::Result;
use crate::params::Params;
use crate::tape::{Bound, Tape, Var};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;

/// Checks the gradients of a closure from `N` leaves to one variable, at `base`, to 1e-7.
///
/// Write the closure in the call itself, or pass a `fn`.
///
/// ```
/// use dpq::{Tensor, gradcheck};
/// let x = Tensor::from([[1.0, -2.0], [0.5, 3.0]]);
/// let w = Tensor::from([[0.3], [-0.7]]);
/// gradcheck([x, w], |[x, w]| x.matmul(w).tanh()).assert_ok();
/// ```
///
/// # Panics
/// If the closure freezes other values when evaluated again.
#[track_caller]
pub fn gradcheck<const N: usize>(
    base: [Tensor<f64>; N],
    f: impl for<'t> Fn([Var<'t, f64>; N]) -> Var<'t, f64>,
) -> Report {
    Gradcheck::default().run(base, f)
}

/// Checks the gradients of a closure from bound parameters to one variable, to 1e-7.
///
/// The closure sees a pass that trains, but nothing it asks for has effects: statistics stay.
///
/// # Panics
/// If the closure freezes other values when evaluated again.
#[track_caller]
pub fn gradcheck_params(
    params: &Params<f64>,
    f: impl for<'t> Fn(&Bound<'t, f64>) -> Var<'t, f64>,
) -> Report {
    Gradcheck::default().run_params(params, f)
}

impl Gradcheck {
    /// As [`gradcheck`].
    ///
    /// # Panics
    /// As [`gradcheck`], and if the tolerance, the step or the rounding is no positive number, or the
    /// tolerance is 0.5 or more.
    #[track_caller]
    pub fn run<const N: usize>(
        &self,
        base: [Tensor<f64>; N],
        f: impl for<'t> Fn([Var<'t, f64>; N]) -> Var<'t, f64>,
    ) -> Report {
        self.check("run", &mut Recorded::new(leaf_inputs(base), &leaves(&f)))
    }

    /// As [`gradcheck_params`].
    ///
    /// # Panics
    /// As [`gradcheck_params`], and as [`run`](Gradcheck::run).
    #[track_caller]
    pub fn run_params(
        &self,
        params: &Params<f64>,
        f: impl for<'t> Fn(&Bound<'t, f64>) -> Var<'t, f64>,
    ) -> Report {
        let run = bound(params, &f);
        self.check("run_params", &mut Recorded::new(param_inputs(params), &run))
    }
}

/// The variables of all inputs, and what the closure makes of them.
pub(super) type Pass<'t> = (Vec<Var<'t, f64>>, Var<'t, f64>);

/// Binds values to leaves of a tape and evaluates the closure.
pub(super) type Run<'a> = &'a dyn for<'t> Fn(&'t Tape<f64>, &[Tensor<f64>]) -> Pass<'t>;

pub(super) fn leaf_inputs<const N: usize>(base: [Tensor<f64>; N]) -> Vec<Input> {
    let named = |(i, value)| Input { name: format!("input{i}"), value };
    base.into_iter().enumerate().map(named).collect()
}

/// A closure of leaves.
pub(super) fn leaves<const N: usize>(
    f: &impl for<'t> Fn([Var<'t, f64>; N]) -> Var<'t, f64>,
) -> impl for<'t> Fn(&'t Tape<f64>, &[Tensor<f64>]) -> Pass<'t> {
    move |tape, values| {
        let leaves: [Var<'_, f64>; N] = std::array::from_fn(|i| tape.leaf(values[i].clone()));
        (leaves.to_vec(), f(leaves))
    }
}

pub(super) fn param_inputs(params: &Params<f64>) -> Vec<Input> {
    let trained = params.ids().filter(|&id| params.is_trained(id));
    let input = |id| Input { name: params.name(id).to_string(), value: params.get(id).clone() };
    trained.map(input).collect()
}

/// A closure of the parameters that are trained.
pub(super) fn bound(
    params: &Params<f64>,
    f: &impl for<'t> Fn(&Bound<'t, f64>) -> Var<'t, f64>,
) -> impl for<'t> Fn(&'t Tape<f64>, &[Tensor<f64>]) -> Pass<'t> {
    let trained: Vec<_> = params.ids().filter(|&id| params.is_trained(id)).collect();
    move |tape, values| {
        let mut perturbed = params.clone();
        for (&id, value) in trained.iter().zip(values) {
            perturbed.set(id, value.clone());
        }
        let bound = tape.train(&perturbed);
        (trained.iter().map(|&id| bound[id]).collect(), f(&bound))
    }
}

/// A closure whose choices and stopped values are [frozen](Tape::freeze) at the base point.
pub(super) struct Recorded<'a> {
    inputs: Vec<Input>,
    run: Run<'a>,
    tape: Tape<f64>,
    shape: Shape,
}

impl<'a> Recorded<'a> {
    pub(super) fn new(inputs: Vec<Input>, run: Run<'a>) -> Self {
        Recorded { inputs, run, tape: Tape::new(), shape: Shape::from([0]) }
    }
}

impl Function for Recorded<'_> {
    fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    fn values(&mut self, at: &[Tensor<f64>]) -> Result<Vec<f64>, Fault> {
        self.tape.reset();
        self.tape.replay_frozen();
        let (_, y) = (self.run)(&self.tape, at);
        self.tape.check().map_err(as_fault)?;
        Ok(y.value().data().to_vec())
    }
}

impl Rule for Recorded<'_> {
    fn pull_back(&mut self, cotangents: &Cotangents) -> Result<PulledBack, Fault> {
        self.tape = Tape::new();
        let tape = &self.tape;
        tape.record_frozen();
        let base: Vec<_> = self.inputs.iter().map(|input| input.value.clone()).collect();
        let (leaves, y) = (self.run)(tape, &base);
        self.shape = y.shape();
        let mut found = PulledBack {
            outputs: y.value().data().to_vec(),
            gradients: Vec::new(),
            ops: Default::default(),
        };
        for cotangent in cotangents(found.outputs.len()) {
            let seed = Tensor::new(self.shape, cotangent).expect("as long as the output");
            let grads = tape.backward_from(&[(y, seed)]).map_err(as_fault)?;
            if found.gradients.is_empty() {
                found.ops.extend(tape.differentiated(&grads));
            }
            found.gradients.push(leaves.iter().map(|&x| grads.dense(x)).collect());
        }
        Ok(found)
    }

    fn position(&self, k: usize) -> (usize, Vec<usize>) {
        (0, unravel(k, &self.shape))
    }
}

fn as_fault(error: crate::error::Error) -> Fault {
    Arc::new(error)
}
