//! Freezing: every discrete choice and every stopped value goes through one hook, so that a
//! checker can hold it at the base point while it perturbs the inputs.
//!
//! Only what makes the value *jump* is frozen (an argmax, a sampled mask), and what a rule calls
//! constant though it is not (a stopped value). A kink, like ReLU's, is not: the checker must see
//! it.

use super::Tape;
use crate::real::Real;
use std::any::Any;

/// What the hook does with a value.
#[derive(Default)]
pub(super) enum Mode {
    /// Computes it.
    #[default]
    Plain,
    /// Computes it and writes it down.
    Record(Vec<Entry>),
    /// Returns what was written down, the next entry first.
    Replay(Vec<Entry>, usize),
}

pub(super) struct Entry {
    what: &'static str,
    shape: Vec<usize>,
    value: Box<dyn Any>,
}

impl<T: Real> Tape<T> {
    /// The value of a discrete choice or of a stopped quantity: `value()`, except under a checker,
    /// which returns here what it was at the base point.
    ///
    /// `what` and `shape` name it; they must come in the same order at every evaluation.
    ///
    /// # Panics
    /// Under a checker, if the closure that is checked asks for other values than at the base
    /// point.
    pub fn freeze<V: Clone + 'static>(
        &self,
        what: &'static str,
        shape: &[usize],
        value: impl FnOnce() -> V,
    ) -> V {
        if let Mode::Replay(entries, next) = &mut *self.mode.borrow_mut() {
            let Some(entry) = entries.get(*next) else {
                panic!(
                    "{what} {shape:?} is frozen, but the base point had only {} such values",
                    entries.len()
                );
            };
            assert!(
                entry.what == what && entry.shape == shape,
                "{what} {shape:?} is frozen where the base point had {} {:?}",
                entry.what,
                entry.shape
            );
            *next += 1;
            return entry
                .value
                .downcast_ref::<V>()
                .expect("the same name freezes the same type")
                .clone();
        }
        let value = value();
        if let Mode::Record(entries) = &mut *self.mode.borrow_mut() {
            entries.push(Entry { what, shape: shape.to_vec(), value: Box::new(value.clone()) });
        }
        value
    }

    /// How a fused op that contains a choice or a stop takes part: `fused()` in ordinary passes.
    ///
    /// While a checker records, `composed()`, the same in primitive ops, runs first, to write down
    /// what it freezes, and then `fused()`, whose backward rule is what is checked. While it
    /// replays, `composed()`.
    pub fn fused<R>(&self, composed: impl FnOnce() -> R, fused: impl FnOnce() -> R) -> R {
        if self.is_replaying() {
            return composed();
        }
        if matches!(*self.mode.borrow(), Mode::Record(_)) {
            composed();
        }
        let mode = self.mode.take();
        let result = fused();
        *self.mode.borrow_mut() = mode;
        result
    }

    /// Whether frozen values are being replayed: the pass is a perturbed one.
    pub fn is_replaying(&self) -> bool {
        matches!(*self.mode.borrow(), Mode::Replay(..))
    }

    /// From here on frozen values are written down.
    pub(crate) fn record_frozen(&self) {
        *self.mode.borrow_mut() = Mode::Record(Vec::new());
    }

    /// From here on the frozen values that were written down come back, from the first on.
    pub(crate) fn replay_frozen(&self) {
        let mut mode = self.mode.borrow_mut();
        if let Mode::Record(entries) | Mode::Replay(entries, _) = std::mem::take(&mut *mode) {
            *mode = Mode::Replay(entries, 0);
        }
    }
}
