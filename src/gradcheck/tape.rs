//! Checks of closures from variables to a variable.

use super::differences::{Differences, Run, Slope, scale};
use super::report::{Entry, Report};
use crate::error::Result;
use crate::params::Params;
use crate::rng;
use crate::tape::{Bound, Tape, Var};
use crate::tensor::Tensor;
use rand::Rng;
use std::collections::BTreeSet;

/// Times that the step shrinks, 16-fold each, before an entry counts as wrong: a kink nearby then
/// falls outside the step.
const SHRINKS: i32 = 3;

/// Jacobians of at most this many entries are checked entry by entry.
const ENTRIES: usize = 20_000;

/// Random projections of a larger one.
const PROJECTIONS: u64 = 12;

/// Checks the gradients of a closure from `N` leaves to one variable, at `base`, to 1e-7.
///
/// Write the closure in the call itself, or pass a `fn`.
///
/// ```
/// use dpq::{Tensor, gradcheck};
/// let x = Tensor::from([[1.0, -2.0], [0.5, 3.0]]);
/// let w = Tensor::from([[0.3], [-0.7]]);
/// gradcheck([x, w], |[x, w]| x.matmul(w).tanh()).assert_ok();
/// ```
///
/// # Panics
/// If the closure freezes other values when evaluated again.
pub fn gradcheck<const N: usize>(
    base: [Tensor<f64>; N],
    f: impl for<'t> Fn([Var<'t, f64>; N]) -> Var<'t, f64>,
) -> Report {
    Gradcheck::default().run(base, f)
}

/// Checks the gradients of a closure from bound parameters to one variable, to 1e-7.
///
/// The closure sees a pass that trains, but nothing it asks for has effects: statistics stay.
///
/// # Panics
/// If the closure freezes other values when evaluated again.
pub fn gradcheck_params(
    params: &Params<f64>,
    f: impl for<'t> Fn(&Bound<'t, f64>) -> Var<'t, f64>,
) -> Report {
    Gradcheck::default().run_params(params, f)
}

/// A check with other settings than [`gradcheck`]'s.
///
/// ```
/// use dpq::{Tensor, Gradcheck};
/// let check = Gradcheck { tolerance: 1e-9, ..Gradcheck::default() };
/// check.run([Tensor::from([1.0, 2.0])], |[x]| x * x).assert_ok();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Gradcheck {
    /// The largest error allowed. 1e-7 by default.
    pub tolerance: f64,
    /// Seed of the random projections and cotangents. 0 by default.
    pub seed: u64,
    /// The step of the differences, relative to the size of the input. 1e-4 by default.
    pub step: f64,
    /// The relative error of one rounding in the code that is checked: that of `f64` by default.
    pub rounding: f64,
}

impl Default for Gradcheck {
    fn default() -> Self {
        Gradcheck { tolerance: 1e-7, seed: 0, step: 1e-4, rounding: f64::EPSILON }
    }
}

impl Gradcheck {
    /// For ops that compute in single precision inside, such as code of another library: to 1e-3,
    /// with a step of 2e-2.
    pub fn single_precision() -> Self {
        let rounding = f64::from(f32::EPSILON);
        Gradcheck { tolerance: 1e-3, step: 2e-2, rounding, ..Self::default() }
    }

    /// As [`gradcheck`].
    ///
    /// # Panics
    /// As [`gradcheck`], and if the tolerance, the step or the rounding is no positive number.
    #[track_caller]
    pub fn run<const N: usize>(
        &self,
        base: [Tensor<f64>; N],
        f: impl for<'t> Fn([Var<'t, f64>; N]) -> Var<'t, f64>,
    ) -> Report {
        let names = (0..N).map(|i| format!("input{i}")).collect();
        self.check(names, base.to_vec(), &|tape, values| {
            let leaves: [Var<'_, f64>; N] = std::array::from_fn(|i| tape.leaf(values[i].clone()));
            (leaves.to_vec(), f(leaves))
        })
    }

    /// As [`gradcheck_params`].
    ///
    /// # Panics
    /// As [`gradcheck_params`], and if the tolerance, the step or the rounding is no positive number.
    #[track_caller]
    pub fn run_params(
        &self,
        params: &Params<f64>,
        f: impl for<'t> Fn(&Bound<'t, f64>) -> Var<'t, f64>,
    ) -> Report {
        let trained: Vec<_> = params.ids().filter(|&id| params.is_trained(id)).collect();
        let names = trained.iter().map(|&id| params.name(id).to_string()).collect();
        let base = trained.iter().map(|&id| params.get(id).clone()).collect();
        self.check(names, base, &|tape, values| {
            let mut perturbed = params.clone();
            for (&id, value) in trained.iter().zip(values) {
                perturbed.set(id, value.clone());
            }
            let bound = tape.train(&perturbed);
            (trained.iter().map(|&id| bound[id]).collect(), f(&bound))
        })
    }

    #[track_caller]
    fn check(&self, names: Vec<String>, base: Vec<Tensor<f64>>, run: Run<'_>) -> Report {
        let Gradcheck { tolerance, step, rounding, .. } = *self;
        for (name, value) in [("tolerance", tolerance), ("step", step), ("rounding", rounding)] {
            assert!(
                value > 0.0 && value.is_normal(),
                "gradcheck: {name} {value}: expected a positive number"
            );
        }
        let mut report = Report {
            fault: None,
            worst: None,
            kinks: Vec::new(),
            tolerance,
            compared: 0,
            repeatable: true,
            ops: BTreeSet::new(),
        };
        report.fault = self.compare(&names, &base, run, &mut report).err();
        report
    }

    fn compare(
        &self,
        names: &[String],
        base: &[Tensor<f64>],
        run: Run<'_>,
        report: &mut Report,
    ) -> Result<()> {
        let tape = Tape::new();
        tape.record_frozen();
        // The base point's analytic side, on the tape that records it.
        let (leaves, y) = run(&tape, base);
        let (shape, outputs) = (y.shape(), y.shape().elements());
        let entrywise = outputs * base.iter().map(|x| x.data().len()).sum::<usize>() <= ENTRIES;
        let seeded = |seed: &[f64]| {
            let seed = Tensor::new(shape, seed.to_vec()).expect("as long as the output");
            tape.backward_from(&[(y, seed)])
        };
        let backward = |seed: &[f64]| -> Result<Vec<Tensor<f64>>> {
            let grads = seeded(seed)?;
            Ok(leaves.iter().map(|&x| grads.dense(x)).collect())
        };
        let cotangent = |k| self.random(outputs, "cotangent", k);
        report.ops.extend(tape.differentiated(&seeded(&cotangent(0))?));
        report.repeatable = backward(&cotangent(0))? == backward(&cotangent(0))?;
        let unit = |k| (0..outputs).map(|i| f64::from(u8::from(i == k))).collect();
        let cotangents: Vec<Vec<f64>> = if entrywise {
            (0..outputs).map(unit).collect()
        } else {
            (1..=PROJECTIONS).map(cotangent).collect()
        };
        let rows = cotangents.iter().map(|u| backward(u)).collect::<Result<Vec<_>>>()?;

        let mut difference = Differences::new(tape, run, base, self.rounding)?;
        if entrywise {
            for (input, name) in names.iter().enumerate() {
                self.check_entries(&mut difference, input, name, &shape, &rows, report)?;
            }
        } else {
            for (k, (cotangent, gradients)) in cotangents.iter().zip(&rows).enumerate() {
                let difference = &mut difference;
                self.check_projection(difference, k as u64, cotangent, gradients, &shape, report)?;
            }
        }
        Ok(())
    }

    /// Every entry of one input's Jacobian; `rows[k]` are the gradients of output element k.
    fn check_entries(
        &self,
        difference: &mut Differences<'_>,
        input: usize,
        name: &str,
        shape: &[usize],
        rows: &[Vec<Tensor<f64>>],
        report: &mut Report,
    ) -> Result<()> {
        let size = scale(difference.base[input].data());
        let largest = |x: f64, row: &Vec<Tensor<f64>>| {
            row[input].data().iter().fold(x, |x, a| x.max(a.abs()))
        };
        let largest = rows.iter().fold(0.0, largest);
        for i in 0..difference.base[input].data().len() {
            let tangent = |h: f64| vec![(input, i, h)];
            let h = self.step * size;
            let wide = difference.along(&tangent, h)?;
            for (k, row) in rows.iter().enumerate() {
                let analytic = row[input].data()[i];
                // Always with the noise floor of the first step: smaller steps round more, and their
                // floor would let wrong gradients pass.
                let entry = |slope: &Slope| Entry {
                    input: name.to_string(),
                    index: Some(unravel(i, &difference.base[input].shape())),
                    output: Some(unravel(k, shape)),
                    analytic,
                    numeric: slope.central[k],
                    error: self.error(analytic, slope.central[k], largest, wide.noise),
                };
                let (mut found, mut kink) = (entry(&wide), wide.has_kink(k));
                for shrink in 1..=SHRINKS {
                    if found.error <= self.tolerance || kink {
                        break;
                    }
                    let closer = difference.along(&tangent, h / 16_f64.powi(shrink))?;
                    let numeric = closer.central[k];
                    let error = self.error(analytic, numeric, largest, wide.noise);
                    kink = closer.has_kink(k);
                    if error <= self.tolerance || kink {
                        found = Entry { numeric, error, ..found };
                    }
                }
                report.compared += 1;
                if kink {
                    report.kinks.push(found);
                } else {
                    report.note(found);
                }
            }
        }
        Ok(())
    }

    /// < cotangent, J tangent > for one random tangent over all inputs.
    fn check_projection(
        &self,
        difference: &mut Differences<'_>,
        k: u64,
        cotangent: &[f64],
        gradients: &[Tensor<f64>],
        shape: &[usize],
        report: &mut Report,
    ) -> Result<()> {
        let mut direction = Vec::new();
        for (input, x) in difference.base.iter().enumerate() {
            let size = scale(x.data());
            let random = self.random(x.data().len(), "tangent", k * 1000 + input as u64);
            direction.extend(random.into_iter().enumerate().map(|(i, t)| (input, i, t * size)));
        }
        let tangent = |h: f64| direction.iter().map(|&(input, i, t)| (input, i, h * t)).collect();
        let shares = direction.iter().map(|&(input, i, t)| gradients[input].data()[i] * t);
        let analytic: f64 = shares.clone().sum();
        let size = shares.map(|share| share * share).sum::<f64>().sqrt();
        let wide = difference.along(&tangent, self.step)?;
        let noise = wide.noise * cotangent.iter().map(|u| u * u).sum::<f64>().sqrt();
        let entry = |slope: &Slope| {
            let numeric = slope.central.iter().zip(cotangent).map(|(y, u)| y * u).sum();
            let error = self.error(analytic, numeric, size, noise);
            Entry { input: "all".into(), index: None, output: None, analytic, numeric, error }
        };
        // Of many elements some are near a kink: smaller steps do not reach it.
        let (mut found, mut slope) = (entry(&wide), wide);
        for shrink in 1..=SHRINKS {
            if found.error <= self.tolerance {
                break;
            }
            slope = difference.along(&tangent, self.step / 16_f64.powi(shrink))?;
            found = entry(&slope);
        }
        report.compared += 1;
        let kink = (0..cotangent.len()).find(|&k| slope.has_kink(k));
        match kink.filter(|_| found.error > self.tolerance) {
            Some(k) => report.kinks.push(Entry { output: Some(unravel(k, shape)), ..found }),
            None => report.note(found),
        }
        Ok(())
    }

    fn error(&self, analytic: f64, numeric: f64, largest: f64, noise: f64) -> f64 {
        let size = analytic.abs().max(numeric.abs()).max(largest).max(noise / self.tolerance);
        let error = (analytic - numeric).abs() / size;
        match (size > 0.0, error.is_nan()) {
            (false, false) | (false, true) if analytic == numeric => 0.0,
            (_, true) => f64::INFINITY,
            _ => error,
        }
    }

    /// Numbers between 0.5 and 1.5 with random signs: none too small to matter.
    fn random(&self, n: usize, purpose: &str, k: u64) -> Vec<f64> {
        let mut rng = rng::stream(self.seed, purpose, k);
        let mut draw = || {
            let bits = rng.next_u64();
            let size = 0.5 + (bits >> 12) as f64 / (1_u64 << 52) as f64;
            if bits & 1 == 0 { size } else { -size }
        };
        (0..n).map(|_| draw()).collect()
    }
}

/// The position of element i along every axis.
fn unravel(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (axis, &length) in shape.iter().enumerate().rev() {
        index[axis] = i % length;
        i /= length;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::{Context, Op};

    /// y = x^3 + c, whose rule is off by a relative error.
    struct Cube {
        off: f64,
    }
    impl Op<f64> for Cube {
        fn backward(&self, ctx: &mut Context<'_, f64>) {
            let (x, Some(dy)) = (ctx.input(0), ctx.output_grad(0)) else { return };
            let slope = |i: usize| 3.0 * x.data()[i] * x.data()[i] * (1.0 + self.off);
            ctx.add(0, Tensor::from_fn(x.shape(), |i| slope(i) * dy.data()[i]));
        }
    }

    fn check(off: f64, c: f64) -> Report {
        gradcheck([Tensor::from([0.3, -1.2, 2.0])], |[x]| {
            let value = x.value();
            let cube = |i: usize| value.data()[i].powi(3) + c;
            let [y] = x.tape().record(Cube { off }, &[x], [Tensor::from_fn(value.shape(), cube)]);
            y
        })
    }

    #[test]
    fn a_large_value_beside_it_does_not_hide_a_planted_error() {
        for (off, c) in [(1e-6, 0.0), (1e-6, 1.0), (1e-4, 1e3), (1e-3, 1e6)] {
            assert!(check(0.0, c).is_ok(), "the right rule beside {c}: {}", check(0.0, c));
            assert!(!check(off, c).is_ok(), "an error of {off} beside {c}");
        }
    }

    #[test]
    fn a_kink_is_named_and_one_nearby_is_shrunk_away_from() {
        let relu = |x: f64| gradcheck([Tensor::from([x, 1.0])], |[x]| x.relu());
        let at = relu(0.0);
        assert!(!at.is_ok() && at.kinks[0].index == Some(vec![0]), "{at}");
        relu(7e-5).assert_ok();
    }
}
