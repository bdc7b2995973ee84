"""The numbers of the noiseless limit for a user's prompt: exact, or to a tolerance for rounded numbers.

Main statements
    exact        floats are the dyadic rationals that they stand for, texts like "1/3" and "0.1" are rational numbers;
                 ranks are decided without rounding (`exact_elimination`)
    tolerance    a singular value counts as 0 below `tolerance` times the largest, and a support fits where what is left
                 of y is below `tolerance` |y|; volumes are then products of singular values
"""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from ..algebra.evaluation import Array
from ..one_layer.assumptions import AssumptionError, FloatArray, check_non_negative, check_positive, real_array
from .exact_elimination import rational
from .mixture_posterior import Mixture, check_probability, check_prompt, check_sparsity
from .noiseless_limit import Answer, answer, exact_answer

RATIONAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40}|/[0-9]{1,40})?", re.ASCII)
LARGEST_TOLERANCE = 1e-3


class Prediction(NamedTuple):
    """The limit of P(dense | X, y) and of E[w . x_q | X, y], and what fits.

    supports_left    k-subsets with a share of the posterior;  identified: "dense", "sparse" or "neither"
    """

    dense_posterior: float
    prediction: float
    supports_left: int
    identified: str


def exact_numbers(value: Any, name: str) -> Array:
    """Nested lists of numbers and of texts for rational numbers, as exact rationals. Raises AssumptionError."""
    if isinstance(value, list | tuple):
        rows = [exact_numbers(part, name) for part in value]
        if len({row.shape for row in rows}) > 1:
            raise AssumptionError(f"{name} needs rows of equal length; write nested lists of numbers")
        found = np.empty((len(rows), *(rows[0].shape if rows else ())), dtype=object)
        for place, row in enumerate(rows):
            found[place] = row if row.shape else row[()]
        return found
    if isinstance(value, str):
        if not RATIONAL.fullmatch(value):
            raise AssumptionError(f'{name} holds {value[:40]!r}; write a rational number as "1/3" or "0.1"')
        try:
            return np.array(Fraction(value), dtype=object)
        except ZeroDivisionError:
            raise AssumptionError(f"{name} holds {value[:40]!r}, a division by 0; give a number") from None
    number = real_array(value, name)
    return np.array(Fraction(float(number)) if number.ndim == 0 else number, dtype=object)


def in_floats(value: Array, name: str) -> Any:
    """Exact numbers as nested lists of floats, to check their shapes. Raises AssumptionError."""
    try:
        return value.astype(float).tolist()
    except OverflowError:
        raise AssumptionError(f"{name} holds numbers beyond 1e308; rescale them") from None


def for_user(
    X: Any,
    y: Any,
    x_query: Any,
    sparsity: Any,
    dense_variance: Any = 1.0,
    sparse_variance: Any = 1.0,
    dense_probability: Any = 0.5,
    tolerance: Any = 0.0,
) -> Prediction:
    """The limit for a prompt X (N, d), y (N,), x_query (d,). Raises AssumptionError, also where nothing fits.

    >>> for_user([[1, 2], [3, 1]], [1, 3], [1, 1], 1)
    Prediction(dense_posterior=0.0, prediction=1.0, supports_left=1, identified='sparse')
    """
    exact = {name: exact_numbers(part, name) for name, part in (("X", X), ("y", y), ("x_query", x_query))}
    checked = check_prompt(*(in_floats(part, name) for name, part in exact.items()))
    prompt = checked._replace(
        X=rational(exact["X"]).reshape(checked.X.shape),
        y=exact["y"].reshape(-1, 1),
        x_query=exact["x_query"].reshape(-1, 1),
    )
    k = check_sparsity(prompt.dimension, sparsity)
    v_d, v_s = check_positive(dense_variance, "dense_variance"), check_positive(sparse_variance, "sparse_variance")
    mixture = Mixture(k, Fraction(v_d), Fraction(v_s), check_probability(dense_probability), Fraction(1))
    allowed = check_non_negative(tolerance, "tolerance")
    if allowed > LARGEST_TOLERANCE:
        raise AssumptionError(f"need tolerance between 0 and {LARGEST_TOLERANCE}, got {allowed:g}; 1e-9 suits floats")
    found = rounded_answer(prompt, mixture, allowed) if allowed else exact_answer(prompt, mixture)
    return Prediction(found.dense_posterior, found.prediction, found.supports_left, identified(found))


def identified(found: Answer) -> str:
    """The class that is left alone, if one is."""
    if found.dense_left and found.supports_left:
        return "neither"
    return "dense" if found.dense_left else "sparse"


def rounded_answer(prompt: Any, mixture: Mixture, tolerance: float) -> Answer:
    """The limit with ranks by singular values."""
    X, y, query = (part.astype(float) for part in prompt)
    d, k = len(query), mixture.sparsity
    share = float(mixture.dense_probability)
    chosen = list(combinations(range(d), k))
    rows = [rounded_row(X, y[:, 0], query[:, 0], float(mixture.dense_variance), share, tolerance)]
    for support in chosen:
        used, weight = list(support), (1 - share) / len(chosen)
        rows.append(rounded_row(X[:, used], y[:, 0], query[used, 0], float(mixture.sparse_variance), weight, tolerance))
    return answer(np.array(rows, dtype=object))


def rounded_row(
    R: FloatArray, y: FloatArray, query: FloatArray, variance: float, weight: float, tolerance: float
) -> tuple[Fraction, ...]:
    """Weight, power, volume, square, prediction and what is left of y, 0 within the tolerance."""
    U, singular, Vt = np.linalg.svd(R, full_matrices=False)
    rank = int(np.sum(singular > tolerance * max(singular, default=0.0)))
    U, singular, Vt = U[:, :rank], singular[:rank], Vt[:rank]
    along = U.T @ y
    w = Vt.T @ (along / singular)
    left_over = float(np.linalg.norm(y - U @ along))
    fits = left_over <= tolerance * float(np.linalg.norm(y))
    volume = Fraction(1)
    for value in singular:
        volume *= Fraction(float(value)) ** 2 * Fraction(variance)
    numbers = (w @ w / variance, query @ w, 0.0 if fits else left_over**2)
    return (Fraction(weight), Fraction(len(y) - rank), volume, *(Fraction(float(x)) for x in numbers))
