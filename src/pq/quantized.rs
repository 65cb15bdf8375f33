//! What both forms give, and what they demand of their inputs.

use super::config::DpqConfig;
use super::normalization::Normalization;
use crate::ops::BatchStatistics;
use crate::real::Real;
use crate::tape::Var;
use crate::tensor::Tensor;

/// What quantising a batch gave.
pub struct Quantized<'t, T: Real> {
    /// y, n x d
    pub rows: Var<'t, T>,
    /// The regulariser, a scalar: VQ's two terms, SX's entropy term. `None` for SX with beta 0.
    pub regulariser: Option<Var<'t, T>>,
    /// The batch's statistics of the scores, where they were taken from it.
    pub statistics: Option<BatchStatistics<T>>,
}

/// Panics unless `queries` is V x d, every book G x K x s, and running statistics are of K scores.
#[track_caller]
pub(super) fn assert_shapes<T: Real>(
    op: &str,
    config: &DpqConfig,
    normalization: Normalization<'_, T>,
    queries: &Tensor<T>,
    books: &[&Tensor<T>],
) {
    let shape = queries.shape();
    let width = if shape.len() == 2 { shape[1] } else { 0 };
    if let Err(fault) = config.check(width) {
        panic!("{op}: queries of shape {shape:?}: {fault}");
    }
    assert!(shape[0] > 0, "{op}: queries of shape {shape:?} have no rows");
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
