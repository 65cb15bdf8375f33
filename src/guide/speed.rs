//! Where the speed comes from: five ideas, each switched off in turn.
//!
//! A layer of n tokens with D groups of width s and K codewords has n D K scores. Written down as the
//! formulae stand, it makes, stores and reads again several arrays of that size, and a gradient as
//! large as the table. The fused ops do none of it, and give the same numbers: rows to the bit,
//! gradients to rounding.
//!
//! | idea | without it a step takes |
//! |---|---|
//! | distinct ids only | 1.9 times as long (SX), 1.6 times (VQ) |
//! | tiles | 1.5 times as long, and 32 MiB more |
//! | no softmax on the way forward | 1.2 times as long |
//! | statistics in closed form | 4.9 times as long (SX), 9.0 times (VQ) |
//! | gradients of rows only | 1.2 times as long with 10,000 rows, 2.5 times with 100,000 |
//!
//! Measured on one Zen 4 core with AVX-512: forward and backward of SX, n 2048, d 512, D 64, K 32,
//! V 32,000, with batch normalisation; least times of two runs of five samples, with and without in
//! turn; 9.0 ms with everything (VQ 3.1). `cargo bench --bench dpq -- --only "C sx"` and
//! `cargo bench --bench vocabulary` measure the step as it is, the latter with gradients of rows and
//! of the whole table. The other four ideas have no switch: they were taken out of the source by
//! hand, in the way that each section ends with.
//!
//! # Distinct ids
//!
//! A text repeats its words. A token's scores, codes and softmax depend on its id alone, and what
//! depends on dy is linear in dy. So dy is summed over an id's repetitions first, everything else is
//! done once for each distinct id u, and what is the same for every token counts c\[u\] times:
//!
//! ```
//! use dpq::tape::Gradient;
//! use dpq::{DpqConfig, DpqEmbedding, Embedding, Params, Tape};
//! let mut params = Params::<f32>::new();
//! let embedding = DpqEmbedding::new(&mut params, 10, 12, DpqConfig::sx(3, 4), 0.5, 0)?;
//! let tape = Tape::new();
//! let loss = embedding.forward(&tape.train(&params), &[4, 1, 4, 4, 7]).rows.sum();
//! let grads = tape.backward(loss)?;
//! let table = params.find("embedding.query").unwrap();
//! let Some(Gradient::Rows(rows)) = grads.param(table) else { panic!("not of rows") };
//! assert_eq!(rows.ids[..], [4, 1, 7]);
//! # Ok::<(), dpq::Error>(())
//! ```
//!
//! It is exact, and gains what the text repeats: with ids drawn by Zipf's law 2048 tokens are about
//! 1050 distinct ids. Without it each position was an id of its own.
//!
//! # Tiles
//!
//! The scores of one group and of as many tokens as a vector has lanes, K x 16 numbers in `f32`, stay
//! in the first-level cache from the product that makes them to the one that uses them up. On the
//! way back they are computed again, which is a fifth of the products. Without it what the backward
//! pass makes, e and drh, was also kept whole, n x D x K each.
//!
//! A panel holds one *token a lane*, so sums and maxima over codewords need no shuffles, and no lane
//! idles however narrow a group is.
//!
//! # No softmax on the way forward
//!
//! The forward value is the codeword of the largest score, and exp is increasing: the argmax of the
//! normalised scores is enough. The softmax belongs to the gradient, and is computed there. Without
//! it p was computed on the way forward as well.
//!
//! # Statistics in closed form
//!
//! Batch normalisation wants mean and variance of every codeword's scores before the first score can
//! be used, so two passes over n D K scores, and on the way back one more. But scores are linear (SX)
//! or quadratic (VQ) in the query: their statistics follow from the queries' first and second
//! moments, in n d s operations instead of n d K. The gradient through mean and variance is linear in
//! the query too, one matrix and one vector a group. Without it the layer took the path that is
//! there for s > 2K, where the moments cost more: the scores themselves are added up.
//!
//! # Gradients of rows only
//!
//! A step touches the rows that it embedded up. Their gradients stay a list of rows through
//! accumulation, clipping and the optimiser; no step depends on V. Without it a gradient of V x d
//! numbers was zeroed, filled and subtracted.
