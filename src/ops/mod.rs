//! Differentiable operations, one family a file: the formula, the method on [`Var`](crate::Var),
//! the backward rule beside it, and the cases that check it.
//!
//! | file | operations |
//! |---|---|
//! | `arithmetic` | `a + b`, `a - b`, `a * b`, `a / b`, `-a`, of variables (broadcast as in NumPy) and with numbers on either side |
//! | `elementary` | `exp`, `ln`, `sqrt`, `powf`, `abs`, `clamp` |
//! | `activation` | `tanh`, `sigmoid`, `relu`, `gelu` |
//! | `reduce` | `sum`, `mean`, `sum_axis`, `mean_axis` |
//! | `extremum` | `max`, `min`, `max_axis`, `min_axis` |
//! | `shape` | `reshape`, `insert_axis`, `slice`, [`concat`], [`stack`] |
//! | `permute` | `transpose`, `permute` |
//! | `matmul` | `matmul`, `matmul_t`, `t_matmul`, `t_matmul_t`, `batch_matmul` |
//! | `rows` | `gather_rows`: rows of a table, by id |
//! | `softmax` | `softmax`, `masked_softmax`, `log_softmax` |
//! | `cross_entropy` | `cross_entropy`, `linear_cross_entropy` |
//! | `batch_norm` | `batch_norm`, `normalize` |
//! | `layer_norm` | `layer_norm` |
//! | `dropout` | `dropout` |
//! | `straight_through` | `stop_gradient`, `straight_through`, `argmax`, [`one_hot`] |
//!
//! All of them are methods of [`Var`](crate::Var) but those that link here. The families share `axes`
//! (where elements stand), `broadcast` (shapes, and the gradient's sum over repetitions) and `distinct`
//! (the distinct ids of a batch).
//!
//! A new operation of a family changes that family's file alone: its rule is found by the tape, and
//! its cases are in the file's `cases()`. A new family needs two lines here, its `mod` and its
//! `cases()` below, and one in the table. An operation of your own needs nothing of this crate's
//! files: see [`Op`](crate::Op).

mod axes;
mod broadcast;
mod arithmetic;
mod elementary;
mod activation;
mod reduce;
mod extremum;
mod shape;
mod permute;
mod matmul;
mod ids;
mod distinct;
mod rows;
mod softmax;
mod cross_entropy;
mod batch_norm;
mod layer_norm;
mod dropout;
mod straight_through;

pub use batch_norm::BatchStatistics;
pub(crate) use distinct::{Distinct, sum_rows};
pub(crate) use ids::checked;
pub use shape::{concat, stack};
pub use straight_through::one_hot;

/// The gradient checks of every op in this folder.
#[cfg(feature = "proptest")]
pub fn cases() -> Vec<crate::strategies::Case> {
    [
        arithmetic::cases(),
        elementary::cases(),
        activation::cases(),
        reduce::cases(),
        extremum::cases(),
        shape::cases(),
        permute::cases(),
        matmul::cases(),
        rows::cases(),
        softmax::cases(),
        cross_entropy::cases(),
        batch_norm::cases(),
        layer_norm::cases(),
        dropout::cases(),
        straight_through::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(all(test, feature = "proptest"))]
mod scratch {
    #[test]
    fn gradients() {
        let n = std::env::var("DPQ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(32);
        let only = std::env::var("DPQ_ONLY").unwrap_or_default();
        let mut failures = Vec::new();
        for case in super::cases() {
            if !case.name().contains(&only) {
                continue;
            }
            let outcome = case.run(n);
            println!("{outcome}");
            if let Some(f) = &outcome.failure {
                println!("{}", &f[..f.len().min(2000)]);
                failures.push(outcome.name);
            }
        }
        assert!(failures.is_empty(), "{failures:?}");
    }
}
