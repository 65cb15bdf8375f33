//! Texts of different lengths, each of a class.

use crate::rng::ChaCha8Rng;
use rand::RngExt;
use std::ops::Range;

/// Texts as ids, one after the other: nothing is filled up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bags {
    /// The ids of all texts.
    pub ids: Vec<u32>,
    /// How many each text has.
    pub lengths: Vec<usize>,
}

impl Bags {
    /// The same texts without some of their ids, each of which is left out with this probability.
    ///
    /// ```
    /// use dpq::data::Bags;
    /// let bags = Bags { ids: vec![4; 1000], lengths: vec![0, 900, 100] };
    /// let few = bags.drop_ids(0.9, &mut dpq::rng::stream(0, "ids", 0));
    /// assert!((50..150).contains(&few.ids.len()));
    /// assert_eq!(few.lengths[0], 0);
    /// assert_eq!(few.lengths[1] + few.lengths[2], few.ids.len());
    /// ```
    ///
    /// # Panics
    /// If the probability is not in \[0, 1\], or the lengths do not add up to the ids.
    #[track_caller]
    pub fn drop_ids(&self, probability: f64, rng: &mut ChaCha8Rng) -> Bags {
        let valid = (0.0..=1.0).contains(&probability);
        assert!(valid, "drop_ids: probability {probability} is not in [0, 1]");
        let (total, ids) = (self.lengths.iter().sum::<usize>(), self.ids.len());
        assert!(total == ids, "drop_ids: lengths that add up to {total} for {ids} ids");
        let (mut rest, mut kept) = (&self.ids[..], Bags::default());
        for &length in &self.lengths {
            let (ids, after) = rest.split_at(length);
            let before = kept.ids.len();
            kept.ids.extend(ids.iter().filter(|_| !rng.random_bool(probability)));
            kept.lengths.push(kept.ids.len() - before);
            rest = after;
        }
        kept
    }

    /// Some of the texts, those from `texts.start` to before `texts.end`.
    ///
    /// # Panics
    /// If there are fewer texts, or their lengths do not add up to the ids.
    #[track_caller]
    pub fn slice(&self, texts: Range<usize>) -> Bags {
        let start = self.lengths[..texts.start].iter().sum();
        let lengths = self.lengths[texts].to_vec();
        Bags { ids: self.ids[start..][..lengths.iter().sum()].to_vec(), lengths }
    }
}

/// Texts with their classes.
///
/// ```
/// use dpq::data::Texts;
/// let mut texts = Texts::new();
/// texts.push(&[3, 1], 0);
/// texts.push(&[], 1); // a text without words
/// texts.push(&[2], 1);
/// let (bags, classes) = texts.batch(&[2, 0]);
/// assert_eq!((&bags.ids[..], &bags.lengths[..]), (&[2, 3, 1][..], &[1, 2][..]));
/// assert_eq!(classes, [1, 0]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    ids: Vec<u32>,
    /// Where the ids of each text end.
    ends: Vec<usize>,
    classes: Vec<u32>,
}

impl Texts {
    /// None.
    pub fn new() -> Texts {
        Texts::default()
    }

    /// Adds a text.
    pub fn push(&mut self, ids: &[u32], class: u32) {
        self.ids.extend_from_slice(ids);
        self.ends.push(self.ids.len());
        self.classes.push(class);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The ids of text i.
    ///
    /// # Panics
    /// If there is no such text.
    #[track_caller]
    pub fn ids(&self, i: usize) -> &[u32] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.ids[start..self.ends[i]]
    }

    /// The ids of all texts, one after the other.
    pub fn all_ids(&self) -> &[u32] {
        &self.ids
    }

    /// The class of every text.
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// Some of the texts, and their classes.
    ///
    /// # Panics
    /// If there is no such text.
    #[track_caller]
    pub fn batch(&self, texts: &[u32]) -> (Bags, Vec<u32>) {
        let mut bags = Bags::default();
        for &i in texts {
            let ids = self.ids(i as usize);
            bags.ids.extend_from_slice(ids);
            bags.lengths.push(ids.len());
        }
        (bags, texts.iter().map(|&i| self.classes[i as usize]).collect())
    }
}

/// The words of a text in lower case: runs of letters, digits and apostrophes, and every other mark by
/// itself.
///
/// ```
/// let words: Vec<String> = dpq::data::words_and_marks("Don't panic, it's 42!").collect();
/// assert_eq!(words, ["don't", "panic", ",", "it's", "42", "!"]);
/// ```
pub fn words_and_marks(text: &str) -> impl Iterator<Item = String> + '_ {
    let mut rest = text;
    let of_word = |c: char| c.is_alphanumeric() || c == '\'';
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let end = match rest.find(|c| !of_word(c)) {
            Some(0) => first.len_utf8(),
            Some(end) => end,
            None => rest.len(),
        };
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word.to_lowercase())
    })
}
