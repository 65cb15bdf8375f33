//! A language model in training, of which this rank has some of the streams of text.

use dpq::communicator::Communicator;
use dpq::data::Batches;
use dpq::nn::{LanguageModel, LstmState};
use dpq::tape::Part;
use dpq::train::Task;
use dpq::{Bound, Grads, Params, Real, Result, Tape, Tensor, Var};
use std::ops::Range;
use std::sync::Arc;

/// What every rank trains.
pub struct Training<T: Real> {
    pub model: LanguageModel<T>,
    pub train: Batches,
    pub valid: Batches,
    pub batch: usize,
    /// The state of this rank's streams.
    pub state: LstmState<T>,
    pub ranks: Arc<dyn Communicator>,
}

impl<T: Real> Training<T> {
    pub fn part(&self) -> Part {
        Part::of_rank(self.ranks.rank(), self.ranks.size(), self.batch)
    }
}

/// The first axis of a state is its streams: some of their rows.
fn rows<T: Real>(tensor: &Tensor<T>, streams: Range<usize>) -> Tensor<T> {
    let width = tensor.shape().as_matrix().1;
    let data = tensor.data()[streams.start * width..streams.end * width].to_vec();
    Tensor::new([streams.len(), width], data).expect("as many numbers as the shape holds")
}

impl<T: Real> Task<T> for Training<T> {
    fn steps(&self) -> usize {
        self.train.len()
    }

    /// The objective of this rank's streams of a window of text.
    fn loss<'t>(&mut self, p: &Bound<'t, T>, _: usize, step: usize) -> (Var<'t, T>, f64) {
        let part = self.part();
        p.tape.set_part(part);
        if step == 0 {
            self.state = self.model.start(part.own);
        }
        let window = self.train.window(step).streams(part.range());
        let pass = self.model.forward(p, &window, &self.state);
        self.state = pass.state;
        (pass.objective, pass.cross_entropy.to_f64())
    }

    fn after_step(&mut self, params: &mut Params<T>, _: &Grads<T>) -> Result<()> {
        self.model.embedding().update(params)
    }

    fn validate(
        &mut self,
        tape: &mut Tape<T>,
        params: &Params<T>,
    ) -> Result<Vec<(&'static str, f64)>> {
        Ok(vec![("valid_perplexity", perplexity(&self.model, params, tape, &self.valid)?)])
    }

    /// The state of all streams, on every rank the same.
    fn carried(&self) -> Vec<(String, Tensor<T>)> {
        let of_all = |(name, own): (String, Tensor<T>)| {
            let width = own.shape().as_matrix().1;
            let bytes: Vec<u8> = own.data().iter().flat_map(|x| x.to_f64().to_le_bytes()).collect();
            let all = self.ranks.gather(&bytes).unwrap_or_default().concat();
            let all =
                all.as_chunks().0.iter().map(|x| T::from_f64(f64::from_le_bytes(*x))).collect();
            // Without an answer, which the next step reports, there is nothing to keep.
            let whole = Tensor::new([self.batch, width], all).unwrap_or(own);
            (name, whole)
        };
        self.state.tensors().into_iter().map(of_all).collect()
    }

    fn carry(&mut self, tensors: Vec<(String, Tensor<T>)>) -> Result<()> {
        let streams = self.part().range();
        let own = tensors.into_iter().map(|(name, whole)| (name, rows(&whole, streams.clone())));
        self.state = LstmState::from_tensors(own.collect());
        Ok(())
    }
}

/// The perplexity of a text, which every rank computes whole.
pub fn perplexity<T: Real>(
    model: &LanguageModel<T>,
    params: &Params<T>,
    tape: &mut Tape<T>,
    text: &Batches,
) -> Result<f64> {
    let mut state = model.start(text.window(0).batch);
    let (mut nats, mut words) = (0.0, 0.0);
    for window in text.windows() {
        let (cross_entropy, after) = tape.value(params, |p| {
            let pass = model.forward(p, &window, &state);
            (pass.cross_entropy, pass.state)
        })?;
        state = after;
        nats += window.targets.len() as f64 * cross_entropy.to_f64();
        words += window.targets.len() as f64;
    }
    Ok((nats / words).exp())
}
