//! Text files as ids.

use std::fs;
use std::iter::once;
use std::path::{Path, PathBuf};

use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};

/// A single file's lines are split 18 : 1 : 1, that is 90%, 5% and 5%.
const SHARES: usize = 20;

/// How many file names an error message lists.
const LISTED: usize = 10;

/// A text in three parts, as ids under the vocabulary of its training part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// The words behind the ids.
    pub vocabulary: Vocabulary,
    /// The part to train on.
    pub train: Vec<u32>,
    /// The part to choose settings by.
    pub valid: Vec<u32>,
    /// The part to report on.
    pub test: Vec<u32>,
}

impl Corpus {
    /// Reads a folder with a file for each part, or a single file, which is split.
    ///
    /// A folder has `train.txt`, `valid.txt` and `test.txt`, or for each part one file whose name
    /// contains `train`, `valid` or `test`, such as `ptb.train.txt`. Its training part's words are
    /// the vocabulary. A single file's first 90% of lines are for training, the next 5% for
    /// validation, the last 5% for testing; if the training part has no `<unk>`, words seen once
    /// in it become the unknown word.
    ///
    /// Files are UTF-8 with a sentence a line, words separated by white space. Each line ends in
    /// `<eos>`, an empty one too, except that empty lines at the end of a file do not count.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the folder or a file cannot be read; [`Error::File`] if a part's file is
    /// missing or not the only one, a file is not UTF-8 or has no words, or a single file has
    /// fewer than 20 lines or no word twice in its training part.
    pub fn read(path: &Path) -> Result<Corpus> {
        if path.is_dir() { read_folder(path) } else { read_file(path) }
    }

    fn new(vocabulary: Vocabulary, [train, valid, test]: [&[&str]; 3]) -> Corpus {
        let encode = |lines| words(lines).map(|word| vocabulary.encode(word)).collect();
        let (train, valid, test) = (encode(train), encode(valid), encode(test));
        Corpus { vocabulary, train, valid, test }
    }
}

fn read_folder(folder: &Path) -> Result<Corpus> {
    let read_part = |part| read_text(&find_part(folder, part)?);
    let (train, valid, test) = (read_part("train")?, read_part("valid")?, read_part("test")?);
    let (train, valid, test) = (lines(&train), lines(&valid), lines(&test));
    let vocabulary = Vocabulary::from_words(words(&train));
    Ok(Corpus::new(vocabulary, [&train, &valid, &test]))
}

fn read_file(path: &Path) -> Result<Corpus> {
    let text = read_text(path)?;
    let lines = lines(&text);
    let share = lines.len() / SHARES;
    if share == 0 {
        let found = format!("{} lines", lines.len());
        return Err(misfit(path, found, format!("at least {SHARES}, to split them 90/5/5")));
    }
    let (train, held_out) = lines.split_at(lines.len() - 2 * share);
    let (valid, test) = held_out.split_at(share);
    let vocabulary = Vocabulary::from_repeated_words(words(train));
    if vocabulary.words().all(is_special) {
        let found = format!("no word twice in the {} lines of the training part", train.len());
        return Err(misfit(path, found, "a larger text"));
    }
    Ok(Corpus::new(vocabulary, [train, valid, test]))
}

/// The file of a part: `part.txt`, or else the one regular file with `part` in its name.
fn find_part(folder: &Path, part: &str) -> Result<PathBuf> {
    let plain = folder.join(part).with_extension("txt");
    if plain.is_file() {
        return Ok(plain);
    }
    let files = file_names(folder)?;
    let named: Vec<&String> = files.iter().filter(|name| name.contains(part)).collect();
    let found = match named[..] {
        [name] => return Ok(folder.join(name)),
        [] => format!("no file for {part} among {}", listing(&files)),
        _ => format!("{} files for {part}: {}", named.len(), listing(&named)),
    };
    Err(misfit(folder, found, format!("{part}.txt, or one file with {part} in its name")))
}

/// The names of the regular files in `folder`, sorted. Those that are not Unicode are left out.
fn file_names(folder: &Path) -> Result<Vec<String>> {
    let io = |source| Error::Io { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.path().is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}

/// The first few names, for a message.
fn listing(names: &[impl AsRef<str>]) -> String {
    let first: Vec<&str> = names.iter().take(LISTED).map(AsRef::as_ref).collect();
    match names.len() {
        0 => "no files".into(),
        n if n > LISTED => format!("{} and {} more", first.join(", "), n - LISTED),
        _ => first.join(", "),
    }
}

/// A file's text, with at least one word.
fn read_text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let found = format!("a bad byte at offset {}", error.utf8_error().valid_up_to());
        misfit(path, found, "UTF-8 text")
    })?;
    match text.split_whitespace().next() {
        Some(_) => Ok(text),
        None => Err(misfit(path, "no words", "a sentence a line")),
    }
}

/// A text's lines but for the empty ones at its end.
///
/// Split at `\n` alone: published counts are of such lines. A `\r` before it is white space.
fn lines(text: &str) -> Vec<&str> {
    text.trim_end_matches(['\r', '\n']).split('\n').collect()
}

/// The words of all lines, each line's followed by `<eos>`.
fn words<'a>(lines: &[&'a str]) -> impl Iterator<Item = &'a str> + Clone {
    lines.iter().flat_map(|line| line.split_whitespace().chain(once(Vocabulary::END_OF_SENTENCE)))
}

fn is_special(word: &str) -> bool {
    word == Vocabulary::UNKNOWN || word == Vocabulary::END_OF_SENTENCE
}

fn misfit(path: &Path, found: impl Into<String>, expected: impl Into<String>) -> Error {
    Error::File { path: path.to_owned(), found: found.into(), expected: expected.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::{TempDir, tempdir};

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn decode(corpus: &Corpus, ids: &[u32]) -> String {
        let words: Vec<&str> = ids.iter().map(|&id| corpus.vocabulary.word(id).unwrap()).collect();
        words.join(" ")
    }

    /// What the error from reading `path` says after naming the path.
    fn complaint(path: &Path) -> String {
        let message = Corpus::read(path).unwrap_err().to_string();
        let prefix = format!("{}: ", path.display());
        message.strip_prefix(&prefix).expect("the message names the path").to_owned()
    }

    /// The same for a file of these bytes.
    fn complaint_about(bytes: &[u8]) -> String {
        let folder = folder(&[]);
        let path = folder.path().join("text");
        fs::write(&path, bytes).unwrap();
        complaint(&path)
    }

    #[test]
    fn the_penn_treebank_has_its_published_counts() {
        let root = std::env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo");
        let path = Path::new(&root).join("../shared/data/ptb");
        if !path.is_dir() {
            println!("skipped: no Penn Treebank at {}", path.display());
            return;
        }
        let corpus = Corpus::read(&path).unwrap();
        assert_eq!(corpus.train.len(), 929_589);
        assert_eq!(corpus.valid.len(), 73_760);
        assert_eq!(corpus.test.len(), 82_430);
        assert_eq!(corpus.vocabulary.len(), 10_000);
        assert_eq!(decode(&corpus, &[0, 1, 2]), "the <unk> <eos>");
        println!("read the Penn Treebank at {}", path.display());
    }

    #[test]
    fn a_folder_has_three_parts() {
        let folder =
            folder(&[("train.txt", "a b a\n"), ("valid.txt", "b\na"), ("test.txt", "a c\n")]);
        let corpus = Corpus::read(folder.path()).unwrap();
        assert_eq!(decode(&corpus, &corpus.train), "a b a <eos>");
        assert_eq!(decode(&corpus, &corpus.valid), "b <eos> a <eos>");
        assert_eq!(decode(&corpus, &corpus.test), "a <unk> <eos>");
    }

    #[test]
    fn the_plain_name_comes_before_others() {
        let folder = folder(&[
            ("train.txt", "plain"),
            ("old.train.txt", "old"),
            ("wiki.valid.tokens", "v"),
            ("wiki.test.tokens", "t"),
        ]);
        let corpus = Corpus::read(folder.path()).unwrap();
        assert_eq!(decode(&corpus, &corpus.train), "plain <eos>");
    }

    #[test]
    fn only_line_feeds_end_sentences() {
        let text = "a\u{85}b\u{2028}c\x0bd\r\n\ne \n";
        assert_eq!(
            words(&lines(text)).collect::<Vec<_>>().join(" "),
            "a b c d <eos> <eos> e <eos>"
        );
    }

    #[test]
    fn empty_lines_at_the_end_are_no_sentences() {
        for text in ["a\nb", "a\nb\n", "a\nb\n\n\n", "a\nb\r\n\r\n"] {
            assert_eq!(lines(text), ["a", "b"], "{text:?}");
        }
    }

    #[test]
    fn a_single_file_is_split_by_lines() {
        let text: String = (0..40).map(|line| format!("the {}\n", line / 2)).collect();
        let folder = folder(&[("all.txt", &text)]);
        let corpus = Corpus::read(&folder.path().join("all.txt")).unwrap();
        assert_eq!(corpus.train.len(), 36 * 3);
        assert_eq!(decode(&corpus, &corpus.train[105..]), "the 17 <eos>");
        assert_eq!(decode(&corpus, &corpus.valid), "the <unk> <eos> the <unk> <eos>");
        assert_eq!(corpus.test.len(), 6);
    }

    #[test]
    fn a_single_file_without_an_unknown_word_gets_one() {
        let text = "the once\n".to_owned() + &"the twice\n".repeat(19);
        let folder = folder(&[("a", &text), ("b", &text.replacen("twice", "<unk>", 1))]);
        let read = |name| Corpus::read(&folder.path().join(name)).unwrap();
        assert_eq!(decode(&read("a"), &read("a").train[..3]), "the <unk> <eos>");
        assert_eq!(decode(&read("b"), &read("b").train[..3]), "the once <eos>");
    }

    #[test]
    fn what_is_missing_is_an_io_error() {
        let folder = folder(&[]);
        let path = folder.path().join("nowhere");
        let error = Corpus::read(&path).unwrap_err();
        assert!(matches!(&error, Error::Io { path: at, .. } if *at == path), "{error}");
    }

    #[test]
    fn a_missing_part_is_named() {
        let folder = folder(&[("ptb.train.txt", "a"), ("notes.md", "b")]);
        assert_eq!(
            complaint(folder.path()),
            "found no file for valid among notes.md, ptb.train.txt, \
             expected valid.txt, or one file with valid in its name"
        );
    }

    #[test]
    fn a_part_found_twice_is_named() {
        let folder = folder(&[("a.train", "a"), ("b.train", "b")]);
        assert_eq!(
            complaint(folder.path()),
            "found 2 files for train: a.train, b.train, \
             expected train.txt, or one file with train in its name"
        );
    }

    #[test]
    fn long_listings_are_cut() {
        let names: Vec<String> = (0..12).map(|i| i.to_string()).collect();
        assert_eq!(listing(&names), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
        assert_eq!(listing(&names[..0]), "no files");
    }

    #[test]
    fn bad_files_are_described() {
        let no_words = "found no words, expected a sentence a line";
        assert_eq!(complaint_about(b""), no_words);
        assert_eq!(complaint_about(b" \n\r\n"), no_words);
        assert_eq!(
            complaint_about(b"ab\xffcd"),
            "found a bad byte at offset 2, expected UTF-8 text"
        );
        assert_eq!(
            complaint_about(b"a b\nc d\n"),
            "found 2 lines, expected at least 20, to split them 90/5/5"
        );
        let different: String = (0..20).map(|line| format!("w{line}\n")).collect();
        assert_eq!(
            complaint_about(different.as_bytes()),
            "found no word twice in the 18 lines of the training part, expected a larger text"
        );
    }
}
