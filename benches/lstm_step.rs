//! How long does one training step of a language model take?
//!
//! `cargo bench --bench lstm_step -- --only small,medium --threads 1,2 --repeats 15` prints a JSON
//! line for each model, embedding and number of threads; embeddings are visited in turn.

mod common;

use common::{Options, report};
use dpq::data::Window;
use dpq::nn::{LanguageModel, LanguageModelConfig, LstmState};
use dpq::optim::{Optimizer, Sgd};
use dpq::{DpqConfig, DpqEmbedding, Embedding, FullEmbedding, Init, Params, Tape, parallel};
use rand::Rng;

const VOCABULARY: usize = 10_000;
const BATCH: usize = 20;

struct Size {
    name: &'static str,
    hidden: usize,
    steps: usize,
    dropout: f64,
    groups: usize,
}

const SIZES: [Size; 2] = [
    Size { name: "small", hidden: 200, steps: 20, dropout: 0.0, groups: 25 },
    Size { name: "medium", hidden: 650, steps: 35, dropout: 0.5, groups: 50 },
];

struct Training {
    model: LanguageModel<f32>,
    params: Params<f32>,
    tape: Tape<f32>,
    state: LstmState<f32>,
    window: Window,
}

impl Training {
    fn new(size: &Size, embedding: &str) -> Training {
        let mut params = Params::new();
        let (width, k) = (size.hidden, 32);
        let dpq = |params: &mut Params<f32>, config| -> Box<dyn Embedding<f32>> {
            Box::new(
                DpqEmbedding::new(params.scope("embedding"), VOCABULARY, width, config)
                    .expect("a sound configuration"),
            )
        };
        let table: Box<dyn Embedding<f32>> = match embedding {
            "sx" => dpq(&mut params, DpqConfig::sx(size.groups, k)),
            "vq" => dpq(&mut params, DpqConfig::vq(size.groups, k)),
            _ => Box::new(FullEmbedding::new(params.scope("embedding"), VOCABULARY, width)),
        };
        let config = LanguageModelConfig { layers: 2, hidden: width, dropout: size.dropout };
        let model = LanguageModel::new(params.root().init(Init::Uniform(0.1)), table, config);
        let mut rng = dpq::rng::stream(0, "tokens", 0);
        let mut tokens =
            || (0..size.steps * BATCH).map(|_| rng.next_u32() % VOCABULARY as u32).collect();
        let window =
            Window { inputs: tokens(), targets: tokens(), steps: size.steps, batch: BATCH };
        let state = model.start(BATCH);
        Training { model, params, tape: Tape::new(), state, window }
    }

    fn step(&mut self) {
        let (_, mut grads, state) = self
            .tape
            .value_and_grad(&self.params, |p| {
                let pass = self.model.forward(p, &self.window, &self.state);
                (pass.objective, pass.state)
            })
            .expect("a finite loss");
        self.state = state;
        grads.clip_global_norm(5.0);
        Sgd::new(1.0).step(&mut self.params, &grads).expect("finite gradients");
    }
}

fn main() {
    let options = Options::parse();
    for size in &SIZES {
        for &threads in &options.threads {
            parallel::with_threads(threads, || {
                let mut trainings: Vec<(String, Training)> = ["full", "sx", "vq"]
                    .into_iter()
                    .map(|embedding| (format!("{} {embedding}", size.name), embedding))
                    .filter(|(name, _)| options.wants(name))
                    .map(|(name, embedding)| (name, Training::new(size, embedding)))
                    .collect();
                let times = common::in_turn(options.repeats, &mut trainings, |(_, training)| {
                    training.step()
                });
                for ((name, _), times) in trainings.iter().zip(times) {
                    report("lstm_step", name, threads, &times, None);
                }
            });
        }
    }
}
