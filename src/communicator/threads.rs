//! Ranks that are threads of one process.

use super::communicator::Communicator;
use crate::error::{Error, Result};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A rank that is a thread. For tests, and where memory is shared between groups of cores.
///
/// ```
/// use dpq::communicator::{Communicator, Threads};
/// let sums = std::thread::scope(|scope| {
///     let work = |rank: Threads| {
///         let mut numbers = [1.0_f64, rank.rank() as f64];
///         (&rank as &dyn Communicator).sum(&mut numbers).map(|()| numbers)
///     };
///     let ranks: Vec<_> = Threads::new(3).into_iter().map(|rank| scope.spawn(move || work(rank))).collect();
///     ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect::<dpq::Result<Vec<_>>>()
/// })?;
/// assert_eq!(sums, [[3.0, 3.0]; 3]);
/// # Ok::<(), dpq::Error>(())
/// ```
pub struct Threads {
    rank: usize,
    /// To every rank, and from every rank.
    to: Vec<Sender<Vec<u8>>>,
    from: Mutex<Vec<Receiver<Vec<u8>>>>,
}

impl Threads {
    /// So many ranks, one for each thread.
    pub fn new(size: usize) -> Vec<Threads> {
        let mut to: Vec<Vec<_>> = (0..size).map(|_| Vec::new()).collect();
        let mut from = Vec::new();
        for _ in 0..size {
            let (senders, receivers): (Vec<_>, Vec<_>) = (0..size).map(|_| channel()).unzip();
            to.iter_mut().zip(senders).for_each(|(to, sender)| to.push(sender));
            from.push(receivers);
        }
        let rank = |(rank, (to, from))| Threads { rank, to, from: Mutex::new(from) };
        to.into_iter().zip(from).enumerate().map(rank).collect()
    }
}

impl Communicator for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn exchange(&self, parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        let ended = |rank: usize| Error::Rank { rank, what: "has ended".into() };
        for (rank, (to, part)) in self.to.iter().zip(parts).enumerate() {
            to.send(part).map_err(|_| ended(rank))?;
        }
        let from = self.from.lock().expect("no panic while it is held");
        from.iter().enumerate().map(|(rank, from)| from.recv().map_err(|_| ended(rank))).collect()
    }
}
