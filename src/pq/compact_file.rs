//! The file of a compact table: `codes` and `values` in safetensors, the settings in its metadata.

use super::bands::Bands;
use super::codes::CodeTable;
use super::compact::{CompactEmbedding, integer, of_integer};
use super::config::DpqConfig;
use super::names::Names;
use super::settings::{CODEBOOK_SIZES, bits};
use super::settings::{Form, Temperature};
use crate::error::{Error, Result};
use crate::io::{StoredTensor, read, tensors_from_bytes, tensors_to_bytes, write_whole};
use crate::real::Real;
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The value of `format` in the metadata.
const FORMAT: &str = "dpq compact embedding 2";

/// Of tables with scales, with shared rows, or with other parts than one or one for each group.
const FORMAT_3: &str = "dpq compact embedding 3";

/// Of files without additive groups, bands and the newer settings.
const FORMAT_1: &str = "dpq compact embedding 1";

/// The most bytes that the header of such a file takes: a reader need not believe in more.
pub(super) const HEADER_BYTES: u64 = 1 << 16;

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
        let mut tensors = BTreeMap::from([
            ("codes".into(), StoredTensor::from_bytes(codes.bytes())),
            ("values".into(), self.stored_values()),
        ]);
        if let Some(scales) = self.scales() {
            let scales = Tensor::from_fn([scales.len()], |i| scales[i]);
            tensors.insert("scales".into(), StoredTensor::from_tensor::<f32>(&scales));
        }
        if let Some(rows) = self.row_of_ids() {
            tensors.insert("rows".into(), StoredTensor::from_ids(rows));
        }
        if let Some(names) = self.names() {
            tensors.insert("names".into(), StoredTensor::from_bytes(names.text().as_bytes()));
        }
        let moving_average =
            config.moving_average.map_or("none".into(), |settings| settings.to_string());
        let usual = if config.additive { 1 } else { config.groups };
        let third = self.parts() != usual || self.scales().is_some() || self.row_of_ids().is_some();
        let mut metadata = vec![
            ("format", if third { FORMAT_3 } else { FORMAT }.to_string()),
            ("form", if config.form == Form::Sx { "sx" } else { "vq" }.to_string()),
            ("rows", codes.rows().to_string()),
            ("groups", config.groups.to_string()),
            ("codebook_size", config.codebook_size.to_string()),
            ("bits", bits(config.codebook_size).to_string()),
            ("shared", config.shared.to_string()),
            ("additive", config.additive.to_string()),
            ("bands", config.bands.to_string()),
            ("batch_norm", config.batch_norm.to_string()),
            ("score", config.score.to_string()),
            ("temperature", config.temperature.to_string()),
            ("sampling", config.sampling.to_string()),
            ("beta", config.beta.to_string()),
            ("moving_average", moving_average),
        ];
        if third {
            metadata.push(("parts", self.parts().to_string()));
        }
        let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value.as_str())).collect();
        tensors_to_bytes(&tensors, &metadata)
    }

    /// The values as numbers, or the integers that the scales go with.
    fn stored_values(&self) -> StoredTensor<'static> {
        let (values, Some(scales)) = (self.values(), self.scales()) else {
            return StoredTensor::from_tensor(self.values());
        };
        let book = values.data().len() / scales.len();
        let integers: Vec<i8> = values
            .data()
            .chunks_exact(book)
            .zip(scales)
            .flat_map(|(book, &scale)| book.iter().map(move |&x| integer(x, scale)))
            .collect();
        StoredTensor::from_integers(&integers, &values.shape())
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

    /// The bytes of its file, part by part.
    pub fn sizes(&self) -> CompactSizes {
        let codes = self.codes().bytes().len();
        let rows = self.row_of_ids().map_or(0, size_of_val);
        let values = self.bytes() - codes - rows;
        let names = self.names().map_or(0, |names| names.text().len());
        let header = self.to_bytes().len() - codes - values - rows - names;
        CompactSizes { header, codes, values, rows, names }
    }

    /// The same from the bytes of such a file, which errors call `bytes`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        parse(Path::new("bytes"), bytes)
    }
}

/// The bytes of a compact table's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactSizes {
    /// Settings, and where the rest stands.
    pub header: usize,
    /// The packed codes: D ceil(log2 K) bits a row, by the K of its band.
    pub codes: usize,
    /// The codewords: G K s numbers, with their scales if they are integers.
    pub values: usize,
    /// Which row of codes an id has, 4 bytes an id, where ids share them.
    pub rows: usize,
    /// The names of rows, if it has them.
    pub names: usize,
}

impl CompactSizes {
    /// The bytes of the file.
    pub fn total(&self) -> usize {
        self.header + self.codes + self.values + self.rows + self.names
    }
}

/// A line for each part and one for their sum.
impl fmt::Display for CompactSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CompactSizes { header, codes, values, rows, names } = *self;
        let parts =
            [("codes", codes), ("codewords", values), ("shared rows", rows), ("names", names)];
        let parts = parts.into_iter().chain([("header", header)]);
        for (name, bytes) in parts.filter(|(name, bytes)| *name != "shared rows" || *bytes > 0) {
            writeln!(f, "{name:<11} {bytes:>12} bytes")?;
        }
        write!(f, "{:<11} {:>12} bytes", "file", self.total())
    }
}

fn parse<T: Real>(path: &Path, bytes: &[u8]) -> Result<CompactEmbedding<T>> {
    let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    if header > HEADER_BYTES {
        return Err(misfit(path, format!("a header of {header} bytes")));
    }
    let (tensors, metadata) = tensors_from_bytes(path, bytes)?;
    if let Some(name) = tensors.keys().find(|name| !TENSORS.contains(&name.as_str())) {
        return Err(misfit(path, format!("a tensor {name}")));
    }
    let tensor =
        |name: &str| tensors.get(name).ok_or_else(|| misfit(path, format!("no tensor {name}")));
    let (codes, values) = (tensor("codes")?, tensor("values")?);
    let Some(packed) = codes.to_bytes() else {
        return Err(misfit(path, format!("codes {codes}")));
    };
    let Head { config, rows, parts, values, scales } =
        head(path, &metadata, values, tensors.get("scales"))?;
    let DpqConfig { groups, codebook_size, bands, .. } = config;
    let codes = CodeTable::from_bytes_in_bands(packed, rows, groups, codebook_size, bands);
    let codes = codes.map_err(|fault| match fault {
        Error::Config { name: "code", .. } => misfit(path, fault.to_string()),
        _ => {
            let sizes = format!("rows = {rows}, groups = {groups}");
            misfit(path, format!("codes that do not fit {sizes}: {fault}"))
        }
    })?;
    let of_file = |fault: Error| misfit(path, fault.to_string());
    let table = CompactEmbedding::new(config, codes, values).map_err(of_file)?;
    let table = table.stored_in(parts, scales);
    let table = match tensors.get("rows") {
        None => table,
        Some(stored) => table.with_row_of_ids(&row_of_ids(path, stored, rows)?).map_err(of_file)?,
    };
    match tensors.get("names") {
        None => Ok(table),
        Some(stored) => {
            let names = names(path, stored, table.vocabulary())?;
            table.with_names(names)
        }
    }
}

/// The tensors that a file may have.
pub(super) const TENSORS: [&str; 5] = ["codes", "values", "scales", "rows", "names"];

/// What a file says of all rows.
pub(super) struct Head<T: Real> {
    pub(super) config: DpqConfig,
    /// Of codes.
    pub(super) rows: usize,
    pub(super) parts: usize,
    pub(super) values: Tensor<T>,
    pub(super) scales: Option<Vec<f32>>,
}

/// The settings, rows and values of a file. What sizes anything is checked before it does.
pub(super) fn head<T: Real>(
    path: &Path,
    metadata: &Metadata,
    values: &StoredTensor<'_>,
    scales: Option<&StoredTensor<'_>>,
) -> Result<Head<T>> {
    let misfit = |found: String| misfit(path, found);
    let (config, parts) = settings(metadata).map_err(misfit)?;
    let DpqConfig { groups, codebook_size, shared, .. } = config;
    let expected = [if shared { 1 } else { groups }, codebook_size];
    let shape = values.shape();
    if shape.len() != 3 || shape[..2] != expected || shape[2] == 0 {
        let fields =
            format!("groups = {groups}, codebook_size = {codebook_size}, shared = {shared}");
        return Err(misfit(format!("values of shape {shape:?} with {fields}")));
    }
    config.check(parts.saturating_mul(shape[2])).map_err(|fault| misfit(fault.to_string()))?;
    let scales = scales.map(|stored| scales_of(path, stored, expected[0])).transpose()?;
    let numbers = match &scales {
        None => values.to_tensor::<T>(),
        Some(scales) => values.to_integers().and_then(|integers| {
            if integers.contains(&i8::MIN) {
                // Nothing that is written has it, so it would not be read back as it is.
                return None;
            }
            let book = integers.len() / scales.len();
            let number = |(i, &x): (usize, &i8)| of_integer(x, scales[i / book]);
            Tensor::new(shape, integers.iter().enumerate().map(number).collect()).ok()
        }),
    };
    let Some(numbers) = numbers else {
        let range = if scales.is_some() { ": expected integers from -127 to 127" } else { "" };
        return Err(misfit(format!("values {values}{range}")));
    };
    numbers.check_finite(|| format!("{}: a value of the codebook", path.display()))?;

    let rows: usize = field(metadata, "rows").map_err(misfit)?;
    let stated: u32 = field(metadata, "bits").map_err(misfit)?;
    if rows == 0 {
        return Err(misfit("rows = 0 in its metadata".into()));
    }
    if stated != bits(codebook_size) {
        let expected = bits(codebook_size);
        return Err(misfit(format!(
            "bits = {stated} for codebook_size = {codebook_size}: {expected}"
        )));
    }
    Ok(Head { config, rows, parts, values: numbers, scales })
}

/// The scales of a file with so many codebooks.
fn scales_of(path: &Path, stored: &StoredTensor<'_>, books: usize) -> Result<Vec<f32>> {
    let scales = stored.to_tensor::<f32>().filter(|scales| scales.shape()[..] == [books]);
    let scales = scales.map(|scales| scales.data().to_vec());
    let sound =
        scales.filter(|scales| scales.iter().all(|scale| scale.is_normal() && *scale > 0.0));
    sound.ok_or_else(|| misfit(path, format!("scales {stored}: {books} positive numbers expected")))
}

/// The row of codes of every id.
pub(super) fn row_of_ids(path: &Path, stored: &StoredTensor<'_>, rows: usize) -> Result<Vec<u32>> {
    let ids = stored.to_ids().filter(|ids| !ids.is_empty());
    let Some(ids) = ids else { return Err(misfit(path, format!("rows {stored}"))) };
    match ids.iter().find(|&&row| row as usize >= rows) {
        Some(row) => Err(misfit(path, format!("row {row} among rows, of {rows} rows of codes"))),
        None => Ok(ids),
    }
}

/// The names of a file.
pub(super) fn names(path: &Path, stored: &StoredTensor<'_>, rows: usize) -> Result<Names> {
    let text = stored.to_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok());
    let Some(text) = text else { return Err(misfit(path, format!("names {stored}, no text"))) };
    let names = Names::from_text(text).map_err(|fault| misfit(path, fault.to_string()))?;
    if names.len() != rows {
        return Err(misfit(path, format!("{} names for {rows} rows", names.len())));
    }
    Ok(names)
}

/// The error of a file that is not that of a compact table.
pub(super) fn misfit(path: &Path, found: String) -> Error {
    Error::File { path: path.to_path_buf(), found, expected: "a compact embedding".into() }
}

type Metadata = BTreeMap<String, String>;

/// The settings, and P.
fn settings(metadata: &Metadata) -> Result<(DpqConfig, usize), String> {
    let format = metadata.get("format").map(String::as_str);
    if ![Some(FORMAT), Some(FORMAT_1), Some(FORMAT_3)].contains(&format) {
        return Err(format!("format {format:?} in its metadata"));
    }
    let codebook_size: usize = field(metadata, "codebook_size")?;
    if !CODEBOOK_SIZES.contains(&codebook_size) {
        return Err(format!("codebook_size = {codebook_size} in its metadata"));
    }
    let groups = field(metadata, "groups")?;
    let form = match field::<String>(metadata, "form")?.as_str() {
        "sx" => Form::Sx,
        "vq" => Form::Vq,
        other => return Err(format!("form {other:?}")),
    };
    let first = DpqConfig {
        shared: field(metadata, "shared")?,
        batch_norm: field(metadata, "batch_norm")?,
        temperature: field(metadata, "temperature")?,
        beta: field(metadata, "beta")?,
        ..DpqConfig::new(form, groups, codebook_size)
    };
    if format == Some(FORMAT_1) {
        // VQ had a temperature then, which meant nothing.
        let none = Temperature::Fixed(1.0);
        let temperature = if form == Form::Vq { none } else { first.temperature };
        return Ok((DpqConfig { temperature, ..first }, groups));
    }
    let moving_average = match field::<String>(metadata, "moving_average")?.as_str() {
        "none" => None,
        _ => Some(field(metadata, "moving_average")?),
    };
    let config = DpqConfig {
        additive: field(metadata, "additive")?,
        bands: field::<Bands>(metadata, "bands")?,
        score: field(metadata, "score")?,
        sampling: field(metadata, "sampling")?,
        moving_average,
        ..first
    };
    let usual = if config.additive { 1 } else { groups };
    let parts = if format == Some(FORMAT_3) { field(metadata, "parts")? } else { usual };
    let fits = parts == usual || config.additive && parts > 0 && groups.is_multiple_of(parts);
    if !fits {
        let additive = config.additive;
        return Err(format!("parts = {parts} with groups = {groups}, additive = {additive}"));
    }
    Ok((config, parts))
}

fn field<F: FromStr>(metadata: &Metadata, name: &str) -> Result<F, String> {
    let value = metadata.get(name);
    let parsed = value.and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| format!("{name} = {value:?} in its metadata"))
}
