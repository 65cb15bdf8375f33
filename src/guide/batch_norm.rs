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
//! The middle term makes the sum of dr over all i and g zero: to move all scores of a codeword
//! together changes nothing. The last one does nearly the same for their scale (up to the 1e-3).
//! In evaluation the statistics are given numbers, and dr = drh / sd.
//!
//! # What it does for codewords
//!
//! **A common part.** Let all queries share a vector, q + c. Codeword j's dot products all move by
//! < c, C^k\[j\] >, and without normalisation the codeword for which that is largest can win for every
//! token: one code for all, and the others get no gradient for their values. The mean takes the
//! shift out again, to the last rounding:
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
//!     composed::sx(&DpqConfig::sx(1, 8), normalization, q, keys, keys).1
//! };
//! let distinct = |codes: Vec<u32>| codes.into_iter().collect::<BTreeSet<_>>().len();
//! assert_eq!(codes(10.0, Normalization::Batch), codes(0.0, Normalization::Batch));
//! assert!(distinct(codes(10.0, Normalization::Batch)) > 4);
//! assert_eq!(distinct(codes(10.0, Normalization::Off)), 1);
//! ```
//!
//! Mind the average over groups: what is taken out of group g is the shift that all groups have in
//! common. The whole shift goes where there is one group, or one codebook for all groups and the
//! same common part in each; else what a group has beyond the average stays.
//!
//! **A size.** Raw scores start small, some thousandths, for which the softmax is flat, and queries
//! hardly learn. Normalised ones have the variance var / (var + 1e-3): they are some 30 times the raw
//! ones while those are well below 0.03, and of size 1 once they are well above.
//!
//! For VQ normalisation touches only the choice, and the codeword chosen need not be the nearest.
//! Whether that brings more codewords into use depends on the task: count them
//! ([`CodeTable::used`](crate::CodeTable::used)).
//!
//! # Running averages
//!
//! Evaluation cannot depend on the batch, so a layer keeps averages, from mean 0 and variance 1,
//! which move by [1%](crate::pq::BATCH_NORM_RATE) of the way to the batch's at every step. After k
//! steps 0.99^k of the start is left: 37% after 100, and 0.004% after 1,000. Before that, evaluation
//! scales codewords otherwise than training, and chooses other codes for some rows.
//!
//! # The temperature
//!
//! p = softmax(rh / tau), and drh = p (dp - sum_j p dp) / tau. The choice does not depend on tau, nor
//! does the values' gradient; the gradient of keys and queries does:
//!
//! - tau large: p is flat, every codeword gets about 1/K of the gradient, whose size goes as 1/tau;
//! - tau small: p is one-hot except for tokens between two codewords, and 1 - p vanishes where it is.
//!   Few tokens get a gradient, in leaps of 1/tau, and only two codewords each.
//!
//! Without normalisation tau and the size of the scores are one setting, not two: scores twice as
//! large are a temperature half as high, and that size drifts as the model trains. With it tau
//! keeps its meaning, once var is well above 1e-3.
