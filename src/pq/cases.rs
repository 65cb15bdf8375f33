//! The gradient checks of both forms.

use super::config::DpqConfig;
use super::normalization::Normalization;
use super::quantized::{Options, Quantized};
use super::quantizer::Quantizer;
use super::settings::{Form, MovingAverage, Score, Temperature};
use super::sx::sx_with;
use super::vq::vq_with;
use super::{additive, fixed_codes, score};
use crate::init::Init;
use crate::ops::{Ids, concat};
use crate::params::Params;
use crate::strategies::{Case, ids, tensor};
use crate::tape::Var;
use crate::tensor::Tensor;
use crate::{gradcheck, gradcheck_params};
use proptest::prelude::*;

/// The gradient checks of the ops in this folder.
pub fn cases() -> Vec<Case> {
    let mut cases = score::cases();
    cases.extend(additive::cases());
    cases.extend(fixed_codes::cases());
    cases.extend([
        form_case("dpq, sx", Form::Sx),
        form_case("dpq, vq", Form::Vq),
        quantizer_case(),
    ]);
    cases
}

/// Both forms as users meet them, through the fused op, with every option that it has, over tables small
/// enough for a full Jacobian: single rows, groups and ids, repeated ids, padding, ties.
fn form_case(name: &'static str, form: Form) -> Case {
    let inputs = move || {
        let sizes = (1..5_usize, 1..7_usize, 1..4_usize, 1..5_usize, 2..7_usize);
        let options = (
            any::<bool>(),
            any::<bool>(),
            prop_oneof![Just(1.0), 0.4..2.0],
            prop_oneof![Just(0.0), 0.1..1.0],
            proptest::option::of(Just(0)),
        );
        (sizes, options, any::<[bool; 3]>()).prop_flat_map(
            move |((v, n, groups, s, k), (shared, batch_norm, tau, beta, padding), extras)| {
                let temperature = Temperature::Fixed(if form == Form::Sx { tau } else { 1.0 });
                // Normalised over one part alone, a score is constant.
                let batch_norm = batch_norm && n * groups > 1;
                let config = DpqConfig {
                    shared,
                    batch_norm,
                    temperature,
                    beta,
                    ..DpqConfig::new(form, groups, k)
                };
                let book = [config.codebooks(), k, s];
                let tensors = (tensor([v, groups * s]), tensor(book), tensor(book));
                let draws = prop::collection::vec(0.0..1.0, n * groups)
                    .prop_map(move |draws| Tensor::from_fn([n, groups], |i| draws[i]));
                let limits = prop::collection::vec(1..=k as u32, v);
                (Just((config, extras, padding)), tensors, ids(n, v), draws, limits)
            },
        )
    };
    Case::new(
        name,
        inputs(),
        |((config, [learns, samples, limited], padding), (q, keys, values), ids, draws, limits)| {
            let ids = Ids { ids: &ids, padding };
            let tau = Tensor::scalar(config.temperature.start());
            gradcheck([q, keys, values, tau], |[q, keys, values, tau]| {
                let normalization =
                    if config.batch_norm { Normalization::Batch } else { Normalization::Off };
                let sx = config.form == Form::Sx;
                let options = Options {
                    temperature: (learns && sx).then_some(tau),
                    draws: (samples && sx).then_some(&draws),
                    limits: limited.then_some(&limits[..]),
                    still_codebook: learns && !sx,
                };
                let quantized = match config.form {
                    Form::Sx => sx_with(&config, normalization, q, ids, keys, values, options),
                    Form::Vq => vq_with(&config, normalization, q, ids, keys, options),
                };
                outputs(quantized)
            })
        },
    )
}

/// A quantiser of any activations with every setting, additive groups and all scores included.
fn quantizer_case() -> Case {
    let inputs = || {
        let sizes = (0..6_usize, 1..4_usize, 1..4_usize, 2..6_usize);
        let score = prop::sample::select(vec![Score::Dot, Score::SquaredDistance, Score::Cosine]);
        let of_sx = (score, any::<bool>(), any::<bool>());
        let options = (any::<[bool; 5]>(), prop_oneof![Just(0.0), 0.1..1.0]);
        (sizes, of_sx, options, any::<u64>()).prop_flat_map(
            |((n, groups, s, k), (score, learns, sampling), (flags, beta), seed)| {
                let [vq, shared, batch_norm, additive, averages] = flags;
                let common = if vq { DpqConfig::vq(groups, k) } else { DpqConfig::sx(groups, k) };
                let common = DpqConfig { shared, batch_norm, additive, beta, ..common };
                let config = match (vq, learns) {
                    (true, _) => DpqConfig {
                        moving_average: averages.then(MovingAverage::default),
                        ..common
                    },
                    (false, true) => DpqConfig {
                        temperature: Temperature::Learnable(0.7),
                        score,
                        sampling,
                        ..common
                    },
                    (false, false) => DpqConfig { score, sampling, ..common },
                };
                // In one dimension a cosine is a sign, and half the codewords tie.
                let s = if config.score == Score::Cosine { s.max(2) } else { s };
                let width = if additive { s } else { groups * s };
                (Just((config, width, seed)), tensor([n, groups * s]))
            },
        )
    };
    Case::new("quantizer", inputs(), |((config, width, seed), x)| {
        let mut params = Params::seeded(seed);
        let activations = params.add("activations", x);
        let scope = params.scope("codes").init(Init::Uniform(1.0));
        let quantizer = Quantizer::new(scope, width, config).expect("a sound configuration");
        gradcheck_params(&params, |p| outputs(quantizer.forward(p, p[activations])))
    })
}

/// All that a form gives: rows, regulariser, and 1, so that there always is something.
fn outputs(quantized: Quantized<'_, f64>) -> Var<'_, f64> {
    let flat = |x: Var<'_, f64>| x.shape().elements();
    let mut parts = vec![quantized.rows.reshape([flat(quantized.rows)])];
    parts.extend(quantized.regulariser.map(|regulariser| regulariser.reshape([1])));
    parts.push(quantized.rows.tape().constant(Tensor::full([1], 1.0)));
    concat(&parts, 0)
}
