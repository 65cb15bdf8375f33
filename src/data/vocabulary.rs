//! Words and their ids.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use crate::error::{Error, Result};

/// A two-way table of words and ids `0..len`.
///
/// Ids follow falling count, and first appearance among words of equal count. The unknown word
/// and the end-of-sentence word are always there, at the end if the text has none.
///
/// ```
/// use dpq::data::Vocabulary;
///
/// let vocabulary = Vocabulary::from_words("the cat saw the dog".split_whitespace());
/// assert_eq!(vocabulary.id("the"), Some(0));
/// assert_eq!(vocabulary.encode("bird"), vocabulary.unknown());
/// assert_eq!(vocabulary.word(1)?, "cat");
/// # Ok::<(), dpq::error::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    words: Vec<String>,
    ids: HashMap<String, u32>,
    unknown: u32,
    end_of_sentence: u32,
}

impl Vocabulary {
    /// The unknown word: whatever is not in the vocabulary is read as this.
    pub const UNKNOWN: &str = "<unk>";

    /// The word that ends each sentence.
    pub const END_OF_SENTENCE: &str = "<eos>";

    /// The vocabulary of all `words`, in the order of a running text.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Vocabulary {
        let mut counts = count(words);
        // A stable sort: words of equal count stay in order of first appearance.
        counts.sort_by_key(|&(_, count)| Reverse(count));
        let mut words: Vec<String> = counts.iter().map(|&(word, _)| word.to_owned()).collect();
        let mut ids: HashMap<String, u32> = words.iter().cloned().zip(0..).collect();
        let unknown = id_or_append(Self::UNKNOWN, &mut words, &mut ids);
        let end_of_sentence = id_or_append(Self::END_OF_SENTENCE, &mut words, &mut ids);
        Vocabulary { words, ids, unknown, end_of_sentence }
    }

    /// The vocabulary of the `words` that come at least twice; the others count as the unknown
    /// word.
    ///
    /// For texts without `<unk>`, so that a model meets the unknown word in training. Where the
    /// text has `<unk>`, its author has made that choice, and all words are kept.
    pub fn from_repeated_words<'a>(words: impl Iterator<Item = &'a str> + Clone) -> Vocabulary {
        let counts = count(words.clone());
        if counts.iter().any(|&(word, _)| word == Self::UNKNOWN) {
            return Self::from_words(words);
        }
        let rare: HashSet<&str> = counts
            .into_iter()
            .filter(|&(word, count)| count == 1 && word != Self::END_OF_SENTENCE)
            .map(|(word, _)| word)
            .collect();
        Self::from_words(words.map(|word| if rare.contains(word) { Self::UNKNOWN } else { word }))
    }

    /// The number of words, the unknown word and the end-of-sentence word among them.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Always false: two words are always there.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The id of `word`, if it is in the vocabulary.
    pub fn id(&self, word: &str) -> Option<u32> {
        self.ids.get(word).copied()
    }

    /// The id of `word`, or of the unknown word if `word` is not in the vocabulary.
    pub fn encode(&self, word: &str) -> u32 {
        self.id(word).unwrap_or(self.unknown)
    }

    /// The word with this `id`.
    ///
    /// # Errors
    ///
    /// [`Error::Id`] if `id` is not below [`len`](Self::len).
    pub fn word(&self, id: u32) -> Result<&str> {
        let word = self.words.get(id as usize);
        word.map(String::as_str).ok_or(Error::Id { id, vocabulary: self.len() })
    }

    /// The id of the unknown word.
    pub fn unknown(&self) -> u32 {
        self.unknown
    }

    /// The id of the end-of-sentence word.
    pub fn end_of_sentence(&self) -> u32 {
        self.end_of_sentence
    }

    /// All words in order of id.
    pub fn words(&self) -> impl ExactSizeIterator<Item = &str> {
        self.words.iter().map(String::as_str)
    }
}

/// Each distinct word with its count, in order of first appearance.
fn count<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<(&'a str, usize)> {
    let mut places = HashMap::new();
    let mut counts = Vec::new();
    for word in words {
        let place = *places.entry(word).or_insert(counts.len());
        if place == counts.len() {
            counts.push((word, 0));
        }
        counts[place].1 += 1;
    }
    counts
}

/// The id of `word`, which is appended if it is missing.
fn id_or_append(word: &str, words: &mut Vec<String>, ids: &mut HashMap<String, u32>) -> u32 {
    *ids.entry(word.to_owned()).or_insert_with(|| {
        words.push(word.to_owned());
        words.len() as u32 - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(vocabulary: &Vocabulary) -> Vec<&str> {
        vocabulary.words().collect()
    }

    #[test]
    fn ids_follow_count_then_first_appearance() {
        let vocabulary = Vocabulary::from_words("d b c b c a".split(' '));
        assert_eq!(words(&vocabulary), ["b", "c", "d", "a", "<unk>", "<eos>"]);
        assert_eq!((vocabulary.unknown(), vocabulary.end_of_sentence()), (4, 5));
    }

    #[test]
    fn special_words_of_the_text_keep_their_rank() {
        let vocabulary = Vocabulary::from_words("<eos> a <unk> <unk> a <unk>".split(' '));
        assert_eq!(words(&vocabulary), ["<unk>", "a", "<eos>"]);
        assert_eq!((vocabulary.unknown(), vocabulary.end_of_sentence()), (0, 2));
    }

    #[test]
    fn words_seen_once_become_the_unknown_word() {
        let vocabulary = Vocabulary::from_repeated_words("x a a y z <eos>".split(' '));
        assert_eq!(words(&vocabulary), ["<unk>", "a", "<eos>"]);
        assert_eq!(vocabulary.encode("x"), vocabulary.unknown());
    }

    #[test]
    fn words_seen_once_stay_where_the_text_has_an_unknown_word() {
        let vocabulary = Vocabulary::from_repeated_words("x a a <unk>".split(' '));
        assert_eq!(words(&vocabulary), ["a", "x", "<unk>", "<eos>"]);
    }

    #[test]
    fn words_and_ids_are_inverse() {
        let vocabulary = Vocabulary::from_words("to be or not to be".split(' '));
        for (word, id) in vocabulary.words().zip(0..) {
            assert_eq!(vocabulary.id(word), Some(id));
            assert_eq!(vocabulary.word(id).unwrap(), word);
        }
        assert_eq!(vocabulary.id("question"), None);
        assert_eq!(vocabulary.encode("question"), vocabulary.unknown());
    }

    #[test]
    fn an_id_outside_is_an_error() {
        let vocabulary = Vocabulary::from_words("a b".split(' '));
        let error = vocabulary.word(4).unwrap_err();
        assert!(matches!(error, Error::Id { id: 4, vocabulary: 4 }), "{error}");
    }

    #[test]
    fn no_words_still_give_the_special_words() {
        let vocabulary = Vocabulary::from_words([]);
        assert_eq!(words(&vocabulary), ["<unk>", "<eos>"]);
        assert!(!vocabulary.is_empty());
    }
}
