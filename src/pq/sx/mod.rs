//! The softmax form as one op.
//!
//! It computes what [`composed::sx`](super::composed::sx()) defines, but
//! - works on the distinct ids of the batch: given the batch's statistics, a token's scores, codes
//!   and softmax depend on its id alone, and the gradients are linear in dy, which is therefore
//!   summed over an id's repetitions first;
//! - never holds n x D x K elements: the scores of as many tokens as a vector has lanes stay in the
//!   first-level cache, and the backward pass computes them again;
//! - computes no softmax in the forward pass, where only the argmax counts;
//! - takes the batch-norm statistics from moments (see `statistics.rs`), and folds their gradient
//!   into one matrix and one vector per group.
//!
//! # The gradient
//!
//! With dy the gradient with respect to the rows, c\[u\] how often the distinct id u occurs, dy\[u\]
//! summed over these c\[u\] tokens, and w the one-hot code:
//!
//! ```text
//! dC^v[g,j]  = sum over u with code[u,g] = j of dy[u,g]
//! dp[u,g,j]  = < dy[u,g], C^v[g,j] >
//!              (beta > 0: - c[u] beta / (n D) (log(p[u,g,j] + 1e-10) + w[u,g,j] / (p[u,g,j] + 1e-10)))
//! drh[u,g,j] = p[u,g,j] (dp[u,g,j] - sum_j' p[u,g,j'] dp[u,g,j']) / tau
//! ```
//!
//! The scores' normalisation, with N = n D and sums over all ids and groups:
//!
//! ```text
//! S1[j]      = sum drh[u,g,j]          S2[j] = sum drh[u,g,j] rh[u,g,j]
//! dr[u,g,j]  = (drh[u,g,j] - c[u] (S1[j] + rh[u,g,j] S2[j]) / N) / sd[j]
//! dq[u,g]    = sum_j dr[u,g,j] C^k[g,j]          dC^k[g,j] = sum_u dr[u,g,j] q[u,g]
//! ```
//!
//! # The statistics' contribution in closed form
//!
//! Let q' = q - mean_g be the queries about the mean of their group, and m\[g,j\] = < mean_g, C^k\[g,j\] >
//! the mean of its scores. Then rh is linear in q', and so is what is subtracted from drh:
//!
//! ```text
//! rh[u,g,j]  = (< q'[u,g], C^k[g,j] > + m[g,j] - mean[j]) / sd[j]
//! a[j]       = S1[j] / (N sd[j])                 b[j] = S2[j] / (N sd[j]^2)
//! dr[u,g,j]  = drh[u,g,j] / sd[j] - c[u] (a[j] + b[j] (m[g,j] - mean[j]) + b[j] < q'[u,g], C^k[g,j] >)
//! ```
//!
//! Put into dq, the sum over j needs to be taken only once per group:
//!
//! ```text
//! A_g        = sum_j b[j] C^k[g,j] C^k[g,j]^T
//! h_g        = sum_j (a[j] + b[j] (m[g,j] - mean[j])) C^k[g,j]
//! dq[u,g]    = sum_j (drh[u,g,j] / sd[j]) C^k[g,j] - c[u] (A_g q'[u,g] + h_g)
//! ```
//!
//! Put into dC^k, with q = q' + mean_g, sum_u c\[u\] q'\[u,g\] = 0 and sum_u c\[u\] q' q'^T = n Cov_g:
//!
//! ```text
//! P[g,j]     = sum_u drh[u,g,j] q'[u,g]          S1[g,j] = sum_u drh[u,g,j]
//! dC^k[g,j]  = P[g,j] / sd[j] + (S1[g,j] / sd[j] - n (a[j] + b[j] (m[g,j] - mean[j]))) mean_g
//!              - n b[j] Cov_g C^k[g,j]
//! S2[j]      = sum_g (< P[g,j], C^k[g,j] > + (m[g,j] - mean[j]) S1[g,j]) / sd[j]
//! ```
//!
//! So one sweep over the ids, which computes drh once, gives everything: the first term of dq, P, S1
//! and dC^v. What remains is small, and one linear map of q'.
//!
//! # Options
//!
//! A temperature that learns has the gradient
//!
//! ```text
//! dtau       = - sum drh rh / tau = - sum_j S2[j] / tau
//! ```
//!
//! of sums that are there anyway. If codes are sampled, w is the one-hot of each token's own code: the
//! rows, dC^v and the entropy term's w / (p + 1e-10) are taken token by token; scores, p and everything
//! else still once per distinct id. One draw x a token and group is enough, for the first j with
//! p\[0\] + ... + p\[j\] above x has the chances p\[j\], as the best j of log p\[j\] plus Gumbel noise has.
//! Where an id may choose only from the first so many codewords, p is 0 for the others, and so is drh.
//!
//! The files in the order in which they are read: `logits` (what p is the softmax of), `forward`, `sampling`
//! (of codes), `pass` (what the backward pass reads, and dq), `batch_norm` (the statistics' contribution),
//! `backward`.

mod logits;
mod forward;
mod sampling;
mod pass;
mod batch_norm;
mod backward;

pub use forward::{sx, sx_with};
