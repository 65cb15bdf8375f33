//! Tables in word2vec's binary form: a line of `V d`, and for every row its word, a space, and d numbers
//! of four bytes.

use super::misfit;
use super::text::header;
use crate::Fault;
use dpq::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// The longest word, and the longest first line.
const LONGEST: u64 = 1 << 16;

/// Whether these first bytes of a file are those of such a table, and not of a text that begins with the
/// same line: numbers have bytes that no text has.
pub fn is_binary(first: &[u8]) -> bool {
    let line = first.split(|&byte| byte == b'\n').next();
    let is_of_text = |byte: &u8| *byte >= b' ' || matches!(byte, b'\n' | b'\r' | b'\t');
    line.and_then(header).is_some() && !first.iter().all(is_of_text)
}

/// The size, and the words if they are `wanted`.
///
/// # Errors
/// If the file is too short or too long, or a word is no UTF-8, with its row.
pub fn scan(path: &Path, wanted: bool) -> Result<([usize; 2], Vec<String>), Fault> {
    let mut words = Vec::new();
    let size = rows(path, |row, word, _| {
        if wanted {
            let word = std::str::from_utf8(word).map_err(|_| {
                misfit(path, format!("row {row}: a word that is no UTF-8"), "UTF-8, or --no-words")
            })?;
            words.push(word.to_string());
        }
        Ok(())
    })?;
    Ok((size, words))
}

/// Calls `f` with the numbers of `piece` rows after the other.
///
/// # Errors
/// As [`scan`], and those of `f`.
pub fn read(
    path: &Path,
    piece: usize,
    f: &mut dyn FnMut(Vec<f32>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut numbers = Vec::new();
    rows(path, |row, _, bytes| {
        numbers.extend(bytes.as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)));
        if (row + 1) % piece == 0 { f(std::mem::take(&mut numbers)) } else { Ok(()) }
    })?;
    if numbers.is_empty() { Ok(()) } else { f(numbers) }
}

/// Calls `f` with every row's number, word and bytes of numbers. Returns V and d.
fn rows(
    path: &Path,
    mut f: impl FnMut(usize, &[u8], &[u8]) -> Result<(), Fault>,
) -> Result<[usize; 2], Fault> {
    let io = |source| Error::io(path, source);
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path).map_err(io)?);
    let mut line = Vec::new();
    (&mut reader).take(LONGEST).read_until(b'\n', &mut line).map_err(io)?;
    let size = header(&line).filter(|[rows, width]| *rows > 0 && (1..=1 << 24).contains(width));
    let Some([rows, width]) = size else {
        let found = String::from_utf8_lossy(&line[..line.len().min(40)]).trim_end().to_string();
        return Err(
            misfit(path, format!("a first line {found:?}"), "numbers of rows and columns").into()
        );
    };
    let short =
        |row: usize| misfit(path, format!("an end within row {row}"), format!("{rows} rows"));
    let mut bytes = vec![0; 4 * width];
    for row in 0..rows {
        let mut word = Vec::new();
        (&mut reader).take(LONGEST).read_until(b' ', &mut word).map_err(io)?;
        if word.pop() != Some(b' ') {
            return Err(short(row).into());
        }
        let start = word.iter().take_while(|&&byte| byte == b'\n').count();
        if start == word.len() {
            return Err(
                misfit(path, format!("row {row}: no word"), "a word before the numbers").into()
            );
        }
        reader.read_exact(&mut bytes).map_err(|_| short(row))?;
        f(row, &word[start..], &bytes)?;
    }
    let mut rest = Vec::new();
    reader.take(LONGEST).read_to_end(&mut rest).map_err(io)?;
    if rest.iter().any(|&byte| byte != b'\n') {
        return Err(misfit(path, format!("bytes after row {}", rows - 1), "the end").into());
    }
    Ok([rows, width])
}
