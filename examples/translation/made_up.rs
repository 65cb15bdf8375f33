//! A made-up task: phrases that are reversed, and whose words have other names.

use crate::sentences::{Pairs, Parts};
use dpq::rng::rand::RngExt;
use dpq::rng::{shuffled, stream};

/// Words of each language.
const WORDS: usize = 40;

/// Phrases of 2 to 7 words; the translation of `a3 a7` is `b.. b..`, each word by a fixed other one, from the
/// last to the first.
pub fn parts(seed: u64) -> Parts {
    let names = shuffled(WORDS, &mut stream(seed, "phrases.names", 0));
    let part = |count: usize, purpose: &str| {
        let mut rng = stream(seed, purpose, 0);
        let (mut sources, mut targets) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let phrase: Vec<usize> =
                (0..rng.random_range(2..=7)).map(|_| rng.random_range(0..WORDS)).collect();
            sources.push(phrase.iter().map(|word| format!("a{word}")).collect());
            targets.push(phrase.iter().rev().map(|&word| format!("b{}", names[word])).collect());
        }
        Pairs { sources, targets }
    };
    Parts {
        train: part(8000, "phrases.train"),
        valid: part(300, "phrases.valid"),
        test: part(500, "phrases.test"),
    }
}
