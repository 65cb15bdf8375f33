//! The tape: what a forward pass writes down.

use super::frozen::Frozen;
use super::grads::Move;
use super::node::{Kind, Node, Pools};
use super::op::{Op, Recorded};
use super::ranks::{Part, Ranks};
use crate::communicator::Communicator;
use crate::error::{Error, Result};
use crate::params::{ParamId, Params};
use crate::real::Real;
use crate::rng;
use crate::tensor::{Shape, Tensor};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A list of everything computed, ready for the backward pass.
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
    pub(super) nodes: RefCell<Vec<Node<T>>>,
    pub(super) ops: RefCell<Vec<Recorded<T>>>,
    /// The trained parameters, and their nodes.
    pub(super) params: RefCell<Vec<(ParamId, usize)>>,
    /// The statistics of a pass that trains, and their shapes.
    statistics: RefCell<Vec<(ParamId, Shape)>>,
    pub(super) moves: RefCell<Vec<Move<T>>>,
    pub(super) frozen: RefCell<Frozen>,
    error: RefCell<Option<Error>>,
    noise: Cell<Noise>,
    /// Another number for every pass on any tape.
    pub(super) pass: u64,
    pub(super) pools: Pools<T>,
    pub(super) ranks: Ranks,
}

/// What random streams depend on besides their purpose.
#[derive(Clone, Copy, Default)]
struct Noise {
    seed: u64,
    step: u64,
    /// Whether the seed was given, and is not that of the parameters.
    given: bool,
}

fn new_pass() -> u64 {
    static PASSES: AtomicU64 = AtomicU64::new(0);
    PASSES.fetch_add(1, Ordering::Relaxed)
}

impl<T: Real> Default for Tape<T> {
    fn default() -> Self {
        Tape {
            nodes: RefCell::default(),
            ops: RefCell::default(),
            params: RefCell::default(),
            statistics: RefCell::default(),
            moves: RefCell::default(),
            frozen: RefCell::default(),
            error: RefCell::default(),
            noise: Cell::default(),
            pass: new_pass(),
            pools: Pools::default(),
            ranks: Ranks::default(),
        }
    }
}

/// A variable on a tape.
#[derive(Clone, Copy)]
pub struct Var<'t, T: Real> {
    pub(super) tape: &'t Tape<T>,
    pub(super) index: usize,
}

/// A tape's variables for the parameters of a model: what layers are given.
///
/// Index it by [`ParamId`].
pub struct Bound<'t, T: Real> {
    /// The tape.
    pub tape: &'t Tape<T>,
    /// Whether this is a pass that trains. Nothing else tells layers so.
    pub training: bool,
    vars: Vec<(ParamId, Var<'t, T>)>,
}

impl<T: Real> Bound<'_, T> {
    /// The parameters that are bound, in the order in which they were added.
    pub fn ids(&self) -> impl Iterator<Item = ParamId> {
        self.vars.iter().map(|(id, _)| *id)
    }
}

impl<'t, T: Real> std::ops::Index<ParamId> for Bound<'t, T> {
    type Output = Var<'t, T>;
    #[track_caller]
    fn index(&self, id: ParamId) -> &Var<'t, T> {
        match self.vars.get(id.index()) {
            Some((own, var)) if *own == id => var,
            _ => panic!("{id:?} is of other Params than those that were bound"),
        }
    }
}

impl<T: Real> Tape<T> {
    /// An empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything but the buffers, which the next pass uses again. The step of the
    /// [noise](Tape::noise) goes up by one.
    pub fn reset(&mut self) {
        self.clear();
        let noise = self.noise.get_mut();
        noise.step = noise.step.wrapping_add(1);
    }

    /// [`reset`](Tape::reset) without a new step.
    pub(super) fn clear(&mut self) {
        self.nodes.get_mut().clear();
        self.ops.get_mut().clear();
        self.params.get_mut().clear();
        self.statistics.get_mut().clear();
        self.moves.get_mut().clear();
        *self.error.get_mut() = None;
        self.pass = new_pass();
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
            self.params.borrow().is_empty() && self.statistics.borrow().is_empty(),
            "parameters are bound already: reset the tape first"
        );
        self.bind(params, true)
    }

    /// Binds parameters for a pass that evaluates: constants.
    pub fn evaluate(&self, params: &Params<T>) -> Bound<'_, T> {
        self.bind(params, false)
    }

    fn bind(&self, params: &Params<T>, training: bool) -> Bound<'_, T> {
        let noise = self.noise.get();
        if !noise.given {
            self.noise.set(Noise { seed: params.seed(), ..noise });
        }
        let bind = |id| {
            let (value, label) = (params.get(id).clone(), Some(params.label(id)));
            if training && params.is_trained(id) {
                let var = self.push(Kind::Leaf, value, true, label);
                self.params.borrow_mut().push((id, var.index));
                (id, var)
            } else {
                if training {
                    self.statistics.borrow_mut().push((id, value.shape()));
                }
                (id, self.push(Kind::Constant, value, false, label))
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
        let (needs, first) = {
            let nodes = self.nodes.borrow();
            (inputs.iter().any(|v| nodes[v.index].needs_gradient), nodes.len())
        };
        let rule = needs.then(|| Box::new(op) as Box<dyn Op<T>>);
        let inputs = inputs.iter().map(|v| v.index).collect();
        let mut ops = self.ops.borrow_mut();
        let kind = Kind::Output(ops.len());
        ops.push(Recorded { name, rule, inputs, first, outputs: O });
        outputs.map(|value| self.push(kind, value, needs, None))
    }

    fn push(
        &self,
        kind: Kind,
        value: Tensor<T>,
        needs_gradient: bool,
        label: Option<Arc<str>>,
    ) -> Var<'_, T> {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node { kind, shape: value.shape(), value: Some(value), needs_gradient, label });
        Var { tape: self, index: nodes.len() - 1 }
    }

    /// Sets what all noise is a function of, besides its purpose: a seed and a step, from the next pass
    /// on. Every reset adds one to the step, so a resumed run calls this once, with the number of steps
    /// that it has done. Without it they are the seed of the [`Params`] that are bound, and the number of
    /// [resets](Tape::reset) so far.
    pub fn set_noise(&mut self, seed: u64, step: u64) {
        self.noise.set(Noise { seed, step, given: true });
    }

    /// The random stream for one purpose in this pass.
    pub fn noise(&self, purpose: &str) -> rng::ChaCha8Rng {
        let Noise { seed, step, .. } = self.noise.get();
        rng::stream(seed, purpose, step)
    }

    /// Makes this tape that of one rank of several: statistics of a batch are those of all ranks' parts. All ranks
    /// must then make the same passes.
    pub fn set_communicator(&mut self, communicator: Arc<dyn Communicator>) {
        self.ranks.communicator = Some(communicator);
    }

    /// The part of the batch that this rank has, if there are several: noise is then drawn for it as one rank would
    /// for the whole batch. It stays until another one is set.
    pub fn set_part(&self, part: Part) {
        self.ranks.part.set(Some(part));
    }

    /// The part that was [set](Tape::set_part).
    pub fn part(&self) -> Option<Part> {
        self.ranks.part.get()
    }

    /// The ranks that work on this pass.
    pub(crate) fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// Asks the optimiser's step to move a statistic: s + rate (toward - s).
    ///
    /// # Panics
    /// If `id` is no statistic that is bound to a pass that trains, `toward` is of another shape,
    /// or the rate is not in \[0, 1\].
    #[track_caller]
    pub fn move_statistic(&self, id: ParamId, toward: Tensor<T>, rate: T) {
        let statistics = self.statistics.borrow();
        let Some((_, shape)) = statistics.iter().find(|(own, _)| *own == id) else {
            panic!("move_statistic: {id:?} is no statistic of this pass that trains");
        };
        assert!(
            *shape == toward.shape(),
            "move_statistic: a statistic of shape {shape:?} toward one of {:?}",
            toward.shape()
        );
        assert!(
            (T::ZERO..=T::ONE).contains(&rate),
            "move_statistic: rate {rate}: expected a number in [0, 1]"
        );
        self.moves.borrow_mut().push(Move { id, toward, rate });
    }

    /// Reports an error that depends on data. The first one is what every backward pass and
    /// [`check`](Tape::check) return until the tape is reset.
    pub fn fail(&self, error: Error) {
        self.error.borrow_mut().get_or_insert(error);
    }

    /// The error that the pass reported, if any: for passes without a backward pass.
    ///
    /// # Errors
    /// The first error that an op reported since the last reset.
    pub fn check(&self) -> Result<()> {
        self.error.borrow().clone().map_or(Ok(()), Err)?;
        self.ranks.check()
    }

    /// The buffers that ops take theirs from.
    pub fn pools(&self) -> &Pools<T> {
        &self.pools
    }

    /// A tensor with unspecified contents, for an op to fill.
    #[track_caller]
    pub fn uninit(&self, shape: impl Into<Shape>) -> Tensor<T> {
        let shape = shape.into();
        Tensor::from_buffer(shape, self.pools.values.take(shape.elements()))
    }

    /// The value of a discrete choice or of a stopped quantity: `value()`, except under a checker,
    /// which returns here what it was at the base point.
    ///
    /// `what` and `shape` name it; they must come in the same order at every evaluation.
    ///
    /// # Panics
    /// Under a checker, if the closure that is checked asks for other values than at the base
    /// point.
    pub fn freeze<V: Clone + 'static>(
        &self,
        what: &'static str,
        shape: &[usize],
        value: impl FnOnce() -> V,
    ) -> V {
        let replayed = self.frozen.borrow_mut().next(what, shape);
        replayed.unwrap_or_else(|| {
            let value = value();
            self.frozen.borrow_mut().keep(what, shape, &value);
            value
        })
    }

    /// How a fused op that contains a choice or a stop takes part: `fused()` in ordinary passes.
    ///
    /// While a checker records, `composed()`, the same in primitive ops, runs first, to record
    /// what it freezes, and then `fused()`, whose backward rule is what is checked. While it
    /// replays, `composed()`.
    pub fn fused<R>(&self, composed: impl FnOnce() -> R, fused: impl FnOnce() -> R) -> R {
        if self.is_replaying() {
            return composed();
        }
        if matches!(*self.frozen.borrow(), Frozen::Record(_)) {
            composed();
        }
        let frozen = self.frozen.take();
        let result = fused();
        *self.frozen.borrow_mut() = frozen;
        result
    }

    /// Whether frozen values are being replayed: the pass is a perturbed one.
    pub fn is_replaying(&self) -> bool {
        matches!(*self.frozen.borrow(), Frozen::Replay(..))
    }

    /// From here on frozen values are recorded.
    pub(crate) fn record_frozen(&self) {
        *self.frozen.borrow_mut() = Frozen::Record(Vec::new());
    }

    /// From here on the frozen values that were recorded are replayed from the start.
    pub(crate) fn replay_frozen(&self) {
        self.frozen.borrow_mut().rewind();
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
