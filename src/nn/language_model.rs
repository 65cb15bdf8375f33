//! A word-level language model: embedding, LSTM layers, softmax (Zaremba et al. 2014).

use super::lstm_layers::{Lstm, LstmState};
use crate::data::Window;
use crate::embedding::Embedding;
use crate::init::Init;
use crate::params::{ParamId, Scope};
use crate::real::Real;
use crate::tape::{Bound, Var};

/// The settings of a [`LanguageModel`]; its width is its embedding's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LanguageModelConfig {
    /// LSTM layers.
    pub layers: usize,
    /// Units of every layer.
    pub hidden: usize,
    /// In training, the probability with which an element of a layer's inputs, or of the last one's
    /// outputs, is dropped.
    pub dropout: f64,
}

/// A language model with any [`Embedding`].
pub struct LanguageModel<T: Real> {
    embedding: Box<dyn Embedding<T>>,
    lstm: Lstm,
    weight: ParamId,
    bias: ParamId,
    dropout: f64,
    /// What the dropout mask of the outputs is drawn for.
    purpose: String,
}

/// What one window of text gave.
pub struct Pass<'t, T: Real> {
    /// What training minimises: cross-entropy summed over time steps and averaged over the batch,
    /// plus the embedding's regulariser.
    pub objective: Var<'t, T>,
    /// Mean cross-entropy of the window's words, in nats.
    pub cross_entropy: T,
    /// The state after the window.
    pub state: LstmState<T>,
}

impl<T: Real> LanguageModel<T> {
    /// Adds the parameters of everything but the embedding, which has its own: those of an [`Lstm`]
    /// under `lstm`, and of the output layer `softmax.weight` and `softmax.bias`, uniform in +-0.1
    /// unless the scope says otherwise.
    ///
    /// # Panics
    /// If the scope has parameters of these names already, or the dropout is not in \[0, 1).
    #[track_caller]
    pub fn new(
        mut scope: Scope<'_, T>,
        embedding: Box<dyn Embedding<T>>,
        config: LanguageModelConfig,
    ) -> Self {
        let LanguageModelConfig { layers, hidden, dropout } = config;
        let lstm = Lstm::new(scope.scope("lstm"), embedding.width(), hidden, layers);
        let words = embedding.vocabulary();
        let mut softmax = scope.scope("softmax");
        let weight = softmax.weight("weight", [hidden, words], Init::Uniform(0.1));
        let bias = softmax.weight("bias", [words], Init::Uniform(0.1));
        let purpose = format!("dropout.{}", scope.path("output"));
        LanguageModel { embedding, lstm: lstm.dropout(dropout), weight, bias, dropout, purpose }
    }

    /// The same model with another embedding of the same width.
    ///
    /// # Panics
    /// If the vocabularies or widths differ.
    #[track_caller]
    pub fn with_embedding(mut self, embedding: Box<dyn Embedding<T>>) -> Self {
        self.replace_embedding(embedding);
        self
    }

    /// [`with_embedding`](Self::with_embedding), of a model that stays where it is.
    ///
    /// # Panics
    /// If the vocabularies or widths differ.
    #[track_caller]
    pub fn replace_embedding(&mut self, embedding: Box<dyn Embedding<T>>) {
        let sizes = |e: &dyn Embedding<T>| (e.vocabulary(), e.width());
        assert_eq!(
            sizes(&*self.embedding),
            sizes(&*embedding),
            "vocabulary and width of the embeddings"
        );
        self.embedding = embedding;
    }

    /// The embedding.
    pub fn embedding(&self) -> &dyn Embedding<T> {
        &*self.embedding
    }

    /// The state at the start of a text.
    pub fn start(&self, batch: usize) -> LstmState<T> {
        self.lstm.start(batch)
    }

    /// Predicts every word of a window from the words before it.
    ///
    /// # Panics
    /// If the window's inputs or targets are not as many as its steps times its batch, or the state is
    /// of another batch size.
    #[track_caller]
    pub fn forward<'t>(
        &self,
        p: &Bound<'t, T>,
        window: &Window,
        state: &LstmState<T>,
    ) -> Pass<'t, T> {
        let Window { inputs, targets, steps, batch } = window;
        assert!(
            [inputs.len(), targets.len()] == [steps * batch; 2],
            "language model: {} inputs and {} targets in a window of {steps} steps and batch {batch}",
            inputs.len(),
            targets.len()
        );
        let embedded = self.embedding.forward(p, inputs);
        let x = embedded.rows.reshape([*steps, *batch, self.embedding.width()]);
        let (mut h, state) = self.lstm.forward(p, x, &state.on(p.tape));
        if p.training {
            h = h.dropout(self.dropout, &self.purpose);
        }
        let mean = h.linear_cross_entropy(p[self.weight], p[self.bias], targets);
        let loss = mean * T::from_usize(*steps);
        let objective = embedded.regulariser.map_or(loss, |regulariser| loss + regulariser);
        Pass { objective, cross_entropy: mean.value().item(), state: state.detach() }
    }
}
