//! What is taken out of a checkpoint, checked.

use super::checkpoint::section;
use super::history::{Epoch, from_tensors};
use crate::error::{Error, Result};
use crate::io::StoredTensor;
use crate::real::Real;
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::path::Path;

/// A checkpoint that was found, to take things out of.
pub(super) struct Found<'a> {
    pub(super) path: &'a Path,
    pub(super) tensors: &'a BTreeMap<String, StoredTensor<'static>>,
    pub(super) metadata: &'a BTreeMap<String, String>,
}

impl Found<'_> {
    pub(super) fn refuse<R>(&self, found: String, expected: String) -> Result<R> {
        Err(Error::File { path: self.path.to_path_buf(), found, expected })
    }

    /// A number of the metadata.
    pub(super) fn number(&self, name: &str) -> Result<usize> {
        let value = self.metadata.get(name);
        match value.and_then(|text| text.parse().ok()) {
            Some(number) => Ok(number),
            None => self.refuse(format!("{name} = {value:?} in its metadata"), "a number".into()),
        }
    }

    /// The history, of so many epochs.
    pub(super) fn history(&self, epochs: usize) -> Result<Vec<Epoch>> {
        match from_tensors(&section(self.tensors, "history.")) {
            Some(history) if history.len() == epochs => Ok(history),
            Some(history) => {
                let found = format!("a history of {} epochs", history.len());
                self.refuse(found, format!("one of {epochs}"))
            }
            None => self.refuse("no history".into(), "a checkpoint".into()),
        }
    }

    /// Sum of the task's number over the steps of the epoch so far, and their seconds.
    pub(super) fn progress(&self) -> Result<[f64; 2]> {
        let progress = self.tensors.get("progress").and_then(StoredTensor::to_tensor::<f64>);
        match progress.as_ref().map(Tensor::data) {
            Some(&[sum, seconds]) => Ok([sum, seconds]),
            _ => self.refuse("no progress".into(), "a checkpoint".into()),
        }
    }

    /// What the task carried then, of the names and shapes of what it carries now.
    pub(super) fn carried<T: Real>(
        &self,
        own: Vec<(String, Tensor<T>)>,
    ) -> Result<Vec<(String, Tensor<T>)>> {
        let mut carried = Vec::new();
        for (name, own) in own {
            let stored = self.tensors.get(&format!("carried.{name}"));
            match stored.and_then(StoredTensor::to_tensor::<T>) {
                Some(tensor) if tensor.shape() == own.shape() => carried.push((name, tensor)),
                _ => {
                    let found =
                        stored.map_or("nothing".into(), |stored| format!("{name} {stored}"));
                    return self.refuse(found, format!("{name} of shape {:?}", own.shape()));
                }
            }
        }
        Ok(carried)
    }
}
