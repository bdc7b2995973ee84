"""Obligations of relu-attention: the folded risk from the moments of one sample, its zero slope, and the square."""

from __future__ import annotations

from typing import Any

import flint

from ..engines.gaussian_means import gaussian_mean
from ..engines.identities import Identity
from ..engines.layer import LAW, PROMPT, dot, over_task_and_query
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from ..engines.positivity import SumOfSquares
from .fixed_point import inverse_identity, isotropic_identity, of_forms, value
from .obligation import ClaimObligations, Forms, Obligation, Rational, of_law
from .population_loss import ASSUMPTIONS, TRUSTED

RISK, FIXED_POINT, SQUARE, ISOTROPIC = (
    "risk of ReLU attention",
    "fixed point",
    "completing the square",
    "isotropic case",
)
ONE_SAMPLE: dict[str, Kind] = {**PROMPT, "x": "vector", "eps": "scalar"}


def over_sample(point: Point, polynomial: Any) -> Any:
    """E over one sample x ~ N(0, Lambda), eps ~ N(0, sigma2), given w and x_q."""
    over_noise = gaussian_mean(polynomial, point.numbers["eps"], {(0, 0): point["sigma2"]})
    return gaussian_mean(over_noise, point.numbers["x"], point["Lambda"])


def folded_risk(point: Point, A: Matrix) -> Any:
    """E (yhat - w.x_q)^2 where E y ReLU(z) = 1/2 E y z and E y^2 ReLU(z)^2 = 1/2 E y^2 z^2 for a sample, given w, x_q:

    (1/N) 1/2 E y^2 z^2 + (1 - 1/N) (1/2 E y z)^2 - 2 (1/2 E y z) w.x_q + (w.x_q)^2, averaged over w and x_q.
    """
    x, t, one = point["x"], point["1/N"], point.one
    y, z = dot(point["w"], x) + point["eps"], dot(x, A @ point["x_q"])
    aim, half = dot(point["w"], point["x_q"]), flint.fmpq(1, 2)
    first, second = over_sample(point, y * z) * half, over_sample(point, y * y * z * z) * half
    error = second * t + first * first * (one - t) - first * aim * 2 + aim * aim
    return over_task_and_query(point, error)


def identity(difference: Any, forms: tuple[Any, ...], letters: dict[str, Kind], more: int) -> Identity:
    """As for the linear layer: y z has six legs, and the risk no more factors than the linear one's."""
    made = of_forms(difference, forms, letters, more)
    return Identity(difference, letters, ONE_SAMPLE, made.pairs, made.degree, made.powers_of_d, components=(1, 2, 3))


def risk_obligation(forms: Forms) -> Identity:
    form = forms.expression(RISK, "right")
    return identity(
        lambda point: folded_risk(point, point["A"]) - value(form, point), (form,), {**LAW, "A": "matrix"}, 0
    )


def slope_obligation(forms: Forms) -> Identity:
    """Half of the central difference of the risk, which is quadratic in A, against the certified polynomial."""
    left, right = forms.expression(FIXED_POINT, "left"), forms.expression(FIXED_POINT, "right")

    def difference(point: Point) -> Any:
        A, V, Lambda = point["A"], point["V"], point["Lambda"]
        slope = (folded_risk(point, A + V) - folded_risk(point, A - V)) * flint.fmpq(1, 4)
        return slope - (V.T @ Lambda @ (value(left, point) @ A - value(right, point)) @ Lambda).trace()

    return identity(difference, (left, right), {**LAW, "A": "matrix", "V": "matrix"}, 4)


def inverse_obligation(forms: Forms) -> Identity:
    """2 right inverse = 2 left, with inverse letters cancelled: right is half of Psi."""
    left, right, inverse = (forms.expression(FIXED_POINT, name) for name in ("left", "right", "inverse"))
    return inverse_identity(left, right, inverse, LAW)


def square_obligation(forms: Forms) -> Identity:
    M, C = forms.expression(SQUARE, "M"), forms.expression(SQUARE, "C")

    def difference(point: Point) -> Any:
        A, B, Lambda = point["A"], point["B"], point["Lambda"]
        at, gap = value(M, point), A - B
        remains = (gap.T @ (at @ B - value(C, point)) @ Lambda).trace() * 2
        square = (gap.T @ at @ gap @ Lambda).trace()
        return folded_risk(point, A) - folded_risk(point, B) - square - remains

    return identity(difference, (M, C), {**LAW, "A": "matrix", "B": "matrix"}, 3)


def positive_obligation(forms: Forms) -> SumOfSquares:
    return SumOfSquares(forms.expression(SQUARE, "M"), definite=True)


def isotropic_obligation(forms: Forms) -> Identity:
    """left gain = right at lam = psi = 1, sigma2 = 0."""
    left, right = forms.expression(FIXED_POINT, "left"), forms.expression(FIXED_POINT, "right")
    made = isotropic_identity(left, right, forms.quotient(ISOTROPIC, "gain"), in_length=True)

    def difference(point: Point) -> Any:
        return made.difference(point.with_values({"lam": point.one, "psi": point.one, "sigma2": point.one * 0}))

    letters: dict[str, Kind] = {"N": "scalar"}
    return Identity(difference, letters, {}, made.pairs, made.degree, made.powers_of_d, made.components)


FOLDING = (
    "Folding: given w and x_q the law of (x_i, eps_i) is symmetric, ReLU(z) - ReLU(-z) = z and ReLU(z)^2 + ReLU(-z)^2 "
    "= z^2; so the means of y ReLU(z) and of its square are half of those of y z and (y z)^2, whatever the sign of u."
)
MINIMUM = "Where M B = C, the remainder term vanishes: that is the step from B to A*."


def obligations() -> ClaimObligations:
    """The four steps."""
    return ClaimObligations(
        "relu-attention",
        (*ASSUMPTIONS, "yhat = (u/N) sum_i y_i ReLU(x_i^T U x_q), A = u U, u12 = u21 = 0"),
        {
            RISK: {"right": of_law("A", square=False)},
            FIXED_POINT: {"left": of_law(), "right": of_law(), "inverse": of_law("Psi^-1")},
            SQUARE: {"M": of_law(), "C": of_law()},
            ISOTROPIC: {"gain": Rational(frozenset({"d", "N"}))},
        },
        (
            Obligation(RISK, "the folded E (yhat - w.x_q)^2 = right", risk_obligation),
            Obligation(FIXED_POINT, "half its slope = tr(V^T Lambda (left A - right) Lambda)", slope_obligation),
            Obligation(FIXED_POINT, "right inverse = left, inverse = inverse^T", inverse_obligation),
            Obligation(
                SQUARE, "risk(A) = risk(B) + tr((A - B)^T M (A - B) Lambda) + a term with M B - C", square_obligation
            ),
            Obligation(SQUARE, "M is a sum of squares and at least a positive multiple of Lambda", positive_obligation),
            Obligation(ISOTROPIC, "left gain = right at Lambda = Psi = I, sigma2 = 0", isotropic_obligation),
        ),
        (*TRUSTED, FOLDING, MINIMUM),
    )  # fmt: skip
