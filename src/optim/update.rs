//! The elements that have a gradient, updated over threads.

use crate::kernels::dispatch::dispatch;
use crate::kernels::elementwise::CHUNK;
use crate::parallel;
use crate::real::Real;
use crate::tape::{Gradient, Rows};
use fearless_simd::Simd;

/// Calls `f` with element i of every tensor, and that of their gradient, for every i that has one. The
/// tensors have the gradient's shape: a parameter, and what an optimiser remembers of it.
///
/// `order` is room for the order of rows; kept from step to step, it is allocated once.
pub(super) fn update<T: Real, const N: usize>(
    tensors: [&mut [T]; N],
    gradient: &Gradient<T>,
    order: &mut Vec<u32>,
    f: impl Fn([&mut T; N], T) + Sync + Copy,
) {
    match gradient {
        Gradient::Dense(dp) => update_all(tensors, dp.data(), f),
        Gradient::Rows(rows) => {
            order.resize(rows.ids.len(), 0);
            rows.increasing(order);
            update_rows(tensors, 0, rows, order, f);
        }
    }
}

/// All elements, in halves until there are few.
fn update_all<T: Real, const N: usize>(
    tensors: [&mut [T]; N],
    dp: &[T],
    f: impl Fn([&mut T; N], T) + Sync + Copy,
) {
    if dp.len() <= CHUNK {
        return dispatch!(|simd| update_chunk(simd, tensors, dp, f));
    }
    let (dp, other_dp) = dp.split_at(dp.len() / 2);
    let (tensors, others) = split(tensors, dp.len());
    parallel::join(|| update_all(tensors, dp, f), || update_all(others, other_dp, f));
}

/// The rows at `order`, which is that of their ids, in halves until there are few. The tensors begin
/// with row `first`.
fn update_rows<T: Real, const N: usize>(
    mut tensors: [&mut [T]; N],
    first: usize,
    rows: &Rows<T>,
    order: &[u32],
    f: impl Fn([&mut T; N], T) + Sync + Copy,
) {
    let width = rows.rows.shape()[1];
    let start = |i: u32| (rows.ids[i as usize] as usize - first) * width;
    if order.len() < 2 || order.len() * width <= CHUNK {
        for &i in order {
            let row = tensors.each_mut().map(|tensor| &mut tensor[start(i)..][..width]);
            let dp = &rows.rows.data()[i as usize * width..][..width];
            dispatch!(|simd| update_chunk(simd, row, dp, f));
        }
        return;
    }
    let (order, others) = order.split_at(order.len() / 2);
    let middle = rows.ids[others[0] as usize] as usize;
    let (tensors, other_tensors) = split(tensors, start(others[0]));
    parallel::join(
        || update_rows(tensors, first, rows, order, f),
        || update_rows(other_tensors, middle, rows, others, f),
    );
}

/// The first `at` elements of every tensor, and the others.
fn split<T, const N: usize>(
    mut tensors: [&mut [T]; N],
    at: usize,
) -> ([&mut [T]; N], [&mut [T]; N]) {
    let others = tensors.each_mut().map(|tensor| tensor.split_off_mut(at..).expect("as long"));
    (tensors, others)
}

#[inline(always)]
fn update_chunk<S: Simd, T: Real, const N: usize>(
    _: S,
    tensors: [&mut [T]; N],
    dp: &[T],
    f: impl Fn([&mut T; N], T),
) {
    let mut tensors = tensors.map(|tensor| &mut tensor[..dp.len()]);
    for (i, &dp) in dp.iter().enumerate() {
        f(tensors.each_mut().map(|tensor| &mut tensor[i]), dp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    /// Of `count` rows of a table, each once, in no order.
    fn check(height: usize, width: usize, count: u32) {
        let ids: Vec<u32> = (0..count).map(|i| i * 7 % height as u32).collect();
        let dp = Tensor::from_fn([ids.len(), width], |i| i as f64 + 1.0);
        let gradient = Gradient::Rows(Rows { ids: ids.into(), rows: dp, height });
        let dense = Gradient::Dense(gradient.to_dense());
        for threads in [1, 2, 3] {
            for gradient in [&gradient, &dense] {
                let [mut x, mut y] = [1.0, 2.0].map(|start| vec![start; height * width]);
                parallel::with_threads(threads, || {
                    let f = |[x, y]: [&mut f64; 2], dp: f64| {
                        *x += dp;
                        *y -= dp;
                    };
                    update([&mut x, &mut y], gradient, &mut Vec::new(), f);
                });
                let expected = gradient.to_dense();
                assert!(x.iter().zip(expected.data()).all(|(x, dp)| *x == 1.0 + dp));
                assert!(y.iter().zip(expected.data()).all(|(y, dp)| *y == 2.0 - dp));
            }
        }
    }

    #[test]
    fn every_element_that_has_a_gradient_is_updated_once_whatever_the_threads() {
        // Enough rows for several pieces; rows that are each more than a piece.
        check(1503, 101, 900);
        check(5, CHUNK + 1, 3);
    }
}
