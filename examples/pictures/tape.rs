//! The tape of SX on three tokens: its nodes in order, and what each was computed from.

use crate::svg::Picture;
use dpq::pq::{Normalization, composed};
use dpq::{DpqConfig, Params, Tape, Tensor, rng};

/// Height of a node's line.
const LINE: f64 = 25.0;
const TOP: f64 = 66.0;

/// What the guide calls the value of an op, which may be that of group g.
fn letter(op: &str, of_values: bool, g: usize) -> String {
    let all = match op {
        "Slice" if of_values => return format!("C\u{1d5b}[{g}]"),
        "Slice" => return format!("w[{g}]"),
        "MatMul" => return format!("y[{g}]"),
        "Scores" => "r",
        "BatchNorm" => "rh",
        "Linear" => "rh / \u{3c4}",
        "Softmax" => "p",
        "StraightThrough" => "w",
        "Concat" => "y",
        _ => "",
    };
    all.into()
}

pub fn draw() -> dpq::Result<Picture> {
    let random = |shape: &[usize], name| Tensor::uniform(shape, 1.0, &mut rng::stream(0, name, 0));
    let mut params = Params::<f64>::new();
    let inputs = [("q", [3, 4].as_slice()), ("keys", &[2, 4, 2]), ("values", &[2, 4, 2])];
    let [q, keys, values] = inputs.map(|(name, shape)| params.add(name, random(shape, name)));
    let tape = Tape::new();
    let p = tape.train(&params);
    let config = DpqConfig::sx(2, 4);
    let sx = composed::sx(&config, Normalization::Batch, p[q], p[keys], p[values]);
    let grads = tape.backward_from(&[(sx.rows, random(&[3, 4], "dy"))])?;

    // As the tape prints itself: number, op, inputs (leaves have none), shape, value, gradient.
    let table = tape.table(Some(&grads)).to_string();
    let cells = |line: &str| -> Vec<String> {
        line.split("  ")
            .map(|cell| cell.trim().into())
            .filter(|cell: &String| !cell.is_empty())
            .collect()
    };
    let nodes: Vec<Vec<String>> = table.lines().skip(1).map(cells).collect();
    let y = |node: usize| TOP + LINE * (node as f64 + 0.5);
    let bottom = y(nodes.len());

    let mut picture = Picture::new(
        "tape",
        bottom + 46.0,
        "The tape of SX on three tokens, two groups and four codewords",
        format!(
            "A list of {} nodes from top to bottom, each with its op, its shape and the size of its \
             gradient; bows at the left lead from a node's inputs to the node. Values are computed \
             downwards, gradients upwards. At the straight-through node the value is the one-hot \
             and the gradient goes on to the softmax alone.",
            nodes.len()
        ),
    );
    for (x, words) in [(112.0, "op"), (278.0, "value"), (352.0, "shape")] {
        picture.text("small bold", (x, 48.0), words);
    }
    picture.text("small bold end", (508.0, 30.0), "size of");
    picture.text("small bold end", (508.0, 48.0), "gradient");
    picture.text("small fwd", (6.0, 24.0), "\u{2193} values");
    picture.text("small bwd", (6.0, 46.0), "\u{2191} gradients");
    let mut g = 0;
    for (i, node) in nodes.iter().enumerate() {
        let y_text = y(i) + 5.0;
        let (op, shape, size) = (&node[1], &node[node.len() - 3], &node[node.len() - 1]);
        let stops = op == "StraightThrough";
        if stops || node.len() == 5 {
            let class = if stops { "plain bwd" } else { "plain fwd" };
            picture.rectangle(class, (106.0, y(i) - 12.0), 408.0, 24.0);
        }
        picture.text("small", (112.0, y_text), &format!("{} {op}", node[0]));
        picture.text("small", (278.0, y_text), &letter(op, node[2] == "#2", g));
        g += usize::from(op == "MatMul");
        picture.text("small dim", (352.0, y_text), shape);
        let size: f64 = size.trim_start_matches("norm ").parse().expect("a norm");
        picture.text("small bwd end", (508.0, y_text), &format!("{size:.2}"));
        if node.len() == 6 {
            for input in node[2].split(' ') {
                let from: usize = input.trim_start_matches('#').parse().expect("a node");
                let apart = (i - from) as f64;
                picture.bow(
                    "fwd thin",
                    (103.0, y(from) + 3.0),
                    (103.0, y(i) - 3.0),
                    96.0 - 9.0 * apart.min(12.0),
                );
            }
        }
    }
    let lesson = [
        "StraightThrough has the one-hot's value and p's gradient.",
        "The one-hot is no node: nothing flows back to it.",
    ];
    picture.paragraph("", (6.0, bottom + 12.0), &lesson);
    Ok(picture)
}
