//! Work cut into pieces over threads.
//!
//! The pieces a result depends on never depend on the number of threads, and whoever adds up
//! partial results adds them in the order of the pieces: the same bits with 1 thread or 16.
//! Without the feature `parallel` everything runs in order on the caller's thread.

/// Runs `work` with `threads` threads for all parallel work inside it.
///
/// The closure itself runs on one of them, so nothing waits for a hand-over. Without the feature
/// `parallel`, or if the threads cannot be had, it just runs.
pub fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "parallel")]
    if let Ok(pool) = rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        return pool.install(work);
    }
    let _ = threads;
    work()
}

/// How many threads share the work.
pub fn threads() -> usize {
    #[cfg(feature = "parallel")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "parallel"))]
    1
}

/// Runs both closures, at the same time where there are threads for it.
pub(crate) fn join<A: Send, B: Send>(
    a: impl FnOnce() -> A + Send,
    b: impl FnOnce() -> B + Send,
) -> (A, B) {
    #[cfg(feature = "parallel")]
    if threads() > 1 {
        return rayon::join(a, b);
    }
    (a(), b())
}

/// Calls `f(i, item)` for the items of an iterator whose length is known.
pub(crate) fn for_each<I: Send>(items: &mut [I], f: impl Fn(usize, &mut I) + Sync) {
    for_each_from(0, items, &f);
}

/// Halves the items until one is left: no list of tasks is ever allocated.
fn for_each_from<I: Send>(first: usize, items: &mut [I], f: &(impl Fn(usize, &mut I) + Sync)) {
    if threads() == 1 || items.len() <= 1 {
        for (i, item) in items.iter_mut().enumerate() {
            f(first + i, item);
        }
        return;
    }
    let middle = items.len() / 2;
    let (left, right) = items.split_at_mut(middle);
    join(|| for_each_from(first, left, f), || for_each_from(first + middle, right, f));
}

/// Calls `f(i, chunk)` for the consecutive chunks of `size` elements (the last may be shorter).
pub(crate) fn for_each_chunk<T: Send>(
    data: &mut [T],
    size: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    let mut units = vec![(); data.len().div_ceil(size.max(1))];
    for_each_pair((data, size), (&mut units, 1), |i, chunk, _| f(i, chunk));
}

/// [`for_each_chunk`] from the last chunk to the first: after a pass from the first to the last,
/// what is wanted next is still in a cache.
pub(crate) fn for_each_chunk_back<T: Send>(
    data: &mut [T],
    size: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    let mut units = vec![(); data.len().div_ceil(size.max(1))];
    for_each_pair_back((data, size), (&mut units, 1), |i, chunk, _| f(i, chunk));
}

/// Calls `f(i, a, b)` for the consecutive chunks of two slices, each with its chunks' size.
pub(crate) fn for_each_pair<A: Send, B: Send>(
    (a, size_a): (&mut [A], usize),
    (b, size_b): (&mut [B], usize),
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    pairs_from(0, (a, size_a), (b, size_b), false, &f);
}

/// [`for_each_pair`] from the last chunks to the first, as [`for_each_chunk_back`].
pub(crate) fn for_each_pair_back<A: Send, B: Send>(
    (a, size_a): (&mut [A], usize),
    (b, size_b): (&mut [B], usize),
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    pairs_from(0, (a, size_a), (b, size_b), true, &f);
}

fn pairs_from<A: Send, B: Send>(
    first: usize,
    (a, size_a): (&mut [A], usize),
    (b, size_b): (&mut [B], usize),
    back: bool,
    f: &(impl Fn(usize, &mut [A], &mut [B]) + Sync),
) {
    let (size_a, size_b) = (size_a.max(1), size_b.max(1));
    let chunks = a.len().div_ceil(size_a);
    assert_eq!(chunks, b.len().div_ceil(size_b), "chunks of both sides");
    if threads() == 1 || chunks <= 1 {
        let pairs = a.chunks_mut(size_a).zip(b.chunks_mut(size_b)).enumerate();
        if back {
            pairs.rev().for_each(|(i, (a, b))| f(first + i, a, b));
        } else {
            pairs.for_each(|(i, (a, b))| f(first + i, a, b));
        }
        return;
    }
    let middle = chunks / 2;
    let (left_a, right_a) = a.split_at_mut(middle * size_a);
    let (left_b, right_b) = b.split_at_mut(middle * size_b);
    join(
        || pairs_from(first, (left_a, size_a), (left_b, size_b), back, f),
        || pairs_from(first + middle, (right_a, size_a), (right_b, size_b), back, f),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_visited_once_with_its_chunk() {
        for threads in [1, 3] {
            let mut data = vec![0_usize; 1003];
            with_threads(threads, || {
                for_each_chunk(&mut data, 10, |i, chunk| {
                    chunk.iter_mut().for_each(|x| *x += i + 1)
                });
                for_each(&mut data, |i, x| *x = *x * 10_000 + i);
                for_each_chunk_back(&mut data, 7, |i, chunk| {
                    chunk.iter_mut().for_each(|x| *x += 1_000_000_000 * i)
                });
            });
            let expected = |i: usize| i / 7 * 1_000_000_000 + (i / 10 + 1) * 10_000 + i;
            assert!(data.iter().enumerate().all(|(i, &x)| x == expected(i)));
        }
    }
}
