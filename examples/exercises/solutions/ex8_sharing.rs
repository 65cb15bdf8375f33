//! Solution of exercise 8: where sharing ids breaks.

use crate::case::Situation;

pub fn may_share(situation: Situation) -> Option<bool> {
    match situation {
        Situation::Plain | Situation::RowsAreDropped => Some(true),
        Situation::CodesAreSampled
        | Situation::QueriesAreDropped
        | Situation::QueriesFromContext => Some(false),
    }
}
