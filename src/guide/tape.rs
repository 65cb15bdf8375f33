//! The tape: a program's arithmetic as a list, and gradients from walking it backwards.
//!
//! # A list of ops
//!
//! A forward pass computes values one after the other, each from earlier ones:
//!
//! ```text
//! x_k = f_k(x_a, x_b, ...)         a, b, ... < k
//! ```
//!
//! A [`Tape`](crate::Tape) writes that down: per node the value, the inputs' numbers, and an
//! [`Op`](crate::Op), the rule of f_k. The loss L is the last node. The backward pass starts with
//! dL/dL = 1 and visits the nodes in reverse order. When it comes to node k, everything that uses
//! x_k has been visited, so dx_k is complete, and the rule adds its contribution to each input's
//! gradient:
//!
//! ```text
//! dx_a += J^T dx_k                 J = the derivatives of f_k with respect to x_a
//! ```
//!
//! No rule forms J. That of a product y = x w, for example, is dx = dy w^T and dw = x^T dy: two
//! products of the forward pass's own size. So all gradients together cost a small multiple of the
//! forward pass, however many inputs there are.
//!
//! A variable that is used twice gets two contributions, which are **added**:
//!
//! ```
//! use dpq::{Tape, Tensor};
//! let tape = Tape::new();
//! let x = tape.leaf(Tensor::scalar(3.0_f64));
//! let y = x * x + x; // dy/dx = 2 x + 1
//! assert_eq!(tape.backward(y)?.dense(x).item(), 7.0);
//! println!("{}", tape.table(None)); // every node, one a line
//! # Ok::<(), dpq::Error>(())
//! ```
//!
//! Here is the tape of SX ([`composed::sx`](crate::pq::composed::sx())) on three tokens, two groups and four
//! codewords. Read it downwards for the values, and upwards for the gradients:
//!
#![doc = include_str!("pictures/tape.svg")]
//!
//! # What gets a gradient
//!
//! [`leaf`](crate::Tape::leaf) variables do, [`constant`](crate::Tape::constant) ones do not, and an
//! op's output does if one of its inputs does. Ops of constants alone keep no rule. Parameters are put on
//! a tape by [`train`](crate::Tape::train), as leaves, or by [`evaluate`](crate::Tape::evaluate), as constants.
//!
//! A looked-up table gets a [row-sparse gradient](crate::tape::Rows): the distinct ids in the order
//! of their first occurrence, and one row for each, the sum over its repetitions.
//!
//! ```
//! use dpq::{Tape, Tensor, tape::Gradient};
//! let tape = Tape::new();
//! let table = tape.leaf(Tensor::<f64>::zeros([1000, 2]));
//! let grads = tape.backward(table.gather_rows(&[7, 3, 7]).sum())?;
//! let Some(Gradient::Rows(rows)) = grads.get(table) else { panic!("dense") };
//! assert_eq!(&rows.ids[..], [7, 3]);
//! assert_eq!(rows.rows.data(), [2.0, 2.0, 1.0, 1.0]);
//! # Ok::<(), dpq::Error>(())
//! ```
//!
//! # For lessons and for training
//!
//! [`backward`](crate::Tape::backward) keeps all values and gives the gradients of all variables: it
//! can be repeated, and [printed](crate::Tape::table). A training loop calls
//! [`value_and_grad`](crate::Tape::value_and_grad): it puts the parameters on the tape, runs the forward and the
//! backward pass, frees values and gradients on the way, and empties the tape. It returns the gradients of the
//! parameters ([`Grads`](crate::Grads)), which an optimiser takes without the tape. A pass that only evaluates is
//! [`value`](crate::Tape::value).
//!
//! All of them return the first error of an op, such as an id outside a table. An op itself returns a variable, so
//! that formulae can be written down; after an error it holds NaN, and the tape keeps the error until one of these
//! calls returns it. In a pass of your own ask the tape with [`check`](crate::Tape::check).
//!
//! # An op of one's own
//!
//! The documentation of [`Op`](crate::Op) has a whole example. What to keep in mind:
//!
//! - [`record`](crate::Tape::record) takes the outputs as computed by the caller. Inputs and outputs come back to
//!   the rule in its [`Context`](crate::Context). Its own fields are for whatever else it needs.
//! - An output nothing depends on has [no gradient](crate::Context::output_grad): with several
//!   outputs any of them may be missing.
//! - [`needs`](crate::Context::needs) says whether an input needs a gradient at all, which can save a
//!   product.
//! - A choice that makes the value jump, or a stopped value, goes through
//!   [`freeze`](crate::Tape::freeze): see [`straight_through`](super::straight_through).
//! - Check it with [`gradcheck`](crate::gradcheck()), over generated inputs with the feature
//!   `proptest`.
