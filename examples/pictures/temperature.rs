//! The softmax of a token's scores and the size of their gradient, against the temperature.

use crate::svg::{Axes, Picture, Point};
use dpq::ops::one_hot;
use dpq::{Tape, Tensor};

const K: usize = 4;
/// Scores of a token that is sure of its codeword, and of one between two.
const TOKENS: [[f64; K]; 2] = [[1.7, 0.3, -0.6, -1.4], [1.0, 0.9, -0.5, -1.4]];
const VALUES: [[f64; 1]; K] = [[0.6], [-0.6], [0.3], [-0.3]];

/// p, and the length of the scores' gradient drh, of the loss y.
fn at(rh: [f64; K], tau: f64) -> dpq::Result<(Vec<f64>, f64)> {
    let tape = Tape::new();
    let rh = tape.leaf(Tensor::from([rh]));
    let p = (rh * (1.0 / tau)).softmax();
    let w = p.straight_through(one_hot(&rh.argmax(), K));
    let drh = tape.backward(w.matmul(tape.constant(Tensor::from(VALUES))).sum())?.dense(rh);
    let length = drh.data().iter().map(|x| x * x).sum::<f64>().sqrt();
    Ok((p.value().data().to_vec(), length))
}

pub fn draw() -> dpq::Result<Picture> {
    let mut picture = Picture::new(
        "temperature",
        552.0,
        "The softmax and the gradient against the temperature",
        "Two tokens, each with four codewords, temperatures from 0.01 to 100. At high temperatures \
         all probabilities are a quarter, and the gradient falls as one over tau. At low \
         temperatures the probabilities are one and zero. There the token with a clear winner has \
         no gradient left, and the one between two codewords has a very large one, before it \
         vanishes as well.",
    );
    let marks = [(-2.0, "0.01"), (-1.0, "0.1"), (0.0, "1"), (1.0, "10"), (2.0, "100")];
    for (token, words) in ["one clear winner", "two nearly equal"].iter().enumerate() {
        let left = 50.0 + 254.0 * token as f64;
        let axes =
            |top, height, y| Axes { corner: (left, top), width: 200.0, height, x: (-2.0, 2.0), y };
        let (p_axes, size_axes) = (axes(66.0, 140.0, (0.0, 1.0)), axes(260.0, 150.0, (-3.0, 1.0)));
        let first = |words| if token == 0 { words } else { "" };
        p_axes.draw(
            &mut picture,
            &marks,
            &[(0.0, first("0")), (0.5, first("\u{bd}")), (1.0, first("1"))],
        );
        let sizes = [(-3.0, "0.001"), (-2.0, "0.01"), (-1.0, "0.1"), (0.0, "1"), (1.0, "10")];
        size_axes.draw(&mut picture, &marks, &sizes.map(|(y, words)| (y, first(words))));
        picture.text("bold mid", (left + 100.0, 20.0), words);
        picture.text("small fwd mid", (left + 100.0, 52.0), "p of the four codewords");
        picture.text("small bwd mid", (left + 100.0, 250.0), "size of the gradient drh");
        picture.text("small dim mid", (left + 100.0, 450.0), "temperature \u{3c4}");

        let mut curves: [Vec<Point>; K] = Default::default();
        let mut gradient: Vec<Point> = Vec::new();
        for step in 0..=100 {
            let log_tau = -2.0 + 0.04 * f64::from(step);
            let (p, length) = at(TOKENS[token], 10_f64.powf(log_tau))?;
            for (curve, p) in curves.iter_mut().zip(p) {
                curve.push(p_axes.at(log_tau, p));
            }
            // Below the frame nothing is drawn.
            if length >= 1e-3 {
                gradient.push(size_axes.at(log_tau, length.log10()));
            }
        }
        for (curve, class) in
            curves.iter().zip(["fwd thick", "fwd dash", "fwd thin dim", "fwd thin dim"])
        {
            picture.line(class, curve);
        }
        picture.line("bwd thick", &gradient);
    }
    picture.line("fwd thick", &[(50.0, 478.0), (90.0, 478.0)]);
    picture.text("small", (98.0, 483.0), "chosen codeword");
    picture.line("fwd dash", &[(236.0, 478.0), (276.0, 478.0)]);
    picture.text("small", (284.0, 483.0), "second");
    picture.line("thin dim", &[(358.0, 478.0), (398.0, 478.0)]);
    picture.text("small", (406.0, 483.0), "others");
    let lesson = [
        "\u{3c4} small: only tokens between two codewords learn.",
        "\u{3c4} large: all learn, slowly.",
    ];
    picture.paragraph("", (50.0, 515.0), &lesson);
    Ok(picture)
}
