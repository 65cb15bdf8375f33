//! Exercise 2: the rule of a softmax with a temperature. Guide: sx, "To the scores", and temperature.
//!
//! p[i,g,j] = softmax_j (rh[i,g,j] / tau). Given p and its gradient dp, what is the gradient of rh?
//!
//! ```text
//! drh[i,g,j] = ?
//! ```
//!
//! Hint: the derivative of p[j] by (rh[j'] / tau) is p[j] (1 - p[j]) if j' = j, and - p[j] p[j'] if not. Adding
//! one number to all scores of a token and group changes nothing, so drh must sum to 0 over j.

#![allow(unused_imports)] // until it is solved

use super::unsolved;
use crate::case::{D, K, N, Scores};

/// All three are `[i][g][j]`.
pub fn drh(p: &Scores, dp: &Scores, tau: f64) -> Scores {
    unsolved((p, dp, tau))
}
