//! Text files as ids.

use std::fs;
use std::io;
use std::iter::once;
use std::path::{Path, PathBuf};

use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};

/// A single file's lines are split 18 : 1 : 1, that is 90%, 5% and 5%.
const SHARES: usize = 20;

/// The parts of a text, as file names and messages call them.
const PARTS: [&str; 3] = ["train", "valid", "test"];

/// The mark that some programs put at the start of a UTF-8 file.
const BYTE_ORDER_MARK: char = '\u{feff}';

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
    /// `<eos>`, an empty one too, except that empty lines at the end of a file do not count. A byte
    /// order mark at the start of a file does not count either.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the folder or a file cannot be read; [`Error::File`] if a part's file is
    /// missing, not the only one or a broken link, or its name is that of two parts; or if
    /// [`from_texts`](Self::from_texts) or [`from_text`](Self::from_text) refuses the text.
    pub fn read(path: &Path) -> Result<Corpus> {
        if path.is_dir() {
            let read_part = |part| {
                let file = find_part(path, part)?;
                Ok((read_bytes(&file)?, file))
            };
            let [train, valid, test] = PARTS.map(read_part);
            let files = [train?, valid?, test?];
            from_parts(files.each_ref().map(|(bytes, path)| (&**path, &**bytes)))
        } else {
            split(path, &read_bytes(path)?)
        }
    }

    /// The same of the contents of three files: for training, validation and testing. Errors call
    /// them `train`, `valid` and `test`.
    ///
    /// ```
    /// use dpq::data::Corpus;
    ///
    /// let corpus = Corpus::from_texts([b"a b\na\n", b"b\n", b"c\n"])?;
    /// assert_eq!(corpus.vocabulary.words().collect::<Vec<_>>(), ["a", "<eos>", "b", "<unk>"]);
    /// assert_eq!(corpus.train, [0, 2, 1, 0, 1]);
    /// assert_eq!(corpus.test, [3, 1]);
    /// # Ok::<(), dpq::error::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::File`] if a text is not UTF-8, has a zero byte, or has no words.
    pub fn from_texts(texts: [&[u8]; 3]) -> Result<Corpus> {
        from_parts(std::array::from_fn(|i| (Path::new(PARTS[i]), texts[i])))
    }

    /// The same of the contents of a single file, which is split. Errors call it `text`.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if the text is not UTF-8, has a zero byte, no words, fewer than 20 lines, or
    /// no word twice in its training part.
    pub fn from_text(text: &[u8]) -> Result<Corpus> {
        split(Path::new("text"), text)
    }

    fn new(vocabulary: Vocabulary, [train, valid, test]: [&[&str]; 3]) -> Corpus {
        let encode = |lines| words(lines).map(|word| vocabulary.encode(word)).collect();
        let (train, valid, test) = (encode(train), encode(valid), encode(test));
        Corpus { vocabulary, train, valid, test }
    }
}

/// The corpus of three files' contents.
fn from_parts(files: [(&Path, &[u8]); 3]) -> Result<Corpus> {
    let [train, valid, test] = files.map(|(path, bytes)| decode(path, bytes));
    let (train, valid, test) = (lines(train?), lines(valid?), lines(test?));
    let vocabulary = Vocabulary::from_words(words(&train));
    Ok(Corpus::new(vocabulary, [&train, &valid, &test]))
}

/// The corpus of a single file's contents.
fn split(path: &Path, bytes: &[u8]) -> Result<Corpus> {
    let lines = lines(decode(path, bytes)?);
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

/// The file of a part: `part.txt`, or else the one file with `part` in its name and no other part.
fn find_part(folder: &Path, part: &str) -> Result<PathBuf> {
    let plain = folder.join(part).with_extension("txt");
    if is_file_or_broken_link(&plain) {
        return Ok(plain);
    }
    let files = file_names(folder)?;
    let named: Vec<&String> = files.iter().filter(|name| name.contains(part)).collect();
    let found = match named[..] {
        [name] => match PARTS.iter().find(|other| **other != part && name.contains(**other)) {
            None => return Ok(folder.join(name)),
            Some(other) => format!("{name} for {part}, whose name has {other} in it too"),
        },
        [] => format!("no file for {part} among {}", listing(&files)),
        _ => format!("{} files for {part}: {}", named.len(), listing(&named)),
    };
    Err(misfit(folder, found, format!("{part}.txt, or one file with {part} in its name")))
}

/// The names of the regular files in `folder`, sorted, and of the links that lead nowhere. Those that
/// are not Unicode are left out.
fn file_names(folder: &Path) -> Result<Vec<String>> {
    let io = |source| Error::io(folder, source);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        if is_file_or_broken_link(&entry.path()) {
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

fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    if let Some(target) = broken_link(path) {
        let found = format!("a broken link to {}", target.display());
        return Err(misfit(path, found, "a link to a text"));
    }
    fs::read(path).map_err(|source| Error::io(path, source))
}

fn is_file_or_broken_link(path: &Path) -> bool {
    path.is_file() || broken_link(path).is_some()
}

/// Where a link leads if nothing is there.
fn broken_link(path: &Path) -> Option<PathBuf> {
    let nothing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
    let target = fs::read_link(path).ok()?;
    fs::metadata(path).is_err_and(nothing).then_some(target)
}

/// The text that bytes are, with at least one word, its byte order mark dropped.
fn decode<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    let refuse = |found: String| Err(misfit(path, found, "UTF-8 text"));
    if let Some(encoding) = wide_encoding(bytes) {
        return refuse(format!("{encoding} text"));
    }
    if let Some(offset) = bytes.iter().position(|&byte| byte == 0) {
        return refuse(format!("a zero byte at offset {offset}"));
    }
    let text = match str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text),
        Err(error) => return refuse(format!("a bad byte at offset {}", error.valid_up_to())),
    };
    match text.split_whitespace().next() {
        Some(_) => Ok(text),
        None => Err(misfit(path, "no words", "a sentence a line")),
    }
}

/// The encoding of a text in units of two or four bytes: by its mark, or by its zero bytes, which
/// are half of all bytes in a UTF-16 text of Latin letters.
fn wide_encoding(bytes: &[u8]) -> Option<&'static str> {
    // The mark of little-endian UTF-32 begins with that of UTF-16.
    let marks: [(&[u8], &str); 4] = [
        (&[0xff, 0xfe, 0, 0], "UTF-32"),
        (&[0, 0, 0xfe, 0xff], "UTF-32"),
        (&[0xff, 0xfe], "UTF-16"),
        (&[0xfe, 0xff], "UTF-16"),
    ];
    if let Some((_, encoding)) = marks.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return Some(encoding);
    }
    let zeros = bytes.iter().filter(|&&byte| byte == 0).count();
    (4 * zeros > bytes.len() && 8 * zeros < 5 * bytes.len()).then_some("UTF-16")
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

    fn decode_ids(corpus: &Corpus, ids: &[u32]) -> String {
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
        assert_eq!(decode_ids(&corpus, &[0, 1, 2]), "the <unk> <eos>");
        println!("read the Penn Treebank at {}", path.display());
    }

    #[test]
    fn a_folder_has_three_parts() {
        let folder =
            folder(&[("train.txt", "a b a\n"), ("valid.txt", "b\na"), ("test.txt", "a c\n")]);
        let corpus = Corpus::read(folder.path()).unwrap();
        assert_eq!(decode_ids(&corpus, &corpus.train), "a b a <eos>");
        assert_eq!(decode_ids(&corpus, &corpus.valid), "b <eos> a <eos>");
        assert_eq!(decode_ids(&corpus, &corpus.test), "a <unk> <eos>");
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
        assert_eq!(decode_ids(&corpus, &corpus.train), "plain <eos>");
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
        assert_eq!(decode_ids(&corpus, &corpus.train[105..]), "the 17 <eos>");
        assert_eq!(decode_ids(&corpus, &corpus.valid), "the <unk> <eos> the <unk> <eos>");
        assert_eq!(corpus.test.len(), 6);
    }

    #[test]
    fn a_single_file_without_an_unknown_word_gets_one() {
        let text = "the once\n".to_owned() + &"the twice\n".repeat(19);
        let folder = folder(&[("a", &text), ("b", &text.replacen("twice", "<unk>", 1))]);
        let read = |name| Corpus::read(&folder.path().join(name)).unwrap();
        assert_eq!(decode_ids(&read("a"), &read("a").train[..3]), "the <unk> <eos>");
        assert_eq!(decode_ids(&read("b"), &read("b").train[..3]), "the once <eos>");
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
    fn a_file_whose_name_is_that_of_two_parts_is_refused() {
        let both = folder(&[("train-test.txt", "a"), ("valid.txt", "b")]);
        assert_eq!(
            complaint(both.path()),
            "found train-test.txt for train, whose name has test in it too, \
             expected train.txt, or one file with train in its name"
        );
        let latest = folder(&[("latest.valid", "a"), ("train.txt", "b")]);
        assert_eq!(
            complaint(latest.path()),
            "found latest.valid for valid, whose name has test in it too, \
             expected valid.txt, or one file with valid in its name"
        );
        let lone = folder(&[("latest.txt", "a")]);
        assert!(complaint(lone.path()).starts_with("found no file for train among latest.txt, "));
        // The plain names leave nothing to guess.
        let plain = folder(&[
            ("train-test.txt", "c"),
            ("train.txt", "a"),
            ("valid.txt", "a"),
            ("test.txt", "a"),
        ]);
        let corpus = Corpus::read(plain.path()).unwrap();
        assert_eq!(decode_ids(&corpus, &corpus.train), "a <eos>");
    }

    #[cfg(unix)]
    #[test]
    fn broken_links_are_named() {
        use std::os::unix::fs::symlink;
        for name in ["train.txt", "ptb.train"] {
            let folder = folder(&[("valid.txt", "a"), ("test.txt", "b")]);
            let link = folder.path().join(name);
            symlink("nowhere", &link).unwrap();
            let message = format!(
                "{}: found a broken link to nowhere, expected a link to a text",
                link.display()
            );
            assert_eq!(Corpus::read(folder.path()).unwrap_err().to_string(), message);
            assert_eq!(Corpus::read(&link).unwrap_err().to_string(), message);
            fs::write(folder.path().join("nowhere"), "a b").unwrap();
            assert!(Corpus::read(folder.path()).is_ok());
        }
    }

    #[test]
    fn texts_in_memory_are_as_files() {
        let texts = ["a b a\n", "\u{feff}b\na", "a c\n"];
        let folder =
            folder(&[("train.txt", texts[0]), ("valid.txt", texts[1]), ("test.txt", texts[2])]);
        let corpus = Corpus::from_texts(texts.map(str::as_bytes)).unwrap();
        assert_eq!(corpus, Corpus::read(folder.path()).unwrap());
        let single = "the twice\n".repeat(20);
        fs::write(folder.path().join("one"), &single).unwrap();
        let corpus = Corpus::from_text(single.as_bytes()).unwrap();
        assert_eq!(corpus, Corpus::read(&folder.path().join("one")).unwrap());

        let message = |result: Result<Corpus>| result.unwrap_err().to_string();
        assert_eq!(
            message(Corpus::from_texts([b"a", b" ", b"c"])),
            "valid: found no words, expected a sentence a line"
        );
        assert_eq!(
            message(Corpus::from_text(b"a\n")),
            "text: found 1 lines, expected at least 20, to split them 90/5/5"
        );
    }

    #[test]
    fn a_byte_order_mark_is_dropped() {
        let marked = |text: &str| format!("\u{feff}{text}");
        let [train, valid, test] = ["a b a\n", "a\n", "b\n"].map(marked);
        let corpus =
            Corpus::from_texts([train.as_bytes(), valid.as_bytes(), test.as_bytes()]).unwrap();
        assert_eq!(corpus, Corpus::from_texts([b"a b a\n", b"a\n", b"b\n"]).unwrap());
        // It is one at the start alone.
        let text = "a \u{feff}b\n";
        let corpus = Corpus::from_texts([text.as_bytes(); 3]).unwrap();
        assert_eq!(corpus.vocabulary.id("\u{feff}b"), Some(1));
        assert_eq!(
            complaint_about("\u{feff}\n".as_bytes()),
            "found no words, expected a sentence a line"
        );
    }

    #[test]
    fn other_encodings_are_named() {
        let text = "a few words\nof text\n";
        let wide =
            |unit: fn(u16) -> [u8; 2]| -> Vec<u8> { text.encode_utf16().flat_map(unit).collect() };
        let wider = |unit: fn(u32) -> [u8; 4]| -> Vec<u8> {
            text.chars().flat_map(|c| unit(c.into())).collect()
        };
        let utf_16 = "found UTF-16 text, expected UTF-8 text";
        let utf_32 = "found UTF-32 text, expected UTF-8 text";
        for (bytes, message) in [
            ([vec![0xff, 0xfe], wide(u16::to_le_bytes)].concat(), utf_16),
            ([vec![0xfe, 0xff], wide(u16::to_be_bytes)].concat(), utf_16),
            (wide(u16::to_le_bytes), utf_16),
            (wide(u16::to_be_bytes), utf_16),
            ([vec![0xff, 0xfe, 0, 0], wider(u32::to_le_bytes)].concat(), utf_32),
            ([vec![0, 0, 0xfe, 0xff], wider(u32::to_be_bytes)].concat(), utf_32),
            (b"a few\0words".to_vec(), "found a zero byte at offset 5, expected UTF-8 text"),
            (vec![0; 100], "found a zero byte at offset 0, expected UTF-8 text"),
        ] {
            assert_eq!(complaint_about(&bytes), message, "{bytes:?}");
        }
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
