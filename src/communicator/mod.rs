//! Ranks that train one model together: what they tell each other.
//!
//! Every *rank*, a process or a thread, holds all parameters and reads its part of every batch. Gradients are
//! added up over ranks, and so are the moments that a batch's statistics come from. Then every rank takes
//! the same step. What moves the bytes is behind a trait: MPI between processes, or [`Threads`] of one process.
//!
//! Sums are always taken in the order of the ranks: two runs with as many ranks give the same bits.

mod communicator;
mod threads;

pub use communicator::Communicator;
pub use threads::Threads;
