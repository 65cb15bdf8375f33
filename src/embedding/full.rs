//! The full table.

use super::embedding::{EMBEDDING_INIT, Embedded, Embedding};
use crate::params::{ParamId, Scope};
use crate::real::Real;
use crate::tape::Bound;

/// The full table, V x d.
#[derive(Clone, Debug)]
pub struct FullEmbedding {
    table: ParamId,
    vocabulary: usize,
    width: usize,
}

impl FullEmbedding {
    /// Adds the table `weight`, uniform in +-0.1 unless the scope says otherwise.
    ///
    /// # Panics
    /// If the scope has a `weight` already.
    #[track_caller]
    pub fn new<T: Real>(mut scope: Scope<'_, T>, vocabulary: usize, width: usize) -> Self {
        let table = scope.weight("weight", [vocabulary, width], EMBEDDING_INIT);
        FullEmbedding { table, vocabulary, width }
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
        Embedded { rows: p[self.table].gather_rows(ids), regulariser: None }
    }
}
