//! Export: what is kept, and what is thrown away.
//!
//! | while training | numbers | after export |
//! |---|---|---|
//! | queries, V x d | V d of 32 bits | **dropped**: their codes stand for them |
//! | keys C^k, G x K x s (SX) | G K s | **dropped**: they only served to choose |
//! | values C^v, or VQ's codebook C | G K s | **kept** |
//! | running mean\[j\] and var\[j\] | 2 K | **dropped**, after the codes have been computed with them |
//! | tau, beta, the optimiser's state | | **dropped** |
//! | codes, V x D | | **new**: V D numbers of ceil(log2 K) bits |
//!
//! G is the number of codebooks: D, or 1 if the groups share one.
//! [`to_compact`](crate::DpqEmbedding::to_compact) computes all codes at once, as evaluation does: scores
//! normalised with the running averages, the argmax, nothing sampled. Codes that were chosen while the model
//! trained would not do: since a rare word was last seen the codewords have moved, and its code may be another.
//!
//! The rows that the compact table decodes to are those of the model in evaluation, to the bit:
//!
//! ```
//! use dpq::{DpqConfig, DpqEmbedding, Embedding, Params, Tape};
//! let mut params = Params::<f32>::new();
//! let embedding = DpqEmbedding::new(params.scope("words"), 10, 12, DpqConfig::sx(3, 4))?;
//! let compact = embedding.to_compact(&params)?;
//! let tape = Tape::new();
//! let evaluated = embedding.forward(&tape.evaluate(&params), &[7, 2]).rows.value();
//! assert_eq!(compact.lookup(&[7, 2])?, evaluated);
//! # Ok::<(), dpq::Error>(())
//! ```
//!
//! It is the evaluation of *this* moment. In training the scores are normalised by the batch, in evaluation
//! by running averages; until these have settled ([`batch_norm`](super::batch_norm)) some words have other
//! codes in the one than in the other.
//!
//! The size in bits is V D ceil(log2 K) + 32 G K s, and the table's 32 V d divided by it the compression
//! ratio. A codebook's share is small for a large vocabulary; for a small one sharing one codebook helps.
//!
//! What can be trained on afterwards are the values: [`FixedCodes`](crate::pq::FixedCodes) does. The codes
//! cannot, for nothing is left that could move a little.
