#!/usr/bin/env python3
"""Who finds what: dpq's gradient checker beside torch.autograd.gradcheck.

    pip install torch
    python benches/peers/gradcheck.py

runs `cargo bench --bench gradcheck`, gives PyTorch the same functions with the same errors planted
in their gradients, and prints a table. PyTorch is asked twice: with its defaults, and with
tolerances as tight as its differences allow (rtol 1e-7, atol 1e-9).
"""

import json
import subprocess
import sys
from pathlib import Path

import torch


class Off(torch.autograd.Function):
    """y = x, with a gradient that is `factor` times too large."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        return ctx.factor * dy, None


def wave(*shape):
    count = torch.Size(shape).numel()
    return torch.sin(0.7 * torch.arange(1, count + 1, dtype=torch.float64)).reshape(shape)


def straight_through(soft, hard):
    return soft - (soft - hard).detach()


def softmax_form(queries, keys, values, ids, eps=1e-3):
    """DPQ-SX: groups G, codewords G x K x s, scores normalised over tokens and groups."""
    groups, size, width = keys.shape
    q = queries[ids].reshape(-1, groups, width)
    scores = torch.einsum("ngs,gks->ngk", q, keys).reshape(-1, size)
    mean, var = scores.mean(0), scores.var(0, unbiased=False)
    p = torch.softmax((scores - mean) / torch.sqrt(var + eps), dim=1)
    hard = torch.nn.functional.one_hot(p.argmax(1), size).to(p.dtype)
    w = straight_through(p, hard).reshape(-1, groups, size)
    return torch.einsum("ngk,gks->ngs", w, values).reshape(len(ids), -1)


def functions():
    torch.manual_seed(0)
    ids = torch.tensor([0, 3, 1, 3, 4, 2])
    leaf = lambda x: x.clone().requires_grad_()
    uniform = lambda *shape: 2 * torch.rand(*shape, dtype=torch.float64) - 1
    x = wave(4, 5)
    return {
        "cube": ([leaf(x)], lambda factor: lambda x: Off.apply(x**3, factor)),
        "sign, straight through": (
            [leaf(x)],
            lambda factor: lambda x: Off.apply(
                straight_through(torch.tanh(x), torch.sign(x)), factor
            ),
        ),
        "dpq sx": (
            [leaf(uniform(5, 6)), leaf(uniform(2, 4, 3)), leaf(uniform(2, 4, 3))],
            lambda factor: lambda q, k, v: (
                Off.apply(softmax_form(q, k, v, ids), factor) * wave(6, 6)
            ).sum(),
        ),
    }


def accepts(function, inputs, **tolerances):
    return torch.autograd.gradcheck(function, inputs, raise_exception=False, **tolerances)


def verdict(accepts_right, accepted, planted):
    if planted == 0:
        return "accepted" if accepted else "REJECTED though right"
    if not accepts_right:
        return "cannot tell from right"
    return "MISSED" if accepted else "found"


def main():
    root = Path(__file__).resolve().parents[2]
    command = ["cargo", "bench", "--bench", "gradcheck", "--", *sys.argv[1:]]
    lines = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
    ours = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    theirs = functions()
    print(f"torch {torch.__version__}")
    print(f"{'function':<24}{'planted':>9}   {'dpq':<12}{'torch':<24}{'torch, tight':<24}")
    for row in ours:
        name, planted = row["what"], row["planted"]
        inputs, with_factor = theirs[name]
        function = with_factor(1 + planted)
        right, tight = with_factor(1), {"rtol": 1e-7, "atol": 1e-9}
        cells = [
            verdict(True, row["accepted"], planted),
            verdict(accepts(right, inputs), accepts(function, inputs), planted),
            verdict(accepts(right, inputs, **tight), accepts(function, inputs, **tight), planted),
        ]
        shown = "none" if planted == 0 else f"{planted:.0e}"
        print(f"{name:<24}{shown:>9}   {cells[0]:<12}{cells[1]:<24}{cells[2]:<24}")


if __name__ == "__main__":
    main()
