//! How to check a gradient, and what an "ok" is worth.
//!
//! # Three ways in
//!
//! A closure of [variables](crate::gradcheck()), for ops of this crate and your own:
//!
//! ```
//! use dpq::{Tensor, gradcheck};
//! let x = Tensor::from([[1.0, -2.0], [0.5, 3.0]]);
//! let w = Tensor::from([[0.3], [-0.7]]);
//! gradcheck([x, w], |[x, w]| x.matmul(w).tanh()).assert_ok();
//! ```
//!
//! A closure of [parameters](crate::gradcheck_params()), for a whole model. And a forward and a
//! backward closure over [slices](crate::gradcheck::rule()), for code that is written with anything else,
//! in `f64` or `f32`:
//!
//! ```
//! use dpq::{Tensor, gradcheck};
//! // y = x^2, in single precision
//! gradcheck::rule(
//!     [Tensor::from([0.3_f32, -1.5])],
//!     |[x]| [x.iter().map(|x| x * x).collect()],
//!     |[x], [dy]| [x.iter().zip(dy).map(|(x, dy)| 2.0 * x * dy).collect()],
//! )
//! .assert_ok();
//! ```
//!
//! # What is compared
//!
//! The rule's Jacobian, a row for every output element, with one column of differences for every input
//! element. A Jacobian of more than 20,000 entries is checked by random projections instead:
//! < u, J t > for random u and t, of every input by itself.
//!
//! Every difference comes with an error bar: what the last extrapolation changed, and the rounding of
//! the function over the step. Where the bar is too wide, other steps are tried, and the narrowest is
//! kept. The rule may be off by the bar plus the tolerance times the size of the derivative.
//!
//! # What it says
//!
//! | verdict | means |
//! |---|---|
//! | [`Agree`](crate::gradcheck::Verdict::Agree) | no derivative differs, and at least 99% could be seen |
//! | [`Differ`](crate::gradcheck::Verdict::Differ) | a derivative differs; the report names it, and the cause where it knows the pattern |
//! | [`Kink`](crate::gradcheck::Verdict::Kink) | the function bends at the point: there is no derivative |
//! | [`NotObserved`](crate::gradcheck::Verdict::NotObserved) | the bars are too wide, or there was nothing to compare: a wrong rule could pass |
//! | [`Unsteady`](crate::gradcheck::Verdict::Unsteady) | the closure is not the same function twice |
//! | [`Fault`](crate::gradcheck::Verdict::Fault) | the closure failed, or gave NaN |
//!
//! Only the first is ok. A square's rule without its factor of 2 reads like this:
//!
//! ```
//! use dpq::{Tensor, gradcheck};
//! let report = gradcheck::rule(
//!     [Tensor::from([0.3, -1.5])],
//!     |[x]| [x.iter().map(|x| x * x).collect()],
//!     |[x], [dy]| [x.iter().zip(dy).map(|(x, dy)| x * dy).collect()],
//! );
//! let text = report.to_string();
//! assert!(text.starts_with(
//!     "gradients DIFFER: 2 of 4; the gradient is 0.500 times what it should be"
//! ));
//! assert!(text.contains("rule (analytic)") && text.contains("differences (numeric)"));
//! ```
//!
//! # Straight-through estimators
//!
//! Their gradient is on purpose not the derivative of their value, and a checker that takes plain
//! differences rejects the right rule. This one holds every choice and every stopped value at the base
//! point ([`straight_through`](super::straight_through)), and differentiates the rest. Nothing needs to
//! be said: it is how [`Var::straight_through`](crate::Var::straight_through) and
//! [`Var::stop_gradient`](crate::Var::stop_gradient) are recorded.
//!
//! # Is the checker awake?
//!
//! With [`control`](crate::Gradcheck::control) a rule that passes is damaged in three ways (scaled by
//! 1.0001, its largest term dropped, its Jacobian transposed), and the check is ok only if each is found:
//!
//! ```
//! use dpq::{Gradcheck, Tensor};
//! let check = Gradcheck { control: true, ..Gradcheck::default() };
//! let x = Tensor::from([[0.3, -1.2, 2.0]]);
//! let report = check.run([x], |[x]| x.softmax() * x).assert_ok();
//! assert!(report.controls.iter().all(|(_, found)| *found));
//! ```
//!
//! # Generated inputs
//!
//! Three lines check an op over random shapes and values, with the feature `proptest`:
//!
//! ```
//! # #[cfg(feature = "proptest")] {
//! use dpq::gradcheck;
//! use dpq::strategies::{Case, tensors};
//! let case = Case::new("x tanh x", tensors(2), |x| gradcheck([x], |[x]| x * x.tanh()));
//! case.run(64).assert_ok();
//! # }
//! ```
//!
//! [`strategies`](crate::strategies) also has tensors within bounds, away from kinks and without ties.
//! They are *made* so, nothing is drawn and thrown away. Inside `proptest!` it is
//! `agrees(gradcheck(..))?`. A failure shrinks to the smallest shape that fails and prints a program that repeats it.
//!
//! # A whole model
//!
//! [`symmetry_params`](crate::Gradcheck::symmetry_params) asks whether v' H w = w' H v, with H the
//! Hessian of the loss: true of the gradients of any smooth function. It takes 16 products with H,
//! however many parameters there are, and no forward value: it finds gradients that do not belong
//! together. It cannot find a factor that all of them share, and it rejects straight-through estimators,
//! so it comes beside the other check, not in its place.
//!
//! # What each checker finds
//!
//! 62 rules with one mistake each, 33 of them in DPQ's own gradients, and 69 right rules in places that
//! are hard for differences: kinks at 1e-2 to 1e-6 from the point, flat regions, numbers from 1e-9 to
//! 1e9, a summed softmax, straight-through estimators. `python benches/peers/gradcheck.py --list` asks
//! every checker about the same functions and prints a line for each:
//!
//! | checker | wrong: found | passed | unsure | right: accused | passed | unsure |
//! |---|---|---|---|---|---|---|
//! | this one | 62 | 0 | 0 | 0 | 67 | 2 |
//! | crate `gradcheck` 0.1.0 | 61 | 1 | 0 | 23 | 25 | 21 |
//! | `torch.autograd.gradcheck` 2.15, also in fast mode | 59 | 3 | 0 | 18 | 51 | 0 |
//! | `jax.test_util.check_grads` 0.10.2 | 61 | 1 | 0 | 28 | 41 | 0 |
//!
//! The two of which this one is unsure are the summed softmax and a summed normalisation, whose
//! derivatives are 0 but for rounding. That others find nearly all wrong rules flatters them: they
//! reject every rule of a straight-through estimator, right or wrong.
