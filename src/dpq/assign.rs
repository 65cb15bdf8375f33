//! The first half of both fused ops: the codes of a batch's distinct ids.

use super::codes::decode;
use super::composed::Normalization;
use super::scores::{Codebook, Normalizer, Queries, Score, choose};
use super::statistics::{Moments, statistics};
use crate::error::Error;
use crate::ops::{BatchStatistics, Distinct};
use crate::real::Real;
use crate::tape::Tape;
use crate::tensor::{Buffer, Tensor};

/// The distinct ids of a batch, their codes, and what led to them.
pub(super) struct Assigned<T: Real> {
    pub(super) distinct: Distinct,
    /// Of the distinct ids, u x D.
    pub(super) codes: Buffer<u32>,
    pub(super) codebook: Codebook<T>,
    pub(super) normalizer: Normalizer<T>,
    /// The batch's own statistics, where they normalised the scores.
    pub(super) statistics: Option<BatchStatistics<T>>,
    /// What those came from; `None` where they were added up from the scores.
    pub(super) moments: Option<Moments>,
}

/// Scores the `ids` of a V x d table of queries against keys, normalises, and chooses. An id outside
/// the table or a NaN score is a fault that the tape reports.
pub(super) fn assign<T: Real>(
    tape: &Tape<T>,
    score: Score,
    normalization: Normalization<'_, T>,
    groups: usize,
    table: &Tensor<T>,
    ids: &[u32],
    keys: &Tensor<T>,
) -> Assigned<T> {
    let pools = tape.pools();
    let distinct = Distinct::new(tape, ids, table.shape()[0]);
    let queries = Queries::new(table, Some(&distinct.ids), groups);
    let codebook = Codebook::new(&pools.values, keys);
    let (taken, moments) = match normalization {
        Normalization::Batch => {
            let (taken, moments) = statistics(pools, score, queries, &distinct, &codebook);
            (Some(taken), moments)
        }
        _ => (None, None),
    };
    let used = match normalization {
        Normalization::Running(running) => Some(running),
        _ => taken.as_ref(),
    };
    let normalizer = Normalizer::new(&pools.values, codebook.size, used);
    let mut codes = distinct.room(&pools.ids, groups);
    if !choose(&pools.values, score, queries, &codebook, &normalizer, &mut codes) {
        tape.fail(Error::NotFinite { what: "a score".into(), value: f64::NAN });
    }
    Assigned { distinct, codes, codebook, normalizer, statistics: taken, moments }
}

impl<T: Real> Assigned<T> {
    /// The rows that the codes stand for, one a token, and the sum of `measure(u, row)` over the
    /// tokens, u being the token's distinct id.
    pub(super) fn rows(
        &self,
        tape: &Tape<T>,
        values: &Tensor<T>,
        groups: usize,
        measure: impl Fn(usize, &[T]) -> f64 + Sync,
    ) -> (Tensor<T>, f64) {
        let mut rows = tape.buffer([self.distinct.total(), groups * values.shape()[2]]);
        let slots = self.distinct.slots(&tape.pools().ids);
        let sum = decode(values, &self.codes, &slots, groups, rows.data_mut(), measure);
        (rows, sum)
    }
}
