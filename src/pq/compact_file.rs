//! The file of a compact table: `codes` and `values` in safetensors, the settings in its metadata.

use super::codes::CodeTable;
use super::compact::CompactEmbedding;
use super::config::{CODEBOOK_SIZES, DpqConfig, Form, bits};
use crate::error::{Error, Result};
use crate::io::{StoredTensor, read, tensors_from_bytes, tensors_to_bytes, write_whole};
use crate::real::Real;
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

/// The value of `format` in the metadata.
const FORMAT: &str = "dpq compact embedding 1";

/// The most bytes that the header of such a file takes: a reader need not believe in more.
const HEADER_BYTES: u64 = 1 << 16;

impl<T: Real> CompactEmbedding<T> {
    /// Writes the file, whole or not at all, with the values in the table's own precision. Equal
    /// tables give equal bytes.
    ///
    /// # Errors
    /// Those of [`write_whole`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_whole(path.as_ref(), &self.to_bytes())
    }

    /// What [`save`](Self::save) writes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (config, codes) = (self.config(), self.codes());
        let tensors = BTreeMap::from([
            ("codes".into(), StoredTensor::from_bytes(codes.bytes())),
            ("values".into(), StoredTensor::from_tensor(self.values())),
        ]);
        let metadata = [
            ("format", FORMAT.to_string()),
            ("form", if config.form == Form::Sx { "sx" } else { "vq" }.to_string()),
            ("rows", codes.rows().to_string()),
            ("groups", config.groups.to_string()),
            ("codebook_size", config.codebook_size.to_string()),
            ("bits", bits(config.codebook_size).to_string()),
            ("shared", config.shared.to_string()),
            ("batch_norm", config.batch_norm.to_string()),
            ("temperature", config.temperature.to_string()),
            ("beta", config.beta.to_string()),
        ];
        tensors_to_bytes(&tensors, &metadata.each_ref().map(|(key, value)| (*key, value.as_str())))
    }

    /// Reads a file that [`save`](Self::save) wrote, in the same precision or a lower one than `T`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::File`] if it is something else or damaged, with the
    /// field of the metadata or the tensor, [`Error::NotFinite`] if a value is not finite.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        parse(path, &read(path)?)
    }

    /// The same from the bytes of such a file, which errors call `bytes`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        parse(Path::new("bytes"), bytes)
    }
}

fn parse<T: Real>(path: &Path, bytes: &[u8]) -> Result<CompactEmbedding<T>> {
    let misfit = |found| Error::File {
        path: path.to_path_buf(),
        found,
        expected: "a compact embedding".into(),
    };
    let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    if header > HEADER_BYTES {
        return Err(misfit(format!("a header of {header} bytes")));
    }
    let (tensors, metadata) = tensors_from_bytes(path, bytes)?;
    table(&tensors, &metadata).map_err(|fault| match fault {
        Fault::Not(found) => misfit(found),
        Fault::NotFinite(value) => {
            Error::NotFinite { what: format!("{}: a value of the codebook", path.display()), value }
        }
    })
}

/// Why a file is not that of a compact table.
enum Fault {
    /// What stands there instead.
    Not(String),
    NotFinite(f64),
}

type Metadata = BTreeMap<String, String>;

/// The table of a file. What sizes anything is checked before it does.
fn table<T: Real>(
    tensors: &BTreeMap<String, StoredTensor<'_>>,
    metadata: &Metadata,
) -> Result<CompactEmbedding<T>, Fault> {
    if let Some(name) = tensors.keys().find(|name| !["codes", "values"].contains(&name.as_str())) {
        return Err(not(format!("a tensor {name}")));
    }
    let config = settings(metadata)?;
    let codes = tensor(tensors, "codes", StoredTensor::to_bytes)?;
    let DpqConfig { groups, codebook_size, shared, .. } = config;
    let values: Tensor<T> = tensor(tensors, "values", StoredTensor::to_tensor)?;
    let expected = [if shared { 1 } else { groups }, codebook_size];
    if values.shape().len() != 3 || values.shape()[..2] != expected || values.shape()[2] == 0 {
        let shape = values.shape();
        let fields =
            format!("groups = {groups}, codebook_size = {codebook_size}, shared = {shared}");
        return Err(not(format!("values of shape {shape:?} with {fields}")));
    }
    config.check(groups.saturating_mul(values.shape()[2])).map_err(not)?;

    let (rows, stated): (usize, u32) = (field(metadata, "rows")?, field(metadata, "bits")?);
    if rows == 0 {
        return Err(not("rows = 0 in its metadata"));
    }
    if stated != bits(codebook_size) {
        let expected = bits(codebook_size);
        return Err(not(format!(
            "bits = {stated} for codebook_size = {codebook_size}: {expected}"
        )));
    }
    let misfit = |fault: Error| match fault {
        Error::Config { name: "code", .. } => not(fault),
        _ => not(format!("codes that do not fit rows = {rows}, groups = {groups}: {fault}")),
    };
    let codes = CodeTable::from_bytes(codes, rows, groups, codebook_size).map_err(misfit)?;
    CompactEmbedding::new(config, codes, values).map_err(|fault| match fault {
        Error::NotFinite { value, .. } => Fault::NotFinite(value),
        other => not(other),
    })
}

fn settings(metadata: &Metadata) -> Result<DpqConfig, Fault> {
    let format = metadata.get("format");
    if format.map(String::as_str) != Some(FORMAT) {
        return Err(not(format!("format {format:?} in its metadata")));
    }
    let codebook_size: usize = field(metadata, "codebook_size")?;
    if !CODEBOOK_SIZES.contains(&codebook_size) {
        return Err(not(format!("codebook_size = {codebook_size} in its metadata")));
    }
    Ok(DpqConfig {
        form: match field::<String>(metadata, "form")?.as_str() {
            "sx" => Form::Sx,
            "vq" => Form::Vq,
            other => return Err(not(format!("form {other:?}"))),
        },
        groups: field(metadata, "groups")?,
        codebook_size,
        shared: field(metadata, "shared")?,
        batch_norm: field(metadata, "batch_norm")?,
        temperature: field(metadata, "temperature")?,
        beta: field(metadata, "beta")?,
    })
}

/// A tensor of the file, as `read` gives it where it has the right type and axes.
fn tensor<'a, 'b, R>(
    tensors: &'a BTreeMap<String, StoredTensor<'b>>,
    name: &str,
    read: impl Fn(&'a StoredTensor<'b>) -> Option<R>,
) -> Result<R, Fault> {
    let stored = tensors.get(name).ok_or_else(|| not(format!("no tensor {name}")))?;
    read(stored).ok_or_else(|| not(format!("{name} {stored}")))
}

fn field<F: FromStr>(metadata: &Metadata, name: &str) -> Result<F, Fault> {
    let value = metadata.get(name);
    let parsed = value.and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| not(format!("{name} = {value:?} in its metadata")))
}

fn not(found: impl std::fmt::Display) -> Fault {
    Fault::Not(found.to_string())
}
