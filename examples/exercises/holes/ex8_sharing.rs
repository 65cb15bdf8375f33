//! Exercise 8: where sharing ids breaks. Guide: repeated_ids, "When it must not be done".
//!
//! Two tokens have the same id. May the work be done once, with the sum of their dy, in every situation? Say
//! for each whether the gradients are still exactly those of two tokens that are computed apart.
//!
//! Hint: what decides on a token's code and its p? If that differs, the two tokens are not one.

use super::unsolved;
use crate::case::Situation;

pub fn may_share(situation: Situation) -> bool {
    match situation {
        Situation::Plain => true,
        other => unsolved::<Option<()>>(other).is_none(),
    }
}
