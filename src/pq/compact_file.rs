//! Files: [safetensors](https://github.com/huggingface/safetensors), which PyTorch and others read
//! without executing anything.
//!
//! `codes` is the packed bytes (u8; [`CodeTable`] says how they are packed), `values` G x K x s
//! (f32); the metadata hold the configuration, `rows` and `bits`. To read one in Python:
//!
//! ```text
//! with safetensors.safe_open("embedding.safetensors", "pt") as f:
//!     m, codes, values = f.metadata(), f.get_tensor("codes").numpy(), f.get_tensor("values")
//! V, D, b = int(m["rows"]), int(m["groups"]), int(m["bits"])
//! bits = numpy.unpackbits(codes, bitorder="little")[: V * D * b].reshape(V, D, b)
//! codes = torch.from_numpy(bits.astype("int64") @ (1 << numpy.arange(b)))         # V x D
//! book = torch.arange(D) if values.shape[0] > 1 else torch.zeros(D, dtype=int)
//! table = values[book, codes].reshape(V, -1)                                      # V x d
//! ```

use super::codes::CodeTable;
use super::compact::CompactEmbedding;
use super::config::{DpqConfig, Form, bits};
use crate::error::{Error, Result};
use crate::real::Real;
use crate::tensor::Tensor;
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
            self.values().data().iter().flat_map(|x| (x.to_f64() as f32).to_le_bytes()).collect();
        let view = |dtype, shape: &[usize], bytes| {
            TensorView::new(dtype, shape.to_vec(), bytes).expect("as many bytes as the shape says")
        };
        let codes = self.codes().bytes();
        let tensors = [
            ("codes", view(Dtype::U8, &[codes.len()], codes)),
            ("values", view(Dtype::F32, &self.values().shape(), &values)),
        ];
        let config = self.config();
        let metadata = [
            ("format", FORMAT.to_string()),
            ("form", if config.form == Form::Sx { "sx" } else { "vq" }.to_string()),
            ("rows", self.codes().rows().to_string()),
            ("groups", config.groups.to_string()),
            ("codebook_size", config.codebook_size.to_string()),
            ("bits", bits(config.codebook_size).to_string()),
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
        let bytes =
            std::fs::read(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
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
        if rows.checked_mul(config.groups).is_none_or(|codes_| codes_ > 8 * codes.data().len()) {
            return Err(not(&format!("{rows} rows in {} bytes of codes", codes.data().len())));
        }
        let codes = CodeTable::from_bytes(codes.data(), rows, config.groups, config.codebook_size)
            .map_err(|e| not(&e))?;
        let (stated, bits): (u32, u32) = (field(metadata, "bits")?, bits(config.codebook_size));
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
