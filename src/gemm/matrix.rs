//! The matrices that are multiplied.

use crate::real::Real;

/// A matrix in a row-major slice, or the transpose of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a, T> {
    /// Row-major; of the transpose, if this is one.
    pub(super) data: &'a [T],
    /// Rows of the matrix itself, not of how it is stored.
    pub(super) rows: usize,
    /// Columns of the matrix itself.
    pub(super) columns: usize,
    /// Whether `data` holds the transpose.
    pub(super) transposed: bool,
}

impl<'a, T: Real> Matrix<'a, T> {
    /// The matrix that `data` holds row by row.
    pub(crate) fn new(data: &'a [T], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "elements of a {rows} x {columns} matrix");
        Matrix { data, rows, columns, transposed: false }
    }

    /// The transpose.
    pub(crate) fn t(self) -> Self {
        Matrix {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            transposed: !self.transposed,
        }
    }
}
