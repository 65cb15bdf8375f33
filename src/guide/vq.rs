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
//! So the task moves queries, and codewords follow the queries. **The task alone never moves a
//! codeword**: a loop that forgets to add the regulariser trains queries against a codebook that
//! stays at its random start.
//!
//! ```
//! use dpq::{DpqConfig, DpqEmbedding, Embedding, Params, Tape};
//! let mut params = Params::<f64>::new();
//! let embedding = DpqEmbedding::new(&mut params, 10, 8, DpqConfig::vq(4, 3), 0.5, 0)?;
//! let tape = Tape::new();
//! let embedded = embedding.forward(&tape.train(&params), &[3, 1, 4]);
//!
//! let task = (embedded.rows * embedded.rows).sum();
//! assert!(tape.backward(task)?.param(embedding.keys()).is_none());
//!
//! let loss = task + embedded.regulariser.expect("VQ always has one");
//! let grads = tape.backward(loss)?;
//! let gradient = grads.param(embedding.keys()).unwrap().to_dense();
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
//! which vanishes where the codeword is the mean of its queries: gradient descent on the codebook
//! term is k-means in small steps. A codeword that nobody chose gets no gradient at all.
//!
//! # Which term is beta's
//!
//! The codebook term has weight 1, and beta goes with stop(codeword): it holds *queries* near their
//! codewords. It is 0 by default; 0.25 is common elsewhere.
//!
//! [`composed::vq`](crate::pq::composed::vq()) is this page in code, [`vq`](crate::pq::vq())
//! the fused op.
