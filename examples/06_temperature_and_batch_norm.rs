//! Two settings of the softmax form: what the temperature does to the gradient, and what
//! batch-normalised scores do for the codewords.
//!
//! First the gradient that reaches the scores of 2,000 tokens, for temperatures from 100 down to
//! 0.001: its size, and how few tokens and codewords share it. Then four small models that predict
//! the next word, with and without normalisation, from the usual random start and from one whose
//! queries have a part in common; codewords used are counted as they train.

mod next_word;

use dpq::Tape;
use dpq::ops::one_hot;
use next_word::{D, K, V, random, train};

fn main() -> dpq::Result<()> {
    temperature()?;
    batch_norm()
}

fn temperature() -> dpq::Result<()> {
    const N: usize = 2000;
    const K: usize = 16;
    // Scores with variance 1, as normalisation makes them, and some upstream gradient.
    let rh = random(&[N, K], 3_f64.sqrt(), "scores");
    let (values, dy) = (random(&[K, 4], 1.0, "values"), random(&[N, 4], 1.0, "upstream"));
    println!("The gradient drh = p (dp - sum_j p dp) / tau of a token's 16 scores:\n");
    println!("             largest p          size of drh      the top tenth       codewords");
    println!("     tau          mean    rms tokens  median     of tokens has     that share it");
    let mut rows = Vec::new();
    for tau in [100.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.001] {
        let tape = Tape::new();
        let scores = tape.leaf(rh.clone());
        let p = (scores * (1.0 / tau)).softmax();
        let w = p.straight_through(one_hot(&scores.argmax(), K));
        let y = w.matmul(tape.constant(values.clone()));
        let drh = tape.backward((y * tape.constant(dy.clone())).sum())?.dense(scores);

        let norm = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
        let mut sizes: Vec<f64> = drh.rows().map(norm).collect();
        sizes.sort_by(f64::total_cmp);
        let total: f64 = sizes.iter().sum();
        let top = sizes[N * 9 / 10..].iter().sum::<f64>() / total;
        let (rms, median) = (norm(&sizes) / (N as f64).sqrt(), sizes[N / 2]);
        let sure = p.value().rows().map(|p| p.iter().fold(0.0, |m, p| p.max(m))).sum::<f64>();
        // (sum |x|)^2 / sum x^2 counts equal shares; averaged with the tokens' sizes for weights.
        let sharing =
            |x: &[f64]| x.iter().map(|x| x.abs()).sum::<f64>().powi(2) / norm(x).max(1e-300);
        let sharing = drh.rows().map(sharing).sum::<f64>() / total;
        let sure = sure / N as f64;
        println!(
            "{tau:8}  {sure:12.3}  {rms:12.4}  {median:.4}  {:15.0}%  {sharing:16.1}",
            100.0 * top
        );
        rows.push([rms, median, top, sharing]);
    }
    println!(
        "\nHot (top): p is flat and the gradient goes as 1/tau. Cold (bottom): p is one-hot for\n\
         almost every token, which then learns nothing; all goes to the few tokens between two\n\
         codewords, in leaps of 1/tau, and to those two. Values' gradients never depend on tau."
    );
    let last = rows.len() - 1;
    assert!((rows[0][0] / rows[1][0] - 0.1).abs() < 1e-3, "hot: as 1 / tau");
    assert!(rows.windows(2).all(|pair| pair[1][0] > pair[0][0] && pair[1][2] > pair[0][2]));
    assert!(rows.windows(2).all(|pair| pair[1][3] < pair[0][3]) && rows[last][3] < 2.1);
    let largest = rows.iter().map(|row| row[1]).fold(0.0, f64::max);
    assert!(rows[0][1] < 0.1 * largest && rows[last][1] < 0.1 * largest, "the middle learns most");
    Ok(())
}

fn batch_norm() -> dpq::Result<()> {
    println!(
        "\nNext-word models: {V} words, {D} groups that share a codebook of {K} codewords, so"
    );
    println!("{} pairs of a group and a codeword to use.", D * K);
    println!("The words that follow have an entropy of ln 3 = 1.099.\n");
    println!("                                    pairs used at step                  loss");
    println!("queries at first   scores           0    100    300    700   1500       at the end");
    let mut ends = Vec::new();
    for common in [0.0, 0.5] {
        for normalize in [false, true] {
            let (used, loss) = train(common, normalize)?;
            let start = if common == 0.0 { "random" } else { "+ a common part" };
            let scores = if normalize { "normalised" } else { "raw" };
            let end = used[used.len() - 1];
            let used: Vec<String> = used.iter().map(|used| format!("{used:7}")).collect();
            println!("{start:<18} {scores:<10} {}    {loss:10.3}", used.concat());
            ends.push((end, loss));
        }
    }
    println!(
        "\nA part that all queries share moves each codeword's scores by the same amount for every\n\
         token: whichever gains most wins everywhere. The batch's mean takes it out again, so the\n\
         last line is the second. Without such a part normalisation makes scores that start at some\n\
         thousandths about 30 times larger, for which p is less flat and queries learn sooner: here\n\
         fewer codewords are in use at first, and more at the end."
    );
    let [raw, normalised, raw_common, normalised_common] = &ends[..] else { unreachable!() };
    assert!(normalised.1 < raw.1 - 0.1 && normalised.0 > raw.0 + 20);
    assert!(raw_common.0 < D * K / 4 && raw_common.1 > raw.1 + 0.1, "stuck on a few codewords");
    assert!((normalised_common.1 - normalised.1).abs() < 0.05, "as if there were no common part");
    Ok(())
}
