//! The backward pass: from the last op to the first, each rule in turn adds to the gradients of its
//! inputs ([`Context::add`]).

use super::gradient::Gradient;
use super::grads::{Grads, Move};
use super::op::{Context, accumulate};
use super::tape::{Bound, Tape, Var};
use crate::error::{Error, Result};
use crate::params::{ParamId, Params};
use crate::real::Real;
use crate::tensor::{Shape, Tensor};

/// The gradients of every variable of one pass: what lessons print and checkers compare.
#[derive(Debug)]
pub struct VarGrads<T: Real> {
    nodes: Vec<Option<Gradient<T>>>,
    params: Vec<(ParamId, usize, Shape)>,
    moves: Vec<Move<T>>,
    pass: u64,
}

impl<T: Real> VarGrads<T> {
    /// The gradient of a variable, `None` where the output does not depend on it.
    ///
    /// # Panics
    /// If the variable is on another tape, or of another pass.
    #[track_caller]
    pub fn get(&self, var: Var<'_, T>) -> Option<&Gradient<T>> {
        assert!(
            self.is_of(var.tape),
            "the gradient of a variable of another tape, or of another pass"
        );
        self.at(var.index)
    }

    /// The gradient of a variable as a tensor, zeros where the output does not depend on it.
    ///
    /// # Panics
    /// As [`get`](VarGrads::get).
    #[track_caller]
    pub fn dense(&self, var: Var<'_, T>) -> Tensor<T> {
        self.get(var).map_or_else(|| Tensor::zeros(var.shape()), Gradient::to_dense)
    }

    /// Whether they are of this pass on this tape.
    pub(super) fn is_of(&self, tape: &Tape<T>) -> bool {
        self.pass == tape.pass
    }

    pub(super) fn at(&self, index: usize) -> Option<&Gradient<T>> {
        self.nodes.get(index)?.as_ref()
    }

    /// The gradients of the parameters alone, with the statistics to move, for an optimiser.
    pub fn into_params(mut self) -> Grads<T> {
        let gradients =
            self.params.iter().map(|&(id, index, shape)| (id, shape, self.nodes[index].take()));
        Grads::new(gradients, self.moves)
    }
}

impl<T: Real> Tape<T> {
    /// One training pass that cannot be done in the wrong order: binds the parameters, runs `f`,
    /// which returns the loss and whatever else is to be kept, goes backward, and resets the tape,
    /// also after an error. Returns the loss, the gradients, and what `f` kept.
    ///
    /// ```
    /// use dpq::optim::{Optimizer, Sgd};
    /// use dpq::{Params, Tape, Tensor};
    /// let mut params = Params::new();
    /// let x = params.add("x", Tensor::scalar(1.0_f64));
    /// let (mut tape, mut sgd) = (Tape::new(), Sgd::new(0.1));
    /// for _ in 0..100 {
    ///     let (_, grads, ()) = tape.value_and_grad(&params, |p| ((p[x] - 3.0) * (p[x] - 3.0), ()))?;
    ///     sgd.step(&mut params, &grads)?;
    /// }
    /// assert!((params.get(x).item() - 3.0).abs() < 1e-6);
    /// # Ok::<(), dpq::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`backward`](Tape::backward).
    ///
    /// # Panics
    /// If the loss has more than one element.
    #[track_caller]
    pub fn value_and_grad<R>(
        &mut self,
        params: &Params<T>,
        f: impl for<'t> FnOnce(&Bound<'t, T>) -> (Var<'t, T>, R),
    ) -> Result<(T, Grads<T>, R)> {
        self.clear();
        let (loss, kept) = f(&self.train(params));
        let found = loss_and_grads(loss);
        self.reset();
        let (loss, grads) = found?;
        Ok((loss, grads, kept))
    }

    /// One pass that evaluates: binds the parameters, runs `f`, and resets the tape. Returns what `f`
    /// kept, unless an op reported an error.
    ///
    /// ```
    /// use dpq::{Params, Tape, Tensor};
    /// let mut params = Params::new();
    /// let table = params.add("table", Tensor::from([[1.0_f32], [2.0]]));
    /// let mut tape = Tape::new();
    /// let row = tape.value(&params, |p| p[table].gather_rows(&[1]).value())?;
    /// assert_eq!(row, Tensor::from([[2.0]]));
    /// let error = tape.value(&params, |p| p[table].gather_rows(&[7]).value()).unwrap_err();
    /// assert_eq!(error.to_string(), "id 7 is outside the vocabulary: expected 0..2");
    /// # Ok::<(), dpq::Error>(())
    /// ```
    ///
    /// # Errors
    /// The first error that an op reported.
    #[track_caller]
    pub fn value<R>(
        &mut self,
        params: &Params<T>,
        f: impl for<'t> FnOnce(&Bound<'t, T>) -> R,
    ) -> Result<R> {
        self.clear();
        let kept = f(&self.evaluate(params));
        let checked = self.check();
        self.reset();
        checked.map(|()| kept)
    }

    /// The gradients of a scalar. Keeps every value and gradient: it can be repeated, and the tape
    /// printed with them.
    ///
    /// # Errors
    /// The first error that the forward pass reported; a loss that is not finite.
    ///
    /// # Panics
    /// If the loss has more than one element, or depends on no variable that gets a gradient.
    #[track_caller]
    pub fn backward(&self, loss: Var<'_, T>) -> Result<VarGrads<T>> {
        let seeds = self.loss_seed(loss)?;
        Ok(self.walk_back(&seeds, false))
    }

    /// The gradients of a scalar for a training step: frees values and gradients as it goes.
    ///
    /// # Errors
    /// As [`backward`](Tape::backward).
    ///
    /// # Panics
    /// As [`backward`](Tape::backward), and if the loss depends on no parameter that is trained.
    #[track_caller]
    pub fn backward_and_free(&self, loss: Var<'_, T>) -> Result<Grads<T>> {
        let seeds = self.loss_seed(loss)?;
        let grads = self.walk_back(&seeds, true).into_params();
        assert!(
            grads.iter().next().is_some(),
            "backward: no parameter that is bound for training reaches the loss"
        );
        Ok(grads)
    }

    /// The gradients of the sum of seed times variable, over all elements and all pairs: seeds are the
    /// variables' cotangents.
    ///
    /// # Errors
    /// The first error that the forward pass reported.
    ///
    /// # Panics
    /// If a seed has another shape than its variable, or a variable is freed or on another tape.
    #[track_caller]
    pub fn backward_from(&self, seeds: &[(Var<'_, T>, Tensor<T>)]) -> Result<VarGrads<T>> {
        for (var, seed) in seeds {
            assert_eq!(
                var.shape(),
                seed.shape(),
                "backward_from: shapes of a variable and its seed"
            );
        }
        self.check()?;
        Ok(self.walk_back(seeds, false))
    }

    #[track_caller]
    fn loss_seed<'t>(&'t self, loss: Var<'t, T>) -> Result<[(Var<'t, T>, Tensor<T>); 1]> {
        assert_eq!(
            loss.shape().elements(),
            1,
            "backward: the loss must be a scalar, not {:?}",
            loss.shape()
        );
        assert!(std::ptr::eq(loss.tape, self), "backward: the loss is on another tape");
        self.check()?;
        let value = loss.value().item();
        if !value.is_finite() {
            return Err(Error::NotFinite { what: "the loss".into(), value: value.to_f64() });
        }
        assert!(
            loss.needs_gradient(),
            "backward: no leaf and no parameter that is bound for training reaches the loss"
        );
        Ok([(loss, Tensor::full(loss.shape(), T::ONE))])
    }

    /// Statistics that the forward pass asked to move are handed out with the first backward pass only:
    /// to repeat it does not move them again.
    #[track_caller]
    fn walk_back(&self, seeds: &[(Var<'_, T>, Tensor<T>)], free: bool) -> VarGrads<T> {
        let mut nodes = self.nodes.borrow_mut();
        let mut grads: Vec<Option<Gradient<T>>> = Vec::new();
        grads.resize_with(nodes.len(), || None);
        for (var, seed) in seeds {
            assert!(std::ptr::eq(var.tape, self), "backward: a variable is on another tape");
            assert!(
                nodes[var.index].value.is_some(),
                "backward: node #{} is freed, and its gradient rule with it",
                var.index
            );
            accumulate(&self.pools, &mut grads[var.index], Gradient::Dense(seed.clone()));
        }
        for op in self.ops.borrow_mut().iter_mut().rev() {
            let (below, own) = grads.split_at_mut(op.first);
            let own = &mut own[..op.outputs];
            if let Some(rule) = &op.rule
                && own.iter().any(Option::is_some)
            {
                let dense = |g: &Option<Gradient<T>>| g.as_ref().map(Gradient::to_dense);
                let output_grads: Vec<Option<Tensor<T>>> = own.iter().map(dense).collect();
                if free {
                    own.fill(None);
                }
                let (nodes, pools, output_grads) = (&nodes[..], &self.pools, &output_grads[..]);
                let ranks = &self.ranks;
                rule.backward(&mut Context { nodes, op, output_grads, grads: below, pools, ranks });
            }
            if free {
                nodes[op.first..op.first + op.outputs].iter_mut().for_each(|n| n.value = None);
                op.rule = None;
            }
        }
        let param = |&(id, index): &(ParamId, usize)| (id, index, nodes[index].shape);
        let params = self.params.borrow().iter().map(param).collect();
        VarGrads { nodes: grads, params, moves: self.moves.take(), pass: self.pass }
    }

    /// The names of the ops that the backward pass of these gradients differentiated.
    pub(crate) fn differentiated(&self, grads: &VarGrads<T>) -> Vec<&'static str> {
        let ops = self.ops.borrow();
        let reached = ops.iter().filter(|op| {
            op.rule.is_some() && (op.first..op.first + op.outputs).any(|i| grads.at(i).is_some())
        });
        reached.map(|op| op.name).collect()
    }
}

#[track_caller]
fn loss_and_grads<T: Real>(loss: Var<'_, T>) -> Result<(T, Grads<T>)> {
    let value = loss.value();
    let grads = loss.tape.backward_and_free(loss)?;
    loss.tape.ranks.check()?;
    Ok((value.item(), grads))
}
