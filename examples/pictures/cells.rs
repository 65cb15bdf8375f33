//! The cells of VQ's codewords, and what pulls at queries and at codewords.

use crate::svg::{Axes, Picture, Point};
use dpq::pq::{Normalization, composed};
use dpq::{DpqConfig, Tape, Tensor};

const K: usize = 5;
const CODEWORDS: [[f64; 2]; K] = [[-1.5, 0.7], [0.3, 0.9], [-0.7, -0.9], [0.9, -0.6], [2.2, 0.9]];
const QUERIES: [[f64; 2]; 14] = [
    [-2.25, 0.77],
    [-1.93, 1.31],
    [-1.95, 0.38],
    [-1.45, 1.25],
    [1.05, 0.97],
    [0.83, 0.37],
    [0.72, 1.32],
    [0.35, 0.4],
    [-1.4, -1.3],
    [-1.35, -0.45],
    [1.65, -0.73],
    [1.28, -1.25],
    [1.4, -0.31],
    [0.8, -1.15],
];
/// Large, so that arrows of the commitment term can be seen.
const BETA: f64 = 1.6;
/// Pulls are a step down the gradient, this long: a codeword that four queries chose gets to their mean.
const STEP: f64 = 3.5;

/// The part of the frame that is nearer to codeword j than to any other.
fn cell(j: usize, frame: Vec<Point>) -> Vec<Point> {
    let distance = |c: [f64; 2], p: Point| (p.0 - c[0]).powi(2) + (p.1 - c[1]).powi(2);
    CODEWORDS.iter().filter(|other| **other != CODEWORDS[j]).fold(frame, |cell, &other| {
        // By how much the other is further away: a line in the place.
        let more = |p: Point| distance(other, p) - distance(CODEWORDS[j], p);
        let next = cell.iter().cycle().skip(1);
        let edges: Vec<(Point, Point)> = cell.iter().copied().zip(next.copied()).collect();
        let mut cut = Vec::new();
        for (from, to) in edges {
            let (a, b) = (more(from), more(to));
            if a >= 0.0 {
                cut.push(from);
            }
            if a * b < 0.0 {
                let part = a / (a - b);
                cut.push((from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1)));
            }
        }
        cut
    })
}

pub fn draw() -> dpq::Result<Picture> {
    let tape = Tape::new();
    let q = tape.leaf(Tensor::from(QUERIES));
    let codebook = tape.leaf(Tensor::from([CODEWORDS]));
    let config = DpqConfig { beta: BETA, ..DpqConfig::vq(1, K) };
    let vq = composed::vq(&config, Normalization::Off, q, codebook);
    // Of the regulariser alone: queries get the commitment term's, codewords the codebook term's.
    let grads = tape.backward(vq.regulariser.expect("VQ always has one"))?;
    let (dq, dc) = (grads.dense(q), grads.dense(codebook));

    let mut picture = Picture::new(
        "cells",
        450.0,
        "VQ's cells, and the pulls of both terms of the regulariser",
        "Five codewords in a plane, each in its cell: the queries in a cell choose its codeword. \
         Short dashed arrows pull each query towards its codeword, the commitment term. Thick \
         arrows pull each codeword towards the mean of its queries, the codebook term. A codeword \
         whose cell holds no query is not pulled.",
    );
    let axes = Axes {
        corner: (6.0, 6.0),
        width: 508.0,
        height: 330.0,
        x: (-2.55, 2.85),
        y: (-1.65, 1.8578),
    };
    let (x, y) = (axes.x, axes.y);
    let frame = vec![(x.0, y.0), (x.1, y.0), (x.1, y.1), (x.0, y.1)];
    let codes = vq.codes.to_vec();
    for j in 0..K {
        let used = codes.contains(&(j as u32));
        let outline: Vec<Point> =
            cell(j, frame.clone()).into_iter().map(|(x, y)| axes.at(x, y)).collect();
        picture.polygon(if used { "plain fwd" } else { "plain" }, &outline);
    }
    for (query, dq) in QUERIES.iter().zip(dq.rows()) {
        let at = axes.at(query[0], query[1]);
        let pulled = axes.at(query[0] - STEP * dq[0], query[1] - STEP * dq[1]);
        picture.arrow("bwd dash", &[at, pulled]);
        picture.circle("solid", at, 4.5);
    }
    for (j, (codeword, dc)) in CODEWORDS.iter().zip(dc.rows()).enumerate() {
        let at = axes.at(codeword[0], codeword[1]);
        let pulled = axes.at(codeword[0] - STEP * dc[0], codeword[1] - STEP * dc[1]);
        let used = codes.contains(&(j as u32));
        if used {
            picture.arrow("thick bwd", &[at, pulled]);
        } else {
            picture.text("small dim mid", (at.0, at.1 + 28.0), "no query:");
            picture.text("small dim mid", (at.0, at.1 + 45.0), "no pull");
        }
        let class = if used { "solid fwd" } else { "solid dim" };
        picture.rectangle(class, (at.0 - 7.0, at.1 - 7.0), 14.0, 14.0);
    }
    picture.circle("solid", (30.0, 362.0), 4.5);
    picture.text("", (62.0, 367.0), "query");
    picture.rectangle("solid fwd", (163.0, 355.0), 14.0, 14.0);
    picture.text("", (190.0, 367.0), "codeword, in its cell");
    picture.arrow("bwd dash", &[(8.0, 398.0), (52.0, 398.0)]);
    picture.text("", (62.0, 403.0), "commitment term: a query to its codeword");
    picture.arrow("thick bwd", &[(8.0, 434.0), (52.0, 434.0)]);
    picture.text("", (62.0, 439.0), "codebook term: a codeword to its queries' mean");
    Ok(picture)
}
