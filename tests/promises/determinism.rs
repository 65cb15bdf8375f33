//! The same seed gives the same bits, with however many threads; another seed gives others.

use dpq::data::Batches;
use dpq::nn::{LanguageModel, LanguageModelConfig};
use dpq::optim::{Optimizer, Sgd};
use dpq::{
    DpqConfig, DpqEmbedding, Embedding, FullEmbedding, Init, Params, Tape, Tensor, parallel, rng,
};
use std::collections::BTreeSet;

const VOCABULARY: usize = 1000;
const WIDTH: usize = 48;
const BATCH: usize = 16;
const STEPS: usize = 20;

/// Ids that depend on nothing but their place.
fn text() -> Vec<u32> {
    let uniform = Tensor::<f64>::uniform([BATCH * 101], 1.0, &mut rng::stream(5, "text", 0));
    uniform.data().iter().map(|x| (x.abs() * VOCABULARY as f64) as u32).collect()
}

/// The bits of all parameters after five steps. `dropout` seeds the masks alone.
fn trained(quantized: Option<DpqConfig>, seed: u64, dropout: u64) -> Vec<(String, Vec<u32>)> {
    let mut params = Params::<f32>::seeded(seed);
    let embedding: Box<dyn Embedding<f32>> = match quantized {
        Some(config) => Box::new(
            DpqEmbedding::new(params.scope("embedding"), VOCABULARY, WIDTH, config).unwrap(),
        ),
        None => Box::new(FullEmbedding::new(params.scope("embedding"), VOCABULARY, WIDTH)),
    };
    let config = LanguageModelConfig { layers: 2, hidden: 56, dropout: 0.3 };
    let model = LanguageModel::new(params.root().init(Init::Uniform(0.1)), embedding, config);
    let batches = Batches::new(&text(), BATCH, STEPS).unwrap();
    let (mut tape, mut state) = (Tape::new(), model.start(BATCH));
    assert_eq!(batches.len(), 5);
    for (step, window) in batches.windows().enumerate() {
        tape.set_noise(dropout, step as u64);
        let pass = model.forward(&tape.train(&params), &window, &state);
        state = pass.state;
        let mut grads = tape.backward_and_free(pass.objective).unwrap();
        tape.reset();
        grads.clip_global_norm(3.0);
        Sgd::new(1.0).step(&mut params, &grads).unwrap();
    }
    let bits = |id| params.get(id).data().iter().map(|x: &f32| x.to_bits()).collect();
    params.ids().map(|id| (params.name(id).to_string(), bits(id))).collect()
}

/// Every kind of embedding.
fn embeddings() -> [Option<DpqConfig>; 4] {
    let sx = DpqConfig { beta: 0.1, ..DpqConfig::sx(8, 17) };
    let vq = DpqConfig { beta: 0.25, shared: true, ..DpqConfig::vq(8, 17) };
    // Wide groups with a tiny codebook: the statistics come from the scores.
    [None, Some(sx), Some(vq), Some(DpqConfig::sx(4, 5))]
}

/// FNV-1a of all bits.
fn hash(params: &[(String, Vec<u32>)]) -> u64 {
    let bits = params.iter().flat_map(|(_, bits)| bits);
    bits.fold(0xcbf2_9ce4_8422_2325, |h, &x| (h ^ u64::from(x)).wrapping_mul(0x100_0000_01b3))
}

/// `work` on this many threads, and really on as many.
fn on<R: Send>(threads: usize, work: impl Fn() -> R + Sync + Send) -> R {
    parallel::with_threads(threads, || {
        if cfg!(feature = "parallel") {
            assert_eq!(parallel::threads(), threads);
        }
        work()
    })
}

/// The names of the tensors whose bits differ.
fn differing(a: &[(String, Vec<u32>)], b: &[(String, Vec<u32>)]) -> Vec<String> {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).filter(|(a, b)| a != b).map(|(a, _)| a.0.clone()).collect()
}

#[test]
fn training_gives_the_same_bits_with_1_2_and_3_threads() {
    let window = Batches::new(&text(), BATCH, STEPS).unwrap().window(0);
    let distinct: BTreeSet<_> = window.inputs.iter().collect();
    assert!(distinct.len() > 256, "a piece of work for each of 3 threads: {}", distinct.len());
    for quantized in embeddings() {
        let one = on(1, || trained(quantized, 3, 4));
        // To be compared between builds: the feature `parallel` does not change a bit.
        println!("bits after training {quantized:?}: {:016x}", hash(&one));
        for threads in [1, 2, 3] {
            let differing = differing(&one, &on(threads, || trained(quantized, 3, 4)));
            assert!(differing.is_empty(), "{threads} threads, {quantized:?}: {differing:?}");
        }
    }
}

#[test]
fn another_seed_gives_other_parameters() {
    for quantized in embeddings() {
        let differing = differing(&trained(quantized, 3, 4), &trained(quantized, 9, 4));
        let all = trained(quantized, 3, 4).len();
        assert_eq!(differing.len(), all, "{quantized:?}: only {differing:?}");
    }
}

#[test]
fn dropout_draws_from_its_own_seed() {
    for quantized in embeddings() {
        let differing = differing(&trained(quantized, 3, 4), &trained(quantized, 3, 5));
        assert!(differing.contains(&"softmax.weight".to_string()), "{quantized:?}: {differing:?}");
        assert!(differing.contains(&"lstm.weight_ih_l0".to_string()), "{quantized:?}");
    }
}

#[test]
fn a_product_deeper_and_taller_than_a_block_gives_the_same_bits_with_any_threads() {
    let draw =
        |name, shape: [usize; 2]| Tensor::<f32>::uniform(shape, 1.0, &mut rng::stream(1, name, 0));
    let (a, b) = (draw("a", [410, 1030]), draw("b", [1030, 210]));
    let product = || {
        let tape = Tape::new();
        let [x, y] = [&a, &b].map(|x| tape.leaf(x.clone()));
        let z = x.matmul(y);
        let grads = tape.backward_from(&[(z, draw("seed", [410, 210]))]).unwrap();
        [z.value(), grads.dense(x), grads.dense(y)]
            .map(|x| -> Vec<u32> { x.data().iter().map(|x| x.to_bits()).collect() })
    };
    let one = on(1, product);
    for threads in [2, 3, 7] {
        let other = on(threads, product);
        let same: Vec<bool> = one.iter().zip(&other).map(|(a, b)| a == b).collect();
        assert_eq!(same, [true; 3], "product and gradients with {threads} threads");
    }
}
