//! The softmax form (SX), term by term.
//!
//! # Forward
//!
//! ```text
//! r[i,g,j]    = < q[i,g], C^k[g,j] >                        scores
//! rh          = (r - mean[j]) / sqrt(var[j] + 1e-3)         normalised (see batch_norm)
//! code[i,g]   = argmax_j rh                                 the lowest j on ties
//! p           = softmax_j(rh / tau)
//! w           = onehot(code) + p - stop(p)                  value: the one-hot
//! y[i,g]      = sum_j w[i,g,j] C^v[g,j]                     value: the row code of C^v
//! ```
//!
//! Keys C^k decide *which* codeword is chosen, values C^v what it *says*. After training only codes
//! and values are kept.
//!
//! # Backward
//!
//! y is a product of w and C^v, so the gradient takes two ways.
//!
//! **To the values.** w's value is the one-hot. A codeword gets the gradients of the tokens that chose
//! it; one that no token chose gets none:
//!
//! ```text
//! dC^v[g,j]   = sum over i with code[i,g] = j of dy[i,g]
//! ```
//!
//! **To the scores.** w has the gradient of p, so every codeword's score gets one, chosen or not:
//!
//! ```text
//! dp[i,g,j]   = < dy[i,g], C^v[g,j] >
//! drh[i,g,j]  = p[j] (dp[j] - sum_j' p[j'] dp[j']) / tau     p, dp of this i and g
//! dr          = (drh - mean(drh) - rh mean(drh rh)) / sd     means over all i and g, sd = sqrt(var + 1e-3)
//! dq[i,g]     = sum_j dr[i,g,j] C^k[g,j]
//! dC^k[g,j]   = sum_i dr[i,g,j] q[i,g]
//! ```
//!
//! dp\[j\] says how fast the loss would rise if y moved towards codeword j. The bracket compares it with
//! the average under p: it is positive where codeword j would serve *worse* than the average. Descent
//! subtracts the gradient, so that score falls, and the scores of better codewords rise.
//!
//! ```
//! use dpq::pq::{Normalization, composed};
//! use dpq::{DpqConfig, Tape, Tensor};
//! let tape = Tape::new();
//! let q = tape.leaf(Tensor::from([[1.0, 0.0], [0.0, 1.0]]));
//! let keys = tape.leaf(Tensor::from([[[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]]));
//! let values = tape.leaf(Tensor::from([[[0.5, 0.0], [0.0, 0.5], [0.3, 0.3]]]));
//! let sx = composed::sx(&DpqConfig::sx(1, 3), Normalization::Off, q, keys, values);
//! assert_eq!(sx.codes.to_vec(), [0, 1]);
//! assert_eq!(sx.rows.value().data(), [0.5, 0.0, 0.0, 0.5]);
//!
//! let grads = tape.backward((sx.rows * sx.rows).sum())?;
//! // No token chose codeword 2: its value stays, but its key moves.
//! assert_eq!(grads.dense(values).rows().nth(2), Some(&[0.0, 0.0][..]));
//! assert!(grads.dense(keys).rows().nth(2).unwrap().iter().all(|dk| *dk != 0.0));
//! # Ok::<(), dpq::Error>(())
//! ```
//!
//! # The entropy term
//!
//! With beta > 0 a term is added to the loss. It is smaller the larger the probability of the chosen
//! codeword is:
//!
//! ```text
//! R           = - beta mean over i,g of sum_j w log(p + 1e-10)      value: - beta mean log p[code]
//! dp         += - beta / (n D) (log(p + 1e-10) + w / (p + 1e-10))   w with its value, the one-hot
//! ```
//!
//! The logarithm is there because w has the gradient of p. Without it this would be the gradient of
//! the cross-entropy between the code and p.
//!
//! # In one op
//!
//! [`composed::sx`](crate::pq::composed::sx()) is the formulae above in code.
//! [`sx`](crate::pq::sx()) computes the same on the distinct ids of the batch and never holds
//! n x D x K elements. The source of its backward pass states how the two means of dr become one
//! matrix and one vector per group: rh is linear in q, and so are the terms that subtract them.
