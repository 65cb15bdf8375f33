//! Exercise 1: what the values learn. Guide: sx, "To the values".
//!
//! SX's row y[i,g] is the value C^v[g, code[i,g]], the codeword of group g that token i chose. Given the gradient
//! dy of every row, what is the gradient dC^v[g,j] of every value?
//!
//! ```text
//! dC^v[g,j] = ?
//! ```
//!
//! Hint: some codewords were chosen by several tokens, others by none.

#![allow(unused_imports)] // until it is solved

use super::unsolved;
use crate::case::{Codebooks, Codes, D, K, N, Rows, S};

/// `codes[i][g]`, `dy[i][g][t]`, and what is returned `[g][j][t]`. Start with
/// `let mut dvalues = Codebooks::default();`, which is 0 everywhere.
pub fn dvalues(codes: &Codes, dy: &Rows) -> Codebooks {
    unsolved((codes, dy))
}
