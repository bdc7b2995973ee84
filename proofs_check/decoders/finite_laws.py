"""Finite laws of two classes, at which the exact checks of the claims on mixtures are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..claims.claim import Budget
from ..claims.settings import generator
from ..records.tasks import Task

MEASUREMENT = "iclcheck.numerics.mixtures.finite_laws:enumerated"
Atoms = list[dict[str, Any]]
SIZES = ((3, 4), (6, 3), (20, 2))  # (atoms, outcomes of a class at each)
# At most 120 outcomes with |f|, |t| <= 2, masses that add up to 1, each term some ten roundings: below 1e-13. A best
# answer at an atom of mass 1/400 and more loses 400 times as much, and what depends on it is quadratic in it.
ROUNDING = 1e-10


def finite_laws(seed: int, weight: float | None = None) -> list[Atoms]:
    """Atoms with outcomes (mass, t) of two classes and an answer; with a weight, class 1 has just that probability."""
    found = []
    for k, (atoms, values) in enumerate(SIZES):
        draw = generator(f"finite laws/{k}", seed)
        masses = draw.uniform(0.2, 1.0, size=(atoms, 2, values))
        t = draw.uniform(-2.0, 2.0, size=masses.shape)
        masses /= masses.sum() if weight is None else masses.sum(axis=(0, 2), keepdims=True)
        if weight is not None:
            masses *= np.array([weight, 1 - weight])[:, None]
        outcomes = np.stack([masses, t], -1)
        found.append(
            [{"classes": some.tolist(), "answer": float(draw.uniform(-2, 2))} for some in outcomes]
        )  # fmt: skip
    return found


def finite_task(budget: Budget, weights: Sequence[float | None] = (None,)) -> Task:
    """All laws at all weights, in this order."""
    laws = [law for weight in weights for law in finite_laws(budget.seed, weight)]
    return Task(MEASUREMENT, {"laws": laws}, cost=0.05)


def sums_of(outcomes: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Sums of mass, of mass t and of mass t^2."""
    mass, t = np.array(outcomes).T
    return float(mass.sum()), float(mass @ t), float(mass @ t**2)


def class_letters(atom: Mapping[str, Any]) -> dict[str, float]:
    """A, B, m and n of model-selection."""
    (A, first, _), (B, second, _) = (sums_of(outcomes) for outcomes in atom["classes"])
    return {"A": A, "B": B, "m": first / A, "n": second / B}


def described(laws: Sequence[Atoms]) -> str:
    outcomes = sum(len(some) for law in laws for atom in law for some in atom["classes"])
    return f"all {outcomes} outcomes of {len(laws)} finite laws"
