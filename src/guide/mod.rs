//! The course: how a gradient gets through discrete codes, in short pages. All code on them runs.
//!
//! DPQ is differentiable product quantization. These pages are for readers who know what a gradient is, from
//! PyTorch for instance, and nothing of DPQ. They build on each other.
//!
//! | page | what it explains | program |
//! |---|---|---|
//! | [`problem`] | a table that is too large, codes, queries, and an argmax that learns nothing | |
//! | [`tape`] | reverse-mode differentiation, ops of one's own | `01_tape`, `02_custom_op` |
//! | [`straight_through`] | the stop: a gradient for a choice, the function that it is the derivative of, its price | `03_gradcheck` |
//! | [`sx`] | the softmax form, term by term | `04_sx_by_hand` |
//! | [`vq`] | the centroid form and its regulariser | `05_vq_by_hand` |
//! | [`batch_norm`] | normalised scores | `04_sx_by_hand`, `06_temperature_and_batch_norm` |
//! | [`temperature`] | what tau does to the gradient | `06_temperature_and_batch_norm` |
//! | [`repeated_ids`] | when tokens of one id can share work | |
//! | [`export`] | what is kept, and what is thrown away | |
//! | [`related`] | DPQ beside VQ-VAE, Gumbel-softmax and the straight-through estimator | |
//! | [`options`] | which option to use when, and what DPQ competes with | `lstm_lm` |
//! | [`finished_tables`] | making a table small that is finished | the command `dpq` |
//! | [`gradient_checking`] | how to check a rule, and what an "ok" is worth | `03_gradcheck` |
//! | [`pitfalls`] | where finite differences mislead | `03_gradcheck` |
//! | [`speed`] | five ideas, and what each gains | `cargo bench --bench dpq` |
//! | [`several_machines`] | what ranks tell each other, and why the result is that of one | `examples/data_parallel` |
//!
//! The numbers of a page can be played with in `playground.html`, which
//! `cargo run --example playground` writes: three tokens, sliders, every step forward and backward, and the
//! sum that each number comes from. `examples/exercises` leaves out eight formulae for you to fill in, with
//! hints and a test for each.
//!
//! `cargo run --example 04_sx_by_hand` and so on run the programs; `02_custom_op` needs
//! `--features proptest`. They print every number beside its formula. Outputs on the pages are cut to what
//! matters.
//!
//! # One meaning for each letter
//!
//! | letter | meaning |
//! |---|---|
//! | V, d | words of the table, numbers in a row |
//! | D, s = d / D | groups, numbers in a group's part of a row |
//! | K | codewords of a group to choose from |
//! | n | tokens of a batch. A token is one occurrence of a word, its id the word's row |
//! | i, g, j | a token, a group, a codeword. j' is another codeword in a sum |
//! | q\[i,g\] | the part g of token i's query |
//! | C^k, C^v | keys and values (SX, the softmax form). VQ, the centroid form, has one codebook C for both |
//! | G | codebooks: D, or 1 that all groups share |
//! | r, rh | scores, normalised scores |
//! | mean\[j\], var\[j\], sd\[j\] | statistics of codeword j's scores over the batch, sd = sqrt(var + 1e-3) |
//! | tau | the temperature |
//! | p, w | the softmax, and the one-hot with p's gradient |
//! | y | the row that the model sees |
//! | R, beta | the regulariser, and the weight of its term that is 0 by default |
//! | dx | the gradient of the loss with respect to x, a tensor of x's shape |
//! | x0 | where a gradient is asked for |
//! | u, count\[u\] | a distinct id of the batch, and how many tokens have it |

pub mod problem;
pub mod tape;
pub mod straight_through;
pub mod sx;
pub mod vq;
pub mod batch_norm;
pub mod temperature;
pub mod repeated_ids;
pub mod export;
pub mod related;
pub mod options;
pub mod finished_tables;
pub mod gradient_checking;
pub mod pitfalls;
pub mod speed;
pub mod several_machines;
