//! What is checked: a function, and a rule that claims to give its gradients.

use crate::tensor::Tensor;
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;

/// Jacobians of at most this many entries are taken whole, larger ones by random projections.
pub(super) const ENTRIES: usize = 20_000;

/// Why a function could not be evaluated.
pub type Fault = Arc<dyn Error + Send + Sync>;

/// One input at the base point.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) value: Tensor<f64>,
}

/// A function near its base point.
pub(super) trait Function {
    /// The inputs at the base point.
    fn inputs(&self) -> &[Input];

    /// All elements of all outputs, at inputs near the base point. What is frozen keeps the value that
    /// it has at the base point.
    fn values(&mut self, at: &[Tensor<f64>]) -> Result<Vec<f64>, Fault>;

    /// x as the function's own numbers hold it.
    fn rounded(&self, x: f64) -> f64 {
        x
    }
}

/// A function with a rule for its gradients.
pub(super) trait Rule: Function {
    /// What the rule says at the base point, for every cotangent that is asked for, given the number
    /// of elements of all outputs. What is frozen is recorded.
    fn pull_back(&mut self, cotangents: &Cotangents) -> Result<PulledBack, Fault>;

    /// The output that element k belongs to, and its position there.
    fn position(&self, k: usize) -> (usize, Vec<usize>);
}

/// The cotangents that are asked for, given the number of elements of all outputs.
pub(super) type Cotangents<'a> = dyn Fn(usize) -> Vec<Vec<f64>> + 'a;

/// Gradients at the base point.
pub(super) struct PulledBack {
    /// All elements of all outputs, as the pass that was differentiated computed them.
    pub(super) outputs: Vec<f64>,
    /// For every cotangent, the gradient of < cotangent, outputs > with respect to every input.
    pub(super) gradients: Vec<Vec<Tensor<f64>>>,
    /// The ops that were differentiated, where that is known.
    pub(super) ops: BTreeSet<&'static str>,
}

/// The position of element i along every axis.
pub(super) fn unravel(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (axis, &length) in shape.iter().enumerate().rev() {
        index[axis] = i % length;
        i /= length;
    }
    index
}
