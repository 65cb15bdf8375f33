//! The trait of embeddings.

use crate::init::Init;
use crate::real::Real;
use crate::tape::{Bound, Var};

/// How embeddings start unless their scope says otherwise.
pub(crate) const EMBEDDING_INIT: Init = Init::Uniform(0.1);

/// Gives every id of a vocabulary a row of numbers. Models hold one as `Box<dyn Embedding<T>>`, so
/// that another one changes one line.
pub trait Embedding<T: Real>: Send + Sync {
    /// Ids are `0..vocabulary()`.
    fn vocabulary(&self) -> usize;

    /// Numbers in a row.
    fn width(&self) -> usize;

    /// Looks up the rows of `ids`; of none, no rows. An id outside the vocabulary is an error that the tape reports.
    fn forward<'t>(&self, p: &Bound<'t, T>, ids: &[u32]) -> Embedded<'t, T>;
}

/// Looked-up rows.
pub struct Embedded<'t, T: Real> {
    /// ids.len() x width
    pub rows: Var<'t, T>,
    /// A scalar to add to the loss, where the embedding has one.
    pub regulariser: Option<Var<'t, T>>,
}
