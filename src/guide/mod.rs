//! The course: how a gradient gets through discrete codes, in ten short pages. All code on them runs.
//!
//! | page | what it explains | program |
//! |---|---|---|
//! | [`tape`] | reverse-mode differentiation, ops of one's own | `01_tape`, `02_custom_op` |
//! | [`straight_through`] | a gradient for a choice, which has none, and the function that it is the derivative of | `03_gradcheck` |
//! | [`sx`] | the softmax form, term by term | `04_sx_by_hand` |
//! | [`vq`] | the centroid form and its regulariser | `05_vq_by_hand` |
//! | [`batch_norm`] | normalised scores, and the temperature | `06_temperature_and_batch_norm` |
//! | [`options`] | which option to use when, and what DPQ competes with | `lstm_lm` |
//! | [`finished_tables`] | making a table small that is finished | the command `dpq` |
//! | [`gradient_checking`] | how to check a rule, and what an "ok" is worth | `03_gradcheck` |
//! | [`pitfalls`] | where finite differences mislead | `03_gradcheck` |
//! | [`speed`] | five ideas, and what each gains | `cargo bench --bench dpq` |
//!
//! `cargo run --example 04_sx_by_hand` and so on; `02_custom_op` needs `--features proptest`. The
//! programs print every number beside its formula; the pages say why it is so. Symbols are those of
//! [`dpq`](mod@crate::pq): n tokens, D groups of width s, K codewords, q\[i, g\] the part g of the
//! query of token i. dx is short for the gradient of the loss with respect to x, a tensor of x's
//! shape.

pub mod tape;
pub mod straight_through;
pub mod sx;
pub mod vq;
pub mod batch_norm;
pub mod options;
pub mod finished_tables;
pub mod gradient_checking;
pub mod pitfalls;
pub mod speed;
