//! Embeddings that learn their own compression, on a small tape-based automatic-differentiation
//! library for the CPU.
//!
//! An embedding table of V x d numbers becomes, *while the model trains*, D small codes per word and a
//! codebook: [differentiable product quantization][pq] (Chen, Li & Sun, ICML 2020), 14 to 238
//! times smaller in the paper's ten data sets at negligible or no loss. Swap [`FullEmbedding`] for
//! [`DpqEmbedding`], train, and ship the [`CompactEmbedding`].
//!
//! ```
//! use dpq::optim::{Optimizer, Sgd};
//! use dpq::{DpqConfig, DpqEmbedding, Embedding, Init, Params, Tape, Tensor};
//!
//! // A table of 100 words of width 8, as 4 codes of 3 bits per word.
//! let mut params = Params::<f32>::new();
//! let scope = params.scope("words").init(Init::Uniform(0.5));
//! let embedding = DpqEmbedding::new(scope, 100, 8, DpqConfig::sx(4, 8))?;
//!
//! let (ids, targets) = ([3, 1, 4, 1, 5], Tensor::full([5, 8], 0.25));
//! let (mut tape, mut sgd) = (Tape::new(), Sgd::new(5.0));
//! let mut losses = Vec::new();
//! for _ in 0..50 {
//!     let (loss, grads, ()) = tape.value_and_grad(&params, |p| {
//!         let error = embedding.forward(p, &ids).rows - p.tape.constant(targets.clone());
//!         ((error * error).mean(), ())
//!     })?;
//!     losses.push(loss);
//!     sgd.step(&mut params, &grads)?;
//! }
//! assert!(losses[49] < 0.1 * losses[0]);
//!
//! let compact = embedding.to_compact(&params)?;
//! println!("{:.1} times smaller: {:?}", compact.compression_ratio(), compact.lookup(&[3])?);
//! # Ok::<(), dpq::Error>(())
//! ```
//!
//! # Reading order
//!
//! The sources are written to be read once, from top to bottom; every file uses only what stands
//! above it.
//!
//! 1. [`error`]: what can go wrong with things that come from outside
//! 2. [`real`]: the two number types
//! 3. [`rng`]: named random streams
//! 4. [`tensor`]: shapes, buffers, tensors
//! 5. [`parallel`]: work cut into pieces over threads
//! 6. `kernels`: loops over slices and register tiles
//! 7. `gemm`: matrix products on slices
//! 8. [`init`]: start values of parameters
//! 9. [`io`]: files, written whole or not at all
//! 10. [`params`]: named tensors outside the tape
//! 11. [`tape`]: the list of what was computed, and the backward pass over it
//! 12. [`mod@gradcheck`]: the gradient checker
//! 13. `strategies` (feature `proptest`): generated inputs for property-based tests
//! 14. [`ops`]: operations, each rule beside its forward formula
//! 15. [`embedding`]: the trait, and the full table
//! 16. [`mod@pq`]: differentiable product quantization
//! 17. [`data`]: vocabularies, corpora, batches, a built-in language
//! 18. [`nn`]: linear and LSTM layers, language model
//! 19. [`optim`]: gradient descent and schedules
//! 20. `precision` (feature `proptest`): the same training in `f32` and in `f64`
//! 21. [`guide`]: the course in prose, beside the numbered programs in `examples/`
//!
//! # A walk: ids to codes, and the gradient back
//!
//! 1. `examples/lstm_lm.rs`, `train_epoch`: a window's ids go to [`nn::LanguageModel::forward`].
//! 2. `src/nn/language_model.rs`, `forward`: they go to the model's [`Embedding::forward`].
//! 3. `src/pq/layer.rs`, `forward`: the query table, the codebooks and the way to normalise go,
//!    with the ids, to [`pq::sx::sx`].
//! 4. `src/pq/sx/mod.rs`, `forward`, calls `src/pq/assign.rs`, `assign`: the distinct ids
//!    (`src/ops/rows.rs`, `Distinct::new`), the scores' statistics (`src/pq/statistics.rs`,
//!    `statistics`), the **codes** (`src/pq/choice.rs`, `choose_and`); then the rows that they
//!    stand for (`src/pq/codes.rs`, `decode`). [`Tape::record`] writes the op down.
//! 5. The rows go through `src/nn/lstm.rs`, `lstm`, to `src/ops/softmax.rs`, `linear_cross_entropy`,
//!    whose value is the loss.
//! 6. `src/tape/mod.rs`, `walk_back`: from the loss to the first node, every op's rule in turn:
//!    `LinearCrossEntropy::backward`, `LstmOp::backward`, and `Sx::backward` in `src/pq/sx/mod.rs`. Its
//!    `main_sweep` computes the scores again and turns the rows' gradient into that of keys, values
//!    and queries; `correct_keys` and `finish` take off the statistics' share.
//! 7. `Context::add_rows`: the **query table's gradient** is only the distinct ids' rows.
//!    `src/optim.rs`, `Sgd::step`, writes just those.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `parallel` | yes | threads, by rayon; without it the same bits on one |
//! | `io` | yes | reading and writing safetensors |
//! | `proptest` | no | `strategies`: generated tensors for property-based tests of your own ops |
//! | `approx` | no | approx's traits for [`Tensor`] |
//!
//! # When not to use it
//!
//! There is no GPU, no convolution, no graph compiler, and a tensor has at most four axes. To compress
//! a finished table without training a model, product quantisation as in faiss is the simpler tool.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod error;
pub mod real;
pub mod rng;
pub mod tensor;
pub mod parallel;
mod kernels;
mod gemm;
pub mod init;
pub mod io;
pub mod params;
pub mod tape;
pub mod gradcheck;
#[cfg(feature = "proptest")]
pub mod strategies;
pub mod ops;
pub mod embedding;
pub mod pq;
pub mod data;
pub mod nn;
pub mod optim;
#[cfg(feature = "proptest")]
pub mod precision;
pub mod guide;

pub use embedding::{Embedding, FullEmbedding};
pub use error::{Error, Result};
pub use gradcheck::{Gradcheck, gradcheck, gradcheck_params};
pub use init::Init;
pub use params::{ParamId, Params, Scope};
pub use pq::codes::CodeTable;
pub use pq::compact::CompactEmbedding;
pub use pq::{DpqConfig, DpqEmbedding};
pub use real::Real;
pub use tape::{Bound, Context, Grads, Op, Tape, Var, VarGrads};
pub use tensor::Tensor;

/// The README's examples, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
