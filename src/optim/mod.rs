//! Optimisers and learning-rate schedules.
//!
//! An [`Optimizer`] turns gradients into a step. [`Sgd`] and [`Adam`] are here; one of your own is
//! a few lines over [`Grads::apply`](crate::Grads::apply). Of a row-sparse gradient only the rows
//! are touched, so a step's cost does not depend on the size of the table. Gradients are clipped
//! before the step, by [`Grads::clip_global_norm`](crate::Grads::clip_global_norm).

mod optimizer;
mod update;
mod sgd;
mod adam;
mod schedule;

pub use adam::Adam;
pub use optimizer::{Group, Optimizer};
pub use schedule::Schedule;
pub use sgd::Sgd;
