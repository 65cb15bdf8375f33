//! Long short-term memory, a whole layer and sequence as one op.
//!
//! For t = 0, 1, ..., with gates in the order i, f, g, o, as PyTorch has them, and one bias:
//!
//! ```text
//! (i, f, g, o) = W_ih x_t + W_hh h_(t-1) + b
//! c_t = sigma(f) c_(t-1) + sigma(i) tanh(g)
//! h_t = sigma(o) tanh(c_t)
//! ```

use crate::gemm::{Matrix, Packed, multiply};
use crate::kernels::elementwise::add;
use crate::kernels::lstm;
use crate::kernels::reduce::sum_middle;
use crate::ops::concat;
use crate::parallel::{self, Order, chunks};
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::Tensor;

/// One layer over a whole sequence: (all h, the last h, the last c).
///
/// `x` is steps x batch x inputs, `h0` and `c0` batch x H, `w_ih` 4H x inputs, `w_hh` 4H x H, `b`
/// 4H. The outputs are steps x batch x H, batch x H and batch x H.
///
/// One product serves all inputs; each step has one more product, with a weight that is packed once.
/// The backward pass computes the gradients of all gates first, and then has one product for each
/// weight.
///
/// # Panics
/// If the shapes do not fit, or there are no steps.
#[track_caller]
pub fn lstm<'t, T: Real>(
    x: Var<'t, T>,
    state: [Var<'t, T>; 2],
    weights: [Var<'t, T>; 3],
) -> [Var<'t, T>; 3] {
    record(x, None, state, weights)
}

/// [`lstm`] over sequences of different lengths: after its last step, a sequence keeps its h and c.
///
/// What `x` holds after that step does not count and gets no gradient; the last h and c are those of
/// every sequence's own end.
///
/// # Panics
/// If the shapes do not fit, there are no steps, or there is not one length of at most `steps` for
/// each sequence of the batch.
#[track_caller]
pub fn lstm_of_lengths<'t, T: Real>(
    x: Var<'t, T>,
    lengths: &[usize],
    state: [Var<'t, T>; 2],
    weights: [Var<'t, T>; 3],
) -> [Var<'t, T>; 3] {
    record(x, Some(lengths), state, weights)
}

#[track_caller]
fn record<'t, T: Real>(
    x: Var<'t, T>,
    lengths: Option<&[usize]>,
    [h0, c0]: [Var<'t, T>; 2],
    [w_ih, w_hh, b]: [Var<'t, T>; 3],
) -> [Var<'t, T>; 3] {
    let tape = x.tape();
    let pool = &tape.pools().values;
    let sizes = Sizes::new(x, [h0, c0], [w_ih, w_hh, b]);
    let Sizes { steps, batch, inputs, hidden } = sizes;
    if let Some(lengths) = lengths {
        let fit = lengths.len() == batch && lengths.iter().all(|&length| length <= steps);
        assert!(fit, "lstm: lengths {lengths:?} for an input of shape {:?}", x.shape());
    }
    let (xv, w_ih_v, w_hh_v, bias) = (x.value(), w_ih.value(), w_hh.value(), b.value());
    let mut gates = tape.uninit([steps, batch, 4 * hidden]);
    let weight = Matrix::new(w_ih_v.data(), 4 * hidden, inputs).t();
    multiply(pool, Matrix::new(xv.data(), steps * batch, inputs), weight, gates.data_mut(), false);
    let recurrent = Packed::new(pool, Matrix::new(w_hh_v.data(), 4 * hidden, hidden).t());

    let [mut c, mut tanh_c, mut h] = [(); 3].map(|()| tape.uninit([steps, batch, hidden]));
    let (c0_v, h0_v, step) = (c0.value(), h0.value(), batch * hidden);
    for t in 0..steps {
        // The state before this step, and where this step writes.
        let (c_past, c) = c.data_mut()[..(t + 1) * step].split_at_mut(t * step);
        let (h_past, h) = h.data_mut()[..(t + 1) * step].split_at_mut(t * step);
        let c_before = if t == 0 { c0_v.data() } else { &c_past[(t - 1) * step..] };
        let h_before = if t == 0 { h0_v.data() } else { &h_past[(t - 1) * step..] };
        let tanh_c = &mut tanh_c.data_mut()[t * step..][..step];
        let gates = &mut gates.data_mut()[t * 4 * step..][..4 * step];
        recurrent.multiply(pool, Matrix::new(h_before, batch, hidden), gates, true);
        let rows = (
            (chunks(gates, 4 * hidden), chunks(h, hidden)),
            (chunks(c, hidden), chunks(tanh_c, hidden)),
        );
        parallel::for_each(Order::Forward, rows, |row, ((gates, h), (c, tanh_c))| {
            let [c_before, h_before] = [c_before, h_before].map(|s| &s[row * hidden..][..hidden]);
            if lengths.is_some_and(|lengths| t >= lengths[row]) {
                c.copy_from_slice(c_before);
                h.copy_from_slice(h_before);
                gates.fill(T::ZERO);
                tanh_c.fill(T::ZERO);
            } else {
                lstm::forward(gates, bias.data(), c_before, c, tanh_c, h);
            }
        });
    }
    let [h_last, c_last] = [&h, &c].map(|all| {
        let mut last = tape.uninit([batch, hidden]);
        last.data_mut().copy_from_slice(&all.data()[(steps - 1) * step..]);
        last
    });
    tape.record(
        LstmOp { sizes, lengths: lengths.map(Into::into), gates, c, tanh_c },
        &[x, h0, c0, w_ih, w_hh, b],
        [h, h_last, c_last],
    )
}

#[derive(Clone, Copy)]
struct Sizes {
    steps: usize,
    batch: usize,
    inputs: usize,
    hidden: usize,
}

impl Sizes {
    #[track_caller]
    fn new<T: Real>(x: Var<'_, T>, state: [Var<'_, T>; 2], weights: [Var<'_, T>; 3]) -> Sizes {
        let [steps, batch, inputs] = x.shape()[..] else {
            panic!("lstm: input of shape {:?}, not steps x batch x inputs", x.shape())
        };
        let hidden = state[0].shape().as_matrix().1;
        let [w_ih, w_hh, b] = weights.map(|w| w.shape());
        for s in state.map(|s| s.shape()) {
            assert!(
                s.len() == 2 && s[0] == batch,
                "lstm: a state of shape {s:?} for an input of shape {:?}: the batch is {batch}",
                x.shape()
            );
        }
        assert!(
            steps > 0
                && state.iter().all(|s| s.shape()[..] == [batch, hidden])
                && w_ih[..] == [4 * hidden, inputs]
                && w_hh[..] == [4 * hidden, hidden]
                && b[..] == [4 * hidden],
            "lstm: input {:?}, states {:?} and {:?}, weights {w_ih:?}, {w_hh:?} and {b:?}",
            x.shape(),
            state[0].shape(),
            state[1].shape()
        );
        Sizes { steps, batch, inputs, hidden }
    }
}

struct LstmOp<T: Real> {
    sizes: Sizes,
    /// Of every sequence of the batch, where they are not all as long as the input.
    lengths: Option<Box<[usize]>>,
    /// sigma i, sigma f, tanh g, sigma o
    gates: Tensor<T>,
    c: Tensor<T>,
    tanh_c: Tensor<T>,
}
impl<T: Real> Op<T> for LstmOp<T> {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // With dh, dc of step t, what later steps contribute included:
        //   do = dh tanh(c) o (1 - o)         dc += dh o (1 - tanh(c)^2)
        //   df = dc c_(t-1) f (1 - f)         di = dc g i (1 - i)          dg = dc i (1 - g^2)
        //   dh_(t-1) = W_hh^T (di, df, dg, do)                             dc_(t-1) = dc f
        // or, of a sequence that has ended, dh_(t-1) = dh, dc_(t-1) = dc and no gradient of the gates;
        // and over all steps: dx = dgates W_ih, dW_ih = dgates^T x, dW_hh = dgates^T h_(t-1),
        // db = sum of dgates.
        let (dgates, dh, dc) = self.through_time(ctx);
        ctx.add(1, dh);
        ctx.add(2, dc);
        self.to_weights(ctx, &dgates);
    }
}

impl<T: Real> LstmOp<T> {
    /// dgates of all steps, steps x batch x 4H, and dh and dc of the state before the first.
    fn through_time(&self, ctx: &Context<'_, T>) -> (Tensor<T>, Tensor<T>, Tensor<T>) {
        let Sizes { steps, batch, hidden, .. } = self.sizes;
        let (pool, step) = (&ctx.pools().values, batch * hidden);
        let (c0, w_hh) = (ctx.input(2), ctx.input(4));
        let last = |k| {
            let mut last = ctx.uninit([batch, hidden]);
            match ctx.output_grad(k) {
                Some(gradient) => last.data_mut().copy_from_slice(gradient.data()),
                None => last.data_mut().fill(T::ZERO),
            }
            last
        };
        let (mut dh, mut dc) = (last(1), last(2));
        let recurrent = Packed::new(pool, Matrix::new(w_hh.data(), 4 * hidden, hidden));
        let mut dgates = ctx.uninit([steps, batch, 4 * hidden]);
        let ended =
            |t: usize, row: usize| self.lengths.as_ref().is_some_and(|lengths| t >= lengths[row]);
        for t in (0..steps).rev() {
            if let Some(dy) = ctx.output_grad(0) {
                add(dh.data_mut(), &dy.data()[t * step..][..step]);
            }
            let c_before =
                if t == 0 { c0.data() } else { &self.c.data()[(t - 1) * step..][..step] };
            let gates = &self.gates.data()[t * 4 * step..][..4 * step];
            let tanh_c = &self.tanh_c.data()[t * step..][..step];
            let dgates = &mut dgates.data_mut()[t * 4 * step..][..4 * step];
            let rows = (chunks(dc.data_mut(), hidden), chunks(dgates, 4 * hidden));
            parallel::for_each(Order::Forward, rows, |row, (dc, dgates)| {
                let [c_before, tanh_c, dh] =
                    [c_before, tanh_c, dh.data()].map(|x| &x[row * hidden..][..hidden]);
                let gates = &gates[row * 4 * hidden..][..4 * hidden];
                if ended(t, row) {
                    dgates.fill(T::ZERO);
                } else {
                    lstm::backward(gates, c_before, tanh_c, dh, dc, dgates);
                }
            });
            if t > 0 || ctx.needs(1) {
                if self.lengths.is_some() {
                    // What has ended keeps its dh: its row of the product is 0.
                    let rows = dh.data_mut().chunks_exact_mut(hidden).enumerate();
                    rows.filter(|(row, _)| !ended(t, *row)).for_each(|(_, dh)| dh.fill(T::ZERO));
                }
                let dgates = Matrix::new(dgates, batch, 4 * hidden);
                recurrent.multiply(pool, dgates, dh.data_mut(), self.lengths.is_some());
            }
        }
        (dgates, dh, dc)
    }

    /// Adds the gradients of x, the weights and the bias.
    fn to_weights(&self, ctx: &mut Context<'_, T>, dgates: &Tensor<T>) {
        let Sizes { steps, batch, inputs, hidden } = self.sizes;
        let (pool, step, rows) = (&ctx.pools().values, batch * hidden, steps * batch);
        let (x, h0, w_ih, w_hh) = (ctx.input(0), ctx.input(1), ctx.input(3), ctx.input(4));
        let all = Matrix::new(dgates.data(), rows, 4 * hidden);
        if ctx.needs(0) {
            let mut dx = ctx.uninit(x.shape());
            multiply(pool, all, Matrix::new(w_ih.data(), 4 * hidden, inputs), dx.data_mut(), false);
            ctx.add(0, dx);
        }
        if ctx.needs(3) {
            let mut dw = ctx.uninit(w_ih.shape());
            multiply(pool, all.t(), Matrix::new(x.data(), rows, inputs), dw.data_mut(), false);
            ctx.add(3, dw);
        }
        if ctx.needs(4) {
            let mut dw = ctx.uninit(w_hh.shape());
            let (first, later) = dgates.data().split_at(4 * step);
            let first = Matrix::new(first, batch, 4 * hidden).t();
            let later = Matrix::new(later, rows - batch, 4 * hidden).t();
            let before =
                Matrix::new(&ctx.output(0).data()[..(steps - 1) * step], rows - batch, hidden);
            multiply(pool, first, Matrix::new(h0.data(), batch, hidden), dw.data_mut(), false);
            multiply(pool, later, before, dw.data_mut(), true);
            ctx.add(4, dw);
        }
        if ctx.needs(5) {
            let mut db = ctx.uninit([4 * hidden]);
            sum_middle(dgates.data(), rows, 4 * hidden, db.data_mut());
            ctx.add(5, db);
        }
    }
}

/// [`lstm`] written from primitive ops: the definition that the fused op is tested against.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn lstm_composed<'t, T: Real>(
    x: Var<'t, T>,
    [mut h, mut c]: [Var<'t, T>; 2],
    [w_ih, w_hh, b]: [Var<'t, T>; 3],
) -> [Var<'t, T>; 3] {
    let Sizes { steps, batch, inputs, hidden } = Sizes::new(x, [h, c], [w_ih, w_hh, b]);
    let mut all = Vec::new();
    for t in 0..steps {
        let x = x.slice(0, t..t + 1).reshape([batch, inputs]);
        let gates = x.matmul_t(w_ih) + h.matmul_t(w_hh) + b;
        let gate = |k: usize| gates.slice(1, k * hidden..(k + 1) * hidden);
        let (i, f, g, o) =
            (gate(0).sigmoid(), gate(1).sigmoid(), gate(2).tanh(), gate(3).sigmoid());
        c = f * c + i * g;
        h = o * c.tanh();
        all.push(h.reshape([1, batch, hidden]));
    }
    [concat(&all, 0), h, c]
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, tensor};
    use proptest::prelude::*;

    let sequences =
        (1..4_usize, 1..4_usize, 1..3_usize, 1..4_usize).prop_flat_map(|(t, b, i, h)| {
            let weights =
                [tensor([4 * h, i]).boxed(), tensor([4 * h, h]).boxed(), tensor([4 * h]).boxed()];
            let lengths = proptest::collection::vec(0..=t, b);
            (tensor([t, b, i]), lengths, [tensor([b, h]), tensor([b, h])], weights)
        });
    let of_lengths = Case::new("lstm of lengths", sequences, |(x, lengths, [h, c], [w, u, b])| {
        gradcheck([x, h, c, w, u, b], |[x, h, c, w, u, b]| {
            let [all, h, c] = lstm_of_lengths(x, &lengths, [h, c], [w, u, b]);
            all.sum_axis(0) * h + c
        })
    });
    let lstm = Case::new(
        "lstm",
        (1..4_usize, 1..3_usize, 1..4_usize, 1..4_usize).prop_flat_map(|(t, b, i, h)| {
            let weights =
                [tensor([4 * h, i]).boxed(), tensor([4 * h, h]).boxed(), tensor([4 * h]).boxed()];
            (tensor([t, b, i]), [tensor([b, h]), tensor([b, h])], weights)
        }),
        |(x, [h, c], [w, u, b])| {
            gradcheck([x, h, c, w, u, b], |[x, h, c, w, u, b]| {
                let [all, h, c] = lstm(x, [h, c], [w, u, b]);
                all.sum_axis(0) * h + c
            })
        },
    );
    vec![lstm, of_lengths]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Tape;

    #[test]
    fn a_sequence_of_its_own_length_ends_as_it_would_alone() {
        let tape = Tape::new();
        let (t, b, i, h) = (4, 3, 2, 5);
        let leaf = |shape: &[usize], k: f64| {
            tape.leaf(Tensor::from_fn(shape, |i| ((i as f64 + 1.0) * k).sin() * 0.5))
        };
        let (x, lengths) = (leaf(&[t, b, i], 0.7), [2, 4, 0]);
        let state = [leaf(&[b, h], 0.3), leaf(&[b, h], 0.9)];
        let weights = [leaf(&[4 * h, i], 1.1), leaf(&[4 * h, h], 1.7), leaf(&[4 * h], 0.2)];
        let [all, last_h, last_c] = lstm_of_lengths(x, &lengths, state, weights);
        let mut outputs = vec![];
        let mut alone = vec![];
        for (row, &length) in lengths.iter().enumerate() {
            let [h_own, c_own] = if length == 0 {
                state.map(|s| s.slice(0, row..row + 1))
            } else {
                let x = x.slice(0, 0..length).slice(1, row..row + 1);
                let [_, h, c] = lstm(x, state.map(|s| s.slice(0, row..row + 1)), weights);
                [h, c]
            };
            for (found, own) in [(last_h, h_own), (last_c, c_own)] {
                assert_eq!(found.slice(0, row..row + 1).value(), own.value(), "row {row}");
            }
            let end = all.slice(0, t - 1..t).slice(1, row..row + 1);
            assert_eq!(end.value().data(), h_own.value().data(), "row {row}");
            outputs.extend([last_h, last_c].map(|s| s.slice(0, row..row + 1)));
            alone.extend([h_own, c_own]);
        }
        let seeds = |outputs: &[Var<'_, f64>]| {
            let seed = |y: &Var<'_, f64>| Tensor::from_fn(y.shape(), |i| (i as f64).cos());
            let seeds: Vec<_> = outputs.iter().map(|y| (*y, seed(y))).collect();
            tape.backward_from(&seeds).unwrap()
        };
        let (grads, expected) = (seeds(&outputs), seeds(&alone));
        for input in [x].into_iter().chain(state).chain(weights) {
            let (found, expected) = (grads.dense(input), expected.dense(input));
            let pairs = found.data().iter().zip(expected.data());
            assert!(
                pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-12),
                "{found:?} {expected:?}"
            );
        }
    }

    #[test]
    fn the_fused_op_equals_its_composition() {
        let tape = Tape::new();
        let (t, b, i, h) = (4, 3, 18, 17);
        let leaf = |shape: &[usize], k: f64| {
            tape.leaf(Tensor::from_fn(shape, |i| ((i as f64 + 1.0) * k).sin() * 0.5))
        };
        let x = leaf(&[t, b, i], 0.7);
        let state = [leaf(&[b, h], 0.3), leaf(&[b, h], 0.9)];
        let weights = [leaf(&[4 * h, i], 1.1), leaf(&[4 * h, h], 1.7), leaf(&[4 * h], 0.2)];
        let (fused, composed) = (lstm(x, state, weights), lstm_composed(x, state, weights));
        let seeds = |outputs: [Var<'_, f64>; 3]| {
            let seed = |y: Var<'_, f64>| Tensor::from_fn(y.shape(), |i| (i as f64 * 0.37).cos());
            tape.backward_from(&outputs.map(|y| (y, seed(y)))).unwrap()
        };
        let (grads, expected) = (seeds(fused), seeds(composed));
        let close = |a: &Tensor<f64>, b: &Tensor<f64>| {
            assert!(
                a.data().iter().zip(b.data()).all(|(a, b)| (a - b).abs() < 1e-12),
                "{a:?} {b:?}"
            );
        };
        fused.iter().zip(composed).for_each(|(a, b)| close(&a.value(), &b.value()));
        for input in [x].into_iter().chain(state).chain(weights) {
            close(&grads.dense(input), &expected.dense(input));
        }
    }
}
