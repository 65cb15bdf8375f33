//! Named tensors that outlive the tape: what is trained, and the statistics that move beside it.

use crate::error::{Error, Result};
use crate::init::Init;
use crate::real::Real;
use crate::rng;
use crate::tensor::{Shape, Tensor};
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
struct Param<T: Real> {
    id: ParamId,
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
///
/// Layers add theirs to a [`Scope`], so that there can be any number of a kind:
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
    params: Vec<Param<T>>,
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

    /// A place for a layer's parameters, whose names will begin with `name` and a dot.
    pub fn scope(&mut self, name: &str) -> Scope<'_, T> {
        Scope { params: self, path: name.into(), init: None }
    }

    /// A place for the parameters of a whole model, whose names get no prefix.
    pub fn root(&mut self) -> Scope<'_, T> {
        self.scope("")
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
        static TAGS: AtomicU64 = AtomicU64::new(0);
        assert!(self.find(name).is_none(), "a parameter named {name} exists already");
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
    fn param_mut(&mut self, id: ParamId) -> &mut Param<T> {
        self.param(id);
        &mut self.params[id.index]
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

    /// The elements, to write to.
    ///
    /// # Panics
    /// If another tensor shares them: a tape that was not reset, or a clone that should be a
    /// [`deep_copy`](Tensor::deep_copy). Writing would otherwise copy the parameter in silence.
    #[track_caller]
    pub fn write(&mut self, id: ParamId) -> &mut [T] {
        let Param { name, value, .. } = self.param_mut(id);
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
        let param = self.param_mut(id);
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

    /// Checks that every element is finite.
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

/// Where a layer adds its parameters: a prefix of their names, from which their start values and
/// the layer's dropout masks follow as well.
pub struct Scope<'p, T: Real> {
    params: &'p mut Params<T>,
    path: String,
    init: Option<Init>,
}

impl<T: Real> Scope<'_, T> {
    /// Weights start as `init` says, and not as the layer's documentation says. Biases and
    /// statistics keep their own start values.
    ///
    /// # Panics
    /// If a bound or a standard deviation is negative or not finite.
    #[must_use]
    #[track_caller]
    pub fn init(self, init: Init) -> Self {
        init.assert_valid();
        Scope { init: Some(init), ..self }
    }

    /// A scope within this one, with the same start values.
    pub fn scope(&mut self, name: &str) -> Scope<'_, T> {
        let path = self.path(name);
        Scope { params: self.params, path, init: self.init }
    }

    /// The full name of what is called `name` here.
    pub fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.into() } else { format!("{}.{name}", self.path) }
    }

    /// Adds a weight. Its elements are drawn as [`init`](Scope::init) says, or as `default` says.
    ///
    /// # Panics
    /// If the name is taken.
    #[track_caller]
    pub fn weight(&mut self, name: &str, shape: impl Into<Shape>, default: Init) -> ParamId {
        let name = self.path(name);
        let mut rng = rng::stream(self.params.seed, &name, 0);
        let value = self.init.unwrap_or(default).draw(shape, &mut rng);
        self.params.add(&name, value)
    }

    /// Adds a parameter that starts as it is given, such as a bias.
    ///
    /// # Panics
    /// If the name is taken.
    #[track_caller]
    pub fn add(&mut self, name: &str, value: Tensor<T>) -> ParamId {
        let name = self.path(name);
        self.params.add(&name, value)
    }

    /// Adds a tensor that gets no gradient, as [`Params::add_statistic`].
    ///
    /// # Panics
    /// If the name is taken.
    #[track_caller]
    pub fn add_statistic(&mut self, name: &str, value: Tensor<T>) -> ParamId {
        let name = self.path(name);
        self.params.add_statistic(&name, value)
    }

    /// The random stream for `name`, which depends on the seed and the full name.
    pub fn stream(&self, name: &str) -> rng::ChaCha8Rng {
        rng::stream(self.params.seed, &self.path(name), 0)
    }
}

/// Files of parameters: safetensors, a tensor each under its name.
#[cfg(feature = "io")]
mod file {
    use super::*;
    use crate::io::{StoredTensor, load_tensors, save_tensors};
    use std::any::type_name;
    use std::path::Path;

    /// The value of `format` in the metadata.
    const FORMAT: &str = "dpq parameters 1";

    impl<T: Real> Params<T> {
        /// Writes all of them, statistics included, to a safetensors file, whole or not at all.
        ///
        /// # Errors
        /// [`Error::Io`] if that fails.
        pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
            let stored = |param: &Param<T>| {
                (param.name.to_string(), StoredTensor::from_tensor(&param.value))
            };
            let tensors = self.params.iter().map(stored).collect();
            save_tensors(path.as_ref(), &tensors, &[("format", FORMAT)])
        }

        /// Sets every parameter to the tensor of its name in a safetensors file, of any origin.
        ///
        /// Nothing is set unless all can be. Numbers of a file in double precision are not rounded
        /// to single: such a file is refused.
        ///
        /// # Errors
        /// [`Error::Io`] or [`Error::File`] if the file cannot be read; [`Error::File`] with the
        /// name and both shapes if a parameter is missing in it or has another shape or type, or if
        /// it has a tensor that is no parameter.
        pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
            let path = path.as_ref();
            let (tensors, _) = load_tensors(path)?;
            if let Some(name) = tensors.keys().find(|name| self.find(name).is_none()) {
                let expected = format!("only the {} parameters of the model", self.params.len());
                return Err(misfit(path, format!("tensor {name}"), expected));
            }
            self.take(path, tensors, |_| true)
        }

        /// [`load`](Params::load) of those parameters whose names `wanted` accepts; the others, and
        /// other tensors of the file, are left alone.
        ///
        /// # Errors
        /// As [`load`](Params::load), and if no parameter is wanted.
        pub fn load_where(
            &mut self,
            path: impl AsRef<Path>,
            wanted: impl Fn(&str) -> bool,
        ) -> Result<()> {
            let path = path.as_ref();
            if !self.params.iter().any(|param| wanted(&param.name)) {
                return Err(Error::Config {
                    name: "wanted",
                    value: "no parameter".into(),
                    expected: "at least one that is accepted".into(),
                });
            }
            let (tensors, _) = load_tensors(path)?;
            self.take(path, tensors, wanted)
        }

        fn take(
            &mut self,
            path: &Path,
            mut tensors: std::collections::BTreeMap<String, StoredTensor>,
            wanted: impl Fn(&str) -> bool,
        ) -> Result<()> {
            let mut values = Vec::new();
            for param in self.params.iter().filter(|param| wanted(&param.name)) {
                let (name, shape) = (&*param.name, param.value.shape());
                let expected =
                    || format!("{name} of shape {shape:?} and type {}", type_name::<T>());
                let Some(stored) = tensors.remove(name) else {
                    return Err(misfit(path, format!("no tensor {name}"), expected()));
                };
                let value = match stored.to_tensor::<T>() {
                    Some(value) if value.shape() == shape => value,
                    _ => return Err(misfit(path, format!("{name} {stored}"), expected())),
                };
                values.push((param.id, value));
            }
            for (id, value) in values {
                self.set(id, value);
            }
            Ok(())
        }
    }

    fn misfit(path: &Path, found: String, expected: String) -> Error {
        Error::File { path: path.to_path_buf(), found, expected }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn params() -> Params<f32> {
            let mut params = Params::new();
            params.add("a.weight", Tensor::from([[1.0, 2.0], [3.0, 4.0]]));
            params.add("b.weight", Tensor::from([5.0]));
            params.add_statistic("b.mean", Tensor::from([6.0]));
            params
        }

        fn values(params: &Params<f32>) -> Vec<Tensor<f32>> {
            params.ids().map(|id| params.get(id).clone()).collect()
        }

        fn zeroed() -> Params<f32> {
            let mut params = params();
            let ids: Vec<_> = params.ids().collect();
            ids.into_iter().for_each(|id| params.write(id).fill(0.0));
            params
        }

        #[test]
        fn what_was_saved_is_loaded_by_name() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("params");
            params().save(&path).unwrap();
            let mut other = zeroed();
            other.load(&path).unwrap();
            assert_eq!(values(&other), values(&params()));

            let mut some = zeroed();
            some.load_where(&path, |name| name.starts_with("b.")).unwrap();
            assert_eq!(values(&some)[0], Tensor::zeros([2, 2]));
            assert_eq!(values(&some)[1..], values(&params())[1..]);
            // Equal contents are equal bytes.
            let bytes = std::fs::read(&path).unwrap();
            params().save(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }

        #[test]
        fn what_does_not_fit_is_named_and_nothing_is_set() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("params");
            let refused = |saved: &Params<f32>| {
                saved.save(&path).unwrap();
                let mut model = zeroed();
                let fault = model.load(&path).unwrap_err().to_string();
                assert_eq!(values(&model), values(&zeroed()), "nothing is set");
                fault.strip_prefix(&format!("{}: ", path.display())).unwrap().to_string()
            };
            let mut more = params();
            more.add("c", Tensor::from([1.0]));
            assert_eq!(
                refused(&more),
                "found tensor c, expected only the 3 parameters of the model"
            );
            let mut fewer = Params::new();
            fewer.add("a.weight", Tensor::from([[1.0, 2.0], [3.0, 4.0]]));
            assert_eq!(
                refused(&fewer),
                "found no tensor b.weight, expected b.weight of shape [1] and type f32"
            );
            let mut other = Params::new();
            other.add("a.weight", Tensor::from([1.0, 2.0]));
            assert_eq!(
                refused(&other),
                "found a.weight of shape [2] and type F32, \
                 expected a.weight of shape [2, 2] and type f32"
            );
            params().cast::<f64>().save(&path).unwrap();
            let fault = zeroed().load(&path).unwrap_err().to_string();
            assert!(fault.contains("type F64"), "{fault}");
            // The other way no digit is lost.
            params().save(&path).unwrap();
            zeroed().cast::<f64>().load(&path).unwrap();
        }
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

    #[test]
    fn scopes_give_names_and_each_name_its_own_start_values() {
        let mut params = Params::<f32>::seeded(3);
        let a = params.scope("a").weight("w", [4], Init::Uniform(1.0));
        let mut b = params.scope("b").init(Init::Zeros);
        let (b, c) =
            (b.weight("w", [4], Init::Uniform(1.0)), b.scope("c").weight("w", [4], Init::He));
        let d = params.root().weight("w", [4], Init::Uniform(1.0));
        let names: Vec<_> = params.ids().map(|id| params.name(id)).collect();
        assert_eq!(names, ["a.w", "b.w", "b.c.w", "w"]);
        assert_ne!(params.get(a), params.get(d));
        assert!([b, c].iter().all(|&id| *params.get(id) == Tensor::zeros([4])));
        let mut other = Params::<f32>::seeded(4);
        let other_a = other.scope("a").weight("w", [4], Init::Uniform(1.0));
        assert_ne!(params.get(a), other.get(other_a));
    }
}
