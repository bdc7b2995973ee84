"""Prompts without noise: which supports fit, by exact ranks, and the risk of the predictor at next to no noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from typing import Any

import torch

from ..training.random_streams import stream
from ..training.threads import use_one_thread
from .posterior import posterior
from .prompt_laws import PromptLaw

Plain = Mapping[str, Any]
BATCH = 20_000


def rank(rows: Sequence[Sequence[int]]) -> int:
    """The rank of a matrix of whole numbers, exactly."""
    left = [[Fraction(entry) for entry in row] for row in rows]
    found = 0
    for c in range(len(left[0]) if left else 0):
        pivot = next((row for row in left[found:] if row[c]), None)
        if pivot is None:
            continue
        left.remove(pivot)
        left.insert(found, pivot)
        found += 1
        for i in range(found, len(left)):
            factor = left[i][c] / pivot[c]
            if factor:
                left[i] = [a - factor * b for a, b in zip(left[i], pivot, strict=True)]
    return found


def fits(X: Sequence[Sequence[int]], y: Sequence[int], support: Sequence[int]) -> bool:
    """Whether y is a combination of these columns."""
    used = [[row[j] for j in support] for row in X]
    return rank(used) == rank([[*row, label] for row, label in zip(used, y, strict=True)])


def supports_that_fit(cases: Sequence[Plain], device: str) -> dict[str, Any]:
    """For every case (X, y of whole numbers, sparsity) the k-supports that fit, and whether all coordinates do."""
    sparse, dense = [], []
    for case in cases:
        d = len(case["X"][0])
        supports = combinations(range(d), case["sparsity"])
        sparse.append(sum(fits(case["X"], case["y"], support) for support in supports))
        dense.append(int(fits(case["X"], case["y"], range(d))))
    return {"sparse": sparse, "dense": dense, "device": device}


def risks(law: Plain, functions: Sequence[Plain], prompts: int, stream_key: str, device: str) -> dict[str, Any]:
    """Sums of (f - w.x)^2 and of its square at every prefix, for functions of other classes, their labels exact.

    `law` has the mixture that f is the predictor of, at its noise variance.
    """
    use_one_thread()
    made = PromptLaw.from_plain(law)
    total, squares = torch.zeros(2, len(functions), made.length, dtype=torch.float64, device=device)
    for place, kind in enumerate(functions):
        exact = PromptLaw(made.dimension, made.length, (kind,), (1.0,), 0.0)
        generator = stream(f"{stream_key}/{exact.key}", device)
        for first in range(0, prompts, BATCH):
            drawn = exact.sample(min(BATCH, prompts - first), generator)
            error = (posterior(made, drawn.xs, drawn.ys).prediction - drawn.targets).square()
            total[place] += error.sum(0)
            squares[place] += error.square().sum(0)
    return {"count": prompts, "sum": total.tolist(), "sum_of_squares": squares.tolist()}
