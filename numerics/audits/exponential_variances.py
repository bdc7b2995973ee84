r"""The layer on prompts with random covariances c diag(lambda), lambda_k ~ Exp(1): exact means, and samples.

Main statements
    enumerated_risks      E (yhat - w.x_q)^2 / d with A = a I: Gauss-Laguerre nodes for the variances, and for each of
                          them the product Gauss rule of its prompts; exact, for the risk given Lambda is a
                          polynomial of degree 3 in each variance
    enumerated_moments    E yhat (w.x_q) x_q1^(2k) in the same way; degree k + 2 in a variance
    sampled_statistics    sums of yhat (w.x_q)/d and (yhat - w.x_q)^2/d, and of their squares, over fresh prompts
Rounding
    NumPy's Gauss-Laguerre nodes and weights with at most 6 nodes are right to 64 eps (tests compare with 40 digits);
    a polynomial of degree at most 2n - 1 with nodes up to 16 amplifies that by at most its degree.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..one_layer.cubature import TIGHT, Expectation, expectation
from ..one_layer.gauss_rules import Degrees
from ..one_layer.layer import fast_prediction
from ..one_layer.power_sums import ChunkTotals
from ..one_layer.prompts import PromptDistribution, Prompts, write_labels
from ..training.random_streams import standard_normals, stream
from ..training.threads import one_thread

Plain = Mapping[str, Any]
Array = NDArray[np.float64]
NODE_ROUNDINGS = 64
CELLS = 2_000_000  # covariates in one chunk of sampled prompts


def laguerre(nodes: int) -> tuple[Array, Array]:
    """Gauss nodes and weights of Exp(1)."""
    points, weights = np.polynomial.laguerre.laggauss(nodes)
    return np.asarray(points), np.asarray(weights)


def variances(d: int, degree: int) -> Iterator[tuple[float, Array]]:
    """Weights and variances (d,) that integrate polynomials of this degree in each variance."""
    points, weights = laguerre(degree // 2 + 1)
    for chosen in itertools.product(range(len(points)), repeat=d):
        yield math.prod(float(weights[k]) for k in chosen), points[list(chosen)]


def averaged(case: Plain, degree: int, mean: Callable[[PromptDistribution], Expectation]) -> dict[str, Any]:
    """A mean given Lambda, averaged over Lambda; divided by d."""
    d, scale = case["dimension"], case["scale"]
    total, rounding, nodes = [], [], 0
    for weight, lambdas in variances(d, degree):
        found = mean(PromptDistribution(np.diag(scale * lambdas), (case["length"],), np.eye(d)))
        total.append(weight * float(found.value[0]) / d)
        # At least eps times the sum of all absolute values, so that cancellation inside the value is counted.
        rounding.append(weight * abs(float(found.rounding[0])) * (1 + NODE_ROUNDINGS * d * (degree + 1)) / d)
        nodes += found.nodes
    return {"mean": math.fsum(total), "rounding": math.fsum(rounding), "nodes": nodes}


def weights(case: Plain) -> tuple[Array, Array]:
    """W_PV = diag(0, 1), W_KQ = diag(a I, 0)."""
    d = case["dimension"]
    W_PV, W_KQ = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d + 1))
    W_PV[d, d] = 1.0
    W_KQ[:d, :d] = case["gain"] * np.eye(d)
    return W_PV, W_KQ


def gathered(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: [one[key] for one in found] for key in ("mean", "rounding", "nodes")}


def enumerated_risks(cases: Sequence[Plain], device: str) -> dict[str, Any]:
    """Per case (dimension, length, scale, gain): the risk divided by d, a bound on its rounding, and nodes."""
    return gathered(
        [averaged(case, 3, lambda law, case=case: risk_given(law, case)) for case in cases]  # type: ignore[misc]
    )


def risk_given(law: PromptDistribution, case: Plain) -> Expectation:
    return expectation(squared_errors, law, weights(case), TIGHT + TIGHT)


def squared_errors(prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor) -> torch.Tensor:
    """(yhat - w.x_q)^2, (1, B)."""
    return (fast_prediction(prompts, W_PV, W_KQ) - prompts.target).square().unsqueeze(0)


def enumerated_moments(cases: Sequence[Plain], device: str) -> dict[str, Any]:
    """Per case (dimension, length, scale, gain, power k): E yhat (w.x_q) x_q1^(2k) / d, with rounding and nodes."""
    found = []
    for case in cases:
        power = case["power"]
        degrees = TIGHT + Degrees(0, 1 + 2 * power, 1, 0)
        quantity = moment_of(power)
        found.append(
            averaged(case, power + 2, lambda law, q=quantity, g=degrees, c=case: expectation(q, law, weights(c), g))  # type: ignore[misc]
        )
    return gathered(found)


def moment_of(power: int) -> Callable[..., torch.Tensor]:
    """yhat (w.x_q) x_q1^(2 power), (1, B)."""

    def quantity(prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor) -> torch.Tensor:
        yhat = fast_prediction(prompts, W_PV, W_KQ)
        return (yhat * prompts.target * prompts.embedding[..., 0, -1] ** (2 * power)).unsqueeze(0)

    return quantity


@one_thread()
def sampled_statistics(cases: Sequence[Plain], prompts: int, stream_key: str, device: str) -> dict[str, Any]:
    """Per case (dimension, length, scale, gain): sums of both statistics and of their squares over fresh prompts."""
    found = [sums_of(case, prompts, f"{stream_key}/{k}", device) for k, case in enumerate(cases)]
    return {"count": prompts, **{key: [one[key] for one in found] for key in ("sum", "sum_of_squares")}}


def sums_of(case: Plain, prompts: int, key: str, device: str) -> dict[str, list[float]]:
    """One case of `sampled_statistics`."""
    d, generator = case["dimension"], stream(key, device)
    W_PV, W_KQ = (torch.from_numpy(W).to(generator.device) for W in weights(case))
    chunk = max(1, CELLS // (d * (case["length"] + 1)))
    sums, squares = ChunkTotals(), ChunkTotals()
    for start in range(0, prompts, chunk):
        drawn = sample(case, min(chunk, prompts - start), generator)
        yhat = fast_prediction(drawn, W_PV, W_KQ)
        values = torch.stack([yhat * drawn.target, (yhat - drawn.target).square()]) / d
        sums.add(values.sum(-1))
        squares.add((values * values).sum(-1))
    return {"sum": sums.exact(), "sum_of_squares": squares.exact()}


def sample(case: Plain, count: int, generator: torch.Generator) -> Prompts:
    """Prompts of the case's law, each with its own variances."""
    d, tokens, scale = case["dimension"], case["length"] + 1, case["scale"]
    uniform = torch.rand(d, count, generator=generator, dtype=torch.float64, device=generator.device)
    roots = (-scale * torch.log1p(-uniform)).sqrt()  # the root of c times an Exp(1) number
    task = standard_normals((d, count), generator, torch.float64)
    rows = torch.empty(d + 1, tokens, count, dtype=torch.float64, device=generator.device)
    rows[:-1] = standard_normals((d, tokens, count), generator, torch.float64) * roots[:, None]
    target = write_labels(rows, task, None)
    lengths = torch.full((count,), float(case["length"]), dtype=torch.float64, device=generator.device)
    return Prompts(rows.permute(2, 0, 1), target, lengths)
