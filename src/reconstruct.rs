//! Codes learnt by reconstructing a finished table: compression by training, but without the model
//! that the table came from.
//!
//! [k-means](crate::pq::KMeans) takes the nearest codewords, group by group. Here a [`DpqEmbedding`] is
//! trained to give the table's own rows, so every score, option and regulariser of a layer can be
//! tried on a table alone, before a model is trained with it.

use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::optim::{Adam, Group, Optimizer};
use crate::params::Params;
use crate::pq::compact::CompactEmbedding;
use crate::pq::{DpqConfig, DpqEmbedding, KMeans};
use crate::real::Real;
use crate::rng;
use crate::tape::Tape;
use crate::tensor::Tensor;

/// How codes are learnt from a finished table X, V x d.
///
/// The layer's queries are X, and its codebooks, keys and values alike, start as those of k-means. Adam,
/// with a learning rate that falls linearly to 0, then lowers over shuffled batches of n rows
///
/// ```text
/// loss = mean over i,t of ( y[i,t] - X[i,t] )^2  +  the layer's regulariser
/// ```
///
/// where y are the layer's rows. The error of the whole compact table is taken at the start and ten
/// times more, and the best table is kept: the result is never worse than its start. Without
/// batch-normalisation VQ starts at [product quantisation](CompactEmbedding::by_kmeans), and its
/// regulariser is the error that k-means lowers, so that it ends near there. SX chooses by the dot
/// product and has farther to go.
///
/// Queries can be trained as well, but then they leave the rows that they started as, and the error
/// rises: the straight-through gradient of a codeword's choice is no slope of it. Measured on tables of
/// normal numbers, both forms end higher so.
///
/// The result has the same bits on any number of threads.
///
/// ```
/// use dpq::reconstruct::Reconstruction;
/// use dpq::{DpqConfig, Tensor};
/// let table = Tensor::from_fn([200, 8], |i| (i as f32 * 0.37).sin());
/// let short = Reconstruction { steps: 100, batch: 50, ..Reconstruction::default() };
/// let config = DpqConfig { batch_norm: false, ..DpqConfig::sx(4, 8) };
/// let found = short.compress(&table, config)?;
/// let error = found.compact.mean_squared_error(&table)?;
/// assert!(error < found.errors[0]);
/// # Ok::<(), dpq::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Reconstruction {
    /// Steps of the optimiser, 2,000 by default. With 0 the start is the result.
    pub steps: usize,
    /// Rows of a step, 1,024 by default; all rows where the table has fewer.
    pub batch: usize,
    /// Adam's learning rate as a share of the root mean square of the table's elements. 0.003 by
    /// default. Where that is far below 0.001 Adam's eps makes steps smaller.
    pub learning_rate: f64,
    /// Times that rate is the learning rate of the queries. 0 by default: they stay the table's rows.
    pub query_rate: f64,
    /// Decides the order of the rows. 0 by default.
    pub seed: u64,
    /// The start.
    pub kmeans: KMeans,
}

impl Default for Reconstruction {
    fn default() -> Self {
        Reconstruction {
            steps: 2000,
            batch: 1024,
            learning_rate: 0.003,
            query_rate: 0.0,
            seed: 0,
            kmeans: KMeans::default(),
        }
    }
}

/// What was learnt.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconstructed<T: Real> {
    /// The best compact table.
    pub compact: CompactEmbedding<T>,
    /// The mean squared error of the compact table at the start, and whenever it was taken again.
    pub errors: Vec<f64>,
}

/// Times that the error is taken after the start.
const CHECKS: usize = 10;

/// Learning rates that every precision holds, whatever the table's elements.
const RATES: std::ops::RangeInclusive<f64> = 1e-9..=1e3;

impl Reconstruction {
    /// Learns the codes and values of a table.
    ///
    /// # Errors
    /// As [`KMeans::codebooks`]; [`Error::Config`] if the batch is 0, or a learning rate neither 0 nor
    /// from 1e-9 to 1e3; [`Error::NotFinite`] if training diverges.
    pub fn compress<T: Real>(
        &self,
        table: &Tensor<T>,
        config: DpqConfig,
    ) -> Result<Reconstructed<T>> {
        let refuse = |name, value, expected: &str| {
            Err(Error::Config { name, value, expected: expected.into() })
        };
        if self.batch == 0 {
            return refuse("batch", "0".into(), "at least 1");
        }
        let rates = [("learning rate", self.learning_rate), ("query rate", self.query_rate)];
        for (name, rate) in rates {
            if rate != 0.0 && !RATES.contains(&rate) {
                return refuse(name, format!("{rate:e}"), "0, or 1e-9 to 1e3");
            }
        }
        let (rows, width) = table.shape().as_matrix();

        let mut params = Params::seeded(self.seed);
        let layer = DpqEmbedding::new(params.scope("table"), rows, width, config)?;
        layer.start_from(&mut params, table, &self.kmeans)?;

        let mut best = layer.to_compact(&params)?;
        let mut errors = vec![best.mean_squared_error(table)?];
        let mut least = errors[0];
        let rate = self.learning_rate * root_mean_square(table);
        let of_queries = Group { learning_rate: self.query_rate, ..Group::default() };
        let mut adam = Adam::new(rate).group(|name| name == "table.query", of_queries);
        let (mut tape, mut order) = (Tape::new(), Vec::new());
        let batches = rows.div_ceil(self.batch);
        for step in 0..self.steps {
            if step % batches == 0 {
                let epoch = (step / batches) as u64;
                let mut stream = rng::stream(self.seed, "reconstruct.order", epoch);
                order = rng::shuffled(rows, &mut stream);
            }
            let first = step % batches * self.batch;
            let ids = &order[first..rows.min(first.saturating_add(self.batch))];
            let (_, grads, ()) = tape.value_and_grad(&params, |p| {
                let found = layer.forward(p, ids);
                let off = found.rows - p.tape.constant(rows_of(table, ids));
                let loss = (off * off).mean();
                (found.regulariser.map_or(loss, |regulariser| loss + regulariser), ())
            })?;
            adam.set_learning_rate(rate * (1.0 - step as f64 / self.steps as f64));
            adam.step(&mut params, &grads)?;
            layer.update(&mut params)?;

            let done = step + 1;
            if done % self.steps.div_ceil(CHECKS) == 0 || done == self.steps {
                let compact = layer.to_compact(&params)?;
                let error = compact.mean_squared_error(table)?;
                errors.push(error);
                if error < least {
                    (least, best) = (error, compact);
                }
            }
        }
        Ok(Reconstructed { compact: best, errors })
    }
}

/// Some rows of a table.
fn rows_of<T: Real>(table: &Tensor<T>, ids: &[u32]) -> Tensor<T> {
    let width = table.shape()[1];
    let mut rows = Tensor::zeros([ids.len(), width]);
    for (row, &id) in rows.data_mut().chunks_exact_mut(width).zip(ids) {
        row.copy_from_slice(&table.data()[id as usize * width..][..width]);
    }
    rows
}

fn root_mean_square<T: Real>(table: &Tensor<T>) -> f64 {
    let squares = table.data().iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>();
    (squares / table.data().len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::with_threads;

    fn table() -> Tensor<f32> {
        Tensor::normal([300, 12], 2.0, &mut rng::stream(5, "table", 0))
    }

    fn short() -> Reconstruction {
        Reconstruction { steps: 200, batch: 64, learning_rate: 0.01, ..Reconstruction::default() }
    }

    fn off(config: DpqConfig) -> DpqConfig {
        DpqConfig { batch_norm: false, ..config }
    }

    #[test]
    fn vq_starts_at_product_quantisation_and_never_ends_above_it() {
        for shared in [false, true] {
            let config = DpqConfig { shared, ..off(DpqConfig::vq(4, 16)) };
            let found = short().compress(&table(), config).unwrap();
            let start = CompactEmbedding::by_kmeans(&table(), config, &KMeans::default()).unwrap();
            assert_eq!(found.errors[0], start.mean_squared_error(&table()).unwrap());
            assert_eq!(found.errors.len(), 1 + CHECKS);
            let least = found.errors.iter().copied().fold(f64::INFINITY, f64::min);
            assert_eq!(found.compact.mean_squared_error(&table()).unwrap(), least);
        }
    }

    #[test]
    fn the_error_falls_whatever_the_size_of_the_elements() {
        // From k-means++ alone, which leaves something to learn to VQ as well.
        let kmeans = KMeans { iterations: 0, ..KMeans::default() };
        for config in [off(DpqConfig::vq(4, 16)), off(DpqConfig::sx(4, 16)), DpqConfig::sx(4, 16)] {
            for size in [1.0, 1e-3, 1e3] {
                let table = Tensor::from_fn([300, 12], |i| table().data()[i] * size);
                let settings = Reconstruction { kmeans: kmeans.clone(), ..short() };
                let found = settings.compress(&table, config).unwrap();
                let (start, end) = (found.errors[0], found.errors[CHECKS]);
                assert!(end < 0.9 * start, "{config:?} {size}: {:?}", found.errors);
            }
        }
    }

    #[test]
    fn queries_stay_the_rows_of_the_table_unless_they_have_a_rate() {
        let config = off(DpqConfig::sx(4, 16));
        let run = |query_rate| {
            Reconstruction { query_rate, ..short() }.compress(&table(), config).unwrap().errors
        };
        assert_eq!(run(0.0), short().compress(&table(), config).unwrap().errors);
        assert_ne!(run(0.0), run(1.0));
    }

    #[test]
    fn the_result_has_the_same_bits_on_any_number_of_threads_and_depends_on_the_seed() {
        let run = |seed| {
            let few = Reconstruction { steps: 30, seed, ..short() };
            few.compress(&table(), DpqConfig::sx(4, 16)).unwrap()
        };
        assert_eq!(with_threads(1, || run(0)), with_threads(3, || run(0)));
        assert_ne!(run(0).errors, run(1).errors);
        let none = Reconstruction { steps: 0, ..short() };
        assert_eq!(none.compress(&table(), DpqConfig::vq(4, 16)).unwrap().errors.len(), 1);
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let refused = |settings: Reconstruction| {
            settings.compress(&table(), DpqConfig::vq(4, 16)).unwrap_err().to_string()
        };
        let default = Reconstruction::default;
        assert_eq!(
            refused(Reconstruction { batch: 0, ..default() }),
            "batch = 0: expected at least 1"
        );
        for (rate, shown) in [(-1.0, "-1e0"), (f64::NAN, "NaN"), (1e-20, "1e-20")] {
            assert_eq!(
                refused(Reconstruction { learning_rate: rate, ..default() }),
                format!("learning rate = {shown}: expected 0, or 1e-9 to 1e3")
            );
        }
        assert_eq!(
            refused(Reconstruction { query_rate: -1.0, ..default() }),
            "query rate = -1e0: expected 0, or 1e-9 to 1e3"
        );
        let nan = Tensor::full([3, 12], f32::NAN);
        assert!(default().compress(&nan, DpqConfig::vq(4, 16)).is_err());
    }
}
