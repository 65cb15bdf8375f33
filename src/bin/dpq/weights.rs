//! Weights of rows, as the frequencies of their words.

use crate::Fault;
use crate::input::{lines, misfit};
use dpq::pq::Names;
use std::path::Path;

/// A number a line, one for each row in order; or a word and its number a line, in any order, where words
/// that are not among the table's are passed over, and rows whose words are not in the file count as the
/// rarest.
///
/// # Errors
/// If the file cannot be read, or a line is something else, with its number.
pub fn read(path: &Path, rows: usize, words: Option<&Names>) -> Result<Vec<f64>, Fault> {
    let lines = lines(path)?;
    let number = |line: usize, text: &str| -> Result<f64, Fault> {
        let sound = text.parse().ok().filter(|&x: &f64| x == 0.0 || (1e-10..=1e15).contains(&x));
        sound.ok_or_else(|| {
            let found = format!("line {}: {text:?}", line + 1);
            misfit(path, found, "a weight: 0, or 1e-10 to 1e15").into()
        })
    };
    let pair = |line: &str| line.trim_end().rsplit_once([' ', '\t']).is_some();
    if !lines.first().is_some_and(|line| pair(line)) {
        if lines.len() != rows {
            let expected = format!("{rows}, a weight for each row");
            return Err(misfit(path, format!("{} lines", lines.len()), expected).into());
        }
        return lines.iter().enumerate().map(|(i, line)| number(i, line.trim())).collect();
    }
    let Some(words) = words else {
        return Err(misfit(path, "words", "a weight a line, for a table without words").into());
    };
    let mut weights = vec![f64::NAN; rows];
    for (i, line) in lines.iter().enumerate() {
        let Some((word, weight)) = line.trim_end().rsplit_once([' ', '\t']) else {
            let found = format!("line {}: {line:?}", i + 1);
            return Err(misfit(path, found, "a word and its weight").into());
        };
        let weight = number(i, weight)?;
        if let Some(row) = words.id(word.trim_end()) {
            weights[row as usize] = weight;
        }
    }
    let known = weights.iter().copied().filter(|weight| !weight.is_nan());
    let rarest = known.fold(f64::INFINITY, f64::min);
    if rarest.is_infinite() {
        return Err(misfit(path, "none of the table's words", "some of them").into());
    }
    weights.iter_mut().filter(|weight| weight.is_nan()).for_each(|weight| *weight = rarest);
    Ok(weights)
}
