//! What is left after training: codes and the codewords that they stand for.

use super::DpqConfig;
use super::codes::{CodeTable, put_codewords};
use crate::embedding::{Embedded, Embedding};
use crate::error::{Error, Result};
use crate::kernels::level;
use crate::parallel;
use crate::real::Real;
use crate::tape::Bound;
use crate::tensor::Tensor;
use fearless_simd::{Simd, dispatch};

/// Rows of a piece of lookup.
const CHUNK: usize = 128;

/// A compressed table: D codes a symbol, and the value codebook, G x K x s.
///
/// Row i is the concatenation of values\[g, code\[i, g\]\] over g, the same bits as the model's own
/// evaluation gives.
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
        config.check(config.groups * s)?;
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
        if let Some(bad) = values.not_finite() {
            return Err(Error::NotFinite {
                what: "a value of the codebook".into(),
                value: bad.to_f64(),
            });
        }
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
            "lookup_into: numbers of {} rows of width {}",
            ids.len(),
            self.row_width()
        );
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= self.codes.rows()) {
            return Err(Error::Id { id, vocabulary: self.codes.rows() });
        }
        let width = self.row_width();
        let stride = if self.config.shared { 0 } else { self.config.codebook_size };
        parallel::for_each_chunk(rows, CHUNK * width, |i, rows| {
            let mut codes = vec![0; self.config.groups];
            dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                for (&id, row) in ids[i * CHUNK..].iter().zip(rows.chunks_exact_mut(width)) {
                    self.codes.unpack_row(id as usize, &mut codes);
                    put_codewords(self.values.data(), stride, &codes, row);
                }
            }));
        });
        Ok(())
    }

    fn row_width(&self) -> usize {
        self.config.groups * self.values.shape()[2]
    }

    /// Bytes of the packed codes and of the values in 32 bits each: what a file of it stores, but
    /// for the header.
    pub fn bytes(&self) -> usize {
        self.codes.bytes().len() + 4 * self.values.data().len()
    }

    /// Bytes of the full table in 32 bits a number.
    pub fn full_bytes(&self) -> usize {
        4 * self.codes.rows() * self.row_width()
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
            rows.data_mut().fill(T::ZERO);
            p.tape.fail(fault);
        }
        Embedded { rows: p.tape.constant(rows), regulariser: None }
    }
}

/// Files: [safetensors](https://github.com/huggingface/safetensors), which PyTorch and others read
/// without executing anything.
///
/// `codes` is the packed bytes (u8; [`CodeTable`] says how they are packed), `values` G x K x s
/// (f32); the metadata hold the configuration, `rows` and `bits`. To read one in Python:
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
#[cfg(feature = "io")]
mod file {
    use super::*;
    use crate::pq::{Form, codes};
    use safetensors::tensor::{Dtype, SafeTensors, TensorView};
    use std::collections::HashMap;
    use std::path::Path;
    use std::str::FromStr;

    /// The value of `format` in the metadata.
    const FORMAT: &str = "dpq compact embedding 1";

    impl<T: Real> CompactEmbedding<T> {
        /// Writes the file, whole or not at all: to a temporary file beside it, synced, renamed.
        ///
        /// # Errors
        /// [`Error::Io`] if that fails.
        pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
            let path = path.as_ref();
            let values: Vec<u8> =
                self.values.data().iter().flat_map(|x| (x.to_f64() as f32).to_le_bytes()).collect();
            let view = |dtype, shape: &[usize], bytes| {
                TensorView::new(dtype, shape.to_vec(), bytes)
                    .expect("as many bytes as the shape says")
            };
            let codes = self.codes.bytes();
            let tensors = [
                ("codes", view(Dtype::U8, &[codes.len()], codes)),
                ("values", view(Dtype::F32, &self.values.shape(), &values)),
            ];
            let config = &self.config;
            let metadata = [
                ("format", FORMAT.to_string()),
                ("form", if config.form == Form::Sx { "sx" } else { "vq" }.to_string()),
                ("rows", self.codes.rows().to_string()),
                ("groups", config.groups.to_string()),
                ("codebook_size", config.codebook_size.to_string()),
                ("bits", codes::bits(config.codebook_size).to_string()),
                ("shared", config.shared.to_string()),
                ("batch_norm", config.batch_norm.to_string()),
                ("temperature", config.temperature.to_string()),
                ("beta", config.beta.to_string()),
            ];
            let metadata = metadata.map(|(key, value)| (key.to_string(), value)).into();
            let bytes =
                safetensors::serialize(tensors, Some(metadata)).expect("two well-formed tensors");
            crate::io::write_whole(path, &bytes)
        }

        /// Reads a file that [`save`](Self::save) wrote.
        ///
        /// # Errors
        /// [`Error::Io`] if it cannot be read, [`Error::File`] if it is something else or damaged,
        /// [`Error::NotFinite`] if a value is not finite.
        pub fn load(path: impl AsRef<Path>) -> Result<Self> {
            let path = path.as_ref();
            let bytes = std::fs::read(path)
                .map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
            Self::parse(&bytes).map_err(|fault| match fault {
                Fault::Not(found) => Error::File {
                    path: path.to_path_buf(),
                    found,
                    expected: "a compact embedding".into(),
                },
                Fault::NotFinite(value) => Error::NotFinite {
                    what: format!("{}: a value of the codebook", path.display()),
                    value,
                },
            })
        }

        fn parse(bytes: &[u8]) -> Result<Self, Fault> {
            let not = |fault: &dyn std::fmt::Display| Fault::Not(fault.to_string());
            let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| not(&e))?;
            let none = HashMap::new();
            let metadata = header.metadata().as_ref().unwrap_or(&none);
            if metadata.get("format").map(String::as_str) != Some(FORMAT) {
                return Err(not(&format!("format {:?} in its metadata", metadata.get("format"))));
            }
            let file = SafeTensors::deserialize(bytes).map_err(|e| not(&e))?;
            let config = DpqConfig {
                form: match field::<String>(metadata, "form")?.as_str() {
                    "sx" => Form::Sx,
                    "vq" => Form::Vq,
                    other => return Err(not(&format!("form {other:?}"))),
                },
                groups: field(metadata, "groups")?,
                codebook_size: field(metadata, "codebook_size")?,
                shared: field(metadata, "shared")?,
                batch_norm: field(metadata, "batch_norm")?,
                temperature: field(metadata, "temperature")?,
                beta: field(metadata, "beta")?,
            };
            let tensor = |name, dtype| match file.tensor(name) {
                Ok(view) if view.dtype() == dtype => Ok(view),
                Ok(view) => Err(not(&format!("{name} of type {:?}", view.dtype()))),
                Err(e) => Err(not(&e)),
            };
            let (codes, values) = (tensor("codes", Dtype::U8)?, tensor("values", Dtype::F32)?);
            if values.shape().len() != 3 {
                return Err(not(&format!("values of shape {:?}", values.shape())));
            }
            // Checked before it sizes anything.
            config.check(config.groups.saturating_mul(values.shape()[2])).map_err(|e| not(&e))?;
            let rows: usize = field(metadata, "rows")?;
            if rows.checked_mul(config.groups).is_none_or(|codes_| codes_ > 8 * codes.data().len())
            {
                return Err(not(&format!("{rows} rows in {} bytes of codes", codes.data().len())));
            }
            let codes =
                CodeTable::from_bytes(codes.data(), rows, config.groups, config.codebook_size)
                    .map_err(|e| not(&e))?;
            let (stated, bits): (u32, u32) =
                (field(metadata, "bits")?, codes::bits(config.codebook_size));
            if stated != bits {
                return Err(not(&format!("bits = {stated} for codes of {bits} in its metadata")));
            }
            let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("four bytes"));
            let data =
                values.data().chunks_exact(4).map(|x| T::from_f64(f64::from(number(x)))).collect();
            let values = Tensor::new(values.shape(), data).map_err(|e| not(&e))?;
            CompactEmbedding::new(config, codes, values).map_err(|fault| match fault {
                Error::NotFinite { value, .. } => Fault::NotFinite(value),
                other => not(&other),
            })
        }
    }

    enum Fault {
        Not(String),
        NotFinite(f64),
    }

    fn field<F: FromStr>(metadata: &HashMap<String, String>, name: &str) -> Result<F, Fault> {
        let value = metadata.get(name);
        value
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Fault::Not(format!("{name} = {value:?} in its metadata")))
    }
}
