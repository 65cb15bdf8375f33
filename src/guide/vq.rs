//! The centroid form (VQ) and its regulariser.
//!
//! # Forward
//!
//! One codebook C serves for keys and values: a query is replaced by what it is compared with.
//!
//! ```text
//! r[i,g,j]    = - || q[i,g] - C[g,j] ||^2                   scores
//! rh[i,g,j]   = (r[i,g,j] - mean[j]) / sd[j]                normalised as in SX
//! code[i,g]   = argmax_j rh[i,g,j]
//! y[i,g]      = q[i,g] + stop(C[g,code] - q[i,g])           value: the codeword
//! R           = mean (C[g,code] - stop(q))^2  +  beta mean (stop(C[g,code]) - q)^2
//! ```
//!
//! y is a straight-through estimator: hard is the codeword, soft the query. R is the *regulariser*, which
//! joins the loss: its first part is the *codebook term*, its second the *commitment term*. The means are
//! over all n D s elements.
//!
//! # Backward
//!
//! | gradient of | from the task | from the codebook term | from the commitment term |
//! |---|---|---|---|
//! | queries q | dq = dy, straight through | none: q is stopped there | dq = 2 beta (q - C\[g,code\]) / (n D s) |
//! | codebook C | none: C is stopped in y | dC\[g,j\] = sum over i with code j of 2 (C\[g,j\] - q\[i,g\]) / (n D s) | none: C is stopped there |
//!
//! Scores, mean and sd only serve to choose. No gradient flows through them. If all groups share one codebook,
//! dC\[j\] is this sum added over g as well.
//!
//! # One token in numbers
//!
//! The token and the keys of [`sx`](super::sx), which are the codebook here; scores are not normalised, and
//! beta = 0.25:
//!
//! ```text
//! q = (1.1, 0.6)     C[0] = (1, 0)     C[1] = (0, 1)     C[2] = (-1, -0.5)     target = (0.2, 0.9)
//! r = (-0.37, -1.37, -5.62)            code 0            y = (1, 0)            dy = (0.8, -0.9)
//!
//! from the task        dq    = dy                              = (0.8, -0.9)
//! codebook term        dC[0] = 2 (C[0] - q) / 2                = (-0.1, -0.6)      n D s = 2
//! commitment term      dq   += 0.25 · 2 (q - C[0]) / 2         = (0.025, 0.15)
//! together             dq    = (0.825, -0.75)      dC[1] = dC[2] = 0
//! ```
//!
//! Descent moves the query by -dq, up and to the left, towards codeword 1. It moves codeword 0 by -dC\[0\],
//! towards the query. Nothing else moves: a codeword that nobody chose gets no gradient, and the gradient
//! does not know that codeword 1 is near the target. The query goes where the task wants it, and when it
//! has come nearer to codeword 1 than to 0 the code changes.
//!
//! ```
//! use dpq::pq::{Normalization, composed};
//! use dpq::{DpqConfig, Tape, Tensor};
//! let tape = Tape::new();
//! let q = tape.leaf(Tensor::from([[1.1, 0.6]]));
//! let codebook = tape.leaf(Tensor::from([[[1.0, 0.0], [0.0, 1.0], [-1.0, -0.5]]]));
//! let config = DpqConfig { beta: 0.25, ..DpqConfig::vq(1, 3) };
//! let vq = composed::vq(&config, Normalization::Off, q, codebook);
//! let error = vq.rows - tape.constant(Tensor::from([[0.2, 0.9]]));
//! let task = (error * error).sum() * 0.5;
//! let regulariser = vq.regulariser.expect("VQ always has one");
//! let near = |x: Tensor<f64>, y: &[f64]| x.data().iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-12);
//!
//! let grads = tape.backward(task)?;
//! assert!(near(grads.dense(q), &[0.8, -0.9]) && grads.get(codebook).is_none());
//! let grads = tape.backward(regulariser)?;
//! assert!(near(grads.dense(q), &[0.025, 0.15]));
//! assert!(near(grads.dense(codebook), &[-0.1, -0.6, 0.0, 0.0, 0.0, 0.0]));
//! # Ok::<(), dpq::Error>(())
//! ```
//!
//! In PyTorch:
//!
//! ```python
//! import torch
//! q = torch.tensor([[1.1, 0.6]], dtype=torch.float64, requires_grad=True)
//! C = torch.tensor([[1, 0], [0, 1], [-1, -0.5]], dtype=torch.float64, requires_grad=True)
//! chosen = C[((q[:, None] - C) ** 2).sum(-1).argmin(-1)]
//! y = q + (chosen - q).detach()
//! task = (0.5 * (y - torch.tensor([[0.2, 0.9]])) ** 2).sum()
//! codebook, commitment = ((chosen - q.detach()) ** 2).mean(), ((chosen.detach() - q) ** 2).mean()
//! (task + codebook + 0.25 * commitment).backward()
//! print(q.grad.round(decimals=4))  # [[ 0.8250, -0.7500]]
//! print(C.grad.round(decimals=4))  # [[-0.1, -0.6], [0, 0], [0, 0]]
//! ```
//!
//! # The function that the gradient differentiates
//!
//! Held at x0, which stands for q and C:
//!
//! ```text
//! y(x; x0)   = q + [C0[g,code0] - q0]                       the bracket is a constant
//! R(x; x0)   = mean (C[g,code0] - q0)^2 + beta mean (C0[g,code0] - q)^2
//! ```
//!
//! code0, q0 and C0 are the values at x0. y moves with the query and with nothing else.
//!
//! # The task never moves a codeword
//!
//! The task moves queries, and the codebook term moves codewords after them. **A loop that forgets to add
//! the regulariser trains the queries while the codebook stays at its random start.** A layer returns it in
//! [`Embedded::regulariser`](crate::embedding::Embedded::regulariser), and the models of
//! [`nn`](mod@crate::nn) add it to their loss.
//!
//! # k-means inside
//!
//! Let count be the number of tokens that chose codeword j of group g, and centre the mean of their queries.
//! Then
//!
//! ```text
//! dC[g,j] = 2 count (C[g,j] - centre) / (n D s)
//! ```
//!
//! which is 0 in two cases: the codeword is the mean of its queries already, or no token chose it (count is 0).
//! k-means repeats two steps: every point goes to the nearest centre, every centre to the mean of its points.
//! Without batch normalisation this is the same, except that a step of descent takes the codeword only part of the
//! way, sees the tokens of one batch, and the queries move meanwhile. With batch normalisation, the default, a
//! query may choose another codeword than the nearest. The codeword still moves towards the mean of those that
//! chose it:
//!
//! ```text
//! $ cargo run --example 05_vq_by_hand
//! codes                 argmax_j rh, token by token:  [[2, 0], [3, 3], [1, 2]]
//! the nearest, instead  argmax_j r:                   [[0, 0], [3, 3], [3, 2]]
//!                       normalisation may choose another than the nearest
//! codebook term         dC[g,j] = 2 sum over i with code j of (C - q) / (n D s)
//!     group 0     0.0000   0.0000  |  -0.1167  -0.0500  |  -0.1000  -0.0833  |  -0.0333   0.0167
//! how many chose it
//!     group 0     0.0000  |   1.0000  |   1.0000  |   1.0000
//! their mean
//!     group 0     0.0000   0.0000  |   0.2000   1.0000  |   0.9000  -0.4000  |   0.6000   0.5000
//! ```
//!
//! No token chose codeword 0 of group 0. Its gradient is 0, and the mean of no queries is printed as 0.
//!
#![doc = include_str!("pictures/cells.svg")]
//!
//! # Which term is beta's
//!
//! The codebook term has weight 1. beta is the weight of the term with stop(codeword), which pulls
//! *queries* to their codewords. It is 0 by default; 0.25 is common elsewhere.
//!
//! [`composed::vq`](crate::pq::composed::vq()) is this page in code, [`vq`](crate::pq::vq())
//! the fused op.
