//! Loops over slices and register tiles, compiled once per instruction set.
//!
//! Every kernel is safe Rust, generic over [`Real`](crate::real::Real) and over the instruction
//! set, and is dispatched once per call to the widest one that the machine has. Sums run in a
//! fixed number of lanes, so their bits do not depend on which one that is.

#![expect(clippy::needless_range_loop, reason = "register tiles are indexed by row and vector")]

pub(crate) mod dispatch;
pub(crate) mod vector;
pub(crate) mod elementwise;
pub(crate) mod exponential;
pub(crate) mod normal;
pub(crate) mod reduce;
pub(crate) mod softmax;
pub(crate) mod transpose;
pub(crate) mod panel;
pub(crate) mod codewords;
pub(crate) mod lstm;
