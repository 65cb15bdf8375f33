//! Matrix products, either side transposed.

use crate::gemm::{Matrix, multiply};
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::Tensor;

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
    /// If X's last axis is not W's first.
    #[track_caller]
    pub fn matmul(self, w: Var<'t, T>) -> Var<'t, T> {
        self.product(w, [false, false])
    }

    /// Y = X W^T, X m x k (leading axes are flattened to rows and kept), W n x k
    ///
    /// # Panics
    /// If the last axes differ.
    #[track_caller]
    pub fn matmul_t(self, w: Var<'t, T>) -> Var<'t, T> {
        self.product(w, [false, true])
    }

    /// Y = X^T W, X k x m, W k x n
    ///
    /// # Panics
    /// If the first axes differ.
    #[track_caller]
    pub fn t_matmul(self, w: Var<'t, T>) -> Var<'t, T> {
        self.product(w, [true, false])
    }

    /// Y = X^T W^T, X k x m, W n x k
    ///
    /// # Panics
    /// If X's first axis is not W's last.
    #[track_caller]
    pub fn t_matmul_t(self, w: Var<'t, T>) -> Var<'t, T> {
        self.product(w, [true, true])
    }

    #[track_caller]
    fn product(self, w: Var<'t, T>, transposed: [bool; 2]) -> Var<'t, T> {
        let (x, wv) = (self.value(), w.value());
        let (a, b) = (x.shape(), wv.shape());
        let fits = a.len() >= 2 && b.len() == 2 && (a.len() == 2 || !transposed[0]);
        let inner = |shape: &[usize], last: bool| shape[if last { shape.len() - 1 } else { 0 }];
        assert!(
            fits && inner(&a, !transposed[0]) == inner(&b, transposed[1]),
            "matmul: shapes {a:?}{} and {b:?}{}",
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
        // With X, W as they enter the product: dX = dY W^T, dW = X^T dY; a transposed side gets
        // the transpose of its own.
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

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, length, tensor};
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
}
