//! Differentiable product quantization (Chen, Li & Sun, ICML 2020).
//!
//! A symbol's query, a row of width d, is cut into D groups. In every group the codeword that
//! scores best against the query's part is chosen; the D choices are the symbol's codes, and the
//! chosen codewords, one after the other, its embedding. After training only codes and codewords
//! are kept: D small integers a symbol, and a codebook.
//!
//! | symbol | meaning |
//! |---|---|
//! | V, d | vocabulary, width of a row |
//! | D, s = d / D | groups, width of a group |
//! | K | codewords of a group: the codebook's size |
//! | G | codebooks kept: D, or 1 when the groups share one |
//! | Q | queries, V x d |
//! | C^k, C^v | key and value codebook, G x K x s |
//!
//! With q\[i, g\] the part g of the query of token i:
//!
//! ```text
//! SX   r[i,g,j] = < q[i,g], C^k[g,j] >            VQ   r[i,g,j] = -|| q[i,g] - C[g,j] ||^2
//! both rh[i,g,j] = (r - mean[j]) / sqrt(var[j] + 1e-3)    over all tokens and groups
//!      code[i,g] = argmax_j rh[i,g,j]
//! SX   p = softmax_j(rh / tau),  w = onehot(code) + p - stop(p),  y[i,g] = sum_j w[j] C^v[g,j]
//! VQ   y[i,g] = q[i,g] + stop(C[g,code] - q[i,g])
//! ```
//!
//! so that the value is always the codeword itself, and the gradient that of the soft expression.
//! A regulariser joins the loss, means over all elements:
//!
//! ```text
//! VQ   mean (C[code] - stop(q))^2 + beta mean (stop(C[code]) - q)^2
//! SX   - beta mean over i,g of sum_j w log(p + 1e-10)
//! ```
//!
//! Which tensor gets a gradient from which term:
//!
//! | | queries | keys | values |
//! |---|---|---|---|
//! | SX, task loss | through p and the scores | through p and the scores | rows of the chosen codes |
//! | SX, entropy term (beta > 0) | yes | yes | no |
//! | VQ, task loss | straight through | no | (the keys themselves) |
//! | VQ, codebook term | no | yes, chosen codewords | - |
//! | VQ, commitment term (beta > 0) | yes | no | - |
//!
//! Read [`composed`] for the two forms in primitive ops, then [`sx`] and [`vq`] for the fused ones.

pub mod codes;
pub mod compact;
mod score;
mod choice;
mod statistics;
pub mod composed;
mod assign;
pub mod sx;
pub mod vq;
mod layer;
mod random_codes;
#[cfg(feature = "proptest")]
mod cases;

#[cfg(feature = "proptest")]
pub use cases::cases;
pub use layer::DpqEmbedding;
pub use random_codes::RandomCodes;

use crate::error::{Error, Result};
use crate::real::Real;
use crate::tensor::Tensor;

/// How codes get their gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Softmax: dot products with keys, values apart, the gradient of a softmax.
    Sx,
    /// Vector quantisation: the nearest centroid, the gradient passed straight through.
    Vq,
}

/// Added to the variance of batch-normalised scores.
pub const BATCH_NORM_EPS: f64 = 1e-3;

/// How far running statistics move towards a batch's at every step.
pub const BATCH_NORM_RATE: f64 = 0.01;

/// The settings of a DPQ layer.
///
/// ```
/// use dpq::DpqConfig;
/// let config = DpqConfig { shared: true, ..DpqConfig::sx(25, 32) };
/// assert!(config.check(200).is_ok());
/// assert_eq!(config.check(201).unwrap_err().to_string(), "groups = 25: expected a divisor of the width 201");
/// // 10,000 words of width 200: 25 codes of 5 bits each, and 32 codewords of 8 numbers.
/// assert_eq!(config.compression_ratio(10_000, 200).round(), 51.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpqConfig {
    /// SX or VQ.
    pub form: Form,
    /// D, the codes of a symbol. Divides the width.
    pub groups: usize,
    /// K, the codewords that a code chooses from: 2 to 65536.
    pub codebook_size: usize,
    /// One codebook for all groups instead of one each. Off by default.
    pub shared: bool,
    /// Scores are batch-normalised. On by default.
    pub batch_norm: bool,
    /// tau, the temperature of SX's softmax. 1 by default.
    pub temperature: f64,
    /// beta, the weight of SX's entropy term or of VQ's commitment term. 0 by default.
    pub beta: f64,
}

impl DpqConfig {
    /// The softmax form with the authors' defaults.
    pub fn sx(groups: usize, codebook_size: usize) -> Self {
        DpqConfig {
            form: Form::Sx,
            groups,
            codebook_size,
            shared: false,
            batch_norm: true,
            temperature: 1.0,
            beta: 0.0,
        }
    }

    /// The centroid form with the authors' defaults.
    pub fn vq(groups: usize, codebook_size: usize) -> Self {
        DpqConfig { form: Form::Vq, ..Self::sx(groups, codebook_size) }
    }

    /// Checks the settings for rows of `width` numbers.
    ///
    /// # Errors
    /// [`Error::Config`] with the first setting that cannot be.
    pub fn check(&self, width: usize) -> Result<()> {
        let refuse = |name, value: String, expected: &str| {
            Err(Error::Config { name, value, expected: expected.into() })
        };
        if self.groups == 0 || !width.is_multiple_of(self.groups) || width == 0 {
            return refuse(
                "groups",
                self.groups.to_string(),
                &format!("a divisor of the width {width}"),
            );
        }
        if !(2..=65536).contains(&self.codebook_size) {
            return refuse("codebook size", self.codebook_size.to_string(), "2 to 65536");
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return refuse("temperature", self.temperature.to_string(), "a positive number");
        }
        if !(self.beta >= 0.0 && self.beta.is_finite()) {
            return refuse("beta", self.beta.to_string(), "0 or a positive number");
        }
        Ok(())
    }

    /// G, the codebooks kept.
    pub fn codebooks(&self) -> usize {
        if self.shared { 1 } else { self.groups }
    }

    /// Bits of the compact form of V rows of width d: V D ceil(log2 K) for the codes and 32 G K s
    /// for the values.
    pub fn compact_bits(&self, vocabulary: usize, width: usize) -> usize {
        let codes = vocabulary * self.groups * codes::bits(self.codebook_size) as usize;
        codes + 32 * self.codebooks() * self.codebook_size * (width / self.groups)
    }

    /// Bits of the full table, 32 V d, over those of the compact form.
    pub fn compression_ratio(&self, vocabulary: usize, width: usize) -> f64 {
        (32 * vocabulary * width) as f64 / self.compact_bits(vocabulary, width) as f64
    }
}

/// Panics unless there are ids, `queries` is V x d, and every book G x K x s.
#[track_caller]
fn assert_shapes<T: Real>(
    op: &str,
    config: &DpqConfig,
    queries: &Tensor<T>,
    ids: &[u32],
    books: &[&Tensor<T>],
) {
    let shape = queries.shape();
    assert!(!ids.is_empty(), "{op} of nothing: no ids");
    let width = if shape.len() == 2 { shape[1] } else { 0 };
    if let Err(fault) = config.check(width) {
        panic!("{op}: queries of shape {shape:?}: {fault}");
    }
    let expected = [config.codebooks(), config.codebook_size, width / config.groups];
    for book in books {
        assert_eq!(
            book.shape()[..],
            expected,
            "{op}: shape of a codebook for queries of shape {shape:?}"
        );
    }
}
