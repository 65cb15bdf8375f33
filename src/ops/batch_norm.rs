//! Batch normalisation over rows, without scale and offset.

use crate::kernels::dispatch::dispatch;
use crate::real::Real;
use crate::tape::{Context, Op, Ranks, Var};
use crate::tensor::Tensor;
use fearless_simd::Simd;

/// Mean and biased variance of every column.
#[derive(Clone, Debug)]
pub struct BatchStatistics<T: Real> {
    /// mean\[j\]
    pub mean: Tensor<T>,
    /// var\[j\], the mean squared deviation
    pub var: Tensor<T>,
    /// Added to the variance: sd = sqrt(var + eps).
    pub eps: f64,
}

impl<T: Real> BatchStatistics<T> {
    /// 1 / sqrt(var\[j\] + eps)
    pub fn reciprocals(&self) -> Vec<T> {
        self.var.data().iter().map(|&var| T::ONE / (var + T::from_f64(self.eps)).sqrt()).collect()
    }

    /// out\[i, j\] = (x\[i, j\] - mean\[j\]) / sd\[j\]
    fn normalized(&self, x: &Tensor<T>, out: &mut [T]) {
        let reciprocals = self.reciprocals();
        dispatch!(|simd| normalize_rows(simd, x, self.mean.data(), &reciprocals, out));
    }
}

/// out = (x - mean) reciprocal, column by column.
#[inline(always)]
fn normalize_rows<S: Simd, T: Real>(
    _: S,
    x: &Tensor<T>,
    mean: &[T],
    reciprocals: &[T],
    out: &mut [T],
) {
    for (out, x) in out.chunks_exact_mut(mean.len()).zip(x.rows()) {
        let columns = out.iter_mut().zip(x).zip(mean).zip(reciprocals);
        columns.for_each(|(((out, &x), &mean), &reciprocal)| *out = (x - mean) * reciprocal);
    }
}

/// Row i, of so many columns.
fn row<T: Real>(x: &Tensor<T>, i: usize, columns: usize) -> &[T] {
    &x.data()[i * columns..][..columns]
}

/// For every column j the mean over rows i, of all ranks, of f(i)(j), in double precision; alone, of equal
/// values exactly that value, since what is added up is how far they are from the first.
fn column_means<F: Fn(usize) -> f64>(
    ranks: &Ranks,
    rows: usize,
    columns: usize,
    f: impl Fn(usize) -> F,
) -> Vec<f64> {
    let mut means = vec![0.0; columns];
    dispatch!(|simd| own_column_means(simd, rows, &f, &mut means));
    if ranks.are_several() {
        means.iter_mut().for_each(|mean| *mean *= rows as f64);
        means.push(rows as f64);
        ranks.sum(&mut means);
        let total = means.pop().expect("the number of rows");
        means.iter_mut().for_each(|mean| *mean /= total);
    }
    means
}

/// The means over these rows.
#[inline(always)]
fn own_column_means<S: Simd, F: Fn(usize) -> f64>(
    _: S,
    rows: usize,
    f: impl Fn(usize) -> F,
    means: &mut [f64],
) {
    let first = f(0);
    for i in 1..rows {
        let row = f(i);
        means.iter_mut().enumerate().for_each(|(j, sum)| *sum += row(j) - first(j));
    }
    let mean = |(j, sum): (usize, &mut f64)| *sum = first(j) + *sum / rows as f64;
    means.iter_mut().enumerate().for_each(mean);
}

#[track_caller]
pub(super) fn assert_eps(op: &str, eps: f64) {
    assert!(eps >= 0.0 && eps.is_finite(), "{op}: eps {eps}: expected 0 or a positive number");
}

impl<'t, T: Real> Var<'t, T> {
    /// y\[i, j\] = (x\[i, j\] - mean\[j\]) / sqrt(var\[j\] + eps), with the statistics over all rows
    /// i, which are returned as well. The gradient flows through them.
    ///
    /// # Panics
    /// If there are no rows or no columns, or `eps` is negative or not finite.
    #[track_caller]
    pub fn batch_norm(self, eps: f64) -> (Var<'t, T>, BatchStatistics<T>) {
        assert_eps("batch_norm", eps);
        let x = self.value();
        let (rows, columns) = x.shape().as_matrix();
        assert!(rows * columns > 0, "batch_norm of nothing: shape {:?}", x.shape());
        let ranks = self.tape().ranks();
        let mean = column_means(ranks, rows, columns, |i| {
            let x = row(&x, i, columns);
            move |j| x[j].to_f64()
        });
        let var = column_means(ranks, rows, columns, |i| {
            let (x, mean) = (row(&x, i, columns), &mean[..columns]);
            move |j| (x[j].to_f64() - mean[j]).powi(2)
        });
        let tensor = |values: &[f64]| Tensor::from_fn([columns], |j| T::from_f64(values[j]));
        let statistics = BatchStatistics { mean: tensor(&mean), var: tensor(&var), eps };
        let mut y = self.tape().uninit(x.shape());
        statistics.normalized(&x, y.data_mut());
        let [y] = self.tape().record(BatchNorm { statistics: statistics.clone() }, &[self], [y]);
        (y, statistics)
    }
}

struct BatchNorm<T: Real> {
    statistics: BatchStatistics<T>,
}
impl<T: Real> Op<T> for BatchNorm<T> {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = (dy - mean(dy) - y mean(dy y)) / sd, means over the rows
        let Some(dy) = ctx.output_grad(0) else { return };
        let y = ctx.output(0);
        let (rows, columns) = y.shape().as_matrix();
        let mean_dy = column_means(ctx.ranks(), rows, columns, |i| {
            let dy = row(dy, i, columns);
            move |j| dy[j].to_f64()
        });
        let mean_dy_y = column_means(ctx.ranks(), rows, columns, |i| {
            let (dy, y) = (row(dy, i, columns), row(y, i, columns));
            move |j| dy[j].to_f64() * y[j].to_f64()
        });
        let reciprocals = self.statistics.reciprocals();
        let mut dx = ctx.uninit(y.shape());
        dispatch!(|simd| centre_rows(simd, dy, y, [&mean_dy, &mean_dy_y], &reciprocals, &mut dx));
        ctx.add(0, dx);
    }
}

/// dx = (dy - mean(dy) - y mean(dy y)) / sd
#[inline(always)]
fn centre_rows<S: Simd, T: Real>(
    _: S,
    dy: &Tensor<T>,
    y: &Tensor<T>,
    [mean_dy, mean_dy_y]: [&[f64]; 2],
    reciprocals: &[T],
    dx: &mut Tensor<T>,
) {
    let columns = reciprocals.len();
    let [mean_dy, mean_dy_y] = [mean_dy, mean_dy_y].map(|means| &means[..columns]);
    for ((dx, dy), y) in dx.data_mut().chunks_exact_mut(columns).zip(dy.rows()).zip(y.rows()) {
        let (dx, dy, y) = (&mut dx[..columns], &dy[..columns], &y[..columns]);
        for j in 0..columns {
            let centred = dy[j].to_f64() - mean_dy[j] - y[j].to_f64() * mean_dy_y[j];
            dx[j] = T::from_f64(centred) * reciprocals[j];
        }
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y\[i, j\] = (x\[i, j\] - mean\[j\]) / sqrt(var\[j\] + eps) with given statistics
    ///
    /// # Panics
    /// If there are not as many columns as statistics.
    #[track_caller]
    pub fn normalize(self, statistics: &BatchStatistics<T>) -> Var<'t, T> {
        let x = self.value();
        let columns = statistics.mean.data().len();
        assert!(
            x.shape().as_matrix().1 == columns && statistics.var.data().len() == columns,
            "normalize: columns of {:?}, {columns} means and {} variances",
            x.shape(),
            statistics.var.data().len()
        );
        let mut y = self.tape().uninit(x.shape());
        statistics.normalized(&x, y.data_mut());
        let [y] =
            self.tape().record(Normalize { reciprocals: statistics.reciprocals() }, &[self], [y]);
        y
    }
}

struct Normalize<T: Real> {
    reciprocals: Vec<T>,
}
impl<T: Real> Op<T> for Normalize<T> {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy / sd
        let Some(dy) = ctx.output_grad(0) else { return };
        let mut dx = ctx.uninit(dy.shape());
        for (dx, dy) in dx.data_mut().chunks_exact_mut(self.reciprocals.len()).zip(dy.rows()) {
            for (j, reciprocal) in self.reciprocals.iter().enumerate() {
                dx[j] = dy[j] * *reciprocal;
            }
        }
        ctx.add(0, dx);
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, elements, some_length, tensor};
    use proptest::prelude::*;

    let matrices = || {
        (some_length(), some_length())
            .prop_filter("a Jacobian of moderate size", |(n, k)| n * k <= 60)
            .prop_flat_map(|(n, k)| (tensor([n, k]), tensor([n, k])))
    };
    vec![
        Case::new("batch_norm", matrices(), |(x, w)| {
            gradcheck([x, w], |[x, w]| x.batch_norm(1e-3).0 * w)
        }),
        Case::new(
            "normalize",
            matrices().prop_flat_map(|(x, _)| {
                let k = x.shape()[1];
                (Just(x), tensor([k]), elements([k], 0.0..2.0))
            }),
            |(x, mean, var)| {
                let statistics = BatchStatistics { mean, var, eps: 1e-3 };
                gradcheck([x], |[x]| x.normalize(&statistics) * x)
            },
        ),
    ]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor};

    #[test]
    fn columns_have_mean_0_and_the_variance_less_eps() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from([[1.0_f32, 5.0], [3.0, 5.0], [5.0, 5.0]]));
        let (y, statistics) = x.batch_norm(1e-3);
        assert_eq!(statistics.mean.data(), [3.0, 5.0]);
        assert_eq!(statistics.var.data(), [8.0 / 3.0, 0.0]);
        assert_eq!(y.value(), x.normalize(&statistics).value());
        assert_eq!(y.value().data()[3], 0.0);
    }

    #[test]
    #[should_panic(expected = "batch_norm of nothing: shape [0, 3]")]
    fn statistics_of_nothing_panic() {
        Tape::new().leaf(Tensor::<f64>::zeros([0, 3])).batch_norm(1e-3);
    }
}
