//! The tape: what a forward pass wrote down, and the backward pass over it.
//!
//! A [`Tape`] owns a Wengert list. A [`Var`] is a reference to the tape and an index, `Copy`, so
//! formulae read as formulae. Every value is a node; every op keeps a rule, an [`Op`], whose fields
//! are what its backward pass needs. A tape belongs to one thread (it is neither `Send` nor
//! `Sync`): threads work inside ops.

mod node;
mod ranks;
mod gradient;
mod op;
mod grads;
mod sum_over_ranks;
mod frozen;
mod tape;
mod backward;
mod print;

pub use backward::VarGrads;
pub use gradient::{Gradient, Rows};
pub use grads::{Grads, Move};
pub use node::Pools;
pub use op::{Context, Op};
pub use ranks::Part;
pub(crate) use ranks::Ranks;
pub use tape::{Bound, Tape, Var};
