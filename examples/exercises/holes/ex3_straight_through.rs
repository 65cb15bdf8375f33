//! Exercise 3: a straight-through estimator. Guide: straight_through.
//!
//! Make w: its value is the one-hot, and p gets its whole gradient. This one is on the tape: `+`, `-` and
//! `stop_gradient()` of variables are all that is needed. `straight_through` itself would be too easy.
//!
//! ```text
//! w = ?
//! ```
//!
//! Hint: what can be added to p so that the value is right, and nothing of it gets a gradient?

use super::unsolved;
use dpq::Var;

pub fn w<'t>(onehot: Var<'t, f64>, p: Var<'t, f64>) -> Var<'t, f64> {
    unsolved::<()>(p);
    onehot
}
