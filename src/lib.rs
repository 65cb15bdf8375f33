//! x
#![deny(unsafe_code)]

pub mod data;
pub mod dpq;
pub mod embedding;
pub mod error;
mod gemm;
pub mod gradcheck;
mod kernels;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod parallel;
pub mod params;
pub mod real;
pub mod rng;
#[cfg(feature = "proptest")]
pub mod strategies;
pub mod tape;
pub mod tensor;

pub use dpq::codes::CodeTable;
pub use dpq::compact::CompactEmbedding;
pub use dpq::{DpqConfig, DpqEmbedding};
pub use embedding::{Embedding, FullEmbedding};
pub use error::{Error, Result};
pub use gradcheck::{Gradcheck, gradcheck, gradcheck_params};
pub use params::{ParamId, Params};
pub use real::Real;
pub use tape::{Bound, Context, Grads, Op, Tape, Var};
pub use tensor::Tensor;
