//! The choice of a codeword: the one with the best normalised score.

use super::score::{Codebook, Normalizer, Queries, Score, groups_of_tile, score_with};
use crate::kernels::{level, panel};
use crate::parallel;
use crate::real::Real;
use crate::tensor::Pool;
use fearless_simd::{Simd, dispatch, prelude::*};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tokens whose codes are a piece of work for a thread.
const CHUNK: usize = 64;

/// argmax_j of the normalised scores of every token of a panel, the first of equals; and a bit for
/// every token that has a NaN among its scores, or none above minus infinity, whose codes are 0.
/// `scores` holds K rows on the way.
#[inline(always)]
fn choose_panel<S: Simd, T: Real>(
    simd: S,
    kind: Score,
    codebook: &Codebook<T>,
    g: usize,
    normalizer: &Normalizer<T>,
    queries: &[T],
    scores: &mut [T],
) -> (T::Wide<S>, u64) {
    let lowest = T::Wide::<S>::splat(simd, -T::ONE / T::ZERO);
    let zero = T::Wide::<S>::splat(simd, T::ZERO);
    let (mut best, mut code, mut number, mut sum) = (lowest, zero, zero, zero);
    let (means, reciprocals) = (&*normalizer.means, &*normalizer.reciprocals);
    score_with(
        simd,
        kind,
        codebook,
        g,
        queries,
        scores,
        #[inline(always)]
        |j, score: T::Wide<S>| {
            let score = (score - means[j]) * reciprocals[j];
            let better = score.simd_gt(best);
            best = best.max(score);
            code = better.select(number, code);
            sum += score;
            number += T::Wide::<S>::splat(simd, T::ONE);
            score
        },
    );
    // A NaN makes the sum one.
    let failed = sum.simd_ne(sum) | best.simd_eq(lowest);
    (failed.select(zero, code), failed.to_bitmask())
}

/// codes\[i, g\] = argmax_j of the normalised scores, the lowest j on ties. False if a NaN came up.
pub(crate) fn choose<T: Real>(
    pool: &Pool<T>,
    kind: Score,
    queries: Queries<'_, T>,
    codebook: &Codebook<T>,
    normalizer: &Normalizer<T>,
    codes: &mut [u32],
) -> bool {
    let mut units = vec![(); codes.len().div_ceil(CHUNK * queries.groups)];
    let parts = (CHUNK, &mut units[..], 1);
    choose_and(pool, kind, queries, codebook, normalizer, codes, parts, |_, _, _| ())
}

/// [`choose`] in pieces of so many rows, each with its part of `parts`, `len` numbers: calls
/// `visit(rows, their codes, part)` for a few rows after the other, while their queries are near.
#[expect(clippy::too_many_arguments, reason = "those of choose, and what is to be done")]
pub(crate) fn choose_and<T: Real, P: Send>(
    pool: &Pool<T>,
    kind: Score,
    queries: Queries<'_, T>,
    codebook: &Codebook<T>,
    normalizer: &Normalizer<T>,
    codes: &mut [u32],
    (piece, parts, len): (usize, &mut [P], usize),
    visit: impl Fn(Range<usize>, &[u32], &mut [P]) + Sync,
) -> bool {
    let (groups, k, s) = (queries.groups, codebook.size, codebook.width);
    let all_sound = AtomicBool::new(true);
    parallel::for_each_pair_back((codes, piece * groups), (parts, len), |i, codes, part| {
        let mut q = pool.take(CHUNK * groups_of_tile(s) * s);
        let (mut scores, mut chosen) = (pool.take(k * T::LANES), pool.take(T::LANES));
        for (chunk, codes) in codes.chunks_mut(CHUNK * groups).enumerate() {
            let first = i * piece + chunk * CHUNK;
            let rows = first..first + codes.len() / groups;
            for tile in queries.tiles() {
                let columns = tile.len() * s;
                dispatch!(level(), simd => simd.vectorize(#[inline(always)] || {
                    queries.panels(simd, rows.clone(), tile.clone(), &mut q);
                    for (g, at) in tile.clone().zip((0..columns).step_by(s)) {
                        for (p, tokens) in panel::tokens::<T>(0..rows.len()).enumerate() {
                            let q = &q[(p * columns + at) * T::LANES..][..s * T::LANES];
                            let (code, failed) = choose_panel(simd, kind, codebook, g, normalizer, q, &mut scores);
                            if failed & ((1 << tokens.len()) - 1) != 0 {
                                all_sound.store(false, Ordering::Relaxed);
                            }
                            code.store_slice(&mut chosen);
                            for (row, code) in tokens.zip(&*chosen) {
                                codes[row * groups + g] = code.to_u32();
                            }
                        }
                    }
                }));
            }
            visit(rows, codes, part);
        }
    });
    all_sound.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pq::score::scores;
    use crate::tape::Pools;
    use crate::tensor::Tensor;

    fn wave(shape: &[usize], k: f32) -> Tensor<f32> {
        Tensor::from_fn(shape, |i| ((i as f32 + 1.0) * k).sin())
    }

    #[test]
    fn chosen_codes_are_the_argmax_of_the_scores_wherever_the_row_stands() {
        let pools = Pools::default();
        let (n, groups, s, k) = (300, 3, 5, 21);
        let (queries, codewords) = (wave(&[n, groups * s], 0.37), wave(&[groups, k, s], 1.3));
        for score in [Score::Dot, Score::SquaredDistance] {
            let codebook = Codebook::new(&pools.values, &codewords);
            let normalizer = Normalizer::new(&pools.values, codebook.size, None);
            let choose = |ids: Option<&[u32]>| {
                let queries = Queries::new(&queries, ids, groups);
                let mut codes = vec![0; queries.len() * groups];
                assert!(choose(&pools.values, score, queries, &codebook, &normalizer, &mut codes));
                codes
            };
            let tape = crate::Tape::new();
            let q = tape.constant(queries.clone().reshape([n, groups, s]));
            let expected = scores(score, q, tape.constant(codewords.clone())).argmax();
            assert_eq!(choose(None), expected);
            assert_eq!(choose(Some(&[7, 299])), [&expected[21..24], &expected[897..900]].concat());
        }
    }

    #[test]
    fn a_nan_query_is_reported_and_ties_go_to_the_lowest() {
        let pools = Pools::default();
        let codebook = Codebook::new(&pools.values, &Tensor::from([[[1.0_f32], [2.0], [2.0]]]));
        let normalizer = Normalizer::new(&pools.values, codebook.size, None);
        let mut codes = [9; 2];
        let mut run = |x: f32| {
            let queries = Tensor::from([[x, 1.0]]);
            choose(
                &pools.values,
                Score::Dot,
                Queries::new(&queries, None, 2),
                &codebook,
                &normalizer,
                &mut codes,
            )
        };
        assert!(run(3.0));
        assert!(!run(f32::NAN));
        assert_eq!(codes, [0, 1]);
    }

    #[cfg(all_levels)]
    #[test]
    fn codes_and_scores_are_the_same_bits_on_every_instruction_set() {
        use crate::kernels::levels::at_each;
        use crate::pq::score::batch_statistics;
        for (groups, s, k) in [(3, 5, 21), (2, 8, 32), (4, 13, 70)] {
            for kind in [Score::Dot, Score::SquaredDistance] {
                let n = 210;
                let (table, codewords) = (wave(&[n, groups * s], 0.37), wave(&[groups, k, s], 1.3));
                let statistics = batch_statistics(
                    Tensor::from_fn([k], |j| (j as f32).sin()),
                    Tensor::from_fn([k], |j| 1.0 + 0.5 * (j as f32).cos()),
                );
                let found = at_each(|| {
                    let pools = Pools::default();
                    let codebook = Codebook::new(&pools.values, &codewords);
                    let normalizer = Normalizer::new(&pools.values, k, Some(&statistics));
                    let queries = Queries::new(&table, None, groups);
                    let mut codes = vec![0; n * groups];
                    assert!(choose(
                        &pools.values,
                        kind,
                        queries,
                        &codebook,
                        &normalizer,
                        &mut codes
                    ));
                    let tape = crate::Tape::new();
                    let q = tape.constant(table.clone().reshape([n, groups, s]));
                    let r = scores(kind, q, tape.constant(codewords.clone())).value();
                    (codes, r.data().iter().map(|r| r.to_bits()).collect::<Vec<_>>())
                });
                for (level, result) in &found[1..] {
                    assert_eq!(*result, found[0].1, "{level} and {}", found[0].0);
                }
                #[cfg(target_arch = "x86_64")]
                {
                    let has = [
                        true, // the portable one
                        is_x86_feature_detected!("sse2"),
                        is_x86_feature_detected!("sse4.2"),
                        is_x86_feature_detected!("avx2"),
                        crate::kernels::level().as_avx512().is_some(),
                    ];
                    let names: Vec<_> = found.iter().map(|(level, _)| level).collect();
                    assert_eq!(names.len(), has.iter().filter(|&&has| has).count(), "{names:?}");
                }
            }
        }
    }
}
