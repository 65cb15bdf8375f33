//! How long does a check take, and down to which error does it find a wrong rule?
//!
//! `cargo bench --bench gradcheck` prints a JSON line for each function and planted error;
//! `benches/peers/gradcheck.py` puts other checkers beside this one.

mod common;

use common::Options;
use dpq::gradcheck::Report;
use dpq::{
    Context, DpqConfig, DpqEmbedding, Embedding, Init, Op, Params, Tensor, Var, gradcheck,
    gradcheck_params,
};

/// y = x, with a gradient that is `factor` times too large.
fn off(x: Var<'_, f64>, factor: f64) -> Var<'_, f64> {
    let [y] = x.tape().record(Off { factor }, &[x], [x.value()]);
    y
}

struct Off {
    factor: f64,
}
impl Op<f64> for Off {
    fn backward(&self, ctx: &mut Context<'_, f64>) {
        let Some(dy) = ctx.output_grad(0) else { return };
        ctx.add(0, Tensor::from_fn(dy.shape(), |i| self.factor * dy.data()[i]));
    }
}

fn wave(shape: [usize; 2]) -> Tensor<f64> {
    Tensor::from_fn(shape, |i| ((i + 1) as f64 * 0.7).sin())
}

/// x^3 on 4 x 5 elements.
fn cube(factor: f64) -> Report {
    gradcheck([wave([4, 5])], |[x]| off(x * x * x, factor))
}

/// sign(x) with the gradient of tanh.
fn sign(factor: f64) -> Report {
    gradcheck([wave([4, 5])], |[x]| {
        let v = x.value();
        let hard = Tensor::from_fn(v.shape(), |i| v.data()[i].signum());
        off(x.tanh().straight_through(hard), factor)
    })
}

/// A DPQ-SX embedding in training, batch norm included: 6 tokens, 2 groups of 3, 4 codes.
fn softmax_form(factor: f64) -> Report {
    let mut params = Params::new();
    let embedding = DpqEmbedding::new(
        params.scope("embedding").init(Init::Uniform(1.0)),
        5,
        6,
        DpqConfig::sx(2, 4),
    )
    .expect("a sound configuration");
    gradcheck_params(&params, |p| {
        let rows = embedding.forward(p, &[0, 3, 1, 3, 4, 2]).rows;
        (off(rows, factor) * p.tape.constant(wave([6, 6]))).sum()
    })
}

fn main() {
    let options = Options::parse();
    type Check = fn(f64) -> Report;
    let functions =
        [("cube", cube as Check), ("sign, straight through", sign), ("dpq sx", softmax_form)];
    for (name, check) in functions.into_iter().filter(|(name, _)| options.wants(name)) {
        for planted in [0.0, 1e-4, 1e-5, 1e-6] {
            let mut reports = [check(1.0 + planted)];
            let times = common::in_turn(options.repeats, &mut reports, |report| {
                *report = check(1.0 + planted);
            });
            let median = common::median(&times[0]);
            println!(
                "{{\"bench\":\"gradcheck\",\"what\":\"{name}\",\"planted\":{planted:e},\"accepted\":{},\"error\":{:e},\"median_ms\":{:.3}}}",
                reports[0].is_ok(),
                reports[0].error(),
                1e3 * median,
            );
        }
    }
}
