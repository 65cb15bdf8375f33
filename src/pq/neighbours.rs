//! The rows of a table that are nearest to one: by their codes, and by their vectors.

use super::codes::CodeTable;
use crate::error::{Error, Result};
use crate::kernels::reduce::largest;
use crate::real::Real;
use crate::tensor::Tensor;
use std::cmp::Ordering;

impl CodeTable {
    /// The `n` other rows whose codes differ from those of `row` in the fewest groups, with the number
    /// of these groups, their Hamming distance: 0 to D. The nearest come first, equally near ones in the
    /// order of their ids; there are fewer than `n` if the table has no more.
    ///
    /// ```
    /// use dpq::CodeTable;
    /// let codes = CodeTable::pack(&[0, 0, 1, 1, 0, 1, 0, 0], 2, 3);
    /// assert_eq!(codes.nearest(0, 2)?, [(3, 0), (2, 1)]);
    /// # Ok::<(), dpq::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Id`] if there is no such row.
    pub fn nearest(&self, row: u32, n: usize) -> Result<Vec<(u32, usize)>> {
        check_row(row, self.rows())?;
        let own: Vec<u32> = self.row(row as usize).collect();
        let distance = |other: u32| {
            self.row(other as usize).zip(&own).filter(|(other, own)| other != *own).count()
        };
        let others = others(row, self.rows()).map(|other| (other, distance(other)));
        Ok(first(n, others.collect(), usize::cmp))
    }
}

/// The `n` other rows of a table, V x d, that are most similar to `row`, with the cosine of the angle
/// between the two:
///
/// ```text
/// similarity(a, b) = < a, b > / (|| a || || b ||)     -1 to 1; 0 if a or b is zero
/// ```
///
/// The most similar come first, equally similar ones in the order of their ids; there are fewer than `n`
/// if the table has no more. Sums are in double precision, and no row is too large or too small for them.
///
/// ```
/// use dpq::Tensor;
/// use dpq::pq::nearest_rows;
/// let table = Tensor::from([[1.0_f32, 0.0], [-2.0, 0.0], [3.0, 4.0], [0.0, 0.0]]);
/// assert_eq!(nearest_rows(&table, 0, 3)?, [(2, 0.6), (3, 0.0), (1, -1.0)]);
/// # Ok::<(), dpq::Error>(())
/// ```
///
/// # Errors
/// [`Error::Id`] if there is no such row, [`Error::NotFinite`] if an element of the table is not finite.
///
/// # Panics
/// If the table is no matrix.
#[track_caller]
pub fn nearest_rows<T: Real>(table: &Tensor<T>, row: u32, n: usize) -> Result<Vec<(u32, f64)>> {
    let [rows, width] = table.shape()[..] else {
        panic!("nearest_rows: a table of shape {:?}, not V x d", table.shape())
    };
    check_row(row, rows)?;
    table.check_finite(|| "an element of the table".into())?;
    let of = |row: u32| &table.data()[row as usize * width..][..width];
    let own: Vec<f64> = scaled(of(row)).collect();
    let similarity = |other: u32| {
        let [mut squares, mut own_squares, mut products] = [0.0; 3];
        for (x, own) in scaled(of(other)).zip(&own) {
            squares += x * x;
            own_squares += own * own;
            products += x * own;
        }
        if products == 0.0 {
            return 0.0;
        }
        // Rounding can exceed 1.
        (products / (squares * own_squares).sqrt()).clamp(-1.0, 1.0)
    };
    let others = others(row, rows).map(|other| (other, similarity(other)));
    let order = |a: &f64, b: &f64| b.partial_cmp(a).expect("finite numbers");
    Ok(first(n, others.collect(), order))
}

/// A row over its largest element, so that squares neither overflow nor vanish; of a row of zeros, zeros.
fn scaled<T: Real>(row: &[T]) -> impl Iterator<Item = f64> {
    let largest = largest(row);
    let scale = if largest > 0.0 { largest } else { 1.0 };
    row.iter().map(move |x| x.to_f64() / scale)
}

fn check_row(row: u32, rows: usize) -> Result<()> {
    if row as usize >= rows {
        return Err(Error::Id { id: row, vocabulary: rows });
    }
    Ok(())
}

fn others(row: u32, rows: usize) -> impl Iterator<Item = u32> {
    (0..rows).map(|other| other as u32).filter(move |&other| other != row)
}

/// The first `n` in the order of what stands beside the ids, and then of the ids.
fn first<K>(n: usize, mut all: Vec<(u32, K)>, order: impl Fn(&K, &K) -> Ordering) -> Vec<(u32, K)> {
    let order = |a: &(u32, K), b: &(u32, K)| order(&a.1, &b.1).then(a.0.cmp(&b.0));
    if n < all.len() {
        all.select_nth_unstable_by(n, order);
        all.truncate(n);
    }
    all.sort_unstable_by(order);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equally_near_rows_come_in_the_order_of_their_ids() {
        let codes = CodeTable::pack(&[0, 0, 1, 1, 0, 1, 0, 0, 1, 0], 2, 3);
        assert_eq!(codes.nearest(1, 3).unwrap(), [(2, 1), (4, 1), (0, 2)]);
        assert_eq!(codes.nearest(0, 9).unwrap(), [(3, 0), (2, 1), (4, 1), (1, 2)]);
        assert_eq!(codes.nearest(0, 0).unwrap(), []);
        let table =
            Tensor::from([[1.0_f64, 0.0], [0.0, 2.0], [0.0, -0.0], [0.0, -3.0], [5.0, 0.0]]);
        let expected = [(4, 1.0), (1, 0.0), (2, 0.0), (3, 0.0)];
        assert_eq!(nearest_rows(&table, 0, 9).unwrap(), expected);
        assert_eq!(nearest_rows(&table, 0, 2).unwrap(), expected[..2]);
    }

    #[test]
    fn similarity_does_not_depend_on_the_size_of_rows() {
        let rows = [[3.0, 4.0], [3e-300, 4e-300], [4e300, 3e300], [5e-324, 0.0], [-3e300, -4e300]];
        let expected = [(1, 1.0), (2, 0.96), (3, 0.6), (4, -1.0)];
        let found = nearest_rows(&Tensor::from(rows), 0, 4).unwrap();
        for ((id, similarity), (expected_id, expected)) in found.into_iter().zip(expected) {
            assert_eq!(id, expected_id);
            assert!((similarity - expected).abs() < 1e-15, "{id}: {similarity}");
        }
    }

    #[test]
    fn rows_that_do_not_exist_and_elements_that_are_no_numbers_are_refused() {
        let message = "id 2 is outside the vocabulary: expected 0..2";
        let codes = CodeTable::pack(&[0, 1], 1, 2);
        assert_eq!(codes.nearest(2, 1).unwrap_err().to_string(), message);
        let table = Tensor::from([[1.0_f32], [f32::NAN]]);
        assert_eq!(nearest_rows(&table, 2, 1).unwrap_err().to_string(), message);
        let error = nearest_rows(&table, 0, 1).unwrap_err().to_string();
        assert_eq!(error, "an element of the table is NaN: expected a finite number");
    }

    #[test]
    #[should_panic(expected = "nearest_rows: a table of shape [3], not V x d")]
    fn a_vector_is_no_table() {
        let _ = nearest_rows(&Tensor::from([1.0, 2.0, 3.0]), 0, 1);
    }
}
