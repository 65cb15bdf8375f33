//! Does the time of a training step depend on the size of the table?
//!
//! `cargo bench --bench vocabulary` prints a JSON line for each vocabulary: forward, backward,
//! clipping and the optimiser's step of an SX embedding, 2048 tokens of width 512.

mod common;

use common::layer::Layer;
use common::{Options, report};
use dpq::optim::Sgd;
use dpq::parallel;

fn main() {
    let options = Options::parse();
    for &threads in &options.threads {
        parallel::with_threads(threads, || {
            let mut layers = [10_000, 100_000, 1_000_000]
                .map(|v| (v, Layer::new([2048, v, 512, 64, 32], "sx", "distinct")));
            let times = common::in_turn(options.repeats, &mut layers, |(_, layer)| {
                layer.run(|params, grads| {
                    std::hint::black_box(grads.global_norm());
                    Sgd { rate: 0.1 }.step(params, grads);
                });
            });
            for ((v, _), times) in layers.iter().zip(times) {
                report("vocabulary", &format!("sx V {v}"), threads, &times, None);
            }
        });
    }
}
