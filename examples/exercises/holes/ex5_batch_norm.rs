//! Exercise 5: back through a batch's mean and variance. Guide: batch_norm, "Backward".
//!
//! rh[i,g,j] = (r[i,g,j] - mean[j]) / sd[j], with the mean and the standard deviation of all tokens and
//! groups. Given rh, its gradient drh and sd, what is the gradient of r?
//!
//! ```text
//! dr[i,g,j] = ( drh[i,g,j] - ? - ? ) / sd[j]
//! ```
//!
//! Hint: both are made of means over all i and g, one mean for every j. The first lets dr sum to 0 over i and g;
//! the second is rh times a mean. `04_sx_by_hand` prints the three terms one by one.

#![allow(unused_imports)] // until it is solved

use super::unsolved;
use crate::case::{D, K, N, Scores};

/// `drh[i][g][j]`, `rh[i][g][j]`, `sd[j]`.
pub fn dr(drh: &Scores, rh: &Scores, sd: &[f64; K]) -> Scores {
    unsolved((drh, rh, sd))
}
