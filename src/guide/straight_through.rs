//! The stop: a gradient for a choice, which has none, and what it costs.
//!
//! # A hard value, a soft gradient
//!
//! A choice is a step: its derivative is 0, or there is none ([`problem`](super::problem)). A
//! *straight-through estimator* takes the value from the *hard* expression, the step, and the gradient from
//! a *soft* one, which is smooth and lies near it:
//!
//! ```text
//! y = soft + stop(hard - soft)         value hard, dsoft = dy
//! ```
//!
//! stop(x) has the value x and passes no gradient on ([`stop_gradient`](crate::Var::stop_gradient);
//! `.detach()` in PyTorch). The two soft terms cancel in the value, and only the first has a gradient.
//! Both forms of DPQ are of this kind. In [`sx`](super::sx) hard is the one-hot of the choice, and soft a
//! softmax. In [`vq`](super::vq) hard is the chosen codeword, and soft the query itself.
//!
//! # Of what is it the derivative?
//!
//! Not of y: that is a step still. But hold every choice, and every stopped value, at the point x0 where
//! the gradient is asked for, and let the rest move:
//!
//! ```text
//! y(x; x0) = soft(x) + [hard(x0) - soft(x0)]          the bracket is a constant
//! ```
//!
//! This *held function* is smooth, has y's value at x0, and the estimator's gradient is its true derivative
//! there. For the sign of a number, with a tanh for the soft expression, at x0 = 0.3:
//!
//! | x | sign(x) | tanh(x) | held: tanh(x) + \[1 - 0.2913\] |
//! |---|---|---|---|
//! | 0.2 | 1 | 0.1974 | 0.9061 |
//! | 0.3 | 1 | 0.2913 | 1 |
//! | 0.4 | 1 | 0.3799 | 1.0886 |
//! | slope at 0.3 | 0 | 0.9151 | 0.9151 |
//!
#![doc = include_str!("pictures/staircase.svg")]
//!
//! So an estimator can be checked by differences like any other op, if the differences are those of the held
//! function. [`gradcheck`](mod@crate::gradcheck) does that. It evaluates the base point once and records the values
//! that go through [`Tape::freeze`](crate::Tape::freeze): every stop and every argmax. Evaluations beside the
//! point get the recorded values back.
//!
//! ```
//! use dpq::{Tape, Tensor, Var, gradcheck};
//! fn sign<'t>(x: Var<'t, f64>) -> Var<'t, f64> {
//!     let hard = Tensor::from_fn(x.shape(), |i| x.value().data()[i].signum());
//!     x.tanh().straight_through(hard)
//! }
//! let x = Tensor::from([0.3, -1.2, 2.0]);
//! let report = gradcheck([x.clone()], |[x]| sign(x)).assert_ok();
//! assert!(report.ops.contains("StraightThrough"));
//!
//! // Differences of the value itself see nothing.
//! let tape = Tape::new();
//! let at = |h: f64| sign(tape.leaf(Tensor::from_fn([3], |i| x.data()[i] + h))).value();
//! assert_eq!(at(1e-4), at(-1e-4));
//! ```
//!
//! The third part of `cargo run --example 03_gradcheck` does the same step by step:
//!
//! ```text
//! $ cargo run --example 03_gradcheck
//! 3. A sign with the gradient of a tanh
//! plain differences of the value [0.0, 0.0, 0.0]
//! the estimator's gradient       [0.9151, 0.3050, 0.0707]
//! ```
//!
//! # The price
//!
//! A straight-through gradient is not the derivative of the loss: with respect to a query that derivative is 0
//! almost everywhere. The gradient says how the loss would change *if the hard value moved as the soft one does*.
//! But the hard value does not move so, and a step of descent may raise the loss. The gradient is a good guess
//! as long as soft is near hard:
//!
//! - in SX, while p is near its one-hot. A small temperature makes it so, and leaves most tokens without a
//!   gradient ([`temperature`](super::temperature));
//! - in VQ, while the codeword is near the query. The regulariser sees to that.
//!
//! In the sign above the two are far apart at x0: the tanh is 0.29 where the sign is 1. If the loss falls as
//! the sign grows, the gradient asks for a larger x, although the sign is 1 already and cannot grow.
//!
//! # The value has hard's own bits
//!
//! The value of [`straight_through`](crate::Var::straight_through) is a copy of hard. Computed as
//! soft + (hard - soft) it would be rounded twice, and often be another number. The model would then be trained
//! with other rows than those that its codes stand for:
//!
//! ```
//! let pairs = (1..1000).map(|i| ((i as f32).sin(), (i as f32).cos()));
//! let differ = pairs.filter(|(soft, hard)| soft + (hard - soft) != *hard).count();
//! assert!(differ > 100, "{differ} of 999");
//! ```
//!
//! In PyTorch the sum is what one writes; the error is of the size of the last bit of the larger of the two.
//!
//! # In a fused op
//!
//! A *fused* op does the work of several in one step: it chooses and computes its value at once, and has no
//! intermediate value to hold. So it also tells the checker how to compute the same from primitive ops
//! ([`Tape::fused`](crate::Tape::fused)). The checker takes its differences from those, with stops and choices
//! held, and compares the gradient of the fused op with them. [`sx`](crate::pq::sx()) and [`vq`](crate::pq::vq())
//! are checked in this way.
