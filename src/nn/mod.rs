//! Layers and models: linear, batch normalisation, LSTM; a language model, a
//! classifier of texts, a translator.

mod linear;
mod batch_norm;
mod lstm;
mod lstm_layers;
mod language_model;
mod text_classifier;
mod translator;
mod translate;

pub use batch_norm::BatchNorm;
pub use language_model::{LanguageModel, LanguageModelConfig, Pass};
pub use linear::Linear;
pub use lstm::{lstm, lstm_composed, lstm_of_lengths};
pub use lstm_layers::{Lstm, LstmState, LstmVars};
pub use text_classifier::{Logits, TextClassifier, TextClassifierConfig};
pub use translate::Translation;
pub use translator::{Translated, Translator, TranslatorConfig};

/// The gradient checks of the ops in this folder.
#[cfg(feature = "proptest")]
pub fn cases() -> Vec<crate::strategies::Case> {
    lstm::cases()
}
