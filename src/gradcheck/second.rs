//! Second derivatives: Hessian-vector products, and the symmetry of the Hessian as a check of a whole
//! model's gradients.

use super::differences::{Differences, Direction, Estimate, Readout, scale};
use super::function::{Fault, Function, Input, Rule};
use super::report::Report;
use super::settings::Gradcheck;
use super::tape::{Recorded, Run, bound, leaf_inputs, leaves, param_inputs};
use crate::params::Params;
use crate::tape::{Bound, Var};
use crate::tensor::Tensor;
use std::panic::Location;

/// Pairs of random directions.
const PAIRS: usize = 8;

/// H v of a scalar function f at `base`, H its Hessian: central differences of f's gradients along v,
/// extrapolated. With it comes the largest error bar of an element.
///
/// ```
/// use dpq::{Tensor, gradcheck::hessian_vector};
/// // f = sum of x^3, so H v = 6 x v.
/// let (x, v) = (Tensor::from([0.5, -2.0]), Tensor::from([1.0, 3.0]));
/// let ([hv], bar) = hessian_vector([x], [v], |[x]| (x * x * x).sum())?;
/// assert!((hv.data()[0] - 3.0).abs() < 1e-8 && (hv.data()[1] + 36.0).abs() < 1e-8 && bar < 1e-6);
/// # Ok::<(), dpq::gradcheck::Fault>(())
/// ```
///
/// # Errors
/// If a pass fails.
///
/// # Panics
/// If f is no scalar, or a direction has another shape than its input.
#[track_caller]
pub fn hessian_vector<const N: usize>(
    base: [Tensor<f64>; N],
    v: [Tensor<f64>; N],
    f: impl for<'t> Fn([Var<'t, f64>; N]) -> Var<'t, f64>,
) -> Result<([Tensor<f64>; N], f64), Fault> {
    let shapes = base.each_ref().map(Tensor::shape);
    for (shape, v) in shapes.iter().zip(&v) {
        assert!(
            *shape == v.shape(),
            "hessian_vector: an input of shape {shape:?} and a direction of {:?}",
            v.shape()
        );
    }
    let run = leaves(&f);
    expect_scalar("hessian_vector", &leaf_inputs(base.clone()), &run)?;
    let mut gradient = Gradient::new(leaf_inputs(base), &run);
    // The function counts every input in units of its size.
    let tangent: Vec<f64> = gradient
        .sizes
        .iter()
        .zip(&v)
        .flat_map(|(size, v)| v.data().iter().map(move |v| v / size))
        .collect();
    let settings = Gradcheck::default();
    let sizes = gradient.of_elements();
    let mut differences = Differences::new(&mut gradient, settings.step, settings.rounding)?;
    let direction = Direction::Tangent { input: 0, tangent: &tangent };
    let found = differences.along(&direction, &Readout::Elements, &|_, _| true)?;
    let mut rest = found.iter().zip(&sizes).map(|(found, size)| found.value / size);
    let bar = found.iter().zip(&sizes).fold(0.0, |m: f64, (found, size)| m.max(found.bar / size));
    Ok((
        shapes.map(|shape| Tensor::from_fn(shape, |_| rest.next().expect("as many as inputs"))),
        bar,
    ))
}

impl Gradcheck {
    /// Checks that the Hessian of a scalar function is symmetric: v' H w = w' H v for random directions,
    /// with H v from differences of the gradients.
    ///
    /// It takes a few passes whatever the number of parameters, and finds gradients that are not those
    /// of any function: a term that is left out, or a wrong factor in one of several branches. It does
    /// not find a factor that all gradients have in common, and it finds fault with every
    /// straight-through estimator, whose gradients are not those of a function.
    ///
    /// # Panics
    /// As [`run`](Gradcheck::run), and if the function is no scalar.
    #[track_caller]
    pub fn symmetry<const N: usize>(
        &self,
        base: [Tensor<f64>; N],
        f: impl for<'t> Fn([Var<'t, f64>; N]) -> Var<'t, f64>,
    ) -> Report {
        self.check_symmetry("symmetry", leaf_inputs(base), &leaves(&f))
    }

    /// As [`symmetry`](Gradcheck::symmetry), of all parameters that are trained.
    ///
    /// # Panics
    /// As [`symmetry`](Gradcheck::symmetry).
    #[track_caller]
    pub fn symmetry_params(
        &self,
        params: &Params<f64>,
        f: impl for<'t> Fn(&Bound<'t, f64>) -> Var<'t, f64>,
    ) -> Report {
        self.check_symmetry("symmetry_params", param_inputs(params), &bound(params, &f))
    }

    #[track_caller]
    fn check_symmetry(&self, call: &'static str, inputs: Vec<Input>, run: Run<'_>) -> Report {
        self.validate();
        let mut report = Report::new(Location::caller(), *self, call, &inputs);
        report.fault = expect_scalar(call, &inputs, run).err();
        if report.fault.is_none() {
            let mut gradient = Gradient::new(inputs, run);
            report.fault = self.compare_pairs(&mut gradient, &mut report).err();
        }
        report
    }

    fn compare_pairs(&self, gradient: &mut Gradient<'_>, report: &mut Report) -> Result<(), Fault> {
        let elements = gradient.flat[0].value.data().len();
        let mut differences = Differences::new(gradient, self.step, self.rounding)?;
        for pair in 0..PAIRS as u64 {
            let [v, w] = ["v", "w"].map(|name| self.random(elements, name, pair));
            let mut along = |tangent: &[f64], weights: &[f64]| {
                let direction = Direction::Tangent { input: 0, tangent };
                let wide =
                    |_, found: Estimate| found.bar <= 0.1 * self.tolerance * found.value.abs();
                Ok::<_, Fault>(
                    differences.along(&direction, &Readout::Weighted(weights), &wide)?[0],
                )
            };
            let (one, other) = (along(&v, &w)?, along(&w, &v)?);
            let kink = [one, other].iter().any(|found| found.kink);
            let other = Estimate { bar: one.bar + other.bar, ..other };
            let size = one.value.abs().max(other.value.abs());
            let name = format!("all inputs, w' H v against v' H w, pair {pair}");
            let entry = self.entry(&name, one.value, other, size);
            report.note(entry, kink, self.observes(one.value, other, size), size == 0.0);
        }
        Ok(())
    }
}

#[track_caller]
fn expect_scalar(call: &str, inputs: &[Input], run: Run<'_>) -> Result<(), Fault> {
    let found = Recorded::new(inputs.to_vec(), run).pull_back(&|_| Vec::new())?;
    let outputs = found.outputs.len();
    assert!(outputs == 1, "{call}: expected a scalar function, not {outputs} elements");
    Ok(())
}

/// The gradient of a scalar function as a function of one vector: all inputs, each counted from its
/// base point and in units of its size.
struct Gradient<'a> {
    inputs: Vec<Input>,
    run: Run<'a>,
    sizes: Vec<f64>,
    flat: [Input; 1],
}

impl<'a> Gradient<'a> {
    fn new(inputs: Vec<Input>, run: Run<'a>) -> Self {
        let elements: usize = inputs.iter().map(|input| input.value.data().len()).sum();
        let sizes = inputs.iter().map(|input| scale(input.value.data())).collect();
        let flat = [Input { name: "all inputs".into(), value: Tensor::zeros([elements]) }];
        Gradient { inputs, run, sizes, flat }
    }

    /// The size of the input that each element belongs to.
    fn of_elements(&self) -> Vec<f64> {
        let lengths = self.inputs.iter().map(|input| input.value.data().len());
        lengths.zip(&self.sizes).flat_map(|(n, &size)| std::iter::repeat_n(size, n)).collect()
    }
}

impl Function for Gradient<'_> {
    fn inputs(&self) -> &[Input] {
        &self.flat
    }

    fn values(&mut self, at: &[Tensor<f64>]) -> Result<Vec<f64>, Fault> {
        let mut rest = at[0].data().iter();
        let mut moved = self.inputs.clone();
        for (input, size) in moved.iter_mut().zip(&self.sizes) {
            input.value.data_mut().iter_mut().zip(&mut rest).for_each(|(x, s)| *x += size * s);
        }
        let found = Recorded::new(moved, self.run).pull_back(&|_| vec![vec![1.0]])?;
        let units = |(gradient, &size): (&Tensor<f64>, &f64)| -> Vec<f64> {
            gradient.data().iter().map(|g| g * size).collect()
        };
        Ok(found.gradients[0].iter().zip(&self.sizes).flat_map(units).collect())
    }
}
