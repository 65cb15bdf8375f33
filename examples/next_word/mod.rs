//! A small model that predicts the next word, its embedding the softmax form of DPQ in primitive ops.

use dpq::optim::{Optimizer, Sgd};
use dpq::pq::{Normalization, Usage, composed};
use dpq::rng::{ChaCha8Rng, stream};
use dpq::{CodeTable, DpqConfig, Params, Tape, Tensor};
use rand::Rng;

/// Words.
pub const V: usize = 200;
/// Codes of a word.
pub const D: usize = 4;
/// Codewords that a code chooses from; one codebook for all groups.
pub const K: usize = 32;
/// Width of a row.
const W: usize = 16;

/// Numbers between -bound and bound.
pub fn random(shape: &[usize], bound: f64, purpose: &str) -> Tensor<f64> {
    Tensor::uniform(shape, bound, &mut stream(0, purpose, 0))
}

/// Trains it with scores normalised or raw, and with a part that all queries have in common, of size
/// `common`. Returns the codewords in use after 0, 100, 300, 700 and 1,500 steps, and the loss at the
/// end, averaged over about 100 steps.
pub fn train(common: f64, normalize: bool) -> dpq::Result<(Vec<usize>, f64)> {
    let config = DpqConfig { shared: true, ..DpqConfig::sx(D, K) };
    let normalization = if normalize { Normalization::Batch } else { Normalization::Off };
    let mut params = Params::new();
    let part = random(&[W / D], common, "common");
    let queries = random(&[V, W], 0.1, "queries");
    let queries = Tensor::from_fn([V, W], |i| queries.data()[i] + part.data()[i % (W / D)]);
    let queries = params.add("queries", queries);
    let keys = params.add("keys", random(&[1, K, W / D], 0.1, "keys"));
    let values = params.add("values", random(&[1, K, W / D], 0.1, "values"));
    let out = params.add("out", random(&[W, V], 0.1, "out"));
    let bias = params.add("bias", Tensor::zeros([V]));

    let mut rng = stream(0, "text", 0);
    let (mut tape, mut used, mut loss) = (Tape::new(), Vec::new(), 0.0);
    for step in 0..=1500 {
        if [0, 100, 300, 700, 1500].contains(&step) {
            let p = tape.evaluate(&params);
            let all = composed::sx(&config, normalization, p[queries], p[keys], p[values]);
            used.push(Usage::of(&CodeTable::pack(&all.codes.to_vec(), D, K)).used());
            tape.reset();
        }
        let (ids, next) = pairs(&mut rng);
        let (cross_entropy, grads, ()) = tape.value_and_grad(&params, |p| {
            let q = p[queries].gather_rows(&ids);
            let rows = composed::sx(&config, normalization, q, p[keys], p[values]).rows;
            (rows.linear_cross_entropy(p[out], p[bias], &next), ())
        })?;
        loss += 0.01 * (cross_entropy - loss);
        Sgd::new(1.5).step(&mut params, &grads)?;
    }
    Ok((used, loss))
}

/// Words drawn by Zipf's law, each followed by one of three words of its own.
fn pairs(rng: &mut ChaCha8Rng) -> (Vec<u32>, Vec<u32>) {
    let mut draw = || f64::from(rng.next_u32()) / 2_f64.powi(32);
    let ids: Vec<u32> = (0..32).map(|_| ((V as f64 + 1.0).powf(draw()) - 1.0) as u32).collect();
    let next = |&id: &u32| (7 * id + (3.0 * draw()) as u32) % V as u32;
    let next = ids.iter().map(next).collect();
    (ids, next)
}
