//! Laws that gradients obey whatever the numbers: linear in the cotangent, zero for zero, the same
//! for a repeated id as for rows of its own, blind to the order of codewords, and in single
//! precision what they are in double.
#![cfg(feature = "approx")]

use approx::assert_abs_diff_eq;
use dpq::nn::Lstm;
use dpq::pq::{Form, Normalization, Temperature, sx, vq};
use dpq::{DpqConfig, Init, Params, Real, Tape, Tensor, rng};

const VOCABULARY: usize = 40;
const TOKENS: usize = 150;
const GROUPS: usize = 3;
const K: usize = 19;
const S: usize = 5;
const D: usize = GROUPS * S;

/// Every form, shared or not, normalised or not, each with a regulariser.
fn configs() -> Vec<DpqConfig> {
    let mut all = Vec::new();
    for form in [Form::Sx, Form::Vq] {
        for shared in [false, true] {
            for batch_norm in [false, true] {
                let base = DpqConfig { shared, batch_norm, ..DpqConfig::new(form, GROUPS, K) };
                all.push(DpqConfig {
                    temperature: if form == Form::Sx {
                        Temperature::Fixed(0.8)
                    } else {
                        base.temperature
                    },
                    beta: 0.3,
                    ..base
                });
            }
        }
    }
    all
}

fn draw<T: Real>(name: &str, shape: &[usize], bound: f64) -> Tensor<T> {
    Tensor::<f64>::uniform(shape, bound, &mut rng::stream(3, name, 0)).cast::<f32>().cast()
}

/// Inputs that a single float holds exactly, so that both precisions start from the same.
fn inputs<T: Real>(config: &DpqConfig) -> [Tensor<T>; 3] {
    let book = [config.codebooks(), K, S];
    [draw("queries", &[VOCABULARY, D], 1.0), draw("keys", &book, 1.0), draw("values", &book, 1.0)]
}

fn ids() -> Vec<u32> {
    (0..TOKENS as u32).map(|i| i * i % 31).collect()
}

fn upstream<T: Real>(name: &str) -> Tensor<T> {
    draw(name, &[TOKENS, D], 1.0)
}

/// Rows, codes and the gradients of queries, keys and values for cotangents of rows and regulariser.
struct Pass<T: Real> {
    rows: Tensor<T>,
    codes: Vec<u32>,
    grads: [Tensor<T>; 3],
}

fn pass<T: Real>(
    config: &DpqConfig,
    inputs: [Tensor<T>; 3],
    ids: &[u32],
    of_rows: Tensor<T>,
    of_regulariser: f64,
) -> Pass<T> {
    let tape = Tape::new();
    let leaves = inputs.map(|x| tape.leaf(x));
    let [queries, keys, values] = leaves;
    let normalization = if config.batch_norm { Normalization::Batch } else { Normalization::Off };
    let quantized = match config.form {
        Form::Sx => sx(config, normalization, queries, ids, keys, values),
        Form::Vq => vq(config, normalization, queries, ids, keys),
    };
    let regulariser = quantized.regulariser.expect("beta is not 0");
    let seeds =
        [(quantized.rows, of_rows), (regulariser, Tensor::scalar(T::from_f64(of_regulariser)))];
    let grads = tape.backward_from(&seeds).unwrap();
    tape.check().expect("no fault");
    let codes = quantized.codes.to_vec();
    Pass { rows: quantized.rows.value(), codes, grads: leaves.map(|x| grads.dense(x)) }
}

/// Equal to `tolerance` of the largest entry.
#[track_caller]
fn assert_close(found: &Tensor<f64>, expected: &Tensor<f64>, tolerance: f64) {
    let largest = expected.data().iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    assert_abs_diff_eq!(found, expected, epsilon = tolerance * largest);
}

fn combined(a: f64, x: &Tensor<f64>, b: f64, y: &Tensor<f64>) -> Tensor<f64> {
    Tensor::from_fn(x.shape(), |i| a * x.data()[i] + b * y.data()[i])
}

#[test]
fn the_backward_pass_is_linear_in_the_cotangent() {
    for config in configs() {
        let run = |of_rows, of_regulariser| {
            pass(&config, inputs(&config), &ids(), of_rows, of_regulariser).grads
        };
        let (u, v) = (upstream("u"), upstream("v"));
        let (of_u, of_v) = (run(u.clone(), 0.4), run(v.clone(), -1.1));
        let of_both = run(combined(2.5, &u, -0.7, &v), 2.5 * 0.4 + 0.7 * 1.1);
        for ((u, v), both) in of_u.iter().zip(&of_v).zip(&of_both) {
            assert_close(both, &combined(2.5, u, -0.7, v), 1e-12);
        }
    }
}

#[test]
fn the_lstm_s_backward_pass_is_linear_in_the_cotangent_too() {
    let mut params = Params::<f64>::new();
    let lstm = Lstm::new(params.scope("lstm").init(Init::Uniform(0.5)), 4, 6, 2);
    let run = |cotangent: Tensor<f64>| -> Vec<Tensor<f64>> {
        let tape = Tape::new();
        let bound = tape.train(&params);
        let x = tape.leaf(draw("x", &[5, 3, 4], 1.0));
        let y = lstm.forward(&bound, x, &lstm.start(3).on(&tape)).0;
        let grads = tape.backward_from(&[(y, cotangent)]).unwrap();
        params.ids().map(|id| grads.dense(bound[id])).chain([grads.dense(x)]).collect()
    };
    let (u, v) = (draw("u", &[5, 3, 6], 1.0), draw("v", &[5, 3, 6], 1.0));
    let (of_u, of_v) = (run(u.clone()), run(v.clone()));
    for (both, (u, v)) in run(combined(1.5, &u, -2.0, &v)).iter().zip(of_u.iter().zip(&of_v)) {
        assert_close(both, &combined(1.5, u, -2.0, v), 1e-12);
    }
}

#[test]
fn a_cotangent_of_zeros_gives_exact_zeros() {
    for config in configs() {
        let zeros = Tensor::<f64>::zeros([TOKENS, D]);
        for gradient in pass(&config, inputs(&config), &ids(), zeros, 0.0).grads {
            assert!(gradient.data().iter().all(|x| *x == 0.0), "{config:?}");
        }
    }
}

#[test]
fn a_repeated_id_gets_the_sum_of_what_rows_of_their_own_would_get() {
    for config in configs() {
        let ids = ids();
        let [table, keys, values] = inputs::<f64>(&config);
        let apart =
            Tensor::from_fn([TOKENS, D], |at| table.data()[ids[at / D] as usize * D + at % D]);
        let each: Vec<u32> = (0..TOKENS as u32).collect();
        let repeated =
            pass(&config, [table, keys.clone(), values.clone()], &ids, upstream("u"), 0.4);
        let apart = pass(&config, [apart, keys, values], &each, upstream("u"), 0.4);
        assert_eq!((&repeated.rows, &repeated.codes), (&apart.rows, &apart.codes));
        let mut summed = Tensor::<f64>::zeros([VOCABULARY, D]);
        for (&id, row) in ids.iter().zip(apart.grads[0].rows()) {
            let sum = &mut summed.data_mut()[id as usize * D..][..D];
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        assert_close(&repeated.grads[0], &summed, 1e-12);
        assert_close(&repeated.grads[1], &apart.grads[1], 1e-12);
        assert_close(&repeated.grads[2], &apart.grads[2], 1e-12);
    }
}

#[test]
fn permuting_a_codebook_permutes_codes_exactly_and_gradients_with_them() {
    // Codeword j comes to stand at place[j].
    let place: Vec<usize> = (0..K).map(|j| (j * 7 + 3) % K).collect();
    let permuted = |book: &Tensor<f64>| {
        let mut moved = book.clone();
        for (row, word) in book.rows().enumerate() {
            let to = row / K * K + place[row % K];
            moved.data_mut()[to * S..][..S].copy_from_slice(word);
        }
        moved
    };
    for config in configs() {
        let [table, keys, values] = inputs(&config);
        let moved = [table.clone(), permuted(&keys), permuted(&values)];
        let before = pass(&config, [table, keys, values], &ids(), upstream("u"), 0.4);
        let after = pass(&config, moved, &ids(), upstream("u"), 0.4);
        let expected: Vec<u32> =
            before.codes.iter().map(|&code| place[code as usize] as u32).collect();
        assert_eq!(after.codes, expected);
        assert_eq!(after.rows, before.rows);
        assert_close(&after.grads[0], &before.grads[0], 1e-12);
        assert_close(&after.grads[1], &permuted(&before.grads[1]), 1e-12);
        assert_close(&after.grads[2], &permuted(&before.grads[2]), 1e-12);
    }
}

#[test]
fn single_precision_gives_the_gradients_of_double_for_the_same_codes() {
    for config in configs() {
        let single = pass::<f32>(&config, inputs(&config), &ids(), upstream("u"), 0.4);
        let double = pass::<f64>(&config, inputs(&config), &ids(), upstream("u"), 0.4);
        assert_eq!(single.codes, double.codes, "inputs without near ties, {config:?}");
        assert_eq!(single.rows.cast(), double.rows);
        for (single, double) in single.grads.iter().zip(&double.grads) {
            assert_close(&single.cast(), double, 2e-5);
        }
    }
}

/// The codes by the definition, in double precision.
fn codes_by_definition(config: &DpqConfig, inputs: [Tensor<f64>; 3]) -> Vec<u32> {
    let zeros = Tensor::zeros([TOKENS, D]);
    pass(config, inputs, &ids(), zeros, 0.0).codes
}

#[test]
fn extreme_values_give_finite_gradients_and_the_right_codes() {
    for config in configs() {
        for size in [1e-18, 1e-6, 1e4, 1e8] {
            let scaled = inputs::<f64>(&config)
                .map(|x| Tensor::from_fn(x.shape(), |i| size * x.data()[i]).cast::<f32>());
            let double = scaled.clone().map(|x| x.cast::<f64>());
            let found = pass::<f32>(&config, scaled, &ids(), upstream("u"), 0.4);
            assert!(
                found.grads.iter().all(|x| x.data().iter().all(|x| x.is_finite())),
                "gradients at {size:e}, {config:?}"
            );
            assert_eq!(found.codes, codes_by_definition(&config, double), "codes at {size:e}");
        }
    }
}

#[test]
fn ties_go_to_the_lowest_codeword_in_both_precisions() {
    for config in configs() {
        // All codewords alike: every score of a query is a tie.
        let [queries, keys, _] = inputs::<f64>(&config);
        let alike = Tensor::from_fn(keys.shape(), |i| keys.data()[i % S]);
        let different = inputs::<f64>(&config)[2].clone();
        let values = if config.form == Form::Sx { different } else { alike.clone() };
        let base = [queries, alike, values];
        let single = base.clone().map(|x| x.cast::<f32>());
        let double = pass::<f64>(&config, base, &ids(), upstream("u"), 0.4);
        let single = pass::<f32>(&config, single, &ids(), upstream("u"), 0.4);
        assert!(double.codes.iter().chain(&single.codes).all(|&code| code == 0), "{config:?}");
        assert!(single.grads.iter().all(|x| x.data().iter().all(|x| x.is_finite())));
        assert!(double.grads.iter().all(|x| x.data().iter().all(|x| x.is_finite())));
    }
}
