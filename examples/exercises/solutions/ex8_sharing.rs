//! Solution of exercise 8: where sharing ids breaks.

use crate::case::Situation;

pub fn may_share(situation: Situation) -> bool {
    match situation {
        Situation::Plain | Situation::RowsAreDropped => true,
        Situation::CodesAreSampled
        | Situation::QueriesAreDropped
        | Situation::QueriesFromContext => false,
    }
}
