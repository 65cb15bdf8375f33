//! Product quantisation of a finished table, without any training of a model.

use super::codes::CodeTable;
use super::compact::CompactEmbedding;
use super::config::DpqConfig;
use super::kmeans::{KMeans, nearest_codes};
use super::settings::Form;
use crate::error::{Error, Result};
use crate::real::Real;
use crate::tensor::Tensor;

impl<T: Real> CompactEmbedding<T> {
    /// A finished table V x d, compressed by product quantisation (Jégou, Douze & Schmid 2011): the
    /// codebooks are [k-means](KMeans)'s, and a part of a row gets the code of its nearest codeword.
    ///
    /// ```text
    /// C         = the codebooks, G x K x s
    /// code[i,g] = argmin_j || x[i,g] - C[g,j] ||^2       the lowest j on ties
    /// ```
    ///
    /// Of the configuration only the sizes count.
    ///
    /// This is how to compress a table that one has already. Where the model is still to be trained,
    /// [`DpqEmbedding`](super::DpqEmbedding) learns codes for the task. With at least as many codewords
    /// as a group has distinct parts (and all rows in the sample) the rows are the table's own.
    ///
    /// ```
    /// use dpq::pq::KMeans;
    /// use dpq::{CompactEmbedding, DpqConfig, Tensor};
    /// let table = Tensor::from_fn([500, 8], |i| (i as f32 * 0.37).sin());
    /// let compact = CompactEmbedding::by_kmeans(&table, DpqConfig::vq(4, 16), &KMeans::default())?;
    /// assert!(compact.mean_squared_error(&table)? < 0.05); // the elements' own variance is 0.5
    /// # Ok::<(), dpq::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`KMeans::codebooks`], and [`Error::Config`] if the form is not [`Form::Vq`], since codes are
    /// those of the nearest codewords, or there are additive groups or bands.
    pub fn by_kmeans(table: &Tensor<T>, config: DpqConfig, kmeans: &KMeans) -> Result<Self> {
        if config.form != Form::Vq {
            return Err(Error::Config {
                name: "form",
                value: format!("{:?}", config.form),
                expected: "Vq, as k-means chooses the nearest codeword".into(),
            });
        }
        if config.additive || !config.bands.is_empty() {
            return Err(Error::Config {
                name: "configuration",
                value: format!("additive = {}, bands = {}", config.additive, config.bands),
                expected: "neither, as rows are cut into parts that choose from all codewords"
                    .into(),
            });
        }
        let codebooks = kmeans.codebooks(table, &config)?;
        let codes = nearest_codes(table, &codebooks, config.groups);
        let codes = CodeTable::pack(&codes, config.groups, config.codebook_size);
        CompactEmbedding::new(config.sizes_only(), codes, codebooks)
    }

    /// The mean over all elements of (x - y)^2, of the table's rows x and the compressed rows y.
    ///
    /// # Errors
    /// [`Error::Config`] if the table has another shape than the compressed one.
    pub fn mean_squared_error(&self, table: &Tensor<T>) -> Result<f64> {
        let width = self.width();
        let own = [self.vocabulary(), width];
        if table.shape()[..] != own {
            return Err(Error::Config {
                name: "shape of the table",
                value: format!("{:?}", table.shape()),
                expected: format!("{} x {}", own[0], own[1]),
            });
        }
        // A block of rows at a time: the full table need not fit into memory twice.
        let mut sum = 0.0;
        for (block, rows) in table.data().chunks(BLOCK * width).enumerate() {
            let first = block * BLOCK;
            let ids: Vec<u32> = (first..first + rows.len() / width).map(|id| id as u32).collect();
            let found = self.lookup(&ids)?;
            let squares = rows.iter().zip(found.data());
            sum += squares.map(|(x, y)| (x.to_f64() - y.to_f64()).powi(2)).sum::<f64>();
        }
        Ok(sum / table.data().len() as f64)
    }
}

/// Rows that are looked up at a time.
const BLOCK: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;
    use proptest::prelude::*;

    #[test]
    fn the_error_falls_with_the_codebook_size() {
        let table = Tensor::<f32>::normal([2000, 12], 1.0, &mut stream(0, "table", 0));
        for shared in [false, true] {
            let error = |k| {
                let config = DpqConfig { shared, ..DpqConfig::vq(4, k) };
                let compact = CompactEmbedding::by_kmeans(&table, config, &KMeans::default());
                compact.unwrap().mean_squared_error(&table).unwrap()
            };
            let errors = [2, 4, 16, 64, 256].map(error);
            assert!(errors.windows(2).all(|pair| pair[1] < 0.9 * pair[0]), "{errors:?}");
            // 2 codewords in 3 dimensions leave 1 - 2 / (3 pi) = 0.788 of a normal variable's variance.
            assert!((errors[0] - 0.788).abs() < 0.03, "{errors:?}");
        }
    }

    proptest! {
        #[test]
        fn enough_codewords_reproduce_the_table_to_the_bit(
            data in proptest::collection::vec(-2.0..2.0_f32, 6..200), shared: bool,
        ) {
            let v = data.len() / 6;
            let table = Tensor::from_fn([v, 6], |i| data[i]);
            let config = DpqConfig { shared, ..DpqConfig::vq(3, 3 * v.max(2)) };
            let compact = CompactEmbedding::by_kmeans(&table, config, &KMeans::default()).unwrap();
            let ids: Vec<u32> = (0..v as u32).collect();
            prop_assert_eq!(compact.lookup(&ids).unwrap(), table);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let table = Tensor::<f32>::zeros([3, 4]);
        let kmeans = KMeans::default();
        let refused = CompactEmbedding::by_kmeans(&table, DpqConfig::sx(2, 4), &kmeans);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "form = Sx: expected Vq, as k-means chooses the nearest codeword"
        );
        let compact = CompactEmbedding::by_kmeans(&table, DpqConfig::vq(2, 4), &kmeans).unwrap();
        assert_eq!(compact.mean_squared_error(&table).unwrap(), 0.0);
        assert_eq!(
            compact.mean_squared_error(&Tensor::zeros([4, 3])).unwrap_err().to_string(),
            "shape of the table = [4, 3]: expected 3 x 4"
        );
    }
}
