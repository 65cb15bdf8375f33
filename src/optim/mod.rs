//! Optimisers and learning-rate schedules.

use crate::kernels::elementwise::update;
use crate::params::Params;
use crate::real::Real;
use crate::tape::{Gradient, Grads};

/// Stochastic gradient descent: p <- p - rate dp.
///
/// Of a row-sparse gradient only the rows are touched, so a step's cost does not depend on the
/// size of the table. The step also moves the statistics that the pass asked to move.
///
/// ```
/// use dpq::{Params, Tape, Tensor, optim::Sgd};
/// let mut params = Params::new();
/// let x = params.add("x", Tensor::scalar(1.0_f64));
/// let (mut tape, sgd) = (Tape::new(), Sgd { rate: 0.1 });
/// for _ in 0..100 {
///     let p = tape.train(&params);
///     let loss = (p[x] - 3.0) * (p[x] - 3.0);
///     let grads = tape.backward_and_free(loss)?;
///     tape.reset();
///     sgd.step(&mut params, &grads);
/// }
/// assert!((params.get(x).item() - 3.0).abs() < 1e-6);
/// # Ok::<(), dpq::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    /// The learning rate.
    pub rate: f64,
}

impl Sgd {
    /// One step.
    ///
    /// # Panics
    /// If the tape that the gradients come from was not reset.
    #[track_caller]
    pub fn step<T: Real>(&self, params: &mut Params<T>, grads: &Grads<T>) {
        let rate = T::from_f64(self.rate * grads.factor());
        for (id, gradient) in grads.params() {
            match gradient {
                Gradient::Dense(dp) => update(params.write(id), dp.data(), |p, dp| p - rate * dp),
                Gradient::Rows(rows) => {
                    let width = rows.rows.shape()[1];
                    let table = params.write(id);
                    for (row, dp) in rows.iter() {
                        update(&mut table[row * width..(row + 1) * width], dp, |p, dp| {
                            p - rate * dp
                        });
                    }
                }
            }
        }
        move_statistics(params, grads);
    }
}

/// s <- s + rate (toward - s) for every statistic that the pass asked to move, in order.
#[track_caller]
fn move_statistics<T: Real>(params: &mut Params<T>, grads: &Grads<T>) {
    for moved in grads.moves() {
        let rate = moved.rate;
        update(params.write(moved.id), moved.toward.data(), |s, toward| s + rate * (toward - s));
    }
}

/// A learning rate that stays for some epochs and then falls by a factor each epoch
/// (Zaremba et al. 2014).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The rate of the first epochs.
    pub rate: f64,
    /// How many epochs keep it.
    pub constant: usize,
    /// What it is multiplied by in each epoch after them.
    pub decay: f64,
}

impl Schedule {
    /// The rate of an epoch, counted from 0.
    pub fn rate(&self, epoch: usize) -> f64 {
        self.rate * self.decay.powi((epoch + 1).saturating_sub(self.constant) as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tape, Tensor};

    #[test]
    fn only_the_looked_up_rows_move_and_statistics_move_along() {
        let mut params = Params::new();
        let table = params.add("table", Tensor::full([4, 2], 1.0_f32));
        let mean = params.add_statistic("mean", Tensor::from([0.0_f32]));
        let mut tape = Tape::new();
        let p = tape.train(&params);
        tape.move_statistic(mean, Tensor::from([2.0]), 0.25);
        let loss = p[table].gather_rows(&[2, 2, 1]).sum();
        let grads = tape.backward_and_free(loss).unwrap();
        tape.reset();
        Sgd { rate: 0.5 }.step(&mut params, &grads);
        assert_eq!(params.get(table).data(), [1.0, 1.0, 0.5, 0.5, 0.0, 0.0, 1.0, 1.0]);
        assert_eq!(params.get(mean).data(), [0.5]);
    }

    #[test]
    fn clipping_scales_the_step_to_the_limit() {
        let mut params = Params::new();
        let x = params.add("x", Tensor::from([0.0_f64, 0.0]));
        let mut tape = Tape::new();
        let p = tape.train(&params);
        let loss = (p[x] * tape.constant(Tensor::from([3.0, 4.0]))).sum();
        let mut grads = tape.backward_and_free(loss).unwrap();
        tape.reset();
        assert_eq!(grads.clip_global_norm(1.0), 5.0);
        Sgd { rate: 1.0 }.step(&mut params, &grads);
        assert!(
            (params.get(x).data()[0] + 0.6).abs() < 1e-15
                && (params.get(x).data()[1] + 0.8).abs() < 1e-15
        );
    }

    #[test]
    fn the_rate_falls_after_the_constant_epochs() {
        let schedule = Schedule { rate: 1.0, constant: 4, decay: 0.5 };
        let rates: Vec<f64> = (0..6).map(|epoch| schedule.rate(epoch)).collect();
        assert_eq!(rates, [1.0, 1.0, 1.0, 1.0, 0.5, 0.25]);
    }
}
