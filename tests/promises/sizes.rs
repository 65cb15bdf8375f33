//! Products of lengths are checked, sizes that make no sense are refused by name, and nothing at all works
//! where it makes sense.

use crate::refusal::refusal;
use dpq::data::Window;
use dpq::embedding::{LowRank, ScalarTable};
use dpq::nn::{LanguageModel, LanguageModelConfig, Linear, Lstm};
use dpq::ops::BatchStatistics;
use dpq::pq::{FixedCodes, Normalization, sx, vq};
use dpq::{
    CodeTable, CompactEmbedding, DpqConfig, DpqEmbedding, Embedding, Error, FullEmbedding, Params,
    Tape, Tensor, parallel,
};

const BIG: usize = 1 << 32;

#[test]
fn shapes_whose_product_wraps_hold_nothing() {
    let error = Tensor::<f32>::new([BIG, BIG], vec![]).unwrap_err();
    assert!(matches!(&error, Error::Shape { elements: 0, .. }), "{error}");
    assert!(error.to_string().contains("[4294967296, 4294967296]"), "{error}");
    for message in [
        refusal(|| Tensor::<f32>::zeros([BIG, BIG])),
        refusal(|| Tensor::<f32>::from_fn([BIG, BIG], |_| 1.0)),
        refusal(|| Tape::<f32>::new().uninit([BIG, BIG])),
        refusal(|| Tensor::scalar(1.0_f32).reshape([BIG, BIG])),
    ] {
        assert_eq!(message, "shape [4294967296, 4294967296] has more elements than can be counted");
    }
    let memory = refusal(|| Tensor::<f32>::zeros([1 << 50]));
    assert_eq!(memory, "a tensor of shape [1125899906842624] does not fit into memory");
}

#[test]
fn tables_of_no_rows_no_width_or_too_many_are_refused() {
    let mut params = Params::<f32>::new();
    let config = DpqConfig::sx(2, 4);
    for (vocabulary, width, name) in [
        (0, 4, "vocabulary = 0"),
        (10, 0, "width = 0"),
        (1 << 62, 4, "vocabulary = 4611686018427387904"),
        ((1 << 32) + 1, 4, "vocabulary = 4294967297"),
        (10, usize::MAX, "width = 18446744073709551615"),
    ] {
        let errors = [
            DpqEmbedding::new(params.scope("a"), vocabulary, width, config).map(|_| ()),
            FixedCodes::random(params.scope("a"), vocabulary, width, config).map(|_| ()),
            LowRank::new(params.scope("a"), vocabulary, width, 1).map(|_| ()),
            LowRank::rank_for(1000, vocabulary, width).map(|_| ()),
        ];
        for error in errors.map(|result| result.unwrap_err().to_string()) {
            assert!(error.starts_with(name) && error.contains(": expected 1 to "), "{error}");
        }
        let message = refusal(|| FullEmbedding::new(params.scope("a"), vocabulary, width));
        assert!(message.starts_with(&format!("embedding: {name}")), "{message}");
    }
    assert_eq!(params.ids().len(), 0);
    let codes = CodeTable::pack(&[], 2, 4);
    let error = CompactEmbedding::<f32>::new(config, codes, Tensor::zeros([2, 4, 1])).unwrap_err();
    assert_eq!(error.to_string(), "rows = 0: expected at least 1");
}

#[test]
fn layers_of_nothing_are_refused_by_the_argument() {
    let mut params = Params::<f32>::new();
    assert!(refusal(|| Lstm::new(params.scope("a"), 0, 4, 1)).starts_with("lstm: 0 inputs"));
    assert!(refusal(|| Lstm::new(params.scope("a"), 4, 0, 1)).starts_with("lstm: 0 hidden units"));
    assert!(refusal(|| Lstm::new(params.scope("a"), 4, 4, 0)).starts_with("lstm: 0 layers"));
    assert!(
        refusal(|| Lstm::new(params.scope("a"), 4, usize::MAX, 1)).contains("expected 1 to 2^31")
    );
    assert_eq!(refusal(|| Linear::new(params.scope("a"), 0, 2)), "linear: 0 inputs and 2 outputs");
    assert_eq!(
        refusal(|| Linear::without_bias(params.scope("a"), 2, 0)),
        "linear: 2 inputs and 0 outputs"
    );
    assert_eq!(refusal(|| parallel::with_threads(0, || ())), "with_threads: 0 threads");
    assert_eq!(params.ids().len(), 0);
}

#[test]
fn bits_of_settings_that_do_not_fit_are_refused() {
    let count =
        |config: DpqConfig, vocabulary, width| refusal(|| config.compact_bits(vocabulary, width));
    let sound = DpqConfig::sx(2, 4);
    assert!(count(DpqConfig { groups: 0, ..sound }, 10, 4).contains("groups = 0"));
    assert!(count(DpqConfig { codebook_size: 1, ..sound }, 10, 4).contains("codebook size = 1"));
    assert!(count(sound, usize::MAX, 4).contains("too many to count"));
    assert!(refusal(|| dpq::pq::codes::CodeTable::pack(&[0], 1, 1)).contains("codebook size = 1"));
}

#[test]
fn the_compression_of_the_papers_settings_is_the_papers() {
    for (width, k, groups, ratio) in
        [(1500, 16, 50, 238.2), (650, 32, 25, 162.9), (650, 128, 50, 58.5)]
    {
        let config = DpqConfig { shared: true, ..DpqConfig::sx(groups, k) };
        let found = config.compression_ratio(10_000, width);
        assert!((found - ratio).abs() < 0.1, "{found}, not {ratio}");
    }
}

#[test]
fn a_window_with_too_few_inputs_or_targets_is_refused() {
    let mut params = Params::<f32>::new();
    let embedding = FullEmbedding::new(params.scope("words"), 9, 4);
    let config = LanguageModelConfig { layers: 1, hidden: 4, dropout: 0.0 };
    let model = LanguageModel::new(params.root(), Box::new(embedding), config);
    for (inputs, targets) in [(6, 5), (5, 6), (7, 7), (0, 0)] {
        let window =
            Window { inputs: vec![1; inputs], targets: vec![2; targets], steps: 3, batch: 2 };
        let tape = Tape::new();
        let p = tape.train(&params);
        let message = refusal(|| model.forward(&p, &window, &model.start(2)).cross_entropy);
        let expected =
            format!("{inputs} inputs and {targets} targets in a window of 3 steps and batch 2");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn statistics_of_other_scores_are_refused() {
    let tape = Tape::<f32>::new();
    let table = tape.leaf(Tensor::full([5, 4], 0.5));
    let book = tape.leaf(Tensor::full([2, 4, 2], 0.5));
    for (means, variances) in [(3, 4), (4, 3), (5, 5)] {
        let (mean, var) = (Tensor::zeros([means]), Tensor::full([variances], 1.0));
        let statistics = BatchStatistics { mean, var, eps: 1e-3 };
        let running = || Normalization::Running(&statistics);
        let expected = format!("{means} means and {variances} variances");
        for message in [
            refusal(|| sx(&DpqConfig::sx(2, 4), running(), table, &[1], book, book).rows.value()),
            refusal(|| vq(&DpqConfig::vq(2, 4), running(), table, &[1], book).rows.value()),
            refusal(|| table.normalize(&statistics).value()),
        ] {
            assert!(message.contains(&expected), "{message}");
        }
    }
}

#[test]
fn no_ids_give_no_rows_of_the_right_width() {
    let mut params = Params::<f32>::new();
    let off = |config| DpqConfig { batch_norm: false, ..config };
    let (sx, vq) = (DpqConfig::sx(3, 4), DpqConfig::vq(3, 4));
    let mut embeddings: Vec<Box<dyn Embedding<f32>>> =
        vec![Box::new(FullEmbedding::new(params.scope("full"), 10, 12))];
    for (i, config) in [sx, vq, off(sx), off(vq)].into_iter().enumerate() {
        let embedding = DpqEmbedding::new(params.scope(&i.to_string()), 10, 12, config).unwrap();
        embeddings.push(Box::new(embedding.to_compact(&params).unwrap()));
        embeddings.push(Box::new(embedding));
    }
    embeddings.push(Box::new(FixedCodes::random(params.scope("random"), 10, 12, sx).unwrap()));
    let padded = FixedCodes::random(params.scope("padded"), 10, 12, sx).unwrap().padding(3);
    embeddings.push(Box::new(padded));
    embeddings.push(Box::new(LowRank::new(params.scope("low"), 10, 12, 3).unwrap().padding(3)));
    embeddings.push(Box::new(ScalarTable::quantize(&Tensor::<f32>::zeros([10, 12]), 8).unwrap()));
    for embedding in embeddings {
        let shape = |p: &dpq::Bound<'_, f32>| embedding.forward(p, &[]).rows.shape();
        let mut tape = Tape::new();
        assert_eq!(tape.value(&params, |p| shape(p)).unwrap()[..], [0, 12]);
        assert_eq!(shape(&tape.train(&params))[..], [0, 12]);
    }
}
