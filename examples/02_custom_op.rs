//! An operation of one's own: its forward pass, its backward rule, and the check of the rule over
//! generated inputs, shapes with empty axes included.
//!
//! The op is softplus, y = ln(1 + e^x). Needs the feature that brings `dpq::strategies`:
//! `cargo run --example 02_custom_op --features proptest`.

use dpq::strategies::{Case, tensors};
use dpq::{Context, Op, Real, Tape, Tensor, Var, gradcheck};

/// y = ln(1 + e^x), as max(x, 0) + ln(1 + e^-|x|), which does not overflow
fn softplus<T: Real>(x: Var<'_, T>) -> Var<'_, T> {
    let f = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let value = x.value();
    let y = Tensor::from_fn(value.shape(), |i| T::from_f64(f(value.data()[i].to_f64())));
    let [y] = x.tape().record(Softplus, &[x], [y]);
    y
}

/// What the rule needs beyond inputs and outputs would be fields here.
struct Softplus;
impl<T: Real> Op<T> for Softplus {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx = dy / (1 + e^-x)
        let (x, Some(dy)) = (ctx.input(0), ctx.output_grad(0)) else { return };
        let slope = |x: f64| 1.0 / (1.0 + (-x).exp());
        let dx = |i: usize| dy.data()[i] * T::from_f64(slope(x.data()[i].to_f64()));
        ctx.add(0, Tensor::from_fn(x.shape(), dx));
    }
}

fn main() -> dpq::Result<()> {
    // The rule against differences of the forward pass, over random matrices.
    let case = Case::new("softplus", tensors(2), |x| gradcheck([x], |[x]| softplus(x)));
    let outcome = case.run(256);
    println!(
        "{:<36} {:>6} {:>12} {:>8} {:>10}",
        "case", "inputs", "worst error", "observed", "time"
    );
    println!("{outcome}");
    outcome.assert_ok();
    assert!(outcome.ops.contains("Softplus"));

    // Within an expression that uses it twice, its input beside it: shares must add up.
    let twice = Case::new("x softplus(softplus(x))", tensors(2), |x| {
        gradcheck([x], |[x]| x * softplus(softplus(x)))
    });
    let outcome = twice.run(64);
    println!("{outcome}");
    outcome.assert_ok();

    // Generic over the two number types, it is an op like any other; a tape prints it by its name.
    let tape = Tape::new();
    let x = tape.leaf(Tensor::from([-1000.0_f32, 0.0, 1000.0]));
    let y = softplus(x);
    let grads = tape.backward(y.sum())?;
    println!("\n{}", tape.table(Some(&grads)));
    assert_eq!(y.value().data(), [0.0, std::f32::consts::LN_2, 1000.0]);
    assert_eq!(grads.dense(x).data(), [0.0, 0.5, 1.0]);
    Ok(())
}
