r"""A made-up language whose entropy is known exactly, and character models of softmax, linear and mesa layers for it.

A document has its own grammar, a permutation pi of K words drawn uniformly: after the word a comes pi(a) with
probability 1 - e + e/K, and every other word with e/K. Words are spelled out and end in a space; the first is uniform.
So the words that follow each other have to be learned within the document.

Main statements
    entropy_rate        nats a character once pi is known: the entropy of one row over the mean length of a word
    exact_losses        -log P(c_t | c_1 .. c_{t-1}) under the language, by summing over all K! grammars
    LanguageModel       embeddings of the last characters, layers of attention and MLP, logits
    trained_losses      the mean loss of a trained model on fresh documents, beside the exact loss of these documents
The chain of words is doubly stochastic, hence uniform at every time, whatever pi. No model can have an expected loss
below that of `exact_losses`, which tends to the entropy rate as documents grow.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn
from torch.nn import functional

from ..training.random_streams import stream
from .attention import CausalAttention

WORDS = ("ba", "ce", "dif", "gos", "hu")
ALPHABET = "".join(sorted(set("".join(WORDS)))) + " "


@dataclass(frozen=True)
class Language:
    """The words, and e, the probability of a word that is drawn uniformly instead of by the grammar."""

    words: tuple[str, ...] = WORDS
    freedom: float = 0.2

    @property
    def entropy_rate(self) -> float:
        """Nats a character of a long document whose grammar is known."""
        K = len(self.words)
        likely, other = 1 - self.freedom + self.freedom / K, self.freedom / K
        row = sum(-p * math.log(p) for p in [likely, *(K - 1) * [other]] if p > 0)
        return row / (sum(len(word) + 1 for word in self.words) / K)

    def documents(self, count: int, length: int, key: str) -> torch.Tensor:
        """Characters (count, length) as places in ALPHABET, from the stream named by the key."""
        draw, K = stream(key), len(self.words)
        grammars = torch.rand(count, K, generator=draw).argsort(-1)
        words = [torch.randint(K, (count,), generator=draw)]
        for _ in range(length // 2):
            free = torch.rand(count, generator=draw) < self.freedom
            drawn = torch.randint(K, (count,), generator=draw)
            words.append(torch.where(free, drawn, grammars.gather(1, words[-1][:, None]).squeeze(1)))
        spelled = ["".join(self.words[w] + " " for w in row)[:length] for row in torch.stack(words, 1).tolist()]
        return torch.tensor([[ALPHABET.index(character) for character in text] for text in spelled])

    @cached_property
    def _grammars(self) -> torch.Tensor:
        """P(b after a) of every grammar, (K!, K, K)."""
        K = len(self.words)
        rows = torch.tensor(list(itertools.permutations(range(K))))
        return functional.one_hot(rows, K).double() * (1 - self.freedom) + self.freedom / K

    def exact_losses(self, documents: torch.Tensor) -> torch.Tensor:
        """-log P(c_t | c_1 .. c_{t-1}) in nats, (count, length), under the language that made the documents."""
        return torch.stack([self._losses("".join(ALPHABET[c] for c in text)) for text in documents.tolist()])

    def _losses(self, text: str) -> torch.Tensor:
        grammars, losses, begun, before = self._grammars, [], "", None
        weights = torch.full((len(grammars),), 1 / len(grammars), dtype=torch.float64)
        chances = torch.full((len(self.words),), 1 / len(self.words), dtype=torch.float64)
        for character in text:
            agree = [(word + " ").startswith(begun + character) for word in self.words]
            kept = torch.where(torch.tensor(agree), chances, 0.0)
            losses.append(-torch.log(kept.sum() / chances.sum()))
            chances, begun = kept, begun + character
            if character == " ":
                word = self.words.index(begun[:-1])
                if before is not None:
                    weights = weights * grammars[:, before, word]
                    weights = weights / weights.sum()
                chances, begun, before = weights @ grammars[:, word], "", word
        return torch.stack(losses)


class LanguageModel(nn.Module):
    """Logits for the next character from the characters so far.

    kinds: of each layer, "softmax", "linear" or "mesa". Every token is the sum of embeddings of the last `window`
    characters, one table for each lag, so that one layer can compare places by what stands before them; after each
    layer a ReLU network of hidden size 2 width, with residual connection. All read the stream at root mean square 1.
    """

    def __init__(self, kinds: tuple[str, ...], generator: torch.Generator, width: int = 48, window: int = 5) -> None:
        super().__init__()
        self.window = window
        self.tables = nn.Parameter(0.5 * torch.randn(window, len(ALPHABET) + 1, width, generator=generator))
        self.layers = nn.ModuleList(
            CausalAttention(width, kind=kind, heads=2, key_size=24, value_size=24, scale=1.0, generator=generator)
            for kind in kinds
        )
        self.first, self.second = (
            nn.ParameterList(torch.randn(a, b, generator=generator) / a**0.5 * scale for _ in kinds)
            for a, b, scale in ((width, 2 * width, 1.0), (2 * width, width, 0.5))
        )
        self.readout = nn.Parameter(torch.randn(width, len(ALPHABET), generator=generator) / width**0.5 * 0.1)

    def forward(self, characters: torch.Tensor) -> torch.Tensor:
        """Logits (B, T, alphabet) for c_1 .. c_T, each from the characters before it (B, T)."""
        B, T = characters.shape
        padded = torch.cat([characters.new_full((B, self.window), len(ALPHABET)), characters], 1)
        lags = [
            self.tables[lag][padded[:, self.window - 1 - lag : self.window - 1 - lag + T]] for lag in range(self.window)
        ]
        stream_ = torch.stack(lags).sum(0)
        for layer, first, second in zip(self.layers, self.first, self.second, strict=True):
            read = normalised(stream_)
            stream_ = stream_ + (layer(read) - read)
            stream_ = stream_ + torch.relu(normalised(stream_) @ first) @ second
        logits: torch.Tensor = normalised(stream_) @ self.readout
        return logits


def normalised(stream_: torch.Tensor) -> torch.Tensor:
    """The stream with root mean square 1 at every token."""
    return functional.rms_norm(stream_, stream_.shape[-1:])


def losses(model: LanguageModel, documents: torch.Tensor) -> torch.Tensor:
    """-log of the model's probability of each character, in nats, (count, length)."""
    return functional.cross_entropy(model(documents).mT, documents, reduction="none")


def trained_model(
    language: Language, kinds: tuple[str, ...], seed: int, *, steps: int, batch: int, length: int, rate: float
) -> LanguageModel:
    """Trained by Adam on a fresh batch of documents at every step; the rate rises over a twentieth and falls to 0."""
    key = f"language model/{seed}"  # the same documents for every kind
    model = LanguageModel(kinds, stream(f"{key}/weights/{kinds}"))
    adam = torch.optim.Adam(model.parameters(), lr=rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda t: min(1.0, 20 * (t + 1) / steps) * (1 - t / steps))
    for step in range(steps):
        loss = losses(model, language.documents(batch, length, f"{key}/{step}")).mean()
        adam.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        schedule.step()
    return model
