//! The gradient of one variable: dense, or only some rows of a table.

use crate::kernels::elementwise::{add, map};
use crate::real::Real;
use crate::tensor::{Buffer, Pool, Tensor};

/// The gradient of one variable.
#[derive(Clone, Debug)]
pub enum Gradient<T: Real> {
    /// Of every element, in the variable's own shape.
    Dense(Tensor<T>),
    /// Of some rows of a matrix; all other rows are 0.
    Rows(Rows<T>),
}

/// The gradient of a matrix that has non-zero rows only at `ids`.
#[derive(Clone, Debug)]
pub struct Rows<T: Real> {
    /// Which rows, each once.
    pub ids: Buffer<u32>,
    /// Their gradients, ids.len() x width.
    pub rows: Tensor<T>,
    /// How many rows the matrix has.
    pub height: usize,
}

impl<T: Real> Rows<T> {
    /// Pairs of a row's number and its gradient.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[T])> {
        self.ids.iter().map(|&id| id as usize).zip(self.rows.rows())
    }

    /// The whole matrix.
    fn to_dense(&self) -> Tensor<T> {
        let mut dense = Tensor::zeros([self.height, self.rows.shape()[1]]);
        self.add_to(dense.data_mut());
        dense
    }

    /// order <- the rows in the order of their ids.
    pub(crate) fn increasing(&self, order: &mut [u32]) {
        order.iter_mut().zip(0..).for_each(|(row, i)| *row = i);
        order.sort_unstable_by_key(|&row| self.ids[row as usize]);
    }

    /// The id and the row that come at a place of an order; past its end an id above all others.
    fn nth(&self, order: &[u32], at: usize) -> (u32, &[T]) {
        let Some(&row) = order.get(at) else { return (u32::MAX, &[]) };
        let (row, width) = (row as usize, self.rows.shape()[1]);
        (self.ids[row], &self.rows.data()[row * width..(row + 1) * width])
    }

    fn add_to(&self, dense: &mut [T]) {
        let width = self.rows.shape()[1];
        for (id, row) in self.iter() {
            add(&mut dense[id * width..(id + 1) * width], row);
        }
    }

    /// The sum of two: both sides' rows in the order of their ids, equal ids added.
    fn merge(self, other: Rows<T>, ids: &Pool<u32>, rows: &Pool<T>) -> Rows<T> {
        let [left, right] = [&self, &other].map(|rows| {
            let mut order = ids.take(rows.ids.len());
            rows.increasing(&mut order);
            order
        });
        let (width, bound) = (self.rows.shape()[1], left.len() + right.len());
        let (mut ids, mut sums) = (ids.take(bound), rows.take(bound * width));
        let (mut i, mut j, mut n) = (0, 0, 0);
        while i < left.len() || j < right.len() {
            let (a, b) = (self.nth(&left, i), other.nth(&right, j));
            ids[n] = a.0.min(b.0);
            let sum = &mut sums[n * width..(n + 1) * width];
            sum.fill(T::ZERO);
            if a.0 <= b.0 {
                add(sum, a.1);
                i += 1;
            }
            if b.0 <= a.0 {
                add(sum, b.1);
                j += 1;
            }
            n += 1;
        }
        ids.truncate(n);
        sums.truncate(n * width);
        Rows { ids, rows: Tensor::from_buffer([n, width], sums), height: self.height }
    }
}

impl<T: Real> Gradient<T> {
    /// In the variable's own shape.
    pub fn to_dense(&self) -> Tensor<T> {
        match self {
            Gradient::Dense(tensor) => tensor.clone(),
            Gradient::Rows(rows) => rows.to_dense(),
        }
    }

    /// The parts that are not 0: where each starts among all elements, and its elements. All in one
    /// part, or a part for each row.
    pub fn parts(&self) -> impl Iterator<Item = (usize, &[T])> {
        let (stored, ids) = match self {
            Gradient::Dense(tensor) => (tensor, None),
            Gradient::Rows(rows) => (&rows.rows, Some(&*rows.ids)),
        };
        let width = ids.map_or(stored.data().len(), |_| stored.shape()[1]);
        let start = move |i: usize| ids.map_or(0, |ids| ids[i] as usize * width);
        stored.data().chunks_exact(width.max(1)).enumerate().map(move |(i, part)| (start(i), part))
    }

    /// The gradient times `factor`.
    pub fn scaled(&self, factor: f64) -> Gradient<T> {
        let factor = T::from_f64(factor);
        let scaled = |tensor: &Tensor<T>| {
            let mut scaled = Tensor::zeros(tensor.shape());
            map(tensor.data(), scaled.data_mut(), |x| x * factor);
            scaled
        };
        match self {
            Gradient::Dense(tensor) => Gradient::Dense(scaled(tensor)),
            Gradient::Rows(rows) => {
                Gradient::Rows(Rows { rows: scaled(&rows.rows), ..rows.clone() })
            }
        }
    }

    /// The elements that are stored: all, or those of the rows.
    pub fn stored(&self) -> &Tensor<T> {
        match self {
            Gradient::Dense(tensor) => tensor,
            Gradient::Rows(rows) => &rows.rows,
        }
    }

    /// The sum of two gradients of the same variable; the first is moved in.
    pub(super) fn plus(self, other: Gradient<T>, ids: &Pool<u32>, values: &Pool<T>) -> Gradient<T> {
        match (self, other) {
            (Gradient::Dense(mut sum), Gradient::Dense(term)) => {
                add(sum.data_mut(), term.data());
                Gradient::Dense(sum)
            }
            (Gradient::Dense(mut sum), Gradient::Rows(rows))
            | (Gradient::Rows(rows), Gradient::Dense(mut sum)) => {
                rows.add_to(sum.data_mut());
                Gradient::Dense(sum)
            }
            (Gradient::Rows(a), Gradient::Rows(b)) => Gradient::Rows(a.merge(b, ids, values)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_sparse_sums_are_merged_in_order() {
        let rows = |ids: &[u32], values: &[f64]| {
            Gradient::Rows(Rows {
                ids: ids.to_vec().into(),
                rows: Tensor::new([ids.len(), 2], values.to_vec()).unwrap(),
                height: 5,
            })
        };
        let (ids, values) = (Pool::default(), Pool::default());
        let a = rows(&[3, 1], &[3.0, 4.0, 1.0, 2.0]);
        let b = rows(&[0, 3, 4], &[5.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
        let Gradient::Rows(sum) = a.clone().plus(b.clone(), &ids, &values) else { panic!("dense") };
        assert_eq!(&sum.ids[..], &[0, 1, 3, 4]);
        assert_eq!(sum.rows.data(), [5.0, 6.0, 1.0, 2.0, 10.0, 12.0, 9.0, 10.0]);
        let dense = Gradient::Dense(a.to_dense()).plus(b, &ids, &values);
        assert_eq!(dense.to_dense(), sum.to_dense());
    }

    #[test]
    fn parts_are_rows_or_everything() {
        let rows = Rows { ids: vec![3, 1].into(), rows: Tensor::from([[1.0], [2.0]]), height: 5 };
        let parts = |gradient: &Gradient<f64>| {
            gradient.parts().map(|(at, part)| (at, part.to_vec())).collect::<Vec<_>>()
        };
        assert_eq!(parts(&Gradient::Rows(rows)), [(3, vec![1.0]), (1, vec![2.0])]);
        assert_eq!(parts(&Gradient::Dense(Tensor::from([[1.0], [2.0]]))), [(0, vec![1.0, 2.0])]);
        assert!(parts(&Gradient::Dense(Tensor::zeros([0, 2]))).is_empty());
    }
}
