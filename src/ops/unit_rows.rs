//! Rows of length 1.

use crate::error::Error;
use crate::kernels::elementwise::{map, zip};
use crate::kernels::reduce::sum_f64;
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::Buffer;

/// The least squared length that a row is divided by the root of.
const FLOOR: f64 = 1e-12;

impl<'t, T: Real> Var<'t, T> {
    /// y\[i\] = x\[i\] / sqrt(max(||x\[i\]||^2, 1e-12)) of every row i, along the last axis: a product of
    /// such rows is the cosine of the angle between them. A row of zeros stays one;
    /// one whose length is not finite is an error that the tape reports.
    pub fn unit_rows(self) -> Var<'t, T> {
        let (tape, x) = (self.tape(), self.value());
        let (rows, width) = x.shape().as_matrix();
        let mut y = tape.uninit(x.shape());
        let mut reciprocals = tape.pools().moments.take(rows);
        let outputs = y.data_mut().chunks_exact_mut(width.max(1)).zip(reciprocals.iter_mut());
        for ((y, reciprocal), x) in outputs.zip(x.rows()) {
            let squares = sum_f64(x, x, |x, _| x * x);
            if !squares.is_finite() {
                tape.fail(Error::NotFinite { what: "the length of a row".into(), value: squares });
            }
            let r = 1.0 / squares.max(FLOOR).sqrt();
            *reciprocal = r;
            map(x, y, |x| T::from_f64(x.to_f64() * r));
        }
        let [y] = tape.record(UnitRows { reciprocals }, &[self], [y]);
        y
    }
}

struct UnitRows {
    /// 1 / sqrt(max(||x||^2, 1e-12)) of every row.
    reciprocals: Buffer<f64>,
}
impl<T: Real> Op<T> for UnitRows {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = (dy - y <y, dy>) / ||x||; where the floor counts, dx = dy / 1e-6
        let Some(dy) = ctx.output_grad(0) else { return };
        let y = ctx.output(0);
        let width = y.shape().as_matrix().1;
        let mut dx = ctx.uninit(y.shape());
        let rows = dx.data_mut().chunks_exact_mut(width.max(1)).zip(dy.rows()).zip(y.rows());
        for (((dx, dy), y), &r) in rows.zip(self.reciprocals.iter()) {
            let floored = r >= 1.0 / FLOOR.sqrt();
            let along = if floored { 0.0 } else { sum_f64(y, dy, |y, dy| y * dy) };
            zip(dy, y, dx, |dy, y| T::from_f64((dy.to_f64() - y.to_f64() * along) * r));
        }
        ctx.add(0, dx);
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, tensors};

    vec![
        Case::new("unit_rows", tensors(3), |x| gradcheck([x], |[x]| x.unit_rows() * x)),
        Case::new("unit_rows, below the floor", tensors(2), |x| {
            gradcheck([x], |[x]| (x * 1e-9).unit_rows())
        }),
    ]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor};

    #[test]
    fn rows_have_length_one_and_zeros_stay() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from([[3.0_f32, 4.0], [0.0, 0.0], [0.0, -1e-9]]));
        let (y, expected) = (x.unit_rows().value(), [0.6, 0.8, 0.0, 0.0, 0.0, -1e-3]);
        for (y, expected) in y.data().iter().zip(expected) {
            assert!((y - expected).abs() <= 2e-7 * expected.abs(), "{y} {expected}");
        }
    }
}
