//! Batch-normalised scores: why, and what goes back through the mean and the variance.
//!
//! # Forward
//!
//! One mean and one variance for each codeword number j, over all tokens **and** all groups of the batch:
//!
//! ```text
//! mean[j]     = mean over i,g of r[i,g,j]
//! var[j]      = mean over i,g of (r[i,g,j] - mean[j])^2      divided by n D, not by n D - 1
//! rh[i,g,j]   = (r[i,g,j] - mean[j]) / sd[j]                 sd[j] = sqrt(var[j] + 1e-3)
//! ```
//!
//! No scale and no offset are learnt. There are K means and K variances, one for each number j, as in the paper.
//! With one codebook for all groups, codeword j is the same vector in all of them. With a codebook for each group
//! there are D different codewords with number j, and their scores are taken together.
//!
//! # Backward
//!
//! Every score moves mean\[j\] and var\[j\], and with them the normalised scores of all other tokens:
//!
//! ```text
//! dr = (drh - mean(drh) - rh mean(drh rh)) / sd              for every j; means over all i,g
//!       |     |           |
//!       |     |           through the variance
//!       |     through the mean
//!       directly
//! ```
//!
//! Adding one number to all scores of a codeword changes nothing in rh, so the sum of dr over all i and g must be
//! 0. The second term sees to that (rh itself sums to 0, so the third does not disturb it). Multiplying all scores
//! of a codeword by one number changes almost nothing in rh; the third term takes out the part of drh that would
//! do so. (Almost, because of the 1e-3.)
//! In evaluation the statistics are constants, and dr = drh / sd.
//!
//! `04_sx_by_hand` prints the three terms one after the other. For token 0 and codeword 0 of group 0 they
//! are -2.1577, 0.3770 and 0.3088, together -1.4719:
//!
//! ```text
//! $ cargo run --example 04_sx_by_hand
//! dr, direct           drh / sd
//!     token 0    -2.1577  -0.0115   2.3135  -0.0605  |  -0.6749  -0.1317  -0.0020   0.8388
//! dr, batch's mean     - mean(drh) / sd
//!     token 0     0.3770  -0.0359  -0.3750   0.0210  |   0.3770  -0.0359  -0.3750   0.0210
//! dr, batch's variance - rh mean(drh rh) / sd
//!     token 0     0.3088   0.0905  -0.6071  -0.0195  |   0.2976   0.0080   0.3665  -0.2643
//! all three: dr. Over i,g it sums to 0: the mean takes any shift back
//!     token 0    -1.4719   0.0431   1.3314  -0.0590  |  -0.0002  -0.1595  -0.0105   0.5955
//! ```
//!
//! # What it does for codewords
//!
//! **A common part.** Add the same vector a to all queries. In SX all scores of codeword j then change
//! by the dot product < a, C^k\[j\] >. Without normalisation the codeword with the largest change can win for every
//! token. All tokens then have one code, and the values of the other codewords get no gradient: they are
//! *dead*. Subtracting the mean removes the change:
//!
//! ```
//! use dpq::pq::{Normalization, composed};
//! use dpq::{DpqConfig, Tape, Tensor, rng};
//! use std::collections::BTreeSet;
//! let random = |shape: &[usize], name| Tensor::<f64>::uniform(shape, 1.0, &mut rng::stream(0, name, 0));
//! let (q, keys) = (random(&[50, 4], "queries"), random(&[1, 8, 4], "keys"));
//! let codes = |shift: f64, normalization| {
//!     let tape = Tape::new();
//!     let q = tape.leaf(Tensor::from_fn(q.shape(), |i| q.data()[i] + shift));
//!     let keys = tape.leaf(keys.clone());
//!     composed::sx(&DpqConfig::sx(1, 8), normalization, q, keys, keys).codes.to_vec()
//! };
//! let distinct = |codes: Vec<u32>| codes.into_iter().collect::<BTreeSet<_>>().len();
//! assert_eq!(codes(10.0, Normalization::Batch), codes(0.0, Normalization::Batch));
//! assert!(distinct(codes(10.0, Normalization::Batch)) > 4);
//! assert_eq!(distinct(codes(10.0, Normalization::Off)), 1);
//! ```
//!
//! The mean is over all groups, so what is subtracted is the average change of all groups. That is the whole change
//! of a group if there is only one, or if all share one codebook and have the same a. Otherwise the difference
//! between its change and the average remains. In VQ a common part changes distances by 2 < a, C\[j\] - q > - < a, a >,
//! in which q differs from token to token: some of the change remains there, too.
//!
//! **A size.** At the start raw scores are some thousandths. Their softmax is almost uniform, and queries
//! hardly learn. Normalised scores have the variance var / (var + 1e-3):
//!
//! | standard deviation of raw scores | factor 1 / sd | standard deviation of rh |
//! |---|---|---|
//! | 0.003 | 31.5 | 0.09 |
//! | 0.03 | 22.9 | 0.69 |
//! | 0.3 | 3.3 | 0.99 |
//! | 3 | 0.33 | 1.00 |
//!
//! For VQ normalisation changes only the choice: the codeword that is chosen need not be the nearest.
//! Whether more codewords are used then depends on the task: count them
//! ([`Usage`](crate::pq::Usage)).
//!
//! # Running averages
//!
//! Evaluation must not depend on the batch, so a layer keeps running averages. They start at mean 0 and
//! variance 1 and move [1%](crate::pq::BATCH_NORM_RATE) of the way to the batch's statistics at every
//! step. Of the start 0.99^steps is left: 37% after 100 steps, 0.004% after 1,000. In the first few
//! hundred steps evaluation therefore scales the scores differently from training, and some words get other codes.
//!
//! # Codewords in use, with and without
//!
//! `06_temperature_and_batch_norm` trains four small models that predict the next word, 128 pairs of a group
//! and a codeword each, and counts the pairs in use:
//!
//! ```text
//! $ cargo run --example 06_temperature_and_batch_norm
//! queries at first   scores           0    100    300    700   1500       at the end
//! random             raw             73     71     62     52     56         1.678
//! random             normalised      74     36     43     68    100         1.482
//! + a common part    raw              8     11     12     12     14         1.978
//! + a common part    normalised      74     36     43     68    100         1.482
//! ```
//!
#![doc = include_str!("pictures/run.svg")]
//!
//! The models are SX. The numbers are pairs in use after 0 to 1,500 steps, and the loss at the end. All four
//! groups share one codebook, and the common part is the same in each. With it, raw scores use 14 of the 128 pairs. With normalised
//! scores the common part makes no difference: the last line is the second. That fewer pairs are in use at step
//! 100 (36 of 74) is the price of scores with variance 1: queries learn at once, and move to few codewords
//! before they spread.
