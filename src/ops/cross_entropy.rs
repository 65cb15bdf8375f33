//! Cross-entropy of logits, the loss of a classifier, also with the linear layer before it.

use super::ids::checked_targets;
use crate::gemm::{Matrix, multiply};
use crate::kernels::elementwise::{add, map, scale, scale_and_add};
use crate::kernels::softmax::exp_shifted;
use crate::parallel::{self, Order, Rows, chunks};
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::{Buffer, Pool, Shape, Tensor};
use std::ops::Range;

/// The rows of logits are worked on in at most this many pieces.
const PIECES: usize = 16;

/// Rows whose gradients are added up before their sum goes to that of a piece.
const SHORT: usize = 16;

/// Rows of logits, and the target of each.
struct Rated<'a, T> {
    /// rows x classes
    logits: &'a mut [T],
    /// Added to every row.
    bias: Option<&'a [T]>,
    targets: &'a [u32],
}

impl<T: Real> Rated<'_, T> {
    /// How many rows, how many classes, and the rows of a piece of work.
    fn sizes(&self) -> [usize; 3] {
        let rows = self.targets.len();
        [rows, self.logits.len() / rows, rows.div_ceil(PIECES)]
    }

    /// The mean over rows of the cross-entropy ln sum_j e^x\[j\] - x\[target\], x = logits + bias.
    fn loss(self, pool: &Pool<T>) -> f64 {
        let ([rows, classes, height], Rated { logits, bias, targets }) = (self.sizes(), self);
        let mut losses = pool.take(rows);
        let pieces = (chunks(logits, height * classes), chunks(&mut losses, height));
        parallel::for_each(Order::Forward, pieces, |i, (logits, losses)| {
            let rows = logits.chunks_exact_mut(classes).zip(&targets[i * height..]);
            for (loss, (row, &target)) in losses.iter_mut().zip(rows) {
                (*loss, _) = row_loss(row, bias, target as usize);
            }
        });
        mean(&losses)
    }

    /// The [`loss`](Self::loss), and the sums over rows of its gradient, (softmax - one-hot) / rows, by
    /// which the logits are overwritten.
    fn loss_and_gradient(self, pool: &Pool<T>) -> (f64, Buffer<T>) {
        let ([rows, classes, height], Rated { logits, bias, targets }) = (self.sizes(), self);
        let weight = T::ONE / T::from_usize(rows);
        let (mut losses, mut sums) = (pool.take(rows), pool.take(classes));
        let pieces = (chunks(logits, height * classes), chunks(&mut losses, height));
        let work = (Rows::new(rows, height), pieces);
        let piece = |(rows, (logits, losses)): (Range<usize>, (&mut [T], &mut [T])),
                     sums: &mut [T]| {
            // The sums of a few rows at a time, and of a few such sums, so that no sum has very many
            // terms.
            let [mut few, mut some] = [(); 2].map(|()| pool.take(classes));
            some.fill(T::ZERO);
            let rows = logits.chunks_mut(SHORT * classes).zip(targets[rows].chunks(SHORT));
            for (i, (losses, (logits, targets))) in losses.chunks_mut(SHORT).zip(rows).enumerate() {
                few.fill(T::ZERO);
                let rows = logits.chunks_exact_mut(classes).zip(targets);
                for (loss, (row, &target)) in losses.iter_mut().zip(rows) {
                    let target = target as usize;
                    let total;
                    (*loss, total) = row_loss(row, bias, target);
                    scale_and_add(row, weight / total, &mut few);
                    row[target] -= weight;
                    few[target] -= weight;
                }
                add(&mut some, &few);
                if i % SHORT == SHORT - 1 {
                    add(sums, &some);
                    some.fill(T::ZERO);
                }
            }
            add(sums, &some);
        };
        parallel::sum(pool, 0, Order::Forward, work, &mut sums, piece, add);
        (mean(&losses), sums)
    }
}

/// The cross-entropy of one row; the row becomes e^(x - max), whose sum is returned as well.
fn row_loss<T: Real>(row: &mut [T], bias: Option<&[T]>, target: usize) -> (T, T) {
    let score = row[target] + bias.map_or(T::ZERO, |bias| bias[target]);
    let (max, total) = exp_shifted(row, bias);
    ((max - score) + total.ln(), total)
}

fn mean<T: Real>(losses: &[T]) -> f64 {
    losses.iter().map(|loss| loss.to_f64()).sum::<f64>() / losses.len() as f64
}

/// The loss, NaN where a target is outside the classes.
fn scalar_loss<T: Real>(loss: f64, valid: bool) -> Tensor<T> {
    Tensor::scalar(if valid { T::from_f64(loss) } else { T::NAN })
}

#[track_caller]
fn assert_rows(op: &str, shape: Shape, targets: &[u32]) {
    let (rows, classes) = shape.as_matrix();
    assert_eq!(rows, targets.len(), "{op}: rows of logits of shape {shape:?}, and targets");
    assert!(rows * classes > 0, "{op} of nothing: logits of shape {shape:?}");
}

impl<'t, T: Real> Var<'t, T> {
    /// y = mean over rows i of ln sum_j e^x\[i, j\] - x\[i, target\[i\]\], the cross-entropy of
    /// softmax(x). A target outside the classes is an error that the tape reports.
    ///
    /// # Panics
    /// If there is not one target a row, or no row or class at all.
    #[track_caller]
    pub fn cross_entropy(self, targets: &[u32]) -> Var<'t, T> {
        let (tape, x) = (self.tape(), self.value());
        assert_rows("cross_entropy", x.shape(), targets);
        let (targets, valid) = checked_targets(tape, targets, x.shape().as_matrix().1);
        let mut slope = tape.uninit(x.shape());
        slope.data_mut().copy_from_slice(x.data());
        let pool = &tape.pools().values;
        let rated = Rated { logits: slope.data_mut(), bias: None, targets: &targets };
        // If no gradient is needed, the tape drops the op with its slope, which is not computed.
        let loss = match self.needs_gradient() {
            true => rated.loss_and_gradient(pool).0,
            false => rated.loss(pool),
        };
        let [y] = tape.record(CrossEntropy { slope }, &[self], [scalar_loss(loss, valid)]);
        y
    }
}

struct CrossEntropy<T: Real> {
    /// (softmax - one-hot) / rows
    slope: Tensor<T>,
}
impl<T: Real> Op<T> for CrossEntropy<T> {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy (softmax(x) - one-hot(target)) / rows
        let Some(dy) = ctx.output_grad(0) else { return };
        let mut dx = ctx.uninit(self.slope.shape());
        map(self.slope.data(), dx.data_mut(), |slope| slope * dy.item());
        ctx.add(0, dx);
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y = cross-entropy of the logits H W + b, mean over rows: the output layer of a model and its
    /// loss in one. H n x h (leading axes are flattened), W h x classes, b classes.
    ///
    /// The logits exist once, and become their own gradient in place.
    ///
    /// # Panics
    /// If the shapes do not fit, or there is nothing to average.
    #[track_caller]
    pub fn linear_cross_entropy(self, w: Var<'t, T>, b: Var<'t, T>, targets: &[u32]) -> Var<'t, T> {
        let (tape, h, wv, bv) = (self.tape(), self.value(), w.value(), b.value());
        let (rows, width) = h.shape().as_matrix();
        assert!(
            wv.shape().len() == 2 && wv.shape()[0] == width && wv.shape()[1..] == bv.shape()[..],
            "linear_cross_entropy: shapes {:?}, {:?} and {:?}",
            h.shape(),
            wv.shape(),
            bv.shape()
        );
        let classes = wv.shape()[1];
        assert_rows("linear_cross_entropy", [rows, classes].into(), targets);
        let (targets, valid) = checked_targets(tape, targets, classes);
        let pool = &tape.pools().values;
        let mut slope = tape.uninit([rows, classes]);
        let (left, right) =
            (Matrix::new(h.data(), rows, width), Matrix::new(wv.data(), width, classes));
        multiply(pool, left, right, slope.data_mut(), false);
        let rated = Rated { logits: slope.data_mut(), bias: Some(bv.data()), targets: &targets };
        let (loss, sums) = match [self, w, b].iter().any(Var::needs_gradient) {
            true => rated.loss_and_gradient(pool),
            false => (rated.loss(pool), pool.take(0)),
        };
        let op = LinearCrossEntropy { slope, sums };
        let [y] = tape.record(op, &[self, w, b], [scalar_loss(loss, valid)]);
        y
    }
}

struct LinearCrossEntropy<T: Real> {
    /// G = (softmax - one-hot) / rows
    slope: Tensor<T>,
    /// The sums of G's columns.
    sums: Buffer<T>,
}
impl<T: Real> Op<T> for LinearCrossEntropy<T> {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dH = dy G W^T, dW = (dy H)^T G, db = dy sum of G's rows
        let Some(dy) = ctx.output_grad(0) else { return };
        let (dy, pool) = (dy.item(), &ctx.pools().values);
        let (h, w) = (ctx.input(0), ctx.input(1));
        let (rows, width) = h.shape().as_matrix();
        let classes = w.shape()[1];
        let slope = Matrix::new(self.slope.data(), rows, classes);
        if ctx.needs(0) {
            let mut dh = ctx.uninit(h.shape());
            multiply(pool, slope, Matrix::new(w.data(), width, classes).t(), dh.data_mut(), false);
            scale(dh.data_mut(), dy);
            ctx.add(0, dh);
        }
        if ctx.needs(1) {
            let mut scaled = ctx.uninit([rows, width]);
            map(h.data(), scaled.data_mut(), |h| h * dy);
            let mut dw = ctx.uninit(w.shape());
            multiply(
                pool,
                Matrix::new(scaled.data(), rows, width).t(),
                slope,
                dw.data_mut(),
                false,
            );
            ctx.add(1, dw);
        }
        if ctx.needs(2) {
            let mut db = ctx.uninit([classes]);
            map(&self.sums, db.data_mut(), |sum| sum * dy);
            ctx.add(2, db);
        }
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, elements, ids, some_length, tensor};
    use proptest::prelude::*;

    let labelled = || {
        (some_length(), some_length())
            .prop_filter("a Jacobian of moderate size", |(n, k)| n * k <= 200)
            .prop_flat_map(|(n, k)| (tensor([n, k]), ids(n, k)))
    };
    vec![
        Case::new("cross_entropy", labelled(), |(x, targets)| {
            gradcheck([x], |[x]| x.cross_entropy(&targets) * 3.0)
        }),
        Case::new(
            "linear_cross_entropy",
            (some_length(), some_length(), some_length())
                .prop_filter("a Jacobian of moderate size", |(n, h, k)| n * h + h * k <= 200)
                .prop_flat_map(|(n, h, k)| {
                    // Small logits: where a prediction is nearly certain, the loss is ln(1 + x) with a
                    // tiny x, and rounds as 1 does: too much for differences.
                    let small = |shape: [usize; 2]| elements(shape, -0.5..0.5);
                    (small([n, h]), small([h, k]), tensor([k]), ids(n, k))
                }),
            |(h, w, b, targets)| {
                gradcheck([h, w, b], |[h, w, b]| h.linear_cross_entropy(w, b, &targets) * 3.0)
            },
        ),
    ]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor};

    #[test]
    fn the_fused_losses_equal_their_compositions() {
        let tape = Tape::new();
        let h = tape.leaf(Tensor::from_fn([5, 3], |i| (i as f64 * 0.7).sin()));
        let w = tape.leaf(Tensor::from_fn([3, 18], |i| (i as f64 * 1.3).cos()));
        let b = tape.leaf(Tensor::from_fn([18], |i| (i as f64).sin()));
        let targets = [4, 0, 17, 4, 9];
        let logits = h.matmul(w) + b;
        let rows: Vec<u32> = (0..5).map(|i| i * 18 + targets[i as usize]).collect();
        let composed = -logits.log_softmax().reshape([90, 1]).gather_rows(&rows).mean();
        let fused = h.linear_cross_entropy(w, b, &targets);
        for loss in [fused, logits.cross_entropy(&targets)] {
            assert!((loss.value().item() - composed.value().item()).abs() < 1e-14);
            let (a, c) = (tape.backward(loss).unwrap(), tape.backward(composed).unwrap());
            for x in [h, w, b] {
                let (a, c) = (a.dense(x), c.dense(x));
                assert!(
                    a.data().iter().zip(c.data()).all(|(a, c)| (a - c).abs() < 1e-14),
                    "{a:?} {c:?}"
                );
            }
        }
    }
}
