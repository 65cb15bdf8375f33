//! Models: linear and LSTM layers, and the language model built on them.

mod linear;
mod lstm;
mod lstm_layers;
mod language_model;

pub use language_model::{LanguageModel, LanguageModelConfig, Pass};
pub use linear::Linear;
pub use lstm::{lstm, lstm_composed};
pub use lstm_layers::{Lstm, LstmState, LstmVars};

/// The gradient checks of the ops in this folder.
#[cfg(feature = "proptest")]
pub fn cases() -> Vec<crate::strategies::Case> {
    lstm::cases()
}
