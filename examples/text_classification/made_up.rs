//! A made-up set of labelled texts, for a run that needs no files.

use crate::read::{Example, Parts};
use dpq::rng::rand::RngExt;
use dpq::rng::{ChaCha8Rng, stream};
use rand_distr::{Distribution, Zipf};

const LABELS: [&str; 6] = ["birds", "boats", "bread", "chess", "clouds", "trains"];
const WORDS: usize = 3000;
/// How many words each label prefers.
const OWN: usize = 60;
/// How often a word is one of those.
const PREFERENCE: f64 = 0.12;

/// Texts of 4 to 40 words of Zipf's law, each word one of 60 of its label's own with a probability of 12%.
pub fn parts(seed: u64) -> Parts {
    let own: Vec<Vec<u32>> = (0..LABELS.len() as u64)
        .map(|label| {
            let order = dpq::rng::shuffled(WORDS, &mut stream(seed, "texts.own", label));
            order[..OWN].to_vec()
        })
        .collect();
    let zipf = Zipf::new(WORDS as f64, 1.0).expect("a sound distribution");
    let text = |label: usize, rng: &mut ChaCha8Rng| {
        let length = rng.random_range(4..=40);
        let word = |_| {
            let word = match rng.random_bool(PREFERENCE) {
                true => own[label][rng.random_range(0..OWN)],
                false => zipf.sample(rng) as u32 - 1,
            };
            format!("w{word:04}")
        };
        (0..length).map(word).collect::<Vec<_>>().join(" ")
    };
    let part = |count: usize, purpose: &str| {
        let mut rng = stream(seed, purpose, 0);
        let example = |line: usize| {
            let label = rng.random_range(0..LABELS.len());
            Example { label: LABELS[label].into(), text: text(label, &mut rng), line }
        };
        (1..=count).map(example).collect()
    };
    Parts {
        train: part(6000, "texts.train"),
        valid: part(1000, "texts.valid"),
        test: part(2000, "texts.test"),
        labels: LABELS.map(String::from).into(),
        held_out: false,
    }
}
