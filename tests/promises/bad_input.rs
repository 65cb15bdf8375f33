//! What comes from outside and is wrong is an error that names it, its value and what is expected:
//! never a panic, never a silent number.

use dpq::data::Corpus;
use dpq::pq::{FixedCodes, Form, Temperature};
use dpq::{DpqConfig, DpqEmbedding, Embedding, Error, FullEmbedding, Init, Params, Tape, Tensor};
use std::path::Path;

fn refused(config: DpqConfig) -> String {
    let mut params = Params::<f32>::new();
    let fault =
        DpqEmbedding::new(params.scope("embedding").init(Init::Uniform(0.1)), 10, 12, config)
            .unwrap_err();
    assert!(matches!(fault, Error::Config { .. }), "{fault:?}");
    assert_eq!(params.ids().len(), 0, "a refused layer adds nothing");
    assert_eq!(config.check(12).unwrap_err().to_string(), fault.to_string());
    fault.to_string()
}

#[test]
fn settings_that_cannot_be_are_named_with_their_value_and_what_is_expected() {
    for form in [Form::Sx, Form::Vq] {
        let sound = DpqConfig::new(form, 3, 4);
        assert!(sound.check(12).is_ok());
        let codebook_size = |codebook_size| DpqConfig { codebook_size, ..sound };
        let groups = |groups| DpqConfig { groups, ..sound };
        let temperature = |tau| DpqConfig { temperature: Temperature::Fixed(tau), ..sound };
        let beta = |beta| DpqConfig { beta, ..sound };
        let cases = [
            (codebook_size(0), "codebook size = 0: expected 2 to 65536"),
            (codebook_size(1), "codebook size = 1: expected 2 to 65536"),
            (codebook_size(65537), "codebook size = 65537: expected 2 to 65536"),
            (groups(0), "groups = 0: expected a divisor of the width 12"),
            (groups(5), "groups = 5: expected a divisor of the width 12"),
            (groups(24), "groups = 24: expected a divisor of the width 12"),
            (
                temperature(0.0),
                "temperature = 0: expected a positive number that single precision holds, with its reciprocal",
            ),
            (
                temperature(-1.5),
                "temperature = -1.5: expected a positive number that single precision holds, with its reciprocal",
            ),
            (
                temperature(f64::NAN),
                "temperature = NaN: expected a positive number that single precision holds, with its reciprocal",
            ),
            (
                temperature(f64::INFINITY),
                "temperature = inf: expected a positive number that single precision holds, with its reciprocal",
            ),
            (
                temperature(1e-39),
                "temperature = 1e-39: expected a positive number that single precision holds, with its reciprocal",
            ),
            (
                temperature(1e39),
                "temperature = 1e39: expected a positive number that single precision holds, with its reciprocal",
            ),
            (
                beta(1e-50),
                "beta = 1e-50: expected 0, or a positive number that single precision holds",
            ),
            (
                beta(-0.25),
                "beta = -0.25: expected 0, or a positive number that single precision holds",
            ),
            (
                beta(f64::NAN),
                "beta = NaN: expected 0, or a positive number that single precision holds",
            ),
        ];
        for (config, expected) in cases {
            assert_eq!(refused(config), expected);
        }
        for k in [2, 65536] {
            assert!(codebook_size(k).check(12).is_ok());
        }
    }
}

/// An embedding of 10 rows of 12 numbers, of every kind.
fn embedding(params: &mut Params<f32>, kind: usize) -> Box<dyn Embedding<f32>> {
    let dpq = |params: &mut Params<f32>, config| {
        DpqEmbedding::new(params.scope("embedding").init(Init::Uniform(0.5)), 10, 12, config)
    };
    let off = |config| DpqConfig { batch_norm: false, ..config };
    match kind {
        0 => Box::new(FullEmbedding::new(params.scope("embedding"), 10, 12)),
        1 => Box::new(dpq(params, DpqConfig::sx(3, 4)).unwrap()),
        2 => Box::new(dpq(params, DpqConfig::vq(3, 4)).unwrap()),
        3 => Box::new(dpq(params, off(DpqConfig::sx(3, 40))).unwrap()),
        4 => Box::new(dpq(params, off(DpqConfig::vq(3, 40))).unwrap()),
        // Wide groups with a tiny codebook: the statistics come from the scores.
        5 => Box::new(dpq(params, DpqConfig::sx(1, 3)).unwrap()),
        _ => Box::new(dpq(params, DpqConfig::vq(1, 3)).unwrap()),
    }
}

const KINDS: std::ops::Range<usize> = 0..7;

#[test]
fn an_id_outside_the_vocabulary_is_an_error_in_training_and_in_evaluation() {
    for kind in KINDS {
        for id in [10, u32::MAX] {
            let mut params = Params::new();
            let embedding = embedding(&mut params, kind);
            let expected = format!("id {id} is outside the vocabulary: expected 0..10");

            let tape = Tape::new();
            let embedded = embedding.forward(&tape.train(&params), &[3, id, 9]);
            let loss = embedded.rows.sum();
            let fault = tape.backward(loss).unwrap_err();
            assert!(matches!(fault, Error::Id { vocabulary: 10, .. }), "kind {kind}: {fault:?}");
            assert_eq!(fault.to_string(), expected);

            let tape = Tape::new();
            embedding.forward(&tape.evaluate(&params), &[3, id, 9]);
            assert_eq!(tape.check().unwrap_err().to_string(), expected, "kind {kind}");
        }
    }
}

#[test]
fn an_id_outside_a_compact_table_is_an_error() {
    let mut params = Params::<f32>::new();
    let config = DpqConfig::sx(3, 4);
    let embedding =
        DpqEmbedding::new(params.scope("embedding").init(Init::Uniform(0.5)), 10, 12, config)
            .unwrap();
    let compact = embedding.to_compact(&params).unwrap();
    let expected = "id 10 is outside the vocabulary: expected 0..10";
    assert_eq!(compact.lookup(&[0, 10, 11]).unwrap_err().to_string(), expected);
    let tape = Tape::new();
    compact.forward(&tape.evaluate(&params), &[0, 10]);
    assert_eq!(tape.check().unwrap_err().to_string(), expected);
    let tape = Tape::new();
    let rows = compact.forward(&tape.train(&params), &[0, 10]).rows;
    assert_eq!(tape.backward(rows.sum()).unwrap_err().to_string(), expected);
}

#[test]
fn an_id_without_random_codes_is_an_error() {
    let mut params = Params::<f32>::new();
    let config = DpqConfig::sx(3, 4);
    let embedding =
        FixedCodes::random(params.scope("embedding").init(Init::Uniform(0.5)), 10, 12, config)
            .unwrap();
    let tape = Tape::new();
    let rows = embedding.forward(&tape.train(&params), &[9, 10]).rows;
    let fault = tape.backward(rows.sum()).unwrap_err();
    assert_eq!(fault.to_string(), "id 10 is outside the vocabulary: expected 0..10");
}

/// The errors of training and of evaluating with a number of parameter `name` replaced.
fn spoilt(kind: usize, name: &str, at: usize, number: f32) -> [dpq::Result<()>; 2] {
    let mut params = Params::new();
    let embedding = embedding(&mut params, kind);
    let id = params.find(name).unwrap();
    params.write(id)[at] = number;
    let tape = Tape::new();
    let embedded = embedding.forward(&tape.train(&params), &[3, 4, 9, 3]);
    let loss = embedded.rows.sum();
    let trained = tape.backward(loss).map(|_| ());
    let tape = Tape::new();
    embedding.forward(&tape.evaluate(&params), &[3, 4, 9, 3]);
    [trained, tape.check()]
}

#[test]
fn a_nan_in_the_query_table_is_an_error_in_training_and_in_evaluation() {
    for kind in KINDS.skip(1) {
        for element in 0..12 {
            for result in spoilt(kind, "embedding.query", 4 * 12 + element, f32::NAN) {
                let fault = result.expect_err("a code of a NaN");
                assert!(matches!(fault, Error::NotFinite { .. }), "kind {kind}: {fault:?}");
            }
        }
    }
}

#[test]
fn a_nan_in_any_codeword_is_an_error_in_training_and_in_evaluation() {
    for kind in KINDS.skip(1) {
        let mut params = Params::new();
        embedding(&mut params, kind);
        let keys = params.get(params.find("embedding.keys").unwrap()).data().len();
        let silent: Vec<(usize, usize)> = (0..keys)
            .flat_map(|at| {
                let results = spoilt(kind, "embedding.keys", at, f32::NAN);
                results.into_iter().enumerate().map(move |(pass, result)| (at, pass, result))
            })
            .filter(|(.., result)| result.is_ok())
            .map(|(at, pass, _)| (at, pass))
            .collect();
        assert!(silent.is_empty(), "kind {kind}: (element, pass) without an error: {silent:?}");
    }
}

#[test]
fn codes_of_a_nan_are_an_error_at_export() {
    for (kind, config) in [DpqConfig::sx(3, 4), DpqConfig::vq(3, 4)].into_iter().enumerate() {
        for name in ["embedding.query", "embedding.keys"] {
            let mut params = Params::<f32>::new();
            let embedding = DpqEmbedding::new(
                params.scope("embedding").init(Init::Uniform(0.5)),
                10,
                12,
                config,
            )
            .unwrap();
            let id = params.find(name).unwrap();
            params.write(id)[7] = f32::NAN;
            let fault = embedding.to_compact(&params).unwrap_err();
            assert!(matches!(fault, Error::NotFinite { .. }), "{kind}, {name}: {fault:?}");
        }
    }
}

#[test]
fn a_value_that_is_not_finite_is_an_error_at_export() {
    let mut params = Params::<f32>::new();
    let embedding = DpqEmbedding::new(
        params.scope("embedding").init(Init::Uniform(0.5)),
        10,
        12,
        DpqConfig::sx(3, 4),
    )
    .unwrap();
    params.write(embedding.values())[5] = f32::INFINITY;
    let fault = embedding.to_compact(&params).unwrap_err();
    assert_eq!(fault.to_string(), "a value of the codebook is inf: expected a finite number");
}

#[test]
fn a_loss_that_is_not_finite_is_an_error() {
    let tape = Tape::new();
    let loss = tape.leaf(Tensor::scalar(f32::NAN)) * 2.0;
    let fault = tape.backward(loss).unwrap_err();
    assert_eq!(fault.to_string(), "the loss is NaN: expected a finite number");
}

/// What the error of reading `path` says after naming the file.
fn complaint(path: &Path, file: &Path) -> String {
    let message = Corpus::read(path).unwrap_err().to_string();
    let prefix = format!("{}: ", file.display());
    message.strip_prefix(&prefix).unwrap_or_else(|| panic!("{message} names no file")).to_string()
}

#[test]
fn a_corpus_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere");
    let fault = Corpus::read(&missing).unwrap_err();
    assert!(matches!(&fault, Error::Io { path, .. } if *path == missing), "{fault:?}");

    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    write("train.txt", b"a b\n");
    write("test.txt", b"a\n");
    assert_eq!(
        complaint(folder.path(), folder.path()),
        "found no file for valid among test.txt, train.txt, \
         expected valid.txt, or one file with valid in its name"
    );
    let valid = write("valid.txt", b"");
    assert_eq!(complaint(folder.path(), &valid), "found no words, expected a sentence a line");
    write("valid.txt", b"a b\nc \xc3(\n");
    assert_eq!(
        complaint(folder.path(), &valid),
        "found a bad byte at offset 6, expected UTF-8 text"
    );
    write("valid.txt", b"b\n");
    assert!(Corpus::read(folder.path()).is_ok());
}

#[test]
#[should_panic(expected = "parameter embedding.query is shared: reset the tape before writing")]
fn writing_to_a_parameter_that_a_tape_still_holds_panics_with_its_name() {
    let mut params = Params::<f32>::new();
    let embedding = DpqEmbedding::new(
        params.scope("embedding").init(Init::Uniform(0.5)),
        10,
        12,
        DpqConfig::sx(3, 4),
    )
    .unwrap();
    let tape = Tape::new();
    let _bound = tape.train(&params);
    params.write(embedding.queries());
}
