//! Labelled texts in the forms in which they are published.
//!
//! | form | a line |
//! |---|---|
//! | tab | `label<TAB>text` |
//! | fastText | `__label__label text` |
//! | CSV, by the file's name | `class,text` or `class,title,text`, in quotes where needed |

use crate::common::Result;
use crate::input;
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
    /// All labels of the training texts in order, those of what was held out of them too.
    pub labels: Vec<String>,
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
    /// `test`, or several whose names have one of these words; or of one file. A part without a file is held
    /// out of the training texts: a tenth for `test`, then a tenth of the rest for `valid`, the same ones
    /// every time.
    ///
    /// # Errors
    /// If a file cannot be read, has no texts or a name that fits two parts; or if a label of one part is
    /// not among those of the training part.
    pub fn read(path: &Path) -> Result<Parts> {
        let [train, valid, test] = if path.is_dir() {
            let files = files(path)?;
            let of_part = |names| of_part(path, &files, names);
            let parts = [of_part(TRAIN)?, of_part(VALID)?, of_part(TEST)?];
            let twice =
                |file: &&PathBuf| parts.iter().filter(|part| part.contains(file)).count() > 1;
            if let Some(file) = files.iter().find(twice) {
                let found = "a name that fits two parts".into();
                return Err(misfit(file, found, "train, valid or test in it").into());
            }
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
            let unknown = |example: &&Example| labels.binary_search(&example.label).is_err();
            if let Some(Example { label, line, .. }) = examples.iter().find(unknown) {
                let found = format!("line {line}: label {label:?}");
                let expected = format!("one of the training texts: {}", listing(&labels));
                return Err(misfit(path, found, &expected).into());
            }
        }
        let held_out = valid.is_empty();
        let mut part = |read: Vec<(PathBuf, Vec<Example>)>, purpose| match read.is_empty() {
            true => hold_out(&mut all, purpose),
            false => read.into_iter().flat_map(|(_, examples)| examples).collect(),
        };
        let test = part(test, "split.test");
        let valid = part(valid, "split.valid");
        if labels.len() < 2 || valid.is_empty() || test.is_empty() {
            let found = format!("{} texts of {} labels", all.len(), labels.len());
            return Err(misfit(path, found, "at least 2 labels, and 20 texts to split").into());
        }
        Ok(Parts { train: all, valid, test, labels, held_out })
    }
}

/// The labels of texts in order, each once.
fn labels(examples: &[Example]) -> Vec<String> {
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

/// The file with just this name, or else all that have it among the words of theirs.
fn of_part(folder: &Path, files: &[PathBuf], names: &[&str]) -> Result<Vec<PathBuf>> {
    let stem = |path: &PathBuf| path.file_stem().map(|s| s.to_string_lossy().into_owned());
    let plain = |path: &&PathBuf| stem(path).is_some_and(|stem| names.contains(&stem.as_str()));
    let plain: Vec<PathBuf> = files.iter().filter(plain).cloned().collect();
    if let [first, second, ..] = &plain[..] {
        let found = format!("{} and {}", name(first), name(second));
        return Err(misfit(folder, found, "one of them").into());
    }
    if !plain.is_empty() {
        return Ok(plain);
    }
    let has = |path: &&PathBuf| {
        let stem = stem(path).unwrap_or_default();
        let mut words = stem.split(|c: char| !c.is_alphanumeric());
        words.any(|word| names.contains(&word))
    };
    Ok(files.iter().filter(has).cloned().collect())
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The texts of a file.
///
/// # Errors
/// With the line at which it is not what it should be.
pub fn read(path: &Path) -> Result<Vec<Example>> {
    let text = input::text(path)?;
    let text = text.as_str();
    let examples = if path.extension().is_some_and(|extension| extension == "csv") {
        of_csv(text)
    } else {
        of_lines(text)
    };
    let refuse =
        |(line, found, expected): Misfit| misfit(path, format!("line {line}: {found}"), expected);
    let examples = examples.map_err(refuse)?;
    if examples.is_empty() {
        return Err(misfit(path, "no texts".into(), "a label and a text a line").into());
    }
    Ok(examples)
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
            Some(rest) => {
                let (label, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                if text.trim_start().starts_with(FASTTEXT) {
                    return Err((line, "more than one label".into(), "one label a text"));
                }
                (label, text)
            }
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
    if is_open(&text[last..]) {
        let line = examples.last().map_or(1, |example| example.line);
        return Err((line, "a quoted field that never ends".into(), "its closing quote"));
    }
    Ok(examples)
}

/// Whether a record ends within a field in quotes.
fn is_open(record: &str) -> bool {
    let (mut open, mut starts, mut before) = (false, true, ' ');
    for c in record.chars() {
        match c {
            '"' if open => open = false,
            // At the start of a field, or right after a quote that then stands for itself.
            '"' if starts || before == '"' => open = true,
            _ => {}
        }
        starts = !open && matches!(c, ',' | '\n' | '\r');
        before = c;
    }
    open
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
