import torch
from functools import reduce
from safetensors import safe_open

def read_table(path):
    """The full table, V x d, to the bit."""
    with safe_open(path, "pt") as f:
        m, t = f.metadata(), {name: f.get_tensor(name) for name in f.keys()}
    V, D, K = int(m["rows"]), int(m["groups"]), int(m["codebook_size"])
    values = t["values"] * t["scales"][:, None, None] if "scales" in t else t["values"]
    bands = [(0, K)] + [tuple(map(int, b.split(":"))) for b in m.get("bands", "").split(",") if ":" in b]
    counts = torch.tensor([min(first, V) for first, _ in bands] + [V]).diff().tolist()
    bits, codes = (t["codes"][:, None] >> torch.arange(8) & 1).flatten().long(), []
    for n, b in zip(counts, [(k - 1).bit_length() for _, k in bands]):
        codes.append((bits[: n * D * b].view(n, D, b) << torch.arange(b)).sum(-1))
        bits = bits[n * D * b :]
    P = int(m.get("parts", 1 if m.get("additive") == "true" else D))
    parts = values[torch.arange(D) % len(values), torch.cat(codes)].view(V, P, D // P, -1).unbind(2)
    rows = reduce(torch.add, parts).reshape(V, -1) / len(parts)
    return rows[t["rows"].long()] if "rows" in t else rows
