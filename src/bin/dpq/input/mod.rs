//! Finished tables in the formats that people have, read in pieces: a table need not fit into memory.

mod npy;
mod numbers;
mod safetensors;
mod text;
mod word2vec;

use crate::Fault;
use clap::Args;
use dpq::pq::Names;
use dpq::{Error, Tensor};
use numbers::Numbers;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// Numbers of a piece, about, and its most rows. Rows are a multiple of 8, so that their codes end with a
/// whole byte.
const PIECE: usize = 1 << 21;
const ROWS: usize = 1 << 13;

/// How a table is read.
#[derive(Args)]
pub struct Reading {
    /// The tensor to take from a safetensors file; not needed if it has only one matrix
    #[arg(long, value_name = "NAME")]
    tensor: Option<String>,
    /// The words of the rows, one a line, for a table that has none of its own
    #[arg(long, value_name = "FILE")]
    pub words: Option<PathBuf>,
    /// Leave the words out
    #[arg(long, conflicts_with = "words")]
    no_words: bool,
}

impl Reading {
    /// Without words.
    pub fn numbers_only(tensor: Option<String>) -> Reading {
        Reading { tensor, words: None, no_words: true }
    }
}

/// A table V x d in a file.
pub struct Input {
    path: PathBuf,
    pub rows: usize,
    pub width: usize,
    pub words: Option<Names>,
    form: Form,
}

enum Form {
    Numbers(Numbers),
    Text,
    Word2vec,
}

impl Input {
    /// Finds out what the file is, and checks all of a text.
    ///
    /// # Errors
    /// If it cannot be read, or is no table, with the place and what was expected.
    pub fn open(path: &Path, reading: &Reading) -> Result<Input, Fault> {
        let mut file = File::open(path).map_err(|source| Error::io(path, source))?;
        if file.metadata().map_err(|source| Error::io(path, source))?.is_dir() {
            return Err(misfit(path, "a folder", "the file of a table").into());
        }
        let mut first = Vec::new();
        let head = BufReader::new(&file).take(1 << 16).read_to_end(&mut first);
        head.and_then(|_| file.rewind()).map_err(|source| Error::io(path, source))?;
        let is_safetensors =
            path.extension().is_some_and(|end| end == "safetensors") || first.get(8) == Some(&b'{');
        let (form, [rows, width], own) = if first.starts_with(b"\x93NUMPY") {
            let numbers = npy::open(path, file)?;
            let size = numbers.size();
            (Form::Numbers(numbers), size, Vec::new())
        } else if is_safetensors {
            let numbers = safetensors::open(path, file, reading.tensor.as_deref())?;
            let size = numbers.size();
            (Form::Numbers(numbers), size, Vec::new())
        } else if word2vec::is_binary(&first) {
            let (size, words) = word2vec::scan(path, !reading.no_words)?;
            (Form::Word2vec, size, words)
        } else {
            let (size, words) = text::scan(path, !reading.no_words)?;
            (Form::Text, size, words)
        };
        if u32::try_from(rows).is_err() {
            return Err(misfit(path, format!("{rows} rows"), "at most 4294967295").into());
        }
        let named = |path: &Path, words: &[String]| {
            Names::new(words).map_err(|fault| {
                misfit(path, fault.to_string(), "a word for each row, once, or --no-words")
            })
        };
        let words = match &reading.words {
            _ if reading.no_words => None,
            Some(file) => Some(named(file, &lines(file)?)?),
            None if own.is_empty() => None,
            None => Some(named(path, &own)?),
        };
        if let (Some(names), Some(file)) = (&words, &reading.words)
            && names.len() != rows
        {
            let expected = format!("{rows}, a word for each row of {}", path.display());
            return Err(misfit(file, format!("{} lines", names.len()), expected).into());
        }
        Ok(Input { path: path.into(), rows, width, words, form })
    }

    /// The bytes that the words take in a file.
    pub fn word_bytes(&self) -> usize {
        self.words.as_ref().map_or(0, |names| names.text().len())
    }

    /// Calls `f` with the first row's number and the rows, n x d, of one piece after the other.
    ///
    /// # Errors
    /// If the file cannot be read, has changed, or a number is not finite; and those of `f`.
    pub fn for_each(
        &self,
        mut f: impl FnMut(usize, Tensor<f32>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let piece = (PIECE / self.width).clamp(1, ROWS).next_multiple_of(8);
        let mut next = 0;
        let mut of_piece = |numbers: Vec<f32>| -> Result<(), Fault> {
            let first = next;
            if let Some(at) = numbers.iter().position(|x| !x.is_finite()) {
                let (row, column) = (first + at / self.width, at % self.width);
                let found = format!("{} in row {row}, column {column}", numbers[at]);
                return Err(misfit(&self.path, found, "a finite number in single precision").into());
            }
            next += numbers.len() / self.width;
            f(first, Tensor::new([numbers.len() / self.width, self.width], numbers)?)
        };
        match &self.form {
            Form::Numbers(numbers) => {
                for first in (0..self.rows).step_by(piece) {
                    of_piece(numbers.read(&self.path, first..self.rows.min(first + piece))?)?;
                }
            }
            Form::Text => text::read(&self.path, self.width, piece, &mut of_piece)?,
            Form::Word2vec => word2vec::read(&self.path, piece, &mut of_piece)?,
        }
        if next != self.rows {
            let expected = format!("the {} that it had before", self.rows);
            return Err(misfit(&self.path, format!("{next} rows"), expected).into());
        }
        Ok(())
    }

    /// Some of the rows, in increasing order.
    ///
    /// # Errors
    /// As [`for_each`](Input::for_each).
    pub fn some(&self, ids: &[u32]) -> Result<Tensor<f32>, Fault> {
        let mut found = Vec::with_capacity(ids.len() * self.width);
        self.for_each(|first, rows| {
            let here = first..first + rows.shape()[0];
            let from = ids.partition_point(|&id| (id as usize) < here.start);
            for &id in ids[from..].iter().take_while(|&&id| (id as usize) < here.end) {
                found.extend_from_slice(
                    &rows.data()[(id as usize - first) * self.width..][..self.width],
                );
            }
            Ok(())
        })?;
        Ok(Tensor::new([ids.len(), self.width], found)?)
    }
}

/// The error of a file that is not what it should be.
pub fn misfit(path: &Path, found: impl Into<String>, expected: impl Into<String>) -> Error {
    Error::File { path: path.to_path_buf(), found: found.into(), expected: expected.into() }
}

/// The lines of a text.
///
/// # Errors
/// If it cannot be read, or is no UTF-8, with the line.
pub fn lines(path: &Path) -> Result<Vec<String>, Fault> {
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    let lines = BufReader::new(file).split(b'\n').enumerate().map(|(i, line)| {
        let mut line = line.map_err(|source| Error::io(path, source))?;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        let found = || format!("line {}: a byte that is no UTF-8", i + 1);
        Ok(String::from_utf8(line).map_err(|_| misfit(path, found(), "UTF-8 text"))?)
    });
    lines.collect()
}
