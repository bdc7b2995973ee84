r"""The effective noise of a predictor, and how near it is to four oracles against the number of nonzeros.

The effective noise variance of a predictor on a law is that of the mixture's Bayes predictor nearest to it: s2 that
makes the mean of (f - f*_s2)^2 over prompts and prefixes of that law least, f*_s2 the oracle of the same classes with
noise s2. The fit sees predictions on the law's own prompts only. Then, unchanged, it is put beside the predictor on
prompts whose functions have 1, 2, ... nonzero coefficients:
    true        the oracle of the law          first, second    the oracles that know the class
    effective   the oracle with s2
A distance is the mean over prefixes of min((f - g)^2, cut); the cut makes it a bounded draw of each prompt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..mixtures.posterior import posterior
from ..mixtures.prompt_laws import PromptLaw, Prompts
from ..training.random_streams import stream
from ..training.threads import one_thread
from .class_selection import CHUNK, Line, line_between
from .shipped import shipped_digest, shipped_model

Plain = Mapping[str, Any]
Predict = Callable[[Tensor, Tensor], Tensor]  # xs (B, N, d), ys (B, N) -> (B, N)
GOLDEN = (math.sqrt(5) - 1) / 2
NAMES = ("true", "effective", "first", "second")
DIFFERENCES = {"explained": ("true", "effective"), "nearer than the second": ("second", "true")}  # of two distances


def with_noise(law: PromptLaw, noise_variance: float) -> PromptLaw:
    return replace(law, noise_variance=noise_variance)


def with_nonzeros(law: PromptLaw, nonzeros: int) -> PromptLaw:
    """The same inputs and noise; every function has so many nonzero coefficients, from the sparse class to the dense.

    E |w|^2 goes in a straight line from that of the sparse class, k v_s at k, to that of the dense one, d v_d at d, so
    that both ends are the classes themselves; below k the variance is v_s. Raises ValueError for other classes.
    """
    if [kind["kind"] for kind in law.classes] != ["dense", "sparse"]:
        raise ValueError(f"need a dense and a sparse class, got {[kind['kind'] for kind in law.classes]}")
    dense, sparse = law.classes
    d, k = law.dimension, sparse["nonzeros"]
    ends = d * dense["variance"], k * sparse["variance"]
    square = ends[1] + (ends[0] - ends[1]) * (nonzeros - k) / (d - k)
    variance = square / nonzeros if nonzeros > k else sparse["variance"]
    return replace(law, classes=({"kind": "sparse", "nonzeros": nonzeros, "variance": variance},), weights=(1.0,))


def answers(predict: Predict, prompts: Prompts) -> Tensor:
    """Predictions (B, N) in float64, some prompts at a time."""
    starts = range(0, len(prompts.ys), CHUNK)
    return torch.cat([predict(prompts.xs[a : a + CHUNK], prompts.ys[a : a + CHUNK]) for a in starts]).double()


def golden_section(of: Callable[[float], float], low: float, high: float, steps: int) -> tuple[float, float]:
    """Where a function with one minimum in [low, high] is least, up to (high - low) GOLDEN^steps; and its value."""
    a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_a, at_b = of(a), of(b)
    for _ in range(steps):
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - GOLDEN * (high - low)
            at_a = of(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + GOLDEN * (high - low)
            at_b = of(b)
    return (a, at_a) if at_a < at_b else (b, at_b)


def effective_noise(
    law: PromptLaw, prompts: Prompts, predictions: Tensor, limits: Sequence[float] = (1e-3, 10.0), steps: int = 14
) -> tuple[float, float]:
    """The noise variance of the nearest oracle between two limits, and its mean squared distance; log scale."""

    def distance(log_noise: float) -> float:
        found = posterior(with_noise(law, math.exp(log_noise)), prompts.xs, prompts.ys).prediction
        return float((found - predictions).square().mean())

    at, least = golden_section(distance, math.log(limits[0]), math.log(limits[1]), steps)
    return math.exp(at), least


def oracles(law: PromptLaw, noise: float, prompts: Prompts) -> tuple[dict[str, Tensor], Line]:
    """Predictions by NAMES, and the line of the law."""
    line = line_between(posterior(law, prompts.xs, prompts.ys))
    effective = posterior(with_noise(law, noise), prompts.xs, prompts.ys).prediction
    return {"true": line.mixture, "effective": effective, "first": line.first, "second": line.second}, line


def batches(law: PromptLaw, prompts: int, key: str, device: str) -> Iterator[Prompts]:
    generator = stream(key, device)
    for start in range(0, prompts, CHUNK):
        yield law.sample(min(CHUNK, prompts - start), generator)


@one_thread()
@torch.no_grad()
def sweep_of(
    law: PromptLaw,
    predict: Predict,
    nonzeros: Sequence[int],
    fitted: int,
    prompts: int,
    key: str,
    cut: float,
    device: str,
) -> dict[str, Any]:
    """The fit on `fitted` prompts of the law, then `prompts` prompts for each number of nonzeros; plain data.

    -> {"effective_noise", "own": {name: mean squared distance on the prompts of the fit}, "sweep": [{"nonzeros",
    "count", "scale": mean square of the targets, "distances": {name of an oracle or a difference: [sum, sum of
    squares]}, "readings": {predictor: slope of least squares on the line between the law's two oracles}}]}
    """
    own = law.sample(fitted, stream(f"{key}/own", device))
    f = answers(predict, own)
    noise, _ = effective_noise(law, own, f)
    found, _ = oracles(law, noise, own)
    return {
        "effective_noise": noise,
        "own": {name: float((f - found[name]).square().mean()) for name in NAMES},
        "sweep": [
            at_nonzeros(law, predict, m, noise, prompts, f"{key}/{m}", cut, device) for m in nonzeros
        ],
    }  # fmt: skip


def at_nonzeros(
    law: PromptLaw, predict: Predict, nonzeros: int, noise: float, prompts: int, key: str, cut: float, device: str
) -> dict[str, Any]:
    """One number of nonzeros."""
    totals = {name: torch.zeros(2, dtype=torch.float64) for name in (*NAMES, *DIFFERENCES)}
    moments = {name: 0.0 for name in ("model", "true", "effective", "gap")}
    scale = 0.0
    for batch in batches(with_nonzeros(law, nonzeros), prompts, key, device):
        f = answers(predict, batch)
        found, line = oracles(law, noise, batch)
        distances = {name: (f - g).square().clamp(max=cut).mean(-1) for name, g in found.items()}
        distances |= {name: distances[far] - distances[near] for name, (far, near) in DIFFERENCES.items()}
        for name, one in distances.items():
            totals[name] += torch.stack([one.sum(), one.square().sum()]).cpu()
        D = line.gap
        for name, g in {"model": f, "true": found["true"], "effective": found["effective"]}.items():
            moments[name] += float((D * (g - line.second)).sum())
        moments["gap"] += float(D.square().sum())
        scale += float(batch.targets.square().mean(-1).sum())
    return {
        "nonzeros": nonzeros, "count": prompts, "scale": scale / prompts,
        "distances": {name: one.tolist() for name, one in totals.items()},
        "readings": {name: moments[name] / moments["gap"] for name in ("model", "true", "effective")},
    }  # fmt: skip


def sweep_of_model(
    law: Plain,
    model: str,
    sha256: str,
    nonzeros: Sequence[int],
    fitted: int,
    prompts: int,
    stream_key: str,
    cut: float,
    device: str,
) -> dict[str, Any]:
    """`sweep_of` as a unit of work, for a shipped model.

    Raises ValueError where the shipped model is not the file with that SHA-256.
    """
    if (found := shipped_digest(model)) != sha256:
        raise ValueError(f"need the shipped model {model} with SHA-256 {sha256}, got a file with {found}")
    loaded = shipped_model(model).model.to(device)
    return sweep_of(
        PromptLaw.from_plain(law), lambda xs, ys: loaded(xs.float(), ys.float()), nonzeros, fitted, prompts, stream_key,
        cut, device,
    )  # fmt: skip


@one_thread()
@torch.no_grad()
def orthogonal_log_odds(cases: Sequence[Plain], device: str) -> dict[str, Any]:
    """B of prompts with orthogonal inputs, noiseless labels and coefficients of equal size; exact up to rounding.

    cases    {"dimension", "sparsity", "repeats", "dense_variance", "sparse_variance", "noise_variance", "nonzeros",
             "size"}: the inputs are the unit vectors times sqrt(d), each `repeats` times, so n = repeats d; w has
             `nonzeros` entries +-size
    -> {"log_bayes_factor", "rounding"}, lists
    """
    found, rounding = [], []
    for case in cases:
        d, n = case["dimension"], case["repeats"] * case["dimension"]
        dense, sparse = ({"kind": kind, "variance": case[f"{kind}_variance"]} for kind in ("dense", "sparse"))
        law = PromptLaw(d, n + 1, (dense, {**sparse, "nonzeros": case["sparsity"]}), (0.5, 0.5), case["noise_variance"])
        xs = math.sqrt(d) * torch.eye(d, dtype=torch.float64, device=device).repeat(case["repeats"], 1)
        w = case["size"] * torch.tensor([(-1.0) ** j * (j < case["nonzeros"]) for j in range(d)], dtype=torch.float64)
        xs = torch.cat([xs, xs[:1]])
        line = line_between(result := posterior(law, xs[None], (xs @ w.to(device))[None]))
        found.append(float(line.log_bayes_factor[0, -1]))
        # n d rotations, each off by a few eps of the labels; the exponents are squares of these over s2
        size = float((xs @ w.to(device)).square().sum()) / case["noise_variance"]
        logs = float(result.log_evidence[0, -1].abs().sum())
        rounding.append(torch.finfo(torch.float64).eps * n * d * (8 * size + logs))
    return {"log_bayes_factor": found, "rounding": rounding}
