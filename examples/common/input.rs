//! Text from files and standard input, whose faults are told with their line.

use super::common::Result;
use dpq::Error;
use std::fs;
use std::io::BufRead;
use std::path::Path;

/// A file's text, without a byte order mark.
///
/// # Errors
/// If it cannot be read, or is no UTF-8, with the line.
pub fn text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|source| Error::io(path, source))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(String::from).unwrap_or(text)),
        Err(error) => {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
            Err(no_text(path, line).into())
        }
    }
}

/// The lines of standard input.
///
/// # Errors
/// Of a line that cannot be read, or is no UTF-8, with its number.
pub fn lines() -> impl Iterator<Item = Result<String>> {
    let mut number = 0;
    std::io::stdin().lock().split(b'\n').map(move |line| {
        number += 1;
        let path = Path::new("standard input");
        let mut line = line.map_err(|source| Error::io(path, source))?;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(String::from_utf8(line).map_err(|_| no_text(path, number))?)
    })
}

fn no_text(path: &Path, line: usize) -> Error {
    let (path, found) = (path.to_path_buf(), format!("line {line}: a byte that is no UTF-8"));
    Error::File { path, found, expected: "UTF-8 text".into() }
}
