//! Sums and maxima in a fixed number of lanes.

use super::dispatch::dispatch;
use super::elementwise::CHUNK;
use super::vector::load_end;
use crate::parallel::{self, Order, Rows, chunks};
use crate::real::Real;
use fearless_simd::{Simd, prelude::*};
use std::sync::atomic::{AtomicU64, Ordering};

/// The sum of all elements. Of many, those of every eight rows of [`WIDTH`] are added up in the
/// tensor's own precision, and their sums in double.
pub(crate) fn sum<T: Real>(x: &[T]) -> T {
    T::from_f64(dispatch!(|simd| sum_all(simd, x)))
}

const WIDTH: usize = 64;

#[inline(always)]
fn sum_all<S: Simd, T: Real>(simd: S, x: &[T]) -> f64 {
    if x.len() <= 32 * T::LANES {
        let sum = fold(
            simd,
            x,
            x,
            #[inline(always)]
            |sum, x, _| sum + x,
        );
        return sum.to_f64();
    }
    let (rows, rest) = x.as_chunks::<WIDTH>();
    let mut sums = [0.0; WIDTH];
    add_rows(simd, rows.as_flattened(), WIDTH, &mut sums);
    sums.iter_mut().zip(rest).for_each(|(sum, x)| *sum += x.to_f64());
    sums.iter().sum()
}

/// sums\[k\] += the sum of x\[j stride + k\] over all rows j, every eight of which are added up in the
/// tensor's own precision.
#[inline(always)]
fn add_rows<S: Simd, T: Real>(_: S, x: &[T], stride: usize, sums: &mut [f64]) {
    let (rows, width) = (x.len().div_ceil(stride), sums.len());
    let row = |j: usize| &x[j * stride..][..width];
    for j in (0..rows - rows % 8).step_by(8) {
        let [a, b, c, d, e, f, g, h] = std::array::from_fn(|i| row(j + i));
        for (k, sum) in sums.iter_mut().enumerate() {
            let [left, right] = [(a[k] + b[k]) + (c[k] + d[k]), (e[k] + f[k]) + (g[k] + h[k])];
            *sum += (left + right).to_f64();
        }
    }
    for j in rows - rows % 8..rows {
        sums.iter_mut().zip(row(j)).for_each(|(sum, x)| *sum += x.to_f64());
    }
}

/// Elements whose products are added up in the tensor's own precision before their sum goes on in
/// double.
const PIECE: usize = 1 << 10;

/// The sum of a\[i\] b\[i\]. Those of every [`PIECE`] elements are added up in double precision.
pub(crate) fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    assert_eq!(a.len(), b.len());
    dispatch!(|simd| dot_of_pieces(simd, a, b))
}

#[inline(always)]
fn dot_of_pieces<S: Simd, T: Real>(simd: S, a: &[T], b: &[T]) -> f64 {
    let pieces = a.chunks(PIECE).zip(b.chunks(PIECE));
    pieces.map(|(a, b)| dot_of_piece(simd, a, b).to_f64()).sum()
}

/// The sum of a\[i\] b\[i\], of a few elements.
#[inline(always)]
pub(crate) fn dot_of_piece<S: Simd, T: Real>(simd: S, a: &[T], b: &[T]) -> T {
    fold(
        simd,
        a,
        b,
        #[inline(always)]
        |sum, a, b| a.mul_add(b, sum),
    )
}

/// The largest |x\[i\]|, 0 of none; NaN if an element is infinite or NaN.
pub(crate) fn largest<T: Real>(x: &[T]) -> f64 {
    // Numbers that are not negative are in the order of their bits, and NaN is above them.
    let largest = AtomicU64::new(0);
    parallel::for_each(Order::Forward, Rows::new(x.len(), CHUNK), |_, range| {
        let of_chunk = dispatch!(|simd| largest_of_chunk(simd, &x[range])).to_f64();
        largest.fetch_max(of_chunk.abs().to_bits(), Ordering::Relaxed);
    });
    f64::from_bits(largest.into_inner())
}

/// The Euclidean norm of all elements, wherever it can be told: squares neither overflow nor vanish,
/// since they are of elements over the largest. Infinite or NaN only if an element is.
pub(crate) fn norm<'a, T: Real>(parts: impl Iterator<Item = &'a [T]> + Clone) -> f64 {
    let elements = || parts.clone().flatten().map(|x| x.to_f64().abs());
    if let Some(bad) = elements().find(|x| !x.is_finite()) {
        return bad;
    }
    let largest = elements().fold(0.0, f64::max);
    if largest == 0.0 {
        return 0.0;
    }
    largest * elements().map(|x| (x / largest).powi(2)).sum::<f64>().sqrt()
}

#[inline(always)]
fn largest_of_chunk<S: Simd, T: Real>(simd: S, x: &[T]) -> T {
    let zero = T::Wide::<S>::splat(simd, T::ZERO);
    // 0 x is 0 of a finite x and NaN of any other, which a maximum might pass over.
    let (mut largest, mut odd) = ([zero; 2], [zero; 2]);
    let mut vectors = x.chunks_exact(2 * T::LANES);
    for x in &mut vectors {
        for v in 0..2 {
            let x = T::Wide::<S>::from_slice(simd, &x[v * T::LANES..][..T::LANES]);
            largest[v] = largest[v].max(x.abs());
            odd[v] += x * T::ZERO;
        }
    }
    for x in vectors.remainder().chunks(T::LANES) {
        let x = load_end::<S, T>(simd, x, T::ZERO);
        largest[0] = largest[0].max(x.abs());
        odd[0] += x * T::ZERO;
    }
    largest[0].max(largest[1]).reduce_max() + (odd[0] + odd[1]).reduce_sum()
}

/// Four vectors of partial sums, added up at the end.
#[inline(always)]
fn fold<S: Simd, T: Real>(
    simd: S,
    a: &[T],
    b: &[T],
    step: impl Fn(T::Wide<S>, T::Wide<S>, T::Wide<S>) -> T::Wide<S>,
) -> T {
    let mut sums = [T::Wide::<S>::splat(simd, T::ZERO); 4];
    let (mut rest_a, mut rest_b) = (a.chunks_exact(4 * T::LANES), b.chunks_exact(4 * T::LANES));
    for (a, b) in (&mut rest_a).zip(&mut rest_b) {
        for v in 0..4 {
            let lanes = v * T::LANES..(v + 1) * T::LANES;
            let (a, b) = (&a[lanes.clone()], &b[lanes]);
            sums[v] =
                step(sums[v], T::Wide::<S>::from_slice(simd, a), T::Wide::<S>::from_slice(simd, b));
        }
    }
    let rest = rest_a.remainder().chunks(T::LANES).zip(rest_b.remainder().chunks(T::LANES));
    for (sum, (a, b)) in sums.iter_mut().zip(rest) {
        let (a, b) = (load_end::<S, T>(simd, a, T::ZERO), load_end::<S, T>(simd, b, T::ZERO));
        *sum = step(*sum, a, b);
    }
    ((sums[0] + sums[1]) + (sums[2] + sums[3])).reduce_sum()
}

/// Columns whose sums are taken together.
const STRIP: usize = 1024;

/// y\[i, k\] = sum over j of x\[i, j, k\]; there are `length` values of j and `after` of k. The sums
/// of every eight values of j are added up in double precision.
pub(crate) fn sum_middle<T: Real>(x: &[T], length: usize, after: usize, y: &mut [T]) {
    let size = length * after;
    if size == 0 {
        y.fill(T::ZERO);
    } else if after == 1 {
        let rows = (CHUNK / length).max(1);
        parallel::for_each_chunk(y, rows, |piece, y| {
            dispatch!(|simd| sum_each(simd, &x[piece * rows * length..], length, y));
        });
    } else if size >= CHUNK {
        for (y, x) in y.chunks_exact_mut(after).zip(x.chunks_exact(size)) {
            parallel::for_each_chunk(y, STRIP, |strip, y| {
                dispatch!(|simd| sum_strip(simd, &x[strip * STRIP..], after, y));
            });
        }
    } else {
        let sums = CHUNK / size;
        parallel::for_each_chunk(y, sums * after, |piece, y| {
            let x = x[piece * sums * size..].chunks_exact(size);
            for (y, x) in y.chunks_exact_mut(after).zip(x) {
                for (strip, y) in y.chunks_mut(STRIP).enumerate() {
                    dispatch!(|simd| sum_strip(simd, &x[strip * STRIP..], after, y));
                }
            }
        });
    }
}

/// y\[i\] = sum over j of x\[i, j\], of `length` values of j.
#[inline(always)]
fn sum_each<S: Simd, T: Real>(simd: S, x: &[T], length: usize, y: &mut [T]) {
    for (y, x) in y.iter_mut().zip(x.chunks_exact(length)) {
        *y = if length <= T::LANES {
            x.iter().fold(T::ZERO, |sum, &x| sum + x)
        } else {
            T::from_f64(sum_all(simd, x))
        };
    }
}

/// y\[k\] = sum of x\[j stride + k\], of at most [`STRIP`] columns k, over all rows j.
#[inline(always)]
fn sum_strip<S: Simd, T: Real>(simd: S, x: &[T], stride: usize, y: &mut [T]) {
    let mut sums = [0.0; STRIP];
    add_rows(simd, x, stride, &mut sums[..y.len()]);
    y.iter_mut().zip(sums).for_each(|(y, sum)| *y = T::from_f64(sum));
}

/// For every i and k the best of x\[i, 0, k\], x\[i, 1, k\], ..., the first of equally good ones:
/// its value is y\[i, k\], its place j\[i, k\]. There are `length` places, at least one, and `after`
/// values of k.
pub(crate) fn best_middle<T: Real>(
    x: &[T],
    length: usize,
    after: usize,
    (y, j): (&mut [T], &mut [u32]),
    better: impl Fn(T, T) -> bool + Sync + Copy,
) {
    let size = length * after;
    let height = (CHUNK / size.max(1)).max(1);
    let pieces = (chunks(y, height * after), chunks(j, height * after));
    parallel::for_each(Order::Forward, pieces, |piece, (y, j)| {
        let x = &x[piece * height * size..][..y.len() * length];
        dispatch!(|simd| best_middle_chunk(simd, x, length, after, (y, j), better));
    });
}

#[inline(always)]
fn best_middle_chunk<S: Simd, T: Real>(
    _: S,
    x: &[T],
    length: usize,
    after: usize,
    (y, j): (&mut [T], &mut [u32]),
    better: impl Fn(T, T) -> bool,
) {
    let best = y.chunks_exact_mut(after).zip(j.chunks_exact_mut(after));
    for ((y, j), x) in best.zip(x.chunks_exact(length * after)) {
        if let ([y], [j]) = (&mut *y, &mut *j) {
            (*y, *j) = (x[0], 0);
            for (place, &x) in (0..).zip(x) {
                if better(x, *y) {
                    (*y, *j) = (x, place);
                }
            }
            continue;
        }
        y.copy_from_slice(&x[..after]);
        j.fill(0);
        for (place, x) in (0..).zip(x.chunks_exact(after)) {
            for ((y, j), &x) in y.iter_mut().zip(j.iter_mut()).zip(x) {
                if better(x, *y) {
                    (*y, *j) = (x, place);
                }
            }
        }
    }
}

/// The sum of f(a\[i\], b\[i\]) in double precision, in eight lanes.
pub(crate) fn sum_f64<T: Real>(a: &[T], b: &[T], f: impl Fn(f64, f64) -> f64) -> f64 {
    assert_eq!(a.len(), b.len());
    dispatch!(|simd| sum_f64_in(simd, a, b, f))
}

#[inline(always)]
fn sum_f64_in<S: Simd, T: Real>(_: S, a: &[T], b: &[T], f: impl Fn(f64, f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += f(a[lane].to_f64(), b[lane].to_f64());
        }
    }
    for (sum, (a, b)) in sums.iter_mut().zip(rest_a.iter().zip(rest_b)) {
        *sum += f(a.to_f64(), b.to_f64());
    }
    let pairs: [f64; 4] = std::array::from_fn(|lane| sums[lane] + sums[lane + 4]);
    (pairs[0] + pairs[2]) + (pairs[1] + pairs[3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::levels::at_each;

    #[test]
    fn sums_of_every_remainder() {
        for n in [0, 1, 15, 16, 17, 64, 100, 70_000] {
            let x: Vec<f32> = (0..n).map(|i| (i % 7) as f32 - 3.0).collect();
            assert_eq!(sum(&x), x.iter().sum::<f32>(), "{n}");
            assert_eq!(dot(&x, &x), x.iter().map(|x| f64::from(x * x)).sum::<f64>(), "{n}");
        }
    }
    /// Every element of before x after, from the places of the axis between them.
    fn each_of(
        [before, length, after]: [usize; 3],
        f: impl Fn(&mut dyn Iterator<Item = usize>) -> f32,
    ) -> Vec<f32> {
        let of = |i: usize| {
            let first = i / after * length * after + i % after;
            f(&mut (0..length).map(|j| first + j * after))
        };
        (0..before * after).map(of).collect()
    }

    const SIZES: [[usize; 3]; 7] =
        [[2, 3, 4], [5, 7, 1], [1, 40, 33], [3, 0, 2], [0, 2, 2], [9000, 2, 5], [2, 3, CHUNK + 7]];

    #[test]
    fn sums_over_an_axis_are_the_same_bits_on_every_instruction_set() {
        for sizes in SIZES.into_iter().chain([[1, 1000, 3], [2, 70, 2000], [1, 40_000, 1]]) {
            let [before, length, after] = sizes;
            let x: Vec<f32> = (0..sizes.iter().product()).map(|i| (i as f32).sin()).collect();
            let expected =
                each_of(sizes, |places| places.map(|i| f64::from(x[i])).sum::<f64>() as f32);
            let found = at_each(|| {
                let mut sums = vec![f32::NAN; before * after];
                sum_middle(&x, length, after, &mut sums);
                sums
            });
            for (level, sums) in &found {
                assert!(*sums == found[0].1, "{sizes:?} at {level}");
                let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * (length as f32).sqrt();
                assert!(sums.iter().zip(&expected).all(near), "{sizes:?} at {level}");
            }
        }
    }

    #[test]
    fn sums_of_many_elements_keep_their_digits() {
        for (length, after) in [(1_000_000, 1), (1_000_000, 2), (100_000, 33)] {
            let mut sums = vec![0.0; after];
            sum_middle(&vec![0.1_f32; length * after], length, after, &mut sums);
            let expected = f64::from(0.1_f32) * length as f64;
            let off = |sum: &f32| (f64::from(*sum) / expected - 1.0).abs();
            assert!(sums.iter().all(|sum| off(sum) < 1e-6), "{length} x {after}: {sums:?}");
        }
    }

    #[test]
    fn the_best_of_an_axis_is_the_first_on_every_instruction_set() {
        for sizes in SIZES.into_iter().filter(|sizes| sizes[1] > 0) {
            let [before, length, after] = sizes;
            let x: Vec<f32> = (0..sizes.iter().product()).map(|i| (i * i % 7) as f32).collect();
            let better = |best: Option<usize>, i| match best {
                Some(best) if x[best] >= x[i] => Some(best),
                _ => Some(i),
            };
            let best = each_of(sizes, |places| places.fold(None, better).unwrap() as f32);
            for (level, (y, j)) in at_each(|| {
                let (mut y, mut j) = (vec![f32::NAN; before * after], vec![9; before * after]);
                best_middle(&x, length, after, (&mut y, &mut j), |x, best| x > best);
                (y, j)
            }) {
                for (i, &best) in best.iter().enumerate() {
                    let place = best as usize / after % length;
                    assert!(
                        (y[i], j[i] as usize) == (x[best as usize], place),
                        "{sizes:?} at {level}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_largest_of_every_remainder_and_what_is_not_finite_wherever_it_is() {
        for n in [0, 1, 15, 16, 40, 70_000] {
            let mut x: Vec<f32> = (0..n).map(|i| ((i * 7919 % 1000) as f32) - 700.0).collect();
            let expected = x.iter().fold(0.0, |m: f32, x| m.max(x.abs()));
            for (level, found) in at_each(|| largest(&x)) {
                assert_eq!(found, f64::from(expected), "{n} at {level}");
            }
            for (place, bad) in
                (0..n).step_by(1 + n / 50).zip([f32::NAN, f32::NEG_INFINITY].iter().cycle())
            {
                let good = std::mem::replace(&mut x[place], *bad);
                for (level, found) in at_each(|| largest(&x)) {
                    assert!(found.is_nan(), "{bad} at {place} of {n}, {level}");
                }
                x[place] = good;
            }
        }
    }

    #[test]
    fn double_sums_of_every_remainder() {
        for n in [0, 1, 7, 8, 30] {
            let x: Vec<f32> = (0..n).map(|i| i as f32 - 3.0).collect();
            let expected = x.iter().map(|x| f64::from(x * x + 1.0)).sum::<f64>();
            for (level, sum) in at_each(|| sum_f64(&x, &x, |a, b| a * b + 1.0)) {
                assert_eq!(sum, expected, "{n} at {level}");
            }
        }
    }
}
