//! The axes in another order.

use super::axes::{Axis, merged, offset, steps};
use super::reduce::around;
use crate::kernels::elementwise::CHUNK;
use crate::kernels::transpose::transpose_into;
use crate::parallel;
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::Tensor;

/// The elements of x in the order of y, whose axis i is x's axis `axes[i]`.
fn copy_permuted<T: Real>(x: &Tensor<T>, axes: &[usize], y: &mut Tensor<T>) {
    let (shape, steps) = (x.shape(), steps(x.shape()));
    let (x, y) = (x.data(), y.data_mut());
    if y.is_empty() {
        return;
    }
    let axis = |&axis: &usize| Axis { length: shape[axis], steps: [steps[axis]] };
    match merged(axes.iter().rev().map(axis))[..] {
        // Rows that stay whole.
        [] => y.copy_from_slice(x),
        [Axis { length, steps: [1] }, ref rows @ ..] => {
            for_each_block(y, length, |i, y| {
                y.copy_from_slice(&x[offset(rows, 0, i)..][..length]);
            });
        }
        // Matrices that are transposed.
        [rows, Axis { length: columns, steps: [1] }, ref matrices @ ..] => {
            for_each_block(y, rows.length * columns, |i, y| {
                let x = &x[offset(matrices, 0, i)..];
                transpose_into(x, rows.steps[0], (rows.length, columns), y);
            });
        }
        [row, ref rows @ ..] => {
            for_each_block(y, row.length, |i, y| {
                let x = x[offset(rows, 0, i)..].iter().step_by(row.steps[0]);
                y.iter_mut().zip(x).for_each(|(y, x)| *y = *x);
            });
        }
    }
}

/// Calls `f(i, block)` for the blocks of `size` elements, many of them in a piece of work.
fn for_each_block<T: Real>(y: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let blocks = (CHUNK / size).max(1);
    parallel::for_each_chunk(y, blocks * size, |piece, y| {
        for (i, y) in (piece * blocks..).zip(y.chunks_exact_mut(size)) {
            f(i, y);
        }
    });
}

impl<'t, T: Real> Var<'t, T> {
    /// y = x with its axes in another order: axis i of y is axis `axes[i]` of x
    ///
    /// # Panics
    /// If `axes` are not all of x's axes, each once.
    #[track_caller]
    pub fn permute(self, axes: &[usize]) -> Var<'t, T> {
        let (tape, x) = (self.tape(), self.value());
        let shape = x.shape();
        assert!(
            axes.len() == shape.len() && (0..shape.len()).all(|axis| axes.contains(&axis)),
            "permute: {axes:?} is no order of the axes of shape {shape:?}"
        );
        let mut permuted = shape;
        for (i, &axis) in axes.iter().enumerate() {
            permuted = permuted.with(i, shape[axis]);
        }
        let mut y = tape.uninit(permuted);
        copy_permuted(&x, axes, &mut y);
        let [y] = tape.record(Permute { axes: axes.to_vec() }, &[self], [y]);
        y
    }

    /// y = x with axes a and b swapped
    ///
    /// ```
    /// use dpq::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.leaf(Tensor::from([[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]]));
    /// let y = x.transpose(0, 1);
    /// assert_eq!(y.value(), Tensor::from([[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]));
    /// ```
    ///
    /// # Panics
    /// If there is no such axis.
    #[track_caller]
    pub fn transpose(self, a: usize, b: usize) -> Var<'t, T> {
        let shape = self.shape();
        around("transpose", shape, a.max(b));
        let mut axes: Vec<usize> = (0..shape.len()).collect();
        axes.swap(a, b);
        self.permute(&axes)
    }
}

struct Permute {
    axes: Vec<usize>,
}
impl<T: Real> Op<T> for Permute {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy with its axes in x's order
        let Some(dy) = ctx.output_grad(0) else { return };
        let mut back = vec![0; self.axes.len()];
        for (i, &axis) in self.axes.iter().enumerate() {
            back[axis] = i;
        }
        let mut dx = ctx.uninit(ctx.input(0).shape());
        copy_permuted(dy, &back, &mut dx);
        ctx.add(0, dx);
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, tensors};
    use proptest::prelude::*;

    let ordered = (0..=4_usize)
        .prop_flat_map(|axes| (tensors(axes), Just((0..axes).collect::<Vec<_>>()).prop_shuffle()));
    vec![
        Case::new("permute", ordered, |(x, axes)| gradcheck([x], |[x]| x.permute(&axes))),
        Case::new("transpose", (tensors(3), 0..3_usize, 0..3_usize), |(x, a, b)| {
            gradcheck([x], |[x]| x.transpose(a, b))
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Tape;

    #[test]
    fn every_order_of_four_axes() {
        let tape = Tape::new();
        for lengths in [[2, 3, 4, 5], [1, 7, 1, 9], [6, 1, 5, 5], [3, 1, 1, 20], [2, 0, 3, 1]] {
            let x = tape.leaf(Tensor::from_fn(lengths, |i| i as f32));
            for code in 0..256 {
                let axes = [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6];
                if (0..4).any(|axis| !axes.contains(&axis)) {
                    continue;
                }
                let y = x.permute(&axes);
                let shape = axes.map(|axis| lengths[axis]);
                let expected = Tensor::from_fn(shape, |mut i| {
                    let mut place = [0; 4];
                    for axis in (0..4).rev() {
                        place[axes[axis]] = i % shape[axis];
                        i /= shape[axis];
                    }
                    place.iter().zip(lengths).fold(0, |at, (place, length)| at * length + place)
                        as f32
                });
                assert_eq!(y.value(), expected, "{lengths:?} in the order {axes:?}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "permute: [0, 0] is no order of the axes of shape [2, 3]")]
    fn an_axis_twice_panics() {
        Tape::new().leaf(Tensor::<f32>::zeros([2, 3])).permute(&[0, 0]);
    }

    #[test]
    #[should_panic(expected = "transpose: shape [2, 3] has no axis 2")]
    fn an_axis_too_many_panics() {
        Tape::new().leaf(Tensor::<f32>::zeros([2, 3])).transpose(0, 2);
    }
}
