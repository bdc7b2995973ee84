r"""The model with embeddings (`embedding_model`), one to three layers, trained on a text by plain SGD.

Every position of a window predicts the next word. What is looked at is attention in windows that stay the same: its
entropy at the last position, relative to the largest, ln(T - 1); and how far its weights have moved since the record
before, as half the sum of absolute differences (0 for attention that is frozen, at most 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from ..scan_training.embedding_model import EmbeddingModel
from ..training.random_streams import standard_normals, stream
from ..training.threads import one_thread
from .text_attention import corpus, spread_windows
from .text_corpus import Corpus

Tensor = torch.Tensor


@dataclass(frozen=True)
class TextTraining:
    """size d of the embeddings, which are trained too; replica changes nothing but the random numbers."""

    layers: int
    learning_rate: float
    size: int = 64
    length: int = 24
    steps: int = 1000
    batch: int = 16
    scale: float = 0.5
    replica: int = 0

    def start(self, vocabulary: int) -> EmbeddingModel:
        """The model where training starts; the same for every learning rate."""
        generator = stream(f"embeddings on text/{self.layers}/{self.replica}/start")
        table = standard_normals((vocabulary, self.size), generator, torch.float64) / math.sqrt(self.size)
        return EmbeddingModel(table, self.layers, generator, self.scale)


def window_loss(model: EmbeddingModel, windows: Tensor) -> Tensor:
    """The mean cross-entropy of x_3 .. x_(T+1) from the words before each; x_2 has no key."""
    logits = model(windows[:, :-1])[:, 1:]
    return functional.cross_entropy(logits.flatten(0, 1), windows[:, 2:].flatten())


@torch.no_grad()
def last_attentions(model: EmbeddingModel, windows: Tensor) -> Tensor:
    """Weights of the last position on the keys before it, (layers, B, T - 1)."""
    return torch.stack([weights[:, -1, :-1] for weights in model.attentions(windows[:, :-1])])


def relative_entropies(weights: Tensor) -> Tensor:
    """Mean entropy of every layer over ln(T - 1), (layers,)."""
    logs = torch.where(weights > 0, weights, 1.0).log()
    return -(weights * logs).sum(-1).mean(-1) / math.log(weights.shape[-1])


@one_thread()
def trained_on(text: Corpus, run: TextTraining, records: int, shown: Sequence[int] = ()) -> dict[str, Any]:
    """Entropies and movement of each layer by record, losses, and the first layer's attention map at steps `shown`.

    entropy, moved (records + 1, layers); loss (records + 1,) on the windows looked at; maps: step -> weights (T, T) of
    the first window, rows are queries. Training that leaves the range of floats ends with nan.
    """
    whole, seen = text.windows(run.length), spread_windows(text, run.length, 100)
    model, every = run.start(len(text.vocabulary)), max(1, run.steps // records)
    generator = stream(f"embeddings on text/{run.replica}/batches")
    parameters = list(model.parameters())
    found: dict[str, Any] = {"steps": [], "entropy": [], "moved": [], "loss": [], "maps": {}}
    before: Tensor | None = None
    for step in range(run.steps + 1):
        if step % every == 0:
            weights = last_attentions(model, seen)
            moved = torch.zeros(run.layers) if before is None else (weights - before).abs().sum(-1).mean(-1) / 2
            before = weights
            with torch.no_grad():
                found["loss"].append(float(window_loss(model, seen)))
            found["steps"].append(step)
            found["entropy"].append(relative_entropies(weights).tolist())
            found["moved"].append(moved.tolist())
        if step in shown:
            with torch.no_grad():
                found["maps"][step] = model.attentions(seen[:1, :-1])[0][0].tolist()
        if step < run.steps:
            drawn = whole[torch.randint(len(whole), (run.batch,), generator=generator)]
            slopes = torch.autograd.grad(window_loss(model, drawn), parameters)
            with torch.no_grad():
                for weight, slope in zip(parameters, slopes, strict=True):
                    weight.sub_(run.learning_rate * slope)
    found["words"] = text.words(seen[0].tolist())
    return found


def trained_embeddings_on_text(
    text: str, vocabulary: int, runs: Sequence[dict[str, Any]], records: int, shown: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """`trained_on` for every run, on the made-up text, a file or a data set as `text_attention.corpus` names them."""
    read = corpus(text, vocabulary)
    return [trained_on(read, TextTraining(**run), records, shown) for run in runs]
