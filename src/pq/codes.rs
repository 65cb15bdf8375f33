//! The codes of a whole table, packed to as few bits as their range needs.

use super::bands::Bands;
use super::settings::{CODEBOOK_SIZES, bits};
use crate::error::{Error, Result};

/// V x D codes, each in b = [`bits`] bits, one after the other without gaps: code c of the
/// table, the codes counted row by row, is bits c b to (c + 1) b of the bytes, lowest bit first. The
/// rows of a band come after those of the band before it, with their own b.
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
    bands: Bands,
    rows: usize,
    /// The packed codes, and [`PADDING`] bytes of 0, so that a code can be read as part of a word.
    padded: Vec<u8>,
}

/// A code is read as part of a word of four bytes from the one that it starts in, so the last byte
/// needs three more after it.
pub(super) const PADDING: usize = 3;

impl CodeTable {
    /// Packs codes, `groups` a row.
    ///
    /// # Panics
    /// If `groups` is 0 or `codebook_size` not 2 to 65536, the codes do not fill rows, or one is not
    /// below `codebook_size`.
    #[track_caller]
    pub fn pack(codes: &[u32], groups: usize, codebook_size: usize) -> CodeTable {
        CodeTable::pack_in_bands(codes, groups, codebook_size, Bands::NONE)
    }

    /// [`pack`](Self::pack) with the rows of each band in their own number of bits.
    ///
    /// # Panics
    /// As `pack`, or if the bands do not fit the codebook size, or a code is not below the codewords of
    /// its row's band.
    #[track_caller]
    pub fn pack_in_bands(
        codes: &[u32],
        groups: usize,
        codebook_size: usize,
        bands: Bands,
    ) -> CodeTable {
        if let Err(error) = check_sizes(groups, codebook_size).and(bands.check(codebook_size)) {
            panic!("pack: {error}");
        }
        assert!(
            codes.len().is_multiple_of(groups),
            "{} codes do not fill rows of {groups}",
            codes.len()
        );
        let rows = codes.len() / groups;
        let all =
            bands.code_bits(rows, groups, codebook_size).expect("fewer bits than the codes have");
        let padded = vec![0; all.div_ceil(8) + PADDING];
        let mut table = CodeTable { groups, codebook_size, bands, rows, padded };
        for (row, codes) in codes.chunks_exact(groups).enumerate() {
            let below = bands.codewords(row as u32, codebook_size);
            let (first, bits) = table.place(row);
            for (g, &code) in codes.iter().enumerate() {
                assert!((code as usize) < below, "code {code}: expected 0..{below}");
                let (at, word) = (first + g * bits, code << ((first + g * bits) % 8));
                for (byte, part) in table.padded[at / 8..].iter_mut().zip(word.to_le_bytes()) {
                    *byte |= part;
                }
            }
        }
        table
    }

    /// The table that these bytes are the packed codes of.
    ///
    /// # Errors
    /// [`Error::Config`] if `groups` is 0 or `codebook_size` not 2 to 65536, the bytes are not as many
    /// as `rows` x `groups` codes take, a code is not below `codebook_size`, or a bit after the last
    /// code is set.
    pub fn from_bytes(
        bytes: &[u8],
        rows: usize,
        groups: usize,
        codebook_size: usize,
    ) -> Result<CodeTable> {
        CodeTable::from_bytes_in_bands(bytes, rows, groups, codebook_size, Bands::NONE)
    }

    /// [`from_bytes`](Self::from_bytes) with the rows of each band in their own number of bits.
    ///
    /// # Errors
    /// As `from_bytes`, or if the bands do not fit the codebook size.
    pub fn from_bytes_in_bands(
        bytes: &[u8],
        rows: usize,
        groups: usize,
        codebook_size: usize,
        bands: Bands,
    ) -> Result<CodeTable> {
        check_sizes(groups, codebook_size)?;
        bands.check(codebook_size)?;
        let refuse = |name, value: String, expected| Err(Error::Config { name, value, expected });
        let used = bands.code_bits(rows, groups, codebook_size);
        if used.map(|used| used.div_ceil(8)) != Some(bytes.len()) {
            let share =
                |(rows, bits): (std::ops::Range<usize>, usize)| rows.len() as f64 * bits as f64;
            let needed = bands.parts(rows, codebook_size).map(share).sum::<f64>() * groups as f64;
            let expected = format!(
                "{} for {rows} x {groups} codes below {codebook_size}",
                (needed / 8.0).ceil()
            );
            return refuse("bytes of codes", bytes.len().to_string(), expected);
        }
        if let (Some(last), Some(used)) = (bytes.last(), used)
            && used % 8 > 0
            && last >> (used % 8) != 0
        {
            return refuse("last byte of codes", last.to_string(), "0 in its unused bits".into());
        }
        let padded = [bytes, &[0; PADDING]].concat();
        let table = CodeTable { groups, codebook_size, bands, rows, padded };
        for row in 0..rows {
            let below = bands.codewords(row as u32, codebook_size);
            if let Some(code) = table.row(row).find(|&code| code as usize >= below) {
                return refuse("code", code.to_string(), format!("0..{below}"));
            }
        }
        Ok(table)
    }

    /// The first bit of a row, and the bits of each of its codes.
    #[inline(always)]
    fn place(&self, row: usize) -> (usize, usize) {
        place(self.bands, self.rows, self.groups, self.codebook_size, row)
    }

    /// The packed codes.
    pub fn bytes(&self) -> &[u8] {
        &self.padded[..self.padded.len() - PADDING]
    }

    /// All codes, row by row.
    pub fn unpack(&self) -> Vec<u32> {
        self.codes().collect()
    }

    fn codes(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.rows).flat_map(|row| self.row(row))
    }

    /// The codes of one row.
    ///
    /// # Panics
    /// If there is no such row.
    #[track_caller]
    pub fn row(&self, row: usize) -> impl ExactSizeIterator<Item = u32> + '_ {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        self.codes_from(row, 0..self.groups)
    }

    #[inline(always)]
    fn codes_from(
        &self,
        row: usize,
        groups: std::ops::Range<usize>,
    ) -> impl ExactSizeIterator<Item = u32> + '_ {
        let (first, bits) = self.place(row);
        groups.map(move |g| code_at(&self.padded, first + g * bits, bits))
    }

    /// Writes the codes of one row from group `start` on, as [`row`](CodeTable::row) gives them.
    #[inline(always)]
    pub(crate) fn unpack_codes(&self, row: usize, start: usize, codes: &mut [u32]) {
        let (first, bits) = self.place(row);
        if bits == 8 && first % 8 == 0 {
            let bytes = &self.padded[first / 8 + start..][..codes.len()];
            codes.iter_mut().zip(bytes).for_each(|(code, &byte)| *code = u32::from(byte));
        } else {
            let unpacked = self.codes_from(row, start..start + codes.len());
            codes.iter_mut().zip(unpacked).for_each(|(code, unpacked)| *code = unpacked);
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

    /// The bands of rows with fewer codewords.
    pub fn bands(&self) -> Bands {
        self.bands
    }

    /// The fraction of codes that differ in `before`, a table of the same sizes; 0 without any codes.
    ///
    /// # Panics
    /// If the tables have other sizes.
    #[track_caller]
    pub fn changed(&self, before: &CodeTable) -> f64 {
        let sizes = |table: &CodeTable| [table.rows, table.groups, table.codebook_size];
        assert_eq!(sizes(self), sizes(before), "changed: rows, groups and codebook size");
        let changed = self.codes().zip(before.codes()).filter(|(now, before)| now != before);
        changed.count() as f64 / (self.rows * self.groups).max(1) as f64
    }
}

/// The first bit of a row among the codes of a table of `rows`, and the bits of each of its codes.
#[inline(always)]
pub(super) fn place(
    bands: Bands,
    rows: usize,
    groups: usize,
    codebook_size: usize,
    row: usize,
) -> (usize, usize) {
    if bands.is_empty() {
        let bits = bits(codebook_size) as usize;
        return (row * groups * bits, bits);
    }
    let mut before = 0;
    for (rows, bits) in bands.parts(rows, codebook_size) {
        if row < rows.end {
            return (before + (row - rows.start) * groups * bits, bits);
        }
        before += rows.len() * groups * bits;
    }
    unreachable!("row {row} of {rows}")
}

/// The code in some bits from bit `at` on; three more bytes have to follow its first one.
#[inline(always)]
pub(super) fn code_at(bytes: &[u8], at: usize, bits: usize) -> u32 {
    let word = u32::from_le_bytes(bytes[at / 8..][..4].try_into().expect("four bytes"));
    (word >> (at % 8)) & ((1 << bits) - 1)
}

fn check_sizes(groups: usize, codebook_size: usize) -> Result<()> {
    let refuse = |name, value: usize, expected: &str| {
        Err(Error::Config { name, value: value.to_string(), expected: expected.into() })
    };
    if groups == 0 {
        return refuse("groups", groups, "at least 1");
    }
    if !CODEBOOK_SIZES.contains(&codebook_size) {
        return refuse("codebook size", codebook_size, "2 to 65536");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pq::bits;

    #[test]
    fn every_width_of_code_survives_packing() {
        for codebook_size in [2, 3, 8, 32, 100, 256, 1000, 65536] {
            let codes: Vec<u32> = (0..21).map(|i| (i * 7919) % codebook_size as u32).collect();
            let table = CodeTable::pack(&codes, 7, codebook_size);
            assert_eq!(table.bytes().len(), (21 * bits(codebook_size) as usize).div_ceil(8));
            assert_eq!(table.unpack(), codes);
            for (i, codes) in codes.chunks(7).enumerate() {
                let mut row = [0; 7];
                let (left, right) = row.split_at_mut(3);
                table.unpack_codes(i, 0, left);
                table.unpack_codes(i, 3, right);
                assert_eq!(row, codes);
            }
            assert_eq!(CodeTable::from_bytes(table.bytes(), 3, 7, codebook_size).unwrap(), table);
        }
    }

    #[test]
    fn bytes_that_are_no_codes_are_refused() {
        let refused = |bytes: &[u8]| CodeTable::from_bytes(bytes, 2, 2, 3).unwrap_err().to_string();
        assert_eq!(refused(&[0, 0]), "bytes of codes = 2: expected 1 for 2 x 2 codes below 3");
        assert_eq!(refused(&[0b1100]), "code = 3: expected 0..3");
        let spare = CodeTable::from_bytes(&[0b100], 1, 1, 3).unwrap_err().to_string();
        assert_eq!(spare, "last byte of codes = 4: expected 0 in its unused bits");
        for (rows, groups, size) in [(usize::MAX, 2, 3), (1 << 62, 1 << 62, 3)] {
            let error = CodeTable::from_bytes(&[], rows, groups, size).unwrap_err().to_string();
            assert!(error.starts_with("bytes of codes = 0: expected "), "{error}");
        }
        for (groups, size) in [(0, 3), (1, 0), (1, 1), (1, 65537)] {
            assert!(CodeTable::from_bytes(&[], 0, groups, size).is_err(), "{groups} {size}");
        }
    }

    #[test]
    fn changes_are_counted() {
        let (a, b) = (CodeTable::pack(&[0, 1, 0, 2], 2, 3), CodeTable::pack(&[0, 1, 1, 2], 2, 3));
        assert_eq!(a.changed(&b), 0.25);
        let empty = CodeTable::pack(&[], 2, 3);
        assert_eq!((empty.rows(), empty.changed(&empty)), (0, 0.0));
    }

    #[test]
    #[should_panic(expected = "changed: rows, groups and codebook size")]
    fn tables_of_equally_many_codes_but_other_rows_are_not_compared() {
        CodeTable::pack(&[0, 1], 2, 3).changed(&CodeTable::pack(&[0, 1], 1, 3));
    }

    #[test]
    #[should_panic(expected = "pack: groups = 0: expected at least 1")]
    fn rows_of_no_codes_are_refused() {
        CodeTable::pack(&[], 0, 3);
    }
}
