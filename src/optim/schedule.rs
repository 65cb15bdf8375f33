//! Learning-rate schedules.

/// A learning rate that stays for some epochs and then falls by a factor each epoch
/// (Zaremba et al. 2014).
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
    /// The learning rate of an epoch, counted from 0.
    pub fn learning_rate(&self, epoch: usize) -> f64 {
        self.learning_rate * self.decay.powi((epoch + 1).saturating_sub(self.constant) as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_falls_after_the_constant_epochs() {
        let schedule = Schedule { learning_rate: 1.0, constant: 4, decay: 0.5 };
        let rates: Vec<f64> = (0..6).map(|epoch| schedule.learning_rate(epoch)).collect();
        assert_eq!(rates, [1.0, 1.0, 1.0, 1.0, 0.5, 0.25]);
    }
}
