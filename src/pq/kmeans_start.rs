//! Where k-means starts: centroids drawn from the points by k-means++.

use super::queries::Queries;
use crate::kernels::dispatch::dispatch;
use crate::kernels::panel;
use crate::real::Real;
use crate::rng::ChaCha8Rng;
use fearless_simd::{Simd, prelude::*};
use rand::Rng;
use std::ops::Range;

/// The points of one codebook: the parts of all rows in the groups that it serves.
pub(super) struct Points<'a, T: Real> {
    pub(super) rows: Queries<'a, T>,
    pub(super) groups: Range<usize>,
    /// The weight of every row; `None` for equal ones.
    pub(super) weights: Option<&'a [f64]>,
}

impl<'a, T: Real> Points<'a, T> {
    /// How many points there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len() * self.groups.len()
    }

    /// Point i. Those of a row stand together.
    #[inline(always)]
    pub(super) fn point(&self, i: usize) -> &'a [T] {
        let (s, groups) = (self.rows.group_width(), self.groups.len());
        &self.rows.row(i / groups)[(self.groups.start + i % groups) * s..][..s]
    }

    /// The weight of point i.
    #[inline(always)]
    pub(super) fn weight(&self, i: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[i / self.groups.len()])
    }

    /// The row of point i, and its group.
    #[inline(always)]
    pub(super) fn place(&self, i: usize) -> (usize, usize) {
        (i / self.groups.len(), self.groups.start + i % self.groups.len())
    }
}

/// Panels of a block: its distances are summed at once.
const PANELS: usize = 16;

/// Fills the K centroids of a codebook by k-means++ (Arthur & Vassilvitskii 2007): the first is point i
/// with a probability of w\[i\] / sum w, every other one with probability
///
/// ```text
/// w[i] D[i]^2 / sum_l w[l] D[l]^2      D[i]^2 = the squared distance of point i from its nearest centroid so far
/// ```
///
/// Where all points are centroids already, the centroids so far are repeated in their order.
pub(super) fn plus_plus<T: Real>(points: &Points<'_, T>, rng: &mut ChaCha8Rng, book: &mut [T]) {
    let (n, s) = (points.len(), points.rows.group_width());
    let padded = n.next_multiple_of(T::LANES);
    let mut panels = vec![T::ZERO; padded * s];
    for (tokens, panel) in panel::tokens::<T>(0..n).zip(panels.chunks_exact_mut(s * T::LANES)) {
        dispatch!(|simd| gather(simd, points, tokens, panel));
    }
    // Lanes without a point have the distance 0 and the weight 0, so that they are never drawn.
    let mut distances = vec![T::ZERO; padded];
    distances[..n].fill(T::ONE / T::ZERO);
    let mut weights = vec![T::ZERO; padded];
    weights.iter_mut().take(n).enumerate().for_each(|(i, w)| *w = T::from_f64(points.weight(i)));
    let mut sums = vec![0.0; padded.div_ceil(PANELS * T::LANES)];

    let mut next = match points.weights {
        None => ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize,
        Some(_) => {
            let blocks = weights.chunks(PANELS * T::LANES);
            let totals: Vec<f64> =
                blocks.map(|block| block.iter().map(|w| w.to_f64()).sum()).collect();
            draw(rng, &totals, &weights).expect("a positive weight")
        }
    };
    let mut chances = vec![T::ZERO; padded];
    for filled in 0..book.len() / s {
        book[filled * s..][..s].copy_from_slice(points.point(next));
        let centroid = &book[filled * s..][..s];
        let blocks = panels.chunks(PANELS * T::LANES * s);
        let blocks = blocks.zip(distances.chunks_mut(PANELS * T::LANES));
        let of_blocks =
            weights.chunks(PANELS * T::LANES).zip(chances.chunks_mut(PANELS * T::LANES));
        for (((panels, distances), (weights, chances)), sum) in blocks.zip(of_blocks).zip(&mut sums)
        {
            let at = (panels, centroid);
            *sum = dispatch!(|simd| move_nearer(simd, at, weights, distances, chances));
        }
        match draw(rng, &sums, &chances) {
            Some(drawn) => next = drawn,
            None => {
                let (found, rest) = book.split_at_mut((filled + 1) * s);
                rest.iter_mut().zip(found.iter().cycle()).for_each(|(x, &found)| *x = found);
                return;
            }
        }
    }
}

/// A panel of points.
#[inline(always)]
fn gather<S: Simd, T: Real>(simd: S, points: &Points<'_, T>, at: Range<usize>, panel: &mut [T]) {
    panel::gather(
        simd,
        at,
        #[inline(always)]
        |i| points.point(i),
        panel,
    );
}

/// distances\[i\] <- min(distances\[i\], ||point i - centroid||^2) for the points of some panels, and
/// chances\[i\] <- weights\[i\] distances\[i\]; returns the sum of these.
#[inline(always)]
fn move_nearer<S: Simd, T: Real>(
    simd: S,
    (panels, centroid): (&[T], &[T]),
    weights: &[T],
    distances: &mut [T],
    chances: &mut [T],
) -> f64 {
    let mut sums = T::Wide::<S>::splat(simd, T::ZERO);
    let panels = panels.chunks_exact(centroid.len() * T::LANES);
    let lanes = weights.chunks_exact(T::LANES).zip(chances.chunks_exact_mut(T::LANES));
    for ((panel, distances), (weights, chances)) in
        panels.zip(distances.chunks_exact_mut(T::LANES)).zip(lanes)
    {
        let mut distance = T::Wide::<S>::splat(simd, T::ZERO);
        for (x, &c) in panel.chunks_exact(T::LANES).zip(centroid) {
            let off = T::Wide::<S>::from_slice(simd, x) - c;
            distance = off.mul_add_precise(off, distance);
        }
        let nearest = distance.min(T::Wide::<S>::from_slice(simd, distances));
        nearest.store_slice(distances);
        let chance = nearest * T::Wide::<S>::from_slice(simd, weights);
        chance.store_slice(chances);
        sums += chance;
    }
    sums.as_slice().iter().map(|sum| sum.to_f64()).sum()
}

/// An index, with probabilities proportional to the chances, of which `sums` has those of every
/// block; `None` if all are 0.
fn draw<T: Real>(rng: &mut ChaCha8Rng, sums: &[f64], chances: &[T]) -> Option<usize> {
    // 53 random bits: a number in [0, 1).
    let fraction = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let mut left = fraction * sums.iter().sum::<f64>();
    // Sums are rounded; where nothing is left to go, the last point that can be drawn is.
    let mut last = None;
    for (block, &sum) in sums.iter().enumerate() {
        if sum == 0.0 {
            continue;
        }
        let first = block * PANELS * T::LANES;
        if left >= sum && sums[block + 1..].iter().any(|&sum| sum > 0.0) {
            left -= sum;
            continue;
        }
        let chances = chances[first..].iter().take(PANELS * T::LANES);
        for (i, chance) in chances.enumerate().filter(|(_, chance)| **chance > T::ZERO) {
            last = Some(first + i);
            left -= chance.to_f64();
            if left < 0.0 {
                return last;
            }
        }
        return last;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::levels::at_each;
    use crate::rng;
    use crate::tensor::Tensor;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn start(table: &Tensor<f32>, groups: Range<usize>, of: usize, k: usize) -> Vec<Vec<u32>> {
        let rows = Queries::new(table, None, of);
        let mut book = vec![f32::NAN; k * rows.group_width()];
        plus_plus(
            &Points { rows, groups, weights: None },
            &mut rng::stream(3, "start", 0),
            &mut book,
        );
        let bits = |c: &[f32]| c.iter().map(|x| x.to_bits()).collect();
        book.chunks(rows.group_width()).map(bits).collect()
    }

    proptest! {
        /// Centroids are points, and no point twice before all are taken.
        #[test]
        fn centroids_are_distinct_points(
            data in proptest::collection::vec(0..4_u32, 6..=360), k in 2..20_usize, shared: bool,
        ) {
            let n = data.len() / 6;
            let table = Tensor::from_fn([n, 6], |i| data[i] as f32);
            let groups = if shared { 0..3 } else { 1..2 };
            let points = Points { rows: Queries::new(&table, None, 3), groups: groups.clone(), weights: None };
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let all: BTreeSet<_> = (0..points.len()).map(|i| bits(points.point(i))).collect();
            let found = start(&table, groups, 3, k);
            let distinct: BTreeSet<_> = found.iter().cloned().collect();
            prop_assert!(distinct.is_subset(&all));
            prop_assert_eq!(distinct.len(), k.min(all.len()));
            let first: BTreeSet<_> = found[..distinct.len()].iter().cloned().collect();
            prop_assert_eq!(first, distinct);
        }
    }

    #[test]
    fn far_points_are_drawn_as_often_as_their_squares_say() {
        // Of the other points one is at 2 and one at 1: the first is drawn in 4 of 5 cases.
        let table = Tensor::from([[0.0_f32], [0.0], [2.0], [1.0]]);
        let points = Points { rows: Queries::new(&table, None, 1), groups: 0..1, weights: None };
        let (mut from_zero, mut far) = (0.0, 0.0);
        for step in 0..4000 {
            let mut book = [0.0; 2];
            plus_plus(&points, &mut rng::stream(0, "draws", step), &mut book);
            if book[0] == 0.0 {
                from_zero += 1.0;
                far += book[1] - 1.0;
            }
        }
        // Standard deviations: 32 of 2000, and 0.4 / sqrt(2000) = 0.009.
        assert!((from_zero - 2000.0_f32).abs() < 130.0, "{from_zero}");
        assert!((far / from_zero - 0.8).abs() < 0.04, "{}", far / from_zero);
    }

    #[test]
    fn the_start_has_the_same_bits_on_every_instruction_set() {
        let table = Tensor::from_fn([1000, 15], |i| (i as f32 * 0.37).sin());
        let found = at_each(|| start(&table, 0..3, 3, 50));
        assert!(found.iter().all(|(_, centroids)| *centroids == found[0].1));
    }
}
