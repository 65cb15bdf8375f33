//! Loops over slices and register tiles, compiled once per instruction set.
//!
//! Every kernel is safe Rust, generic over [`Real`](crate::real::Real) and over the instruction
//! set, and is dispatched once per call to the widest one that the machine has. Sums run in a
//! fixed number of lanes, so their bits do not depend on which one that is.

#![expect(clippy::needless_range_loop, reason = "register tiles are indexed by row and vector")]

pub(crate) mod dispatch;
pub(crate) mod vector;
pub(crate) mod elementwise;
pub(crate) mod exponential;
pub(crate) mod normal;
pub(crate) mod reduce;
pub(crate) mod softmax;
pub(crate) mod transpose;
pub(crate) mod panel;
pub(crate) mod codewords;
pub(crate) mod lstm;

#[cfg(test)]
mod tests {
    use super::dispatch::levels::assert_agree;
    use super::exponential::Function;
    use super::*;
    use crate::real::Real;

    /// Numbers of all sizes up to 2, as many as fill vectors and leave a rest.
    fn wave<T: Real>(n: usize, k: f64) -> Vec<T> {
        (0..n).map(|i| T::from_f64(2.0 * ((i as f64 + 1.0) * k).sin())).collect()
    }

    fn to_f64<T: Real>(parts: &[&[T]]) -> Vec<f64> {
        parts.concat().iter().map(|x| x.to_f64()).collect()
    }

    /// Kernels that only move elements, or compute each by itself with roundings that are the same
    /// everywhere, agree to the bit; sums and fused multiplications to some units in the last place.
    fn every_kernel<T: Real>(rounding: f64) {
        let (x, y) = (wave::<T>(1003, 0.7), wave::<T>(1003, 1.3));
        assert_agree("zip", 0.0, || {
            let mut out = vec![T::ZERO; x.len()];
            elementwise::zip(&x, &y, &mut out, |a, b| a * b - a);
            to_f64(&[&out])
        });
        for f in [Function::Exp, Function::Tanh, Function::Sigmoid] {
            assert_agree("exponential", rounding, || {
                let mut out = vec![T::ZERO; x.len()];
                exponential::apply(f, &x, &mut out);
                to_f64(&[&out])
            });
        }
        assert_agree("sum", 0.0, || vec![reduce::sum(&x).to_f64()]);
        // Chains of at most 31 additions of positive terms, each rounded once or twice.
        assert_agree("dot", 8.0 * rounding, || vec![reduce::dot(&x, &x)]);
        assert_agree("softmax", rounding, || {
            let mut row = x.clone();
            let (max, total) = softmax::exp_shifted(&mut row, Some(&y));
            to_f64(&[&row, &[max, total]])
        });
        assert_agree("transpose", 0.0, || {
            let mut out = vec![T::ZERO; 17 * 59];
            transpose::transpose_into(&x, 59, (17, 59), &mut out);
            to_f64(&[&out])
        });
        for width in [1, 4, 5, 8] {
            assert_agree("codewords", 0.0, || {
                let mut out = vec![T::ZERO; 3 * 2 * width];
                codewords::decode(&x[..2 * 7 * width], 7, &[6, 0, 3, 5], 2, &[1, 0, 1], &mut out);
                to_f64(&[&out])
            });
        }
        assert_agree("lstm", rounding, || {
            const H: usize = 37;
            let (mut gates, mut dgates) = (wave::<T>(4 * H, 0.3), vec![T::ZERO; 4 * H]);
            let [mut c, mut tanh_c, mut h] = [(); 3].map(|()| vec![T::ZERO; H]);
            lstm::forward(&mut gates, &y[..4 * H], &x[..H], &mut c, &mut tanh_c, &mut h);
            let mut dc = y[..H].to_vec();
            lstm::backward(&gates, &x[..H], &tanh_c, &y[H..2 * H], &mut dc, &mut dgates);
            to_f64(&[&gates, &c, &tanh_c, &h, &dc, &dgates])
        });
    }

    #[test]
    fn every_kernel_agrees_at_every_instruction_set() {
        every_kernel::<f32>(4.0 * f64::from(f32::EPSILON));
        every_kernel::<f64>(4.0 * f64::EPSILON);
    }
}
