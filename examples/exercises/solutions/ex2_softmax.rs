//! Solution of exercise 2: the rule of a softmax with a temperature.

use crate::case::{K, Scores};
use std::array::from_fn;

pub fn drh(p: &Scores, dp: &Scores, tau: f64) -> Scores {
    from_fn(|i| {
        from_fn(|g| {
            let average: f64 = (0..K).map(|j| p[i][g][j] * dp[i][g][j]).sum();
            from_fn(|j| p[i][g][j] * (dp[i][g][j] - average) / tau)
        })
    })
}
