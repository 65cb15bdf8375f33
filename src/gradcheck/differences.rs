//! Differences of the frozen function near the base point.

use crate::error::Result;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// How many roundings of max|y| a difference is taken to contain.
pub const NOISE: f64 = 8.0;

/// Binds values to leaves of a tape and evaluates the closure.
pub(super) type Run<'a> =
    &'a dyn for<'t> Fn(&'t Tape<f64>, &[Tensor<f64>]) -> (Vec<Var<'t, f64>>, Var<'t, f64>);

/// Evaluations of the frozen function near the base point.
pub(super) struct Differences<'a> {
    tape: Tape<f64>,
    run: Run<'a>,
    pub(super) base: &'a [Tensor<f64>],
    /// The relative error of one rounding.
    rounding: f64,
    /// The output at the base point.
    middle: Vec<f64>,
}

/// Derivatives of every output element along one direction.
pub(super) struct Slope {
    /// Central differences with steps h and h/2, extrapolated to step 0.
    pub(super) central: Vec<f64>,
    /// |f(+) - 2 f(0) + f(-)| / step for both steps: halved in turn where f is smooth, equal at a
    /// kink.
    gaps: [Vec<f64>; 2],
    pub(super) noise: f64,
}

impl Slope {
    pub(super) fn has_kink(&self, k: usize) -> bool {
        let [wide, narrow] = [self.gaps[0][k], self.gaps[1][k]];
        narrow > 0.75 * wide && narrow > 1e-6 * self.central[k].abs() + 100.0 * self.noise
    }
}

impl<'a> Differences<'a> {
    pub(super) fn new(
        tape: Tape<f64>,
        run: Run<'a>,
        base: &'a [Tensor<f64>],
        rounding: f64,
    ) -> Result<Self> {
        let mut differences = Differences { tape, run, base, rounding, middle: Vec::new() };
        differences.middle = differences.evaluate(&[])?;
        Ok(differences)
    }

    fn evaluate(&mut self, steps: &[(usize, usize, f64)]) -> Result<Vec<f64>> {
        let mut values = self.base.to_vec();
        for &(input, i, step) in steps {
            values[input].data_mut()[i] += step;
        }
        self.tape.reset();
        self.tape.replay_frozen();
        let (_, y) = (self.run)(&self.tape, &values);
        self.tape.check()?;
        Ok(y.value().data().to_vec())
    }

    /// Along the direction whose step of length h is `tangent(h)`.
    pub(super) fn along(
        &mut self,
        tangent: &dyn Fn(f64) -> Vec<(usize, usize, f64)>,
        h: f64,
    ) -> Result<Slope> {
        let mut at = |step: f64| self.evaluate(&tangent(step));
        let [near_up, near_down, up, down] = [at(h / 2.0)?, at(-h / 2.0)?, at(h)?, at(-h)?];
        let (middle, n) = (&self.middle, self.middle.len());
        let gap = |up: &[f64], down: &[f64], h: f64| -> Vec<f64> {
            (0..n).map(|k| (up[k] - 2.0 * middle[k] + down[k]).abs() / h).collect()
        };
        let extrapolated = |k| {
            let (wide, narrow) = ((up[k] - down[k]) / (2.0 * h), (near_up[k] - near_down[k]) / h);
            (4.0 * narrow - wide) / 3.0
        };
        Ok(Slope {
            central: (0..n).map(extrapolated).collect(),
            gaps: [gap(&up, &down, h), gap(&near_up, &near_down, h / 2.0)],
            noise: NOISE * self.rounding * scale_or_zero(middle) / h,
        })
    }
}

/// The largest absolute value, at least tiny.
pub(super) fn scale(x: &[f64]) -> f64 {
    let largest = scale_or_zero(x);
    if largest > 0.0 { largest } else { 1.0 }
}

fn scale_or_zero(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |m: f64, x| m.max(x.abs()))
}
