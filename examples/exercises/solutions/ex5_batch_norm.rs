//! Solution of exercise 5: back through a batch's mean and variance.

use crate::case::{D, K, N, Scores};
use std::array::from_fn;

pub fn dr(drh: &Scores, rh: &Scores, sd: &[f64; K]) -> Scores {
    let mean = |f: &dyn Fn(usize, usize) -> f64| {
        let all = (0..N).flat_map(|i| (0..D).map(move |g| (i, g)));
        all.map(|(i, g)| f(i, g)).sum::<f64>() / (N * D) as f64
    };
    let through_mean: [f64; K] = from_fn(|j| mean(&|i, g| drh[i][g][j]));
    let through_var: [f64; K] = from_fn(|j| mean(&|i, g| drh[i][g][j] * rh[i][g][j]));
    from_fn(|i| {
        from_fn(|g| {
            from_fn(|j| (drh[i][g][j] - through_mean[j] - rh[i][g][j] * through_var[j]) / sd[j])
        })
    })
}
