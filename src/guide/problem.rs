//! The problem: a table that is too large, and codes that cannot learn.
//!
//! # A table
//!
//! A language model starts with a table: one row of d numbers for each of V words. 50,000 words of
//! width 512 are 25.6 million numbers, 102 MB, often more than the rest of the model. A *token* is one
//! occurrence of a word in a text; its *id* is the word's row in the table.
//!
//! # Codes instead of rows
//!
//! Words of similar use have similar rows, so the numbers repeat themselves. *Product quantisation* cuts
//! a row into D *groups* of s = d / D numbers. In every group there are K *codewords* to choose from, each
//! s numbers wide, and a row is replaced by its D choices, its *codes*: whole numbers below K.
//!
//! ```text
//! a row        d numbers of 32 bits
//! its codes    D numbers of log2 K bits
//! a codebook   K codewords of s numbers, for each group or one for all
//! ```
//!
//! With D = 25 and K = 32 a word takes 125 bits instead of the 6,400 of 200 numbers. That is little, and
//! yet D choices out of K make K^D different rows, here 32^25 = 4 · 10^37: the codes of different words
//! need not collide. For V = 10,000 words the codes and one codebook take 50.9 times fewer bytes than the table:
//!
//! ```
//! let (v, d, groups, k) = (10_000.0, 200.0, 25.0, 32.0_f64); // one codebook for all groups
//! let table = 32.0 * v * d;
//! let compact = v * groups * k.log2() + 32.0 * k * (d / groups);
//! assert_eq!((table / compact * 10.0).round() / 10.0, 50.9);
//! ```
//!
//! A finished table can be cut up like this afterwards ([`finished_tables`](super::finished_tables)). But
//! then the codewords only know the table, not the task, and a fiftieth of the bytes costs much quality
//! ([`options`](super::options) has figures). *Differentiable* product quantisation, DPQ (Chen, Li & Sun, ICML
//! 2020; "the paper" on these pages), learns codes and codewords *with* the task.
//!
//! # Why there are queries
//!
//! A code is a whole number. It cannot move a little, so gradient descent cannot train it. What can
//! move a little is a vector. So in training every word has a *query*, a row of d numbers, and its code in
//! group g is read off the query: the number of the codeword that its part g fits best. The query moves, and
//! now and then the code changes.
//!
//! The query table is as large as the table that was to be replaced. That is no harm: it is needed only
//! while the model trains. At the end the codes are read off once more, and the queries are thrown away
//! ([`export`](super::export)).
//!
//! What a query is compared with and what the model then sees need not be the same vector. In the *softmax
//! form*, SX, every codeword is a pair: a *key* C^k\[j\], which is compared, and a *value* C^v\[j\], which is
//! seen. In the *centroid form*, VQ (for vector quantisation), one vector C\[j\] does both.
//!
#![doc = include_str!("pictures/flow.svg")]
//!
//! # The argmax learns nothing
//!
//! In one group of SX, for one word:
//!
//! ```text
//! r[j]   = < q, C^k[j] >           the dot product: how well key j fits the query q
//! code   = argmax_j r[j]
//! y      = C^v[code]               what the model sees
//! ```
//!
//! Run backward, the codeword C^v\[code\] gets a gradient. The query gets none. The argmax is a step: it
//! stays as it is while q moves a little, so its derivative is 0, and where it jumps it has none.
//!
//! ```
//! use dpq::ops::one_hot;
//! use dpq::{Tape, Tensor};
//! let tape = Tape::new();
//! let q = tape.leaf(Tensor::from([[1.1, 0.6]]));
//! let keys = tape.leaf(Tensor::from([[1.0, 0.0], [0.0, 1.0], [-1.0, -0.5]]));
//! let values = tape.leaf(keys.value());
//! let r = q.matmul_t(keys);
//! let w = tape.constant(one_hot(&r.argmax(), 3)); // 1 for the best codeword, 0 for the others
//! let y = w.matmul(values);
//! let grads = tape.backward((y * y).sum())?;
//! assert!(grads.get(values).is_some());
//! assert!(grads.get(q).is_none() && grads.get(keys).is_none());
//! # Ok::<(), dpq::Error>(())
//! ```
//!
//! Queries and keys would stay at their random start, and codes with them. The way out is to let the
//! gradient of something *smooth* stand in for that of the step: see
//! [`straight_through`](super::straight_through). It has a price, which that page tells, too.
