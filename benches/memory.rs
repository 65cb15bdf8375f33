//! How much memory does one step of a DPQ embedding take beyond its parameters?
//!
//! `cargo bench --bench memory -- --only "C sx distinct"` prints a JSON line: the most that is
//! resident during two steps less what was before. One process measures one thing. Linux only.

mod common;

use common::Options;
use common::layer::{Layer, SHAPES, VARIANTS};
use dpq::parallel;

/// A line of the process's own account, in MiB.
fn resident(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux system");
    let value = status.lines().find_map(|text| text.strip_prefix(line)).expect("a known line");
    let kib = value.trim_start_matches(':').trim().trim_end_matches(" kB");
    kib.parse::<f64>().expect("a number") / 1024.0
}

fn main() {
    let options = Options::parse();
    let shapes = SHAPES.iter().flat_map(|(name, shape)| VARIANTS.map(|v| (name, shape, v)));
    let wanted = shapes
        .map(|(name, shape, (form, ids))| (format!("{name} {form} {ids}"), shape, form, ids))
        .filter(|(name, ..)| options.wants(name));
    for (name, shape, form, ids) in wanted.take(1) {
        parallel::with_threads(options.threads[0], || {
            let mut layer = Layer::new(*shape, form, ids);
            let before = resident("VmRSS");
            (0..2).for_each(|_| layer.run(|_, _| ()));
            let extra = resident("VmHWM") - before;
            println!("{{\"bench\":\"memory\",\"what\":\"{name}\",\"extra_mib\":{extra:.1}}}");
        });
    }
}
