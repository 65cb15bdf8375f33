//! The text that models are trained on, and what is known of it without them.

use crate::arguments::Sizes;
use crate::common::progress::thousands;
use crate::common::results::Yardstick;
use crate::common::{Result, fingerprint};
use dpq::data::{Batches, Corpus, SyntheticLanguage, bigram_perplexity, unigram_perplexity};
use std::path::Path;

/// Time steps of a window of the test text. The state is carried over, so they only bound memory.
const TEST_STEPS: usize = 400;

/// A text, cut into windows.
pub struct Text {
    pub words: Vec<String>,
    /// What it consists of, to know it again.
    pub fingerprint: String,
    pub train: Batches,
    pub valid: Batches,
    pub test: Batches,
    pub yardsticks: Vec<Yardstick>,
}

impl Text {
    /// Of a file or folder, or the made-up language.
    ///
    /// # Errors
    /// If it cannot be read, or is too short for the preset.
    pub fn new(data: Option<&Path>, sizes: &Sizes, seed: u64) -> Result<Text> {
        let (corpus, language) = match data {
            Some(path) => (Corpus::read(path)?, None),
            None => {
                let language = SyntheticLanguage::new(seed);
                (language.corpus(), Some(language))
            }
        };
        let &Sizes { batch, steps, preset, .. } = sizes;
        let short = |_| {
            format!(
                "training text: {} words, expected at least {} for preset {preset} \
                 ({batch} streams of {} words)",
                thousands(corpus.train.len()),
                thousands(batch * (steps + 1)),
                steps + 1
            )
        };
        let held_out = [&corpus.valid, &corpus.test];
        let vocabulary = corpus.vocabulary.len();
        let parts = [&corpus.train[..], &corpus.valid, &corpus.test];
        let ids = parts.iter().map(|part| part.len()).sum();
        let what = format!("{} words of {}", thousands(ids), thousands(vocabulary));
        let yardstick = |name, [valid, test]: [f64; 2]| Yardstick { name, valid, test };
        let unigram = held_out.map(|text| unigram_perplexity(&corpus.train, text, vocabulary));
        let bigram = held_out.map(|text| bigram_perplexity(&corpus.train, text, vocabulary));
        let mut yardsticks =
            vec![yardstick("unigram counts", unigram), yardstick("bigram counts", bigram)];
        if let Some(language) = language {
            let floor = held_out.map(|text| language.true_perplexity(text));
            yardsticks.push(yardstick("true model", floor));
        }
        Ok(Text {
            words: corpus.vocabulary.words().map(String::from).collect(),
            fingerprint: fingerprint(&what, corpus.vocabulary.words(), &parts),
            train: Batches::new(&corpus.train, batch, steps).map_err(short)?,
            valid: Batches::with_tail(&corpus.valid, batch, steps)?,
            test: Batches::with_tail(&corpus.test, 1, TEST_STEPS)?,
            yardsticks,
        })
    }
}
