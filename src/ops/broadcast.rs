//! Broadcasting as in NumPy: shapes are aligned at their last axes, and an axis that is missing, or
//! has length 1, is repeated. The gradient of what was repeated is the sum over its repetitions.

use super::axes::{Axis, merged, offset, steps};
use crate::kernels::elementwise::{map, zip, zip_rows};
use crate::kernels::reduce::sum_middle;
use crate::real::Real;
use crate::tape::Context;
use crate::tensor::{Shape, Tensor};

/// The shape that both broadcast to, if there is one.
pub(super) fn common_shape(a: Shape, b: Shape) -> Option<Shape> {
    let (mut common, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let missing = common.len() - short.len();
    for (axis, &length) in (missing..).zip(short.iter()) {
        match common[axis] {
            own if own == length || length == 1 => {}
            1 => common = common.with(axis, length),
            _ => return None,
        }
    }
    Some(common)
}

/// The axes of a result of shape `y`, to which the other two broadcast, innermost first.
fn axes(y: Shape, a: Shape, b: Shape) -> Vec<Axis<2>> {
    let step = |x: Shape, axis: usize| match (axis + x.len()).checked_sub(y.len()) {
        Some(own) if x[own] == y[axis] => steps(x)[own],
        _ => 0,
    };
    let axis = |i: usize| Axis { length: y[i], steps: [step(a, i), step(b, i)] };
    merged((0..y.len()).rev().map(axis))
}

/// y\[i\] = f(a\[i\], b\[i\]) in y's shape, to which a's and b's broadcast
pub(super) fn zip_broadcast<T: Real>(
    a: &Tensor<T>,
    b: &Tensor<T>,
    y: &mut Tensor<T>,
    f: impl Fn(T, T) -> T + Sync + Copy,
) {
    let shape = y.shape();
    let (av, bv, y) = (a.data(), b.data(), y.data_mut());
    if av.len() == y.len() && bv.len() == y.len() {
        zip(av, bv, y, f);
    } else if let [b] = *bv {
        map(av, y, |a| f(a, b));
    } else if let [a] = *av {
        map(bv, y, |b| f(a, b));
    } else if let [row, rows @ ..] = &axes(shape, a.shape(), b.shape())[..]
        && !y.is_empty()
    {
        let length = |side: usize| if row.steps[side] == 0 { 1 } else { row.length };
        let a = |i: usize| &av[offset(rows, 0, i)..][..length(0)];
        let b = |i: usize| &bv[offset(rows, 1, i)..][..length(1)];
        zip_rows(row.length, a, b, y, f);
    }
}

/// The gradient of a tensor of this shape, from that of what it was broadcast to: the sum over
/// the axes along which it was repeated, the outermost first.
pub(super) fn sum_to<T: Real>(
    ctx: &Context<'_, T>,
    mut gradient: Tensor<T>,
    shape: Shape,
) -> Tensor<T> {
    if gradient.shape() == shape {
        return gradient;
    }
    let mut axes = axes(gradient.shape(), shape, gradient.shape());
    while let Some(repeated) = axes.iter().rposition(|axis| axis.steps[0] == 0) {
        let length = axes.remove(repeated).length;
        let elements = |axes: &[Axis<2>]| axes.iter().map(|axis| axis.length).product::<usize>();
        let (after, before) = (elements(&axes[..repeated]), elements(&axes[repeated..]));
        let mut sum = ctx.uninit([before, after]);
        sum_middle(gradient.data(), length, after, sum.data_mut());
        gradient = sum;
    }
    gradient.reshape(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast_as_in_numpy() {
        let common = |a: &[usize], b: &[usize]| common_shape(a.into(), b.into());
        for (a, b, both) in [
            (&[2, 5, 1][..], &[2, 5, 3][..], Some(&[2, 5, 3][..])),
            (&[3, 1], &[1, 4], Some(&[3, 4])),
            (&[], &[2, 0], Some(&[2, 0])),
            (&[1, 1], &[5], Some(&[1, 5])),
            (&[4, 1, 3], &[2, 1], Some(&[4, 2, 3])),
            (&[1], &[0], Some(&[0])),
            (&[2], &[0], None),
            (&[2, 3], &[2], None),
            (&[2, 3], &[3, 2], None),
        ] {
            assert_eq!(common(a, b), both.map(Shape::from), "{a:?} and {b:?}");
            assert_eq!(common(b, a), both.map(Shape::from), "{b:?} and {a:?}");
        }
    }

    #[test]
    fn elements_are_repeated_along_every_axis() {
        let lengths = [1, 3];
        let shape = |bits: usize| [0, 1, 2].map(|axis| lengths[bits >> axis & 1]);
        for (of_a, of_b) in (0..64).map(|bits| (shape(bits), shape(bits >> 3))) {
            let a = Tensor::from_fn(of_a, |i| i as f64);
            let b = Tensor::from_fn(of_b, |i| 100.0 * i as f64);
            let common = common_shape(a.shape(), b.shape()).unwrap();
            let mut y = Tensor::zeros(common);
            zip_broadcast(&a, &b, &mut y, |a, b| a + b);
            let at = |x: &Tensor<f64>, place: [usize; 3]| {
                let own = |axis: usize| place[axis].min(x.shape()[axis] - 1);
                x.data()[(own(0) * x.shape()[1] + own(1)) * x.shape()[2] + own(2)]
            };
            let [_, n1, n2] = common[..] else { unreachable!() };
            let expected = Tensor::from_fn(common, |i| {
                let place = [i / (n1 * n2), i / n2 % n1, i % n2];
                at(&a, place) + at(&b, place)
            });
            assert_eq!(y, expected, "{of_a:?} and {of_b:?}");
        }
    }
}
