//! Codes that are drawn at random and never learnt: what learning codes is compared with.

use super::codebook::Sizes;
use super::codes::CodeTable;
use super::compact::CompactEmbedding;
use super::config::DpqConfig;
use crate::embedding::{EMBEDDING_INIT, Embedded, Embedding, check_table};
use crate::error::{Error, Result};
use crate::params::{ParamId, Params, Scope};
use crate::real::Real;
use crate::tape::Bound;
use rand::Rng;

/// An embedding of the compact form whose codes stay as they were drawn; only the values train.
#[derive(Clone, Debug)]
pub struct RandomCodes {
    config: DpqConfig,
    codes: CodeTable,
    width: usize,
    values: ParamId,
}

impl RandomCodes {
    /// Draws the codes, and adds `values`, G x K x s, uniform in +-0.1 unless the scope says
    /// otherwise.
    ///
    /// # Errors
    /// [`Error::Config`] if the vocabulary or the width is 0 or too large, or the configuration does
    /// not fit the width.
    ///
    /// # Panics
    /// If the scope has `values` already.
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
        let mut rng = scope.stream("codes");
        let mut draw = || ((u64::from(rng.next_u32()) * k as u64) >> 32) as u32;
        let codes: Vec<u32> = (0..vocabulary * config.groups).map(|_| draw()).collect();
        let codes = CodeTable::pack(&codes, config.groups, k);
        let shape = [config.codebooks(), k, width / config.groups];
        let values = scope.weight("values", shape, EMBEDDING_INIT);
        Ok(RandomCodes { config, codes, width, values })
    }

    /// The compressed table.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a value is not finite.
    pub fn to_compact<T: Real>(&self, params: &Params<T>) -> Result<CompactEmbedding<T>> {
        CompactEmbedding::new(self.config, self.codes.clone(), params.get(self.values).deep_copy())
    }
}

impl<T: Real> Embedding<T> for RandomCodes {
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
        let rows = all.gather_rows(&codewords).reshape([ids.len(), self.width]);
        Embedded { rows, regulariser: None }
    }
}
