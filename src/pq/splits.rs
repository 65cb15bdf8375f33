//! Which split of columns, how many codes and which codebook size are best at a given size.

use super::compact::CompactEmbedding;
use super::compression::Compression;
use super::kmeans::{KMeans, check_weights};
use crate::embedding::check_finished;
use crate::error::{Error, Result};
use crate::real::Real;
use crate::tensor::Tensor;
use std::ops::RangeInclusive;

/// The codebook sizes that are tried, codes of 4 to 8 bits; and of tables that are too small for them.
const SIZES: [usize; 5] = [16, 32, 64, 128, 256];
const SMALL_SIZES: [usize; 3] = [2, 4, 8];

/// Values take at most this share of the bytes, unless nothing else fits.
const MOST_VALUES: f64 = 1.0 / 3.0;

/// At most so many splits are tried.
const TRIALS: usize = 12;

/// A trial trains on at most so many rows, and is judged on those, or on as many others as [`OTHERS`]
/// where there are more.
const ROWS: usize = 1 << 15;
const OTHERS: usize = 1 << 12;

impl Compression {
    /// The splits of a table V x d that have at most `bytes` of codes and values and come near to it, with
    /// everything else as here; `each` are the codes that a part may have, at least 1. At most 12, the
    /// largest ones first.
    ///
    /// # Errors
    /// [`Error::Config`] if none is so small.
    pub fn splits(
        &self,
        vocabulary: usize,
        width: usize,
        bytes: usize,
        each: RangeInclusive<usize>,
    ) -> Result<Vec<Compression>> {
        let with = |parts, each, codebook_size| Compression {
            parts,
            groups: parts * each,
            codebook_size,
            ..self.clone()
        };
        // For every number of parts the most codes of a part that fit.
        let fitting = |sizes: &[usize]| -> Vec<Compression> {
            let divisors = (1..=width).filter(|parts| width.is_multiple_of(*parts));
            let pairs = divisors.flat_map(|parts| sizes.iter().map(move |&size| (parts, size)));
            let most = |(parts, size)| {
                let all = each.clone().map(|each| with(parts, each, size));
                all.take_while(|split| split.bytes(vocabulary, width) <= bytes).last()
            };
            pairs.filter_map(most).collect()
        };
        let mut all = fitting(&SIZES);
        if all.is_empty() {
            all = fitting(&SMALL_SIZES);
        }
        if all.is_empty() {
            let least = with(1, *each.start(), SMALL_SIZES[0]).bytes(vocabulary, width);
            let expected = format!("at least {least} for {vocabulary} rows of width {width}");
            return Err(Error::Config { name: "bytes", value: bytes.to_string(), expected });
        }
        let values = |split: &Compression| split.bytes(0, width) as f64 / bytes as f64;
        if all.iter().any(|split| values(split) <= MOST_VALUES) {
            all.retain(|split| values(split) <= MOST_VALUES);
        }
        all.sort_by_key(|split| std::cmp::Reverse(split.bytes(vocabulary, width)));
        all.truncate(TRIALS);
        Ok(all)
    }

    /// The one of the [splits](Self::splits) of a table V x d that is [best](Self::best_of) for `rows`, the
    /// table or some of it.
    ///
    /// # Errors
    /// As these two.
    pub fn best_split<T: Real>(
        &self,
        (rows, weights): (&Tensor<T>, Option<&[f64]>),
        vocabulary: usize,
        bytes: usize,
        each: RangeInclusive<usize>,
    ) -> Result<Compression> {
        let [_, width] = check_finished(rows)?;
        let splits = self.splits(vocabulary, width, bytes, each)?;
        Compression::best_of(splits, rows, weights, |_, _| true)
    }

    /// The one of some settings that loses least in a [trial](Self::trial); `go_on` is told each with its
    /// error, and says whether to try the next one.
    ///
    /// # Errors
    /// As [`trial`](Self::trial).
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn best_of<T: Real>(
        splits: Vec<Compression>,
        rows: &Tensor<T>,
        weights: Option<&[f64]>,
        mut go_on: impl FnMut(&Compression, f64) -> bool,
    ) -> Result<Compression> {
        let mut splits = splits.into_iter();
        let mut best = splits.next().expect("settings to choose from");
        if splits.len() == 0 {
            return Ok(best);
        }
        let mut least = best.trial(rows, weights)?;
        let mut more = go_on(&best, least);
        for split in splits {
            if !more {
                break;
            }
            let error = split.trial(rows, weights)?;
            more = go_on(&split, error);
            if error < least {
                (least, best) = (error, split);
            }
        }
        Ok(best)
    }

    /// Trains shortly on some of the rows of a table, V x d, and returns the relative squared error
    ///
    /// ```text
    /// sum over i of w[i] || x[i] - y[i] ||^2  /  sum over i of w[i] || x[i] ||^2
    /// ```
    ///
    /// of these rows, or if the table has many more of other ones: what tells a good split from a bad one.
    ///
    /// # Errors
    /// As [`CompactEmbedding::from_table`].
    pub fn trial<T: Real>(&self, table: &Tensor<T>, weights: Option<&[f64]>) -> Result<f64> {
        let [vocabulary, width] = check_finished(table)?;
        check_weights(weights, vocabulary)?;
        let kmeans = KMeans { iterations: self.kmeans.iterations.min(8), ..self.kmeans };
        let short = Compression {
            rounds: self.rounds.min(1),
            beam: self.beam.min(4),
            kmeans,
            ..self.clone()
        };
        // Rows at equal distances, since tables are often sorted by frequency; without weight they count
        // for nothing.
        let counted: Vec<usize> = (0..vocabulary)
            .filter(|&row| weights.is_none_or(|weights| weights[row] > 0.0))
            .collect();
        let some = |count: usize, shift: usize| -> Vec<usize> {
            (0..count).map(|i| counted[i * counted.len() / count + shift]).collect()
        };
        let trained = some(counted.len().min(ROWS), 0);
        // Of rows that are more than two apart the next ones are others.
        let judged = match counted.len() > 2 * ROWS {
            true => some(OTHERS, 1),
            false => trained.clone(),
        };
        let rows = |of: &[usize]| {
            Tensor::from_fn([of.len(), width], |i| table.data()[of[i / width] * width + i % width])
        };
        let weights = |of: &[usize]| -> Vec<f64> {
            of.iter().map(|&row| weights.map_or(1.0, |weights| weights[row])).collect()
        };
        let compact =
            CompactEmbedding::from_table(&rows(&trained), &short, Some(&weights(&trained)))?;
        let judged_rows = rows(&judged);
        let compact =
            compact.encode(&judged_rows, short.beam).and_then(|codes| compact.with_codes(codes))?;
        let found = compact.lookup(&(0..judged.len() as u32).collect::<Vec<_>>())?;
        let (mut off, mut all) = (0.0, 0.0);
        for ((x, y), weight) in judged_rows.rows().zip(found.rows()).zip(weights(&judged)) {
            let squares = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
                x.iter().zip(y).map(|(x, y)| f(x.to_f64(), y.to_f64()).powi(2)).sum()
            };
            off += weight * squares(&|x, y| x - y);
            all += weight * squares(&|x, _| x);
        }
        Ok(if all > 0.0 { off / all } else { off })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn splits_fit_and_are_sound(
            vocabulary in 1..5000_usize, width in 1..65_usize, bytes in 1..100_000_usize, most in 1..9_usize,
        ) {
            match Compression::dpq(1, 1, 2).splits(vocabulary, width, bytes, 1..=most) {
                Ok(splits) => {
                    prop_assert!((1..=TRIALS).contains(&splits.len()));
                    for split in splits {
                        prop_assert!(split.check(width).is_ok());
                        prop_assert!(split.bytes(vocabulary, width) <= bytes);
                        prop_assert!(split.groups / split.parts <= most);
                    }
                }
                Err(error) => {
                    let least = Compression::dpq(1, 1, 2).bytes(vocabulary, width);
                    prop_assert!(least > bytes, "{error}");
                }
            }
        }
    }

    #[test]
    fn rows_that_judge_are_none_of_those_trained_on() {
        // One row in three is far from all others: 70,000 rows are judged by those next to the others.
        let place = |count: usize, i: usize| i * 70_000 / count;
        let trained: Vec<usize> = (0..ROWS).map(|i| place(ROWS, i)).collect();
        let table = Tensor::from_fn([70_000, 1], |row| {
            if trained.binary_search(&row).is_ok() { 1.0_f32 } else { -1.0 }
        });
        let error = Compression { eight_bits: false, ..Compression::pq(1, 2) }.trial(&table, None);
        assert_eq!(error.unwrap(), 4.0);
    }

    #[test]
    fn rows_without_weight_count_for_nothing() {
        let table = Tensor::<f32>::normal([20_000, 2], 1.0, &mut crate::rng::stream(0, "table", 0));
        let mut weights = vec![0.0; 20_000];
        weights[19_990..].fill(1.0);
        for seed in 0..5 {
            let settings = Compression::pq(2, 16);
            let kmeans = KMeans { seed, ..settings.kmeans };
            let settings = Compression { kmeans, ..settings };
            assert!(settings.trial(&table, Some(&weights)).unwrap() < 1e-3);
        }
    }

    #[test]
    fn a_trial_tells_good_splits_from_bad_ones() {
        let table = Tensor::<f32>::normal([3000, 16], 1.0, &mut crate::rng::stream(0, "table", 0));
        let error = |split: Compression| split.trial(&table, None).unwrap();
        // As many bits, in parts of 2 and of 8 columns.
        let [narrow, wide] = [error(Compression::pq(8, 16)), error(Compression::dpq(2, 8, 16))];
        assert!(wide < 0.95 * narrow, "{wide} {narrow}");
        let weights: Vec<f64> = (0..3000).map(|i| f64::from(i < 100)).collect();
        let weighted = Compression::pq(4, 64).trial(&table, Some(&weights)).unwrap();
        assert!(weighted < 0.5 * error(Compression::pq(4, 64)), "{weighted}");
    }
}
