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
//! 6. [`communicator`]: ranks that train one model together
//! 7. `kernels`: loops over slices and register tiles
//! 8. `gemm`: matrix products on slices
//! 9. [`init`]: start values of parameters
//! 10. [`io`]: files, written whole or not at all
//! 11. [`params`]: named tensors outside the tape
//! 12. [`tape`]: the list of what was computed, and the backward pass over it
//! 13. [`mod@gradcheck`]: the gradient checker
//! 14. `strategies` (feature `proptest`): generated inputs for property-based tests
//! 15. [`ops`]: operations, each rule beside its forward formula
//! 16. [`embedding`]: the trait, the full table, and two simpler ways to make it small
//! 17. [`mod@pq`]: differentiable product quantization
//! 18. [`data`]: vocabularies, corpora, batches, a built-in language
//! 19. [`nn`]: linear and LSTM layers, language model, classifier, translator
//! 20. [`optim`]: gradient descent and schedules
//! 21. [`reconstruct`]: codes learnt from a finished table
//! 22. `train` (feature `io`): a training loop with checkpoints, for models of one's own
//! 23. `precision` (feature `proptest`): the same training in `f32` and in `f64`
//! 24. [`guide`]: the course in prose, beside the numbered programs in `examples/`
//!
//! # A walk: ids to codes, and the gradient back
//!
//! Each file once, in the order in which a batch of ids meets it:
//!
//! 1. `examples/lstm_lm/main.rs`, `Training::loss`: the ids of a window of text go to the model.
//! 2. `src/nn/language_model.rs`, `forward`: they go to its embedding.
//! 3. `src/pq/layer.rs`, `look_up`: ids and query table.
//! 4. `src/pq/quantizer.rs`, `quantize`: codebooks, how scores are normalised, and the options.
//! 5. `src/pq/sx/forward.rs`, `sx_with`: the op, in the four steps that follow.
//! 6. `src/ops/distinct.rs`, `Distinct::new`: the distinct ids.
//! 7. `src/pq/score.rs`, `Keys`: the keys, ready to be multiplied by queries.
//! 8. `src/pq/statistics.rs`, `statistics`: mean and variance of the batch's scores.
//! 9. `src/pq/assign.rs`, `Choice::choose`: the **codes**, the best normalised score of each group.
//! 10. `src/kernels/codewords.rs`, `decode`: the rows that the codes stand for.
//! 11. `src/tape/tape.rs`, [`Tape::record`]: the op and the rows go on the tape.
//! 12. `src/nn/lstm.rs`, `lstm`: the rows pass through the layers.
//! 13. `src/ops/cross_entropy.rs`, `linear_cross_entropy`: the loss.
//! 14. `src/tape/backward.rs`, `walk_back`: from the loss to the first op, every rule in turn.
//! 15. `src/pq/sx/backward.rs`, `Sx::backward`: the rows' gradient becomes that of values, keys and
//!     queries, id by id, from scores that are computed again.
//! 16. `src/pq/sx/batch_norm.rs`, `Slopes`: what the batch's statistics contribute to it.
//! 17. `src/tape/op.rs`, [`Context::add_rows`]: the **query table's gradient**, of the distinct ids' rows
//!     only.
//! 18. `src/optim/sgd.rs`, `step`: just those rows are written.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `parallel` | yes | threads, by rayon; without it the same bits on one |
//! | `io` | yes | reading and writing safetensors, and `train` |
//! | `proptest` | no | `strategies`: generated tensors for property-based tests of your own ops |
//! | `approx` | no | approx's traits for [`Tensor`] |
//! | `cli` | no | the command `dpq`, which makes finished tables small |
//!
//! # When not to use it
//!
//! There is no GPU, no convolution, no graph compiler, and a tensor has at most four axes. A
//! finished table can be compressed without training a model, by the command `dpq` or
//! [`CompactEmbedding::from_table`], but nothing here searches millions of rows for nearest neighbours: faiss
//! does.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod error;
pub mod real;
pub mod rng;
pub mod tensor;
pub mod parallel;
pub mod communicator;
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
pub mod reconstruct;
#[cfg(feature = "io")]
pub mod train;
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
