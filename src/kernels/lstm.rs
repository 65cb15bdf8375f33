//! The gate arithmetic of one LSTM step, forward and backward, for one row of the batch.

use super::dispatch::dispatch;
use super::exponential::{sigmoid, tanh};
use super::vector;
use crate::real::Real;
use fearless_simd::{Simd, prelude::*};

/// Lanes of a row from `at` on, zeros beyond its end.
#[inline(always)]
fn load<S: Simd, T: Real>(simd: S, row: &[T], at: usize) -> T::Wide<S> {
    vector::load(simd, row, at, T::ZERO)
}

/// The four parts of a row of gates, in the order i, f, g, o.
#[inline(always)]
fn quarters<T>(row: &[T]) -> [&[T]; 4] {
    let h = row.len() / 4;
    [&row[..h], &row[h..2 * h], &row[2 * h..3 * h], &row[3 * h..]]
}

/// The four parts of a row of gates, to write to.
#[inline(always)]
fn quarters_mut<T>(row: &mut [T]) -> [&mut [T]; 4] {
    let h = row.len() / 4;
    let (i, rest) = row.split_at_mut(h);
    let (f, rest) = rest.split_at_mut(h);
    let (g, o) = rest.split_at_mut(h);
    [i, f, g, o]
}

/// gates <- (sigma i, sigma f, tanh g, sigma o) of gates + bias; c <- f c_before + i g;
/// tanh_c <- tanh c; h <- o tanh c.
pub(crate) fn forward<T: Real>(
    gates: &mut [T],
    bias: &[T],
    c_before: &[T],
    c: &mut [T],
    tanh_c: &mut [T],
    h: &mut [T],
) {
    dispatch!(|simd| forward_row(simd, gates, bias, c_before, c, tanh_c, h));
}

#[inline(always)]
fn forward_row<S: Simd, T: Real>(
    simd: S,
    gates: &mut [T],
    bias: &[T],
    c_before: &[T],
    c: &mut [T],
    tanh_c: &mut [T],
    h: &mut [T],
) {
    let [bi, bf, bg, bo] = quarters(bias);
    let [gi, gf, gg, go] = quarters_mut(gates);
    for at in (0..c.len()).step_by(T::LANES) {
        let i = sigmoid::<S, T>(simd, load::<S, T>(simd, gi, at) + load::<S, T>(simd, bi, at));
        let f = sigmoid::<S, T>(simd, load::<S, T>(simd, gf, at) + load::<S, T>(simd, bf, at));
        let g = tanh::<S, T>(simd, load::<S, T>(simd, gg, at) + load::<S, T>(simd, bg, at));
        let o = sigmoid::<S, T>(simd, load::<S, T>(simd, go, at) + load::<S, T>(simd, bo, at));
        let cell = f * load::<S, T>(simd, c_before, at) + i * g;
        let squashed = tanh::<S, T>(simd, cell);
        vector::store::<S, T>(i, gi, at);
        vector::store::<S, T>(f, gf, at);
        vector::store::<S, T>(g, gg, at);
        vector::store::<S, T>(o, go, at);
        vector::store::<S, T>(cell, c, at);
        vector::store::<S, T>(squashed, tanh_c, at);
        vector::store::<S, T>(o * squashed, h, at);
    }
}

/// From dh and dc (of this step's h and c): the gradient of the gates before their functions, and
/// dc <- f dc, the gradient of the step before's c.
pub(crate) fn backward<T: Real>(
    gates: &[T],
    c_before: &[T],
    tanh_c: &[T],
    dh: &[T],
    dc: &mut [T],
    dgates: &mut [T],
) {
    dispatch!(|simd| backward_row(simd, gates, c_before, tanh_c, dh, dc, dgates));
}

#[inline(always)]
fn backward_row<S: Simd, T: Real>(
    simd: S,
    gates: &[T],
    c_before: &[T],
    tanh_c: &[T],
    dh: &[T],
    dc: &mut [T],
    dgates: &mut [T],
) {
    let one = T::Wide::<S>::splat(simd, T::ONE);
    let [gi, gf, gg, go] = quarters(gates);
    let [di, df, dg, do_] = quarters_mut(dgates);
    for at in (0..dc.len()).step_by(T::LANES) {
        let [i, f, g, o] = [gi, gf, gg, go].map(|gate| load::<S, T>(simd, gate, at));
        let (squashed, dh) = (load::<S, T>(simd, tanh_c, at), load::<S, T>(simd, dh, at));
        let cell = load::<S, T>(simd, dc, at) + dh * o * (one - squashed * squashed);
        vector::store::<S, T>(cell * g * i * (one - i), di, at);
        vector::store::<S, T>(cell * load::<S, T>(simd, c_before, at) * f * (one - f), df, at);
        vector::store::<S, T>(cell * i * (one - g * g), dg, at);
        vector::store::<S, T>(dh * squashed * o * (one - o), do_, at);
        vector::store::<S, T>(cell * f, dc, at);
    }
}
