//! Scores that are dot products of something else: the cosine, and the squared distance of the softmax
//! form.
//!
//! ```text
//! cosine             < q / ||q||, C / ||C|| >
//! squared distance   -||q - C||^2 = < (q', ||q'||^2, 1), (2 C', -1, -||C'||^2) >
//! ```
//!
//! with q' and C' less the mean of the codebook, which changes no distance but keeps squares small. So the
//! fused op has one kind of score, and these cost an op or two around it.

use super::settings::Score;
use crate::ops::concat;
use crate::real::Real;
use crate::tape::Var;
use crate::tensor::{Shape, Tensor};

/// Elements that squared distance adds to a query and to a codeword.
const MORE: usize = 2;

/// Queries u x D s and keys G x K x s, so that their dot products are the scores; values as wide as the
/// keys.
pub(super) fn as_dot<'t, T: Real>(
    score: Score,
    groups: usize,
    [queries, keys, values]: [Var<'t, T>; 3],
) -> [Var<'t, T>; 3] {
    let [u, width] = [queries.shape()[0], queries.shape()[1]];
    let s = width / groups;
    let parts = queries.reshape([u, groups, s]);
    let flat = |x: Var<'t, T>| x.reshape([u, x.shape()[1] * x.shape()[2]]);
    match score {
        Score::Dot => [queries, keys, values],
        Score::Cosine => [flat(parts.unit_rows()), keys.unit_rows(), values],
        Score::SquaredDistance => {
            let centre = parts.tape().constant(mean_codewords(&keys.value()));
            let (q, c) = (parts - centre.reshape([centre.shape()[0], s]), keys - centre);
            let squares = |x: Var<'t, T>| (x * x).sum_axis(2).insert_axis(2);
            let all = |x: Var<'t, T>, value: T, n: usize| {
                x.tape().constant(Tensor::full([x.shape()[0], x.shape()[1], n], value))
            };
            let q = concat(&[q, squares(q), all(q, T::ONE, 1)], 2);
            let c = concat(&[c * (T::ONE + T::ONE), all(c, -T::ONE, 1), -squares(c)], 2);
            [flat(q), c, concat(&[values, all(values, T::ZERO, MORE)], 2)]
        }
    }
}

/// The rows of the values, from those of the values as wide as the keys of [`as_dot`].
pub(super) fn without_more<T: Real>(score: Score, groups: usize, rows: Var<'_, T>) -> Var<'_, T> {
    if score != Score::SquaredDistance {
        return rows;
    }
    let [n, width] = [rows.shape()[0], rows.shape()[1]];
    let s = width / groups - MORE;
    rows.reshape([n, groups, s + MORE]).slice(2, 0..s).reshape([n, groups * s])
}

/// The mean of every codebook, G x 1 x s.
fn mean_codewords<T: Real>(keys: &Tensor<T>) -> Tensor<T> {
    let [books, size, s] = [keys.shape()[0], keys.shape()[1], keys.shape()[2]];
    let mean = |i: usize| {
        let book = &keys.data()[i / s * size * s..][..size * s];
        let sum: f64 = book.iter().skip(i % s).step_by(s).map(|c| c.to_f64()).sum();
        T::from_f64(sum / size as f64)
    };
    Tensor::from_fn(Shape::from([books, 1, s]), mean)
}
