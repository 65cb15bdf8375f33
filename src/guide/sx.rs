//! The softmax form (SX), term by term.
//!
//! # Forward
//!
//! Token i, group g, codeword j; q\[i,g\] is the part g of the token's query. Keys C^k decide *which*
//! codeword is chosen, values C^v *what it says*.
//!
//! ```text
//! r[i,g,j]    = < q[i,g], C^k[g,j] >                        scores
//! rh[i,g,j]   = (r[i,g,j] - mean[j]) / sd[j]                normalised: see batch_norm
//! code[i,g]   = argmax_j rh[i,g,j]                          the lowest j on ties
//! p[i,g,j]    = softmax_j (rh[i,g,j] / tau)
//! w[i,g,j]    = onehot_j(code) + p[i,g,j] - stop(p[i,g,j])  value: the one-hot
//! y[i,g]      = sum_j w[i,g,j] C^v[g,j]                     value: row code[i,g] of C^v
//! ```
//!
//! The one-hot is 1 at the code and 0 elsewhere. w is a straight-through estimator: hard is the one-hot,
//! soft the softmax p.
//!
//! # Backward
//!
//! y is a product of w and C^v, so its gradient goes two ways.
//!
//! **To the values**, through w's *value*, the one-hot. A codeword gets the gradients of the tokens that
//! chose it. One that no token chose gets none:
//!
//! ```text
//! dC^v[g,j]   = sum over i with code[i,g] = j of dy[i,g]
//! ```
//!
//! **To the scores**, through w's *gradient*, which is that of p. Every codeword's score gets one, whether
//! it was chosen or not, and from there queries and keys do:
//!
//! ```text
//! dp[i,g,j]   = < dy[i,g], C^v[g,j] >
//! drh[i,g,j]  = p[j] (dp[j] - sum_j' p[j'] dp[j']) / tau     p and dp of this i and g
//! dr[i,g,j]   = (drh - mean(drh) - rh mean(drh rh)) / sd[j]  means over all i and g: see batch_norm
//! dq[i,g]     = sum_j dr[i,g,j] C^k[g,j]
//! dC^k[g,j]   = sum_i dr[i,g,j] q[i,g]
//! ```
//!
//! If all groups share one codebook, dC^v\[j\] and dC^k\[j\] are these sums added over g as well. If tau learns,
//! dtau = - sum over i,g,j of drh rh / tau.
//!
//! dp\[j\] says how fast the loss rises if a little of value j is *added* to y. The bracket compares it with the
//! average under p. Where it is positive, more of codeword j is worse than more of the average, and drh is positive
//! too: the loss would fall if rh\[j\] fell. Where it is negative the loss would fall if rh\[j\] rose. The sum of
//! drh over j is 0, since p sums to 1: it is sum_j p\[j\] dp\[j\] less the same sum.
//!
//! Three things are left out of this picture:
//!
//! - dp is a slope, taken at the present y. It does not know how good the row of codeword j would be as a whole.
//! - dr reaches queries and keys, not drh. The batch's mean and variance move with the scores, so dr can have the
//!   other sign where drh is small.
//! - Scores are no parameters. A step changes the query, which moves the scores of all keys at once, and keys, which
//!   other tokens are compared with too.
//!
//! | gradient of | from the task | from the entropy term (below) |
//! |---|---|---|
//! | values C^v | the tokens that chose the codeword | none |
//! | keys C^k | through p and the scores, all codewords | through p and the scores |
//! | queries q | through p and the scores | through p and the scores |
//! | tau, if it learns | through p | through p |
//!
#![doc = include_str!("pictures/forward_backward.svg")]
//!
//! # One token in numbers
//!
//! One token, one group of width 2, three codewords, tau = 1. The batch's statistics are taken as given,
//! mean\[j\] = 0.1 and sd\[j\] = 0.5, so that here dr = drh / sd. The loss is 1/2 ||y - target||^2:
//!
//! ```text
//! q = (1.1, 0.6)     target = (0.2, 0.9)     y = C^v[0] = (1, 0)     dy = y - target = (0.8, -0.9)
//! ```
//!
//! | | codeword 0 | codeword 1 | codeword 2 | how |
//! |---|---|---|---|---|
//! | C^k\[j\] | (1, 0) | (0, 1) | (-1, -0.5) | |
//! | C^v\[j\] | (1, 0) | (0, 1) | (-1, -1) | |
//! | r | 1.1 | 0.6 | -1.4 | < q, C^k\[j\] > |
//! | rh | 2 | 1 | -3 | (r - 0.1) / 0.5 |
//! | p | 0.7275 | 0.2676 | 0.0049 | e^2, e^1, e^-3 over their sum, 10.157 |
//! | w | 1 | 0 | 0 | rh is largest at 0 |
//! | dC^v\[j\] | (0.8, -0.9) | (0, 0) | (0, 0) | dy for the chosen one |
//! | dp | 0.8 | -0.9 | 0.1 | < dy, C^v\[j\] > |
//! | dp less its average | 0.4584 | -1.2416 | -0.2416 | the average under p is 0.3416 |
//! | drh | 0.3335 | -0.3323 | -0.0012 | times p: together 0 |
//! | dr | 0.6669 | -0.6646 | -0.0024 | drh / 0.5 |
//!
//! ```text
//! dq = 0.6669 C^k[0] - 0.6646 C^k[1] - 0.0024 C^k[2] = (0.6693, -0.6634)
//! ```
//!
//! Descent takes the query away from key 0 and towards key 1, whose value (0, 1) is nearer to the target. With
//! q less 0.5 dq, (0.77, 0.93), key 1 has the larger score, and the code has changed. Codeword 2 has a dp below
//! the average as well, but its p is so small that it hardly takes part in dq. As a row it would be the worst of
//! the three, with a loss of 2.525 beside 0.725 and 0.025. That is what a slope does not see.
//!
//! ```
//! use dpq::pq::{BATCH_NORM_EPS, Normalization, composed};
//! use dpq::ops::BatchStatistics;
//! use dpq::{DpqConfig, Tape, Tensor};
//! // sd = sqrt(var + 0.001) = 0.5
//! let (mean, var) = (Tensor::full([3], 0.1), Tensor::full([3], 0.249));
//! let given = BatchStatistics { mean, var, eps: BATCH_NORM_EPS };
//! let tape = Tape::new();
//! let q = tape.leaf(Tensor::from([[1.1, 0.6]]));
//! let keys = tape.leaf(Tensor::from([[[1.0, 0.0], [0.0, 1.0], [-1.0, -0.5]]]));
//! let values = tape.leaf(Tensor::from([[[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]]));
//! let sx = composed::sx(&DpqConfig::sx(1, 3), Normalization::Running(&given), q, keys, values);
//! let error = sx.rows - tape.constant(Tensor::from([[0.2, 0.9]]));
//! let grads = tape.backward((error * error).sum() * 0.5)?;
//!
//! let near = |x: &Tensor<f64>, y: &[f64]| x.data().iter().zip(y).all(|(x, y)| (x - y).abs() < 5e-5);
//! assert!(near(&grads.dense(values), &[0.8, -0.9, 0.0, 0.0, 0.0, 0.0]));
//! assert!(near(&grads.dense(q), &[0.6693, -0.6634]));
//! assert!(near(&grads.dense(keys), &[0.7336, 0.4002, -0.7310, -0.3987, -0.0026, -0.0014]));
//! # Ok::<(), dpq::Error>(())
//! ```
//!
//! # The same in PyTorch
//!
//! With `.detach()` for the stop:
//!
//! ```python
//! import torch
//! q = torch.tensor([[1.1, 0.6]], dtype=torch.float64, requires_grad=True)
//! keys = torch.tensor([[1, 0], [0, 1], [-1, -0.5]], dtype=torch.float64, requires_grad=True)
//! values = torch.tensor([[1, 0], [0, 1], [-1, -1]], dtype=torch.float64, requires_grad=True)
//! rh = (q @ keys.T - 0.1) / 0.5
//! p = torch.softmax(rh, -1)
//! onehot = torch.nn.functional.one_hot(rh.argmax(-1), 3).double()
//! y = (onehot + p - p.detach()) @ values
//! (0.5 * (y - torch.tensor([[0.2, 0.9]])) ** 2).sum().backward()
//! print(q.grad.round(decimals=4))  # [[ 0.6693, -0.6634]]
//! ```
//!
//! # The function that the gradient differentiates
//!
//! Held at x0, which stands for all of q, C^k and C^v (and tau, if it learns), the row is
//!
//! ```text
//! y[i,g](x; x0) = sum_j ( p[i,g,j](x) + [onehot_j(code(x0)) - p[i,g,j](x0)] ) C^v[g,j]
//! ```
//!
//! The code and the stopped p are held: the bracket is a constant. Everything else moves: q, both codebooks, and
//! with them the mean and sd of the batch, which are part of p(x). The derivatives of y at x0 are those that
//! the gradients above are made of. With respect to C^v\[g,j\] it is p + onehot - p, the one-hot. With respect to
//! p\[i,g,j\] it is C^v\[g,j\].
//!
//! # Three tokens, with every term
//!
//! `04_sx_by_hand` has three tokens, two groups and four codewords, with the batch's own statistics, and
//! prints every number beside its formula, the three terms of dr apart, and the crate's numbers beside all
//! of it:
//!
//! ```text
//! $ cargo run --example 04_sx_by_hand
//! normalised            rh = (r - mean) / sd,  sd = sqrt(var + 1e-3)
//!     token 0     0.9011  -1.1479   1.2197   0.1149  |   0.8687  -0.1019  -0.7363   1.5614
//! softmax               p = softmax_j(rh / tau),  tau = 0.5
//!     token 0     0.3210   0.0053   0.6070   0.0666  |   0.1930   0.0277   0.0078   0.7715
//! choice                w = onehot(argmax_j rh)  [+ p - stop(p) = 0]
//!     token 0     0.0000   0.0000   1.0000   0.0000  |   0.0000   0.0000   0.0000   1.0000
//! gradient of p         dp = < dy[i,g], C^v[g,j] >
//!     token 0    -1.6000  -0.2000   1.6000   0.2000  |  -0.5000  -0.9000   0.5000   0.9000
//! normalised scores     drh = p (dp - sum_j p dp) / tau: sums to 0 over j
//!     token 0    -1.3289  -0.0071   1.3720  -0.0360  |  -0.4157  -0.0818  -0.0012   0.4987
//! ```
//!
//! Token 0 chose codeword 2 in group 0. Its dp is 1.6, the largest: more of any other codeword would be better.
//! So its drh is positive. Codeword 0 has the smallest dp, -1.6, and its drh is as far below 0.
//!
//! # The entropy term
//!
//! With beta > 0 a term is added to the loss that falls as the probability of the chosen codeword rises. It makes
//! choices clearer: queries move away from the boundaries between two codewords.
//!
//! ```text
//! R           = - beta mean over i,g of sum_j w[j] log(p[j] + 1e-10)     value: - beta mean log p[code]
//! dp[i,g,j]  += - beta / (n D) (log(p[j] + 1e-10) + w[j] / (p[j] + 1e-10))
//! ```
//!
//! Here w\[j\] stands for its value, the one-hot. The second summand, w / (p + 1e-10), comes from the logarithm: on
//! its own it is the gradient of the cross-entropy between the code and p. The first, log(p + 1e-10), comes from
//! w, which has the gradient of p. The name is from the formula: with p in w's place, - sum_j p log p would be an
//! entropy. This is added to dp before drh is computed. Values get nothing: C^v does not occur in R.
//!
//! # In code
//!
//! [`composed::sx`](crate::pq::composed::sx()) is the formulae above in primitive ops.
//! [`sx`](crate::pq::sx()) is the fused op: it works on the distinct ids of the batch
//! ([`repeated_ids`](super::repeated_ids)) and never holds n x D x K elements ([`speed`](super::speed)).
