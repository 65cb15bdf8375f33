//! Repeated ids: when the work for a word can be shared by all its tokens, and when not.
//!
//! A text repeats its words: 2,048 tokens of a text have about 1,000 distinct ids. Two tokens of one id have
//! the same query, hence the same scores, codes, p and row y. Only dy differs. So the work can be done once
//! for each distinct id, if the backward pass adds up what differs.
//!
//! # What is added up
//!
//! What the task gives, in [`sx`](super::sx) as in [`vq`](super::vq), is linear in dy as long as p and the code are
//! the same. So dy may be summed over the tokens of an id first:
//!
//! ```text
//! dy[u]          = sum of dy over the tokens with distinct id u
//! drh[u,g,j]     = p[j] (dp[j] - sum_j' p[j'] dp[j']) / tau      with dp[j] = < dy[u,g], C^v[g,j] >
//! ```
//!
//! What does *not* come from dy is the same for each token of an id. It has to be added as often as there are tokens,
//! so it is multiplied by count\[u\], the number of tokens of id u. That is so for the gradients of the regulariser,
//! for the batch's statistics, and for the two terms that come back through them:
//!
//! ```text
//! mean[j]        = sum over u,g of count[u] r[u,g,j] / (n D)              var[j] likewise
//! dp[u,g,j]     += count[u] · the entropy term's, if beta > 0
//! dr[u,g,j]      = (drh[u,g,j] - count[u] (mean(drh) + rh[u,g,j] mean(drh rh))) / sd[j]
//! mean(drh)      = sum over u,g of drh[u,g,j] / (n D)                     drh holds all its tokens already,
//! mean(drh rh)   = sum over u,g of drh[u,g,j] rh[u,g,j] / (n D)           so no count here
//! VQ: dC[g,j]    = sum over u with code j of count[u] 2 (C[g,j] - q[u,g]) / (n D s)
//! ```
//!
//! Leave a count out, and the gradient is right for ids that occur once and wrong for the others. A test whose ids
//! are all distinct does not see it.
//!
//! The result is exact, not an approximation. Of the ids 4, 1, 4, 4, 7 three are distinct, and the gradient of
//! the query table has three rows:
//!
//! ```
//! use dpq::tape::Gradient;
//! use dpq::{DpqConfig, DpqEmbedding, Embedding, Params, Tape};
//! let mut params = Params::<f32>::new();
//! let embedding = DpqEmbedding::new(params.scope("words"), 10, 12, DpqConfig::sx(3, 4))?;
//! let tape = Tape::new();
//! let loss = embedding.forward(&tape.train(&params), &[4, 1, 4, 4, 7]).rows.sum();
//! let grads = tape.backward_and_free(loss)?;
//! let Some(Gradient::Rows(rows)) = grads.get(embedding.queries()) else { panic!("not of rows") };
//! assert_eq!(rows.ids[..], [4, 1, 7]);
//! # Ok::<(), dpq::Error>(())
//! ```
//!
//! # When it must not be done
//!
//! Tokens can share work only if everything that decides on their code and their p is the same. It is not
//! where
//!
//! - **codes are sampled**: every token draws for itself, and two tokens of an id may have different codes. So
//!   with `sampling` the op works token by token.
//! - **queries are changed token by token** before they are quantised, by dropout for instance: two tokens
//!   then have two queries, though their ids are equal.
//! - **queries come from a context**, computed from a token's neighbours: the same word then has a new query at
//!   every place. [`Quantizer`](crate::pq::Quantizer) is for such queries, and shares nothing.
//!
//! And across batches nothing may be kept: mean\[j\] and sd\[j\] belong to the batch, so the same id has
//! other normalised scores in the next one, even if no parameter has moved.
//!
//! Dropout *after* the embedding is no obstacle. It changes dy, and sums of dy are what is shared.
