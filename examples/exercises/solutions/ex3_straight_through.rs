//! Solution of exercise 3: a straight-through estimator.

use dpq::Var;

pub fn w<'t>(onehot: Var<'t, f64>, p: Var<'t, f64>) -> Var<'t, f64> {
    p + (onehot - p).stop_gradient()
}
