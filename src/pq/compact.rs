//! The table used at inference: codes and the codewords that they stand for.

use super::codebook::Sizes;
use super::codes::CodeTable;
use super::config::DpqConfig;
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

/// A compressed table: D codes per id, and the value codebook, G x K x s.
///
/// Row i is the concatenation of values\[g, code\[i, g\]\] over g, with the same bits as the model's
/// own evaluation gives.
///
/// With the feature `io`, `save` writes it to a
/// [safetensors](https://github.com/huggingface/safetensors) file, which PyTorch and others read without
/// executing anything, and `load` reads it. The file has two tensors, `codes`, the packed codes as bytes
/// ([`CodeTable`] says how they are packed), and `values`, G x K x s in the table's own precision; the
/// metadata hold the settings, `rows` and `bits`. To read it in Python:
///
/// ```text
/// with safetensors.safe_open("embedding.safetensors", "pt") as f:
///     m, codes, values = f.metadata(), f.get_tensor("codes").numpy(), f.get_tensor("values")
/// V, D, b = int(m["rows"]), int(m["groups"]), int(m["bits"])
/// bits = numpy.unpackbits(codes, bitorder="little")[: V * D * b].reshape(V, D, b)
/// codes = torch.from_numpy(bits.astype("int64") @ (1 << numpy.arange(b)))         # V x D
/// book = torch.arange(D) if values.shape[0] > 1 else torch.zeros(D, dtype=int)
/// table = values[book, codes].reshape(V, -1)                                      # V x d
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CompactEmbedding<T: Real> {
    config: DpqConfig,
    codes: CodeTable,
    values: Tensor<T>,
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
        config.check(config.groups.saturating_mul(s))?;
        if codes.rows() == 0 {
            return refuse("rows", "0".into(), "at least 1".into());
        }
        if [codebooks, size] != [config.codebooks(), config.codebook_size] {
            let expected = format!("{} x {} x s", config.codebooks(), config.codebook_size);
            return refuse("shape of the values", format!("{:?}", values.shape()), expected);
        }
        if (codes.groups(), codes.codebook_size()) != (config.groups, config.codebook_size) {
            let found = format!("{} codes below {} a row", codes.groups(), codes.codebook_size());
            return refuse(
                "code table",
                found,
                format!("{} below {}", config.groups, config.codebook_size),
            );
        }
        values.check_finite(|| "a value of the codebook".into())?;
        Ok(CompactEmbedding { config, codes, values })
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
            let mut codes = vec![0; self.config.groups];
            dispatch!(|simd| self.look_up(simd, &ids[i * CHUNK..], &mut codes, rows));
        });
        Ok(())
    }

    /// Fills some rows; `codes` is room for the codes of one.
    #[inline(always)]
    fn look_up<S: Simd>(&self, _: S, ids: &[u32], codes: &mut [u32], rows: &mut [T]) {
        let stride = Sizes::of(self.values.shape()).stride();
        for (&id, row) in ids.iter().zip(rows.chunks_exact_mut(self.row_width())) {
            self.codes.unpack_row(id as usize, codes);
            codewords::put(self.values.data(), stride, codes, row);
        }
    }

    fn row_width(&self) -> usize {
        self.config.groups * self.values.shape()[2]
    }

    /// The same table in another precision.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a value is beyond its range.
    pub fn cast<U: Real>(&self) -> Result<CompactEmbedding<U>> {
        CompactEmbedding::new(self.config, self.codes.clone(), self.values.cast())
    }

    /// Bytes of the packed codes and of the values: what a file of it stores, but for the header.
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
