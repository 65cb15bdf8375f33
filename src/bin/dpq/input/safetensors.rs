//! One tensor of a safetensors file.

use super::misfit;
use super::numbers::{Kind, Numbers};
use crate::Fault;
use dpq::Error;
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The longest header that is read.
const LONGEST: u64 = 1 << 26;

/// The tensor of this name, or the only matrix.
///
/// # Errors
/// If it is no such file, or has no such tensor.
pub fn open(path: &Path, mut file: File, name: Option<&str>) -> Result<Numbers, Fault> {
    let io = |source| Error::io(path, source);
    let length = file.metadata().map_err(io)?.len();
    let mut bytes = [0; 8];
    let is_short = length < 8;
    if !is_short {
        file.read_exact(&mut bytes).map_err(io)?;
    }
    let header = u64::from_le_bytes(bytes);
    if is_short || header > LONGEST.min(length - 8) {
        let found = format!("a header of {header} bytes in a file of {length}");
        return Err(misfit(path, found, "a safetensors file").into());
    }
    let mut bytes = vec![0; header as usize];
    file.read_exact(&mut bytes).map_err(io)?;
    let metadata: Metadata = serde_json::from_slice(&bytes).map_err(|fault| {
        misfit(path, format!("a header that cannot be read: {fault}"), "a safetensors file")
    })?;
    let tensors = metadata.tensors();
    let kind = |dtype: Dtype| match dtype {
        Dtype::F16 => Some(Kind::F16),
        Dtype::BF16 => Some(Kind::Bf16),
        Dtype::F32 => Some(Kind::F32),
        Dtype::F64 => Some(Kind::F64),
        _ => None,
    };
    let mut matrices: Vec<&String> = tensors
        .iter()
        .filter(|(_, info)| info.shape.len() == 2 && kind(info.dtype).is_some())
        .map(|(name, _)| name)
        .collect();
    matrices.sort();
    let all = || format!("--tensor with one of {matrices:?}");
    let name = match (name, &matrices[..]) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, []) => return Err(misfit(path, "no matrix of floating-point numbers", "one").into()),
        (None, several) => {
            return Err(misfit(path, format!("{} matrices", several.len()), all()).into());
        }
    };
    let Some(info) = tensors.get(name) else {
        return Err(misfit(path, format!("no tensor {name}"), all()).into());
    };
    let (Some(kind), &[rows, width]) = (kind(info.dtype), &info.shape[..]) else {
        let found = format!("a tensor {name} of shape {:?} and type {:?}", info.shape, info.dtype);
        return Err(misfit(path, found, "a matrix of type F16, BF16, F32 or F64").into());
    };
    let start = 8 + header + info.data_offsets.0 as u64;
    Numbers { file, start, rows, width, kind, big_endian: false, by_columns: false }.checked(path)
}
