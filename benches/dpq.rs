//! How long does one forward and backward pass of a DPQ embedding take?
//!
//! `cargo bench --bench dpq -- --only A,B --threads 1,2 --repeats 9` prints a JSON line for each
//! shape, form, kind of ids and number of threads; `--only "C sx"` measures one form of one shape.

mod common;

use common::{Options, report};
use dpq::{DpqConfig, DpqEmbedding, Embedding, Params, Tape, Tensor, parallel};
use rand_distr::{Distribution, Zipf};

/// Tokens, vocabulary, width, groups, codebook size.
const SHAPES: [(&str, [usize; 5]); 5] = [
    ("A", [400, 10_000, 200, 25, 32]),
    ("B", [700, 10_000, 650, 50, 32]),
    ("C", [2048, 32_000, 512, 64, 32]),
    ("D", [8192, 100_000, 300, 50, 16]),
    ("E", [4096, 50_000, 512, 128, 256]),
];

struct Pass {
    name: String,
    embedding: DpqEmbedding,
    params: Params<f32>,
    tape: Tape<f32>,
    ids: Vec<u32>,
    upstream: Tensor<f32>,
}

impl Pass {
    fn new(shape: &str, [n, v, d, groups, k]: [usize; 5], form: &str, ids: &str) -> Pass {
        let mut params = Params::new();
        let config = if form == "sx" { DpqConfig::sx(groups, k) } else { DpqConfig::vq(groups, k) };
        let embedding =
            DpqEmbedding::new(&mut params, v, d, config, 0.1, 0).expect("a sound configuration");
        let mut rng = dpq::rng::stream(0, "ids", 0);
        let zipf = Zipf::new(v as f64, 1.0).expect("a sound distribution");
        // Distinct ids in no order: an odd stride over the table.
        let distinct = |i: usize| (i * 7919 % v) as u32;
        let ids_of =
            |i: usize| if ids == "zipf" { zipf.sample(&mut rng) as u32 - 1 } else { distinct(i) };
        let upstream =
            Tensor::uniform([n, d], 1.0 / n as f64, &mut dpq::rng::stream(0, "upstream", 0));
        let ids_list = (0..n).map(ids_of).collect();
        let name = format!("{shape} {form} {ids}");
        Pass { name, embedding, params, tape: Tape::new(), ids: ids_list, upstream }
    }

    fn run(&mut self) {
        let p = self.tape.train(&self.params);
        let looked = self.embedding.forward(&p, &self.ids);
        let mut seeds = vec![(looked.rows, self.upstream.clone())];
        seeds.extend(looked.regulariser.map(|regulariser| (regulariser, Tensor::scalar(1.0))));
        let grads = self.tape.backward_from(&seeds);
        std::hint::black_box(&grads);
        drop(grads);
        self.tape.reset();
    }
}

fn main() {
    let options = Options::parse();
    let variants = [("sx", "distinct"), ("sx", "zipf"), ("vq", "distinct"), ("vq", "zipf")];
    for (name, shape) in SHAPES {
        for &threads in &options.threads {
            parallel::with_threads(threads, || {
                let wanted = variants
                    .iter()
                    .filter(|(form, ids)| options.wants(&format!("{name} {form} {ids}")));
                let mut passes: Vec<Pass> =
                    wanted.map(|(form, ids)| Pass::new(name, shape, form, ids)).collect();
                let times = common::in_turn(options.repeats, &mut passes, Pass::run);
                for (pass, times) in passes.iter().zip(times) {
                    report("dpq", &pass.name, threads, &times, None);
                }
            });
        }
    }
}
