//! NumPy's `.npy` files. Their headers are read here: the parser of the usual crate takes a time that is
//! exponential in the nesting of a hostile one.

use super::misfit;
use super::numbers::{Kind, Numbers};
use crate::Fault;
use dpq::Error;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The longest header that is read.
const LONGEST: usize = 1 << 16;

/// A matrix of floating-point numbers, in C's or Fortran's order.
///
/// # Errors
/// If it is something else.
pub fn open(path: &Path, mut file: File) -> Result<Numbers, Fault> {
    let length = file.metadata().map_err(|source| Error::io(path, source))?.len();
    let mut read = |count: usize| -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; count];
        file.read_exact(&mut bytes).map_err(|_| {
            misfit(path, format!("an end within the header, at byte {length}"), "an .npy file")
        })?;
        Ok(bytes)
    };
    // The magic string, and the version.
    let version = read(8)?[6];
    let size = read(if version == 1 { 2 } else { 4 })?;
    let size = size.iter().rev().fold(0, |size, &byte| size << 8 | usize::from(byte));
    if !(1..=3).contains(&version) || size > LONGEST {
        let found = format!("version {version} with a header of {size} bytes");
        return Err(misfit(path, found, "an .npy file of version 1 to 3").into());
    }
    let start = 8 + if version == 1 { 2 } else { 4 } + size as u64;
    let header = String::from_utf8_lossy(&read(size)?).into_owned();
    let field = |name: &str| -> Result<&str, Fault> {
        let value = header.split_once(&format!("'{name}':")).map(|(_, value)| value.trim_start());
        let shown: String = header.chars().take(80).collect();
        let found = || format!("a header {:?}", shown.trim_end());
        Ok(value.ok_or_else(|| misfit(path, found(), format!("one with '{name}'")))?)
    };
    let quoted = field("descr")?.strip_prefix('\'').and_then(|value| value.split_once('\''));
    let descr = quoted.map_or("of several fields", |(descr, _)| descr);
    let kind = match descr.get(1..) {
        Some("f2") => Kind::F16,
        Some("f4") => Kind::F32,
        Some("f8") => Kind::F64,
        _ => {
            let expected = "numbers of type f2, f4 or f8";
            return Err(misfit(path, format!("numbers of type {descr}"), expected).into());
        }
    };
    let by_columns = match field("fortran_order")? {
        value if value.starts_with("True") => true,
        value if value.starts_with("False") => false,
        _ => return Err(misfit(path, "another 'fortran_order'", "True or False").into()),
    };
    let shape = field("shape")?.strip_prefix('(').and_then(|value| value.split_once(')'));
    let shape = shape.map_or("", |(shape, _)| shape);
    let lengths: Option<Vec<usize>> = shape
        .split(',')
        .map(str::trim)
        .filter(|length| !length.is_empty())
        .map(|length| length.parse().ok())
        .collect();
    let Some([rows, width]) = lengths.and_then(|lengths| <[usize; 2]>::try_from(lengths).ok())
    else {
        return Err(misfit(path, format!("an array of shape ({shape})"), "a matrix, V x d").into());
    };
    let big_endian = descr.starts_with('>');
    Numbers { file, start, rows, width, kind, big_endian, by_columns }.checked(path)
}
