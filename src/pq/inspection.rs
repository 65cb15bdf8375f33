//! What a layer computes for a batch before it looks up rows: to print it, and to plot it.

use super::config::Form;
use super::layer::DpqEmbedding;
use super::score::scores;
use crate::error::Result;
use crate::real::Real;
use crate::tape::{Bound, Tape};
use crate::tensor::Tensor;

/// Codes, scores and probabilities of a batch of n ids.
#[derive(Clone, Debug)]
pub struct Inspection<T: Real> {
    /// code\[i, g\], row by row: n D codes.
    pub codes: Vec<u32>,
    /// rh\[i, g, j\], the scores, normalised where the layer does so: n x D x K.
    pub scores: Tensor<T>,
    /// For SX p\[i, g, j\] = softmax_j(rh / tau), n x D x K.
    pub probabilities: Option<Tensor<T>>,
}

impl DpqEmbedding {
    /// What [`forward`](crate::Embedding::forward) computes for these ids in this pass: the same codes,
    /// by the batch's statistics in training and by the running ones in evaluation. It changes nothing,
    /// and holds n x D x K elements.
    ///
    /// ```
    /// use dpq::{DpqConfig, DpqEmbedding, Params, Tape};
    /// let mut params = Params::<f32>::new();
    /// let embedding = DpqEmbedding::new(params.scope("words"), 100, 8, DpqConfig::sx(4, 16))?;
    /// let tape = Tape::new();
    /// let seen = embedding.inspect(&tape.train(&params), &[3, 1, 4])?;
    /// println!("codes {:?}", seen.codes.chunks(4).collect::<Vec<_>>());
    /// assert_eq!(seen.scores.shape()[..], [3, 4, 16]);
    /// let sums = seen.probabilities.unwrap();
    /// assert!(sums.rows().all(|p| (p.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    /// # Ok::<(), dpq::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Id`](crate::Error::Id) if an id is outside the vocabulary,
    /// [`Error::NotFinite`](crate::Error::NotFinite) if a score is NaN.
    pub fn inspect<T: Real>(&self, p: &Bound<'_, T>, ids: &[u32]) -> Result<Inspection<T>> {
        let tape = Tape::new();
        let inputs =
            [self.queries(), self.keys(), self.values()].map(|id| tape.constant(p[id].value()));
        let running = self.running(p);
        // With the statistics of the fused op the scores have the bits that it chose by.
        let quantized = self.quantize(inputs, running.as_ref(), p.training, ids);
        let statistics = if p.training { quantized.statistics } else { running };

        let [queries, keys, _] = inputs;
        let config = self.config();
        let (n, groups, k) = (ids.len(), config.groups, config.codebook_size);
        let width = queries.shape()[1] / groups;
        let q = queries.gather_rows(ids).reshape([n, groups, width]);
        let r = scores(self.score(), q, keys).reshape([n * groups, k]);
        let rh = statistics.map_or(r, |statistics| r.normalize(&statistics));
        let codes = rh.argmax();
        let p = || (rh * T::from_f64(1.0 / config.temperature)).softmax();
        let by_group = |x: Tensor<T>| x.reshape([n, groups, k]);
        tape.check()?;
        Ok(Inspection {
            codes,
            scores: by_group(rh.value()),
            probabilities: (config.form == Form::Sx).then(|| by_group(p().value())),
        })
    }
}
