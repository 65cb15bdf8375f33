//! Differentiable operations, one family a file: the formula, the method on [`Var`](crate::Var),
//! the backward rule beside it, and the cases that check it.

mod arithmetic;
mod activation;
mod reduce;
mod shape;
mod matmul;
mod ids;
mod distinct;
mod rows;
mod softmax;
mod batch_norm;
mod dropout;
mod straight_through;

pub use batch_norm::BatchStatistics;
pub(crate) use distinct::{Distinct, sum_rows};
pub use ids::Ids;
pub(crate) use ids::checked;
pub use shape::concat;
pub use straight_through::one_hot;

/// The gradient checks of every op in this folder.
#[cfg(feature = "proptest")]
pub fn cases() -> Vec<crate::strategies::Case> {
    [
        arithmetic::cases(),
        activation::cases(),
        reduce::cases(),
        shape::cases(),
        matmul::cases(),
        rows::cases(),
        softmax::cases(),
        batch_norm::cases(),
        dropout::cases(),
        straight_through::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
