//! The embeddings that a run compares, all in which its models differ.

use super::Result;
use super::arguments::{Kind, Settings, refuse};
use dpq::embedding::LowRank;
use dpq::optim::Group;
use dpq::pq::{FixedCodes, KMeans};
use dpq::{CompactEmbedding, DpqEmbedding, Embedding, FullEmbedding, Init, Params, Tape, Tensor};
use std::rc::Rc;

/// A table of codes.
pub type Compact = CompactEmbedding<f32>;

/// Takes the compact table out of the trained parameters.
pub type Compress = Rc<dyn Fn(&Params<f32>) -> dpq::Result<Compact>>;

/// Takes the rows out of the trained parameters.
pub type Rows = Rc<dyn Fn(&Params<f32>) -> Tensor<f32>>;

/// A table of a model, and the scope that its parameters are in.
#[derive(Clone)]
pub struct Named {
    pub name: &'static str,
    pub vocabulary: usize,
    pub table: Table,
}

/// What a trained embedding comes to.
#[derive(Clone)]
pub enum Table {
    /// Rows of numbers, and the bytes of what they are made of.
    Rows(Rows, usize),
    /// A compact table.
    Compact(Compress),
}

/// An embedding of this kind under a name, and its table.
///
/// # Errors
/// If the settings do not fit the vocabulary.
pub fn embedding(
    kind: Kind,
    params: &mut Params<f32>,
    name: &'static str,
    init: Init,
    vocabulary: usize,
    padding: Option<u32>,
    settings: &Settings,
) -> Result<(Box<dyn Embedding<f32>>, Named)> {
    let &Settings { width, sx, vq, .. } = settings;
    let scope = params.scope(name).init(init);
    let (embedding, table): (Box<dyn Embedding<f32>>, Table) = match kind {
        Kind::Sx | Kind::Vq => {
            let config = if kind == Kind::Vq { vq } else { sx };
            let mut embedding = DpqEmbedding::new(scope, vocabulary, width, config)?;
            if settings.kmeans_start {
                let kmeans = KMeans { seed: settings.seed, ..KMeans::default() };
                embedding.start_by_kmeans(params, &kmeans)?;
            }
            let compress = embedding.clone();
            let compress: Compress = Rc::new(move |params| compress.to_compact(params));
            if let Some(id) = padding {
                embedding = embedding.padding(id);
            }
            (Box::new(embedding), Table::Compact(compress))
        }
        Kind::Random => {
            let embedding = FixedCodes::random(scope, vocabulary, width, sx)?;
            let compress = embedding.clone();
            let compress: Compress = Rc::new(move |params| compress.to_compact(params));
            (Box::new(embedding), Table::Compact(compress))
        }
        Kind::LowRank => {
            let embedding = LowRank::new(scope, vocabulary, width, rank(settings, vocabulary)?)?;
            let [left, right] = [embedding.left(), embedding.right()];
            let rows = move |params: &Params<f32>| {
                let tape = Tape::new();
                let [left, right] = [left, right].map(|id| tape.constant(params.get(id).clone()));
                left.matmul(right).value()
            };
            let bytes = embedding.bytes();
            (Box::new(embedding), Table::Rows(Rc::new(rows), bytes))
        }
        _ => {
            let mut embedding = FullEmbedding::new(scope, vocabulary, width);
            let table = embedding.table();
            let rows = move |params: &Params<f32>| params.get(table).clone();
            let bytes = size_of::<f32>() * vocabulary * width;
            if let Some(id) = padding {
                embedding = embedding.padding(id);
            }
            (Box::new(embedding), Table::Rows(Rc::new(rows), bytes))
        }
    };
    Ok((embedding, Named { name, vocabulary, table }))
}

/// How a temperature that learns is trained: a single number that all tokens pull at would soon be out of its
/// range.
pub const SLOW: Group = Group { learning_rate: 0.01, weight_decay: 0.0 };

/// Whether a parameter is such a temperature.
pub fn is_temperature(name: &str) -> bool {
    name.ends_with(".temperature")
}

/// The rank of low-rank: the one asked for, or that of as many bytes as sx has.
///
/// # Errors
/// If there is none.
pub fn rank(settings: &Settings, vocabulary: usize) -> dpq::Result<usize> {
    let Settings { width, sx, rank, .. } = *settings;
    let Some(rank) = rank else {
        let bytes = sx.compact_bits(vocabulary, width).div_ceil(8);
        return LowRank::rank_for(bytes, vocabulary, width);
    };
    let most = vocabulary.min(width);
    if (1..=most).contains(&rank) {
        return Ok(rank);
    }
    Err(refuse("rank", rank.to_string(), &format!("1 to {most}")))
}

/// Bytes of an embedding's parameters, about; those of a full table or more.
pub fn parameter_bytes(settings: &Settings, vocabulary: usize) -> usize {
    let Settings { width, sx, .. } = *settings;
    let codebooks = 2 * sx.codebook_size * sx.query_width(width);
    4 * (vocabulary * sx.query_width(width).max(width) + codebooks)
}

/// Rows compared at a time, which bounds memory too.
const ROWS: usize = 1000;

/// Every row of an exported table must have the very bits of the model's own.
///
/// # Errors
/// If one has not, with where and both numbers.
pub fn compare_rows(
    embedding: &dyn Embedding<f32>,
    params: &Params<f32>,
    exported: &Compact,
) -> Result<()> {
    let mut tape = Tape::new();
    let ids: Vec<u32> = (0..embedding.vocabulary() as u32).collect();
    for ids in ids.chunks(ROWS) {
        let own = tape.value(params, |p| embedding.forward(p, ids).rows.value())?;
        let read = exported.lookup(ids)?;
        let differ = |(own, read): (&f32, &f32)| own.to_bits() != read.to_bits();
        if let Some(i) = own.data().iter().zip(read.data()).position(differ) {
            let (row, column) = (ids[i / own.shape()[1]], i % own.shape()[1]);
            let (own, read) = (own.data()[i], read.data()[i]);
            return Err(format!(
                "row {row}, column {column} of the saved table is {read}, the model's own {own}"
            )
            .into());
        }
    }
    Ok(())
}
