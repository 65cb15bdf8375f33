//! A whole classifier in one file: codes and codewords of its features, their words, and its layers.

use crate::BATCH;
use crate::common::Result;
use crate::common::embeddings::Compact;
use crate::features::Features;
use dpq::data::Texts;
use dpq::io::{StoredTensor, load_tensors, save_tensors, tensors_to_bytes};
use dpq::nn::{TextClassifier, TextClassifierConfig};
use dpq::{Error, Params, Tape};
use flate2::Compression;
use flate2::read::{DeflateDecoder, DeflateEncoder};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// The value of `format` in the metadata.
const FORMAT: &str = "dpq text classifier 1";

/// Words take no more room than this, once they are unpacked.
const MOST_BYTES: u64 = 1 << 28;

/// A classifier that labels texts, and all that its file holds.
pub struct Classifier {
    features: Features,
    labels: Vec<String>,
    table: Compact,
    model: TextClassifier<f32>,
    params: Params<f32>,
}

impl Classifier {
    /// Of a compact table and the layers of a trained model, whose parameters have the names that they have
    /// there.
    pub fn new(
        features: Features,
        labels: Vec<String>,
        table: Compact,
        trained: &Params<f32>,
    ) -> Classifier {
        let (model, mut params) = layers(&table, labels.len());
        for id in params.ids() {
            let own = trained.find(params.name(id)).expect("a layer of the model");
            params.set(id, trained.get(own).deep_copy());
        }
        Classifier { features, labels, table, model, params }
    }

    /// The number of a label for each text.
    ///
    /// # Errors
    /// If a number is not finite.
    pub fn classify(&self, texts: &[&str]) -> dpq::Result<Vec<u32>> {
        let mut tape = Tape::new();
        let mut classes = Vec::new();
        for texts in texts.chunks(BATCH) {
            let mut encoded = Texts::new();
            texts.iter().for_each(|text| encoded.push(&self.features.encode(text), 0));
            let all: Vec<u32> = (0..texts.len() as u32).collect();
            let (bags, _) = encoded.batch(&all);
            classes.extend(
                tape.value(&self.params, |p| self.model.forward(p, &bags).logits.argmax())?,
            );
        }
        Ok(classes)
    }

    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// What the file holds.
    fn stored(&self) -> (BTreeMap<String, StoredTensor<'static>>, Vec<(&'static str, String)>) {
        let part = |bytes: Vec<u8>| StoredTensor::from_bytes(bytes);
        let tensors = BTreeMap::from([
            ("embedding".into(), part(self.table.to_bytes())),
            ("layers".into(), part(self.params.to_bytes())),
            ("words".into(), part(packed(self.features.words()))),
        ]);
        let labels = serde_json::to_string(&self.labels).expect("strings");
        let pairs = self.features.buckets().to_string();
        (tensors, vec![("format", FORMAT.into()), ("labels", labels), ("pairs", pairs)])
    }

    /// The size of the file.
    pub fn bytes(&self) -> usize {
        let (tensors, metadata) = self.stored();
        let metadata: Vec<_> =
            metadata.iter().map(|(name, value)| (*name, value.as_str())).collect();
        tensors_to_bytes(&tensors, &metadata).len()
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let (tensors, metadata) = self.stored();
        let metadata: Vec<_> =
            metadata.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Ok(save_tensors(path, &tensors, &metadata)?)
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If it cannot be read, or is something else or damaged.
    pub fn load(path: &Path) -> Result<Classifier> {
        let refuse = |found: String, expected: &str| Error::File {
            path: path.to_path_buf(),
            found,
            expected: expected.into(),
        };
        let (tensors, metadata) = load_tensors(path)?;
        let field = |name: &str| metadata.get(name).map_or("", String::as_str);
        if field("format") != FORMAT {
            let found = format!("format {:?} in its metadata", field("format"));
            return Err(refuse(found, "what --max-bytes wrote").into());
        }
        let part = |name: &str| {
            let bytes = tensors.get(name).and_then(StoredTensor::to_bytes);
            bytes.ok_or_else(|| refuse(format!("no bytes {name}"), "a classifier"))
        };
        let damaged = |name: &'static str| {
            move |error: Error| refuse(format!("{name}: {error}"), "a classifier")
        };
        let labels: Vec<String> = serde_json::from_str(field("labels"))
            .map_err(|error| refuse(format!("labels: {error}"), "a list of labels"))?;
        let pairs = field("pairs");
        let pairs = pairs.parse().map_err(|_| refuse(format!("pairs {pairs:?}"), "a number"))?;
        let table = Compact::from_bytes(part("embedding")?).map_err(damaged("embedding"))?;
        let words = unpacked(part("words")?)
            .ok_or_else(|| refuse("words that cannot be unpacked".into(), "a classifier"))?;
        let words = || words.split('\n').filter(|word| !word.is_empty());
        // Before room is made for what the file does not hold.
        let (rows, features, classes) =
            (table.vocabulary(), Features::count(words().count(), pairs), labels.len());
        if classes == 0 || rows != features {
            let found = format!("{rows} rows for {features} features, {classes} labels");
            return Err(refuse(found, "a row for each feature, and a label").into());
        }
        let (width, bytes) = (table.width(), part("layers")?);
        if width.saturating_mul(width + classes) > bytes.len() {
            let found = format!("layers: {} bytes for width {width}", bytes.len());
            return Err(refuse(found, "all layers of a classifier").into());
        }
        let features = Features::new(words().map(String::from).collect(), pairs);
        let (model, mut params) = layers(&table, classes);
        params.load_bytes(bytes).map_err(damaged("layers"))?;
        Ok(Classifier { features, labels, table, model, params })
    }
}

/// The layers above a table.
fn layers(table: &Compact, classes: usize) -> (TextClassifier<f32>, Params<f32>) {
    let mut params = Params::new();
    let config = TextClassifierConfig { classes, hidden: true, dropout: 0.0, word_dropout: 0.0 };
    let model = TextClassifier::new(params.root(), Box::new(table.clone()), config);
    (model, params)
}

/// Words, one a line, deflated.
pub fn packed(words: &[String]) -> Vec<u8> {
    let text = words.join("\n");
    let mut packed = Vec::new();
    let mut encoder = DeflateEncoder::new(text.as_bytes(), Compression::best());
    encoder.read_to_end(&mut packed).expect("memory");
    packed
}

fn unpacked(bytes: &[u8]) -> Option<String> {
    let mut text = String::new();
    DeflateDecoder::new(bytes).take(MOST_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}
