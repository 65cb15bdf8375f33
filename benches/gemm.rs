//! How fast are the matrix products that the models are made of, and how much faster than those of the
//! crate matrixmultiply?
//!
//! `cargo bench --bench gemm -- --threads 1,2 --only nn,nt` prints milliseconds and GFLOP/s for each
//! shape, ours and matrixmultiply's in turn (which has one thread here, and no row with more), and the
//! ratio of the two times. The script in `peers/` measures other libraries beside them.

mod common;

use common::{Options, in_turn, median, report};
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
                let (mut tape, mut c) = (Tape::new(), vec![0.0; m * n]);
                let mut sides =
                    if threads == 1 { vec!["dpq", "matrixmultiply"] } else { vec!["dpq"] };
                let times = in_turn(options.repeats, &mut sides, |side| {
                    if *side == "matrixmultiply" {
                        return matrixmultiply(layout, [m, k, n], a.data(), b.data(), &mut c);
                    }
                    let (x, w) = (tape.constant(a.clone()), tape.constant(b.clone()));
                    match layout {
                        "nt" => x.matmul_t(w),
                        "tn" => x.t_matmul(w),
                        _ => x.matmul(w),
                    };
                    tape.reset();
                });
                let flops = Some(2.0 * (m * k * n) as f64);
                let what = format!("{layout} {m} {k} {n}");
                report("gemm", &what, threads, &times[0], flops);
                if let Some(peer) = times.get(1) {
                    report("gemm", &format!("{what} matrixmultiply"), threads, peer, flops);
                    let ratio = median(peer) / median(&times[0]);
                    println!("{{\"bench\":\"gemm\",\"what\":\"{what}\",\"ratio\":{ratio:.2}}}");
                }
            }
        });
    }
}

/// c <- a b, one side transposed or none.
fn matrixmultiply(layout: &str, [m, k, n]: [usize; 3], a: &[f32], b: &[f32], c: &mut [f32]) {
    assert!(a.len() == m * k && b.len() == k * n && c.len() == m * n);
    let (of_a, of_b) = match layout {
        "nt" => ([k, 1], [1, k]),
        "tn" => ([1, m], [n, 1]),
        _ => ([k, 1], [n, 1]),
    };
    let [[ra, ca], [rb, cb]] = [of_a, of_b].map(|strides| strides.map(|stride| stride as isize));
    // SAFETY: the strides are those of matrices that fill the three slices.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            1.0,
            a.as_ptr(),
            ra,
            ca,
            b.as_ptr(),
            rb,
            cb,
            0.0,
            c.as_mut_ptr(),
            n as isize,
            1,
        );
    }
}
