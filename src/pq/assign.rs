//! The first half of both fused ops: the codes of a batch's distinct ids.

use super::choice::choose_and;
use super::codes::decode;
use super::composed::Normalization;
use super::score::{Codebook, Normalizer, Queries, Score, pieces};
use super::statistics::{Moments, statistics};
use crate::error::Error;
use crate::kernels::elementwise::add_up;
use crate::ops::{BatchStatistics, Distinct};
use crate::real::Real;
use crate::tape::Tape;
use crate::tensor::{Buffer, Tensor};
use std::ops::Range;

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
    /// What `visit` added up.
    pub(super) sums: Buffer<T>,
}

/// Scores the `ids` of a V x d table of queries against keys, normalises, and chooses. An id outside
/// the table or a NaN score is a fault that the tape reports.
///
/// Calls `visit(distinct, some of them, their codes, sums)` while the rows of these are near, to add
/// to `len` sums.
#[expect(clippy::too_many_arguments, reason = "all that a choice depends on")]
pub(super) fn assign<T: Real>(
    tape: &Tape<T>,
    score: Score,
    normalization: Normalization<'_, T>,
    groups: usize,
    table: &Tensor<T>,
    ids: &[u32],
    keys: &Tensor<T>,
    len: usize,
    visit: impl Fn(&Distinct, Range<usize>, &[u32], &mut [T]) + Sync,
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
    // One sum at least, or there would be no parts for the pieces.
    let (piece, mut parts) = pieces(&pools.values, queries.len(), len.max(1));
    parts.fill(T::ZERO);
    let of_pieces = (piece, &mut parts[..], len.max(1));
    let visit =
        |rows: Range<usize>, codes: &[u32], part: &mut [T]| visit(&distinct, rows, codes, part);
    if !choose_and(
        &pools.values,
        score,
        queries,
        &codebook,
        &normalizer,
        &mut codes,
        of_pieces,
        visit,
    ) {
        tape.fail(Error::NotFinite { what: "a score".into(), value: f64::NAN });
    }
    let mut sums = pools.values.take(len);
    add_up(&parts, &mut sums);
    Assigned { distinct, codes, codebook, normalizer, statistics: taken, moments, sums }
}

impl<T: Real> Assigned<T> {
    /// The rows that the codes stand for, one a token.
    pub(super) fn rows(&self, tape: &Tape<T>, values: &Tensor<T>, groups: usize) -> Tensor<T> {
        let mut rows = tape.uninit([self.distinct.total(), groups * values.shape()[2]]);
        decode(values, &self.codes, &self.distinct.slots, groups, rows.data_mut());
        rows
    }
}
