//! Sums, differences, products, quotients, of variables and with plain numbers.
//!
//! Two variables broadcast over leading axes: the shorter shape must be the end of the longer one,
//! and is repeated.

use crate::kernels::elementwise::{add, map, zip};
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::{Shape, Tensor};
use std::ops;

/// The longer of two shapes, of which the other must be the end.
#[track_caller]
fn broadcast_shape(op: &str, a: Shape, b: Shape) -> Shape {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    assert!(
        long.ends_with(&short),
        "{op}: shapes {a:?} and {b:?}: neither is the end of the other"
    );
    long
}

/// out\[i\] = f(a\[i\], b\[i\]), the shorter side repeated.
fn broadcast<T: Real>(
    a: &Tensor<T>,
    b: &Tensor<T>,
    out: &mut [T],
    f: impl Fn(T, T) -> T + Sync + Copy,
) {
    let (a, b) = (a.data(), b.data());
    if a.len() == b.len() {
        zip(a, b, out, f);
    } else if b.len() == 1 {
        map(a, out, |a| f(a, b[0]));
    } else if a.len() == 1 {
        map(b, out, |b| f(a[0], b));
    } else {
        let period = a.len().min(b.len()).max(1);
        let side = |x: &[T], i: usize| if x.len() == period { 0 } else { i * period };
        for (i, out) in out.chunks_exact_mut(period).enumerate() {
            let (a, b) = (&a[side(a, i)..][..period], &b[side(b, i)..][..period]);
            zip(a, b, out, f);
        }
    }
}

/// Sums over the leading axes that broadcasting repeated.
fn reduced<T: Real>(gradient: Tensor<T>, shape: Shape) -> Tensor<T> {
    if gradient.shape() == shape {
        return gradient;
    }
    let mut sum = Tensor::zeros(shape);
    for part in gradient.data().chunks_exact(shape.elements().max(1)) {
        add(sum.data_mut(), part);
    }
    sum
}

impl<'t, T: Real> Var<'t, T> {
    #[track_caller]
    fn binary(
        self,
        other: Var<'t, T>,
        op: impl Op<T>,
        f: impl Fn(T, T) -> T + Sync + Copy,
    ) -> Var<'t, T> {
        let (a, b) = (self.value(), other.value());
        let mut y = self.tape().uninit(broadcast_shape(op.name(), a.shape(), b.shape()));
        broadcast(&a, &b, y.data_mut(), f);
        let [y] = self.tape().record(op, &[self, other], [y]);
        y
    }

    fn unary(self, op: impl Op<T>, f: impl Fn(T) -> T + Sync + Copy) -> Var<'t, T> {
        let x = self.value();
        let mut y = self.tape().uninit(x.shape());
        map(x.data(), y.data_mut(), f);
        let [y] = self.tape().record(op, &[self], [y]);
        y
    }
}

/// y = a + b
impl<'t, T: Real> ops::Add for Var<'t, T> {
    type Output = Var<'t, T>;
    #[track_caller]
    fn add(self, b: Var<'t, T>) -> Var<'t, T> {
        self.binary(b, Add, |a, b| a + b)
    }
}

struct Add;
impl<T: Real> Op<T> for Add {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // da = dy, db = dy
        let Some(dy) = ctx.output_grad(0) else { return };
        for i in [0, 1] {
            if ctx.needs(i) {
                ctx.add(i, reduced(dy.clone(), ctx.input(i).shape()));
            }
        }
    }
}

/// y = a - b
impl<'t, T: Real> ops::Sub for Var<'t, T> {
    type Output = Var<'t, T>;
    #[track_caller]
    fn sub(self, b: Var<'t, T>) -> Var<'t, T> {
        self.binary(b, Sub, |a, b| a - b)
    }
}

struct Sub;
impl<T: Real> Op<T> for Sub {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // da = dy, db = -dy
        let Some(dy) = ctx.output_grad(0) else { return };
        if ctx.needs(0) {
            ctx.add(0, reduced(dy.clone(), ctx.input(0).shape()));
        }
        if ctx.needs(1) {
            let mut db = ctx.uninit(dy.shape());
            map(dy.data(), db.data_mut(), |dy| -dy);
            ctx.add(1, reduced(db, ctx.input(1).shape()));
        }
    }
}

/// y = a b, element by element
impl<'t, T: Real> ops::Mul for Var<'t, T> {
    type Output = Var<'t, T>;
    #[track_caller]
    fn mul(self, b: Var<'t, T>) -> Var<'t, T> {
        self.binary(b, Mul, |a, b| a * b)
    }
}

struct Mul;
impl<T: Real> Op<T> for Mul {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // da = b dy, db = a dy
        let Some(dy) = ctx.output_grad(0) else { return };
        for i in [0, 1] {
            if ctx.needs(i) {
                let mut share = ctx.uninit(dy.shape());
                broadcast(ctx.input(1 - i), dy, share.data_mut(), |other, dy| other * dy);
                ctx.add(i, reduced(share, ctx.input(i).shape()));
            }
        }
    }
}

/// y = a / b, element by element
impl<'t, T: Real> ops::Div for Var<'t, T> {
    type Output = Var<'t, T>;
    #[track_caller]
    fn div(self, b: Var<'t, T>) -> Var<'t, T> {
        self.binary(b, Div, |a, b| a / b)
    }
}

struct Div;
impl<T: Real> Op<T> for Div {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // da = dy / b, db = -dy y / b
        let Some(dy) = ctx.output_grad(0) else { return };
        let (b, y) = (ctx.input(1), ctx.output(0));
        let mut da = ctx.uninit(dy.shape());
        broadcast(dy, b, da.data_mut(), |dy, b| dy / b);
        if ctx.needs(1) {
            let mut db = ctx.uninit(dy.shape());
            zip(da.data(), y.data(), db.data_mut(), |da, y| -da * y);
            ctx.add(1, reduced(db, b.shape()));
        }
        if ctx.needs(0) {
            ctx.add(0, reduced(da, ctx.input(0).shape()));
        }
    }
}

/// y = x + c
impl<'t, T: Real> ops::Add<T> for Var<'t, T> {
    type Output = Var<'t, T>;
    fn add(self, c: T) -> Var<'t, T> {
        self.unary(Scale(T::ONE), |x| x + c)
    }
}

/// y = x - c
impl<'t, T: Real> ops::Sub<T> for Var<'t, T> {
    type Output = Var<'t, T>;
    fn sub(self, c: T) -> Var<'t, T> {
        self.unary(Scale(T::ONE), |x| x - c)
    }
}

/// y = c x
impl<'t, T: Real> ops::Mul<T> for Var<'t, T> {
    type Output = Var<'t, T>;
    fn mul(self, c: T) -> Var<'t, T> {
        self.unary(Scale(c), |x| x * c)
    }
}

/// y = -x
impl<'t, T: Real> ops::Neg for Var<'t, T> {
    type Output = Var<'t, T>;
    fn neg(self) -> Var<'t, T> {
        self.unary(Scale(-T::ONE), |x| -x)
    }
}

struct Scale<T>(T);
impl<T: Real> Op<T> for Scale<T> {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = c dy
        let Some(dy) = ctx.output_grad(0) else { return };
        let (Scale(c), mut dx) = (self, ctx.uninit(dy.shape()));
        map(dy.data(), dx.data_mut(), |dy| *c * dy);
        ctx.add(0, dx);
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, nonzero_tensors, shapes, tensor, tensors};
    use proptest::prelude::*;

    // A longer shape and one that is its end, in either order.
    let pairs = || {
        (shapes(3), 0..=3_usize, any::<bool>()).prop_flat_map(|(long, from, swap)| {
            (tensor(long), tensor(Shape::from(&long[from..])))
                .prop_map(move |(a, b)| if swap { (b, a) } else { (a, b) })
        })
    };
    vec![
        Case::new("add", pairs(), |(a, b)| gradcheck([a, b], |[a, b]| a + b)),
        Case::new("sub", pairs(), |(a, b)| gradcheck([a, b], |[a, b]| a - b)),
        Case::new("mul", pairs(), |(a, b)| gradcheck([a, b], |[a, b]| a * b)),
        Case::new("mul, one variable twice", tensors(2), |a| gradcheck([a], |[a]| a * a)),
        Case::new("div", pairs(), |(a, b)| {
            // Denominators of either sign, away from the pole.
            let b = Tensor::from_fn(b.shape(), |i| b.data()[i] + 0.5_f64.copysign(b.data()[i]));
            gradcheck([a, b], |[a, b]| a / b)
        }),
        Case::new("plain numbers", nonzero_tensors(2), |a| {
            gradcheck([a], |[a]| -(a * 3.0 + 0.5 - 0.25))
        }),
    ]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor};

    #[test]
    #[should_panic(expected = "Mul: shapes [2, 3] and [2]: neither is the end of the other")]
    fn shapes_that_do_not_end_alike_panic_with_both() {
        let tape = Tape::new();
        let _ = tape.leaf(Tensor::<f32>::zeros([2, 3])) * tape.leaf(Tensor::zeros([2]));
    }

    #[test]
    fn the_shorter_side_is_repeated() {
        let tape = Tape::new();
        let a = tape.leaf(Tensor::from([[1.0, 2.0], [3.0, 4.0]]));
        let b = tape.leaf(Tensor::from([10.0, 20.0]));
        let y = b - a;
        assert_eq!(y.value(), Tensor::from([[9.0, 18.0], [7.0, 16.0]]));
        let grads = tape.backward(y.sum()).unwrap();
        assert_eq!(grads.dense(b).data(), [2.0, 2.0]);
    }
}
