//! The same training in both number types: what is checked in `f64` is what trains in `f32`.
//!
//! Programs that are built with the feature `proptest`, as all tests here are, find the code for
//! both types compiled in the library, since this file calls it, and need not compile it again.

use crate::data::Window;
use crate::embedding::{Embedding, FullEmbedding};
use crate::nn::{LanguageModel, LanguageModelConfig};
use crate::optim::{Adam, Optimizer, Sgd};
use crate::params::Params;
use crate::pq::{DpqConfig, DpqEmbedding};
use crate::real::Real;
use crate::tape::Tape;

const WORDS: usize = 50;
const WIDTH: usize = 24;

/// A small language model's loss at every step of training in `f32` and in `f64`, with the full
/// table and with each form of compressed one, and one row of the compact tables.
pub fn in_both_precisions() -> [(Vec<f64>, Vec<f64>); 3] {
    [None, Some(DpqConfig::sx(4, 8)), Some(DpqConfig::vq(4, 8))]
        .map(|config| (losses::<f32>(config), losses::<f64>(config)))
}

fn losses<T: Real>(config: Option<DpqConfig>) -> Vec<f64> {
    let mut params = Params::<T>::new();
    let scope = params.scope("words");
    let (embedding, dpq): (Box<dyn Embedding<T>>, _) = match config {
        None => (Box::new(FullEmbedding::new(scope, WORDS, WIDTH)), None),
        Some(config) => {
            let dpq = DpqEmbedding::new(scope, WORDS, WIDTH, config).expect("sizes that fit");
            (Box::new(dpq.clone()), Some(dpq))
        }
    };
    let sizes = LanguageModelConfig { layers: 2, hidden: WIDTH, dropout: 0.2 };
    let model = LanguageModel::new(params.root(), embedding, sizes);
    let words = |k: usize| (0..40).map(|i| (i * i * k % WORDS) as u32).collect();
    let window = Window { inputs: words(3), targets: words(5), steps: 10, batch: 4 };
    let (mut tape, mut sgd, mut adam) = (Tape::new(), Sgd::new(0.5), Adam::new(1e-3));
    let mut found = Vec::new();
    for step in 0..4 {
        let (_, mut grads, loss) = tape
            .value_and_grad(&params, |p| {
                let pass = model.forward(p, &window, &model.start(4));
                (pass.objective, pass.cross_entropy)
            })
            .expect("ids that are words");
        found.push(loss.to_f64());
        grads.clip_global_norm(5.0);
        let optimizer: &mut dyn Optimizer<T> = if step < 2 { &mut sgd } else { &mut adam };
        optimizer.step(&mut params, &grads).expect("finite gradients");
    }
    let pass = model.forward(&tape.evaluate(&params), &window, &model.start(4));
    found.push(pass.cross_entropy.to_f64());
    if let Some(dpq) = dpq {
        let compact = dpq.to_compact(&params).expect("finite values");
        found.extend(compact.lookup(&[1]).expect("a word").data().iter().map(|x| x.to_f64()));
    }
    found
}
