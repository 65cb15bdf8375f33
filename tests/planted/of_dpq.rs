//! The rules of both DPQ forms once more in plain loops, with one mistake each.

use super::Planted;
use dpq::pq::{BATCH_NORM_EPS, Form, Normalization, Quantized, Temperature, composed};
use dpq::{Context, DpqConfig, Op, Tensor, Var, rng};

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

/// A form whose rule holds a mistake.
fn planted(form: Form, shared: bool, mistake: Mistake) -> Planted {
    let config = config(form, shared);
    let draw =
        |name: &str, shape: &[usize]| Tensor::uniform(shape, 1.5, &mut rng::stream(5, name, 0));
    let book = [config.codebooks(), K, S];
    let inputs =
        vec![draw("queries", &[VOCABULARY, D]), draw("keys", &book), draw("values", &book)];
    let upstream = draw("upstream", &[IDS.len(), D]);
    let books = if shared { "shared" } else { "separate" };
    let name = format!("{form:?}, {books}: {mistake:?}");
    Planted::of_vars(name, mistake == M::None, inputs, move |x| {
        let quantized = in_loops(&config, mistake, x[0], x[1], x[2]);
        let weights = quantized.rows.tape().constant(upstream.clone());
        (quantized.rows * weights).sum() + quantized.regulariser.expect("beta is not 0") * 0.7
    })
}

/// The right rules of both forms, and every mistake.
pub fn rules() -> Vec<Planted> {
    let mut rules = Vec::new();
    for (form, mistakes) in [(Form::Sx, &OF_SX[..]), (Form::Vq, &OF_VQ[..])] {
        rules.extend([false, true].map(|shared| planted(form, shared, M::None)));
        let shared = |mistake: &Mistake| *mistake == M::SharedNotSummed;
        rules.extend(mistakes.iter().map(|mistake| planted(form, shared(mistake), *mistake)));
    }
    rules
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
