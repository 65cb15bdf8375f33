//! The gradient checks of both forms.

use super::config::{DpqConfig, Form};
use super::fixed_codes;
use super::normalization::Normalization;
use super::score;
use super::sx::sx;
use super::vq::vq;
use crate::gradcheck;
use crate::ops::Ids;
use crate::strategies::{Case, ids, tensor};
use crate::tensor::Tensor;
use proptest::prelude::*;

/// The gradient checks of the ops in this folder.
pub fn cases() -> Vec<Case> {
    let mut cases = score::cases();
    cases.extend(fixed_codes::cases());
    cases.extend([form_case("dpq, sx", Form::Sx), form_case("dpq, vq", Form::Vq)]);
    cases
}

/// Both forms as users meet them, through the fused op, with every option, over tables small enough
/// for a full Jacobian: single rows, groups and ids, repeated ids, padding, ties.
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
        (sizes, options).prop_flat_map(
            move |((v, n, groups, s, k), (shared, batch_norm, temperature, beta, padding))| {
                let config = DpqConfig {
                    form,
                    groups,
                    codebook_size: k,
                    shared,
                    batch_norm,
                    temperature,
                    beta,
                };
                let book = [config.codebooks(), k, s];
                let tensors = (tensor([v, groups * s]), tensor(book), tensor(book));
                (Just(config), tensors, ids(n, v), Just(padding))
            },
        )
    };
    Case::new(name, inputs(), |(config, (q, keys, values), ids, padding)| {
        let ids = Ids { ids: &ids, padding };
        gradcheck([q, keys, values], |[q, keys, values]| {
            let normalization =
                if config.batch_norm { Normalization::Batch } else { Normalization::Off };
            let quantized = match config.form {
                Form::Sx => sx(&config, normalization, q, ids, keys, values),
                Form::Vq => vq(&config, normalization, q, ids, keys),
            };
            let weights =
                quantized.rows.tape().constant(Tensor::from_fn(quantized.rows.shape(), |i| {
                    (i as f64 * 0.7).cos() + 0.2
                }));
            let loss = (quantized.rows * weights).sum();
            quantized.regulariser.map_or(loss, |regulariser| loss + regulariser * 0.5)
        })
    })
}
