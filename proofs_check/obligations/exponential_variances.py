r"""Obligations of exponential-variances: the layer's own loss averaged over variances, moments for every power, limits.

Every identity here is one between numbers, for each dimension; its sides are polynomials in d of degree at most 3 (the
risk is a sum over at most two different coordinates, times a quotient's power of d), so four dimensions decide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flint

from ..engines.exponential_means import exponential_mean
from ..engines.expressions import Quotient, evaluate
from ..engines.identities import Identity
from ..engines.layer import DEGREE, PROMPT, reduced_loss
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from ..engines.relations import Relation, Relations
from .obligation import ClaimObligations, Forms, Obligation, Rational
from .population_loss import TRUSTED
from .uniform_covariates import parts_of

RISK, GAIN, MEAN = "risk at a scale", "gain", "variance given the query"
PREDICTION, LIMITS = "prediction given the query", "limits"
VARIABLES: dict[str, Kind] = {"lam": "diagonal", **PROMPT}
SYMBOLS: dict[str, Kind] = {name: "scalar" for name in ("a", "c", "c_0", "M", "N", "xi", "k")}


def identity(
    difference: Callable[[Point], Any], *quotients: Quotient, variables: dict[str, Kind] | None = None
) -> Identity:
    """For each of the dimensions 1 .. 4, in symbols and at a random point."""
    power = 3 + sum(max(part.largest_power("d") for part in quotient) for quotient in quotients)
    degree = 3 * DEGREE + sum(2 * max(part.degree() for part in quotient) for quotient in quotients)
    return Identity(difference, SYMBOLS, variables or {}, 1, degree, power, (1, 2, 3))


# The risk from the layer


def risk(point: Point, a: Any, c: Any, inverse_length: Any) -> Any:
    """E (yhat - w.x_q)^2 with A = a I under Lambda = c diag(lam), Psi = I, no noise."""
    eye: Matrix = point["I"]
    law = {"Lambda": point["lam"] * c, "Psi": eye, "sigma2": point.one * 0, "1/N": inverse_length}
    given = reduced_loss(point.with_values(law), eye * a) * 2
    return exponential_mean(given, point.numbers["lam"])


def times_length(point: Point, a: Any, c: Any, length: Any) -> Any:
    """length * risk at this length: the risk is affine in its inverse."""
    at_0, at_1 = (risk(point, a, c, point.one * k) for k in (0, 1))
    return at_1 + at_0 * (length - point.one)


def risk_obligation(forms: Forms) -> Identity:
    form = forms.quotient(RISK, "risk")

    def difference(point: Point) -> Any:
        top, bottom = parts_of(form, point)
        found = times_length(point, point["a"], point["c"], point["M"])
        return found * bottom - top * point["M"] * point["d"]

    return identity(difference, form, variables=VARIABLES)


def gain_obligation(forms: Forms) -> Identity:
    """The slope of the risk at c_0, N, which is quadratic in a, at a = top/bottom: linear + 2 a square = 0."""
    form = forms.quotient(GAIN, "gain")

    def difference(point: Point) -> Any:
        top, bottom = parts_of(form, point)
        low, middle, high = (
            times_length(point, point.one * k, point["c_0"], point["N"]) for k in (-1, 0, 1)
        )  # fmt: skip
        linear, square = (high - low) * flint.fmpq(1, 2), (high + low) * flint.fmpq(1, 2) - middle
        return linear * bottom + square * top * 2

    return identity(difference, form, variables=VARIABLES)


# The variance given the query


def in_xi(form: Quotient, point: Point, xi: Any) -> tuple[Any, Any]:
    return parts_of(form, point.with_values({"xi": xi}))


def affine(form: Quotient, point: Point) -> tuple[Any, Any, Any, list[Any]]:
    """(c_0, c_1, bottom) of (c_0 + c_1 xi)/bottom, and what vanishes if the form is that."""
    (at_0, bottom), (at_1, _) = in_xi(form, point, point.one * 0), in_xi(form, point, point.one)
    top, other = parts_of(form, point)
    return at_0, at_1 - at_0, bottom, [other - bottom, top - at_0 - (at_1 - at_0) * point["xi"]]


def moments_agree(form: Quotient, point: Point, share: Any) -> list[Any]:
    """E form xi^(2k) = share E lambda xi^(2k) for every k, divided by (2k)!.

    With E xi^m = m! the left is c_0 + c_1 (2k + 1); with x^2 = xi^2/2, E[x^(2k) | lambda] = (2k - 1)!! lambda^k and
    E lambda^(k+1) = (k + 1)! the right is share 2^k (2k - 1)!! (k + 1)!/(2k)! = share (k + 1).
    """
    first, second, bottom, shape = affine(form, point)
    k = point["k"]
    return [*shape, first + second * (k * 2 + 1) - bottom * (k + 1) * share]


def mean_obligation(forms: Forms) -> Identity:
    form = forms.quotient(MEAN, "mean")
    return identity(lambda point: moments_agree(form, point, flint.fmpq(1)), form)


def factor_obligation(forms: Forms) -> Identity:
    """factor = gain mean at c_0 = 1."""
    gain, mean, factor = (
        forms.quotient(GAIN, "gain"),
        forms.quotient(MEAN, "mean"),
        forms.quotient(PREDICTION, "factor"),
    )

    def difference(point: Point) -> Any:
        at = point.with_values({"c_0": point.one})
        (a, b), (p, q), (top, bottom) = (parts_of(form, at) for form in (gain, mean, factor))
        return a * p * bottom - b * q * top

    return identity(difference, gain, mean, factor)


# Limits


def leading(form: Quotient, point: Point) -> tuple[Any, Any, list[Any]]:
    """The coefficients of N in top and bottom, and what vanishes if both are affine in N."""
    at = [parts_of(form, point.with_values({"N": point.one * k})) for k in (0, 1, 2)]
    bends = [at[2][side] - at[1][side] * 2 + at[0][side] for side in (0, 1)]
    return at[1][0] - at[0][0], at[1][1] - at[0][1], bends


def limit_factor_obligation(forms: Forms) -> Identity:
    """The factor is affine over affine in N: its limit is the quotient of the coefficients of N."""
    factor, limit = forms.quotient(PREDICTION, "factor"), forms.quotient(LIMITS, "factor")

    def difference(point: Point) -> list[Any]:
        above, below, bends = leading(factor, point)
        top, bottom = parts_of(limit, point)
        return [*bends, above * bottom - below * top]

    return identity(difference, factor, limit)


def limit_risk_obligation(forms: Forms) -> Identity:
    """The risk at 1/M = 0 and the limit of the gain, from the layer."""
    gain, limit = forms.quotient(GAIN, "gain"), forms.quotient(LIMITS, "risk")

    def difference(point: Point) -> list[Any]:
        above, below, bends = leading(gain, point)
        top, bottom = parts_of(limit, point)
        return [*bends, at_infinity(point, above, below) * bottom - top * point["d"] * below * below]

    return identity(difference, gain, gain, limit, variables=VARIABLES)


def at_infinity(point: Point, above: Any, below: Any) -> Any:
    """below^2 times the risk at 1/M = 0 and a = above/below: constant + linear a + square a^2."""
    zero = point.one * 0
    low, middle, high = (risk(point, point.one * k, point["c"], zero) for k in (-1, 0, 1))
    linear, square = (high - low) * flint.fmpq(1, 2), (high + low) * flint.fmpq(1, 2) - middle
    return middle * below * below + linear * above * below + square * above * above


def of(*names: str) -> Rational:
    return Rational(frozenset(names))


LAPLACE = (
    "The step 'variance given the query': a normal variable with an Exp(1) variance has a Laplace law, as both have "
    "the characteristic function 1/(1 + t^2/2); so E xi^m = m! for xi = sqrt(2) |x|, and polynomials are dense in L^2 "
    "of that law, which has exponential moments."
)
CONDITIONAL = (
    "The step 'prediction given the query': E[yhat | x_q, w, Lambda] = a x_q^T Lambda w, as E[s | w, Lambda] is "
    "Lambda w."
)
SYMMETRY = (
    "The step 'gain': a convex risk whose law is invariant under permutations and reflections of the coordinates is "
    "least at a multiple of I."
)
LAW_WORDS = "Lambda = c diag(lambda_1 .. lambda_d), lambda_k ~ Exp(1); x_i, x_q ~ N(0, Lambda), w ~ N(0, I), no noise"


def obligations() -> ClaimObligations:
    """The five steps."""
    return ClaimObligations(
        "exponential-variances",
        (LAW_WORDS, "A = a I, u12 = u21 = 0; xi = sqrt(2) |x| at c = 1"),
        {
            RISK: {"risk": of("a", "c", "M", "d")},
            GAIN: {"gain": of("N", "d", "c_0")},
            MEAN: {"mean": of("xi")},
            PREDICTION: {"factor": of("N", "d", "xi")},
            LIMITS: {"factor": of("xi"), "risk": of("c", "c_0")},
        },
        (
            Obligation(RISK, "E (yhat - w.x_q)^2 = d risk at length M", risk_obligation),
            Obligation(GAIN, "the slope of the risk at c_0, N vanishes at a = gain", gain_obligation),
            Obligation(MEAN, "E mean xi^(2k) = E lambda xi^(2k) for every k", mean_obligation),
            Obligation(PREDICTION, "factor = gain mean at c_0 = 1", factor_obligation),
            Obligation(LIMITS, "factor -> limit as N -> oo", limit_factor_obligation),
            Obligation(LIMITS, "risk/d -> limit as N, M -> oo", limit_risk_obligation),
        ),
        (*TRUSTED[:2], TRUSTED[3], LAPLACE, CONDITIONAL, SYMMETRY),
    )


# The printed limits

PRINTED, COUNTEREXAMPLE = "as printed", "counterexample"
TRAINED_AT_1 = "the limit of a layer trained at c = 1"
QUOTED = "That the statement is printed as quoted."


def number_at(form: Quotient, **values: int) -> Any:
    """A quotient at whole numbers."""
    one = flint.fmpq(1)
    given = {"I": Matrix(((one,),)), **{name: one * value for name, value in values.items()}}
    top, bottom = (evaluate(part, given, one) for part in form)
    return top / bottom


def printed_obligation(forms: Forms) -> Identity:
    """The printed factor is E lambda^2/E lambda^3 E lambda = 2!/3! 1!."""
    form = forms.quotient(PRINTED, "printed")

    def difference(point: Point) -> Any:
        top, bottom = parts_of(form, point)
        return top * 6 - bottom * 2

    return identity(difference, form)


def limiting_mean_obligation(forms: Forms) -> Identity:
    """The derived factor: E factor xi^(2k) = (E lambda^2/E lambda^3) E lambda xi^(2k) for every k."""
    form = forms.quotient(COUNTEREXAMPLE, "factor")
    return identity(lambda point: moments_agree(form, point, flint.fmpq(2, 6)), form)


def factors_differ(forms: Forms) -> Relations:
    printed, factor = forms.quotient(PRINTED, "printed"), forms.quotient(COUNTEREXAMPLE, "factor")

    def ask() -> list[Relation]:
        at = number_at(factor, xi=2)
        return [
            Relation("the factor at xi = 2 and as printed", at, "!=", number_at(printed)),
            Relation("the factor at xi = 2", at, "=", flint.fmpq(1, 2)),
        ]

    return Relations(ask)


def failure() -> ClaimObligations:
    """The printed factor, and the derived one at x_q = sqrt 2."""
    return ClaimObligations(
        "audit-zfb-failure",
        (LAW_WORDS, "M, N -> oo; the expectation is conditional on x_q and w"),
        {PRINTED: {"printed": of()}, COUNTEREXAMPLE: {"factor": of("xi")}},
        (
            Obligation(PRINTED, "printed = E lambda^2/E lambda^3 E lambda", printed_obligation),
            Obligation(COUNTEREXAMPLE, "E factor xi^(2k) = E lambda xi^(2k)/3 for every k", limiting_mean_obligation),
            Obligation(COUNTEREXAMPLE, "the two differ at xi = 2", factors_differ),
        ),
        (*TRUSTED[:2], TRUSTED[3], LAPLACE, QUOTED),
    )


def limit_trained_at_1(forms: Forms) -> Identity:
    """The limit is the layer's risk at 1/M = 0 and a = E lambda^2/E lambda^3."""
    form = forms.quotient(TRAINED_AT_1, "limit")

    def difference(point: Point) -> Any:
        top, bottom = parts_of(form, point)
        return at_infinity(point, point.one * 2, point.one * 6) * bottom - top * point["d"] * 36

    return identity(difference, form, variables=VARIABLES)


NEXT_TICKS = {4: 5, 9: 10}


def limits_on_axes(forms: Forms) -> Relations:
    form = forms.quotient(TRAINED_AT_1, "limit")

    def ask() -> list[Relation]:
        return [
            Relation(f"the next tick and the limit at c = {c}", flint.fmpq(top), "<", number_at(form, c=c))
            for c, top in NEXT_TICKS.items()
        ]

    return Relations(ask)


def figure() -> ClaimObligations:
    """The limit, and its values at c = 4 and 9."""
    return ClaimObligations(
        "audit-zfb-figure",
        (
            LAW_WORDS,
            "trained at c = 1, N -> oo; tested at c, M -> oo; the tick labels of the panels as in the paper's text",
        ),
        {TRAINED_AT_1: {"limit": of("c")}, COUNTEREXAMPLE: {}},
        (
            Obligation(TRAINED_AT_1, "E (yhat - w.x_q)^2 = d limit at 1/M = 0, a = 1/3", limit_trained_at_1),
            Obligation(COUNTEREXAMPLE, "the limits at c = 4 and 9 are above the panels", limits_on_axes),
        ),
        (*TRUSTED[:2], TRUSTED[3], QUOTED, "That the black dashed lines lie inside the panels of the figure."),
    )
