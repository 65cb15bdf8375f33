//! Where the speed comes from: five ideas, and what a step costs without each.
//!
//! A layer of n tokens with D groups of width s and K codewords has n D K scores. A program that follows
//! the formulae computes, stores and reads several arrays of that size, and a gradient as large as the
//! table. The fused ops need none of these arrays, and give the same results: rows to the bit, gradients
//! to rounding.
//!
//! | idea | without it a step takes |
//! |---|---|
//! | distinct ids only | 1.9 times as long (SX), 1.6 times (VQ) |
//! | tiles | 1.5 times as long, and 32 MiB more |
//! | no softmax in the forward pass | 1.2 times as long |
//! | statistics in closed form | 4.9 times as long (SX), 9.0 times (VQ) |
//! | gradients of rows only | 1.2 times as long with 10,000 rows, 2.5 times with 100,000 |
//!
//! Measured on one Zen 4 core with AVX-512: forward and backward of SX, n 2,048, d 512, D 64, K 32,
//! V 32,000, with batch normalisation; ids by Zipf's law in the first row and all distinct in the
//! others; least times of two runs of five samples, with and without in turn; 9.0 ms with everything
//! (VQ 3.1) for distinct ids. `cargo bench --bench dpq -- --only "C sx"` and
//! `cargo bench --bench vocabulary` measure the step as it is, the latter with gradients of rows and
//! of the whole table. The other four ideas have no switch: they were taken out of the source by
//! hand, in the way that each section ends with.
//!
//! # Distinct ids
//!
//! Everything but sums of dy is done once for each distinct id u, and terms that are the same for every
//! token are multiplied by count\[u\]: [`repeated_ids`](super::repeated_ids) says why that is exact, and
//! when it may not be done. The gain depends on how much a text repeats: of 2,048 ids drawn by Zipf's law
//! about 1050 are distinct. For the figure without this idea each position was an id of its own.
//!
//! # Tiles
//!
//! Scores are computed for one group and 16 tokens at a time (in `f32`; a vector of 512 bits has 16
//! lanes, one for each token). These K x 16 scores stay in the first-level cache until they are used.
//! The backward pass computes them again, which is a quarter of its products. For the figure without
//! tiles the exponentials of the softmax and drh were stored as a whole, n x D x K elements each.
//!
//! With one token in each lane, sums and maxima over codewords are sums and maxima of vectors, and no
//! lane is empty however narrow a group is.
//!
//! # No softmax in the forward pass
//!
//! The forward value is the codeword with the largest score, and exp is increasing: the argmax of the
//! normalised scores is enough. Only the gradient needs the softmax, so only the backward pass
//! computes it. For the figure without this idea the forward pass computed p as well.
//!
//! # Statistics in closed form
//!
//! Batch normalisation needs mean and variance of every codeword's scores before the first score can
//! be used: two passes over n D K scores, and one more in the backward pass. But scores are linear (SX)
//! or quadratic (VQ) in the query, so their statistics follow from the queries' first and second
//! moments, in n d s operations instead of n d K. The gradient through mean and variance is linear in
//! the query, too: one matrix and one vector per group. For the figure without this idea the layer
//! summed the scores themselves, as it does where s > 2K and moments cost more than scores.
//!
//! # Gradients of rows only
//!
//! A step changes only the rows that it looked up. Their gradient is a list of rows in the backward
//! pass, in clipping and in the optimiser, so no step depends on V. For the figure without this idea a
//! gradient of V x d elements was set to 0, filled and subtracted.
