//! Exercise 1: what the values learn. Guide: sx, "To the values".
//!
//! SX's row y[i,g] has the value C^v[g, code[i,g]]: the codeword of group g that token i chose. Given the
//! gradient dy of every row, what is the gradient dC^v[g,j] of every value?
//!
//! ```text
//! dC^v[g,j] = ?
//! ```
//!
//! Hint: several tokens may have chosen the same codeword, and no token another one.

use super::unsolved;
use crate::case::{Codebooks, Codes, Rows};

pub fn dvalues(codes: &Codes, dy: &Rows) -> Codebooks {
    unsolved((codes, dy))
}
