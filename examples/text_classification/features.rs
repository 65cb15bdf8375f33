//! What a text is made of: its words, and pairs of neighbouring words by a hash.

use dpq::data::words_and_marks;
use std::collections::HashMap;

/// A text's further words do not count.
const MOST: usize = 400;

/// The features of texts, as ids: words, then the unknown word, then the buckets of pairs.
#[derive(Clone, Debug)]
pub struct Features {
    words: Vec<String>,
    ids: HashMap<String, u32>,
    buckets: u32,
}

impl Features {
    /// The unknown word.
    pub const UNKNOWN: &str = "<unk>";

    /// Of these words, in order of their ids, and so many buckets.
    pub fn new(words: Vec<String>, buckets: u32) -> Features {
        let ids = words.iter().cloned().zip(0..).collect();
        Features { words, ids, buckets }
    }

    /// The words that are at least twice in some texts, the frequent ones first.
    pub fn ranked<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for word in texts.flat_map(|text| words_and_marks(text).take(MOST)) {
            *counts.entry(word).or_default() += 1;
        }
        let mut counts: Vec<(String, usize)> =
            counts.into_iter().filter(|(_, count)| *count > 1).collect();
        counts.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        counts.into_iter().map(|(word, _)| word).collect()
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        Features::count(self.words.len(), self.buckets)
    }

    /// How many ids so many words and buckets have.
    pub fn count(words: usize, buckets: u32) -> usize {
        words + 1 + buckets as usize
    }

    pub fn words(&self) -> &[String] {
        &self.words
    }

    pub fn buckets(&self) -> u32 {
        self.buckets
    }

    /// A name for every id.
    pub fn names(&self) -> Vec<String> {
        let buckets = (0..self.buckets).map(|bucket| format!("<pair {bucket}>"));
        let unknown = std::iter::once(Features::UNKNOWN.to_string());
        self.words.iter().cloned().chain(unknown).chain(buckets).collect()
    }

    /// The ids of a text: its words, then its pairs of known words.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let unknown = self.words.len() as u32;
        let id = |word: String| self.ids.get(&word).copied().unwrap_or(unknown);
        let mut ids: Vec<u32> = words_and_marks(text).take(MOST).map(id).collect();
        if self.buckets > 0 {
            let known = |pair: &&[u32]| !pair.contains(&unknown);
            let pairs: Vec<u32> =
                ids.windows(2).filter(known).map(|pair| self.bucket(pair)).collect();
            ids.extend(pairs);
        }
        ids
    }

    /// The id of a pair of words.
    fn bucket(&self, pair: &[u32]) -> u32 {
        let hash = pair.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &id| {
            (hash ^ u64::from(id)).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
        });
        self.words.len() as u32 + 1 + (hash % u64::from(self.buckets)) as u32
    }
}
