//! A variable, a gradient, a parameter and a statistic know whose they are, and a pass that failed says
//! so at every way out.

use crate::refusal::refusal;
use dpq::embedding::{LowRank, ScalarTable};
use dpq::nn::Lstm;
use dpq::optim::{Optimizer, Sgd};
use dpq::pq::FixedCodes;
use dpq::{
    DpqConfig, DpqEmbedding, Embedding, FullEmbedding, Gradcheck, Params, Tape, Tensor, gradcheck,
};

#[test]
fn a_loss_of_another_tape_is_refused() {
    let (own, other) = (Tape::new(), Tape::new());
    let x = own.leaf(Tensor::scalar(2.0_f64));
    let loss = x * x;
    let y = other.leaf(Tensor::scalar(5.0));
    let _used = y * 100.0;
    assert_eq!(refusal(|| other.backward(loss)), "backward: the loss is on another tape");
    assert_eq!(refusal(|| other.backward_and_free(loss)), "backward: the loss is on another tape");
    let seed = [(loss, Tensor::scalar(1.0))];
    assert_eq!(refusal(|| other.backward_from(&seed)), "backward: a variable is on another tape");
    assert_eq!(refusal(|| x + y), "Add: an input is on another tape");
    assert_eq!(own.backward(loss).unwrap().dense(x).item(), 4.0);
}

#[test]
fn gradients_of_an_earlier_pass_are_refused() {
    let mut tape = Tape::new();
    let grads = {
        let x = tape.leaf(Tensor::from([1.0, 2.0]));
        tape.backward((x * x).sum()).unwrap()
    };
    tape.reset();
    let y = tape.leaf(Tensor::from([[7.0; 3]; 2]));
    for message in [refusal(|| grads.dense(y)), refusal(|| grads.get(y).is_some())] {
        assert_eq!(message, "the gradient of a variable of another tape, or of another pass");
    }
    assert!(refusal(|| tape.table(Some(&grads)).to_string()).starts_with("table: gradients of"));
}

#[test]
fn what_was_freed_is_never_a_zero() {
    let mut params = Params::new();
    let w = params.add("w", Tensor::from([1.0_f64, 2.0]));
    let tape = Tape::new();
    let p = tape.train(&params);
    let squares = p[w] * p[w];
    let loss = squares.sum();
    tape.backward_and_free(loss).unwrap();
    let freed = |message: String| assert!(message.contains(" is freed"), "{message}");
    freed(refusal(|| squares.value()));
    freed(refusal(|| tape.backward(loss)));
    freed(refusal(|| tape.backward_and_free(loss)));
    freed(refusal(|| tape.backward_from(&[(squares, Tensor::from([1.0, 1.0]))])));
    freed(refusal(|| squares + 1.0));
}

#[test]
fn a_loss_that_nothing_reaches_says_so() {
    let mut params = Params::new();
    let w = params.add("w", Tensor::scalar(1.0_f64));
    let mut tape = Tape::new();
    let evaluated = refusal(|| {
        let p = tape.evaluate(&params);
        tape.backward(p[w] * 2.0)
    });
    assert_eq!(
        evaluated,
        "backward: no leaf and no parameter that is bound for training reaches the loss"
    );
    let reached = "backward: no parameter that is bound for training reaches the loss";
    let by_a_leaf =
        refusal(|| tape.value_and_grad(&params, |p| (p.tape.leaf(Tensor::scalar(3.0)), ())));
    assert_eq!(by_a_leaf, reached);
    let mut tape = Tape::new();
    let stopped = refusal(|| tape.value_and_grad(&params, |p| (p[w].stop_gradient(), ())));
    assert_eq!(stopped, evaluated);
}

#[test]
fn parameters_and_statistics_of_others_are_refused() {
    let (mut own, mut other) = (Params::<f32>::new(), Params::new());
    let w = own.add("w", Tensor::scalar(1.0));
    let mean = own.add_statistic("mean", Tensor::from([0.0, 0.0]));
    let theirs = other.add("w", Tensor::scalar(1.0));
    assert_eq!(refusal(|| own.get(theirs).item()), "ParamId(0) is of other Params");
    let tape = Tape::new();
    let p = tape.train(&own);
    let bound = refusal(|| p[theirs].value());
    assert_eq!(bound, "ParamId(0) is of other Params than those that were bound");
    let (_, grads, ()) = Tape::new().value_and_grad(&own, |p| (p[w] * p[w], ())).unwrap();
    assert!(refusal(|| grads.dense(theirs)).contains("no trained parameter of the pass"));
    assert!(refusal(|| grads.dense(mean)).contains("no trained parameter of the pass"));
    assert!(refusal(|| Sgd::new(0.1).step(&mut other, &grads)).contains("is of other Params"));

    let two = Tensor::from([1.0, 1.0]);
    let not_one = "is no statistic of this pass that trains";
    assert!(refusal(|| tape.move_statistic(w, Tensor::scalar(1.0), 0.1)).contains(not_one));
    assert!(refusal(|| Tape::new().move_statistic(mean, two.clone(), 0.1)).contains(not_one));
    let shape = refusal(|| tape.move_statistic(mean, Tensor::scalar(1.0), 0.1));
    assert_eq!(shape, "move_statistic: a statistic of shape [2] toward one of []");
    for rate in [f32::NAN, -0.1, 1.5] {
        let message = refusal(|| tape.move_statistic(mean, two.clone(), rate));
        assert!(message.contains("expected a number in [0, 1]"), "{message}");
    }
}

#[test]
fn a_state_of_fewer_layers_streams_or_units_is_refused() {
    let mut params = Params::<f32>::new();
    let [two, one, wide] = [("two", 4, 2), ("one", 4, 1), ("wide", 5, 2)]
        .map(|(name, hidden, layers)| Lstm::new(params.scope(name), 3, hidden, layers));
    let tape = Tape::new();
    let p = tape.evaluate(&params);
    let x = tape.constant(Tensor::full([1, 2, 3], 0.3));
    two.forward(&p, x, &two.start(2).on(&tape));
    let layers = refusal(|| two.forward(&p, x, &one.start(2).on(&tape)).0.value());
    assert!(layers.contains("layers of the model, and of the state"), "{layers}");
    assert!(layers.contains("left: 2") && layers.contains("right: 1"), "{layers}");
    assert!(
        refusal(|| two.forward(&p, x, &two.start(1).on(&tape)).0.value()).contains("batch is 2")
    );
    assert!(refusal(|| two.forward(&p, x, &wide.start(2).on(&tape)).0.value()).contains("[2, 5]"));
}

/// Every embedding, of 3 rows of width 4, and a closure that looks an id up that it has not.
fn embeddings(params: &mut Params<f32>) -> Vec<Box<dyn Embedding<f32>>> {
    let sx = DpqEmbedding::new(params.scope("sx"), 3, 4, DpqConfig::sx(2, 4)).unwrap();
    let compact = sx.to_compact(params).unwrap();
    vec![
        Box::new(FullEmbedding::new(params.scope("full"), 3, 4)),
        Box::new(sx),
        Box::new(DpqEmbedding::new(params.scope("vq"), 3, 4, DpqConfig::vq(2, 4)).unwrap()),
        Box::new(FixedCodes::random(params.scope("random"), 3, 4, DpqConfig::sx(2, 4)).unwrap()),
        Box::new(FixedCodes::from_compact(params.scope("fixed"), &compact).padding(0)),
        Box::new(compact),
        Box::new(LowRank::new(params.scope("low"), 3, 4, 2).unwrap().padding(0)),
        Box::new(ScalarTable::quantize(&Tensor::<f32>::zeros([3, 4]), 8).unwrap()),
    ]
}

#[test]
fn a_fault_comes_out_of_every_way_out_until_the_tape_is_reset() {
    let expected = "id 7 is outside the vocabulary: expected 0..3";
    let mut params = Params::new();
    let of = |result: dpq::Result<()>| assert_eq!(result.unwrap_err().to_string(), expected);
    for embedding in embeddings(&mut params) {
        let mut tape = Tape::new();
        {
            let p = tape.train(&params);
            let rows = embedding.forward(&p, &[0, 7, 2]).rows;
            let loss = rows.sum();
            for _ in 0..2 {
                of(tape.backward(loss).map(|_| ()));
                of(tape.backward_from(&[(loss, Tensor::scalar(1.0))]).map(|_| ()));
                of(tape.backward_and_free(loss).map(|_| ()));
                of(tape.check());
            }
            // Who does not ask finds nothing that could be taken for a row.
            assert!(rows.value().rows().nth(1).unwrap().iter().all(|x| x.is_nan()));
        }
        of(tape.value(&params, |p| embedding.forward(p, &[7]).rows.value()).map(|_| ()));
        let forward = |p: &dpq::Bound<'_, f32>| embedding.forward(p, &[7]).rows.sum().value();
        of(tape
            .value_and_grad(&params, |p| {
                let sum = embedding.forward(p, &[7]).rows.sum();
                (sum, forward(p))
            })
            .map(|_| ()));
        // A reset forgets it.
        assert!(tape.check().is_ok());
        tape.value(&params, |p| embedding.forward(p, &[1]).rows.value()).unwrap();
    }
}

#[test]
fn a_target_outside_and_a_nan_score_are_told_again_too() {
    let tape = Tape::new();
    let x = tape.leaf(Tensor::from([[1.0_f32, 2.0]]));
    let loss = x.cross_entropy(&[9]);
    assert!(loss.value().item().is_nan());
    for _ in 0..2 {
        let error = tape.backward(loss).unwrap_err();
        assert_eq!(error.to_string(), "target 9 is outside the classes: expected 0..2");
    }
    let tape = Tape::new();
    tape.leaf(Tensor::from([[1.0, f64::NAN]])).argmax();
    for _ in 0..2 {
        assert!(tape.check().unwrap_err().to_string().starts_with("a score is NaN"));
    }
}

#[test]
fn the_gradient_checker_fails_with_the_fault() {
    let table = || Tensor::from([[1.0], [2.0], [3.0]]);
    let reports = [
        (gradcheck([table()], |[t]| t.gather_rows(&[7])), "id 7 is outside the vocabulary"),
        (
            gradcheck([Tensor::from([[1.0, 2.0]])], |[x]| x.cross_entropy(&[9])),
            "target 9 is outside",
        ),
        (
            gradcheck([Tensor::from([[1.0, f64::NAN]])], |[x]| {
                x.argmax();
                x.slice(1, 0..1)
            }),
            "a score is NaN",
        ),
    ];
    for (report, fault) in reports {
        assert!(!report.is_ok() && report.fault.is_some());
        let text = report.to_string();
        assert!(text.starts_with("the pass failed: ") && text.contains(fault), "{text}");
    }
    for setting in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let settings = Gradcheck::default();
        for check in [
            Gradcheck { tolerance: setting, ..settings },
            Gradcheck { step: setting, ..settings },
            Gradcheck { rounding: setting, ..settings },
        ] {
            let message = refusal(|| check.run([Tensor::scalar(1.0)], |[x]| x));
            assert!(message.ends_with("expected a positive number"), "{message}");
        }
    }
}
