r"""The formulas of nonlinear-targets and random-covariance, as objects that can be altered.

Formulas (each read off its derivation, none typed in)
    moments_fixed_point   W A* Lambda = P in P = E m m^T, Q = E y^2 x x^T, Lambda, N;  moments_risk: R at any A
    cubic_fixed_point     the same with P and Q of cubic labels in Lambda, Psi, sigma^2
    gradient_rate         eta in alpha, beta, N
    finite_law            A* of finitely many covariances, from M and C of one
    exponential_gain, exponential_risk    for independent Exp(1) entries, in d, N, M and sigma^2
    labels_risk, trained_labels_risk      the risk on labels a.x + x^T B x + eps, at any A and at the trained layer
Points
    Random rational values of the letters, as in `formulas`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.evaluation import Array, evaluate
from ..algebra.formulas import Formula, Values, left_divided
from ..algebra.trace_polynomials import TracePolynomial, number, scalar
from ..algebra.words import Letter
from ..symbols import LAMBDA, NEXT_LENGTH, A
from . import link_moments, nonlinear_targets, random_covariance, risk
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

if TYPE_CHECKING:
    import sympy as sp

P_AND_Q = {"P": (Letter("Q", symmetric=True),), "Q": (Letter("P", symmetric=True),)}
LABEL_LETTERS = {"Lambda": (Letter("B", symmetric=True),), "B": (Letter("Lambda", symmetric=True),)}
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


@cache
def finite_law() -> Formula:
    """A* of a list of covariances with weights."""
    M, C = random_covariance.moments()
    return Formula({"M": M, "C": C}, solution_of_finite_law, Vocabulary(LENGTHS, {}))


def solution_of_finite_law(parts: Mapping[str, TracePolynomial], values: Values) -> Array:
    """The solution of E[M A Lambda] = E[C Lambda]. Raises ValueError where there is none."""
    law = {name: value for name, value in values.items() if name not in ("covariances", "weights")}
    try:
        found: Array = random_covariance.solution_for(
            values["covariances"], values["weights"], law, (parts["M"], parts["C"])
        )
    except np.linalg.LinAlgError as error:
        raise ValueError("need an invertible system, got a singular one") from error
    return found


@cache
def exponential_gain() -> Formula:
    """The gain as a quotient of polynomials in d, N and sigma^2."""
    return Formula(gain_parts(), quotient, Vocabulary({"N": (NEXT_LENGTH, "d"), "d": ("N",)}, {}))


def gain_parts() -> dict[str, TracePolynomial]:
    """Numerator and denominator."""
    import sympy as sp

    top, bottom = sp.fraction(sp.cancel(random_covariance.exponential_gain()))
    return {"numerator": polynomial_in_scalars(top), "denominator": polynomial_in_scalars(bottom)}


@cache
def exponential_risk() -> Formula:
    """The risk at the trained gain and length M."""
    parts = {**gain_parts(), "risk": polynomial_in_scalars(random_covariance.exponential_risk())}
    symbols = {"N": (NEXT_LENGTH, "d", "M"), "M": ("N", "d"), "d": ("N",)}
    return Formula(parts, risk_at_quotient, Vocabulary(symbols, {}))


def risk_at_quotient(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """The polynomial `risk` with the quotient for a."""
    return evaluate(parts["risk"], {**values, "a": quotient(parts, values)})


def polynomial_in_scalars(expression: sp.Expr) -> TracePolynomial:
    """A SymPy polynomial in its symbols and their inverses."""
    import sympy as sp

    total = number(0)
    for term in sp.Add.make_args(sp.expand(expression)):
        value, powers = term.as_coeff_Mul()
        product = number(Fraction(int(value.p), int(value.q)))
        for symbol, power in powers.as_powers_dict().items():
            product = product * (scalar(symbol.name) ** int(power) if symbol.is_Symbol else number(1))
        total = total + product
    return total


@cache
def labels_risk() -> Formula:
    """least + excess at any A, for labels of a law that is not symmetric."""
    Sig, least = risk.quadratic_labels()
    parts = {"excess": risk.excess_of_labels(A), "Sig": Sig, "least": least}
    letters = {**LABEL_LETTERS, "A": (Letter("Lambda", symmetric=True),)}
    return Formula(parts, least_and_excess, Vocabulary({"M": ("N", "d")}, letters))


@cache
def trained_labels_risk() -> Formula:
    """The same at A = Gamma^-1, in K and Gamma of the trained layer."""
    Sig, least = risk.quadratic_labels()
    parts = {"excess": risk.excess_of_trained_layer(), "Sig": Sig, "least": least}
    letters = {**LABEL_LETTERS, "K": (Letter("Lambda", symmetric=True),), "Gamma": (Letter("K", symmetric=True),)}
    return Formula(parts, least_and_excess, Vocabulary({"N": (NEXT_LENGTH, "M"), "M": ("N", "d")}, letters))


def least_and_excess(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """The sum, with the value of Sig put into the excess."""
    Sig = evaluate(parts["Sig"], values)
    return evaluate(parts["least"], values) + evaluate(parts["excess"], {**values, "Sig": Sig})


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


def finite_law_points(name: str) -> list[dict[str, Any]]:
    """Two or three covariances with weights."""
    points = []
    for k, law in enumerate(rational_points(name)):
        draw, d = random.Random(f"{name}/law/{k}"), len(law["Lambda"])
        matrices = [positive_definite(draw, d) for _ in range(2 + k % 2)]
        numbers = {letter: law[letter] for letter in ("N", NEXT_LENGTH, "sigma2")}
        points.append({**numbers, "covariances": matrices, "weights": [positive_fraction(draw) for _ in matrices]})
    return points


def length_points(name: str) -> list[dict[str, Any]]:
    """d, N, M and the noise of training and test."""
    points = []
    for k, d in enumerate((1, 2, 3, 5, 8)):
        law, other = point(random.Random(f"{name}/{k}"), 1), point(random.Random(f"{name}/test/{k}"), 1)
        numbers = {letter: law[letter] for letter in ("N", NEXT_LENGTH, "sigma2")}
        points.append({**numbers, "I": exact_identity(1), "d": Fraction(d), "M": other["N"], "sigma2'": law["sigma2"]})
    return points


def label_points(name: str) -> list[dict[str, Any]]:
    """Labels a.x + x^T B x + eps, a random A, and the K and Gamma of a layer."""
    points = []
    for k, law in enumerate(rational_points(name)):
        draw, d = random.Random(f"{name}/labels/{k}"), len(law["Lambda"])
        root = fractions(draw, d, d)
        made = {"A": fractions(draw, d, d), "a": fractions(draw, d, 1), "B": root + root.T}
        points.append({**law, **made, **of_layer(law), "M": Fraction(draw.randint(2, 999)), "sigma2'": law["sigma2"]})
    return points


def of_layer(law: Mapping[str, Any]) -> dict[str, Any]:
    """K and Gamma of the layer trained at Lambda and N, Psi = I, without noise."""
    Lambda = law["Lambda"]
    eye = np.eye(len(Lambda)) if Lambda.dtype.kind == "f" else exact_identity(len(Lambda))
    K = Lambda + np.trace(Lambda) * eye
    return {"K": K, "Gamma": Lambda + K / law["N"]}
