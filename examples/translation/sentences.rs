//! Sentence pairs as ids, and batches of pairs of similar length.

use crate::common::Result;
use crate::input;
use dpq::{Error, rng};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Training sentences are cut to so many words.
const LONGEST: usize = 50;

/// Pairs whose longer sentences differ by less than this many words may be in one batch.
const BUCKET: usize = 10;

/// Sentences in one language, each a list of words.
pub type Sentences = Vec<Vec<String>>;

/// Sentences and their translations.
pub struct Pairs {
    pub sources: Sentences,
    pub targets: Sentences,
}

/// Pairs to train on, to choose by, and to report on.
pub struct Parts {
    pub train: Pairs,
    pub valid: Pairs,
    pub test: Pairs,
}

impl Parts {
    /// Of a folder with `train.en`, `train.de` and so on for `valid` or `val` and for `test`, or the first
    /// file whose name begins with that.
    ///
    /// # Errors
    /// If a file cannot be read, or the two languages have not as many lines.
    pub fn read(folder: &Path, from: &str, into: &str) -> Result<Parts> {
        Ok(Parts {
            train: Pairs::read(folder, &["train"], from, into)?,
            valid: Pairs::read(folder, &["valid", "val"], from, into)?,
            test: Pairs::read(folder, &["test"], from, into)?,
        })
    }
}

impl Pairs {
    fn read(folder: &Path, parts: &[&str], from: &str, into: &str) -> Result<Pairs> {
        let name = find(folder, parts, from)?;
        let [a, b] = [from, into].map(|language| folder.join(format!("{name}.{language}")));
        let (sources, targets) = (read(&a)?, read(&b)?);
        if sources.len() != targets.len() {
            let expected = format!("{}, as {} has", sources.len(), a.display());
            return Err(misfit(&b, format!("{} lines", targets.len()), expected).into());
        }
        for (path, sentences) in [(&a, &sources), (&b, &targets)] {
            if let Some(line) = sentences.iter().position(Vec::is_empty) {
                return Err(
                    misfit(path, format!("an empty line {}", line + 1), "a sentence").into()
                );
            }
        }
        if sources.is_empty() {
            return Err(misfit(&a, "no lines".into(), "a sentence a line").into());
        }
        Ok(Pairs { sources, targets })
    }
}

/// What stands before the language in the name of a part's file.
fn find(folder: &Path, parts: &[&str], language: &str) -> Result<String> {
    let io = |source| Error::io(folder, source);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name().into_string().unwrap_or_default();
        names.extend(name.strip_suffix(&format!(".{language}")).map(String::from));
    }
    names.sort();
    let plain = |name: &&String| parts.contains(&name.as_str());
    let begins = |name: &&String| parts.iter().any(|part| name.starts_with(part));
    let found = names.iter().find(plain).or_else(|| names.iter().find(begins));
    let expected = || format!("{}.{language}", parts.join(&format!(".{language} or ")));
    Ok(found.cloned().ok_or_else(|| misfit(folder, "no such file".into(), expected()))?)
}

/// The words of every line.
fn read(path: &Path) -> Result<Sentences> {
    let text = input::text(path)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    Ok(text.split('\n').map(words).collect())
}

/// The words of a line.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(String::from).collect()
}

/// The words of a language.
#[derive(Clone, Debug)]
pub struct Words {
    words: Vec<String>,
    ids: HashMap<String, u32>,
}

impl Words {
    /// The target's beginning, its end, and the unknown word.
    pub const START: u32 = 0;
    pub const END: u32 = 1;
    const UNKNOWN: u32 = 2;
    const SPECIAL: [&str; 3] = ["<s>", "</s>", "<unk>"];

    /// Of these words, in order of their ids, the special ones first.
    pub fn new(words: Vec<String>) -> Words {
        // Where a sentence holds them, beginning and end are words like any unknown one.
        let ids = words.iter().cloned().zip(0..).skip(Words::UNKNOWN as usize).collect();
        Words { words, ids }
    }

    /// Those that are at least twice in some sentences, the frequent ones first.
    pub fn of(sentences: &Sentences) -> Words {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for word in sentences.iter().flatten() {
            *counts.entry(word).or_default() += 1;
        }
        let special = |word: &str| Words::SPECIAL.contains(&word);
        let mut counts: Vec<_> =
            counts.into_iter().filter(|&(word, count)| count > 1 && !special(word)).collect();
        counts.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
        let special = Words::SPECIAL.into_iter();
        Words::new(
            special.chain(counts.into_iter().map(|(word, _)| word)).map(String::from).collect(),
        )
    }

    /// Whether the special words come first.
    pub fn has_special(&self) -> bool {
        self.words.get(..Words::SPECIAL.len()).is_some_and(|first| first == Words::SPECIAL)
    }

    pub fn all(&self) -> &[String] {
        &self.words
    }

    pub fn encode(&self, sentence: &[String]) -> Vec<u32> {
        let id = |word: &String| self.ids.get(word).copied().unwrap_or(Words::UNKNOWN);
        sentence.iter().map(id).collect()
    }

    pub fn decode(&self, ids: &[u32]) -> Vec<String> {
        ids.iter().map(|&id| self.words[id as usize].clone()).collect()
    }
}

/// Pairs as ids.
pub struct Encoded {
    pub sources: Vec<Vec<u32>>,
    pub targets: Vec<Vec<u32>>,
}

impl Encoded {
    pub fn new(pairs: &Pairs, source: &Words, target: &Words) -> Encoded {
        let encode = |words: &Words, sentences: &Sentences| -> Vec<Vec<u32>> {
            sentences.iter().map(|sentence| words.encode(sentence)).collect()
        };
        Encoded { sources: encode(source, &pairs.sources), targets: encode(target, &pairs.targets) }
    }

    /// All sentences cut to what is trained on.
    pub fn cut(mut self) -> Encoded {
        self.sources.iter_mut().chain(&mut self.targets).for_each(|ids| ids.truncate(LONGEST));
        self
    }

    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// How many batches an epoch has.
    pub fn batches(&self, batch: usize) -> usize {
        self.by_length().values().map(|pairs| pairs.len().div_ceil(batch)).sum()
    }

    /// The pairs of every batch of an epoch: of similar length, in an order of the epoch's own.
    pub fn order(&self, batch: usize, seed: u64, epoch: usize) -> Vec<Vec<u32>> {
        let mut stream = rng::stream(seed, "order", epoch as u64);
        let mut batches = Vec::new();
        let buckets = self.by_length();
        let mut keys: Vec<_> = buckets.keys().collect();
        keys.sort_unstable();
        for key in keys {
            let pairs = &buckets[key];
            let order = rng::shuffled(pairs.len(), &mut stream);
            let shuffled: Vec<u32> = order.iter().map(|&i| pairs[i as usize]).collect();
            batches.extend(shuffled.chunks(batch).map(<[u32]>::to_vec));
        }
        let order = rng::shuffled(batches.len(), &mut stream);
        order.iter().map(|&i| batches[i as usize].clone()).collect()
    }

    /// The pairs by the length of their longer sentence.
    fn by_length(&self) -> HashMap<usize, Vec<u32>> {
        let mut buckets: HashMap<usize, Vec<u32>> = HashMap::new();
        for (i, (source, target)) in self.sources.iter().zip(&self.targets).enumerate() {
            let length = source.len().max(target.len()).saturating_sub(1);
            buckets.entry(length / BUCKET).or_default().push(i as u32);
        }
        buckets
    }

    /// Some of the pairs.
    pub fn pairs(&self, pairs: &[u32]) -> (Vec<&[u32]>, Vec<&[u32]>) {
        let pick = |i: &u32| (&self.sources[*i as usize][..], &self.targets[*i as usize][..]);
        pairs.iter().map(pick).unzip()
    }
}

fn misfit(path: &Path, found: String, expected: impl Into<String>) -> Error {
    Error::File { path: path.to_path_buf(), found, expected: expected.into() }
}
