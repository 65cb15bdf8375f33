//! Labelled texts in the forms in which they are published.
//!
//! | form | a line |
//! |---|---|
//! | tab | `label<TAB>text` |
//! | fastText | `__label__label text` |
//! | CSV, by the file's name | `class,text` or `class,title,text`, in quotes where needed |

use crate::common::Result;
use dpq::{Error, rng};
use std::fs;
use std::path::{Path, PathBuf};

/// A text and its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    pub label: String,
    pub text: String,
    /// Where it was read, for messages.
    pub line: usize,
}

/// Texts to train on, to choose settings by, and to report on.
#[derive(Clone)]
pub struct Parts {
    pub train: Vec<Example>,
    pub valid: Vec<Example>,
    pub test: Vec<Example>,
    /// Whether `valid` was held out of the training texts.
    pub held_out: bool,
}

/// One text in so many is held out, where no file does it.
const SHARE: usize = 10;

/// Names of the parts, in the names of files.
const TRAIN: &[&str] = &["train"];
const VALID: &[&str] = &["valid", "dev"];
const TEST: &[&str] = &["test"];

impl Parts {
    /// Of a folder with `train.tsv` (or `.csv`, `.txt`), and perhaps files for `valid` or `dev` and
    /// `test`, or several whose names have these words; or of one file. What is missing is held out of the
    /// training texts, a tenth for each, the same ones every time.
    ///
    /// # Errors
    /// If a file cannot be read, or a label of one part is not among those of the training part.
    pub fn read(path: &Path) -> Result<Parts> {
        let [train, valid, test] = if path.is_dir() {
            let files = files(path)?;
            let parts = [TRAIN, VALID, TEST].map(|names| of_part(&files, names));
            match files.len() {
                1 => [files, Vec::new(), Vec::new()],
                _ if parts[0].is_empty() => {
                    let names: Vec<_> = files.iter().map(|path| name(path)).collect();
                    let found = format!("no file for train among {}", names.join(", "));
                    return Err(misfit(path, found, "train.tsv, train.csv or train.txt").into());
                }
                _ => parts,
            }
        } else {
            [vec![path.to_path_buf()], Vec::new(), Vec::new()]
        };
        let mut all = read_all(&train)?;
        let (valid, test) = (read_each(&valid)?, read_each(&test)?);
        let labels = labels(&all);
        for (path, examples) in valid.iter().chain(&test) {
            let known = |example: &&Example| labels.binary_search(&example.label).is_err();
            if let Some(Example { label, line, .. }) = examples.iter().find(known) {
                let found = format!("line {line}: label {label:?}");
                let expected = format!("one of the training texts: {}", listing(&labels));
                return Err(misfit(path, found, &expected).into());
            }
        }
        let [valid, test] = [valid, test].map(|part| part.into_iter().flat_map(|(_, e)| e));
        let (mut valid, mut test): (Vec<_>, Vec<_>) = (valid.collect(), test.collect());
        let held_out = valid.is_empty();
        for (part, purpose) in [(&mut test, "split.test"), (&mut valid, "split.valid")] {
            if part.is_empty() {
                *part = hold_out(&mut all, purpose);
            }
        }
        if labels.len() < 2 || all.is_empty() || valid.is_empty() || test.is_empty() {
            let found = format!("{} texts of {} labels to train on", all.len(), labels.len());
            return Err(misfit(path, found, "texts of at least 2 labels in every part").into());
        }
        Ok(Parts { train: all, valid, test, held_out })
    }
}

/// The labels of texts in order, each once.
pub fn labels(examples: &[Example]) -> Vec<String> {
    let mut labels: Vec<String> = examples.iter().map(|example| example.label.clone()).collect();
    labels.sort();
    labels.dedup();
    labels
}

/// Takes a tenth of the texts out, the same ones every time.
fn hold_out(examples: &mut Vec<Example>, purpose: &str) -> Vec<Example> {
    let order = rng::shuffled(examples.len(), &mut rng::stream(0, purpose, 0));
    let mut held: Vec<u32> = order[..examples.len() / SHARE].to_vec();
    held.sort_unstable();
    let (mut out, mut i) = (Vec::new(), 0);
    examples.retain(|example| {
        let taken = held.binary_search(&i).is_ok();
        if taken {
            out.push(example.clone());
        }
        i += 1;
        !taken
    });
    out
}

fn read_each(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Vec<Example>)>> {
    paths.iter().map(|path| Ok((path.clone(), read(path)?))).collect()
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<Example>> {
    let read: Result<Vec<Vec<Example>>> = paths.iter().map(|path| read(path)).collect();
    Ok(read?.into_iter().flatten().collect())
}

/// The files of a folder that may hold texts, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |source| Error::io(folder, source);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("tsv" | "csv" | "txt")) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(misfit(folder, "no such file".into(), "files .tsv, .csv or .txt").into());
    }
    Ok(files)
}

/// The file with just this name, or else all that have it in theirs.
fn of_part(files: &[PathBuf], names: &[&str]) -> Vec<PathBuf> {
    let is = |path: &&PathBuf| names.iter().any(|own| path.file_stem().is_some_and(|s| s == *own));
    if let Some(plain) = files.iter().find(is) {
        return vec![plain.clone()];
    }
    let has = |path: &&PathBuf| names.iter().any(|own| name(path).contains(own));
    files.iter().filter(has).cloned().collect()
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The texts of a file.
///
/// # Errors
/// With the line at which it is not what it should be.
pub fn read(path: &Path) -> Result<Vec<Example>> {
    let bytes = fs::read(path).map_err(|source| Error::io(path, source))?;
    let text = match str::from_utf8(&bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
            let found = format!("line {}: a byte that is no UTF-8", line + 1);
            return Err(misfit(path, found, "UTF-8 text").into());
        }
    };
    let examples = if path.extension().is_some_and(|extension| extension == "csv") {
        of_csv(text)
    } else {
        of_lines(text)
    };
    let refuse =
        |(line, found, expected): Misfit| misfit(path, format!("line {line}: {found}"), expected);
    Ok(examples.map_err(refuse)?)
}

/// A line, what was found there, and what was expected.
type Misfit = (usize, String, &'static str);

/// `label<TAB>text`, or `__label__label text`.
fn of_lines(text: &str) -> Result<Vec<Example>, Misfit> {
    let mut examples = Vec::new();
    for (line, row) in (1..).zip(text.split('\n')) {
        let row = row.strip_suffix('\r').unwrap_or(row);
        if row.trim().is_empty() {
            continue;
        }
        let (label, text) = match row.strip_prefix(FASTTEXT) {
            Some(rest) => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
            None => {
                let found = || (line, format!("no tab in {:?}", start(row)), "label<TAB>text");
                row.split_once('\t').ok_or_else(found)?
            }
        };
        examples.push(example(line, label, text)?);
    }
    Ok(examples)
}

/// What stands before a label in fastText's files.
const FASTTEXT: &str = "__label__";

/// Class, and one or more columns of text.
fn of_csv(text: &str) -> Result<Vec<Example>, Misfit> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut examples = Vec::new();
    let mut last = 0;
    for record in reader.records() {
        let line =
            |position: Option<&csv::Position>| position.map_or(0, csv::Position::line) as usize;
        let record =
            record.map_err(|error| (line(error.position()), error.to_string(), "a CSV record"))?;
        let at = line(record.position());
        last = record.position().map_or(0, csv::Position::byte) as usize;
        let mut columns = record.iter();
        let label = columns.next().unwrap_or_default();
        let columns: Vec<&str> = columns.collect();
        if columns.is_empty() {
            return Err((at, format!("one column, {:?}", start(label)), "class,text"));
        }
        // In these files a line break within a text is written as two characters.
        examples.push(example(at, label, &columns.join(" ").replace("\\n", " "))?);
    }
    // A field that is still open when the file ends takes in all that follows it.
    if text[last..].matches('"').count() % 2 == 1 {
        let line = examples.last().map_or(1, |example| example.line);
        return Err((line, "a quoted field that never ends".into(), "its closing quote"));
    }
    Ok(examples)
}

fn example(line: usize, label: &str, text: &str) -> Result<Example, Misfit> {
    let label = label.trim();
    if label.is_empty() {
        return Err((line, "an empty label".into(), "a label"));
    }
    Ok(Example { label: label.into(), text: text.into(), line })
}

/// The first few letters, for a message.
fn start(text: &str) -> String {
    text.chars().take(40).collect()
}

fn listing(labels: &[String]) -> String {
    let first: Vec<&str> = labels.iter().take(15).map(String::as_str).collect();
    match labels.len().checked_sub(first.len()) {
        Some(0) | None => first.join(", "),
        Some(more) => format!("{} and {more} more", first.join(", ")),
    }
}

fn misfit(path: &Path, found: String, expected: &str) -> Error {
    Error::File { path: path.to_path_buf(), found, expected: expected.into() }
}
