//! Compression of a finished table: codebooks and codes that lose the least of it.

use super::beam::Search;
use super::codes::CodeTable;
use super::compact::CompactEmbedding;
use super::config::DpqConfig;
use super::kmeans::{KMeans, check_size, check_weights, nearest_codes};
use super::refit::refit;
use super::settings::bits;
use crate::embedding::check_finished;
use crate::error::{Error, Result};
use crate::parallel::{self, Order, chunks};
use crate::real::Real;
use crate::tensor::Tensor;

/// How a finished table X, V x d, is compressed without the model that it came from.
///
/// Columns are cut into P parts, and a part of a row becomes the mean of m = D / P codewords:
///
/// ```text
/// y[i,p] = 1/m sum over the groups g of part p of  C[g,code[i,g]]
/// E      = sum over i,p of  w[i] || X[i,p] - y[i,p] ||^2         w = 1, or weights of the rows
/// ```
///
/// With one codeword to a part this is product quantisation (Jégou, Douze & Schmid 2011), by
/// [k-means](KMeans). With more, groups add up to much finer steps for the same bits, which is called additive
/// quantisation (Babenko & Lempitsky 2014): every group starts as k-means of what the groups before it
/// left over, codes are chosen by a beam search, and `rounds` times codewords are fitted to the codes by
/// least squares and codes are chosen again. E never rises on the rows that are trained on, until values are
/// rounded at the end.
///
/// This is what a [`DpqEmbedding`](super::DpqEmbedding) of the VQ form learns when it is trained to give
/// the table's rows; with the table for queries both steps have a solution, which no learning rate comes
/// near ([`Reconstruction`](crate::reconstruct::Reconstruction) is the way by gradients).
///
/// ```
/// use dpq::pq::Compression;
/// use dpq::{CompactEmbedding, Tensor};
/// let table = Tensor::from_fn([500, 8], |i| (i as f32 * 0.37).sin() + (i as f32 * 1.7).cos());
/// let squares = |settings: &Compression| {
///     CompactEmbedding::from_table(&table, settings, None)?.mean_squared_error(&table)
/// };
/// // 8 codes of 4 bits, one for each column, or four for every 4 columns.
/// let [one, four] = [Compression::pq(8, 16), Compression::dpq(2, 8, 16)];
/// assert!(squares(&four)? < squares(&one)?);
/// # Ok::<(), dpq::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Compression {
    /// P: divides the width and the groups.
    pub parts: usize,
    /// D, the codes of a row.
    pub groups: usize,
    /// K, the codewords of a group.
    pub codebook_size: usize,
    /// How often codewords and codes are trained together. 10 by default; 0 leaves codewords where they
    /// start. Without effect on one group to a part, where k-means does it.
    pub rounds: usize,
    /// How many beginnings of codes the search keeps, while training half as many. 16 by default.
    pub beam: usize,
    /// Values are rounded to [8 bits](CompactEmbedding::in_eight_bits), and codes are chosen for the
    /// rounded ones. On by default.
    pub eight_bits: bool,
    /// k-means, which codebooks start with.
    pub kmeans: KMeans,
}

/// The most numbers of all codewords: 4 GB.
const MOST_VALUES: usize = 1 << 30;

/// Steps of a fit of codewords.
const STEPS: usize = 8;

impl Compression {
    /// Product quantisation by k-means: one of `groups` codes to a part.
    pub fn pq(groups: usize, codebook_size: usize) -> Self {
        Compression::dpq(groups, groups, codebook_size)
    }

    /// Several codes to a part, of codebooks that stay as they start.
    pub fn additive(parts: usize, groups: usize, codebook_size: usize) -> Self {
        Compression { rounds: 0, ..Compression::dpq(parts, groups, codebook_size) }
    }

    /// Several codes to a part, trained together.
    pub fn dpq(parts: usize, groups: usize, codebook_size: usize) -> Self {
        Compression {
            parts,
            groups,
            codebook_size,
            rounds: 10,
            beam: 16,
            eight_bits: true,
            kmeans: KMeans::default(),
        }
    }

    /// m, the codes of a part.
    fn each(&self) -> usize {
        self.groups / self.parts
    }

    /// What the compact table says of itself.
    fn config(&self) -> DpqConfig {
        let additive = self.parts < self.groups;
        DpqConfig { additive, ..DpqConfig::vq(self.groups, self.codebook_size) }.sizes_only()
    }

    /// Checks the settings for rows of `width` elements.
    ///
    /// # Errors
    /// [`Error::Config`] with the first setting that cannot be.
    pub fn check(&self, width: usize) -> Result<()> {
        let refuse = |name, value: usize, expected: String| {
            Err(Error::Config { name, value: value.to_string(), expected })
        };
        let Compression { parts, groups, beam, .. } = *self;
        if parts == 0 || !width.is_multiple_of(parts) {
            return refuse("parts", parts, format!("a divisor of the width {width}"));
        }
        if groups == 0 || !groups.is_multiple_of(parts) {
            return refuse("groups", groups, format!("a multiple of the {parts} parts"));
        }
        if !(1..=1 << 10).contains(&beam) {
            return refuse("beam", beam, "1 to 1024".into());
        }
        self.config().check(width)?;
        let numbers = groups.checked_mul(self.codebook_size * (width / parts));
        if numbers.is_none_or(|numbers| numbers > MOST_VALUES) {
            let most = MOST_VALUES / (self.codebook_size * (width / parts));
            return refuse("groups", groups, format!("at most {most}, as codewords take memory"));
        }
        Ok(())
    }

    /// The bytes of codes and values for V rows of width d, as a file has them.
    ///
    /// # Panics
    /// If the settings do not [fit](Self::check) the width.
    #[track_caller]
    pub fn bytes(&self, vocabulary: usize, width: usize) -> usize {
        if let Err(error) = self.check(width) {
            panic!("bytes: {error}");
        }
        let s = width / self.parts;
        let bits = bits(self.codebook_size) as usize;
        let numbers = self.groups * self.codebook_size * s;
        let values = if self.eight_bits { numbers + 4 * self.groups } else { 4 * numbers };
        vocabulary.saturating_mul(self.groups * bits).div_ceil(8).saturating_add(values)
    }

    /// The codebooks of some rows, and codes that were chosen for them on the way.
    fn train<T: Real>(
        &self,
        rows: &Tensor<T>,
        weights: Option<&[f64]>,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Result<(Tensor<T>, Option<Vec<u32>>)> {
        if self.parts == self.groups {
            return Ok((self.kmeans.fit(rows, weights, &self.config())?.codebooks, None));
        }
        let mut values = self.start(rows, weights)?;
        let search = |values: &Tensor<T>| {
            let mut codes = vec![0; rows.shape()[0] * self.groups];
            let beam = self.beam.div_ceil(2);
            Search::new(values, self.groups, self.each(), beam).codes(rows.data(), &mut codes);
            codes
        };
        let mut codes: Option<Vec<u32>> = None;
        for round in 0..self.rounds {
            if !go_on(round) {
                break;
            }
            let mut found = search(&values);
            if let Some(before) = codes {
                keep_better(rows, &values, self.each(), &before, &mut found);
            }
            refit(rows, weights, &found, self.each(), &mut values, STEPS);
            codes = Some(found);
        }
        Ok((values, codes))
    }

    /// Codebooks of which each is k-means of what those before it, each with its nearest codeword, leave
    /// over of m x.
    fn start<T: Real>(&self, rows: &Tensor<T>, weights: Option<&[f64]>) -> Result<Tensor<T>> {
        let (each, k) = (self.each(), self.codebook_size);
        let [n, width] = check_finished(rows)?;
        let s = width / self.parts;
        let mut values = Tensor::zeros([self.groups, k, s]);
        let mut rest = Tensor::from_fn([n, width], |i| T::from_usize(each) * rows.data()[i]);
        let config = DpqConfig::vq(self.parts, k).sizes_only();
        for stage in 0..each {
            if stage == 0 {
                check_size(&rest)?;
            } else {
                // What is left over may be nearly nothing: too little for squares.
                let tiny = T::from_f64(1e-10);
                rest.data_mut().iter_mut().filter(|x| x.abs() < tiny).for_each(|x| *x = T::ZERO);
            }
            let kmeans =
                KMeans { seed: self.kmeans.seed.wrapping_add(stage as u64), ..self.kmeans };
            let books = kmeans.fit(&rest, weights, &config)?.codebooks;
            let codes = nearest_codes(&rest, &books, self.parts);
            for (row, codes) in
                rest.data_mut().chunks_exact_mut(width).zip(codes.chunks_exact(self.parts))
            {
                for (p, (part, &code)) in row.chunks_exact_mut(s).zip(codes).enumerate() {
                    let codeword = &books.data()[(p * k + code as usize) * s..];
                    part.iter_mut().zip(codeword).for_each(|(x, &c)| *x -= c);
                }
            }
            for (p, book) in books.data().chunks_exact(k * s).enumerate() {
                values.data_mut()[(p * each + stage) * k * s..][..k * s].copy_from_slice(book);
            }
        }
        Ok(values)
    }
}

/// Takes the codes that a part had before where they are nearer to it than those that it has.
fn keep_better<T: Real>(
    rows: &Tensor<T>,
    values: &Tensor<T>,
    each: usize,
    before: &[u32],
    codes: &mut [u32],
) {
    let [groups, k, s] = values.shape()[..] else { unreachable!("D x K x s") };
    let width = groups / each * s;
    let off = |row: &[T], part: usize, codes: &[u32]| -> f64 {
        let mut rest: Vec<f64> =
            row[part * s..][..s].iter().map(|x| each as f64 * x.to_f64()).collect();
        for (g, &code) in codes[part * each..][..each].iter().enumerate() {
            let codeword = &values.data()[((part * each + g) * k + code as usize) * s..];
            rest.iter_mut().zip(codeword).for_each(|(x, c)| *x -= c.to_f64());
        }
        rest.iter().map(|x| x * x).sum()
    };
    parallel::for_each(Order::Forward, chunks(codes, groups), |i, codes| {
        let (row, before) = (&rows.data()[i * width..][..width], &before[i * groups..][..groups]);
        for part in 0..groups / each {
            let run = part * each..(part + 1) * each;
            if before[run.clone()] != codes[run.clone()]
                && off(row, part, before) < off(row, part, codes)
            {
                codes[run.clone()].copy_from_slice(&before[run]);
            }
        }
    });
}

impl<T: Real> CompactEmbedding<T> {
    /// A finished table V x d, compressed; see [`Compression`]. With weights, as frequencies of words, rows
    /// with larger ones are kept better.
    ///
    /// # Errors
    /// [`Error::Config`] if the settings do not fit the table or the weights do not; otherwise as
    /// [`KMeans::codebooks`].
    pub fn from_table(
        table: &Tensor<T>,
        settings: &Compression,
        weights: Option<&[f64]>,
    ) -> Result<Self> {
        CompactEmbedding::from_table_while(table, settings, weights, |_| true)
    }

    /// The same, asking before each round of training, with its number from 0, whether to go on: to show
    /// progress, or to stop when time is up.
    ///
    /// # Errors
    /// As [`from_table`](Self::from_table).
    pub fn from_table_while(
        table: &Tensor<T>,
        settings: &Compression,
        weights: Option<&[f64]>,
        go_on: impl FnMut(usize) -> bool,
    ) -> Result<Self> {
        let [vocabulary, width] = check_finished(table)?;
        settings.check(width)?;
        check_weights(weights, vocabulary)?;
        let (values, before) = settings.train(table, weights, go_on)?;
        // Codes of the first row stand for all until they are chosen.
        let none =
            CodeTable::pack(&vec![0; settings.groups], settings.groups, settings.codebook_size);
        let mut compact = CompactEmbedding::new(settings.config(), none, values)?;
        if settings.parts < settings.groups {
            compact = compact.in_parts(settings.parts)?;
        }
        if settings.eight_bits {
            compact = compact.in_eight_bits()?;
        }
        let mut codes = compact.choose(table, settings.beam);
        if let Some(before) = before {
            keep_better(table, compact.values(), settings.each(), &before, &mut codes);
        }
        compact.with_codes(CodeTable::pack(&codes, settings.groups, settings.codebook_size))
    }

    /// The codes of rows of this width.
    fn choose(&self, rows: &Tensor<T>, beam: usize) -> Vec<u32> {
        let groups = self.config().groups;
        let each = groups / self.parts();
        if each == 1 {
            return nearest_codes(rows, self.values(), groups);
        }
        let mut codes = vec![0; rows.shape()[0] * groups];
        Search::new(self.values(), groups, each, beam).codes(rows.data(), &mut codes);
        codes
    }

    /// The codes of other rows n x d, as rows of this table would have them: those whose values come
    /// nearest. `beam` is what [`Compression`] has; with one codeword to a part it changes nothing.
    ///
    /// # Errors
    /// [`Error::Config`] if rows have another width, the beam is not 1 to 1024, the table has bands, or the
    /// largest element is not of a size that [`KMeans::codebooks`] takes;
    /// [`Error::NotFinite`] if an element is not finite.
    pub fn encode(&self, rows: &Tensor<T>, beam: usize) -> Result<CodeTable> {
        let refuse =
            |name, value: String, expected: String| Err(Error::Config { name, value, expected });
        let [_, width] = check_finished(rows)?;
        let config = self.config();
        if width != self.width() {
            return refuse("width of the rows", width.to_string(), self.width().to_string());
        }
        if !(1..=1 << 10).contains(&beam) {
            return refuse("beam", beam.to_string(), "1 to 1024".into());
        }
        if !config.bands.is_empty() {
            return refuse(
                "bands",
                config.bands.to_string(),
                "none, as new rows are in no band".into(),
            );
        }
        check_size(rows)?;
        let codes = self.choose(rows, beam);
        Ok(CodeTable::pack(&codes, config.groups, config.codebook_size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::with_threads;
    use crate::rng::stream;
    use proptest::prelude::*;

    fn table(rows: usize, width: usize) -> Tensor<f32> {
        Tensor::normal([rows, width], 1.0, &mut stream(0, "table", 0))
    }

    fn error(table: &Tensor<f32>, settings: &Compression) -> f64 {
        let compact = CompactEmbedding::from_table(table, settings, None).unwrap();
        compact.mean_squared_error(table).unwrap()
    }

    #[test]
    fn each_method_is_better_than_the_one_before_at_the_same_bits() {
        let table = table(2000, 12);
        let pq = error(&table, &Compression::pq(4, 16));
        let additive = error(&table, &Compression::additive(1, 4, 16));
        let mut before = additive;
        for rounds in [1, 3, 10] {
            let trained = error(&table, &Compression { rounds, ..Compression::dpq(1, 4, 16) });
            assert!(trained < before, "{rounds} rounds: {trained}, before {before}");
            before = trained;
        }
        assert!(additive < pq && before < 0.9 * pq, "{pq} {additive} {before}");
        let greedy = error(&table, &Compression { beam: 1, ..Compression::dpq(1, 4, 16) });
        assert!(before < greedy, "{before} {greedy}");
    }

    #[test]
    fn product_quantisation_is_that_of_k_means() {
        let table = table(300, 6);
        let settings = Compression { eight_bits: false, ..Compression::pq(3, 16) };
        let compact = CompactEmbedding::from_table(&table, &settings, None).unwrap();
        let expected =
            CompactEmbedding::by_kmeans(&table, DpqConfig::vq(3, 16), &KMeans::default());
        assert_eq!(compact, expected.unwrap());
    }

    #[test]
    fn rows_of_more_weight_are_kept_better() {
        let table = table(1000, 8);
        let weights: Vec<f64> = (0..1000).map(|i| if i < 100 { 100.0 } else { 1.0 }).collect();
        for settings in [Compression::pq(4, 16), Compression::dpq(2, 4, 16)] {
            let first = |weights: Option<&[f64]>| {
                let compact = CompactEmbedding::from_table(&table, &settings, weights).unwrap();
                let rows = compact.lookup(&(0..100).collect::<Vec<_>>()).unwrap();
                rows.data()
                    .iter()
                    .zip(table.data())
                    .map(|(y, x)| f64::from(x - y).powi(2))
                    .sum::<f64>()
            };
            assert!(first(Some(&weights)) < 0.8 * first(None), "{settings:?}");
        }
    }

    #[test]
    fn results_do_not_depend_on_threads() {
        let table = table(9000, 8);
        let run = |threads| {
            with_threads(threads, || {
                let settings = Compression { rounds: 2, ..Compression::dpq(2, 6, 16) };
                CompactEmbedding::from_table(&table, &settings, None).unwrap()
            })
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn new_rows_are_encoded_as_the_table_was() {
        let table = table(400, 12);
        for settings in [Compression::pq(4, 16), Compression::additive(2, 6, 16)] {
            let settings = Compression { eight_bits: false, ..settings };
            let compact = CompactEmbedding::from_table(&table, &settings, None).unwrap();
            assert_eq!(&compact.encode(&table, settings.beam).unwrap(), compact.codes());
            let wrong = compact.encode(&Tensor::zeros([2, 6]), 16).unwrap_err().to_string();
            assert_eq!(wrong, "width of the rows = 6: expected 12");
        }
    }

    #[test]
    fn settings_that_do_not_fit_are_refused() {
        let refused = |settings: Compression| settings.check(12).unwrap_err().to_string();
        assert_eq!(
            refused(Compression::dpq(5, 5, 16)),
            "parts = 5: expected a divisor of the width 12"
        );
        assert_eq!(
            refused(Compression::dpq(4, 6, 16)),
            "groups = 6: expected a multiple of the 4 parts"
        );
        let beam = Compression { beam: 0, ..Compression::dpq(4, 8, 16) };
        assert_eq!(refused(beam), "beam = 0: expected 1 to 1024");
        let weights = |weights: &[f64]| {
            let settings = Compression::pq(2, 2);
            let table = Tensor::<f32>::zeros([2, 4]);
            CompactEmbedding::from_table(&table, &settings, Some(weights)).unwrap_err().to_string()
        };
        assert_eq!(weights(&[1.0]), "weights = 1: expected 2, one for each row");
        assert_eq!(weights(&[1.0, -1.0]), "weights = -1e0 for row 1: expected 0, or 1e-10 to 1e15");
        assert_eq!(weights(&[0.0, 0.0]), "weights = all 0: expected a positive one");
    }

    proptest! {
        /// What a file says of the size is what is promised.
        #[test]
        fn bytes_are_those_of_the_table(
            (rows, parts, each, k, s) in (1..40_usize, 1..4_usize, 1..4_usize, 2..40_usize, 1..4_usize),
            eight_bits: bool,
        ) {
            let table = Tensor::from_fn([rows, parts * s], |i| (i as f32 * 0.7).sin());
            let settings = Compression::additive(parts, parts * each, k);
            let settings = Compression { eight_bits, ..settings };
            let compact = CompactEmbedding::from_table(&table, &settings, None).unwrap();
            prop_assert_eq!(compact.bytes(), settings.bytes(rows, parts * s));
            prop_assert_eq!(compact.width(), parts * s);
        }
    }
}
