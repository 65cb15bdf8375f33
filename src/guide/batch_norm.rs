//! Batch-normalised scores, and the temperature.
//!
//! # Forward
//!
//! One mean and one variance for each codeword *index* j, over all tokens **and** all groups:
//!
//! ```text
//! mean[j]     = mean over i,g of r[i,g,j]
//! var[j]      = mean over i,g of (r[i,g,j] - mean[j])^2      biased
//! rh[i,g,j]   = (r[i,g,j] - mean[j]) / sd[j]                 sd = sqrt(var + 1e-3)
//! ```
//!
//! No scale and no offset are learnt. Statistics have length K, never D.
//!
//! # Backward
//!
//! Every score moves mean\[j\] and var\[j\], and so the normalised scores of all other tokens:
//!
//! ```text
//! dr = (drh - mean(drh) - rh mean(drh rh)) / sd              means over all i,g, for every j
//!       |     |           |
//!       |     |           through the variance
//!       |     through the mean
//!       directly
//! ```
//!
//! The middle term makes the sum of dr over all i and g zero: adding the same number to all scores of
//! a codeword changes nothing. The last term does nearly the same for their scale (up to the 1e-3).
//! In evaluation the statistics are constants, and dr = drh / sd.
//!
//! # What it does for codewords
//!
//! **A common part.** Add the same vector v to all queries. All dot products of codeword j then change
//! by < v, C^k\[j\] >. Without normalisation the codeword with the largest change can win for every
//! token: all tokens have one code, and the values of the other codewords get no gradient.
//! Subtracting the mean removes the change:
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
//! The mean is over all groups, so only what all groups have in common is removed: everything if there
//! is one group, or one shared codebook and the same v in every group. Otherwise the difference
//! between a group's change and the average over groups remains.
//!
//! **A size.** Raw scores start small, at some thousandths. The softmax of such scores is almost
//! uniform, and queries hardly learn. Normalised scores have the variance var / (var + 1e-3): they are
//! about 30 times the raw scores while the standard deviation of those is well below 0.03, and have
//! variance 1 once it is well above.
//!
//! For VQ normalisation changes only the choice: the codeword that is chosen need not be the nearest.
//! Whether more codewords are used then depends on the task: count them
//! ([`Usage`](crate::pq::Usage)).
//!
//! # Running averages
//!
//! Evaluation must not depend on the batch, so a layer keeps running averages. They start at mean 0 and
//! variance 1 and move [1%](crate::pq::BATCH_NORM_RATE) of the way to the batch's statistics at every
//! step. After k steps 0.99^k of the start is left: 37% after 100 steps, 0.004% after 1,000. Until
//! then evaluation scales the scores differently from training, and some rows get other codes.
//!
//! # The temperature
//!
//! p = softmax(rh / tau), and drh\[j\] = p\[j\] (dp\[j\] - sum_j' p\[j'\] dp\[j'\]) / tau. The choice does
//! not depend on tau, nor does the values' gradient. The gradient of keys and queries does:
//!
//! - tau large: p is almost uniform. All codewords take part, and the gradient is proportional to
//!   1/tau.
//! - tau small: p is one-hot, and the gradient almost 0, for all tokens but those with two nearly equal
//!   best scores. Those few get a gradient of size 1/tau, and it reaches only these two codewords.
//!
//! Without normalisation, doubling all scores is the same as halving tau, and the size of the scores
//! drifts as the model trains. With normalisation tau keeps its meaning, once var is well above 1e-3.
