//! Bands: rare ids choose from fewer codewords, so that their codes take fewer bits.
//!
//! Where ids are numbered by frequency, most rows of a table belong to words that hardly occur, and
//! little is lost if those have less to choose from (multi-granular quantised embeddings, Kang et al.
//! 2020). A row of a band uses the first K_b codewords of every codebook, and its codes have
//! ceil(log2 K_b) bits.

use super::settings::{CODEBOOK_SIZES, bits};
use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// The ids from `first` on choose from the first `codewords`, up to the next band.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Band {
    /// The first id of the band.
    pub first: u32,
    /// K_b, the codewords that it chooses from.
    pub codewords: u32,
}

/// Bands of ids, the frequent ones first; the ids before the first band choose from all K codewords.
///
/// ```
/// use dpq::pq::Bands;
/// let bands: Bands = "1000:16,5000:4".parse()?;
/// assert_eq!([0, 999, 1000, 4999, 5000].map(|id| bands.codewords(id, 64)), [64, 64, 16, 16, 4]);
/// assert_eq!(bands.to_string(), "1000:16,5000:4");
/// # Ok::<(), dpq::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bands {
    bands: [Band; Bands::MOST],
    len: usize,
}

impl Bands {
    /// How many there may be.
    pub const MOST: usize = 6;

    /// All ids choose from all codewords.
    pub const NONE: Bands = Bands { bands: [Band { first: 0, codewords: 0 }; Bands::MOST], len: 0 };

    /// From pairs of a first id and the codewords from there on.
    ///
    /// # Errors
    /// [`Error::Config`] if there are too many, a band starts at id 0 or not after the one before it, or
    /// it has not fewer codewords than that or less than 2.
    pub fn new(pairs: &[(u32, u32)]) -> Result<Bands> {
        let refuse = |value: String, expected: &str| {
            Err(Error::Config { name: "bands", value, expected: expected.into() })
        };
        if pairs.len() > Bands::MOST {
            return refuse(format!("{} bands", pairs.len()), "at most 6");
        }
        let mut bands = Bands { len: pairs.len(), ..Bands::NONE };
        let mut before = Band { first: 0, codewords: *CODEBOOK_SIZES.end() as u32 };
        for (band, &(first, codewords)) in bands.bands.iter_mut().zip(pairs) {
            if first <= before.first {
                return refuse(format!("{first}:{codewords}"), "first ids above 0 that increase");
            }
            if !(2..before.codewords).contains(&codewords) {
                return refuse(
                    format!("{first}:{codewords}"),
                    "codewords that get fewer, at least 2",
                );
            }
            *band = Band { first, codewords };
            before = *band;
        }
        Ok(bands)
    }

    /// The bands, in order.
    pub fn as_slice(&self) -> &[Band] {
        &self.bands[..self.len]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many codewords of `codebook_size` an id chooses from.
    pub fn codewords(&self, id: u32, codebook_size: usize) -> usize {
        let band = self.as_slice().iter().rev().find(|band| band.first <= id);
        band.map_or(codebook_size, |band| band.codewords as usize)
    }

    /// The rows of each band of a table, the ids before the first band at the start, with the bits of a
    /// code.
    pub(crate) fn parts(
        &self,
        rows: usize,
        codebook_size: usize,
    ) -> impl Iterator<Item = (std::ops::Range<usize>, usize)> + '_ {
        let starts = std::iter::once((0, codebook_size)).chain(
            self.as_slice().iter().map(|band| (band.first as usize, band.codewords as usize)),
        );
        let ends = self.as_slice().iter().map(|band| band.first as usize).chain([rows]);
        starts
            .zip(ends)
            .map(move |((start, k), end)| (start.min(rows)..end.min(rows), bits(k) as usize))
    }

    /// The bits of the codes of so many rows; `None` if a `usize` does not count them.
    pub(crate) fn code_bits(
        &self,
        rows: usize,
        groups: usize,
        codebook_size: usize,
    ) -> Option<usize> {
        self.parts(rows, codebook_size).try_fold(0_usize, |sum, (rows, bits)| {
            sum.checked_add(rows.len().checked_mul(groups)?.checked_mul(bits)?)
        })
    }

    /// Whether every band has fewer codewords than the codebooks have.
    pub(super) fn check(&self, codebook_size: usize) -> Result<()> {
        match self.as_slice().first() {
            Some(band) if band.codewords as usize >= codebook_size => Err(Error::Config {
                name: "bands",
                value: format!("{}:{}", band.first, band.codewords),
                expected: format!("fewer codewords than the codebook's {codebook_size}"),
            }),
            _ => Ok(()),
        }
    }
}

/// `first:codewords,first:codewords`, or `none`.
impl fmt::Display for Bands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (i, Band { first, codewords }) in self.as_slice().iter().enumerate() {
            write!(f, "{}{first}:{codewords}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Bands {
    type Err = Error;

    fn from_str(text: &str) -> Result<Bands> {
        let pair = |part: &str| {
            let (first, codewords) = part.split_once(':')?;
            Some((first.parse().ok()?, codewords.parse().ok()?))
        };
        let parts = text.split(',').filter(|_| text != "none");
        let pairs: Vec<(u32, u32)> = parts
            .map(|part| {
                pair(part).ok_or_else(|| Error::Config {
                    name: "bands",
                    value: part.into(),
                    expected: "an id, a colon and a number of codewords, as in 1000:16".into(),
                })
            })
            .collect::<Result<_>>()?;
        Bands::new(&pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_of_a_code_are_counted() {
        assert_eq!([2, 3, 32, 33, 65536].map(bits), [1, 2, 5, 6, 16]);
        let bands = Bands::new(&[(10, 16), (30, 4)]).unwrap();
        assert_eq!(bands.code_bits(100, 3, 64), Some(3 * (10 * 6 + 20 * 4 + 70 * 2)));
        // Tables that end before a band starts.
        assert_eq!(bands.code_bits(20, 1, 64), Some(10 * 6 + 10 * 4));
        assert_eq!(bands.code_bits(5, 1, 64), Some(5 * 6));
        assert_eq!(bands.code_bits(usize::MAX, 3, 64), None);
        assert_eq!(Bands::NONE.code_bits(7, 2, 3), Some(28));
    }

    #[test]
    fn bands_that_cannot_be_are_refused() {
        let refused = |pairs: &[(u32, u32)]| Bands::new(pairs).unwrap_err().to_string();
        assert!(refused(&[(0, 4)]).contains("0:4: expected first ids above 0"));
        assert!(refused(&[(9, 8), (9, 4)]).contains("9:4: expected first ids above 0"));
        assert!(refused(&[(9, 8), (10, 8)]).contains("10:8: expected codewords that get fewer"));
        assert!(refused(&[(9, 1)]).contains("9:1: expected codewords that get fewer"));
        assert!(refused(&[(1, 7); 7]).contains("7 bands: expected at most 6"));
        for text in ["", "9", "9:x", ":", "9:4,", "-1:4", "1:2:3"] {
            let error = text.parse::<Bands>().unwrap_err().to_string();
            assert!(error.contains("expected an id, a colon"), "{text}: {error}");
        }
        assert_eq!(Bands::NONE.to_string().parse::<Bands>().unwrap(), Bands::NONE);
        assert!(Bands::new(&[(5, 8)]).unwrap().check(8).is_err());
    }
}
