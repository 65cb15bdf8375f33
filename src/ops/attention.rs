//! Attention: a mean of memories, weighed by how well their keys fit a query.

use crate::kernels::dispatch::dispatch;
use crate::kernels::reduce::dot_of_piece;
use crate::kernels::softmax::exp_shifted;
use crate::parallel::{self, Order, chunks};
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::Tensor;
use fearless_simd::Simd;

impl<'t, T: Real> Var<'t, T> {
    /// Attention of one query for each sequence of a batch (Luong et al. 2015): what it reads, and the
    /// weights by which it does.
    ///
    /// ```text
    /// w[b, s] = softmax over s < lengths[b] of < q[b], k[b, s] >       0 elsewhere
    /// y[b]    = sum over s of w[b, s] m[b, s]
    /// ```
    ///
    /// The queries are B x U, keys B x S x U, memories B x S x M; y is B x M, w B x S. A sequence of length 0
    /// has weights and y of 0. What keys and memories hold after a sequence's end does not count, and
    /// gets no gradient.
    ///
    /// ```
    /// use dpq::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let q = tape.leaf(Tensor::from([[0.0]]));
    /// let k = tape.leaf(Tensor::from([[[1.0], [2.0], [9.0]]]));
    /// let [y, w] = q.attend(k, k, &[2]);
    /// assert_eq!(w.value(), Tensor::from([[0.5, 0.5, 0.0]]));
    /// assert_eq!(y.value(), Tensor::from([[1.5]]));
    /// ```
    ///
    /// # Panics
    /// If the shapes do not fit, or an axis but B is 0, or there is not one length of at most S for each
    /// sequence.
    #[track_caller]
    pub fn attend(
        self,
        keys: Var<'t, T>,
        memories: Var<'t, T>,
        lengths: &[usize],
    ) -> [Var<'t, T>; 2] {
        let (q, k, m) = (self.value(), keys.value(), memories.value());
        let [batch, steps, width] = m.shape()[..] else {
            panic!("attend: memories of shape {:?}, not B x S x M", m.shape())
        };
        let units = q.shape().as_matrix().1;
        assert!(
            q.shape()[..] == [batch, units] && k.shape()[..] == [batch, steps, units],
            "attend: queries {:?}, keys {:?}, memories {:?}",
            q.shape(),
            k.shape(),
            m.shape()
        );
        let some = steps > 0 && units > 0 && width > 0;
        assert!(some, "attend to nothing: keys {:?}, memories {:?}", k.shape(), m.shape());
        let fit = lengths.len() == batch && lengths.iter().all(|&length| length <= steps);
        assert!(fit, "attend: lengths {lengths:?} for keys of shape {:?}", k.shape());
        let tape = self.tape();
        let (mut y, mut w) = (tape.uninit([batch, width]), tape.uninit([batch, steps]));
        let rows = (chunks(y.data_mut(), width), chunks(w.data_mut(), steps));
        parallel::for_each(Order::Forward, rows, |b, (y, w)| {
            let (weights, rest) = w.split_at_mut(lengths[b]);
            rest.fill(T::ZERO);
            let [q, k, m] = [&q, &k, &m].map(|x| row(x, b));
            dispatch!(|simd| read(simd, q, k, m, weights, y));
        });
        tape.record(Attend { lengths: lengths.into() }, &[self, keys, memories], [y, w])
    }
}

/// The part of a tensor that belongs to one sequence.
fn row<T: Real>(x: &Tensor<T>, b: usize) -> &[T] {
    let size = x.data().len() / x.shape()[0];
    &x.data()[b * size..][..size]
}

/// w <- softmax of < q, k\[s\] >, y <- sum of w\[s\] m\[s\], over the steps of w.
#[inline(always)]
fn read<S: Simd, T: Real>(simd: S, q: &[T], k: &[T], m: &[T], w: &mut [T], y: &mut [T]) {
    y.fill(T::ZERO);
    if w.is_empty() {
        return;
    }
    for (w, k) in w.iter_mut().zip(k.chunks_exact(q.len())) {
        *w = dot_of_piece(simd, q, k);
    }
    let (_, total) = exp_shifted(w, None);
    for (w, m) in w.iter_mut().zip(m.chunks_exact(y.len())) {
        *w /= total;
        y.iter_mut().zip(m).for_each(|(y, &m)| *y += *w * m);
    }
}

struct Attend {
    lengths: Box<[usize]>,
}
impl<T: Real> Op<T> for Attend {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dw[s] = < dy, m[s] > + what comes with w itself        ds[s] = w[s] (dw[s] - sum of w dw)
        // dq = sum of ds[s] k[s]        dk[s] = ds[s] q        dm[s] = w[s] dy
        let (q, k, m, w) = (ctx.input(0), ctx.input(1), ctx.input(2), ctx.output(1));
        let (dy, dw) = (ctx.output_grad(0), ctx.output_grad(1));
        let [mut dq, mut dk, mut dm] = [q, k, m].map(|x| ctx.uninit(x.shape()));
        let sizes = [q, k, m].map(|x| x.data().len() / x.shape()[0].max(1));
        let [of_q, of_k, of_m] = sizes;
        let rows = (
            chunks(dq.data_mut(), of_q),
            (chunks(dk.data_mut(), of_k), chunks(dm.data_mut(), of_m)),
        );
        let pool = &ctx.pools().values;
        parallel::for_each(Order::Forward, rows, |b, (dq, (dk, dm))| {
            let mut ds = pool.take(self.lengths[b]);
            let rows = [q, k, m, w].map(|x| row(x, b));
            let [dy, dw] = [dy, dw].map(|x| x.map(|x| row(x, b)));
            dispatch!(|simd| gradients(
                simd,
                rows,
                dy,
                dw,
                &mut ds,
                [&mut *dq, &mut *dk, &mut *dm]
            ));
        });
        ctx.add(0, dq);
        ctx.add(1, dk);
        ctx.add(2, dm);
    }
}

/// The gradients of one sequence.
#[inline(always)]
fn gradients<S: Simd, T: Real>(
    simd: S,
    [q, k, m, w]: [&[T]; 4],
    dy: Option<&[T]>,
    dw: Option<&[T]>,
    ds: &mut [T],
    [dq, dk, dm]: [&mut [T]; 3],
) {
    let (length, width) = (ds.len(), m.len() / w.len());
    dq.fill(T::ZERO);
    dk[length * q.len()..].fill(T::ZERO);
    dm[if dy.is_some() { length * width } else { 0 }..].fill(T::ZERO);
    for (s, ds) in ds.iter_mut().enumerate() {
        *ds = dw.map_or(T::ZERO, |dw| dw[s]);
        if let Some(dy) = dy {
            *ds += dot_of_piece(simd, dy, &m[s * width..][..width]);
            let dm = &mut dm[s * width..][..width];
            dm.iter_mut().zip(dy).for_each(|(dm, &dy)| *dm = w[s] * dy);
        }
    }
    let inner = dot_of_piece(simd, &w[..length], ds);
    for (s, ds) in ds.iter().enumerate() {
        let ds = w[s] * (*ds - inner);
        let (k, dk) = (&k[s * q.len()..][..q.len()], &mut dk[s * q.len()..][..q.len()]);
        dk.iter_mut().zip(q).for_each(|(dk, &q)| *dk = ds * q);
        dq.iter_mut().zip(k).for_each(|(dq, &k)| *dq += ds * k);
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, tensor};
    use proptest::collection::vec;
    use proptest::prelude::*;

    let sequences =
        (1..4_usize, 1..4_usize, 1..4_usize, 1..4_usize).prop_flat_map(|(b, s, u, m)| {
            (tensor([b, u]), tensor([b, s, u]), tensor([b, s, m]), vec(0..=s, b))
        });
    vec![Case::new("attend", sequences, |(q, k, m, lengths)| {
        gradcheck([q, k, m], |[q, k, m]| {
            let [y, w] = q.attend(k, m, &lengths);
            (y * y).sum() + (w * w).sum() * y.sum()
        })
    })]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor};

    #[test]
    fn attention_equals_its_composition() {
        let tape = Tape::new();
        let leaf = |shape: &[usize], k: f64| {
            tape.leaf(Tensor::from_fn(shape, |i| ((i as f64 + 1.0) * k).sin()))
        };
        let (q, k, m) = (leaf(&[2, 19], 0.3), leaf(&[2, 5, 19], 0.7), leaf(&[2, 5, 33], 1.1));
        let lengths = [5, 3];
        let [y, w] = q.attend(k, m, &lengths);
        let mask = Tensor::from_fn([2, 5], |i| if i % 5 < lengths[i / 5] { 1.0 } else { 0.0 });
        let scores = (q.reshape([2, 1, 19]) * k).sum_axis(2);
        let weights = scores.masked_softmax(&mask);
        let read = (weights.reshape([2, 5, 1]) * m).sum_axis(1);
        let close = |a: &Tensor<f64>, b: &Tensor<f64>| {
            let near = a.data().iter().zip(b.data()).all(|(a, b)| (a - b).abs() < 1e-13);
            assert!(near, "{a:?} {b:?}");
        };
        close(&w.value(), &weights.value());
        close(&y.value(), &read.value());
        let seed = Tensor::from_fn([2, 33], |i| (i as f64).cos());
        let found = tape.backward_from(&[(y, seed.clone())]).unwrap();
        let expected = tape.backward_from(&[(read, seed)]).unwrap();
        for x in [q, k, m] {
            close(&found.dense(x), &expected.dense(x));
        }
    }

    #[test]
    #[should_panic(expected = "attend: lengths [4] for keys of shape [1, 3, 2]")]
    fn lengths_have_to_fit() {
        let tape = Tape::new();
        let [q, k] = [tape.leaf(Tensor::<f32>::zeros([1, 2])), tape.leaf(Tensor::zeros([1, 3, 2]))];
        q.attend(k, k, &[4]);
    }
}
