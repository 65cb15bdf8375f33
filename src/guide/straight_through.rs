//! Straight-through estimators: gradients of what has none.
//!
//! # The trouble with a choice
//!
//! Codes are an argmax. As the scores move, the chosen codeword stays the same, and then jumps to
//! another: the derivative is 0 almost everywhere, and nothing trains. A straight-through estimator
//! takes the value from the *hard* expression and the gradient from a *soft* one beside it:
//!
//! ```text
//! y = soft + stop(hard - soft)         value hard, dsoft = dy
//! ```
//!
//! where stop(x) is x without a gradient ([`stop_gradient`](crate::Var::stop_gradient)). Both forms
//! of DPQ are such an expression. SX: hard = the one-hot of the choice, soft = a softmax. VQ: hard =
//! the chosen codeword, soft = the query itself.
//!
//! [`straight_through`](crate::Var::straight_through) takes hard as a tensor, so that no gradient
//! can reach it. Its value has hard's own bits: it is *read, not computed*. With rounding,
//! soft + (hard - soft) is often another number than hard, and the model would be trained with other
//! rows than those that its codes decode to.
//!
//! ```
//! let pairs = (1..1000).map(|i| ((i as f32).sin(), (i as f32).cos()));
//! let differ = pairs.filter(|(soft, hard)| soft + (hard - soft) != *hard).count();
//! assert!(differ > 100, "{differ} of 999");
//! ```
//!
//! # Of what is it the derivative?
//!
//! Not of the value: its differences are 0. Take the same expression with every stopped value and
//! every choice **held at the base point** x0:
//!
//! ```text
//! y(x; x0) = soft(x) + [hard(x0) - soft(x0)]
//! ```
//!
//! This function is smooth, equals y at x0, and has the estimator's gradient as its true
//! derivative there. So an estimator can be checked like any other op, and that is what
//! [`gradcheck`](mod@crate::gradcheck) does: it evaluates the base point once and records what
//! goes through [`Tape::freeze`](crate::Tape::freeze), every stop and argmax; perturbed evaluations
//! get those values back.
//!
//! ```
//! use dpq::{Tensor, Var, gradcheck};
//! // The sign, with the gradient of a tanh.
//! fn sign<'t>(x: Var<'t, f64>) -> Var<'t, f64> {
//!     let hard = Tensor::from_fn(x.shape(), |i| x.value().data()[i].signum());
//!     x.tanh().straight_through(hard)
//! }
//! let x = Tensor::from([0.3, -1.2, 2.0]);
//! let report = gradcheck([x.clone()], |[x]| sign(x)).assert_ok();
//! assert!(report.ops.contains("StraightThrough"));
//!
//! // Plain differences see nothing.
//! let tape = dpq::Tape::new();
//! let at = |h: f64| sign(tape.leaf(Tensor::from_fn([3], |i| x.data()[i] + h))).value();
//! assert_eq!(at(1e-4), at(-1e-4));
//! ```
//!
//! # A straight-through gradient is not the gradient of the loss
//!
//! Nor is it an unbiased estimate of it. It says how the loss would change if hard moved as soft does.
//! That is a good guess while the two are close to each other: for VQ while the codeword is close to
//! the query, which the regulariser provides; for SX while p is close to its one-hot.
//!
//! # In a fused op
//!
//! An op that chooses and computes its value in one step has no intermediate value to hold.
//! [`Tape::fused`](crate::Tape::fused) gives the checker the same function in primitive ops. Stops and
//! choices are recorded there, and held; the gradient that is compared with differences is that of
//! the fused rule. [`sx`](crate::pq::sx()) and [`vq`](crate::pq::vq()) are checked in this way.
