//! The fused ops give what their compositions from primitive ops give: rows to the bit under the
//! same statistics, everything else to rounding, beyond every tile and chunk.

use dpq::ops::{BatchStatistics, Ids};
use dpq::pq::{
    BATCH_NORM_EPS, Form, Normalization, Options, Temperature, composed, sx, sx_with, vq_with,
};
use dpq::tape::Gradient;
use dpq::{DpqConfig, Real, Tape, Tensor, rng};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Statistics {
    Off,
    Batch,
    Running,
}

/// Which options a form is given.
#[derive(Clone, Copy, Debug, Default)]
struct Extras {
    /// A temperature of its own, for SX.
    temperature: bool,
    /// Draws, for SX.
    sampling: bool,
    /// Limits.
    limits: bool,
    /// A codebook that stands still, for VQ.
    still_codebook: bool,
}

#[derive(Clone, Debug)]
struct Setting {
    config: DpqConfig,
    statistics: Statistics,
    extras: Extras,
    padding: Option<u32>,
    tokens: usize,
    vocabulary: usize,
    /// s
    group_width: usize,
    /// Queries and codewords are uniform in +-this.
    size: f64,
    seed: u64,
}

/// A temperature for the form that has one.
fn of_sx(form: Form, tau: f64) -> Temperature {
    Temperature::Fixed(if form == Form::Sx { tau } else { 1.0 })
}

fn settings() -> impl Strategy<Value = Setting> {
    let sizes = (
        20..=300_usize,
        1..=5_usize,
        1..=20_usize,
        prop::sample::select(vec![2, 3, 16, 17, 33, 70]),
        prop::sample::select(vec![0.1, 1.0]),
    );
    let options = (
        prop::sample::select(vec![Form::Sx, Form::Vq]),
        any::<bool>(),
        prop::sample::select(vec![Statistics::Off, Statistics::Batch, Statistics::Running]),
        prop_oneof![Just(1.0), 0.4..2.0],
        prop_oneof![Just(0.0), 0.05..1.0],
    );
    (sizes, options, any::<[bool; 4]>(), any::<u64>()).prop_map(
        |(
            (tokens, groups, group_width, k, size),
            (form, shared, statistics, tau, beta),
            extras,
            seed,
        )| {
            let ([temperature, sampling, limits, still_codebook], sx) = (extras, form == Form::Sx);
            let extras = Extras {
                temperature: temperature && sx,
                sampling: sampling && sx,
                limits,
                still_codebook: still_codebook && !sx,
            };
            let batch_norm = statistics != Statistics::Off;
            let config = DpqConfig {
                shared,
                batch_norm,
                temperature: of_sx(form, tau),
                beta,
                ..DpqConfig::new(form, groups, k)
            };
            let (padding, vocabulary) = (None, 200);
            Setting {
                config,
                statistics,
                extras,
                padding,
                tokens,
                vocabulary,
                group_width,
                size,
                seed,
            }
        },
    )
}

/// Everything that an op is given, in the precision under test.
struct Inputs<T: Real> {
    ids: Vec<u32>,
    queries: Tensor<T>,
    keys: Tensor<T>,
    values: Tensor<T>,
    running: BatchStatistics<T>,
    upstream: Tensor<T>,
    draws: Tensor<T>,
    limits: Vec<u32>,
}

struct Outcome<T: Real> {
    rows: Tensor<T>,
    codes: Vec<u32>,
    regulariser: Option<f64>,
    statistics: Option<BatchStatistics<T>>,
    /// Of queries, keys, values and the temperature; VQ has no values.
    grads: Vec<Tensor<T>>,
}

impl Setting {
    fn inputs<T: Real>(&self) -> Inputs<T> {
        let k = self.config.codebook_size;
        let width = self.config.groups * self.group_width;
        let book = [self.config.codebooks(), k, self.group_width];
        let draw = |name: &str, shape: &[usize], bound| {
            Tensor::<f64>::uniform(shape, bound, &mut rng::stream(self.seed, name, 0))
        };
        let id = |x: &f64| ((x + 0.5) * self.vocabulary as f64) as u32;
        let var = draw("var", &[k], 0.5);
        Inputs {
            ids: draw("ids", &[self.tokens], 0.5).data().iter().map(id).collect(),
            queries: draw("queries", &[self.vocabulary, width], self.size).cast(),
            keys: draw("keys", &book, self.size).cast(),
            values: draw("values", &book, 1.0).cast(),
            running: BatchStatistics {
                mean: draw("mean", &[k], 0.3).cast(),
                var: Tensor::from_fn([k], |j| T::from_f64(var.data()[j] + 0.6)),
                eps: BATCH_NORM_EPS,
            },
            upstream: draw("upstream", &[self.tokens, width], 1.0).cast(),
            draws: {
                let draws = draw("draws", &[self.tokens, self.config.groups], 0.5);
                // What single precision holds, below 1.
                let held = |i: usize| T::from_f64(((draws.data()[i] + 0.5) * 8e6).floor() / 8e6);
                Tensor::from_fn(draws.shape(), held)
            },
            limits: {
                let limits = draw("limits", &[self.vocabulary], 0.5);
                let limit = |x: &f64| 1 + ((x + 0.5) * k as f64) as u32;
                limits.data().iter().map(|x| limit(x).min(k as u32)).collect()
            },
        }
    }

    fn run<T: Real>(&self, inputs: &Inputs<T>, fused: bool) -> Outcome<T> {
        let Inputs { ids, queries, keys, values, running, upstream, draws, limits } = inputs;
        let tape = Tape::new();
        let config = &self.config;
        let normalization = match self.statistics {
            Statistics::Off => Normalization::Off,
            Statistics::Batch => Normalization::Batch,
            Statistics::Running => Normalization::Running(running),
        };
        let [queries, keys, values] = [queries, keys, values].map(|x| tape.leaf(x.clone()));
        let ids = Ids { ids, padding: self.padding };
        let tau = tape.leaf(Tensor::scalar(T::from_f64(config.temperature.start() * 0.8)));
        let Extras { temperature, sampling, limits: limited, still_codebook } = self.extras;
        let options = Options {
            temperature: temperature.then_some(tau),
            draws: sampling.then_some(draws),
            limits: limited.then_some(&limits[..]),
            still_codebook,
        };
        let quantized = match (config.form, fused) {
            (Form::Sx, true) => sx_with(config, normalization, queries, ids, keys, values, options),
            (Form::Vq, true) => vq_with(config, normalization, queries, ids, keys, options),
            (Form::Sx, false) => {
                composed::of_ids(normalization, queries, ids, options, |n, q, o| {
                    composed::sx_with(config, n, q, keys, values, o)
                })
            }
            (Form::Vq, false) => {
                composed::of_ids(normalization, queries, ids, options, |n, q, o| {
                    composed::vq_with(config, n, q, keys, o)
                })
            }
        };
        let mut seeds = vec![(quantized.rows, upstream.clone())];
        seeds.extend(quantized.regulariser.map(|r| (r, Tensor::scalar(T::from_f64(0.7)))));
        let grads = tape.backward_from(&seeds).unwrap();
        let inputs = if config.form == Form::Sx {
            vec![queries, keys, values, tau]
        } else {
            vec![queries, keys]
        };
        tape.check().expect("no fault in the pass");
        Outcome {
            rows: quantized.rows.value(),
            codes: quantized.codes.to_vec(),
            regulariser: quantized.regulariser.map(|r| r.value().item().to_f64()),
            statistics: quantized.statistics,
            grads: inputs.into_iter().map(|x| grads.dense(x)).collect(),
        }
    }

    /// Whether rows differ only where two codewords score the same to within `margin`: the best
    /// and the second of every token and group whose rows differ, under `statistics`.
    fn is_tie<T: Real>(
        &self,
        inputs: &Inputs<T>,
        [a, b]: [&Tensor<T>; 2],
        statistics: &BatchStatistics<T>,
        margin: f64,
    ) -> bool {
        let (s, k, groups) = (self.group_width, self.config.codebook_size, self.config.groups);
        if self.extras.sampling {
            // A draw may stand between the two sums of probabilities that differ in rounding.
            let parts = || a.data().chunks(s).zip(b.data().chunks(s));
            let differ = parts().filter(|(a, b)| a != b).count();
            return size_of::<T>() == 4 && differ <= 1 + parts().count() / 1000;
        }
        let score = |i: usize, g: usize, j: usize| {
            let q = &inputs.queries.data()[(inputs.ids[i] as usize * groups + g) * s..][..s];
            let book = if self.config.shared { 0 } else { g };
            let key = &inputs.keys.data()[(book * k + j) * s..][..s];
            let terms = q.iter().zip(key).map(|(q, c)| (q.to_f64(), c.to_f64()));
            let r: f64 = match self.config.form {
                Form::Sx => terms.map(|(q, c)| q * c).sum(),
                Form::Vq => -terms.map(|(q, c)| (q - c) * (q - c)).sum::<f64>(),
            };
            let [mean, var] = [&statistics.mean, &statistics.var].map(|x| x.data()[j].to_f64());
            (r - mean) / (var + BATCH_NORM_EPS).sqrt()
        };
        (0..self.tokens * groups).filter(|i| a.data()[i * s..][..s] != b.data()[i * s..][..s]).all(
            |i| {
                let all = inputs.limits[inputs.ids[i / groups] as usize] as usize;
                let k = if self.extras.limits { all } else { k };
                let mut scores: Vec<f64> =
                    (0..k).map(|j| score(i / groups, i % groups, j)).collect();
                scores.sort_by(f64::total_cmp);
                scores[k - 1] - scores[k - 2] < margin
            },
        )
    }

    /// Compares both ways; `tolerance` is relative to the largest entry of each tensor. `tie` is
    /// how near two scores may be for the batch's statistics to choose either.
    fn compare<T: Real>(&self, tolerance: f64, tie: f64) {
        self.compare_on(&self.inputs::<T>(), tolerance, tie);
    }

    fn compare_on<T: Real>(&self, inputs: &Inputs<T>, tolerance: f64, tie: f64) {
        let (fused, composed) = (self.run(inputs, true), self.run(inputs, false));
        if let (Some(found), Some(expected)) = (&fused.statistics, &composed.statistics) {
            assert_close("mean", &found.mean, &expected.mean, tolerance);
            assert_close("variance", &found.var, &expected.var, tolerance);
        }
        let live = inputs.ids.iter().any(|id| Some(*id) != self.padding);
        assert_eq!(fused.statistics.is_some(), self.statistics == Statistics::Batch && live);
        assert_eq!(composed.statistics.is_some(), fused.statistics.is_some());
        if fused.rows != composed.rows {
            assert!(composed.statistics.is_some() || self.extras.sampling, "rows differ");
            let statistics = composed.statistics.as_ref().unwrap_or(&inputs.running);
            let rows = [&fused.rows, &composed.rows];
            assert!(self.is_tie(inputs, rows, statistics, tie), "rows differ without a tie");
            return;
        }
        let bits =
            |x: &Tensor<T>| -> Vec<u64> { x.data().iter().map(|x| x.to_f64().to_bits()).collect() };
        assert_eq!(bits(&fused.rows), bits(&composed.rows), "bits of the rows");
        assert_eq!(fused.codes, composed.codes, "codes");
        assert_eq!(fused.regulariser.is_some(), composed.regulariser.is_some());
        if let (Some(found), Some(expected)) = (fused.regulariser, composed.regulariser) {
            // Of a chance near 1 the logarithm is exact to the rounding of 1.
            let scale = expected.abs() + self.config.beta;
            assert!(
                (found - expected).abs() <= tolerance * scale,
                "regulariser: {found} {expected}"
            );
        }
        let names = ["queries", "keys", "values", "temperature"];
        for (name, (found, expected)) in names.iter().zip(fused.grads.iter().zip(&composed.grads)) {
            // A single number, the sum of many of both signs: near 0 it has no digits of its own.
            let tolerance = if *name == "temperature" { 1e3 * tolerance } else { tolerance };
            assert_close(name, found, expected, tolerance);
        }
    }
}

#[track_caller]
fn assert_close<T: Real>(name: &str, found: &Tensor<T>, expected: &Tensor<T>, tolerance: f64) {
    assert_eq!(found.shape(), expected.shape(), "{name}");
    let largest = expected.data().iter().map(|x| x.to_f64().abs()).fold(0.0, f64::max);
    let off = |(a, b): (&T, &T)| (a.to_f64() - b.to_f64()).abs();
    let worst = found.data().iter().zip(expected.data()).map(off).fold(0.0, f64::max);
    assert!(worst <= tolerance * largest, "{name}: {worst:e} off, the largest is {largest:e}");
}

/// Runs the check on `cases` settings, the same ones at every run.
fn on_every_setting(cases: u32, check: impl Fn(&Setting)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, rng);
    runner
        .run(&settings(), |setting| {
            check(&setting);
            Ok(())
        })
        .unwrap_or_else(|fault| panic!("{fault}"));
}

#[test]
fn in_double_precision_the_two_agree_to_the_last_digits() {
    on_every_setting(96, |setting| setting.compare::<f64>(1e-12, 1e-9));
}

#[test]
fn in_single_precision_the_two_agree_to_its_rounding() {
    on_every_setting(96, |setting| setting.compare::<f32>(2e-5, 1e-4));
}

/// A setting for each form, shared or not, and each kind of statistics.
fn every_kind(tokens: usize, vocabulary: usize, groups: usize, s: usize, k: usize) -> Vec<Setting> {
    let mut all = Vec::new();
    for form in [Form::Sx, Form::Vq] {
        for shared in [false, true] {
            for statistics in [Statistics::Off, Statistics::Batch, Statistics::Running] {
                let batch_norm = statistics != Statistics::Off;
                let config = DpqConfig {
                    shared,
                    batch_norm,
                    temperature: of_sx(form, 0.7),
                    beta: 0.3,
                    ..DpqConfig::new(form, groups, k)
                };
                let (size, seed) = (1.0, 11);
                let group_width = s;
                all.push(Setting {
                    config,
                    statistics,
                    extras: Extras::default(),
                    padding: None,
                    tokens,
                    vocabulary,
                    group_width,
                    size,
                    seed,
                });
            }
        }
    }
    all
}

#[test]
fn wide_groups_with_tiny_codebooks_take_their_statistics_from_the_scores() {
    for [groups, s, k] in [[2, 20, 2], [1, 17, 3], [4, 5, 2], [3, 67, 33]] {
        assert!(s > 2 * k, "the shape that this test is for");
        for setting in every_kind(290, 200, groups, s, k) {
            setting.compare::<f64>(1e-12, 1e-9);
        }
    }
}

#[test]
fn one_group_as_wide_as_the_row_agrees() {
    for setting in every_kind(270, 200, 1, 19, 33) {
        setting.compare::<f64>(1e-12, 1e-9);
    }
}

#[test]
fn rows_wider_than_what_is_gathered_at_once_agree() {
    for [groups, s, k] in [[25, 8, 5], [50, 3, 17], [2, 130, 70]] {
        for setting in every_kind(70, 50, groups, s, k) {
            setting.compare::<f64>(1e-12, 1e-9);
        }
    }
}

#[test]
fn a_single_token_agrees() {
    for setting in every_kind(1, 1, 5, 7, 17) {
        setting.compare::<f64>(1e-12, 1e-9);
    }
}

#[test]
fn one_id_over_and_over_agrees() {
    for setting in every_kind(300, 1, 4, 6, 16) {
        setting.compare::<f64>(1e-12, 1e-9);
    }
}

#[test]
fn scores_that_are_all_far_below_zero_agree() {
    // About -2000: without the largest one subtracted, every exponential would be 0. A score of this
    // size is rounded by 2e-13, which is what its exponential is then off by.
    let moved = |x: &Tensor<f64>, by: f64| Tensor::from_fn(x.shape(), |i| x.data()[i] + by);
    let raw = |s: &Setting| s.config.form == Form::Sx && s.statistics == Statistics::Off;
    for setting in every_kind(70, 50, 3, 5, 17).into_iter().filter(raw) {
        let setting = Setting { size: 0.05, ..setting };
        let mut inputs = setting.inputs();
        inputs.queries = moved(&inputs.queries, 20.0);
        inputs.keys = moved(&inputs.keys, -20.0);
        setting.compare_on::<f64>(&inputs, 1e-11, 1e-9);
    }
}

#[test]
fn a_single_part_of_a_single_query_normalises_to_zero() {
    // One score a codeword is its own mean: every score is 0, code 0 wins the tie, and nothing
    // flows back through the scores. What is left is the rounding of sums that cancel.
    for tokens in [1, 300] {
        for setting in every_kind(tokens, 1, 1, 4, 5) {
            if setting.statistics != Statistics::Batch {
                setting.compare::<f64>(1e-12, 1e-9);
                continue;
            }
            let inputs = setting.inputs::<f64>();
            let held = BatchStatistics { var: Tensor::zeros([5]), ..inputs.running.clone() };
            let first = if setting.config.form == Form::Sx { &inputs.values } else { &inputs.keys };
            let largest = |x: &Tensor<f64>| x.data().iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            // The gradient before it cancels.
            let still = Setting { statistics: Statistics::Running, ..setting.clone() };
            let uncancelled = still.run(&Inputs { running: held, ..setting.inputs() }, true);
            for fused in [true, false] {
                let outcome = setting.run(&inputs, fused);
                assert!(outcome.rows.rows().all(|row| *row == first.data()[..4]), "code 0");
                let statistics = outcome.statistics.unwrap();
                assert_eq!(statistics.var, Tensor::zeros([5]));
                if setting.config.form == Form::Sx {
                    for i in 0..2 {
                        let left = largest(&outcome.grads[i]);
                        let scale = largest(&uncancelled.grads[i]);
                        assert!(left <= 1e-12 * scale, "fused {fused}: {left:e} of {scale:e}");
                    }
                }
            }
        }
    }
}

/// [`every_kind`], with padding at every third position and wherever its id was drawn.
fn every_kind_padded(sizes: [usize; 5]) -> impl Iterator<Item = (Setting, Inputs<f64>)> {
    let [tokens, vocabulary, groups, s, k] = sizes;
    every_kind(tokens, vocabulary, groups, s, k).into_iter().map(|setting| {
        let setting = Setting { padding: Some(3), ..setting };
        let mut inputs = setting.inputs::<f64>();
        inputs.ids.iter_mut().step_by(3).for_each(|id| *id = 3);
        (setting, inputs)
    })
}

#[test]
fn padding_agrees() {
    // The last shape takes its statistics from the scores.
    for sizes in [[290, 60, 3, 5, 17], [150, 200, 4, 8, 32], [50, 20, 2, 20, 3]] {
        for (setting, inputs) in every_kind_padded(sizes) {
            setting.compare_on(&inputs, 1e-12, 1e-9);
            let sx = setting.config.form == Form::Sx;
            let extras =
                Extras { temperature: sx, sampling: sx, limits: true, still_codebook: !sx };
            Setting { extras, ..setting }.compare_on(&inputs, 1e-12, 1e-9);
        }
    }
}

#[test]
fn padding_is_as_if_it_were_not_there_but_for_its_rows() {
    for (setting, inputs) in every_kind_padded([290, 60, 3, 5, 17]) {
        let (width, live) = (15, |i: &usize| inputs.ids[*i] != 3);
        let rows_of = |x: &Tensor<f64>| -> Vec<f64> {
            let rows = (0..inputs.ids.len()).filter(live);
            rows.flat_map(|i| x.data()[i * width..][..width].to_vec()).collect()
        };
        let upstream = rows_of(&inputs.upstream);
        let without = Inputs {
            ids: (0..inputs.ids.len()).filter(live).map(|i| inputs.ids[i]).collect(),
            upstream: Tensor::new([upstream.len() / width, width], upstream).unwrap(),
            ..setting.inputs()
        };
        let (padded, without) = (setting.run(&inputs, true), setting.run(&without, true));
        assert_eq!(rows_of(&padded.rows), without.rows.data());
        assert_eq!(padded.regulariser, without.regulariser);
        assert_eq!(padded.grads, without.grads);
        let statistics = |outcome: &Outcome<f64>| {
            outcome.statistics.as_ref().map(|s| (s.mean.clone(), s.var.clone()))
        };
        assert_eq!(statistics(&padded), statistics(&without));
    }
}

#[test]
fn the_row_of_padding_is_made_of_codewords_and_has_no_gradient() {
    let config = DpqConfig::sx(2, 4);
    let wave = |shape: &[usize]| Tensor::from_fn(shape, |i| (i as f64 * 0.7).sin());
    let tape = Tape::new();
    let [queries, keys, values] = [&[9, 6][..], &[2, 4, 3], &[2, 4, 3]].map(|s| tape.leaf(wave(s)));
    let ids = Ids { ids: &[7, 5, 7, 1, 5], padding: Some(5) };
    let (rows, codewords) =
        (sx(&config, Normalization::Batch, queries, ids, keys, values).rows, values.value());
    for row in rows.value().rows() {
        for (g, part) in row.chunks(3).enumerate() {
            let of_group = &codewords.data()[g * 12..][..12];
            assert!(of_group.chunks(3).any(|codeword| codeword == part), "{part:?}");
        }
    }
    let grads = tape.backward((rows * rows).sum()).unwrap();
    let Some(Gradient::Rows(found)) = grads.get(queries) else { panic!("dense") };
    assert_eq!(&found.ids[..], &[7, 1]);
}

#[test]
fn a_batch_of_padding_only_and_one_without_ids_have_no_statistics_no_regulariser_and_no_gradient() {
    for tokens in [0, 5] {
        for setting in every_kind(tokens, 4, 2, 3, 5) {
            let setting = Setting { padding: Some(3), ..setting };
            let inputs = Inputs { ids: vec![3; tokens], ..setting.inputs::<f64>() };
            setting.compare_on(&inputs, 0.0, 0.0);
            for fused in [true, false] {
                let outcome = setting.run(&inputs, fused);
                assert_eq!(outcome.rows.shape()[..], [tokens, 6]);
                assert_eq!(outcome.regulariser, Some(0.0));
                assert!(outcome.statistics.is_none());
                assert!(outcome.grads.iter().all(|x| x.data().iter().all(|x| *x == 0.0)));
            }
        }
    }
}
