//! Ids that come from outside: whether each is in range, and which one is padding.

use crate::error::Error;
use crate::real::Real;
use crate::tape::Tape;
use crate::tensor::Buffer;

/// The ids as they are, but 0 for those outside `0..vocabulary`, which are reported to the tape: the
/// pass then fails.
pub(crate) fn checked<T: Real>(tape: &Tape<T>, ids: &[u32], vocabulary: usize) -> Buffer<u32> {
    let mut checked = tape.pools().ids.take(ids.len());
    for (checked, &id) in checked.iter_mut().zip(ids) {
        let valid = (id as usize) < vocabulary;
        if !valid {
            tape.fail(Error::Id { id, vocabulary });
        }
        *checked = if valid { id } else { 0 };
    }
    checked
}
