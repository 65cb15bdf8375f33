//! Differentiable operations, one family a file: the formula, the method on [`Var`](crate::Var),
//! the backward rule beside it, and the cases that check it.
//!
//! | file | operations |
//! |---|---|
//! | `arithmetic` | `+`, `-`, `*`, `/` of variables, broadcast as in NumPy, and of numbers |
//! | `elementary` | `exp`, `ln`, `sqrt`, `powf`, `abs`, `clamp` |
//! | `activation` | `tanh`, `sigmoid`, `relu`, `gelu` |
//! | `reduce` | `sum`, `mean`, `sum_axis`, `mean_axis` |
//! | `extremum` | `max`, `min`, `max_axis`, `min_axis` |
//! | `shape` | `reshape`, `insert_axis`, `slice`, [`concat`](concat()), [`stack`] |
//! | `permute` | `transpose`, `permute` |
//! | `matmul` | `matmul`, `matmul_t`, `t_matmul`, `t_matmul_t`, `batch_matmul` |
//! | `rows` | `gather_rows`: rows of a table, by id |
//! | `segment_mean` | `segment_mean`: means of rows, of sequences of different lengths |
//! | `softmax` | `softmax`, `masked_softmax`, `log_softmax` |
//! | `cross_entropy` | `cross_entropy`, `linear_cross_entropy` |
//! | `attention` | `attend` |
//! | `batch_norm` | `batch_norm`, `normalize` |
//! | `layer_norm` | `layer_norm` |
//! | `unit_rows` | `unit_rows` |
//! | `dropout` | `dropout` |
//! | `straight_through` | `stop_gradient`, `straight_through`, `argmax`, [`one_hot`] |
//!
//! All are methods of [`Var`](crate::Var), except those that are links. The families share four
//! files: `axes` (where the elements of a result come from), `broadcast` (shapes, and the sum of a
//! gradient over repetitions), `ids` (whether ids are in range) and `distinct` (the distinct ids of
//! a batch).
//!
//! Adding an operation to a family changes that family's file, and its row in this table; no other
//! line here. A new family needs two lines more: its `mod`, and its `cases()` in the list below. An
//! operation of your own needs no change in this crate: see [`Op`](crate::Op).

mod axes;
mod broadcast;
mod arithmetic;
mod elementary;
mod activation;
mod reduce;
mod extremum;
mod shape;
mod permute;
mod matmul;
mod ids;
mod distinct;
mod rows;
mod segment_mean;
mod softmax;
mod cross_entropy;
mod attention;
mod batch_norm;
mod layer_norm;
mod unit_rows;
mod dropout;
mod straight_through;

pub use batch_norm::BatchStatistics;
pub(crate) use distinct::{Distinct, sum_rows};
pub use ids::Ids;
pub use shape::{concat, stack};
pub use straight_through::one_hot;

/// The gradient checks of every op in this folder.
#[cfg(feature = "proptest")]
pub fn cases() -> Vec<crate::strategies::Case> {
    [
        arithmetic::cases(),
        elementary::cases(),
        activation::cases(),
        reduce::cases(),
        extremum::cases(),
        shape::cases(),
        permute::cases(),
        matmul::cases(),
        rows::cases(),
        segment_mean::cases(),
        softmax::cases(),
        cross_entropy::cases(),
        attention::cases(),
        batch_norm::cases(),
        layer_norm::cases(),
        unit_rows::cases(),
        dropout::cases(),
        straight_through::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tape, Tensor, Var};
    use std::panic::{self, AssertUnwindSafe, catch_unwind};
    use std::sync::{Arc, Mutex};

    /// The file and the message of the panic of `f`. Panics on other threads are reported as ever.
    fn panic_of(f: impl FnOnce()) -> (String, String) {
        let found = Arc::new(Mutex::new(None));
        let (previous, own) = (Arc::new(panic::take_hook()), std::thread::current().id());
        let (kept, seen) = (Arc::clone(&previous), Arc::clone(&found));
        panic::set_hook(Box::new(move |info| {
            if std::thread::current().id() != own {
                return kept(info);
            }
            let file = info.location().expect("panics know where").file().to_string();
            *seen.lock().unwrap() = Some((file, info.payload_as_str().unwrap_or("").to_string()));
        }));
        let result = catch_unwind(AssertUnwindSafe(f));
        panic::set_hook(Box::new(move |info| previous(info)));
        assert!(result.is_err(), "no panic");
        found.lock().unwrap().take().expect("the hook was called")
    }

    #[test]
    fn mistakes_in_shapes_panic_at_the_callers_line_and_name_the_op_and_the_shapes() {
        type Mistake = for<'t> fn(Var<'t, f32>, Var<'t, f32>) -> Var<'t, f32>;
        // x is 2 x 3, and y 4 x 5.
        let mistakes: [(&str, &[&str], Mistake); 33] = [
            ("Add", &["[2, 3]", "[4, 5]"], |x, y| x + y),
            ("Sub", &["[2, 3]", "[4, 5]"], |x, y| x - y),
            ("Mul", &["[2, 3]", "[4, 5]"], |x, y| x * y),
            ("Div", &["[2, 3]", "[4, 5]"], |x, y| x / y),
            ("clamp", &["1.0", "0.0"], |x, _| x.clamp(1.0, 0.0)),
            ("mean", &["[2, 0]"], |x, _| x.slice(1, 0..0).mean()),
            ("max", &["[2, 0]"], |x, _| x.slice(1, 0..0).max()),
            ("min", &["[2, 0]"], |x, _| x.slice(1, 0..0).min()),
            ("sum_axis", &["[2, 3]", "2"], |x, _| x.sum_axis(2)),
            ("mean_axis", &["[2, 3]", "2"], |x, _| x.mean_axis(2)),
            ("max_axis", &["[2, 0]", "1"], |x, _| x.slice(1, 0..0).max_axis(1)),
            ("min_axis", &["[2, 3]", "2"], |x, _| x.min_axis(2)),
            ("reshape", &["[2, 3]", "[7]"], |x, _| x.reshape([7])),
            ("insert_axis", &["[2, 3]", "3"], |x, _| x.insert_axis(3)),
            ("slice", &["[2, 3]", "1..4"], |x, _| x.slice(1, 1..4)),
            ("concat", &["no parts"], |_, _| concat::<f32>(&[], 0)),
            ("concat", &["[2, 3]", "[4, 5]"], |x, y| concat(&[x, y], 0)),
            ("stack", &["no parts"], |_, _| stack::<f32>(&[], 0)),
            ("stack", &["[2, 3]", "[4, 5]"], |x, y| stack(&[x, y], 0)),
            ("transpose", &["[2, 3]", "5"], |x, _| x.transpose(0, 5)),
            ("permute", &["[2, 3]", "[0]"], |x, _| x.permute(&[0])),
            ("matmul", &["[2, 3]", "[4, 5]"], |x, y| x.matmul(y)),
            ("matmul_t", &["[2, 3]", "[4, 5]"], |x, y| x.matmul_t(y)),
            ("t_matmul", &["[2, 3]", "[4, 5]"], |x, y| x.t_matmul(y)),
            ("t_matmul_t", &["[2, 3]", "[4, 5]"], |x, y| x.t_matmul_t(y)),
            ("batch_matmul", &["[2, 3]", "[4, 5]"], |x, y| x.batch_matmul(y)),
            ("gather_rows", &["[6]"], |x, _| x.reshape([6]).gather_rows(&[0])),
            ("masked_softmax", &["[2, 3]", "[4, 5]"], |x, y| x.masked_softmax(&y.value())),
            ("cross_entropy", &["[2, 3]"], |x, _| x.cross_entropy(&[1])),
            ("linear_cross_entropy", &["[2, 3]", "[4, 5]"], |x, y| {
                x.linear_cross_entropy(y, y, &[0, 0])
            }),
            ("batch_norm", &["[2, 0]"], |x, _| x.slice(1, 0..0).batch_norm(1e-5).0),
            ("dropout", &["1.5"], |x, _| x.dropout(1.5, "test")),
            ("straight_through", &["[2, 3]", "[4, 5]"], |x, y| x.straight_through(y.value())),
        ];
        for (op, parts, mistake) in mistakes {
            let tape = Tape::new();
            let (x, y) = (tape.leaf(Tensor::zeros([2, 3])), tape.leaf(Tensor::zeros([4, 5])));
            let (file, message) = panic_of(|| {
                mistake(x, y);
            });
            assert_eq!(file, file!(), "{op}: {message}");
            assert!(message.contains(op), "{op} is not in: {message}");
            assert!(parts.iter().all(|part| message.contains(part)), "{parts:?}: {message}");
        }
        let (file, message) = panic_of(|| drop(one_hot::<f32>(&[3], 3)));
        assert!(
            file == file!() && message == "one_hot: code 3 is not below 3",
            "{file}: {message}"
        );
    }
}
