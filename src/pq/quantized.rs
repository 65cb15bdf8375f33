//! What both forms are given, what they give, and what they demand of their inputs.

use super::codebook::Sizes;
use super::config::DpqConfig;
use super::normalization::Normalization;
use crate::kernels::codewords::decode;
use crate::ops::BatchStatistics;
use crate::real::Real;
use crate::tape::{Tape, Var};
use crate::tensor::{Buffer, Tensor};
use std::sync::Arc;

/// What a form may be given besides a configuration, queries and codebooks. By default nothing.
pub struct Options<'a, 't, T: Real> {
    /// SX: tau, a scalar, in place of the configuration's, with a gradient.
    pub temperature: Option<Var<'t, T>>,
    /// SX: for every token and group a number in \[0, 1), n x D. The code is then sampled from p: it is
    /// the first j for which p\[0\] + ... + p\[j\] is above the number.
    pub draws: Option<&'a Tensor<T>>,
    /// For every row of the table the codewords that it chooses from, the first so many. Statistics are
    /// still those of all scores.
    pub limits: Option<&'a [u32]>,
    /// VQ: the codebook gets no gradient, and the regulariser is the commitment term only, if there is
    /// one.
    pub still_codebook: bool,
}

impl<T: Real> Clone for Options<'_, '_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Real> Copy for Options<'_, '_, T> {}

impl<T: Real> Default for Options<'_, '_, T> {
    fn default() -> Self {
        Options { temperature: None, draws: None, limits: None, still_codebook: false }
    }
}

/// The codes that a batch was given, D for each of its n tokens.
#[derive(Clone)]
pub struct Codes {
    codes: Arc<Buffer<u32>>,
    /// Which row of `codes` each token has; `None` where it has its own.
    slots: Option<Arc<Buffer<u32>>>,
    groups: usize,
}

impl Codes {
    /// `groups` codes a row; token i has row slots\[i\], or row i.
    pub(super) fn new(
        codes: Arc<Buffer<u32>>,
        slots: Option<Arc<Buffer<u32>>>,
        groups: usize,
    ) -> Self {
        Codes { codes, slots, groups }
    }

    /// D
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// n, how many tokens there are.
    pub fn tokens(&self) -> usize {
        self.slots.as_ref().map_or(self.codes.len() / self.groups, |slots| slots.len())
    }

    /// The D codes of token i.
    ///
    /// # Panics
    /// If there is no such token.
    #[track_caller]
    pub fn of(&self, i: usize) -> &[u32] {
        assert!(i < self.tokens(), "codes of token {i} of {}", self.tokens());
        let row = self.slots.as_ref().map_or(i, |slots| slots[i] as usize);
        &self.codes[row * self.groups..][..self.groups]
    }

    /// Row `u` of the codes that several tokens may have, where they may.
    #[inline(always)]
    pub(super) fn common(&self, u: usize) -> Option<&[u32]> {
        self.slots.as_ref().map(|_| &self.codes[u * self.groups..][..self.groups])
    }

    /// The rows of `values`, G x K x s, that the codes stand for, one for each token.
    pub(super) fn decode<T: Real>(&self, tape: &Tape<T>, values: &Tensor<T>) -> Tensor<T> {
        let (sizes, n) = (Sizes::of(values.shape()), self.tokens());
        let mut rows = tape.uninit([n, self.groups * sizes.width]);
        let decode = |slots: &[u32], rows: &mut [T]| {
            decode(values.data(), sizes.stride(), &self.codes, self.groups, slots, rows);
        };
        match &self.slots {
            Some(slots) => decode(slots, rows.data_mut()),
            None => {
                let mut each = tape.pools().ids.take(n);
                each.iter_mut().zip(0..).for_each(|(slot, i)| *slot = i);
                decode(&each, rows.data_mut());
            }
        }
        rows
    }

    /// All n D, token by token.
    pub fn to_vec(&self) -> Vec<u32> {
        (0..self.tokens()).flat_map(|i| self.of(i)).copied().collect()
    }
}

/// What quantising a batch gave.
pub struct Quantized<'t, T: Real> {
    /// y, n x d
    pub rows: Var<'t, T>,
    /// code\[i, g\]
    pub codes: Codes,
    /// The regulariser, a scalar: VQ's two terms, SX's entropy term. `None` where it has no term.
    pub regulariser: Option<Var<'t, T>>,
    /// The batch's statistics of the scores, where they were taken from it.
    pub statistics: Option<BatchStatistics<T>>,
}

/// Panics unless `queries` is V x D s, every book G x K x s, running statistics are of K scores, and
/// the options fit n tokens.
#[track_caller]
pub(super) fn assert_shapes<T: Real>(
    op: &str,
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    (queries, n): (&Tensor<T>, usize),
    books: &[&Tensor<T>],
    options: Options<'_, '_, T>,
) {
    let shape = queries.shape();
    let width = if shape.len() == 2 { shape[1] } else { 0 };
    if let Err(fault) = (DpqConfig { additive: false, ..*config }).check(width) {
        panic!("{op}: queries of shape {shape:?}: {fault}");
    }
    assert!(shape[0] > 0 || n == 0, "{op}: queries of shape {shape:?} have no rows");
    let of_sx = options.temperature.is_some() || options.draws.is_some();
    assert!(op == "sx" || !of_sx, "{op}: a temperature or draws, which only SX has");
    assert!(op == "vq" || !options.still_codebook, "{op}: a still codebook, which only VQ has");
    if let Some(draws) = options.draws {
        let expected = [n, config.groups];
        assert_eq!(draws.shape()[..], expected, "{op}: shape of the draws for {n} tokens");
        let inside = draws.data().iter().all(|x| (T::ZERO..T::ONE).contains(x));
        assert!(inside, "{op}: the draws are not in [0, 1)");
    }
    if let Some(limits) = options.limits {
        assert_eq!(limits.len(), shape[0], "{op}: limits for queries of shape {shape:?}");
        // All of them at every pass: the least and the most, which vectors find.
        let [least, most] = limits.iter().fold([u32::MAX, 0], |[a, b], &k| [k.min(a), k.max(b)]);
        let k = config.codebook_size;
        assert!(
            least > 0 && most as usize <= k,
            "{op}: limits of {least} to {most} of {k} codewords"
        );
    }
    if let Some(temperature) = options.temperature {
        let shape = temperature.shape();
        assert_eq!(shape.elements(), 1, "{op}: a temperature of shape {shape:?}");
    }
    let expected = [config.codebooks(), config.codebook_size, width / config.groups];
    if let Normalization::Running(BatchStatistics { mean, var, .. }) = normalization {
        let [means, variances] = [mean, var].map(|x| x.data().len());
        assert!(
            [means, variances] == [config.codebook_size; 2],
            "{op}: {means} means and {variances} variances for {} codewords",
            config.codebook_size
        );
    }
    for book in books {
        assert_eq!(
            book.shape()[..],
            expected,
            "{op}: shape of a codebook for queries of shape {shape:?}"
        );
    }
}
