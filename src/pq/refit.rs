//! Codewords of fixed codes: least squares.

use super::codebook::Sizes;
use crate::parallel::{self, Order, Rows};
use crate::real::Real;
use crate::tensor::{Pool, Tensor};
use std::ops::Range;

/// Rows of a partial sum, unless there would be more than [`PIECES`] of them or they hold too much.
const SHORTEST: usize = 4096;
const PIECES: usize = 16;

/// Numbers of all partial sums, unless a single one has more: 256 MB.
const SUMS: usize = 1 << 25;

/// Moves the values, D x K x s, towards those that make
///
/// ```text
/// E = sum over rows i and their parts of  w[i] || m x[i] - sum over the part's groups g of C[g,code[i,g]] ||^2
/// ```
///
/// least for given codes, m = `each` groups to a part, by `steps` steps of conjugate gradients, each
/// coordinate scaled by the weight of its codeword. Of one group to a part the first step gives the
/// means. A codeword that no row has stays. E never rises.
pub(super) fn refit<T: Real>(
    rows: &Tensor<T>,
    weights: Option<&[f64]>,
    codes: &[u32],
    each: usize,
    values: &mut Tensor<T>,
    steps: usize,
) {
    let sizes = Sizes::of(values.shape());
    let of_part = each * sizes.size * sizes.width;
    for (part, values) in values.data_mut().chunks_exact_mut(of_part).enumerate() {
        let problem = Problem { rows, weights, codes, groups: sizes.books, each, part, sizes };
        let mut solution: Vec<f64> = values.iter().map(|x| x.to_f64()).collect();
        problem.solve(&mut solution, steps);
        values.iter_mut().zip(&solution).for_each(|(x, &y)| *x = T::from_f64(y));
    }
}

/// The least squares of one part: A C = b, with A = G' W G of the matrix G that adds up a row's
/// codewords.
struct Problem<'a, T: Real> {
    rows: &'a Tensor<T>,
    weights: Option<&'a [f64]>,
    codes: &'a [u32],
    /// D
    groups: usize,
    each: usize,
    part: usize,
    sizes: Sizes,
}

impl<T: Real> Problem<'_, T> {
    fn solve(&self, c: &mut [f64], steps: usize) {
        let s = self.sizes.width;
        let weight = self.weight_of_codewords();
        // Half the gradient, downhill: G' W (m x - G c).
        let mut rest = self.scatter(c.len(), |i, sum| {
            self.add_codewords(i, c, sum);
            let part = &self.rows.data()[i * self.width()..][self.part * s..][..s];
            let times = self.each as f64;
            sum.iter_mut().zip(part).for_each(|(sum, x)| *sum = times * x.to_f64() - *sum);
        });
        let scaled = |rest: &[f64]| -> Vec<f64> {
            let over =
                |(i, x): (usize, &f64)| if weight[i / s] > 0.0 { x / weight[i / s] } else { 0.0 };
            rest.iter().enumerate().map(over).collect()
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut z = scaled(&rest);
        let (mut direction, mut slope) = (z.clone(), dot(&rest, &z));
        let first = slope;
        for _ in 0..steps {
            let image = self.scatter(c.len(), |i, sum| self.add_codewords(i, &direction, sum));
            let curvature = dot(&direction, &image);
            // At the minimum, or as near as rounding lets it come.
            if !(slope > 1e-24 * first && curvature > 0.0) {
                return;
            }
            let step = slope / curvature;
            c.iter_mut().zip(&direction).for_each(|(c, d)| *c += step * d);
            rest.iter_mut().zip(&image).for_each(|(r, y)| *r -= step * y);
            z = scaled(&rest);
            let next = dot(&rest, &z);
            direction.iter_mut().zip(&z).for_each(|(d, z)| *d = z + next / slope * *d);
            slope = next;
        }
    }

    /// P s
    fn width(&self) -> usize {
        self.groups / self.each * self.sizes.width
    }

    fn weight(&self, i: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[i])
    }

    /// The first elements of the codewords of a row in this part, among all m K s.
    #[inline(always)]
    fn codewords(&self, i: usize) -> impl Iterator<Item = usize> + '_ {
        let codes = &self.codes[i * self.groups + self.part * self.each..][..self.each];
        let Sizes { size, width, .. } = self.sizes;
        codes.iter().enumerate().map(move |(g, &code)| (g * size + code as usize) * width)
    }

    /// The sum of the weights of the rows that have a codeword, m K of them.
    fn weight_of_codewords(&self) -> Vec<f64> {
        let s = self.sizes.width;
        let mut sums = vec![0.0; self.each * self.sizes.size];
        for i in 0..self.rows.shape()[0] {
            self.codewords(i).for_each(|at| sums[at / s] += self.weight(i));
        }
        sums
    }

    #[inline(always)]
    fn add_codewords(&self, i: usize, c: &[f64], sum: &mut [f64]) {
        for at in self.codewords(i) {
            sum.iter_mut().zip(&c[at..]).for_each(|(sum, c)| *sum += c);
        }
    }

    /// G' W y, of the vectors y\[i\] of length s that `of_row(i, y)` adds to zeros.
    fn scatter(&self, len: usize, of_row: impl Fn(usize, &mut [f64]) + Sync) -> Vec<f64> {
        let (n, s) = (self.rows.shape()[0], self.sizes.width);
        let pieces = (SUMS / len).clamp(1, PIECES);
        let pieces = Rows::new(n, n.div_ceil(pieces).max(SHORTEST));
        let mut sums = vec![0.0; len];
        let of_piece = |rows: Range<usize>, part: &mut [f64]| {
            let mut y = vec![0.0; s];
            for i in rows {
                y.fill(0.0);
                of_row(i, &mut y);
                let weight = self.weight(i);
                for at in self.codewords(i) {
                    part[at..].iter_mut().zip(&y).for_each(|(sum, y)| *sum += weight * y);
                }
            }
        };
        let add = |sums: &mut [f64], part: &[f64]| {
            sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        };
        parallel::sum(&Pool::default(), 0, Order::Forward, pieces, &mut sums, of_piece, add);
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rows n x P s, their codes below K, values P m x K x s, m, and weights.
    type Fit = (Tensor<f64>, Vec<u32>, Tensor<f64>, usize, Option<Vec<f64>>);

    fn problems() -> impl Strategy<Value = Fit> {
        let sizes = (1..30_usize, 1..3_usize, 1..4_usize, 2..5_usize, 1..4_usize, any::<bool>());
        sizes.prop_flat_map(|(n, parts, each, k, s, weighted)| {
            let numbers = |count| proptest::collection::vec(-1.0..1.0, count);
            let groups = parts * each;
            let codes = proptest::collection::vec(0..k as u32, n * groups);
            let weights = proptest::collection::vec(0.1..3.0, n);
            (numbers(n * parts * s), codes, numbers(groups * k * s), weights).prop_map(
                move |(x, codes, c, weights)| {
                    let rows = Tensor::from_fn([n, parts * s], |i| x[i]);
                    let values = Tensor::from_fn([groups, k, s], |i| c[i]);
                    (rows, codes, values, each, weighted.then_some(weights))
                },
            )
        })
    }

    /// E, by its definition.
    fn error((rows, codes, _, each, weights): &Fit, values: &Tensor<f64>) -> f64 {
        let [groups, k, s] = values.shape()[..] else { panic!("D x K x s") };
        let mut sum = 0.0;
        for (i, (row, codes)) in rows.rows().zip(codes.chunks(groups)).enumerate() {
            for (part, t) in (0..groups / each).flat_map(|part| (0..s).map(move |t| (part, t))) {
                let of_group = |g: usize| values.data()[(g * k + codes[g] as usize) * s + t];
                let codewords: f64 = (part * each..(part + 1) * each).map(of_group).sum();
                let off = *each as f64 * row[part * s + t] - codewords;
                sum += weights.as_ref().map_or(1.0, |weights| weights[i]) * off * off;
            }
        }
        sum
    }

    proptest! {
        #[test]
        fn no_other_codewords_do_better(fit in problems()) {
            let (rows, codes, values, each, weights) = &fit;
            let run = |steps| {
                let mut found = values.deep_copy();
                refit(rows, weights.as_deref(), codes, *each, &mut found, steps);
                found
            };
            let found = run(60);
            let least = error(&fit, &found);
            for i in 0..found.data().len() {
                for change in [1e-3, -1e-3] {
                    let mut other = found.deep_copy();
                    other.data_mut()[i] += change;
                    prop_assert!(least <= error(&fit, &other) + 1e-10);
                }
            }
            let mut before = error(&fit, values);
            for steps in 1..5 {
                let now = error(&fit, &run(steps));
                prop_assert!(now <= before * (1.0 + 1e-12) + 1e-20, "{before} to {now}");
                before = now;
            }
        }

        #[test]
        fn codewords_of_single_groups_become_means_in_a_step(fit in problems()) {
            let (rows, codes, values, each, weights) = &fit;
            if *each > 1 {
                return Ok(());
            }
            let mut found = values.deep_copy();
            refit(rows, weights.as_deref(), codes, 1, &mut found, 1);
            let [groups, k, s] = values.shape()[..] else { panic!("D x K x s") };
            for (at, &x) in found.data().iter().enumerate() {
                let (g, code, t) = (at / (k * s), at / s % k, at % s);
                let (mut sum, mut count) = (0.0, 0.0);
                for (i, codes) in codes.chunks(groups).enumerate() {
                    if codes[g] as usize == code {
                        let weight = weights.as_ref().map_or(1.0, |weights| weights[i]);
                        sum += weight * rows.data()[i * groups * s + g * s + t];
                        count += weight;
                    }
                }
                let expected = if count > 0.0 { sum / count } else { values.data()[at] };
                prop_assert!((x - expected).abs() < 1e-10, "{x}, {expected}");
            }
        }
    }
}
