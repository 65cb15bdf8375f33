//! Embeddings: rows of numbers for ids.

mod embedding;
mod full;

pub use embedding::{Embedded, Embedding};
pub use full::FullEmbedding;
