//! The layer that replaces an embedding table: a table of queries and a [`Quantizer`].

use super::codes::CodeTable;
use super::compact::CompactEmbedding;
use super::config::DpqConfig;
use super::kmeans::KMeans;
use super::quantized::Quantized;
use super::quantizer::Quantizer;
use crate::embedding::{EMBEDDING_INIT, Embedded, Embedding, check_table};
use crate::error::{Error, Result};
use crate::ops::Ids;
use crate::params::{ParamId, Params, Scope};
use crate::real::Real;
use crate::tape::{Bound, Tape};
use crate::tensor::Tensor;
use std::sync::Arc;

/// Ids whose codes are computed together.
const CHUNK: usize = 4096;

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
    quantizer: Quantizer,
    vocabulary: usize,
    queries: ParamId,
    padding: Option<u32>,
    /// How many codewords each id chooses from, where not from all.
    limits: Option<Arc<[u32]>>,
}

impl DpqEmbedding {
    /// Adds the parameters: `query` V x d (V x D d where groups are additive), uniform in +-0.1 unless
    /// the scope says otherwise, and those of a [`Quantizer`].
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
        if let Some(late) =
            config.bands.as_slice().iter().find(|band| band.first as usize >= vocabulary)
        {
            let value = format!("{}:{}", late.first, late.codewords);
            let expected = format!("first ids in 1..{vocabulary}");
            return Err(Error::Config { name: "bands", value, expected });
        }
        let of_queries = config.query_width(width);
        check_table(vocabulary, of_queries)?;
        let queries = scope.weight("query", [vocabulary, of_queries], EMBEDDING_INIT);
        let quantizer = Quantizer::with_bands(scope, width, config)?;
        let limit = |id| config.bands.codewords(id as u32, config.codebook_size) as u32;
        let limits = (!config.bands.is_empty()).then(|| (0..vocabulary).map(limit).collect());
        Ok(DpqEmbedding { quantizer, vocabulary, queries, padding: None, limits })
    }

    /// Ids are `0..vocabulary()`.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The width of a row.
    pub fn width(&self) -> usize {
        self.quantizer.width()
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
        self.quantizer.config()
    }

    /// The codebooks, and what training them needs.
    pub fn quantizer(&self) -> &Quantizer {
        &self.quantizer
    }

    /// The query table, V x d, or V x D d where groups are additive.
    pub fn queries(&self) -> ParamId {
        self.queries
    }

    /// The key codebook, G x K x s.
    pub fn keys(&self) -> ParamId {
        self.quantizer.keys()
    }

    /// The value codebook, G x K x s; for VQ the key codebook.
    pub fn values(&self) -> ParamId {
        self.quantizer.values()
    }

    /// The running mean and variance of the scores, where they are batch-normalised.
    pub fn statistics(&self) -> Option<[ParamId; 2]> {
        self.quantizer.statistics()
    }

    /// The rows of `ids` with their codes: what [`forward`](Embedding::forward) gives, and more.
    pub fn look_up<'t, T: Real>(&self, p: &Bound<'t, T>, ids: &[u32]) -> Quantized<'t, T> {
        self.quantizer.quantize_rows(p, p[self.queries], self.ids(ids), self.limits())
    }

    pub(super) fn ids<'i>(&self, ids: &'i [u32]) -> Ids<'i> {
        Ids { ids, padding: self.padding }
    }

    pub(super) fn limits(&self) -> Option<&[u32]> {
        self.limits.as_deref()
    }

    /// Starts the codebooks by [k-means](KMeans) of the queries as they are, so that all codewords are
    /// in use from the first step. Of SX's two codebooks both start so.
    ///
    /// ```
    /// use dpq::pq::{KMeans, Usage};
    /// use dpq::{DpqConfig, DpqEmbedding, Params};
    /// let mut params = Params::<f32>::new();
    /// let config = DpqConfig { batch_norm: false, ..DpqConfig::vq(4, 16) };
    /// let embedding = DpqEmbedding::new(params.scope("words"), 1000, 64, config)?;
    /// embedding.start_by_kmeans(&mut params, &KMeans::default())?;
    /// assert_eq!(Usage::of(&embedding.codes(&params)?).used(), 4 * 16);
    /// # Ok::<(), dpq::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`KMeans::codebooks`].
    pub fn start_by_kmeans<T: Real>(&self, params: &mut Params<T>, kmeans: &KMeans) -> Result<()> {
        // Additive queries are D parts one after the other as well.
        let parts = DpqConfig { additive: false, ..*self.config() };
        let codebooks = kmeans.codebooks(params.get(self.queries), &parts)?;
        self.quantizer.start_from(params, &codebooks);
        Ok(())
    }

    /// Starts from a finished table V x d: the queries are its rows, and the codebooks
    /// [k-means](Self::start_by_kmeans)'s of it.
    ///
    /// # Errors
    /// As [`KMeans::codebooks`]; [`Error::Config`] if the table has another shape, or groups are additive,
    /// of which a row is no concatenation.
    pub fn start_from<T: Real>(
        &self,
        params: &mut Params<T>,
        table: &Tensor<T>,
        kmeans: &KMeans,
    ) -> Result<()> {
        let refuse =
            |name, value: String, expected: String| Err(Error::Config { name, value, expected });
        if self.config().additive {
            let expected = "false, to start from a table, whose rows are cut into parts".into();
            return refuse("additive", "true".into(), expected);
        }
        let own = params.get(self.queries).shape();
        if table.shape() != own {
            let found = format!("{:?}", table.shape());
            return refuse("shape of the table", found, format!("{own:?}"));
        }
        let codebooks = kmeans.codebooks(table, self.config())?;
        params.set(self.queries, table.deep_copy());
        self.quantizer.start_from(params, &codebooks);
        Ok(())
    }

    /// The codes of every id, by the statistics that evaluation uses.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite) if a score is NaN.
    pub fn codes<T: Real>(&self, params: &Params<T>) -> Result<CodeTable> {
        let DpqConfig { groups, codebook_size, bands, .. } = *self.config();
        let ids: Vec<u32> = (0..self.vocabulary).map(|id| id as u32).collect();
        let mut codes = Vec::with_capacity(self.vocabulary * groups);
        let mut tape = Tape::new();
        for ids in ids.chunks(CHUNK) {
            codes.extend(tape.value(params, |p| self.look_up(p, ids).codes.to_vec())?);
        }
        Ok(CodeTable::pack_in_bands(&codes, groups, codebook_size, bands))
    }

    /// Bytes of what exists in training only and is in no compact table: queries, keys, statistics, by
    /// name.
    ///
    /// ```
    /// use dpq::{DpqConfig, DpqEmbedding, Params};
    /// let mut params = Params::<f32>::new();
    /// let embedding = DpqEmbedding::new(params.scope("words"), 100, 8, DpqConfig::sx(4, 16))?;
    /// let bytes = embedding.training_bytes(&params);
    /// assert_eq!(bytes[0], ("words.query".to_string(), 4 * 100 * 8));
    /// assert_eq!(bytes[1], ("words.keys".to_string(), 4 * 4 * 16 * 2));
    /// # Ok::<(), dpq::Error>(())
    /// ```
    pub fn training_bytes<T: Real>(&self, params: &Params<T>) -> Vec<(String, usize)> {
        let ids = [self.queries].into_iter().chain(self.quantizer.training_only());
        ids.map(|id| (params.name(id).into(), size_of_val(params.get(id).data()))).collect()
    }

    /// The compressed table: the codes of every id, and the values.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite) if a score or a value is not finite.
    pub fn to_compact<T: Real>(&self, params: &Params<T>) -> Result<CompactEmbedding<T>> {
        let values = params.get(self.values()).deep_copy();
        CompactEmbedding::new(*self.config(), self.codes(params)?, values)
    }
}

impl<T: Real> Embedding<T> for DpqEmbedding {
    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn width(&self) -> usize {
        self.quantizer.width()
    }

    /// In training the scores are normalised by the batch's statistics, towards which the running
    /// ones then move; in evaluation by the running ones.
    fn forward<'t>(&self, p: &Bound<'t, T>, ids: &[u32]) -> Embedded<'t, T> {
        let Quantized { rows, regulariser, .. } = self.look_up(p, ids);
        Embedded { rows, regulariser }
    }

    fn update(&self, params: &mut Params<T>) -> Result<()> {
        self.quantizer.update(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use crate::kernels::dispatch::levels::assert_agree;

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
