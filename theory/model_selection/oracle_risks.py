r"""Risks and prices of the Bayes predictors of dense and sparse linear functions, prefix by prefix, for any parameters.

Given a support, w on it is N(0, v I), and an example (x, y) with noise of variance sigma^2 changes mean u and
covariance C to
    u + C x e/s,  C - C x x^T C/s,  e = y - x.u,  s = sigma^2 + x^T C x,
and the logarithm of the evidence by -(log(2 pi s) + e^2/s)/2: the conditioning of Gaussians, one example at a time. The
dense class is the one support of all coordinates. Then, at each prefix,
    risk on labels of a class's oracle   E Var(f(x) | examples, class) + sigma^2
    price of not knowing the class       E (f* - f_class)^2 on prompts of the class (model-selection)
Both are averaged over sampled prompts, which follow from the parameters; a standard error comes with the price.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from ..algebra.evaluation import Array
from ..one_layer.assumptions import AssumptionError

MOST_SUPPORTS, LONGEST, LARGEST, MOST_PROMPTS = 5000, 64, 20, 20_000
LEAST_NOISE = 1e-4  # of the coefficients' variances: below, differences of covariances lose digits (mixture-posterior)
NAMES = ("dense", "sparse")
AT_ONCE = 2**21  # numbers of the covariances of all supports, for the prompts that are taken together


@dataclass(frozen=True)
class LinearMixture:
    """Dense functions with probability pi, else sparse ones with k of d coefficients; noise; N points of a prompt."""

    dimension: int
    nonzeros: int
    length: int
    noise_variance: float
    probability: float
    dense_variance: float
    sparse_variance: float

    def key(self) -> int:
        """A number that follows from the parameters."""
        text = json.dumps(asdict(self), sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")

    def supports(self, name: str) -> Array:
        """Coordinates of each support of a class, (S, k)."""
        size = self.dimension if name == "dense" else self.nonzeros
        return np.array(list(combinations(range(self.dimension), size)))

    def variance(self, name: str) -> float:
        return self.dense_variance if name == "dense" else self.sparse_variance

    def prompts(self, name: str, count: int, draw: np.random.Generator) -> tuple[Array, Array]:
        """Inputs (B, N, d) and labels (B, N) of a class."""
        supports = self.supports(name)
        w = np.zeros((count, self.dimension))
        chosen = supports[draw.integers(len(supports), size=count)]
        np.put_along_axis(w, chosen, math.sqrt(self.variance(name)) * draw.standard_normal(chosen.shape), -1)
        xs = draw.standard_normal((count, self.length, self.dimension))
        noise = math.sqrt(self.noise_variance) * draw.standard_normal((count, self.length))
        return xs, np.einsum("bnd,bd->bn", xs, w) + noise


class ClassPosterior(NamedTuple):
    """At each prefix: mean and variance of f(x) given the examples and the class, and the log evidence, (B, N) each."""

    mean: Array
    variance: Array
    log_evidence: Array


def class_posterior(law: LinearMixture, name: str, xs: Array, ys: Array) -> ClassPosterior:
    """Of one class, by conditioning on one example after the other."""
    supports = law.supports(name)
    (S, k), B = supports.shape, len(xs)
    u, log_density = np.zeros((B, S, k)), np.zeros((B, S))
    C = np.broadcast_to(law.variance(name) * np.eye(k), (B, S, k, k)).copy()
    found = []
    for i in range(xs.shape[1]):
        x = xs[:, i][:, supports]
        Cx = np.einsum("bsij,bsj->bsi", C, x)
        mean, spread = np.sum(x * u, -1), np.sum(x * Cx, -1)
        largest = log_density.max(-1, keepdims=True)
        weights = np.exp(log_density - largest)
        total = weights.sum(-1)
        p = weights / total[:, None]
        average = np.sum(p * mean, -1)
        variance = np.sum(p * (spread + (mean - average[:, None]) ** 2), -1)
        found.append((average, variance, largest[:, 0] + np.log(total / S)))
        s, e = law.noise_variance + spread, ys[:, i, None] - mean
        u += Cx * (e / s)[..., None]
        C -= Cx[..., :, None] * (Cx / s[..., None])[..., None, :]
        log_density -= (np.log(2 * np.pi * s) + e**2 / s) / 2
    return ClassPosterior(*(np.stack(part, 1) for part in zip(*found, strict=True)))


def posterior_of_dense(law: LinearMixture, dense: Array, sparse: Array) -> Array:
    """P(dense | examples) from both logarithms of the evidence."""
    log_odds = math.log(law.probability / (1 - law.probability)) + dense - sparse
    found: Array = (1 + np.tanh(log_odds / 2)) / 2
    return found


def variances_and_prices(law: LinearMixture, name: str, xs: Array, ys: Array) -> tuple[Array, Array]:
    """Variance of f(x) given the class, and (f* - f_class)^2, at every prefix of prompts, (B, N) each."""
    of = {one: class_posterior(law, one, xs, ys) for one in NAMES}
    p = posterior_of_dense(law, of["dense"].log_evidence, of["sparse"].log_evidence)
    other = 1 - p if name == "dense" else p
    return of[name].variance, (other * (of["dense"].mean - of["sparse"].mean)) ** 2


def risks_and_prices(law: LinearMixture, prompts: int) -> dict[str, list[float]]:
    """For each class: the oracle's risk on labels, the mixture's price, and the price's standard error, per prefix."""
    numbers = sum(law.supports(name).shape[0] * law.supports(name).shape[1] ** 2 for name in NAMES)
    few, found = max(1, AT_ONCE // numbers), {}
    for place, name in enumerate(NAMES):
        draw = np.random.default_rng((law.key(), place))
        xs, ys = law.prompts(name, prompts, draw)
        parts = [
            variances_and_prices(law, name, xs[start : start + few], ys[start : start + few])
            for start in range(0, prompts, few)
        ]
        variance, price = (np.concatenate(part) for part in zip(*parts, strict=True))
        found[f"oracle_risk_{name}"] = (variance.mean(0) + law.noise_variance).tolist()
        found[f"price_{name}"] = price.mean(0).tolist()
        found[f"price_error_{name}"] = (price.std(0) / math.sqrt(prompts)).tolist()
    return found


def predict(
    dimension: Any,
    sparsity: Any,
    length: Any,
    noise_variance: Any,
    dense_probability: Any = 0.5,
    dense_variance: Any = 1.0,
    sparse_variance: Any = 1.0,
    prompts: Any = 500,
) -> dict[str, list[float]]:
    """`risks_and_prices` of checked parameters. Raises AssumptionError.

    >>> found = predict(3, 1, 4, 0.1, prompts=100)
    >>> sorted(found)[:2], found["price_dense"][0]
    (['oracle_risk_dense', 'oracle_risk_sparse'], 0.0)
    """
    d = whole(dimension, "dimension", 1, LARGEST)
    k = whole(sparsity, "sparsity", 1, d)
    if math.comb(d, k) > MOST_SUPPORTS:
        raise AssumptionError(
            f"need at most {MOST_SUPPORTS} supports of the nonzero coefficients, got {math.comb(d, k)}; lower sparsity "
            "or dimension"
        )
    variances = {"dense_variance": dense_variance, "sparse_variance": sparse_variance}
    checked = {name: between(value, name, 1e-6, 1e6) for name, value in variances.items()}
    noise = between(noise_variance, "noise_variance", LEAST_NOISE * max(checked.values()), 1e9)
    pi = between(dense_probability, "dense_probability", 1e-12, 1 - 1e-12)
    law = LinearMixture(d, k, whole(length, "length", 1, LONGEST), noise, pi, **checked)
    return risks_and_prices(law, whole(prompts, "prompts", 100, MOST_PROMPTS))


def whole(value: Any, name: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise AssumptionError(f"{name} needs a whole number from {low} to {high}, got {value!r}")
    return value


def between(value: Any, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise AssumptionError(f"{name} needs a number from {low:g} to {high:g}, got {value!r}")
    return float(value)
