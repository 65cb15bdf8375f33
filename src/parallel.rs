//! Work cut into pieces over threads.
//!
//! The pieces a result depends on never depend on the number of threads, and partial sums are added
//! in the order of the pieces: the same bits with 1 thread or 16. Without the feature `parallel`
//! everything runs in order on the caller's thread.

use crate::real::Real;
use crate::tensor::Pool;
use std::ops::Range;

/// Runs `work` with `threads` threads for all parallel work inside it.
///
/// The closure itself runs on one of them, so nothing waits for a hand-over. Without the feature
/// `parallel`, or if the threads cannot be started, it runs on the caller's thread.
///
/// # Panics
/// If `threads` is 0.
#[track_caller]
pub fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    assert!(threads > 0, "with_threads: 0 threads");
    #[cfg(feature = "parallel")]
    if let Ok(pool) = rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        return pool.install(work);
    }
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

/// A sequence of pieces of work that can be cut in two: items, chunks of a slice, ranges of rows, or
/// two such sequences side by side.
pub(crate) trait Pieces: Send + Sized {
    /// A piece.
    type Piece;
    /// How many pieces there are.
    fn count(&self) -> usize;
    /// The first `middle` pieces, and the others.
    fn split_at(self, middle: usize) -> (Self, Self);
    /// All pieces, in order.
    fn iter(self) -> impl ExactSizeIterator<Item = Self::Piece> + DoubleEndedIterator;
}

impl<'a, I: Send> Pieces for &'a mut [I] {
    type Piece = &'a mut I;
    fn count(&self) -> usize {
        self.len()
    }
    fn split_at(self, middle: usize) -> (Self, Self) {
        self.split_at_mut(middle)
    }
    fn iter(self) -> impl ExactSizeIterator<Item = &'a mut I> + DoubleEndedIterator {
        self.iter_mut()
    }
}

/// The consecutive chunks of a slice; the last may be shorter.
pub(crate) struct Chunks<'a, T> {
    data: &'a mut [T],
    size: usize,
}

/// The consecutive chunks of `size` elements; the last may be shorter.
pub(crate) fn chunks<T>(data: &mut [T], size: usize) -> Chunks<'_, T> {
    Chunks { data, size: size.max(1) }
}

impl<'a, T: Send> Pieces for Chunks<'a, T> {
    type Piece = &'a mut [T];
    fn count(&self) -> usize {
        self.data.len().div_ceil(self.size)
    }
    fn split_at(self, middle: usize) -> (Self, Self) {
        let (left, right) = self.data.split_at_mut(middle * self.size);
        (Chunks { data: left, ..self }, Chunks { data: right, ..self })
    }
    fn iter(self) -> impl ExactSizeIterator<Item = &'a mut [T]> + DoubleEndedIterator {
        self.data.chunks_mut(self.size)
    }
}

/// Rows cut into ranges of `size`; the last may be shorter.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    rows: Range<usize>,
    size: usize,
}

impl Rows {
    /// The rows `0..rows` in ranges of `size`.
    pub(crate) fn new(rows: usize, size: usize) -> Rows {
        Rows { rows: 0..rows, size: size.max(1) }
    }
}

impl Pieces for Rows {
    type Piece = Range<usize>;
    fn count(&self) -> usize {
        self.rows.len().div_ceil(self.size)
    }
    fn split_at(self, middle: usize) -> (Self, Self) {
        let middle = self.rows.start + middle * self.size;
        (
            Rows { rows: self.rows.start..middle, ..self },
            Rows { rows: middle..self.rows.end, ..self },
        )
    }
    fn iter(self) -> impl ExactSizeIterator<Item = Range<usize>> + DoubleEndedIterator {
        let (rows, size) = (self.rows.clone(), self.size);
        (0..self.count()).map(move |i| {
            let first = rows.start + i * size;
            first..rows.end.min(first + size)
        })
    }
}

impl<A: Pieces, B: Pieces> Pieces for (A, B) {
    type Piece = (A::Piece, B::Piece);
    fn count(&self) -> usize {
        assert_eq!(self.0.count(), self.1.count(), "pieces of both sides");
        self.0.count()
    }
    fn split_at(self, middle: usize) -> (Self, Self) {
        let ((left_a, right_a), (left_b, right_b)) =
            (self.0.split_at(middle), self.1.split_at(middle));
        ((left_a, left_b), (right_a, right_b))
    }
    fn iter(self) -> impl ExactSizeIterator<Item = Self::Piece> + DoubleEndedIterator {
        self.0.iter().zip(self.1.iter())
    }
}

/// The order in which a thread takes up its pieces.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Order {
    /// From the first to the last.
    Forward,
    /// From the last to the first: after a pass over the same data from the first to the last, what
    /// is wanted next is still in cache.
    Backward,
}

/// Calls `f(i, piece)` for every piece.
pub(crate) fn for_each<P: Pieces>(order: Order, pieces: P, f: impl Fn(usize, P::Piece) + Sync) {
    for_each_from(0, order, pieces, &f);
}

/// Halves the pieces until one is left: no list of tasks is ever allocated.
fn for_each_from<P: Pieces>(
    first: usize,
    order: Order,
    pieces: P,
    f: &(impl Fn(usize, P::Piece) + Sync),
) {
    let count = pieces.count();
    if threads() > 1 && count > 1 {
        let middle = count / 2;
        let (left, right) = pieces.split_at(middle);
        join(
            || for_each_from(first, order, left, f),
            || for_each_from(first + middle, order, right, f),
        );
        return;
    }
    let mut pieces = pieces.iter().enumerate();
    let mut next = || match order {
        Order::Forward => pieces.next(),
        Order::Backward => pieces.next_back(),
    };
    // One call of `f` for both orders: with two, every kernel in it would be compiled twice.
    while let Some((i, piece)) = next() {
        f(first + i, piece);
    }
}

/// Calls `f(i, chunk)` for the consecutive chunks of `size` elements (the last may be shorter).
pub(crate) fn for_each_chunk<T: Send>(
    data: &mut [T],
    size: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    for_each(Order::Forward, chunks(data, size), f);
}

/// Elements of the sums that a thread adds up at a time.
const SUMS: usize = 1 << 12;

/// Sums that do not depend on the number of threads: `f` adds what a piece contributes to `part`,
/// which starts as zeros; then `add` adds the parts to `sums`, in the order of the pieces.
///
/// The pool is asked for room for `most` parts, however many there are: their number may differ
/// from step to step.
pub(crate) fn sum<T: Real, A: Real, P: Pieces>(
    pool: &Pool<T>,
    most: usize,
    order: Order,
    pieces: P,
    sums: &mut [A],
    f: impl Fn(P::Piece, &mut [T]) + Sync,
    add: impl Fn(&mut [A], &[T]) + Sync,
) {
    let (count, len) = (pieces.count(), sums.len());
    let mut parts = pool.take(count.max(most) * len);
    parts.truncate(count * len);
    for_each(order, (pieces, chunks(&mut parts, len)), |_, (piece, part)| {
        part.fill(T::ZERO);
        f(piece, part);
    });
    for_each_chunk(sums, SUMS, |i, sums| {
        sums.fill(A::ZERO);
        for part in parts.chunks_exact(len) {
            add(sums, &part[i * SUMS..][..sums.len()]);
        }
    });
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
                for_each(Order::Forward, &mut data[..], |i, x| *x = *x * 10_000 + i);
                for_each(Order::Backward, chunks(&mut data, 7), |i, chunk| {
                    chunk.iter_mut().for_each(|x| *x += 1_000_000_000 * i)
                });
            });
            let expected = |i: usize| i / 7 * 1_000_000_000 + (i / 10 + 1) * 10_000 + i;
            assert!(data.iter().enumerate().all(|(i, &x)| x == expected(i)));
        }
    }

    #[test]
    fn sums_are_of_every_row_whatever_the_order_and_the_threads() {
        let pool = Pool::<f32>::default();
        for (rows, threads) in [(0, 1), (1, 2), (100, 1), (1003, 3)] {
            for order in [Order::Forward, Order::Backward] {
                let mut sums = [9.0_f64; 2];
                let add = |sums: &mut [f64], part: &[f32]| {
                    sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += f64::from(*x));
                };
                with_threads(threads, || {
                    let f = |rows: Range<usize>, part: &mut [f32]| {
                        rows.for_each(|row| {
                            part[0] += 1.0;
                            part[1] += row as f32;
                        });
                    };
                    sum(&pool, 4, order, Rows::new(rows, 7), &mut sums, f, add);
                });
                assert_eq!(sums, [rows as f64, (rows * rows.max(1).wrapping_sub(1) / 2) as f64]);
            }
        }
    }
}
