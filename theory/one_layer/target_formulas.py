r"""The formulas of nonlinear-targets and random-covariance, as objects that can be altered.

Formulas (each read off its derivation, none typed in)
    moments_fixed_point   W A* Lambda = P in P = E m m^T, Q = E y^2 x x^T, Lambda, N;  moments_risk: R at any A
    cubic_fixed_point     the same with P and Q of cubic labels in Lambda, Psi, sigma^2
    gradient_rate         eta in alpha, beta, N
Points
    Random rational values of the letters, as in `formulas`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any

from ..algebra.alterations import Vocabulary
from ..algebra.evaluation import Array, evaluate
from ..algebra.formulas import Formula, Values, left_divided
from ..algebra.trace_polynomials import TracePolynomial
from ..algebra.words import Letter
from ..symbols import LAMBDA, NEXT_LENGTH
from . import link_moments, nonlinear_targets
from .formulas import (
    COVARIANCES,
    DIMENSIONS,
    exact_identity,
    fractions,
    point,
    positive_definite,
    positive_fraction,
    rational_points,
    risk_at_weights,
)

P_AND_Q = {"P": (Letter("Q", symmetric=True),), "Q": (Letter("P", symmetric=True),)}
LENGTHS = {"N": (NEXT_LENGTH, "d")}


@cache
def moments_fixed_point() -> Formula:
    """A* = W^-1 P Lambda^-1."""
    left, right = nonlinear_targets.system()
    return Formula({"left": left, "right": right}, solution_right_divided, Vocabulary(LENGTHS, P_AND_Q))


def solution_right_divided(parts: Mapping[str, TracePolynomial], values: Values) -> Array:
    """A with left A Lambda = right."""
    half = left_divided(evaluate(parts["left"], values), evaluate(parts["right"], values))
    Lambda = evaluate(LAMBDA, values)
    found: Array = left_divided(Lambda, half.T).T  # Lambda is symmetric
    return found


@cache
def moments_risk() -> Formula:
    """R(A) = E (s^T A x_q - g(x_q))^2."""
    letters = {**P_AND_Q, "Lambda": (Letter("P", symmetric=True),), "A": (Letter("Lambda", symmetric=True),)}
    return Formula({"risk": nonlinear_targets.risk()}, risk_at_weights, Vocabulary(LENGTHS, letters))


@cache
def cubic_fixed_point() -> Formula:
    """A* for y = (w.x)^3 + eps."""
    P, Q = link_moments.cubic_moments()
    return Formula({"P": P, "Q": Q}, solution_of_moments, Vocabulary({}, COVARIANCES))


def solution_of_moments(parts: Mapping[str, TracePolynomial], values: Values) -> Array:
    """A* of the moments that the parts give."""
    moments = {name: evaluate(part, values) for name, part in parts.items()}
    left, right = nonlinear_targets.system()
    return solution_right_divided({"left": left, "right": right}, {**values, **moments})


@cache
def gradient_rate() -> Formula:
    """eta = numerator/denominator."""
    top, bottom = nonlinear_targets.rate_parts()
    vocabulary = Vocabulary({**LENGTHS, "alpha": ("beta",), "beta": ("alpha",)}, {})
    return Formula({"numerator": top, "denominator": bottom}, quotient, vocabulary)


def quotient(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """The first part divided by the second. Raises ValueError where that is 0."""
    top, bottom = (evaluate(parts[name], values) for name in ("numerator", "denominator"))
    if bottom == 0:
        raise ValueError("need a denominator different from 0")
    return top / bottom


# Rational points


def moment_points(name: str) -> list[dict[str, Any]]:
    """P, Q, Lambda positive definite, tau and a random A."""
    points = []
    for k, law in enumerate(rational_points(name)):
        draw, d = random.Random(f"{name}/moments/{k}"), len(law["Lambda"])
        moments = {letter: positive_definite(draw, d) for letter in ("P", "Q")}
        points.append({**law, **moments, "tau": positive_fraction(draw), "A": fractions(draw, d, d)})
    return points


def scalar_points(name: str) -> list[dict[str, Any]]:
    """alpha, beta, d and N."""
    points = []
    for k, d in enumerate(DIMENSIONS):
        draw = random.Random(f"{name}/{k}")
        law = point(draw, d)
        numbers = {letter: 1 + positive_fraction(draw) for letter in ("alpha", "beta")}
        # the matrix says that the values are exact
        exact = {"I": exact_identity(d), "d": Fraction(d)}
        points.append({"N": law["N"], NEXT_LENGTH: law[NEXT_LENGTH], **exact, **numbers})
    return points
