//! The normalisation of scores: by statistics of the batch, by running ones, or not at all.

use crate::ops::BatchStatistics;
use crate::real::Real;
use crate::tensor::{Buffer, Pool, Shape, Tensor};

/// Added to the variance of batch-normalised scores.
pub const BATCH_NORM_EPS: f64 = 1e-3;

/// How far running statistics move towards a batch's at every step.
pub const BATCH_NORM_RATE: f64 = 0.01;

/// How scores are normalised.
#[derive(Clone, Copy)]
pub enum Normalization<'a, T: Real> {
    /// By the batch's own statistics: training.
    Batch,
    /// By given ones: evaluation.
    Running(&'a BatchStatistics<T>),
    /// Not at all.
    Off,
}

/// Statistics of scores, as a batch or a running average gives them.
pub(crate) fn batch_statistics<T: Real>(mean: Tensor<T>, var: Tensor<T>) -> BatchStatistics<T> {
    BatchStatistics { mean, var, eps: BATCH_NORM_EPS }
}

/// What is subtracted from a codeword's scores, and what they are then multiplied by.
pub(crate) struct Normalizer<T: Real> {
    /// mean\[j\]
    pub(crate) means: Buffer<T>,
    /// 1 / sqrt(var\[j\] + eps)
    pub(crate) reciprocals: Buffer<T>,
}

impl<T: Real> Normalizer<T> {
    /// From statistics of the scores of `size` codewords, or none.
    pub(crate) fn new(
        pool: &Pool<T>,
        size: usize,
        statistics: Option<&BatchStatistics<T>>,
    ) -> Self {
        let (mut means, mut reciprocals) = (pool.take(size), pool.take(size));
        means.fill(T::ZERO);
        reciprocals.fill(T::ONE);
        if let Some(statistics) = statistics {
            means.copy_from_slice(statistics.mean.data());
            reciprocals.copy_from_slice(&statistics.reciprocals());
        }
        Normalizer { means, reciprocals }
    }

    /// Codebooks of shape G x K x s whose codeword j is that of `codewords` times factor / sd\[j\].
    pub(crate) fn over_sd(
        &self,
        pool: &Pool<T>,
        shape: Shape,
        codewords: &[T],
        factor: T,
    ) -> Tensor<T> {
        let mut scaled = Tensor::from_buffer(shape, pool.take(codewords.len()));
        let s = codewords.len() / (shape[0] * shape[1]);
        let pairs = scaled.data_mut().chunks_exact_mut(s).zip(codewords.chunks_exact(s));
        for ((scaled, codeword), &reciprocal) in pairs.zip(self.reciprocals.iter().cycle()) {
            let factor = reciprocal * factor;
            scaled.iter_mut().zip(codeword).for_each(|(scaled, &x)| *scaled = x * factor);
        }
        scaled
    }
}
