"""Obligations of uniform-covariates: fourth moments, component by component, then the uniform law."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import flint

from ..engines.expressions import Expression, Quotient, evaluate, times
from ..engines.identities import Identity
from ..engines.independent_components import (
    COORDINATES,
    LAW,
    VARIABLES,
    InCoordinates,
    coordinates,
    cross_moment,
    over_covariates,
    reduced_loss,
    second_moment,
)
from ..engines.layer import DEGREE
from ..engines.points import Kind, Point
from .fixed_point import half, value
from .obligation import ClaimObligations, Forms, Obligation, Polynomial, Rational
from .population_loss import TRUSTED

MOMENT, FIXED_POINT, SQUARE = (
    "second moment of s = (1/N) sum y_i x_i",
    "fixed point for any kurtosis",
    "completing the square",
)
RATE, RISK = "learning rate for x ~ U(-a, a)^d", "risk at that rate"


def in_coordinates(
    difference: Any, forms: tuple[Expression, ...], letters: dict[str, Kind], more: int
) -> InCoordinates:
    """The forms may be multiplied by further letters that bring at most `more` coordinates."""
    return InCoordinates(difference, letters, max([COORDINATES, *(coordinates(form) + more for form in forms)]))


def moment_obligation(forms: Forms) -> InCoordinates:
    M = forms.expression(MOMENT, "M")
    return in_coordinates(lambda point: second_moment(point) - value(M, point), (M,), LAW, 0)


def stationary_obligation(forms: Forms) -> InCoordinates:
    left, right = forms.expression(FIXED_POINT, "left"), forms.expression(FIXED_POINT, "right")

    def difference(point: Point) -> Any:
        A, Lambda = point["A"], point["Lambda"]
        gradient = second_moment(point) @ A - cross_moment(point)
        return gradient - Lambda @ (value(left, point) @ A - value(right, point))

    return in_coordinates(difference, (left, right), {**LAW, "A": "matrix"}, 1)


def inverse_obligation(forms: Forms) -> InCoordinates:
    left, right, inverse = (forms.expression(FIXED_POINT, name) for name in ("left", "right", "inverse"))
    product = times(right, inverse)

    def difference(point: Point) -> list[Any]:
        at = value(inverse, point)
        return [value(product, point) - value(left, point), at - at.T]

    return in_coordinates(difference, (product, left, inverse), LAW, 0)


def square_obligation(forms: Forms) -> InCoordinates:
    M, minimum = forms.expression(MOMENT, "M"), forms.expression(SQUARE, "minimum")

    def difference(point: Point) -> Any:
        A, B, Lambda = point["A"], point["B"], point["Lambda"]
        at, gap = value(M, point), A - B
        residual = at @ B - cross_moment(point)
        square = half((gap.T @ at @ gap @ Lambda).trace())
        remains = (gap.T @ residual @ Lambda).trace() + half((B.T @ residual @ Lambda).trace())
        return reduced_loss(point, A) - value(minimum, point, **{"A_*": B}) - square - remains

    return in_coordinates(difference, (M, minimum), {**LAW, "A": "matrix", "B": "matrix"}, 1)


# The uniform law


def uniform_point(point: Point) -> Point:
    """Lambda = lam I, no noise, and the kurtosis of the uniform law: E z^4 = 9/5 at unit variance, so kappa = -6/5."""
    fourth = flint.fmpq(3**2, 5)  # the mean of z^4 over (-sqrt 3, sqrt 3)
    return point.with_values(
        {"Lambda": point["I"] * point["lam"], "kappa": point.one * (fourth - 3), "sigma2": point.one * 0}
    )


def times_length(point: Point) -> Any:
    """N tr M, a polynomial in N: M is affine in 1/N."""
    at_0, at_1 = (second_moment(point.with_values({"1/N": point.one * k})).trace() for k in (0, 1))
    return at_1 + (point["N"] - point.one) * at_0


def of_uniform_law(difference: Any, quotients: tuple[Quotient, ...]) -> Identity:
    """An identity between rational functions of d, N and lam, multiplied out.

    Its sides are tr M and tr C (powers of d up to 2) times the quotients, each as often as it is given.
    """
    power = 2 + sum(max(part.largest_power("d") for part in quotient) for quotient in quotients)
    degree = 8 + sum(max(part.degree() for part in quotient) for quotient in quotients)
    letters: dict[str, Kind] = {"lam": "scalar", "N": "scalar"}
    return Identity(
        lambda point: difference(uniform_point(point)), letters, VARIABLES, 1, max(DEGREE, degree), power, (1, 2, 3, 4)
    )


def parts_of(quotient: Quotient, point: Point) -> tuple[Any, Any]:
    """Numerator and denominator at a point."""
    top, bottom = (evaluate(part, point.values, point.one) for part in quotient)
    return top, bottom


def rate_obligation(forms: Forms) -> Identity:
    """The derivative of the risk of eta s: eta N lam tr M = N lam tr C."""
    rate = forms.quotient(RATE, "rate")

    def difference(point: Point) -> Any:
        top, bottom = parts_of(rate, point)
        return top * times_length(point) - bottom * point["N"] * cross_moment(point).trace()

    return of_uniform_law(difference, (rate,))


def rate_of_inverse_obligation(forms: Forms) -> Identity:
    """inverse at the uniform law = I/eta, with N in the place of 1/N."""
    rate, inverse = forms.quotient(RATE, "rate"), forms.expression(FIXED_POINT, "inverse")

    def difference(point: Point) -> Any:
        top, bottom = parts_of(rate, point)
        at_0, at_1 = (value(inverse, point, **{"1/N": point.one * k}) for k in (0, 1))
        scaled = at_1 + at_0 * (point["N"] - point.one)  # N inverse, for it is affine in 1/N
        return scaled * top - point["I"] * (bottom * point["N"])

    return of_uniform_law(difference, (rate,))


def risk_obligation(forms: Forms) -> Identity:
    """E (eta s.x_q - w.x_q)^2 = lam (eta^2 tr M - 2 eta tr C + d), multiplied by N and both denominators."""
    rate, risk = forms.quotient(RATE, "rate"), forms.quotient(RISK, "risk")

    def difference(point: Point) -> Any:
        (top, bottom), (value_top, value_bottom) = parts_of(rate, point), parts_of(risk, point)
        N, trace = point["N"], cross_moment(point).trace()
        mean = top**2 * times_length(point) - top * bottom * N * trace * 2 + bottom**2 * N * point["d"]
        return mean * point["lam"] * value_bottom - value_top * bottom**2 * N

    return of_uniform_law(difference, (rate, rate, risk))


def fourth_moment_obligation(forms: Forms) -> Identity:
    """kappa = -6/5 gives x_a the moments of the uniform law, from the integrals of z^2 and z^4."""
    del forms

    def difference(point: Point) -> list[Any]:
        lam = point["lam"]
        bound = lam * 3  # a^2, with z uniform on (-a, a): the mean of z^(2k) is a^(2k)/(2k + 1)
        uniform = uniform_point(point)
        x = uniform["x"][0, 0]
        second, fourth = over_covariates(uniform, x**2), over_covariates(uniform, x**4)
        return [second - bound * flint.fmpq(1, 3), fourth - bound**2 * flint.fmpq(1, 5)]

    return Identity(difference, {"lam": "scalar", "N": "scalar"}, VARIABLES, 1, DEGREE, 0, (1,))


DIAGONAL_LAW = Polynomial("d", "d", frozenset({"Lambda"}), {"N": (-1,), "sigma2": (1,), "kappa": (1,)})
PARITY = (
    "The reduced loss is all that matters: the law is symmetric under (w, eps) -> (-w, -eps), so L is the reduced "
    "loss at A = u U + u12 u21^T plus 1/2 E yhat_even^2, as in population-loss."
)


def obligations() -> ClaimObligations:
    """The five steps."""
    return ClaimObligations(
        "uniform-covariates",
        (
            "x_i, x_q with independent components of variances Lambda_aa and excess kurtosis kappa, Lambda diagonal",
            "w ~ N(0, I), eps ~ N(0, sigma2); in the last two steps x ~ U(-a, a)^d, lam = a^2/3, sigma2 = 0",
        ),
        {
            MOMENT: {"M": DIAGONAL_LAW},
            FIXED_POINT: {"left": DIAGONAL_LAW, "right": DIAGONAL_LAW, "inverse": DIAGONAL_LAW},
            SQUARE: {"minimum": replace(DIAGONAL_LAW, rows="1", cols="1", letters=frozenset({"Lambda", "A_*"}))},
            RATE: {"rate": Rational(frozenset({"lam", "d", "N"}))},
            RISK: {"risk": Rational(frozenset({"lam", "d", "N"}))},
        },
        (
            Obligation(MOMENT, "E s s^T = M", moment_obligation),
            Obligation(FIXED_POINT, "E s s^T A - E s w^T = Lambda (left A - right)", stationary_obligation),
            Obligation(FIXED_POINT, "right inverse = left, inverse = inverse^T", inverse_obligation),
            Obligation(
                SQUARE,
                "reduced(A) = min L + 1/2 tr((A - B)^T M (A - B) Lambda) + terms with the factor M B - E s w^T",
                square_obligation,
            ),
            Obligation(RATE, "E x_a^2 = a^2/3, E x_a^4 = a^4/5", fourth_moment_obligation),
            Obligation(RATE, "rate tr M = tr C at Lambda = lam I, kappa = -6/5", rate_obligation),
            Obligation(RATE, "rate inverse = I at Lambda = lam I, kappa = -6/5", rate_of_inverse_obligation),
            Obligation(RISK, "E (rate s.x_q - w.x_q)^2 = risk", risk_obligation),
        ),
        (TRUSTED[0], "The law of the prompt, as in engines/independent_components.py.", TRUSTED[3], PARITY),
    )  # fmt: skip
