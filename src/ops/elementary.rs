//! Elementary functions, element by element: exp, ln, sqrt, powers, absolute value, clamp.

use crate::kernels::elementwise::zip;
use crate::kernels::exponential::{self, Function};
use crate::real::Real;
use crate::tape::{Context, Op, Var};

/// dx\[i\] = f(dy\[i\], y\[i\]), the rule of functions whose slope is known from their value.
pub(super) fn from_output<T: Real>(ctx: &mut Context<'_, T>, f: impl Fn(T, T) -> T + Sync + Copy) {
    let Some(dy) = ctx.output_grad(0) else { return };
    let mut dx = ctx.uninit(dy.shape());
    zip(dy.data(), ctx.output(0).data(), dx.data_mut(), f);
    ctx.add(0, dx);
}

/// dx\[i\] = f(dy\[i\], x\[i\])
fn from_input<T: Real>(ctx: &mut Context<'_, T>, f: impl Fn(T, T) -> T + Sync + Copy) {
    let Some(dy) = ctx.output_grad(0) else { return };
    let mut dx = ctx.uninit(dy.shape());
    zip(dy.data(), ctx.input(0).data(), dx.data_mut(), f);
    ctx.add(0, dx);
}

impl<'t, T: Real> Var<'t, T> {
    /// y\[i\] = f(x\[i\]) for the functions that have a kernel of their own.
    #[track_caller]
    pub(super) fn function(self, op: impl Op<T>, function: Function) -> Var<'t, T> {
        let x = self.value();
        let mut y = self.tape().uninit(x.shape());
        exponential::apply(function, x.data(), y.data_mut());
        let [y] = self.tape().record(op, &[self], [y]);
        y
    }

    /// y = e^x
    #[track_caller]
    pub fn exp(self) -> Var<'t, T> {
        self.function(Exp, Function::Exp)
    }
}

struct Exp;
impl<T: Real> Op<T> for Exp {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = y dy
        from_output(ctx, |dy, y| dy * y);
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y = ln x
    #[track_caller]
    pub fn ln(self) -> Var<'t, T> {
        self.unary(Ln, |x| x.ln())
    }
}

struct Ln;
impl<T: Real> Op<T> for Ln {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy / x
        from_input(ctx, |dy, x| dy / x);
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y = sqrt(x), whose slope at 0 is infinite; NaN of negative numbers
    #[track_caller]
    pub fn sqrt(self) -> Var<'t, T> {
        self.unary(Sqrt, |x| x.sqrt())
    }
}

struct Sqrt;
impl<T: Real> Op<T> for Sqrt {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy / (2 y)
        from_output(ctx, |dy, y| dy / (y + y));
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y = x^c; NaN of a negative x unless c is a whole number
    ///
    /// ```
    /// use dpq::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.leaf(Tensor::from([2.0_f32, -3.0]));
    /// assert_eq!(x.powf(2.0).value().data(), [4.0, 9.0]);
    /// ```
    ///
    /// # Panics
    /// If c is not finite.
    #[track_caller]
    pub fn powf(self, c: T) -> Var<'t, T> {
        assert!(c.is_finite(), "powf: exponent {c}: expected a finite number");
        if c == T::ONE + T::ONE {
            return self.unary(Powf { c }, |x| x * x);
        }
        self.unary(Powf { c }, |x| T::from_f64(x.to_f64().powf(c.to_f64())))
    }
}

struct Powf<T> {
    c: T,
}
impl<T: Real> Op<T> for Powf<T> {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = c x^(c - 1) dy, which for c = 0 is 0 at x = 0, too
        let c = self.c;
        if c == T::ONE + T::ONE {
            from_input(ctx, |dy, x| c * x * dy);
        } else if c == T::ZERO {
            from_input(ctx, |_, _| T::ZERO);
        } else {
            let (slope, power) = (c.to_f64(), c.to_f64() - 1.0);
            from_input(ctx, |dy, x| T::from_f64(slope * x.to_f64().powf(power)) * dy);
        }
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y = |x|; the slope at 0 is taken to be 0
    #[track_caller]
    pub fn abs(self) -> Var<'t, T> {
        self.unary(Abs, |x| x.abs())
    }
}

struct Abs;
impl<T: Real> Op<T> for Abs {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy where x > 0, -dy where x < 0; elsewhere x is 0 or NaN, and so is dx
        from_input(ctx, |dy, x| {
            if x > T::ZERO {
                dy
            } else if x < T::ZERO {
                -dy
            } else {
                x
            }
        });
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// y = min(max(x, low), high), and NaN of NaN. The slope at both bounds is taken to be 1.
    ///
    /// # Panics
    /// If low > high, or one of them is NaN.
    #[track_caller]
    pub fn clamp(self, low: T, high: T) -> Var<'t, T> {
        assert!(low <= high, "clamp: from {low:?} to {high:?}");
        self.unary(Clamp { low, high }, |x| {
            if x < low {
                low
            } else if x > high {
                high
            } else {
                x
            }
        })
    }
}

struct Clamp<T> {
    low: T,
    high: T,
}
impl<T: Real> Op<T> for Clamp<T> {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy where low <= x <= high, 0 where x is outside, NaN where it is NaN
        let Clamp { low, high } = *self;
        from_input(ctx, |dy, x| {
            if x < low || x > high {
                T::ZERO
            } else if x >= low {
                dy
            } else {
                x
            }
        });
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, away_from, tensors, tensors_in};
    use crate::tensor::Tensor;

    let positive = || tensors_in(2, 0.1..4.0);
    vec![
        Case::new("exp", tensors(2), |x| gradcheck([x], |[x]| x.exp())),
        Case::new("ln", positive(), |x| gradcheck([x], |[x]| x.ln())),
        Case::new("sqrt", positive(), |x| gradcheck([x], |[x]| x.sqrt())),
        Case::new("powf", (positive(), -3.0..3.0_f64), |(x, c)| gradcheck([x], |[x]| x.powf(c))),
        Case::new("powf, whole powers", (away_from(tensors(2), [0.0], 0.01), 0..4_u8), |(x, c)| {
            gradcheck([x], |[x]| x.powf(f64::from(c)))
        }),
        Case::new("abs", away_from(tensors(2), [0.0], 0.01), |x| gradcheck([x], |[x]| x.abs())),
        Case::new("clamp", (tensors(2), -1.5..0.0_f64, 0.0..1.5_f64), |(x, low, high)| {
            // No element nearer to a bound, where there is a kink, than 0.01.
            let away = |x: f64, bound: f64| {
                if (x - bound).abs() < 0.01 { bound - 0.01 } else { x }
            };
            let high = high + 0.05;
            let x = Tensor::from_fn(x.shape(), |i| away(away(x.data()[i], low), high));
            gradcheck([x], |[x]| x.clamp(low, high))
        }),
    ]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor, Var};

    /// Values and gradients of f at some points.
    fn at<const N: usize>(
        points: [f64; N],
        f: impl for<'t> Fn(Var<'t, f64>) -> Var<'t, f64>,
    ) -> (Vec<f64>, Vec<f64>) {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from(points));
        let y = f(x);
        let grads = tape.backward_from(&[(y, Tensor::full([N], 1.0))]).unwrap();
        (y.value().data().to_vec(), grads.dense(x).data().to_vec())
    }

    #[test]
    fn slopes_at_kinks_bounds_and_poles() {
        let (y, dx) = at([-3.0, 0.0, 2.0], |x| x.abs());
        assert_eq!((&y[..], &dx[..]), (&[3.0, 0.0, 2.0][..], &[-1.0, 0.0, 1.0][..]));
        let (y, dx) = at([-3.0, -1.0, 0.5, 2.0, 2.5], |x| x.clamp(-1.0, 2.0));
        assert_eq!(y, [-1.0, -1.0, 0.5, 2.0, 2.0]);
        assert_eq!(dx, [0.0, 1.0, 1.0, 1.0, 0.0]);
        let (y, dx) = at([0.0, 4.0], |x| x.sqrt());
        assert_eq!((&y[..], &dx[..]), (&[0.0, 2.0][..], &[f64::INFINITY, 0.25][..]));
    }

    #[test]
    fn powers() {
        let points = [-2.0, 0.0, 3.0];
        assert_eq!(at(points, |x| x.powf(0.0)), (vec![1.0; 3], vec![0.0; 3]));
        assert_eq!(at(points, |x| x.powf(1.0)), (points.to_vec(), vec![1.0; 3]));
        assert_eq!(at(points, |x| x.powf(2.0)), (vec![4.0, 0.0, 9.0], vec![-4.0, 0.0, 6.0]));
        assert_eq!(at(points, |x| x.powf(3.0)), (vec![-8.0, 0.0, 27.0], vec![12.0, 0.0, 27.0]));
        assert_eq!(at([4.0], |x| x.powf(-0.5)), (vec![0.5], vec![-0.0625]));
        assert!(at([-2.0], |x| x.powf(0.5)).0[0].is_nan());
    }

    #[test]
    fn a_nan_stays_a_nan_and_its_gradient_is_one() {
        let functions: [fn(Var<'_, f64>) -> Var<'_, f64>; 6] = [
            |x| x.exp(),
            |x| x.ln(),
            |x| x.sqrt(),
            |x| x.powf(3.0),
            |x| x.abs(),
            |x| x.clamp(-1.0, 1.0),
        ];
        for f in functions {
            let (y, dx) = at([f64::NAN], f);
            assert!(y[0].is_nan() && dx[0].is_nan());
        }
    }

    #[test]
    #[should_panic(expected = "clamp: from 2.0 to 1.0")]
    fn bounds_the_wrong_way_round_panic() {
        let _ = Tape::new().leaf(Tensor::from([1.0_f32])).clamp(2.0, 1.0);
    }
}
