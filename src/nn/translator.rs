//! A translator: bidirectional LSTM encoder, LSTM decoder with attention (Luong et al. 2015).

use super::linear::Linear;
use super::lstm_layers::{Lstm, LstmState, LstmVars};
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::init::Init;
use crate::ops::concat;
use crate::params::{ParamId, Params, Scope};
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
    target: Box<dyn Embedding<T>>,
    encoder: [Lstm; 2],
    decoder: [Lstm; 2],
    keys: Linear,
    scale: ParamId,
    attention: Linear,
    out: ParamId,
    config: TranslatorConfig,
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

/// A translation.
#[derive(Clone, Debug, PartialEq)]
pub struct Translation {
    /// The target words, without the end.
    pub words: Vec<u32>,
    /// For each of them how much attention it pays to each source word.
    pub attention: Vec<Vec<f64>>,
    /// The logarithm of the probability of its words, and of its end if it was not cut.
    pub score: f64,
}

/// Source sentences, encoded.
struct Encoded<'t, T: Real> {
    /// batch x steps x units
    keys: Var<'t, T>,
    /// batch x steps x 2 units
    memories: Var<'t, T>,
    lengths: Vec<usize>,
    decoder: Decoder<'t, T>,
    regulariser: Option<Var<'t, T>>,
}

/// What the decoder remembers.
#[derive(Clone)]
struct Decoder<'t, T: Real> {
    states: [LstmVars<'t, T>; 2],
    /// a\[t - 1\], batch x units
    attention: Var<'t, T>,
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
    fn encode<'t>(&self, p: &Bound<'t, T>, sources: &[&[u32]]) -> Encoded<'t, T> {
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
    fn step<'t>(
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

    /// The most probable translation of every sentence that a search finds which keeps the best `beam`
    /// beginnings; 1 is greedy. What is twice as long as its source is not continued.
    ///
    /// # Errors
    /// If an id is outside the vocabulary, or a probability is NaN.
    ///
    /// # Panics
    /// If the beam is 0, or there is a source without words.
    #[track_caller]
    pub fn translate(
        &self,
        tape: &mut Tape<T>,
        params: &Params<T>,
        sources: &[&[u32]],
        beam: usize,
    ) -> Result<Vec<Translation>> {
        assert!(beam > 0, "translate: a beam of 0");
        let some = sources.iter().all(|source| !source.is_empty());
        assert!(some, "translate: a source without words");
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        self.search(tape, params, sources, beam)
    }

    /// Every step is a pass of its own: the tape never holds more than one.
    fn search(
        &self,
        tape: &mut Tape<T>,
        params: &Params<T>,
        sources: &[&[u32]],
        beam: usize,
    ) -> Result<Vec<Translation>> {
        let longest = sources.iter().map(|source| source.len()).max().expect("sources");
        // Every sentence has `beam` rows, the first of which begins.
        let rows: Vec<u32> =
            (0..sources.len()).flat_map(|b| std::iter::repeat_n(b as u32, beam)).collect();
        let lengths: Vec<usize> = rows.iter().map(|&b| sources[b as usize].len()).collect();
        let (keys, memories, mut state) = tape.value(params, |p| {
            let Encoded { keys, memories, decoder, .. } = self.encode(p, sources);
            let [keys, memories] = [keys, memories].map(|x| {
                let shape = x.shape();
                let flat = x.reshape([shape[0], shape.elements() / shape[0]]).gather_rows(&rows);
                flat.reshape([rows.len(), shape[1], shape[2]]).value()
            });
            (keys, memories, decoder.rows(&rows).detach())
        })?;
        let begin = |i: usize| Hypothesis {
            words: Vec::new(),
            attention: Vec::new(),
            score: if i.is_multiple_of(beam) { 0.0 } else { f64::NEG_INFINITY },
            ended: false,
        };
        let mut all: Vec<Hypothesis> = (0..rows.len()).map(begin).collect();
        for t in 0..=2 * longest {
            let last = |hypothesis: &Hypothesis| match hypothesis.ended {
                true => self.config.end,
                false => hypothesis.words.last().copied().unwrap_or(self.config.start),
            };
            let ids: Vec<u32> = all.iter().map(last).collect();
            let (after, logits, weights) = tape.value(params, |p| {
                let words = self.target.forward(p, &ids).rows;
                let [keys, memories] = [&keys, &memories].map(|x| p.tape.constant(x.clone()));
                let before = state.on(p.tape);
                let (after, weights) = self.step(p, (keys, memories, &lengths), t, words, &before);
                let logits = after.attention.matmul(p[self.out]).log_softmax();
                (after.detach(), logits.value(), weights.value())
            })?;
            if logits.data().iter().any(|x| x.to_f64().is_nan()) {
                let what = "the probability of a word".into();
                return Err(Error::NotFinite { what, value: f64::NAN });
            }
            let mut chosen = Vec::with_capacity(all.len());
            let mut next = Vec::with_capacity(all.len());
            for (b, own) in all.chunks(beam).enumerate() {
                let row = |i: usize| b * beam + i;
                let of_row = |i: usize| logits.rows().nth(row(i)).expect("a row for each");
                let longer = t < 2 * sources[b].len();
                for (i, word, score) in continuations(own, of_row, longer, self.config.end) {
                    let attention = weights.rows().nth(row(i)).expect("a row for each");
                    next.push(own[i].followed_by(
                        word,
                        score,
                        attention,
                        lengths[row(i)],
                        self.config.end,
                    ));
                    chosen.push(row(i) as u32);
                }
            }
            all = next;
            if all.iter().all(|hypothesis| hypothesis.ended) {
                break;
            }
            state = after.rows(&chosen);
        }
        // The best of each sentence comes first.
        let best = all.into_iter().step_by(beam);
        Ok(best
            .map(|Hypothesis { words, attention, score, .. }| Translation {
                words,
                attention,
                score,
            })
            .collect())
    }
}

impl<'t, T: Real> Decoder<'t, T> {
    /// Some rows of the batch.
    fn rows(&self, rows: &[u32]) -> Decoder<'t, T> {
        let pick = |x: Var<'t, T>| x.gather_rows(rows);
        let state = |state: &LstmVars<'t, T>| {
            LstmVars::new(state.layers().iter().map(|pair| pair.map(pick)).collect())
        };
        Decoder { states: self.states.each_ref().map(state), attention: pick(self.attention) }
    }

    /// The values, which outlive the tape.
    fn detach(&self) -> Remembered<T> {
        let states = self.states.each_ref().map(LstmVars::detach);
        Remembered { states, attention: self.attention.value() }
    }
}

/// What the decoder remembers from pass to pass.
struct Remembered<T: Real> {
    states: [LstmState<T>; 2],
    attention: Tensor<T>,
}

impl<T: Real> Remembered<T> {
    fn on<'t>(&self, tape: &'t Tape<T>) -> Decoder<'t, T> {
        let states = self.states.each_ref().map(|state| state.on(tape));
        Decoder { states, attention: tape.constant(self.attention.clone()) }
    }

    /// Some rows of the batch.
    fn rows(&self, rows: &[u32]) -> Remembered<T> {
        self.on(&Tape::new()).rows(rows).detach()
    }
}

/// The beginning of a translation.
#[derive(Clone)]
struct Hypothesis {
    words: Vec<u32>,
    attention: Vec<Vec<f64>>,
    score: f64,
    ended: bool,
}

impl Hypothesis {
    fn followed_by<T: Real>(
        &self,
        word: u32,
        score: f64,
        attention: &[T],
        length: usize,
        end: u32,
    ) -> Hypothesis {
        let mut next = Hypothesis { score, ..self.clone() };
        if word == end {
            next.ended = true;
        } else {
            next.words.push(word);
            next.attention.push(attention[..length].iter().map(|w| w.to_f64()).collect());
        }
        next
    }
}

/// As many of the best continuations of some hypotheses, the best first: which is continued, by which word,
/// and the score then. One that has ended, or may not become `longer`, stays as it is, and ends.
fn continuations<'a, T: Real>(
    all: &[Hypothesis],
    logits: impl Fn(usize) -> &'a [T],
    longer: bool,
    end: u32,
) -> Vec<(usize, u32, f64)> {
    let beam = all.len();
    let mut found: Vec<(usize, u32, f64)> = Vec::new();
    for (i, hypothesis) in all.iter().enumerate() {
        if hypothesis.ended || !longer {
            found.push((i, end, hypothesis.score));
        } else if hypothesis.score > f64::NEG_INFINITY {
            let scored = logits(i).iter().zip(0..);
            let mut of_one: Vec<(f64, u32)> = scored.map(|(x, word)| (x.to_f64(), word)).collect();
            let better = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            if of_one.len() > beam {
                of_one.select_nth_unstable_by(beam - 1, better);
                of_one.truncate(beam);
            }
            found.extend(of_one.into_iter().map(|(x, word)| (i, word, hypothesis.score + x)));
        }
    }
    found.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)).then(a.1.cmp(&b.1)));
    found.truncate(beam);
    // Where there are fewer, the last is there again, as one that cannot win.
    while let (Some(&(i, word, _)), true) = (found.last(), found.len() < beam) {
        found.push((i, word, f64::NEG_INFINITY));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FullEmbedding;

    const START: u32 = 0;
    const END: u32 = 1;

    fn translator(dropout: f64) -> (Params<f64>, Translator<f64>) {
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

    const SOURCES: [&[u32]; 3] = [&[2, 5, 3], &[4], &[3, 2]];
    const TARGETS: [&[u32]; 3] = [&[2, 4], &[3, 3, 2, 4], &[]];

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

    /// The score of a translation, word by word.
    fn score(model: &Translator<f64>, params: &Params<f64>, source: &[u32], words: &[u32]) -> f64 {
        let words_and_end = words.len() as f64 + 1.0;
        let nats = |p: &Bound<'_, f64>| model.forward(p, &[source], &[words]).cross_entropy;
        -words_and_end * Tape::new().value(params, |p| nats(p)).unwrap()
    }

    #[test]
    fn a_beam_of_everything_finds_the_most_probable_translation() {
        let (params, model) = translator(0.3);
        let mut tape = Tape::new();
        for source in [&[4][..], &[3, 2]] {
            let most = 2 * source.len();
            let mut all: Vec<Vec<u32>> = vec![vec![]];
            let mut from = 0;
            // Those of `most` words may also be cut before their end.
            for _ in 0..most {
                let longer: Vec<_> = all[from..]
                    .iter()
                    .flat_map(|words| [0, 2, 3, 4].map(|word| [&words[..], &[word]].concat()))
                    .collect();
                from = all.len();
                all.extend(longer);
            }
            let scored =
                all.into_iter().map(|words| (score(&model, &params, source, &words), words));
            let best = scored.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
            let found = model.translate(&mut tape, &params, &[source], 700).unwrap().remove(0);
            if found.words.len() < most {
                assert_eq!(found.words, best.1);
                assert!((found.score - best.0).abs() < 1e-12);
            } else {
                assert!(found.score >= best.0);
            }
        }
    }

    #[test]
    fn sentences_are_translated_alike_alone_and_in_a_batch() {
        let (params, model) = translator(0.3);
        let mut tape = Tape::new();
        for beam in [1, 3] {
            let together = model.translate(&mut tape, &params, &SOURCES, beam).unwrap();
            for (source, together) in SOURCES.into_iter().zip(together) {
                let alone = model.translate(&mut tape, &params, &[source], beam).unwrap().remove(0);
                assert_eq!(alone.words, together.words);
                assert!((alone.score - together.score).abs() < 1e-12);
                assert_eq!(together.words.len(), together.attention.len());
                for weights in &together.attention {
                    assert_eq!(weights.len(), source.len());
                    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                }
            }
        }
    }
}
