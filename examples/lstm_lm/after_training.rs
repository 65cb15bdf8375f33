//! Tables that are made of the full one after training: what learning codes with the task is compared
//! with.

use crate::common::arguments::{Kind, Settings};
use crate::common::embeddings::Compact;
use crate::common::progress::Progress;
use crate::common::results::{self, Model};
use crate::common::{Result, interrupt};
use crate::{LanguageModels, Trained, perplexity};
use dpq::embedding::ScalarTable;
use dpq::optim::{Group, Sgd};
use dpq::pq::{Compression, FixedCodes, KMeans};
use dpq::reconstruct::Reconstruction;
use dpq::train::{Ending, Trainer};
use dpq::{DpqConfig, Embedding, Params, Tape, Tensor};
use std::time::Instant;

impl LanguageModels {
    /// Makes a table of the full one, and tests the model with it; `None` if the user stopped it.
    pub fn after_training(
        &self,
        kind: Kind,
        full: &mut Trained,
        progress: &Progress,
    ) -> Result<Option<Model>> {
        results::reset_peak_memory();
        let start = Instant::now();
        let (settings, Trained { params, model }) = (&self.settings, full);
        let table = params.find("embedding.weight").expect("the full table");
        let table = params.get(table).deep_copy();
        let compact = match kind {
            Kind::KmeansTuned => Some(by_kmeans(&table, settings)?),
            Kind::CompressedTuned => Some(compressed(&table, settings)?),
            _ => None,
        };
        let tuned = compact.is_some();
        let (embedding, bytes) = match compact {
            None => make(kind, &table, settings)?,
            Some(compact) => match self.tune(&compact, params)? {
                Some(tuned) => {
                    // As it was stored before.
                    let whole = compact.scales().is_some();
                    let tuned = if whole { tuned.in_eight_bits()? } else { tuned };
                    let bytes = tuned.bytes();
                    (Box::new(tuned) as Box<dyn Embedding<f32>>, bytes)
                }
                None => return Ok(None),
            },
        };
        let full_bytes = size_of_val(table.data());
        model.replace_embedding(embedding);
        let mut tape = Tape::new();
        let [valid, test] = [
            perplexity(model, params, &mut tape, &self.text.valid)?,
            perplexity(model, params, &mut tape, &self.text.test)?,
        ];
        progress.line(&format!("{:<6}  valid ppl {valid:.2}", kind.name()));
        Ok(Some(Model {
            embedding: kind.name(),
            seed: settings.seed,
            epochs: if tuned { settings.epochs + 1 } else { settings.epochs },
            valid,
            test,
            compression_ratio: full_bytes as f64 / bytes as f64,
            table_bytes_full: full_bytes,
            table_bytes: bytes,
            tokens_per_second: 0.0,
            seconds: start.elapsed().as_secs_f64(),
            peak_rss_bytes: results::peak_memory(),
        }))
    }

    /// Trains the codebook of a compact table for an epoch, at a tenth of the first learning rate, and
    /// nothing else; `None` if the user stopped it.
    fn tune(&self, compact: &Compact, full: &Params<f32>) -> Result<Option<Compact>> {
        let mut params = Params::seeded(self.settings.seed);
        let embedding = FixedCodes::from_compact(params.scope("embedding"), compact);
        let codes = embedding.clone();
        let mut task = self.training(&mut params, Box::new(embedding));
        for id in params.ids() {
            if let Some(trained) = full.find(params.name(id)) {
                params.set(id, full.get(trained).deep_copy());
            }
        }
        let still = Group { learning_rate: 0.0, ..Group::default() };
        let sgd = Sgd::new(0.1 * self.sizes.schedule.learning_rate(0))
            .group(|name| !name.starts_with("embedding."), still);
        let mut trainer =
            Trainer::new(params, sgd).clip(self.sizes.clip).stop_when(interrupt::was_asked_for);
        let ending = trainer.run(&mut task, |_| ())?;
        let tuned = codes.to_compact(&trainer.into_params())?;
        Ok((ending != Ending::Stopped).then_some(tuned))
    }
}

/// A table, and its bytes.
type Made = (Box<dyn Embedding<f32>>, usize);

/// The table of this kind.
///
/// # Errors
/// If the settings do not fit.
fn make(kind: Kind, table: &Tensor<f32>, settings: &Settings) -> Result<Made> {
    let scalar = |bits| -> Result<Made> {
        let made = ScalarTable::quantize(table, bits)?;
        let bytes = made.bytes();
        Ok((Box::new(made), bytes))
    };
    let compact = |made: Compact| -> Made {
        let bytes = made.bytes();
        (Box::new(made), bytes)
    };
    match kind {
        Kind::Int8 => scalar(8),
        Kind::Int4 => scalar(4),
        Kind::Int2 => scalar(2),
        Kind::Reconstructed => {
            let seed = settings.seed;
            let learnt = Reconstruction { seed, ..Reconstruction::default() };
            let config = DpqConfig { batch_norm: false, ..like(settings) };
            Ok(compact(learnt.compress(table, config)?.compact))
        }
        Kind::Compressed => Ok(compact(compressed(table, settings)?)),
        _ => Ok(compact(by_kmeans(table, settings)?)),
    }
}

/// The least error of at most as many bytes as sx has.
///
/// # Errors
/// If the settings do not fit.
fn compressed(table: &Tensor<f32>, settings: &Settings) -> Result<Compact> {
    let (rows, width) = table.shape().as_matrix();
    let bytes = like(settings).compact_bits(rows, width) / 8;
    let kmeans = KMeans { seed: settings.seed, ..KMeans::default() };
    let settings = Compression { kmeans, ..Compression::dpq(1, 1, 2) };
    let best = settings.best_split((table, None), rows, bytes, 1..=16)?;
    Ok(Compact::from_table(table, &best, None)?)
}

/// Product quantisation with k-means, as large as sx.
///
/// # Errors
/// If the settings do not fit.
fn by_kmeans(table: &Tensor<f32>, settings: &Settings) -> Result<Compact> {
    let kmeans = KMeans { seed: settings.seed, ..KMeans::default() };
    Ok(Compact::by_kmeans(table, like(settings), &kmeans)?)
}

/// The nearest codeword, in a table of the size that the run's others have.
fn like(settings: &Settings) -> DpqConfig {
    let DpqConfig { groups, codebook_size, shared, .. } = settings.vq;
    DpqConfig { shared, ..DpqConfig::vq(groups, codebook_size) }
}
