//! Matrix products, either side transposed, and of many pairs of matrices at once.

use crate::gemm::{Matrix, multiply};
use crate::parallel;
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::{Pool, Tensor};

/// The tensor as a matrix, all axes but the last flattened to rows; transposed on demand.
fn matrix<T: Real>(x: &Tensor<T>, transposed: bool) -> Matrix<'_, T> {
    let (rows, columns) = x.shape().as_matrix();
    let matrix = Matrix::new(x.data(), rows, columns);
    if transposed { matrix.t() } else { matrix }
}

impl<'t, T: Real> Var<'t, T> {
    /// Y = X W, X m x k (leading axes are flattened to rows and kept), W k x n
    ///
    /// # Panics
    /// If X's last axis is not W's first, or W is no matrix.
    #[track_caller]
    pub fn matmul(self, w: Var<'t, T>) -> Var<'t, T> {
        self.product("matmul", w, [false, false])
    }

    /// Y = X W^T, X m x k (leading axes are flattened to rows and kept), W n x k
    ///
    /// # Panics
    /// If the last axes differ, or W is no matrix.
    #[track_caller]
    pub fn matmul_t(self, w: Var<'t, T>) -> Var<'t, T> {
        self.product("matmul_t", w, [false, true])
    }

    /// Y = X^T W, X k x m, W k x n
    ///
    /// # Panics
    /// If the first axes differ, or a side is no matrix.
    #[track_caller]
    pub fn t_matmul(self, w: Var<'t, T>) -> Var<'t, T> {
        self.product("t_matmul", w, [true, false])
    }

    /// Y = X^T W^T, X k x m, W n x k
    ///
    /// # Panics
    /// If X's first axis is not W's last, or a side is no matrix.
    #[track_caller]
    pub fn t_matmul_t(self, w: Var<'t, T>) -> Var<'t, T> {
        self.product("t_matmul_t", w, [true, true])
    }

    #[track_caller]
    fn product(self, name: &str, w: Var<'t, T>, transposed: [bool; 2]) -> Var<'t, T> {
        let (x, wv) = (self.value(), w.value());
        let (a, b) = (x.shape(), wv.shape());
        let fits = a.len() >= 2 && b.len() == 2 && (a.len() == 2 || !transposed[0]);
        let inner = |shape: &[usize], last: bool| shape[if last { shape.len() - 1 } else { 0 }];
        assert!(
            fits && inner(&a, !transposed[0]) == inner(&b, transposed[1]),
            "{name}: shapes {a:?}{} and {b:?}{}",
            if transposed[0] { " transposed" } else { "" },
            if transposed[1] { " transposed" } else { "" }
        );
        let columns = inner(&b, !transposed[1]);
        let shape =
            if transposed[0] { [a[1], columns].into() } else { a.with(a.len() - 1, columns) };
        let mut y = self.tape().uninit(shape);
        let values = &self.tape().pools().values;
        multiply(
            values,
            matrix(&x, transposed[0]),
            matrix(&wv, transposed[1]),
            y.data_mut(),
            false,
        );
        let [y] = self.tape().record(MatMul { transposed }, &[self, w], [y]);
        y
    }
}

struct MatMul {
    transposed: [bool; 2],
}
impl<T: Real> Op<T> for MatMul {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // With X, W as they enter the product: dX = dY W^T, dW = X^T dY. The gradient of a side that
        // was transposed is the transpose of that: the factors swapped and transposed.
        let Some(dy) = ctx.output_grad(0) else { return };
        let (x, w, values) = (ctx.input(0), ctx.input(1), &ctx.pools().values);
        let [tx, tw] = self.transposed;
        if ctx.needs(0) {
            let mut dx = ctx.uninit(x.shape());
            let (left, right) = (matrix(dy, false), matrix(w, !tw));
            let (left, right) = if tx { (right.t(), left.t()) } else { (left, right) };
            multiply(values, left, right, dx.data_mut(), false);
            ctx.add(0, dx);
        }
        if ctx.needs(1) {
            let mut dw = ctx.uninit(w.shape());
            let (left, right) = (matrix(x, !tx), matrix(dy, false));
            let (left, right) = if tw { (right.t(), left.t()) } else { (left, right) };
            multiply(values, left, right, dw.data_mut(), false);
            ctx.add(1, dw);
        }
    }
}

/// Every matrix of `a` (the last two axes) times the one of `b` in the same place, either of them
/// transposed.
fn multiply_each<T: Real>(
    pool: &Pool<T>,
    (a, a_transposed): (&Tensor<T>, bool),
    (b, b_transposed): (&Tensor<T>, bool),
    c: &mut Tensor<T>,
) {
    fn nth<T: Real>(x: &Tensor<T>, i: usize, transposed: bool) -> Matrix<'_, T> {
        let [.., rows, columns] = x.shape()[..] else { unreachable!("at least two axes") };
        let matrix = Matrix::new(&x.data()[i * rows * columns..][..rows * columns], rows, columns);
        if transposed { matrix.t() } else { matrix }
    }
    let size = c.shape().iter().rev().take(2).product();
    parallel::for_each_chunk(c.data_mut(), size, |i, c| {
        multiply(pool, nth(a, i, a_transposed), nth(b, i, b_transposed), c, false);
    });
}

impl<'t, T: Real> Var<'t, T> {
    /// Y\[b\] = X\[b\] W\[b\] for every b, X b x m x k, W b x k x n. In place of b there may be two
    /// leading axes, the same in both.
    ///
    /// ```
    /// use dpq::{Tape, Tensor};
    /// let tape = Tape::new();
    /// // The scores of attention: in every sequence and head, every query times every key.
    /// let queries = tape.leaf(Tensor::<f32>::zeros([2, 4, 10, 16]));
    /// let keys = tape.leaf(Tensor::zeros([2, 4, 12, 16]));
    /// let scores = queries.batch_matmul(keys.transpose(2, 3)) / 4.0;
    /// assert_eq!(scores.shape()[..], [2, 4, 10, 12]);
    /// ```
    ///
    /// # Panics
    /// Unless both have three or four axes, the leading ones the same, and X's last is as long as
    /// W's last but one.
    #[track_caller]
    pub fn batch_matmul(self, w: Var<'t, T>) -> Var<'t, T> {
        let (x, wv) = (self.value(), w.value());
        let (a, b) = (x.shape(), wv.shape());
        let axes = a.len();
        assert!(
            axes >= 3
                && b.len() == axes
                && a[..axes - 2] == b[..axes - 2]
                && a[axes - 1] == b[axes - 2],
            "batch_matmul: shapes {a:?} and {b:?}"
        );
        let mut y = self.tape().uninit(a.with(axes - 1, b[axes - 1]));
        multiply_each(&self.tape().pools().values, (&x, false), (&wv, false), &mut y);
        let [y] = self.tape().record(BatchMatMul, &[self, w], [y]);
        y
    }
}

struct BatchMatMul;
impl<T: Real> Op<T> for BatchMatMul {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dX = dY W^T, dW = X^T dY, for every pair
        let Some(dy) = ctx.output_grad(0) else { return };
        let (x, w, values) = (ctx.input(0), ctx.input(1), &ctx.pools().values);
        if ctx.needs(0) {
            let mut dx = ctx.uninit(x.shape());
            multiply_each(values, (dy, false), (w, true), &mut dx);
            ctx.add(0, dx);
        }
        if ctx.needs(1) {
            let mut dw = ctx.uninit(w.shape());
            multiply_each(values, (x, true), (dy, false), &mut dw);
            ctx.add(1, dw);
        }
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, length, tensor};
    use crate::tensor::Shape;
    use proptest::prelude::*;

    let sizes = || {
        (length(), length(), length()).prop_filter("a Jacobian of moderate size", |(m, k, n)| {
            m * k + k * n <= 150 && m * n <= 60
        })
    };
    vec![
        Case::new(
            "matmul",
            sizes().prop_flat_map(|(m, k, n)| (tensor([m, k]), tensor([k, n]))),
            |(x, w)| gradcheck([x, w], |[x, w]| x.matmul(w)),
        ),
        Case::new(
            "matmul_t",
            sizes().prop_flat_map(|(m, k, n)| (tensor([m, k]), tensor([n, k]))),
            |(x, w)| gradcheck([x, w], |[x, w]| x.matmul_t(w)),
        ),
        Case::new(
            "t_matmul",
            sizes().prop_flat_map(|(m, k, n)| (tensor([k, m]), tensor([k, n]))),
            |(x, w)| gradcheck([x, w], |[x, w]| x.t_matmul(w)),
        ),
        Case::new(
            "t_matmul_t",
            sizes().prop_flat_map(|(m, k, n)| (tensor([k, m]), tensor([n, k]))),
            |(x, w)| gradcheck([x, w], |[x, w]| x.t_matmul_t(w)),
        ),
        Case::new("matmul of three axes", (tensor([2, 3, 4]), tensor([4, 2])), |(x, w)| {
            gradcheck([x, w], |[x, w]| x.matmul(w))
        }),
        Case::new(
            "batch_matmul",
            (prop::collection::vec(length(), 1..3), length(), length(), length())
                .prop_filter("a Jacobian of moderate size", |(b, m, k, n)| {
                    let b: usize = b.iter().product();
                    b * (m * k + k * n) <= 150 && b * m * n <= 60
                })
                .prop_flat_map(|(b, m, k, n)| {
                    let shape = |m, n| Shape::from(&[&b[..], &[m, n]].concat()[..]);
                    (tensor(shape(m, k)), tensor(shape(k, n)))
                }),
            |(x, w)| gradcheck([x, w], |[x, w]| x.batch_matmul(w)),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor};

    #[test]
    #[should_panic(expected = "matmul: shapes [2, 3] and [2, 3]")]
    fn inner_lengths_that_differ_panic_with_both_shapes() {
        let tape = Tape::new();
        tape.leaf(Tensor::<f32>::zeros([2, 3])).matmul(tape.leaf(Tensor::zeros([2, 3])));
    }

    #[test]
    #[should_panic(expected = "matmul: shapes [2, 3] and [3, 4, 5]")]
    fn a_right_side_that_is_no_matrix_panics_with_both_shapes() {
        let tape = Tape::new();
        tape.leaf(Tensor::<f32>::zeros([2, 3])).matmul(tape.leaf(Tensor::zeros([3, 4, 5])));
    }

    #[test]
    fn every_product_of_a_batch_is_that_of_its_two_matrices() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from_fn([2, 3, 4, 5], |i| (i as f32).sin()));
        let w = tape.leaf(Tensor::from_fn([2, 3, 5, 2], |i| (i as f32).cos()));
        let y = x.batch_matmul(w).reshape([6, 4, 2]);
        let (x, w) = (x.reshape([6, 4, 5]), w.reshape([6, 5, 2]));
        assert_eq!(x.batch_matmul(w).value(), y.value());
        for i in 0..6 {
            let [x, w, y] = [x, w, y].map(|v| {
                let [_, rows, columns] = v.shape()[..] else { unreachable!() };
                v.slice(0, i..i + 1).reshape([rows, columns])
            });
            assert_eq!(x.matmul(w).value(), y.value());
        }
    }

    #[test]
    #[should_panic(expected = "batch_matmul: shapes [2, 3, 4] and [3, 4, 5]")]
    fn other_leading_axes_panic_with_both_shapes() {
        let tape = Tape::new();
        tape.leaf(Tensor::<f32>::zeros([2, 3, 4]))
            .batch_matmul(tape.leaf(Tensor::zeros([3, 4, 5])));
    }
}
