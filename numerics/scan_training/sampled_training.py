r"""Stochastic gradient descent of the layer with its decoder on sampled sequences [tian2023scan, sec. 3 and 8].

A sequence of length T has T - 1 keys x_1 .. x_{T-1}, independent with law P(l | n), a query x_T = psi(n) that is not
among its own keys, and the next token n. There is no positional encoding, so that softmax attention over positions is

    c_l = N_l e^{Z_ml} / sum_l' N_l' e^{Z_ml'},   N_l the number of keys with token l,   m = psi(n):

only the counts matter, and only counts are kept. Output c/|c|, logits Y^T c/|c|, cross-entropy of the next token; Y and
Z from 0, each with a rate of its own. Momentum mu as in most libraries: v <- mu v + gradient, weights <- weights -
rate v, so that a step moves as 1/(1 - mu) units of the flow's time do (`flows`).

Main statements
    sequence_losses     the loss of sequences given by their counts
    sampled_counts      counts of sequences, drawn key by key
    train               many runs at once; every run draws from streams of its own, so that it is the same alone
    trained_attention   the measurement: Z, Y and the attention of each run at recorded steps
Three lengths beside the sampled one
    length None         T = infinity: counts are P(l | n), so that only the batch's classes are drawn
    batch_size None     nothing is drawn: the gradient of the population loss (T = infinity)
    The classes of a batch come from a stream that knows neither T nor the rates: runs that differ in these alone
    see the same classes, so that their differences have little noise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..scan_and_snap.layer import attention_weights, class_vectors, columns, entropies, multiplicities
from ..scan_and_snap.sequence_classes import SequenceClasses
from ..training.random_streams import stream
from ..training.threads import one_thread

Plain = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class SampledTraining:
    """One run.

    decoder_rate, attention_rate   eta_Y and eta_Z
    length      T; None: infinity
    batch_size  sequences of a step; None: the population loss at T = infinity
    recorded    steps after which weights are kept, increasing; the last one ends the run
    replica     changes nothing but the random numbers

    Raises ValueError where these name no training.
    """

    classes: SequenceClasses
    decoder_rate: float
    attention_rate: float
    recorded: tuple[int, ...]
    momentum: float = 0.9
    batch_size: int | None = 128
    length: int | None = 128
    replica: int = 0

    def __post_init__(self) -> None:
        if self.length is not None and self.length < 2:
            raise ValueError(f"need sequences of a query and at least one key, T >= 2, got T = {self.length}")
        if self.batch_size is None and self.length is not None:
            raise ValueError("the population loss is that of T = infinity; leave out the length, or give a batch size")
        if not self.recorded or list(self.recorded) != sorted(set(self.recorded)) or self.recorded[0] < 0:
            raise ValueError(f"need recorded steps that increase from 0 on, got {self.recorded}")
        if not 0 <= self.momentum < 1 or min(self.decoder_rate, self.attention_rate) < 0 or self.batch_size == 0:
            raise ValueError(
                "need a momentum in [0, 1), rates that are not negative, and a batch, got "
                f"{self.momentum}, {self.decoder_rate}, {self.attention_rate}, {self.batch_size}"
            )

    @classmethod
    def from_plain(cls, plain: Plain) -> SampledTraining:
        """From {"classes": .., "decoder_rate": .., ..}; unknown names are refused by name (TypeError)."""
        classes = SequenceClasses.from_plain(plain["classes"])
        recorded = tuple(int(step) for step in plain["recorded"])
        given = {**plain, "classes": classes, "recorded": recorded}
        return cls(**given)

    @property
    def shape(self) -> tuple[Any, ...]:
        """What runs side by side have in common."""
        size = (*self.classes.contexts.shape, self.classes.query_count)
        return (*size, self.batch_size, self.length is None, self.recorded)

    def key(self, *parts: Any) -> str:
        """Names a stream of this run: the tables, the batch and the replica, and what is given."""
        text = json.dumps([self.classes.plain(), self.batch_size, self.replica, *parts], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def sequence_losses(counts: Tensor, rows: Tensor, targets: Tensor, decoder: Tensor, attention: Tensor) -> Tensor:
    """- log softmax(Y^T f)_n of sequences, (R, B).

    counts (R, B, M), not negative, in any unit; rows (R, B), of Z for the query; targets n (R, B); decoder
    (R, M, K + 1) or (R, M, M) and attention (R, Q, M) of R runs.
    """
    logits = attention.gather(1, rows[..., None].expand(*rows.shape, attention.shape[-1]))  # (R, B, M)
    predicted = class_vectors(counts, logits) @ decoder  # (R, B, K + 1)
    everything = predicted + log_multiplicities(decoder)
    own = predicted.gather(-1, targets[..., None])[..., 0]
    return everything.logsumexp(-1) - own


def log_multiplicities(decoder: Tensor) -> Tensor:
    """The logarithm of how many tokens a kept column of Y stands for, (K + 1,)."""
    M, kept = decoder.shape[-2:]
    return multiplicities(kept - (kept < M), M).log().to(decoder)


def sampled_counts(laws: Tensor, keys: int, generator: torch.Generator) -> Tensor:
    """Counts of `keys` independent tokens of each law, (B, M) from (B, M): every token by inversion."""
    draws = torch.rand(len(laws), keys, generator=generator, dtype=laws.dtype, device=laws.device)
    edges = laws.cumsum(-1)
    # the last token with a positive probability ends the table, whatever rounding made of the sum
    tokens = torch.searchsorted(edges, draws * edges[:, -1:], right=True)
    return torch.zeros_like(laws).scatter_add_(1, tokens, torch.ones_like(draws))


@dataclass
class Batched:
    """Runs of one shape, side by side: tables (R, K, M), P(n) (R, K), rows of the queries (R, K), rates (R, 1, 1)."""

    runs: Sequence[SampledTraining]
    device: str | torch.device

    def __post_init__(self) -> None:
        first = self.runs[0]
        for run in self.runs:
            if run.shape != first.shape:
                raise ValueError(
                    "need runs of one shape, batch size and recorded steps, all with finite T or none, got "
                    f"{first.shape} and {run.shape}; train them one after another"
                )
        self.contexts = self.stacked([run.classes.contexts for run in self.runs])
        self.probabilities = self.stacked([run.classes.probabilities for run in self.runs])
        self.rows = torch.tensor(np.stack([run.classes.rows for run in self.runs]), device=self.device)
        self.decoder_rate, self.attention_rate, self.momentum = (
            self.stacked([np.full((1, 1), getattr(run, name)) for run in self.runs])
            for name in ("decoder_rate", "attention_rate", "momentum")
        )
        R, K, M = self.contexts.shape
        self.counts = multiplicities(K, M).to(self.device)
        self.decoder = torch.zeros(R, M, columns(K, M), dtype=torch.float64, device=self.device)
        self.attention = torch.zeros(R, first.classes.query_count, M, dtype=torch.float64, device=self.device)
        self.moving = [torch.zeros_like(self.decoder), torch.zeros_like(self.attention)]
        self.class_streams = [stream(run.key("classes"), self.device) for run in self.runs]
        self.token_streams = [stream(run.key("tokens", run.length), self.device) for run in self.runs]

    def stacked(self, tables: Sequence[Any]) -> Tensor:
        return torch.tensor(np.stack(tables), dtype=torch.float64, device=self.device)

    def targets(self, size: int) -> Tensor:
        """Classes of the next batch of every run, (R, size)."""
        edges = self.probabilities.cumsum(-1)
        draws = torch.stack([
            torch.rand(size, generator=one, dtype=torch.float64, device=self.device) for one in self.class_streams
        ])  # fmt: skip
        return torch.searchsorted(edges, draws * edges[:, -1:], right=True)

    def next_batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Counts (R, B, M), classes (R, B) and weights (R, B) that add up to 1; for T = infinity one a class, B = K."""
        everyone = torch.arange(self.contexts.shape[1], device=self.device).expand(self.rows.shape)
        size = self.runs[0].batch_size
        if size is None:
            return self.contexts, everyone, self.probabilities
        targets = self.targets(size)
        if self.runs[0].length is None:
            drawn = torch.zeros_like(self.probabilities).scatter_add_(1, targets, torch.ones_like(targets).double())
            return self.contexts, everyone, drawn / size
        laws = self.contexts.gather(1, targets[..., None].expand(*targets.shape, self.contexts.shape[-1]))
        counts = [
            sampled_counts(law, (run.length or 0) - 1, one)
            for law, run, one in zip(laws, self.runs, self.token_streams, strict=True)
        ]
        return torch.stack(counts), targets, torch.full(targets.shape, 1 / size, dtype=torch.float64).to(targets.device)

    def loss(self, decoder: Tensor, attention: Tensor) -> Tensor:
        """Of the next batch, (R,)."""
        counts, targets, weights = self.next_batch()
        return (weights * sequence_losses(counts, self.rows.gather(1, targets), targets, decoder, attention)).sum(-1)

    def step(self) -> None:
        """One step of every run; a kept column of Y moves as each of the tokens that it stands for."""
        weights = [part.detach().requires_grad_() for part in (self.decoder, self.attention)]
        slopes = torch.autograd.grad(self.loss(*weights).sum(), weights)
        parts = (slopes[0] / self.counts, slopes[1])
        self.moving = [self.momentum * v + g for v, g in zip(self.moving, parts, strict=True)]
        self.decoder = self.decoder - self.decoder_rate * self.moving[0]
        self.attention = self.attention - self.attention_rate * self.moving[1]


@one_thread()
def train(runs: Sequence[SampledTraining], device: str | torch.device = "cpu") -> tuple[Tensor, Tensor]:
    """Z (records, R, Q, M) and Y (records, R, M, K + 1) after the recorded steps, from Z = Y = 0."""
    batched, attentions, decoders = Batched(runs, device), [], []
    for step in range(runs[0].recorded[-1] + 1):
        if step:
            batched.step()
        if step in runs[0].recorded:
            attentions.append(batched.attention)
            decoders.append(batched.decoder)
    return torch.stack(attentions), torch.stack(decoders)


def trained_attention(runs: Sequence[Plain], device: str, decoders: bool = False) -> dict[str, Any]:
    """Per record and run, as lists: Z (Q, M), entropy of c_n in nats (K,); Y on demand.

    The attention c_n is that of sequences of infinite length.
    """
    trainings = [SampledTraining.from_plain(plain) for plain in runs]
    Z, Y = train(trainings, device)
    batched = Batched(trainings, device)
    logits = torch.stack([z.gather(1, batched.rows[..., None].expand(*batched.rows.shape, z.shape[-1])) for z in Z])
    weights = attention_weights(batched.contexts, logits)
    found = {"Z": Z.tolist(), "entropy": entropies(weights).tolist(), "recorded": list(trainings[0].recorded)}
    return {**found, "Y": Y.tolist()} if decoders else found
