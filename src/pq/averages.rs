//! Codebooks that follow the queries as moving averages.
//!
//! What [`MovingAverage`] says, in two parts. A pass that trains counts the queries that chose each
//! codeword and adds them up; the step of the optimiser moves the averages, like every statistic. The
//! codebook itself is set afterwards, by [`update`](Averages::update).

use super::codebook::Sizes;
use super::quantized::Codes;
use super::settings::MovingAverage;
use crate::error::{Error, Result};
use crate::kernels::codewords;
use crate::params::{ParamId, Params, Scope};
use crate::real::Real;
use crate::rng;
use crate::tape::Bound;
use crate::tensor::{Shape, Tensor};

/// N of every codeword at the start.
fn first_count<T: Real>(settings: MovingAverage) -> T {
    T::from_f64((2.0 * settings.revive_below).max(1.0))
}

/// m where every codeword has the same N.
fn times<T: Real>(codebook: &Tensor<T>, count: T) -> Tensor<T> {
    Tensor::from_fn(codebook.shape(), |i| codebook.data()[i] * count)
}

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
    /// Adds the statistics `counts`, 1 or twice the count that is revived, so that a codeword has time to be
    /// found; `sums`, so many times the codebook; and `candidates`, the codebook.
    #[track_caller]
    pub(super) fn new<T: Real>(
        scope: &mut Scope<'_, T>,
        settings: MovingAverage,
        codebook: ParamId,
        start: &Tensor<T>,
    ) -> Self {
        let shape = [start.shape()[0], start.shape()[1]];
        let count = first_count(settings);
        let counts = scope.add_statistic("counts", Tensor::full(shape, count));
        let sums = scope.add_statistic("sums", times(start, count));
        let candidates = (settings.revive_below > 0.0)
            .then(|| scope.add_statistic("candidates", start.deep_copy()));
        let purpose = scope.path("candidates");
        Averages { settings, codebook, counts, sums, candidates, purpose }
    }

    /// What it keeps besides the codebook.
    pub(super) fn statistics(&self) -> impl Iterator<Item = ParamId> {
        [self.counts, self.sums].into_iter().chain(self.candidates)
    }

    /// Starts again from a codebook.
    pub(super) fn start_from<T: Real>(&self, params: &mut Params<T>, codebook: &Tensor<T>) {
        let count = first_count(self.settings);
        params.set(self.counts, Tensor::full(params.get(self.counts).shape(), count));
        params.set(self.sums, times(codebook, count));
        if let Some(candidates) = self.candidates {
            params.set(candidates, codebook.deep_copy());
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
        let shape = p[self.codebook].shape();
        let sizes = Sizes::of(shape);
        let zeros = |shape: Shape| {
            let mut zeros = p.tape.uninit(shape);
            zeros.data_mut().fill(T::ZERO);
            zeros
        };
        let (mut counts, mut sums) = (zeros([sizes.books, sizes.size].into()), zeros(shape));
        for i in (0..codes.tokens()).filter(|&i| live(i)) {
            codewords::add(row(i), sizes.stride(), codes.of(i), sums.data_mut());
            let chosen = codes.of(i).iter().enumerate();
            let counts = counts.data_mut();
            chosen.for_each(|(g, &code)| counts[sizes.codeword(g, code as usize)] += T::ONE);
        }
        for sums in [&mut counts, &mut sums] {
            p.tape.ranks().sum_tensor(sums);
        }
        if counts.data().iter().all(|n| *n == T::ZERO) {
            return;
        }
        let rate = T::from_f64(1.0 - self.settings.decay);
        p.tape.move_statistic(self.counts, counts, rate);
        p.tape.move_statistic(self.sums, sums, rate);
        if let Some(candidates) = self.candidates {
            let (mut rng, groups) = (p.tape.noise(&self.purpose), codes.groups());
            // The tokens that count, by their places in the batch of all ranks.
            let runs = p.tape.ranks().runs(codes.tokens());
            let own =
                runs.flat_map(|(own, first)| own.zip(first as u32..)).filter(|(i, _)| live(*i));
            let own: Vec<(usize, u32)> = own.collect();
            let places = p.tape.ranks().places(own.iter().map(|(_, place)| *place).collect());
            let mut drawn = zeros(shape);
            for (c, codeword) in drawn.data_mut().chunks_exact_mut(sizes.width).enumerate() {
                let mut below = |n: usize| rng::below(&mut rng, n);
                let place = places[below(places.len())];
                let g = if sizes.books == 1 { below(groups) } else { c / sizes.size };
                if let Ok(at) = own.binary_search_by_key(&place, |(_, place)| *place) {
                    codeword.copy_from_slice(&row(own[at].0)[g * sizes.width..][..sizes.width]);
                }
            }
            p.tape.ranks().sum_tensor(&mut drawn);
            p.tape.move_statistic(candidates, drawn, T::ONE);
        }
    }

    /// Sets the codebook from the averages, and revives codewords that hardly any query chooses.
    pub(super) fn update<T: Real>(&self, params: &mut Params<T>) -> Result<()> {
        self.revive(params);
        let Sizes { books, size, width } = Sizes::of(params.get(self.codebook).shape());
        let [counts, sums] = [self.counts, self.sums].map(|id| params.get(id).clone());
        let smoothing = self.settings.smoothing;
        // The codewords of a book, one number after the other.
        let book = |b: usize| {
            let counts = &counts.data()[b * size..][..size];
            let total: f64 = counts.iter().map(|n| n.to_f64()).sum();
            let sums = sums.data()[b * size * width..][..size * width].chunks_exact(width);
            counts.iter().zip(sums).flat_map(move |(n, m)| {
                let share = (n.to_f64() + smoothing) / (total + size as f64 * smoothing);
                m.iter().map(move |m| T::from_f64(m.to_f64() / (share * total)))
            })
        };
        if let Some(bad) = (0..books).flat_map(book).find(|x| !x.is_finite()) {
            let what = "a codeword of the moving average".into();
            return Err(Error::NotFinite { what, value: bad.to_f64() });
        }
        let codebook = params.write(self.codebook);
        codebook.iter_mut().zip((0..books).flat_map(book)).for_each(|(own, x)| *own = x);
        Ok(())
    }

    /// Codewords with a small N become the candidates.
    fn revive<T: Real>(&self, params: &mut Params<T>) {
        let Some(candidates) = self.candidates else { return };
        let floor = T::from_f64(self.settings.revive_below);
        let [counts, queries] = [self.counts, candidates].map(|id| params.get(id).clone());
        let width = queries.shape()[2];
        let sums = params.write(self.sums).chunks_exact_mut(width);
        for ((sums, query), &count) in sums.zip(queries.rows()).zip(counts.data()) {
            if count < floor {
                sums.iter_mut().zip(query).for_each(|(sum, &x)| *sum = x * floor);
            }
        }
        drop(counts);
        let low = params.write(self.counts).iter_mut().filter(|count| **count < floor);
        low.for_each(|count| *count = floor);
    }
}
