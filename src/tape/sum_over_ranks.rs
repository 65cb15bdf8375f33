//! The sum of the gradients of all ranks.

use super::gradient::{Gradient, Rows};
use super::grads::{Entry, Grads};
use crate::communicator::Communicator;
use crate::error::{Error, Result};
use crate::real::{Real, to_bytes, with_bytes};
use crate::tensor::{Pool, Shape, Tensor};
use std::sync::OnceLock;

/// What stands for no gradient, and for a dense one, where row-sparse ones have their number of rows.
const NONE: u64 = u64::MAX;
const DENSE: u64 = u64::MAX - 1;

impl<T: Real> Grads<T> {
    /// Adds up the gradients of all ranks, so that each has the sum.
    ///
    /// Dense ones are summed together, in one go. Of row-sparse ones ids and rows are gathered and added in the order
    /// of the ranks, unless the table itself has fewer bytes than all their rows: it is then summed whole. Statistics
    /// move as before: they are the same on all ranks.
    ///
    /// # Errors
    /// [`Error::Rank`](crate::Error::Rank) if another rank has ended, or has gradients of other parameters.
    pub fn sum_over_ranks(&mut self, ranks: &dyn Communicator) -> Result<()> {
        // For every parameter how many rows there are, or that there is no gradient, or a dense one.
        let kind = |entry: &Entry<T>| match &entry.gradient {
            None => NONE,
            Some(Gradient::Dense(_)) => DENSE,
            Some(Gradient::Rows(rows)) => rows.ids.len() as u64,
        };
        let own: Vec<u8> = self.entries.iter().flat_map(|e| kind(e).to_le_bytes()).collect();
        let kinds = ranks.gather(&own)?;
        for (rank, kinds) in kinds.iter().enumerate() {
            if kinds.len() != own.len() {
                let what = format!("trains {} parameters, not {}", kinds.len() / 8, own.len() / 8);
                return Err(Error::Rank { rank, what });
            }
        }
        let (ids, pool) = (Pool::default(), Pool::default());
        let mut dense = Vec::new();
        for (i, entry) in self.entries.iter_mut().enumerate() {
            let of_rank = |kinds: &Vec<u8>| {
                u64::from_le_bytes(*kinds[8 * i..].first_chunk().expect("eight bytes"))
            };
            let kinds: Vec<u64> = kinds.iter().map(of_rank).collect();
            if kinds.iter().all(|&kind| kind == NONE) {
                continue;
            }
            let scaled = entry.gradient.take().map(|gradient| match self.factor {
                1.0 => gradient,
                factor => gradient.scaled(factor),
            });
            let rows: u64 = kinds.iter().filter(|kind| **kind < DENSE).sum();
            let sparse = kinds.iter().all(|&kind| kind != DENSE) && {
                let [height, width] =
                    [entry.shape[0], entry.shape.elements() / entry.shape[0].max(1)];
                let bytes = (rows as usize) * (4 + width * size_of::<T>());
                // Gathered rows go to every rank; a sum sends its numbers twice.
                bytes < 2 * height * width * size_of::<T>()
            };
            entry.gradient = Some(if sparse {
                gather_rows(ranks, scaled, entry.shape, &ids, &pool)?
            } else {
                let zeros = || Tensor::zeros(entry.shape);
                let own = scaled.map_or_else(zeros, |gradient| gradient.to_dense());
                dense.extend_from_slice(own.data());
                Gradient::Dense(own)
            });
        }
        ranks.sum(&mut dense)?;
        let mut sums = &dense[..];
        for entry in &mut self.entries {
            if let Some(Gradient::Dense(own)) = &mut entry.gradient {
                let (sum, others) = sums.split_at(own.data().len());
                own.data_mut().copy_from_slice(sum);
                sums = others;
            }
        }
        (self.factor, self.norm) = (1.0, OnceLock::new());
        Ok(())
    }
}

/// The rows of all ranks, equal ids added in the order of the ranks.
fn gather_rows<T: Real>(
    ranks: &dyn Communicator,
    own: Option<Gradient<T>>,
    shape: Shape,
    ids: &Pool<u32>,
    pool: &Pool<T>,
) -> Result<Gradient<T>> {
    let (height, width) = (shape[0], shape.elements() / shape[0].max(1));
    let mut bytes = Vec::new();
    if let Some(Gradient::Rows(rows)) = &own {
        bytes.extend(rows.ids.iter().flat_map(|id| id.to_le_bytes()));
        bytes.extend(to_bytes(rows.rows.data()));
    }
    let rows_of = |bytes: &Vec<u8>| {
        let n = bytes.len() / (4 + width * size_of::<T>());
        let (of_ids, of_rows) = bytes.split_at(4 * n);
        let mut gathered = ids.take(n);
        let all = of_ids.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id));
        gathered.iter_mut().zip(all).for_each(|(id, given)| *id = given);
        let mut data = pool.take(n * width);
        with_bytes(&mut data, of_rows, |_, given| given);
        Gradient::Rows(Rows { ids: gathered, rows: Tensor::from_buffer([n, width], data), height })
    };
    let gathered = ranks.gather(&bytes)?;
    let sum = gathered.iter().map(rows_of).reduce(|sum, rows| sum.plus(rows, ids, pool));
    Ok(sum.expect("at least this rank"))
}
