//! Ids that come from outside: whether each is in range, and which one is padding.

use crate::error::Error;
use crate::real::Real;
use crate::tape::Tape;
use crate::tensor::Buffer;

/// The ids of a batch, of which one may be padding: what fills up sequences of different lengths.
///
/// Positions that hold the padding id get its row like any other, but take no part in anything
/// else: no statistics, no means over the batch, no gradient.
///
/// ```
/// use dpq::ops::Ids;
/// use dpq::{Tape, Tensor};
/// let tape = Tape::new();
/// let table = tape.leaf(Tensor::from([[1.0, 2.0], [3.0, 4.0]]));
/// let rows = table.gather_rows(Ids { ids: &[1, 0, 0], padding: Some(0) });
/// assert_eq!(rows.value(), Tensor::from([[3.0, 4.0], [1.0, 2.0], [1.0, 2.0]]));
/// assert_eq!(tape.backward(rows.sum())?.dense(table), Tensor::from([[0.0, 0.0], [1.0, 1.0]]));
/// # Ok::<(), dpq::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ids<'a> {
    /// One for each position.
    pub ids: &'a [u32],
    /// The padding id, where there is one.
    pub padding: Option<u32>,
}

/// Ids without padding, of a slice, an array or a `Vec`.
impl<'a, I: AsRef<[u32]> + ?Sized> From<&'a I> for Ids<'a> {
    fn from(ids: &'a I) -> Self {
        Ids { ids: ids.as_ref(), padding: None }
    }
}

/// The ids as they are, but 0 for those outside `0..vocabulary`, which are reported to the tape: the
/// pass then fails, and what depends on them is to be NaN, for those who do not ask the tape.
pub(super) fn checked<T: Real>(tape: &Tape<T>, ids: &[u32], vocabulary: usize) -> Buffer<u32> {
    below(tape, ids, vocabulary, |id| Error::Id { id, vocabulary })
}

/// The same for targets and their classes; and whether all are inside.
pub(super) fn checked_targets<T: Real>(
    tape: &Tape<T>,
    targets: &[u32],
    classes: usize,
) -> (Buffer<u32>, bool) {
    let checked = below(tape, targets, classes, |target| Error::Target { target, classes });
    let all = checked[..] == *targets;
    (checked, all)
}

fn below<T: Real>(
    tape: &Tape<T>,
    numbers: &[u32],
    limit: usize,
    error: impl Fn(u32) -> Error,
) -> Buffer<u32> {
    let mut checked = tape.pools().ids.take(numbers.len());
    for (checked, &number) in checked.iter_mut().zip(numbers) {
        let valid = (number as usize) < limit;
        if !valid {
            tape.fail(error(number));
        }
        *checked = if valid { number } else { 0 };
    }
    checked
}
