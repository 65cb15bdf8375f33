//! A whole translator in one file: its parameters, and the words of both languages.

use crate::common::Result;
use crate::common::embeddings::{Compact, Named, Table};
use crate::sentences::Words;
use dpq::io::{StoredTensor, load_tensors, save_tensors};
use dpq::nn::{Translator, TranslatorConfig};
use dpq::{Embedding, Error, FullEmbedding, Params, Tape};
use std::collections::BTreeMap;
use std::path::Path;

/// The value of `format` in the metadata.
const FORMAT: &str = "dpq translator 1";

/// The tables, whose words are `source.words` and `target.words`, one a line. A compact one is the bytes of
/// its file, `source.compact`; another one `source.weight`, a row for each word.
const TABLES: [&str; 2] = ["source", "target"];

/// Writes a translator: of `tables` those that are compact stay so.
///
/// # Errors
/// If it cannot be written.
pub fn save(path: &Path, words: [&Words; 2], tables: &[Named], params: &Params<f32>) -> Result<()> {
    let mut tensors = BTreeMap::new();
    for id in params.ids() {
        let tensor = StoredTensor::from_tensor(params.get(id));
        tensors.insert(params.name(id).to_string(), tensor);
    }
    for (name, words) in TABLES.into_iter().zip(words) {
        let text = words.all().join("\n").into_bytes();
        tensors.insert(format!("{name}.words"), StoredTensor::from_bytes(text));
    }
    for Named { name, table, .. } in tables {
        // In place of what the table was trained by.
        tensors.retain(|own, _| !own.starts_with(&format!("{name}.")) || own.ends_with(".words"));
        let (part, tensor) = match table {
            Table::Compact(compress) => {
                ("compact", StoredTensor::from_bytes(compress(params)?.to_bytes()))
            }
            Table::Rows(rows, _) => ("weight", StoredTensor::from_tensor(&rows(params))),
        };
        tensors.insert(format!("{name}.{part}"), tensor);
    }
    Ok(save_tensors(path, &tensors, &[("format", FORMAT)])?)
}

/// A translator that was read.
pub struct Saved {
    words: [Words; 2],
    model: Translator<f32>,
    params: Params<f32>,
}

impl Saved {
    /// Reads what [`save`] wrote.
    ///
    /// # Errors
    /// If it cannot be read, or is something else or damaged.
    pub fn load(path: &Path) -> Result<Saved> {
        let refuse = |found: String, expected: &str| Error::File {
            path: path.to_path_buf(),
            found,
            expected: expected.into(),
        };
        let (tensors, metadata) = load_tensors(path)?;
        let format = metadata.get("format").map_or("", String::as_str);
        if format != FORMAT {
            let found = format!("format {format:?} in its metadata");
            return Err(refuse(found, "the translator.safetensors of a run").into());
        }
        let bytes = |name: String| {
            let bytes = tensors.get(&name).and_then(StoredTensor::to_bytes);
            bytes.ok_or_else(|| refuse(format!("no bytes {name}"), "a translator"))
        };
        let mut params = Params::new();
        let (mut words, mut embeddings) = (Vec::new(), Vec::new());
        for name in TABLES {
            let text = str::from_utf8(bytes(format!("{name}.words"))?);
            let text = text.map_err(|error| refuse(format!("{name}.words: {error}"), "UTF-8"))?;
            let own = Words::new(text.split('\n').map(String::from).collect());
            let count = own.all().len();
            words.push(own);
            if tensors.contains_key(&format!("{name}.compact")) {
                let table = Compact::from_bytes(bytes(format!("{name}.compact"))?)
                    .map_err(|error| refuse(format!("{name}.compact: {error}"), "a table"))?;
                let rows = table.vocabulary();
                if rows != count {
                    return Err(refuse(format!("{rows} rows for {count} words"), "as many").into());
                }
                embeddings.push(Box::new(table) as Box<dyn Embedding<f32>>);
            } else {
                let shape = tensors.get(&format!("{name}.weight")).map(StoredTensor::shape);
                let Some(&[_, columns]) =
                    shape.filter(|shape| shape[0] == count && shape[1..] != [0])
                else {
                    let found = format!("{name}.weight of shape {shape:?}");
                    return Err(refuse(found, &format!("{count} rows, one a word")).into());
                };
                let scope = params.scope(name);
                embeddings.push(Box::new(FullEmbedding::new(scope, count, columns)));
            }
        }
        if !words.iter().all(Words::has_special) {
            return Err(refuse("words without <s> and </s>".into(), "a translator").into());
        }
        let (target, source) = (embeddings.pop(), embeddings.pop());
        let [source, target] = [source, target].map(|embedding| embedding.expect("two tables"));
        let (shape, count) = (tensors.get("out").map(StoredTensor::shape), words[1].all().len());
        let Some(&[units, _]) = shape.filter(|shape| shape[0] > 0 && shape[1..] == [count]) else {
            let found = format!("out of shape {shape:?}");
            return Err(refuse(found, &format!("a column for each of {count} words")).into());
        };
        // Before room is made for what the file does not hold.
        let held: usize =
            tensors.values().map(|tensor| tensor.shape().iter().product::<usize>()).sum();
        let widths = [&source, &target].map(|embedding| embedding.width());
        let inputs = widths.iter().fold(units, |sum, &width| sum.saturating_add(width));
        if units.saturating_mul(inputs) > held {
            let found = format!("{held} numbers for {units} units and rows of {widths:?}");
            return Err(refuse(found, "all layers of a translator").into());
        }
        let config = TranslatorConfig { units, dropout: 0.0, start: Words::START, end: Words::END };
        let model = Translator::new(params.root(), source, target, config);
        for id in params.ids() {
            let (name, shape) = (params.name(id).to_string(), params.get(id).shape());
            let tensor = tensors.get(&name).and_then(StoredTensor::to_tensor::<f32>);
            let tensor = tensor.filter(|tensor| tensor.shape() == shape).ok_or_else(|| {
                let found = tensors.get(&name).map_or("nothing".into(), |found| found.to_string());
                refuse(format!("{name}: {found}"), &format!("shape {shape:?}"))
            })?;
            if let Some(x) = tensor.data().iter().find(|x| !x.is_finite()) {
                return Err(refuse(format!("{name}: {x}"), "finite numbers").into());
            }
            params.set(id, tensor);
        }
        let target = words.pop().expect("two languages");
        let source = words.pop().expect("two languages");
        Ok(Saved { words: [source, target], model, params })
    }

    /// The translation of a sentence; of none, none.
    ///
    /// # Errors
    /// If a number is not finite.
    pub fn translate(&self, sentence: &[String], beam: usize) -> Result<Vec<String>> {
        if sentence.is_empty() {
            return Ok(Vec::new());
        }
        let source = self.words[0].encode(sentence);
        let mut tape = Tape::new();
        let mut found = self.model.translate(&mut tape, &self.params, &[&source], beam)?;
        Ok(self.words[1].decode(&found.remove(0).words))
    }
}
