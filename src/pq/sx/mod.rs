//! The softmax form as one op.
//!
//! It computes what [`composed::sx`](super::composed::sx()) defines, but
//! - works on the distinct ids of the batch, since a token's scores, codes and softmax depend on its
//!   id alone, and what depends on dy is linear in it: dy is summed over an id's repetitions;
//! - never holds n x D x K numbers: the scores of as many tokens as a vector has lanes live in the
//!   first-level cache, and are computed again on the way back;
//! - computes no softmax on the way forward, where only the argmax counts;
//! - takes the batch-norm statistics from moments (see `statistics.rs`), and folds their gradient
//!   into one matrix and one vector a group.
//!
//! # The gradient
//!
//! With dy the upstream gradient, summed over the repetitions c\[u\] of a distinct id u:
//!
//! ```text
//! dC^v[g,j]  = sum over u with code[u,g] = j of dy[u,g]
//! dp[u,g,j]  = < dy[u,g], C^v[g,j] >       (+ the entropy term's: - c beta / (n D) (log(p + 1e-10) + w / (p + 1e-10)))
//! drh        = p (dp - sum_j p dp) / tau
//! dr[i]      = (drh - mean(drh) - rh mean(drh rh)) / sd         means over all tokens and groups
//! dq[i,g]    = sum_j dr C^k[g,j]               dC^k[g,j] = sum_i dr q[i,g]
//! ```
//!
//! The two means, times N = n D, are S1\[j\] = sum drh and S2\[j\] = sum drh rh. Since rh is linear
//! in q, their share of dq is linear in q as well, and S2 itself follows from sums that dC^k needs.
//! With q' = q - mean_g the queries about their group's mean, and a = S1 / (N sd), b = S2 / (N sd^2):
//!
//! ```text
//! P[g,j]     = sum_u drh q'[u,g]                        S1[g,j] = sum_u drh, of one group
//! S2[j]      = sum_g ( < P[g,j], C^k[g,j] > + (m[g,j] - mean[j]) S1[g,j] ) / sd
//! dq[u,g]    = sum_j (drh / sd) C^k[g,j] - c[u] ( A_g q'[u,g] + h_g )
//! A_g        = sum_j b[j] C^k[g,j] C^k[g,j]^T
//! h_g        = sum_j (a[j] + b[j] (m[g,j] - mean[j])) C^k[g,j]
//! dC^k[g,j]  = P[g,j] / sd + (S1[g,j] / sd - (a[j] + b[j] (m[g,j] - mean[j])) n) mean_g - b[j] n Cov_g C^k[g,j]
//! ```
//!
//! where mean_g, Cov_g and m\[g,j\] are the moments of the queries and scores of group g.

mod logits;
mod forward;
mod pass;
mod batch_norm;
mod backward;

pub use forward::sx;
