//! k-means: the codebooks that lie nearest to the rows of a finished table.

use super::assign::Choice;
use super::config::DpqConfig;
use super::kmeans_start::{Points, plus_plus};
use super::normalization::Normalizer;
use super::queries::Queries;
use super::score::{Keys, Metric};
use crate::embedding::check_finished;
use crate::error::{Error, Result};
use crate::kernels::reduce::largest;
use crate::parallel::{self, Order, chunks};
use crate::real::Real;
use crate::rng;
use crate::tape::Pools;
use crate::tensor::Tensor;

/// Lloyd's k-means in every group of the columns of a table, as product quantisation needs it
/// (Jégou, Douze & Schmid 2011).
///
/// The points of codebook g are the parts g of the table's rows, columns g s to (g + 1) s; where all
/// groups share one codebook, the parts in all groups. After a start by k-means++ (Arthur &
/// Vassilvitskii 2007) an iteration is
///
/// ```text
/// code[i,g] = argmin_j || x[i,g] - C[g,j] ||^2       the lowest j on ties
/// C[g,j]    = mean of x[i,g] over all i with code[i,g] = j
/// ```
///
/// and a codeword without points moves to the point that is farthest from its own, the second such
/// codeword to the second farthest, and so on. The error never rises, but for rounding. Where a group
/// has fewer distinct parts than codewords, all parts are codewords, and the codewords that are left
/// repeat others.
///
/// The result has the same bits on any number of threads and on any instruction set.
///
/// ```
/// use dpq::{DpqConfig, Tensor, pq::KMeans};
/// let table = Tensor::from([[0.0, 7.0], [0.2, 7.0], [5.0, 8.0], [5.2, 9.0]]);
/// let codebooks = KMeans::default().codebooks(&table, &DpqConfig::vq(2, 2))?;
/// assert_eq!(codebooks.shape()[..], [2, 2, 1]);
/// let mut first = codebooks.data()[..2].to_vec();
/// first.sort_by(f64::total_cmp);
/// assert_eq!(first, [0.1, 5.1]);
/// # Ok::<(), dpq::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KMeans {
    /// At most this many iterations; fewer if one changes nothing. 25 by default. With 0 the start is
    /// the result.
    pub iterations: usize,
    /// A codebook is trained on at most K times as many points, those of rows drawn at random; with
    /// `None`, on all. 256 by default.
    pub sample: Option<usize>,
    /// How often it is done from another start, of which the one with the least error is kept. 1 by
    /// default.
    pub restarts: usize,
    /// Decides the starts and the sample. 0 by default.
    pub seed: u64,
}

impl Default for KMeans {
    fn default() -> Self {
        KMeans { iterations: 25, sample: Some(256), restarts: 1, seed: 0 }
    }
}

/// What k-means found.
#[derive(Clone, Debug, PartialEq)]
pub struct Centroids<T: Real> {
    /// The codebooks, G x K x s.
    pub codebooks: Tensor<T>,
    /// Before every iteration the mean over the elements of the points of (x - C\[code\])^2: the first
    /// one is that of the start, the last one that of the codebooks before they changed for the last
    /// time.
    pub errors: Vec<f64>,
}

/// Squares of numbers of this size, and what tells them apart, are numbers in single precision.
const SIZES: std::ops::RangeInclusive<f64> = 1e-10..=1e15;

impl KMeans {
    /// The codebooks of a table V x d, G x K x s.
    ///
    /// # Errors
    /// [`Error::Config`] if the table is no matrix, has no rows or more than ids count, if its largest
    /// element is neither 0 nor of a size from 1e-10 to 1e15, if the configuration does not fit its
    /// width or is additive, or the sample is 0; [`Error::NotFinite`] if an element is not finite.
    pub fn codebooks<T: Real>(&self, table: &Tensor<T>, config: &DpqConfig) -> Result<Tensor<T>> {
        Ok(self.fit(table, None, config)?.codebooks)
    }

    /// The same of rows with weights, as frequencies: w\[i\] for row i, by which its points count in means
    /// and in the choice of a start; and with the error at every iteration.
    ///
    /// # Errors
    /// As [`codebooks`](KMeans::codebooks), and if there are no restarts, or weights are not as many as
    /// rows, not finite, negative, or all 0.
    pub fn fit<T: Real>(
        &self,
        table: &Tensor<T>,
        weights: Option<&[f64]>,
        config: &DpqConfig,
    ) -> Result<Centroids<T>> {
        let [vocabulary, width] = check_finished(table)?;
        config.check(width)?;
        let refuse = |name, value, expected: &str| {
            Err(Error::Config { name, value, expected: expected.into() })
        };
        if config.additive {
            return refuse("additive", "true".into(), "false, as groups are parts of the columns");
        }
        if self.sample == Some(0) {
            return refuse("sample", "0".into(), "at least 1 point per codeword, or none set");
        }
        if self.restarts == 0 {
            return refuse("restarts", "0".into(), "at least 1");
        }
        check_weights(weights, vocabulary)?;
        check_size(table)?;
        let (groups, k) = (config.groups, config.codebook_size);
        let points_of_row = groups / config.codebooks();
        let wanted = self.sample.map_or(vocabulary, |sample| {
            sample.saturating_mul(k).div_ceil(points_of_row).min(vocabulary)
        });
        // Rows without weight count for nothing, so none of them is drawn.
        let counted = |row: u32| weights.is_none_or(|weights| weights[row as usize] > 0.0);
        let rows = (wanted < vocabulary || weights.is_some_and(|weights| weights.contains(&0.0)))
            .then(|| {
                let rows: Vec<u32> = (0..vocabulary as u32).filter(|&row| counted(row)).collect();
                let drawn = self.drawn(wanted.min(rows.len()), rows.len());
                drawn.into_iter().map(|i| rows[i as usize]).collect::<Vec<u32>>()
            });
        let queries = Queries::new(table, rows.as_deref(), groups);
        let of_sample: Option<Vec<f64>> = match (weights, &rows) {
            (Some(weights), Some(rows)) => {
                Some(rows.iter().map(|&row| weights[row as usize]).collect())
            }
            _ => None,
        };
        let weights = of_sample.as_deref().or(weights);
        let runs = (0..self.restarts).map(|run| self.lloyd(queries, weights, config, run));
        let error = |run: &Centroids<T>| run.errors.last().copied().unwrap_or_default();
        Ok(runs.min_by(|a, b| error(a).total_cmp(&error(b))).expect("at least one run"))
    }

    /// `wanted` of the rows, each set of them with the same probability, in order (Knuth's
    /// selection sampling).
    fn drawn(&self, wanted: usize, vocabulary: usize) -> Vec<u32> {
        let mut rng = rng::stream(self.seed, "kmeans.sample", 0);
        let mut drawn = Vec::with_capacity(wanted);
        for row in 0..vocabulary {
            if rng::below(&mut rng, vocabulary - row) < wanted - drawn.len() {
                drawn.push(row as u32);
            }
        }
        drawn
    }

    fn lloyd<T: Real>(
        &self,
        rows: Queries<'_, T>,
        weights: Option<&[f64]>,
        config: &DpqConfig,
        run: usize,
    ) -> Centroids<T> {
        let (books, k, s) = (config.codebooks(), config.codebook_size, rows.group_width());
        let points = |book: usize| {
            let groups = if config.shared { 0..config.groups } else { book..book + 1 };
            Points { rows, groups, weights }
        };
        let mut codebooks = Tensor::zeros([books, k, s]);
        parallel::for_each_chunk(codebooks.data_mut(), k * s, |book, centroids| {
            let mut rng = rng::stream(self.seed, "kmeans.start", (run * books + book) as u64);
            plus_plus(&points(book), &mut rng, centroids);
        });

        let pools = Pools::default();
        let mut codes = vec![0; rows.len() * config.groups];
        let (mut errors, mut off) = (Vec::new(), vec![0.0; books]);
        let all = weights.map_or(rows.len() as f64, |weights| weights.iter().sum());
        let all = all * (config.groups * s) as f64;
        for _ in 0..self.iterations {
            nearest(&pools, rows, &codebooks, &mut codes);
            let mut next = codebooks.deep_copy();
            let work = (chunks(next.data_mut(), k * s), &mut off[..]);
            parallel::for_each(Order::Forward, work, |book, (centroids, off)| {
                *off = move_to_means(&points(book), &codes, centroids);
            });
            errors.push(off.iter().sum::<f64>() / all);
            let unchanged = next == codebooks;
            codebooks = next;
            if unchanged {
                break;
            }
        }
        Centroids { codebooks, errors }
    }
}

/// codes\[i, g\] = argmin_j ||x\[i, g\] - C\[g, j\]||^2, the lowest j on ties. Of elements that are
/// within [`SIZES`] no distance is NaN.
fn nearest<T: Real>(
    pools: &Pools<T>,
    rows: Queries<'_, T>,
    codebooks: &Tensor<T>,
    codes: &mut [u32],
) {
    let keys = Keys::new(&pools.values, Metric::SquaredDistance, codebooks);
    let normalizer = Normalizer::new(&pools.values, keys.sizes().size, None);
    Choice::new(rows, &keys, &normalizer).choose(&pools.values, codes);
}

/// The codes of every row of a finished table, row by row, for codebooks that were trained on it.
pub(super) fn nearest_codes<T: Real>(
    table: &Tensor<T>,
    codebooks: &Tensor<T>,
    groups: usize,
) -> Vec<u32> {
    let rows = Queries::new(table, None, groups);
    let mut codes = vec![0; rows.len() * groups];
    nearest(&Pools::default(), rows, codebooks, &mut codes);
    codes
}

/// For each of some rows, n x d, the row of another table, N x d, that is nearest to it: the lowest on
/// ties.
///
/// ```
/// use dpq::{Tensor, pq::nearest_of};
/// let (rows, table) = (Tensor::from([[0.9, 0.1]]), Tensor::from([[0.0, 0.0], [1.0, 0.0]]));
/// assert_eq!(nearest_of(&rows, &table)?, [1]);
/// # Ok::<(), dpq::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] if one is no matrix, has no rows, or they differ in width, if there are more than 2^24
/// rows to choose from, or elements are not of a size that [`KMeans::codebooks`] takes;
/// [`Error::NotFinite`] if an element is not finite.
pub fn nearest_of<T: Real>(rows: &Tensor<T>, table: &Tensor<T>) -> Result<Vec<u32>> {
    let ([_, width], [n, expected]) = (check_finished(rows)?, check_finished(table)?);
    if width != expected {
        let (value, expected) = (width.to_string(), expected.to_string());
        return Err(Error::Config { name: "width of the rows", value, expected });
    }
    // Vectors count codewords in single precision.
    if n > 1 << 24 {
        let (value, expected) = (n.to_string(), "at most 16777216".into());
        return Err(Error::Config { name: "rows to choose from", value, expected });
    }
    check_size(rows)?;
    check_size(table)?;
    Ok(nearest_codes(rows, &table.clone().reshape([1, n, width]), 1))
}

/// Refuses elements whose squares single precision cannot hold.
pub(super) fn check_size<T: Real>(table: &Tensor<T>) -> Result<()> {
    let largest = largest(table.data());
    if largest != 0.0 && !SIZES.contains(&largest) {
        return Err(Error::Config {
            name: "largest element of the table",
            value: format!("{largest:e}"),
            expected: "0, or 1e-10 to 1e15, as distances need".into(),
        });
    }
    Ok(())
}

/// Refuses weights that cannot be those of so many rows.
pub(super) fn check_weights(weights: Option<&[f64]>, rows: usize) -> Result<()> {
    let Some(weights) = weights else { return Ok(()) };
    let refuse = |value, expected: &str| {
        Err(Error::Config { name: "weights", value, expected: expected.into() })
    };
    if weights.len() != rows {
        return refuse(weights.len().to_string(), &format!("{rows}, one for each row"));
    }
    // Single precision has to hold them, and sums of them.
    let sound = |weight: f64| weight == 0.0 || (1e-10..=1e15).contains(&weight);
    if let Some((row, &weight)) = weights.iter().enumerate().find(|(_, weight)| !sound(**weight)) {
        let expected = "0, or 1e-10 to 1e15";
        return refuse(format!("{weight:e} for row {row}"), expected);
    }
    if weights.iter().all(|&weight| weight == 0.0) {
        return refuse("all 0".into(), "a positive one");
    }
    Ok(())
}

/// ||x - c||^2
fn distance<T: Real>(x: &[T], c: &[T]) -> f64 {
    x.iter().zip(c).map(|(x, c)| (x.to_f64() - c.to_f64()).powi(2)).sum()
}

/// Moves every centroid of a codebook to the mean of the points that have its code, or without any to
/// a far point. Returns the weighted sum of the squared distances of all points from their centroids
/// before.
///
/// Means are taken of differences from one of the points, so that the mean of equal points is that
/// point, and a cluster far from the origin loses no digits.
fn move_to_means<T: Real>(points: &Points<'_, T>, codes: &[u32], centroids: &mut [T]) -> f64 {
    let (s, groups) = (points.rows.group_width(), points.rows.groups);
    let code = |i: usize| {
        let (row, g) = points.place(i);
        codes[row * groups + g] as usize
    };
    let (mut totals, mut sums) = (vec![0.0; centroids.len() / s], vec![0.0; centroids.len()]);
    let mut origins = vec![T::ZERO; centroids.len()];
    let mut off = 0.0;
    for i in 0..points.len() {
        let (point, j, weight) = (points.point(i), code(i), points.weight(i));
        off += weight * distance(point, &centroids[j * s..][..s]);
        let origin = &mut origins[j * s..][..s];
        if totals[j] == 0.0 {
            origin.copy_from_slice(point);
        }
        totals[j] += weight;
        for ((sum, x), origin) in sums[j * s..][..s].iter_mut().zip(point).zip(origin) {
            *sum += weight * (x.to_f64() - origin.to_f64());
        }
    }
    for (at, c) in centroids.iter_mut().enumerate().filter(|(at, _)| totals[at / s] > 0.0) {
        *c = T::from_f64(origins[at].to_f64() + sums[at] / totals[at / s]);
    }

    let empty: Vec<usize> = (0..totals.len()).filter(|&j| totals[j] == 0.0).collect();
    if !empty.is_empty() {
        let far = farthest(points, |i| {
            points.weight(i) * distance(points.point(i), &centroids[code(i) * s..][..s])
        });
        for (j, i) in empty.into_iter().zip(far) {
            centroids[j * s..][..s].copy_from_slice(points.point(i));
        }
    }
    off
}

/// The points that are off, the farthest first, and of equal points only one.
fn farthest<T: Real>(points: &Points<'_, T>, off: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut far: Vec<(f64, usize)> =
        (0..points.len()).map(|i| (off(i), i)).filter(|(off, _)| *off > 0.0).collect();
    let elements = |i: usize| points.point(i).iter().map(|x| x.to_f64());
    // By their elements as well, so that equal points stand together.
    far.sort_unstable_by(|(a, i), (b, l)| {
        let by_elements = || elements(*i).partial_cmp(elements(*l)).expect("finite elements");
        b.total_cmp(a).then_with(by_elements).then(i.cmp(l))
    });
    far.dedup_by(|(_, i), (_, kept)| points.point(*i) == points.point(*kept));
    far.into_iter().map(|(_, i)| i).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::levels::at_each;
    use crate::parallel::with_threads;
    use proptest::prelude::*;

    /// Tables of up to 60 rows, D, K, and whether groups share a codebook; some have few distinct
    /// parts.
    fn problems() -> impl Strategy<Value = (Tensor<f64>, DpqConfig)> {
        let sizes = (1..60_usize, 1..4_usize, 1..6_usize, 2..9_usize, any::<bool>(), any::<bool>());
        sizes.prop_flat_map(|(v, groups, s, k, shared, coarse)| {
            let config = DpqConfig { shared, ..DpqConfig::vq(groups, k) };
            proptest::collection::vec(-2.0..2.0, v * groups * s).prop_map(move |data| {
                let shown = |x: f64| if coarse { x.round() } else { x };
                (Tensor::from_fn([v, groups * s], |i| shown(data[i])), config)
            })
        })
    }

    /// The point of every row and group, and its codebook.
    fn parts(table: &Tensor<f64>, config: &DpqConfig) -> Vec<(usize, Vec<f64>)> {
        let s = table.shape()[1] / config.groups;
        let book = |g: usize| if config.shared { 0 } else { g };
        let all = table.data().chunks(s).enumerate();
        all.map(|(i, part)| (book(i % config.groups), part.to_vec())).collect()
    }

    /// The nearest codeword, by the definition.
    fn nearest_by_definition(part: &[f64], book: &[Vec<f64>]) -> usize {
        let far: Vec<f64> = book.iter().map(|c| distance(part, c)).collect();
        (0..far.len()).fold(0, |best, j| if far[j] < far[best] { j } else { best })
    }

    fn books(codebooks: &Tensor<f64>) -> Vec<Vec<Vec<f64>>> {
        let [_, k, s] = codebooks.shape()[..] else { panic!("G x K x s") };
        let book = |book: &[f64]| book.chunks(s).map(<[f64]>::to_vec).collect();
        codebooks.data().chunks(k * s).map(book).collect()
    }

    fn error(parts: &[(usize, Vec<f64>)], books: &[Vec<Vec<f64>>]) -> f64 {
        let of = |(g, part): &(usize, Vec<f64>)| {
            distance(part, &books[*g][nearest_by_definition(part, &books[*g])])
        };
        parts.iter().map(of).sum::<f64>() / (parts.len() * parts[0].1.len()) as f64
    }

    proptest! {
        #[test]
        fn the_error_never_rises((table, config) in problems()) {
            let fit = KMeans::default().fit(&table, None, &config).unwrap();
            for pair in fit.errors.windows(2) {
                prop_assert!(pair[1] <= pair[0] * (1.0 + 1e-12) + 1e-25, "{:?}", fit.errors);
            }
            let last = error(&parts(&table, &config), &books(&fit.codebooks));
            let before = fit.errors.last().unwrap();
            prop_assert!(last <= before * (1.0 + 1e-12) + 1e-25, "{last}, before {before}");
        }

        /// Codes and means by their definitions, from the same start.
        #[test]
        fn an_iteration_equals_its_definition((table, config) in problems(), after in 0..4_usize) {
            let run = |iterations| {
                KMeans { iterations, ..KMeans::default() }.fit(&table, None, &config).unwrap()
            };
            let (parts, before) = (parts(&table, &config), books(&run(after).codebooks));
            // Between two codewords that are equally near, rounding decides.
            let tie = |(g, part): &(usize, Vec<f64>)| {
                let nearest = &before[*g][nearest_by_definition(part, &before[*g])];
                let off = |c: &Vec<f64>| distance(part, c) - distance(part, nearest);
                before[*g].iter().any(|c| c != nearest && off(c) < 1e-9)
            };
            if parts.iter().any(tie) {
                return Ok(());
            }
            let found = run(after + 1);
            if found.errors.len() == after + 1 {
                let expected = error(&parts, &before);
                prop_assert!((found.errors[after] - expected).abs() <= 1e-12, "{expected}");
            }
            for (g, (book, found)) in before.iter().zip(books(&found.codebooks)).enumerate() {
                for (j, found) in found.iter().enumerate() {
                    let of_code = |(at, part): &&(usize, Vec<f64>)| {
                        *at == g && nearest_by_definition(part, book) == j
                    };
                    let members: Vec<_> = parts.iter().filter(of_code).collect();
                    for (t, &x) in found.iter().enumerate() {
                        let sum: f64 = members.iter().map(|(_, part)| part[t]).sum();
                        if !members.is_empty() {
                            prop_assert!((x - sum / members.len() as f64).abs() <= 1e-12);
                        }
                    }
                    let is_part = parts.iter().any(|(_, part)| part == found);
                    prop_assert!(!members.is_empty() || is_part || *found == book[j]);
                }
            }
        }

        /// With as many codewords as distinct parts, every part is a codeword, to the bit.
        #[test]
        fn enough_codewords_leave_no_error((table, config) in problems()) {
            let most = if config.shared { config.groups } else { 1 } * table.shape()[0];
            let config = DpqConfig { codebook_size: most.max(2) + 1, ..config };
            let codebooks = KMeans::default().codebooks(&table, &config).unwrap();
            let books = books(&codebooks);
            for (g, part) in parts(&table, &config) {
                prop_assert!(books[g].contains(&part), "{part:?} in {:?}", books[g]);
            }
        }

        #[test]
        fn threads_and_instruction_sets_give_the_same_bits((table, config) in problems()) {
            let table = table.cast::<f32>();
            let run = || KMeans::default().fit(&table, None, &config).unwrap();
            let one = with_threads(1, run);
            prop_assert_eq!(&one, &with_threads(2, run));
            prop_assert_eq!(&one, &with_threads(4, run));
            for (level, found) in at_each(run) {
                prop_assert_eq!(&one, &found, "{}", level);
            }
        }
    }

    #[test]
    fn codewords_without_points_move_to_the_farthest_ones() {
        let table = Tensor::from([[0.0], [0.1], [5.0], [5.0], [9.0]]);
        let points = Points { rows: Queries::new(&table, None, 1), groups: 0..1, weights: None };
        // All points have code 1, whose mean is 3.82: the farthest are 9, 0 and 0.1, then the 5s.
        let mut centroids = [7.0, 4.0, 8.0, 8.0, 8.0];
        move_to_means(&points, &[1; 5], &mut centroids);
        let mean = 19.1 / 5.0;
        assert!((centroids[1] - mean).abs() < 1e-12);
        assert_eq!([centroids[0], centroids[2], centroids[3], centroids[4]], [9.0, 0.0, 0.1, 5.0]);
    }

    #[test]
    fn a_sample_is_drawn_once_per_row_and_by_the_seed() {
        let kmeans = KMeans::default();
        let drawn = kmeans.drawn(300, 1000);
        assert_eq!(drawn.len(), 300);
        assert!(drawn.is_sorted_by(|a, b| a < b) && drawn[299] < 1000);
        assert!((drawn.iter().sum::<u32>() as f64 / 300.0 - 499.5).abs() < 60.0);
        assert_ne!(drawn, KMeans { seed: 1, ..kmeans }.drawn(300, 1000));
        assert_eq!(KMeans::default().drawn(5, 5), [0, 1, 2, 3, 4]);
        // Clusters that are far apart are found from a part of the rows.
        let table = Tensor::from_fn([5000, 4], |i| (i / 4 % 3 * 100) as f64 + (i as f64).sin());
        let few = KMeans { sample: Some(20), ..KMeans::default() };
        let fit = few.fit(&table, None, &DpqConfig::vq(2, 3)).unwrap();
        let error = error(&parts(&table, &DpqConfig::vq(2, 3)), &books(&fit.codebooks));
        assert!(error < 1.0 && error != *fit.errors.last().unwrap(), "{error}");
    }

    #[test]
    fn a_cluster_far_from_the_origin_keeps_its_digits() {
        let table = Tensor::from_fn([200, 2], |i| 1000.0 + (i % 7) as f32 / 64.0);
        let config = DpqConfig::vq(2, 7);
        let fit = KMeans::default().fit(&table, None, &config).unwrap();
        let mut found = fit.codebooks.data()[..7].to_vec();
        found.sort_by(f32::total_cmp);
        let expected: Vec<f32> = (0..7).map(|i| 1000.0 + i as f32 / 64.0).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn tables_that_have_no_means_are_refused() {
        let refused = |kmeans: KMeans, table: Tensor<f32>| {
            kmeans.codebooks(&table, &DpqConfig::vq(2, 4)).unwrap_err().to_string()
        };
        let refused_by_default = |table| refused(KMeans::default(), table);
        let full = |value| Tensor::full([3, 4], value);
        assert_eq!(
            refused_by_default(full(f32::NAN)),
            "an element of the table is NaN: expected a finite number"
        );
        assert_eq!(
            refused_by_default(full(1e16)),
            "largest element of the table = 1.0000000272564224e16: expected 0, or 1e-10 to 1e15, as distances need"
        );
        assert!(refused_by_default(full(1e-12)).starts_with("largest element of the table = "));
        assert_eq!(
            refused_by_default(Tensor::zeros([3])),
            "shape of the table = [3]: expected V x d"
        );
        assert!(
            refused_by_default(Tensor::zeros([0, 4])).starts_with("vocabulary = 0: expected 1")
        );
        assert!(
            refused_by_default(Tensor::zeros([3, 3])).starts_with("groups = 2: expected a div")
        );
        assert_eq!(
            refused(KMeans { sample: Some(0), ..KMeans::default() }, full(1.0)),
            "sample = 0: expected at least 1 point per codeword, or none set"
        );
        assert_eq!(
            KMeans::default().codebooks(&full(0.0), &DpqConfig::vq(2, 4)).unwrap(),
            Tensor::zeros([2, 4, 2])
        );
    }
}
