r"""A small law of functions on few points, enumerated exactly: the plain witness of every mean over random labels.

Statement
    Covariates on rational points closed under x -> -x, functions as tables of values closed under g -> g(-.), noise of
    two values: every prompt is written out, the layer multiplied out column by column, and means are exact. Nothing of
    the trace algebra is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from ..algebra.evaluation import Array
from .enumeration import Instance, InstanceKey
from .fixed_point import instance_of


@dataclass(frozen=True)
class FunctionLaw:
    """Covariates on few points, closed under x -> -x; functions as values at them, closed under g -> g(-.).

    points (K, d); functions: lists of K values, all equally likely.
    """

    points: tuple[Array, ...]
    functions: tuple[tuple[Fraction, ...], ...]

    def covariance(self) -> Array:
        """E x x^T."""
        zero, share = np.zeros((len(self.points[0]),) * 2, dtype=object), Fraction(1, len(self.points))
        mean: Array = sum((np.outer(x, x) for x in self.points), zero) * share
        return mean


def function_law(key: InstanceKey) -> FunctionLaw:
    """Points +-columns of the instance's roots, two random functions that are not odd, and their reflections."""
    given = instance_of(key)
    columns = [*given.covariance_root.T, *given.task_root.T][: 2 if given.dimension == 2 else 1]
    points = tuple(sign * column for column in columns for sign in (1, -1))
    entries = [Fraction(int(v)) for v in np.concatenate([given.U.ravel(), given.task_root.ravel()])]
    functions = [tuple(entries[(k + shift) % len(entries)] + k for k in range(len(points))) for shift in (0, 1)]
    mirror = tuple(k ^ 1 for k in range(len(points)))
    reflections = [tuple(values[mirror[k]] for k in range(len(points))) for values in functions]
    return FunctionLaw(points, (*functions, *reflections))


@cache
def law_values(key: InstanceKey) -> dict[str, Any]:
    """The letters of the risk at the small law, noise +-noise_root; N = 1 or 2."""
    given, law = instance_of(key), function_law(key)
    share, variance = Fraction(1, len(law.points)), Fraction(given.noise_root) ** 2
    products = [mean_product(law, g) for g in law.functions]
    second = [
        sum((share * (g[k] ** 2 + variance) * np.outer(x, x) for k, x in enumerate(law.points)), 0 * given.U)
        for g in law.functions
    ]
    each = Fraction(1, len(law.functions))
    return {
        "P": sum((np.outer(m, m) for m in products), 0 * given.U) * each,
        "Q": sum(second, 0 * given.U) * each,
        "tau": sum((share * v**2 for g in law.functions for v in g), Fraction(0)) * each,
        "Lambda": law.covariance(), "N": Fraction(small_length(key)), "A": given.values()["A"],
    }  # fmt: skip


def mean_product(law: FunctionLaw, g: tuple[Fraction, ...]) -> Array:
    """m = E[x y | g]."""
    share = Fraction(1, len(law.points))
    mean: Array = sum((x * g[k] for k, x in enumerate(law.points)), 0 * law.points[0]) * share
    return mean


def small_length(key: InstanceKey) -> int:
    return 1 + key[0] % 2


@cache
def enumerated_means(key: InstanceKey) -> dict[str, Fraction]:
    """R(A), E (s^T A x_q - g) e and the whole E (yhat - g)^2 over every prompt of the small law, layer written out."""
    given, law, n = instance_of(key), function_law(key), small_length(key)
    places = range(len(law.points))
    totals = {"kept": Fraction(0), "mixed": Fraction(0), "whole": Fraction(0), "turned": Fraction(0)}
    count = 0
    for g, query, chosen, signs in product(
        law.functions, places, product(places, repeat=n), product((1, -1), repeat=n)
    ):
        labels = [g[k] + given.noise_root * sign for k, sign in zip(chosen, signs, strict=True)]
        columns = [law.points[k] for k in chosen]
        yhat = predicted(given, columns, labels, law.points[query])
        mirrored = predicted(given, [-x for x in columns], labels, -law.points[query])
        odd, even = (yhat - mirrored) / 2, (yhat + mirrored) / 2
        totals["kept"] += (even - g[query]) ** 2
        totals["mixed"] += (even - g[query]) * odd
        totals["turned"] += odd**2
        totals["whole"] += (yhat - g[query]) ** 2
        count += 1
    return {name: total / count for name, total in totals.items()}


def predicted(given: Instance, columns: list[Array], labels: list[Any], x_q: Array) -> Any:
    """f(E)[d, N], column by column."""
    u12, U, u21 = given.u12[:, 0], given.U, given.u21[:, 0]
    total = Fraction(0)
    for x, y in [*zip(columns, labels, strict=True), (x_q, 0)]:
        total += (u12 @ x + given.u * y) * (x @ U @ x_q + y * (u21 @ x_q))
    return total / len(labels)


def risk_enumerated_at(key: InstanceKey, preconditioner: Array) -> Fraction:
    """R by enumeration at u = 1, U = A, no leak."""
    given, law, n = instance_of(key), function_law(key), small_length(key)
    tight = replace(given, u=1, U=preconditioner, u12=0 * given.u12, u21=0 * given.u21)
    places, total, count = range(len(law.points)), Fraction(0), 0
    for g, query, chosen, signs in product(
        law.functions, places, product(places, repeat=n), product((1, -1), repeat=n)
    ):
        labels = [g[k] + given.noise_root * sign for k, sign in zip(chosen, signs, strict=True)]
        yhat = predicted(tight, [law.points[k] for k in chosen], labels, law.points[query])
        total, count = total + (yhat - g[query]) ** 2, count + 1
    return total / count


def exact_eye(d: int) -> Array:
    """I in rationals."""
    eye: Array = np.array([[Fraction(int(i == j)) for j in range(d)] for i in range(d)], dtype=object)
    return eye
