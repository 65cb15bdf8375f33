//! Translating: the search for the most probable translation.

use super::translator::{Encoded, Translator};
use crate::error::{Error, Result};
use crate::params::Params;
use crate::real::Real;
use crate::tape::Tape;

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

impl<T: Real> Translator<T> {
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
        let Some(longest) = sources.iter().map(|source| source.len()).max() else {
            return Ok(Vec::new());
        };
        // Every step is a pass of its own: the tape never holds more than one.
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
    use super::super::translator::tests::{SOURCES, translator};
    use super::*;
    use crate::tape::Bound;

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
