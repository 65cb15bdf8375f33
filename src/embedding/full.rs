//! The full table.

use super::embedding::{Embedded, Embedding};
use crate::params::{ParamId, Params};
use crate::real::Real;
use crate::rng;
use crate::tape::Bound;
use crate::tensor::Tensor;

/// The full table, V x d.
#[derive(Clone, Debug)]
pub struct FullEmbedding {
    table: ParamId,
    vocabulary: usize,
    width: usize,
}

impl FullEmbedding {
    /// Adds the table `embedding.weight`, uniform in +-`init`.
    pub fn new<T: Real>(
        params: &mut Params<T>,
        vocabulary: usize,
        width: usize,
        init: f64,
        seed: u64,
    ) -> Self {
        let name = "embedding.weight";
        let table = Tensor::uniform([vocabulary, width], init, &mut rng::stream(seed, name, 0));
        FullEmbedding { table: params.add(name, table), vocabulary, width }
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
