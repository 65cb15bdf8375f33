//! Dropout.

use crate::kernels::elementwise::zip;
use crate::real::Real;
use crate::tape::{Context, Op, Var};
use crate::tensor::Tensor;
use rand::Rng;

impl<'t, T: Real> Var<'t, T> {
    /// y = x mask / (1 - probability), where every element of the mask is 0 with this probability,
    /// else 1. With probability 0, y is x.
    ///
    /// The mask is a function of the tape's [noise](crate::Tape::set_noise) and of `purpose`: another
    /// one for every purpose, and after every reset.
    ///
    /// # Panics
    /// If the probability is not in \[0, 1).
    #[track_caller]
    pub fn dropout(self, probability: f64, purpose: &str) -> Var<'t, T> {
        assert!(
            (0.0..1.0).contains(&probability),
            "dropout: probability {probability} is not in [0, 1)"
        );
        if probability == 0.0 {
            return self;
        }
        let keep = 1.0 - probability;
        assert!(
            keep >= 2_f64.powi(-32),
            "dropout: probability {probability:?}: nothing would ever be kept"
        );
        let (tape, x) = (self.tape(), self.value());
        let mask = tape.freeze("dropout", &x.shape(), || {
            let mut rng = tape.noise(purpose);
            let start = rng.get_word_pos();
            let (limit, kept) = ((keep * 2_f64.powi(32)) as u64, T::from_f64(1.0 / keep));
            let mut mask = tape.uninit(x.shape());
            let mut bytes = [0; 1024];
            let (rows, columns) = x.shape().as_matrix();
            // A draw for every element, counted in the whole batch.
            for (own, first) in tape.ranks().runs(rows) {
                rng.set_word_pos(start + (first * columns) as u128);
                let mask = &mut mask.data_mut()[own.start * columns..own.end * columns];
                for mask in mask.chunks_mut(bytes.len() / 4) {
                    let bytes = &mut bytes[..4 * mask.len()];
                    rng.fill_bytes(bytes);
                    for (m, &draw) in mask.iter_mut().zip(bytes.as_chunks().0) {
                        let draw = u64::from(u32::from_le_bytes(draw));
                        *m = if draw < limit { kept } else { T::ZERO };
                    }
                }
            }
            mask
        });
        let mut y = tape.uninit(x.shape());
        zip(x.data(), mask.data(), y.data_mut(), |x, m| x * m);
        let [y] = tape.record(Dropout { mask }, &[self], [y]);
        y
    }
}

struct Dropout<T: Real> {
    mask: Tensor<T>,
}
impl<T: Real> Op<T> for Dropout<T> {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy mask / (1 - probability)
        let Some(dy) = ctx.output_grad(0) else { return };
        let mut dx = ctx.uninit(dy.shape());
        zip(dy.data(), self.mask.data(), dx.data_mut(), |dy, m| dy * m);
        ctx.add(0, dx);
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, tensors};

    vec![Case::new("dropout", (tensors(2), 0.0..0.9), |(x, probability)| {
        gradcheck([x], |[x]| x.dropout(probability, "a") * x.dropout(probability, "b"))
    })]
}

#[cfg(test)]
mod tests {
    use crate::{Tape, Tensor};

    #[test]
    fn keeps_the_mean_and_repeats_for_the_same_step() {
        let mut tape = Tape::new();
        let mut mask = |step| {
            tape.set_noise(1, step);
            tape.leaf(Tensor::full([10_000], 1.0_f32)).dropout(0.3, "input").value()
        };
        let (first, again, other) = (mask(0), mask(0), mask(1));
        assert_eq!(first, again);
        assert_ne!(first, other);
        let mean = first.data().iter().sum::<f32>() / 1e4;
        // The standard deviation of the mean is sqrt(0.3 / 0.7) / 100 = 0.0065.
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        assert!(first.data().iter().all(|&m| m == 0.0 || m == 1.0 / 0.7));
    }

    #[test]
    fn a_loop_that_says_nothing_gets_another_mask_at_every_step() {
        let mut tape = Tape::new();
        let mut mask = || {
            let mask = tape.leaf(Tensor::full([100], 1.0_f32)).dropout(0.5, "input").value();
            tape.reset();
            mask
        };
        let masks = [mask(), mask(), mask()];
        assert!(masks[0] != masks[1] && masks[1] != masks[2] && masks[0] != masks[2]);
    }
}
