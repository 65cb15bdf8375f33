//! Stochastic gradient descent.

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

/// Stochastic gradient descent, with momentum and weight decay if wanted:
///
/// ```text
/// g <- dp + weight_decay p
/// v <- momentum v + g
/// p <- p - learning_rate v
/// ```
///
/// Of a row-sparse gradient only the rows take part: the momentum and the decay of the other rows
/// wait until they are looked up again.
///
/// ```
/// use dpq::optim::{Optimizer, Sgd};
/// use dpq::{Params, Tape, Tensor};
/// let mut params = Params::new();
/// let x = params.add("x", Tensor::scalar(1.0_f64));
/// let (mut tape, mut sgd) = (Tape::new(), Sgd::new(0.1).momentum(0.5));
/// for _ in 0..100 {
///     let (_, grads, ()) = tape.value_and_grad(&params, |p| ((p[x] - 3.0) * (p[x] - 3.0), ()))?;
///     sgd.step(&mut params, &grads)?;
/// }
/// assert!((params.get(x).item() - 3.0).abs() < 1e-6);
/// # Ok::<(), dpq::Error>(())
/// ```
pub struct Sgd<T: Real> {
    learning_rate: f64,
    momentum: f64,
    groups: Groups<T>,
    /// v, where there is momentum: `momentum.NAME`.
    state: Params<T>,
    velocities: HashMap<ParamId, ParamId>,
    memory: Memory,
    /// Room for [`update`].
    order: Vec<u32>,
}

impl<T: Real> Sgd<T> {
    /// Plain descent.
    ///
    /// # Panics
    /// If the learning rate is negative or not finite.
    #[track_caller]
    pub fn new(learning_rate: f64) -> Self {
        assert_not_negative::<T>("learning rate", learning_rate);
        Sgd {
            learning_rate,
            momentum: 0.0,
            groups: Groups::new(),
            state: Params::new(),
            velocities: HashMap::new(),
            memory: Memory::new(),
            order: Vec::new(),
        }
    }

    /// With momentum, 0 by default; 0.9 is usual.
    ///
    /// # Panics
    /// If it is not in \[0, 1).
    #[must_use]
    #[track_caller]
    pub fn momentum(self, momentum: f64) -> Self {
        assert_fraction::<T>("momentum", momentum);
        Sgd { momentum, ..self }
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

    /// With other settings for the parameters whose names `belongs` accepts, such as no decay of
    /// biases: `group(|name| name.ends_with(".bias"), Group::default())`. Of several groups that
    /// accept a name the last one counts.
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

    /// v of every trained parameter, 0 at first.
    #[track_caller]
    fn prepare(&mut self, params: &Params<T>) {
        if self.momentum == 0.0 {
            return;
        }
        for id in params.ids().filter(|&id| params.is_trained(id)) {
            if let Entry::Vacant(entry) = self.velocities.entry(id) {
                let name = format!("momentum.{}", params.name(id));
                let zeros = Tensor::zeros(params.get(id).shape());
                entry.insert(add_state(&mut self.state, &name, zeros));
            }
        }
    }
}

impl<T: Real> Optimizer<T> for Sgd<T> {
    #[track_caller]
    fn step(&mut self, params: &mut Params<T>, grads: &Grads<T>) -> Result<()> {
        self.prepare(params);
        // v is at most the sum of all gradients so far, each momentum times as large as the next.
        let norm = grads.norm() / (1.0 - self.momentum);
        let g = if self.momentum > 0.0 { self.memory.bound(&self.state, norm) } else { norm };
        grads.check_step(params, |name, largest| {
            let Group { learning_rate, weight_decay } = self.groups.of(name);
            let v = g + weight_decay * largest / (1.0 - self.momentum);
            largest + v.max(self.learning_rate * learning_rate * v)
        })?;
        self.memory.add(norm);
        for (id, gradient) in grads.unscaled() {
            let Group { learning_rate, weight_decay } = self.groups.of(params.name(id));
            let rate = self.learning_rate * learning_rate;
            let (p, order) = (params.write(id), &mut self.order);
            if self.momentum == 0.0 && weight_decay == 0.0 {
                let rate = T::from_f64(rate * grads.factor());
                update([p], gradient, order, |[p], dp| *p -= rate * dp);
                continue;
            }
            let [rate, momentum, decay, factor] =
                [rate, self.momentum, weight_decay, grads.factor()].map(T::from_f64);
            let g = |p: T, dp: T| dp * factor + decay * p;
            match self.velocities.get(&id) {
                None => update([p], gradient, order, |[p], dp| *p -= rate * g(*p, dp)),
                Some(&v) => update([p, self.state.write(v)], gradient, order, |[p, v], dp| {
                    *v = momentum * *v + g(*p, dp);
                    *p -= rate * *v;
                }),
            }
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
        (self.momentum > 0.0).then_some(&mut self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;

    /// A step for each set of rows; the loss pulls the rows' elements down with slope 1.
    fn trained(mut sgd: Sgd<f64>, steps: &[&[u32]]) -> Vec<f64> {
        let mut params = Params::new();
        let table = params.add("table", Tensor::full([3, 1], 1.0));
        let mut tape = Tape::new();
        for rows in steps {
            let (_, grads, ()) =
                tape.value_and_grad(&params, |p| (p[table].gather_rows(*rows).sum(), ())).unwrap();
            sgd.step(&mut params, &grads).unwrap();
        }
        params.get(table).data().to_vec()
    }

    #[test]
    fn plain_descent_momentum_and_decay_follow_the_formulae() {
        let steps: [&[u32]; 2] = [&[0, 1, 2], &[0, 0]];
        assert_eq!(trained(Sgd::new(0.5), &steps), [-0.5, 0.5, 0.5]);
        // v: 1, then 0.5 + 2.
        assert_eq!(trained(Sgd::new(0.5).momentum(0.5), &steps), [-0.75, 0.5, 0.5]);
        // g: 1 + 0.5, so 1 - 0.75; then 2 + 0.125, so 0.25 - 1.0625.
        assert_eq!(trained(Sgd::new(0.5).weight_decay(0.5), &steps), [-0.8125, 0.25, 0.25]);
        // v: 1.5, so 0.25; then 0.75 + 2.125, so 0.25 - 1.4375.
        let both = Sgd::new(0.5).momentum(0.5).weight_decay(0.5);
        assert_eq!(trained(both, &steps), [-1.1875, 0.25, 0.25]);
    }

    #[test]
    fn groups_have_settings_of_their_own() {
        let stays = Group { learning_rate: 0.0, ..Group::default() };
        let sgd = || Sgd::new(0.5).weight_decay(0.5);
        assert_eq!(trained(sgd().group(|name| name == "table", stays), &[&[0]]), [1.0; 3]);
        let twice = Group { learning_rate: 2.0, ..Group::default() };
        assert_eq!(trained(sgd().group(|name| name == "table", twice), &[&[0]]), [0.0, 1.0, 1.0]);
        let other = sgd().group(|name| name == "other", twice);
        assert_eq!(trained(other, &[&[0]]), [0.25, 1.0, 1.0]);
    }

    #[test]
    fn a_clipped_gradient_is_what_every_variant_steps_by() {
        for sgd in [Sgd::new(1.0), Sgd::new(1.0).momentum(0.5)] {
            let (mut params, mut sgd) = (Params::new(), sgd);
            let x = params.add("x", Tensor::from([0.0_f64, 0.0]));
            let slope = Tensor::from([3.0, 4.0]);
            let (_, mut grads, ()) = Tape::new()
                .value_and_grad(&params, |p| ((p[x] * p.tape.constant(slope)).sum(), ()))
                .unwrap();
            assert_eq!(grads.clip_global_norm(1.0), 5.0);
            sgd.step(&mut params, &grads).unwrap();
            let found = params.get(x).data();
            assert!((found[0] + 0.6).abs() < 1e-15 && (found[1] + 0.8).abs() < 1e-15, "{found:?}");
        }
    }

    #[test]
    #[should_panic(expected = "learning rate NaN: expected 0, or a positive number")]
    fn a_learning_rate_that_is_no_number_panics() {
        Sgd::<f32>::new(f64::NAN);
    }
}
