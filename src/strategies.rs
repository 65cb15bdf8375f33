//! Generated inputs for property-based tests of gradients, and the cases that use them.
//!
//! A user's own op is checked over generated tensors in a few lines:
//!
//! ```
//! use dpq::strategies::{Case, tensors};
//! use dpq::gradcheck;
//! let case = Case::new("x tanh x", tensors(2), |x| gradcheck([x], |[x]| x * x.tanh()));
//! case.run(32).assert_ok();
//! ```

use crate::gradcheck::Report;
use crate::tensor::{Shape, Tensor};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

/// Lengths of an axis: often 1, sometimes 0, small, or around a vector of 16.
pub fn length() -> impl Strategy<Value = usize> {
    prop_oneof![2 => Just(1), 1 => Just(0), 4 => 2..6_usize, 2 => 14..19_usize]
}

/// Lengths of an axis that is not empty.
pub fn some_length() -> impl Strategy<Value = usize> {
    prop_oneof![2 => Just(1), 4 => 2..6_usize, 2 => 14..19_usize]
}

/// Shapes of exactly `axes` axes, at most 120 elements.
pub fn shapes(axes: usize) -> impl Strategy<Value = Shape> {
    vec(length(), axes)
        .prop_map(|lengths| Shape::from(&lengths[..]))
        .prop_filter("a Jacobian of moderate size", |shape| shape.elements() <= 120)
}

/// Tensors of a shape, with elements between -2 and 2.
pub fn tensor(shape: impl Into<Shape>) -> impl Strategy<Value = Tensor<f64>> {
    elements(shape, -2.0..2.0)
}

/// Tensors of a shape, with elements from `range`.
pub fn elements(
    shape: impl Into<Shape>,
    range: std::ops::Range<f64>,
) -> impl Strategy<Value = Tensor<f64>> {
    let shape = shape.into();
    vec(range, shape.elements()).prop_map(move |data| {
        Tensor::new(shape, data).expect("as many elements as the shape holds")
    })
}

/// Tensors of any [`shapes`] of `axes` axes, with elements between -2 and 2.
pub fn tensors(axes: usize) -> impl Strategy<Value = Tensor<f64>> {
    shapes(axes).prop_flat_map(tensor)
}

/// Tensors with elements of either sign, none nearer to 0 than 0.01: away from the kink of relu.
pub fn nonzero_tensors(axes: usize) -> impl Strategy<Value = Tensor<f64>> {
    tensors(axes).prop_map(|x| {
        Tensor::from_fn(x.shape(), |i| x.data()[i].abs().max(0.01).copysign(x.data()[i]))
    })
}

/// `n` ids below `vocabulary`, with repetitions.
pub fn ids(n: usize, vocabulary: usize) -> impl Strategy<Value = Vec<u32>> {
    vec(0..vocabulary.max(1) as u32, n)
}

/// A gradient check over generated inputs.
pub struct Case {
    name: &'static str,
    run: Box<Run>,
}

/// All reports, and the first failure with its smallest input.
type Run = dyn Fn(&mut TestRunner) -> (Vec<Report>, Option<String>);

/// What a [`Case`] found over all its inputs.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The case.
    pub name: &'static str,
    /// How many inputs were checked.
    pub cases: usize,
    /// The largest error of any derivative, by [`gradcheck`](mod@crate::gradcheck)'s measure.
    pub worst: f64,
    /// How long it took.
    pub time: Duration,
    /// The ops that were differentiated.
    pub ops: BTreeSet<&'static str>,
    /// The first failure, with its smallest input.
    pub failure: Option<String>,
}

impl Case {
    /// The case `name`: `check` is called with values that `inputs` generates.
    pub fn new<S: Strategy + 'static>(
        name: &'static str,
        inputs: S,
        check: impl Fn(S::Value) -> Report + 'static,
    ) -> Case {
        let run = move |runner: &mut TestRunner| {
            let reports = RefCell::new(Vec::new());
            let result = runner.run(&inputs, |input| {
                let report = check(input);
                let verdict = if report.is_ok() {
                    Ok(())
                } else {
                    Err(TestCaseError::fail(report.to_string()))
                };
                reports.borrow_mut().push(report);
                verdict
            });
            let failure = match result {
                Ok(()) => None,
                Err(TestError::Fail(reason, input)) => {
                    Some(format!("{reason}\nfor the input {input:?}"))
                }
                Err(TestError::Abort(reason)) => {
                    Some(format!("too many inputs were rejected: {reason}"))
                }
            };
            (reports.into_inner(), failure)
        };
        Case { name, run: Box::new(run) }
    }

    /// What the case is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Checks `cases` generated inputs, the same ones at every run.
    pub fn run(&self, cases: u32) -> Outcome {
        let start = Instant::now();
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let rng = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
        let (reports, failure) = (self.run)(&mut TestRunner::new_with_rng(config, rng));
        Outcome {
            name: self.name,
            cases: reports.len(),
            worst: reports.iter().map(Report::error).fold(0.0, f64::max),
            time: start.elapsed(),
            ops: reports.iter().flat_map(|report| report.ops.iter().copied()).collect(),
            failure,
        }
    }
}

impl Outcome {
    /// Panics with the failure, if there is one.
    #[track_caller]
    pub fn assert_ok(&self) {
        if let Some(failure) = &self.failure {
            panic!("{}: {failure}", self.name);
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.failure.is_some() { "FAILED" } else { "ok" };
        let seconds = self.time.as_secs_f64();
        write!(
            f,
            "{:<36} {:>6} {:>12.1e} {seconds:>8.2} s  {verdict}",
            self.name, self.cases, self.worst
        )
    }
}
