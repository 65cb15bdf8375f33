//! What every optimiser does, and groups of parameters with settings of their own.

use crate::error::Result;
use crate::params::Params;
use crate::real::Real;
use crate::tape::Grads;

/// Turns gradients into a step of the parameters.
///
/// One of your own, with the sign of the gradient for its step:
///
/// ```
/// use dpq::optim::Optimizer;
/// use dpq::{Grads, Params, Result, Tape, Tensor};
///
/// struct SignDescent {
///     learning_rate: f32,
/// }
/// impl Optimizer<f32> for SignDescent {
///     fn step(&mut self, params: &mut Params<f32>, grads: &Grads<f32>) -> Result<()> {
///         grads.apply(params, |p, dp| {
///             p.iter_mut().zip(dp).for_each(|(p, dp)| *p -= self.learning_rate * dp.signum());
///         })
///     }
///     fn set_learning_rate(&mut self, rate: f64) {
///         self.learning_rate = rate as f32;
///     }
/// }
///
/// let mut params = Params::new();
/// let x = params.add("x", Tensor::from([3.0, -4.0]));
/// let (_, grads, ()) = Tape::new().value_and_grad(&params, |p| ((p[x] * p[x]).sum(), ()))?;
/// SignDescent { learning_rate: 0.5 }.step(&mut params, &grads)?;
/// assert_eq!(params.get(x).data(), [2.5, -3.5]);
/// # Ok::<(), dpq::Error>(())
/// ```
pub trait Optimizer<T: Real> {
    /// One step. It also moves the statistics that the forward pass asked to move, as
    /// [`Grads::apply`] does.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite) with the name of a parameter whose gradient is
    /// not finite; nothing is written then.
    ///
    /// # Panics
    /// If the tape that the gradients come from was not reset.
    fn step(&mut self, params: &mut Params<T>, grads: &Grads<T>) -> Result<()>;

    /// Sets the learning rate of the steps to come.
    fn set_learning_rate(&mut self, rate: f64);

    /// What the optimiser remembers from step to step, as named tensors, made for these parameters
    /// if need be: save it and load it beside them, and training goes on to the same bits (with
    /// dropout after [`Tape::set_noise`](crate::Tape::set_noise)). `None` if it remembers nothing.
    fn state(&mut self, _params: &Params<T>) -> Option<&mut Params<T>> {
        None
    }
}

/// Settings of some parameters, by name, instead of the optimiser's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Times the optimiser's learning rate. 1 by default; with 0 the parameters stay as they are.
    pub learning_rate: f64,
    /// The weight decay. 0 by default.
    pub weight_decay: f64,
}

impl Default for Group {
    fn default() -> Self {
        Group { learning_rate: 1.0, weight_decay: 0.0 }
    }
}

/// Whether a parameter of this name belongs to a group.
type Belongs = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// An optimiser's own settings and those of its groups.
pub(super) struct Groups {
    pub(super) own: Group,
    others: Vec<(Belongs, Group)>,
}

impl Groups {
    pub(super) fn new() -> Self {
        Groups { own: Group::default(), others: Vec::new() }
    }

    #[track_caller]
    pub(super) fn add(
        &mut self,
        belongs: impl Fn(&str) -> bool + Send + Sync + 'static,
        group: Group,
    ) {
        assert_not_negative("learning rate", group.learning_rate);
        assert_not_negative("weight decay", group.weight_decay);
        self.others.push((Box::new(belongs), group));
    }

    /// The settings of a parameter: those of the last group that it belongs to.
    pub(super) fn of(&self, name: &str) -> Group {
        let mut groups = self.others.iter().rev();
        groups.find(|(belongs, _)| belongs(name)).map_or(self.own, |&(_, group)| group)
    }
}

/// Panics at the caller's line if a setting is negative or not finite.
#[track_caller]
pub(super) fn assert_not_negative(name: &str, value: f64) {
    assert!(value >= 0.0 && value.is_finite(), "{name} {value}: expected 0 or a positive number");
}

/// Panics at the caller's line if a setting is not in \[0, 1).
#[track_caller]
pub(super) fn assert_fraction(name: &str, value: f64) {
    assert!((0.0..1.0).contains(&value), "{name} {value}: expected a number in [0, 1)");
}
