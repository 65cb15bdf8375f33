//! NumPy's `.npy` files.

use super::misfit;
use super::numbers::{Kind, Numbers};
use crate::Fault;
use npyz::{DType, NpyFile, Order};
use std::fs::File;
use std::io::Seek;
use std::path::Path;

/// A matrix of floating-point numbers, in C's or Fortran's order.
///
/// # Errors
/// If it is something else.
pub fn open(path: &Path, mut file: File) -> Result<Numbers, Fault> {
    let header = NpyFile::new(&mut file)
        .map_err(|fault| {
            misfit(path, format!("a header that cannot be read: {fault}"), "an .npy file")
        })?
        .header()
        .clone();
    let start = file.stream_position().map_err(|source| dpq::Error::io(path, source))?;
    let descr = match header.dtype() {
        DType::Plain(kind) => kind.to_string(),
        other => other.descr(),
    };
    let kind = match descr.get(1..) {
        Some("f2") => Kind::F16,
        Some("f4") => Kind::F32,
        Some("f8") => Kind::F64,
        _ => {
            let expected = "numbers of type f2, f4 or f8";
            return Err(misfit(path, format!("numbers of type {descr}"), expected).into());
        }
    };
    let &[rows, width] = header.shape() else {
        let found = format!("an array of shape {:?}", header.shape());
        return Err(misfit(path, found, "a matrix, V x d").into());
    };
    Numbers {
        file,
        start,
        rows: rows as usize,
        width: width as usize,
        kind,
        big_endian: descr.starts_with('>'),
        by_columns: header.order() == Order::Fortran,
    }
    .checked(path)
}
