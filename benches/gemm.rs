//! How fast are the matrix products that the models are made of?
//!
//! `cargo bench --bench gemm -- --threads 1,2 --only nn,nt` prints milliseconds and GFLOP/s for each
//! shape. The script in `peers/` measures other libraries beside it.

mod common;

use common::{Options, in_turn, report};
use dpq::{Tape, Tensor, parallel};

/// Layout (n: as it is, t: transposed), rows, depth, columns.
const SHAPES: [(&str, usize, usize, usize); 14] = [
    ("nn", 20, 200, 800),
    ("nn", 20, 650, 2600),
    ("nn", 400, 200, 10_000),
    ("nt", 400, 10_000, 200),
    ("tn", 200, 400, 10_000),
    ("nn", 700, 650, 10_000),
    ("nt", 700, 10_000, 650),
    ("tn", 650, 700, 10_000),
    ("nt", 20, 800, 200),
    ("nt", 400, 200, 800),
    ("nn", 400, 800, 200),
    ("tn", 800, 400, 200),
    ("tn", 200, 20, 800),
    ("nn", 512, 512, 512),
];

fn main() {
    let options = Options::parse();
    for &threads in &options.threads {
        parallel::with_threads(threads, || {
            for (layout, m, k, n) in SHAPES.into_iter().filter(|shape| options.wants(shape.0)) {
                let left = if layout == "tn" { [k, m] } else { [m, k] };
                let right = if layout == "nt" { [n, k] } else { [k, n] };
                let wave = |shape: [usize; 2]| {
                    Tensor::from_fn(shape, |i| ((i % 1009) as f32 * 0.37).sin())
                };
                let (a, b) = (wave(left), wave(right));
                let mut tape = Tape::new();
                let times = in_turn(options.repeats, &mut [()], |()| {
                    let (x, w) = (tape.constant(a.clone()), tape.constant(b.clone()));
                    match layout {
                        "nt" => x.matmul_t(w),
                        "tn" => x.t_matmul(w),
                        _ => x.matmul(w),
                    };
                    tape.reset();
                });
                let flops = 2.0 * (m * k * n) as f64;
                report("gemm", &format!("{layout} {m} {k} {n}"), threads, &times[0], Some(flops));
            }
        });
    }
}
