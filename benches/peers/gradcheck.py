#!/usr/bin/env python3
"""Who finds what: gradient checkers beside each other, on the same rules.

    pip install torch jax
    python benches/peers/gradcheck.py [--list]

builds benches/peers/gradcheck, which holds the rules of tests/planted and tries dpq's checker and the
crate `gradcheck` on them, and asks torch.autograd.gradcheck (with its defaults, and in fast mode) and
jax.test_util.check_grads about the same functions and gradients, all in double precision.

A wrong rule is *found* if it is called wrong. A right one is *accused* if it is called wrong. A checker
may also say that it could not tell: that is neither. --list prints a line for every rule.
"""

import argparse
import json
import subprocess
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax.test_util import check_grads

jax.config.update("jax_enable_x64", True)
MANIFEST = Path(__file__).resolve().parent / "gradcheck" / "Cargo.toml"
RUN = ["cargo", "run", "--quiet", "--release", "--manifest-path", str(MANIFEST), "--"]


class Rules:
    """The planted rules, asked of the program that holds them."""

    def __init__(self):
        pipe = subprocess.PIPE
        self.program = subprocess.Popen([*RUN, "serve"], stdin=pipe, stdout=pipe, text=True)

    def ask(self, rule, inputs, dy=None):
        inputs = [np.asarray(x, dtype=np.float64).ravel().tolist() for x in inputs]
        question = {"rule": rule, "inputs": inputs}
        if dy is not None:
            question["dy"] = np.asarray(dy, dtype=np.float64).ravel().tolist()
        self.program.stdin.write(json.dumps(question) + "\n")
        self.program.stdin.flush()
        answer = json.loads(self.program.stdout.readline())
        return [with_nan(x) for x in answer]


def with_nan(x):
    """JSON has no NaN: where a step leaves a function's domain there stands null."""
    if isinstance(x, list):
        return [with_nan(x) for x in x]
    return np.nan if x is None else x


def torch_verdict(rules, rule, inputs, **settings):
    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            ctx.save_for_backward(*inputs)
            values = [x.detach().numpy() for x in inputs]
            return torch.tensor(rules.ask(rule, values), dtype=torch.float64)

        @staticmethod
        def backward(ctx, dy):
            values = [x.detach().numpy() for x in ctx.saved_tensors]
            gradients = rules.ask(rule, values, dy.detach().numpy())
            shaped = zip(gradients, ctx.saved_tensors)
            return tuple(torch.tensor(g, dtype=torch.float64).reshape(x.shape) for g, x in shaped)

    leaves = [torch.tensor(x, requires_grad=True) for x in inputs]
    ok = torch.autograd.gradcheck(Function.apply, leaves, raise_exception=False, **settings)
    return "Pass" if ok else "Differ"


def jax_verdict(rules, rule, inputs):
    outputs = len(rules.ask(rule, inputs))

    @jax.custom_vjp
    def function(*inputs):
        shape = jax.ShapeDtypeStruct((outputs,), jnp.float64)
        return jax.pure_callback(lambda *x: np.array(rules.ask(rule, x)), shape, *inputs)

    def backward(inputs, dy):
        shapes = tuple(jax.ShapeDtypeStruct(x.shape, jnp.float64) for x in inputs)

        def gradients(dy, *inputs):
            found = rules.ask(rule, inputs, dy)
            return tuple(np.array(g).reshape(x.shape) for g, x in zip(found, inputs))

        return jax.pure_callback(gradients, shapes, dy, *inputs)

    function.defvjp(lambda *inputs: (function(*inputs), inputs), backward)
    try:
        check_grads(function, tuple(jnp.array(x) for x in inputs), order=1, modes=["rev"])
    except AssertionError:
        return "Differ"
    return "Pass"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print a line for every rule")
    options = parser.parse_args()
    lines = subprocess.run(RUN[:-1], check=True, stdout=subprocess.PIPE, text=True).stdout
    planted = [json.loads(line) for line in lines.splitlines()]
    rules = Rules()
    columns = ["dpq", "gradcheck", "torch", "torch fast", "jax"]
    counts = Counter()
    for number, row in enumerate(planted):
        inputs = [np.array(x["data"]).reshape(x["shape"]) for x in row["inputs"]]
        row["torch"] = torch_verdict(rules, number, inputs)
        row["torch fast"] = torch_verdict(rules, number, inputs, fast_mode=True)
        row["jax"] = jax_verdict(rules, number, inputs)
        for checker in columns:
            verdict = row[checker].split("(")[0].split(" ")[0]
            called = "passed" if verdict in ("Agree", "Pass") else "unsure"
            called = "called wrong" if verdict in ("Differ", "Kink", "Mismatch") else called
            counts[checker, row["right"], called] += 1
            row[checker] = called
        if options.list:
            cells = "".join(f"{row[checker]:<14}" for checker in columns)
            print(f"{row['rule'][:56]:<58}{'right' if row['right'] else 'wrong':<8}{cells}")
    wrong = sum(not row["right"] for row in planted)
    right = len(planted) - wrong
    print(f"torch {torch.__version__}, jax {jax.__version__}; {wrong} wrong rules, {right} right ones")
    print(f"{'checker':<12}{'found':>8}{'passed, wrong':>16}{'unsure':>8}"
          f"{'accused':>12}{'passed, right':>16}{'unsure':>8}")
    for checker in columns:
        cells = [counts[checker, of, called] for of in (False, True)
                 for called in ("called wrong", "passed", "unsure")]
        print(f"{checker:<12}{cells[0]:>8}{cells[1]:>16}{cells[2]:>8}"
              f"{cells[3]:>12}{cells[4]:>16}{cells[5]:>8}")


if __name__ == "__main__":
    main()
