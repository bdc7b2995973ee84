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

from ..training.threads import one_thread
from .prompt_laws import PromptLaw
from .sinusoid_models import combined_models, sinusoid_models

Plain = Mapping[str, Any]
IN_CACHE = 2**15  # numbers of the rows (r, y) of the prompts that are worked on together on a CPU
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
    _, S, k = models.rows(xs[:1, 0]).shape
    together = max(1, IN_CACHE // (S * (k + 1))) if xs.is_cpu else max(1, len(xs))
    with one_thread():
        found = [
            _evidence_of_few(models, xs[at : at + together], ys[at : at + together], noise_variance)
            for at in range(0, len(xs), together)
        ]
    prediction, evidence = (torch.cat(part) for part in zip(*found, strict=True))
    return prediction, evidence


def _evidence_of_few(models: ClassModels, xs: Tensor, ys: Tensor, noise_variance: float) -> tuple[Tensor, Tensor]:
    log_weights = models.log_weights.to(xs.device)
    predictions, evidence = [], []
    for log_density, prediction in prefixes(models.rows, xs, ys, noise_variance):
        log_joint = log_weights + log_density
        largest = log_joint.amax(-1, keepdim=True)
        share = log_joint.sub_(largest).exp_()
        total = share.sum(-1)
        predictions.append(share.mul_(prediction).sum(-1) / total)
        evidence.append(total.log() + largest[:, 0])
    return torch.stack(predictions, 1), torch.stack(evidence, 1)


def prefixes(rows: Rows, xs: Tensor, ys: Tensor, noise_variance: float) -> Iterator[tuple[Tensor, Tensor]]:
    """For i = 1 .. N: the log density of y_1 .. y_{i-1} under each model, and its prediction at x_i, (B, S) each."""
    sigma = math.sqrt(noise_variance)
    B, S, k = rows(xs[:, 0]).shape
    triangle = torch.zeros(k, k + 1, B, S, dtype=xs.dtype, device=xs.device)  # (R, z), its last column z
    triangle.diagonal(dim1=0, dim2=1).fill_(sigma)
    squares = torch.zeros(B, S, dtype=xs.dtype, device=xs.device)
    row = torch.empty(k + 1, B, S, dtype=xs.dtype, device=xs.device)
    for i in range(xs.shape[1]):
        row[:k] = rows(xs[:, i]).movedim(-1, 0)
        constant = k * math.log(sigma) - 0.5 * i * math.log(2 * math.pi * noise_variance)
        log_scale = torch.diagonal(triangle).log().sum(-1)
        yield (squares / (-2 * noise_variance)).sub_(log_scale).add_(constant), _prediction(triangle, row)
        row[k] = ys[:, i, None]
        for a in range(k):
            _rotate(triangle[a, a], triangle[a, a + 1 :], row[a], row[a + 1 :])
        squares.addcmul_(row[k], row[k])


def _rotate(diagonal: Tensor, upper: Tensor, first: Tensor, rest: Tensor) -> None:
    """Rotate the row (first, rest) into the row (diagonal, upper) of the triangle, both in place: first is then 0."""
    norm = torch.addcmul(diagonal.square(), first, first).sqrt_()
    cosine, sine = diagonal / norm, first / norm
    diagonal.copy_(norm)
    turned = sine * upper
    upper.mul_(cosine).addcmul_(sine, rest)
    rest.mul_(cosine).sub_(turned)


def _prediction(triangle: Tensor, row: Tensor) -> Tensor:
    """row . u with R u = z, by substitution from the last row up."""
    k = len(triangle)
    rest = triangle[:, k].clone()
    total = torch.zeros_like(rest[0])
    for a in reversed(range(k)):
        u = rest[a].div_(triangle[a, a])
        rest[:a].addcmul_(triangle[:a, a], u, value=-1)
        total.addcmul_(row[a], u)
    return total
