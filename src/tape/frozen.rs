//! Frozen values: every discrete choice and every stopped value goes through one hook, so that a
//! checker can hold it at the base point while it perturbs the inputs.
//!
//! Only what makes the value *jump* is frozen (an argmax, a sampled mask), and what a rule calls
//! constant though it is not (a stopped value). A kink, like ReLU's, is not: the checker must see
//! it.

use std::any::Any;

/// What the hook does with a value.
#[derive(Default)]
pub(super) enum Frozen {
    /// Computes it.
    #[default]
    Off,
    /// Computes it and keeps a copy.
    Record(Vec<Entry>),
    /// Returns the copy, the next entry first.
    Replay(Vec<Entry>, usize),
}

pub(super) struct Entry {
    what: &'static str,
    shape: Vec<usize>,
    value: Box<dyn Any>,
}

impl Frozen {
    /// The next copy, if they are being replayed.
    pub(super) fn next<V: Clone + 'static>(
        &mut self,
        what: &'static str,
        shape: &[usize],
    ) -> Option<V> {
        let Frozen::Replay(entries, next) = self else { return None };
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
        let value = entry.value.downcast_ref::<V>();
        Some(value.expect("the same name freezes the same type").clone())
    }

    /// Keeps a copy, if they are being recorded.
    pub(super) fn keep<V: Clone + 'static>(
        &mut self,
        what: &'static str,
        shape: &[usize],
        value: &V,
    ) {
        if let Frozen::Record(entries) = self {
            entries.push(Entry { what, shape: shape.to_vec(), value: Box::new(value.clone()) });
        }
    }

    /// From here on the copies are replayed from the start.
    pub(super) fn rewind(&mut self) {
        if let Frozen::Record(entries) | Frozen::Replay(entries, _) = std::mem::take(self) {
            *self = Frozen::Replay(entries, 0);
        }
    }
}
