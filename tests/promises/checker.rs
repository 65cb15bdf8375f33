//! What the gradient checker says, and that its "ok" means something.

use crate::refusal::refusal;
use dpq::gradcheck::{Report, Verdict, hessian_vector, rule};
use dpq::nn::Linear;
use dpq::{
    Context, Gradcheck, Init, Op, Params, Tape, Tensor, Var, gradcheck, gradcheck_params, rng,
};
use std::cell::Cell;

fn wave(shape: &[usize]) -> Tensor<f64> {
    Tensor::from_fn(shape, |i| ((i as f64 + 1.0) * 1.7).sin())
}

/// What is done to the gradients of w and x.
type Change = fn(&mut [Vec<f64>; 2]);

/// y = w x, its gradients changed by `change`.
fn product(change: Change) -> Report {
    let multiply = |a: &[f64], b: &[f64], at: &dyn Fn(usize, usize, usize) -> (usize, usize)| {
        let sum = |i: usize| (0..3).map(|k| at(i / 3, i % 3, k)).map(|(p, q)| a[p] * b[q]).sum();
        (0..9).map(sum).collect::<Vec<f64>>()
    };
    rule(
        [wave(&[3, 3]), Tensor::from_fn([3, 3], |i| 0.3 + (i as f64).cos())],
        |[w, x]| [multiply(w, x, &|r, c, k| (r * 3 + k, k * 3 + c))],
        |[w, x], [dy]| {
            let dw = multiply(dy, x, &|r, c, k| (r * 3 + k, c * 3 + k));
            let dx = multiply(w, dy, &|r, c, k| (k * 3 + r, k * 3 + c));
            let mut gradients = [dw, dx];
            change(&mut gradients);
            gradients
        },
    )
}

#[test]
fn likely_causes_are_named() {
    product(|_| ()).assert_ok();
    let causes: [(Change, &str); 10] = [
        (|d| d[0].iter_mut().for_each(|g| *g *= 2.0), "factor of 2"),
        (|d| d[0].iter_mut().for_each(|g| *g = -*g), "the sign is wrong"),
        (|d| d[0].iter_mut().for_each(|g| *g /= 9.0), "a mean where the function has a sum"),
        (|d| d[0].iter_mut().for_each(|g| *g *= 9.0), "a sum where the function has a mean"),
        (|d| d[0].fill(0.0), "no gradient at all"),
        (
            |d| d[0] = (0..9).map(|i| d[0][i % 3 * 3 + i / 3]).collect(),
            "the gradient is transposed",
        ),
        (|d| d[0].rotate_left(2), "the gradient of the one 2 further on"),
        (|d| d[0][..4].iter_mut().for_each(|g| *g *= 2.0), "counted twice"),
        (|d| d[0][..4].iter_mut().for_each(|g| *g *= -1.0), "some signs are wrong"),
        (|d| d[0].iter_mut().for_each(|g| *g *= 1.0001), "1.0001"),
    ];
    for (change, cause) in causes {
        let report = product(change);
        assert_eq!(report.verdict(), Verdict::Differ);
        assert!(report.to_string().contains(cause), "{cause}: {report}");
        let worst = report.worst.as_ref().expect("something was compared");
        assert!(worst.bend.is_none() && report.error() == worst.error && worst.error > 1e-5);
        assert!(worst.input == "input0" && worst.index.is_some() && worst.bar < 1e-8, "{report}");
    }
    // A sum of six, as a mean; and a factor that is no length.
    let sums = |factor: f64| {
        rule(
            [wave(&[2, 3])],
            |[x]| [(0..4).map(|k| x.iter().map(|x| (k as f64 + 1.0) * x).sum()).collect()],
            move |_, [dy]| {
                let slope = (0..4).map(|k| (k as f64 + 1.0) * dy[k]).sum::<f64>();
                [vec![factor * slope; 6]]
            },
        )
    };
    assert!(sums(1.0 / 6.0).to_string().contains("1/6 of what it should be"));
    assert!(sums(0.25).to_string().contains("1/4 of what it should be"));
    assert!(sums(1.00001).to_string().contains("1.000010000 times"), "{}", sums(1.00001));
    // A bias added to all rows, whose gradient is that of the last row.
    let broadcast = rule(
        [wave(&[4, 3]), wave(&[3])],
        |[x, b]| [(0..12).map(|i| x[i] + b[i % 3]).collect()],
        |_, [dy]| [dy.to_vec(), dy[9..].to_vec()],
    );
    assert!(broadcast.to_string().contains("a sum over a broadcast axis"), "{broadcast}");
    // y = a x, with a dy for the gradient in place of a' dy.
    let a = wave(&[3, 3]);
    let times =
        |x: &[f64]| a.rows().map(|row| row.iter().zip(x).map(|(a, x)| a * x).sum()).collect();
    let transposed = rule([wave(&[3])], |[x]| [times(x)], |_, [dy]| [times(dy)]);
    assert!(transposed.to_string().contains("the Jacobian is transposed"), "{transposed}");
    assert!(transposed.program().contains("check.rule([x0]"), "{transposed}");
}

#[test]
fn nothing_observed_is_never_ok() {
    let softmax = gradcheck([wave(&[2, 3])], |[x]| x.softmax().sum());
    assert_eq!(softmax.verdict(), Verdict::NotObserved, "{softmax}");
    assert!(softmax.unobserved.is_some());
    assert!(softmax.to_string().contains("(y * w).sum()"), "{softmax}");
    let w = Tensor::from([[0.3, -0.7, 1.1], [0.2, 0.9, -0.5]]);
    gradcheck([wave(&[2, 3])], |[x]| (x.softmax() * x.tape().constant(w.clone())).sum())
        .assert_ok();

    let seen = gradcheck([wave(&[2, 3])], |[x]| x.tanh()).assert_ok();
    assert!(
        seen.controls.is_empty()
            && seen.unobserved.is_none()
            && !seen.to_string().contains("let x0"),
        "{seen}"
    );
    let dead = gradcheck([Tensor::from([-1.0, -2.0])], |[x]| x.relu());
    assert_eq!(dead.verdict(), Verdict::NotObserved, "{dead}");
    assert!(dead.flat == 4 && dead.unobserved.is_none());

    let empty = gradcheck([Tensor::zeros([0, 3])], |[x]| x.tanh());
    assert_eq!(empty.verdict(), Verdict::NotObserved, "{empty}");
    assert!(
        empty.to_string().starts_with("NOT OBSERVED: there was nothing to compare\n"),
        "{empty}"
    );
    let unused = gradcheck([wave(&[2])], |[x]| x.tape().constant(wave(&[2])));
    assert_eq!(unused.verdict(), Verdict::NotObserved, "{unused}");
    assert!(unused.to_string().contains("Does the closure use what it is given?"));
    // Flat for one input and not for another is a derivative of 0 that was seen.
    gradcheck([wave(&[2]), wave(&[2])], |[x, y]| x.stop_gradient() * y).assert_ok();
}

#[test]
fn a_closure_that_is_not_a_function_is_told_apart() {
    let calls = Cell::new(0);
    let count = || calls.replace(calls.get() + 1) as f64;
    let drifts = rule(
        [wave(&[2])],
        |[x]| [vec![x[0] * x[1] + count()]],
        |[x], [dy]| [vec![x[1] * dy[0], x[0] * dy[0]]],
    );
    assert_eq!(drifts.verdict(), Verdict::Unsteady);
    assert!(drifts.to_string().contains("another value the second time"), "{drifts}");
    let drifts = rule(
        [wave(&[2])],
        |[x]| [vec![x[0] * x[1]]],
        |[x], [dy]| [vec![x[1] * dy[0] + 1e-12 * count(), x[0] * dy[0]]],
    );
    assert!(drifts.to_string().contains("other gradients the second time"), "{drifts}");
    // The pass that is differentiated computes something else than the one that is evaluated.
    let other = gradcheck([wave(&[2])], |[x]| x * if x.tape().is_replaying() { 2.0 } else { 1.0 });
    assert_eq!(other.verdict(), Verdict::Unsteady, "{other}");

    let fails =
        rule([wave(&[2])], |_| Err::<[Vec<f64>; 1], _>("no memory"), |[x], [_]| [x.to_vec()]);
    assert_eq!(fails.verdict(), Verdict::Fault);
    assert!(fails.to_string().contains("no memory"), "{fails}");
    let short = rule([wave(&[2])], |[x]| [x.to_vec()], |_, [dy]| [dy[..1].to_vec()]);
    assert!(short.to_string().contains("has 1 elements, and input0 2"), "{short}");
}

#[test]
fn a_nan_anywhere_fails() {
    let value = rule([wave(&[2])], |[x]| [vec![x[0], f64::NAN]], |_, [dy]| [dy.to_vec()]);
    assert_eq!(value.verdict(), Verdict::Fault, "{value}");
    let gradient = rule([wave(&[2])], |[x]| [x.to_vec()], |_, [dy]| [vec![dy[0], f64::NAN]]);
    assert_eq!(gradient.verdict(), Verdict::Differ, "{gradient}");
    let large = Tensor::from_fn([200], |i| i as f64);
    let gradient = rule([large], |[x]| [x.to_vec()], |_, [dy]| [vec![f64::NAN; dy.len()]]);
    assert_eq!(gradient.verdict(), Verdict::Differ, "{gradient}");
    // Beside the point a step may leave the domain: others are taken.
    gradcheck([Tensor::from([1e-5, 1.0])], |[x]| x.ln()).assert_ok();
}

#[test]
fn tolerances_that_cannot_fail_are_refused() {
    for tolerance in [0.5, 1.0, 1e6] {
        let check = Gradcheck { tolerance, ..Gradcheck::default() };
        let message = refusal(|| check.run([Tensor::scalar(1.0)], |[x]| x));
        assert!(message.contains("at which a doubled gradient passes"), "{message}");
    }
}

#[test]
fn damaged_rules_are_found_by_the_checks_control() {
    let check = Gradcheck { control: true, ..Gradcheck::default() };
    let report = check.run([wave(&[3, 3]), wave(&[3, 3])], |[x, w]| x.matmul(w).tanh()).assert_ok();
    assert_eq!(report.controls.len(), 3);
    assert!(report.controls.iter().all(|(_, found)| *found), "{:?}", report.controls);
    // A symmetric Jacobian is its own transpose.
    assert_eq!(check.run([wave(&[4])], |[x]| x.tanh()).assert_ok().controls.len(), 2);
    // One that is too large to take whole is not transposed.
    let a = wave(&[150, 150]);
    let large = check.run([wave(&[1, 150])], |[x]| x.matmul(x.tape().constant(a.clone())));
    assert_eq!(large.assert_ok().controls.len(), 2);
    // So large that it is checked by projections.
    let report =
        check.run([Tensor::uniform([400], 1.0, &mut rng::stream(0, "x", 0))], |[x]| x.exp());
    assert!(report.assert_ok().controls.iter().all(|(_, found)| *found));
}

#[test]
fn a_control_that_is_not_found_fails_the_check() {
    let x = Tensor::uniform([400], 1.0, &mut rng::stream(0, "x", 0));
    let check = Gradcheck { tolerance: 0.4, control: true, ..Gradcheck::default() };
    let report = check.run([x], |[x]| x.exp());
    assert_eq!(report.verdict(), Verdict::NotObserved, "{report}");
    let told = "a damaged rule passes, too: the largest term dropped";
    assert!(report.to_string().contains(told), "{report}");
    assert!(!report.to_string().contains("let x0"), "400 numbers are not printed");
}

#[test]
fn large_jacobians_are_checked_by_projections_of_every_input() {
    let large = || wave(&[150]);
    assert_eq!(gradcheck([large()], |[x]| x.tanh()).assert_ok().compared, 12);
    assert_eq!(gradcheck([large(), large()], |[x, y]| x * y).assert_ok().compared, 12);
    let five = [large(), large(), large(), large(), large()];
    let report = gradcheck(five, |[a, b, c, d, e]| a * b + c * d * e).assert_ok();
    assert_eq!(report.compared, 15);
    // An input whose gradients are tiny beside another's is seen, too.
    let off =
        rule([large(), large()], |[x, y]| [(0..150).map(|i| x[i] + 1e-9 * y[i]).collect()], {
            |_, [dy]| [dy.to_vec(), dy.iter().map(|dy| 1.01e-9 * dy).collect()]
        });
    assert!(!off.is_ok(), "{off}");
}

#[test]
fn error_bars_hold_the_rounding_of_outputs_and_inputs() {
    let report = gradcheck([Tensor::from([1.0])], |[x]| x * 1.0).assert_ok();
    let bar = report.worst.expect("something was compared").bar;
    let rounding = f64::EPSILON / 2e-4;
    assert!((9.9 * rounding..20.0 * rounding).contains(&bar), "{bar:e} of {rounding:e}");
}

#[test]
fn entries_of_tape_closures_are_named_by_place() {
    let report = gradcheck([wave(&[2, 2])], |[x]| {
        let [y] = x.tape().record(
            Branches { factor: 2.0 },
            &[x, x],
            [Tensor::from_fn([2, 2], |i| 1.5 * x.value().data()[i].powi(2))],
        );
        y
    });
    assert!(report.to_string().contains("d output[0, 0] / d input0[0, 0]"), "{report}");
}

#[test]
fn kinks_are_named_at_the_point_and_passed_by_near_it() {
    let relu = |x: f64| gradcheck([Tensor::from([x, 1.0])], |[x]| x.relu());
    let at = relu(0.0);
    assert!(at.verdict() == Verdict::Kink && at.kinks[0].index == Some(vec![0]), "{at}");
    for near in [1e-4, 1e-5, 1e-6, -3e-5] {
        let entry = relu(near).assert_ok().worst.expect("something was compared");
        assert!(entry.step < 2e-4, "{entry}");
    }
    // A wrong rule beside a kink: the report says how near it is.
    let beside =
        rule([Tensor::from([3e-5_f64, 1.0])], |[x]| [x.iter().map(|x| x.max(0.0)).collect()], {
            |_, [dy]| [vec![2.0 * dy[0], dy[1]]]
        });
    let bend = beside.worst.as_ref().and_then(|entry| entry.bend).expect("a kink is near");
    assert!(beside.verdict() == Verdict::Differ && (1e-5..3e-4).contains(&bend), "{beside}");
    // Among 10,000 elements, by projections.
    let mut x = Tensor::uniform([10_000], 2.0, &mut rng::stream(0, "x", 0));
    x.data_mut()[77] = 0.0;
    let report = gradcheck([x], |[x]| x.relu());
    assert_eq!(report.verdict(), Verdict::Kink, "{report}");
}

#[test]
fn a_net_of_relus_passes() {
    for seed in 0..10 {
        let mut params = Params::seeded(seed);
        let layers = [("first", 8, 64), ("second", 64, 32), ("third", 32, 4)];
        let layers = layers.map(|(name, from, to)| {
            Linear::new(params.scope(name).init(Init::Uniform(0.5)), from, to)
        });
        let rows = Tensor::uniform([40, 8], 1.0, &mut rng::stream(seed, "rows", 0));
        let weights = wave(&[40, 4]);
        gradcheck_params(&params, |p| {
            let mut x = p.tape.constant(rows.clone());
            for layer in &layers {
                x = layer.forward(p, x).relu();
            }
            (x * p.tape.constant(weights.clone())).sum()
        })
        .assert_ok();
    }
}

#[test]
fn rounding_of_large_numbers_inside_is_seen() {
    // sin x + 10^6 - 10^6 keeps ten digits: no derivative to 1e-9, but one to 1e-7 with a large step.
    let hidden = |seed: u64, offset: f64, tolerance: f64, factor: f64| {
        let check = Gradcheck { tolerance, ..Gradcheck::default() };
        check.rule(
            [Tensor::<f64>::uniform([5], 1.5, &mut rng::stream(seed, "x", 0))],
            |[x]| [x.iter().map(|x| (x.sin() + offset) - offset).collect()],
            move |[x], [dy]| [x.iter().zip(dy).map(|(x, dy)| factor * x.cos() * dy).collect()],
        )
    };
    let seen = [(1e3, 1e-9), (1e6, 1e-7), (1e8, 1e-4)];
    for (offset, tolerance) in seen {
        for seed in 0..30 {
            let right = hidden(seed, offset, tolerance, 1.0);
            assert_eq!(right.verdict(), Verdict::Agree, "{offset} {right}");
            let wrong = hidden(seed, offset, tolerance, 1.01);
            assert!(wrong.verdict() == Verdict::Differ && wrong.differing == 5, "{offset} {wrong}");
            let unseen = hidden(seed, offset, tolerance * 1e-3, 1.0);
            assert_eq!(unseen.verdict(), Verdict::NotObserved, "{offset} {unseen}");
            assert!(unseen.to_string().contains(" First at d output["), "{unseen}");
        }
    }
}

#[test]
fn one_of_a_hundred_derivatives_may_stay_unseen() {
    let check = |offset: f64, hidden: usize| {
        let round = move |i: usize, x: f64| if i < hidden { (x + offset) - offset } else { x };
        rule(
            [wave(&[10])],
            move |[x]| [x.iter().enumerate().map(|(i, &x)| round(i, x)).collect()],
            |_, [dy]| [dy.to_vec()],
        )
    };
    let one = check(1e10, 1).assert_ok();
    assert!((one.compared, one.observed) == (100, 99) && one.unobserved.is_some(), "{one}");
    assert_eq!(check(1e10, 2).verdict(), Verdict::NotObserved);
}

#[test]
fn rounding_inside_is_seen_in_projections() {
    // 200 outputs of 200 inputs are too many to take one by one.
    let hidden = |tolerance: f64| {
        Gradcheck { tolerance, ..Gradcheck::default() }.rule(
            [wave(&[200])],
            |[x]| [x.iter().map(|x| (x.sin() + 1e6) - 1e6).collect()],
            |[x], [dy]| [x.iter().zip(dy).map(|(x, dy)| x.cos() * dy).collect()],
        )
    };
    hidden(1e-6).assert_ok();
    for tolerance in [1e-9, 1e-10, 1e-11, 1e-12] {
        let unseen = hidden(tolerance);
        assert_eq!(unseen.verdict(), Verdict::NotObserved, "{unseen}");
        assert!(unseen.compared < 20, "{unseen}");
    }
}

/// y = ln(sum of e^x) in single precision.
fn log_sum(x: &[f32]) -> f32 {
    let top = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    top + x.iter().map(|x| (x - top).exp()).sum::<f32>().ln()
}

#[test]
fn rules_in_single_precision_pass_and_one_that_is_off_is_found() {
    let check = Gradcheck { tolerance: 1e-2, ..Gradcheck::single_precision() };
    let Gradcheck { tolerance, step, rounding, .. } = Gradcheck::single_precision();
    assert_eq!([tolerance, step, rounding], [1e-3, 2e-2, f64::from(f32::EPSILON)]);
    for seed in 0..200 {
        let x = Tensor::uniform([2, 4], 1.5, &mut rng::stream(seed, "x", 0));
        let of = |factor: f32| {
            let forward = |[x]: [&[f32]; 1]| [x.chunks(4).map(log_sum).collect()];
            check.rule([x.clone()], forward, |[x], [dy]| {
                let dx = |i: usize| {
                    let row = i / 4;
                    factor * dy[row] * (x[i] - log_sum(&x[4 * row..][..4])).exp()
                };
                [(0..8).map(dx).collect()]
            })
        };
        of(1.0).assert_ok();
        assert_eq!(of(1.03).verdict(), Verdict::Differ, "{seed}");
    }
}

#[test]
fn small_and_large_scales_are_seen() {
    for size in [1e-12, 1e-6, 1.0, 1e6, 1e12] {
        let scaled = |factor: f64| {
            let x = Tensor::from_fn([5], |i| size * (i as f64 + 0.5).sin());
            rule(
                [x],
                |[x]| [x.iter().map(|x| x * x).collect()],
                |[x], [dy]| [x.iter().zip(dy).map(|(x, dy)| factor * 2.0 * x * dy).collect()],
            )
        };
        scaled(1.0).assert_ok();
        assert_eq!(scaled(1.0 + 1e-6).verdict(), Verdict::Differ, "{size}");
    }
}

#[test]
fn a_large_value_beside_it_does_not_hide_a_planted_error() {
    let cube = |off: f64, beside: f64| {
        let x = Tensor::<f64>::from([0.3, -1.2, 2.0]);
        rule(
            [x],
            |[x]| [x.iter().map(|x| x.powi(3) + beside).collect()],
            |[x], [dy]| [x.iter().zip(dy).map(|(x, dy)| 3.0 * x * x * (1.0 + off) * dy).collect()],
        )
    };
    for (off, beside) in [(1e-6, 0.0), (1e-6, 1.0), (1e-4, 1e3), (1e-3, 1e6)] {
        assert_ne!(cube(0.0, beside).verdict(), Verdict::Differ, "the right rule beside {beside}");
        assert_eq!(cube(off, beside).verdict(), Verdict::Differ, "{off} beside {beside}");
    }
    // So large that nothing can be seen.
    assert_eq!(cube(0.0, 1e12).verdict(), Verdict::NotObserved);
}

#[test]
fn several_outputs_are_named_by_number() {
    let report = rule(
        [wave(&[2])],
        |[x]| [vec![x[0] + x[1]], vec![x[0] * x[1], x[0]]],
        |[x], [a, b]| [vec![a[0] + x[1] * b[0] + b[1], a[0] + 1.1 * x[0] * b[0]]],
    );
    assert!(report.to_string().contains("d output1[0] / d input0[1]"), "{report}");
}

#[test]
fn second_derivatives() {
    // f = sum of (x A x), H = A + A'
    let a = wave(&[3, 3]);
    fn f<'t>(x: Var<'t, f64>, a: &Tensor<f64>) -> Var<'t, f64> {
        (x * x.matmul(x.tape().constant(a.clone()))).sum()
    }
    let (x, v) = (Tensor::from([[0.3, -1.0, 2.0]]), Tensor::from([[1.0, 0.5, -0.2]]));
    let ([hv], bar) = hessian_vector([x.clone()], [v.clone()], |[x]| f(x, &a)).unwrap();
    for i in 0..3 {
        let entry = |j: usize| a.data()[3 * i + j] + a.data()[3 * j + i];
        let right: f64 = (0..3).map(|j| entry(j) * v.data()[j]).sum();
        assert!(
            (hv.data()[i] - right).abs() <= bar && bar < 1e-8,
            "{} {right} {bar}",
            hv.data()[i]
        );
    }
    Gradcheck::default().symmetry([x], |[x]| f(x, &a)).assert_ok();
    // Counted in units of the input's size, 1000; the bar is of the product itself.
    let large = Tensor::from([[300.0, -1000.0, 200.0]]);
    let (_, bar) = hessian_vector([large], [v], |[x]| f(x, &a)).unwrap();
    assert!(bar < 1e-6, "{bar}");
}

/// y = x w + w w / 2, element by element, the gradient of x changed by a factor.
struct Branches {
    factor: f64,
}
impl Op<f64> for Branches {
    fn backward(&self, ctx: &mut Context<'_, f64>) {
        let (x, w, dy) = (ctx.input(0), ctx.input(1), ctx.output_grad(0).expect("used"));
        let of = |f: &dyn Fn(usize) -> f64| Tensor::from_fn(x.shape(), |i| f(i) * dy.data()[i]);
        let dx = of(&|i| self.factor * w.data()[i]);
        let dw = of(&|i| x.data()[i] + w.data()[i]);
        ctx.add(0, dx);
        ctx.add(1, dw);
    }
}

#[test]
fn gradients_of_no_function_are_found_by_symmetry() {
    let check = |factor: f64| {
        Gradcheck::default().symmetry([wave(&[4]), wave(&[4])], |[x, w]| {
            let (a, b) = (x.value(), w.value());
            let y = |i: usize| a.data()[i] * b.data()[i] + b.data()[i].powi(2) / 2.0;
            let y = Tensor::from_fn(a.shape(), y);
            let [y] = x.tape().record(Branches { factor }, &[x, w], [y]);
            y.tanh().sum()
        })
    };
    check(1.0).assert_ok();
    assert_eq!(check(1.0 + 1e-4).verdict(), Verdict::Differ);
    // Nothing is said of what both sides' rounding hides, or of a Hessian that is 0.
    for seed in 0..20 {
        let fine = Gradcheck { tolerance: 1e-12, seed, ..Gradcheck::default() };
        let hidden = fine.symmetry([wave(&[4])], |[x]| (x.tanh() * x.exp()).sum());
        assert_eq!(hidden.verdict(), Verdict::NotObserved, "{hidden}");
    }
    let linear = Gradcheck::default().symmetry([wave(&[4])], |[x]| x.sum()).to_string();
    assert!(linear.contains("does not move at all"), "{linear}");
    let message = refusal(|| Gradcheck::default().symmetry([wave(&[2])], |[x]| x));
    assert!(message.contains("expected a scalar"), "{message}");
}

#[test]
fn a_report_prints_a_program_that_repeats_it() {
    let report = gradcheck([Tensor::from([0.0, 1.5])], |[x]| x.relu());
    let program = report.program();
    assert!(program.starts_with("let x0 = Tensor::new([2], vec![0.0, 1.5])?;"), "{program}");
    assert!(program.contains("check.run([x0], /* the closure at tests/promises/checker.rs:"));
    assert!(report.to_string().ends_with(&program));
    let mut params = Params::seeded(0);
    let weights = params.add("weights", Tensor::from([0.0, 1.0]));
    let program = gradcheck_params(&params, |p| p[weights].relu()).program();
    assert!(program.contains("check.run_params(&params /* with x0 */"), "{program}");
    // As an error it goes through `?`.
    let through = || -> Result<(), Box<dyn std::error::Error>> {
        gradcheck([Tensor::from([0.0])], |[x]| x.relu()).ok()?;
        Ok(())
    };
    assert!(through().unwrap_err().to_string().contains("not differentiable here"));
}

#[test]
fn a_check_leaves_no_trace_on_another_tape() {
    let tape = Tape::new();
    let y = tape.leaf(Tensor::from([1.0]));
    gradcheck([Tensor::from([0.5])], |[x]| x.tanh()).assert_ok();
    assert_eq!(tape.backward(y.sum()).unwrap().dense(y).data(), [1.0]);
}
