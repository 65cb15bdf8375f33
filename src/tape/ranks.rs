//! The ranks that work on one batch together, as the ops of a pass see them.

use crate::communicator::Communicator;
use crate::error::{Error, Result};
use crate::real::Real;
use crate::tensor::Tensor;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::Arc;

/// The part of a batch that a rank has: of its `whole` examples `own`, from `first` on.
///
/// Rows of a pass are whole batches one after the other, such as time steps: of each the rank has these.
/// Noise depends on where a row stands in the whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first example that this rank has.
    pub first: usize,
    /// How many it has.
    pub own: usize,
    /// How many all ranks have.
    pub whole: usize,
}

impl Part {
    /// The part of one of several ranks: as even as can be, the first ranks with one more.
    ///
    /// ```
    /// use dpq::tape::Part;
    /// let parts = [0, 1, 2].map(|rank| Part::of_rank(rank, 3, 20));
    /// assert_eq!(parts.map(|part| (part.first, part.own)), [(0, 7), (7, 7), (14, 6)]);
    /// ```
    pub fn of_rank(rank: usize, ranks: usize, whole: usize) -> Part {
        let (each, more) = (whole / ranks, whole % ranks);
        Part { first: rank * each + rank.min(more), own: each + usize::from(rank < more), whole }
    }

    /// The parts of a batch of texts that one of several ranks has: of the texts, and of their words. The texts stay
    /// in order, and are cut where the words divide most evenly.
    ///
    /// ```
    /// use dpq::tape::Part;
    /// let [texts, words] = Part::by_length(1, 2, &[3, 2, 1, 9, 1]);
    /// assert_eq!((texts.first, texts.own, texts.whole), (3, 2, 5));
    /// assert_eq!((words.first, words.own, words.whole), (6, 10, 16));
    /// ```
    ///
    /// # Panics
    /// If there are fewer texts than ranks: each has at least one.
    #[track_caller]
    pub fn by_length(rank: usize, ranks: usize, lengths: &[usize]) -> [Part; 2] {
        let texts = lengths.len();
        assert!(texts >= ranks, "by_length: {texts} texts: expected one for each of {ranks} ranks");
        let ends = lengths.iter().scan(0, |words, length| {
            *words += length;
            Some(*words)
        });
        let before: Vec<usize> = std::iter::once(0).chain(ends).collect();
        let words = before[texts];
        // The first text of every rank: where the words before it are nearest to their share.
        let mut first = vec![0];
        for rank in 1..ranks {
            let places = first[rank - 1] + 1..=texts - (ranks - rank);
            let far = |at: &usize| (ranks * before[*at]).abs_diff(rank * words);
            first.push(places.min_by_key(far).expect("a text for each rank"));
        }
        first.push(texts);
        let part = |first, end, whole| Part { first, own: end - first, whole };
        let (start, end) = (first[rank], first[rank + 1]);
        [part(start, end, texts), part(before[start], before[end], words)]
    }

    /// The share of the whole: what the rank's mean counts in the mean of all; 0 of nothing.
    pub fn share(self) -> f64 {
        self.own as f64 / self.whole.max(1) as f64
    }

    /// The examples.
    pub fn range(self) -> Range<usize> {
        self.first..self.first + self.own
    }
}

/// A pass's ranks; alone, without a communicator.
#[derive(Default)]
pub(crate) struct Ranks {
    pub(super) communicator: Option<Arc<dyn Communicator>>,
    pub(super) part: Cell<Option<Part>>,
    fault: RefCell<Option<Error>>,
}

impl Ranks {
    /// There are others.
    pub(crate) fn are_several(&self) -> bool {
        self.size() > 1
    }

    pub(crate) fn rank(&self) -> usize {
        self.communicator.as_ref().map_or(0, |ranks| ranks.rank())
    }

    pub(crate) fn size(&self) -> usize {
        self.communicator.as_ref().map_or(1, |ranks| ranks.size())
    }

    /// Numbers become their sums over ranks. After an error, which the tape tells, they stay.
    pub(crate) fn sum(&self, numbers: &mut [f64]) {
        if let Some(ranks) = &self.communicator
            && let Err(error) = ranks.sum(numbers)
        {
            self.fault.borrow_mut().get_or_insert(error);
        }
    }

    /// As [`sum`](Ranks::sum).
    pub(crate) fn sum_tensor<T: Real>(&self, tensor: &mut Tensor<T>) {
        if self.are_several() {
            let mut sums: Vec<f64> = tensor.data().iter().map(|x| x.to_f64()).collect();
            self.sum(&mut sums);
            let sums = sums.into_iter().map(T::from_f64);
            tensor.data_mut().iter_mut().zip(sums).for_each(|(x, sum)| *x = sum);
        }
    }

    /// The places in the whole batch that any rank gives, in increasing order. After an error, which the tape
    /// tells, its own.
    pub(crate) fn places(&self, own: Vec<u32>) -> Vec<u32> {
        let Some(ranks) = &self.communicator else { return own };
        let bytes: Vec<u8> = own.iter().flat_map(|place| place.to_le_bytes()).collect();
        match ranks.gather(&bytes) {
            Ok(all) => {
                let all = all.concat();
                let mut all: Vec<u32> =
                    all.as_chunks().0.iter().map(|x| u32::from_le_bytes(*x)).collect();
                all.sort_unstable();
                all
            }
            Err(error) => {
                self.fault.borrow_mut().get_or_insert(error);
                own
            }
        }
    }

    /// Where this pass's rows stand in the whole batch: every run of rows that are neighbours there too,
    /// with the place of its first.
    pub(crate) fn runs(&self, rows: usize) -> impl Iterator<Item = (Range<usize>, usize)> {
        let part = self.part.get().unwrap_or(Part { first: 0, own: rows, whole: rows });
        let own = part.own.max(1);
        (0..rows)
            .step_by(own)
            .enumerate()
            .map(move |(step, row)| (row..rows.min(row + own), step * part.whole + part.first))
    }

    pub(super) fn check(&self) -> Result<()> {
        self.fault.borrow().clone().map_or(Ok(()), Err)
    }
}
