//! One DPQ embedding with ids and an upstream gradient, ready to be run forward and backward.

use dpq::pq::{Bands, MovingAverage, Score, Temperature};
use dpq::{DpqConfig, DpqEmbedding, Embedding, Params, Tape, Tensor};
use rand_distr::{Distribution, Zipf};

/// Tokens, vocabulary, width, groups, codebook size.
pub type Shape = [usize; 5];

/// The shapes that are measured.
pub const SHAPES: [(&str, Shape); 5] = [
    ("A", [400, 10_000, 200, 25, 32]),
    ("B", [700, 10_000, 650, 50, 32]),
    ("C", [2048, 32_000, 512, 64, 32]),
    ("D", [8192, 100_000, 300, 50, 16]),
    ("E", [4096, 50_000, 512, 128, 256]),
];

/// Forms and kinds of ids.
pub const VARIANTS: [(&str, &str); 4] =
    [("sx", "distinct"), ("sx", "zipf"), ("vq", "distinct"), ("vq", "zipf")];

/// Options, each of which costs something; of [`Layer::new`], in place of a form.
pub const OPTIONS: [&str; 7] = [
    "sx-learnable",
    "sx-bands",
    "sx-sampling",
    "sx-cosine",
    "sx-squared-distance",
    "vq-bands",
    "vq-moving-average",
];

fn config(form: &str, vocabulary: usize, groups: usize, k: usize) -> DpqConfig {
    let (sx, vq) = (DpqConfig::sx(groups, k), DpqConfig::vq(groups, k));
    let half = (k / 2).max(2) as u32;
    let bands = Bands::new(&[(vocabulary as u32 / 10, half)]).expect("a sound band");
    match form {
        "sx" => sx,
        "vq" => vq,
        "sx-learnable" => DpqConfig { temperature: Temperature::Learnable(1.0), ..sx },
        "sx-bands" => DpqConfig { bands, ..sx },
        "sx-sampling" => DpqConfig { sampling: true, ..sx },
        "sx-cosine" => DpqConfig { score: Score::Cosine, ..sx },
        "sx-squared-distance" => DpqConfig { score: Score::SquaredDistance, ..sx },
        "vq-bands" => DpqConfig { bands, ..vq },
        "vq-moving-average" => DpqConfig { moving_average: Some(MovingAverage::default()), ..vq },
        _ => panic!("no form {form}"),
    }
}

/// An embedding in training.
pub struct Layer {
    /// Its parameters.
    pub params: Params<f32>,
    embedding: DpqEmbedding,
    tape: Tape<f32>,
    ids: Vec<u32>,
    upstream: Tensor<f32>,
}

impl Layer {
    /// The form `sx` or `vq`, or one of [`OPTIONS`]; ids all `distinct` or drawn by Zipf's law.
    pub fn new([n, v, d, groups, k]: Shape, form: &str, ids: &str) -> Layer {
        let mut params = Params::new();
        let config = config(form, v, groups, k);
        let embedding = DpqEmbedding::new(params.scope("embedding"), v, d, config)
            .expect("a sound configuration");
        let mut rng = dpq::rng::stream(0, "ids", 0);
        let zipf = Zipf::new(v as f64, 1.0).expect("a sound distribution");
        // Distinct ids in no order: an odd stride over the table.
        let id = |i: usize| match ids {
            "zipf" => zipf.sample(&mut rng) as u32 - 1,
            _ => (i * 7919 % v) as u32,
        };
        let ids = (0..n).map(id).collect();
        let upstream =
            Tensor::uniform([n, d], 1.0 / n as f64, &mut dpq::rng::stream(0, "upstream", 0));
        Layer { params, embedding, tape: Tape::new(), ids, upstream }
    }

    /// Forward, backward, and whatever `then` does with the gradients.
    pub fn run(&mut self, then: impl FnOnce(&mut Params<f32>, &dpq::Grads<f32>)) {
        let p = self.tape.train(&self.params);
        let embedded = self.embedding.forward(&p, &self.ids);
        let mut seeds = vec![(embedded.rows, self.upstream.clone())];
        seeds.extend(embedded.regulariser.map(|regulariser| (regulariser, Tensor::scalar(1.0))));
        let grads = self.tape.backward_from(&seeds).expect("ids in range").into_params();
        self.tape.reset();
        then(&mut self.params, &grads);
    }
}
