//! The full table.

use super::embedding::{EMBEDDING_INIT, Embedded, Embedding, check_table};
use crate::ops::Ids;
use crate::params::{ParamId, Scope};
use crate::real::Real;
use crate::tape::Bound;

/// The full table, V x d.
#[derive(Clone, Debug)]
pub struct FullEmbedding {
    table: ParamId,
    vocabulary: usize,
    width: usize,
    padding: Option<u32>,
}

impl FullEmbedding {
    /// Adds the table `weight`, uniform in +-0.1 unless the scope says otherwise.
    ///
    /// # Panics
    /// If the vocabulary or the width is 0 or too large, or the scope has a `weight` already.
    #[track_caller]
    pub fn new<T: Real>(mut scope: Scope<'_, T>, vocabulary: usize, width: usize) -> Self {
        if let Err(error) = check_table(vocabulary, width) {
            panic!("embedding: {error}");
        }
        let table = scope.weight("weight", [vocabulary, width], EMBEDDING_INIT);
        FullEmbedding { table, vocabulary, width, padding: None }
    }

    /// Ids are `0..vocabulary()`.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The width of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Positions with this id get its row like any other, but no gradient. None by default.
    ///
    /// # Panics
    /// If the id is outside the vocabulary.
    #[must_use]
    #[track_caller]
    pub fn padding(self, id: u32) -> Self {
        let words = self.vocabulary;
        assert!((id as usize) < words, "padding {id}: expected an id in 0..{words}");
        FullEmbedding { padding: Some(id), ..self }
    }

    /// The table.
    pub fn table(&self) -> ParamId {
        self.table
    }
}

impl<T: Real> Embedding<T> for FullEmbedding {
    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn width(&self) -> usize {
        self.width
    }

    fn forward<'t>(&self, p: &Bound<'t, T>, ids: &[u32]) -> Embedded<'t, T> {
        Embedded {
            rows: p[self.table].gather_rows(Ids { ids, padding: self.padding }),
            regulariser: None,
        }
    }
}
