//! The tape: what a forward pass writes down, and how gradients come back over it.
//!
//! One neuron, `loss = (tanh(x w + b) - target)^2`, is evaluated on a [`Tape`]. The tape then prints
//! itself, node by node, with every value and every gradient; the gradients are compared with those
//! of the chain rule on paper. At the end the same tape as a graph for Graphviz:
//! `cargo run --example 01_tape | sed -n '/^digraph/,$p' | dot -Tsvg > tape.svg`.

use dpq::{Params, Tape, Tensor};

fn main() -> dpq::Result<()> {
    // Parameters live outside the tape, under names. A tape is for one pass.
    let mut params = Params::<f64>::new();
    let weight = params.add("weight", Tensor::from([[0.5], [-0.25]]));
    let bias = params.add("bias", Tensor::from([0.1]));
    let x = [2.0, 1.0];
    let target = 1.0;

    let tape = Tape::new();
    let p = tape.train(&params);
    // Operators write nodes down as they compute. `Var` is a tape and an index, so it is `Copy`.
    let z = tape.constant(Tensor::from([x])).matmul(p[weight]) + p[bias];
    let y = z.tanh();
    let error = y - target;
    let loss = (error * error).sum();

    println!("The forward pass has run. The tape holds values, and no gradients yet:\n");
    println!("{}", tape.table(None));

    // From the last node to the first: each op's rule turns its output's gradient into its inputs'.
    let grads = tape.backward(loss)?;
    println!("After the backward pass, read the last column from the bottom up:\n");
    println!("{}", tape.table(Some(&grads)));
    println!("Mul has one node as both inputs: its rule adds error * dy twice, which is 2 error.");
    println!("x and what only depends on constants get no gradient (-).\n");

    // The same on paper.
    let y = y.value().item();
    let dy = 2.0 * (y - target); // of a square
    let dz = (1.0 - y * y) * dy; // of tanh, from its value
    let [dw0, dw1] = [x[0] * dz, x[1] * dz]; // of x w
    let db = dz; // of + b
    let found = [p[weight], p[bias]].map(|var| grads.dense(var));
    println!("dw on paper {dw0:.6} {dw1:.6}, on the tape {:.6?}", found[0].data());
    println!("db on paper {db:.6},           on the tape {:.6?}", found[1].data());
    for (paper, tape) in [dw0, dw1, db].iter().zip([found[0].data(), found[1].data()].concat()) {
        assert!((paper - tape).abs() < 1e-15, "{paper} on paper, {tape} on the tape");
    }

    // The pass left the tape as it was, so it can be repeated, to the same bits ...
    let again = tape.backward(loss)?;
    assert!([weight, bias].iter().all(|&id| again.dense(p[id]) == grads.dense(p[id])));
    println!("\nA second backward pass gives the same bits.");

    // ... and start anywhere, from any gradient: that of z, instead of the loss.
    let from_z = tape.backward_from(&[(z, Tensor::from([[1.0]]))])?;
    assert_eq!(from_z.dense(p[weight]).data(), x);
    println!("Started at z, it gives dz/dw = x = {:?}.", from_z.dense(p[weight]).data());

    println!("\nThe same tape for Graphviz:\n\n{}", tape.graph());

    // Training does not come back to a tape: this pass frees values and gradients as it goes.
    let kept = tape.backward_and_free(loss)?;
    assert_eq!(kept.dense(weight), grads.dense(p[weight]));
    Ok(())
}
