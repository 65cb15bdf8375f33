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
//! # Options
//!
//! All are fields of [`DpqConfig`], with a sentence on when to use each, and off by default.
//!
//! | option | what it changes |
//! |---|---|
//! | [`Score`] | SX: r\[j\] = -\|\|q - C^k\[j\]\|\|^2, or the cosine, instead of the dot product |
//! | [`Temperature`] | SX: tau learns, or is annealed by a schedule |
//! | sampling | SX: in training a code is drawn from p, as by Gumbel noise on log p; evaluation takes the best |
//! | beta | the weight of the entropy term (SX) or of the commitment term (VQ) |
//! | [`MovingAverage`] | VQ: codebooks are moving averages of their queries; dead codewords are revived |
//! | additive | codewords are as wide as rows, and a row is the mean of its D codewords |
//! | [`Bands`] | rare ids choose from the first K_b codewords, in fewer bits |
//! | shared, batch_norm | one codebook for all groups; scores as they are |
//!
//! A [`Quantizer`] is all of it for activations of any kind; [`DpqEmbedding`] is a gather and a quantizer.
//!
//! A table that is finished already needs no training of a model: [`Compression`] finds codes and codewords
//! that lose the least of it, [`KMeans`] is one part of it, and [`FixedCodes`] or
//! [`DpqEmbedding::start_from`] go on from there with a task.
//!
//! What to look at beside the loss: how a whole table uses its codewords, [`Usage`]; whether a gradient
//! reaches every codebook, [`CodebookWatch`]; and which words are neighbours, by their
//! [codes](codes::CodeTable::nearest) and by their [rows](nearest_rows).
//!
//! Read [`composed`] for the two forms in primitive ops, then [`mod@sx`] and [`mod@vq`] for the fused ones.

mod settings;
mod bands;
mod config;
mod codebook;
mod queries;
pub mod codes;
mod normalization;
mod score;
mod statistics;
mod quantized;
mod additive;
pub mod composed;
mod assign;
pub mod sx;
pub mod vq;
mod kmeans_start;
mod kmeans;
mod beam;
mod refit;
mod names;
pub mod compact;
#[cfg(feature = "io")]
mod compact_file;
#[cfg(feature = "io")]
mod compact_reader;
mod product_quantization;
mod compression;
mod splits;
mod averages;
mod dot_scores;
mod quantizer;
mod layer;
mod inspection;
mod usage;
mod neighbours;
mod codebook_watch;
mod fixed_codes;
#[cfg(feature = "proptest")]
mod cases;

pub use bands::{Band, Bands};
#[cfg(feature = "proptest")]
pub use cases::cases;
pub use codebook_watch::{CodebookWatch, SilentCodebooks};
#[cfg(feature = "io")]
pub use compact_file::CompactSizes;
#[cfg(feature = "io")]
pub use compact_reader::CompactReader;
pub use compression::Compression;
pub use config::DpqConfig;
pub use fixed_codes::FixedCodes;
pub use inspection::Inspection;
pub use kmeans::{Centroids, KMeans, nearest_of};
pub use layer::DpqEmbedding;
pub use names::Names;
pub use neighbours::nearest_rows;
pub use normalization::{BATCH_NORM_EPS, BATCH_NORM_RATE, Normalization};
pub use quantized::{Codes, Options, Quantized};
pub use quantizer::Quantizer;
pub use settings::{Form, MovingAverage, Score, Temperature, bits};
pub use sx::{sx, sx_with};
pub use usage::{GroupUsage, Usage};
pub use vq::{vq, vq_with};
