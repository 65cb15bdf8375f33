//! A table of low rank: a short row for every id, and one matrix for all.

use super::embedding::{EMBEDDING_INIT, Embedded, Embedding, check_table, stop_padding};
use crate::error::{Error, Result};
use crate::init::Init;
use crate::ops::Ids;
use crate::params::{ParamId, Scope};
use crate::real::Real;
use crate::tape::Bound;

/// A table of rank r, the product of two trained matrices: row i = A\[i\] B.
///
/// | symbol | parameter | shape |
/// |---|---|---|
/// | A | `left` | V x r |
/// | B | `right` | r x d |
///
/// It has r (V + d) elements in place of V d. Only the rows A\[i\] of a batch are looked up, so the
/// table itself is never formed.
///
/// ```
/// use dpq::embedding::LowRank;
/// use dpq::{Embedding, Params, Tape};
/// // As many bytes as the codes and values of DPQ take: 10,000 words, 25 codes of 5 bits each.
/// let bytes = dpq::DpqConfig::sx(25, 32).compact_bits(10_000, 200) / 8;
/// let rank = LowRank::rank_for(bytes, 10_000, 200)?;
/// assert_eq!(rank, 4);
///
/// let mut params = Params::<f32>::new();
/// let embedding = LowRank::new(params.scope("words"), 10_000, 200, rank)?;
/// assert!(embedding.bytes() <= bytes);
/// let tape = Tape::new();
/// let embedded = embedding.forward(&tape.train(&params), &[3, 1, 4]);
/// assert_eq!(embedded.rows.shape()[..], [3, 200]);
/// # Ok::<(), dpq::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LowRank {
    left: ParamId,
    right: ParamId,
    vocabulary: usize,
    width: usize,
    rank: usize,
    padding: Option<u32>,
}

impl LowRank {
    /// Adds the parameters `left` and `right`.
    ///
    /// The elements of A B start with mean 0 and the variance that those of a full table would have: one
    /// uniform in +-0.1, unless the scope says otherwise. A and B are uniform in +-b:
    ///
    /// ```text
    /// Var (A B)[i,t] = sum over r of Var A Var B = r (b^2 / 3)^2      so  b = sqrt(3 sqrt(Var / r))
    /// ```
    ///
    /// Where the scope wants zeros, A is 0 and B as by default: were both 0, neither had a gradient.
    ///
    /// # Errors
    /// [`Error::Config`] if the vocabulary or the width is 0 or too large, or the rank not 1 to
    /// min(V, d).
    ///
    /// # Panics
    /// If the scope has parameters of these names already.
    #[track_caller]
    pub fn new<T: Real>(
        scope: Scope<'_, T>,
        vocabulary: usize,
        width: usize,
        rank: usize,
    ) -> Result<Self> {
        check_table(vocabulary, width)?;
        let most = vocabulary.min(width);
        if !(1..=most).contains(&rank) {
            let (name, value) = ("rank", rank.to_string());
            return Err(Error::Config { name, value, expected: format!("1 to {most}") });
        }
        let bound = |init: Init| {
            let deviation = init.deviation(&[vocabulary, width]);
            Init::Uniform((3.0 * deviation / (rank as f64).sqrt()).sqrt())
        };
        let (left, right) = match scope.init_or(EMBEDDING_INIT) {
            init if init.deviation(&[vocabulary, width]) == 0.0 => {
                (Init::Zeros, bound(EMBEDDING_INIT))
            }
            init => (bound(init), bound(init)),
        };
        let mut scope = scope.init(left);
        let left = scope.weight("left", [vocabulary, rank], left);
        let right = scope.init(right).weight("right", [rank, width], right);
        Ok(LowRank { left, right, vocabulary, width, rank, padding: None })
    }

    /// The largest rank of a table V x d that takes at most so many bytes in single precision, and never
    /// more than min(V, d).
    ///
    /// # Errors
    /// [`Error::Config`] if the vocabulary or the width is 0 or too large, or not even rank 1 fits.
    pub fn rank_for(bytes: usize, vocabulary: usize, width: usize) -> Result<usize> {
        check_table(vocabulary, width)?;
        let each = size_of::<f32>() * (vocabulary + width);
        if bytes < each {
            let (name, value) = ("bytes", bytes.to_string());
            return Err(Error::Config { name, value, expected: format!("{each} for rank 1") });
        }
        Ok((bytes / each).min(vocabulary).min(width))
    }

    /// Ids are `0..vocabulary()`.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The width of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// r
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// A, V x r.
    pub fn left(&self) -> ParamId {
        self.left
    }

    /// B, r x d.
    pub fn right(&self) -> ParamId {
        self.right
    }

    /// Positions with this id get its row like any other, but no gradient. None by default.
    ///
    /// # Panics
    /// If the id is outside the vocabulary.
    #[must_use]
    #[track_caller]
    pub fn padding(self, id: u32) -> Self {
        let words = self.vocabulary;
        assert!((id as usize) < words, "padding {id}: expected an id in 0..{words}");
        LowRank { padding: Some(id), ..self }
    }

    /// Bytes of A and B in single precision.
    pub fn bytes(&self) -> usize {
        size_of::<f32>() * self.rank * (self.vocabulary + self.width)
    }

    /// How many times smaller than the full table it is: V d / (r (V + d)).
    pub fn compression_ratio(&self) -> f64 {
        let full = size_of::<f32>() as f64 * self.vocabulary as f64 * self.width as f64;
        full / self.bytes() as f64
    }
}

impl<T: Real> Embedding<T> for LowRank {
    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn width(&self) -> usize {
        self.width
    }

    fn forward<'t>(&self, p: &Bound<'t, T>, ids: &[u32]) -> Embedded<'t, T> {
        let rows = p[self.left].gather_rows(Ids { ids, padding: self.padding });
        // B gets no gradient from padding either.
        let rows = stop_padding(rows.matmul(p[self.right]), ids, self.padding);
        Embedded { rows, regulariser: None }
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::strategies::{Case, ids, tensor};
    use crate::tensor::Tensor;
    use crate::{Params, gradcheck_params};
    use proptest::prelude::*;

    let sizes = (1..6_usize, 1..8_usize, 1..8_usize);
    let inputs = (sizes, 1..5_usize, proptest::option::of(Just(0))).prop_flat_map(
        |((v, d, n), rank, padding)| {
            let rank = rank.min(v).min(d);
            (tensor([v, rank]), tensor([rank, d]), ids(n, v), Just(padding))
        },
    );
    vec![Case::new("low rank", inputs, |(left, right, ids, padding)| {
        let (mut params, [v, rank], d) =
            (Params::new(), [0, 1].map(|axis| left.shape()[axis]), right.shape()[1]);
        let embedding = LowRank::new(params.scope("words"), v, d, rank).expect("a rank that fits");
        params.set(embedding.left, left);
        params.set(embedding.right, right);
        let embedding = LowRank { padding, ..embedding };
        gradcheck_params(&params, |p| {
            let rows = embedding.forward(p, &ids).rows;
            let weights = Tensor::from_fn(rows.shape(), |i| (i as f64 * 0.7).cos() + 0.2);
            (rows * p.tape.constant(weights)).sum()
        })
    })]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::tape::Tape;
    use crate::tensor::Tensor;

    #[test]
    fn the_table_starts_with_the_variance_of_a_full_one() {
        let inits = [None, Some(Init::Uniform(0.05)), Some(Init::Normal(0.3)), Some(Init::Glorot)];
        for init in inits {
            for rank in [1, 8, 64] {
                let mut params = Params::<f64>::new();
                let scope = params.scope("words");
                let scope = init.into_iter().fold(scope, Scope::init);
                let embedding = LowRank::new(scope, 1000, 64, rank).unwrap();
                let ids: Vec<u32> = (0..1000).collect();
                let rows = Tape::new().value(&params, |p| embedding.forward(p, &ids).rows.value());
                let rows = rows.unwrap();
                let found = rows.data().iter().map(|x| x * x).sum::<f64>() / 64_000.0;
                let expected = init.unwrap_or(EMBEDDING_INIT).deviation(&[1000, 64]).powi(2);
                // Of rank 1 the 64 elements of B decide.
                assert!(
                    (found / expected - 1.0).abs() < 0.3,
                    "{init:?} {rank}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn a_table_of_zeros_can_still_be_trained() {
        let mut params = Params::<f64>::new();
        let scope = params.scope("words").init(Init::Zeros);
        let embedding = LowRank::new(scope, 10, 6, 2).unwrap();
        let tape = Tape::new();
        let rows = embedding.forward(&tape.train(&params), &[3]).rows;
        assert_eq!(rows.value(), Tensor::zeros([1, 6]));
        let grads = tape.backward_and_free(rows.sum()).unwrap();
        let gradient = grads.get(embedding.left()).unwrap().to_dense();
        assert!(gradient.data()[6..8].iter().all(|x| *x != 0.0), "{gradient:?}");
    }

    #[test]
    fn padding_gives_no_gradient_to_either_matrix() {
        let mut params = Params::<f64>::new();
        let embedding = LowRank::new(params.scope("words"), 5, 4, 2).unwrap();
        let gradients = |embedding: &LowRank, ids: &[u32]| {
            let tape = Tape::new();
            let rows = embedding.forward(&tape.train(&params), ids).rows;
            let grads = tape.backward_and_free((rows * rows).sum()).unwrap();
            [embedding.left(), embedding.right()].map(|id| grads.get(id).unwrap().to_dense())
        };
        let padded = embedding.clone().padding(4);
        assert_eq!(gradients(&padded, &[4, 1, 4, 2]), gradients(&embedding, &[1, 2]));
        assert_ne!(gradients(&padded, &[4, 1, 4, 2]), gradients(&embedding, &[4, 1, 4, 2]));
    }

    #[test]
    fn ranks_and_budgets_that_cannot_be_are_refused() {
        let mut params = Params::<f32>::new();
        for (rank, expected) in [(0, "rank = 0: expected 1 to 6"), (7, "rank = 7: expected 1 to 6")]
        {
            let error = LowRank::new(params.scope("words"), 10, 6, rank).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        let error = LowRank::rank_for(63, 10, 6).unwrap_err().to_string();
        assert_eq!(error, "bytes = 63: expected 64 for rank 1");
        let ranks = [64, 127, 128, 100_000].map(|bytes| LowRank::rank_for(bytes, 10, 6).unwrap());
        assert_eq!(ranks, [1, 1, 2, 6]);
        let embedding = LowRank::new(params.scope("words"), 10, 6, 2).unwrap();
        assert_eq!((embedding.bytes(), embedding.compression_ratio()), (128, 240.0 / 128.0));
    }
}
