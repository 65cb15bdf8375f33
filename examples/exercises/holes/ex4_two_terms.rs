//! Exercise 4: VQ's two terms. Guide: vq, "Backward" and "Which term is beta's".
//!
//! ```text
//! R = mean (C[g,code] - stop(q))^2  +  beta mean (stop(C[g,code]) - q)^2
//! ```
//!
//! The means are over all n D s elements, N * D * S here. What are the gradients of R with respect to the queries
//! and to the codebooks?
//!
//! ```text
//! dq[i,g]  = ?
//! dC[g,j]  = ?
//! ```
//!
//! Hint: a term moves what is not stopped in it. So each gradient comes from one term only. Which has the beta?

#![allow(unused_imports)] // until it is solved

use super::unsolved;
use crate::case::{Codebooks, Codes, D, K, N, Rows, S};

/// `q[i][g][t]`, `c[g][j][t]`, and `codes[i][g]`, the codes that were chosen. Returns dq and dC.
pub fn gradients(q: &Rows, c: &Codebooks, codes: &Codes, beta: f64) -> (Rows, Codebooks) {
    unsolved((q, c, codes, beta))
}
