//! The files that `dpq compress` writes: compact tables, and two simpler kinds.

use crate::Fault;
use crate::input::misfit;
use crate::low_rank;
use dpq::embedding::ScalarTable;
use dpq::io::{StoredTensor, TensorFile, load_tensors, tensors_to_bytes};
use dpq::pq::Names;
use dpq::{CompactEmbedding, Error, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

const SCALAR: &str = "dpq scalar table 1";
const LOW_RANK: &str = "dpq low-rank table 1";

/// A small table, and the words of its rows if it has them.
pub struct Table {
    pub kind: Kind,
    pub names: Option<Names>,
}

pub enum Kind {
    /// Its own names are in [`Table::names`].
    Compact(Box<CompactEmbedding<f32>>),
    /// Integers of 8, 4 or 2 bits times a scale for each row.
    Scalar(ScalarTable),
    /// Two thin tables, V x r and r x d.
    LowRank(Tensor<f32>, Tensor<f32>),
}

impl Table {
    /// # Errors
    /// If the file cannot be read, or is something else or damaged.
    pub fn load(path: &Path) -> Result<Table, Fault> {
        let file = load_tensors(path)?;
        let format = file.1.get("format").map(String::as_str);
        let table = match format {
            Some(SCALAR) => Table { kind: scalar(path, &file)?, names: names(path, &file)? },
            Some(LOW_RANK) => Table { kind: thin(path, &file)?, names: names(path, &file)? },
            _ => {
                let compact = CompactEmbedding::load(path)?;
                let names = compact.names().cloned();
                Table { kind: Kind::Compact(compact.into()), names }
            }
        };
        if let Some(names) = &table.names
            && names.len() != table.vocabulary()
        {
            let found = format!("{} names for {} rows", names.len(), table.vocabulary());
            return Err(misfit(path, found, "a name for each row").into());
        }
        Ok(table)
    }

    pub fn to_bytes(&self) -> Result<Vec<u8>, Fault> {
        let (format, mut tensors, mut metadata) = match &self.kind {
            Kind::Compact(compact) => {
                let compact = (**compact).clone();
                let named = match self.names.clone() {
                    Some(names) => compact.with_names(names)?,
                    None => compact,
                };
                return Ok(named.to_bytes());
            }
            Kind::Scalar(table) => {
                let scales = Tensor::from_fn([table.vocabulary()], |i| table.scales()[i]);
                let tensors = BTreeMap::from([
                    ("codes".into(), StoredTensor::from_bytes(table.codes())),
                    ("scales".into(), StoredTensor::from_tensor(&scales)),
                ]);
                let sizes = [("width", table.width()), ("bits", table.bits() as usize)];
                (SCALAR, tensors, sizes.map(|(key, n)| (key, n.to_string())).to_vec())
            }
            Kind::LowRank(left, right) => {
                let tensors = [("left", left), ("right", right)];
                let tensors = tensors.map(|(name, x)| (name.into(), StoredTensor::from_tensor(x)));
                (LOW_RANK, BTreeMap::from(tensors), Vec::new())
            }
        };
        if let Some(names) = &self.names {
            tensors.insert("names".into(), StoredTensor::from_bytes(names.text().as_bytes()));
        }
        metadata.push(("format", format.into()));
        let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value.as_str())).collect();
        Ok(tensors_to_bytes(&tensors, &metadata))
    }

    pub fn vocabulary(&self) -> usize {
        match &self.kind {
            Kind::Compact(table) => table.vocabulary(),
            Kind::Scalar(table) => table.vocabulary(),
            Kind::LowRank(left, _) => left.shape()[0],
        }
    }

    pub fn width(&self) -> usize {
        match &self.kind {
            Kind::Compact(table) => table.width(),
            Kind::Scalar(table) => table.width(),
            Kind::LowRank(_, right) => right.shape()[1],
        }
    }

    /// The rows of these ids, n x d.
    ///
    /// # Errors
    /// Of an id outside the table.
    pub fn lookup(&self, ids: &[u32]) -> Result<Tensor<f32>, Fault> {
        match &self.kind {
            Kind::Compact(table) => Ok(table.lookup(ids)?),
            Kind::Scalar(table) => Ok(table.lookup(ids)?),
            Kind::LowRank(left, right) => {
                let (vocabulary, rank) = left.shape().as_matrix();
                if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
                    return Err(Error::Id { id, vocabulary }.into());
                }
                let row = |i: usize| left.data()[ids[i / rank] as usize * rank + i % rank];
                Ok(low_rank::rows(&Tensor::from_fn([ids.len(), rank], row), right))
            }
        }
    }

    /// The bytes of its file, part by part.
    pub fn parts(&self, file: usize) -> Vec<(&'static str, usize)> {
        let mut parts = match &self.kind {
            Kind::Compact(table) => {
                let sizes = table.sizes();
                let rows =
                    [("shared rows", sizes.rows)].into_iter().filter(|(_, bytes)| *bytes > 0);
                let parts = [("codes", sizes.codes), ("codewords", sizes.values)];
                parts.into_iter().chain(rows).collect()
            }
            Kind::Scalar(table) => {
                vec![("codes", table.codes().len()), ("scales", size_of_val(table.scales()))]
            }
            Kind::LowRank(left, right) => {
                vec![("left", size_of_val(left.data())), ("right", size_of_val(right.data()))]
            }
        };
        if let Some(names) = &self.names {
            parts.push(("words", names.text().len()));
        }
        let so_far: usize = parts.iter().map(|(_, bytes)| bytes).sum();
        parts.push(("header", file - so_far));
        parts
    }

    /// How many times larger the full table in single precision is than the file without its words.
    pub fn ratio(&self, file: usize) -> f64 {
        let words = self.names.as_ref().map_or(0, |names| names.text().len());
        (4 * self.vocabulary() * self.width()) as f64 / (file - words) as f64
    }

    /// The settings, in words.
    pub fn settings(&self) -> String {
        match &self.kind {
            Kind::Compact(table) => {
                let config = table.config();
                let (groups, k, parts) = (config.groups, config.codebook_size, table.parts());
                let split = match groups / parts {
                    1 => String::new(),
                    each => format!(", {each} to each of {parts} parts"),
                };
                let values = if table.scales().is_some() { "8 bits" } else { "32 bits" };
                format!("{groups} codes below {k} a row{split}; codewords in {values}")
            }
            Kind::Scalar(table) => format!("{} bits an element, and a scale a row", table.bits()),
            Kind::LowRank(_, right) => format!("rank {}", right.shape()[0]),
        }
    }

    /// The row of a word, or of a number where there is no such word.
    ///
    /// # Errors
    /// If it is neither.
    pub fn row(&self, asked: &str) -> Result<u32, Fault> {
        if let Some(row) = self.names.as_ref().and_then(|names| names.id(asked)) {
            return Ok(row);
        }
        let vocabulary = self.vocabulary();
        match asked.parse::<u32>() {
            Ok(id) if (id as usize) < vocabulary => Ok(id),
            Ok(id) => Err(Error::Id { id, vocabulary }.into()),
            Err(_) => {
                let expected = match self.names {
                    Some(_) => format!("a word of the table, or a row of 0..{vocabulary}"),
                    None => format!("a row of 0..{vocabulary}, as the table has no words"),
                };
                Err(Error::Config { name: "word", value: asked.into(), expected }.into())
            }
        }
    }

    /// The word of a row, or its number.
    pub fn name(&self, row: u32) -> String {
        let name = self.names.as_ref().and_then(|names| names.name(row));
        name.map_or_else(|| row.to_string(), String::from)
    }
}

fn names(path: &Path, (tensors, _): &TensorFile<'_>) -> Result<Option<Names>, Fault> {
    let Some(stored) = tensors.get("names") else { return Ok(None) };
    let text = stored.to_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok());
    let Some(text) = text else {
        return Err(misfit(path, format!("names {stored}"), "UTF-8 text").into());
    };
    let names = Names::from_text(text);
    Ok(Some(names.map_err(|fault| misfit(path, fault.to_string(), "names of rows"))?))
}

fn scalar(path: &Path, (tensors, metadata): &TensorFile<'_>) -> Result<Kind, Fault> {
    let field = |name: &str| -> Result<u32, Fault> {
        let value = metadata.get(name);
        let parsed = value.and_then(|text| text.parse().ok());
        let found = || format!("{name} = {value:?} in its metadata");
        Ok(parsed.ok_or_else(|| misfit(path, found(), SCALAR))?)
    };
    let codes = tensors.get("codes").and_then(|codes| codes.to_bytes());
    let scales = tensors.get("scales").and_then(|scales| scales.to_tensor::<f32>());
    let (Some(codes), Some(scales)) = (codes, scales) else {
        return Err(misfit(path, "no bytes codes, or no numbers scales", SCALAR).into());
    };
    let (width, bits) = (field("width")?, field("bits")?);
    let table = ScalarTable::new(width as usize, bits, scales.data().to_vec(), codes.to_vec());
    Ok(Kind::Scalar(table.map_err(|fault| misfit(path, fault.to_string(), SCALAR))?))
}

fn thin(path: &Path, (tensors, _): &TensorFile<'_>) -> Result<Kind, Fault> {
    let matrix = |name: &str| -> Result<Tensor<f32>, Fault> {
        let found = tensors.get(name).and_then(|stored| stored.to_tensor::<f32>());
        let sound = found.filter(|x| x.shape().len() == 2 && x.shape().elements() > 0);
        let sound = sound.filter(|x| x.not_finite().is_none());
        Ok(sound.ok_or_else(|| misfit(path, format!("no finite matrix {name}"), LOW_RANK))?)
    };
    let (left, right) = (matrix("left")?, matrix("right")?);
    if left.shape()[1] != right.shape()[0] {
        let found = format!("matrices of shapes {:?} and {:?}", left.shape(), right.shape());
        return Err(misfit(path, found, "V x r and r x d").into());
    }
    Ok(Kind::LowRank(left, right))
}
