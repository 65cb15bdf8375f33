//! The temperature of the softmax form, and what halving it does.
//!
//! ```text
//! p[j]    = softmax_j (rh[j] / tau)
//! drh[j]  = p[j] (dp[j] - sum_j' p[j'] dp[j']) / tau
//! ```
//!
//! The choice does not depend on tau: dividing all scores by one number does not change which is largest.
//! Nor does the gradient of the values. Only the gradient of keys and queries does, and tau acts on it in two
//! ways: by the 1/tau, and by p.
//!
//! # Two codewords
//!
//! Let codeword 0 be the best, and its rh be *gap* above that of codeword 1. With dp\[0\] - dp\[1\] = 1,
//!
//! ```text
//! drh[0] = - drh[1] = p[0] p[1] / tau          p[0] = 1 / (1 + exp(-gap / tau))
//! ```
//!
//! A *boundary* is where two codewords score equally, and the choice changes from one to the other. Near it the gap
//! is small, far from it large:
//!
//! | tau | near, gap 0.1: p\[0\] | drh\[0\] | far, gap 4: p\[0\] | drh\[0\] |
//! |---|---|---|---|---|
//! | 2 | 0.512 | 0.125 | 0.881 | 0.0525 |
//! | 1 | 0.525 | 0.249 | 0.982 | 0.0177 |
//! | 0.5 | 0.550 | 0.495 | 0.9997 | 0.00067 |
//! | 0.25 | 0.599 | 0.961 | 1.0000 | 0.00000045 |
//!
//! Halving tau from 1 to 0.5 doubles the gradient of the near token and takes 96% of the far one's. At a gap of
//! 1.06, where tau was 1, it does not change. (In general, at 1.06 times the larger tau.) Tokens with a smaller gap
//! get a larger gradient than before, those with a larger gap a smaller one.
//!
//! ```
//! let drh = |gap: f64, tau: f64| {
//!     let p = 1.0 / (1.0 + (-gap / tau).exp());
//!     p * (1.0 - p) / tau
//! };
//! assert!((drh(0.1, 0.5) / drh(0.1, 1.0) - 1.985).abs() < 1e-3);
//! assert!((drh(4.0, 0.5) / drh(4.0, 1.0) - 0.038).abs() < 1e-3);
//! assert!((drh(1.061, 0.5) / drh(1.061, 1.0) - 1.0).abs() < 1e-3);
//! ```
//!
//! On the plot of y against one coordinate of a query (see [`straight_through`](super::straight_through)) the
//! held curve rises at each boundary. With half the tau it rises twice as steeply, over half the distance.
//!
//! # Many tokens and codewords
//!
//! - tau large: p is almost uniform. All codewords take part in every token's gradient, which is
//!   proportional to 1/tau.
//! - tau small: p is almost one-hot and the gradient almost 0 for all tokens but those near a boundary.
//!   Those few get gradients of size 1/tau, which reach only their two best codewords.
//!
//! The first part of `06_temperature_and_batch_norm` counts this for 2,000 tokens with 16 scores each of
//! variance 1:
//!
//! ```text
//! $ cargo run --example 06_temperature_and_batch_norm
//!              largest p          size of drh      the top tenth       codewords
//!      tau          mean    rms tokens  median     of tokens has     that share it
//!      100         0.063        0.0018  0.0018               15%              11.2
//!        1         0.190        0.2273  0.2049               18%               7.1
//!      0.1         0.743        2.4150  1.1239               34%               2.5
//!     0.01         0.967        9.3119  0.0000               88%               2.1
//! ```
//!
//! The columns are
//!
//! - the largest p of a token, averaged;
//! - the size of a token's drh, ||drh||: its root mean square over all tokens, and its median;
//! - of the sum of these sizes, the share of that tenth of the tokens which has the largest;
//! - among how many codewords a token's drh is shared out: (sum_j |drh\[j\]|)^2 / sum_j drh\[j\]^2, averaged.
//!
//! At tau = 0.01 half of the tokens get nothing (the median is 0.0000), and a tenth
//! of the tokens has 88% of all gradient.
//!
#![doc = include_str!("pictures/temperature.svg")]
//!
//! # With and without normalisation
//!
//! Without it, doubling all scores is the same as halving tau, and the size of the scores drifts as the model
//! trains: so does what tau means. With it the scores have variance 1, as soon as their own is well above
//! 1e-3, and tau keeps its meaning. tau is 1 by default. It can also be learnt, or lowered step by step
//! ([`Temperature`](crate::pq::Temperature)).
