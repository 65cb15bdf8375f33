//! Tables in text, as of GloVe and word2vec: a word and d numbers a line, with or without a first line of
//! `V d`.

use super::misfit;
use crate::Fault;
use dpq::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

const BLANK: [char; 2] = [' ', '\t'];

/// The longest line.
const LONGEST: u64 = 1 << 24;

/// The size, and the words if they are `wanted`. All numbers are read.
///
/// # Errors
/// Of a line that is not a word and d numbers, with its number.
pub fn scan(path: &Path, wanted: bool) -> Result<([usize; 2], Vec<String>), Fault> {
    let (mut rows, mut words, mut numbers) = (0, Vec::new(), Vec::new());
    let (stated, width) = lines(path, None, |number, bytes, width| {
        numbers.clear();
        let word = parse(path, number, bytes, width, &mut numbers)?;
        if let Some(at) = numbers.iter().position(|x| !x.is_finite()) {
            let found = format!("line {number}: {} as number {}", numbers[at], at + 1);
            return Err(misfit(path, found, "a finite number in single precision").into());
        }
        if wanted {
            let word = std::str::from_utf8(word).map_err(|_| {
                let found = format!("line {number}: a word that is no UTF-8");
                misfit(path, found, "UTF-8, or --no-words")
            })?;
            words.push(word.to_string());
        }
        rows += 1;
        Ok(())
    })?;
    if let Some(stated) = stated.filter(|&stated| stated != rows) {
        let expected = format!("the {stated} that its first line states");
        return Err(misfit(path, format!("{rows} rows"), expected).into());
    }
    if rows == 0 {
        return Err(misfit(path, "no rows", "a word and its numbers a line").into());
    }
    Ok(([rows, width], words))
}

/// Calls `f` with the numbers of `piece` rows after the other.
///
/// # Errors
/// As [`scan`], and those of `f`.
pub fn read(
    path: &Path,
    width: usize,
    piece: usize,
    f: &mut dyn FnMut(Vec<f32>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut numbers = Vec::with_capacity(piece * width);
    lines(path, Some(width), |number, bytes, width| {
        parse(path, number, bytes, width, &mut numbers)?;
        if numbers.len() == piece * width {
            f(std::mem::replace(&mut numbers, Vec::with_capacity(piece * width)))?;
        }
        Ok(())
    })?;
    if numbers.is_empty() { Ok(()) } else { f(numbers) }
}

/// Calls `f(number, line, d)` for every line that is a row. Returns what the first line states, if it
/// does, and d.
fn lines(
    path: &Path,
    width: Option<usize>,
    mut f: impl FnMut(usize, &[u8], usize) -> Result<(), Fault>,
) -> Result<(Option<usize>, usize), Fault> {
    let io = |source| Error::io(path, source);
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path).map_err(io)?);
    let (mut line, mut stated, mut width) = (Vec::new(), None, width);
    for number in 1.. {
        line.clear();
        if (&mut reader).take(LONGEST).read_until(b'\n', &mut line).map_err(io)? == 0 {
            break;
        }
        if line.len() as u64 == LONGEST && line.last() != Some(&b'\n') {
            let found = format!("line {number}: more than {LONGEST} bytes");
            return Err(misfit(path, found, "a word and its numbers a line").into());
        }
        while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r' | b' ' | b'\t')) {
            line.pop();
        }
        if number == 1 {
            if line.starts_with(b"\xef\xbb\xbf") {
                line.drain(..3);
            }
            if let Some([rows, columns]) = header(&line) {
                (stated, width) = (Some(rows), Some(columns));
                continue;
            }
        }
        let width = *width.get_or_insert_with(|| numbers_of(&line));
        if width == 0 {
            let found = format!("line {number}: no numbers after a word");
            return Err(misfit(
                path,
                found,
                "an .npy or safetensors file, or a word and its numbers a line",
            )
            .into());
        }
        f(number, &line, width)?;
    }
    Ok((stated, width.unwrap_or(0)))
}

/// V and d, if a line has nothing else.
pub fn header(line: &[u8]) -> Option<[usize; 2]> {
    let text = std::str::from_utf8(line).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let size = [fields.next()?.parse().ok()?, fields.next()?.parse().ok()?];
    fields.next().is_none().then_some(size)
}

/// How many numbers a first line ends with, its word aside.
fn numbers_of(line: &[u8]) -> usize {
    let text = String::from_utf8_lossy(line);
    let fields: Vec<&str> = text.split(BLANK).filter(|field| !field.is_empty()).collect();
    let numbers = fields.iter().rev().take_while(|field| field.parse::<f32>().is_ok()).count();
    numbers.min(fields.len().saturating_sub(1))
}

/// The word of a line; its last `width` fields are added to the numbers. A word may have spaces, but a
/// number at its end is one too many.
fn parse<'a>(
    path: &Path,
    number: usize,
    line: &'a [u8],
    width: usize,
    numbers: &mut Vec<f32>,
) -> Result<&'a [u8], Fault> {
    let expected = || format!("a word and {width} numbers");
    let (start, mut rest) = (numbers.len(), line);
    for at in (0..width).rev() {
        let Some(blank) = rest.iter().rposition(|byte| matches!(byte, b' ' | b'\t')) else {
            let found = format!("line {number}: {} numbers", width - at - 1);
            return Err(misfit(path, found, expected()).into());
        };
        let field = &rest[blank + 1..];
        let Some(x) = std::str::from_utf8(field).ok().and_then(|field| field.parse().ok()) else {
            let shown: String = String::from_utf8_lossy(field).chars().take(40).collect();
            let found = format!("line {number}: {shown:?} as number {}", at + 1);
            return Err(misfit(path, found, expected()).into());
        };
        numbers.push(x);
        rest = rest[..blank].trim_ascii_end();
    }
    if rest.is_empty() {
        return Err(misfit(path, format!("line {number}: no word"), expected()).into());
    }
    let last = rest.rsplit(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
    let is_number = std::str::from_utf8(last).is_ok_and(|last| last.parse::<f32>().is_ok());
    if last.len() < rest.len() && is_number {
        let found = format!("line {number}: more than {width} numbers");
        return Err(misfit(path, found, expected()).into());
    }
    numbers[start..].reverse();
    Ok(rest)
}
