r"""Layers of softmax attention with embeddings, W_Q, W_K, W_V and a tied decoder [tian2023scan, sec. 3].

Tokens x_1 .. x_T with embeddings u_l, the rows of U (M, d). At position t a layer attends to the positions before it,
not to its own, with scores h_t^T W_Q W_K^T h_t'/sqrt(d), and writes W_V a_t for the attention's output
a_t = sum_t' b_t' h_t', normalised to unit length. The logits of the next token at t are

    u_l^T W_V a_t   with one layer; with more, a layer adds W_V a_t to h_t, and the last one is read like one alone.

Main statement
    With one layer and orthonormal rows of U (d >= M) the map is that of `sampled_training` with
        Y = U W_V^T U^T,   Z = U W_Q W_K^T U^T/sqrt(d).
    Proof in the tests: equal logits. Trained, the two differ all the same: W_Q, W_K and W_V have rates of their own.
At t = 1 there is no key: the output is 0.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..scan_and_snap.sequence_classes import SequenceClasses
from ..training.random_streams import standard_normals, stream
from ..training.threads import one_thread

Plain = Mapping[str, Any]


class EmbeddingLayer(nn.Module):
    """Attention of every position to the positions before it."""

    def __init__(self, size: int, generator: torch.Generator, scale: float) -> None:
        super().__init__()
        self.W_Q, self.W_K, self.W_V = (
            nn.Parameter(scale / math.sqrt(size) * standard_normals((size, size), generator, torch.float64))
            for _ in range(3)
        )

    def attention(self, h: Tensor) -> Tensor:
        """Weights (B, T, T) of the keys; the first row is 0."""
        T, d = h.shape[-2:]
        scores = (h @ self.W_Q) @ (h @ self.W_K).mT / math.sqrt(d)
        before = torch.ones(T, T, dtype=torch.bool, device=h.device).tril(-1)
        # the first row has no key: its scores are left as they are, and its weights put to 0
        masked = scores.masked_fill(~before & before.any(-1, keepdim=True), -math.inf)
        return masked.softmax(-1) * before

    def forward(self, h: Tensor) -> Tensor:
        """W_V a_t, (B, T, d)."""
        return functional.normalize(self.attention(h) @ h, dim=-1) @ self.W_V.mT


class EmbeddingModel(nn.Module):
    """Some layers on one table of embeddings, which also reads the logits."""

    def __init__(self, embeddings: Tensor, layers: int, generator: torch.Generator, scale: float = 0.1) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"need at least one layer, got {layers}")
        self.U = nn.Parameter(embeddings.clone())
        self.layers = nn.ModuleList(EmbeddingLayer(embeddings.shape[1], generator, scale) for _ in range(layers))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token at every position, (B, T, M), for tokens (B, T)."""
        h = self.U[tokens]
        for layer in self.layers[:-1]:
            h = h + layer(h)
        logits: Tensor = self.layers[-1](h) @ self.U.mT
        return logits

    def attentions(self, tokens: Tensor) -> list[Tensor]:
        """The weights of every layer, (B, T, T) each."""
        h, found = self.U[tokens], []
        for layer in self.layers:
            assert isinstance(layer, EmbeddingLayer)
            found.append(layer.attention(h))
            h = h + layer(h)
        return found


def orthonormal_rows(count: int, size: int, generator: torch.Generator) -> Tensor:
    """`count` orthonormal rows in R^size, drawn from the Haar measure up to signs."""
    if count > size:
        raise ValueError(f"need d >= M for orthonormal embeddings, got d = {size} and M = {count}")
    square = standard_normals((size, size), generator, torch.float64)
    rotation: Tensor = torch.linalg.qr(square).Q
    return rotation[:count]


def decoder_and_attention(model: EmbeddingModel) -> tuple[Tensor, Tensor]:
    """Y = U W_V^T U^T and Z = U W_Q W_K^T U^T/sqrt(d) of a model with one layer, (M, M) each."""
    (layer,) = model.layers
    assert isinstance(layer, EmbeddingLayer)
    U = model.U.detach()
    Z = U @ layer.W_Q.detach() @ layer.W_K.detach().mT @ U.mT / math.sqrt(U.shape[1])
    return U @ layer.W_V.detach().mT @ U.mT, Z


@dataclass(frozen=True)
class EmbeddingTraining:
    """One training on sampled sequences, whose last position predicts the next token.

    optimiser      "sgd" (with momentum) or "adam" (0.9, 0.999)
    trained_table  whether U moves; it starts with orthonormal rows where size >= M, else with N(0, 1/size) entries
    replica        changes nothing but the random numbers
    """

    classes: Plain
    size: int
    layers: int = 1
    length: int = 32
    batch_size: int = 64
    steps: int = 100
    learning_rate: float = 0.1
    momentum: float = 0.9
    optimiser: Literal["sgd", "adam"] = "sgd"
    trained_table: bool = False
    replica: int = 0

    @property
    def key(self) -> str:
        """SHA-256 of the parameters."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def start(self, device: str | torch.device) -> EmbeddingModel:
        """The model where training starts; the same on every device."""
        M, generator = SequenceClasses.from_plain(self.classes).vocabulary, stream(self.key + "/start")
        if self.size >= M:
            table = orthonormal_rows(M, self.size, generator)
        else:
            table = standard_normals((M, self.size), generator, torch.float64) / math.sqrt(self.size)
        model = EmbeddingModel(table, self.layers, generator).to(device)
        model.U.requires_grad_(self.trained_table)
        return model


def sampled_sequences(
    task: SequenceClasses, count: int, length: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Tokens x_1 .. x_T with the query last, (count, T), and next tokens (count,), on the generator's device."""
    device = generator.device
    laws, probabilities = (torch.tensor(table, device=device) for table in (task.contexts, task.probabilities))
    targets = torch.multinomial(probabilities, count, True, generator=generator)
    context = torch.multinomial(laws[targets], length - 1, True, generator=generator)
    queries = torch.tensor(task.queries, device=device)[targets]
    return torch.cat([context, queries[:, None]], 1), targets


@one_thread()
def train_embeddings(run: EmbeddingTraining, device: str | torch.device = "cpu") -> tuple[EmbeddingModel, list[float]]:
    """The trained model, and the loss of every batch in nats."""
    task, model = SequenceClasses.from_plain(run.classes), run.start(device)
    parameters = [weights for weights in model.parameters() if weights.requires_grad]
    optimiser: torch.optim.Optimizer
    if run.optimiser == "sgd":
        optimiser = torch.optim.SGD(parameters, run.learning_rate, momentum=run.momentum)
    else:
        optimiser = torch.optim.Adam(parameters, run.learning_rate)
    generator, losses = stream(run.key + "/sequences", device), []
    for _ in range(run.steps):
        tokens, targets = sampled_sequences(task, run.batch_size, run.length, generator)
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(tokens)[:, -1], targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    return model, losses


@torch.no_grad()
def attention_to_tokens(model: EmbeddingModel, tokens: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Mean attention of the last position to each token, by layer and class, (layers, K, M)."""
    M = model.U.shape[0]
    found = torch.zeros(len(model.layers), classes, M, dtype=torch.float64, device=tokens.device)
    for layer, weights in enumerate(model.attentions(tokens)):
        by_token = torch.zeros(len(tokens), M, dtype=torch.float64, device=tokens.device)
        by_token.scatter_add_(1, tokens, weights[:, -1])
        for n in range(classes):
            found[layer, n] = by_token[targets == n].mean(0)
    return found


def trained_embeddings(runs: list[Plain], device: str, test_count: int = 512) -> dict[str, Any]:
    """Per run: the losses, and mean attention to each token by layer and class on fresh sequences, as lists."""
    found: dict[str, Any] = {"losses": [], "attention": []}
    for plain in runs:
        run = EmbeddingTraining(**plain)
        model, losses = train_embeddings(run, device)
        task = SequenceClasses.from_plain(run.classes)
        tokens, targets = sampled_sequences(task, test_count, run.length, stream(run.key + "/test", device))
        found["losses"].append(losses)
        found["attention"].append(attention_to_tokens(model, tokens, targets, task.classes).tolist())
    return found
