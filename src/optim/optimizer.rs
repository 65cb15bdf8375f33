//! What every optimiser does, and groups of parameters with settings of their own.

use crate::error::Result;
use crate::kernels::reduce::largest;
use crate::params::{ParamId, Params};
use crate::real::{Real, assert_held};
use crate::tape::Grads;
use crate::tensor::Tensor;
use std::marker::PhantomData;

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
    /// As [`Grads::check_finite`]; and [`Error::NotFinite`](crate::Error::NotFinite) with the name of a
    /// parameter that the step might take out of the range of the precision. Nothing is written then.
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

impl<T: Real, O: Optimizer<T> + ?Sized> Optimizer<T> for Box<O> {
    #[track_caller]
    fn step(&mut self, params: &mut Params<T>, grads: &Grads<T>) -> Result<()> {
        (**self).step(params, grads)
    }

    #[track_caller]
    fn set_learning_rate(&mut self, rate: f64) {
        (**self).set_learning_rate(rate);
    }

    #[track_caller]
    fn state(&mut self, params: &Params<T>) -> Option<&mut Params<T>> {
        (**self).state(params)
    }
}

/// What bounds the running averages of gradients that an optimiser remembers, without looking at all of
/// them at every step.
pub(super) struct Memory {
    /// The largest element of the state that was loaded, if it is known.
    loaded: Option<f64>,
    /// The largest norm of a gradient since.
    gradient: f64,
}

impl Memory {
    /// Of an optimiser that has seen nothing.
    pub(super) fn new() -> Self {
        Memory { loaded: Some(0.0), gradient: 0.0 }
    }

    /// The state is handed out, and may be loaded.
    pub(super) fn forget(&mut self) {
        self.loaded = None;
    }

    /// A bound of the elements of the averages `state` after a gradient of this norm.
    pub(super) fn bound<T: Real>(&mut self, state: &Params<T>, gradient: f64) -> f64 {
        let of_state = || state.ids().map(|id| largest(state.get(id).data())).fold(0.0, f64::max);
        *self.loaded.get_or_insert_with(of_state) + self.gradient.max(gradient)
    }

    /// A step was taken with a gradient of this norm.
    pub(super) fn add(&mut self, gradient: f64) {
        self.gradient = self.gradient.max(gradient);
    }
}

/// Adds the state of a parameter under a name of its own.
#[track_caller]
pub(super) fn add_state<T: Real>(state: &mut Params<T>, name: &str, value: Tensor<T>) -> ParamId {
    assert!(
        state.find(name).is_none(),
        "an optimiser of other Params: it has {name} of another parameter of that name"
    );
    state.add(name, value)
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
pub(super) struct Groups<T> {
    pub(super) own: Group,
    others: Vec<(Belongs, Group)>,
    /// In which precision the settings are used.
    precision: PhantomData<T>,
}

impl<T: Real> Groups<T> {
    pub(super) fn new() -> Self {
        Groups { own: Group::default(), others: Vec::new(), precision: PhantomData }
    }

    #[track_caller]
    pub(super) fn add(
        &mut self,
        belongs: impl Fn(&str) -> bool + Send + Sync + 'static,
        group: Group,
    ) {
        assert_not_negative::<T>("learning rate", group.learning_rate);
        assert_not_negative::<T>("weight decay", group.weight_decay);
        self.others.push((Box::new(belongs), group));
    }

    /// The settings of a parameter: those of the last group that it belongs to.
    pub(super) fn of(&self, name: &str) -> Group {
        let mut groups = self.others.iter().rev();
        groups.find(|(belongs, _)| belongs(name)).map_or(self.own, |&(_, group)| group)
    }
}

/// Panics at the caller's line if a setting is negative or not finite, or the precision makes it 0.
#[track_caller]
pub(super) fn assert_not_negative<T: Real>(name: &str, value: f64) {
    assert_held::<T>(&format!("{name} {value:?}"), value);
}

/// Panics at the caller's line if a setting is not in \[0, 1), or the precision makes it 1.
#[track_caller]
pub(super) fn assert_fraction<T: Real>(name: &str, value: f64) {
    let below = (0.0..1.0).contains(&value) && T::from_f64(value) < T::ONE;
    assert!(below, "{name} {value:?}: expected a number in [0, 1) that the precision holds");
}

/// Panics at the caller's line if a learning rate is negative or not finite. One that a schedule
/// has made too small for the precision counts as 0.
#[track_caller]
pub(super) fn assert_learning_rate<T: Real>(rate: f64) {
    assert!(
        rate >= 0.0 && T::from_f64(rate).is_finite(),
        "learning rate {rate:?}: expected 0 or a positive number"
    );
}
