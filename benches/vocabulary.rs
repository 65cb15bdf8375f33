//! Does the time of a training step depend on the size of the table?
//!
//! `cargo bench --bench vocabulary` prints a JSON line for each vocabulary: forward, backward,
//! clipping and the optimiser's step of an SX embedding, 2048 tokens of width 512. The lines "dense"
//! show what the same step takes where the table's gradient is a whole table.

mod common;

use common::layer::Layer;
use common::{Options, report};
use dpq::optim::{Optimizer, Sgd};
use dpq::tape::Gradient;
use dpq::{Grads, Params, parallel};

const RATE: f32 = 0.1;

fn main() {
    let options = Options::parse();
    let sizes =
        [("sx", 10_000), ("sx", 100_000), ("sx", 1_000_000), ("dense", 10_000), ("dense", 100_000)];
    for &threads in &options.threads {
        parallel::with_threads(threads, || {
            let named = sizes.map(|(kind, v)| (format!("{kind} V {v}"), kind, v));
            let mut layers: Vec<(String, &str, Layer)> = named
                .into_iter()
                .filter(|(name, _, _)| options.wants(name))
                .map(|(name, kind, v)| {
                    (name, kind, Layer::new([2048, v, 512, 64, 32], "sx", "distinct"))
                })
                .collect();
            let mut dense = Vec::new();
            let times = common::in_turn(options.repeats, &mut layers, |(_, kind, layer)| {
                layer.run(|params, grads| {
                    std::hint::black_box(grads.norm());
                    Sgd::new(f64::from(RATE)).step(params, grads).expect("finite gradients");
                    if *kind == "dense" {
                        whole_table(params, grads, &mut dense);
                    }
                });
            });
            for ((name, _, _), times) in layers.iter().zip(times) {
                report("vocabulary", name, threads, &times, None);
            }
        });
    }
}

/// Zeros a gradient as large as the table, fills in the rows that have one, and steps by it.
fn whole_table(params: &mut Params<f32>, grads: &Grads<f32>, dense: &mut Vec<f32>) {
    for (id, gradient) in grads.iter() {
        let Gradient::Rows(rows) = gradient else { continue };
        dense.clear();
        dense.resize(params.get(id).data().len(), 0.0);
        for (id, row) in rows.iter() {
            dense[id * row.len()..][..row.len()].copy_from_slice(row);
        }
        for (p, dp) in params.write(id).iter_mut().zip(&*dense) {
            *p -= RATE * dp;
        }
    }
}
