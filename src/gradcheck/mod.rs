//! A gradient checker for any differentiable closure, straight-through estimators included.
//!
//! The base point is recorded once, in `f64`; every discrete choice and stopped value on the way
//! is [frozen](crate::Tape::freeze). The analytic Jacobian, one backward pass per output element,
//! is then compared with central differences of the frozen function. Large Jacobians are compared
//! by random projections instead. An error that an op reports to the tape fails the check.
//!
//! The error of an entry is |a - n| / max(|a|, |n|, m, noise / tolerance), where m is the largest
//! entry of that input's Jacobian and noise = [`NOISE`] eps max|y| / h the rounding of the
//! difference itself, with eps the [relative error of one rounding](Gradcheck::rounding).

mod report;
mod differences;
mod tape;

pub use differences::NOISE;
pub use report::{Entry, Report};
pub use tape::{Gradcheck, gradcheck, gradcheck_params};
