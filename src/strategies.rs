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
//!
//! Or within a suite of one's own, by [`agrees`], where a failure shrinks to the smallest shape and
//! prints a program that repeats it:
//!
//! ```
//! use dpq::gradcheck;
//! use dpq::strategies::{agrees, tensors};
//! use proptest::prelude::*;
//! proptest! {
//!     // Your suite has the attribute of a test here.
//!     fn x_tanh_x(x in tensors(2)) {
//!         agrees(gradcheck([x], |[x]| x * x.tanh()))?;
//!     }
//! }
//! x_tanh_x();
//! ```

use crate::gradcheck::{OBSERVED, Report, Verdict};
use crate::tensor::{Shape, Tensor};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

/// In the order in which a failure shrinks: from a vector of 16 and its neighbours down to nothing.
const LENGTHS: [usize; 14] = [0, 1, 1, 1, 2, 2, 3, 3, 4, 5, 14, 15, 16, 18];

/// Lengths of an axis: often 1, sometimes 0, small, or around a vector of 16.
pub fn length() -> impl Strategy<Value = usize> {
    (0..LENGTHS.len()).prop_map(|i| LENGTHS[i])
}

/// Lengths of an axis that is not empty.
pub fn some_length() -> impl Strategy<Value = usize> {
    (1..LENGTHS.len()).prop_map(|i| LENGTHS[i])
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
pub fn elements(shape: impl Into<Shape>, range: Range<f64>) -> impl Strategy<Value = Tensor<f64>> {
    let shape = shape.into();
    vec(range, shape.elements()).prop_map(move |data| {
        Tensor::new(shape, data).expect("as many elements as the shape holds")
    })
}

/// Tensors of any [`shapes`] of `axes` axes, with elements between -2 and 2.
pub fn tensors(axes: usize) -> impl Strategy<Value = Tensor<f64>> {
    shapes(axes).prop_flat_map(tensor)
}

/// Tensors of any [`shapes`] of `axes` axes, with elements from `range`.
pub fn tensors_in(axes: usize, range: Range<f64>) -> impl Strategy<Value = Tensor<f64>> {
    shapes(axes).prop_flat_map(move |shape| elements(shape, range.clone()))
}

/// The tensors of another strategy, moved away from kinks: an element nearer than `distance` to one of
/// the points is put at that distance from it, on the side on which it was.
///
/// ```
/// use dpq::strategies::{Case, away_from, tensors};
/// use dpq::gradcheck;
/// // relu bends at 0. Nothing is thrown away: every draw is moved to where it can be checked.
/// let inputs = away_from(tensors(2), [0.0], 0.01);
/// Case::new("relu", inputs, |x| gradcheck([x], |[x]| x.relu())).run(32).assert_ok();
/// ```
///
/// # Panics
/// If two points are nearer to each other than twice the distance.
#[track_caller]
pub fn away_from<const P: usize>(
    tensors: impl Strategy<Value = Tensor<f64>>,
    points: [f64; P],
    distance: f64,
) -> impl Strategy<Value = Tensor<f64>> {
    for (i, a) in points.iter().enumerate() {
        let near = points[..i].iter().find(|b| (*a - *b).abs() < 2.0 * distance);
        assert!(near.is_none(), "away_from: {a} and {near:?} are nearer than twice {distance}");
    }
    let moved = move |x: f64| {
        let near = points.iter().find(|point| (x - *point).abs() < distance);
        near.map_or(x, |point| point + distance.copysign(x - point))
    };
    tensors.prop_map(move |x| Tensor::from_fn(x.shape(), |i| moved(x.data()[i])))
}

/// The tensors of another strategy, with a clear winner in every row: the largest element, the first of
/// several, is raised until it is `gap` above the second. A choice of the best then stays the same
/// nearby.
pub fn with_gap(
    tensors: impl Strategy<Value = Tensor<f64>>,
    gap: f64,
) -> impl Strategy<Value = Tensor<f64>> {
    tensors.prop_map(move |mut x| {
        let width = x.shape().as_matrix().1.max(1);
        for row in x.data_mut().chunks_exact_mut(width) {
            let best = (0..width).rev().max_by(|&i, &j| row[i].total_cmp(&row[j]));
            let best = best.expect("a row has elements");
            let others = row.iter().enumerate().filter(|&(i, _)| i != best).map(|(_, x)| *x);
            row[best] = row[best].max(others.fold(f64::NEG_INFINITY, f64::max) + gap);
        }
        x
    })
}

/// Tensors of any [`shapes`] of `axes` axes, no two of whose elements are nearer to each other than
/// `gap`: none ties with another.
pub fn distinct_tensors(axes: usize, gap: f64) -> impl Strategy<Value = Tensor<f64>> {
    shapes(axes).prop_flat_map(move |shape| {
        let order = Just((0..shape.elements()).collect::<Vec<_>>()).prop_shuffle();
        order.prop_map(move |order| {
            let middle = order.len() as f64 / 2.0;
            Tensor::from_fn(shape, |i| gap * (order[i] as f64 - middle))
        })
    })
}

/// `n` ids below `vocabulary`, with repetitions.
pub fn ids(n: usize, vocabulary: usize) -> impl Strategy<Value = Vec<u32>> {
    vec(0..vocabulary.max(1) as u32, n)
}

/// What a check comes to, for `?` inside of `proptest!`: an input at which nothing is to be observed, such
/// as an empty one, is passed over like one that an assumption rules out.
///
/// # Errors
/// If the check fails, or shows nothing.
pub fn agrees(report: Report) -> Result<(), TestCaseError> {
    match report.verdict() {
        Verdict::Agree => Ok(()),
        Verdict::NotObserved => Err(TestCaseError::reject(report.to_string())),
        _ => Err(TestCaseError::fail(report.to_string())),
    }
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
    /// The share of all derivatives that was [observed](Report::observed).
    pub observed: f64,
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
                // An input may be empty, or flat: what counts is what all inputs together show.
                let verdict = match report.verdict() {
                    Verdict::Agree | Verdict::NotObserved => Ok(()),
                    _ => Err(TestCaseError::fail(report.to_string())),
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
        let (failure_persistence, max_shrink_iters) = (None, 10_000);
        let config = Config { cases, failure_persistence, max_shrink_iters, ..Config::default() };
        let rng = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
        let (reports, failure) = (self.run)(&mut TestRunner::new_with_rng(config, rng));
        let sum = |count: fn(&Report) -> usize| reports.iter().map(count).sum::<usize>();
        let (observed, flat) = (sum(|report| report.observed), sum(|report| report.flat));
        let seen = if observed > 0 { observed + flat } else { 0 };
        let share = seen as f64 / sum(|report| report.compared).max(1) as f64;
        let first = reports.iter().find(|report| report.verdict() == Verdict::NotObserved);
        let blind = (share < OBSERVED).then(|| match first {
            Some(report) => format!("{:.1}% observed over all inputs; {report}", 100.0 * share),
            None => "no input was checked".into(),
        });
        Outcome {
            name: self.name,
            cases: reports.len(),
            worst: reports.iter().map(Report::error).fold(0.0, f64::max),
            time: start.elapsed(),
            ops: reports.iter().flat_map(|report| report.ops.iter().copied()).collect(),
            observed: share,
            failure: failure.or(blind),
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
            "{:<36} {:>6} {:>12.1e} {:>7.2}% {seconds:>8.2} s  {verdict}",
            self.name,
            self.cases,
            self.worst,
            100.0 * self.observed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck;
    use crate::tape::{Context, Op};
    use proptest::strategy::ValueTree;

    fn draws<S: Strategy>(strategy: S) -> Vec<S::Value> {
        let mut runner = TestRunner::deterministic();
        let mut draw = || strategy.new_tree(&mut runner).unwrap().current();
        (0..200).map(|_| draw()).collect()
    }

    #[test]
    fn kinks_and_ties_are_kept_at_a_distance() {
        for x in draws(away_from(tensors(2), [-1.0, 0.0, 1.0], 0.3)) {
            let near = |x: f64| [-1.0, 0.0, 1.0].iter().any(|p| (x - p).abs() < 0.3 - 1e-12);
            assert!(!x.data().iter().any(|&x| near(x)), "{x:?}");
        }
        for x in draws(with_gap(tensors(2), 0.5)) {
            for row in x.rows() {
                let mut row = row.to_vec();
                row.sort_by(f64::total_cmp);
                assert!(row.len() < 2 || row[row.len() - 1] - row[row.len() - 2] >= 0.5 - 1e-12);
            }
        }
        for x in draws(distinct_tensors(2, 0.1)) {
            let mut data = x.data().to_vec();
            data.sort_by(f64::total_cmp);
            assert!(data.windows(2).all(|pair| pair[1] - pair[0] > 0.09));
        }
    }

    /// y = x, whose rule forgets the elements of a row from the fourth on.
    struct ShortRows;
    impl Op<f64> for ShortRows {
        fn backward(&self, ctx: &mut Context<'_, f64>) {
            let Some(dy) = ctx.output_grad(0) else { return };
            let width = dy.shape().as_matrix().1.max(1);
            let dx = |i: usize| if i % width < 3 { dy.data()[i] } else { 0.0 };
            ctx.add(0, Tensor::from_fn(dy.shape(), dx));
        }
    }

    #[test]
    fn a_failure_shrinks_to_the_smallest_shape_and_prints_a_program() {
        let case = Case::new("short rows", tensors(2), |x| {
            gradcheck([x], |[x]| {
                let [y] = x.tape().record(ShortRows, &[x], [x.value()]);
                y
            })
        });
        let failure = case.run(64).failure.expect("rows of 4 and more have no gradient there");
        assert!(failure.contains("Tensor::new([1, 4], vec!["), "{failure}");
        assert!(failure.contains("d output[0, 3] / d input0[0, 3]"), "{failure}");
    }

    #[test]
    fn cases_that_observe_nothing_fail() {
        let constant =
            Case::new("sum of softmax", tensors(2), |x| gradcheck([x], |[x]| x.softmax().sum()));
        assert!(constant.run(64).failure.expect("nothing is observed").contains("NOT OBSERVED"));
    }
}
