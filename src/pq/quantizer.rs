//! Codebooks with all that training them needs: they quantise any activations.

use super::additive::mean_of_groups;
use super::averages::Averages;
use super::config::DpqConfig;
use super::dot_scores::{as_dot, without_more};
use super::normalization::{BATCH_NORM_RATE, Normalization, batch_statistics};
use super::quantized::{Options, Quantized};
use super::settings::{Form, Score, Temperature};
use super::sx::sx_with;
use super::vq::vq_with;
use crate::embedding::EMBEDDING_INIT;
use crate::error::{Error, Result};
use crate::ops::{BatchStatistics, Distinct, Ids};
use crate::params::{ParamId, Params, Scope};
use crate::real::Real;
use crate::tape::{Bound, Tape, Var};
use crate::tensor::{Buffer, Tensor};
use rand::Rng;

/// DPQ of any activations: for every row of n x d it chooses D codes and gives the codewords in the row's
/// place, with a gradient to the row and to the codebooks.
///
/// ```
/// use dpq::pq::Quantizer;
/// use dpq::{DpqConfig, Params, Tape, Tensor};
/// let mut params = Params::<f32>::new();
/// let quantizer = Quantizer::new(params.scope("codes"), 8, DpqConfig::vq(4, 16))?;
/// let tape = Tape::new();
/// let hidden = tape.leaf(Tensor::from_fn([3, 8], |i| (i as f32).sin()));
/// let quantized = quantizer.forward(&tape.train(&params), hidden);
/// assert_eq!(quantized.rows.shape()[..], [3, 8]);
/// println!("codes of the first row: {:?}", quantized.codes.of(0));
/// let loss = quantized.rows.sum() + quantized.regulariser.expect("VQ has one");
/// assert!(tape.backward(loss)?.get(hidden).is_some());
/// # Ok::<(), dpq::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Quantizer {
    config: DpqConfig,
    width: usize,
    keys: ParamId,
    /// For VQ the keys.
    values: ParamId,
    /// Running mean and variance of the scores.
    statistics: Option<[ParamId; 2]>,
    /// tau where it learns, the steps so far where it is annealed.
    temperature: Option<ParamId>,
    averages: Option<Averages>,
    /// What the random choice of codes is named.
    purpose: String,
}

/// What the fused op is given besides ids.
pub(super) struct Given<'t, T: Real> {
    /// A table of queries, V x D s.
    pub(super) queries: Var<'t, T>,
    pub(super) keys: Var<'t, T>,
    pub(super) values: Var<'t, T>,
    /// tau, where it is not the configuration's.
    pub(super) temperature: Option<Var<'t, T>>,
    /// The running statistics, where scores are batch-normalised.
    pub(super) running: Option<BatchStatistics<T>>,
    pub(super) training: bool,
    /// What codes are sampled by, n x D, where they are.
    pub(super) draws: Option<Tensor<T>>,
}

impl<T: Real> Given<'_, T> {
    /// The same values as constants of another tape.
    pub(super) fn on<'n>(&self, tape: &'n Tape<T>) -> Given<'n, T> {
        let constant = |x: Var<'_, T>| tape.constant(x.value());
        Given {
            queries: constant(self.queries),
            keys: constant(self.keys),
            values: constant(self.values),
            temperature: self.temperature.map(constant),
            running: self.running.clone(),
            training: self.training,
            draws: self.draws.clone(),
        }
    }
}

impl Quantizer {
    /// Adds the parameters: `keys` and (SX) `values` G x K x s, uniform in +-0.1 unless the scope says
    /// otherwise, a learnable `temperature`; and the statistics: of batch normalisation `score_mean`, 0,
    /// and `score_var`, 1, of an annealed temperature `temperature_step`, of moving averages `counts`,
    /// `sums` and `candidates`, and then the keys, too.
    ///
    /// Additive groups take rows of D d numbers, and give rows of `width` d.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration does not fit the width, or has bands, which are those of ids.
    ///
    /// # Panics
    /// If the scope has parameters of these names already.
    #[track_caller]
    pub fn new<T: Real>(scope: Scope<'_, T>, width: usize, config: DpqConfig) -> Result<Self> {
        if !config.bands.is_empty() {
            return Err(Error::Config {
                name: "bands",
                value: config.bands.to_string(),
                expected: "none for activations, which have no ids".into(),
            });
        }
        Quantizer::with_bands(scope, width, config)
    }

    #[track_caller]
    pub(super) fn with_bands<T: Real>(
        mut scope: Scope<'_, T>,
        width: usize,
        config: DpqConfig,
    ) -> Result<Self> {
        config.check(width)?;
        let k = config.codebook_size;
        let book = [config.codebooks(), k, config.group_width(width)];
        let start = scope.draw("keys", book, EMBEDDING_INIT);
        let (keys, averages) = match config.moving_average {
            None => (scope.add("keys", start), None),
            Some(settings) => {
                let keys = scope.add_statistic("keys", start.deep_copy());
                (keys, Some(Averages::new(&mut scope, settings, keys, &start)))
            }
        };
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
        let temperature = match config.temperature {
            Temperature::Fixed(_) => None,
            Temperature::Learnable(start) => {
                Some(scope.add("temperature", Tensor::scalar(T::from_f64(start))))
            }
            Temperature::Annealed { .. } => {
                Some(scope.add_statistic("temperature_step", Tensor::scalar(T::ZERO)))
            }
        };
        let purpose = scope.path("sampling");
        Ok(Quantizer { config, width, keys, values, statistics, temperature, averages, purpose })
    }

    /// The settings.
    pub fn config(&self) -> &DpqConfig {
        &self.config
    }

    /// d, the width of a row that it gives.
    pub fn width(&self) -> usize {
        self.width
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

    /// tau, where it learns.
    pub fn temperature(&self) -> Option<ParamId> {
        let learns = matches!(self.config.temperature, Temperature::Learnable(_));
        self.temperature.filter(|_| learns)
    }

    /// What exists in training only: all its parameters and statistics but the values.
    pub(super) fn training_only(&self) -> Vec<ParamId> {
        let keys = (self.keys != self.values).then_some(self.keys);
        let averages = self.averages.iter().flat_map(Averages::statistics);
        let statistics = self.statistics.into_iter().flatten();
        keys.into_iter().chain(statistics).chain(self.temperature).chain(averages).collect()
    }

    /// Quantises the rows of `x`, n x d (n x D d where groups are additive). In training the scores are
    /// normalised by the batch's statistics, towards which the running ones then move; in evaluation by
    /// the running ones.
    ///
    /// # Panics
    /// If x is of another width.
    #[track_caller]
    pub fn forward<'t, T: Real>(&self, p: &Bound<'t, T>, x: Var<'t, T>) -> Quantized<'t, T> {
        let (shape, width) = (x.shape(), self.config.query_width(self.width));
        assert!(
            shape.len() == 2 && shape[1] == width,
            "quantizer: activations of shape {shape:?}, not n x {width}"
        );
        let mut ids = p.tape.pools().ids.take(shape[0]);
        ids.iter_mut().zip(0..).for_each(|(id, i)| *id = i);
        self.quantize_rows(p, x, Ids { ids: &ids, padding: None }, None)
    }

    /// After a step of the optimiser: sets codebooks that are moving averages.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a codeword would not be finite.
    pub fn update<T: Real>(&self, params: &mut Params<T>) -> Result<()> {
        self.averages.as_ref().map_or(Ok(()), |averages| averages.update(params))
    }

    /// Sets the codebooks, and the averages that they follow.
    pub(super) fn start_from<T: Real>(&self, params: &mut Params<T>, codebooks: &Tensor<T>) {
        params.set(self.keys, codebooks.deep_copy());
        if self.values != self.keys {
            params.set(self.values, codebooks.deep_copy());
        }
        if let Some(averages) = &self.averages {
            averages.start_from(params, codebooks);
        }
    }

    /// Quantises the rows of a table that `ids` name, and moves the statistics. `limits` has a number of
    /// codewords for each row of the table.
    pub(super) fn quantize_rows<'t, T: Real>(
        &self,
        p: &Bound<'t, T>,
        table: Var<'t, T>,
        ids: Ids<'_>,
        limits: Option<&[u32]>,
    ) -> Quantized<'t, T> {
        let given = self.given(p, table, ids.ids.len());
        let quantized = self.quantize(&given, ids, limits);
        if !p.training {
            return quantized;
        }
        if let (Some([m, v]), Some(BatchStatistics { mean, var, .. })) =
            (self.statistics, &quantized.statistics)
        {
            let rate = T::from_f64(BATCH_NORM_RATE);
            p.tape.move_statistic(m, mean.clone(), rate);
            p.tape.move_statistic(v, var.clone(), rate);
        }
        if let (Temperature::Annealed { .. }, Some(step)) =
            (self.config.temperature, self.temperature)
        {
            let next = p[step].value().item() + T::ONE;
            p.tape.move_statistic(step, Tensor::scalar(next), T::ONE);
        }
        if let Some(averages) = &self.averages {
            let (queries, width) = (table.value(), self.config.query_width(self.width));
            let inside = |id: u32| (id as usize) < queries.shape()[0];
            let live = |i: usize| Some(ids.ids[i]) != ids.padding && inside(ids.ids[i]);
            let row = |i: usize| &queries.data()[ids.ids[i] as usize * width..][..width];
            averages.see(p, &quantized.codes, live, row);
        }
        quantized
    }

    /// What a pass gives the fused op for n rows of a table.
    pub(super) fn given<'t, T: Real>(
        &self,
        p: &Bound<'t, T>,
        queries: Var<'t, T>,
        n: usize,
    ) -> Given<'t, T> {
        let draws = (self.config.sampling && p.training).then(|| {
            let (mut rng, groups) = (p.tape.noise(&self.purpose), self.config.groups);
            let start = rng.get_word_pos();
            let mut draws = p.tape.uninit([n, groups]);
            for (own, first) in p.tape.ranks().runs(n) {
                rng.set_word_pos(start + (first * groups) as u128);
                // In 23 bits, so that no draw is rounded to 1.
                let mut draw = || T::from_f64(f64::from(rng.next_u32() >> 9) / f64::from(1 << 23));
                let draws = &mut draws.data_mut()[own.start * groups..own.end * groups];
                draws.iter_mut().for_each(|x| *x = draw());
            }
            draws
        });
        Given {
            queries,
            keys: p[self.keys],
            values: p[self.values],
            temperature: self.temperature.map(|id| match self.config.temperature {
                Temperature::Annealed { start, end, steps } => {
                    let part = (p[id].value().item().to_f64() / steps as f64).min(1.0);
                    let tau = start * (end / start).powf(part);
                    p.tape.constant(Tensor::scalar(T::from_f64(tau)))
                }
                _ => p[id],
            }),
            running: self.statistics.map(|[m, v]| batch_statistics(p[m].value(), p[v].value())),
            training: p.training,
            draws,
        }
    }

    /// The fused op: in training the scores are normalised by the batch's statistics, in evaluation by
    /// the running ones.
    pub(super) fn quantize<'t, T: Real>(
        &self,
        given: &Given<'t, T>,
        ids: Ids<'_>,
        limits: Option<&[u32]>,
    ) -> Quantized<'t, T> {
        let config = &self.config;
        let normalization = match &given.running {
            None => Normalization::Off,
            Some(_) if given.training => Normalization::Batch,
            Some(running) => Normalization::Running(running),
        };
        let (inputs, of_ids) = self.scored(given, ids);
        let [queries, keys, values] = inputs;
        let of_rows = match (limits, &of_ids) {
            (Some(limits), Some(of_ids)) => Some(of_ids.limits(queries.tape(), limits)),
            _ => None,
        };
        let ids = of_ids.as_ref().map_or(ids, OfIds::ids);
        let options = Options {
            temperature: given.temperature,
            draws: given.draws.as_ref(),
            limits: of_rows.as_deref().or(limits),
            still_codebook: self.averages.is_some(),
        };
        let quantized = match config.form {
            Form::Sx => sx_with(config, normalization, queries, ids, keys, values, options),
            Form::Vq => vq_with(config, normalization, queries, ids, keys, options),
        };
        let rows = match config.form {
            Form::Sx => without_more(config.score, config.groups, quantized.rows),
            Form::Vq => quantized.rows,
        };
        let rows = if config.additive { mean_of_groups(rows, config.groups) } else { rows };
        Quantized { rows, ..quantized }
    }

    /// Queries, keys and values whose scores are dot products, for SX; and where that takes work on
    /// queries, it is done for the distinct ids only, which then have the numbers of [`OfIds`].
    pub(super) fn scored<'t, T: Real>(
        &self,
        given: &Given<'t, T>,
        ids: Ids<'_>,
    ) -> ([Var<'t, T>; 3], Option<OfIds>) {
        let inputs = [given.queries, given.keys, given.values];
        let DpqConfig { form, score, groups, .. } = self.config;
        if form == Form::Vq || score == Score::Dot {
            return (inputs, None);
        }
        let of_ids = OfIds::new(given.queries.tape(), ids, given.queries.shape()[0]);
        let padding = ids.padding;
        let queries = given.queries.gather_rows(Ids { ids: &of_ids.distinct, padding });
        (as_dot(score, groups, [queries, given.keys, given.values]), Some(of_ids))
    }
}

/// The distinct ids of a batch as a table of their own.
pub(super) struct OfIds {
    /// The ids of the table's rows.
    distinct: Buffer<u32>,
    /// For every token its row.
    slots: Buffer<u32>,
    padding: Option<u32>,
}

impl OfIds {
    fn new<T: Real>(tape: &Tape<T>, ids: Ids<'_>, height: usize) -> Self {
        let found = Distinct::new(tape, ids, height);
        let mut slots = tape.pools().ids.take(ids.ids.len());
        for ((slot, &own), &id) in slots.iter_mut().zip(found.slots.iter()).zip(ids.ids) {
            // An id outside the table stays one.
            *slot = if id as usize >= height { u32::MAX } else { own };
        }
        let live = found.live().len();
        let padding = (found.ids.len() > live).then_some(live as u32);
        OfIds { distinct: found.ids, slots, padding }
    }

    pub(super) fn ids(&self) -> Ids<'_> {
        Ids { ids: &self.slots, padding: self.padding }
    }

    fn limits<T: Real>(&self, tape: &Tape<T>, limits: &[u32]) -> Buffer<u32> {
        let mut own = tape.pools().ids.take(self.distinct.len());
        own.iter_mut().zip(&*self.distinct).for_each(|(own, &id)| *own = limits[id as usize]);
        own
    }
}
