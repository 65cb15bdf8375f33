//! Means over segments: sequences of different lengths, one after the other, without padding.

use super::distinct::{CHUNK, sum_rows};
use crate::kernels::dispatch::dispatch;
use crate::parallel;
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::{Buffer, Pool, Tensor};
use fearless_simd::Simd;

impl<'t, T: Real> Var<'t, T> {
    /// y\[s\] = the mean of the rows of segment s; 0 where it has none.
    ///
    /// x is n x d: the rows of the first segment, then those of the second, and so on; `lengths` says
    /// how many each has. y has a row for each segment. More than 64 rows are added up in double
    /// precision.
    ///
    /// ```
    /// use dpq::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.leaf(Tensor::from([[1.0, 2.0], [3.0, 6.0], [5.0, 5.0]]));
    /// let y = x.segment_mean(&[2, 0, 1]);
    /// assert_eq!(y.value(), Tensor::from([[2.0, 4.0], [0.0, 0.0], [5.0, 5.0]]));
    /// ```
    ///
    /// # Panics
    /// If x is no matrix, or the lengths do not add up to its rows.
    #[track_caller]
    pub fn segment_mean(self, lengths: &[usize]) -> Var<'t, T> {
        let x = self.value();
        let shape = x.shape();
        let [n, d] = shape[..] else { panic!("segment_mean: shape {shape:?} is not a matrix") };
        let total: usize = lengths.iter().sum();
        assert!(total == n, "segment_mean: lengths that add up to {total} for shape {shape:?}");
        let tape = self.tape();
        let op = SegmentMean { segments: Segments::new(&tape.pools().ids, lengths) };
        let mut y = tape.uninit([lengths.len(), d]);
        parallel::for_each_chunk(y.data_mut(), d, |s, y| {
            dispatch!(|simd| mean_of_rows(simd, &x, op.segments.rows(s), y));
        });
        let [y] = tape.record(op, &[self], [y]);
        y
    }
}

/// Which rows each segment has.
struct Segments {
    /// All rows, in order.
    rows: Buffer<u32>,
    /// The segment of each row.
    of_rows: Buffer<u32>,
    /// Where each segment's rows end.
    ends: Buffer<u32>,
}

impl Segments {
    fn new(pool: &Pool<u32>, lengths: &[usize]) -> Segments {
        let total = lengths.iter().sum();
        let [mut rows, mut of_rows] = [(); 2].map(|()| pool.take(total));
        rows.iter_mut().zip(0..).for_each(|(row, i)| *row = i);
        let (mut ends, mut start) = (pool.take(lengths.len()), 0);
        for (s, (end, &length)) in (0..).zip(ends.iter_mut().zip(lengths)) {
            of_rows[start..start + length].fill(s);
            start += length;
            *end = start as u32;
        }
        Segments { rows, of_rows, ends }
    }

    fn rows(&self, s: usize) -> &[u32] {
        let start = if s == 0 { 0 } else { self.ends[s - 1] as usize };
        &self.rows[start..self.ends[s] as usize]
    }
}

/// y <- the mean of some rows of x; 0 of none.
#[inline(always)]
fn mean_of_rows<S: Simd, T: Real>(_: S, x: &Tensor<T>, rows: &[u32], y: &mut [T]) {
    if rows.is_empty() {
        return y.fill(T::ZERO);
    }
    let d = y.len();
    sum_rows(rows, |i| &x.data()[i as usize * d..][..d], y);
    let count = T::from_usize(rows.len());
    y.iter_mut().for_each(|y| *y /= count);
}

struct SegmentMean {
    segments: Segments,
}
impl<T: Real> Op<T> for SegmentMean {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx[i] = dy[s] / the length of s, for every row i of segment s
        let Some(dy) = ctx.output_grad(0) else { return };
        let (d, segments) = (dy.shape()[1], &self.segments);
        let mut shares = ctx.uninit(dy.shape());
        let rows = shares.data_mut().chunks_exact_mut(d.max(1)).zip(dy.rows());
        for (s, (share, dy)) in rows.enumerate() {
            let length = T::from_usize(segments.rows(s).len().max(1));
            share.iter_mut().zip(dy).for_each(|(share, &dy)| *share = dy / length);
        }
        let mut dx = ctx.uninit(ctx.input(0).shape());
        parallel::for_each_chunk(dx.data_mut(), CHUNK * d, |i, dx| {
            for (dx, &s) in dx.chunks_exact_mut(d.max(1)).zip(&segments.of_rows[i * CHUNK..]) {
                dx.copy_from_slice(&shares.data()[s as usize * d..][..d]);
            }
        });
        ctx.add(0, dx);
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, length, tensor};
    use proptest::collection::vec;
    use proptest::prelude::*;

    let segments = (vec(0..4_usize, 1..5), length())
        .prop_flat_map(|(lengths, d)| (tensor([lengths.iter().sum(), d]), Just(lengths)));
    vec![Case::new("segment_mean", segments, |(x, lengths)| {
        gradcheck([x], |[x]| x.segment_mean(&lengths))
    })]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor};

    #[test]
    fn a_segment_of_any_length_has_the_mean_of_its_rows() {
        for length in [1, 64, 65, 300] {
            let tape = Tape::new();
            let x = Tensor::from_fn([length + 1, 3], |i| (i as f64).sin());
            let x = tape.leaf(x);
            let [y, rest] = [x.segment_mean(&[length, 1]), x.slice(0, 0..length)];
            let difference = (y.slice(0, 0..1) - rest.mean_axis(0).insert_axis(0)).abs();
            assert!(difference.max().value().item() < 1e-15, "{length}");
        }
    }

    #[test]
    fn many_rows_have_the_gradient_of_their_segment() {
        let lengths = [100, 0, 31, 200];
        let tape = Tape::new();
        let x = tape.leaf(Tensor::<f64>::zeros([331, 2]));
        let slopes = Tensor::from_fn([4, 2], |i| i as f64 + 1.0);
        let grads = tape.backward((x.segment_mean(&lengths) * tape.constant(slopes.clone())).sum());
        let dx = grads.unwrap().get(x).unwrap().to_dense();
        let segments = (0..4).flat_map(|s| vec![s; lengths[s]]);
        for (dx, s) in dx.rows().zip(segments) {
            let length = lengths[s] as f64;
            assert_eq!(dx, [0, 1].map(|j| slopes.data()[s * 2 + j] / length));
        }
    }

    #[test]
    #[should_panic(expected = "segment_mean: lengths that add up to 3 for shape [4, 2]")]
    fn lengths_have_to_fit() {
        let tape = Tape::new();
        tape.leaf(Tensor::<f32>::zeros([4, 2])).segment_mean(&[1, 2]);
    }
}
