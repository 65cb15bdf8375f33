//! The trait of embeddings.

use crate::error::{Error, Result};
use crate::init::Init;
use crate::ops::Ids;
use crate::params::Params;
use crate::real::Real;
use crate::tape::{Bound, Var};
use crate::tensor::Tensor;

/// How embeddings start unless their scope says otherwise.
pub(crate) const EMBEDDING_INIT: Init = Init::Uniform(0.1);

/// Checks the sizes of a table of embeddings: ids have 32 bits, and a table has to be addressable.
pub(crate) fn check_table(vocabulary: usize, width: usize) -> Result<()> {
    let refuse = |name, value: usize, expected: String| {
        Err(Error::Config { name, value: value.to_string(), expected })
    };
    let most = isize::MAX as usize / 8;
    if !(1..=most).contains(&width) {
        return refuse("width", width, format!("1 to {most}"));
    }
    let most = (most / width).min(1 << 32);
    if !(1..=most).contains(&vocabulary) {
        return refuse("vocabulary", vocabulary, format!("1 to {most} rows of width {width}"));
    }
    Ok(())
}

/// Checks a finished table, V x d: its sizes, and that its elements are finite.
pub(crate) fn check_finished<T: Real>(table: &Tensor<T>) -> Result<[usize; 2]> {
    let [vocabulary, width] = table.shape()[..] else {
        return Err(Error::Config {
            name: "shape of the table",
            value: format!("{:?}", table.shape()),
            expected: "V x d".into(),
        });
    };
    check_table(vocabulary, width)?;
    table.check_finite(|| "an element of the table".into())?;
    Ok([vocabulary, width])
}

/// Gives every id of a vocabulary a row of numbers. Models hold one as `Box<dyn Embedding<T>>`, so
/// that another one changes one line.
pub trait Embedding<T: Real>: Send + Sync {
    /// Ids are `0..vocabulary()`.
    fn vocabulary(&self) -> usize;

    /// Numbers in a row.
    fn width(&self) -> usize;

    /// After a step of the optimiser: sets what follows the batches and not a gradient, such as codebooks
    /// that are moving averages. Most embeddings have nothing of the kind.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a number would not be finite.
    fn update(&self, params: &mut Params<T>) -> Result<()> {
        let _ = params;
        Ok(())
    }

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

/// The rows of `ids`, those of the padding id without a gradient.
pub(crate) fn stop_padding<'t, T: Real>(
    rows: Var<'t, T>,
    ids: &[u32],
    padding: Option<u32>,
) -> Var<'t, T> {
    let first = padding.and_then(|padding| ids.iter().position(|&id| id == padding));
    let (Some(padding), Some(first)) = (padding, first) else { return rows };
    // Every row by its own number, but for padding, which has one number.
    let first = first as u32;
    let own = (0..).zip(ids).map(|(i, &id)| if id == padding { first } else { i });
    rows.gather_rows(Ids { ids: &own.collect::<Vec<u32>>(), padding: Some(first) })
}
