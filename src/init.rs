//! Start values of parameters.

use crate::real::{Real, assert_held};
use crate::rng::ChaCha8Rng;
use crate::tensor::{Shape, Tensor};

/// How a parameter's elements are drawn before training.
///
/// A tensor is seen as matrices of its last two axes, n_in x n_out: a weight as it enters a product
/// on the right, or G codebooks of K codewords of width s. Fans count all matrices: fan_in = G n_in
/// and fan_out = G n_out. A vector of n elements has fan_in = fan_out = n.
///
/// ```
/// use dpq::{Init, rng};
/// let weight = Init::Glorot.draw::<f32>([300, 300], &mut rng::stream(0, "weight", 0));
/// assert!(weight.data().iter().all(|w| w.abs() <= 0.1)); // sqrt(6 / 600)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform in +-bound.
    Uniform(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010).
    Glorot,
    /// Normal with mean 0 and variance 2 / fan_in (He et al. 2015), for layers before a ReLU.
    He,
    /// All 0.
    Zeros,
}

impl Init {
    /// A tensor of start values.
    ///
    /// # Panics
    /// If a bound or a standard deviation is negative or not finite, or the precision makes it 0.
    #[track_caller]
    pub fn draw<T: Real>(self, shape: impl Into<Shape>, rng: &mut ChaCha8Rng) -> Tensor<T> {
        self.assert_valid::<T>();
        let shape = shape.into();
        let [fan_in, fan_out] = fans(&shape);
        match self {
            Init::Uniform(bound) => Tensor::uniform(shape, bound, rng),
            Init::Normal(deviation) => Tensor::normal(shape, deviation, rng),
            Init::Glorot => Tensor::uniform(shape, (6.0 / (fan_in + fan_out)).sqrt(), rng),
            Init::He => Tensor::normal(shape, (2.0 / fan_in).sqrt(), rng),
            Init::Zeros => Tensor::zeros(shape),
        }
    }

    /// The standard deviation of the elements of a tensor of this shape.
    pub(crate) fn deviation(self, shape: &[usize]) -> f64 {
        let [fan_in, fan_out] = fans(shape);
        match self {
            Init::Uniform(bound) => bound / 3_f64.sqrt(),
            Init::Normal(deviation) => deviation,
            Init::Glorot => (2.0 / (fan_in + fan_out)).sqrt(),
            Init::He => (2.0 / fan_in).sqrt(),
            Init::Zeros => 0.0,
        }
    }

    /// Panics at the caller's line if a bound or a standard deviation is negative or not finite, or
    /// the precision makes it 0.
    #[track_caller]
    pub(crate) fn assert_valid<T: Real>(self) {
        if let Init::Uniform(size) | Init::Normal(size) = self {
            assert_held::<T>(&format!("{self:?}"), size);
        }
    }
}

/// fan_in and fan_out of a shape.
fn fans(shape: &[usize]) -> [f64; 2] {
    match *shape {
        [] => [1.0; 2],
        [n] => [n as f64; 2],
        [ref matrices @ .., n_in, n_out] => {
            let matrices = matrices.iter().product::<usize>();
            [n_in, n_out].map(|n| (matrices * n) as f64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;

    fn draw(init: Init, shape: &[usize]) -> Tensor<f64> {
        init.draw(shape, &mut stream(0, "test", 0))
    }

    fn deviation(x: &Tensor<f64>) -> f64 {
        (x.data().iter().map(|x| x * x).sum::<f64>() / x.data().len() as f64).sqrt()
    }

    #[test]
    fn spreads_follow_the_formulae() {
        // A uniform in +-b has the standard deviation b / sqrt(3).
        let cases = [
            (Init::Uniform(0.3), 0.3 / 3_f64.sqrt()),
            (Init::Normal(0.3), 0.3),
            (Init::Glorot, (2.0 / (4.0 * (32.0 + 25.0))).sqrt()),
            (Init::He, (2.0 / (4.0 * 32.0)).sqrt()),
            (Init::Zeros, 0.0),
        ];
        for (init, expected) in cases {
            // 3,200 elements: the relative error of a deviation is about 1 / sqrt(2 n) = 1.3%.
            let found = deviation(&draw(init, &[4, 32, 25]));
            assert!((found - expected).abs() <= 0.05 * expected, "{init:?}: {found}, {expected}");
            assert!((init.deviation(&[4, 32, 25]) - expected).abs() <= 1e-15, "{init:?}");
        }
    }

    #[test]
    fn glorot_stays_within_its_bound() {
        let bound = (6.0_f64 / 30.0).sqrt();
        let largest =
            draw(Init::Glorot, &[10, 20]).data().iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        assert!(largest <= bound && largest > 0.9 * bound, "{largest} of {bound}");
    }

    #[test]
    #[should_panic(
        expected = "Uniform(NaN): expected 0, or a positive number that the precision holds"
    )]
    fn a_bound_that_is_no_number_panics() {
        draw(Init::Uniform(f64::NAN), &[2]);
    }
}
