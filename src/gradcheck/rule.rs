//! Checks of closures over slices: any code, whatever it is written with.

use super::function::{Cotangents, Fault, Function, Input, PulledBack, Rule};
use super::report::Report;
use super::settings::Gradcheck;
use crate::real::Real;
use crate::tensor::Tensor;
use std::error::Error;
use std::marker::PhantomData;

/// Checks a rule for gradients that is written with anything: with plain loops, with another library,
/// in another language.
///
/// `forward` computes M outputs from N inputs. `backward` gets the inputs and a cotangent dy for every
/// output, and returns the gradient of the sum of < dy, y > with respect to every input. Both see the
/// elements row by row. Either may return a `Result` instead: an error is told as the
/// [fault](Report::fault) of the check.
///
/// The numbers are `f64`, checked to 1e-7, or `f32`, checked to 1e-3 with larger steps.
///
/// ```
/// use dpq::{Tensor, gradcheck};
/// // y = x w, of 2 x 3 and 3 x 1
/// let x = Tensor::from([[0.3, -1.2, 2.0], [0.7, 0.1, -0.4]]);
/// let w = Tensor::from([[1.5], [-0.2], [0.8]]);
/// gradcheck::rule(
///     [x, w],
///     |[x, w]| [x.chunks(3).map(|x| (0..3).map(|i| x[i] * w[i]).sum()).collect()],
///     |[x, w], [dy]| {
///         let dx = (0..6).map(|i| dy[i / 3] * w[i % 3]).collect();
///         let dw = (0..3).map(|i| dy[0] * x[i] + dy[1] * x[3 + i]).collect();
///         [dx, dw]
///     },
/// )
/// .assert_ok();
/// ```
#[track_caller]
pub fn rule<T: Real, const N: usize, const M: usize, Y, DX>(
    inputs: [Tensor<T>; N],
    forward: impl Fn([&[T]; N]) -> Y,
    backward: impl Fn([&[T]; N], [&[T]; M]) -> DX,
) -> Report
where
    Y: Outcome<T, M>,
    DX: Outcome<T, N>,
{
    let check = match precision::<T>() {
        Precision::Single => Gradcheck::single_precision(),
        Precision::Double => Gradcheck::default(),
    };
    check.rule(inputs, forward, backward)
}

impl Gradcheck {
    /// As [`rule`](rule()). For `f32` the rounding is at least that of `f32`, and the step at least what
    /// suits it.
    ///
    /// # Panics
    /// As [`run`](Gradcheck::run).
    #[track_caller]
    pub fn rule<T: Real, const N: usize, const M: usize, Y, DX>(
        &self,
        inputs: [Tensor<T>; N],
        forward: impl Fn([&[T]; N]) -> Y,
        backward: impl Fn([&[T]; N], [&[T]; M]) -> DX,
    ) -> Report
    where
        Y: Outcome<T, M>,
        DX: Outcome<T, N>,
    {
        let mut check = *self;
        if precision::<T>() == Precision::Single {
            let single = Gradcheck::single_precision();
            check.rounding = check.rounding.max(single.rounding);
            check.step = check.step.max(single.step);
        }
        let named = |(i, value): (usize, &Tensor<T>)| Input {
            name: format!("input{i}"),
            value: Tensor::from_fn(value.shape(), |i| value.data()[i].to_f64()),
        };
        let mut rule = Slices {
            inputs: inputs.iter().enumerate().map(named).collect(),
            lengths: [0; M],
            forward: |x: [&[T]; N]| forward(x).outcome(),
            backward: |x: [&[T]; N], dy: [&[T]; M]| backward(x, dy).outcome(),
            numbers: PhantomData,
        };
        check.check("rule", &mut rule)
    }
}

/// What a closure that is checked may return: M vectors, or a `Result` of them.
pub trait Outcome<T, const M: usize> {
    /// The vectors.
    ///
    /// # Errors
    /// What the closure says went wrong.
    fn outcome(self) -> Result<[Vec<T>; M], Box<dyn Error + Send + Sync>>;
}

impl<T, const M: usize> Outcome<T, M> for [Vec<T>; M] {
    fn outcome(self) -> Result<[Vec<T>; M], Box<dyn Error + Send + Sync>> {
        Ok(self)
    }
}

impl<T, const M: usize, E: Into<Box<dyn Error + Send + Sync>>> Outcome<T, M>
    for Result<[Vec<T>; M], E>
{
    fn outcome(self) -> Result<[Vec<T>; M], Box<dyn Error + Send + Sync>> {
        self.map_err(Into::into)
    }
}

#[derive(PartialEq)]
enum Precision {
    Single,
    Double,
}

fn precision<T: Real>() -> Precision {
    if size_of::<T>() == size_of::<f32>() { Precision::Single } else { Precision::Double }
}

/// A forward and a backward closure over slices of T.
struct Slices<T, F, B, const N: usize, const M: usize> {
    inputs: Vec<Input>,
    /// Elements of every output.
    lengths: [usize; M],
    forward: F,
    backward: B,
    numbers: PhantomData<[T; N]>,
}

type Returned<T, const M: usize> = Result<[Vec<T>; M], Box<dyn Error + Send + Sync>>;

impl<T, F, B, const N: usize, const M: usize> Function for Slices<T, F, B, N, M>
where
    T: Real,
    F: Fn([&[T]; N]) -> Returned<T, M>,
{
    fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    fn values(&mut self, at: &[Tensor<f64>]) -> Result<Vec<f64>, Fault> {
        let at: Vec<Vec<T>> = at.iter().map(narrow).collect();
        let y = unchanged(&at, |x| (self.forward)(x))?;
        self.lengths = y.each_ref().map(Vec::len);
        Ok(y.iter().flatten().map(|y| y.to_f64()).collect())
    }

    fn rounded(&self, x: f64) -> f64 {
        T::from_f64(x).to_f64()
    }
}

impl<T, F, B, const N: usize, const M: usize> Rule for Slices<T, F, B, N, M>
where
    T: Real,
    F: Fn([&[T]; N]) -> Returned<T, M>,
    B: Fn([&[T]; N], [&[T]; M]) -> Returned<T, N>,
{
    fn pull_back(&mut self, cotangents: &Cotangents) -> Result<PulledBack, Fault> {
        let base: Vec<_> = self.inputs.iter().map(|input| input.value.clone()).collect();
        let outputs = self.values(&base)?;
        let at: Vec<Vec<T>> = base.iter().map(narrow).collect();
        let mut gradients = Vec::new();
        for cotangent in cotangents(outputs.len()) {
            let mut rest = cotangent.iter().map(|&u| T::from_f64(u));
            let dy = self.lengths.map(|length| rest.by_ref().take(length).collect::<Vec<T>>());
            let dx = unchanged(&at, |x| (self.backward)(x, dy.each_ref().map(|dy| &dy[..])))?;
            let mut row = Vec::new();
            for (input, dx) in self.inputs.iter().zip(&dx) {
                let shape = input.value.shape();
                if dx.len() != shape.elements() {
                    let (name, expected, found) = (&input.name, shape.elements(), dx.len());
                    return Err(fault(format!(
                        "the gradient of {name} has {found} elements, and {name} {expected}"
                    )));
                }
                row.push(Tensor::from_fn(shape, |i| dx[i].to_f64()));
            }
            gradients.push(row);
        }
        Ok(PulledBack { outputs, gradients, ops: Default::default() })
    }

    fn position(&self, mut k: usize) -> (usize, Vec<usize>) {
        for (number, &length) in self.lengths.iter().enumerate() {
            if k < length {
                return (number, vec![k]);
            }
            k -= length;
        }
        unreachable!("an element of an output")
    }
}

fn narrow<T: Real>(x: &Tensor<f64>) -> Vec<T> {
    x.data().iter().map(|&x| T::from_f64(x)).collect()
}

fn fault(told: String) -> Fault {
    Fault::from(Box::<dyn Error + Send + Sync>::from(told))
}

/// What a closure returns, which must leave its inputs as they are: foreign code can write where it
/// must only read.
fn unchanged<T: Real, R, const N: usize>(
    at: &[Vec<T>],
    call: impl FnOnce([&[T]; N]) -> Result<R, Box<dyn Error + Send + Sync>>,
) -> Result<R, Fault> {
    let given = at.to_vec();
    let result = call(std::array::from_fn(|i| &given[i][..])).map_err(Fault::from)?;
    for (input, (given, kept)) in given.iter().zip(at).enumerate() {
        if let Some(i) = (0..kept.len()).find(|&i| given[i] != kept[i]) {
            let (was, is) = (kept[i], given[i]);
            return Err(fault(format!(
                "the closure changed element {i} of input{input} from {was} to {is}"
            )));
        }
    }
    Ok(result)
}
