//! Named tensors that outlive the tape: what is trained, and the statistics that move beside it.

use crate::error::{Error, Result};
use crate::real::Real;
use crate::tensor::Tensor;
use std::sync::Arc;

/// Which tensor of a [`Params`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(usize);

impl ParamId {
    /// Its position, in the order in which the tensors were added.
    pub fn index(self) -> usize {
        self.0
    }
}

#[derive(Clone, Debug)]
struct Param<T: Real> {
    name: Arc<str>,
    value: Tensor<T>,
    trained: bool,
}

/// The parameters of a model, under names that stay the same from run to run.
///
/// ```
/// use dpq::{Params, Tensor};
/// let mut params = Params::new();
/// let weight = params.add("linear.weight", Tensor::from([[1.0_f32, 2.0]]));
/// params.write(weight)[0] = 3.0;
/// assert_eq!(params.get(weight).data(), [3.0, 2.0]);
/// assert_eq!(params.name(weight), "linear.weight");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Params<T: Real> {
    params: Vec<Param<T>>,
}

impl<T: Real> Params<T> {
    /// No parameters yet.
    pub fn new() -> Self {
        Params { params: Vec::new() }
    }

    /// Adds a tensor that is trained.
    ///
    /// # Panics
    /// If the name is taken.
    #[track_caller]
    pub fn add(&mut self, name: &str, value: Tensor<T>) -> ParamId {
        self.push(name, value, true)
    }

    /// Adds a tensor that gets no gradient: a running average, moved by
    /// [`Tape::move_statistic`](crate::Tape::move_statistic).
    ///
    /// # Panics
    /// If the name is taken.
    #[track_caller]
    pub fn add_statistic(&mut self, name: &str, value: Tensor<T>) -> ParamId {
        self.push(name, value, false)
    }

    #[track_caller]
    fn push(&mut self, name: &str, value: Tensor<T>, trained: bool) -> ParamId {
        assert!(self.find(name).is_none(), "a parameter named {name} exists already");
        self.params.push(Param { name: name.into(), value, trained });
        ParamId(self.params.len() - 1)
    }

    /// All of them, in the order in which they were added.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = ParamId> + use<T> {
        (0..self.params.len()).map(ParamId)
    }

    /// The parameter with this name.
    pub fn find(&self, name: &str) -> Option<ParamId> {
        self.params.iter().position(|param| &*param.name == name).map(ParamId)
    }

    /// The parameter's name.
    pub fn name(&self, id: ParamId) -> &str {
        &self.params[id.0].name
    }

    /// The name, shared.
    pub(crate) fn label(&self, id: ParamId) -> Arc<str> {
        self.params[id.0].name.clone()
    }

    /// The parameter's value.
    pub fn get(&self, id: ParamId) -> &Tensor<T> {
        &self.params[id.0].value
    }

    /// Whether it is trained, rather than a statistic.
    pub fn is_trained(&self, id: ParamId) -> bool {
        self.params[id.0].trained
    }

    /// The elements, to write to.
    ///
    /// # Panics
    /// If another tensor shares them: a tape that was not reset, or a clone that should be a
    /// [`deep_copy`](Tensor::deep_copy). Writing would otherwise copy the parameter in silence.
    #[track_caller]
    pub fn write(&mut self, id: ParamId) -> &mut [T] {
        let Param { name, value, .. } = &mut self.params[id.0];
        match value.unique_mut() {
            Some(elements) => elements,
            None => panic!(
                "parameter {name} is shared: reset the tape before writing, and keep copies by deep_copy"
            ),
        }
    }

    /// Replaces the value.
    ///
    /// # Panics
    /// If the shape is another.
    #[track_caller]
    pub fn set(&mut self, id: ParamId, value: Tensor<T>) {
        let param = &mut self.params[id.0];
        assert_eq!(param.value.shape(), value.shape(), "set {}: shapes", param.name);
        param.value = value;
    }

    /// How many numbers are trained.
    pub fn trained_elements(&self) -> usize {
        self.params.iter().filter(|param| param.trained).map(|param| param.value.data().len()).sum()
    }

    /// The same parameters in another precision.
    pub fn cast<U: Real>(&self) -> Params<U> {
        let cast = |param: &Param<T>| Param {
            name: param.name.clone(),
            value: param.value.cast(),
            trained: param.trained,
        };
        Params { params: self.params.iter().map(cast).collect() }
    }

    /// Checks that every number is finite.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first parameter that has another.
    pub fn check_finite(&self) -> Result<()> {
        for Param { name, value, .. } in &self.params {
            if let Some(bad) = value.not_finite() {
                return Err(Error::NotFinite {
                    what: format!("parameter {name}"),
                    value: bad.to_f64(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "parameter w is shared: reset the tape")]
    fn writing_to_a_shared_parameter_panics() {
        let mut params = Params::new();
        let w = params.add("w", Tensor::from([1.0_f32]));
        let _kept = params.get(w).clone();
        params.write(w);
    }

    #[test]
    #[should_panic(expected = "a parameter named w exists already")]
    fn names_are_taken_once() {
        let mut params = Params::new();
        params.add("w", Tensor::from([1.0_f32]));
        params.add_statistic("w", Tensor::from([1.0_f32]));
    }
}
