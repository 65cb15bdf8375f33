//! Learning-rate schedules.

use crate::error::{Error, Result};

/// A learning rate that stays for some epochs and then falls by a factor each epoch
/// (Zaremba et al. 2014).
///
/// ```
/// use dpq::optim::Schedule;
/// let schedule = Schedule::new(1.0, 4, 0.5);
/// assert_eq!([3, 4, 5].map(|epoch| schedule.learning_rate(epoch)), [1.0, 0.5, 0.25]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The learning rate of the first epochs.
    pub learning_rate: f64,
    /// How many epochs keep it.
    pub constant: usize,
    /// What it is multiplied by in each epoch after them.
    pub decay: f64,
}

impl Schedule {
    /// The learning rate of the first `constant` epochs, and what it is multiplied by in each epoch
    /// after them.
    ///
    /// # Panics
    /// If the learning rate is not positive, or the decay not in (0, 1\].
    #[track_caller]
    pub fn new(learning_rate: f64, constant: usize, decay: f64) -> Schedule {
        let schedule = Schedule { learning_rate, constant, decay };
        if let Err(error) = schedule.check() {
            panic!("schedule: {error}");
        }
        schedule
    }

    /// Whether it can be followed.
    ///
    /// # Errors
    /// The learning rate is not positive, or the decay not in (0, 1\].
    pub fn check(&self) -> Result<()> {
        let refuse = |name, value: f64, expected: &str| {
            Err(Error::Config { name, value: value.to_string(), expected: expected.into() })
        };
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return refuse("learning rate", self.learning_rate, "a positive number");
        }
        if !(self.decay > 0.0 && self.decay <= 1.0) {
            return refuse("decay", self.decay, "a number above 0 and at most 1");
        }
        Ok(())
    }

    /// The learning rate of an epoch, counted from 0.
    pub fn learning_rate(&self, epoch: usize) -> f64 {
        let epochs = epoch.saturating_add(1).saturating_sub(self.constant);
        self.learning_rate * self.decay.powi(i32::try_from(epochs).unwrap_or(i32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_falls_after_the_constant_epochs() {
        let schedule = Schedule::new(1.0, 4, 0.5);
        let rates: Vec<f64> = (0..6).map(|epoch| schedule.learning_rate(epoch)).collect();
        assert_eq!(rates, [1.0, 1.0, 1.0, 1.0, 0.5, 0.25]);
        assert_eq!(schedule.learning_rate(usize::MAX), 0.0);
    }

    #[test]
    #[should_panic(expected = "schedule: decay = NaN: expected a number above 0 and at most 1")]
    fn a_decay_that_is_no_number_panics() {
        Schedule::new(1.0, 4, f64::NAN);
    }
}
