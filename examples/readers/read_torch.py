import torch
from functools import reduce
from safetensors import safe_open

def read_table(path):
    """The full table, V x d, to the bit."""
    with safe_open(path, "pt") as f:
        m, packed, values = f.metadata(), f.get_tensor("codes"), f.get_tensor("values")
    V, D, K = int(m["rows"]), int(m["groups"]), int(m["codebook_size"])
    bands = [(0, K)] + [tuple(map(int, b.split(":"))) for b in m.get("bands", "").split(",") if ":" in b]
    starts = [min(first, V) for first, _ in bands] + [V]
    bits, codes = (packed[:, None] >> torch.arange(8) & 1).flatten().long(), []
    for (_, k), start, end in zip(bands, starts, starts[1:]):
        b, n = (k - 1).bit_length(), end - start
        codes.append((bits[: n * D * b].view(n, D, b) << torch.arange(b)).sum(-1))
        bits = bits[n * D * b :]
    parts = values[torch.arange(D) % len(values), torch.cat(codes)]  # V x D x s
    if m.get("additive") != "true":
        return parts.reshape(V, -1)
    return reduce(torch.add, parts.unbind(1)) / D
