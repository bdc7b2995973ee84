r"""One layer of softmax attention with a decoder on windows of a text: its loss, its flow, and plain SGD.

The layer of [tian2023scan, section 3] on finite windows: keys x_1 .. x_(T-1), the query x_T (its own place is masked),
no positional encoding, attention softmax_t z[x_T, x_t], output of unit length, logits Y^T f, cross-entropy of x_(T+1).
All functions take leading batch axes: windows (..., S, T + 1), Y and Z (..., M, M). Velocities are autograd's.

Main objects
    attention, outputs, mean_loss      the layer
    entropies, lost_entropies          of the attention, and ln(T - 1) minus it without cancellation
    early_attention                    second derivatives at time 0 of the flow's logits and of the entropy
    early_flow                         the flow itself for a short time
    trained_attention                  plain SGD at several rates on several texts, entropies over training
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..training.random_streams import stream
from ..training.threads import one_thread
from .made_up_text import GENERAL, made_up_text, topic_words
from .text_corpus import Corpus, corpus_of, text_corpus

Tensor = torch.Tensor
LOOKED_AT = 200


def key_logits(Z: Tensor, windows: Tensor) -> Tensor:
    """z[x_T, x_t] of the keys, (..., S, T - 1)."""
    rows = torch.gather(Z, -2, windows[..., -2, None].expand(*windows.shape[:-1], Z.shape[-1]))
    return torch.gather(rows, -1, windows[..., :-2])


def attention(Z: Tensor, windows: Tensor) -> Tensor:
    """Weights of the keys, (..., S, T - 1)."""
    return torch.softmax(key_logits(Z, windows), -1)


def outputs(Z: Tensor, windows: Tensor) -> Tensor:
    """f, (..., S, M): the attention on each word, made of unit length."""
    weights = attention(Z, windows)
    nought = torch.zeros(*windows.shape[:-1], Z.shape[-1], dtype=Z.dtype, device=Z.device)
    on_words = nought.scatter_add(-1, windows[..., :-2], weights)
    found: Tensor = on_words / torch.linalg.vector_norm(on_words, dim=-1, keepdim=True)
    return found


def mean_loss(Y: Tensor, Z: Tensor, windows: Tensor) -> Tensor:
    """The mean cross-entropy over the windows, (...)."""
    logs = torch.log_softmax(outputs(Z, windows) @ Y, -1)
    return -torch.gather(logs, -1, windows[..., -1:]).squeeze(-1).mean(-1)


def entropies(Z: Tensor, windows: Tensor) -> Tensor:
    """The entropy of the attention over the keys in nats, (..., S)."""
    logs = torch.log_softmax(key_logits(Z, windows), -1)
    return -(logs.exp() * logs).sum(-1)


def lost_entropies(Z: Tensor, windows: Tensor) -> Tensor:
    """ln(T - 1) - entropy, (..., S), accurate for small logits too: logits less their mean, and log1p of a mean."""
    z = key_logits(Z, windows)
    z = z - z.mean(-1, keepdim=True)
    log_mean = torch.log1p(torch.expm1(z).mean(-1, keepdim=True))
    weights = torch.softmax(z, -1)
    # sum b z = sum (b - 1/n) z, as the z add up to 0
    return ((weights - 1 / z.shape[-1]) * z).sum(-1) - log_mean.squeeze(-1)


# The flow


def zeros(size: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)


def velocity(Y: Tensor, Z: Tensor, windows: Tensor, rates: Sequence[float]) -> tuple[Tensor, Tensor]:
    """(dY/dt, dZ/dt) of the gradient flow."""
    Y, Z = Y.detach().requires_grad_(), Z.detach().requires_grad_()
    slopes = torch.autograd.grad(mean_loss(Y, Z, windows), (Y, Z))
    return -rates[0] * slopes[0], -rates[1] * slopes[1]


def acceleration(Y: Tensor, Z: Tensor, windows: Tensor, rates: Sequence[float]) -> tuple[Tensor, Tensor]:
    """(d^2 Y/dt^2, d^2 Z/dt^2): the Hessian applied to the velocity, by differentiating twice."""
    moving = velocity(Y, Z, windows, rates)
    Y, Z = Y.detach().requires_grad_(), Z.detach().requires_grad_()
    slopes = torch.autograd.grad(mean_loss(Y, Z, windows), (Y, Z), create_graph=True)
    along = sum((slope * one).sum() for slope, one in zip(slopes, moving, strict=True))
    assert isinstance(along, Tensor)
    second = torch.autograd.grad(along, (Y, Z))
    return -rates[0] * second[0], -rates[1] * second[1]


def flow(windows: Tensor, size: int, rates: Sequence[float], time: float, steps: int) -> tuple[Tensor, Tensor]:
    """(Y, Z) at a time of the flow from zero, by Runge and Kutta's steps of fourth order."""
    state, h = zeros(size), time / steps
    for _ in range(steps):
        slopes: list[tuple[Tensor, Tensor]] = []
        for share in (0.0, 0.5, 0.5, 1.0):
            at = [x + share * h * slopes[-1][k] if slopes else x for k, x in enumerate(state)]
            slopes.append(velocity(at[0], at[1], windows, rates))
        means = [(a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(*slopes, strict=True)]
        state = (state[0] + h * means[0], state[1] + h * means[1])
    return state


# Measurements


def corpus(text: str, size: int, articles: int | None = None) -> Corpus:
    """ "made-up" or "made-up/KEY" for the made-up text of a key; else a file's path, or "datasets"."""
    if text == "made-up" or text.startswith("made-up/"):
        given = {} if articles is None else {"articles": articles}
        key = {} if text == "made-up" else {"key": text}
        return corpus_of(made_up_text(**key, **given), size)  # type: ignore[arg-type]
    return text_corpus(text, size)


def spread_windows(text: Corpus, length: int, count: int) -> Tensor:
    """`count` windows of a text, evenly spread; all windows of a text that has fewer."""
    whole = text.windows(length)
    chosen = min(count, len(whole))
    return whole[[k * len(whole) // chosen for k in range(chosen)]]


@one_thread()
def early_attention(text: str, vocabulary: int, length: int, count: int, device: str) -> dict[str, Any]:
    """At time 0 of the flow with rates 1: d^2 Z/dt^2, the mean entropy, and -d^2 (mean entropy)/d eps^2 at Z = eps K.

    K is half of that second derivative. Also the windows themselves, (count, T + 1).
    """
    found = corpus(text, vocabulary)
    windows, size = spread_windows(found, length, count), len(found.vocabulary)
    Y, Z = zeros(size)
    _, second = acceleration(Y, Z, windows, (1.0, 1.0))
    eps = torch.zeros((), dtype=torch.float64, requires_grad=True)
    mean = entropies(eps * second / 2, windows).mean()
    (slope,) = torch.autograd.grad(mean, eps, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, eps)
    return {
        "windows": windows.tolist(), "vocabulary": list(found.vocabulary), "second_derivative": second.tolist(),
        "start": float(mean.detach()), "slope": float(slope.detach()), "curvature": float(-curvature),
    }  # fmt: skip


@one_thread()
def early_flow(
    text: str, vocabulary: int, length: int, count: int, rates: Sequence[float], time: float, steps: int, device: str
) -> dict[str, Any]:
    """Z (M, M) at a time, the mean entropy lost, the largest spread of logits, and how much half the steps change."""
    found = corpus(text, vocabulary)
    windows, size = spread_windows(found, length, count), len(found.vocabulary)
    _, Z = flow(windows, size, rates, time, steps)
    _, coarse = flow(windows, size, rates, time, steps // 2)
    logits = key_logits(Z, windows)
    return {
        "windows": windows.tolist(), "Z": Z.tolist(), "lost_entropy": float(lost_entropies(Z, windows).mean()),
        "spread": float((logits.amax(-1) - logits.amin(-1)).max()), "halved": float((Z - coarse).norm()),
    }  # fmt: skip


# Training


def kinds_of_words(vocabulary: Sequence[str]) -> Tensor:
    """(M,): 0 for words of the grammar that all topics share, 1 for general words, 2 for words of a topic."""
    topics, general = topic_words(), {word for words in GENERAL.values() for word in words}
    return torch.tensor([2 if word in topics else int(word in general) for word in vocabulary])


def mass_on_kinds(Z: Tensor, windows: Tensor, kinds: Tensor) -> Tensor:
    """The mean attention on each kind of words, (..., 3); kinds (..., M)."""
    weights = attention(Z, windows)
    of_keys = torch.gather(kinds, -1, windows[..., :-2].flatten(-2)).view(weights.shape)
    return torch.stack([(weights * (of_keys == kind)).sum(-1).mean(-1) for kind in range(3)], -1)


def sgd_path(
    texts: Sequence[Tensor],
    size: int,
    rates: Tensor,
    steps: int,
    batch: int,
    keys: Sequence[str],
    see: Callable[[int, Tensor], None],
) -> tuple[Tensor, Tensor]:
    """(Y, Z), (R, M, M), after plain SGD: texts (windows, T + 1) of each replica, rates (R, 2).

    keys name the streams of the batches: replicas of equal texts and keys see equal batches. see(step, Z) is called
    before every step and at the end.
    """
    generators = [stream(key) for key in keys]
    Y, Z = (torch.zeros(len(texts), size, size, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for step in range(steps):
        see(step, Z)
        drawn = [t[torch.randint(len(t), (batch,), generator=g)] for t, g in zip(texts, generators, strict=True)]
        loss = mean_loss(Y, Z, torch.stack(drawn)).sum()  # replicas do not meet: each has its own gradient
        slopes = torch.autograd.grad(loss, (Y, Z))
        with torch.no_grad():
            for weight, slope, rate in zip((Y, Z), slopes, rates.T, strict=True):
                weight -= rate[:, None, None] * slope
    see(steps, Z)
    return Y.detach(), Z.detach()


@one_thread()
def trained_attention(
    texts: Sequence[str], rates: Sequence[Sequence[float]], vocabulary: int, length: int, articles: int | None,
    steps: int, batch: int, records: int, keys: Sequence[str], device: str,
) -> dict[str, Any]:  # fmt: skip
    """Entropies and the mass on kinds of words over training, for every text at every pair of rates (eta_Y, eta_Z).

    A text's key names its batches, which are the same at all rates; texts with keys of their own are independent.

    entropy (texts, rates, records + 1), mass (texts, rates, records + 1, 3), loss (texts, rates) on the windows that
    are looked at: 200 of the text it trains on.
    """
    read = [corpus(text, vocabulary, articles) for text in texts]
    size = max(len(one.vocabulary) for one in read)
    whole = [one.windows(length) for one in read for _ in rates]
    count = min(LOOKED_AT, *(len(one) for one in whole))
    seen = torch.stack([spread_windows(one, length, count) for one in read for _ in rates])
    kinds = torch.stack(
        [kinds_of_words((*one.vocabulary, *["<unk>"] * (size - len(one.vocabulary)))) for one in read for _ in rates]
    )
    every = max(1, steps // records)
    entropy: list[Tensor] = []
    mass: list[Tensor] = []

    def see(step: int, Z: Tensor) -> None:
        if step % every == 0:
            with torch.no_grad():
                entropy.append(entropies(Z, seen).mean(-1))
                mass.append(mass_on_kinds(Z, seen, kinds))

    scale = torch.tensor([list(pair) for _ in read for pair in rates], dtype=torch.float64)
    streams = [key for key, _ in zip(keys, read, strict=True) for _ in rates]
    Y, Z = sgd_path(whole, size, scale, steps, batch, streams, see)
    shape = (len(read), len(rates))
    return {
        "entropy": torch.stack(entropy, -1).view(*shape, -1).tolist(),
        "mass": torch.stack(mass, 1).view(*shape, -1, 3).tolist(),
        "loss": mean_loss(Y, Z, seen).view(shape).tolist(),
        "steps": [k * every for k in range(len(entropy))],
    }
