//! What a program gives to the loop, and what it is told.

use super::history::Epoch;
use crate::error::{Error, Result};
use crate::params::Params;
use crate::real::Real;
use crate::tape::{Bound, Grads, Tape, Var};
use crate::tensor::Tensor;

/// What is trained: a model with its data.
pub trait Task<T: Real> {
    /// Steps of an epoch, at least 1.
    fn steps(&self) -> usize;

    /// The forward pass of a step, both counted from 0: the loss, and a number whose mean over the
    /// epoch is reported.
    ///
    /// It must depend on nothing but its arguments, the parameters, noise of the tape, and what
    /// [`carried`](Task::carried) returns: then a run that was interrupted gives the same bits.
    fn loss<'t>(&mut self, p: &Bound<'t, T>, epoch: usize, step: usize) -> (Var<'t, T>, f64);

    /// Called after every step of the optimiser with the gradients that it took, clipped if they were.
    /// Nothing by default.
    ///
    /// It may change parameters, such as codebooks that follow a moving average. It must depend on
    /// nothing but what [`loss`](Task::loss) may depend on. The step counts as done when it returns, so
    /// a checkpoint holds its effect.
    ///
    /// # Errors
    /// Whatever goes wrong; training ends with it. The optimiser's step is then taken, but not counted.
    fn after_step(&mut self, _params: &mut Params<T>, _grads: &Grads<T>) -> Result<()> {
        Ok(())
    }

    /// Figures on the validation data after an epoch. The best model and early stopping go by the
    /// first one: the lower the better.
    ///
    /// # Errors
    /// Whatever goes wrong; training ends with it.
    fn validate(
        &mut self,
        tape: &mut Tape<T>,
        params: &Params<T>,
    ) -> Result<Vec<(&'static str, f64)>>;

    /// What the task remembers from step to step besides the parameters, such as the state of a
    /// recurrent network. Nothing by default.
    fn carried(&self) -> Vec<(String, Tensor<T>)> {
        Vec::new()
    }

    /// Takes what [`carried`](Task::carried) returned when a checkpoint was made, of the same names and
    /// shapes.
    ///
    /// # Errors
    /// If the task cannot go on from it.
    fn carry(&mut self, _tensors: Vec<(String, Tensor<T>)>) -> Result<()> {
        Ok(())
    }
}

/// What a program is told while training goes on.
pub enum Event<'a, T: Real> {
    /// A step is done.
    Step {
        /// The epoch, counted from 0.
        epoch: usize,
        /// Steps of the epoch that are done.
        done: usize,
        /// Mean over them of the number that the task returned.
        mean: f64,
        /// Seconds that they took.
        seconds: f64,
    },
    /// An epoch is done and validated; the history up to it, and the parameters.
    Epoch(&'a [Epoch], &'a Params<T>),
    /// A checkpoint or the best model could not be written. Training goes on, but the program should say
    /// so.
    NotSaved(Error),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All epochs are done.
    Finished,
    /// The validation figure did not improve for as many epochs as were to be waited.
    NoImprovement,
    /// The program asked to stop. With a folder, a checkpoint is there to go on from.
    Stopped,
}
