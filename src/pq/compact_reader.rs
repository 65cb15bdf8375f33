//! A compact table that stays in its file: rows are read where they stand.

use super::additive::divide;
use super::codebook::Sizes;
use super::codes::{PADDING, code_at, place};
use super::compact::CompactEmbedding;
use super::compact_file::{HEADER_BYTES, Head, head, misfit, names, row_of_ids};
use super::config::DpqConfig;
use super::names::Names;
use crate::error::{Error, Result};
use crate::io::{PlacedTensor, placed_tensors, read_at};
use crate::real::Real;
use crate::tensor::Tensor;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A compact table in a file, of which the codebook is in memory and the codes are read as they are
/// asked for: [`CompactEmbedding::open`].
#[derive(Debug)]
pub struct CompactReader<T: Real> {
    path: PathBuf,
    file: File,
    config: DpqConfig,
    /// Of codes.
    rows: usize,
    parts: usize,
    values: Tensor<T>,
    /// The row of codes of every id, where ids share them.
    row_of_ids: Option<Vec<u32>>,
    /// The first byte of the codes.
    codes: u64,
    code_bytes: u64,
    names: Option<PlacedTensor>,
}

impl<T: Real> CompactEmbedding<T> {
    /// Opens a file that [`save`](Self::save) wrote, without reading its codes: rows are read where they
    /// stand.
    ///
    /// # Errors
    /// As [`load`](Self::load), but for codes and names, which are checked as they are read.
    pub fn open(path: impl AsRef<Path>) -> Result<CompactReader<T>> {
        CompactReader::open(path.as_ref())
    }
}

/// Bytes of codes that are read at a time.
const CHUNK: usize = 1024;

impl<T: Real> CompactReader<T> {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::io(path, source))?;
        let (mut tensors, metadata) = placed_tensors(path, &file, HEADER_BYTES)?;
        let (names, shared) = (tensors.remove("names"), tensors.remove("rows"));
        let scales = tensors.remove("scales").map(|scales| scales.read(path, &file)).transpose()?;
        let (Some(codes), Some(values)) = (tensors.remove("codes"), tensors.remove("values"))
        else {
            return Err(misfit(path, "no tensors codes and values".into()));
        };
        if let Some(name) = tensors.keys().next() {
            return Err(misfit(path, format!("a tensor {name}")));
        }
        let Head { config, rows, parts, values, .. } =
            head(path, &metadata, &values.read(path, &file)?, scales.as_ref())?;
        let shared = shared.map(|shared| shared.read(path, &file)).transpose()?;
        let row_of_ids = shared.map(|shared| row_of_ids(path, &shared, rows)).transpose()?;
        let bits = config.bands.code_bits(rows, config.groups, config.codebook_size);
        let code_bytes = codes.place.end - codes.place.start;
        let fits = bits.is_some_and(|bits| bits.div_ceil(8) as u64 == code_bytes);
        if !codes.is_bytes() || !fits {
            let found = format!("{code_bytes} bytes of codes for {rows} rows");
            return Err(misfit(path, found));
        }
        let (path, codes) = (path.to_path_buf(), codes.place.start);
        Ok(CompactReader {
            path,
            file,
            config,
            rows,
            parts,
            values,
            row_of_ids,
            codes,
            code_bytes,
            names,
        })
    }

    /// The settings that it was trained with.
    pub fn config(&self) -> &DpqConfig {
        &self.config
    }

    /// Ids are `0..vocabulary()`.
    pub fn vocabulary(&self) -> usize {
        self.row_of_ids.as_ref().map_or(self.rows, Vec::len)
    }

    /// The width of a row.
    pub fn width(&self) -> usize {
        self.parts * self.values.shape()[2]
    }

    /// Reads the names of the rows, if the file has them.
    ///
    /// # Errors
    /// [`Error::Io`] if they cannot be read, [`Error::File`] if they are not as many as rows, or no names.
    pub fn names(&self) -> Result<Option<Names>> {
        let read = |placed: &PlacedTensor| {
            names(&self.path, &placed.read(&self.path, &self.file)?, self.vocabulary())
        };
        self.names.as_ref().map(read).transpose()
    }

    /// Writes the rows of `ids` to `rows`, ids.len() x d. It allocates nothing.
    ///
    /// # Errors
    /// [`Error::Id`] if one is outside the vocabulary, and `rows` is untouched; [`Error::Io`] if codes
    /// cannot be read, [`Error::File`] if one of them is no code.
    ///
    /// # Panics
    /// If `rows` is of another length.
    #[track_caller]
    pub fn lookup_into(&self, ids: &[u32], rows: &mut [T]) -> Result<()> {
        let width = self.width();
        assert_eq!(
            rows.len(),
            ids.len() * width,
            "lookup_into: elements of {} rows of width {width}",
            ids.len()
        );
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= self.vocabulary()) {
            return Err(Error::Id { id, vocabulary: self.vocabulary() });
        }
        ids.iter().zip(rows.chunks_exact_mut(width)).try_for_each(|(&id, row)| {
            self.read(self.row_of_ids.as_ref().map_or(id, |rows| rows[id as usize]), row)
        })
    }

    /// Reads a row of codes.
    fn read(&self, id: u32, row: &mut [T]) -> Result<()> {
        let DpqConfig { groups, codebook_size, bands, .. } = self.config;
        let each = groups / self.parts;
        let sizes = Sizes::of(self.values.shape());
        let (first, bits) = place(bands, self.rows, groups, codebook_size, id as usize);
        let below = bands.codewords(id, codebook_size);
        let mut bytes = [0; CHUNK + PADDING];
        for start in (0..groups).step_by(CHUNK * 8 / 16 - 1) {
            // Whole codes of at most 16 bits, from the byte that the first of them starts in.
            let end = groups.min(start + CHUNK * 8 / 16 - 1);
            let at = (first + start * bits) / 8;
            let length = (first + end * bits).div_ceil(8) - at;
            debug_assert!(at + length <= self.code_bytes as usize);
            read_at(&self.file, &mut bytes[..length], self.codes + at as u64)
                .map_err(|source| Error::io(&self.path, source))?;
            bytes[length..length + PADDING].fill(0);
            for g in start..end {
                let code = code_at(&bytes, first + g * bits - 8 * at, bits) as usize;
                if code >= below {
                    let found = format!("code {code} of row {id}, below {below} expected");
                    return Err(misfit(&self.path, found));
                }
                let codeword = &self.values.data()[sizes.codeword(g, code) * sizes.width..];
                let codeword = &codeword[..sizes.width];
                let part = &mut row[g / each * sizes.width..][..sizes.width];
                match g % each {
                    0 => part.copy_from_slice(codeword),
                    _ => part.iter_mut().zip(codeword).for_each(|(sum, c)| *sum += *c),
                }
            }
        }
        if each > 1 {
            divide(row, each);
        }
        Ok(())
    }
}
