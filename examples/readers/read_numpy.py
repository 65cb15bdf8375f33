import numpy as np
from safetensors import safe_open

def read_table(path):
    """The full table, V x d, to the bit."""
    with safe_open(path, "numpy") as f:
        m, t = f.metadata(), {name: f.get_tensor(name) for name in f.keys()}
    V, D, K = int(m["rows"]), int(m["groups"]), int(m["codebook_size"])
    values = t["values"] * t["scales"][:, None, None] if "scales" in t else t["values"]
    bands = [(0, K)] + [tuple(map(int, b.split(":"))) for b in m.get("bands", "").split(",") if ":" in b]
    starts = [min(first, V) for first, _ in bands] + [V]
    bits, codes = np.unpackbits(t["codes"], bitorder="little"), []
    for (_, k), start, end in zip(bands, starts, starts[1:]):
        b = (k - 1).bit_length()
        part, bits = np.split(bits, [(end - start) * D * b])
        codes.append(part.reshape(end - start, D, b).astype(int) @ (1 << np.arange(b)))
    P = int(m.get("parts", 1 if m.get("additive") == "true" else D))
    parts = values[np.arange(D) % len(values), np.concatenate(codes)].reshape(V, P, D // P, -1)
    rows = np.add.accumulate(parts, axis=2)[:, :, -1].reshape(V, -1) / np.asarray(D // P, parts.dtype)
    return rows[t["rows"]] if "rows" in t else rows
