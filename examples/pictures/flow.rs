//! From a token's query to its row: groups, keys, the choice, values.

use crate::svg::Picture;
use dpq::pq::{Normalization, composed};
use dpq::{DpqConfig, Tape, Tensor};

const D: usize = 2;
const K: usize = 4;
const S: usize = 2;
const QUERY: [[f64; S]; D] = [[0.9, -0.4], [0.3, 0.8]];
const KEYS: [[[f64; S]; K]; D] = [
    [[-0.5, 0.7], [0.8, 0.1], [0.3, -0.9], [-0.2, -0.4]],
    [[0.6, 0.6], [-0.8, 0.2], [0.1, -0.7], [0.4, 0.9]],
];
const VALUES: [[[f64; S]; K]; D] = [
    [[0.1, 1.0], [1.2, 0.3], [-1.0, 0.2], [0.4, -0.9]],
    [[0.5, 0.6], [-0.5, 0.7], [-0.8, -0.3], [0.9, -0.6]],
];

/// Height of a row of numbers.
const ROW: f64 = 25.0;

/// The places of the numbers of a row, from left to right.
struct Columns {
    left: f64,
    /// Width of a number, how many there are, and their decimals.
    width: f64,
    count: usize,
    decimals: usize,
}

impl Columns {
    fn middle(&self) -> f64 {
        (self.left + self.right()) / 2.0
    }

    fn right(&self) -> f64 {
        self.left + self.width * self.count as f64
    }

    fn draw(&self, picture: &mut Picture, class: &str, y: f64, numbers: &[f64]) {
        for (t, number) in numbers.iter().enumerate() {
            let x = self.left + self.width * t as f64;
            picture.rectangle(&format!("plain {class}"), (x, y), self.width, ROW);
            let words = format!("{number:.0$}", self.decimals).replace('-', "\u{2212}");
            picture.text("small mid", (x + self.width / 2.0, y + 17.5), &words);
        }
    }
}

pub fn draw() -> dpq::Result<Picture> {
    let tape = Tape::new();
    let q = tape.leaf(Tensor::from(QUERY).reshape([1, D * S]));
    let (keys, values) = (tape.leaf(Tensor::from(KEYS)), tape.leaf(Tensor::from(VALUES)));
    let sx = composed::sx(&DpqConfig::sx(D, K), Normalization::Off, q, keys, values);
    let (codes, output) = (sx.codes.to_vec(), sx.rows.value());
    tape.check()?;

    let mut picture = Picture::new(
        "flow",
        388.0,
        "From a query to codes and values",
        format!(
            "The query of a token is cut into two groups of two numbers. In each group it is \
             multiplied with four keys; the key with the largest score wins, here codewords {} and \
             {}. The winner's row of the values is the output of the group. Only the codes and the \
             values are kept after training.",
            codes[0], codes[1]
        ),
    );
    let columns = |left, width, count, decimals| Columns { left, width, count, decimals };
    let asked = columns(3.0, 38.0, S, 1);
    let compared = columns(115.0, 38.0, S, 1);
    let score = columns(213.0, 47.0, 1, 2);
    let choice = columns(282.0, 30.0, 1, 0);
    let looked_up = columns(336.0, 38.0, S, 1);
    let out = columns(440.0, 38.0, S, 1);
    for (place, words, below) in [
        (&asked, "query q", "cut in two"),
        (&compared, "keys C\u{1d4f}", "compared"),
        (&score, "score", "largest"),
        (&choice, "one-hot", "wins"),
        (&looked_up, "values C\u{1d5b}", "looked up"),
        (&out, "row y", "joined"),
    ] {
        picture.text("bold small mid", (place.middle(), 20.0), words);
        picture.text("small dim mid", (place.middle(), 39.0), below);
    }
    // What is cut into groups, and put together again.
    let top = |g: usize| 54.0 + 150.0 * g as f64;
    let chosen = |g: usize| top(g) + ROW * f64::from(codes[g]);
    let [first, last] = [top(0) + 2.5 * ROW, top(1) + 0.5 * ROW];
    picture.line("dim dots", &[(asked.middle(), first), (asked.middle(), last)]);
    picture.line("dim dots", &[(out.middle(), chosen(0) + ROW), (out.middle(), chosen(1))]);
    for g in 0..D {
        let (code, middle) = (codes[g] as usize, top(g) + 2.0 * ROW);
        picture.text("small dim", (asked.left, middle - 22.0), &format!("group {g}"));
        asked.draw(&mut picture, "fwd", middle - ROW / 2.0, &QUERY[g]);
        for j in 0..K {
            let y = top(g) + ROW * j as f64;
            let class = if j == code { "fwd" } else { "" };
            let dot: f64 = (0..S).map(|t| QUERY[g][t] * KEYS[g][j][t]).sum();
            compared.draw(&mut picture, class, y, &KEYS[g][j]);
            score.draw(&mut picture, class, y, &[dot]);
            choice.draw(&mut picture, class, y, &[f64::from(u8::from(j == code))]);
            looked_up.draw(&mut picture, class, y, &VALUES[g][j]);
            picture.text("small dim end", (compared.left - 5.0, y + 17.5), &j.to_string());
        }
        let y = chosen(g) + ROW / 2.0;
        out.draw(&mut picture, "fwd", chosen(g), &output.data()[g * S..(g + 1) * S]);
        picture.arrow("fwd", &[(asked.right() + 2.0, middle), (compared.left - 15.0, middle)]);
        for (from, to) in
            [(&compared, &score), (&score, &choice), (&choice, &looked_up), (&looked_up, &out)]
        {
            picture.arrow("fwd", &[(from.right() + 2.0, y), (to.left - 2.0, y)]);
        }
        let below = (choice.middle(), top(g) + 4.0 * ROW + 19.0);
        picture.text("bold fwd mid", below, &format!("code {code}"));
    }
    let kept = [
        "Kept after training: the codes of every word,",
        "and the values. Queries and keys are dropped.",
    ];
    picture.paragraph("dim mid", (260.0, 355.0), &kept);
    Ok(picture)
}
