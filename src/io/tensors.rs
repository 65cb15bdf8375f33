//! Named tensors and metadata in [safetensors](https://github.com/huggingface/safetensors) files, which
//! PyTorch and others read without executing anything.

use super::write::write_whole;
use crate::error::{Error, Result};
use crate::real::{Real, to_bytes};
use crate::tensor::Tensor;
use safetensors::tensor::{Dtype, Metadata, SafeTensorError, SafeTensors, TensorInfo, TensorView};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

/// A tensor as a file holds it: type, shape, and elements in little-endian bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTensor<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

/// The tensors of a file, and its metadata, by name.
pub type TensorFile<'a> = (BTreeMap<String, StoredTensor<'a>>, BTreeMap<String, String>);

impl<'a> StoredTensor<'a> {
    /// A tensor in its own precision.
    pub fn from_tensor<T: Real>(tensor: &Tensor<T>) -> StoredTensor<'static> {
        let single = size_of::<T>() == 4;
        let dtype = if single { Dtype::F32 } else { Dtype::F64 };
        StoredTensor {
            dtype,
            shape: tensor.shape().to_vec(),
            bytes: to_bytes(tensor.data()).into(),
        }
    }

    /// A vector of bytes.
    pub fn from_bytes(bytes: impl Into<Cow<'a, [u8]>>) -> StoredTensor<'a> {
        let bytes = bytes.into();
        StoredTensor { dtype: Dtype::U8, shape: vec![bytes.len()], bytes }
    }

    /// Integers of 32 bits.
    pub fn from_ids(ids: &[u32]) -> StoredTensor<'static> {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        StoredTensor { dtype: Dtype::U32, shape: vec![ids.len()], bytes: bytes.into() }
    }

    /// Integers of 8 bits with these lengths of axes.
    ///
    /// # Panics
    /// If there are not as many as the shape says.
    #[track_caller]
    pub fn from_integers(integers: &[i8], shape: &[usize]) -> StoredTensor<'static> {
        assert_eq!(integers.len(), shape.iter().product::<usize>(), "integers of shape {shape:?}");
        let bytes: Vec<u8> = integers.iter().map(|&x| x as u8).collect();
        StoredTensor { dtype: Dtype::I8, shape: shape.to_vec(), bytes: bytes.into() }
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

    /// The integers, if it is a vector of unsigned ones of 32 bits.
    pub fn to_ids(&self) -> Option<Vec<u32>> {
        let ids = || self.bytes.as_chunks().0.iter().map(|&x| u32::from_le_bytes(x)).collect();
        (self.dtype == Dtype::U32 && self.shape.len() == 1).then(ids)
    }

    /// The integers, if they are signed ones of 8 bits.
    pub fn to_integers(&self) -> Option<Vec<i8>> {
        let integers = || self.bytes.iter().map(|&x| x as i8).collect();
        (self.dtype == Dtype::I8).then(integers)
    }

    /// The lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The same with bytes of its own.
    fn into_owned(self) -> StoredTensor<'static> {
        StoredTensor { bytes: self.bytes.into_owned().into(), ..self }
    }
}

impl fmt::Display for StoredTensor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of shape {:?} and type {:?}", self.shape, self.dtype)
    }
}

/// Writes tensors and metadata to a safetensors file, whole or not at all. Equal contents give equal
/// bytes.
///
/// # Errors
/// Those of [`write_whole`].
pub fn save_tensors(
    path: &Path,
    tensors: &BTreeMap<String, StoredTensor<'_>>,
    metadata: &[(&str, &str)],
) -> Result<()> {
    write_whole(path, &tensors_to_bytes(tensors, metadata))
}

/// What [`save_tensors`] writes.
///
/// # Panics
/// If names and metadata make a header of more than 8 MiB, which would not be read.
#[track_caller]
pub fn tensors_to_bytes(
    tensors: &BTreeMap<String, StoredTensor<'_>>,
    metadata: &[(&str, &str)],
) -> Vec<u8> {
    let views = tensors.iter().map(|(name, tensor)| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
        (name, view.expect("as many bytes as the shape says"))
    });
    let pairs = metadata.iter().map(|&(key, value)| (key.into(), value.into()));
    // Of no tensors and an empty map safetensors makes a header that is no JSON.
    let metadata = (!metadata.is_empty()).then(|| pairs.collect());
    let mut bytes = safetensors::serialize(views, metadata).expect("well-formed tensors");
    sort_header(&mut bytes);
    let header = u64::from_le_bytes(*bytes.first_chunk().expect("the header's length"));
    assert!(header <= HEADER_BYTES, "a header of {header} bytes: expected at most {HEADER_BYTES}");
    bytes
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
/// [`Error::Io`] if it cannot be read, [`Error::File`] if it is no safetensors file, or a damaged one.
pub fn load_tensors(path: &Path) -> Result<TensorFile<'static>> {
    let bytes = read(path)?;
    let (tensors, metadata) = tensors_from_bytes(path, &bytes)?;
    let owned = tensors.into_iter().map(|(name, tensor)| (name, tensor.into_owned()));
    Ok((owned.collect(), metadata))
}

/// The tensors and metadata in the bytes of a safetensors file. The tensors stay where they are; errors
/// name `path`.
///
/// # Errors
/// [`Error::File`] if they are no safetensors file, or a damaged one.
pub fn tensors_from_bytes<'a>(path: &Path, bytes: &'a [u8]) -> Result<TensorFile<'a>> {
    let misfit = |found| Error::File {
        path: path.to_path_buf(),
        found,
        expected: "a safetensors file".into(),
    };
    let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    if header > HEADER_BYTES {
        return Err(misfit(format!("a header of {header} bytes")));
    }
    parse(bytes).map_err(|error| misfit(culprit(bytes).unwrap_or_else(|| error.to_string())))
}

/// The longest header that is read, room for some 80,000 tensors: a parsed one takes many times its
/// bytes.
const HEADER_BYTES: u64 = 1 << 23;

/// The first tensor of a damaged file, with what its header says of it, whose type, shape and place
/// contradict each other.
fn culprit(bytes: &[u8]) -> Option<String> {
    let length = u64::from_le_bytes(*bytes.first_chunk()?) as usize;
    let end = length.checked_add(8).filter(|_| length <= DIAGNOSED)?;
    let header: BTreeMap<String, &RawValue> = serde_json::from_slice(bytes.get(8..end)?).ok()?;
    let fits = |entry: &RawValue| {
        let TensorInfo { dtype, shape, data_offsets: (start, stop) } =
            serde_json::from_str(entry.get()).ok()?;
        let bits = shape.iter().try_fold(dtype.bitsize(), |bits, &n| bits.checked_mul(n))?;
        let held = stop.checked_sub(start)?.checked_mul(8)?;
        (held == bits && stop <= bytes.len() - end).then_some(())
    };
    let mut tensors = header.iter().filter(|(name, _)| *name != "__metadata__");
    let (name, entry) = tensors.find(|(_, entry)| fits(entry).is_none())?;
    Some(format!("tensor {name} with {entry}"))
}

/// Longer headers are not searched for what is wrong with them.
const DIAGNOSED: usize = 1 << 16;

fn parse(bytes: &[u8]) -> Result<TensorFile<'_>, SafeTensorError> {
    let (length, header) = SafeTensors::read_metadata(bytes)?;
    let data = &bytes[8 + length..];
    let tensors = header.tensors().into_iter().map(|(name, info)| {
        let (start, stop) = info.data_offsets;
        let (dtype, shape, bytes) = (info.dtype, info.shape.clone(), data[start..stop].into());
        (name, StoredTensor { dtype, shape, bytes })
    });
    let metadata = header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone()));
    Ok((tensors.collect(), metadata.collect()))
}

/// A tensor that is still in its file.
#[derive(Debug)]
pub(crate) struct PlacedTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Its bytes in the file.
    pub(crate) place: Range<u64>,
}

impl PlacedTensor {
    /// Whether it is a vector of bytes.
    pub(crate) fn is_bytes(&self) -> bool {
        self.dtype == Dtype::U8 && self.shape.len() == 1
    }

    /// The tensor.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read.
    pub(crate) fn read(&self, path: &Path, file: &File) -> Result<StoredTensor<'static>> {
        let mut bytes = vec![0; (self.place.end - self.place.start) as usize];
        read_at(file, &mut bytes, self.place.start).map_err(|source| Error::io(path, source))?;
        Ok(StoredTensor { dtype: self.dtype, shape: self.shape.clone(), bytes: bytes.into() })
    }
}

/// Where in a safetensors file its tensors are, and its metadata; only the header is read, which may
/// have `most` bytes.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::File`] if it is no safetensors file, or a damaged one.
pub(crate) fn placed_tensors(
    path: &Path,
    file: &File,
    most: u64,
) -> Result<(BTreeMap<String, PlacedTensor>, BTreeMap<String, String>)> {
    let misfit = |found| Error::File {
        path: path.to_path_buf(),
        found,
        expected: "a safetensors file".into(),
    };
    let io = |source| Error::io(path, source);
    let bytes = file.metadata().map_err(io)?.len();
    let mut length = [0; 8];
    if bytes < 8 {
        return Err(misfit(format!("{bytes} bytes")));
    }
    read_at(file, &mut length, 0).map_err(io)?;
    let length = u64::from_le_bytes(length);
    if length > most.min(bytes - 8) {
        return Err(misfit(format!("a header of {length} bytes")));
    }
    let mut header = vec![0; length as usize];
    read_at(file, &mut header, 8).map_err(io)?;
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|error| misfit(error.to_string()))?;
    let start = 8 + length;
    let (held, stated) = (bytes - start, header.data_len() as u64);
    if held != stated {
        return Err(misfit(format!("{held} bytes of tensors where the header has {stated}")));
    }
    let placed = header.tensors().into_iter().map(|(name, info)| {
        let (first, end) = info.data_offsets;
        let place = start + first as u64..start + end as u64;
        (name, PlacedTensor { dtype: info.dtype, shape: info.shape.clone(), place })
    });
    let metadata = header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone()));
    Ok((placed.collect(), metadata.collect()))
}

/// Fills a buffer from the bytes of a file from `offset` on, wherever the file's cursor is.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Fills a buffer from the bytes of a file from `offset` on.
#[cfg(windows)]
pub(crate) fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[n..];
        offset += n as u64;
    }
    Ok(())
}

/// The bytes of a file.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::io(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_have_no_tensors_and_no_metadata() {
        let tensor = BTreeMap::from([("a".into(), StoredTensor::from_bytes(&[1, 2][..]))]);
        for tensors in [BTreeMap::new(), tensor] {
            for metadata in [&[][..], &[("key", "value")]] {
                let bytes = tensors_to_bytes(&tensors, metadata);
                let (read, pairs) = tensors_from_bytes(Path::new("bytes"), &bytes).unwrap();
                assert_eq!(read, tensors);
                assert!(pairs.iter().map(|(key, value)| (&**key, &**value)).eq(metadata.to_vec()));
            }
        }
    }
}
