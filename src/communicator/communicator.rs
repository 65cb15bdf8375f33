//! What a rank can ask of all of them.

use crate::error::Result;
use crate::real::{Real, to_bytes, with_bytes};

/// So many numbers are added up at a time: buffers stay small.
const AT_ONCE: usize = 1 << 20;

/// One rank's connection to all of them.
///
/// All ranks make the same calls in the same order. A call returns when every rank has made it, or with an error
/// when one of them has ended.
pub trait Communicator: Send + Sync {
    /// Which of the ranks this is, counted from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Gives part r to rank r, and returns what every rank gave to this one, in the order of the ranks.
    ///
    /// # Errors
    /// [`Error::Rank`](crate::Error::Rank) if another rank has ended.
    fn exchange(&self, parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>>;

    /// What every rank gives, in the order of the ranks: the same on all of them.
    ///
    /// # Errors
    /// As [`exchange`](Communicator::exchange).
    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.exchange(vec![own.to_vec(); self.size()])
    }
}

impl dyn Communicator + '_ {
    /// The sum over ranks of every number, in their order. Each rank adds up its part of the numbers, so
    /// that about twice their bytes leave a rank, however many ranks there are.
    ///
    /// # Errors
    /// As [`exchange`](Communicator::exchange).
    pub fn sum<T: Real>(&self, numbers: &mut [T]) -> Result<()> {
        numbers.chunks_mut(AT_ONCE).try_for_each(|numbers| self.sum_at_once(numbers))
    }

    fn sum_at_once<T: Real>(&self, numbers: &mut [T]) -> Result<()> {
        let all = numbers.len();
        let part = |rank: usize| {
            let end = |rank: usize| rank * all / self.size();
            end(rank)..end(rank + 1)
        };
        let parts = (0..self.size()).map(|rank| to_bytes(&numbers[part(rank)])).collect();
        let mut sums = vec![T::ZERO; part(self.rank()).len()];
        for given in self.exchange(parts)? {
            with_bytes(&mut sums, &given, |sum, x| sum + x);
        }
        for (rank, sums) in self.gather(&to_bytes(&sums))?.iter().enumerate() {
            with_bytes(&mut numbers[part(rank)], sums, |_, sum| sum);
        }
        Ok(())
    }

    /// What rank 0 has.
    ///
    /// # Errors
    /// As [`exchange`](Communicator::exchange).
    pub fn broadcast(&self, own: Vec<u8>) -> Result<Vec<u8>> {
        let given = if self.rank() == 0 { own } else { Vec::new() };
        Ok(self.gather(&given)?.swap_remove(0))
    }

    /// Returns when all ranks have come here.
    ///
    /// # Errors
    /// As [`exchange`](Communicator::exchange).
    pub fn barrier(&self) -> Result<()> {
        self.gather(&[]).map(|_| ())
    }
}
