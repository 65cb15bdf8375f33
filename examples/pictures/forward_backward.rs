//! Values forward and gradients backward through both forms, and where gradients are stopped.

use crate::svg::{Picture, Point};

/// Values go from one box to the next, gradients come back beside them.
fn both_ways(picture: &mut Picture, from: Point, to: Point, gradient: &str) {
    let aside = |(x, y): Point, by: f64| if from.1 == to.1 { (x, y + by) } else { (x + by, y) };
    picture.arrow("fwd", &[aside(from, -5.0), aside(to, -5.0)]);
    picture.arrow("bwd dash", &[aside(to, 5.0), aside(from, 5.0)]);
    let middle = ((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0);
    if from.1 == to.1 {
        picture.text("small bwd mid", (middle.0, middle.1 + 24.0), gradient);
    } else {
        picture.text("small bwd", (middle.0 + 14.0, middle.1 + 5.0), gradient);
    }
}

/// Values go, and what comes back ends at a bar.
fn stopped(picture: &mut Picture, from: Point, to: Point) {
    picture.arrow("fwd", &[(from.0, from.1 - 5.0), (to.0, to.1 - 5.0)]);
    let bar = to.0 + (from.0 - to.0) * 0.45;
    picture.line("bwd dash", &[(to.0, to.1 + 5.0), (bar, to.1 + 5.0)]);
    picture.stop((bar, to.1 + 5.0), (from.0, to.1 + 5.0));
    picture.text("small bold bwd mid", (bar, to.1 + 30.0), "stop");
}

fn sx(picture: &mut Picture) {
    picture.text("bold", (6.0, 60.0), "SX");
    picture.text("small dim", (40.0, 60.0), "value of the one-hot, gradient of p");
    let y = 105.0;
    let boxes = [
        ("q", 26.0, 38.0),
        ("scores", 120.0, 70.0),
        ("p", 220.0, 38.0),
        ("w", 310.0, 38.0),
        ("y", 400.0, 38.0),
        ("loss", 490.0, 50.0),
    ];
    for (words, x, width) in boxes {
        picture.node("", (x, y), width, words);
    }
    let gradients = ["dq", "drh", "dp", "dw", "dy"];
    for (pair, gradient) in boxes.windows(2).zip(gradients) {
        let [(_, from, width), (_, to, to_width)] = [pair[0], pair[1]];
        let ends = [(from + width / 2.0 + 1.0, y), (to - to_width / 2.0 - 1.0, y)];
        both_ways(picture, ends[0], ends[1], gradient);
    }
    let below = 190.0;
    picture.node("", (96.0, below), 44.0, "C\u{1d4f}");
    picture.node("", (220.0, below), 76.0, "one-hot");
    picture.node("", (400.0, below), 44.0, "C\u{1d5b}");
    both_ways(picture, (96.0, below - 16.0), (96.0, y + 16.0), "");
    picture.text("small bwd end", (82.0, 154.0), "dC\u{1d4f}");
    both_ways(picture, (400.0, below - 16.0), (400.0, y + 16.0), "dC\u{1d5b}");
    // The choice, from the scores to w.
    picture.arrow("fwd", &[(141.0, y + 16.0), (141.0, below), (181.0, below)]);
    picture.arrow("fwd", &[(259.0, below), (305.0, below), (305.0, y + 16.0)]);
    picture.line("bwd dash", &[(317.0, y + 16.0), (317.0, 158.0)]);
    picture.stop((317.0, 158.0), (317.0, 190.0));
    picture.text("small bold bwd", (333.0, 163.0), "stop");
    let learns = [
        "Through p the query and every key get a gradient,",
        "through w only the values that were chosen.",
    ];
    picture.paragraph("small", (6.0, 236.0), &learns);
}

fn vq(picture: &mut Picture) {
    picture.text("bold", (6.0, 312.0), "VQ");
    picture.text("small dim", (40.0, 312.0), "value of the codeword, gradient of the query");
    let top = 330.0;
    picture.rectangle("plain", (6.0, top), 66.0, 222.0);
    picture.text("mid", (39.0, top + 116.0), "q");
    picture.rectangle("plain", (434.0, top), 80.0, 222.0);
    picture.text("mid", (474.0, top + 116.0), "C[code]");
    for (row, (words, to_query, to_codeword)) in [
        ("loss of y", Some("dq = dy"), None),
        ("commitment term", Some("2\u{3b2} (q \u{2212} C)"), None),
        ("codebook term", None, Some("2 (C \u{2212} q)")),
    ]
    .into_iter()
    .enumerate()
    {
        let y = top + 34.0 + 74.0 * row as f64;
        picture.node("", (253.0, y), 156.0, words);
        for (from, to, gradient) in [(73.0, 174.0, to_query), (433.0, 332.0, to_codeword)] {
            match gradient {
                Some(gradient) => both_ways(picture, (from, y), (to, y), gradient),
                None => stopped(picture, (from, y), (to, y)),
            }
        }
    }
    let learns = [
        "The task moves queries only. Codewords follow them by the",
        "codebook term. No gradient goes through the choice itself.",
        "(Both terms are means: divide by the number of elements.)",
    ];
    picture.paragraph("small", (6.0, 580.0), &learns);
}

pub fn draw() -> Picture {
    let mut picture = Picture::new(
        "forward_backward",
        638.0,
        "Forward and backward through SX and VQ",
        "Values flow forward along solid blue arrows, gradients come back along dashed orange ones, \
         and bars say where they are stopped. SX: from the loss to y, to w, and on through p to the \
         scores, the query and the keys; the values get theirs beside w; the one-hot is stopped. VQ: \
         the loss of y and the commitment term reach the query and are stopped before the codeword; \
         the codebook term reaches the codeword and is stopped before the query.",
    );
    picture.arrow("fwd", &[(6.0, 18.0), (60.0, 18.0)]);
    picture.text("small", (70.0, 23.0), "values");
    picture.arrow("bwd dash", &[(200.0, 18.0), (146.0, 18.0)]);
    picture.text("small", (210.0, 23.0), "gradients");
    picture.stop((310.0, 18.0), (320.0, 18.0));
    picture.text("small", (322.0, 23.0), "stop: no gradient");
    sx(&mut picture);
    vq(&mut picture);
    picture
}
