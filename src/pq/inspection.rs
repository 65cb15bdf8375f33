//! What a layer computes for a batch before it looks up rows: to print it, and to plot it.

use super::composed::allowed;
use super::layer::DpqEmbedding;
use super::score::{Metric, scores};
use super::settings::Form;
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
        let quantizer = self.quantizer();
        let given = quantizer.given(p, p[self.queries()], ids.len()).on(&tape);
        // With the statistics of the fused op the scores have the bits that it chose by.
        let quantized = quantizer.quantize(&given, self.ids(ids), self.limits());
        tape.check()?;
        let statistics = if p.training { quantized.statistics } else { given.running.clone() };

        let ([queries, keys, _], of_ids) = quantizer.scored(&given, self.ids(ids));
        let rows = of_ids.as_ref().map_or(ids, |of_ids| of_ids.ids().ids);
        let config = self.config();
        let (n, groups, k) = (ids.len(), config.groups, config.codebook_size);
        let width = queries.shape()[1] / groups;
        let q = queries.gather_rows(rows).reshape([n, groups, width]);
        let metric = if config.form == Form::Vq { Metric::SquaredDistance } else { Metric::Dot };
        let r = scores(metric, q, keys).reshape([n * groups, k]);
        let rh = statistics.map_or(r, |statistics| r.normalize(&statistics));
        let by_group = |x: Tensor<T>| x.reshape([n, groups, k]);
        let probabilities = (config.form == Form::Sx).then(|| {
            let tau = given.temperature.map(|tau| tau.value().item());
            let logits = rh / tau.unwrap_or(T::from_f64(config.temperature.start()));
            by_group(match self.limits() {
                None => logits.softmax().value(),
                Some(limits) => {
                    let limits: Vec<u32> = ids.iter().map(|&id| limits[id as usize]).collect();
                    logits.masked_softmax(&allowed(&limits, groups, k)).value()
                }
            })
        });
        tape.check()?;
        Ok(Inspection {
            codes: quantized.codes.to_vec(),
            scores: by_group(rh.value()),
            probabilities,
        })
    }
}
