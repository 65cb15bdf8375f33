//! The exercises. In each file `unsolved` stands where your answer goes.

mod ex1_values;
mod ex2_softmax;
mod ex3_straight_through;
mod ex4_two_terms;
mod ex5_batch_norm;
mod ex6_repeated_ids;
mod ex7_packing;
mod ex8_sharing;

use crate::case::Answers;

pub const ANSWERS: Answers = Answers {
    values: ex1_values::dvalues,
    softmax: ex2_softmax::drh,
    straight_through: ex3_straight_through::w,
    two_terms: ex4_two_terms::gradients,
    batch_norm: ex5_batch_norm::dr,
    repeated_ids: ex6_repeated_ids::distinct,
    packing: ex7_packing::pack,
    sharing: ex8_sharing::may_share,
};

/// Stands where an answer goes: zeros, or nothing at all.
#[allow(dead_code)] // once all are solved
fn unsolved<T: Default>(_given: impl Sized) -> T {
    T::default()
}
