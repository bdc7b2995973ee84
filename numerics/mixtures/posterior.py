r"""The Bayes predictor of a mixture of function classes, at every prefix of a prompt.

A class is a set of Gaussian models: f(x) = r_s(x) . u with u ~ N(0, I_k), where the model s is drawn with probability
exp(log_weights_s) (`class_models`). So a dense class is one model, a sparse one has a model for every support, and a
sinusoid one for every node of a quadrature over frequency and phase. After the examples 1 .. i - 1

    posterior of (class, model)  ~  weight * exp(log_weights_s) * evidence_s,   evidence_s = density of y_1 .. y_{i-1}
    prediction at x_i  =  sum over classes and models of posterior * r_s(x_i) . E[u | s, y_1 .. y_{i-1}]

Stability. R u = z is the least-squares problem of the rows (sigma I, 0), (r_1, y_1), ..., in triangular form, and a new
row is rotated into it (Givens). What is left of y_i, the residual e_i, is found without a difference of large numbers:
the log evidence is - sum e_i^2/(2 sigma^2) - sum log |R_jj| + const. So the noise variance may be as small as 1e-8,
where the inverse of sigma^2 I + X X^T has lost all digits. Posteriors are normalised with log-sum-exp.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .prompt_laws import PromptLaw
from .sinusoid_models import combined_models, sinusoid_models

Plain = Mapping[str, Any]
Rows = Callable[[Tensor], Tensor]  # inputs x_i (B, d) -> rows r_s(x_i) (B, S, k), scaled for u ~ N(0, I)


class ClassModels(NamedTuple):
    """The Gaussian models of a class: their rows, and the logarithms of their probabilities (S,)."""

    rows: Rows
    log_weights: Tensor


class Posterior(NamedTuple):
    """At each of N prefixes: P(class | examples) (B, N, C), E[f(x_i) | examples, class] (B, N, C), and both together.

    log_evidence (B, N, C) is the logarithm of the density of the y before x_i, given the class.
    """

    classes: Tensor
    by_class: Tensor
    log_evidence: Tensor

    @property
    def prediction(self) -> Tensor:
        """E[f(x_i) | examples], (B, N)."""
        return (self.classes * self.by_class).sum(-1)


def class_models(kind: Plain, dimension: int) -> ClassModels:
    """The models of a class given as plain data (`function_classes`)."""
    if kind["kind"] not in _MODELS:
        raise ValueError(
            f"need a class that is Gaussian in its coefficients ({', '.join(sorted(_MODELS))}), got {kind['kind']!r}"
        )
    return _MODELS[kind["kind"]](kind, dimension)


def _dense(kind: Plain, dimension: int) -> ClassModels:
    scale = math.sqrt(kind["variance"])
    return ClassModels(lambda x: scale * x[:, None, :], torch.zeros(1, dtype=torch.float64))


def _sparse(kind: Plain, dimension: int) -> ClassModels:
    supports = torch.tensor(list(combinations(range(dimension), kind["nonzeros"])))
    scale = math.sqrt(kind["variance"])
    uniform = torch.full((len(supports),), -math.log(len(supports)), dtype=torch.float64)
    return ClassModels(lambda x: scale * x[:, supports.to(x.device)], uniform)


def _sinusoid(kind: Plain, dimension: int) -> ClassModels:
    return ClassModels(*sinusoid_models(kind))


def _combination(kind: Plain, dimension: int) -> ClassModels:
    first, second = (class_models(kind[name], dimension) for name in ("first", "second"))
    return ClassModels(*combined_models(kind["share"], first, second))


_MODELS: dict[str, Callable[[Plain, int], ClassModels]] = {
    "dense": _dense,
    "sparse": _sparse,
    "sinusoid": _sinusoid,
    "combination": _combination,
}


def posterior(law: PromptLaw, xs: Tensor, ys: Tensor) -> Posterior:
    """The Bayes predictor of the law at every prefix of prompts xs (B, N, d), ys (B, N), in float64.

    Raises ValueError where the noise variance is 0 (the evidence is a density only with noise), or where a class is
    not Gaussian in its coefficients.
    """
    if not law.noise_variance > 0:
        raise ValueError(f"need a positive noise variance, got {law.noise_variance}")
    xs, ys = xs.double(), ys.double()
    found = [class_evidence(class_models(kind, law.dimension), xs, ys, law.noise_variance) for kind in law.classes]
    by_class, log_evidence = (torch.stack(part, -1) for part in zip(*found, strict=True))
    prior = torch.tensor(law.weights, dtype=torch.float64, device=xs.device).log()
    return Posterior((prior + log_evidence).softmax(-1), by_class, log_evidence)


def class_evidence(models: ClassModels, xs: Tensor, ys: Tensor, noise_variance: float) -> tuple[Tensor, Tensor]:
    """Prediction at x_i given the class, and log evidence of the examples before, (B, N) each."""
    log_weights = models.log_weights.to(xs.device)
    predictions, evidence = [], []
    for log_density, prediction in prefixes(models.rows, xs, ys, noise_variance):
        log_joint = log_weights + log_density
        predictions.append((log_joint.softmax(-1) * prediction).sum(-1))
        evidence.append(log_joint.logsumexp(-1))
    return torch.stack(predictions, 1), torch.stack(evidence, 1)


def prefixes(rows: Rows, xs: Tensor, ys: Tensor, noise_variance: float) -> Iterator[tuple[Tensor, Tensor]]:
    """For i = 1 .. N: the log density of y_1 .. y_{i-1} under each model, and its prediction at x_i, (B, S) each."""
    sigma = math.sqrt(noise_variance)
    first = rows(xs[:, 0])
    B, S, k = first.shape
    # R and z by rows and columns: small pieces of shape (B, S), which the rotations change in place of a copy
    R = [
        [torch.full((B, S), sigma if a == b else 0.0, dtype=xs.dtype, device=xs.device) for b in range(k)]
        for a in range(k)
    ]
    z = [torch.zeros(B, S, dtype=xs.dtype, device=xs.device) for _ in range(k)]
    squares = torch.zeros(B, S, dtype=xs.dtype, device=xs.device)
    log_scale = torch.zeros(B, S, dtype=xs.dtype, device=xs.device)  # sum of log(sigma/R_jj)
    for i in range(xs.shape[1]):
        row = list(rows(xs[:, i]).unbind(-1))
        constant = -0.5 * i * math.log(2 * math.pi * noise_variance)
        yield constant - squares / (2 * noise_variance) + log_scale, _prediction(R, z, row)
        left = ys[:, i, None].expand(B, S)
        for a in range(k):
            left = _rotated(R[a], z, a, row, left)
        squares = squares + left.square()
        log_scale = sum((math.log(sigma) - R[a][a].log() for a in range(k)), torch.zeros_like(squares))


def _rotated(Ra: list[Tensor], z: list[Tensor], a: int, row: list[Tensor], left: Tensor) -> Tensor:
    """Rotate entry a of the row into row a of R; what is left of y."""
    norm = torch.hypot(Ra[a], row[a])
    cosine, sine = Ra[a] / norm, row[a] / norm
    Ra[a] = norm
    for b in range(a + 1, len(row)):
        Ra[b], row[b] = cosine * Ra[b] + sine * row[b], cosine * row[b] - sine * Ra[b]
    z[a], left = cosine * z[a] + sine * left, cosine * left - sine * z[a]
    return left


def _prediction(R: list[list[Tensor]], z: list[Tensor], row: list[Tensor]) -> Tensor:
    """row . u with R u = z, by substitution from the last row up."""
    k = len(z)
    u: list[Tensor] = [torch.zeros(())] * k
    total = torch.zeros_like(z[0])
    for a in reversed(range(k)):
        rest = z[a]
        for b in range(a + 1, k):
            rest = rest - R[a][b] * u[b]
        u[a] = rest / R[a][a]
        total = total + row[a] * u[a]
    return total
