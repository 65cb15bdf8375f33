//! Models: LSTM layers and the language model built on them.

mod lstm;
mod language_model;

pub use language_model::{LanguageModel, LanguageModelConfig, Pass};
pub use lstm::{Lstm, LstmState, lstm, lstm_composed};

/// The gradient checks of the ops in this folder.
#[cfg(feature = "proptest")]
pub fn cases() -> Vec<crate::strategies::Case> {
    lstm::cases()
}
