//! A word-level language model: embedding, LSTM layers, softmax (Zaremba et al. 2014).

use super::{Lstm, LstmState};
use crate::data::Window;
use crate::embedding::Embedding;
use crate::params::{ParamId, Params};
use crate::real::Real;
use crate::rng;
use crate::tape::{Bound, Var};
use crate::tensor::Tensor;

/// The sizes of a [`LanguageModel`]; its width is its embedding's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LanguageModelConfig {
    /// LSTM layers.
    pub layers: usize,
    /// Units of every layer.
    pub hidden: usize,
    /// In training, the share of every layer's inputs, and of the last one's outputs, that is kept.
    pub keep: f64,
    /// Weights start uniform in +-init, biases at 0.
    pub init: f64,
}

/// A language model with any [`Embedding`].
pub struct LanguageModel<T: Real> {
    embedding: Box<dyn Embedding<T>>,
    lstm: Lstm,
    weight: ParamId,
    bias: ParamId,
    keep: f64,
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
    /// Adds the parameters of everything but the embedding, which has its own.
    pub fn new(
        params: &mut Params<T>,
        embedding: Box<dyn Embedding<T>>,
        config: LanguageModelConfig,
        seed: u64,
    ) -> Self {
        let LanguageModelConfig { layers, hidden, keep, init } = config;
        let lstm = Lstm::new(params, embedding.width(), hidden, layers, init, seed);
        let uniform =
            |shape: &[usize], name| Tensor::uniform(shape, init, &mut rng::stream(seed, name, 0));
        let words = embedding.vocabulary();
        let weight = params.add("softmax.weight", uniform(&[hidden, words], "softmax.weight"));
        let bias = params.add("softmax.bias", uniform(&[words], "softmax.bias"));
        LanguageModel { embedding, lstm, weight, bias, keep }
    }

    /// The same model with another embedding of the same width.
    ///
    /// # Panics
    /// If the vocabularies or widths differ.
    #[track_caller]
    pub fn with_embedding(self, embedding: Box<dyn Embedding<T>>) -> Self {
        let sizes = |e: &dyn Embedding<T>| (e.vocabulary(), e.width());
        assert_eq!(
            sizes(&*self.embedding),
            sizes(&*embedding),
            "vocabulary and width of the embeddings"
        );
        LanguageModel { embedding, ..self }
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
    /// If the state is of another batch size.
    #[track_caller]
    pub fn forward<'t>(
        &self,
        p: &Bound<'t, T>,
        window: &Window,
        state: &LstmState<T>,
    ) -> Pass<'t, T> {
        let embedded = self.embedding.forward(p, &window.inputs);
        let x = embedded.rows.reshape([window.steps, window.batch, self.embedding.width()]);
        let (mut h, state) = self.lstm.forward(p, x, state, self.keep);
        if p.training {
            h = h.dropout(self.keep, "dropout.output");
        }
        let mean = h.linear_cross_entropy(p[self.weight], p[self.bias], &window.targets);
        let loss = mean * T::from_usize(window.steps);
        let objective = embedded.regulariser.map_or(loss, |regulariser| loss + regulariser);
        Pass { objective, cross_entropy: mean.value().item(), state }
    }
}
