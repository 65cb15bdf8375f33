//! What a rank can ask of all of them.

use crate::error::Result;
use crate::real::{Real, from_bytes, to_bytes};

/// So many numbers are added up at a time: buffers stay small, and a message has fewer bytes than MPI can count.
const AT_ONCE: usize = 1 << 22;

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
        let part = |rank: usize| {
            let end = |rank: usize| rank * numbers.len() / self.size();
            end(rank)..end(rank + 1)
        };
        let parts = (0..self.size()).map(|rank| to_bytes(&numbers[part(rank)])).collect();
        let mut sums = vec![T::ZERO; part(self.rank()).len()];
        for given in self.exchange(parts)? {
            let given = from_bytes::<T>(&given);
            sums.iter_mut().zip(given).for_each(|(sum, x)| *sum += x);
        }
        let all = self.gather(&to_bytes(&sums))?;
        let all = all.iter().flat_map(|part| from_bytes(part));
        numbers.iter_mut().zip(all).for_each(|(number, sum)| *number = sum);
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
