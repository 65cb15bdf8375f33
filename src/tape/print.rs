//! A tape that prints itself: as a table, one line a node, or as a graph for Graphviz.

use super::backward::VarGrads;
use super::node::{Kind, Node};
use super::op::Recorded;
use super::tape::{Tape, Var};
use crate::kernels::reduce::norm;
use crate::real::Real;
use crate::tensor::Tensor;
use std::fmt;

impl<T: Real> Tape<T> {
    /// One line per node: number, op, inputs, shape, and the value and (if given) the gradient:
    /// all elements of small ones, the Euclidean norm of others. A further output of an op has the
    /// op's first output in place of inputs.
    ///
    /// ```
    /// use dpq::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.leaf(Tensor::from([1.0_f64, 2.0]));
    /// let y = (x * x).sum();
    /// let grads = tape.backward(y)?;
    /// println!("{}", tape.table(Some(&grads)));
    /// # Ok::<(), dpq::Error>(())
    /// ```
    ///
    /// # Panics
    /// If the gradients are of another tape, or of another pass.
    #[track_caller]
    pub fn table<'a>(&'a self, grads: Option<&'a VarGrads<T>>) -> impl fmt::Display + 'a {
        assert!(
            grads.is_none_or(|grads| grads.is_of(self)),
            "table: gradients of another tape, or of another pass"
        );
        Table(self, grads)
    }

    /// The tape as a graph in Graphviz's language: `dot -Tsvg`. A dashed line leads from an op's first
    /// output to its further ones.
    pub fn graph(&self) -> impl fmt::Display + '_ {
        Graph(self)
    }
}

struct Table<'a, T: Real>(&'a Tape<T>, Option<&'a VarGrads<T>>);

impl<T: Real> fmt::Display for Table<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Table(tape, grads) = self;
        let titles = ["node", "op", "inputs", "shape", "value", "gradient"];
        let mut rows = vec![titles.map(String::from)];
        let ops = tape.ops.borrow();
        for (i, node) in tape.nodes.borrow().iter().enumerate() {
            let inputs = match source(node, i, &ops) {
                Source::Inputs(inputs) => numbers(inputs),
                Source::FirstOutput(first) => format!("of #{first}"),
            };
            let gradient = grads.and_then(|g| g.at(i)).map_or("-".into(), |g| brief(&g.to_dense()));
            rows.push([
                format!("#{i}"),
                name(node, i, &ops),
                inputs,
                format!("{:?}", node.shape),
                node.value.as_ref().map_or("freed".into(), brief),
                gradient,
            ]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: [usize; 6] = std::array::from_fn(|column| width(column).unwrap_or(0));
        for row in &rows {
            let line: String =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Number, op or label, shape, and the value: all elements of a small one, the Euclidean norm of
/// another.
///
/// ```
/// use dpq::{Tape, Tensor};
/// let tape = Tape::new();
/// let x = tape.leaf(Tensor::from([1.0_f32, 2.0]));
/// assert_eq!(format!("{:?}", x * x), "#1 Mul [2]: 1.0000 4.0000");
/// ```
impl<T: Real> fmt::Debug for Var<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nodes, ops) = (self.tape.nodes.borrow(), self.tape.ops.borrow());
        let node = &nodes[self.index];
        let value = node.value.as_ref().map_or("freed".into(), brief);
        write!(f, "#{} {} {:?}: {value}", self.index, name(node, self.index, &ops), node.shape)
    }
}

struct Graph<'a, T: Real>(&'a Tape<T>);

impl<T: Real> fmt::Display for Graph<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "digraph tape {{\n  rankdir=LR; node [shape=box];")?;
        let ops = self.0.ops.borrow();
        for (i, node) in self.0.nodes.borrow().iter().enumerate() {
            // Within quotes, a backslash and a quote are written with a backslash before them.
            let name = name(node, i, &ops).replace('\\', "\\\\").replace('"', "\\\"");
            let style = if matches!(node.kind, Kind::Output(_)) { "" } else { ", style=rounded" };
            writeln!(f, "  n{i} [label=\"#{i} {name}\\n{:?}\"{style}];", node.shape)?;
            match source(node, i, &ops) {
                Source::Inputs(inputs) => {
                    for input in inputs {
                        writeln!(f, "  n{input} -> n{i};")?;
                    }
                }
                Source::FirstOutput(first) => writeln!(f, "  n{first} -> n{i} [style=dashed];")?,
            }
        }
        writeln!(f, "}}")
    }
}

/// What a node was computed from.
enum Source<'a> {
    /// These nodes; none of a leaf or a constant.
    Inputs(&'a [usize]),
    /// It is a further output of the op whose first output this is.
    FirstOutput(usize),
}

fn source<'a, T: Real>(node: &Node<T>, index: usize, ops: &'a [Recorded<T>]) -> Source<'a> {
    match node.kind {
        Kind::Leaf | Kind::Constant => Source::Inputs(&[]),
        Kind::Output(op) if ops[op].first == index => Source::Inputs(&ops[op].inputs),
        Kind::Output(op) => Source::FirstOutput(ops[op].first),
    }
}

/// What a node is called, on one line.
fn name<T: Real>(node: &Node<T>, index: usize, ops: &[Recorded<T>]) -> String {
    let name = match node.kind {
        Kind::Leaf => node.label.as_deref().unwrap_or("leaf").into(),
        Kind::Constant => node.label.as_deref().unwrap_or("constant").into(),
        Kind::Output(op) if ops[op].first == index => ops[op].name.to_string(),
        Kind::Output(op) => format!("{}, output {}", ops[op].name, index - ops[op].first + 1),
    };
    let printed = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    name.chars().map(printed).collect()
}

fn numbers(nodes: &[usize]) -> String {
    nodes.iter().map(|node| format!("#{node}")).collect::<Vec<_>>().join(" ")
}

/// All elements of a small tensor, the norm of a larger one.
fn brief<T: Real>(tensor: &Tensor<T>) -> String {
    if tensor.data().len() <= 3 {
        let elements: Vec<String> =
            tensor.data().iter().map(|x| format!("{:.4}", x.to_f64())).collect();
        return elements.join(" ");
    }
    format!("norm {:.4e}", norm(std::iter::once(tensor.data())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Params;

    #[test]
    fn a_variable_prints_its_label_its_shape_and_whether_it_is_freed() {
        let mut params = Params::new();
        let id = params.add("weights", Tensor::from([[3.0_f32, 0.0], [0.0, 4.0]]));
        let tape = Tape::new();
        let w = tape.train(&params)[id];
        assert_eq!(format!("{w:?}"), "#0 weights [2, 2]: norm 5.0000e0");
        let loss = (w + 1.0).sum();
        tape.backward_and_free(loss).unwrap();
        assert_eq!(format!("{loss:?}"), "#2 Sum []: freed");
    }

    #[test]
    fn labels_are_escaped_and_further_outputs_hang_on_their_op() {
        let mut params = Params::new();
        params.add("a \"b\" \\ c\nd", Tensor::scalar(1.0_f64));
        let tape = Tape::new();
        tape.train(&params);
        let graph = tape.graph().to_string();
        assert!(
            graph.contains(r##"[label="#0 a \"b\" \\ c\\nd\n[]", style=rounded];"##),
            "{graph}"
        );
        assert!(tape.table(None).to_string().contains("a \"b\" \\ c\\nd"));

        /// Its input, three times.
        struct Thrice;
        impl crate::Op<f64> for Thrice {
            fn backward(&self, _: &mut crate::Context<'_, f64>) {}
        }
        let tape = Tape::new();
        let x = tape.leaf(Tensor::scalar(1.0));
        let [_, _, last] = tape.record(Thrice, &[x], [x.value(), x.value(), x.value()]);
        assert_eq!(format!("{last:?}"), "#3 Thrice, output 3 []: 1.0000");
        let graph = tape.graph().to_string();
        assert!(graph.contains("  n1 -> n2 [style=dashed];\n"), "{graph}");
        assert!(graph.contains("  n1 -> n3 [style=dashed];\n"), "{graph}");
        let table = tape.table(None).to_string();
        assert!(table.contains("#3    Thrice, output 3  of #1   []     1.0000  -\n"), "{table}");
    }

    #[test]
    #[should_panic(expected = "table: gradients of another tape, or of another pass")]
    fn a_table_of_the_gradients_of_another_tape_is_refused() {
        let (tape, other) = (Tape::new(), Tape::new());
        let x = tape.leaf(Tensor::scalar(1.0_f32));
        let grads = tape.backward(x).unwrap();
        let _ = other.table(Some(&grads));
    }
}
