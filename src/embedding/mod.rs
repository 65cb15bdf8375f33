//! Embeddings: rows of numbers for ids.

mod embedding;
mod full;

pub(crate) use embedding::{EMBEDDING_INIT, check_finished, check_table};
pub use embedding::{Embedded, Embedding};
pub use full::FullEmbedding;
