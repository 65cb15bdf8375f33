//! The file of a compact table: `codes` and `values` in safetensors, the settings in its metadata.

use super::codes::CodeTable;
use super::compact::CompactEmbedding;
use super::config::{DpqConfig, Form, bits};
use crate::error::{Error, Result};
use crate::io::{StoredTensor, load_tensors, save_tensors};
use crate::real::Real;
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

/// The value of `format` in the metadata.
const FORMAT: &str = "dpq compact embedding 1";

impl<T: Real> CompactEmbedding<T> {
    /// Writes the file, whole or not at all. Equal tables give equal bytes.
    ///
    /// # Errors
    /// [`Error::Io`] if that fails.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let (config, codes) = (self.config(), self.codes());
        let tensors = BTreeMap::from([
            ("codes".into(), StoredTensor::from_bytes(codes.bytes().to_vec())),
            ("values".into(), StoredTensor::from_tensor(&self.values().cast::<f32>())),
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
        let metadata = metadata.each_ref().map(|(key, value)| (*key, value.as_str()));
        save_tensors(path.as_ref(), &tensors, &metadata)
    }

    /// Reads a file that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::File`] if it is something else or damaged,
    /// [`Error::NotFinite`] if a value is not finite.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (tensors, metadata) = load_tensors(path)?;
        table(&tensors, &metadata).map_err(|fault| match fault {
            Fault::Not(found) => Error::File {
                path: path.to_path_buf(),
                found,
                expected: "a compact embedding".into(),
            },
            Fault::NotFinite(value) => Error::NotFinite {
                what: format!("{}: a value of the codebook", path.display()),
                value,
            },
        })
    }
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
    tensors: &BTreeMap<String, StoredTensor>,
    metadata: &Metadata,
) -> Result<CompactEmbedding<T>, Fault> {
    let config = settings(metadata)?;
    let codes = tensor(tensors, "codes", StoredTensor::to_bytes)?;
    let values = tensor(tensors, "values", |stored| {
        stored.to_tensor::<f32>().filter(|values| values.shape().len() == 3)
    })?;
    config.check(config.groups.saturating_mul(values.shape()[2])).map_err(not)?;
    let rows: usize = field(metadata, "rows")?;
    if rows.checked_mul(config.groups).is_none_or(|count| count > 8 * codes.len()) {
        return Err(not(format!("{rows} rows in {} bytes of codes", codes.len())));
    }
    let codes =
        CodeTable::from_bytes(codes, rows, config.groups, config.codebook_size).map_err(not)?;
    let (stated, bits): (u32, u32) = (field(metadata, "bits")?, bits(config.codebook_size));
    if stated != bits {
        return Err(not(format!("bits = {stated} for codes of {bits} in its metadata")));
    }
    CompactEmbedding::new(config, codes, values.cast()).map_err(|fault| match fault {
        Error::NotFinite { value, .. } => Fault::NotFinite(value),
        other => not(other),
    })
}

fn settings(metadata: &Metadata) -> Result<DpqConfig, Fault> {
    let format = metadata.get("format");
    if format.map(String::as_str) != Some(FORMAT) {
        return Err(not(format!("format {format:?} in its metadata")));
    }
    Ok(DpqConfig {
        form: match field::<String>(metadata, "form")?.as_str() {
            "sx" => Form::Sx,
            "vq" => Form::Vq,
            other => return Err(not(format!("form {other:?}"))),
        },
        groups: field(metadata, "groups")?,
        codebook_size: field(metadata, "codebook_size")?,
        shared: field(metadata, "shared")?,
        batch_norm: field(metadata, "batch_norm")?,
        temperature: field(metadata, "temperature")?,
        beta: field(metadata, "beta")?,
    })
}

/// A tensor of the file, as `read` gives it where it has the right type and axes.
fn tensor<'a, R>(
    tensors: &'a BTreeMap<String, StoredTensor>,
    name: &str,
    read: impl Fn(&'a StoredTensor) -> Option<R>,
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
