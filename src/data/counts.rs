//! Count models of words: what a neural one must beat.
//!
//! Both skip the first word of the text, which has nothing before it, so that their figures and a
//! network's are over the same words.

use std::collections::HashMap;

/// What absolute discounting takes off the count of every pair.
const DISCOUNT: f64 = 0.75;

/// The perplexity on `eval`, from its second word on, of word counts in `train` plus one each.
///
/// NaN if `eval` has fewer than two words.
///
/// # Panics
///
/// If an id is not below `vocabulary_len`.
#[track_caller]
pub fn unigram_perplexity(train: &[u32], eval: &[u32], vocabulary_len: usize) -> f64 {
    assert_ids("unigram_perplexity", [train, eval], vocabulary_len);
    let unigram = unigram(train, vocabulary_len);
    perplexity(eval.iter().skip(1).map(|&word| unigram[word as usize]))
}

/// The perplexity on `eval`, from its second word on, of the word pairs in `train`.
///
/// Absolute discounting, interpolated: 0.75 off the count of every pair, and what that frees goes
/// to the model of [`unigram_perplexity`]. NaN if `eval` has fewer than two words.
///
/// # Panics
///
/// If an id is not below `vocabulary_len`.
#[track_caller]
pub fn bigram_perplexity(train: &[u32], eval: &[u32], vocabulary_len: usize) -> f64 {
    assert_ids("bigram_perplexity", [train, eval], vocabulary_len);
    let bigram = Bigram::count(train, vocabulary_len);
    perplexity(eval.windows(2).map(|pair| bigram.probability(pair[0], pair[1])))
}

#[track_caller]
fn assert_ids(what: &str, texts: [&[u32]; 2], vocabulary_len: usize) {
    let outside = |id: &&u32| **id as usize >= vocabulary_len;
    if let Some(id) = texts.iter().flat_map(|text| text.iter()).find(outside) {
        panic!("{what}: id {id}: expected 0..{vocabulary_len}");
    }
}

/// The perplexity of words to which a model gave these `probabilities`: one over their geometric mean.
pub(super) fn perplexity(probabilities: impl Iterator<Item = f64>) -> f64 {
    let (nats, words) =
        probabilities.fold((0.0, 0.0), |(nats, n), probability| (nats - probability.ln(), n + 1.0));
    (nats / words).exp()
}

/// The probability of each word, by its count plus one.
fn unigram(train: &[u32], vocabulary_len: usize) -> Vec<f64> {
    let mut counts = vec![1.0; vocabulary_len];
    for &word in train {
        counts[word as usize] += 1.0;
    }
    let total = (train.len() + vocabulary_len) as f64;
    counts.iter().map(|count| count / total).collect()
}

/// Counts of word pairs over word counts.
struct Bigram {
    unigram: Vec<f64>,
    pairs: HashMap<(u32, u32), f64>,
    /// How many words follow each word.
    followers: Vec<f64>,
    /// How many different ones.
    distinct: Vec<f64>,
}

impl Bigram {
    fn count(train: &[u32], vocabulary_len: usize) -> Bigram {
        let mut pairs = HashMap::new();
        for pair in train.windows(2) {
            *pairs.entry((pair[0], pair[1])).or_insert(0.0) += 1.0;
        }
        let mut followers = vec![0.0; vocabulary_len];
        let mut distinct = vec![0.0; vocabulary_len];
        for (&(previous, _), count) in &pairs {
            followers[previous as usize] += count;
            distinct[previous as usize] += 1.0;
        }
        Bigram { unigram: unigram(train, vocabulary_len), pairs, followers, distinct }
    }

    /// The probability of `word` after `previous`.
    fn probability(&self, previous: u32, word: u32) -> f64 {
        let lower = self.unigram[word as usize];
        let followers = self.followers[previous as usize];
        if followers == 0.0 {
            return lower;
        }
        let count = self.pairs.get(&(previous, word)).copied().unwrap_or(0.0);
        let freed = DISCOUNT * self.distinct[previous as usize];
        ((count - DISCOUNT).max(0.0) + freed * lower) / followers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAIN: [u32; 6] = [0, 1, 0, 1, 0, 2];

    fn assert_close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn unigram_by_hand() {
        // Counts plus one of words 0..4: 4, 3, 2, 1 out of 10. The first word is not predicted.
        assert_close(unigram_perplexity(&TRAIN, &[3, 0, 2], 4), (0.4_f64 * 0.2).powf(-0.5));
    }

    #[test]
    fn bigram_by_hand() {
        // After 0: twice 1 and once 2, so 1.25 and 0.25 remain of 3, and 1.5 goes to the unigrams.
        let seen = (1.25 + 1.5 * 0.3) / 3.0;
        assert_close(bigram_perplexity(&TRAIN, &[0, 1], 4), 1.0 / seen);
        let unseen = 1.5 * 0.1 / 3.0;
        assert_close(bigram_perplexity(&TRAIN, &[0, 3], 4), 1.0 / unseen);
    }

    #[test]
    fn a_word_never_followed_leaves_the_unigrams() {
        assert_close(bigram_perplexity(&TRAIN, &[2, 0], 4), 1.0 / 0.4);
    }

    #[test]
    fn probabilities_sum_to_one() {
        let bigram = Bigram::count(&TRAIN, 4);
        assert_close(bigram.unigram.iter().sum(), 1.0);
        for previous in 0..4 {
            assert_close((0..4).map(|word| bigram.probability(previous, word)).sum(), 1.0);
        }
    }

    #[test]
    fn nothing_to_predict_is_not_a_number() {
        assert!(unigram_perplexity(&TRAIN, &[0], 4).is_nan());
        assert!(bigram_perplexity(&TRAIN, &[], 4).is_nan());
    }
}
