//! A distribution over `0..n`.

use rand::{Rng, RngExt};

/// Chances of `0..n`, and a table to draw from them.
#[derive(Clone, Debug)]
pub(super) struct Discrete {
    probabilities: Vec<f64>,
    cumulative: Vec<f64>,
}

impl Discrete {
    /// The distribution proportional to `weights`: at least one, none negative, not all zero.
    pub(super) fn new(weights: &[f64]) -> Discrete {
        let total: f64 = weights.iter().sum();
        let probabilities: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
        let cumulative = probabilities.iter().scan(0.0, accumulate).collect();
        Discrete { probabilities, cumulative }
    }

    /// The probability of each outcome.
    pub(super) fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// The entropy in nats.
    pub(super) fn entropy(&self) -> f64 {
        self.probabilities.iter().filter(|&&p| p > 0.0).map(|p| -p * p.ln()).sum()
    }

    /// The mean of `value` over the outcomes.
    pub(super) fn mean(&self, value: impl Fn(usize) -> f64) -> f64 {
        self.probabilities.iter().enumerate().map(|(i, p)| p * value(i)).sum()
    }

    /// One outcome, from one uniform number.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> usize {
        let at: f64 = rng.random();
        // Rounding may leave the last sum a hair below one.
        self.cumulative.partition_point(|&sum| sum <= at).min(self.cumulative.len() - 1)
    }
}

/// A step of a running sum, for `scan`.
fn accumulate(sum: &mut f64, term: &f64) -> Option<f64> {
    *sum += term;
    Some(*sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;

    #[test]
    fn weights_become_probabilities() {
        let discrete = Discrete::new(&[1.0, 0.0, 3.0]);
        assert_eq!(discrete.probabilities(), [0.25, 0.0, 0.75]);
        assert_eq!(discrete.mean(|i| i as f64), 1.5);
    }

    #[test]
    fn entropy_of_equal_probabilities_is_the_logarithm_of_their_number() {
        assert!((Discrete::new(&[2.0; 8]).entropy() - 8_f64.ln()).abs() < 1e-12);
        assert_eq!(Discrete::new(&[0.0, 1.0]).entropy(), 0.0);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let discrete = Discrete::new(&[1.0, 0.0, 3.0]);
        let mut rng = stream(0, "test", 0);
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            counts[discrete.draw(&mut rng)] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((2300..2700).contains(&counts[0]), "{counts:?}");
    }
}
