//! Embeddings: rows of numbers for ids.

use crate::params::{ParamId, Params};
use crate::real::Real;
use crate::rng;
use crate::tape::{Bound, Var};
use crate::tensor::Tensor;

/// Gives every id of a vocabulary a row of numbers. Models hold one as `Box<dyn Embedding<T>>`, so
/// that another one changes one line.
pub trait Embedding<T: Real> {
    /// Ids are `0..vocabulary()`.
    fn vocabulary(&self) -> usize;

    /// Numbers in a row.
    fn width(&self) -> usize;

    /// Looks up the rows of `ids`. An id outside the vocabulary is a fault that the tape reports.
    fn forward<'t>(&self, p: &Bound<'t, T>, ids: &[u32]) -> Looked<'t, T>;
}

/// Looked-up rows.
pub struct Looked<'t, T: Real> {
    /// ids.len() x width
    pub rows: Var<'t, T>,
    /// A scalar to add to the loss, where the embedding has one.
    pub regulariser: Option<Var<'t, T>>,
}

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

    fn forward<'t>(&self, p: &Bound<'t, T>, ids: &[u32]) -> Looked<'t, T> {
        Looked { rows: p[self.table].rows(ids), regulariser: None }
    }
}
