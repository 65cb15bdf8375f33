//! Tables that are made of the full one after training: what learning codes with the task is compared
//! with.

use super::Result;
use super::arguments::{Kind, Settings};
use dpq::embedding::ScalarTable;
use dpq::pq::KMeans;
use dpq::reconstruct::Reconstruction;
use dpq::{CompactEmbedding, DpqConfig, Embedding, Tensor};

/// A table, and its bytes.
pub type Made = (Box<dyn Embedding<f32>>, usize);

/// The table of this kind.
///
/// # Errors
/// If the settings do not fit.
pub fn make(kind: Kind, table: &Tensor<f32>, settings: &Settings) -> Result<Made> {
    let scalar = |bits| -> Result<Made> {
        let made = ScalarTable::quantize(table, bits)?;
        let bytes = made.bytes();
        Ok((Box::new(made), bytes))
    };
    let compact = |made: CompactEmbedding<f32>| -> Made {
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
        _ => Ok(compact(by_kmeans(table, settings)?)),
    }
}

/// Product quantisation with k-means, as large as sx.
///
/// # Errors
/// If the settings do not fit.
pub fn by_kmeans(table: &Tensor<f32>, settings: &Settings) -> Result<CompactEmbedding<f32>> {
    let kmeans = KMeans { seed: settings.seed, ..KMeans::default() };
    Ok(CompactEmbedding::by_kmeans(table, like(settings), &kmeans)?)
}

/// The nearest codeword, in a table of the size that the run's others have.
fn like(settings: &Settings) -> DpqConfig {
    let DpqConfig { groups, codebook_size, shared, .. } = settings.vq;
    DpqConfig { shared, ..DpqConfig::vq(groups, codebook_size) }
}
