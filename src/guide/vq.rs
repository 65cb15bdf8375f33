//! The centroid form (VQ) and its regulariser.
//!
//! # Forward
//!
//! ```text
//! r[i,g,j]    = - || q[i,g] - C[g,j] ||^2                   scores, then normalised as in SX
//! code[i,g]   = argmax_j rh
//! y[i,g]      = q[i,g] + stop(C[g,code] - q[i,g])           value: the codeword
//! R           = mean (C[code] - stop(q))^2  +  beta mean (stop(C[code]) - q)^2
//! ```
//!
//! One codebook serves for keys and values: a query is replaced by what it is compared with. The
//! means are over all n D s elements.
//!
//! # Backward
//!
//! | term | queries | codebook |
//! |---|---|---|
//! | task loss | dq = dy, straight through | nothing: y's C is stopped |
//! | codebook term | nothing: its q is stopped | dC\[g,j\] = sum over i with code j of 2 (C - q) / (n D s) |
//! | commitment term | dq = 2 beta (q - C\[code\]) / (n D s) | nothing: its C is stopped |
//!
//! Scores and their normalisation only serve to choose: no gradient flows through them.
//!
//! The task moves queries, and the codebook term moves codewords after the queries. **The task alone
//! never moves a codeword**: a loop that forgets to add the regulariser trains queries while the
//! codebook stays at its random start.
//!
//! ```
//! use dpq::{DpqConfig, DpqEmbedding, Embedding, Params, Tape};
//! let mut params = Params::<f64>::new();
//! let embedding = DpqEmbedding::new(params.scope("words"), 10, 8, DpqConfig::vq(4, 3))?;
//! let tape = Tape::new();
//! let p = tape.train(&params);
//! let embedded = embedding.forward(&p, &[3, 1, 4]);
//!
//! let task = (embedded.rows * embedded.rows).sum();
//! let codebook = p[embedding.keys()];
//! assert!(tape.backward(task)?.get(codebook).is_none());
//!
//! let loss = task + embedded.regulariser.expect("VQ always has one");
//! let gradient = tape.backward(loss)?.dense(codebook);
//! assert!(gradient.data().iter().any(|dc| *dc != 0.0));
//! # Ok::<(), dpq::Error>(())
//! ```
//!
//! # k-means inside
//!
//! With count the number of tokens that chose codeword j, and m their queries' mean,
//!
//! ```text
//! dC[g,j] = 2 count (C[g,j] - m) / (n D s)
//! ```
//!
//! which is 0 where the codeword is the mean of its queries. Without batch normalisation every query
//! chooses the nearest codeword, and gradient descent on the codebook term is k-means in small steps.
//! With it, the default, a query can choose another codeword than the nearest; the codeword still
//! moves towards the mean of the queries that chose it. A codeword that no query chose gets no
//! gradient.
//!
//! # Which term is beta's
//!
//! The codebook term has weight 1. beta is the weight of the term with stop(codeword), which pulls
//! *queries* to their codewords. It is 0 by default; 0.25 is common elsewhere.
//!
//! [`composed::vq`](crate::pq::composed::vq()) is this page in code, [`vq`](crate::pq::vq())
//! the fused op.
