//! The centroid form of DPQ on three tokens, two groups and four codewords, every number printed
//! beside its formula: the choice, the two regulariser terms, and which term moves what.
//!
//! Everything is computed here by plain sums first, then by the crate's composition of primitive
//! ops and by its fused op, which must agree, and the checker has the last word.

mod by_hand;

use by_hand::{D, K, N, S, agree, argmax, mean, show, show_row, sum, table, tensor};
use dpq::pq::Normalization::Batch;
use dpq::pq::{BATCH_NORM_EPS, Quantized, composed, vq};
use dpq::{DpqConfig, Tape, Var, gradcheck};
use std::array::from_fn;

const Q: [[[f64; S]; D]; N] =
    [[[0.9, -0.4], [0.3, 0.8]], [[0.6, 0.5], [1.1, -0.2]], [[0.2, 1.0], [-0.7, -0.9]]];
/// One codebook: what a query is compared with is what it is replaced by.
const CODEBOOK: [[[f64; S]; K]; D] = [
    [[0.8, 0.1], [-0.5, 0.7], [0.3, -0.9], [0.4, 0.6]],
    [[0.6, 0.6], [-0.8, 0.2], [0.1, -0.7], [0.4, -0.3]],
];
const TARGET: [[[f64; S]; D]; N] =
    [[[0.6, 0.2], [0.1, 0.9]], [[0.3, 0.4], [0.7, -0.6]], [[0.2, 0.8], [-0.9, -0.1]]];
const BETA: f64 = 0.25;

/// The task's loss, 1/2 sum (y - target)^2, and the regulariser.
fn loss<'t>(quantized: &Quantized<'t, f64>) -> Var<'t, f64> {
    let rows = quantized.rows;
    let error = rows - rows.tape().constant(tensor(&TARGET, [N, D * S]));
    (error * error).sum() * 0.5 + quantized.regulariser.expect("VQ always has one")
}

fn main() -> dpq::Result<()> {
    println!("FORWARD. A line is a token; between bars its groups; within them the codewords j.\n");
    let distance =
        |i: usize, g: usize, j: usize| sum(S, |t| (Q[i][g][t] - CODEBOOK[g][j][t]).powi(2));
    let r = table::<N, D, K>(|i, g, j| -distance(i, g, j));
    show("scores                r[i,g,j] = - || q[i,g] - C[g,j] ||^2", "token", &r);

    // One mean and one variance a codeword index, over all tokens and all groups.
    let mu: [f64; K] = from_fn(|j| mean(|i, g| r[i][g][j]));
    let var: [f64; K] = from_fn(|j| mean(|i, g| (r[i][g][j] - mu[j]).powi(2)));
    show_row("batch mean            mean[j] = mean over i,g of r[i,g,j]", &mu);
    show_row("batch variance        var[j] = mean over i,g of (r - mean)^2", &var);
    let rh = table::<N, D, K>(|i, g, j| (r[i][g][j] - mu[j]) / (var[j] + BATCH_NORM_EPS).sqrt());
    show("normalised            rh = (r - mean) / sqrt(var + 1e-3)", "token", &rh);

    let codes: [[usize; D]; N] = from_fn(|i| from_fn(|g| argmax(&rh[i][g])));
    let nearest: [[usize; D]; N] = from_fn(|i| from_fn(|g| argmax(&r[i][g])));
    println!("codes                 argmax_j rh, token by token:  {codes:?}");
    println!("the nearest, instead  argmax_j r:                   {nearest:?}");
    println!("                      normalisation may choose another than the nearest");
    assert_ne!(codes, nearest);
    let y = table::<N, D, S>(|i, g, t| CODEBOOK[g][codes[i][g]][t]);
    show("output                y[i,g] = C[g,code]      [= q + stop(C - q)]", "token", &y);

    let apart = table::<N, D, S>(|i, g, t| y[i][g][t] - Q[i][g][t]);
    let elements = (N * D * S) as f64;
    let square = sum(N, |i| sum(D, |g| sum(S, |t| apart[i][g][t].powi(2)))) / elements;
    show("codeword less query   C[g,code] - q[i,g]", "token", &apart);
    println!("codebook term         mean (C - stop(q))^2          {square:9.4}");
    println!("commitment term       beta mean (stop(C) - q)^2     {:9.4}", BETA * square);

    println!("\nBACKWARD of the loss 1/2 sum (y - target)^2 + both terms, beta = {BETA}.\n");
    let dy = table::<N, D, S>(|i, g, t| y[i][g][t] - TARGET[i][g][t]);
    show("task, queries         dq = dy = y - target: straight through", "token", &dy);
    println!("task, codebook        0: y's C is stopped, and the choice has no gradient");
    let pull = table::<N, D, S>(|i, g, t| -BETA * 2.0 * apart[i][g][t] / elements);
    show("commitment, queries   dq = 2 beta (q - C[g,code]) / (n D s)", "token", &pull);
    let chose = |i: usize, g: usize, j: usize| f64::from(u8::from(codes[i][g] == j));
    let dcodebook = table::<D, K, S>(|g, j, t| {
        sum(N, |i| chose(i, g, j) * 2.0 * (CODEBOOK[g][j][t] - Q[i][g][t])) / elements
    });
    show(
        "codebook term         dC[g,j] = 2 sum over i with code j of (C - q) / (n D s)",
        "group",
        &dcodebook,
    );
    let dq = table::<N, D, S>(|i, g, t| dy[i][g][t] + pull[i][g][t]);
    show("queries, in all       dq", "token", &dq);

    println!(
        "\nWhere dC is 0, a codeword is the mean of the queries that chose it, as in k-means:"
    );
    let count = table::<D, K, 1>(|g, j, _| sum(N, |i| chose(i, g, j)));
    let means = table::<D, K, S>(|g, j, t| {
        sum(N, |i| chose(i, g, j) * Q[i][g][t]) / count[g][j][0].max(1.0)
    });
    show("how many chose it", "group", &count);
    show("their mean", "group", &means);
    let same = table::<D, K, S>(|g, j, t| {
        2.0 * count[g][j][0] / elements * (CODEBOOK[g][j][t] - means[g][j][t])
    });
    agree("dC = 2 count (C - mean) / nDs", &same, &tensor(&dcodebook, [D, K, S]));

    println!("\nTHE CRATE, distance from the numbers above:\n");
    let config = DpqConfig { beta: BETA, ..DpqConfig::vq(D, K) };
    let inputs = [tensor(&Q, [N, D * S]), tensor(&CODEBOOK, [D, K, S])];
    let tape = Tape::new();
    let [q, c] = inputs.clone().map(|x| tape.leaf(x));
    let composed = composed::vq(&config, Batch, q, c);
    let fused = vq(&config, Batch, q, &[0, 1, 2], c);
    for (form, quantized) in [("composed", composed), ("fused", fused)] {
        println!("  {form}");
        let grads = tape.backward(loss(&quantized))?;
        agree("y", &y, &quantized.rows.value());
        agree("dq", &dq, &grads.dense(q));
        agree("dC", &dcodebook, &grads.dense(c));
    }
    let report = gradcheck(inputs, |[q, c]| loss(&vq(&config, Batch, q, &[0, 1, 2], c)));
    println!("\nDifferences with the codes and stopped values held: {}", report.assert_ok());
    Ok(())
}
