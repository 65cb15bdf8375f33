//! Where finite differences mislead, and what [`gradcheck`](mod@crate::gradcheck) does about it.
//!
//! # The step
//!
//! The central difference (f(x + h) - f(x - h)) / 2h has two errors that pull in opposite directions:
//!
//! ```text
//! truncation  h^2 |f'''| / 6          falls with h
//! rounding    eps |f| / h             grows as h falls        eps = 1.1e-16 in f64, 6e-8 in f32
//! ```
//!
//! The best step is where they are equal in size, about eps^(1/3) of x's scale, and the error there
//! about eps^(2/3): 1e-11 in `f64`, but 1e-5 in `f32`. Hence checks run in `f64`; ops are generic, so
//! the code is the same.
//!
//! ```
//! let error = |h: f64| ((((1.0 + h).exp() - (1.0 - h).exp()) / (2.0 * h) - 1_f64.exp()) / 1_f64.exp()).abs();
//! assert!(error(1e-1) > 1e-3); // truncation
//! assert!(error(1e-5) < 1e-9);
//! assert!(error(1e-13) > 1e-6); // rounding
//! ```
//!
//! The checker extrapolates from two differences, with steps h and h/2: (4 D(h/2) - D(h)) / 3. Its
//! truncation is proportional to h^4, not h^2, so the best step is larger, about eps^(1/5) of x's
//! scale: the checker starts with 2e-4 of the input's largest element. What the extrapolation changed,
//! plus the rounding of f over h, is its *error bar*. Where the bar is too wide, it tries smaller and
//! larger steps, for every element by itself, and keeps the narrowest.
//!
//! # Cancellation
//!
//! Rounding is relative to |f|, not to its change. A large constant in the output drowns the change:
//!
//! ```
//! let difference = |c: f64| ((c + 1e-4_f64.sin()) - (c - 1e-4_f64.sin())) / 2e-4;
//! assert!((difference(0.0) - 1.0).abs() < 1e-8);
//! assert!((difference(1e9) - 1.0).abs() > 1e-6);
//! ```
//!
//! The checker counts [`NOISE`](crate::gradcheck::NOISE) roundings of max|f|, over h, into every error
//! bar. Large numbers *inside* f, which cancel before its value is seen, are looked for where an
//! estimate does not settle: what f moves by at steps so small that it should not bend is rounding, and
//! is counted too. A derivative whose bar is wider than the tolerance allows is *not observed*, and a
//! check in which more than 1% are not observed is not ok. Check the op, not the op plus a large number;
//! check its outputs, not the sum of thousands of them.
//!
//! # Sums that are constant
//!
//! The sum of a softmax is 1, and the sum of batch-normalised rows 0, whatever the input. A check of
//! `f(x).sum()` then compares 0 with 0, and a rule with a wrong factor would pass as well as the right
//! one. The checker says that it observed nothing. Leave out the sum (the checker differentiates every
//! output element), or weigh it:
//!
//! ```
//! use dpq::gradcheck::Verdict;
//! use dpq::{Tensor, gradcheck};
//! let x = Tensor::from([[0.3_f64, -1.2, 2.0]]);
//! let report = gradcheck([x.clone()], |[x]| x.softmax().sum());
//! assert_eq!(report.verdict(), Verdict::NotObserved);
//! gradcheck([x], |[x]| x.softmax()).assert_ok(); // all nine derivatives
//! ```
//!
//! # Small beside large
//!
//! Errors are relative to the largest entry of that input's Jacobian. An entry a billion times
//! smaller may be wholly wrong and pass. Scale inputs so that all that matters has about one size.
//!
//! # Kinks
//!
//! relu has no derivative at 0, and a difference across the kink gives the mean of both sides. The
//! checker tells a kink from a mistake by making the step smaller: |f(x + h) - 2 f(x) + f(x - h)| / h
//! falls with h where f is smooth, and stays where it has a kink. Such a point is reported as *not
//! differentiable here*, and neither passes nor counts as wrong:
//!
//! ```
//! use dpq::{Tensor, gradcheck};
//! let report = gradcheck([Tensor::from([-1.0, 0.0, 2.0])], |[x]| x.relu());
//! assert!(!report.is_ok() && report.kinks.len() == 1);
//! assert!(report.error() <= report.tolerance); // the two other points agree
//! ```
//!
//! If a kink lies off the point but within the step, the error bar is wide, and the step is made
//! smaller until it fits beside the kink. Inputs can be generated that keep away from kinks: see
//! [`gradient_checking`](super::gradient_checking).
//!
//! # Choices and ties
//!
//! A choice makes the value *jump*. A difference across a jump is the jump over 2h, 2,500 times the jump at the
//! checker's first step, and one beside it is exactly 0. Choices go through [`freeze`](crate::Tape::freeze) and are
//! held at the base point, so that even a tie, which the least perturbation would decide, can be checked:
//!
//! ```
//! use dpq::ops::one_hot;
//! use dpq::{Tensor, gradcheck};
//! // The two largest are equal. The lowest index is chosen, and stays chosen.
//! gradcheck([Tensor::from([[1.0, 3.0, 3.0]])], |[x]| {
//!     let hard = one_hot(&x.argmax(), 3);
//!     x.softmax().straight_through(hard) * x
//! })
//! .assert_ok();
//! ```
//!
//! It does not follow that a tie is harmless in training: which codeword a row gets there hangs on
//! the last bit of a score. The crate computes scores in one order everywhere for that reason.
//!
//! # Coupled rows
//!
//! Batch normalisation makes every row's result depend on all rows. A check with a single row sees
//! little of that: the row *is* the mean, so rh is 0, and the whole gradient with it. A rule without
//! the variance's term passes, and so does one that is 0. Use several rows, and several groups.
//!
//! ```
//! use dpq::{Tape, Tensor};
//! let gradient = |x: Tensor<f64>| {
//!     let tape = Tape::new();
//!     let x = tape.leaf(x);
//!     let y = x.batch_norm(1e-3).0;
//!     let seed = Tensor::from_fn(y.shape(), |i| i as f64);
//!     tape.backward_from(&[(y, seed)]).map(|grads| grads.dense(x))
//! };
//! assert_eq!(gradient(Tensor::from([[1.0, 5.0]]))?.data(), [0.0, 0.0]);
//! assert_ne!(gradient(Tensor::from([[1.0, 5.0], [2.0, 3.0], [4.0, 4.0]]))?.data(), [0.0; 6]);
//! # Ok::<(), dpq::Error>(())
//! ```
//!
//! Repeated ids couple rows as well: one row of the table moves all its occurrences, and a rule that
//! drops the repetitions is right whenever ids are distinct. Repeat some. And a tensor used in several
//! places (a codebook that all groups share) is one input, perturbed once everywhere.
