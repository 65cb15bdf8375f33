//! Files: written whole or not at all; tensors and metadata to and from safetensors.

use crate::error::{Error, Result};
use std::io::Write;
use std::path::Path;

/// Writes a file whole or not at all: to a temporary file beside it, synced, then renamed.
///
/// # Errors
/// [`Error::Io`] if that fails; `path` is then as it was.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = path.with_file_name(name);
    let write = || {
        let mut file = std::fs::File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().map_err(|source| {
        // The first error is the one to report; a part that cannot be removed is harmless.
        let _ = std::fs::remove_file(&part);
        Error::Io { path: path.to_path_buf(), source }
    })
}

#[cfg(feature = "io")]
pub use tensors::{StoredTensor, load_tensors, save_tensors};

/// Named tensors and metadata in
/// [safetensors](https://github.com/huggingface/safetensors) files, which PyTorch and others read
/// without executing anything.
#[cfg(feature = "io")]
mod tensors {
    use super::*;
    use crate::real::Real;
    use crate::tensor::Tensor;
    use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
    use std::collections::BTreeMap;
    use std::fmt;

    /// A tensor as a file holds it: type, shape, and elements in little-endian bytes.
    #[derive(Clone, Debug, PartialEq)]
    pub struct StoredTensor {
        dtype: Dtype,
        shape: Vec<usize>,
        bytes: Vec<u8>,
    }

    impl StoredTensor {
        /// A tensor in its own precision.
        pub fn from_tensor<T: Real>(tensor: &Tensor<T>) -> StoredTensor {
            let dtype = if size_of::<T>() == 4 { Dtype::F32 } else { Dtype::F64 };
            let bytes = tensor.data().iter().flat_map(|x| {
                let (single, double) =
                    ((x.to_f64() as f32).to_le_bytes(), x.to_f64().to_le_bytes());
                if dtype == Dtype::F32 { single.to_vec() } else { double.to_vec() }
            });
            StoredTensor { dtype, shape: tensor.shape().to_vec(), bytes: bytes.collect() }
        }

        /// A vector of bytes.
        pub fn from_bytes(bytes: Vec<u8>) -> StoredTensor {
            StoredTensor { dtype: Dtype::U8, shape: vec![bytes.len()], bytes }
        }

        /// The tensor, if it is of real numbers that `T` holds without rounding: `f32` in both
        /// precisions, `f64` in its own; and has at most four axes.
        pub fn to_tensor<T: Real>(&self) -> Option<Tensor<T>> {
            if self.shape.len() > 4 {
                return None;
            }
            let data = match self.dtype {
                Dtype::F32 => {
                    let numbers = self.bytes.as_chunks().0.iter();
                    numbers.map(|&x| T::from_f64(f64::from(f32::from_le_bytes(x)))).collect()
                }
                Dtype::F64 if size_of::<T>() == 8 => {
                    let numbers = self.bytes.as_chunks().0.iter();
                    numbers.map(|&x| T::from_f64(f64::from_le_bytes(x))).collect()
                }
                _ => return None,
            };
            Tensor::new(&self.shape[..], data).ok()
        }

        /// The bytes, if it is a vector of bytes.
        pub fn to_bytes(&self) -> Option<&[u8]> {
            (self.dtype == Dtype::U8 && self.shape.len() == 1).then_some(&self.bytes)
        }

        /// The lengths of the axes.
        pub fn shape(&self) -> &[usize] {
            &self.shape
        }
    }

    impl fmt::Display for StoredTensor {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "of shape {:?} and type {:?}", self.shape, self.dtype)
        }
    }

    /// Writes tensors and metadata to a safetensors file, whole or not at all. Equal contents give
    /// equal bytes.
    ///
    /// # Errors
    /// [`Error::Io`] if that fails.
    pub fn save_tensors(
        path: &Path,
        tensors: &BTreeMap<String, StoredTensor>,
        metadata: &[(&str, &str)],
    ) -> Result<()> {
        let views = tensors.iter().map(|(name, tensor)| {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
            (name, view.expect("as many bytes as the shape says"))
        });
        let metadata = metadata.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        let mut bytes = safetensors::serialize(views, Some(metadata)).expect("well-formed tensors");
        sort_header(&mut bytes);
        write_whole(path, &bytes)
    }

    /// Puts the keys of a file's header in sorted order: the order of its metadata is a hash map's.
    fn sort_header(bytes: &mut [u8]) {
        let (length, rest) = bytes.split_at_mut(8);
        let length = u64::from_le_bytes((&*length).try_into().expect("eight bytes"));
        let header = &mut rest[..length as usize];
        let json: serde_json::Value = serde_json::from_slice(header).expect("a header of JSON");
        let sorted = json.to_string();
        header.fill(b' ');
        header[..sorted.len()].copy_from_slice(sorted.as_bytes());
    }

    /// The tensors and metadata of a safetensors file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::File`] if it is no safetensors file, or a
    /// damaged one.
    pub fn load_tensors(
        path: &Path,
    ) -> Result<(BTreeMap<String, StoredTensor>, BTreeMap<String, String>)> {
        let bytes =
            std::fs::read(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
        parse(&bytes).map_err(|error| Error::File {
            path: path.to_path_buf(),
            found: error.to_string(),
            expected: "a safetensors file".into(),
        })
    }

    #[expect(clippy::type_complexity, reason = "that of load_tensors")]
    fn parse(
        bytes: &[u8],
    ) -> Result<(BTreeMap<String, StoredTensor>, BTreeMap<String, String>), SafeTensorError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone()));
        let file = SafeTensors::deserialize(bytes)?;
        let stored = |view: TensorView<'_>| StoredTensor {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        };
        let tensors = file.tensors().into_iter().map(|(name, view)| (name, stored(view)));
        Ok((tensors.collect(), metadata.collect()))
    }
}
