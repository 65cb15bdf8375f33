//! Codebooks that follow the queries as moving averages.
//!
//! What [`MovingAverage`] says, in two parts. A pass that trains counts the queries that chose each
//! codeword and adds them up; the step of the optimiser moves the averages, like every statistic. The
//! codebook itself is set afterwards, by [`update`](Averages::update).

use super::codebook::Sizes;
use super::config::MovingAverage;
use super::quantized::Codes;
use crate::error::Result;
use crate::kernels::codewords;
use crate::params::{ParamId, Params, Scope};
use crate::real::Real;
use crate::tape::Bound;
use crate::tensor::Tensor;
use rand::Rng;

/// The averages of a codebook.
#[derive(Clone, Debug)]
pub(super) struct Averages {
    settings: MovingAverage,
    /// C, G x K x s
    codebook: ParamId,
    /// N, G x K
    counts: ParamId,
    /// m, G x K x s
    sums: ParamId,
    /// Random queries of the last batch, G x K x s, where codewords are revived.
    candidates: Option<ParamId>,
    /// What the random choice of candidates is named.
    purpose: String,
}

impl Averages {
    /// Adds the statistics `counts`, 1, `sums`, the codebook, and `candidates`, the codebook.
    #[track_caller]
    pub(super) fn new<T: Real>(
        scope: &mut Scope<'_, T>,
        settings: MovingAverage,
        codebook: ParamId,
        start: &Tensor<T>,
    ) -> Self {
        let shape = [start.shape()[0], start.shape()[1]];
        let counts = scope.add_statistic("counts", Tensor::full(shape, T::ONE));
        let sums = scope.add_statistic("sums", start.deep_copy());
        let candidates = (settings.revive_below > 0.0)
            .then(|| scope.add_statistic("candidates", start.deep_copy()));
        let purpose = scope.path("candidates");
        Averages { settings, codebook, counts, sums, candidates, purpose }
    }

    /// Starts again from a codebook.
    pub(super) fn start_from<T: Real>(&self, params: &mut Params<T>, codebook: &Tensor<T>) {
        params.set(self.counts, Tensor::full(params.get(self.counts).shape(), T::ONE));
        for id in [Some(self.sums), self.candidates].into_iter().flatten() {
            params.set(id, codebook.deep_copy());
        }
    }

    /// Asks the step to move the averages toward what a batch of queries, n x D s, chose. `live` says
    /// which tokens count, `row` is the query of a token.
    pub(super) fn see<'q, T: Real>(
        &self,
        p: &Bound<'_, T>,
        codes: &Codes,
        live: impl Fn(usize) -> bool,
        row: impl Fn(usize) -> &'q [T],
    ) {
        let tokens: Vec<usize> = (0..codes.tokens()).filter(|&i| live(i)).collect();
        if tokens.is_empty() {
            return;
        }
        let shape = p[self.codebook].shape();
        let sizes = Sizes::of(shape);
        let (mut counts, mut sums) =
            (Tensor::zeros([sizes.books, sizes.size]), Tensor::zeros(shape));
        for &i in &tokens {
            codewords::add(row(i), sizes.stride(), codes.of(i), sums.data_mut());
            let chosen = codes.of(i).iter().enumerate();
            let counts = counts.data_mut();
            chosen.for_each(|(g, &code)| counts[sizes.codeword(g, code as usize)] += T::ONE);
        }
        let rate = T::from_f64(1.0 - self.settings.decay);
        p.tape.move_statistic(self.counts, counts, rate);
        p.tape.move_statistic(self.sums, sums, rate);
        if let Some(candidates) = self.candidates {
            let (mut rng, groups) = (p.tape.noise(&self.purpose), codes.groups());
            let mut drawn = Tensor::zeros(shape);
            for (c, codeword) in drawn.data_mut().chunks_exact_mut(sizes.width).enumerate() {
                let mut below = |n: usize| ((u64::from(rng.next_u32()) * n as u64) >> 32) as usize;
                let i = tokens[below(tokens.len())];
                let g = if sizes.books == 1 { below(groups) } else { c / sizes.size };
                codeword.copy_from_slice(&row(i)[g * sizes.width..][..sizes.width]);
            }
            p.tape.move_statistic(candidates, drawn, T::ONE);
        }
    }

    /// Sets the codebook from the averages, and revives codewords that hardly any query chooses.
    pub(super) fn update<T: Real>(&self, params: &mut Params<T>) -> Result<()> {
        let MovingAverage { smoothing, revive_below, .. } = self.settings;
        let mut counts = params.get(self.counts).deep_copy();
        let mut sums = params.get(self.sums).deep_copy();
        let mut codebook = params.get(self.codebook).deep_copy();
        let Sizes { size, width, .. } = Sizes::of(codebook.shape());
        if let Some(candidates) = self.candidates {
            let candidates = params.get(candidates);
            let floor = T::from_f64(revive_below);
            for (c, count) in counts.data_mut().iter_mut().enumerate() {
                if *count < floor {
                    *count = floor;
                    let sums = &mut sums.data_mut()[c * width..][..width];
                    let query = &candidates.data()[c * width..][..width];
                    sums.iter_mut().zip(query).for_each(|(sum, &x)| *sum = x * floor);
                }
            }
        }
        let books = counts.data().chunks_exact(size).zip(sums.data().chunks_exact(size * width));
        for ((counts, sums), codebook) in
            books.zip(codebook.data_mut().chunks_exact_mut(size * width))
        {
            let total: f64 = counts.iter().map(|n| n.to_f64()).sum();
            for (j, count) in counts.iter().enumerate() {
                let share = (count.to_f64() + smoothing) / (total + size as f64 * smoothing);
                let (sums, codeword) = (&sums[j * width..], &mut codebook[j * width..][..width]);
                for (c, m) in codeword.iter_mut().zip(sums) {
                    *c = T::from_f64(m.to_f64() / (share * total));
                }
            }
        }
        codebook.check_finite(|| "a codeword of the moving average".into())?;
        params.set(self.codebook, codebook);
        if self.candidates.is_some() {
            params.set(self.counts, counts);
            params.set(self.sums, sums);
        }
        Ok(())
    }
}
