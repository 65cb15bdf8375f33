//! What a gradient checker is worth: rules with one mistake each, every one of which it must find.
//!
//! The rules of both DPQ forms, and of a few ops beside them, stand here once more in plain loops.
//! Without a mistake they pass; with any of the mistakes below they must not. Run with `--nocapture`
//! for the list.

use dpq::gradcheck::Report;
use dpq::pq::{
    BATCH_NORM_EPS, Form, Normalization, Options, Quantized, Quantizer, Score, Temperature,
    composed, sx_with, vq_with,
};
use dpq::{Context, DpqConfig, Init, Op, Params, Tensor, Var, gradcheck, gradcheck_params, rng};

/// What people get wrong in DPQ's rules. `None` stands for the right rule.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    None,
    /// dy is taken for ones.
    UpstreamForgotten,
    /// A repeated id keeps the gradient of its last occurrence.
    RepetitionsOverwritten,
    /// A group's gradient goes to the next group's place.
    GroupsMixedUp,
    /// A shared codebook gets the gradient of the last group only.
    SharedNotSummed,
    /// dC^v has the wrong sign.
    ValuesSign,
    /// dC^v goes to all codewords by p, not to the chosen one.
    ValuesSoft,
    /// dq is dy, as in the centroid form.
    QueriesStraightThrough,
    /// dC^k = dr dy instead of dr q.
    KeysByUpstream,
    /// dp = <dy, C^k> instead of <dy, C^v>.
    KeysForValues,
    /// tau is left out of the backward pass.
    TemperatureForgotten,
    /// Multiplied by tau instead of divided.
    TemperatureInverted,
    /// drh = p dp, without the softmax's mean.
    SoftmaxMeanForgotten,
    /// The softmax's rule at the one-hot code, not at p.
    SoftmaxHard,
    /// Batch norm without - mean(drh).
    NormMeanForgotten,
    /// Batch norm without - rh mean(drh rh).
    NormScaleForgotten,
    /// Statistics as if they were constants.
    NormConstant,
    /// Statistics over every group by itself.
    NormOfEachGroup,
    /// sd without the eps.
    NormEpsForgotten,
    /// dr by the variance, not its root.
    NormByVariance,
    /// The entropy term's gradient with the wrong sign.
    EntropySign,
    /// - beta / n instead of - beta / (n D).
    EntropyPerToken,
    /// d(w log p) without the share of w.
    EntropyWeightForgotten,
    /// ... without the share of log p.
    EntropyLogarithmForgotten,
    /// VQ: the task's gradient does not reach the queries.
    NothingStraightThrough,
    /// VQ: the task's gradient reaches the codewords too.
    TaskReachesCodebook,
    /// VQ: beta weighs the codebook's term.
    BetaOnCodebook,
    /// VQ: the commitment term pushes away.
    CommitmentSign,
    /// VQ: a square's 2 is missing.
    SquareFactor,
    /// VQ: the mean is taken over tokens and groups, not over elements.
    MeanOverParts,
    /// VQ: the terms of a repeated id count once.
    TermsOfDistinctIds,
}
use Mistake as M;

const OF_SX: [Mistake; 23] = [
    M::UpstreamForgotten,
    M::RepetitionsOverwritten,
    M::GroupsMixedUp,
    M::SharedNotSummed,
    M::ValuesSign,
    M::ValuesSoft,
    M::QueriesStraightThrough,
    M::KeysByUpstream,
    M::KeysForValues,
    M::TemperatureForgotten,
    M::TemperatureInverted,
    M::SoftmaxMeanForgotten,
    M::SoftmaxHard,
    M::NormMeanForgotten,
    M::NormScaleForgotten,
    M::NormConstant,
    M::NormOfEachGroup,
    M::NormEpsForgotten,
    M::NormByVariance,
    M::EntropySign,
    M::EntropyPerToken,
    M::EntropyWeightForgotten,
    M::EntropyLogarithmForgotten,
];

const OF_VQ: [Mistake; 10] = [
    M::UpstreamForgotten,
    M::RepetitionsOverwritten,
    M::SharedNotSummed,
    M::NothingStraightThrough,
    M::TaskReachesCodebook,
    M::BetaOnCodebook,
    M::CommitmentSign,
    M::SquareFactor,
    M::MeanOverParts,
    M::TermsOfDistinctIds,
];

const IDS: [u32; 6] = [2, 0, 3, 2, 2, 1];
const VOCABULARY: usize = 5;
const GROUPS: usize = 2;
const K: usize = 4;
const S: usize = 3;
const D: usize = GROUPS * S;

fn config(form: Form, shared: bool) -> DpqConfig {
    let temperature = Temperature::Fixed(if form == Form::Sx { 0.6 } else { 1.0 });
    DpqConfig { shared, temperature, beta: 0.4, ..DpqConfig::new(form, GROUPS, K) }
}

/// Checks a form whose rule holds a mistake.
fn check(form: Form, shared: bool, mistake: Mistake) -> Report {
    let config = config(form, shared);
    let draw =
        |name: &str, shape: &[usize]| Tensor::uniform(shape, 1.5, &mut rng::stream(5, name, 0));
    let book = [config.codebooks(), K, S];
    let base = [draw("queries", &[VOCABULARY, D]), draw("keys", &book), draw("values", &book)];
    let upstream = draw("upstream", &[IDS.len(), D]);
    gradcheck(base, |[queries, keys, values]| {
        let quantized = in_loops(&config, mistake, queries, keys, values);
        let weights = quantized.rows.tape().constant(upstream.clone());
        (quantized.rows * weights).sum() + quantized.regulariser.expect("beta is not 0") * 0.7
    })
}

/// What the crate's composed form computes, with the rule in [`Loops`].
fn in_loops<'t>(
    config: &DpqConfig,
    mistake: Mistake,
    queries: Var<'t, f64>,
    keys: Var<'t, f64>,
    values: Var<'t, f64>,
) -> Quantized<'t, f64> {
    let composed = || {
        let rows = queries.gather_rows(&IDS);
        match config.form {
            Form::Sx => composed::sx(config, Normalization::Batch, rows, keys, values),
            Form::Vq => composed::vq(config, Normalization::Batch, rows, keys),
        }
    };
    let fused = || {
        let found = composed();
        let op = Loops { config: *config, mistake, codes: found.codes.to_vec() };
        let regulariser = found.regulariser.expect("beta is not 0");
        let outputs = [found.rows.value(), regulariser.value()];
        let [rows, regulariser] = queries.tape().record(op, &[queries, keys, values], outputs);
        Quantized { rows, regulariser: Some(regulariser), ..found }
    };
    queries.tape().fused(composed, fused)
}

struct Loops {
    config: DpqConfig,
    mistake: Mistake,
    /// Of every token, n x D.
    codes: Vec<u32>,
}

impl Op<f64> for Loops {
    fn backward(&self, ctx: &mut Context<'_, f64>) {
        let ones = Tensor::full([IDS.len(), D], 1.0);
        let given = ctx.output_grad(0).expect("the rows are used");
        let dy = if self.mistake == M::UpstreamForgotten { &ones } else { given };
        let dm = ctx.output_grad(1).expect("the regulariser is used").item();
        let [table, keys, values] = [0, 1, 2].map(|i| ctx.input(i));
        let [dq, dk, dv] = match self.config.form {
            Form::Sx => self.softmax_form(dy, dm, table, keys, values),
            Form::Vq => self.centroid_form(dy, dm, table, keys),
        };
        let mut dtable = Tensor::zeros(table.shape());
        for (id, row) in IDS.iter().zip(dq.chunks(D)) {
            let sum = &mut dtable.data_mut()[*id as usize * D..][..D];
            for (at, x) in row.iter().enumerate() {
                let place = if self.mistake == M::GroupsMixedUp { (at + S) % D } else { at };
                let keep = if self.mistake == M::RepetitionsOverwritten { 0.0 } else { sum[place] };
                sum[place] = keep + x;
            }
        }
        ctx.add(0, dtable);
        ctx.add(1, Tensor::new(keys.shape(), dk).expect("as many as the keys"));
        ctx.add(2, Tensor::new(values.shape(), dv).expect("as many as the values"));
    }
}

/// Sum of a[i] b[i].
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// sum += factor x
fn add(sum: &mut [f64], factor: f64, x: &[f64]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += factor * x);
}

impl Loops {
    fn part(table: &Tensor<f64>, i: usize, g: usize) -> &[f64] {
        &table.data()[IDS[i] as usize * D + g * S..][..S]
    }

    /// Where codeword j of group g starts.
    fn word(&self, g: usize, j: usize) -> usize {
        (if self.config.shared { 0 } else { g } * K + j) * S
    }

    /// Groups whose gradients reach a codebook.
    fn reaches_codebook(&self, g: usize) -> bool {
        self.mistake != M::SharedNotSummed || g == GROUPS - 1
    }

    fn softmax_form(
        &self,
        dy: &Tensor<f64>,
        dm: f64,
        table: &Tensor<f64>,
        keys: &Tensor<f64>,
        values: &Tensor<f64>,
    ) -> [Vec<f64>; 3] {
        let wrong = |mistake| self.mistake == mistake;
        let (n, parts) = (IDS.len(), IDS.len() * GROUPS);
        let (tau, beta) = (self.config.temperature.start(), self.config.beta);
        let pairs = || (0..n).flat_map(|i| (0..GROUPS).map(move |g| (i, g)));
        let key = |g: usize, j: usize| &keys.data()[self.word(g, j)..][..S];
        let value = |g: usize, j: usize| &values.data()[self.word(g, j)..][..S];

        let r: Vec<[f64; K]> = pairs()
            .map(|(i, g)| std::array::from_fn(|j| dot(Self::part(table, i, g), key(g, j))))
            .collect();
        let over = |f: &dyn Fn(usize) -> f64| (0..parts).map(f).sum::<f64>() / parts as f64;
        let mean: [f64; K] = std::array::from_fn(|j| over(&|i| r[i][j]));
        let var: [f64; K] = std::array::from_fn(|j| over(&|i| (r[i][j] - mean[j]).powi(2)));
        let sd = var.map(|var| (var + BATCH_NORM_EPS).sqrt());
        let rh: Vec<[f64; K]> =
            r.iter().map(|r| std::array::from_fn(|j| (r[j] - mean[j]) / sd[j])).collect();

        let mut drh = vec![[0.0; K]; parts];
        let [mut dq, mut dk, mut dv] =
            [n * D, keys.data().len(), values.data().len()].map(|len| vec![0.0; len]);
        for (at, (i, g)) in pairs().enumerate() {
            let (rh, code) = (&rh[at], self.codes[at] as usize);
            let e = rh.map(|x| (x / tau).exp());
            let total: f64 = e.iter().sum();
            let p = e.map(|e| e / total);
            let dy = &dy.data()[i * D + g * S..][..S];
            let per = if wrong(M::EntropyPerToken) { n } else { parts } as f64;
            let weight = if wrong(M::EntropySign) { beta } else { -beta } * dm / per;
            let dp: [f64; K] = std::array::from_fn(|j| {
                let shifted = p[j] + 1e-10;
                let chosen = if j == code { 1.0 / shifted } else { 0.0 };
                let log = if wrong(M::EntropyWeightForgotten) { 0.0 } else { shifted.ln() };
                let slope = if wrong(M::EntropyLogarithmForgotten) { 0.0 } else { chosen };
                let word = if wrong(M::KeysForValues) { key(g, j) } else { value(g, j) };
                dot(dy, word) + weight * (log + slope)
            });
            let hot: [f64; K] = std::array::from_fn(|j| f64::from(u8::from(j == code)));
            let at_p = if wrong(M::SoftmaxHard) { hot } else { p };
            let inner = if wrong(M::SoftmaxMeanForgotten) { 0.0 } else { dot(&at_p, &dp) };
            let rate = match self.mistake {
                M::TemperatureForgotten => 1.0,
                M::TemperatureInverted => tau,
                _ => 1.0 / tau,
            };
            drh[at] = std::array::from_fn(|j| at_p[j] * (dp[j] - inner) * rate);
            if self.reaches_codebook(g) {
                let sign = if wrong(M::ValuesSign) { -1.0 } else { 1.0 };
                for j in 0..K {
                    let share = if wrong(M::ValuesSoft) { p[j] } else { hot[j] };
                    add(&mut dv[self.word(g, j)..][..S], sign * share, dy);
                }
            }
        }

        for (at, (i, g)) in pairs().enumerate() {
            let dy = &dy.data()[i * D + g * S..][..S];
            for j in 0..K {
                let same = |other: usize| !wrong(M::NormOfEachGroup) || other % GROUPS == g;
                let mean_of = |f: &dyn Fn(usize) -> f64| {
                    let rows: Vec<usize> = (0..parts).filter(|&row| same(row)).collect();
                    rows.iter().map(|&row| f(row)).sum::<f64>() / rows.len() as f64
                };
                let mut dr = drh[at][j];
                if !wrong(M::NormMeanForgotten) && !wrong(M::NormConstant) {
                    dr -= mean_of(&|row| drh[row][j]);
                }
                if !wrong(M::NormScaleForgotten) && !wrong(M::NormConstant) {
                    dr -= rh[at][j] * mean_of(&|row| drh[row][j] * rh[row][j]);
                }
                dr /= match self.mistake {
                    M::NormEpsForgotten => var[j].sqrt(),
                    M::NormByVariance => var[j] + BATCH_NORM_EPS,
                    _ => sd[j],
                };
                add(&mut dq[i * D + g * S..][..S], dr, key(g, j));
                if self.reaches_codebook(g) {
                    let by = if wrong(M::KeysByUpstream) { dy } else { Self::part(table, i, g) };
                    add(&mut dk[self.word(g, j)..][..S], dr, by);
                }
            }
            if wrong(M::QueriesStraightThrough) {
                dq[i * D + g * S..][..S].copy_from_slice(dy);
            }
        }
        [dq, dk, dv]
    }

    fn centroid_form(
        &self,
        dy: &Tensor<f64>,
        dm: f64,
        table: &Tensor<f64>,
        codewords: &Tensor<f64>,
    ) -> [Vec<f64>; 3] {
        let wrong = |mistake| self.mistake == mistake;
        let mut dq = dy.data().to_vec();
        if wrong(M::NothingStraightThrough) {
            dq.fill(0.0);
        }
        let mut dc = vec![0.0; codewords.data().len()];
        let mean = if wrong(M::MeanOverParts) { IDS.len() * GROUPS } else { IDS.len() * D };
        let two = if wrong(M::SquareFactor) { 1.0 } else { 2.0 };
        let [of_book, of_queries] = match self.mistake {
            M::BetaOnCodebook => [self.config.beta, 1.0],
            M::CommitmentSign => [1.0, -self.config.beta],
            _ => [1.0, self.config.beta],
        };
        for (at, &code) in self.codes.iter().enumerate() {
            let (i, g) = (at / GROUPS, at % GROUPS);
            let place = self.word(g, code as usize);
            let (q, word) = (Self::part(table, i, g), &codewords.data()[place..][..S]);
            let weight = match IDS[..i].contains(&IDS[i]) && wrong(M::TermsOfDistinctIds) {
                true => 0.0,
                false => dm * two / mean as f64,
            };
            for t in 0..S {
                dq[i * D + g * S + t] += of_queries * weight * (q[t] - word[t]);
                if self.reaches_codebook(g) {
                    dc[place + t] += of_book * weight * (word[t] - q[t]);
                }
            }
            if wrong(M::TaskReachesCodebook) {
                add(&mut dc[place..][..S], 1.0, &dy.data()[i * D + g * S..][..S]);
            }
        }
        [dq, dc, vec![0.0; codewords.data().len()]]
    }
}

#[test]
fn every_mistake_in_the_rules_of_dpq_is_found_and_the_right_rules_pass() {
    for (form, mistakes) in [(Form::Sx, &OF_SX[..]), (Form::Vq, &OF_VQ[..])] {
        for shared in [false, true] {
            check(form, shared, M::None).assert_ok();
        }
        for &mistake in mistakes {
            let report = check(form, mistake == M::SharedNotSummed, mistake);
            println!("{:<28} {form:?}   error {:.1e}", format!("{mistake:?}"), report.error());
            assert!(report.error() > report.tolerance, "{mistake:?} passed: {report}");
            assert!(report.kinks.is_empty(), "{mistake:?} is a mistake, not a kink");
        }
    }
}

/// An op whose value is another's and whose rule is a function.
struct Rule(fn(&mut Context<'_, f64>));
impl Op<f64> for Rule {
    fn backward(&self, ctx: &mut Context<'_, f64>) {
        (self.0)(ctx);
    }
}

fn with_rule<'t>(
    inputs: &[Var<'t, f64>],
    value: Tensor<f64>,
    rule: fn(&mut Context<'_, f64>),
) -> Var<'t, f64> {
    let [y] = inputs[0].tape().record(Rule(rule), inputs, [value]);
    y
}

fn wave(shape: &[usize]) -> Tensor<f64> {
    Tensor::from_fn(shape, |i| ((i as f64 + 1.0) * 1.7).sin())
}

/// The gradient of input 0, element by element from (x, y, dy).
fn each(ctx: &mut Context<'_, f64>, f: impl Fn(f64, f64, f64) -> f64) {
    let (x, y, dy) = (ctx.input(0), ctx.output(0), ctx.output_grad(0).expect("used"));
    let dx = Tensor::from_fn(x.shape(), |i| f(x.data()[i], y.data()[i], dy.data()[i]));
    ctx.add(0, dx);
}

#[test]
fn mistakes_in_common_rules_are_found() {
    let x = || [wave(&[3, 3])];
    let found = [
        (
            "tanh: 1 - y for 1 - y^2",
            gradcheck(x(), |[x]| {
                with_rule(&[x], x.tanh().value(), |ctx| each(ctx, |_, y, dy| (1.0 - y) * dy))
            }),
        ),
        (
            "sigmoid: y for y (1 - y)",
            gradcheck(x(), |[x]| {
                with_rule(&[x], x.sigmoid().value(), |ctx| each(ctx, |_, y, dy| y * dy))
            }),
        ),
        (
            "ln: 1 / y for 1 / x",
            gradcheck([Tensor::from([0.3, 2.0])], |[x]| {
                with_rule(&[x], x.ln().value(), |ctx| each(ctx, |_, y, dy| dy / y))
            }),
        ),
        (
            "mean: 1 for 1 / n",
            gradcheck(x(), |[x]| {
                with_rule(&[x], x.mean().value(), |ctx| {
                    let dy = ctx.output_grad(0).expect("used").item();
                    ctx.add(0, Tensor::full([3, 3], dy));
                })
            }),
        ),
        (
            "softmax: of the log-softmax",
            gradcheck(x(), |[x]| {
                with_rule(&[x], x.softmax().value(), |ctx| {
                    let (y, dy) = (ctx.output(0), ctx.output_grad(0).expect("used"));
                    let sum = |i: usize| dy.data()[i / 3 * 3..][..3].iter().sum::<f64>();
                    ctx.add(0, Tensor::from_fn([3, 3], |i| dy.data()[i] - y.data()[i] * sum(i)));
                })
            }),
        ),
        (
            "softmax: along the columns",
            gradcheck(x(), |[x]| {
                with_rule(&[x], x.softmax().value(), |ctx| {
                    let (y, dy) = (ctx.output(0), ctx.output_grad(0).expect("used"));
                    let inner = |i: usize| {
                        (0..3)
                            .map(|r| r * 3 + i % 3)
                            .map(|at| y.data()[at] * dy.data()[at])
                            .sum::<f64>()
                    };
                    ctx.add(
                        0,
                        Tensor::from_fn([3, 3], |i| y.data()[i] * (dy.data()[i] - inner(i))),
                    );
                })
            }),
        ),
        (
            "matmul: dx = dy w for dy w^T",
            gradcheck([wave(&[3, 3]), wave(&[3, 3])], |[x, w]| {
                with_rule(&[x, w], x.matmul(w).value(), |ctx| {
                    let (x, w, dy) =
                        (ctx.input(0), ctx.input(1), ctx.output_grad(0).expect("used"));
                    let product =
                        |a: &dyn Fn(usize, usize) -> f64, b: &dyn Fn(usize, usize) -> f64| {
                            Tensor::from_fn([3, 3], |i| {
                                (0..3).map(|p| a(i / 3, p) * b(p, i % 3)).sum()
                            })
                        };
                    let dx = product(&|r, c| dy.data()[r * 3 + c], &|r, c| w.data()[r * 3 + c]);
                    let dw = product(&|r, c| x.data()[c * 3 + r], &|r, c| dy.data()[r * 3 + c]);
                    ctx.add(0, dx);
                    ctx.add(1, dw);
                })
            }),
        ),
        (
            "x + row: summed along the row",
            gradcheck([wave(&[3, 3]), wave(&[3])], |[x, row]| {
                with_rule(&[x, row], (x + row).value(), |ctx| {
                    let dy = ctx.output_grad(0).expect("used").clone();
                    ctx.add(1, Tensor::from_fn([3], |r| dy.data()[r * 3..][..3].iter().sum()));
                    ctx.add(0, dy);
                })
            }),
        ),
    ];
    for (mistake, report) in found {
        println!("{mistake:<36} error {:.1e}", report.error());
        assert!(report.error() > report.tolerance, "{mistake} passed: {report}");
    }
}

/// y = x with a wrong gradient, so that what leads to x is planted with it.
fn mistaken<'t>(x: Var<'t, f64>, rule: fn(&mut Context<'_, f64>)) -> Var<'t, f64> {
    with_rule(&[x], x.value(), rule)
}

#[test]
fn mistakes_in_the_rules_of_options_are_found() {
    let (n, groups, s, k) = (7, 2, 3, 5);
    let config = DpqConfig { beta: 0.4, ..DpqConfig::sx(groups, k) };
    let (ids, limits) = ([0, 1, 2, 3, 1, 0, 1], [5, 2, 3, 2]);
    let draws = Tensor::from_fn([n, groups], |i| (i as f64 * 0.37 + 0.05).fract());
    let inputs = || {
        let shapes = [vec![4, groups * s], vec![groups, k, s], vec![groups, k, s]];
        let [q, c, v] = shapes.map(|shape| wave(&shape));
        [q, Tensor::from_fn(c.shape(), |i| (i as f64 * 0.9 + 1.0).sin()), v]
    };
    let tau = |mistake: Option<fn(&mut Context<'_, f64>)>| {
        let [q, c, v] = inputs();
        gradcheck([q, c, v, Tensor::scalar(0.6)], |[q, c, v, tau]| {
            let tau = mistake.map_or(tau, |rule| mistaken(tau, rule));
            let options = Options { temperature: Some(tau), ..Options::default() };
            let quantized = sx_with(&config, Normalization::Batch, q, &ids, c, v, options);
            weighted(quantized)
        })
    };
    let sampled_or_limited = |which: usize, wrong: bool| {
        gradcheck(inputs(), |[q, c, v]| {
            let options = |right: bool| Options {
                draws: (which == 0 && right).then_some(&draws),
                limits: (which == 1 && right).then_some(&limits[..]),
                ..Options::default()
            };
            let form =
                |right| sx_with(&config, Normalization::Batch, q, &ids, c, v, options(right));
            let of_wrong = || {
                let (value, gradient) = (form(true), form(false));
                let rows = gradient.rows.straight_through(value.rows.value());
                let terms = gradient.regulariser.zip(value.regulariser);
                let regulariser = terms.map(|(of, to)| of.straight_through(to.value()));
                Quantized { rows, regulariser, ..gradient }
            };
            weighted(q.tape().fused(|| form(true), || if wrong { of_wrong() } else { form(true) }))
        })
    };
    let still = |wrong: bool| {
        let config = DpqConfig { beta: 0.4, ..DpqConfig::vq(groups, k) };
        let [q, c, _] = inputs();
        gradcheck([q, c], |[q, c]| {
            let form = |still_codebook| {
                let options = Options { still_codebook, ..Options::default() };
                vq_with(&config, Normalization::Batch, q, &ids, c, options)
            };
            let of_wrong = || {
                let (value, gradient) = (form(true), form(false));
                let terms = gradient.regulariser.zip(value.regulariser);
                let regulariser = terms.map(|(of, to)| of.straight_through(to.value()));
                Quantized { regulariser, ..gradient }
            };
            weighted(q.tape().fused(|| form(true), || if wrong { of_wrong() } else { form(true) }))
        })
    };
    for (right, report) in [
        ("temperature", tau(None)),
        ("sampled", sampled_or_limited(0, false)),
        ("limited", sampled_or_limited(1, false)),
        ("still codebook", still(false)),
    ] {
        assert!(report.error() <= report.tolerance, "{right}: {report}");
    }
    let rows = || [wave(&[4, 3])];
    let found = [
        ("temperature: the other sign", tau(Some(|ctx| each(ctx, |_, _, dy| -dy)))),
        ("temperature: not over tau", tau(Some(|ctx| each(ctx, |tau, _, dy| dy * tau)))),
        ("temperature: none", tau(Some(|ctx| each(ctx, |_, _, _| 0.0)))),
        ("sampled: as if the best were chosen", sampled_or_limited(0, true)),
        ("limited: as if all could be chosen", sampled_or_limited(1, true)),
        ("still codebook: moved all the same", still(true)),
        (
            "unit rows: dy / ||x||",
            gradcheck(rows(), |[x]| {
                with_rule(&[x], x.unit_rows().value(), |ctx| {
                    each(ctx, |x, y, dy| if x == 0.0 { 0.0 } else { dy * y / x });
                })
            }),
        ),
        (
            "unit rows: the length dropped",
            gradcheck(rows(), |[x]| {
                with_rule(&[x], x.unit_rows().value(), |ctx| {
                    let (y, dy) = (ctx.output(0), ctx.output_grad(0).expect("used"));
                    let along = |i: usize| {
                        (0..3)
                            .map(|t| y.data()[i / 3 * 3 + t] * dy.data()[i / 3 * 3 + t])
                            .sum::<f64>()
                    };
                    let dx = |i: usize| dy.data()[i] - y.data()[i] * along(i);
                    ctx.add(0, Tensor::from_fn([4, 3], dx));
                })
            }),
        ),
        (
            "mean of groups: not over D",
            quantizer_with(DpqConfig { additive: true, ..config }, |x| {
                mistaken(x, |ctx| each(ctx, |_, _, dy| 2.0 * dy))
            }),
        ),
        (
            "squared distance: 1 for 2",
            quantizer_with(
                DpqConfig { score: Score::SquaredDistance, batch_norm: false, ..config },
                |x| mistaken(x, |ctx| each(ctx, |_, _, dy| 0.5 * dy)),
            ),
        ),
    ];
    assert_eq!(found.len(), 10);
    for (mistake, report) in found {
        println!("{mistake:<36} error {:.1e}", report.error());
        assert!(report.error() > report.tolerance, "{mistake} passed: {report}");
    }
}

/// A loss of rows and regulariser.
fn weighted(quantized: Quantized<'_, f64>) -> Var<'_, f64> {
    let weights = Tensor::from_fn(quantized.rows.shape(), |i| (i as f64 * 0.7).cos() + 0.2);
    let loss = (quantized.rows * quantized.rows.tape().constant(weights)).sum();
    quantized.regulariser.map_or(loss, |regulariser| loss + regulariser * 0.5)
}

/// The check of a quantiser of activations that pass through `mistake`.
fn quantizer_with(
    config: DpqConfig,
    mistake: impl for<'t> Fn(Var<'t, f64>) -> Var<'t, f64>,
) -> Report {
    let mut params = Params::seeded(2);
    let width = if config.additive { 3 } else { 6 };
    let activations = params.add("activations", wave(&[5, 6]));
    let scope = params.scope("codes").init(Init::Uniform(1.0));
    let quantizer = Quantizer::new(scope, width, config).unwrap();
    gradcheck_params(&params, |p| weighted(quantizer.forward(p, mistake(p[activations]))))
}
