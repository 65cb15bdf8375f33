//! The grades: every answer beside what the crate's own ops say, on the three tokens.

use crate::case::{
    Answers, BETA, Codebooks, Codes, D, DY, K, KEYS, N, Q, Rows, S, Scores, Situation, TAU, VALUES,
};
use dpq::ops::one_hot;
use dpq::pq::codes::CodeTable;
use dpq::pq::{BATCH_NORM_EPS, Normalization, Options, composed};
use dpq::tape::Gradient;
use dpq::{DpqConfig, Tape, Tensor};
use std::array::from_fn;

/// An exercise: its name, and its grade for the answers. A wrong one comes with what was expected.
pub struct Exercise {
    pub name: &'static str,
    pub grade: fn(&Answers) -> Result<(), String>,
}

pub const EXERCISES: [Exercise; 8] = [
    Exercise { name: "ex1_values", grade: values },
    Exercise { name: "ex2_softmax", grade: softmax },
    Exercise { name: "ex3_straight_through", grade: straight_through },
    Exercise { name: "ex4_two_terms", grade: two_terms },
    Exercise { name: "ex5_batch_norm", grade: batch_norm },
    Exercise { name: "ex6_repeated_ids", grade: repeated_ids },
    Exercise { name: "ex7_packing", grade: packing },
    Exercise { name: "ex8_sharing", grade: sharing },
];

/// The numbers of a tensor by three indices.
fn table<const A: usize, const B: usize, const C: usize>(x: &Tensor<f64>) -> [[[f64; C]; B]; A] {
    from_fn(|a| from_fn(|b| from_fn(|c| x.data()[(a * B + b) * C + c])))
}

/// Expected and found numbers side by side, unless they are equal.
fn beside<const A: usize, const B: usize, const C: usize>(
    what: &str,
    axes: [&str; 2],
    expected: &[[[f64; C]; B]; A],
    found: &[[[f64; C]; B]; A],
) -> Result<(), String> {
    let numbers = |x: &[f64]| x.iter().map(|x| format!("{x:9.4}")).collect::<String>();
    let mut text =
        format!("{what}\n{:22}{:>width$}   {:>width$}\n", "", "expected", "found", width = 9 * C);
    let mut right = true;
    for (a, (expected, found)) in expected.iter().zip(found).enumerate() {
        for (b, (expected, found)) in expected.iter().zip(found).enumerate() {
            let same = expected.iter().zip(found).all(|(e, f)| (e - f).abs() < 1e-9);
            right &= same;
            let place = format!("  {} {a}, {} {b}", axes[0], axes[1]);
            let mark = if same { "" } else { "  <-" };
            text += &format!("{place:22}{}   {}{mark}\n", numbers(expected), numbers(found));
        }
    }
    if right { Ok(()) } else { Err(text) }
}

/// rh, p and the codes of the three tokens in SX.
fn forward() -> (Scores, Scores, [f64; K], Codes) {
    let tape = Tape::new();
    let score = |i: usize, g: usize, j: usize| (0..S).map(|t| Q[i][g][t] * KEYS[g][j][t]).sum();
    let r = Tensor::from_fn([N * D, K], |at| score(at / K / D, at / K % D, at % K));
    let (rh, statistics) = tape.leaf(r).batch_norm(BATCH_NORM_EPS);
    let p = (rh * (1.0 / TAU)).softmax();
    let sd = from_fn(|j| 1.0 / statistics.reciprocals()[j]);
    let codes = rh.argmax();
    (table(&rh.value()), table(&p.value()), sd, from_fn(|i| from_fn(|g| codes[i * D + g] as usize)))
}

/// dp[i,g,j] = < dy[i,g], C^v[g,j] >
fn dp() -> Scores {
    from_fn(|i| from_fn(|g| from_fn(|j| (0..S).map(|t| DY[i][g][t] * VALUES[g][j][t]).sum())))
}

fn rows(x: &Rows) -> Tensor<f64> {
    Tensor::from(*x).reshape([N, D * S])
}

fn values(answers: &Answers) -> Result<(), String> {
    let tape = Tape::new();
    let [keys, values] = [KEYS, VALUES].map(|book| tape.leaf(Tensor::from(book)));
    let q = tape.leaf(rows(&Q));
    let sx = composed::sx(&DpqConfig::sx(D, K), Normalization::Batch, q, keys, values);
    let grads = tape.backward_from(&[(sx.rows, rows(&DY))]).map_err(|e| e.to_string())?;
    let (.., codes) = forward();
    let found = (answers.values)(&codes, &DY);
    let expected: Codebooks = table(&grads.dense(values));
    beside(&format!("dC^v, with the codes {codes:?}"), ["group", "codeword"], &expected, &found)
}

/// drh of the three tokens, and the p that it goes through.
fn softmax_rule(tau: f64) -> Result<(Scores, Scores), String> {
    let (rh, ..) = forward();
    let tape = Tape::new();
    let rh = tape.leaf(Tensor::from(rh));
    let p = (rh * (1.0 / tau)).softmax();
    let grads = tape.backward_from(&[(p, Tensor::from(dp()))]).map_err(|e| e.to_string())?;
    Ok((table(&grads.dense(rh)), table(&p.value())))
}

fn softmax(answers: &Answers) -> Result<(), String> {
    for tau in [TAU, 2.0] {
        let (expected, p) = softmax_rule(tau)?;
        let found = (answers.softmax)(&p, &dp(), tau);
        beside(&format!("drh, with tau = {tau}"), ["token", "group"], &expected, &found)?;
    }
    Ok(())
}

fn straight_through(answers: &Answers) -> Result<(), String> {
    let (_, p, _, codes) = forward();
    let tape = Tape::new();
    let codes: Vec<u32> = codes.as_flattened().iter().map(|&code| code as u32).collect();
    let onehot = tape.leaf(one_hot(&codes, K).reshape([N, D, K]));
    let p = tape.leaf(Tensor::from(p));
    let w = (answers.straight_through)(onehot, p);
    let grads = tape.backward_from(&[(w, Tensor::from(dp()))]).map_err(|e| e.to_string())?;
    let axes = ["token", "group"];
    let of = |x: &Tensor<f64>| -> Scores { table(x) };
    beside("w's value, the one-hot", axes, &of(&onehot.value()), &of(&w.value()))?;
    beside("the gradient that p gets: expected is that of w", axes, &dp(), &of(&grads.dense(p)))?;
    let none = [[[0.0; K]; D]; N];
    beside("the one-hot's gradient: none", axes, &none, &of(&grads.dense(onehot)))
}

fn two_terms(answers: &Answers) -> Result<(), String> {
    let tape = Tape::new();
    let (q, c) = (tape.leaf(rows(&Q)), tape.leaf(Tensor::from(KEYS)));
    let config = DpqConfig { beta: BETA, ..DpqConfig::vq(D, K) };
    let vq = composed::vq(&config, Normalization::Batch, q, c);
    let grads = tape.backward(vq.regulariser.expect("VQ always has one"));
    let grads = grads.map_err(|e| e.to_string())?;
    let codes = vq.codes.to_vec();
    let codes: Codes = from_fn(|i| from_fn(|g| codes[i * D + g] as usize));
    let (dq, dc) = (answers.two_terms)(&Q, &KEYS, &codes, BETA);
    let given = format!("with the codes {codes:?} and beta = {BETA}");
    let of_q = beside(&format!("dq, {given}"), ["token", "group"], &table(&grads.dense(q)), &dq);
    let of_c = beside(&format!("dC, {given}"), ["group", "codeword"], &table(&grads.dense(c)), &dc);
    match (of_q, of_c) {
        (Err(one), Err(other)) => Err(one + &other),
        (one, other) => one.and(other),
    }
}

fn batch_norm(answers: &Answers) -> Result<(), String> {
    let (rh, _, sd, _) = forward();
    let (drh, _) = softmax_rule(TAU)?;
    let tape = Tape::new();
    let r = Tensor::from_fn([N * D, K], |at| rh.as_flattened()[at / K][at % K] * sd[at % K]);
    let r = tape.leaf(r);
    let seed = Tensor::from(drh).reshape([N * D, K]);
    let normalised = r.batch_norm(BATCH_NORM_EPS).0;
    let grads = tape.backward_from(&[(normalised, seed)]).map_err(|e| e.to_string())?;
    let expected: Scores = table(&grads.dense(r));
    let found = (answers.batch_norm)(&drh, &rh, &sd);
    beside("dr, from the drh of exercise 2", ["token", "group"], &expected, &found)
}

fn repeated_ids(answers: &Answers) -> Result<(), String> {
    for ids in [[7, 2, 7], [2, 7, 7]] {
        let tape = Tape::new();
        let words = tape.leaf(Tensor::zeros([10, D * S]));
        let looked_up = words.gather_rows(&ids);
        let grads = tape.backward_from(&[(looked_up, rows(&DY))]).map_err(|e| e.to_string())?;
        let Some(Gradient::Rows(sums)) = grads.get(words) else { unreachable!("a lookup") };
        let count = |id| ids.iter().filter(|other| **other == id).count();
        let found = (answers.repeated_ids)(&ids, &DY);
        let listed: Vec<_> = found.iter().map(|known| (known.id, known.count)).collect();
        let expected: Vec<_> = sums.ids.iter().map(|&id| (id, count(id))).collect();
        if listed != expected {
            return Err(format!(
                "the distinct ids of {ids:?}, each with its count\n  expected {expected:?}   found {listed:?}\n"
            ));
        }
        let found: [[[f64; S]; D]; 2] = from_fn(|u| found[u].dy);
        let what = format!("dy[u], u = 0 and 1 being the ids {:?}", &sums.ids[..]);
        beside(&what, ["u =", "group"], &table(&sums.rows), &found)?;
    }
    Ok(())
}

fn packing(answers: &Answers) -> Result<(), String> {
    let cases: [(usize, &[u32]); 6] = [
        (3, &[5, 1, 6]),
        (2, &[2, 3, 1, 0]),
        (2, &[2, 3, 1, 0, 1, 2]),
        (9, &[300, 1, 511, 17]),
        (15, &[32_767, 21_845, 1, 29_127]),
        (4, &[]),
    ];
    for (bits, codes) in cases {
        let expected = CodeTable::pack(codes, codes.len().max(1), 1 << bits);
        let found = (answers.packing)(codes, bits);
        if found != expected.bytes() {
            let show = |bytes: &[u8]| match bytes {
                [] => " (nothing)".to_string(),
                _ => bytes.iter().map(|b| format!(" {b:08b}")).collect(),
            };
            let (expected, found) = (show(expected.bytes()), show(&found));
            return Err(format!(
                "{codes:?} in {bits} bits, byte by byte, the lowest bit on the right\n  \
                 expected{expected}\n  found   {found}\n"
            ));
        }
    }
    Ok(())
}

/// Gradients of keys and values of the first group, of two tokens with one id: of the two apart, and of one
/// token with the sum of their dy.
fn apart_and_shared(situation: Situation) -> [[[[f64; S]; K]; 2]; 2] {
    let [mut queries, mut kept] = [[Q[0][0]; 2], [[1.0, 1.0]; 2]];
    let mut draws = [0.1; 2];
    match situation {
        Situation::Plain => {}
        Situation::CodesAreSampled => draws[1] = 0.9,
        Situation::QueriesAreDropped => (queries[0][0], queries[1][1]) = (0.0, 0.0),
        Situation::RowsAreDropped => kept = [[0.0, 2.0], [2.0, 0.0]],
        Situation::QueriesFromContext => queries[1] = Q[1][0],
    }
    let sampled = situation == Situation::CodesAreSampled;
    let of = |dy: &[[f64; S]]| {
        let (n, tape) = (dy.len(), Tape::new());
        let draws = Tensor::from_fn([n, 1], |i| draws[i]);
        let q = tape.leaf(Tensor::from_fn([n, S], |at| queries[at / S][at % S]));
        let [keys, values] = [KEYS[0], VALUES[0]].map(|book| tape.leaf(Tensor::from([book])));
        let options = Options { draws: sampled.then_some(&draws), ..Options::default() };
        let config = DpqConfig::sx(1, K);
        let sx = composed::sx_with(&config, Normalization::Off, q, keys, values, options);
        let dy = Tensor::from_fn([n, S], |at| dy[at / S][at % S]);
        let grads = tape.backward_from(&[(sx.rows, dy)]).expect("no op of it fails");
        [keys, values].map(|book| table::<1, K, S>(&grads.dense(book))[0])
    };
    let dy: [[f64; S]; 2] = from_fn(|i| from_fn(|t| DY[i][0][t] * kept[i][t]));
    [of(&dy), of(&[from_fn(|t| dy[0][t] + dy[1][t])])]
}

fn sharing(answers: &Answers) -> Result<(), String> {
    let situations = [
        Situation::Plain,
        Situation::CodesAreSampled,
        Situation::QueriesAreDropped,
        Situation::RowsAreDropped,
        Situation::QueriesFromContext,
    ];
    for situation in situations {
        let [apart, shared] = apart_and_shared(situation);
        let what =
            format!("{situation:?}: dC^k (0) and dC^v (1), of two tokens apart, and found as one");
        let equal = beside(&what, ["book", "codeword"], &apart, &shared);
        match (answers.sharing)(situation) {
            None => return Err(format!("{situation:?}: no answer yet\n")),
            Some(answer) if answer == equal.is_ok() => {}
            Some(_) => {
                let same = format!("{situation:?}: gradients as one are exactly those apart\n");
                return Err(equal.err().unwrap_or(same));
            }
        }
    }
    Ok(())
}
