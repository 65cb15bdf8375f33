//! Sums, differences, products and quotients of variables, and of variables with numbers.
//!
//! Two variables broadcast as in NumPy: shapes are aligned at their last axes, and an axis that is
//! missing, or has length 1, is repeated. A gradient is summed over what was repeated. A number may
//! stand on either side: `1.0 - x`, `2.0 * x`, `x / 2.0`.

use super::broadcast::{common_shape, sum_to, zip_broadcast};
use crate::kernels::elementwise::{map, zip};
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::Tensor;
use std::ops;

impl<'t, T: Real> Var<'t, T> {
    /// y\[i\] = f(a\[i\], b\[i\])
    #[track_caller]
    fn binary(
        self,
        other: Var<'t, T>,
        op: impl Op<T>,
        f: impl Fn(T, T) -> T + Sync + Copy,
    ) -> Var<'t, T> {
        let (a, b) = (self.value(), other.value());
        let Some(shape) = common_shape(a.shape(), b.shape()) else {
            panic!("{}: shapes {:?} and {:?} do not broadcast", op.name(), a.shape(), b.shape());
        };
        let mut y = self.tape().uninit(shape);
        zip_broadcast(&a, &b, &mut y, f);
        let [y] = self.tape().record(op, &[self, other], [y]);
        y
    }

    /// y\[i\] = f(x\[i\])
    #[track_caller]
    pub(super) fn unary(self, op: impl Op<T>, f: impl Fn(T) -> T + Sync + Copy) -> Var<'t, T> {
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
                ctx.add(i, sum_to(ctx, dy.clone(), ctx.input(i).shape()));
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
            ctx.add(0, sum_to(ctx, dy.clone(), ctx.input(0).shape()));
        }
        if ctx.needs(1) {
            let mut db = ctx.uninit(dy.shape());
            map(dy.data(), db.data_mut(), |dy| -dy);
            ctx.add(1, sum_to(ctx, db, ctx.input(1).shape()));
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
                let mut gradient = ctx.uninit(dy.shape());
                zip_broadcast(ctx.input(1 - i), dy, &mut gradient, |other, dy| other * dy);
                ctx.add(i, sum_to(ctx, gradient, ctx.input(i).shape()));
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
        zip_broadcast(dy, b, &mut da, |dy, b| dy / b);
        if ctx.needs(1) {
            let mut db = ctx.uninit(dy.shape());
            zip(da.data(), y.data(), db.data_mut(), |da, y| -da * y);
            ctx.add(1, sum_to(ctx, db, b.shape()));
        }
        if ctx.needs(0) {
            ctx.add(0, sum_to(ctx, da, ctx.input(0).shape()));
        }
    }
}

/// y = x + c
impl<'t, T: Real> ops::Add<T> for Var<'t, T> {
    type Output = Var<'t, T>;
    #[track_caller]
    fn add(self, c: T) -> Var<'t, T> {
        self.unary(Linear { slope: T::ONE }, |x| x + c)
    }
}

/// y = x - c
impl<'t, T: Real> ops::Sub<T> for Var<'t, T> {
    type Output = Var<'t, T>;
    #[track_caller]
    fn sub(self, c: T) -> Var<'t, T> {
        self.unary(Linear { slope: T::ONE }, |x| x - c)
    }
}

/// y = c x
impl<'t, T: Real> ops::Mul<T> for Var<'t, T> {
    type Output = Var<'t, T>;
    #[track_caller]
    fn mul(self, c: T) -> Var<'t, T> {
        self.unary(Linear { slope: c }, |x| x * c)
    }
}

/// y = x / c
impl<'t, T: Real> ops::Div<T> for Var<'t, T> {
    type Output = Var<'t, T>;
    #[track_caller]
    fn div(self, c: T) -> Var<'t, T> {
        self.unary(Linear { slope: T::ONE / c }, |x| x / c)
    }
}

/// y = -x
impl<'t, T: Real> ops::Neg for Var<'t, T> {
    type Output = Var<'t, T>;
    #[track_caller]
    fn neg(self) -> Var<'t, T> {
        self.unary(Linear { slope: -T::ONE }, |x| -x)
    }
}

/// y = slope x + anything that is constant
struct Linear<T> {
    slope: T,
}
impl<T: Real> Op<T> for Linear<T> {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = slope dy
        let Some(dy) = ctx.output_grad(0) else { return };
        let (slope, mut dx) = (self.slope, ctx.uninit(dy.shape()));
        map(dy.data(), dx.data_mut(), |dy| slope * dy);
        ctx.add(0, dx);
    }
}

/// The number on the left, which Rust allows for types that it knows only, not for every
/// [`Real`].
macro_rules! number_on_the_left {
    ($T:ty) => {
        /// y = c + x
        impl<'t> ops::Add<Var<'t, $T>> for $T {
            type Output = Var<'t, $T>;
            #[track_caller]
            fn add(self, x: Var<'t, $T>) -> Var<'t, $T> {
                x + self
            }
        }

        /// y = c - x
        impl<'t> ops::Sub<Var<'t, $T>> for $T {
            type Output = Var<'t, $T>;
            #[track_caller]
            fn sub(self, x: Var<'t, $T>) -> Var<'t, $T> {
                x.unary(Linear { slope: -1.0 }, |x| self - x)
            }
        }

        /// y = c x
        impl<'t> ops::Mul<Var<'t, $T>> for $T {
            type Output = Var<'t, $T>;
            #[track_caller]
            fn mul(self, x: Var<'t, $T>) -> Var<'t, $T> {
                x * self
            }
        }

        /// y = c / x
        impl<'t> ops::Div<Var<'t, $T>> for $T {
            type Output = Var<'t, $T>;
            #[track_caller]
            fn div(self, x: Var<'t, $T>) -> Var<'t, $T> {
                x.tape().constant(Tensor::scalar(self)) / x
            }
        }
    };
}
number_on_the_left!(f32);
number_on_the_left!(f64);

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, away_from, length, tensor, tensors};
    use crate::tensor::Shape;
    use proptest::prelude::*;

    // The axes of a shape that both sides broadcast to: either may have length 1 there, and either
    // may lack leading ones.
    let axis = || {
        (
            length(),
            prop_oneof![3 => Just([false; 2]), 1 => Just([true, false]), 1 => Just([false, true])],
        )
    };
    let pairs = || {
        (prop::collection::vec(axis(), 0..=3_usize), 0..=3_usize, 0..2_usize)
            .prop_map(|(axes, missing, shorter)| {
                let shape = |side: usize| {
                    let lengths = axes.iter().map(|(n, ones)| if ones[side] { 1 } else { *n });
                    let missing = if side == shorter { missing.min(axes.len()) } else { 0 };
                    Shape::from(&lengths.skip(missing).collect::<Vec<_>>()[..])
                };
                [shape(0), shape(1)]
            })
            .prop_filter("a Jacobian of moderate size", |&[a, b]| {
                common_shape(a, b).is_some_and(|shape| shape.elements() <= 120)
            })
            .prop_flat_map(|[a, b]| (tensor(a), tensor(b)))
    };
    // Numbers of either sign, away from the pole.
    let away = |x: Tensor<f64>| {
        Tensor::from_fn(x.shape(), |i| x.data()[i] + 0.5_f64.copysign(x.data()[i]))
    };
    vec![
        Case::new("add", pairs(), |(a, b)| gradcheck([a, b], |[a, b]| a + b)),
        Case::new("sub", pairs(), |(a, b)| gradcheck([a, b], |[a, b]| a - b)),
        Case::new("mul", pairs(), |(a, b)| gradcheck([a, b], |[a, b]| a * b)),
        Case::new("mul, one variable twice", tensors(2), |a| gradcheck([a], |[a]| a * a)),
        Case::new("div", pairs(), move |(a, b)| gradcheck([a, away(b)], |[a, b]| a / b)),
        Case::new("numbers on the right", away_from(tensors(2), [0.0], 0.01), |x| {
            gradcheck([x], |[x]| -(x * 3.0 + 0.5 - 0.25) / 0.7)
        }),
        Case::new("numbers on the left", tensors(2), move |x| {
            gradcheck([away(x)], |[x]| 2.0 - 3.0 / (0.5 * (x + 0.0)) + 1.0 * x)
        }),
    ]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor};

    #[test]
    #[should_panic(expected = "Mul: shapes [2, 3] and [2] do not broadcast")]
    fn shapes_that_do_not_broadcast_panic_with_both() {
        let tape = Tape::new();
        let _ = tape.leaf(Tensor::<f32>::zeros([2, 3])) * tape.leaf(Tensor::zeros([2]));
    }

    #[test]
    fn missing_axes_and_axes_of_length_1_are_repeated() {
        let tape = Tape::new();
        let a = tape.leaf(Tensor::from([[1.0, 2.0], [3.0, 4.0]]));
        let b = tape.leaf(Tensor::from([10.0, 20.0]));
        let c = tape.leaf(Tensor::from([[10.0], [20.0]]));
        let (rows, columns, outer) = (b - a, c - a, b * c);
        assert_eq!(rows.value(), Tensor::from([[9.0, 18.0], [7.0, 16.0]]));
        assert_eq!(columns.value(), Tensor::from([[9.0, 8.0], [17.0, 16.0]]));
        assert_eq!(outer.value(), Tensor::from([[100.0, 200.0], [200.0, 400.0]]));
        let grads = tape.backward((rows + columns + outer).sum()).unwrap();
        assert_eq!(grads.dense(a).data(), [-2.0; 4]);
        assert_eq!(grads.dense(b).data(), [32.0; 2]);
        assert_eq!(grads.dense(c), Tensor::from([[32.0], [32.0]]));
    }

    #[test]
    fn numbers_stand_on_either_side_in_both_precisions() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from([4.0_f64, -2.0]));
        assert_eq!((1.0 - x).value().data(), [-3.0, 3.0]);
        assert_eq!((2.0 * x + 1.0).value(), (1.0 + x * 2.0).value());
        assert_eq!((x / 3.0).value().data(), [4.0 / 3.0, -2.0 / 3.0]);
        let y = 1.0 / x;
        assert_eq!(y.value().data(), [0.25, -0.5]);
        assert_eq!(tape.backward(y.sum()).unwrap().dense(x).data(), [-0.0625, -0.25]);

        let tape = Tape::new();
        let x = tape.leaf(Tensor::from([4.0_f32, -2.0]));
        let y = 1.0 + 3.0 * x - (1.0 - x) / 2.0 + 8.0 / x;
        assert_eq!(y.value().data(), [16.5, -10.5]);
    }
}
