//! A gradient checker for any function with a rule for its gradients, straight-through estimators
//! included, whose "ok" means that something was checked.
//!
//! What is checked is a closure of [variables](gradcheck()), of [parameters](gradcheck_params()), or of
//! [slices](rule()): code that is written with anything. The rule's Jacobian, one backward pass for
//! every output element, is compared with central differences, extrapolated to step 0, with an error
//! bar beside each. Large Jacobians are compared by random projections of every input. For closures of
//! variables every discrete choice and stopped value on the way is [frozen](crate::Tape::freeze).
//!
//! A check ends with a [`Verdict`]. With a the rule's derivative, n the numeric one, m the largest
//! entry of the input's Jacobian and size = max(|a|, |n|, m):
//!
//! - a derivative *differs* if |a - n| > bar + tolerance size,
//! - it is *observed* if bar <= tolerance size: an error of twice the tolerance would be seen,
//! - the function has a *kink* if it bends as sharply at the smallest step as at the largest.
//!
//! A check is ok if no derivative differs, none is at a kink, and at least 99% were observed. A closure
//! that fails, or that is not the same function twice, is told apart.

mod settings;
mod function;
mod differences;
mod report;
mod cause;
mod control;
mod check;
mod tape;
mod rule;
mod second;

pub use differences::NOISE;
pub use function::Fault;
pub use report::{Entry, OBSERVED, Report, Verdict};
pub use rule::{Outcome, rule};
pub use second::hessian_vector;
pub use settings::Gradcheck;
pub use tape::{gradcheck, gradcheck_params};
