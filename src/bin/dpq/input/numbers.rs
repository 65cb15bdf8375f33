//! A matrix of numbers that stand one after the other in a file.

use super::misfit;
use crate::Fault;
use dpq::Error;
use half::{bf16, f16};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// The type of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    F16,
    Bf16,
    F32,
    F64,
}

impl Kind {
    pub fn bytes(self) -> usize {
        match self {
            Kind::F16 | Kind::Bf16 => 2,
            Kind::F32 => 4,
            Kind::F64 => 8,
        }
    }

    /// A number of little-endian bytes, in single precision.
    fn number(self, bytes: &[u8]) -> f32 {
        match self {
            Kind::F16 => f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
            Kind::Bf16 => bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
            Kind::F32 => f32::from_le_bytes(bytes.try_into().expect("four bytes")),
            Kind::F64 => f64::from_le_bytes(bytes.try_into().expect("eight bytes")) as f32,
        }
    }
}

/// Where the numbers of a matrix stand, and how.
pub struct Numbers {
    pub file: File,
    /// The first byte.
    pub start: u64,
    pub rows: usize,
    pub width: usize,
    pub kind: Kind,
    pub big_endian: bool,
    /// Column by column, in Fortran's order.
    pub by_columns: bool,
}

impl Numbers {
    /// Checks that a file has all of them, and that there are any.
    ///
    /// # Errors
    /// If not.
    pub fn checked(self, path: &Path) -> Result<Numbers, Fault> {
        let Numbers { rows, width, kind, start, .. } = self;
        if rows == 0 || width == 0 {
            return Err(
                misfit(path, format!("a table of {rows} x {width}"), "at least 1 x 1").into()
            );
        }
        let bytes = rows.checked_mul(width).and_then(|count| count.checked_mul(kind.bytes()));
        let length = self.file.metadata().map_err(|source| Error::io(path, source))?.len();
        let end = bytes.and_then(|bytes| start.checked_add(bytes as u64));
        if end.is_none_or(|end| end > length) {
            let found = format!("{} bytes of numbers", length.saturating_sub(start));
            let expected = format!("those of {rows} x {width} numbers of {} bytes", kind.bytes());
            return Err(misfit(path, found, expected).into());
        }
        Ok(self)
    }

    pub fn size(&self) -> [usize; 2] {
        [self.rows, self.width]
    }

    /// Some rows.
    pub fn read(&self, path: &Path, rows: Range<usize>) -> Result<Vec<f32>, Fault> {
        let mut numbers = vec![0.0; rows.len() * self.width];
        if self.by_columns {
            let mut column = vec![0.0; rows.len()];
            for j in 0..self.width {
                self.read_run(path, j * self.rows + rows.start, &mut column)?;
                let elements = numbers[j..].iter_mut().step_by(self.width);
                elements.zip(&column).for_each(|(x, &y)| *x = y);
            }
        } else {
            self.read_run(path, rows.start * self.width, &mut numbers)?;
        }
        Ok(numbers)
    }

    /// Numbers that stand together, from the one at this place on.
    fn read_run(&self, path: &Path, at: usize, numbers: &mut [f32]) -> Result<(), Fault> {
        let each = self.kind.bytes();
        let mut bytes = vec![0; numbers.len() * each];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.start + (at * each) as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| Error::io(path, source))?;
        for (x, bytes) in numbers.iter_mut().zip(bytes.chunks_exact_mut(each)) {
            if self.big_endian {
                bytes.reverse();
            }
            *x = self.kind.number(bytes);
        }
        Ok(())
    }
}
