//! Exercise 6: repeated ids. Guide: repeated_ids, "What is added up".
//!
//! The tokens have ids, and some have the same. List the distinct ids in the order of their first token; for
//! each, how many tokens have it, and the sum of their dy:
//!
//! ```text
//! id, count[u], dy[u] = ?
//! ```
//!
//! Hint: what would the gradient of the id's row in a table be, if each token had looked it up?

use super::unsolved;
use crate::case::{Distinct, N, Rows};

pub fn distinct(ids: &[u32; N], dy: &Rows) -> Vec<Distinct> {
    unsolved((ids, dy))
}
