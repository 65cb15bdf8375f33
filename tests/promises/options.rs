//! What each option of DPQ does, and which of them do not go together.

use dpq::optim::{Optimizer, Sgd};
use dpq::pq::{Bands, MovingAverage, Quantizer, Score, Temperature, Usage};
use dpq::{DpqConfig, DpqEmbedding, Embedding, Init, Params, Tape, Tensor, rng};

const VOCABULARY: usize = 60;
const WIDTH: usize = 12;

fn layer(config: DpqConfig) -> (DpqEmbedding, Params<f64>) {
    let mut params = Params::seeded(3);
    let scope = params.scope("words").init(Init::Uniform(1.0));
    let layer = DpqEmbedding::new(scope, VOCABULARY, WIDTH, config).unwrap();
    (layer, params)
}

fn ids() -> Vec<u32> {
    (0..80).map(|i| i * i % 53).collect()
}

/// A step of gradient descent towards random rows, with what follows it.
fn step(layer: &DpqEmbedding, params: &mut Params<f64>, tape: &mut Tape<f64>) {
    let targets = Tensor::uniform([VOCABULARY, WIDTH], 1.0, &mut rng::stream(1, "targets", 0));
    let (_, grads, ()) = tape
        .value_and_grad(params, |p| {
            let embedded = layer.forward(p, &ids());
            let off = embedded.rows - p.tape.constant(targets).gather_rows(&ids());
            let loss = (off * off).mean();
            (embedded.regulariser.map_or(loss, |regulariser| loss + regulariser), ())
        })
        .unwrap();
    Sgd::new(0.5).step(params, &grads).unwrap();
    layer.update(params).unwrap();
}

#[test]
fn settings_that_do_not_go_together_are_refused_with_the_reason() {
    let (sx, vq) = (DpqConfig::sx(3, 8), DpqConfig::vq(3, 8));
    let average = |decay, smoothing, revive_below| DpqConfig {
        moving_average: Some(MovingAverage { decay, smoothing, revive_below }),
        ..vq
    };
    let annealed = |start, end, steps| DpqConfig {
        temperature: Temperature::Annealed { start, end, steps },
        ..sx
    };
    let learnable =
        |form: DpqConfig, tau| DpqConfig { temperature: Temperature::Learnable(tau), ..form };
    let bands = |pairs: &[(u32, u32)]| DpqConfig { bands: Bands::new(pairs).unwrap(), ..sx };
    let positive = "a positive number that single precision holds, with its reciprocal";
    for (config, expected) in [
        (
            DpqConfig { score: Score::Dot, ..vq },
            "score = dot: expected squared distance for VQ, whose codeword takes the query's place",
        ),
        (
            DpqConfig { score: Score::Cosine, ..vq },
            "score = cosine: expected squared distance for VQ, whose codeword takes the query's place",
        ),
        (
            DpqConfig { score: Score::Cosine, ..DpqConfig::sx(12, 8) },
            "score = cosine: expected another score for groups of width 1, where it is only a sign",
        ),
        (
            learnable(vq, 1.0),
            "temperature = learnable:1: expected fixed at 1 for VQ, which has no softmax",
        ),
        (
            DpqConfig { temperature: Temperature::Fixed(0.5), ..vq },
            "temperature = 0.5: expected fixed at 1 for VQ, which has no softmax",
        ),
        (
            DpqConfig { sampling: true, ..vq },
            "sampling = true: expected false for VQ, which has no chances",
        ),
        (
            DpqConfig { moving_average: Some(MovingAverage::default()), ..sx },
            "moving average = 0.99:0.00001:0: expected none for SX, whose values learn from the task",
        ),
        (average(1.0, 1e-5, 0.0), "decay = 1: expected a number between 0 and 1"),
        (average(f64::NAN, 1e-5, 0.0), "decay = NaN: expected a number between 0 and 1"),
        (
            average(0.9, 0.0, 0.0),
            "smoothing = 0: expected a positive number that single precision holds",
        ),
        (
            average(0.9, 1e-5, -1.0),
            "revive below = -1: expected 0, or a number of at least 100 times the smoothing",
        ),
        (learnable(sx, -1.0), &format!("temperature = -1: expected {positive}")),
        (annealed(1.0, 0.0, 10), &format!("temperature = 0: expected {positive}")),
        (annealed(1.0, 0.1, 0), "steps of the temperature = 0: expected 1 to 16777216"),
        (bands(&[(5, 8)]), "bands = 5:8: expected fewer codewords than the codebook's 8"),
        (DpqConfig { groups: 0, additive: true, ..sx }, "groups = 0: expected at least 1"),
    ] {
        assert_eq!(config.check(12).unwrap_err().to_string(), expected);
        let scope = &mut Params::<f32>::new();
        assert!(DpqEmbedding::new(scope.scope("words"), 10, 12, config).is_err());
    }
    // Seven groups do not divide 12, but each may be as wide as the row.
    assert!(DpqConfig { additive: true, ..DpqConfig::sx(7, 8) }.check(12).is_ok());
    let scope = &mut Params::<f32>::new();
    let error = Quantizer::new(scope.scope("codes"), 12, bands(&[(5, 4)])).unwrap_err();
    assert!(error.to_string().contains("bands = 5:4: expected none for activations"), "{error}");
}

#[test]
fn a_layer_is_a_gather_and_a_quantizer() {
    let base = DpqConfig { beta: 0.2, ..DpqConfig::sx(3, 8) };
    for config in [
        base,
        DpqConfig { beta: 0.2, ..DpqConfig::vq(3, 8) },
        DpqConfig { score: Score::Cosine, temperature: Temperature::Learnable(0.7), ..base },
        DpqConfig { score: Score::SquaredDistance, additive: true, shared: true, ..base },
    ] {
        let (layer, params) = layer(config);
        let run = |gathered: bool| {
            let tape = Tape::new();
            let p = tape.train(&params);
            let quantized = if gathered {
                let rows = p[layer.queries()].gather_rows(&ids());
                layer.quantizer().forward(&p, rows)
            } else {
                layer.look_up(&p, &ids())
            };
            let wave = Tensor::from_fn(quantized.rows.shape(), |i| (i as f64 * 0.37).cos());
            let (rows, codes) = (quantized.rows.value(), quantized.codes.to_vec());
            let loss = (quantized.rows * tape.constant(wave)).sum();
            let loss = quantized.regulariser.map_or(loss, |regulariser| loss + regulariser);
            let grads = tape.backward_and_free(loss).unwrap();
            let grads: Vec<_> = grads.iter().map(|(_, dp)| dp.to_dense()).collect();
            (rows, codes, grads)
        };
        let ((rows, codes, grads), (expected_rows, expected_codes, expected)) =
            (run(false), run(true));
        assert_eq!((rows, codes), (expected_rows, expected_codes), "{config:?}");
        assert_eq!(grads.len(), expected.len());
        for (found, expected) in grads.iter().zip(&expected) {
            let largest = expected.data().iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            for (a, b) in found.data().iter().zip(expected.data()) {
                assert!((a - b).abs() <= 1e-12 * largest, "{config:?}: {a} {b}");
            }
        }
    }
}

#[test]
fn codes_beside_the_rows_are_those_that_an_export_has() {
    for config in [
        DpqConfig::vq(3, 8),
        DpqConfig { score: Score::Cosine, batch_norm: false, ..DpqConfig::sx(3, 8) },
        DpqConfig { sampling: true, ..DpqConfig::sx(3, 8) },
        DpqConfig { bands: Bands::new(&[(10, 5), (30, 2)]).unwrap(), ..DpqConfig::sx(3, 8) },
    ] {
        let (layer, mut params) = layer(config);
        let mut tape = Tape::new();
        (0..5).for_each(|_| step(&layer, &mut params, &mut tape));
        let codes = layer.codes(&params).unwrap();
        let found = tape.value(&params, |p| layer.look_up(p, &ids()).codes).unwrap();
        assert_eq!((found.tokens(), found.groups()), (80, 3));
        for (i, &id) in ids().iter().enumerate() {
            assert!(found.of(i).iter().copied().eq(codes.row(id as usize)), "{config:?}");
        }
    }
}

#[test]
fn an_annealed_temperature_is_where_its_schedule_says_and_a_learnable_one_learns() {
    let gradient = |config: DpqConfig, steps: usize| {
        let (layer, mut params) = layer(config);
        let mut tape = Tape::new();
        for _ in 0..steps {
            let (_, grads, ()) = tape
                .value_and_grad(&params, |p| (layer.forward(p, &ids()).rows.sum() * 0.0, ()))
                .unwrap();
            Sgd::new(0.0001).step(&mut params, &grads).unwrap();
        }
        let tape = Tape::new();
        let rows = layer.forward(&tape.train(&params), &ids()).rows;
        tape.backward_and_free((rows * rows).sum()).unwrap().dense(layer.keys())
    };
    // Without batch normalisation, whose statistics would move meanwhile.
    let sx = DpqConfig { batch_norm: false, ..DpqConfig::sx(3, 8) };
    let annealed =
        DpqConfig { temperature: Temperature::Annealed { start: 2.0, end: 0.5, steps: 4 }, ..sx };
    for (steps, tau) in [(0, 2.0), (2, 1.0), (4, 0.5), (7, 0.5)] {
        let fixed = DpqConfig { temperature: Temperature::Fixed(tau), ..sx };
        let (found, expected) = (gradient(annealed, steps), gradient(fixed, 0));
        for (a, b) in found.data().iter().zip(expected.data()) {
            assert!((a - b).abs() < 1e-12, "{steps} steps: {a} {b}");
        }
    }

    let (layer, mut params) =
        layer(DpqConfig { temperature: Temperature::Learnable(0.7), ..DpqConfig::sx(3, 8) });
    let mut tape = Tape::new();
    let tau = layer.quantizer().temperature().unwrap();
    (0..5).for_each(|_| step(&layer, &mut params, &mut tape));
    assert!(params.get(tau).item() != 0.7, "it learns");
    params.set(tau, Tensor::scalar(-0.1));
    let error = tape.value_and_grad(&params, |p| (layer.forward(p, &ids()).rows.sum(), ()));
    let error = error.err().unwrap().to_string();
    assert_eq!(error, "temperature = -0.1: expected a positive number");
}

#[test]
fn sampled_codes_come_up_as_often_as_their_chances_say() {
    let config = DpqConfig { sampling: true, batch_norm: false, ..DpqConfig::sx(2, 5) };
    let (layer, params) = layer(config);
    let ids = vec![7; 20_000];
    let mut tape = Tape::new();
    tape.set_noise(0, 3);
    let codes = |tape: &mut Tape<f64>, training: bool| {
        let p = if training { tape.train(&params) } else { tape.evaluate(&params) };
        let codes = layer.look_up(&p, &ids).codes.to_vec();
        tape.reset();
        codes
    };
    let first = codes(&mut tape, true);
    let inspected = layer.inspect(&Tape::new().evaluate(&params), &[7]).unwrap();
    let p = inspected.probabilities.unwrap();
    for g in 0..2 {
        for j in 0..5 {
            let found = first.chunks(2).filter(|codes| codes[g] as usize == j).count() as f64 / 2e4;
            let expected = p.data()[g * 5 + j];
            // Four standard deviations.
            let margin = 4.0 * (expected * (1.0 - expected) / 2e4).sqrt();
            assert!((found - expected).abs() <= margin, "{found} {expected}");
        }
    }
    tape.set_noise(0, 3);
    assert_eq!(codes(&mut tape, true), first, "the same noise, the same codes");
    assert!(codes(&mut tape, true) != first, "other noise at every step");
    let best = codes(&mut tape, false);
    assert!(best.chunks(2).all(|codes| codes == &inspected.codes[..]), "evaluation takes the best");
}

#[test]
fn moving_averages_are_the_formula_and_need_no_gradient() {
    for shared in [false, true] {
        let settings = MovingAverage { decay: 0.8, smoothing: 1e-3, revive_below: 0.0 };
        let config = DpqConfig { shared, moving_average: Some(settings), ..DpqConfig::vq(3, 8) };
        let (layer, mut params) = layer(config);
        let (books, s) = (config.codebooks(), WIDTH / 3);
        let mut tape = Tape::new();
        let (mut n, mut m) = (vec![1.0; books * 8], params.get(layer.keys()).data().to_vec());
        assert!(!params.is_trained(layer.keys()), "no gradient moves it");
        for _ in 0..4 {
            let codes = tape.train(&params);
            let codes = layer.look_up(&codes, &ids()).codes.to_vec();
            tape.reset();
            let queries = params.get(layer.queries()).clone();
            let (mut count, mut sum) = (vec![0.0; n.len()], vec![0.0; m.len()]);
            for (i, &id) in ids().iter().enumerate() {
                for g in 0..3 {
                    let c = if shared { 0 } else { g * 8 } + codes[i * 3 + g] as usize;
                    count[c] += 1.0;
                    for t in 0..s {
                        sum[c * s + t] += queries.data()[id as usize * WIDTH + g * s + t];
                    }
                }
            }
            drop(queries);
            n.iter_mut().zip(&count).for_each(|(n, x)| *n = 0.8 * *n + 0.2 * x);
            m.iter_mut().zip(&sum).for_each(|(m, x)| *m = 0.8 * *m + 0.2 * x);
            step(&layer, &mut params, &mut tape);
            for (c, codeword) in params.get(layer.keys()).rows().enumerate() {
                let total: f64 = n[c / 8 * 8..][..8].iter().sum();
                let smoothed = (n[c] + 1e-3) / (total + 8.0 * 1e-3) * total;
                for (t, found) in codeword.iter().enumerate() {
                    let expected = m[c * s + t] / smoothed;
                    assert!((found - expected).abs() < 1e-12, "{found} {expected}");
                }
            }
        }
    }
}

#[test]
fn codewords_that_nobody_chooses_are_revived_as_queries_of_the_batch() {
    let used = |revive_below: f64| {
        let settings = MovingAverage { decay: 0.9, revive_below, ..MovingAverage::default() };
        let config =
            DpqConfig { moving_average: Some(settings), batch_norm: false, ..DpqConfig::vq(3, 8) };
        let (layer, mut params) = layer(config);
        // All codewords but one of each group are far away.
        let far = Tensor::from_fn(params.get(layer.keys()).shape(), |i| {
            if (i / (WIDTH / 3)).is_multiple_of(8) { 0.0 } else { 50.0 + i as f64 }
        });
        let sums = params.find("words.sums").unwrap();
        params.set(layer.keys(), far.deep_copy());
        params.set(sums, far);
        let mut tape = Tape::new();
        (0..20).for_each(|_| step(&layer, &mut params, &mut tape));
        Usage::of(&layer.codes(&params).unwrap()).used()
    };
    assert_eq!(used(0.0), 3, "one codeword a group without revival");
    assert!(used(1.0) >= 18, "{} of 24 with it", used(1.0));
}

#[test]
fn rows_of_a_band_choose_from_its_codewords_and_the_others_from_all() {
    let bands = Bands::new(&[(10, 5), (30, 2)]).unwrap();
    for config in [DpqConfig::sx(3, 16), DpqConfig::vq(3, 16)] {
        let config = DpqConfig { bands, ..config };
        let (layer, mut params) = layer(config);
        let mut tape = Tape::new();
        (0..10).for_each(|_| step(&layer, &mut params, &mut tape));
        let codes = layer.codes(&params).unwrap();
        let largest = |rows: std::ops::Range<usize>| rows.flat_map(|row| codes.row(row)).max();
        assert!(largest(0..10) > Some(4) && largest(10..30) <= Some(4), "{config:?}");
        assert_eq!(largest(30..60), Some(1));
        let bits = 3 * (10 * 4 + 20 * 3 + 30) + 32 * 16 * WIDTH;
        assert_eq!(config.compact_bits(VOCABULARY, WIDTH), bits);
    }
}
