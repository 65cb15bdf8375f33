//! Both forms, composed and fused, give the numbers that plain loops over the formulae give, and
//! those that PyTorch's autograd found, where its file is there.

use dpq::pq::{Form, Normalization, Temperature, composed, sx, vq};
use dpq::{DpqConfig, Tape, Tensor};

struct Case {
    config: DpqConfig,
    ids: Vec<u32>,
    queries: Tensor<f64>,
    keys: Tensor<f64>,
    /// `None` for VQ, as are their gradients.
    values: Option<Tensor<f64>>,
    /// The gradient of the rows; that of the regulariser is 1.
    upstream: Tensor<f64>,
}

struct Outcome {
    rows: Vec<f64>,
    regulariser: f64,
    /// Mean and variance.
    statistics: Option<[Vec<f64>; 2]>,
    dqueries: Vec<f64>,
    dkeys: Vec<f64>,
    dvalues: Option<Vec<f64>>,
    codes: Vec<u32>,
}

impl Case {
    fn sizes(&self) -> [usize; 4] {
        let DpqConfig { groups, codebook_size, .. } = self.config;
        [self.ids.len(), groups, codebook_size, self.queries.shape()[1] / groups]
    }

    /// The values that these codes stand for.
    fn decoded(&self, codes: &[u32]) -> Vec<f64> {
        let [_, groups, k, s] = self.sizes();
        let book = |g: usize| if self.config.shared { 0 } else { g };
        let place = |(i, &code): (usize, &u32)| (book(i % groups) * k + code as usize) * s;
        let values = self.values.as_ref().unwrap_or(&self.keys).data();
        codes.iter().enumerate().flat_map(|p| values[place(p)..][..s].to_vec()).collect()
    }
}

/// One of the crate's own ways. The codes are those whose values the rows are.
fn run(case: &Case, fused: bool) -> Outcome {
    let (config, tape) = (&case.config, Tape::new());
    let [queries, keys] = [&case.queries, &case.keys].map(|x| tape.leaf(x.clone()));
    let values = case.values.as_ref().map(|x| tape.leaf(x.clone()));
    let normalization = if config.batch_norm { Normalization::Batch } else { Normalization::Off };
    let looked_up = || queries.gather_rows(&case.ids);
    let quantized = match (values, fused) {
        (Some(v), true) => sx(config, normalization, queries, &case.ids, keys, v),
        (None, true) => vq(config, normalization, queries, &case.ids, keys),
        (Some(v), false) => composed::sx(config, normalization, looked_up(), keys, v),
        (None, false) => composed::vq(config, normalization, looked_up(), keys),
    };
    let mut seeds = vec![(quantized.rows, case.upstream.clone())];
    seeds.extend(quantized.regulariser.map(|r| (r, Tensor::scalar(1.0))));
    let grads = tape.backward_from(&seeds).unwrap();
    let rows = quantized.rows.value();
    let codes = quantized.codes.to_vec();
    assert_eq!(codes, codes_of(case, rows.data()));
    Outcome {
        rows: rows.data().to_vec(),
        regulariser: quantized.regulariser.map_or(0.0, |r| r.value().item()),
        statistics: quantized.statistics.map(|s| [s.mean, s.var].map(|x| x.data().to_vec())),
        dqueries: grads.dense(queries).data().to_vec(),
        dkeys: grads.dense(keys).data().to_vec(),
        dvalues: values.map(|v| grads.dense(v).data().to_vec()),
        codes,
    }
}

/// The codes of rows that consist of codewords, bit by bit.
fn codes_of(case: &Case, rows: &[f64]) -> Vec<u32> {
    let [n, groups, k, s] = case.sizes();
    let every: Vec<Vec<f64>> =
        (0..k as u32).map(|code| case.decoded(&vec![code; groups])).collect();
    let find = |i: usize| {
        let part = &rows[i * s..][..s];
        let is = |code: &Vec<f64>| code[i % groups * s..][..s] == *part;
        every.iter().position(is).expect("a part of a row is a codeword") as u32
    };
    (0..n * groups).map(find).collect()
}

/// The definition, in loops over single numbers.
fn reference(case: &Case) -> Outcome {
    let [n, groups, k, s] = case.sizes();
    let DpqConfig { form, shared, batch_norm, temperature, beta, .. } = case.config;
    let tau = temperature.start();
    let q = |i: usize, g: usize, t: usize| {
        case.queries.data()[(case.ids[i] as usize * groups + g) * s + t]
    };
    let place = |g: usize, j: usize, t: usize| ((if shared { 0 } else { g }) * k + j) * s + t;
    let key = |g, j, t| case.keys.data()[place(g, j, t)];
    let dy = |i: usize, g: usize, t: usize| case.upstream.data()[(i * groups + g) * s + t];
    let at = |i: usize, g: usize, j: usize| (i * groups + g) * k + j;
    let (tokens, elements) = ((n * groups) as f64, (n * groups * s) as f64);

    let mut r = vec![0.0; n * groups * k];
    for i in 0..n {
        for g in 0..groups {
            for j in 0..k {
                for t in 0..s {
                    r[at(i, g, j)] += match form {
                        Form::Sx => q(i, g, t) * key(g, j, t),
                        Form::Vq => -(q(i, g, t) - key(g, j, t)).powi(2),
                    };
                }
            }
        }
    }
    let (mut mean, mut var) = (vec![0.0; k], vec![0.0; k]);
    for (x, r) in r.iter().enumerate() {
        mean[x % k] += r / tokens;
    }
    for (x, r) in r.iter().enumerate() {
        var[x % k] += (r - mean[x % k]).powi(2) / tokens;
    }
    let sd: Vec<f64> =
        var.iter().map(|var| if batch_norm { (var + 1e-3).sqrt() } else { 1.0 }).collect();
    let mut rh = r;
    for (x, rh) in rh.iter_mut().enumerate() {
        *rh = (*rh - if batch_norm { mean[x % k] } else { 0.0 }) / sd[x % k];
    }

    let mut codes = vec![0; n * groups];
    for (code, rh) in codes.iter_mut().zip(rh.chunks(k)) {
        for j in 1..k {
            if rh[j] > rh[*code as usize] {
                *code = j as u32;
            }
        }
    }
    let mut regulariser = 0.0;
    let mut dqueries = vec![0.0; case.queries.data().len()];
    let mut dkeys = vec![0.0; case.keys.data().len()];
    let mut dvalues = case.values.as_ref().map(|values| vec![0.0; values.data().len()]);
    let dq_at = |i: usize, g: usize, t: usize| (case.ids[i] as usize * groups + g) * s + t;

    if let (Some(values), Some(dvalues)) = (&case.values, &mut dvalues) {
        let mut drh = vec![0.0; rh.len()];
        for i in 0..n {
            for g in 0..groups {
                let code = codes[i * groups + g] as usize;
                let e: Vec<f64> = (0..k).map(|j| (rh[at(i, g, j)] / tau).exp()).collect();
                let p: Vec<f64> = e.iter().map(|x| x / e.iter().sum::<f64>()).collect();
                regulariser -= beta * (p[code] + 1e-10).ln() / tokens;
                let mut dp = vec![0.0; k];
                for j in 0..k {
                    for t in 0..s {
                        dp[j] += dy(i, g, t) * values.data()[place(g, j, t)];
                    }
                    let w = if j == code { 1.0 } else { 0.0 };
                    dp[j] -= beta / tokens * ((p[j] + 1e-10).ln() + w / (p[j] + 1e-10));
                }
                for t in 0..s {
                    dvalues[place(g, code, t)] += dy(i, g, t);
                }
                let inner: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
                for j in 0..k {
                    drh[at(i, g, j)] = p[j] * (dp[j] - inner) / tau;
                }
            }
        }
        let (mut s1, mut s2) = (vec![0.0; k], vec![0.0; k]);
        for x in 0..drh.len() {
            s1[x % k] += drh[x] / tokens;
            s2[x % k] += drh[x] * rh[x] / tokens;
        }
        for i in 0..n {
            for g in 0..groups {
                for j in 0..k {
                    let x = at(i, g, j);
                    let through = if batch_norm { s1[j] + rh[x] * s2[j] } else { 0.0 };
                    let dr = (drh[x] - through) / sd[j];
                    for t in 0..s {
                        dqueries[dq_at(i, g, t)] += dr * key(g, j, t);
                        dkeys[place(g, j, t)] += dr * q(i, g, t);
                    }
                }
            }
        }
    } else {
        for i in 0..n {
            for g in 0..groups {
                for t in 0..s {
                    let chosen = place(g, codes[i * groups + g] as usize, t);
                    let off = case.keys.data()[chosen] - q(i, g, t);
                    regulariser += (1.0 + beta) * off * off / elements;
                    dqueries[dq_at(i, g, t)] += dy(i, g, t) - 2.0 * beta * off / elements;
                    dkeys[chosen] += 2.0 * off / elements;
                }
            }
        }
    }
    Outcome {
        rows: case.decoded(&codes),
        regulariser,
        statistics: batch_norm.then_some([mean, var]),
        dqueries,
        dkeys,
        dvalues,
        codes,
    }
}

/// The names of what differs by more than `tolerance`, rows and codes at all.
fn differences(found: &Outcome, expected: &Outcome, tolerance: f64) -> Vec<&'static str> {
    let close = |a: &[f64], b: &[f64]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
    };
    let both = |a: &Option<Vec<f64>>, b: &Option<Vec<f64>>| match (a, b) {
        (Some(a), Some(b)) => close(a, b),
        (a, b) => a.is_none() && b.is_none(),
    };
    let [(mean, var), (mean_expected, var_expected)] =
        [found, expected].map(|outcome| match outcome.statistics.clone() {
            Some([mean, var]) => (Some(mean), Some(var)),
            None => (None, None),
        });
    let checks = [
        ("codes", found.codes == expected.codes),
        ("rows", close(&found.rows, &expected.rows)),
        ("regulariser", close(&[found.regulariser], &[expected.regulariser])),
        ("mean", both(&mean, &mean_expected)),
        ("variance", both(&var, &var_expected)),
        ("gradient of the queries", close(&found.dqueries, &expected.dqueries)),
        ("gradient of the keys", close(&found.dkeys, &expected.dkeys)),
        ("gradient of the values", both(&found.dvalues, &expected.dvalues)),
    ];
    checks.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

/// Three tokens, two of them the same, in two groups of two numbers, three codewords.
fn tiny(config: DpqConfig) -> Case {
    let book = Tensor::from([
        [[0.5, -0.25], [-1.0, 0.75], [0.25, 1.5]],
        [[-0.5, 0.5], [1.25, -0.125], [0.0, -0.75]],
    ]);
    let values = Tensor::from([
        [[1.0, 2.0], [-3.0, 0.5], [0.25, -1.5]],
        [[-0.75, 1.125], [2.5, -2.0], [0.5, 3.0]],
    ]);
    let cut = |book: Tensor<f64>| {
        let kept = config.codebooks();
        Tensor::new([kept, 3, 2], book.data()[..kept * 6].to_vec()).unwrap()
    };
    Case {
        config,
        ids: vec![2, 0, 2],
        queries: Tensor::from([
            [0.75, -0.5, 0.25, 1.0],
            [9.0, 9.0, 9.0, 9.0],
            [-0.375, 1.25, 0.875, -0.625],
        ]),
        keys: cut(book),
        values: (config.form == Form::Sx).then(|| cut(values)),
        upstream: Tensor::from([
            [1.0, -0.5, 0.25, 2.0],
            [-1.5, 0.75, 1.25, -0.125],
            [0.5, 0.375, -2.0, 1.0],
        ]),
    }
}

#[test]
fn both_forms_are_the_formulae_in_loops_over_single_numbers() {
    let sx = DpqConfig { temperature: Temperature::Fixed(0.5), beta: 0.1, ..DpqConfig::sx(2, 3) };
    let vq = DpqConfig { beta: 0.25, ..DpqConfig::vq(2, 3) };
    for config in [sx, vq] {
        for (batch_norm, shared) in [(true, false), (true, true), (false, false), (false, true)] {
            let config = DpqConfig { batch_norm, shared, ..config };
            let case = tiny(config);
            let expected = reference(&case);
            for fused in [false, true] {
                let found = run(&case, fused);
                assert_eq!(found.rows, case.decoded(&expected.codes), "fused {fused}, {config:?}");
                let wrong = differences(&found, &expected, 1e-12);
                assert!(wrong.is_empty(), "fused {fused}, {config:?}: {wrong:?}");
            }
        }
    }
}

mod file {
    use super::*;
    use serde_json::Value;
    use std::path::Path;

    fn numbers(tensor: &Value) -> Vec<f64> {
        tensor["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    }

    fn tensor(tensor: &Value) -> Tensor<f64> {
        let lengths = tensor["shape"].as_array().unwrap().iter();
        let shape: Vec<usize> = lengths.map(|x| x.as_u64().unwrap() as usize).collect();
        Tensor::new(&shape[..], numbers(tensor)).unwrap()
    }

    fn ids(tensor: &Value) -> Vec<u32> {
        numbers(tensor).into_iter().map(|x| x as u32).collect()
    }

    fn parse(sizes: &Value, case: &Value) -> (Case, Outcome) {
        let form = if case["mode"] == "sx" { Form::Sx } else { Form::Vq };
        let size = |name: &str| sizes[name].as_u64().unwrap() as usize;
        // Of VQ the file has one, which has no meaning.
        let tau = if form == Form::Sx { case["tau"].as_f64().unwrap() } else { 1.0 };
        let config = DpqConfig {
            shared: case["shared"].as_bool().unwrap(),
            batch_norm: case["bn"].as_bool().unwrap(),
            temperature: Temperature::Fixed(tau),
            beta: case["beta"].as_f64().unwrap(),
            ..DpqConfig::new(form, size("D"), size("K"))
        };
        let inputs = Case {
            config,
            ids: ids(&case["ids"]),
            queries: tensor(&case["query"]),
            keys: tensor(&case["keys"]),
            values: (form == Form::Sx).then(|| tensor(&case["values"])),
            upstream: tensor(&case["upstream"]),
        };
        let [n, _, _, s] = inputs.sizes();
        assert_eq!([n, s], [size("n"), size("s")]);
        assert_eq!(inputs.queries.shape()[..], [size("V"), size("d")]);
        assert_eq!(sizes["bn_eps"], dpq::pq::BATCH_NORM_EPS);
        let outcome = Outcome {
            rows: numbers(&case["output"]),
            regulariser: case["reg"].as_f64().unwrap(),
            statistics: config
                .batch_norm
                .then(|| [numbers(&case["bn_mean"]), numbers(&case["bn_var"])]),
            dqueries: numbers(&case["grad_query"]),
            dkeys: numbers(&case["grad_keys"]),
            dvalues: (form == Form::Sx).then(|| numbers(&case["grad_values"])),
            codes: ids(&case["codes"]),
        };
        (inputs, outcome)
    }

    /// Compares every case of a file with loops, the composed and the fused form; how many of SX and VQ.
    fn compare(path: &Path) -> [usize; 2] {
        let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let mut compared = [0, 0];
        for case in file["cases"].as_array().unwrap() {
            let (case, expected) = parse(&file["header"]["sizes"], case);
            let decoded = case.decoded(&expected.codes);
            let loops = ("loops", reference(&case));
            for (way, found) in
                [loops, ("composed", run(&case, false)), ("fused", run(&case, true))]
            {
                assert_eq!(found.rows, decoded, "{way}, {:?}", case.config);
                let wrong = differences(&found, &expected, 1e-10);
                assert!(wrong.is_empty(), "{way}, {:?}: {wrong:?}", case.config);
            }
            compared[case.config.form as usize] += 1;
        }
        compared
    }

    #[test]
    fn both_forms_give_what_pytorch_gave() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(compare(&root.join("tests/data/dpq_golden.json")), [5, 3]);
        // All settings, of which the repository holds a part.
        let all = root.join("../shared/golden/dpq_golden.json");
        if all.is_file() {
            assert_eq!(compare(&all), [16, 8]);
        } else {
            println!("skipped: no further reference numbers at {}", all.display());
        }
    }
}
