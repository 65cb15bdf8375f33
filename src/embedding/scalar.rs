//! A finished table in few bits per element.

use super::embedding::{Embedded, Embedding, check_finished};
use crate::error::{Error, Result};
use crate::kernels::dispatch::dispatch;
use crate::parallel;
use crate::real::Real;
use crate::tape::Bound;
use crate::tensor::Tensor;
use fearless_simd::Simd;

/// Rows of a piece of work.
const CHUNK: usize = 128;

/// A finished table V x d, quantised after training: an element is one of a few levels, stored in 8, 4
/// or 2 bits, times its row's scale, one `f32`.
///
/// ```text
/// y[i,t] = scale[i] level[i,t]
///
/// bits   levels               scale of a row x
/// 8      -127, -126, .. 127   max |x| / 127
/// 4      -7, -6, .. 7         max |x| / 7
/// 2      -3, -1, 1, 3         the one with the least sum of (x - y)^2
/// ```
///
/// and every element gets the nearest level. With 8 and 4 bits levels are a scale apart, so no element
/// is off by more than scale / 2, and 0 stays 0.
///
/// With 2 bits the level 0 is given up: of -1, 0 and 1 one of four codes would be idle. And the largest
/// element does not set the scale, as most others would then get the same two levels. Of 300 normal
/// elements a row loses, as a share of its sum of squares: 66% with levels -1, 0, 1 of the largest
/// element, 37% with +-1/3 and +-1 of it, 12% as it is done here. A row of zeros stays zeros.
///
/// Rows do not depend on each other.
///
/// ```
/// use dpq::Tensor;
/// use dpq::embedding::ScalarTable;
/// let table = Tensor::from([[0.0_f32, 1.0, -0.5, 0.3], [7.0, 0.0, 2.2, -3.0]]);
/// let four = ScalarTable::quantize(&table, 4)?;
/// assert_eq!(four.lookup(&[1])?, Tensor::from([[7.0_f32, 0.0, 2.0, -3.0]]));
/// assert_eq!(four.bytes(), 2 * (2 + 4)); // of a row 4 codes of 4 bits, and the scale
/// # Ok::<(), dpq::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ScalarTable {
    levels: Levels,
    width: usize,
    /// One for each row.
    scales: Vec<f32>,
    /// The codes, a row beginning with a byte of its own, the first code in a byte's lowest bits.
    codes: Vec<u8>,
}

/// The levels of a number of bits: code c is the level `step` c - `most`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Levels {
    bits: u32,
    step: i32,
    most: i32,
}

impl Levels {
    fn of(bits: u32) -> Result<Levels> {
        match bits {
            8 => Ok(Levels { bits, step: 1, most: 127 }),
            4 => Ok(Levels { bits, step: 1, most: 7 }),
            2 => Ok(Levels { bits, step: 2, most: 3 }),
            _ => Err(Error::Config {
                name: "bits",
                value: bits.to_string(),
                expected: "8, 4 or 2".into(),
            }),
        }
    }

    /// The bytes of the codes of a row.
    fn row_bytes(self, width: usize) -> usize {
        width.div_ceil(self.codes_per_byte())
    }

    fn codes_per_byte(self) -> usize {
        8 / self.bits as usize
    }

    /// The scale of a row.
    fn scale<T: Real>(self, row: &[T]) -> Result<f32> {
        let largest = row.iter().fold(0.0, |most: f64, x| most.max(x.to_f64().abs()));
        let scale = if self.bits == 2 {
            least_squares_scale(row)
        } else {
            (largest / f64::from(self.most)) as f32
        };
        if !scale.is_finite() {
            return Err(Error::Config {
                name: "largest element of a row",
                value: format!("{largest:e}"),
                expected: "a number whose scale single precision holds".into(),
            });
        }
        // A row too small for single precision is one of zeros.
        Ok(if scale.is_normal() { scale } else { 0.0 })
    }

    /// The code of the nearest level.
    fn code<T: Real>(self, x: T, scale: f32) -> u8 {
        if scale == 0.0 {
            return 0;
        }
        let level = x.to_f64() / f64::from(scale);
        let code = (level + f64::from(self.most)) / f64::from(self.step);
        // Half way between two levels, the one that is farther from 0.
        let code = if level < 0.0 { (code - 0.5).ceil() } else { (code + 0.5).floor() };
        code.clamp(0.0, f64::from(2 * self.most / self.step)) as u8
    }

    /// What a code stands for.
    #[inline(always)]
    fn element<T: Real>(self, code: u8, scale: f32) -> T {
        let level = self.step * i32::from(code) - self.most;
        T::from_f64(f64::from(scale) * f64::from(level))
    }
}

/// The scale c with the least sum of (|x| - c l)^2 where every l is 1 or 3.
///
/// Whatever c is, the elements nearest to 3 c are the m largest ones for some m; and for each m the best
/// c is <|x|, l> / <l, l>, which leaves <x, x> - <|x|, l>^2 / <l, l>. So all m are tried.
fn least_squares_scale<T: Real>(row: &[T]) -> f32 {
    let mut sizes: Vec<f64> = row.iter().map(|x| x.to_f64().abs()).collect();
    sizes.sort_unstable_by(|a, b| b.total_cmp(a));
    let mut product: f64 = sizes.iter().sum();
    let mut squares = sizes.len() as f64;
    let (mut best, mut scale) = (product * product / squares, product / squares);
    for x in sizes {
        // From l = 1 to l = 3.
        product += 2.0 * x;
        squares += 8.0;
        if product * product / squares > best {
            (best, scale) = (product * product / squares, product / squares);
        }
    }
    scale as f32
}

impl ScalarTable {
    /// Quantises a table V x d to 8, 4 or 2 bits per element.
    ///
    /// # Errors
    /// [`Error::Config`] if the table is no matrix, has no rows or no columns, or another number of bits
    /// is asked for, or the scale of a row is more than single precision holds; [`Error::NotFinite`] if an
    /// element is not finite.
    pub fn quantize<T: Real>(table: &Tensor<T>, bits: u32) -> Result<Self> {
        let levels = Levels::of(bits)?;
        let [vocabulary, width] = check_finished(table)?;
        let scales = table.rows().map(|row| levels.scale(row)).collect::<Result<Vec<f32>>>()?;
        let row_bytes = levels.row_bytes(width);
        let mut codes = vec![0; vocabulary * row_bytes];
        parallel::for_each_chunk(&mut codes, CHUNK * row_bytes, |i, codes| {
            let rows = table.data()[i * CHUNK * width..].chunks_exact(width);
            let rows = rows.zip(&scales[i * CHUNK..]);
            for (codes, (row, &scale)) in codes.chunks_exact_mut(row_bytes).zip(rows) {
                for (byte, elements) in codes.iter_mut().zip(row.chunks(levels.codes_per_byte())) {
                    let shifted = |(i, &x)| levels.code(x, scale) << (i as u32 * bits);
                    *byte = elements.iter().enumerate().map(shifted).sum();
                }
            }
        });
        Ok(ScalarTable { levels, width, scales, codes })
    }

    /// From what [`bits`](Self::bits), [`scales`](Self::scales) and [`codes`](Self::codes) give, for rows of
    /// this width.
    ///
    /// # Errors
    /// [`Error::Config`] if they do not fit each other, or a scale is negative or not finite.
    pub fn new(width: usize, bits: u32, scales: Vec<f32>, codes: Vec<u8>) -> Result<Self> {
        let refuse = |name, value: String, expected| Err(Error::Config { name, value, expected });
        let levels = Levels::of(bits)?;
        if width == 0 || scales.is_empty() {
            let value = format!("{} x {width}", scales.len());
            return refuse("shape of the table", value, "at least 1 x 1".into());
        }
        if let Some(scale) = scales.iter().find(|scale| !(0.0..=f32::MAX).contains(*scale)) {
            return refuse("scale", scale.to_string(), "0, or a positive number".into());
        }
        let bytes = levels.row_bytes(width).checked_mul(scales.len());
        if bytes != Some(codes.len()) {
            let expected = format!("those of {} rows of width {width}", scales.len());
            return refuse("bytes of codes", codes.len().to_string(), expected);
        }
        Ok(ScalarTable { levels, width, scales, codes })
    }

    /// Ids are `0..vocabulary()`.
    pub fn vocabulary(&self) -> usize {
        self.scales.len()
    }

    /// The width of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Bits of an element: 8, 4 or 2.
    pub fn bits(&self) -> u32 {
        self.levels.bits
    }

    /// The scale of every row.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The packed integers of all rows, each row from a new byte on, the first element in the lowest bits.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// The rows of `ids`, ids.len() x d.
    ///
    /// # Errors
    /// [`Error::Id`] if one is outside the vocabulary.
    pub fn lookup<T: Real>(&self, ids: &[u32]) -> Result<Tensor<T>> {
        let mut rows = Tensor::zeros([ids.len(), self.width]);
        self.lookup_into(ids, rows.data_mut())?;
        Ok(rows)
    }

    /// Writes the rows of `ids` to `rows`, ids.len() x d.
    ///
    /// # Errors
    /// [`Error::Id`] if one is outside the vocabulary; `rows` is then untouched.
    ///
    /// # Panics
    /// If `rows` is of another length.
    #[track_caller]
    pub fn lookup_into<T: Real>(&self, ids: &[u32], rows: &mut [T]) -> Result<()> {
        assert_eq!(
            rows.len(),
            ids.len() * self.width,
            "lookup_into: elements of {} rows of width {}",
            ids.len(),
            self.width
        );
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= self.vocabulary()) {
            return Err(Error::Id { id, vocabulary: self.vocabulary() });
        }
        parallel::for_each_chunk(rows, CHUNK * self.width, |i, rows| {
            let ids = &ids[i * CHUNK..];
            match self.levels.bits {
                8 => dispatch!(|simd| self.look_up::<_, T, 1>(simd, ids, rows)),
                4 => dispatch!(|simd| self.look_up::<_, T, 2>(simd, ids, rows)),
                _ => dispatch!(|simd| self.look_up::<_, T, 4>(simd, ids, rows)),
            }
        });
        Ok(())
    }

    /// Fills some rows, whose codes stand `PER_BYTE` in a byte.
    #[inline(always)]
    fn look_up<S: Simd, T: Real, const PER_BYTE: usize>(&self, _: S, ids: &[u32], rows: &mut [T]) {
        let (levels, row_bytes) = (self.levels, self.levels.row_bytes(self.width));
        let bits = 8 / PER_BYTE as u32;
        let code = |byte: u8, i: usize| (byte >> (i as u32 * bits)) & (u8::MAX >> (8 - bits));
        for (&id, row) in ids.iter().zip(rows.chunks_exact_mut(self.width)) {
            let scale = self.scales[id as usize];
            let bytes = &self.codes[id as usize * row_bytes..][..row_bytes];
            let (whole, rest) = row.as_chunks_mut::<PER_BYTE>();
            let (of_whole, of_rest) = bytes.split_at(whole.len());
            for (elements, &byte) in whole.iter_mut().zip(of_whole) {
                for (i, element) in elements.iter_mut().enumerate() {
                    *element = levels.element(code(byte, i), scale);
                }
            }
            for (i, element) in rest.iter_mut().enumerate() {
                *element = levels.element(code(of_rest[0], i), scale);
            }
        }
    }

    /// Bytes of the codes and the scales.
    pub fn bytes(&self) -> usize {
        self.codes.len() + size_of_val(&self.scales[..])
    }

    /// How many times smaller than the full table in single precision it is, from the bytes that are
    /// really stored.
    pub fn compression_ratio(&self) -> f64 {
        let full = size_of::<f32>() as f64 * self.vocabulary() as f64 * self.width as f64;
        full / self.bytes() as f64
    }
}

impl<T: Real> Embedding<T> for ScalarTable {
    fn vocabulary(&self) -> usize {
        self.scales.len()
    }

    fn width(&self) -> usize {
        self.width
    }

    /// The rows are constants: there is nothing to train.
    fn forward<'t>(&self, p: &Bound<'t, T>, ids: &[u32]) -> Embedded<'t, T> {
        let mut rows = p.tape.uninit([ids.len(), self.width]);
        if let Err(fault) = self.lookup_into(ids, rows.data_mut()) {
            rows.data_mut().fill(T::NAN);
            p.tape.fail(fault);
        }
        Embedded { rows: p.tape.constant(rows), regulariser: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::levels::at_each;
    use crate::parallel::with_threads;
    use proptest::prelude::*;

    /// Tables of up to 6 rows, some of them zeros, some elements 0, of very different sizes.
    fn tables() -> impl Strategy<Value = Tensor<f64>> {
        let element = prop_oneof![1 => Just(0.0), 4 => -1.0..1.0];
        (1..7_usize, 1..20_usize).prop_flat_map(move |(v, d)| {
            let scales = proptest::collection::vec(prop_oneof![Just(0.0), 1e-6..1e6], v);
            (scales, proptest::collection::vec(element.clone(), v * d)).prop_map(
                move |(scales, data)| Tensor::from_fn([v, d], |i| scales[i / d] * data[i]),
            )
        })
    }

    fn all(table: &ScalarTable) -> Tensor<f64> {
        table.lookup(&(0..table.vocabulary() as u32).collect::<Vec<_>>()).unwrap()
    }

    fn squares(x: &[f64], y: impl IntoIterator<Item = f64>) -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum()
    }

    proptest! {
        #[test]
        fn no_element_is_off_by_more_than_half_a_step_and_zeros_stay(table in tables()) {
            for bits in [8, 4] {
                let quantized = ScalarTable::quantize(&table, bits).unwrap();
                let found = all(&quantized);
                let rows = table.rows().zip(found.rows()).zip(quantized.scales());
                for ((x, y), &scale) in rows {
                    let largest = x.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
                    let step = largest / (f64::from(1 << (bits - 1)) - 1.0);
                    prop_assert!((f64::from(scale) - step).abs() <= 1e-7 * step);
                    for (&x, &y) in x.iter().zip(y) {
                        prop_assert!((x - y).abs() <= (0.5 + 1e-4) * step, "{x} became {y}");
                        prop_assert!(x != 0.0 || y == 0.0);
                    }
                }
            }
        }

        /// No other scale does better, and every element gets its nearest level.
        #[test]
        fn two_bits_lose_the_least_squares(table in tables()) {
            let quantized = ScalarTable::quantize(&table, 2).unwrap();
            let found = all(&quantized);
            for ((x, y), &scale) in table.rows().zip(found.rows()).zip(quantized.scales()) {
                let with = |scale: f64| {
                    let nearest = |x: f64| {
                        let levels = [-3.0, -1.0, 1.0, 3.0].map(|level| scale * level);
                        let off = |y: &f64| (x - y).abs();
                        levels.into_iter().min_by(|a, b| off(a).total_cmp(&off(b))).unwrap()
                    };
                    squares(x, x.iter().map(|&x| nearest(x)))
                };
                let lost = squares(x, y.iter().copied());
                let own = x.iter().map(|x| x * x).sum::<f64>();
                prop_assert!((lost - with(f64::from(scale))).abs() <= 1e-9 * own);
                let largest = x.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
                for part in 0..=300 {
                    prop_assert!(lost <= with(largest * f64::from(part) / 300.0) + 1e-9 * own);
                }
            }
        }

        #[test]
        fn rows_do_not_depend_on_each_other_nor_on_threads_and_instruction_sets(table in tables()) {
            for bits in [8, 4, 2] {
                let together = all(&ScalarTable::quantize(&table, bits).unwrap());
                for (i, row) in table.rows().enumerate() {
                    let alone = Tensor::new([1, row.len()], row.to_vec()).unwrap();
                    let alone = all(&ScalarTable::quantize(&alone, bits).unwrap());
                    prop_assert_eq!(alone.data(), together.rows().nth(i).unwrap());
                }
                let many = Tensor::from_fn([300, table.shape()[1]], |i| {
                    table.data()[i % table.data().len()]
                });
                let run = || {
                    let quantized = ScalarTable::quantize(&many, bits).unwrap();
                    (all(&quantized), quantized)
                };
                let one = with_threads(1, run);
                prop_assert_eq!(&one, &with_threads(3, run));
                for (level, found) in at_each(run) {
                    prop_assert_eq!(&one, &found, "{}", level);
                }
            }
        }
    }

    #[test]
    fn rows_are_packed_without_gaps_and_sizes_are_those_bytes() {
        let table = Tensor::from([[7.0_f32, -7.0, 1.0], [0.0, 0.0, 0.0]]);
        let four = ScalarTable::quantize(&table, 4).unwrap();
        assert_eq!(four.codes[..2], [14, 8]);
        assert_eq!(four.lookup::<f32>(&[1, 0, 1]).unwrap().data()[3..6], [7.0, -7.0, 1.0]);
        assert!(four.lookup::<f32>(&[1]).unwrap().data().iter().all(|&x| x == 0.0));
        let table = Tensor::full([100, 30], 0.5_f32);
        for (bits, bytes) in [(8, 34), (4, 19), (2, 12)] {
            let quantized = ScalarTable::quantize(&table, bits).unwrap();
            assert_eq!((quantized.bytes(), quantized.bits()), (100 * bytes, bits));
            assert_eq!(quantized.compression_ratio(), 120.0 / bytes as f64);
            let found = quantized.lookup::<f32>(&[99]).unwrap();
            assert!(found.data().iter().all(|x| (x - 0.5).abs() < 1e-6), "{found:?}");
        }
    }

    #[test]
    fn what_cannot_be_quantised_is_refused() {
        let refused =
            |table: Tensor<f64>, bits| ScalarTable::quantize(&table, bits).unwrap_err().to_string();
        assert_eq!(refused(Tensor::zeros([2, 3]), 3), "bits = 3: expected 8, 4 or 2");
        assert_eq!(refused(Tensor::zeros([2]), 8), "shape of the table = [2]: expected V x d");
        assert_eq!(
            refused(Tensor::from([[0.0, f64::INFINITY]]), 8),
            "an element of the table is inf: expected a finite number"
        );
        for bits in [8, 4, 2] {
            let error = refused(Tensor::from([[0.0, 1e60]]), bits);
            assert!(error.starts_with("largest element of a row = 1e60"), "{error}");
            // Too small for single precision: zeros.
            let tiny = ScalarTable::quantize(&Tensor::from([[0.0, 1e-60]]), bits).unwrap();
            assert_eq!(all(&tiny).data(), [0.0; 2]);
        }
        let table = ScalarTable::quantize(&Tensor::<f64>::zeros([2, 3]), 8).unwrap();
        assert_eq!(
            table.lookup::<f32>(&[2]).unwrap_err().to_string(),
            "id 2 is outside the vocabulary: expected 0..2"
        );
    }
}
