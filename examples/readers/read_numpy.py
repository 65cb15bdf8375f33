import numpy as np
from safetensors import safe_open

def read_table(path):
    """The full table, V x d, to the bit."""
    with safe_open(path, "numpy") as f:
        m, packed, values = f.metadata(), f.get_tensor("codes"), f.get_tensor("values")
    V, D, K = int(m["rows"]), int(m["groups"]), int(m["codebook_size"])
    bands = [(0, K)] + [tuple(map(int, b.split(":"))) for b in m.get("bands", "").split(",") if ":" in b]
    starts = [min(first, V) for first, _ in bands] + [V]
    bits, codes = np.unpackbits(packed, bitorder="little"), []
    for (_, k), start, end in zip(bands, starts, starts[1:]):
        b = (k - 1).bit_length()
        part, bits = np.split(bits, [(end - start) * D * b])
        codes.append(part.reshape(end - start, D, b).astype(int) @ (1 << np.arange(b)))
    parts = values[np.arange(D) % len(values), np.concatenate(codes)]  # V x D x s
    if m.get("additive") != "true":
        return parts.reshape(V, -1)
    return np.add.accumulate(parts, axis=1)[:, -1] / np.asarray(D, parts.dtype)
