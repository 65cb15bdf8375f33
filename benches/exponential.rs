//! How long does an exponential take?
//!
//! `cargo bench --bench exponential` prints the milliseconds that a million elements take, which are
//! the nanoseconds of one, for each function.

mod common;

use common::{Options, in_turn, report};
use dpq::{Tape, Tensor, Var, parallel};

/// Elements at a time: few enough to stay in the second-level cache.
const ELEMENTS: usize = 25_000;

type Function = for<'t> fn(Var<'t, f32>) -> Var<'t, f32>;

fn main() {
    let options = Options::parse();
    let x = Tensor::from_fn([ELEMENTS], |i| (i % 1009) as f32 * -0.02);
    let functions: [(&str, Function); 3] =
        [("exp", |x| x.exp()), ("tanh", |x| x.tanh()), ("sigmoid", |x| x.sigmoid())];
    for &threads in &options.threads {
        parallel::with_threads(threads, || {
            let mut tape = Tape::new();
            for (name, f) in functions.into_iter().filter(|(name, _)| options.wants(name)) {
                let times = in_turn(options.repeats, &mut [()], |()| {
                    for _ in 0..1_000_000 / ELEMENTS {
                        f(tape.constant(x.clone()));
                        tape.reset();
                    }
                });
                report("exponential", name, threads, &times[0], None);
            }
        });
    }
}
