//! A table as the product of two thin ones, V x r and r x d.

use crate::Fault;
use crate::compress::refuse;
use crate::input::Input;
use dpq::{Tape, Tensor};
use nalgebra::{DMatrix, SymmetricEigen};

/// The most columns: their products take 8 bytes for every pair.
const WIDEST: usize = 4096;

/// The r directions of most of the rows' squares, r x d: the first eigenvectors of X' W X. No other product
/// of this rank is nearer to the table (Eckart & Young 1936).
///
/// # Errors
/// If the table cannot be read, or has too many columns.
pub fn directions(
    input: &Input,
    weights: Option<&[f64]>,
    rank: usize,
    mut progress: impl FnMut(usize),
) -> Result<Tensor<f32>, Fault> {
    let d = input.width;
    if d > WIDEST {
        return Err(refuse(
            "method",
            "low-rank",
            &format!("another one for more than {WIDEST} columns"),
        ));
    }
    let mut moments = DMatrix::<f64>::zeros(d, d);
    input.for_each(|first, rows| {
        let tape = Tape::new();
        let end = first + rows.shape()[0];
        let mut weighted = rows.cast::<f64>();
        if let Some(weights) = weights {
            for (row, &weight) in weighted.data_mut().chunks_exact_mut(d).zip(&weights[first..end])
            {
                row.iter_mut().for_each(|x| *x *= weight);
            }
        }
        let sum = tape.constant(rows.cast::<f64>()).t_matmul(tape.constant(weighted));
        moments += DMatrix::from_row_slice(d, d, sum.value().data());
        progress(end);
        Ok(())
    })?;
    let eigen = SymmetricEigen::new(moments);
    let mut order: Vec<usize> = (0..d).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    Ok(Tensor::from_fn([rank, d], |i| eigen.eigenvectors[(i % d, order[i / d])] as f32))
}

/// The rows along these directions, n x r.
pub fn coordinates(rows: &Tensor<f32>, directions: &Tensor<f32>) -> Tensor<f32> {
    let tape = Tape::new();
    tape.constant(rows.clone()).matmul_t(tape.constant(directions.clone())).value().clone()
}

/// The rows that coordinates n x r stand for.
pub fn rows(coordinates: &Tensor<f32>, directions: &Tensor<f32>) -> Tensor<f32> {
    let tape = Tape::new();
    tape.constant(coordinates.clone()).matmul(tape.constant(directions.clone())).value().clone()
}
