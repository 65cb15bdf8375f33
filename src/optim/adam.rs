//! Adam and AdamW.

use super::optimizer::{
    Group, Groups, Memory, Optimizer, add_state, assert_fraction, assert_learning_rate,
    assert_not_negative,
};
use super::update::update;
use crate::error::Result;
use crate::params::{ParamId, Params};
use crate::real::Real;
use crate::tape::Grads;
use crate::tensor::Tensor;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Adam (Kingma & Ba 2015), with weight decay in the gradient or, as AdamW (Loshchilov & Hutter
/// 2019), beside it. At step t:
///
/// ```text
/// g <- dp + weight_decay p                          AdamW:  g <- dp,  p <- p - learning_rate weight_decay p
/// m <- beta1 m + (1 - beta1) g
/// v <- beta2 v + (1 - beta2) g^2
/// p <- p - learning_rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)
/// ```
///
/// Of a row-sparse gradient only the rows take part: m, v and the decay of the other rows wait until
/// they are looked up again ("lazy" Adam). t counts all steps, for all rows alike.
///
/// ```
/// use dpq::optim::{Adam, Optimizer};
/// use dpq::{Params, Tape, Tensor};
/// let mut params = Params::new();
/// let x = params.add("x", Tensor::scalar(1.0_f64));
/// let (mut tape, mut adam) = (Tape::new(), Adam::new(0.1));
/// for _ in 0..300 {
///     let (_, grads, ()) = tape.value_and_grad(&params, |p| ((p[x] - 3.0) * (p[x] - 3.0), ()))?;
///     adam.step(&mut params, &grads)?;
/// }
/// assert!((params.get(x).item() - 3.0).abs() < 1e-3);
/// # Ok::<(), dpq::Error>(())
/// ```
pub struct Adam<T: Real> {
    learning_rate: f64,
    betas: [f64; 2],
    eps: f64,
    decoupled: bool,
    groups: Groups<T>,
    /// `adam.step`, and for every trained parameter `adam.mean.NAME`, m, and `adam.square.NAME`, v.
    state: Params<T>,
    steps: Option<ParamId>,
    moments: HashMap<ParamId, [ParamId; 2]>,
    memory: Memory,
    /// Room for [`update`].
    order: Vec<u32>,
}

impl<T: Real> Adam<T> {
    /// Adam with betas 0.9 and 0.999, eps 1e-8, and no weight decay.
    ///
    /// # Panics
    /// If the learning rate is negative or not finite.
    #[track_caller]
    pub fn new(learning_rate: f64) -> Self {
        assert_not_negative::<T>("learning rate", learning_rate);
        Adam {
            learning_rate,
            betas: [0.9, 0.999],
            eps: 1e-8,
            decoupled: false,
            groups: Groups::new(),
            state: Params::new(),
            steps: None,
            moments: HashMap::new(),
            memory: Memory::new(),
            order: Vec::new(),
        }
    }

    /// AdamW: as [`new`](Adam::new), with weight decay beside the gradient; 0.01 is usual.
    ///
    /// # Panics
    /// If a setting is negative or not finite.
    #[track_caller]
    pub fn decoupled(learning_rate: f64, weight_decay: f64) -> Self {
        Adam { decoupled: true, ..Adam::new(learning_rate).weight_decay(weight_decay) }
    }

    /// With other decay rates of the averages of the gradient and of its square.
    ///
    /// # Panics
    /// If one is not in \[0, 1).
    #[must_use]
    #[track_caller]
    pub fn betas(self, beta1: f64, beta2: f64) -> Self {
        assert_fraction::<T>("beta1", beta1);
        assert_fraction::<T>("beta2", beta2);
        Adam { betas: [beta1, beta2], ..self }
    }

    /// With another number added to the square root of v.
    ///
    /// # Panics
    /// If it is not positive and finite.
    #[must_use]
    #[track_caller]
    pub fn eps(self, eps: f64) -> Self {
        assert!(eps != 0.0, "eps 0: expected a positive number");
        assert_not_negative::<T>("eps", eps);
        Adam { eps, ..self }
    }

    /// With weight decay, 0 by default.
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[must_use]
    #[track_caller]
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        assert_not_negative::<T>("weight decay", weight_decay);
        self.groups.own.weight_decay = weight_decay;
        self
    }

    /// With other settings for the parameters whose names `belongs` accepts, as
    /// [`Sgd::group`](super::Sgd::group).
    ///
    /// # Panics
    /// If a setting is negative or not finite.
    #[must_use]
    #[track_caller]
    pub fn group(
        mut self,
        belongs: impl Fn(&str) -> bool + Send + Sync + 'static,
        group: Group,
    ) -> Self {
        self.groups.add(belongs, group);
        self
    }

    /// t, m and v, 0 at first.
    #[track_caller]
    fn prepare(&mut self, params: &Params<T>) -> ParamId {
        let state = &mut self.state;
        let steps = *self
            .steps
            .get_or_insert_with(|| state.add_statistic("adam.step", Tensor::from([T::ZERO])));
        for id in params.ids().filter(|&id| params.is_trained(id)) {
            if let Entry::Vacant(entry) = self.moments.entry(id) {
                let zeros = || Tensor::zeros(params.get(id).shape());
                let name = |kind: &str| format!("adam.{kind}.{}", params.name(id));
                let mean = add_state(state, &name("mean"), zeros());
                entry.insert([mean, add_state(state, &name("square"), zeros())]);
            }
        }
        steps
    }
}

/// The factors of one step, in the precision that they are used in.
struct Factors<T> {
    gradient: T,
    /// Weight decay in the gradient, and beside it.
    decay: [T; 2],
    beta: [T; 2],
    rest: [T; 2],
    /// The learning rate over 1 - beta1^t.
    rate: T,
    /// 1 / (1 - beta2^t)
    square: T,
    eps: T,
}

impl<T: Real> Factors<T> {
    /// The step of one element, as [`Adam`] says.
    #[inline(always)]
    fn step(&self, p: &mut T, m: &mut T, v: &mut T, dp: T) {
        let g = dp * self.gradient + self.decay[0] * *p;
        *m = self.beta[0] * *m + self.rest[0] * g;
        *v = self.beta[1] * *v + self.rest[1] * g * g;
        *p = *p - self.decay[1] * *p - self.rate * *m / ((*v * self.square).sqrt() + self.eps);
    }
}

impl<T: Real> Optimizer<T> for Adam<T> {
    #[track_caller]
    fn step(&mut self, params: &mut Params<T>, grads: &Grads<T>) -> Result<()> {
        let steps = self.prepare(params);
        let g = grads.norm();
        let past = self.memory.bound(&self.state, g);
        grads.check_step(params, |name, largest| {
            let Group { learning_rate, weight_decay } = self.groups.of(name);
            let decayed = g + weight_decay * largest;
            let step = (past + weight_decay * largest) / self.eps + weight_decay * largest;
            // v holds the square of the gradient.
            if T::from_f64(decayed * decayed).is_finite() {
                largest + self.learning_rate * learning_rate * step
            } else {
                f64::INFINITY
            }
        })?;
        self.memory.add(g);
        let t = self.state.get(steps).item().to_f64() + 1.0;
        self.state.write(steps)[0] = T::from_f64(t);
        let [beta1, beta2] = self.betas;
        for (id, gradient) in grads.unscaled() {
            let group = self.groups.of(params.name(id));
            let rate = self.learning_rate * group.learning_rate;
            let (inside, beside) = if self.decoupled {
                (0.0, rate * group.weight_decay)
            } else {
                (group.weight_decay, 0.0)
            };
            let factors = Factors {
                gradient: T::from_f64(grads.factor()),
                decay: [inside, beside].map(T::from_f64),
                beta: [beta1, beta2].map(T::from_f64),
                rest: [1.0 - beta1, 1.0 - beta2].map(T::from_f64),
                rate: T::from_f64(rate / (1.0 - beta1.powf(t))),
                square: T::from_f64(1.0 / (1.0 - beta2.powf(t))),
                eps: T::from_f64(self.eps),
            };
            let [m, v] = self.state.write_each(self.moments[&id]);
            update([params.write(id), m, v], gradient, &mut self.order, |[p, m, v], dp| {
                factors.step(p, m, v, dp);
            });
        }
        grads.move_statistics(params);
        Ok(())
    }

    #[track_caller]
    fn set_learning_rate(&mut self, rate: f64) {
        assert_learning_rate::<T>(rate);
        self.learning_rate = rate;
    }

    #[track_caller]
    fn state(&mut self, params: &Params<T>) -> Option<&mut Params<T>> {
        self.prepare(params);
        self.memory.forget();
        Some(&mut self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;

    /// The formulae for one number, in double precision.
    fn by_hand(mut p: f64, slopes: &[Option<f64>], decay: f64, decoupled: bool) -> f64 {
        let (mut m, mut v) = (0.0, 0.0);
        for (step, slope) in slopes.iter().enumerate() {
            let Some(dp) = slope else { continue };
            let g = dp + if decoupled { 0.0 } else { decay * p };
            m = 0.8 * m + 0.2 * g;
            v = 0.9 * v + 0.1 * g * g;
            let t = (step + 1) as i32;
            let direction =
                m / (1.0 - 0.8_f64.powi(t)) / ((v / (1.0 - 0.9_f64.powi(t))).sqrt() + 1e-3);
            p -= 0.1 * direction + if decoupled { 0.1 * decay * p } else { 0.0 };
        }
        p
    }

    #[test]
    fn steps_follow_the_formulae_and_rows_wait() {
        for decoupled in [false, true] {
            for decay in [0.0, 0.3] {
                let mut params = Params::new();
                let table = params.add("table", Tensor::from([[1.0], [2.0]]));
                let base = Adam::new(0.1).betas(0.8, 0.9).eps(1e-3).weight_decay(decay);
                let mut adam = Adam { decoupled, ..base };
                let mut tape = Tape::new();
                // Row 0 at every step with slopes 1, 2, 3; row 1 at the last one only.
                for (slope, rows) in [(1.0, &[0][..]), (2.0, &[0]), (3.0, &[0, 1])] {
                    let (_, grads, ()) = tape
                        .value_and_grad(&params, |p| (p[table].gather_rows(rows).sum() * slope, ()))
                        .unwrap();
                    adam.step(&mut params, &grads).unwrap();
                }
                let expected = [
                    by_hand(1.0, &[Some(1.0), Some(2.0), Some(3.0)], decay, decoupled),
                    by_hand(2.0, &[None, None, Some(3.0)], decay, decoupled),
                ];
                for (found, expected) in params.get(table).data().iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-14, "{found} {expected}");
                }
            }
        }
    }

    #[cfg(feature = "io")]
    #[test]
    fn saved_and_loaded_state_goes_on_to_the_same_bits() {
        let folder = tempfile::tempdir().unwrap();
        let step = |params: &mut Params<f32>, adam: &mut Adam<f32>| {
            let x = params.find("x").unwrap();
            let (_, grads, ()) =
                Tape::new().value_and_grad(params, |p| ((p[x] * p[x]).sum(), ())).unwrap();
            adam.step(params, &grads).unwrap();
        };
        let start = || {
            let mut params = Params::new();
            params.add("x", Tensor::from([1.0_f32, -2.0]));
            (params, Adam::new(0.1))
        };
        let (mut straight, mut adam) = start();
        (0..5).for_each(|_| step(&mut straight, &mut adam));

        let (mut first, mut adam) = start();
        (0..2).for_each(|_| step(&mut first, &mut adam));
        first.save(folder.path().join("params")).unwrap();
        adam.state(&first).unwrap().save(folder.path().join("adam")).unwrap();

        let (mut second, mut adam) = start();
        second.load(folder.path().join("params")).unwrap();
        adam.state(&second).unwrap().load(folder.path().join("adam")).unwrap();
        (0..3).for_each(|_| step(&mut second, &mut adam));
        let x = |params: &Params<f32>| params.get(params.find("x").unwrap()).clone();
        assert_eq!(x(&second), x(&straight));
    }
}
