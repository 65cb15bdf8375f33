//! Tries this crate's checker and the crate `gradcheck` on every planted rule: a JSON line for each.
//! With the argument `serve` it answers questions about the rules instead, for checkers in Python.

#[path = "../../../../tests/planted/mod.rs"]
mod planted;

use dpq::Tensor;
use gradcheck::{Backend, Config, gradcheck};
use planted::Planted;
use serde_json::{Value, json};
use std::cell::Cell;
use std::io::{BufRead, Write};

fn main() {
    let rules = planted::rules();
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return serve(&rules);
    }
    for (i, rule) in rules.iter().enumerate() {
        let inputs: Vec<Value> = rule
            .inputs
            .iter()
            .map(|x| json!({"shape": x.shape()[..], "data": x.data()}))
            .collect();
        let line = json!({
            "rule": rule.name,
            "right": rule.right,
            "inputs": inputs,
            "dpq": format!("{:?}", rule.check().verdict()),
            "gradcheck": by_gradcheck(i, rule),
        });
        println!("{line}");
    }
}

/// Answers a line {"rule", "inputs"} with the outputs there, and {"rule", "inputs", "dy"} with the
/// gradients.
fn serve(rules: &[Planted]) {
    let numbers = |value: &Value| -> Vec<f64> {
        let list = value.as_array().expect("a list of numbers");
        list.iter().map(|x| x.as_f64().expect("a number")).collect()
    };
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let question: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        let rule = &rules[question["rule"].as_u64().expect("a rule's number") as usize];
        let data: Vec<f64> =
            question["inputs"].as_array().expect("a list").iter().flat_map(numbers).collect();
        let at = apart(rule, &data);
        let answer = match &question["dy"] {
            Value::Null => json!(rule.forward(&at)),
            dy => json!(rule.backward(&at, &numbers(dy))),
        };
        writeln!(out, "{answer}").and_then(|()| out.flush()).expect("the question was asked");
    }
}

/// A rule's inputs from all their elements.
fn apart(rule: &Planted, data: &[f64]) -> Vec<Tensor<f64>> {
    let mut rest = data.iter();
    let mut next = || *rest.next().expect("as many numbers as the inputs have");
    rule.inputs.iter().map(|x| Tensor::from_fn(x.shape(), |_| next())).collect()
}

thread_local! {
    /// The rule that [`Rules`] stands for.
    static RULE: Cell<usize> = const { Cell::new(0) };
}

/// The planted rules as a framework that the crate `gradcheck` can check: a tensor is the elements of
/// all inputs, and the function is that of the current rule.
struct Rules;

fn current<R>(f: impl FnOnce(&Planted) -> R) -> R {
    f(&planted::rules()[RULE.get()])
}

impl Backend for Rules {
    type Tensor = Vec<f64>;

    fn name() -> &'static str {
        "planted"
    }

    fn from_slice(data: &[f64], _: &[usize]) -> Vec<f64> {
        data.to_vec()
    }

    fn to_vec(x: &Vec<f64>) -> Vec<f64> {
        x.clone()
    }

    fn forward_sum(_: &dyn Fn(Vec<f64>) -> Vec<f64>, x: &Vec<f64>) -> f64 {
        current(|rule| rule.forward(&apart(rule, x)).iter().sum())
    }

    fn analytic_grad(_: &dyn Fn(Vec<f64>) -> Vec<f64>, x: &Vec<f64>) -> Vec<f64> {
        current(|rule| {
            let at = apart(rule, x);
            let ones = vec![1.0; rule.forward(&at).len()];
            rule.backward(&at, &ones).concat()
        })
    }
}

/// The verdict of the crate `gradcheck` with its settings for `f64`.
fn by_gradcheck(i: usize, rule: &Planted) -> String {
    RULE.set(i);
    let data: Vec<f64> = rule.inputs.iter().flat_map(|x| x.data()).copied().collect();
    let report =
        gradcheck::<Rules, _>(&rule.name, &data, &[data.len()], |x| x, &Config::f64_defaults());
    format!("{:?}", report.verdict)
}
