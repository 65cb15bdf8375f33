//! Scopes: where the layers of a model add their parameters.

use super::params::{ParamId, Params};
use crate::init::Init;
use crate::real::Real;
use crate::rng;
use crate::tensor::{Shape, Tensor};

impl<T: Real> Params<T> {
    /// A place for a layer's parameters, whose names will begin with `name` and a dot.
    pub fn scope(&mut self, name: &str) -> Scope<'_, T> {
        Scope { params: self, path: name.into(), init: None }
    }

    /// A place for the parameters of a whole model, whose names get no prefix.
    pub fn root(&mut self) -> Scope<'_, T> {
        self.scope("")
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
    /// If a bound or a standard deviation is negative or not finite, or the precision makes it 0.
    #[must_use]
    #[track_caller]
    pub fn init(self, init: Init) -> Self {
        init.assert_valid::<T>();
        Scope { init: Some(init), ..self }
    }

    /// How weights start here, or `default`.
    pub(crate) fn init_or(&self, default: Init) -> Init {
        self.init.unwrap_or(default)
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
        let value = self.draw(name, shape, default);
        self.add(name, value)
    }

    /// The start values that [`weight`](Scope::weight) would give a parameter of this name.
    pub fn draw(&self, name: &str, shape: impl Into<Shape>, default: Init) -> Tensor<T> {
        self.init_or(default).draw(shape, &mut self.stream(name))
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
        rng::stream(self.params.seed(), &self.path(name), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
