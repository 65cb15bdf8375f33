//! The codes of a whole table, packed to as few bits as their range needs.

use super::config::bits;
use crate::error::{Error, Result};

/// V x D codes, each in b = [`bits`] bits, one after the other without gaps: code c of the table, the
/// codes counted row by row, is bits c b to (c + 1) b of the bytes, lowest bit first.
///
/// ```
/// use dpq::pq::codes::CodeTable;
/// let table = CodeTable::pack(&[0, 4, 2, 1, 3, 3], 3, 5);
/// assert_eq!((table.rows(), table.bytes().len()), (2, 3)); // 6 codes of 3 bits
/// assert_eq!(table.unpack(), [0, 4, 2, 1, 3, 3]);
/// assert_eq!(table.row(1).collect::<Vec<_>>(), [1, 3, 3]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeTable {
    groups: usize,
    codebook_size: usize,
    rows: usize,
    /// The packed codes, and [`PADDING`] bytes of 0, so that a code can be read as part of a word.
    padded: Vec<u8>,
}

/// A code is read as part of a word of four bytes from the one that it starts in, so the last byte
/// needs three more after it.
const PADDING: usize = 3;

impl CodeTable {
    /// Packs codes, `groups` a row.
    ///
    /// # Panics
    /// If the codes do not fill rows, or one is not below `codebook_size`.
    #[track_caller]
    pub fn pack(codes: &[u32], groups: usize, codebook_size: usize) -> CodeTable {
        assert!(
            codes.len().is_multiple_of(groups),
            "{} codes do not fill rows of {groups}",
            codes.len()
        );
        let bits = bits(codebook_size) as usize;
        let mut padded = vec![0; (codes.len() * bits).div_ceil(8) + PADDING];
        for (i, &code) in codes.iter().enumerate() {
            assert!((code as usize) < codebook_size, "code {code}: expected 0..{codebook_size}");
            let word = code << (i * bits % 8);
            for (byte, part) in padded[i * bits / 8..].iter_mut().zip(word.to_le_bytes()) {
                *byte |= part;
            }
        }
        CodeTable { groups, codebook_size, rows: codes.len() / groups, padded }
    }

    /// The table that these bytes are the packed codes of.
    ///
    /// # Errors
    /// [`Error::Config`] if they are not as many as `rows` x `groups` codes take, or a code is not
    /// below `codebook_size`.
    pub fn from_bytes(
        bytes: &[u8],
        rows: usize,
        groups: usize,
        codebook_size: usize,
    ) -> Result<CodeTable> {
        let needed = (rows * groups * bits(codebook_size) as usize).div_ceil(8);
        if bytes.len() != needed {
            let expected = format!("{needed} for {rows} x {groups} codes below {codebook_size}");
            return Err(Error::Config {
                name: "bytes of codes",
                value: bytes.len().to_string(),
                expected,
            });
        }
        let padded = [bytes, &[0; PADDING]].concat();
        let table = CodeTable { groups, codebook_size, rows, padded };
        match table.unpack().into_iter().find(|&code| code as usize >= codebook_size) {
            Some(code) => {
                let expected = format!("0..{codebook_size}");
                Err(Error::Config { name: "code", value: code.to_string(), expected })
            }
            None => Ok(table),
        }
    }

    /// The packed codes.
    pub fn bytes(&self) -> &[u8] {
        &self.padded[..self.padded.len() - PADDING]
    }

    /// All codes, row by row.
    pub fn unpack(&self) -> Vec<u32> {
        (0..self.rows).flat_map(|row| self.row(row)).collect()
    }

    /// The codes of one row.
    ///
    /// # Panics
    /// If there is no such row.
    #[track_caller]
    pub fn row(&self, row: usize) -> impl ExactSizeIterator<Item = u32> + '_ {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let bits = bits(self.codebook_size) as usize;
        let first = row * self.groups * bits;
        (0..self.groups).map(move |g| {
            let at = first + g * bits;
            let word =
                u32::from_le_bytes(self.padded[at / 8..][..4].try_into().expect("four bytes"));
            (word >> (at % 8)) & ((1 << bits) - 1)
        })
    }

    /// Writes the codes of one row, as [`row`](CodeTable::row) gives them.
    #[inline(always)]
    pub(crate) fn unpack_row(&self, row: usize, codes: &mut [u32]) {
        if bits(self.codebook_size) == 8 {
            let bytes = &self.padded[row * self.groups..][..self.groups];
            codes.iter_mut().zip(bytes).for_each(|(code, &byte)| *code = u32::from(byte));
        } else {
            codes.iter_mut().zip(self.row(row)).for_each(|(code, unpacked)| *code = unpacked);
        }
    }

    /// V
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// D
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// K
    pub fn codebook_size(&self) -> usize {
        self.codebook_size
    }

    /// How many of all D K codewords at least one row uses.
    pub fn used(&self) -> usize {
        let mut used = vec![false; self.groups * self.codebook_size];
        for (i, code) in self.unpack().into_iter().enumerate() {
            used[i % self.groups * self.codebook_size + code as usize] = true;
        }
        used.into_iter().filter(|&used| used).count()
    }

    /// The fraction of codes that differ in `before`, a table of the same form.
    ///
    /// # Panics
    /// If the tables have other sizes.
    #[track_caller]
    pub fn changed(&self, before: &CodeTable) -> f64 {
        let (now, before) = (self.unpack(), before.unpack());
        assert_eq!(now.len(), before.len(), "codes of two tables");
        now.iter().zip(&before).filter(|(now, before)| now != before).count() as f64
            / now.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_of_code_survives_packing() {
        for codebook_size in [2, 3, 8, 32, 100, 256, 1000, 65536] {
            let codes: Vec<u32> = (0..21).map(|i| (i * 7919) % codebook_size as u32).collect();
            let table = CodeTable::pack(&codes, 7, codebook_size);
            assert_eq!(table.bytes().len(), (21 * bits(codebook_size) as usize).div_ceil(8));
            assert_eq!(table.unpack(), codes);
            for (i, codes) in codes.chunks(7).enumerate() {
                let mut row = [0; 7];
                table.unpack_row(i, &mut row);
                assert_eq!(row, codes);
            }
            assert_eq!(CodeTable::from_bytes(table.bytes(), 3, 7, codebook_size).unwrap(), table);
        }
        assert_eq!([2, 3, 32, 33, 65536].map(bits), [1, 2, 5, 6, 16]);
    }

    #[test]
    fn bytes_that_are_no_codes_are_refused() {
        let refused = |bytes: &[u8]| CodeTable::from_bytes(bytes, 2, 2, 3).unwrap_err().to_string();
        assert_eq!(refused(&[0, 0]), "bytes of codes = 2: expected 1 for 2 x 2 codes below 3");
        assert_eq!(refused(&[0b1100]), "code = 3: expected 0..3");
    }

    #[test]
    fn usage_and_change_are_counted() {
        let (a, b) = (CodeTable::pack(&[0, 1, 0, 2], 2, 3), CodeTable::pack(&[0, 1, 1, 2], 2, 3));
        assert_eq!((a.used(), b.used()), (3, 4));
        assert_eq!(a.changed(&b), 0.25);
    }
}
