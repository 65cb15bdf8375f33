//! The layer that replaces an embedding table.

use super::assign::Choice;
use super::codes::CodeTable;
use super::compact::CompactEmbedding;
use super::config::{DpqConfig, Form};
use super::normalization::{BATCH_NORM_RATE, Normalization, Normalizer, batch_statistics};
use super::quantized::Quantized;
use super::queries::Queries;
use super::score::{Keys, Score};
use super::sx::sx;
use super::vq::vq;
use crate::embedding::{EMBEDDING_INIT, Embedded, Embedding, check_table};
use crate::error::Result;
use crate::ops::{BatchStatistics, Ids};
use crate::params::{ParamId, Params, Scope};
use crate::real::Real;
use crate::tape::{Bound, Pools, Var};
use crate::tensor::Tensor;

/// An embedding that learns its own compression.
///
/// ```
/// use dpq::{DpqConfig, DpqEmbedding, Embedding, Params, Tape};
/// let mut params = Params::<f32>::new();
/// let embedding = DpqEmbedding::new(params.scope("words"), 1000, 64, DpqConfig::sx(16, 32))?;
/// let tape = Tape::new();
/// let embedded = embedding.forward(&tape.train(&params), &[3, 1, 4, 1, 5]);
/// assert_eq!(&embedded.rows.shape()[..], &[5, 64]);
///
/// let compact = embedding.to_compact(&params)?;
/// let evaluated = embedding.forward(&tape.evaluate(&params), &[3, 1, 4]).rows.value();
/// assert_eq!(compact.lookup(&[3, 1, 4])?, evaluated);
/// # Ok::<(), dpq::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DpqEmbedding {
    config: DpqConfig,
    vocabulary: usize,
    width: usize,
    queries: ParamId,
    keys: ParamId,
    /// For VQ the keys.
    values: ParamId,
    /// Running mean and variance of the scores.
    statistics: Option<[ParamId; 2]>,
    padding: Option<u32>,
}

impl DpqEmbedding {
    /// Adds the parameters: `query` V x d, `keys` and (SX) `values` G x K x s, all uniform in +-0.1
    /// unless the scope says otherwise, and the statistics `score_mean`, 0, and `score_var`, 1.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the vocabulary or the width is 0 or too large, or the
    /// configuration does not fit the width.
    ///
    /// # Panics
    /// If the scope has parameters of these names already.
    #[track_caller]
    pub fn new<T: Real>(
        mut scope: Scope<'_, T>,
        vocabulary: usize,
        width: usize,
        config: DpqConfig,
    ) -> Result<Self> {
        check_table(vocabulary, width)?;
        config.check(width)?;
        let k = config.codebook_size;
        let book = [config.codebooks(), k, width / config.groups];
        let queries = scope.weight("query", [vocabulary, width], EMBEDDING_INIT);
        let keys = scope.weight("keys", book, EMBEDDING_INIT);
        let values = match config.form {
            Form::Sx => scope.weight("values", book, EMBEDDING_INIT),
            Form::Vq => keys,
        };
        let statistics = if config.batch_norm {
            let mean = scope.add_statistic("score_mean", Tensor::zeros([k]));
            Some([mean, scope.add_statistic("score_var", Tensor::full([k], T::ONE))])
        } else {
            None
        };
        let padding = None;
        Ok(DpqEmbedding { config, vocabulary, width, queries, keys, values, statistics, padding })
    }

    /// Ids are `0..vocabulary()`.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The width of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Positions with this id get its row like any other, but take no part in the batch's statistics
    /// and in the regulariser, and get no gradient. None by default.
    ///
    /// # Panics
    /// If the id is outside the vocabulary.
    #[must_use]
    #[track_caller]
    pub fn padding(self, id: u32) -> Self {
        let words = self.vocabulary;
        assert!((id as usize) < words, "padding {id}: expected an id in 0..{words}");
        DpqEmbedding { padding: Some(id), ..self }
    }

    /// The settings.
    pub fn config(&self) -> &DpqConfig {
        &self.config
    }

    /// The query table, V x d.
    pub fn queries(&self) -> ParamId {
        self.queries
    }

    /// The key codebook, G x K x s.
    pub fn keys(&self) -> ParamId {
        self.keys
    }

    /// The value codebook, G x K x s; for VQ the key codebook.
    pub fn values(&self) -> ParamId {
        self.values
    }

    /// The running mean and variance of the scores, where they are batch-normalised.
    pub fn statistics(&self) -> Option<[ParamId; 2]> {
        self.statistics
    }

    /// The codes of every id, by the statistics that evaluation uses.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite) if a score is NaN.
    pub fn codes<T: Real>(&self, params: &Params<T>) -> Result<CodeTable> {
        let pools = Pools::default();
        let keys = Keys::new(&pools.values, self.score(), params.get(self.keys));
        let statistics = self
            .statistics
            .map(|[m, v]| batch_statistics(params.get(m).clone(), params.get(v).clone()));
        let normalizer = Normalizer::new(&pools.values, keys.sizes().size, statistics.as_ref());
        let queries = Queries::new(params.get(self.queries), None, self.config.groups);
        let mut codes = vec![0; self.vocabulary * self.config.groups];
        let choice = Choice::new(queries, &keys, &normalizer);
        choice.choose(&pools.values, &mut codes);
        choice.check()?;
        Ok(CodeTable::pack(&codes, self.config.groups, self.config.codebook_size))
    }

    /// The compressed table: the codes of every id, and the values.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite) if a score or a value is not finite.
    pub fn to_compact<T: Real>(&self, params: &Params<T>) -> Result<CompactEmbedding<T>> {
        CompactEmbedding::new(self.config, self.codes(params)?, params.get(self.values).deep_copy())
    }

    pub(super) fn score(&self) -> Score {
        match self.config.form {
            Form::Sx => Score::Dot,
            Form::Vq => Score::SquaredDistance,
        }
    }

    /// The running statistics in a pass, where scores are batch-normalised.
    pub(super) fn running<T: Real>(&self, p: &Bound<'_, T>) -> Option<BatchStatistics<T>> {
        self.statistics.map(|[m, v]| batch_statistics(p[m].value(), p[v].value()))
    }

    /// The fused op on queries, keys and values: in training the scores are normalised by the batch's
    /// statistics, in evaluation by the running ones.
    pub(super) fn quantize<'t, T: Real>(
        &self,
        [queries, keys, values]: [Var<'t, T>; 3],
        running: Option<&BatchStatistics<T>>,
        training: bool,
        ids: &[u32],
    ) -> Quantized<'t, T> {
        let normalization = match running {
            None => Normalization::Off,
            Some(_) if training => Normalization::Batch,
            Some(running) => Normalization::Running(running),
        };
        let ids = Ids { ids, padding: self.padding };
        match self.config.form {
            Form::Sx => sx(&self.config, normalization, queries, ids, keys, values),
            Form::Vq => vq(&self.config, normalization, queries, ids, keys),
        }
    }
}

impl<T: Real> Embedding<T> for DpqEmbedding {
    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn width(&self) -> usize {
        self.width
    }

    /// In training the scores are normalised by the batch's statistics, towards which the running
    /// ones then move; in evaluation by the running ones.
    fn forward<'t>(&self, p: &Bound<'t, T>, ids: &[u32]) -> Embedded<'t, T> {
        let inputs = [self.queries, self.keys, self.values].map(|id| p[id]);
        let Quantized { rows, regulariser, statistics } =
            self.quantize(inputs, self.running(p).as_ref(), p.training, ids);
        if let (Some([m, v]), Some(BatchStatistics { mean, var, .. })) =
            (self.statistics, statistics)
        {
            let rate = T::from_f64(BATCH_NORM_RATE);
            p.tape.move_statistic(m, mean, rate);
            p.tape.move_statistic(v, var, rate);
        }
        Embedded { rows, regulariser }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use crate::kernels::dispatch::levels::assert_agree;
    use crate::tape::Tape;

    #[test]
    fn both_forms_agree_at_every_instruction_set() {
        let (sx, vq) = (DpqConfig::sx(3, 21), DpqConfig::vq(3, 21));
        let narrow = DpqConfig { codebook_size: 2, ..sx };
        for config in [sx, vq, DpqConfig { beta: 0.1, shared: true, ..sx }, narrow] {
            let mut params = Params::<f32>::new();
            let scope = params.scope("words").init(Init::Uniform(1.0));
            let layer = DpqEmbedding::new(scope, 100, 15, config).unwrap();
            let ids: Vec<u32> = (0..150).map(|i| i * i % 97).collect();
            let run = |rows_only: bool| {
                let tape = Tape::new();
                let embedded = layer.forward(&tape.train(&params), &ids);
                let rows = embedded.rows.value();
                if rows_only {
                    return rows.data().iter().map(|&x| f64::from(x)).collect();
                }
                let wave = Tensor::from_fn(rows.shape(), |i| (i as f32 * 0.37).cos());
                let loss = (embedded.rows * tape.constant(wave)).sum();
                let loss = embedded.regulariser.map_or(loss, |regulariser| loss + regulariser);
                let grads = tape.backward_and_free(loss).unwrap();
                let found = grads.iter().flat_map(|(_, dp)| dp.to_dense().data().to_vec());
                found.map(f64::from).collect::<Vec<_>>()
            };
            assert_agree("rows", 0.0, || run(true));
            assert_agree("gradients", 1e-5, || run(false));
        }
    }
}
