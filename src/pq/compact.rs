//! The table used at inference: codes and the codewords that they stand for.

use super::additive::average;
use super::bands::Bands;
use super::codebook::Sizes;
use super::codes::CodeTable;
use super::config::DpqConfig;
use super::names::Names;
use crate::embedding::{Embedded, Embedding};
use crate::error::{Error, Result};
use crate::kernels::codewords;
use crate::kernels::dispatch::dispatch;
use crate::kernels::reduce::largest;
use crate::parallel;
use crate::real::Real;
use crate::tape::Bound;
use crate::tensor::Tensor;
use fearless_simd::Simd;
use std::sync::Arc;

/// Rows of a piece of lookup.
const CHUNK: usize = 128;

/// Codes of a row that are unpacked at a time.
const CODES: usize = 64;

/// A compressed table: D codes per id, and the value codebook, G x K x s.
///
/// Columns are cut into P parts of s, and the D groups into P runs of D / P. A part of row i is the mean
/// of its run's codewords values\[g, code\[i, g\]\]: their sum in the order of the groups, over D / P. P is
/// D where codewords stand one after the other, 1 where groups are additive, and between the two in
/// tables that were compressed [after training](Self::from_table). A row has the same bits as the model's
/// own evaluation gives.
///
/// With the feature `io`, `save` writes it to a
/// [safetensors](https://github.com/huggingface/safetensors) file, which PyTorch and others read without
/// executing anything; `load` reads it, and `open` reads single rows of it. The file has these tensors:
///
/// | tensor | type and shape | holds |
/// |---|---|---|
/// | `codes` | bytes | the packed codes; [`CodeTable`] says how they are packed |
/// | `values` | G x K x s, in the table's own precision or in integers of 8 bits | the codewords |
/// | `scales` | G in 32 bits, if values are integers | a codebook is its integers times its scale |
/// | `rows` | V in 32 bits, if rows share codes | row i has the codes in row rows\[i\] of `codes` |
/// | `names` | bytes, if there are names | a name a row in UTF-8, each followed by a line break |
///
/// and these metadata, of which readers need all but the last line's:
///
/// | field | says |
/// |---|---|
/// | `format` | `dpq compact embedding 2`, or 3 with scales, other parts or shared rows; the first version has no additive groups, bands and names |
/// | `rows` | the rows of codes: V, unless there is a tensor `rows` |
/// | `groups` | D |
/// | `codebook_size` | K |
/// | `bits` | ceil(log2 K), the bits of a code outside all bands |
/// | `bands` | `none`, or `first:K_b,first:K_b`: from these rows on codes are below K_b, in ceil(log2 K_b) bits |
/// | `additive` | `true` if parts of a row are means of codewords |
/// | `parts` | P, of version 3; before, it is 1 where groups are additive, else D |
/// | `shared` | `true` if G is 1, else G is D |
/// | `form`, `score`, `batch_norm`, `temperature`, `sampling`, `beta`, `moving_average` | how it was trained, as in [`DpqConfig`] |
///
/// To read it with NumPy:
///
/// ```text
#[doc = include_str!("../../examples/readers/read_numpy.py")]
/// ```
///
/// and with PyTorch:
///
/// ```text
#[doc = include_str!("../../examples/readers/read_torch.py")]
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CompactEmbedding<T: Real> {
    config: DpqConfig,
    codes: CodeTable,
    values: Tensor<T>,
    /// P
    parts: usize,
    /// What the integers of every codebook are multiplied by, where values are integers.
    scales: Option<Arc<[f32]>>,
    /// The row of codes that every id has, where ids share them.
    rows: Option<Arc<[u32]>>,
    names: Option<Names>,
}

impl<T: Real> CompactEmbedding<T> {
    /// From codes and values.
    ///
    /// # Errors
    /// [`Error::Config`] if they do not fit the configuration, [`Error::NotFinite`] if a value is
    /// not finite.
    pub fn new(config: DpqConfig, codes: CodeTable, values: Tensor<T>) -> Result<Self> {
        let refuse = |name, value, expected| Err(Error::Config { name, value, expected });
        let [codebooks, size, s] = values.shape()[..] else {
            return refuse(
                "shape of the values",
                format!("{:?}", values.shape()),
                "G x K x s".into(),
            );
        };
        let parts = if config.additive { 1 } else { config.groups };
        config.check(parts.saturating_mul(s))?;
        if codes.rows() == 0 {
            return refuse("rows", "0".into(), "at least 1".into());
        }
        if [codebooks, size] != [config.codebooks(), config.codebook_size] {
            let expected = format!("{} x {} x s", config.codebooks(), config.codebook_size);
            return refuse("shape of the values", format!("{:?}", values.shape()), expected);
        }
        let sizes = (config.groups, config.codebook_size, config.bands);
        if (codes.groups(), codes.codebook_size(), codes.bands()) != sizes {
            let shown = |(groups, size, bands): (usize, usize, Bands)| {
                format!("{groups} codes below {size} a row, bands {bands}")
            };
            let found = shown((codes.groups(), codes.codebook_size(), codes.bands()));
            return refuse("code table", found, shown(sizes));
        }
        values.check_finite(|| "a value of the codebook".into())?;
        Ok(CompactEmbedding { config, codes, values, parts, scales: None, rows: None, names: None })
    }

    /// The same codes and values of additive groups, where a row has P parts: as many groups are averaged
    /// in each, and rows are P times as wide.
    ///
    /// # Errors
    /// [`Error::Config`] if groups are not additive, or P does not divide them.
    pub fn in_parts(self, parts: usize) -> Result<Self> {
        if !self.config.additive || parts == 0 || !self.config.groups.is_multiple_of(parts) {
            let expected = format!("a divisor of {} additive groups", self.config.groups);
            return Err(Error::Config { name: "parts", value: parts.to_string(), expected });
        }
        Ok(CompactEmbedding { parts, ..self })
    }

    /// With what a file says of its parts and scales.
    #[cfg(feature = "io")]
    pub(super) fn stored_in(self, parts: usize, scales: Option<Vec<f32>>) -> Self {
        CompactEmbedding { parts, scales: scales.map(Arc::from), ..self }
    }

    /// A table of other rows by the same codewords, each with codes of its own and without a name.
    ///
    /// # Errors
    /// [`Error::Config`] if the codes are not of the same sizes.
    pub fn with_codes(self, codes: CodeTable) -> Result<Self> {
        let table = CompactEmbedding::new(self.config, codes, self.values)?;
        Ok(CompactEmbedding { parts: self.parts, scales: self.scales, ..table })
    }

    /// A table with the same rows of codes for other ids: id i has those of row `rows[i]`. So ids can share
    /// a row. Names are left out.
    ///
    /// # Errors
    /// [`Error::Config`] if there are no ids, [`Error::Id`] if there is no such row of codes.
    pub fn with_row_of_ids(self, rows: &[u32]) -> Result<Self> {
        if rows.is_empty() {
            return Err(Error::Config {
                name: "rows",
                value: "0".into(),
                expected: "at least 1".into(),
            });
        }
        if let Some(&id) = rows.iter().find(|&&row| row as usize >= self.codes.rows()) {
            return Err(Error::Id { id, vocabulary: self.codes.rows() });
        }
        Ok(CompactEmbedding { rows: Some(rows.into()), names: None, ..self })
    }

    /// The same table with values of 8 bits: those of a codebook are rounded to whole numbers from -127
    /// to 127 times its scale, the largest of them over 127. Files then hold these integers.
    ///
    /// # Errors
    /// [`Error::Config`] if single precision cannot hold a scale.
    pub fn in_eight_bits(self) -> Result<Self> {
        let Sizes { size, width, .. } = Sizes::of(self.values.shape());
        let mut values = self.values.deep_copy();
        let mut scales = Vec::new();
        for book in values.data_mut().chunks_exact_mut(size * width) {
            let most = largest(book);
            // The least normal number, so that a codebook of zeros has a scale.
            let scale = (most / 127.0).max(f32::MIN_POSITIVE.into()) as f32;
            if !scale.is_finite() {
                let expected = "a number that single precision holds".into();
                let (name, value) = ("largest value of a codebook", format!("{most:e}"));
                return Err(Error::Config { name, value, expected });
            }
            book.iter_mut().for_each(|x| *x = of_integer(integer(*x, scale), scale));
            scales.push(scale);
        }
        Ok(CompactEmbedding { values, scales: Some(scales.into()), ..self })
    }

    /// The same table with a name for every row, which its file then holds, too.
    ///
    /// # Errors
    /// [`Error::Config`] if there are not as many as rows.
    pub fn with_names(self, names: Names) -> Result<Self> {
        if names.len() != self.vocabulary() {
            let expected = format!("{}, one for each row", self.vocabulary());
            return Err(Error::Config { name: "names", value: names.len().to_string(), expected });
        }
        Ok(CompactEmbedding { names: Some(names), ..self })
    }

    /// The names of the rows, if it has them.
    pub fn names(&self) -> Option<&Names> {
        self.names.as_ref()
    }

    /// The settings that it was trained with.
    pub fn config(&self) -> &DpqConfig {
        &self.config
    }

    /// The codes.
    pub fn codes(&self) -> &CodeTable {
        &self.codes
    }

    /// The value codebook, G x K x s.
    pub fn values(&self) -> &Tensor<T> {
        &self.values
    }

    /// P, the parts of a row: each is the mean of D / P codewords.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// The row of codes of every id, where ids share them.
    pub fn row_of_ids(&self) -> Option<&[u32]> {
        self.rows.as_deref()
    }

    /// The scale of every codebook, where values are integers of 8 bits times it.
    pub fn scales(&self) -> Option<&[f32]> {
        self.scales.as_deref()
    }

    /// The rows of `ids`, ids.len() x d.
    ///
    /// # Errors
    /// [`Error::Id`] if one is outside the vocabulary.
    pub fn lookup(&self, ids: &[u32]) -> Result<Tensor<T>> {
        let mut rows = Tensor::zeros([ids.len(), self.width()]);
        self.lookup_into(ids, rows.data_mut())?;
        Ok(rows)
    }

    /// Writes the rows of `ids` to `rows`, ids.len() x d.
    ///
    /// # Errors
    /// [`Error::Id`] if one is outside the vocabulary; `rows` is then untouched.
    ///
    /// # Panics
    /// If `rows` is of another length.
    #[track_caller]
    pub fn lookup_into(&self, ids: &[u32], rows: &mut [T]) -> Result<()> {
        assert_eq!(
            rows.len(),
            ids.len() * self.width(),
            "lookup_into: elements of {} rows of width {}",
            ids.len(),
            self.width()
        );
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= self.vocabulary()) {
            return Err(Error::Id { id, vocabulary: self.vocabulary() });
        }
        parallel::for_each_chunk(rows, CHUNK * self.width(), |i, rows| {
            let ids = &ids[i * CHUNK..];
            if self.parts < self.config.groups {
                return self.add_up(ids, rows);
            }
            dispatch!(|simd| self.look_up(simd, ids, rows));
        });
        Ok(())
    }

    /// Fills some rows.
    #[inline(always)]
    fn look_up<S: Simd>(&self, _: S, ids: &[u32], rows: &mut [T]) {
        let Sizes { width: s, .. } = Sizes::of(self.values.shape());
        let stride = Sizes::of(self.values.shape()).stride();
        let mut room = [0; CODES];
        for (&id, row) in ids.iter().zip(rows.chunks_exact_mut(self.width())) {
            for (i, part) in row.chunks_mut(CODES * s).enumerate() {
                let codes = &mut room[..part.len() / s];
                self.codes.unpack_codes(self.row_of_codes(id), i * CODES, codes);
                codewords::put(&self.values.data()[i * CODES * stride * s..], stride, codes, part);
            }
        }
    }

    /// Fills some rows whose parts are means of several codewords.
    fn add_up(&self, ids: &[u32], rows: &mut [T]) {
        let sizes = Sizes::of(self.values.shape());
        let each = self.config.groups / self.parts;
        for (&id, row) in ids.iter().zip(rows.chunks_exact_mut(self.width())) {
            let codeword = |(g, code): (usize, u32)| {
                &self.values.data()[sizes.codeword(g, code as usize) * sizes.width..][..sizes.width]
            };
            let mut codewords = self.codes.row(self.row_of_codes(id)).enumerate().map(codeword);
            for part in row.chunks_exact_mut(sizes.width) {
                average(codewords.by_ref().take(each), each, part);
            }
        }
    }

    /// The row of codes that an id has.
    #[inline(always)]
    fn row_of_codes(&self, id: u32) -> usize {
        self.rows.as_ref().map_or(id, |rows| rows[id as usize]) as usize
    }

    /// Ids are `0..vocabulary()`.
    pub fn vocabulary(&self) -> usize {
        self.rows.as_ref().map_or(self.codes.rows(), |rows| rows.len())
    }

    /// d, the width of a row.
    pub fn width(&self) -> usize {
        self.parts * self.values.shape()[2]
    }

    /// The same table in another precision.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a value is beyond its range.
    pub fn cast<U: Real>(&self) -> Result<CompactEmbedding<U>> {
        let cast = CompactEmbedding::new(self.config, self.codes.clone(), self.values.cast())?;
        Ok(CompactEmbedding {
            parts: self.parts,
            scales: self.scales.clone(),
            rows: self.rows.clone(),
            names: self.names.clone(),
            ..cast
        })
    }

    /// Bytes of the packed codes and of the values, with scales and rows where it has them: what a file of
    /// it stores, but for header and names.
    pub fn bytes(&self) -> usize {
        let values = match &self.scales {
            Some(scales) => self.values.data().len() + size_of_val(&scales[..]),
            None => size_of_val(self.values.data()),
        };
        let rows = self.rows.as_ref().map_or(0, |rows| size_of_val(&rows[..]));
        self.codes.bytes().len() + values + rows
    }

    /// Bytes of the full table in the same precision.
    pub fn full_bytes(&self) -> usize {
        size_of::<T>() * self.vocabulary() * self.width()
    }

    /// How many times smaller than the full table it is, from the bytes that are really stored.
    pub fn compression_ratio(&self) -> f64 {
        self.full_bytes() as f64 / self.bytes() as f64
    }
}

/// The whole number that a value is nearest to, as a multiple of a scale.
pub(super) fn integer<T: Real>(x: T, scale: f32) -> i8 {
    (x.to_f64() / f64::from(scale)).round().clamp(-127.0, 127.0) as i8
}

/// What a whole number stands for: the product in the table's precision.
pub(super) fn of_integer<T: Real>(integer: i8, scale: f32) -> T {
    T::from_f64(integer.into()) * T::from_f64(scale.into())
}

impl<T: Real> Embedding<T> for CompactEmbedding<T> {
    fn vocabulary(&self) -> usize {
        self.vocabulary()
    }

    fn width(&self) -> usize {
        self.width()
    }

    fn forward<'t>(&self, p: &Bound<'t, T>, ids: &[u32]) -> Embedded<'t, T> {
        let mut rows = p.tape.uninit([ids.len(), self.width()]);
        if let Err(fault) = self.lookup_into(ids, rows.data_mut()) {
            rows.data_mut().fill(T::NAN);
            p.tape.fail(fault);
        }
        Embedded { rows: p.tape.constant(rows), regulariser: None }
    }
}
