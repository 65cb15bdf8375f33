//! The ranks of `mpirun`, behind the library's trait.

use dpq::communicator::Communicator;
use dpq::{Error, Result};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// One process of `mpirun -n N`.
pub struct World {
    ranks: ferrompi::Communicator,
    /// Milliseconds after the start at which a call began to wait, and one more; 0 while none does.
    waiting: Arc<AtomicU64>,
    /// How long one may wait, in milliseconds.
    limit: Arc<AtomicU64>,
    start: Instant,
    /// What left this rank for others, in so many calls.
    sent: AtomicU64,
    calls: AtomicU64,
}

impl World {
    /// All processes. A wait that is longer than two minutes ends this one, and with it the launcher all others.
    pub fn new(ranks: ferrompi::Communicator) -> World {
        let (start, rank) = (Instant::now(), ranks.rank());
        let [waiting, limit] = [0, 120_000].map(|ms| Arc::new(AtomicU64::new(ms)));
        let (since, most) = (waiting.clone(), limit.clone());
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_millis(200));
                let (since, most) = (since.load(Relaxed), most.load(Relaxed));
                if since > 0 && start.elapsed() > Duration::from_millis(since + most) {
                    eprintln!("rank {rank} has waited for the others for {} s", most / 1000);
                    exit(3);
                }
            }
        });
        World { ranks, waiting, limit, start, sent: AtomicU64::new(0), calls: AtomicU64::new(0) }
    }

    /// Another limit than two minutes.
    pub fn give_up_after(&self, limit: Duration) {
        self.limit.store(limit.as_millis() as u64, Relaxed);
    }

    /// Ends all ranks at once.
    pub fn abort(&self) -> ! {
        self.ranks.abort(1)
    }

    /// Bytes that left this rank.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// How often the ranks have waited for each other.
    pub fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    fn count(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    /// Makes a call that returns when all ranks have made it.
    fn wait<R>(&self, call: impl FnOnce() -> ferrompi::Result<R>) -> Result<R> {
        self.waiting.store(self.start.elapsed().as_millis() as u64 + 1, Relaxed);
        self.calls.fetch_add(1, Relaxed);
        let result = call();
        self.waiting.store(0, Relaxed);
        result.map_err(|error| Error::Rank {
            rank: self.rank(),
            what: format!("got from MPI: {error}"),
        })
    }
}

/// Where parts of such lengths start, one after the other.
fn starts(lengths: &[i32]) -> Vec<i32> {
    lengths
        .iter()
        .scan(0, |end, length| {
            let start = *end;
            *end += length;
            Some(start)
        })
        .collect()
}

/// One buffer, cut into parts.
fn cut(buffer: &[u8], lengths: &[i32]) -> Vec<Vec<u8>> {
    let starts = starts(lengths);
    let part =
        |(start, length): (&i32, &i32)| buffer[*start as usize..][..*length as usize].to_vec();
    starts.iter().zip(lengths).map(part).collect()
}

/// What all ranks give at a time: MPI counts bytes in 31 bits.
const MOST: usize = 1 << 30;

impl Communicator for World {
    fn rank(&self) -> usize {
        self.ranks.rank() as usize
    }

    fn size(&self) -> usize {
        self.ranks.size() as usize
    }

    fn exchange(&self, parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        // Then what a rank is given fits too.
        let (own, most) = (self.rank(), MOST / self.size());
        if let Some(part) = parts.iter().find(|part| part.len() > most) {
            let what = format!("gives {} bytes to a rank: expected at most {most}", part.len());
            return Err(Error::Rank { rank: own, what });
        }
        let to: Vec<i32> = parts.iter().map(|part| part.len() as i32).collect();
        let others = parts.iter().enumerate().filter(|(rank, _)| *rank != own);
        self.count(others.map(|(_, part)| part.len()).sum());
        let mut from = vec![0; to.len()];
        self.wait(|| self.ranks.alltoall(&to, &mut from))?;
        let given = parts.concat();
        let mut all = vec![0_u8; from.iter().map(|&n| n as usize).sum()];
        let (starts_to, starts_from) = (starts(&to), starts(&from));
        self.wait(|| self.ranks.alltoallv(&given, &to, &starts_to, &mut all, &from, &starts_from))?;
        Ok(cut(&all, &from))
    }

    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.count(own.len() * (self.size() - 1));
        let mut lengths = vec![0_u64; self.size()];
        self.wait(|| self.ranks.allgather(&[own.len() as u64], &mut lengths))?;
        let mut all: Vec<Vec<u8>> =
            lengths.iter().map(|&n| Vec::with_capacity(n as usize)).collect();
        let piece = MOST / self.size();
        let longest = lengths.iter().max().map_or(0, |&n| n as usize);
        for start in (0..longest).step_by(piece) {
            let part = |n: usize| start.min(n)..(start + piece).min(n);
            let pieces: Vec<i32> = lengths.iter().map(|&n| part(n as usize).len() as i32).collect();
            let mut given = vec![0_u8; pieces.iter().map(|&n| n as usize).sum()];
            let own = &own[part(own.len())];
            self.wait(|| self.ranks.allgatherv(own, &mut given, &pieces, &starts(&pieces)))?;
            all.iter_mut().zip(cut(&given, &pieces)).for_each(|(all, piece)| all.extend(piece));
        }
        Ok(all)
    }
}
