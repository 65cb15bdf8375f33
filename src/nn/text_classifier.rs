//! A bag-of-words classifier of texts: the mean of embeddings, and one hidden layer.

use super::batch_norm::BatchNorm;
use super::linear::Linear;
use crate::data::Bags;
use crate::embedding::{Embedded, Embedding};
use crate::params::Scope;
use crate::real::Real;
use crate::tape::{Bound, Part, Var};

/// The settings of a [`TextClassifier`]; its width is its embedding's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextClassifierConfig {
    /// How many classes there are.
    pub classes: usize,
    /// Whether there is a hidden layer, as wide as the embedding.
    pub hidden: bool,
    /// In training, the probability with which an element of what the output layer reads is dropped.
    pub dropout: f64,
    /// In training, the probability with which a word of a text is left out (Iyyer et al. 2015).
    pub word_dropout: f64,
}

/// A classifier of texts with any [`Embedding`]; without the order of words.
///
/// ```text
/// m      = the mean of the rows of a text's words, 0 of none
/// h      = relu(norm(m))
/// h      = relu(norm(h W_1 + b_1))
/// logits = h W_2 + b_2
/// ```
///
/// with batch normalisation; without a hidden layer logits = m W_2 + b_2.
pub struct TextClassifier<T: Real> {
    embedding: Box<dyn Embedding<T>>,
    hidden: Option<([BatchNorm; 2], Linear)>,
    out: Linear,
    dropout: f64,
    word_dropout: f64,
    /// What the dropout mask, and the words that are left out, are drawn for.
    purposes: [String; 2],
}

/// What some texts gave.
pub struct Logits<'t, T: Real> {
    /// texts x classes
    pub logits: Var<'t, T>,
    /// A scalar to add to the loss, where the embedding has one.
    pub regulariser: Option<Var<'t, T>>,
}

impl<T: Real> TextClassifier<T> {
    /// Adds the parameters of everything but the embedding, which has its own: those of two
    /// [`BatchNorm`]s `norm.0` and `norm.1` and of the [`Linear`] layers `hidden` and `out`.
    ///
    /// # Panics
    /// If there are no classes, a probability is not in \[0, 1), or the scope has parameters of these
    /// names already.
    #[track_caller]
    pub fn new(
        mut scope: Scope<'_, T>,
        embedding: Box<dyn Embedding<T>>,
        config: TextClassifierConfig,
    ) -> Self {
        let (width, TextClassifierConfig { dropout, word_dropout, .. }) =
            (embedding.width(), config);
        for (name, probability) in [("dropout", dropout), ("word dropout", word_dropout)] {
            let valid = (0.0..1.0).contains(&probability);
            assert!(valid, "text classifier: {name} {probability} is not in [0, 1)");
        }
        // No closures: a panic is at the caller's line.
        let hidden = if config.hidden {
            let first = BatchNorm::new(scope.scope("norm.0"), width);
            let second = BatchNorm::new(scope.scope("norm.1"), width);
            Some(([first, second], Linear::new(scope.scope("hidden"), width, width)))
        } else {
            None
        };
        let out = Linear::new(scope.scope("out"), width, config.classes);
        let purposes = ["out", "words"].map(|name| format!("dropout.{}", scope.path(name)));
        TextClassifier { embedding, hidden, out, dropout, word_dropout, purposes }
    }

    /// Another embedding of the same width in place of its own.
    ///
    /// # Panics
    /// If the vocabularies or widths differ.
    #[track_caller]
    pub fn replace_embedding(&mut self, embedding: Box<dyn Embedding<T>>) {
        let sizes = |e: &dyn Embedding<T>| (e.vocabulary(), e.width());
        let [own, given] = [&*self.embedding, &*embedding].map(sizes);
        assert_eq!(own, given, "vocabulary and width of the embeddings");
        self.embedding = embedding;
    }

    /// The embedding.
    pub fn embedding(&self) -> &dyn Embedding<T> {
        &*self.embedding
    }

    /// The logits of texts.
    ///
    /// In training on [several ranks](crate::Tape::set_communicator) every rank is given all texts of the batch. It has
    /// the logits of those that are [its part](Part::by_length), which the tape then knows.
    ///
    /// # Panics
    /// If the lengths of the texts do not add up to their ids; in training with a hidden layer, if there are
    /// no texts; on several ranks, if there are fewer texts than ranks.
    #[track_caller]
    pub fn forward<'t>(&self, p: &Bound<'t, T>, texts: &Bags) -> Logits<'t, T> {
        let fewer;
        let texts = if p.training && self.word_dropout > 0.0 {
            fewer = texts.drop_ids(self.word_dropout, &mut p.tape.noise(&self.purposes[1]));
            &fewer
        } else {
            texts
        };
        let ranks = p.tape.ranks();
        if !(p.training && ranks.are_several()) {
            return self.classify(p, self.embedding.forward(p, &texts.ids), &texts.lengths);
        }
        let [of_texts, of_words] = Part::by_length(ranks.rank(), ranks.size(), &texts.lengths);
        let own = texts.slice(of_texts.range());
        p.tape.set_part(of_words);
        let mut embedded = self.embedding.forward(p, &own.ids);
        p.tape.set_part(of_texts);
        // A mean over words, in a loss that counts texts.
        let weight = of_words.share() / of_texts.share();
        embedded.regulariser = embedded.regulariser.map(|mean| mean * T::from_f64(weight));
        self.classify(p, embedded, &own.lengths)
    }

    /// The logits of texts whose words' rows are known.
    #[track_caller]
    fn classify<'t>(
        &self,
        p: &Bound<'t, T>,
        embedded: Embedded<'t, T>,
        lengths: &[usize],
    ) -> Logits<'t, T> {
        let mean = embedded.rows.segment_mean(lengths);
        let mut h = match &self.hidden {
            Some(([first, second], hidden)) => {
                let h = first.forward(p, mean).relu();
                second.forward(p, hidden.forward(p, h)).relu()
            }
            None => mean,
        };
        if p.training {
            h = h.dropout(self.dropout, &self.purposes[0]);
        }
        Logits { logits: self.out.forward(p, h), regulariser: embedded.regulariser }
    }
}
