//! Rules of everyday ops and of DPQ's options, right and wrong, as ops on a tape.

use super::{Planted, wave};
use dpq::ops::one_hot;
use dpq::pq::{Normalization, Options, Quantized, Quantizer, Score, sx_with, vq_with};
use dpq::{Context, DpqConfig, Init, Op, Params, Tensor, Var};

pub fn rules() -> Vec<Planted> {
    [mistakes_in_ops(), right_ops(), estimators(), options(), quantizers()]
        .into_iter()
        .flatten()
        .collect()
}

/// An op whose value is another's and whose rule is a function.
struct Rule(Mistake);
impl Op<f64> for Rule {
    fn backward(&self, ctx: &mut Context<'_, f64>) {
        (self.0)(ctx);
    }
}

fn with_rule<'t>(inputs: &[Var<'t, f64>], value: Tensor<f64>, rule: Mistake) -> Var<'t, f64> {
    let [y] = inputs[0].tape().record(Rule(rule), inputs, [value]);
    y
}

/// A rule that is put in the place of the right one.
type Mistake = fn(&mut Context<'_, f64>);

/// y = x with a wrong gradient, so that what leads to x is planted with it.
fn mistaken<'t>(x: Var<'t, f64>, rule: Mistake) -> Var<'t, f64> {
    with_rule(&[x], x.value(), rule)
}

/// The gradient of input 0, element by element from (x, y, dy).
fn each(ctx: &mut Context<'_, f64>, f: impl Fn(f64, f64, f64) -> f64) {
    let (x, y, dy) = (ctx.input(0), ctx.output(0), ctx.output_grad(0).expect("used"));
    let dx = Tensor::from_fn(x.shape(), |i| f(x.data()[i], y.data()[i], dy.data()[i]));
    ctx.add(0, dx);
}

/// The sum over j of a\[i, j\] b\[i, j\], for the row of element i.
fn along(a: &Tensor<f64>, b: &Tensor<f64>, i: usize) -> f64 {
    let width = a.shape()[1];
    let row = |x: &Tensor<f64>| x.data()[i / width * width..][..width].to_vec();
    row(a).iter().zip(row(b)).map(|(a, b)| a * b).sum()
}

fn mistakes_in_ops() -> Vec<Planted> {
    let square = || vec![wave(&[3, 3])];
    let wrong =
        |name: &str, inputs, f: fn(&[Var<'_, f64>]) -> Vec<f64>, shape: Vec<usize>, rule| {
            Planted::of_vars(name, false, inputs, move |x| {
                let value = Tensor::new(&shape[..], f(x)).expect("as many as the shape holds");
                with_rule(x, value, rule)
            })
        };
    vec![
        wrong(
            "tanh: 1 - y for 1 - y^2",
            square(),
            |x| x[0].tanh().value().data().to_vec(),
            vec![3, 3],
            |ctx| each(ctx, |_, y, dy| (1.0 - y) * dy),
        ),
        wrong(
            "sigmoid: y for y (1 - y)",
            square(),
            |x| x[0].sigmoid().value().data().to_vec(),
            vec![3, 3],
            |ctx| each(ctx, |_, y, dy| y * dy),
        ),
        wrong(
            "ln: 1 / y for 1 / x",
            vec![Tensor::from([0.3, 2.0])],
            |x| x[0].ln().value().data().to_vec(),
            vec![2],
            |ctx| each(ctx, |_, y, dy| dy / y),
        ),
        wrong(
            "mean: 1 for 1 / n",
            square(),
            |x| x[0].mean().value().data().to_vec(),
            vec![],
            |ctx| {
                let dy = ctx.output_grad(0).expect("used").item();
                ctx.add(0, Tensor::full([3, 3], dy));
            },
        ),
        wrong(
            "softmax: of the log-softmax",
            square(),
            |x| x[0].softmax().value().data().to_vec(),
            vec![3, 3],
            |ctx| {
                let (y, dy) = (ctx.output(0), ctx.output_grad(0).expect("used"));
                let ones = Tensor::full([3, 3], 1.0);
                let dx = |i: usize| dy.data()[i] - y.data()[i] * along(dy, &ones, i);
                ctx.add(0, Tensor::from_fn([3, 3], dx));
            },
        ),
        wrong(
            "softmax: along the columns",
            square(),
            |x| x[0].softmax().value().data().to_vec(),
            vec![3, 3],
            |ctx| {
                let (y, dy) = (ctx.output(0), ctx.output_grad(0).expect("used"));
                let column = |i: usize| (0..3).map(move |r| r * 3 + i % 3);
                let inner = |i| column(i).map(|at| y.data()[at] * dy.data()[at]).sum::<f64>();
                ctx.add(0, Tensor::from_fn([3, 3], |i| y.data()[i] * (dy.data()[i] - inner(i))));
            },
        ),
        wrong(
            "matmul: dx = dy w for dy w^T",
            vec![wave(&[3, 3]), wave(&[3, 3])],
            |x| x[0].matmul(x[1]).value().data().to_vec(),
            vec![3, 3],
            |ctx| {
                let (x, w, dy) = (ctx.input(0), ctx.input(1), ctx.output_grad(0).expect("used"));
                type At<'a> = &'a dyn Fn(usize, usize) -> f64;
                let product = |a: At<'_>, b: At<'_>| {
                    Tensor::from_fn([3, 3], |i| (0..3).map(|p| a(i / 3, p) * b(p, i % 3)).sum())
                };
                let dx = product(&|r, c| dy.data()[r * 3 + c], &|r, c| w.data()[r * 3 + c]);
                let dw = product(&|r, c| x.data()[c * 3 + r], &|r, c| dy.data()[r * 3 + c]);
                ctx.add(0, dx);
                ctx.add(1, dw);
            },
        ),
        wrong(
            "x + row: summed along the row",
            vec![wave(&[3, 3]), wave(&[3])],
            |x| (x[0] + x[1]).value().data().to_vec(),
            vec![3, 3],
            |ctx| {
                let dy = ctx.output_grad(0).expect("used").clone();
                ctx.add(1, Tensor::from_fn([3], |r| dy.data()[r * 3..][..3].iter().sum()));
                ctx.add(0, dy);
            },
        ),
        wrong(
            "unit rows: dy / ||x||",
            vec![wave(&[4, 3])],
            |x| x[0].unit_rows().value().data().to_vec(),
            vec![4, 3],
            |ctx| each(ctx, |x, y, dy| if x == 0.0 { 0.0 } else { dy * y / x }),
        ),
        wrong(
            "unit rows: the length dropped",
            vec![wave(&[4, 3])],
            |x| x[0].unit_rows().value().data().to_vec(),
            vec![4, 3],
            |ctx| {
                let (y, dy) = (ctx.output(0), ctx.output_grad(0).expect("used"));
                let dx = |i: usize| dy.data()[i] - y.data()[i] * along(y, dy, i);
                ctx.add(0, Tensor::from_fn([4, 3], dx));
            },
        ),
    ]
}

fn right_ops() -> Vec<Planted> {
    let right = |name: &str, inputs, f: for<'t> fn(&[Var<'t, f64>]) -> Var<'t, f64>| {
        Planted::of_vars(name, true, inputs, f)
    };
    let logits = || Tensor::from_fn([3, 4], |i| 30.0 * ((i as f64 + 1.0) * 1.7).sin());
    vec![
        right("matmul and tanh", vec![wave(&[3, 4]), wave(&[4, 2])], |x| x[0].matmul(x[1]).tanh()),
        right("row added to a matrix", vec![wave(&[3, 4]), wave(&[4])], |x| x[0] + x[1]),
        right("layer norm", vec![wave(&[3, 5])], |x| x[0].layer_norm(1e-5)),
        right("softmax of large logits", vec![logits()], |x| x[0].softmax()),
        right("log-softmax of large logits", vec![logits()], |x| x[0].log_softmax()),
        right("cross-entropy", vec![wave(&[4, 5])], |x| x[0].cross_entropy(&[1, 4, 0, 1])),
        right("repeated rows of a table", vec![wave(&[4, 3])], |x| x[0].gather_rows(&[2, 0, 2, 2])),
        right("gelu", vec![wave(&[10])], |x| x[0].gelu()),
        right("mean of squares", vec![wave(&[7])], |x| (x[0] * x[0]).mean()),
        right("unit rows", vec![wave(&[4, 3])], |x| x[0].unit_rows()),
        right("sum of softmax", vec![wave(&[2, 4])], |x| x[0].softmax().sum()),
        right("mean of a layer norm", vec![wave(&[3, 5])], |x| x[0].layer_norm(1e-5).sum()),
        right("a product of an input with itself", vec![wave(&[5])], |x| x[0] * x[0] * x[0]),
        right(
            "an input that is stopped beside one that is not",
            vec![wave(&[4]), wave(&[4])],
            |x| x[0].stop_gradient() * x[1],
        ),
    ]
}

/// Straight-through estimators: right rules whose value has another derivative, or none.
fn estimators() -> Vec<Planted> {
    let right = |name: &str, inputs, f: for<'t> fn(&[Var<'t, f64>]) -> Var<'t, f64>| {
        Planted::of_vars(name, true, inputs, f)
    };
    fn hard<'t>(x: Var<'t, f64>, f: fn(f64) -> f64) -> Tensor<f64> {
        let x = x.value();
        Tensor::from_fn(x.shape(), |i| f(x.data()[i]))
    }
    vec![
        right("straight through: sign by tanh", vec![wave(&[6])], |x| {
            x[0].tanh().straight_through(hard(x[0], f64::signum))
        }),
        right("straight through: rounding by identity", vec![wave(&[6])], |x| {
            (x[0] * 3.0).straight_through(hard(x[0] * 3.0, f64::round)) * x[0]
        }),
        right("straight through: gate by sigmoid", vec![wave(&[6])], |x| {
            x[0].sigmoid().straight_through(hard(x[0], |x| f64::from(u8::from(x > 0.0)))) * x[0]
        }),
        right("straight through: best of a row by softmax", vec![wave(&[3, 4])], |x| {
            x[0].softmax().straight_through(one_hot(&x[0].argmax(), 4)) * x[0]
        }),
        right("straight through: 4 bits by identity", vec![wave(&[3, 4])], |x| {
            let bits = hard(x[0], |x| (x * 7.0).round() / 7.0);
            x[0].straight_through(bits).tanh()
        }),
        right("straight through: a tie", vec![Tensor::from([[1.0, 3.0, 3.0]])], |x| {
            x[0].softmax().straight_through(one_hot(&x[0].argmax(), 3)) * x[0]
        }),
    ]
}

/// A loss of rows and regulariser.
fn weighted(quantized: Quantized<'_, f64>) -> Var<'_, f64> {
    let weights = Tensor::from_fn(quantized.rows.shape(), |i| (i as f64 * 0.7).cos() + 0.2);
    let loss = (quantized.rows * quantized.rows.tape().constant(weights)).sum();
    quantized.regulariser.map_or(loss, |regulariser| loss + regulariser * 0.5)
}

/// The value of one form with the gradient of another.
fn of_another<'t>(value: Quantized<'t, f64>, gradient: Quantized<'t, f64>) -> Quantized<'t, f64> {
    let rows = gradient.rows.straight_through(value.rows.value());
    let terms = gradient.regulariser.zip(value.regulariser);
    let regulariser = terms.map(|(of, to)| of.straight_through(to.value()));
    Quantized { rows, regulariser, ..gradient }
}

const GROUPS: usize = 2;
const K: usize = 5;
const S: usize = 3;
const IDS: [u32; 7] = [0, 1, 2, 3, 1, 0, 1];

fn options() -> Vec<Planted> {
    let sx = DpqConfig { beta: 0.4, ..DpqConfig::sx(GROUPS, K) };
    let vq = DpqConfig { beta: 0.4, ..DpqConfig::vq(GROUPS, K) };
    let inputs = || {
        let keys = Tensor::from_fn([GROUPS, K, S], |i| (i as f64 * 0.9 + 1.0).sin());
        vec![wave(&[4, GROUPS * S]), keys, wave(&[GROUPS, K, S])]
    };
    let temperature = |name: &str, mistake: Option<Mistake>| {
        let inputs = [inputs(), vec![Tensor::scalar(0.6)]].concat();
        Planted::of_vars(name, mistake.is_none(), inputs, move |x| {
            let tau = mistake.map_or(x[3], |rule| mistaken(x[3], rule));
            let options = Options { temperature: Some(tau), ..Options::default() };
            weighted(sx_with(&sx, Normalization::Batch, x[0], &IDS, x[1], x[2], options))
        })
    };
    let choice = |name: &str, sampled: bool, right: bool| {
        let draws = Tensor::from_fn([IDS.len(), GROUPS], |i| (i as f64 * 0.37 + 0.05).fract());
        Planted::of_vars(name, right, inputs(), move |x| {
            let form = |chosen: bool| {
                let options = Options {
                    draws: (sampled && chosen).then_some(&draws),
                    limits: (!sampled && chosen).then_some(&[5, 2, 3, 2][..]),
                    ..Options::default()
                };
                sx_with(&sx, Normalization::Batch, x[0], &IDS, x[1], x[2], options)
            };
            let fused = || if right { form(true) } else { of_another(form(true), form(false)) };
            weighted(x[0].tape().fused(|| form(true), fused))
        })
    };
    let still = |name: &str, right: bool| {
        let inputs = inputs()[..2].to_vec();
        Planted::of_vars(name, right, inputs, move |x| {
            let form = |still_codebook| {
                let options = Options { still_codebook, ..Options::default() };
                vq_with(&vq, Normalization::Batch, x[0], &IDS, x[1], options)
            };
            let fused = || if right { form(true) } else { of_another(form(true), form(false)) };
            weighted(x[0].tape().fused(|| form(true), fused))
        })
    };
    vec![
        temperature("temperature", None),
        temperature("temperature: the other sign", Some(|ctx| each(ctx, |_, _, dy| -dy))),
        temperature("temperature: not over tau", Some(|ctx| each(ctx, |tau, _, dy| dy * tau))),
        temperature("temperature: none", Some(|ctx| each(ctx, |_, _, _| 0.0))),
        choice("sampled", true, true),
        choice("sampled: as if the best were chosen", true, false),
        choice("limited", false, true),
        choice("limited: as if all could be chosen", false, false),
        still("still codebook", true),
        still("still codebook: moved all the same", false),
    ]
}

/// A quantiser of activations, some of which pass through a mistake.
fn quantizers() -> Vec<Planted> {
    let quantizer = |name: &str, config: DpqConfig, mistake: Option<Mistake>| {
        let mut params = Params::seeded(2);
        let width = if config.additive { 3 } else { 6 };
        let scope = params.scope("codes").init(Init::Uniform(1.0));
        let quantizer = Quantizer::new(scope, width, config).expect("a sound configuration");
        Planted::of_vars(name, mistake.is_none(), vec![wave(&[5, 6])], move |x| {
            let bound = x[0].tape().train(&params);
            let given = mistake.map_or(x[0], |rule| mistaken(x[0], rule));
            weighted(quantizer.forward(&bound, given))
        })
    };
    let twice: Mistake = |ctx| each(ctx, |_, _, dy| 2.0 * dy);
    let half: Mistake = |ctx| each(ctx, |_, _, dy| 0.5 * dy);
    let sx = DpqConfig { beta: 0.4, ..DpqConfig::sx(GROUPS, K) };
    let additive = DpqConfig { additive: true, ..sx };
    let distance = DpqConfig { score: Score::SquaredDistance, batch_norm: false, ..sx };
    vec![
        quantizer("additive groups", additive, None),
        quantizer("mean of groups: not over D", additive, Some(twice)),
        quantizer("squared distance", distance, None),
        quantizer("squared distance: 1 for 2", distance, Some(half)),
    ]
}
