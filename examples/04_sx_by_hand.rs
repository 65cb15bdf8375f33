//! The softmax form of DPQ on three tokens, two groups and four codewords, every number printed
//! beside its formula: forward, and backward with the term that each gradient comes from.
//!
//! Everything is computed here by plain sums first, then by the crate's composition of primitive
//! ops and by its fused op, which must agree, and the checker has the last word.

mod by_hand;

use by_hand::{D, K, N, S, Table, agree, argmax, mean, show, show_row, sum, table, tensor};
use dpq::pq::Normalization::Batch;
use dpq::pq::{BATCH_NORM_EPS, Temperature, composed, sx};
use dpq::{DpqConfig, Tape, Var, gradcheck};
use std::array::from_fn;

const Q: [[[f64; S]; D]; N] =
    [[[0.9, -0.4], [0.3, 0.8]], [[-0.6, 0.5], [1.1, -0.2]], [[0.2, 1.0], [-0.7, -0.9]]];
const KEYS: [[[f64; S]; K]; D] = [
    [[0.8, 0.1], [-0.5, 0.7], [0.3, -0.9], [-0.2, -0.4]],
    [[0.6, 0.6], [-0.8, 0.2], [0.1, -0.7], [0.4, 0.9]],
];
const VALUES: [[[f64; S]; K]; D] = [
    [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]],
    [[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]],
];
const TARGET: [[[f64; S]; D]; N] =
    [[[0.6, 0.2], [0.1, 0.9]], [[-0.3, 0.4], [0.7, -0.6]], [[0.2, 0.8], [-0.9, -0.1]]];
const TAU: f64 = 0.5;

fn loss(rows: Var<'_, f64>) -> Var<'_, f64> {
    let error = rows - rows.tape().constant(tensor(&TARGET, [N, D * S]));
    (error * error).sum() * 0.5
}

fn main() -> dpq::Result<()> {
    println!("FORWARD. A line is a token; between bars its groups; within them the codewords j.\n");
    let r = table::<N, D, K>(|i, g, j| sum(S, |t| Q[i][g][t] * KEYS[g][j][t]));
    show("scores                r[i,g,j] = < q[i,g], C^k[g,j] >", "token", &r);

    // One mean and one variance a codeword index, over all tokens and all groups.
    let mu: [f64; K] = from_fn(|j| mean(|i, g| r[i][g][j]));
    let var: [f64; K] = from_fn(|j| mean(|i, g| (r[i][g][j] - mu[j]).powi(2)));
    let sd = var.map(|var| (var + BATCH_NORM_EPS).sqrt());
    show_row("batch mean            mean[j] = mean over i,g of r[i,g,j]", &mu);
    show_row("batch variance        var[j] = mean over i,g of (r - mean)^2", &var);
    let rh = table::<N, D, K>(|i, g, j| (r[i][g][j] - mu[j]) / sd[j]);
    show("normalised            rh = (r - mean) / sd,  sd = sqrt(var + 1e-3)", "token", &rh);

    let e = |i: usize, g: usize, j: usize| (rh[i][g][j] / TAU).exp();
    let p = table::<N, D, K>(|i, g, j| e(i, g, j) / sum(K, |j| e(i, g, j)));
    show("softmax               p = softmax_j(rh / tau),  tau = 0.5", "token", &p);
    let w = table::<N, D, K>(|i, g, j| f64::from(u8::from(argmax(&rh[i][g]) == j)));
    show("choice                w = onehot(argmax_j rh)  [+ p - stop(p) = 0]", "token", &w);
    let y = table::<N, D, S>(|i, g, t| sum(K, |j| w[i][g][j] * VALUES[g][j][t]));
    show("output                y[i,g] = sum_j w[j] C^v[g,j]: a row of C^v", "token", &y);

    println!("\nBACKWARD of the loss 1/2 sum (y - target)^2.\n");
    let dy = table::<N, D, S>(|i, g, t| y[i][g][t] - TARGET[i][g][t]);
    show("upstream              dy = y - target", "token", &dy);

    println!("\n  through the values: w's value is the one-hot, so only chosen rows get any");
    let dvalues = table::<D, K, S>(|g, j, t| sum(N, |i| w[i][g][j] * dy[i][g][t]));
    show("values                dC^v[g,j] = sum over i with code j of dy[i,g]", "group", &dvalues);

    println!("\n  through p: w's gradient is p's, so every codeword gets some");
    let dp = table::<N, D, K>(|i, g, j| sum(S, |t| dy[i][g][t] * VALUES[g][j][t]));
    show("gradient of p         dp = < dy[i,g], C^v[g,j] >", "token", &dp);
    let expected = |i: usize, g: usize| sum(K, |j| p[i][g][j] * dp[i][g][j]);
    let drh = table::<N, D, K>(|i, g, j| p[i][g][j] * (dp[i][g][j] - expected(i, g)) / TAU);
    show("normalised scores     drh = p (dp - sum_j p dp) / tau: sums to 0 over j", "token", &drh);

    println!("\n  dr = (drh - mean(drh) - rh mean(drh rh)) / sd, means over all i,g: three terms");
    let m1: [f64; K] = from_fn(|j| mean(|i, g| drh[i][g][j]));
    let m2: [f64; K] = from_fn(|j| mean(|i, g| drh[i][g][j] * rh[i][g][j]));
    show_row("mean over i,g of drh", &m1);
    show_row("mean over i,g of drh rh", &m2);
    let terms = [
        ("direct           drh / sd", table::<N, D, K>(|i, g, j| drh[i][g][j] / sd[j])),
        ("batch's mean     - mean(drh) / sd", table(|_, _, j| -m1[j] / sd[j])),
        ("batch's variance - rh mean(drh rh) / sd", table(|i, g, j| -rh[i][g][j] * m2[j] / sd[j])),
    ];
    type Scores = Table<N, D, K>;
    let dq_of = |dr: &Scores| table(|i, g, t| sum(K, |j| dr[i][g][j] * KEYS[g][j][t]));
    let dkeys_of = |dr: &Scores| table(|g, j, t| sum(N, |i| dr[i][g][j] * Q[i][g][t]));
    for (term, dr) in &terms {
        println!();
        show(&format!("dr, {term}"), "token", dr);
        show("  its share of dq[i,g] = sum_j dr C^k[g,j]", "token", &dq_of(dr));
        show("  its share of dC^k[g,j] = sum_i dr q[i,g]", "group", &dkeys_of(dr));
    }
    let dr = table::<N, D, K>(|i, g, j| terms.iter().map(|(_, dr)| dr[i][g][j]).sum());
    let (dq, dkeys): (Table<N, D, S>, Table<D, K, S>) = (dq_of(&dr), dkeys_of(&dr));
    println!();
    show("all three: dr. Over i,g it sums to 0: the mean takes any shift back", "token", &dr);
    show("queries               dq", "token", &dq);
    show("keys                  dC^k", "group", &dkeys);
    assert!((0..K).all(|j| mean(|i, g| dr[i][g][j]).abs() < 1e-14));

    println!("\nTHE CRATE, distance from the numbers above:\n");
    let config = DpqConfig { temperature: Temperature::Fixed(TAU), ..DpqConfig::sx(D, K) };
    let inputs = [tensor(&Q, [N, D * S]), tensor(&KEYS, [D, K, S]), tensor(&VALUES, [D, K, S])];
    let tape = Tape::new();
    let [q, k, v] = inputs.clone().map(|x| tape.leaf(x));
    let composed = composed::sx(&config, Batch, q, k, v);
    let fused = sx(&config, Batch, q, &[0, 1, 2], k, v);
    for (form, quantized) in [("composed", composed), ("fused", fused)] {
        println!("  {form}");
        let grads = tape.backward(loss(quantized.rows))?;
        agree("y", &y, &quantized.rows.value());
        agree("dq", &dq, &grads.dense(q));
        agree("dC^k", &dkeys, &grads.dense(k));
        agree("dC^v", &dvalues, &grads.dense(v));
    }
    let report = gradcheck(inputs, |[q, k, v]| loss(sx(&config, Batch, q, &[0, 1, 2], k, v).rows));
    println!("\nDifferences with the codes and stop(p) held: {}", report.assert_ok());
    Ok(())
}
