//! Layer normalisation over the last axis, without scale and offset.

use super::batch_norm::assert_eps;
use crate::kernels::elementwise::{map, zip};
use crate::kernels::reduce::sum_f64;
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::Buffer;

impl<'t, T: Real> Var<'t, T> {
    /// y\[i, j\] = (x\[i, j\] - mean\[i\]) / sqrt(var\[i\] + eps), with the mean and the biased
    /// variance of every row i, along the last axis, in double precision. The gradient flows through
    /// them. An `eps` of 0 divides by 0 where all elements of a row are equal.
    ///
    /// Scale and offset are a product and a sum: `x.layer_norm(1e-5) * scale + offset`.
    ///
    /// # Panics
    /// If `eps` is negative or not finite.
    #[track_caller]
    pub fn layer_norm(self, eps: f64) -> Var<'t, T> {
        assert_eps("layer_norm", eps);
        let (tape, x) = (self.tape(), self.value());
        let (rows, width) = x.shape().as_matrix();
        let mut y = tape.uninit(x.shape());
        let mut reciprocals = tape.pools().moments.take(rows);
        let outputs = y.data_mut().chunks_exact_mut(width.max(1)).zip(reciprocals.iter_mut());
        for ((y, reciprocal), x) in outputs.zip(x.rows()) {
            let (n, first) = (width as f64, x[0].to_f64());
            // Of equal elements exactly their value, since deviations from the first are added up.
            let mean = first + sum_f64(x, x, |x, _| x - first) / n;
            let var = sum_f64(x, x, |x, _| (x - mean) * (x - mean)) / n;
            let r = 1.0 / (var + eps).sqrt();
            *reciprocal = r;
            map(x, y, |x| T::from_f64((x.to_f64() - mean) * r));
        }
        let [y] = tape.record(LayerNorm { reciprocals }, &[self], [y]);
        y
    }
}

struct LayerNorm {
    /// 1 / sqrt(var + eps) of every row.
    reciprocals: Buffer<f64>,
}
impl<T: Real> Op<T> for LayerNorm {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = (dy - mean(dy) - y mean(dy y)) / sd, means over the row
        let Some(dy) = ctx.output_grad(0) else { return };
        let y = ctx.output(0);
        let width = y.shape().as_matrix().1;
        let mut dx = ctx.uninit(y.shape());
        let rows = dx.data_mut().chunks_exact_mut(width.max(1)).zip(dy.rows()).zip(y.rows());
        for (((dx, dy), y), &r) in rows.zip(self.reciprocals.iter()) {
            let mean_dy = sum_f64(dy, y, |dy, _| dy) / width as f64;
            let mean_dy_y = sum_f64(dy, y, |dy, y| dy * y) / width as f64;
            zip(dy, y, dx, |dy, y| {
                T::from_f64((dy.to_f64() - mean_dy - y.to_f64() * mean_dy_y) * r)
            });
        }
        ctx.add(0, dx);
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, tensors};

    vec![Case::new("layer_norm", tensors(3), |x| gradcheck([x], |[x]| x.layer_norm(1e-3) * x))]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor};

    #[test]
    fn rows_have_mean_0_and_variance_1() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from_fn([2, 3, 20], |i| 1000.0 + (i as f32).sin()));
        let y = x.layer_norm(0.0).value();
        for row in y.rows() {
            let mean = |f: fn(f64) -> f64| row.iter().map(|&y| f(f64::from(y))).sum::<f64>() / 20.0;
            assert!(mean(|y| y).abs() < 1e-7 && (mean(|y| y * y) - 1.0).abs() < 1e-6);
        }
        // The variance of 4 x is 16 times that of x, which is 6.
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from([[-3.0_f64, 0.0, 3.0]]));
        let scaled = (x * 4.0 - 2.0).layer_norm(1e-5).value();
        let expected = 12.0 / (96.0_f64 + 1e-5).sqrt();
        assert_eq!(scaled, Tensor::from([[-expected, 0.0, expected]]));
    }

    #[test]
    fn equal_elements_one_element_and_none() {
        let tape = Tape::new();
        let of = |x: Tensor<f32>| tape.leaf(x).layer_norm(1e-5).value();
        assert_eq!(of(Tensor::full([2, 7], 0.1)), Tensor::zeros([2, 7]));
        assert_eq!(of(Tensor::full([3, 1], 5.0)), Tensor::zeros([3, 1]));
        for empty in [[0, 3], [3, 0]] {
            assert_eq!(of(Tensor::zeros(empty)), Tensor::zeros(empty));
        }
        assert!(of(Tensor::from([1.0, f32::NAN])).data().iter().all(|y| y.is_nan()));
    }
}
