//! Named random streams: (seed, purpose, step) gives the same numbers on every machine.
//!
//! Nothing in the crate keeps a generator. Whoever needs randomness names what it is for, and a
//! resumed run needs only the step number to draw the same masks again.

pub use rand;
pub use rand::rngs::ChaCha8Rng;

use rand::{Rng, SeedableRng};

/// The generator for `purpose` at `step` under `seed`.
///
/// ChaCha with 8 rounds: the seed is the key, the purpose (hashed, FNV-1a) the stream, and every
/// step owns 2^36 words of it, so streams never meet.
///
/// ```
/// use dpq::rng::rand::Rng;
/// let mut a = dpq::rng::stream(7, "dropout.input", 3);
/// let mut b = dpq::rng::stream(7, "dropout.input", 3);
/// assert_eq!(a.next_u64(), b.next_u64());
/// assert_ne!(a.next_u64(), dpq::rng::stream(7, "dropout.output", 3).next_u64());
/// ```
pub fn stream(seed: u64, purpose: &str, step: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let hash = purpose.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| {
        (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    rng.set_stream(hash);
    rng.set_word_pos(u128::from(step) << 36);
    rng
}

/// A number below `n`, at most 2^32; the probabilities differ by 2^-32 at the most.
pub(crate) fn below(rng: &mut ChaCha8Rng, n: usize) -> usize {
    ((u64::from(rng.next_u32()) * n as u64) >> 32) as usize
}

/// The numbers 0..n in a random order (Fisher & Yates).
///
/// ```
/// let mut order = dpq::rng::shuffled(5, &mut dpq::rng::stream(7, "order", 0));
/// order.sort();
/// assert_eq!(order, [0, 1, 2, 3, 4]);
/// ```
///
/// # Panics
/// If n is above 2^32.
#[track_caller]
pub fn shuffled(n: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    assert!(n as u64 <= 1 << 32, "shuffled: {n} numbers: expected at most 2^32");
    let mut numbers: Vec<u32> = (0..n).map(|i| i as u32).collect();
    for last in (1..numbers.len()).rev() {
        numbers.swap(last, below(rng, last + 1));
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_every_number_once_and_is_its_streams_own() {
        let order = |step| shuffled(100, &mut stream(3, "order", step));
        assert_ne!(order(0), order(1));
        for mut order in [order(0), order(1)] {
            assert!(!order.is_sorted());
            order.sort_unstable();
            assert!(order.into_iter().eq(0..100));
        }
    }
}
