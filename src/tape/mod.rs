//! The tape: what a forward pass wrote down, and the way back over it.
//!
//! A [`Tape`] owns a Wengert list. A [`Var`] is a reference to the tape and an index, `Copy`, so
//! formulae read as formulae. Every node keeps its value and an [`Op`] whose fields are what its
//! backward rule needs. A tape belongs to one thread (it is neither `Send` nor `Sync`): threads
//! work inside ops.

mod freeze;
mod grads;
mod op;
mod print;

pub use grads::{Gradient, Grads, Move, Rows};
pub use op::{Context, Op};

use crate::error::{Error, Result};
use crate::params::{ParamId, Params};
use crate::real::Real;
use crate::rng;
use crate::tensor::{Pool, Shape, Tensor};
use op::{Lent, accumulate};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

enum Kind<T: Real> {
    /// Gets a gradient.
    Leaf,
    /// Gets none.
    Constant,
    /// The first output of an op. Without a rule if no input needs a gradient, or once freed.
    Op { name: &'static str, rule: Option<Box<dyn Op<T>>>, inputs: Box<[usize]>, outputs: usize },
    /// A further output of the op before it.
    Output,
}

struct Node<T: Real> {
    kind: Kind<T>,
    shape: Shape,
    /// `None` once freed.
    value: Option<Tensor<T>>,
    needs_gradient: bool,
    label: Option<Arc<str>>,
}

/// Reusable buffers for numbers, for ids and codes, and for moments.
#[derive(Debug, Default)]
pub struct Pools<T: Real> {
    /// Numbers.
    pub values: Pool<T>,
    /// Ids, codes and counts.
    pub ids: Pool<u32>,
    /// Moments, in double precision.
    pub moments: Pool<f64>,
}

/// A list of everything computed, ready to be walked back.
///
/// ```
/// use dpq::{Tape, Tensor};
/// let tape = Tape::new();
/// let x = tape.leaf(Tensor::from([1.0_f64, 2.0]));
/// let y = (x * x).sum();
/// assert_eq!(y.value().item(), 5.0);
/// let grads = tape.backward(y)?;
/// assert_eq!(grads.dense(x).data(), [2.0, 4.0]);
/// # Ok::<(), dpq::Error>(())
/// ```
///
/// Resetting a tape while a variable of it lives does not compile:
///
/// ```compile_fail,E0502
/// let mut tape = dpq::Tape::new();
/// let x = tape.leaf(dpq::Tensor::scalar(1.0_f32));
/// tape.reset();
/// x.value();
/// ```
pub struct Tape<T: Real> {
    nodes: RefCell<Vec<Node<T>>>,
    params: RefCell<Vec<(ParamId, usize)>>,
    moves: RefCell<Vec<Move<T>>>,
    mode: RefCell<freeze::Mode>,
    fault: RefCell<Option<Error>>,
    noise: Cell<(u64, u64)>,
    pools: Pools<T>,
}

impl<T: Real> Default for Tape<T> {
    fn default() -> Self {
        Tape {
            nodes: RefCell::default(),
            params: RefCell::default(),
            moves: RefCell::default(),
            mode: RefCell::default(),
            fault: RefCell::default(),
            noise: Cell::default(),
            pools: Pools::default(),
        }
    }
}

/// A variable on a tape.
#[derive(Clone, Copy)]
pub struct Var<'t, T: Real> {
    tape: &'t Tape<T>,
    index: usize,
}

/// A tape's variables for the parameters of a model: what layers are given.
///
/// Index it by [`ParamId`].
pub struct Bound<'t, T: Real> {
    /// The tape.
    pub tape: &'t Tape<T>,
    /// Whether this is a pass that trains. Nothing else tells layers so.
    pub training: bool,
    vars: Vec<Var<'t, T>>,
}

impl<'t, T: Real> std::ops::Index<ParamId> for Bound<'t, T> {
    type Output = Var<'t, T>;
    fn index(&self, id: ParamId) -> &Var<'t, T> {
        &self.vars[id.index()]
    }
}

impl<T: Real> Tape<T> {
    /// An empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything but the buffers, which the next pass uses again.
    pub fn reset(&mut self) {
        self.nodes.get_mut().clear();
        self.params.get_mut().clear();
        self.moves.get_mut().clear();
        *self.fault.get_mut() = None;
    }

    /// A variable that gets a gradient. It shares the tensor's buffer.
    pub fn leaf(&self, value: Tensor<T>) -> Var<'_, T> {
        self.push(Kind::Leaf, value, true, None)
    }

    /// A variable that gets none.
    pub fn constant(&self, value: Tensor<T>) -> Var<'_, T> {
        self.push(Kind::Constant, value, false, None)
    }

    /// Binds parameters for a pass that trains: leaves, and constants for statistics.
    ///
    /// # Panics
    /// If parameters are already bound for training since the last reset.
    #[track_caller]
    pub fn train(&self, params: &Params<T>) -> Bound<'_, T> {
        assert!(
            self.params.borrow().is_empty(),
            "parameters are bound already: reset the tape first"
        );
        self.bind(params, true)
    }

    /// Binds parameters for a pass that evaluates: constants.
    pub fn evaluate(&self, params: &Params<T>) -> Bound<'_, T> {
        self.bind(params, false)
    }

    fn bind(&self, params: &Params<T>, training: bool) -> Bound<'_, T> {
        let bind = |id| {
            let (value, label) = (params.get(id).clone(), Some(params.label(id)));
            if training && params.is_trained(id) {
                let var = self.push(Kind::Leaf, value, true, label);
                self.params.borrow_mut().push((id, var.index));
                var
            } else {
                self.push(Kind::Constant, value, false, label)
            }
        };
        Bound { tape: self, training, vars: params.ids().map(bind).collect() }
    }

    /// Writes down an op: its rule, its inputs, and the outputs that the caller has computed.
    ///
    /// # Panics
    /// If an input is on another tape.
    #[track_caller]
    pub fn record<'t, const O: usize>(
        &'t self,
        op: impl Op<T>,
        inputs: &[Var<'t, T>],
        outputs: [Tensor<T>; O],
    ) -> [Var<'t, T>; O] {
        let name = op.name();
        assert!(
            inputs.iter().all(|v| std::ptr::eq(v.tape, self)),
            "{name}: an input is on another tape"
        );
        let needs = {
            let nodes = self.nodes.borrow();
            inputs.iter().any(|v| nodes[v.index].needs_gradient)
        };
        let rule = needs.then(|| Box::new(op) as Box<dyn Op<T>>);
        let inputs = inputs.iter().map(|v| v.index).collect();
        let mut kind = Some(Kind::Op { name, rule, inputs, outputs: O });
        outputs.map(|value| self.push(kind.take().unwrap_or(Kind::Output), value, needs, None))
    }

    fn push(
        &self,
        kind: Kind<T>,
        value: Tensor<T>,
        needs_gradient: bool,
        label: Option<Arc<str>>,
    ) -> Var<'_, T> {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node { kind, shape: value.shape(), value: Some(value), needs_gradient, label });
        Var { tape: self, index: nodes.len() - 1 }
    }

    /// Names the random streams of the passes to come: all noise on this tape is a function of
    /// `seed`, its purpose, and `step`.
    pub fn set_noise(&mut self, seed: u64, step: u64) {
        self.noise.set((seed, step));
    }

    /// The random stream for one purpose in this pass.
    pub fn noise(&self, purpose: &str) -> rng::ChaCha8Rng {
        let (seed, step) = self.noise.get();
        rng::stream(seed, purpose, step)
    }

    /// Asks the optimiser's step to move a statistic: s + rate (toward - s).
    pub fn move_statistic(&self, id: ParamId, toward: Tensor<T>, rate: T) {
        self.moves.borrow_mut().push(Move { id, toward, rate });
    }

    /// Reports a fault that depends on data. The first one is what `backward` returns.
    pub fn fail(&self, fault: Error) {
        self.fault.borrow_mut().get_or_insert(fault);
    }

    /// The fault that the pass reported, if any: for passes without a backward.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<()> {
        self.fault.borrow_mut().take().map_or(Ok(()), Err)
    }

    /// The buffers that ops take theirs from.
    pub fn pools(&self) -> &Pools<T> {
        &self.pools
    }

    /// A tensor with unspecified contents, for an op to fill.
    pub fn uninit(&self, shape: impl Into<Shape>) -> Tensor<T> {
        let shape = shape.into();
        Tensor::from_buffer(shape, self.pools.values.take(shape.elements()))
    }

    /// The gradients of a scalar. Keeps every value and gradient: it can be repeated, and the tape
    /// printed with them.
    ///
    /// # Errors
    /// The first fault that the forward pass reported; a loss that is not finite.
    ///
    /// # Panics
    /// If the loss has more than one element.
    #[track_caller]
    pub fn backward(&self, loss: Var<'_, T>) -> Result<Grads<T>> {
        let seeds = self.loss_seed(loss)?;
        Ok(self.walk_back(&seeds, false))
    }

    /// The gradients of a scalar for a training step: frees values and gradients as it goes, so
    /// that only leaves have theirs at the end, and moves the queued statistics into the result.
    ///
    /// # Errors
    /// As [`backward`](Tape::backward).
    ///
    /// # Panics
    /// As [`backward`](Tape::backward).
    #[track_caller]
    pub fn backward_and_free(&self, loss: Var<'_, T>) -> Result<Grads<T>> {
        let seeds = self.loss_seed(loss)?;
        Ok(self.walk_back(&seeds, true))
    }

    /// The gradients of the sum of all elements of seed x variable: seeds are the variables'
    /// cotangents.
    ///
    /// # Panics
    /// If a seed has another shape than its variable.
    #[track_caller]
    pub fn backward_from(&self, seeds: &[(Var<'_, T>, Tensor<T>)]) -> Grads<T> {
        for (var, seed) in seeds {
            assert_eq!(
                var.shape(),
                seed.shape(),
                "backward_from: shapes of a variable and its seed"
            );
        }
        self.walk_back(seeds, false)
    }

    #[track_caller]
    fn loss_seed<'t>(&'t self, loss: Var<'t, T>) -> Result<[(Var<'t, T>, Tensor<T>); 1]> {
        assert_eq!(
            loss.shape().elements(),
            1,
            "backward: the loss must be a scalar, not {:?}",
            loss.shape()
        );
        self.check()?;
        let value = loss.value().item();
        if !value.is_finite() {
            return Err(Error::NotFinite { what: "the loss".into(), value: value.to_f64() });
        }
        Ok([(loss, Tensor::full(loss.shape(), T::ONE))])
    }

    fn walk_back(&self, seeds: &[(Var<'_, T>, Tensor<T>)], free: bool) -> Grads<T> {
        let mut nodes = self.nodes.borrow_mut();
        let mut grads: Vec<Option<Gradient<T>>> = Vec::new();
        grads.resize_with(nodes.len(), || None);
        for (var, seed) in seeds {
            accumulate(&self.pools, &mut grads[var.index], Gradient::Dense(seed.clone()));
        }
        for index in (0..nodes.len()).rev() {
            let Kind::Op { rule: Some(rule), inputs, outputs, .. } = &nodes[index].kind else {
                continue;
            };
            let (below, own) = grads.split_at_mut(index);
            let own = &mut own[..*outputs];
            if own.iter().any(Option::is_some) {
                let dense = |g: &Option<Gradient<T>>| g.as_ref().map(Gradient::to_dense);
                let output_grads: Vec<Option<Tensor<T>>> = own.iter().map(dense).collect();
                if free {
                    own.fill(None);
                }
                let nodes = &nodes[..];
                let lent = Lent { nodes, index, inputs, output_grads: &output_grads };
                rule.backward(&mut Context::new(&lent, below, &self.pools));
            }
            if free {
                let outputs = *outputs;
                for node in &mut nodes[index..index + outputs] {
                    node.value = None;
                    if let Kind::Op { rule, .. } = &mut node.kind {
                        *rule = None;
                    }
                }
            }
        }
        let moves = if free { self.moves.take() } else { self.moves.borrow().clone() };
        Grads { nodes: grads, params: self.params.borrow().clone(), moves, factor: 1.0 }
    }

    /// The names of the ops that a backward pass from the end of the tape would differentiate.
    pub(crate) fn differentiated(&self, grads: &Grads<T>) -> Vec<&'static str> {
        let nodes = self.nodes.borrow();
        let name = |(i, node): (usize, &Node<T>)| match &node.kind {
            Kind::Op { name, rule: Some(_), outputs, .. }
                if (i..i + outputs).any(|i| grads.at(i).is_some()) =>
            {
                Some(*name)
            }
            _ => None,
        };
        nodes.iter().enumerate().filter_map(name).collect()
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// The tape it is on.
    pub fn tape(&self) -> &'t Tape<T> {
        self.tape
    }

    /// Its value; sharing it costs nothing.
    ///
    /// # Panics
    /// If [`backward_and_free`](Tape::backward_and_free) has freed it.
    #[track_caller]
    pub fn value(&self) -> Tensor<T> {
        match &self.tape.nodes.borrow()[self.index].value {
            Some(value) => value.clone(),
            None => panic!(
                "the value of node #{} is freed: read it before the backward pass",
                self.index
            ),
        }
    }

    /// The shape of its value.
    pub fn shape(&self) -> Shape {
        self.tape.nodes.borrow()[self.index].shape
    }

    /// Whether a gradient flows to it.
    pub fn needs_gradient(&self) -> bool {
        self.tape.nodes.borrow()[self.index].needs_gradient
    }
}
