//! The paths of codewords over the steps of a run, with and without normalised scores.

use crate::svg::{Axes, Picture, Point};
use dpq::optim::{Optimizer, Sgd};
use dpq::pq::{Normalization, composed};
use dpq::{DpqConfig, Params, Tape, Tensor, rng};
use std::collections::BTreeSet;

const N: usize = 60;
const K: usize = 8;
const STEPS: usize = 6000;
const COMMON: f64 = 2.0;

fn random(shape: &[usize], bound: f64, purpose: &str) -> Tensor<f64> {
    Tensor::uniform(shape, bound, &mut rng::stream(0, purpose, 0))
}

/// Where the rows of the tokens should be: around six centres.
fn targets() -> Tensor<f64> {
    let noise = random(&[N, 2], 0.22, "targets");
    Tensor::from_fn([N, 2], |i| {
        let angle = std::f64::consts::TAU * (i / 2 % 6) as f64 / 6.0 + 0.3;
        noise.data()[i] + if i % 2 == 0 { angle.cos() } else { angle.sin() }
    })
}

/// The values after every step, and the codes that are in use at the end.
type Run = (Vec<Tensor<f64>>, BTreeSet<u32>);

fn train(normalization: Normalization<'_, f64>) -> dpq::Result<Run> {
    let config = DpqConfig::sx(1, K);
    let mut params = Params::new();
    // All queries have a part in common.
    let queries = random(&[N, 2], 0.3, "queries");
    let queries = params.add("queries", Tensor::from_fn([N, 2], |i| queries.data()[i] + COMMON));
    let keys = params.add("keys", random(&[1, K, 2], 0.5, "keys"));
    let values = params.add("values", random(&[1, K, 2], 0.45, "values"));
    let targets = targets();
    let (mut tape, mut sgd) = (Tape::new(), Sgd::new(0.003));
    let (mut path, mut codes) = (vec![params.get(values).deep_copy()], BTreeSet::new());
    for _ in 0..STEPS {
        let (_, grads, chosen) = tape.value_and_grad(&params, |p| {
            let sx = composed::sx(&config, normalization, p[queries], p[keys], p[values]);
            let error = sx.rows - p.tape.constant(targets.clone());
            ((error * error).sum() * 0.5, sx.codes.to_vec())
        })?;
        sgd.step(&mut params, &grads)?;
        path.push(params.get(values).deep_copy());
        codes = chosen.into_iter().collect();
    }
    Ok((path, codes))
}

/// The points of a path, less those that are close to the last.
fn thinned(path: impl Iterator<Item = Point>) -> Vec<Point> {
    let mut kept: Vec<Point> = Vec::new();
    for point in path {
        let close = |last: &Point| (point.0 - last.0).hypot(point.1 - last.1) < 2.5;
        if !kept.last().is_some_and(close) {
            kept.push(point);
        }
    }
    kept
}

/// A run in a square.
fn panel(picture: &mut Picture, left: f64, words: &str, (path, codes): &Run) {
    let ends = (-1.4, 1.4);
    let axes = Axes { corner: (left, 50.0), width: 250.0, height: 250.0, x: ends, y: ends };
    picture.rectangle("plain", axes.corner, axes.width, axes.height);
    for target in targets().rows() {
        picture.circle("solid line", axes.at(target[0], target[1]), 3.5);
    }
    // Those in use are drawn last, on top.
    let is_used = |j: &usize| codes.contains(&(*j as u32));
    let (moving, still): (Vec<usize>, Vec<usize>) = (0..K).partition(is_used);
    for (list, class) in [(&still, "dim"), (&moving, "fwd")] {
        for j in list {
            let of = |values: &Tensor<f64>| axes.at(values.data()[2 * j], values.data()[2 * j + 1]);
            picture.line(class, &thinned(path.iter().map(of)));
            picture.circle(&format!("stroke {class}"), of(&path[0]), 5.0);
            picture.circle(&format!("solid {class}"), of(&path[STEPS]), 6.0);
        }
    }
    let count = format!("{} of {K} codewords used", codes.len());
    picture.text("bold mid", (left + 125.0, 20.0), words);
    picture.text("small mid", (left + 125.0, 40.0), &count);
}

pub fn draw() -> dpq::Result<Picture> {
    let runs = [train(Normalization::Batch)?, train(Normalization::Off)?];
    let [all, few] = [runs[0].1.len(), runs[1].1.len()];
    let mut picture = Picture::new(
        "run",
        388.0,
        "Codewords that move over the steps of a run",
        format!(
            "Two runs from one start, in which all queries have a part in common. The values of {K} \
             codewords start near the middle of six heaps of targets. With batch norm {all} of them \
             are used at the end, and have moved out to the heaps. Without it {few} are used; the \
             others are grey and stay where they are, because no token chooses them."
        ),
    );
    panel(&mut picture, 4.0, "with batch norm", &runs[0]);
    panel(&mut picture, 266.0, "without batch norm", &runs[1]);
    for (x, class, radius, words) in [
        (14.0, "stroke fwd", 5.0, "start"),
        (94.0, "solid fwd", 6.0, "end"),
        (166.0, "solid dim", 6.0, "end, not used"),
        (312.0, "solid line", 3.5, "targets of the tokens"),
    ] {
        picture.circle(class, (x, 321.0), radius);
        picture.text("small", (x + 13.0, 326.0), words);
    }
    let few = format!("norm, {few} codewords win all tokens, and only those learn.");
    let lesson = ["All queries start with a part in common. Without batch", &few];
    picture.paragraph("", (6.0, 356.0), &lesson);
    Ok(picture)
}
