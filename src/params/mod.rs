//! Named tensors that outlive the tape: what is trained, and the statistics that move beside it.

mod params;
mod scope;
#[cfg(feature = "io")]
mod file;

pub use params::{ParamId, Params};
pub use scope::Scope;
