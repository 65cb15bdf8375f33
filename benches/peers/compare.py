#!/usr/bin/env python3
"""dpq beside PyTorch, JAX and faiss on the same machine, in turn.

    pip install torch numpy faiss-cpu jax
    python benches/peers/compare.py --threads 1
    python benches/peers/compare.py --threads 2 --only lstm --json

For every row our benchmark and the peers are measured in turn, three times round, and the medians
of all samples are compared. With one thread the whole process is kept on one core. `--only` names
rows by what they begin with: "sx A", "vq", "lstm small", "lookup", "encode", "classification",
"translation", "memory". A peer that
is not installed is left out. torch.compile needs a C++ compiler; without one it is left out too.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch_tasks

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 3
SHAPES = {  # tokens, vocabulary, width, groups, codebook size
    "A": (400, 10_000, 200, 25, 32),
    "B": (700, 10_000, 650, 50, 32),
    "C": (2048, 32_000, 512, 64, 32),
    "D": (8192, 100_000, 300, 50, 16),
    "E": (4096, 50_000, 512, 128, 256),
}
MODELS = {"small": (200, 20, 0.0), "medium": (650, 35, 0.5)}  # width, time steps, dropout


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="rows by what they begin with, commas between")
    parser.add_argument("--repeats", type=int, default=3, help="samples in each of three rounds")
    parser.add_argument("--json", action="store_true", help="a JSON line a row and no table")
    return parser.parse_args()


# --- ours ----------------------------------------------------------------------------------------


def build():
    """Builds the benchmarks; the program of each, by its name."""
    command = ["cargo", "bench", "--no-run", "--message-format", "json"]
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = {}
    for line in out.splitlines():
        message = json.loads(line)
        if message.get("executable") and "bench" in message["target"]["kind"]:
            found[message["target"]["name"]] = message["executable"]
    return found


def ours(program, only, options):
    """Our median of a few samples, in ms."""
    flags = ["--only", only, "--threads", str(options.threads), "--repeats", str(options.repeats)]
    out = subprocess.run([program, *flags], check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert len(rows) == 1, f"{only} is not one row: {rows}"
    return rows[0]


# --- the peers' side -----------------------------------------------------------------------------


def sample(call, repeats):
    """Milliseconds of a call, a few times; short calls are averaged over about 50 ms."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        calls = max(1, min(1000, int(0.05 / (time.perf_counter() - start))))
        start = time.perf_counter()
        for _ in range(calls):
            call()
        times.append(1e3 * (time.perf_counter() - start) / calls)
    return times


def ids_of(kind, n, vocabulary):
    import numpy

    if kind == "distinct":
        return numpy.array([i * 7919 % vocabulary for i in range(n)])
    weights = 1 / numpy.arange(1, vocabulary + 1)
    return numpy.random.default_rng(0).choice(vocabulary, n, p=weights / weights.sum())


def torch_layer(torch, form, shape, sparse=False):
    """DPQ as one would write it in PyTorch: separate codebooks, batch-normalised scores."""
    _, vocabulary, width, groups, size = shape
    s = width // groups

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(vocabulary, width, sparse=sparse)
            torch.nn.init.uniform_(self.table.weight, -0.1, 0.1)
            book = lambda: torch.nn.Parameter(torch.empty(groups, size, s).uniform_(-0.1, 0.1))
            self.keys = book()
            if form == "sx":
                self.values = book()
            self.norm = torch.nn.BatchNorm1d(size, eps=1e-3, momentum=0.01, affine=False)
            self.register_buffer("first", torch.arange(groups) * size)

        def normalised(self, scores):
            return self.norm(scores.reshape(-1, size)).view(scores.shape)

        def forward(self, ids):
            q = self.table(ids).view(-1, groups, s)
            if form == "sx":
                scores = self.normalised(torch.einsum("ngs,gks->ngk", q, self.keys))
                p = torch.softmax(scores, -1)
                code = scores.argmax(-1, keepdim=True)
                w = p + (torch.zeros_like(p).scatter_(-1, code, 1.0) - p).detach()
                return torch.einsum("ngk,gks->ngs", w, self.values).reshape(-1, width), None
            with torch.no_grad():
                dots = torch.einsum("ngs,gks->ngk", q, self.keys)
                scores = 2 * dots - q.square().sum(-1, keepdim=True) - self.keys.square().sum(-1)
                code = self.normalised(scores).argmax(-1)
            chosen = self.keys.view(-1, s)[code + self.first]
            loss = (chosen - q.detach()).square().mean()
            return (q + (chosen - q).detach()).reshape(-1, width), loss

    return Layer()


def torch_step(torch, layer, call, ids, upstream):
    def step():
        layer.zero_grad(set_to_none=True)
        rows, loss = call(ids)
        if loss is None:
            torch.autograd.backward([rows], [upstream])
        else:
            torch.autograd.backward([rows, loss], [upstream, None])

    return step


def layer_peers(form, name, kind):
    """One call of forward and backward for every peer that is installed."""
    shape = SHAPES[name]
    n, vocabulary, width, groups, size = shape
    ids = ids_of(kind, n, vocabulary)
    peers = {}
    try:
        import torch

        tensor = torch.as_tensor(ids)
        upstream = torch.rand(n, width) / n
        for how in ["eager", "sparse", "compiled"]:
            layer = torch_layer(torch, form, shape, sparse=how == "sparse")
            call = torch.compile(layer, dynamic=False) if how == "compiled" else layer
            step = torch_step(torch, layer, call, tensor, upstream)
            try:
                for _ in range(3):
                    step()
            except Exception as fault:  # no compiler on this machine
                print(f"torch {how} left out: {type(fault).__name__}", file=sys.stderr)
                continue
            peers[f"torch {how}"] = step
    except ImportError:
        print("torch is not installed", file=sys.stderr)
    try:
        peers["jax"] = jax_step(form, shape, ids)
    except ImportError:
        print("jax is not installed", file=sys.stderr)
    return peers


def jax_step(form, shape, ids):
    """The same layer in JAX, jitted; the table's gradient as rows only."""
    import jax
    import jax.numpy as jnp

    n, vocabulary, width, groups, size = shape
    s = width // groups

    def normalised(scores):
        mean = scores.mean((0, 1))
        var = jnp.square(scores - mean).mean((0, 1))
        return (scores - mean) * jax.lax.rsqrt(var + 1e-3)

    def layer(rows, keys, values):
        q = rows.reshape(n, groups, s)
        scores = jnp.einsum("ngs,gks->ngk", q, keys)
        if form == "sx":
            scores = normalised(scores)
            p = jax.nn.softmax(scores, -1)
            hard = jax.nn.one_hot(scores.argmax(-1), size, dtype=p.dtype)
            w = p + jax.lax.stop_gradient(hard - p)
            return jnp.einsum("ngk,gks->ngs", w, values).reshape(n, width), jnp.float32(0)
        scores = 2 * scores - jnp.square(q).sum(-1, keepdims=True) - jnp.square(keys).sum(-1)
        code = normalised(jax.lax.stop_gradient(scores)).argmax(-1)
        chosen = jnp.take_along_axis(keys[None], code[:, :, None, None], 2)[:, :, 0]
        loss = jnp.square(chosen - jax.lax.stop_gradient(q)).mean()
        return (q + jax.lax.stop_gradient(chosen - q)).reshape(n, width), loss

    @jax.jit
    def step(table, keys, values, ids, upstream):
        rows, pull = jax.vjp(layer, table[ids], keys, values)
        return rows[0], pull((upstream, jnp.float32(1)))

    seed = jax.random.PRNGKey(0)
    uniform = lambda i, *shape: jax.random.uniform(
        jax.random.fold_in(seed, i), shape, jnp.float32, -0.1, 0.1
    )
    book = (groups, size, s)
    given = (uniform(0, vocabulary, width), uniform(1, *book), uniform(2, *book))
    given += (jnp.asarray(ids), uniform(3, n, width) / n)
    call = lambda: jax.block_until_ready(step(*given))
    for _ in range(3):
        call()
    return call


def lstm_peer(name):
    """A training step of the word-level language model in PyTorch, full table."""
    import torch

    width, steps, dropout = MODELS[name]
    batch, vocabulary = 20, 10_000

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(vocabulary, width)
            self.dropout = torch.nn.Dropout(dropout)
            self.lstm = torch.nn.LSTM(width, width, 2, dropout=dropout)
            self.out = torch.nn.Linear(width, vocabulary)

        def forward(self, inputs, targets, state):
            hidden, state = self.lstm(self.dropout(self.table(inputs)), state)
            logits = self.out(self.dropout(hidden)).view(-1, vocabulary)
            return torch.nn.functional.cross_entropy(logits, targets.view(-1)), state

    model = Model()
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -0.1, 0.1)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    words = lambda: torch.randint(0, vocabulary, (steps, batch))
    inputs, targets = words(), words()
    state = [torch.zeros(2, batch, width)] * 2

    def step():
        optimiser.zero_grad()
        loss, after = model(inputs, targets, tuple(state))
        state[:] = [part.detach() for part in after]
        (loss * steps).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()

    for _ in range(3):
        step()
    return {"torch": step}


def quantizer_peers(what):
    """faiss's product quantiser on a 100,000 x 512 table, 64 codes of 256, and PyTorch's copy."""
    import numpy

    rng = numpy.random.default_rng(0)
    rows = rng.random((100_000, 512), dtype=numpy.float32)
    ids = rng.integers(0, len(rows), 4096)
    peers = {}
    try:
        import faiss

        quantizer = faiss.ProductQuantizer(512, 64, 8)
        quantizer.train(rows[:5000])
        codes = quantizer.compute_codes(rows)
        peers["faiss"] = (
            (lambda: quantizer.decode(codes[ids]))
            if what == "lookup"
            else (lambda: quantizer.compute_codes(rows))
        )
    except ImportError:
        print("faiss is not installed", file=sys.stderr)
    if what == "lookup":
        import torch

        table, wanted = torch.as_tensor(rows), torch.as_tensor(ids)
        peers["torch copy"] = lambda: table.index_select(0, wanted)
    return peers


def torch_memory(form, name, kind):
    """MiB that two steps of the eager layer take at most beyond what was resident, on stdout."""
    import torch

    def resident(line):
        text = Path("/proc/self/status").read_text()
        return int(text.split(line)[1].split()[0]) / 1024

    n, vocabulary, width, _, _ = shape = SHAPES[name]
    layer = torch_layer(torch, form, shape)
    ids, upstream = torch.as_tensor(ids_of(kind, n, vocabulary)), torch.rand(n, width) / n
    before = resident("VmRSS:")
    step = torch_step(torch, layer, layer, ids, upstream)
    for _ in range(2):
        step()
    print(json.dumps({"extra_mib": resident("VmHWM:") - before}))


# --- rows ----------------------------------------------------------------------------------------


def rows():
    """Every row: its name, our benchmark and what it is called there, and its peers."""
    for form in ["sx", "vq"]:
        for name in SHAPES:
            for kind in ["distinct", "zipf"]:
                peers = lambda f=form, n=name, k=kind: layer_peers(f, n, k)
                yield f"{form} {name} {kind}", "dpq", f"{name} {form} {kind}", peers
    for name in MODELS:
        yield f"lstm {name}", "lstm_step", f"{name} full", lambda n=name: lstm_peer(n)
    for form in ["full", "sx"]:
        peers = lambda f=form: torch_tasks.classification(f, torch_layer)
        yield f"classification {form}", "task_step", f"classification 300 {form}", peers
        for units in [256, 512]:
            peers = lambda f=form, u=units: torch_tasks.translation(f, u, torch_layer)
            yield f"translation {units} {form}", "task_step", f"translation {units} {form}", peers
    yield "lookup", "compact", "lookup", lambda: quantizer_peers("lookup")
    yield "encode", "compact", "encode", lambda: quantizer_peers("encode")


def measure(program, only, peers, options):
    """Medians in ms, ours first, all sides in turn."""
    calls = peers()
    times = {"dpq": [], **{name: [] for name in calls}}
    for _ in range(ROUNDS):
        times["dpq"].append(ours(program, only, options)["median_ms"])
        for name, call in calls.items():
            times[name].extend(sample(call, options.repeats))
    return {name: statistics.median(values) for name, values in times.items()}


def memory(programs, wanted):
    """Extra MiB of one SX step, ours and PyTorch's, each in a process of its own."""
    for name in ["C", "D", "E"]:
        label = f"memory {name}"
        if not wanted(label):
            continue
        own = subprocess.run(
            [programs["memory"], "--only", f"{name} sx distinct"],
            check=True, stdout=subprocess.PIPE, text=True,
        )
        peer = subprocess.run(
            [sys.executable, __file__, "--memory-of", name],
            check=True, stdout=subprocess.PIPE, text=True,
        )
        yield label, {
            "dpq": json.loads(own.stdout)["extra_mib"],
            "torch eager": json.loads(peer.stdout)["extra_mib"],
        }


def main():
    if "--memory-of" in sys.argv:
        return torch_memory("sx", sys.argv[sys.argv.index("--memory-of") + 1], "distinct")
    options = parse()
    if options.threads == 1:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    try:
        import torch

        torch.set_num_threads(options.threads)
    except ImportError:
        pass
    only = [name for name in options.only.split(",") if name]
    wanted = lambda name: not only or any(name.startswith(part) for part in only)
    programs = build()
    if not options.json:
        print(f"{platform.processor() or platform.machine()}, {options.threads} threads")
        print(f"{'':<22}{'dpq':>10}  {'best peer':<16}{'':>10}{'ratio':>8}")
    found = (
        (name, "ms", measure(programs[bench], what, peers, options))
        for name, bench, what, peers in rows()
        if wanted(name)
    )
    for source in [found, ((name, "MiB", values) for name, values in memory(programs, wanted))]:
        for name, unit, values in source:
            own = values.pop("dpq")
            if options.json:
                row = {"row": name, "threads": options.threads, "unit": unit, "dpq": own}
                print(json.dumps({**row, **values}), flush=True)
            elif values:
                best = min(values, key=values.get)
                ratio = values[best] / own
                print(
                    f"{name:<22}{own:>6.2f} {unit:<3}  {best:<16}{values[best]:>6.2f} {unit:<3}{ratio:>8.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
