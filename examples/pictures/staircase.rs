//! The staircase of one coordinate of a query, and the function whose derivative its gradient is.

use crate::svg::{Axes, Picture, Point};
use dpq::pq::{Normalization, Temperature, composed};
use dpq::{DpqConfig, Tape, Tensor};

const K: usize = 4;
/// The query is (x, 1), so the score of a codeword is a line in x.
const KEYS: [[f64; 2]; K] = [[-1.9, -1.5], [-0.7, 0.1], [0.6, 0.2], [1.8, -1.3]];
/// The first column is drawn; the second makes them as wide as the keys.
const VALUES: [[f64; 2]; K] = [[-1.1, 0.0], [-0.4, 0.0], [0.7, 0.0], [1.3, 0.0]];
const TAU: f64 = 0.5;
const X0: f64 = 0.55;

/// At x: the value of SX, its gradient with respect to x, and what p alone would give.
fn sx(x: f64) -> dpq::Result<[f64; 3]> {
    let config = DpqConfig { temperature: Temperature::Fixed(TAU), ..DpqConfig::sx(1, K) };
    let tape = Tape::new();
    let q = tape.leaf(Tensor::from([[x, 1.0]]));
    let [keys, values] = [KEYS, VALUES].map(|rows| tape.constant(Tensor::from([rows])));
    let y = composed::sx(&config, Normalization::Off, q, keys, values).rows.slice(1, 0..1);
    let gradient = tape.backward(y.sum())?.dense(q).data()[0];
    let scores = q.matmul(keys.reshape([K, 2]).transpose(0, 1));
    let soft = (scores * (1.0 / TAU)).softmax().matmul(values.reshape([K, 2]));
    Ok([y.value().item(), gradient, soft.value().data()[0]])
}

pub fn draw() -> dpq::Result<Picture> {
    let [y0, slope, soft0] = sx(X0)?;
    // Every stopped value held at x0: y(x; x0) = soft(x) + [hard(x0) - soft(x0)].
    let held = |x: f64| Ok::<f64, dpq::Error>(sx(x)?[2] + (y0 - soft0));
    let difference = (held(X0 + 1e-5)? - held(X0 - 1e-5)?) / 2e-5;
    assert!((difference - slope).abs() < 1e-8, "{difference} is not the gradient {slope}");

    let mut picture = Picture::new(
        "staircase",
        450.0,
        "A staircase, and the smooth curve that lends it a slope",
        format!(
            "One number of the output, drawn against one coordinate x of the query. The value is a \
             staircase of four steps, flat almost everywhere. A smooth curve, the same formula with \
             all stopped values held at x0, touches the staircase at x0 = {X0}. Its tangent there \
             has slope {slope:.2}: that is the gradient on the tape."
        ),
    );
    let axes =
        Axes { corner: (40.0, 34.0), width: 468.0, height: 282.0, x: (-3.0, 3.0), y: (-1.5, 1.9) };
    axes.draw(
        &mut picture,
        &[
            (-3.0, "\u{2212}3"),
            (-2.0, "\u{2212}2"),
            (-1.0, "\u{2212}1"),
            (0.0, "0"),
            (1.0, "1"),
            (2.0, "2"),
            (3.0, "3"),
        ],
        &[(-1.0, "\u{2212}1"), (0.0, "0"), (1.0, "1")],
    );
    picture.text("small dim", (12.0, 22.0), "output y");
    picture.text("small dim mid", (274.0, 352.0), "a coordinate x of the query");

    let steps = 600;
    let xs: Vec<f64> = (0..=steps).map(|i| -3.0 + 6.0 * i as f64 / steps as f64).collect();
    let mut stairs: Vec<Point> = Vec::new();
    let mut curve: Vec<Point> = Vec::new();
    for (i, &x) in xs.iter().enumerate() {
        let at = axes.at(x, sx(x)?[0]);
        // A step begins where the last ended.
        if let Some(last) = stairs.last().copied().filter(|last| last.1 != at.1) {
            stairs.extend([(at.0, last.1), at]);
        } else if i == 0 || i == steps {
            stairs.push(at);
        }
        if i % 10 == 0 {
            curve.push(axes.at(x, held(x)?));
        }
    }
    picture.line("bwd", &curve);
    picture.line("fwd thick", &stairs);
    let tangent = [X0 - 0.8, X0 + 0.9].map(|x| axes.at(x, y0 + slope * (x - X0)));
    picture.line("thick bwd dash", &tangent);
    let point = axes.at(X0, y0);
    picture.line("thin dim dots", &[point, axes.at(X0, -1.5)]);
    picture.circle("solid", point, 6.0);
    picture.text("bold", (point.0 + 6.0, axes.at(0.0, -1.5).1 - 8.0), "x0");
    for (y, class, words) in [
        (384.0, "fwd thick", "value: flat steps, no slope to learn from".into()),
        (410.0, "bwd", "the same, with all stops held at x0".into()),
        (436.0, "bwd thick dash", format!("its tangent: the gradient, {slope:.2}")),
    ] {
        picture.line(class, &[(40.0, y), (94.0, y)]);
        picture.text("", (106.0, y + 5.5), &words);
    }
    Ok(picture)
}
