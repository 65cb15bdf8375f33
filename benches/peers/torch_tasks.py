"""Steps of a classifier of texts and of a translator in PyTorch, of the sizes of benches/task_step.rs."""

BATCH = {"classification": 64, "translation": 128}


def zipf(torch, n, words, seed):
    weights = 1 / torch.arange(1, words + 1, dtype=torch.float64)
    draw = torch.Generator().manual_seed(seed)
    return torch.multinomial(weights, n, replacement=True, generator=draw)


def classification(form, dpq_layer):
    """Mean of embeddings, batch norm, a hidden layer, Adam; the full table by EmbeddingBag."""
    import torch

    words, width, batch = 17_682, 300, BATCH["classification"]
    lengths = torch.tensor([23 + i * 7 % 32 for i in range(batch)])
    ids = zipf(torch, int(lengths.sum()), words, 0)
    offsets = lengths.cumsum(0) - lengths
    text = torch.arange(batch).repeat_interleave(lengths)
    classes = torch.arange(batch) % 4
    peers = {}
    for sparse in [False, True]:
        if form == "full":
            table = torch.nn.EmbeddingBag(words, width, mode="mean", sparse=sparse)
            mean = lambda table=table: (table(ids, offsets), None)
            rows, others = [table.weight], []
        else:
            layer = dpq_layer(torch, form, (len(ids), words, width, 50, 32), sparse=sparse)

            def mean(layer=layer):
                found, loss = layer(ids)
                sums = torch.zeros(batch, width).index_add_(0, text, found)
                return sums / lengths[:, None], loss

            rows = [layer.table.weight]
            others = [p for p in layer.parameters() if p is not rows[0]]
        norm = lambda: torch.nn.BatchNorm1d(width, eps=1e-3, momentum=0.01)
        head = torch.nn.Sequential(
            norm(), torch.nn.ReLU(), torch.nn.Linear(width, width), norm(), torch.nn.ReLU(),
            torch.nn.Linear(width, 4),
        )
        others = others + list(head.parameters())
        if sparse:
            optimisers = [torch.optim.SparseAdam(rows, lr=1e-3), torch.optim.Adam(others, lr=1e-3)]
        else:
            optimisers = [torch.optim.Adam(rows + others, lr=1e-3)]

        def step(mean=mean, head=head, optimisers=optimisers):
            for optimiser in optimisers:
                optimiser.zero_grad(set_to_none=True)
            found, regulariser = mean()
            loss = torch.nn.functional.cross_entropy(head(found), classes)
            (loss if regulariser is None else loss + regulariser).backward()
            for optimiser in optimisers:
                optimiser.step()

        for _ in range(3):
            step()
        peers["torch sparse" if sparse else "torch dense"] = step
    return peers


def translation(form, units, dpq_layer):
    """Bidirectional encoder, decoder of two layers with scaled Luong attention and input feeding."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    words, batch = (5920, 7858), BATCH["translation"]
    lengths = [torch.tensor([8 + i * factor % 10 for i in range(batch)]) for factor in (7, 3)]
    longest = [int(l.max()) for l in lengths]
    source = zipf(torch, longest[0] * batch, words[0], 1).view(longest[0], batch)
    target = zipf(torch, (longest[1] + 1) * batch, words[1], 2).view(longest[1] + 1, batch)
    steps = torch.arange(longest[1] + 1)[:, None]
    kept = steps <= lengths[1]
    mask = torch.arange(longest[0])[None, :] >= lengths[0][:, None]

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            shape = (longest[0] * batch, words[0], units, 32, 32)
            full = form == "full"
            self.source = torch.nn.Embedding(words[0], units) if full else dpq_layer(torch, form, shape)
            self.target = torch.nn.Embedding(words[1], units)
            self.encoder = torch.nn.LSTM(units, units, bidirectional=True)
            self.cells = torch.nn.ModuleList(
                [torch.nn.LSTMCell(2 * units, units), torch.nn.LSTMCell(units, units)]
            )
            self.keys = torch.nn.Linear(2 * units, units, bias=False)
            self.scale = torch.nn.Parameter(torch.ones(()))
            self.attention = torch.nn.Linear(3 * units, units, bias=False)
            self.out = torch.nn.Linear(units, words[1], bias=False)
            self.dropout = torch.nn.Dropout(0.2)

        def forward(self):
            if form == "full":
                rows, loss = self.source(source), 0
            else:
                rows, loss = self.source(source.reshape(-1))
                rows = rows.view(longest[0], batch, units)
            packed = pack_padded_sequence(self.dropout(rows), lengths[0], enforce_sorted=False)
            found, (h, c) = self.encoder(packed)
            memories = pad_packed_sequence(found)[0].transpose(0, 1)
            keys = self.keys(memories)
            states = [(h[0], c[0]), (h[1], c[1])]
            attended, read = torch.zeros(batch, units), []
            inputs = self.target(target)
            for word in inputs:
                x = self.dropout(torch.cat([word, attended], 1))
                states[0] = self.cells[0](x, states[0])
                states[1] = self.cells[1](self.dropout(states[0][0]), states[1])
                h = states[1][0]
                scores = self.scale * torch.bmm(keys, h[:, :, None])[:, :, 0]
                weights = scores.masked_fill(mask, float("-inf")).softmax(1)
                context = torch.bmm(weights[:, None], memories)[:, 0]
                attended = self.attention(torch.cat([h, context], 1))
                read.append(attended)
            logits = self.out(torch.stack(read)[kept])
            mean = torch.nn.functional.cross_entropy(logits, target[kept])
            return mean * (kept.sum() / batch) + (loss or 0)

    model = Model()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step():
        optimiser.zero_grad(set_to_none=True)
        model().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()

    for _ in range(2):
        step()
    return {"torch": step}
