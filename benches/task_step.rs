//! How long does one training step of a classifier of texts, or of a translator, take?
//!
//! `cargo bench --bench task_step -- --only classification,"translation 256" --threads 1,2 --repeats 9`
//! prints a JSON line for each model, embedding and number of threads; embeddings are visited in turn.
//! Sizes are those of the AG News subset (17,682 features, 64 texts of 23 to 54 words, width 300, K 32,
//! D 50) and of Multi30k (5,920 and 7,858 words, 128 pairs of 8 to 17 words, K 32, D 32), words by Zipf's
//! law.

mod common;

use common::{Options, report};
use dpq::data::Bags;
use dpq::nn::{TextClassifier, TextClassifierConfig, Translator, TranslatorConfig};
use dpq::optim::{Adam, Optimizer};
use dpq::rng::ChaCha8Rng;
use dpq::{
    Bound, DpqConfig, DpqEmbedding, Embedding, FullEmbedding, Params, Scope, Tape, Var, parallel,
};
use rand_distr::{Distribution, Zipf};

/// Rows, by what they begin with: the model, and its embedding.
const ROWS: [(&str, usize); 3] =
    [("classification", 300), ("translation", 256), ("translation", 512)];

/// The loss of a step.
type Loss = Box<dyn for<'t> Fn(&Bound<'t, f32>) -> Var<'t, f32> + Send>;

struct Training {
    params: Params<f32>,
    tape: Tape<f32>,
    adam: Adam<f32>,
    /// The largest norm of a gradient.
    clip: Option<f64>,
    loss: Loss,
}

impl Training {
    fn new(task: &str, width: usize, embedding: &str) -> Training {
        let mut params = Params::new();
        let (loss, clip) = match task {
            "classification" => (classification(&mut params, width, embedding), None),
            _ => (translation(&mut params, width, embedding), Some(5.0)),
        };
        Training { params, tape: Tape::new(), adam: Adam::new(1e-3), clip, loss }
    }

    fn step(&mut self) {
        let (_, mut grads, ()) =
            self.tape.value_and_grad(&self.params, |p| ((self.loss)(p), ())).expect("a loss");
        if let Some(norm) = self.clip {
            grads.clip_global_norm(norm);
        }
        self.adam.step(&mut self.params, &grads).expect("finite gradients");
    }
}

fn table(
    scope: Scope<'_, f32>,
    embedding: &str,
    words: usize,
    width: usize,
    groups: usize,
) -> Box<dyn Embedding<f32>> {
    let config = match embedding {
        "full" => return Box::new(FullEmbedding::new(scope, words, width)),
        "sx" => DpqConfig::sx(groups, 32),
        _ => DpqConfig::vq(groups, 32),
    };
    let config = DpqConfig { shared: false, ..config };
    Box::new(DpqEmbedding::new(scope, words, width, config).expect("a sound configuration"))
}

fn sentence(length: usize, words: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let zipf = Zipf::new(words as f64, 1.0).expect("a sound distribution");
    (0..length).map(|_| zipf.sample(rng) as u32 - 1).collect()
}

fn classification(params: &mut Params<f32>, width: usize, embedding: &str) -> Loss {
    const WORDS: usize = 17_682;
    let table = table(params.scope("embedding"), embedding, WORDS, width, 50);
    let config = TextClassifierConfig { classes: 4, hidden: true, dropout: 0.0, word_dropout: 0.0 };
    let model = TextClassifier::new(params.root(), table, config);
    let mut rng = dpq::rng::stream(0, "texts", 0);
    let lengths: Vec<usize> = (0..64).map(|i| 23 + i * 7 % 32).collect();
    let ids = lengths.iter().flat_map(|&n| sentence(n, WORDS, &mut rng)).collect();
    let (texts, classes) = (Bags { ids, lengths }, (0..64).map(|i| i % 4).collect::<Vec<u32>>());
    Box::new(move |p| {
        let found = model.forward(p, &texts);
        let loss = found.logits.cross_entropy(&classes);
        found.regulariser.map_or(loss, |regulariser| loss + regulariser)
    })
}

fn translation(params: &mut Params<f32>, units: usize, embedding: &str) -> Loss {
    const WORDS: [usize; 2] = [5920, 7858];
    let source = table(params.scope("source"), embedding, WORDS[0], units, 32);
    let target = table(params.scope("target"), "full", WORDS[1], units, 32);
    let config = TranslatorConfig { units, dropout: 0.2, start: 0, end: 1 };
    let model = Translator::new(params.root(), source, target, config);
    let mut rng = dpq::rng::stream(0, "pairs", 0);
    let mut sentences = |factor: usize, words| -> Vec<Vec<u32>> {
        (0..128).map(|i| sentence(8 + i * factor % 10, words, &mut rng)).collect()
    };
    let (sources, targets) = (sentences(7, WORDS[0]), sentences(3, WORDS[1]));
    Box::new(move |p| {
        let [sources, targets] =
            [&sources, &targets].map(|all| all.iter().map(Vec::as_slice).collect::<Vec<_>>());
        model.forward(p, &sources, &targets).objective
    })
}

fn main() {
    let options = Options::parse();
    for (task, width) in ROWS {
        for &threads in &options.threads {
            parallel::with_threads(threads, || {
                let mut trainings: Vec<(String, Training)> = ["full", "sx", "vq"]
                    .into_iter()
                    .map(|embedding| (format!("{task} {width} {embedding}"), embedding))
                    .filter(|(name, _)| options.wants(name))
                    .map(|(name, embedding)| (name, Training::new(task, width, embedding)))
                    .collect();
                let times = common::in_turn(options.repeats, &mut trainings, |(_, training)| {
                    training.step()
                });
                for ((name, _), times) in trainings.iter().zip(times) {
                    report("task_step", name, threads, &times, None);
                }
            });
        }
    }
}
