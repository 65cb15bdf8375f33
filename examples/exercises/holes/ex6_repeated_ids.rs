//! Exercise 6: repeated ids. Guide: repeated_ids, "What is added up".
//!
//! Some tokens have the same id. List the distinct ids in the order of their first token; for each, how many tokens
//! have it, and the sum of their dy:
//!
//! ```text
//! id, count[u], dy[u] = ?
//! ```
//!
//! Hint: what would the gradient of the id's row in a table be, if each token had looked it up?

#![allow(unused_imports)] // until it is solved

use super::unsolved;
use crate::case::{D, Distinct, N, Rows, S};

/// `ids[i]`, `dy[i][g][t]`.
pub fn distinct(ids: &[u32; N], dy: &Rows) -> Vec<Distinct> {
    unsolved((ids, dy))
}
