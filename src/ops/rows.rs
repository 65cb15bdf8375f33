//! Rows of a matrix, by id.

use super::distinct::{CHUNK, Distinct};
use super::ids::Ids;
use crate::parallel;
use crate::real::Real;
use crate::tape::{Context, Op, Var};

impl<'t, T: Real> Var<'t, T> {
    /// y\[i\] = x\[ids\[i\]\], rows of a matrix. One id may be [padding](Ids): its row gets no gradient.
    /// An id outside the matrix is an error that the tape reports; its row is NaN.
    ///
    /// # Panics
    /// If x is no matrix.
    #[track_caller]
    pub fn gather_rows<'i>(self, ids: impl Into<Ids<'i>>) -> Var<'t, T> {
        let x = self.value();
        let [height, width] = x.shape()[..] else {
            panic!("gather_rows: shape {:?} is not a matrix", x.shape())
        };
        let distinct = Distinct::new(self.tape(), ids.into(), height);
        let mut y = self.tape().uninit([distinct.slots.len(), width]);
        if height == 0 && !distinct.slots.is_empty() {
            // No row to read, not even for ids outside.
            y.data_mut().fill(T::NAN);
            return self.tape().constant(y);
        }
        // Without a gradient, the row of padding is a stopped value.
        let live = distinct.live().len();
        let row = || distinct.row(live, &x).to_vec();
        let padded = live < distinct.ids.len();
        let padding = padded.then(|| self.tape().freeze("padding", &[width], row));
        parallel::for_each_chunk(y.data_mut(), CHUNK * width, |i, y| {
            for (y, &slot) in y.chunks_exact_mut(width.max(1)).zip(&distinct.slots[i * CHUNK..]) {
                let stopped = padding.as_deref().filter(|_| slot as usize == live);
                y.copy_from_slice(stopped.unwrap_or_else(|| distinct.row(slot as usize, &x)));
            }
        });
        distinct.spoil_outside(&mut y);
        let [y] = self.tape().record(GatherRows { distinct }, &[self], [y]);
        y
    }
}

struct GatherRows {
    distinct: Distinct,
}
impl<T: Real> Op<T> for GatherRows {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx[id] = sum of dy[i] over ids[i] = id; all other rows, and that of padding, 0
        let Some(dy) = ctx.output_grad(0) else { return };
        let rows = self.distinct.sums(ctx.pools(), dy);
        ctx.add_rows(0, self.distinct.live().to_vec().into(), rows);
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, ids, length, some_length, tensor};
    use proptest::prelude::*;

    let tables = || {
        (some_length(), length(), length())
            .prop_filter("a Jacobian of moderate size", |(v, d, n)| v * d <= 120 && n * d <= 120)
            .prop_flat_map(|(v, d, n)| (tensor([v, d]), ids(n, v)))
    };
    vec![
        Case::new("rows", tables(), |(x, ids)| gradcheck([x], |[x]| x.gather_rows(&ids))),
        Case::new("rows, with padding", tables(), |(x, ids)| {
            let ids = Ids { ids: &ids, padding: Some(0) };
            gradcheck([x], |[x]| x.gather_rows(ids) * x.sum())
        }),
        Case::new("rows of a table used twice", tables(), |(x, ids)| {
            // The sums of two row-sparse gradients, and of a row-sparse and a dense one.
            gradcheck([x], |[x]| {
                (x.gather_rows(&ids) * x.gather_rows(&ids[..ids.len() / 2]).sum()) * (x * x).sum()
            })
        }),
    ]
}

#[cfg(test)]
mod tests {
    use crate::ops::Ids;
    use crate::tape::{Gradient, Tape};
    use crate::tensor::Tensor;

    #[test]
    fn looked_up_rows_get_a_row_sparse_gradient() {
        let tape = Tape::new();
        let table = tape.leaf(Tensor::from([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]));
        let y = table.gather_rows(&[2, 0, 2]);
        assert_eq!(y.value(), Tensor::from([[5.0, 6.0], [1.0, 2.0], [5.0, 6.0]]));
        let grads = tape.backward(y.sum()).unwrap();
        let Some(Gradient::Rows(rows)) = grads.get(table) else { panic!("dense") };
        assert_eq!(&rows.ids[..], &[2, 0]);
        assert_eq!(rows.rows, Tensor::from([[2.0, 2.0], [1.0, 1.0]]));
    }

    #[test]
    fn many_rows_are_those_of_their_ids_padding_too() {
        let ids: Vec<u32> = (0..300).map(|i| i * i % 7).collect();
        let table = Tensor::from_fn([7, 3], |i| i as f64);
        for padding in [None, Some(4)] {
            let tape = Tape::new();
            let y = tape.leaf(table.clone()).gather_rows(Ids { ids: &ids, padding }).value();
            let expected: Vec<f64> =
                ids.iter().flat_map(|&id| (0..3).map(move |j| f64::from(id * 3 + j))).collect();
            assert_eq!(y.data(), expected);
        }
    }

    #[test]
    fn a_table_without_rows_fails_the_pass_too_and_gives_no_numbers() {
        let tape = Tape::new();
        let y = tape.leaf(Tensor::<f32>::zeros([0, 2])).gather_rows(&[0]);
        assert!(y.value().data().iter().all(|y| y.is_nan()));
        assert_eq!(
            tape.backward(y.sum()).unwrap_err().to_string(),
            "id 0 is outside the vocabulary: expected 0..0"
        );
    }

    #[test]
    fn an_id_outside_the_table_fails_the_pass() {
        let tape = Tape::new();
        let loss = tape.leaf(Tensor::<f32>::zeros([3, 2])).gather_rows(&[1, 7]).sum();
        assert_eq!(
            tape.backward(loss).unwrap_err().to_string(),
            "id 7 is outside the vocabulary: expected 0..3"
        );
    }
}
