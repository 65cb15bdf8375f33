//! A translator: bidirectional LSTM encoder, LSTM decoder with attention (Luong et al. 2015).

use super::linear::Linear;
use super::lstm_layers::{Lstm, LstmState, LstmVars};
use crate::embedding::Embedding;
use crate::init::Init;
use crate::ops::concat;
use crate::params::{ParamId, Scope};
use crate::real::Real;
use crate::tape::{Bound, Tape, Var};
use crate::tensor::Tensor;

/// The settings of a [`Translator`]; the widths of words are its embeddings'.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TranslatorConfig {
    /// Units of every LSTM layer, and of the attention vector.
    pub units: usize,
    /// In training, the probability with which an element of an LSTM layer's inputs is dropped.
    pub dropout: f64,
    /// The target word that every translation begins with.
    pub start: u32,
    /// The target word that every translation ends with. It also fills up short sentences, of both
    /// languages: embeddings should take it as their padding.
    pub end: u32,
}

/// A translator with any [`Embedding`]s of the two languages.
///
/// ```text
/// encoder     m[s] = (h[s] of a layer from left to right, h[s] of one from right to left)
/// keys        k[s] = m[s] W_k
/// decoder     two layers, which start from the last states of the encoder's; input (word t, a[t - 1])
/// attention   w = softmax over s of g < h[t], k[s] >,   a[t] = (h[t], sum over s of w[s] m[s]) W_a
/// logits      a[t] W_o
/// ```
///
/// with the attention vector a\[-1\] = 0, and g a number that is learnt. Padding takes part in nothing.
pub struct Translator<T: Real> {
    source: Box<dyn Embedding<T>>,
    pub(super) target: Box<dyn Embedding<T>>,
    encoder: [Lstm; 2],
    decoder: [Lstm; 2],
    keys: Linear,
    scale: ParamId,
    attention: Linear,
    pub(super) out: ParamId,
    pub(super) config: TranslatorConfig,
    /// What dropout masks are drawn for begins with this.
    purpose: String,
}

/// What a batch of sentence pairs gave.
pub struct Translated<'t, T: Real> {
    /// What training minimises: the cross-entropy summed over target words and averaged over
    /// sentences, plus the regularisers of the embeddings.
    pub objective: Var<'t, T>,
    /// Mean cross-entropy of a target word, its end among them, in nats.
    pub cross_entropy: T,
}

/// Source sentences, encoded.
pub(super) struct Encoded<'t, T: Real> {
    /// batch x steps x units
    pub(super) keys: Var<'t, T>,
    /// batch x steps x 2 units
    pub(super) memories: Var<'t, T>,
    pub(super) lengths: Vec<usize>,
    pub(super) decoder: Decoder<'t, T>,
    pub(super) regulariser: Option<Var<'t, T>>,
}

/// What the decoder remembers.
#[derive(Clone)]
pub(super) struct Decoder<'t, T: Real> {
    pub(super) states: [LstmVars<'t, T>; 2],
    /// a\[t - 1\], batch x units
    pub(super) attention: Var<'t, T>,
}

impl<T: Real> Translator<T> {
    /// Adds the parameters of everything but the embeddings, which have their own: those of the [`Lstm`]s
    /// `encoder.0`, `encoder.1`, `decoder.0` and `decoder.1`, `keys.weight`, `scale`, which is 1,
    /// `attention.weight` and `out`. Weights are uniform in +-0.1 unless the scope says otherwise; biases are
    /// 0, but for those of the forget gates, which are 1.
    ///
    /// # Panics
    /// If there are no units, the dropout is not in \[0, 1), the start or the end is no target word, or
    /// the scope has parameters of these names already.
    #[track_caller]
    pub fn new(
        scope: Scope<'_, T>,
        source: Box<dyn Embedding<T>>,
        target: Box<dyn Embedding<T>>,
        config: TranslatorConfig,
    ) -> Self {
        let TranslatorConfig { units, dropout, start, end } = config;
        let words = target.vocabulary();
        let inside = [start, end].iter().all(|&id| (id as usize) < words);
        assert!(inside, "translator: start {start} and end {end} of {words} target words");
        let valid = (0.0..1.0).contains(&dropout);
        assert!(valid, "translator: dropout {dropout} is not in [0, 1)");
        assert!(units > 0, "translator: 0 units");
        let init = scope.init_or(Init::Uniform(0.1));
        let mut scope = scope.init(init);
        let mut layer = |name: &str, inputs: usize| {
            Lstm::with_forget_bias(scope.scope(name), inputs, units, 1, 1.0)
        };
        let encoder = ["encoder.0", "encoder.1"].map(|name| layer(name, source.width()));
        let decoder = [layer("decoder.0", target.width() + units), layer("decoder.1", units)];
        let keys = Linear::without_bias(scope.scope("keys"), 2 * units, units);
        let scale = scope.add("scale", Tensor::scalar(T::ONE));
        let attention = Linear::without_bias(scope.scope("attention"), 3 * units, units);
        let out = scope.weight("out", [units, words], init);
        let purpose = format!("dropout.{}", scope.path("translator"));
        Translator {
            source,
            target,
            encoder,
            decoder,
            keys,
            scale,
            attention,
            out,
            config,
            purpose,
        }
    }

    /// The embeddings of the source and of the target language.
    pub fn embeddings(&self) -> [&dyn Embedding<T>; 2] {
        [&*self.source, &*self.target]
    }

    /// Another embedding of the source language, or of the target language, in place of its own.
    ///
    /// # Panics
    /// If the vocabularies or widths differ.
    #[track_caller]
    pub fn replace_embedding(&mut self, of_target: bool, embedding: Box<dyn Embedding<T>>) {
        let own = if of_target { &mut self.target } else { &mut self.source };
        let sizes = |e: &dyn Embedding<T>| (e.vocabulary(), e.width());
        let [before, after] = [&**own, &*embedding].map(sizes);
        assert_eq!(before, after, "vocabulary and width of the embeddings");
        *own = embedding;
    }

    /// Predicts every word of the targets, and their ends, from the sources and the words before it.
    ///
    /// # Panics
    /// If there are no pairs, not as many targets as sources, or a source without words.
    #[track_caller]
    pub fn forward<'t>(
        &self,
        p: &Bound<'t, T>,
        sources: &[&[u32]],
        targets: &[&[u32]],
    ) -> Translated<'t, T> {
        let batch = sources.len();
        assert!(
            batch > 0 && batch == targets.len(),
            "translator: {batch} sources and {} targets",
            targets.len()
        );
        let Encoded { keys, memories, lengths, mut decoder, regulariser } = self.encode(p, sources);
        let steps = 1 + targets.iter().map(|target| target.len()).max().expect("targets");
        let TranslatorConfig { start, end, .. } = self.config;
        let word = |t: usize, target: &[u32]| target.get(t).copied().unwrap_or(end);
        let inputs: Vec<u32> = (0..steps)
            .flat_map(|t| {
                targets.iter().map(move |target| if t == 0 { start } else { word(t - 1, target) })
            })
            .collect();
        let embedded = self.target.forward(p, &inputs);
        let words = embedded.rows.reshape([steps, batch, self.target.width()]);
        let mut all = Vec::with_capacity(steps);
        for t in 0..steps {
            let words = words.slice(0, t..t + 1).reshape([batch, self.target.width()]);
            decoder = self.step(p, (keys, memories, &lengths), t, words, &decoder).0;
            all.push(decoder.attention);
        }
        // Only positions that have a target.
        let mut expected = Vec::new();
        let mut positions = Vec::new();
        for t in 0..steps {
            for (b, target) in targets.iter().enumerate().filter(|(_, target)| t <= target.len()) {
                expected.push(word(t, target));
                positions.push((t * batch + b) as u32);
            }
        }
        let predicting = concat(&all, 0).gather_rows(&positions);
        let no_bias = p.tape.constant(Tensor::zeros([self.target.vocabulary()]));
        let mean = predicting.linear_cross_entropy(p[self.out], no_bias, &expected);
        let mut objective = mean * T::from_f64(expected.len() as f64 / batch as f64);
        for regulariser in [regulariser, embedded.regulariser].into_iter().flatten() {
            objective = objective + regulariser;
        }
        Translated { objective, cross_entropy: mean.value().item() }
    }

    #[track_caller]
    pub(super) fn encode<'t>(&self, p: &Bound<'t, T>, sources: &[&[u32]]) -> Encoded<'t, T> {
        let (batch, units) = (sources.len(), self.config.units);
        let lengths: Vec<usize> = sources.iter().map(|source| source.len()).collect();
        assert!(lengths.iter().all(|&length| length > 0), "translator: a source without words");
        let steps = lengths.iter().copied().max().unwrap_or(0);
        let word = |s: usize, source: &[u32]| source.get(s).copied().unwrap_or(self.config.end);
        let ids: Vec<u32> =
            (0..steps).flat_map(|s| sources.iter().map(move |source| word(s, source))).collect();
        let embedded = self.source.forward(p, &ids);
        let rows = self.dropped(p, embedded.rows, "source");
        // Where word s of a sentence is, and where it is from right to left; padding stays in its place.
        let at = |s: usize, b: usize| (s * batch + b) as u32;
        let turned = |s: usize, b: usize| {
            if s < lengths[b] { at(lengths[b] - 1 - s, b) } else { at(s, b) }
        };
        let positions = |place: &dyn Fn(usize, usize) -> u32, by_sentence: bool| -> Vec<u32> {
            let count = steps * batch;
            let step = |i: usize| {
                if by_sentence { (i % steps, i / steps) } else { (i / batch, i % batch) }
            };
            (0..count).map(step).map(|(s, b)| place(s, b)).collect()
        };
        let width = self.source.width();
        let read = |lstm: &Lstm, rows: Var<'t, T>, place: &dyn Fn(usize, usize) -> u32| {
            let start = lstm.start(batch).on(p.tape);
            let x = rows.reshape([steps, batch, width]);
            let (h, state) = lstm.forward_of_lengths(p, x, &lengths, &start);
            let h = h.reshape([steps * batch, units]).gather_rows(&positions(place, true));
            (h, state)
        };
        let [left_to_right, right_to_left] = &self.encoder;
        let (forward, first) = read(left_to_right, rows, &at);
        let backward = rows.gather_rows(&positions(&turned, false));
        let (backward, second) = read(right_to_left, backward, &turned);
        let memories = concat(&[forward, backward], 1);
        let keys = self.keys.forward(p, memories).reshape([batch, steps, units]);
        let memories = memories.reshape([batch, steps, 2 * units]);
        let attention = p.tape.constant(Tensor::zeros([batch, units]));
        let decoder = Decoder { states: [first, second], attention };
        Encoded { keys, memories, lengths, decoder, regulariser: embedded.regulariser }
    }

    /// One step of the decoder after its `words`, batch x width; and the attention's weights.
    pub(super) fn step<'t>(
        &self,
        p: &Bound<'t, T>,
        (keys, memories, lengths): (Var<'t, T>, Var<'t, T>, &[usize]),
        t: usize,
        words: Var<'t, T>,
        before: &Decoder<'t, T>,
    ) -> (Decoder<'t, T>, Var<'t, T>) {
        let one_step = |x: Var<'t, T>| x.insert_axis(0);
        let x = concat(&[words, before.attention], 1);
        let x = one_step(self.dropped(p, x, &format!("decoder.0.{t}")));
        let (_, first) = self.decoder[0].forward(p, x, &before.states[0]);
        let x = self.dropped(p, first.layers()[0][0], &format!("decoder.1.{t}"));
        let (_, second) = self.decoder[1].forward(p, one_step(x), &before.states[1]);
        let h = second.layers()[0][0];
        let [read, weights] = (h * p[self.scale]).attend(keys, memories, lengths);
        let attention = self.attention.forward(p, concat(&[h, read], 1));
        (Decoder { states: [first, second], attention }, weights)
    }

    fn dropped<'t>(&self, p: &Bound<'t, T>, x: Var<'t, T>, what: &str) -> Var<'t, T> {
        if !p.training || self.config.dropout == 0.0 {
            return x;
        }
        x.dropout(self.config.dropout, &format!("{}.{what}", self.purpose))
    }
}

impl<'t, T: Real> Decoder<'t, T> {
    /// Some rows of the batch.
    pub(super) fn rows(&self, rows: &[u32]) -> Decoder<'t, T> {
        let pick = |x: Var<'t, T>| x.gather_rows(rows);
        let state = |state: &LstmVars<'t, T>| {
            LstmVars::new(state.layers().iter().map(|pair| pair.map(pick)).collect())
        };
        Decoder { states: self.states.each_ref().map(state), attention: pick(self.attention) }
    }

    /// The values, which outlive the tape.
    pub(super) fn detach(&self) -> Remembered<T> {
        let states = self.states.each_ref().map(LstmVars::detach);
        Remembered { states, attention: self.attention.value() }
    }
}

/// What the decoder remembers from pass to pass.
pub(super) struct Remembered<T: Real> {
    states: [LstmState<T>; 2],
    attention: Tensor<T>,
}

impl<T: Real> Remembered<T> {
    pub(super) fn on<'t>(&self, tape: &'t Tape<T>) -> Decoder<'t, T> {
        let states = self.states.each_ref().map(|state| state.on(tape));
        Decoder { states, attention: tape.constant(self.attention.clone()) }
    }

    /// Some rows of the batch.
    pub(super) fn rows(&self, rows: &[u32]) -> Remembered<T> {
        self.on(&Tape::new()).rows(rows).detach()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{FullEmbedding, Params};

    pub(crate) const START: u32 = 0;
    pub(crate) const END: u32 = 1;

    pub(crate) fn translator(dropout: f64) -> (Params<f64>, Translator<f64>) {
        let mut params = Params::seeded(5);
        let mut table = |name: &str, words| {
            let scope = params.scope(name).init(Init::Uniform(1.0));
            Box::new(FullEmbedding::new(scope, words, 3).padding(END))
        };
        let (source, target) = (table("source", 6), table("target", 5));
        let config = TranslatorConfig { units: 4, dropout, start: START, end: END };
        let scope = params.root().init(Init::Uniform(0.8));
        let translator = Translator::new(scope, source, target, config);
        (params, translator)
    }

    pub(crate) const SOURCES: [&[u32]; 3] = [&[2, 5, 3], &[4], &[3, 2]];
    pub(crate) const TARGETS: [&[u32]; 3] = [&[2, 4], &[3, 3, 2, 4], &[]];

    #[test]
    fn a_batch_is_worth_the_sum_of_its_pairs_and_padding_nothing() {
        let (params, model) = translator(0.0);
        let mut tape = Tape::new();
        let mut loss = |sources: &[&[u32]], targets: &[&[u32]]| {
            let (loss, grads, ()) = tape
                .value_and_grad(&params, |p| (model.forward(p, sources, targets).objective, ()))
                .unwrap();
            (loss, grads)
        };
        let (together, grads) = loss(&SOURCES, &TARGETS);
        let mut sum = 0.0;
        let mut sums: Vec<Vec<f64>> =
            params.ids().map(|id| vec![0.0; params.get(id).data().len()]).collect();
        for (source, target) in SOURCES.into_iter().zip(TARGETS) {
            let (alone, grads) = loss(&[source], &[target]);
            sum += alone;
            for (sum, id) in sums.iter_mut().zip(params.ids()) {
                sum.iter_mut().zip(grads.dense(id).data()).for_each(|(sum, dp)| *sum += dp);
            }
        }
        assert!((3.0 * together - sum).abs() < 1e-12, "{together} {sum}");
        for (sum, id) in sums.iter().zip(params.ids()) {
            let close = |(sum, dp): (&f64, &f64)| (sum - 3.0 * dp).abs() < 1e-12;
            let together = grads.dense(id);
            assert!(sum.iter().zip(together.data()).all(close), "{}", params.name(id));
        }
    }

    #[test]
    fn gradients_agree_with_differences() {
        let (params, model) = translator(0.0);
        crate::gradcheck_params(&params, |p| model.forward(p, &SOURCES, &TARGETS).objective)
            .assert_ok();
    }
}
