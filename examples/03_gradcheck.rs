//! What the gradient checker finds, what it refuses to judge, and how it checks a gradient that is
//! no derivative of the value.
//!
//! First an op with mistakes planted in its rule, down to one part in a million; then a kink; then a
//! straight-through estimator, whose plain differences are exactly 0, and a mistake in one.

use dpq::{Context, Gradcheck, Op, Tape, Tensor, Var, gradcheck};

/// y = x^3, its gradient off by a factor.
fn cube(x: Var<'_, f64>, factor: f64) -> Var<'_, f64> {
    let v = x.value();
    let y = Tensor::from_fn(v.shape(), |i| v.data()[i].powi(3));
    let [y] = x.tape().record(Cube { factor }, &[x], [y]);
    y
}

struct Cube {
    factor: f64,
}
impl Op<f64> for Cube {
    fn backward(&self, ctx: &mut Context<'_, f64>) {
        // dx = 3 x^2 dy, if the factor is 1
        let (x, Some(dy)) = (ctx.input(0), ctx.output_grad(0)) else { return };
        let dx = |i: usize| self.factor * 3.0 * x.data()[i].powi(2) * dy.data()[i];
        ctx.add(0, Tensor::from_fn(x.shape(), dx));
    }
}

/// y = sign(x) with the gradient of a tanh, as one op, its gradient off by a factor.
///
/// `fused` tells the checker what this op's gradient is the derivative of: the same in primitive
/// ops, of which it holds the stopped part at the base point.
fn sign(x: Var<'_, f64>, factor: f64) -> Var<'_, f64> {
    let v = x.value();
    let hard = Tensor::from_fn(v.shape(), |i| v.data()[i].signum());
    let composed = || x.tanh().straight_through(hard.clone());
    x.tape().fused(composed, || {
        let [y] = x.tape().record(Sign { factor }, &[x], [hard.clone()]);
        y
    })
}

struct Sign {
    factor: f64,
}
impl Op<f64> for Sign {
    fn backward(&self, ctx: &mut Context<'_, f64>) {
        // dx = (1 - tanh(x)^2) dy, if the factor is 1
        let (x, Some(dy)) = (ctx.input(0), ctx.output_grad(0)) else { return };
        let dx = |i: usize| self.factor * (1.0 - x.data()[i].tanh().powi(2)) * dy.data()[i];
        ctx.add(0, Tensor::from_fn(x.shape(), dx));
    }
}

fn main() {
    let x = || Tensor::from([0.3, -1.2, 2.0]);

    println!("1. x^3 with mistakes planted in its rule\n");
    let right = gradcheck([x()], |[x]| cube(x, 1.0)).assert_ok();
    println!("the right rule:\n  {right}");
    let planted = [
        ("a wrong sign", -1.0),
        ("a missing factor 3", 1.0 / 3.0),
        ("off by 1e-4", 1.0 + 1e-4),
        ("off by 1e-6", 1.0 + 1e-6),
    ];
    for (what, factor) in planted {
        let report = gradcheck([x()], |[x]| cube(x, factor));
        println!("{what}:\n  {report}");
        assert!(report.error() > report.tolerance && report.kinks.is_empty());
    }
    // What is smaller than the tolerance passes, and the tolerance can be set.
    let off = 1.0 + 5e-8;
    let strict = Gradcheck { tolerance: 1e-8, ..Gradcheck::default() };
    let found = !strict.run([x()], |[x]| cube(x, off)).is_ok();
    let missed = gradcheck([x()], |[x]| cube(x, off)).is_ok();
    println!("off by 5e-8: found at tolerance 1e-7 {}, at 1e-8 {found}", !missed);
    assert!(missed && found && strict.run([x()], |[x]| cube(x, 1.0)).is_ok());

    println!("\n2. relu at 0 has no derivative: the report says so, and calls nothing wrong\n");
    let report = gradcheck([Tensor::from([-1.0, 0.0, 2.0])], |[x]| x.relu());
    println!("{report}");
    assert!(report.kinks.len() == 1 && report.error() <= report.tolerance && !report.is_ok());
    // A kink within the step, here 2e-4, is no excuse: the step shrinks until it fits beside it.
    let beside = gradcheck([Tensor::from([-1e-4, 1e-4, 2.0])], |[x]| x.relu()).assert_ok();
    println!("\n1e-4 beside the kink:\n{beside}");

    println!("\n3. A sign with the gradient of a tanh\n");
    let (tape, h) = (Tape::new(), 1e-4);
    let at = |h: f64| tape.leaf(Tensor::from_fn([3], |i| x().data()[i] + h));
    let [up, down] = [h, -h].map(|h| sign(at(h), 1.0).value());
    let plain: Vec<f64> =
        up.data().iter().zip(down.data()).map(|(up, down)| (up - down) / (2.0 * h)).collect();
    let leaf = at(0.0);
    let estimate = tape.backward(sign(leaf, 1.0).sum()).expect("finite").dense(leaf);
    println!("plain differences of the value {plain:?}");
    println!("the estimator's gradient       {:.4?}", estimate.data());
    assert!(plain.iter().all(|slope| *slope == 0.0) && estimate.data().iter().all(|g| *g > 0.0));

    println!("\nThe checker differences tanh(x) + [sign(x0) - tanh(x0)], x0 the base point:");
    println!("  {}", gradcheck([x()], |[x]| sign(x, 1.0)).assert_ok());
    let wrong = gradcheck([x()], |[x]| sign(x, 1.0 + 1e-6));
    println!("off by 1e-6:\n  {wrong}");
    assert!(wrong.error() > wrong.tolerance);
}
