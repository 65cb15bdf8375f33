//! The text that models are trained on, and what is known of it without them.

use super::Result;
use super::arguments::Settings;
use super::progress::thousands;
use super::results::Yardsticks;
use dpq::data::{Batches, Corpus, SyntheticLanguage, bigram_perplexity, unigram_perplexity};
use std::path::Path;

/// Time steps of a window of the test text. The state is carried over, so they only bound memory.
const TEST_STEPS: usize = 400;

/// A text, cut into windows.
pub struct Text {
    pub vocabulary: usize,
    pub words: Vec<String>,
    /// What it consists of, to know it again.
    pub fingerprint: String,
    pub train: Batches,
    pub valid: Batches,
    pub test: Batches,
    pub yardsticks: Yardsticks,
}

impl Text {
    /// Of a file or folder, or the made-up language.
    ///
    /// # Errors
    /// If it cannot be read, or is too short for the preset.
    pub fn new(data: Option<&Path>, settings: &Settings) -> Result<Text> {
        let (corpus, language) = match data {
            Some(path) => (Corpus::read(path)?, None),
            None => {
                let language = SyntheticLanguage::new(settings.seed);
                (language.corpus(), Some(language))
            }
        };
        let &Settings { batch, steps, preset, .. } = settings;
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
        Ok(Text {
            vocabulary,
            words: corpus.vocabulary.words().map(String::from).collect(),
            fingerprint: fingerprint(vocabulary, parts),
            train: Batches::new(&corpus.train, batch, steps).map_err(short)?,
            valid: Batches::with_tail(&corpus.valid, batch, steps)?,
            test: Batches::with_tail(&corpus.test, 1, TEST_STEPS)?,
            yardsticks: Yardsticks {
                floor: language.map(|language| held_out.map(|text| language.true_perplexity(text))),
                bigram: held_out.map(|text| bigram_perplexity(&corpus.train, text, vocabulary)),
                unigram: held_out.map(|text| unigram_perplexity(&corpus.train, text, vocabulary)),
            },
        })
    }
}

/// How many words, and a hash of all ids (FNV-1a).
fn fingerprint(vocabulary: usize, parts: [&[u32]; 3]) -> String {
    let ids = parts.iter().flat_map(|part| part.iter());
    let hash = ids.clone().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &id| {
        (hash ^ u64::from(id)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{} words of {}, hash {hash:016x}", thousands(ids.count()), thousands(vocabulary))
}
