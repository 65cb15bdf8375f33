//! x
#![deny(unsafe_code)]

pub mod error;
pub mod real;
pub mod rng;
pub mod tensor;
pub mod parallel;
mod kernels;
mod gemm;
pub mod params;
pub mod tape;
pub mod gradcheck;
#[cfg(feature = "proptest")]
pub mod strategies;
pub mod ops;
pub mod embedding;
pub mod dpq;
pub mod optim;
pub mod data;
pub mod nn;

pub use dpq::{DpqConfig, DpqEmbedding};
pub use dpq::codes::CodeTable;
pub use dpq::compact::CompactEmbedding;
pub use embedding::{Embedding, FullEmbedding};
pub use error::{Error, Result};
pub use gradcheck::{Gradcheck, gradcheck, gradcheck_params};
pub use params::{ParamId, Params};
pub use real::Real;
pub use tape::{Bound, Context, Grads, Op, Tape, Var};
pub use tensor::Tensor;
