//! What a check can be told.

/// A check with other settings than [`gradcheck`](crate::gradcheck())'s.
///
/// ```
/// use dpq::{Tensor, Gradcheck};
/// let check = Gradcheck { tolerance: 1e-9, ..Gradcheck::default() };
/// check.run([Tensor::from([1.0, 2.0])], |[x]| x * x).assert_ok();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Gradcheck {
    /// The largest error allowed, below 0.5. 1e-7 by default.
    pub tolerance: f64,
    /// Seed of the random projections and cotangents. 0 by default.
    pub seed: u64,
    /// The first step of the differences, relative to the largest element of the input. 2e-4 by
    /// default.
    pub step: f64,
    /// The relative error of one rounding in the code that is checked: that of `f64` by default.
    pub rounding: f64,
    /// Whether the check is checked too: a rule that passes is damaged in three ways, and each must
    /// be found. Off by default.
    pub control: bool,
}

impl Default for Gradcheck {
    fn default() -> Self {
        let rounding = f64::EPSILON;
        Gradcheck { tolerance: 1e-7, seed: 0, step: 2e-4, rounding, control: false }
    }
}

impl Gradcheck {
    /// For code that computes in single precision inside: to 1e-3, with a first step of 2e-2.
    pub fn single_precision() -> Self {
        let rounding = f64::from(f32::EPSILON);
        Gradcheck { tolerance: 1e-3, step: 2e-2, rounding, ..Self::default() }
    }

    #[track_caller]
    pub(super) fn validate(&self) {
        let Gradcheck { tolerance, step, rounding, .. } = *self;
        for (name, value) in [("tolerance", tolerance), ("step", step), ("rounding", rounding)] {
            assert!(
                value > 0.0 && value.is_normal(),
                "gradcheck: {name} {value}: expected a positive number"
            );
        }
        assert!(
            tolerance < 0.5,
            "gradcheck: tolerance {tolerance}: expected less than 0.5, \
             at which a doubled gradient passes"
        );
    }
}
