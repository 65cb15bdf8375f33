//! Numbers that are not finite stop before anything is written, settings that cannot be are refused where
//! they are given, and single precision keeps its digits.

use crate::refusal::refusal;
use dpq::nn::Lstm;
use dpq::optim::{Adam, Group, Optimizer, Schedule, Sgd};
use dpq::{
    Context, DpqConfig, DpqEmbedding, Embedding, Gradcheck, Init, Op, ParamId, Params, Tape,
    Tensor, Var, gradcheck, rng,
};

fn optimizers() -> Vec<Box<dyn Optimizer<f32>>> {
    vec![
        Box::new(Sgd::new(1.0)),
        Box::new(Sgd::new(1.0).momentum(0.9)),
        Box::new(Sgd::new(1.0).weight_decay(0.1)),
        Box::new(Adam::new(0.1)),
        Box::new(Adam::decoupled(0.1, 0.1)),
    ]
}

/// A step of every optimiser with the gradients of `slope` times w; what each refuses, after which
/// nothing may have changed.
fn refused(w: [f32; 2], slope: [f32; 2], statistic: f32) -> Vec<String> {
    let step = |mut optimizer: Box<dyn Optimizer<f32>>| {
        let mut params = Params::new();
        let id = params.add("w", Tensor::from(w));
        let other = params.add("a", Tensor::scalar(1.0));
        let mean = params.add_statistic("mean", Tensor::scalar(0.5));
        let (_, grads, ()) = Tape::new()
            .value_and_grad(&params, |p| {
                p.tape.move_statistic(mean, Tensor::scalar(statistic), 0.1);
                let slope = p.tape.constant(Tensor::from(slope));
                (zero_with_slope(p[id], slope) + p[other], ())
            })
            .unwrap();
        let error = optimizer.step(&mut params, &grads).expect_err("a step").to_string();
        let bits =
            |id: ParamId| params.get(id).data().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(id), w.map(f32::to_bits));
        assert_eq!((bits(other), bits(mean)), (vec![1_f32.to_bits()], vec![0.5_f32.to_bits()]));
        error
    };
    optimizers().into_iter().map(step).collect()
}

/// 0, whatever w and its gradient are.
fn zero_with_slope<'t>(w: Var<'t, f32>, slope: Var<'t, f32>) -> Var<'t, f32> {
    struct Slope;
    impl Op<f32> for Slope {
        fn backward(&self, ctx: &mut Context<'_, f32>) {
            let slope = ctx.input(1).clone();
            ctx.add(0, slope);
        }
    }
    let [zero] = w.tape().record(Slope, &[w, slope], [Tensor::scalar(0.0)]);
    zero
}

#[test]
fn a_step_with_anything_that_is_not_finite_is_refused_by_name_before_it_is_taken() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for error in refused([0.0, 1.0], [1.0, bad], 0.0) {
            let expected =
                format!("the gradient of parameter w is {bad}: expected a finite number");
            assert_eq!(error, expected);
        }
        for error in refused([0.0, bad], [1.0, 1.0], 0.0) {
            assert_eq!(error, format!("parameter w is {bad}: expected a finite number"));
        }
        for error in refused([0.0, 1.0], [1.0, 1.0], bad) {
            let expected = "what statistic mean moves toward is ";
            assert!(error.starts_with(expected), "{error}");
        }
    }
    // Finite, and past the range of single precision after the step.
    for error in refused([3e38, 0.0], [-3e38, 1.0], 0.0) {
        assert_eq!(error, "parameter w after the step is inf: expected a finite number");
    }
}

#[test]
fn a_score_past_single_precision_is_an_error_and_not_a_nan_in_the_parameters() {
    let mut params = Params::<f32>::new();
    let embedding = DpqEmbedding::new(params.scope("words"), 2, 2, DpqConfig::sx(1, 2)).unwrap();
    params.write(embedding.queries()).copy_from_slice(&[1e25, 1e25, 1.0, 1.0]);
    params.write(embedding.keys()).copy_from_slice(&[1e20, 1e20, 1.0, 1.0]);
    let mut tape = Tape::new();
    let pass = tape.value_and_grad(&params, |p| {
        let rows = embedding.forward(p, &[0, 1]).rows;
        ((rows * rows).sum(), ())
    });
    let stepped = pass.and_then(|(_, grads, ())| Sgd::new(0.1).step(&mut params, &grads));
    let error = stepped.unwrap_err().to_string();
    assert!(error.contains("expected a finite number"), "{error}");
    assert!(params.ids().all(|id| params.get(id).not_finite().is_none()));
}

#[test]
fn relu_of_the_logarithm_of_0_does_not_reach_the_parameters() {
    let mut params = Params::new();
    let w = params.add("w", Tensor::from([0.0_f32, 1.0]));
    let (_, mut grads, ()) =
        Tape::new().value_and_grad(&params, |p| (p[w].ln().relu().sum(), ())).unwrap();
    grads.clip_global_norm(1.0);
    let stepped = Sgd::new(1.0).step(&mut params, &grads);
    assert!(stepped.is_err() || params.get(w).not_finite().is_none());
    assert_eq!(params.get(w).data()[0], 0.0);
    let negative = gradcheck([Tensor::from([-1.0, 2.0])], |[x]| x.ln().relu());
    assert!(!negative.is_ok(), "{negative}");
    let tape = Tape::new();
    let y = tape.leaf(Tensor::from([f32::NAN, -1.0, 2.0])).relu();
    assert!(y.value().data()[0].is_nan() && tape.backward(y.sum()).is_err());
}

/// Gradients of w, which is 0: the slopes themselves.
fn slopes(slopes: &[f32]) -> (Params<f32>, ParamId, dpq::Grads<f32>) {
    let mut params = Params::new();
    let w = params.add("w", Tensor::zeros([slopes.len()]));
    let slope = Tensor::new([slopes.len()], slopes.to_vec()).unwrap();
    let (_, grads, ()) = Tape::new()
        .value_and_grad(&params, |p| (zero_with_slope(p[w], p.tape.constant(slope)), ()))
        .unwrap();
    (params, w, grads)
}

#[test]
fn a_norm_whose_squares_overflow_or_vanish_is_right_and_clips() {
    for scale in [1e20_f32, 1.0, 1e-25, 1e-40] {
        let (mut params, w, mut grads) = slopes(&[3.0 * scale, 4.0 * scale]);
        let norm = 5.0 * f64::from(scale);
        let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-4 * b.abs(), "{a} {b} at {scale}");
        close(grads.norm(), norm);
        close(grads.clip_global_norm(norm / 5.0), norm);
        close(grads.norm(), norm / 5.0);
        // A second, looser limit changes nothing.
        grads.clip_global_norm(norm * 100.0);
        close(grads.norm(), norm / 5.0);
        Sgd::new(1.0).step(&mut params, &grads).unwrap();
        let found = params.get(w).data();
        close(f64::from(found[0]), -0.6 * f64::from(scale));
        close(f64::from(found[1]), -0.8 * f64::from(scale));
    }
    let mut params = Params::new();
    let w = params.add("w", Tensor::from([0.0_f64; 2]));
    let slope = Tensor::from([3e200, 4e200]);
    let (_, grads, ()) = Tape::new()
        .value_and_grad(&params, |p| ((p[w] * p.tape.constant(slope)).sum(), ()))
        .unwrap();
    assert!((grads.norm() / 5e200 - 1.0).abs() < 1e-12);
}

#[test]
fn adam_refuses_a_gradient_whose_square_single_precision_cannot_hold() {
    let (mut params, w, grads) = slopes(&[1e25, 0.0]);
    let error = Adam::new(0.1).step(&mut params, &grads).unwrap_err().to_string();
    assert!(error.contains("parameter w"), "{error}");
    assert_eq!(params.get(w).data(), [0.0, 0.0]);
}

#[test]
fn what_an_optimiser_remembers_cannot_leave_the_range_either() {
    // Momentum of a huge gradient at a tiny rate, then a rate of 1.
    for (first, second) in [(1e-30, 1.0), (0.0, 1.0)] {
        let (mut params, w, grads) = slopes(&[3e38, 1.0]);
        let mut sgd = Sgd::new(first).momentum(0.9);
        let outcomes = [first, second, second].map(|rate| {
            sgd.set_learning_rate(rate);
            sgd.step(&mut params, &grads)
        });
        assert!(outcomes.iter().any(Result::is_err));
        assert!(params.get(w).not_finite().is_none());
        let state = sgd.state(&params).unwrap();
        assert!(state.ids().all(|id| state.get(id).not_finite().is_none()));
    }
}

#[test]
fn a_step_that_was_refused_does_not_stand_in_the_way_of_the_next() {
    for mut optimizer in optimizers() {
        let (mut params, w, bad) = slopes(&[f32::INFINITY, 1.0]);
        let good = |params: &Params<f32>| {
            Tape::new().value_and_grad(params, |p| (p[w].sum(), ())).unwrap().1
        };
        let first = good(&params);
        optimizer.step(&mut params, &first).unwrap();
        assert!(optimizer.step(&mut params, &bad).is_err());
        let next = good(&params);
        optimizer.step(&mut params, &next).unwrap();
    }
}

#[test]
fn a_factor_takes_no_gradient_out_of_the_range_or_to_nothing() {
    assert!(refusal(|| slopes(&[1.0]).2.scale(1e60)).contains("that the precision holds"));
    assert!(refusal(|| slopes(&[1.0]).2.scale(1e-60)).contains("that the precision holds"));
    assert!(
        refusal(|| slopes(&[1.0]).2.clip_global_norm(1e-60)).contains("that the precision holds")
    );
    let (mut params, w, mut grads) = slopes(&[1e30, 0.0]);
    grads.scale(1e30);
    let error = grads.apply(&mut params, |p, dp| p[0] -= dp[0]).unwrap_err().to_string();
    assert_eq!(error, "the gradient of parameter w is inf: expected a finite number");
    assert_eq!(params.get(w).data(), [0.0, 0.0]);
}

#[test]
#[cfg(feature = "io")]
fn parameters_that_are_not_finite_are_neither_saved_nor_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("params");
    let mut double = Params::<f64>::new();
    let w = double.add("w", Tensor::from([1.0, 1e300]));
    let mut single = double.cast::<f32>();
    let error = single.save(&path).unwrap_err().to_string();
    assert_eq!(error, "parameter w is inf: expected a finite number");
    assert!(!path.exists());
    let error = single.clone().load_bytes(&single.to_bytes()).unwrap_err().to_string();
    assert_eq!(error, "parameter w of bytes is inf: expected a finite number");
    single.write(w)[1] = 0.0;
    single.save(&path).unwrap();
    assert!(refusal(|| double.add("__metadata__", Tensor::scalar(1.0))).contains("__metadata__"));
}

#[test]
fn a_row_that_comes_up_very_often_and_a_bias_keep_their_digits() {
    let tape = Tape::new();
    let table = tape.leaf(Tensor::from([[0.0_f32], [0.0]]));
    let rows = table.gather_rows(&vec![1; 1_000_000]);
    let grads = tape.backward((rows * 0.1).sum()).unwrap();
    assert_eq!(grads.dense(table).data(), [0.0, 100_000.0]);
    let tape = Tape::new();
    let (h, w) =
        (tape.constant(Tensor::zeros([1_000_000, 1])), tape.constant(Tensor::zeros([1, 2])));
    let bias = tape.leaf(Tensor::from([0.0_f32, 0.0]));
    let loss = h.linear_cross_entropy(w, bias, &vec![0; 1_000_000]);
    let found = tape.backward(loss).unwrap().dense(bias);
    assert!((found.data()[1] - 0.5).abs() < 5e-6, "{found:?}");
}

#[test]
fn parameters_of_others_and_shared_ones_are_not_written_to() {
    let (mut own, mut others) = (Params::new(), Params::new());
    let [x, y] = [&mut own, &mut others].map(|params| params.add("x", Tensor::from([1.0_f32])));
    let value = || Tensor::from([2.0]);
    assert!(refusal(|| own.write(y)[0] = 2.0).ends_with("is of other Params"));
    assert!(refusal(|| own.set(y, value())).ends_with("is of other Params"));
    let _kept = own.get(x).clone();
    assert!(refusal(|| own.write(x)[0] = 2.0).starts_with("parameter x is shared"));
    own.set(x, value());
    own.write(x)[0] += 1.0;
    assert_eq!(own.get(x).data(), [3.0]);
}

#[test]
fn an_optimiser_of_other_parameters_and_a_state_of_other_shapes_are_refused() {
    let (mut first, _, grads) = slopes(&[1.0]);
    let (mut second, _, others) = slopes(&[1.0]);
    let mut sgd = Sgd::new(0.1).momentum(0.9);
    sgd.step(&mut first, &grads).unwrap();
    assert!(refusal(|| sgd.step(&mut second, &others)).starts_with("an optimiser of other Params"));
    let mut adam = Adam::new(0.1);
    adam.step(&mut first, &grads).unwrap();
    assert!(
        refusal(|| adam.step(&mut second, &others)).starts_with("an optimiser of other Params")
    );
    let state = |names: [&str; 2], widths: [usize; 2]| {
        let tensors =
            names.iter().zip(widths).map(|(n, w)| (n.to_string(), Tensor::<f32>::zeros([1, w])));
        dpq::nn::LstmState::from_tensors(tensors.collect())
    };
    assert_eq!(state(["h_l0", "c_l0"], [2, 2]).tensors().len(), 2);
    assert!(refusal(|| state(["c_l0", "h_l0"], [2, 2])).contains("expected h_l0, c_l0"));
    assert!(refusal(|| state(["h_l0", "c_l0"], [2, 3])).contains("shapes [1, 2] and [1, 3]"));
}

#[test]
fn settings_that_cannot_be_are_refused_where_they_are_given() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.5, 1e-60, 1e60] {
        let message = |f: &dyn Fn()| {
            let message = refusal(f);
            assert!(message.contains("expected"), "{bad}: {message}");
        };
        message(&|| drop(Sgd::<f32>::new(bad)));
        message(&|| drop(Sgd::<f32>::new(0.1).weight_decay(bad)));
        message(&|| drop(Adam::<f32>::new(bad)));
        message(&|| drop(Adam::<f32>::decoupled(0.1, bad)));
        message(&|| drop(Adam::<f32>::new(0.1).eps(bad)));
        let group = Group { learning_rate: bad, ..Group::default() };
        message(&|| drop(Sgd::<f32>::new(0.1).group(|_| true, group)));
        message(&|| drop(Params::<f32>::new().scope("a").init(Init::Uniform(bad))));
        message(&|| drop(Params::<f32>::new().scope("a").init(Init::Normal(bad))));
        message(&|| drop(Tensor::<f32>::uniform([2], bad, &mut rng::stream(0, "x", 0))));
        message(&|| drop(Tensor::<f32>::normal([2], bad, &mut rng::stream(0, "x", 0))));
    }
    for bad in [f64::NAN, f64::INFINITY, -0.5, 1.0, 1.5, 1.0 - 1e-12] {
        assert!(refusal(|| Sgd::<f32>::new(0.1).momentum(bad)).contains("[0, 1)"));
        assert!(refusal(|| Adam::<f32>::new(0.1).betas(0.9, bad)).contains("[0, 1)"));
    }
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
        assert!(refusal(|| Sgd::<f32>::new(0.1).set_learning_rate(bad)).contains("learning rate"));
        assert!(refusal(|| Adam::<f32>::new(0.1).set_learning_rate(bad)).contains("learning rate"));
        assert!(refusal(|| slopes(&[1.0]).2.clip_global_norm(bad)).contains("a positive number"));
        assert!(refusal(|| Schedule::new(bad, 1, 0.5)).contains("a positive number"));
        assert!(refusal(|| Schedule::new(1.0, 1, bad)).contains("above 0 and at most 1"));
        let x = Tensor::<f32>::full([2, 2], 1.0);
        assert!(refusal(|| Tape::new().leaf(x.clone()).batch_norm(bad).0.value()).contains("eps"));
        assert!(refusal(|| Tape::new().leaf(x.clone()).layer_norm(bad).value()).contains("eps"));
        assert!(
            refusal(|| Tape::new().leaf(x.clone()).dropout(bad, "x").value()).contains("[0, 1)")
        );
        let lstm = Lstm::new(Params::<f32>::new().scope("a"), 1, 1, 1);
        assert!(refusal(|| lstm.dropout(bad)).contains("[0, 1)"));
    }
    assert!(refusal(|| slopes(&[1.0]).2.clip_global_norm(0.0)).contains("a positive number"));
    assert!(refusal(|| slopes(&[1.0]).2.scale(f64::NAN)).contains("a finite number"));
    let x = Tensor::<f32>::full([2], 1.0);
    assert!(
        refusal(|| Tape::new().leaf(x.clone()).powf(f32::NAN).value()).contains("powf: exponent")
    );
    assert!(
        refusal(|| Tape::new().leaf(x.clone()).dropout(1.0 - 1e-11, "x").value()).contains("kept")
    );
    let mut params = Params::<f32>::new();
    let table = dpq::FullEmbedding::new(params.scope("a"), 4, 2);
    assert!(refusal(|| table.padding(4)).contains("padding 4: expected an id in 0..4"));
    let words = dpq::data::unigram_perplexity;
    assert!(refusal(|| words(&[0, 9], &[0, 1], 3)).contains("id 9: expected 0..3"));
    // What double precision holds it may have, and a schedule may end at nothing.
    Sgd::<f64>::new(1e-60);
    Sgd::<f32>::new(0.1).set_learning_rate(1e-60);
}

/// y = x^2 with the rule dx = 3 x dy.
struct Wrong;
impl Op<f64> for Wrong {
    fn backward(&self, ctx: &mut Context<'_, f64>) {
        let (x, Some(dy)) = (ctx.input(0), ctx.output_grad(0)) else { return };
        ctx.add(0, Tensor::from_fn(x.shape(), |i| 3.0 * x.data()[i] * dy.data()[i]));
    }
}

#[test]
fn a_wrong_rule_is_found_at_any_tolerance() {
    for tolerance in [1e-1, 1e-7, 1e-15, 1e-300] {
        let report = Gradcheck { tolerance, ..Gradcheck::default() }.run(
            [Tensor::from([0.3, 2.0])],
            |[x]| {
                let v = x.value();
                let square = Tensor::from_fn(v.shape(), |i| v.data()[i] * v.data()[i]);
                let [y] = x.tape().record(Wrong, &[x], [square]);
                y
            },
        );
        assert!(!report.is_ok(), "{tolerance}: {report}");
    }
}

#[test]
fn the_right_relu_passes_over_many_random_numbers() {
    for n in [100, 1000, 10_000] {
        for seed in 0..10 {
            let x = Tensor::uniform([n], 2.0, &mut rng::stream(seed, "x", 0));
            gradcheck([x], |[x]| x.relu()).assert_ok();
        }
    }
}

/// A sine computed in single precision, as code of another library would.
struct Sine;
impl Op<f64> for Sine {
    fn backward(&self, ctx: &mut Context<'_, f64>) {
        let (x, Some(dy)) = (ctx.input(0), ctx.output_grad(0)) else { return };
        let slope = |i: usize| f64::from((x.data()[i] as f32).cos());
        ctx.add(0, Tensor::from_fn(x.shape(), |i| slope(i) * dy.data()[i]));
    }
}

#[test]
fn code_in_single_precision_can_be_checked() {
    for seed in 0..200 {
        let x = Tensor::uniform([3], 1.5, &mut rng::stream(seed, "x", 0));
        let check = |factor: f64| {
            Gradcheck::single_precision().run([x.clone()], |[x]| {
                let v = x.value();
                let sine = |i: usize| f64::from((v.data()[i] as f32).sin()) * factor;
                let [y] = x.tape().record(Sine, &[x], [Tensor::from_fn(v.shape(), sine)]);
                y
            })
        };
        check(1.0).assert_ok();
        assert!(!check(1.01).is_ok(), "an error of a hundredth");
    }
}
