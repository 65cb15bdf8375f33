import torch
from safetensors import safe_open

class CompactEmbedding(torch.nn.Module):
    def __init__(self, path):
        super().__init__()
        with safe_open(path, "pt") as f:
            m, t = f.metadata(), {name: f.get_tensor(name) for name in f.keys()}
        V, D, b = (int(m[name]) for name in ("rows", "groups", "bits"))
        bits = (t["codes"][:, None] >> torch.arange(8) & 1).flatten()[: V * D * b].view(V, D, b)
        self.register_buffer("codes", (bits.int() << torch.arange(b)).sum(-1, dtype=torch.int32))
        self.register_buffer("rows", t.get("rows", torch.arange(V)).long())  # of codes, of every id
        self.values = torch.nn.Parameter(t["values"] * (t["scales"][:, None, None] if "scales" in t else 1))
        self.parts = int(m.get("parts", 1 if m.get("additive") == "true" else D))
    def forward(self, ids):
        book = torch.arange(self.codes.shape[1]) % len(self.values)
        codewords = self.values[book, self.codes[self.rows[ids]].long()]  # of these ids only
        return codewords.unflatten(-2, (self.parts, -1)).mean(-2).flatten(-2)
