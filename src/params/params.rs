//! Parameters: tensors under names, and the handles that layers keep.

use crate::real::Real;
use crate::tensor::Tensor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which tensor of a [`Params`].
///
/// It knows the tensor that it was given out for: [`Params`] that do not hold it, or a clone of it,
/// refuse it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId {
    index: usize,
    /// Another one for every tensor ever added.
    tag: u64,
}

impl ParamId {
    /// Its position, in the order in which the tensors were added.
    pub fn index(self) -> usize {
        self.index
    }
}

impl std::fmt::Debug for ParamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ParamId({})", self.index)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Param<T: Real> {
    pub(super) id: ParamId,
    pub(super) name: Arc<str>,
    pub(super) value: Tensor<T>,
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
///
/// Layers add theirs to a [`Scope`](super::Scope), so that there can be any number of a kind:
///
/// ```
/// use dpq::{FullEmbedding, Init, Params};
/// let mut params = Params::<f32>::seeded(7);
/// let source = FullEmbedding::new(params.scope("source"), 1000, 64);
/// let target = FullEmbedding::new(params.scope("target").init(Init::Normal(0.02)), 800, 64);
/// assert_eq!(params.name(source.table()), "source.weight");
/// assert_eq!(params.get(target.table()).shape()[..], [800, 64]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Params<T: Real> {
    pub(super) params: Vec<Param<T>>,
    seed: u64,
}

impl<T: Real> Params<T> {
    /// No parameters yet. The seed is 0.
    pub fn new() -> Self {
        Self::seeded(0)
    }

    /// No parameters yet. The seed decides start values, and dropout masks unless the tape is
    /// [told otherwise](crate::Tape::set_noise).
    pub fn seeded(seed: u64) -> Self {
        Params { params: Vec::new(), seed }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Adds a tensor that is trained.
    ///
    /// # Panics
    /// If the name is taken, or `__metadata__`.
    #[track_caller]
    pub fn add(&mut self, name: &str, value: Tensor<T>) -> ParamId {
        self.push(name, value, true)
    }

    /// Adds a tensor that gets no gradient: a running average, moved by
    /// [`Tape::move_statistic`](crate::Tape::move_statistic).
    ///
    /// # Panics
    /// If the name is taken, or `__metadata__`.
    #[track_caller]
    pub fn add_statistic(&mut self, name: &str, value: Tensor<T>) -> ParamId {
        self.push(name, value, false)
    }

    #[track_caller]
    fn push(&mut self, name: &str, value: Tensor<T>, trained: bool) -> ParamId {
        static TAGS: AtomicU64 = AtomicU64::new(0);
        assert!(self.find(name).is_none(), "a parameter named {name} exists already");
        assert!(
            name != "__metadata__",
            "a parameter named {name}: files keep that name for themselves"
        );
        let id = ParamId { index: self.params.len(), tag: TAGS.fetch_add(1, Ordering::Relaxed) };
        self.params.push(Param { id, name: name.into(), value, trained });
        id
    }

    #[track_caller]
    fn param(&self, id: ParamId) -> &Param<T> {
        match self.params.get(id.index) {
            Some(param) if param.id == id => param,
            _ => panic!("{id:?} is of other Params"),
        }
    }

    #[track_caller]
    fn params_mut<const N: usize>(&mut self, ids: [ParamId; N]) -> [&mut Param<T>; N] {
        // No closures: a panic is at the caller's line.
        for id in ids {
            self.param(id);
        }
        self.params.get_disjoint_mut(ids.map(|id| id.index)).expect("different parameters")
    }

    /// All of them, in the order in which they were added.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = ParamId> + use<T> {
        self.params.iter().map(|param| param.id).collect::<Vec<_>>().into_iter()
    }

    /// The parameter with this name.
    pub fn find(&self, name: &str) -> Option<ParamId> {
        self.params.iter().find(|param| &*param.name == name).map(|param| param.id)
    }

    /// The parameter's name.
    ///
    /// # Panics
    /// As every method that is given a [`ParamId`]: if it is of other `Params`.
    #[track_caller]
    pub fn name(&self, id: ParamId) -> &str {
        &self.param(id).name
    }

    /// The name, shared.
    pub(crate) fn label(&self, id: ParamId) -> Arc<str> {
        self.param(id).name.clone()
    }

    /// The parameter's value.
    #[track_caller]
    pub fn get(&self, id: ParamId) -> &Tensor<T> {
        &self.param(id).value
    }

    /// Whether it is trained, rather than a statistic.
    #[track_caller]
    pub fn is_trained(&self, id: ParamId) -> bool {
        self.param(id).trained
    }

    /// The same parameters with elements of their own: what is written to these does not change those.
    #[must_use]
    pub fn deep_copy(&self) -> Params<T> {
        let copy = |param: &Param<T>| Param { value: param.value.deep_copy(), ..param.clone() };
        Params { params: self.params.iter().map(copy).collect(), seed: self.seed }
    }

    /// The elements, to write to.
    ///
    /// # Panics
    /// If another tensor shares them: a tape that was not reset, or a clone that should be a
    /// [`deep_copy`](Tensor::deep_copy). Writing would otherwise copy the parameter in silence.
    #[track_caller]
    pub fn write(&mut self, id: ParamId) -> &mut [T] {
        let [elements] = self.write_each([id]);
        elements
    }

    /// As [`write`](Params::write), to several different ones at a time.
    #[track_caller]
    pub(crate) fn write_each<const N: usize>(&mut self, ids: [ParamId; N]) -> [&mut [T]; N] {
        let mut params = self.params_mut(ids);
        for Param { name, value, .. } in &mut params {
            assert!(
                value.unique_mut().is_some(),
                "parameter {name} is shared: reset the tape before writing, and keep copies by deep_copy"
            );
        }
        params.map(|param| param.value.unique_mut().expect("as asserted"))
    }

    /// Replaces the value.
    ///
    /// # Panics
    /// If the shape is another.
    #[track_caller]
    pub fn set(&mut self, id: ParamId, value: Tensor<T>) {
        let [param] = self.params_mut([id]);
        assert_eq!(param.value.shape(), value.shape(), "set {}: shapes", param.name);
        param.value = value;
    }

    /// How many elements are trained.
    pub fn trained_elements(&self) -> usize {
        self.params.iter().filter(|param| param.trained).map(|param| param.value.data().len()).sum()
    }

    /// The same parameters in another precision; the same [`ParamId`]s serve both.
    pub fn cast<U: Real>(&self) -> Params<U> {
        let cast = |param: &Param<T>| Param {
            id: param.id,
            name: param.name.clone(),
            value: param.value.cast(),
            trained: param.trained,
        };
        Params { params: self.params.iter().map(cast).collect(), seed: self.seed }
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

    #[test]
    #[should_panic(expected = "ParamId(0) is of other Params")]
    fn ids_of_other_params_are_refused() {
        let (mut own, mut other) = (Params::new(), Params::new());
        own.add("w", Tensor::from([1.0_f32]));
        let w = other.add("w", Tensor::from([1.0_f32]));
        own.get(w);
    }

    #[test]
    fn ids_serve_clones_and_other_precisions() {
        let mut params = Params::new();
        let w = params.add("w", Tensor::from([1.5_f32]));
        assert_eq!(params.clone().get(w).data(), [1.5]);
        assert_eq!(params.cast::<f64>().get(w).data(), [1.5]);
    }
}
