//! What implementations of product quantisation are known to get wrong is right here, one test for
//! each.

use dpq::optim::{Optimizer, Sgd};
use dpq::pq::{
    BATCH_NORM_RATE, Form, Normalization, Quantized, Temperature, Usage, composed, sx, vq,
};
use dpq::{CodeTable, DpqConfig, DpqEmbedding, Embedding, Init, Params, Tape, Tensor, Var, rng};

#[test]
fn centroids_far_from_the_origin_are_still_the_nearest() {
    for (offset, spread) in [(0.0, 1.0), (1000.0, 1.0), (-3e4, 1.0), (1e3, 0.01)] {
        let draw = |name: &str, shape: &[usize]| {
            let x = Tensor::<f32>::uniform(shape, spread, &mut rng::stream(5, name, 0));
            Tensor::from_fn(shape, |i| x.data()[i] + offset)
        };
        let (n, k, s) = (500, 16, 8);
        let (queries, codebook) = (draw("queries", &[n, s]), draw("codebook", &[1, k, s]));
        let config = DpqConfig { batch_norm: false, ..DpqConfig::vq(1, k) };
        let mut params = Params::<f32>::new();
        let embedding = DpqEmbedding::new(params.scope("words"), n, s, config).unwrap();
        params.set(embedding.queries(), queries.clone());
        params.set(embedding.keys(), codebook.clone());

        let distance = |q: &[f32], c: &[f32]| -> f64 {
            q.iter().zip(c).map(|(q, c)| (f64::from(*q) - f64::from(*c)).powi(2)).sum()
        };
        let codes = embedding.codes(&params).unwrap().unpack();
        let rows = Tape::new()
            .value(&params, |p| {
                embedding.forward(p, &(0..n as u32).collect::<Vec<_>>()).rows.value()
            })
            .unwrap();
        for ((q, &code), row) in queries.rows().zip(&codes).zip(rows.rows()) {
            let nearest = codebook.rows().map(|c| distance(q, c)).fold(f64::INFINITY, f64::min);
            let chosen = codebook.rows().nth(code as usize).unwrap();
            assert!(distance(q, chosen) <= nearest * (1.0 + 1e-5), "{offset}: {q:?} {chosen:?}");
            assert_eq!(row, chosen);
        }
    }
}

const VOCABULARY: usize = 30;
const GROUPS: usize = 3;
const K: usize = 9;
const S: usize = 4;
const WIDTH: usize = GROUPS * S;

fn draw(name: &str, shape: &[usize]) -> Tensor<f64> {
    Tensor::uniform(shape, 1.0, &mut rng::stream(2, name, 0))
}

fn ids() -> Vec<u32> {
    (0..40).map(|i| i * i % 23).collect()
}

/// Queries, keys and values on a tape, quantised by the fused or the composed op, with the codes
/// that the composed one chose.
struct Pass<'t> {
    inputs: [Var<'t, f64>; 3],
    quantized: Quantized<'t, f64>,
    codes: Vec<u32>,
}

fn tensors(config: &DpqConfig) -> [Tensor<f64>; 3] {
    let book = [config.codebooks(), K, S];
    [draw("queries", &[VOCABULARY, WIDTH]), draw("keys", &book), draw("values", &book)]
}

fn pass<'t>(
    tape: &'t Tape<f64>,
    config: &DpqConfig,
    tensors: [Tensor<f64>; 3],
    fused: bool,
) -> Pass<'t> {
    let inputs = tensors.map(|x| tape.leaf(x));
    let [queries, keys, values] = inputs;
    let normalization = if config.batch_norm { Normalization::Batch } else { Normalization::Off };
    let rows = queries.gather_rows(&ids());
    let composed = match config.form {
        Form::Sx => composed::sx(config, normalization, rows, keys, values),
        Form::Vq => composed::vq(config, normalization, rows, keys),
    };
    let quantized = match config.form {
        _ if !fused => composed,
        Form::Sx => sx(config, normalization, queries, &ids(), keys, values),
        Form::Vq => vq(config, normalization, queries, &ids(), keys),
    };
    let codes = quantized.codes.to_vec();
    Pass { inputs, quantized, codes }
}

/// SX and VQ, with weight `beta`, each with the composed and the fused op.
fn forms(beta: f64) -> [(DpqConfig, bool); 4] {
    let [sx, vq] =
        [DpqConfig::sx(GROUPS, K), DpqConfig::vq(GROUPS, K)].map(|c| DpqConfig { beta, ..c });
    [(sx, false), (sx, true), (vq, false), (vq, true)]
}

/// The gradients of queries, keys and values from the rows alone, by a generic upstream gradient.
fn of_the_task(config: &DpqConfig, fused: bool, tensors: [Tensor<f64>; 3]) -> [Tensor<f64>; 3] {
    let tape = Tape::new();
    let pass = pass(&tape, config, tensors, fused);
    let upstream = draw("upstream", &[ids().len(), WIDTH]);
    let grads = tape.backward_from(&[(pass.quantized.rows, upstream)]).unwrap();
    pass.inputs.map(|x| grads.dense(x))
}

/// Those from the regulariser alone.
fn of_the_regulariser(config: &DpqConfig, fused: bool) -> [Tensor<f64>; 3] {
    let tape = Tape::new();
    let pass = pass(&tape, config, tensors(config), fused);
    let grads = tape.backward(pass.quantized.regulariser.unwrap()).unwrap();
    pass.inputs.map(|x| grads.dense(x))
}

fn codes(config: &DpqConfig) -> Vec<u32> {
    pass(&Tape::new(), config, tensors(config), false).codes
}

/// Which rows of a gradient are not 0.
fn nonzero_rows(gradient: &Tensor<f64>) -> Vec<bool> {
    gradient.rows().map(|row| row.iter().any(|x| *x != 0.0)).collect()
}

/// The rows of the queries that are looked up.
fn looked_up() -> Vec<bool> {
    (0..VOCABULARY as u32).map(|id| ids().contains(&id)).collect()
}

/// The codewords of all groups that are chosen.
fn chosen(config: &DpqConfig) -> Vec<bool> {
    let codes = codes(config);
    let mut chosen = vec![false; GROUPS * K];
    for (i, code) in codes.into_iter().enumerate() {
        chosen[i % GROUPS * K + code as usize] = true;
    }
    chosen
}

#[test]
fn statistics_are_one_for_each_codeword_over_all_tokens_and_groups() {
    for (config, fused) in forms(0.0) {
        let tape = Tape::new();
        let [mut queries, mut keys, values] = tensors(&config);
        // Groups whose scores differ, so that statistics of each group would be others.
        for (x, q) in queries.data_mut().iter_mut().enumerate() {
            *q += (x % WIDTH / S) as f64;
        }
        for (x, key) in keys.data_mut().iter_mut().enumerate() {
            *key += 0.5 * (x / (K * S)) as f64;
        }
        let inputs = [queries.clone(), keys.clone(), values];
        let found = pass(&tape, &config, inputs, fused).quantized.statistics.unwrap();
        assert_eq!((&found.mean.shape()[..], &found.var.shape()[..]), (&[K][..], &[K][..]));
        for j in 0..K {
            let score = |id: u32, g: usize| -> f64 {
                let q = &queries.data()[id as usize * WIDTH + g * S..][..S];
                let key = &keys.data()[(g * K + j) * S..][..S];
                let terms = q.iter().zip(key);
                match config.form {
                    Form::Sx => terms.map(|(q, c)| q * c).sum(),
                    Form::Vq => -terms.map(|(q, c)| (q - c).powi(2)).sum::<f64>(),
                }
            };
            let all: Vec<f64> =
                ids().iter().flat_map(|&id| (0..GROUPS).map(move |g| score(id, g))).collect();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            let var = all.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / all.len() as f64;
            assert!((found.mean.data()[j] - mean).abs() < 1e-12 * mean.abs().max(1.0));
            assert!((found.var.data()[j] - var).abs() < 1e-12 * var, "{config:?}");
        }
    }
}

#[test]
fn a_shared_codebook_is_one_parameter_of_k_times_s_numbers() {
    for (form, books) in [(Form::Sx, 2), (Form::Vq, 1)] {
        for shared in [true, false] {
            let config = DpqConfig { shared, ..DpqConfig::new(form, GROUPS, K) };
            let mut params = Params::<f64>::new();
            let embedding = DpqEmbedding::new(
                params.scope("embedding").init(Init::Uniform(0.5)),
                VOCABULARY,
                WIDTH,
                config,
            )
            .unwrap();
            let codebooks = if shared { 1 } else { GROUPS };
            assert_eq!(params.get(embedding.keys()).shape()[..], [codebooks, K, S]);
            assert_eq!(params.get(embedding.values()).shape()[..], [codebooks, K, S]);
            assert_eq!(embedding.keys() == embedding.values(), form == Form::Vq);
            let expected = VOCABULARY * WIDTH + books * codebooks * K * S;
            assert_eq!(params.trained_elements(), expected);
            // Beside what is trained there are only a mean and a variance for each codeword.
            let all: usize = params.ids().map(|id| params.get(id).data().len()).sum();
            assert_eq!(all, expected + 2 * K);
        }
    }
}

#[test]
fn a_shared_codebook_gets_the_sum_of_the_groups_gradients() {
    for (config, fused) in forms(0.3) {
        let shared = DpqConfig { shared: true, ..config };
        let [queries, keys, values] = tensors(&shared);
        let repeat =
            |book: &Tensor<f64>| Tensor::new([GROUPS, K, S], book.data().repeat(GROUPS)).unwrap();
        let separate = [queries.clone(), repeat(&keys), repeat(&values)];
        let one = of_the_task(&shared, fused, [queries, keys, values]);
        let many = of_the_task(&config, fused, separate);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}, {config:?}");
        one[0].data().iter().zip(many[0].data()).for_each(|(a, b)| close(*a, *b));
        for (one, many) in one.iter().zip(&many).skip(1) {
            for x in 0..K * S {
                let sum: f64 = (0..GROUPS).map(|g| many.data()[g * K * S + x]).sum();
                close(one.data()[x], sum);
            }
        }
    }
}

#[test]
fn the_task_reaches_every_parameter_of_sx_and_only_the_queries_of_vq() {
    for (config, fused) in forms(0.0) {
        let [queries, keys, values] = of_the_task(&config, fused, tensors(&config));
        assert_eq!(nonzero_rows(&queries), looked_up(), "queries, {config:?}");
        match config.form {
            Form::Sx => {
                assert_eq!(nonzero_rows(&keys), [true; GROUPS * K], "keys");
                assert_eq!(nonzero_rows(&values), chosen(&config), "values");
            }
            Form::Vq => {
                assert_eq!(nonzero_rows(&keys), [false; GROUPS * K], "the codebook");
                // Straight through: the upstream gradient, summed over an id's repetitions.
                let upstream = draw("upstream", &[ids().len(), WIDTH]);
                let mut expected = Tensor::<f64>::zeros([VOCABULARY, WIDTH]);
                for (id, row) in ids().iter().zip(upstream.rows()) {
                    let sums = &mut expected.data_mut()[*id as usize * WIDTH..][..WIDTH];
                    sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
                }
                assert_eq!(queries, expected);
            }
        }
    }
    let config = DpqConfig::sx(GROUPS, K);
    assert!(chosen(&config).contains(&true) && chosen(&config).contains(&false));
}

#[test]
fn the_entropy_term_reaches_queries_and_keys_of_sx_and_no_values() {
    for (config, fused) in forms(0.3).into_iter().filter(|(c, _)| c.form == Form::Sx) {
        let [queries, keys, values] = of_the_regulariser(&config, fused);
        assert_eq!(nonzero_rows(&queries), looked_up());
        assert_eq!(nonzero_rows(&keys), [true; GROUPS * K]);
        assert_eq!(nonzero_rows(&values), [false; GROUPS * K]);
    }
    let tape = Tape::new();
    let config = DpqConfig::sx(GROUPS, K);
    for fused in [true, false] {
        assert!(pass(&tape, &config, tensors(&config), fused).quantized.regulariser.is_none());
    }
}

#[test]
fn the_codebook_term_reaches_the_chosen_codewords_of_vq_and_no_query() {
    for (config, fused) in forms(0.0).into_iter().filter(|(c, _)| c.form == Form::Vq) {
        let [queries, keys, _] = of_the_regulariser(&config, fused);
        assert_eq!(nonzero_rows(&queries), [false; VOCABULARY]);
        assert_eq!(nonzero_rows(&keys), chosen(&config));
        assert!(chosen(&config).contains(&true) && chosen(&config).contains(&false));
    }
}

#[test]
fn the_commitment_weight_is_on_the_term_of_the_queries() {
    for fused in [false, true] {
        let with =
            |beta| of_the_regulariser(&DpqConfig { beta, ..DpqConfig::vq(GROUPS, K) }, fused);
        let ([none, free, _], [once, still, _], [twice, same, _]) =
            (with(0.0), with(0.25), with(0.5));
        assert_eq!((&free, &free), (&still, &same), "the codebook's gradient, whatever beta");
        assert_eq!(nonzero_rows(&none), [false; VOCABULARY]);
        assert_eq!(nonzero_rows(&once), looked_up());
        let doubled = Tensor::from_fn(once.shape(), |i| 2.0 * once.data()[i]);
        assert_eq!(doubled, twice);
    }
}

/// The embedding, its parameters, and a step with a generic loss.
fn layer(config: DpqConfig) -> (DpqEmbedding, Params<f64>) {
    let mut params = Params::seeded(7);
    let embedding = DpqEmbedding::new(
        params.scope("embedding").init(Init::Uniform(1.0)),
        VOCABULARY,
        WIDTH,
        config,
    )
    .unwrap();
    (embedding, params)
}

fn step(embedding: &DpqEmbedding, params: &mut Params<f64>, ids: &[u32], rate: f64) -> Vec<String> {
    let mut tape = Tape::new();
    let embedded = embedding.forward(&tape.train(params), ids);
    let task = (embedded.rows * tape.constant(draw("upstream", &[ids.len(), WIDTH]))).sum();
    let loss = embedded.regulariser.map_or(task, |regulariser| task + regulariser);
    let grads = tape.backward_and_free(loss).unwrap();
    tape.reset();
    Sgd::new(rate).step(params, &grads).unwrap();
    let reached = |g: &dpq::tape::Gradient<f64>| g.to_dense().data().iter().any(|x| *x != 0.0);
    let reached = grads.iter().filter(|(_, g)| reached(g));
    reached.map(|(id, _)| params.name(id).to_string()).collect()
}

#[test]
fn every_trained_parameter_of_a_layer_gets_a_gradient() {
    for (config, expected) in [
        (DpqConfig::sx(GROUPS, K), &["embedding.query", "embedding.keys", "embedding.values"][..]),
        (DpqConfig::vq(GROUPS, K), &["embedding.query", "embedding.keys"][..]),
    ] {
        for shared in [false, true] {
            let (embedding, mut params) = layer(DpqConfig { shared, ..config });
            let reached = step(&embedding, &mut params, &ids(), 0.1);
            assert_eq!(reached, expected);
            let trained = params.ids().filter(|&id| params.is_trained(id)).count();
            assert_eq!(trained, expected.len());
        }
    }
}

#[test]
fn running_averages_move_by_a_hundredth_in_training_and_not_in_evaluation() {
    assert_eq!(BATCH_NORM_RATE, 0.01);
    for config in [DpqConfig::sx(GROUPS, K), DpqConfig::vq(GROUPS, K)] {
        let (embedding, mut params) = layer(config);
        let [mean, var] = embedding.statistics().unwrap();
        assert_eq!(params.get(mean), &Tensor::zeros([K]));
        assert_eq!(params.get(var), &Tensor::full([K], 1.0));

        let tape = Tape::new();
        let quantized = {
            let [q, k, v] = [embedding.queries(), embedding.keys(), embedding.values()]
                .map(|id| tape.leaf(params.get(id).deep_copy()));
            match config.form {
                Form::Sx => sx(&config, Normalization::Batch, q, &ids(), k, v),
                Form::Vq => vq(&config, Normalization::Batch, q, &ids(), k),
            }
        };
        let batch = quantized.statistics.unwrap();
        step(&embedding, &mut params, &ids(), 0.0);
        for j in 0..K {
            let (m, v) = (params.get(mean).data()[j], params.get(var).data()[j]);
            assert!((m - 0.01 * batch.mean.data()[j]).abs() < 1e-15);
            assert!((v - (0.99 + 0.01 * batch.var.data()[j])).abs() < 1e-15);
            assert!(m != 0.0 && v != 1.0);
        }

        // A pass that evaluates may not ask for a move: the tape would refuse.
        Tape::new().value(&params, |p| embedding.forward(p, &ids()).rows.value()).unwrap();
    }
}

#[test]
fn codes_are_below_the_codebook_size_in_training_and_at_export() {
    for k in [2, 3, 5, 17, 33] {
        for (form, shared) in [(Form::Sx, false), (Form::Sx, true), (Form::Vq, false)] {
            let config = DpqConfig { shared, ..DpqConfig::new(form, GROUPS, k) };
            let (embedding, mut params) = layer(config);
            for _ in 0..3 {
                step(&embedding, &mut params, &ids(), 0.1);
            }
            let tape = Tape::new();
            let [q, keys] =
                [embedding.queries(), embedding.keys()].map(|id| tape.leaf(params.get(id).clone()));
            let (rows, values) =
                (q.gather_rows(&ids()), tape.leaf(params.get(embedding.values()).clone()));
            let training = match form {
                Form::Sx => composed::sx(&config, Normalization::Batch, rows, keys, values),
                Form::Vq => composed::vq(&config, Normalization::Batch, rows, keys),
            };
            let exported = embedding.codes(&params).unwrap().unpack();
            for codes in [training.codes.to_vec(), exported] {
                assert!(codes.iter().all(|&code| (code as usize) < k), "K {k}: {codes:?}");
                assert!(codes.iter().any(|&code| code > 0));
            }
        }
    }
}

/// argmax_j (r - mean) / sqrt(var + 1e-3) under the running statistics, in loops.
fn codes_by_hand(embedding: &DpqEmbedding, params: &Params<f64>) -> Vec<u32> {
    let [mean, var] = embedding.statistics().unwrap().map(|id| params.get(id).data());
    let (queries, keys) = (params.get(embedding.queries()), params.get(embedding.keys()));
    let score = |q: &[f64], g: usize, j: usize| {
        let terms = q.iter().zip(&keys.data()[(g * K + j) * S..][..S]);
        let r: f64 = match embedding.config().form {
            Form::Sx => terms.map(|(q, c)| q * c).sum(),
            Form::Vq => -terms.map(|(q, c)| (q - c).powi(2)).sum::<f64>(),
        };
        (r - mean[j]) / (var[j] + 1e-3).sqrt()
    };
    let best = |(i, q): (usize, &[f64])| {
        let rh: Vec<f64> = (0..K).map(|j| score(q, i % GROUPS, j)).collect();
        (0..K).fold(0, |best, j| if rh[j] > rh[best] { j } else { best }) as u32
    };
    queries.data().chunks(S).enumerate().map(best).collect()
}

#[test]
fn export_computes_every_row_again_in_evaluation_mode() {
    for config in [DpqConfig::sx(GROUPS, K), DpqConfig::vq(GROUPS, K)] {
        let (embedding, mut params) = layer(config);
        for _ in 0..20 {
            step(&embedding, &mut params, &ids(), 0.02);
        }
        let by_hand = codes_by_hand(&embedding, &params);
        assert_eq!(embedding.codes(&params).unwrap().unpack(), by_hand);

        // Codes that training saw, by the batch's statistics, are not what is exported.
        let all: Vec<u32> = (0..VOCABULARY as u32).collect();
        let compact = embedding.to_compact(&params).unwrap();
        let exported = compact.lookup(&all).unwrap();
        let tape = Tape::new();
        let training = embedding.forward(&tape.train(&params), &all).rows.value();
        assert_ne!(exported, training, "a test that could not fail");
        let tape = Tape::new();
        let evaluated = embedding.forward(&tape.evaluate(&params), &all).rows.value();
        assert_eq!(exported, evaluated);
    }
}

#[test]
fn decoded_rows_are_the_evaluated_ones_to_the_bit_in_single_precision() {
    for config in [DpqConfig::sx(GROUPS, K), DpqConfig::vq(GROUPS, K)] {
        for shared in [false, true] {
            let (embedding, mut params) = layer(DpqConfig { shared, ..config });
            if !shared {
                step(&embedding, &mut params, &ids(), 0.1);
            }
            let params = params.cast::<f32>();
            let compact = embedding.to_compact(&params).unwrap();
            for id in 0..VOCABULARY as u32 {
                let tape = Tape::new();
                let row = embedding.forward(&tape.evaluate(&params), &[id]).rows.value();
                let bits = |x: &Tensor<f32>| -> Vec<u32> {
                    x.data().iter().map(|x| x.to_bits()).collect()
                };
                assert_eq!(bits(&compact.lookup(&[id]).unwrap()), bits(&row));
            }
        }
    }
}

#[test]
fn unpacking_gives_the_codes_that_were_packed_in_the_table_that_it_says() {
    for (k, bits) in [(2_usize, 1_usize), (3, 2), (5, 3), (32, 5), (33, 6), (257, 9), (65536, 16)] {
        let codes: Vec<u32> = (0..7 * 11).map(|i| (i * 40_503 + 1) % k as u32).collect();
        let table = CodeTable::pack(&codes, 7, k);
        assert_eq!((table.rows(), table.groups(), table.codebook_size()), (11, 7, k));
        assert_eq!(table.bytes().len(), (77 * bits).div_ceil(8));
        assert_eq!(table.unpack(), codes);
        for (row, expected) in codes.chunks(7).enumerate() {
            assert_eq!(table.row(row).collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn the_forward_value_in_training_is_the_codeword_itself() {
    // In f32, where q + (C - q) would be another number in a third of all elements.
    for config in [DpqConfig::sx(GROUPS, K), DpqConfig::vq(GROUPS, K)] {
        let (embedding, params) = layer(config);
        let params = params.cast::<f32>();
        let tape = Tape::new();
        let rows = embedding.forward(&tape.train(&params), &ids()).rows.value();
        let values = params.get(embedding.values());
        for (i, part) in rows.data().chunks(S).enumerate() {
            let mut book = values.rows().skip(i % GROUPS * K).take(K);
            let same =
                |word: &[f32]| word.iter().zip(part).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(book.any(same), "part {i} is no codeword, {config:?}");
        }
    }
}

#[test]
fn the_hard_forward_pass_is_flat_in_the_queries_away_from_ties() {
    for (config, fused) in forms(0.0) {
        let sum = |change: f64| {
            let tape = Tape::new();
            let [mut queries, keys, values] = tensors(&config);
            queries.data_mut()[ids()[3] as usize * WIDTH + 5] += change;
            let rows = pass(&tape, &config, [queries, keys, values], fused).quantized.rows;
            rows.value().data().iter().sum::<f64>()
        };
        assert_eq!(sum(1e-6) - sum(-1e-6), 0.0, "{config:?}");
        let larger = [-2.0, -1.0, -0.5, 0.5, 1.0, 2.0];
        assert!(
            larger.iter().any(|&change| sum(change) != sum(0.0)),
            "larger changes change codes"
        );
    }
}

#[test]
fn used_codewords_are_counted() {
    let (embedding, params) = layer(DpqConfig::sx(GROUPS, K));
    let codes = embedding.codes(&params).unwrap();
    let mut pairs: Vec<(usize, u32)> =
        codes.unpack().into_iter().enumerate().map(|(i, code)| (i % GROUPS, code)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let used = Usage::of(&codes).used();
    assert_eq!(used, pairs.len());
    assert!(used > GROUPS);
}

#[test]
fn what_a_layer_shows_of_a_batch_is_what_its_rows_are_made_of() {
    for form in [Form::Sx, Form::Vq] {
        for (shared, batch_norm) in [(false, true), (true, true), (false, false)] {
            let config = DpqConfig {
                shared,
                batch_norm,
                temperature: Temperature::Fixed(if form == Form::Sx { 0.5 } else { 1.0 }),
                ..DpqConfig::new(form, GROUPS, K)
            };
            let (embedding, mut params) = layer(config);
            (0..3).for_each(|_| drop(step(&embedding, &mut params, &ids(), 0.1)));
            for training in [true, false] {
                let tape = Tape::new();
                let p = if training { tape.train(&params) } else { tape.evaluate(&params) };
                let rows = embedding.forward(&p, &ids()).rows.value();
                let seen = embedding.inspect(&p, &ids()).unwrap();
                let values = params.get(embedding.values());
                for (i, (part, &code)) in rows.data().chunks(S).zip(&seen.codes).enumerate() {
                    let book = if shared { 0 } else { i % GROUPS };
                    assert_eq!(part, &values.data()[(book * K + code as usize) * S..][..S]);
                    let scores = seen.scores.rows().nth(i).unwrap();
                    assert!(scores.iter().all(|score| *score <= scores[code as usize]));
                    let Some(p) = &seen.probabilities else { continue };
                    let e = |j: usize| (2.0 * (scores[j] - scores[code as usize])).exp();
                    let total: f64 = (0..K).map(e).sum();
                    let p = p.rows().nth(i).unwrap();
                    assert!((0..K).all(|j| (p[j] - e(j) / total).abs() < 1e-12));
                }
                assert_eq!(seen.probabilities.is_some(), form == Form::Sx);
                let fault = embedding.inspect(&p, &[VOCABULARY as u32]).unwrap_err();
                assert!(fault.to_string().starts_with("id 30 is outside"), "{fault}");
            }
        }
    }
}

#[test]
fn padding_changes_nothing_and_no_ids_give_no_rows() {
    let words: Vec<u32> = (1..20).collect();
    let padded = [&words[..], &[0; 40]].concat();
    for form in [Form::Sx, Form::Vq] {
        let config = DpqConfig { beta: 0.25, ..DpqConfig::new(form, GROUPS, K) };
        let (embedding, params) = layer(config);
        let embedding = embedding.padding(0);
        // The rows of the words, the regulariser, all gradients, and where the statistics move.
        let run = |ids: &[u32]| {
            let tape = Tape::new();
            let embedded = embedding.forward(&tape.train(&params), ids);
            let words = embedded.rows.slice(0, 0..words.len());
            let regulariser = embedded.regulariser.unwrap();
            let values = (words.value(), regulariser.value());
            let loss = (words * tape.constant(draw("upstream", &words.shape()))).sum()
                + embedded.rows.sum()
                + regulariser;
            let grads = tape.backward_and_free(loss).unwrap();
            let of = [embedding.queries(), embedding.keys()].map(|id| grads.dense(id));
            let moves: Vec<_> = grads.moves().iter().map(|moved| moved.toward.clone()).collect();
            (values, of, moves)
        };
        assert_eq!(run(&words), run(&padded));
        assert!(run(&padded).1[0].rows().next().unwrap().iter().all(|dq| *dq == 0.0));

        for ids in [&[][..], &[0, 0]] {
            let tape = Tape::new();
            let embedded = embedding.forward(&tape.train(&params), ids);
            assert_eq!(embedded.rows.shape()[..], [ids.len(), WIDTH]);
            assert_eq!(embedded.regulariser.unwrap().value().item(), 0.0);
            let grads = tape.backward_and_free(embedded.rows.sum()).unwrap();
            assert!(grads.moves().is_empty());
            assert!(
                embedding.forward(&Tape::new().evaluate(&params), ids).rows.shape()[1] == WIDTH
            );
        }
    }
}
