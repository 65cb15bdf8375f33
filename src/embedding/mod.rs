//! Embeddings: rows of numbers for ids.
//!
//! | | keeps | trained |
//! |---|---|---|
//! | [`FullEmbedding`] | V d numbers | yes |
//! | [`LowRank`] | r (V + d) numbers | yes |
//! | [`ScalarTable`] | V d codes of 8, 4 or 2 bits, V scales | no, made of a finished table |
//!
//! The others, with codes that stand for parts of rows, are those of [`mod@crate::pq`].

mod embedding;
mod full;
mod low_rank;
mod scalar;

pub(crate) use embedding::{EMBEDDING_INIT, check_finished, check_table, stop_padding};
pub use embedding::{Embedded, Embedding};
pub use full::FullEmbedding;
pub use low_rank::LowRank;
pub use scalar::ScalarTable;

/// The gradient checks of the embeddings in this folder.
#[cfg(feature = "proptest")]
pub fn cases() -> Vec<crate::strategies::Case> {
    low_rank::cases()
}
