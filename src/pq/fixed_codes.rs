//! Codes that training never changes: only the values that they stand for are trained.

use super::additive::mean_of_groups;
use super::codebook::Sizes;
use super::codes::CodeTable;
use super::compact::CompactEmbedding;
use super::config::DpqConfig;
use crate::embedding::{EMBEDDING_INIT, Embedded, Embedding, check_table, stop_padding};
use crate::error::{Error, Result};
use crate::params::{ParamId, Params, Scope};
use crate::real::Real;
use crate::rng;
use crate::tape::Bound;

/// An embedding of the compact form whose codes stay as they are; only the values train.
///
/// Codes can be drawn at random, which is what learning codes is compared with. Or they come from a
/// compact table: product quantisation with the codebook fine-tuned for a task.
///
/// ```
/// use dpq::pq::{FixedCodes, KMeans};
/// use dpq::{CompactEmbedding, DpqConfig, Params, Tensor};
/// let table = Tensor::from_fn([100, 8], |i| (i as f32 * 0.37).sin());
/// let compact = CompactEmbedding::by_kmeans(&table, DpqConfig::vq(4, 16), &KMeans::default())?;
/// let mut params = Params::new();
/// let embedding = FixedCodes::from_compact(params.scope("words"), &compact);
/// // Until it is trained it is the compact table.
/// assert_eq!(embedding.to_compact(&params)?, compact);
/// # Ok::<(), dpq::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FixedCodes {
    config: DpqConfig,
    codes: CodeTable,
    width: usize,
    /// P
    parts: usize,
    values: ParamId,
    padding: Option<u32>,
}

impl FixedCodes {
    /// Draws every code, each of the K (of its band's K) with the same probability, and adds `values`, G x K x s, uniform
    /// in +-0.1 unless the scope says otherwise.
    ///
    /// # Errors
    /// [`Error::Config`] if the vocabulary or the width is 0 or too large, or the configuration does
    /// not fit the width.
    ///
    /// # Panics
    /// If the scope has `values` already.
    #[track_caller]
    pub fn random<T: Real>(
        mut scope: Scope<'_, T>,
        vocabulary: usize,
        width: usize,
        config: DpqConfig,
    ) -> Result<Self> {
        check_table(vocabulary, width)?;
        config.check(width)?;
        let k = config.codebook_size;
        let mut rng = scope.stream("codes");
        let mut draw = |i: usize| {
            let below = config.bands.codewords((i / config.groups) as u32, k);
            rng::below(&mut rng, below) as u32
        };
        let codes: Vec<u32> = (0..vocabulary * config.groups).map(&mut draw).collect();
        let codes = CodeTable::pack_in_bands(&codes, config.groups, k, config.bands);
        let shape = [config.codebooks(), k, config.group_width(width)];
        let values = scope.weight("values", shape, EMBEDDING_INIT);
        let parts = if config.additive { 1 } else { config.groups };
        Ok(FixedCodes { config: config.sizes_only(), codes, width, parts, values, padding: None })
    }

    /// The codes of a compact table. Adds `values`, G x K x s, which start as the table's own, whatever
    /// the scope says; they are numbers, where the table's are integers with scales, too.
    ///
    /// # Panics
    /// If the scope has `values` already, or ids of the table share rows of codes.
    #[track_caller]
    pub fn from_compact<T: Real>(mut scope: Scope<'_, T>, compact: &CompactEmbedding<T>) -> Self {
        assert!(compact.row_of_ids().is_none(), "from_compact: ids share rows of codes");
        let (config, codes) = (*compact.config(), compact.codes().clone());
        let (width, parts) = (compact.width(), compact.parts());
        let values = scope.add("values", compact.values().deep_copy());
        FixedCodes { config, codes, width, parts, values, padding: None }
    }

    /// Positions with this id get its row like any other, but no gradient. None by default.
    ///
    /// # Panics
    /// If the id is outside the vocabulary.
    #[must_use]
    #[track_caller]
    pub fn padding(self, id: u32) -> Self {
        let words = self.codes.rows();
        assert!((id as usize) < words, "padding {id}: expected an id in 0..{words}");
        FixedCodes { padding: Some(id), ..self }
    }

    /// Ids are `0..vocabulary()`.
    pub fn vocabulary(&self) -> usize {
        self.codes.rows()
    }

    /// The width of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The settings.
    pub fn config(&self) -> &DpqConfig {
        &self.config
    }

    /// The codes.
    pub fn codes(&self) -> &CodeTable {
        &self.codes
    }

    /// The value codebook, G x K x s.
    pub fn values(&self) -> ParamId {
        self.values
    }

    /// The compressed table.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a value is not finite.
    pub fn to_compact<T: Real>(&self, params: &Params<T>) -> Result<CompactEmbedding<T>> {
        let values = params.get(self.values).deep_copy();
        let compact = CompactEmbedding::new(self.config, self.codes.clone(), values)?;
        if self.config.additive { compact.in_parts(self.parts) } else { Ok(compact) }
    }
}

impl<T: Real> Embedding<T> for FixedCodes {
    fn vocabulary(&self) -> usize {
        self.codes.rows()
    }

    fn width(&self) -> usize {
        self.width
    }

    fn forward<'t>(&self, p: &Bound<'t, T>, ids: &[u32]) -> Embedded<'t, T> {
        let (values, groups) = (p[self.values], self.config.groups);
        let sizes = Sizes::of(values.shape());
        let mut codewords = Vec::with_capacity(ids.len() * groups);
        for &id in ids {
            if id as usize >= self.codes.rows() {
                // No codeword at all, so that the row is NaN.
                p.tape.fail(Error::Id { id, vocabulary: self.codes.rows() });
                codewords.extend(std::iter::repeat_n(u32::MAX, groups));
                continue;
            }
            let codes = self.codes.row(id as usize).enumerate();
            codewords.extend(codes.map(|(g, code)| sizes.codeword(g, code as usize) as u32));
        }
        let all = values.reshape([sizes.books * sizes.size, sizes.width]);
        let (parts, each) = (self.parts, groups / self.parts);
        let of_parts = all.gather_rows(&codewords).reshape([ids.len() * parts, each * sizes.width]);
        let of_parts = if each > 1 { mean_of_groups(of_parts, each) } else { of_parts };
        let rows = of_parts.reshape([ids.len(), self.width]);
        // The codewords of padding are those of other ids as well, so it is its rows that are stopped.
        Embedded { rows: stop_padding(rows, ids, self.padding), regulariser: None }
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck_params;
    use crate::strategies::{Case, ids, tensor};
    use crate::tensor::Tensor;
    use proptest::prelude::*;

    let sizes = (1..5_usize, 1..7_usize, 1..4_usize, 1..5_usize, 2..7_usize);
    let inputs = (sizes, any::<[bool; 2]>(), proptest::option::of(Just(0))).prop_flat_map(
        |((v, n, groups, s, k), [shared, additive], padding)| {
            let config = DpqConfig { shared, additive, ..DpqConfig::vq(groups, k) };
            let values = tensor([config.codebooks(), k, s]);
            let parts: Vec<usize> = match additive {
                true => (1..=groups).filter(|parts| groups.is_multiple_of(*parts)).collect(),
                false => vec![groups],
            };
            let parts = proptest::sample::select(parts);
            (Just(config), parts, ids(v * groups, k), values, ids(n, v), Just(padding))
        },
    );
    vec![Case::new("fixed codes", inputs, |(config, parts, codes, values, ids, padding)| {
        let codes = CodeTable::pack(&codes, config.groups, config.codebook_size);
        let compact = CompactEmbedding::new(config, codes, values).expect("what fits together");
        let compact = match config.additive {
            true => compact.in_parts(parts).expect("a divisor"),
            false => compact,
        };
        let mut params = crate::Params::new();
        let embedding = FixedCodes::from_compact(params.scope("words"), &compact);
        let embedding = FixedCodes { padding, ..embedding };
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
    use crate::tape::Tape;
    use crate::tensor::Tensor;
    use rand::Rng;

    /// Three ids of two codes each; ids 0 and 1 share a codeword.
    fn compact() -> CompactEmbedding<f64> {
        let codes = CodeTable::pack(&[0, 1, 0, 0, 1, 1], 2, 2);
        let values = Tensor::from([[[1.0], [2.0]], [[3.0], [4.0]]]);
        CompactEmbedding::new(DpqConfig::vq(2, 2), codes, values).unwrap()
    }

    #[test]
    fn rows_are_those_of_the_compact_table_and_padding_leaves_the_codewords_to_others() {
        let mut params = Params::new();
        let embedding = FixedCodes::from_compact(params.scope("words"), &compact());
        let gradient = |embedding: &FixedCodes| {
            let tape = Tape::new();
            let rows = embedding.forward(&tape.train(&params), &[1, 0, 1, 2]).rows;
            assert_eq!(rows.value(), compact().lookup(&[1, 0, 1, 2]).unwrap());
            let grads = tape.backward_and_free(rows.sum()).unwrap();
            grads.get(embedding.values()).unwrap().to_dense()
        };
        assert_eq!(gradient(&embedding), Tensor::from([[[3.0], [1.0]], [[2.0], [2.0]]]));
        // Id 1 has the codes 0 and 0, and id 0 goes on to use the first.
        let padded = embedding.clone().padding(1);
        assert_eq!(gradient(&padded), Tensor::from([[[1.0], [1.0]], [[0.0], [2.0]]]));
    }

    #[test]
    fn random_codes_are_those_of_the_stream_of_their_name() {
        let mut params = Params::<f32>::seeded(7);
        let config = DpqConfig::sx(2, 10);
        let embedding = FixedCodes::random(params.scope("words"), 50, 4, config).unwrap();
        let mut rng = crate::rng::stream(7, "words.codes", 0);
        let expected: Vec<u32> =
            (0..100).map(|_| (f64::from(rng.next_u32()) * 10.0 / 2_f64.powi(32)) as u32).collect();
        assert_eq!(embedding.codes().unpack(), expected);
        assert_eq!(crate::pq::Usage::of(embedding.codes()).used(), 20);
    }

    #[test]
    #[should_panic(expected = "padding 3: expected an id in 0..3")]
    fn padding_is_an_id_of_the_vocabulary() {
        let mut params = Params::new();
        let _ = FixedCodes::from_compact(params.scope("words"), &compact()).padding(3);
    }
}
