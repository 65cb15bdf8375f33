//! Exercise 8: where sharing ids breaks. Guide: repeated_ids, "When it must not be done".
//!
//! Two tokens have the same id. To share their work is to treat them as one token whose dy is the sum of theirs. In
//! which situations does that give exactly the gradients that the two give apart?
//!
//! Hint: what decides on a token's code and its p? If that differs between the two, they cannot be one.

#![allow(unused_imports)] // until it is solved

use super::unsolved;
use crate::case::Situation;

/// Fill in `Some(true)` or `Some(false)`.
pub fn may_share(situation: Situation) -> Option<bool> {
    match situation {
        Situation::Plain => Some(true),
        Situation::CodesAreSampled => unsolved(()),
        Situation::QueriesAreDropped => unsolved(()),
        Situation::RowsAreDropped => unsolved(()),
        Situation::QueriesFromContext => unsolved(()),
    }
}
