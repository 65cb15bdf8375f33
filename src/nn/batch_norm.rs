//! Batch normalisation with scale and offset.

use crate::ops::BatchStatistics;
use crate::params::{ParamId, Scope};
use crate::real::Real;
use crate::tape::{Bound, Var};
use crate::tensor::Tensor;

/// Added to the variance.
const EPS: f64 = 1e-3;

/// How far a step moves the running statistics towards those of its batch.
const RATE: f64 = 0.01;

/// y\[i, j\] = scale\[j\] (x\[i, j\] - mean\[j\]) / sqrt(var\[j\] + 0.001) + offset\[j\], x m x width (Ioffe &
/// Szegedy 2015).
///
/// In training with the mean and the biased variance of the batch, through which the gradient flows;
/// else with running averages, which every step moves by a hundredth towards the batch's.
///
/// ```
/// use dpq::nn::BatchNorm;
/// use dpq::{Params, Tape, Tensor};
/// let mut params = Params::<f64>::new();
/// let norm = BatchNorm::new(params.scope("norm"), 1);
/// let tape = Tape::new();
/// let p = tape.train(&params);
/// let y = norm.forward(&p, tape.constant(Tensor::from([[3.0], [5.0]])));
/// assert!((y.value().data()[1] - 1.0 / 1.001_f64.sqrt()).abs() < 1e-12);
/// ```
#[derive(Clone, Debug)]
pub struct BatchNorm {
    scale: ParamId,
    offset: ParamId,
    mean: ParamId,
    var: ParamId,
}

impl BatchNorm {
    /// Adds `scale`, 1, and `offset`, 0, and the statistics `mean`, 0, and `var`, 1.
    ///
    /// # Panics
    /// If the width is 0, or the scope has parameters of these names already.
    #[track_caller]
    pub fn new<T: Real>(mut scope: Scope<'_, T>, width: usize) -> Self {
        assert!(width > 0, "batch norm: width 0");
        let [zeros, ones] = [T::ZERO, T::ONE].map(|x| move || Tensor::full([width], x));
        BatchNorm {
            scale: scope.add("scale", ones()),
            offset: scope.add("offset", zeros()),
            mean: scope.add_statistic("mean", zeros()),
            var: scope.add_statistic("var", ones()),
        }
    }

    /// y of x
    ///
    /// # Panics
    /// If x has no rows in training, or its last axis is not the width.
    #[track_caller]
    pub fn forward<'t, T: Real>(&self, p: &Bound<'t, T>, x: Var<'t, T>) -> Var<'t, T> {
        let normalized = if p.training {
            let (y, BatchStatistics { mean, var, .. }) = x.batch_norm(EPS);
            let rate = T::from_f64(RATE);
            p.tape.move_statistic(self.mean, mean, rate);
            p.tape.move_statistic(self.var, var, rate);
            y
        } else {
            let [mean, var] = [self.mean, self.var].map(|id| p[id].value());
            x.normalize(&BatchStatistics { mean, var, eps: EPS })
        };
        normalized * p[self.scale] + p[self.offset]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Params, Tape};

    #[test]
    fn running_statistics_move_by_a_hundredth_and_are_used_in_evaluation() {
        let mut params = Params::<f64>::new();
        let norm = BatchNorm::new(params.scope("n"), 2);
        let x = Tensor::from([[1.0, 2.0], [3.0, 8.0]]);
        let mut tape = Tape::new();
        let (_, grads, ()) = tape
            .value_and_grad(&params, |p| (norm.forward(p, p.tape.constant(x.clone())).sum(), ()))
            .unwrap();
        grads.move_statistics(&mut params);
        let statistic = |name: &str| params.get(params.find(name).unwrap()).clone();
        assert_eq!(statistic("n.mean").data(), [0.02, 0.05]);
        assert_eq!(statistic("n.var").data(), [1.0, 0.99 + 0.01 * 9.0]);
        let y =
            tape.value(&params, |p| norm.forward(p, p.tape.constant(x.clone())).value()).unwrap();
        assert_eq!(y.data()[0], (1.0 - 0.02) * (1.0 / (1.0_f64 + EPS).sqrt()));
    }
}
