//! LSTM layers on top of each other, and what they remember.

use super::lstm::{lstm, lstm_of_lengths};
use crate::init::Init;
use crate::params::{ParamId, Scope};
use crate::real::Real;
use crate::tape::{Bound, Tape, Var};
use crate::tensor::Tensor;

/// Several LSTM layers, one on top of the other.
///
/// A layer's parameters are called as PyTorch calls them, `weight_ih_l0`, `weight_hh_l0`, but for
/// `bias_l0`: there is one bias, not the sum of two.
///
/// ```
/// use dpq::nn::Lstm;
/// use dpq::{Params, Tape, Tensor};
/// let mut params = Params::<f32>::new();
/// let encoder = Lstm::new(params.scope("encoder"), 3, 4, 1);
/// let decoder = Lstm::new(params.scope("decoder"), 3, 4, 1);
/// let (steps, batch) = (5, 2);
///
/// // The decoder starts where the encoder ended, and its gradients reach the encoder.
/// let tape = Tape::new();
/// let p = tape.train(&params);
/// let x = tape.constant(Tensor::full([steps, batch, 3], 0.1));
/// let (_, state) = encoder.forward(&p, x, &encoder.start(batch).on(&tape));
/// let (y, _) = decoder.forward(&p, x, &state);
/// let grads = tape.backward(y.sum())?.into_params();
/// assert_eq!(grads.iter().count(), 6);
/// # Ok::<(), dpq::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lstm {
    layers: Vec<[ParamId; 3]>,
    hidden: usize,
    dropout: f64,
    /// What the dropout masks of every layer are drawn for.
    purposes: Vec<String>,
}

/// What an [`Lstm`] remembers between sequences: h and c of every layer, batch x hidden.
#[derive(Clone, Debug)]
pub struct LstmState<T: Real> {
    layers: Vec<[Tensor<T>; 2]>,
}

/// An [`LstmState`] as variables on a tape, through which gradients flow.
#[derive(Clone)]
pub struct LstmVars<'t, T: Real> {
    layers: Vec<[Var<'t, T>; 2]>,
}

impl<T: Real> LstmState<T> {
    /// The state as constants on a tape: no gradient crosses the sequence's start.
    pub fn on<'t>(&self, tape: &'t Tape<T>) -> LstmVars<'t, T> {
        let constants = |state: &[Tensor<T>; 2]| state.each_ref().map(|s| tape.constant(s.clone()));
        LstmVars { layers: self.layers.iter().map(constants).collect() }
    }

    /// h and c of every layer, as `h_l0`, `c_l0`, `h_l1` and so on: what a checkpoint keeps.
    pub fn tensors(&self) -> Vec<(String, Tensor<T>)> {
        let named = |(i, [h, c]): (usize, &[Tensor<T>; 2])| {
            [(format!("h_l{i}"), h.clone()), (format!("c_l{i}"), c.clone())]
        };
        self.layers.iter().enumerate().flat_map(named).collect()
    }

    /// The state whose [`tensors`](Self::tensors) these are.
    ///
    /// # Panics
    /// If they are not `h_l0`, `c_l0` and so on, or differ in shape.
    #[track_caller]
    pub fn from_tensors(tensors: Vec<(String, Tensor<T>)>) -> Self {
        let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        let expected = |(i, name): (usize, &&str)| {
            **name == format!("{}_l{}", if i % 2 == 0 { 'h' } else { 'c' }, i / 2)
        };
        let named = names.len().is_multiple_of(2) && names.iter().enumerate().all(expected);
        assert!(named, "lstm: a state of {names:?}: expected h_l0, c_l0, h_l1 and so on");
        let shape = |i: usize| tensors[i].1.shape();
        for i in 1..tensors.len() {
            assert!(
                shape(i) == shape(0),
                "lstm: a state of shapes {:?} and {:?}",
                shape(0),
                shape(i)
            );
        }
        let layers = tensors.chunks_exact(2).map(|pair| [pair[0].1.clone(), pair[1].1.clone()]);
        LstmState { layers: layers.collect() }
    }

    /// The state of stream `b` of the batch alone: a state of batch 1.
    ///
    /// # Panics
    /// If the batch has no stream `b`.
    #[must_use]
    #[track_caller]
    pub fn stream(&self, b: usize) -> LstmState<T> {
        let mut layers = Vec::with_capacity(self.layers.len());
        for [h, c] in &self.layers {
            let (batch, hidden) = h.shape().as_matrix();
            assert!(b < batch, "stream {b} of a batch of {batch}");
            let row = |s: &Tensor<T>| Tensor::from_fn([1, hidden], |i| s.data()[b * hidden + i]);
            layers.push([row(h), row(c)]);
        }
        LstmState { layers }
    }
}

impl<'t, T: Real> LstmVars<'t, T> {
    /// From h and c of every layer, batch x hidden.
    pub fn new(layers: Vec<[Var<'t, T>; 2]>) -> Self {
        LstmVars { layers }
    }

    /// h and c of every layer.
    pub fn layers(&self) -> &[[Var<'t, T>; 2]] {
        &self.layers
    }

    /// The values, which outlive the tape.
    pub fn detach(&self) -> LstmState<T> {
        LstmState { layers: self.layers.iter().map(|vars| vars.map(|var| var.value())).collect() }
    }
}

impl Lstm {
    /// Adds the parameters of `layers` layers: weights uniform in +-1 / sqrt(hidden) unless the
    /// scope says otherwise, biases 0.
    ///
    /// # Panics
    /// If there are no inputs, units or layers, or more than 2^31, or the scope has parameters of
    /// these names already.
    #[track_caller]
    pub fn new<T: Real>(scope: Scope<'_, T>, inputs: usize, hidden: usize, layers: usize) -> Lstm {
        Lstm::with_forget_bias(scope, inputs, hidden, layers, 0.0)
    }

    /// [`new`](Self::new) where the biases of the forget gates start at another number; 1 is usual.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[track_caller]
    pub fn with_forget_bias<T: Real>(
        mut scope: Scope<'_, T>,
        inputs: usize,
        hidden: usize,
        layers: usize,
        forget_bias: f64,
    ) -> Lstm {
        for (name, n) in [("inputs", inputs), ("hidden units", hidden), ("layers", layers)] {
            assert!((1..=1 << 31).contains(&n), "lstm: {n} {name}: expected 1 to 2^31");
        }
        let init = Init::Uniform(1.0 / (hidden as f64).sqrt());
        let of_forget_gate = |i: usize| (hidden..2 * hidden).contains(&i);
        let bias = |i: usize| T::from_f64(if of_forget_gate(i) { forget_bias } else { 0.0 });
        let (mut added, mut width) = (Vec::new(), inputs);
        for layer in 0..layers {
            added.push([
                scope.weight(&format!("weight_ih_l{layer}"), [4 * hidden, width], init),
                scope.weight(&format!("weight_hh_l{layer}"), [4 * hidden, hidden], init),
                scope.add(&format!("bias_l{layer}"), Tensor::from_fn([4 * hidden], bias)),
            ]);
            width = hidden;
        }
        let purpose = |layer: usize| format!("dropout.{}", scope.path(&layer.to_string()));
        Lstm { layers: added, hidden, dropout: 0.0, purposes: (0..layers).map(purpose).collect() }
    }

    /// In training, every element of every layer's inputs is dropped with this probability: 0 by
    /// default.
    ///
    /// # Panics
    /// If it is not in \[0, 1).
    #[must_use]
    #[track_caller]
    pub fn dropout(self, dropout: f64) -> Self {
        assert!((0.0..1.0).contains(&dropout), "dropout {dropout}: expected a number in [0, 1)");
        Lstm { dropout, ..self }
    }

    /// Zeros: the state at the start of a text.
    pub fn start<T: Real>(&self, batch: usize) -> LstmState<T> {
        let zeros = || Tensor::zeros([batch, self.hidden]);
        LstmState { layers: self.layers.iter().map(|_| [zeros(), zeros()]).collect() }
    }

    /// The top layer's outputs for `x`, steps x batch x inputs, and the state after it.
    ///
    /// # Panics
    /// If `x` or the state has another shape, or the state another number of layers.
    #[track_caller]
    pub fn forward<'t, T: Real>(
        &self,
        p: &Bound<'t, T>,
        x: Var<'t, T>,
        state: &LstmVars<'t, T>,
    ) -> (Var<'t, T>, LstmVars<'t, T>) {
        self.through(p, x, None, state)
    }

    /// [`forward`](Self::forward) over sequences of different lengths, each of which keeps its state from
    /// its own end on.
    ///
    /// # Panics
    /// As [`forward`](Self::forward), or if there is not one length of at most `steps` for each sequence.
    #[track_caller]
    pub fn forward_of_lengths<'t, T: Real>(
        &self,
        p: &Bound<'t, T>,
        x: Var<'t, T>,
        lengths: &[usize],
        state: &LstmVars<'t, T>,
    ) -> (Var<'t, T>, LstmVars<'t, T>) {
        self.through(p, x, Some(lengths), state)
    }

    #[track_caller]
    fn through<'t, T: Real>(
        &self,
        p: &Bound<'t, T>,
        mut x: Var<'t, T>,
        lengths: Option<&[usize]>,
        state: &LstmVars<'t, T>,
    ) -> (Var<'t, T>, LstmVars<'t, T>) {
        assert_eq!(
            self.layers.len(),
            state.layers.len(),
            "lstm: layers of the model, and of the state"
        );
        let mut after = Vec::with_capacity(self.layers.len());
        for (i, &weights) in self.layers.iter().enumerate() {
            if p.training {
                x = x.dropout(self.dropout, &self.purposes[i]);
            }
            let (state, weights) = (state.layers[i], weights.map(|id| p[id]));
            let [all, h, c] = match lengths {
                None => lstm(x, state, weights),
                Some(lengths) => lstm_of_lengths(x, lengths, state, weights),
            };
            after.push([h, c]);
            x = all;
        }
        (x, LstmVars { layers: after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    /// A state of two layers for a batch of 3.
    fn state_of_three() -> LstmState<f64> {
        let wave = |k: f64| Tensor::from_fn([3, 2], |i| ((i as f64 + 1.0) * k).sin());
        LstmState { layers: vec![[wave(0.3), wave(0.7)], [wave(1.1), wave(1.9)]] }
    }

    #[test]
    fn a_stream_goes_on_alone_as_it_would_in_the_batch() {
        let mut params = Params::<f64>::seeded(3);
        let lstm = Lstm::new(params.root(), 4, 2, 2);
        let tape = Tape::new();
        let p = tape.evaluate(&params);
        let x = Tensor::from_fn([5, 3, 4], |i| (i as f64 * 0.37).cos());
        let all = state_of_three();
        let (together, _) = lstm.forward(&p, tape.constant(x.clone()), &all.on(&tape));
        for b in 0..3 {
            let own = Tensor::from_fn([5, 1, 4], |i| x.data()[(i / 4 * 3 + b) * 4 + i % 4]);
            let (alone, _) = lstm.forward(&p, tape.constant(own), &all.stream(b).on(&tape));
            let together = together.value();
            for (i, &y) in alone.value().data().iter().enumerate() {
                let expected = together.data()[(i / 2 * 3 + b) * 2 + i % 2];
                assert!((y - expected).abs() < 1e-12, "stream {b}: {y}, {expected}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "stream 3 of a batch of 3")]
    fn a_stream_that_is_not_there_panics() {
        let _ = state_of_three().stream(3);
    }
}
