//! A tape that prints itself: as a table, one line a node, or as a graph for Graphviz.

use super::backward::VarGrads;
use super::node::{Kind, Node};
use super::op::Recorded;
use super::tape::Tape;
use crate::real::Real;
use crate::tensor::Tensor;
use std::fmt;

impl<T: Real> Tape<T> {
    /// One line per node: number, op, inputs, shape, and the value and (if given) the gradient:
    /// all elements of small ones, the Euclidean norm of others.
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
    pub fn table<'a>(&'a self, grads: Option<&'a VarGrads<T>>) -> impl fmt::Display + 'a {
        Table(self, grads)
    }

    /// The tape as a graph in Graphviz's language: `dot -Tsvg`.
    pub fn graph(&self) -> impl fmt::Display + '_ {
        Graph(self)
    }
}

struct Table<'a, T: Real>(&'a Tape<T>, Option<&'a VarGrads<T>>);

impl<T: Real> fmt::Display for Table<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Table(tape, grads) = self;
        writeln!(
            f,
            "node  {:<24} {:<14} {:<14} {:<28} gradient",
            "op", "inputs", "shape", "value"
        )?;
        let ops = tape.ops.borrow();
        for (i, node) in tape.nodes.borrow().iter().enumerate() {
            let (name, inputs) = name_and_inputs(node, i, &ops);
            let inputs: Vec<String> = inputs.iter().map(|i| format!("#{i}")).collect();
            let value = node.value.as_ref().map_or("freed".into(), brief);
            let gradient = grads.and_then(|g| g.at(i)).map_or("-".into(), |g| brief(&g.to_dense()));
            let shape = format!("{:?}", node.shape);
            writeln!(
                f,
                "#{i:<4} {name:<24} {:<14} {shape:<14} {value:<28} {gradient}",
                inputs.join(" ")
            )?;
        }
        Ok(())
    }
}

struct Graph<'a, T: Real>(&'a Tape<T>);

impl<T: Real> fmt::Display for Graph<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "digraph tape {{\n  rankdir=LR; node [shape=box];")?;
        let ops = self.0.ops.borrow();
        for (i, node) in self.0.nodes.borrow().iter().enumerate() {
            let (name, inputs) = name_and_inputs(node, i, &ops);
            let style = if matches!(node.kind, Kind::Output(_)) { "" } else { ", style=rounded" };
            writeln!(f, "  n{i} [label=\"#{i} {name}\\n{:?}\"{style}];", node.shape)?;
            for input in inputs {
                writeln!(f, "  n{input} -> n{i};")?;
            }
        }
        writeln!(f, "}}")
    }
}

/// What a node is called, and what it was computed from.
fn name_and_inputs<'a, T: Real>(
    node: &'a Node<T>,
    index: usize,
    ops: &'a [Recorded<T>],
) -> (&'a str, &'a [usize]) {
    let label = |default| node.label.as_deref().unwrap_or(default);
    match node.kind {
        Kind::Leaf => (label("leaf"), &[]),
        Kind::Constant => (label("constant"), &[]),
        Kind::Output(op) if ops[op].first == index => (ops[op].name, &ops[op].inputs),
        Kind::Output(_) => ("(output)", &[]),
    }
}

/// All elements of a small tensor, the norm of a larger one.
fn brief<T: Real>(tensor: &Tensor<T>) -> String {
    if tensor.data().len() <= 3 {
        let elements: Vec<String> =
            tensor.data().iter().map(|x| format!("{:.4}", x.to_f64())).collect();
        return elements.join(" ");
    }
    let norm = tensor.data().iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>().sqrt();
    format!("norm {norm:.4e}")
}
