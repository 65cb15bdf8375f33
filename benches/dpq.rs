//! How long does one forward and backward pass of a DPQ embedding take?
//!
//! `cargo bench --bench dpq -- --only A,B --threads 1,2 --repeats 9` prints a JSON line for each
//! shape, form, kind of ids and number of threads; `--only "C sx"` measures one form of one shape.

mod common;

use common::layer::{Layer, OPTIONS, SHAPES, VARIANTS};
use common::{Options, report};
use dpq::parallel;

fn main() {
    let options = Options::parse();
    for (name, shape) in SHAPES {
        for &threads in &options.threads {
            parallel::with_threads(threads, || {
                let options_of =
                    OPTIONS.iter().flat_map(|&form| ["distinct", "zipf"].map(|ids| (form, ids)));
                let named = |(form, ids)| (form, ids, format!("{name} {form} {ids}"));
                let names: Vec<_> = VARIANTS.into_iter().chain(options_of).map(named).collect();
                let wanted = names.iter().filter(|(_, _, name)| options.wants(name));
                let mut layers: Vec<(&String, Layer)> =
                    wanted.map(|(form, ids, name)| (name, Layer::new(shape, form, ids))).collect();
                let times = common::in_turn(options.repeats, &mut layers, |(_, layer)| {
                    layer.run(|_, grads| {
                        std::hint::black_box(grads);
                    });
                });
                for ((name, _), times) in layers.iter().zip(times) {
                    report("dpq", name, threads, &times, None);
                }
            });
        }
    }
}
