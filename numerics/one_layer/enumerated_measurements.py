"""Measurements over Gauss nodes, exact up to rounding, for small sizes: plain data in, plain data out.

Always on the CPU in float64, whatever the device of the run. A case has a `distribution` and what is measured there.

    enumerated_stationarity        the gradient of the layer's loss along directions of A, at given weights
    enumerated_step_stationarity   the same for the risk of one explicit preconditioned gradient step
    enumerated_gradient            loss and gradient on all entries of the weights
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import cubature
from .prompts import PromptDistribution

Plain = Mapping[str, Any]
Nested = Sequence[Any]


def enumerated_stationarity(cases: Sequence[Plain], device: str) -> dict[str, Any]:
    """Per case (W_PV, W_KQ, directions): exact means of the derivatives, bounds on their rounding error, nodes."""
    return gathered(
        cubature.preconditioner_derivative_means(law_of(case), case["W_PV"], case["W_KQ"], case["directions"])
        for case in cases
    )


def enumerated_step_stationarity(cases: Sequence[Plain], device: str) -> dict[str, Any]:
    """Per case (preconditioner, directions): the same for the risk of the step with that preconditioner."""
    return gathered(
        cubature.step_derivative_means(law_of(case), case["preconditioner"], case["directions"]) for case in cases
    )


def law_of(case: Plain) -> PromptDistribution:
    return PromptDistribution.from_plain(case["distribution"])


def gathered(found: Iterable[cubature.Expectation]) -> dict[str, Any]:
    """Means, rounding bounds and nodes, one entry for each case."""
    results = list(found)
    return {
        "mean": [one.value.tolist() for one in results],
        "rounding": [one.rounding.tolist() for one in results],
        "nodes": [one.nodes for one in results],
    }


def enumerated_gradient(distribution: Plain, W_PV: Nested, W_KQ: Nested, device: str) -> dict[str, Any]:
    """Exact population loss and gradient on all entries, with bounds on their rounding error."""
    law = PromptDistribution.from_plain(distribution)
    loss, slope = cubature.population_loss(law, W_PV, W_KQ), cubature.population_gradient(law, W_PV, W_KQ)
    return {
        "loss": float(loss.value[0]),
        "loss_rounding": float(loss.rounding[0]),
        "W_PV": slope.W_PV.tolist(),
        "W_KQ": slope.W_KQ.tolist(),
        "W_PV_rounding": slope.rounding_PV.tolist(),
        "W_KQ_rounding": slope.rounding_KQ.tolist(),
        "nodes": slope.nodes,
    }
