//! Files of parameters: safetensors, a tensor each under its name.

use super::params::{Param, Params};
use crate::error::{Error, Result};
use crate::io::{StoredTensor, read, tensors_from_bytes, tensors_to_bytes, write_whole};
use crate::real::Real;
use std::any::type_name;
use std::collections::BTreeMap;
use std::path::Path;

/// The value of `format` in the metadata.
const FORMAT: &str = "dpq parameters 1";

impl<T: Real> Params<T> {
    /// Writes all of them, statistics included, to a safetensors file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the name of a parameter that is not finite; those of [`write_whole`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        for param in &self.params {
            param.value.check_finite(|| format!("parameter {}", param.name))?;
        }
        write_whole(path.as_ref(), &self.to_bytes())
    }

    /// What [`save`](Params::save) writes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let tensors = self.stored().map(|(name, tensor)| (name.to_string(), tensor)).collect();
        tensors_to_bytes(&tensors, &[("format", FORMAT)])
    }

    /// All of them under their names, as a file holds them.
    pub(crate) fn stored(&self) -> impl Iterator<Item = (&str, StoredTensor<'static>)> {
        let stored = |param: &Param<T>| StoredTensor::from_tensor(&param.value);
        self.params.iter().map(move |param| (&*param.name, stored(param)))
    }

    /// Sets every parameter to the tensor of its name in a safetensors file, of any origin.
    ///
    /// Nothing is set unless all can be. Numbers of a file in double precision are not rounded
    /// to single: such a file is refused.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] if the file cannot be read; [`Error::File`] with the
    /// name and both shapes if a parameter is missing in it or has another shape or type, or if
    /// it has a tensor that is no parameter; [`Error::NotFinite`] if an element is not finite.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = read(path)?;
        self.take_all(path, tensors_from_bytes(path, &bytes)?.0)
    }

    /// [`load`](Params::load) from the bytes of such a file, which errors call `bytes`.
    ///
    /// # Errors
    /// As [`load`](Params::load).
    pub fn load_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let path = Path::new("bytes");
        self.take_all(path, tensors_from_bytes(path, bytes)?.0)
    }

    /// [`load`](Params::load) of tensors that are read already; errors name `path`.
    pub(crate) fn take_all(
        &mut self,
        path: &Path,
        tensors: BTreeMap<String, StoredTensor<'_>>,
    ) -> Result<()> {
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
        let bytes = read(path)?;
        self.take(path, tensors_from_bytes(path, &bytes)?.0, wanted)
    }

    fn take(
        &mut self,
        path: &Path,
        mut tensors: BTreeMap<String, StoredTensor<'_>>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let mut values = Vec::new();
        for param in self.params.iter().filter(|param| wanted(&param.name)) {
            let (name, shape) = (&*param.name, param.value.shape());
            let expected = || format!("{name} of shape {shape:?} and type {}", type_name::<T>());
            let Some(stored) = tensors.remove(name) else {
                return Err(misfit(path, format!("no tensor {name}"), expected()));
            };
            let value = match stored.to_tensor::<T>() {
                Some(value) if value.shape() == shape => value,
                _ => return Err(misfit(path, format!("{name} {stored}"), expected())),
            };
            value.check_finite(|| format!("parameter {name} of {}", path.display()))?;
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
    use crate::tensor::Tensor;

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
        assert_eq!(refused(&more), "found tensor c, expected only the 3 parameters of the model");
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
