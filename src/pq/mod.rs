//! Differentiable product quantization (Chen, Li & Sun, ICML 2020).
//!
//! The query of an id, a row of width d, is cut into D groups. In every group the codeword that
//! scores best against the query's part is chosen; the D choices are the id's codes, and the chosen
//! codewords, one after the other, its embedding. After training only codes and codewords are kept:
//! D small integers per id, and a codebook.
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
//! Read [`composed`] for the two forms in primitive ops, then [`mod@sx`] and [`mod@vq`] for the fused ones.

mod config;
mod codebook;
mod queries;
pub mod codes;
mod normalization;
mod score;
mod statistics;
mod quantized;
pub mod composed;
mod assign;
pub mod sx;
pub mod vq;
mod kmeans_start;
mod kmeans;
pub mod compact;
#[cfg(feature = "io")]
mod compact_file;
mod product_quantization;
mod layer;
mod inspection;
mod fixed_codes;
#[cfg(feature = "proptest")]
mod cases;

#[cfg(feature = "proptest")]
pub use cases::cases;
pub use config::{DpqConfig, Form, bits};
pub use fixed_codes::FixedCodes;
pub use inspection::Inspection;
pub use kmeans::{Centroids, KMeans};
pub use layer::DpqEmbedding;
pub use normalization::{BATCH_NORM_EPS, BATCH_NORM_RATE, Normalization};
pub use quantized::Quantized;
pub use sx::sx;
pub use vq::vq;
