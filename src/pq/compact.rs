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
use crate::parallel;
use crate::real::Real;
use crate::tape::Bound;
use crate::tensor::Tensor;
use fearless_simd::Simd;

/// Rows of a piece of lookup.
const CHUNK: usize = 128;

/// Codes of a row that are unpacked at a time.
const CODES: usize = 64;

/// A compressed table: D codes per id, and the value codebook, G x K x s.
///
/// Row i is the concatenation of values\[g, code\[i, g\]\] over g, or where groups are additive their
/// mean: the sum in the order of the groups, over D. It has the same bits as the model's own evaluation
/// gives.
///
/// With the feature `io`, `save` writes it to a
/// [safetensors](https://github.com/huggingface/safetensors) file, which PyTorch and others read without
/// executing anything; `load` reads it, and `open` reads single rows of it. The file has these tensors:
///
/// | tensor | type and shape | holds |
/// |---|---|---|
/// | `codes` | bytes | the packed codes; [`CodeTable`] says how they are packed |
/// | `values` | G x K x s, in the table's own precision | the codewords |
/// | `names` | bytes, if there are names | a name a row in UTF-8, each followed by a line break |
///
/// and these metadata, of which readers need the first seven:
///
/// | field | says |
/// |---|---|
/// | `format` | `dpq compact embedding 2`; the first version has no additive groups, bands and names |
/// | `rows` | V |
/// | `groups` | D |
/// | `codebook_size` | K |
/// | `bits` | ceil(log2 K), the bits of a code outside all bands |
/// | `bands` | `none`, or `first:K_b,first:K_b`: from these rows on codes are below K_b, in ceil(log2 K_b) bits |
/// | `additive` | `true` if a row is the mean of its codewords |
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
        config.check(if config.additive { s } else { config.groups.saturating_mul(s) })?;
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
        Ok(CompactEmbedding { config, codes, values, names: None })
    }

    /// The same table with a name for every row, which its file then holds, too.
    ///
    /// # Errors
    /// [`Error::Config`] if there are not as many as rows.
    pub fn with_names(self, names: Names) -> Result<Self> {
        if names.len() != self.codes.rows() {
            let expected = format!("{}, one for each row", self.codes.rows());
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

    /// The rows of `ids`, ids.len() x d.
    ///
    /// # Errors
    /// [`Error::Id`] if one is outside the vocabulary.
    pub fn lookup(&self, ids: &[u32]) -> Result<Tensor<T>> {
        let mut rows = Tensor::zeros([ids.len(), self.row_width()]);
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
            ids.len() * self.row_width(),
            "lookup_into: elements of {} rows of width {}",
            ids.len(),
            self.row_width()
        );
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= self.codes.rows()) {
            return Err(Error::Id { id, vocabulary: self.codes.rows() });
        }
        parallel::for_each_chunk(rows, CHUNK * self.row_width(), |i, rows| {
            let ids = &ids[i * CHUNK..];
            if self.config.additive {
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
        for (&id, row) in ids.iter().zip(rows.chunks_exact_mut(self.row_width())) {
            for (i, part) in row.chunks_mut(CODES * s).enumerate() {
                let codes = &mut room[..part.len() / s];
                self.codes.unpack_codes(id as usize, i * CODES, codes);
                codewords::put(&self.values.data()[i * CODES * stride * s..], stride, codes, part);
            }
        }
    }

    /// Fills some rows of additive groups.
    fn add_up(&self, ids: &[u32], rows: &mut [T]) {
        let (sizes, d) = (Sizes::of(self.values.shape()), self.row_width());
        for (&id, row) in ids.iter().zip(rows.chunks_exact_mut(d)) {
            let codeword = |(g, code): (usize, u32)| {
                &self.values.data()[sizes.codeword(g, code as usize) * d..][..d]
            };
            let codewords = self.codes.row(id as usize).enumerate().map(codeword);
            average(codewords, self.config.groups, row);
        }
    }

    fn row_width(&self) -> usize {
        let s = self.values.shape()[2];
        if self.config.additive { s } else { self.config.groups * s }
    }

    /// The same table in another precision.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a value is beyond its range.
    pub fn cast<U: Real>(&self) -> Result<CompactEmbedding<U>> {
        let cast = CompactEmbedding::new(self.config, self.codes.clone(), self.values.cast())?;
        Ok(CompactEmbedding { names: self.names.clone(), ..cast })
    }

    /// Bytes of the packed codes and of the values: what a file of it stores, but for header and names.
    pub fn bytes(&self) -> usize {
        self.codes.bytes().len() + size_of_val(self.values.data())
    }

    /// Bytes of the full table in the same precision.
    pub fn full_bytes(&self) -> usize {
        size_of::<T>() * self.codes.rows() * self.row_width()
    }

    /// How many times smaller than the full table it is, from the bytes that are really stored.
    pub fn compression_ratio(&self) -> f64 {
        self.full_bytes() as f64 / self.bytes() as f64
    }
}

impl<T: Real> Embedding<T> for CompactEmbedding<T> {
    fn vocabulary(&self) -> usize {
        self.codes.rows()
    }

    fn width(&self) -> usize {
        self.row_width()
    }

    fn forward<'t>(&self, p: &Bound<'t, T>, ids: &[u32]) -> Embedded<'t, T> {
        let mut rows = p.tape.uninit([ids.len(), self.row_width()]);
        if let Err(fault) = self.lookup_into(ids, rows.data_mut()) {
            rows.data_mut().fill(T::NAN);
            p.tape.fail(fault);
        }
        Embedded { rows: p.tape.constant(rows), regulariser: None }
    }
}
