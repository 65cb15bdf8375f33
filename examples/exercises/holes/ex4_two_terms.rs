//! Exercise 4: VQ's two terms. Guide: vq, "Backward" and "Which term is beta's".
//!
//! ```text
//! R = mean (C[g,code] - stop(q))^2  +  beta mean (stop(C[g,code]) - q)^2
//! ```
//!
//! The means are over all n D s elements (N * D * S here). What are the gradients of R with respect to the
//! queries and to the codebooks? One of the two terms moves the one, the other the other.
//!
//! ```text
//! dq[i,g]  = ?
//! dC[g,j]  = ?
//! ```
//!
//! Hint: a term moves what is not stopped in it. Which of the two has the factor beta?

use super::unsolved;
use crate::case::{Codebooks, Codes, Rows};

pub fn gradients(q: &Rows, c: &Codebooks, codes: &Codes, beta: f64) -> (Rows, Codebooks) {
    unsolved((q, c, codes, beta))
}
