"""Obligations of fixed-point: gradient, closed form, completed square, positivity and the readings."""

from __future__ import annotations

from typing import Any

import flint

from ..engines.expressions import Expression, Factor, Quotient, evaluate, times, without_cancelling_pairs
from ..engines.identities import Identity
from ..engines.layer import (
    DEGREE,
    LAW,
    PROMPT,
    WEIGHTS,
    effective_preconditioner,
    even_part,
    half_mean_square,
    layer,
    reduced_loss,
)
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from ..engines.positivity import SumOfSquares
from ..engines.refusals import UnreadableError
from .obligation import ClaimObligations, Forms, Obligation, Rational, of_law
from .population_loss import ASSUMPTIONS, TRUSTED, VECTORS, pairs, powers_of_d
from .small_instances import EQUATION, MINIMUM, small_instances

GRADIENT, CLOSED_FORM = "gradient of the reduced loss", "closed form"
STABLE, SQUARE = "the same without cancellation", "completing the square"
GLOBAL, UNIQUE = "global optimality over all parameters", "uniqueness up to scale for rank A* >= 2"
ISOTROPIC, LIMIT, RIDGE = "isotropic case", "infinite context", "effective ridge"

MATRICES: dict[str, Kind] = {"A": "matrix", "B": "matrix", "V": "matrix"}


def half(value: Any) -> Any:
    """value/2."""
    return value * flint.fmpq(1, 2)


def of_forms(
    difference: Any, forms: tuple[Expression, ...], letters: dict[str, Kind], more: int, factors: int = 0
) -> Identity:
    """An identity between the model's means and forms, each multiplied by at most `more` further matrices.

    factors     how many factors these matrices have together, where they are not letters
    """
    degree = max([DEGREE, *(form.degree() + max(more, factors) for form in forms)])
    legs = max(pairs(), *(form.pairs_of_legs(VECTORS) + more for form in forms))
    return Identity(difference, letters, PROMPT, legs, degree, powers_of_d(*forms))


def value(form: Expression, point: Point, **letters: Any) -> Any:
    """A form at a point, with letters replaced."""
    return evaluate(form, {**point.values, **letters}, point.one)


def slope(point: Point, A: Matrix, V: Matrix) -> Any:
    """The derivative of the reduced loss at A along V: the central difference of a quadratic is exact."""
    return half(reduced_loss(point, A + V) - reduced_loss(point, A - V))


# The fixed point


def gradient_obligation(forms: Forms) -> Identity:
    M, C, Q = (forms.expression(GRADIENT, name) for name in ("M", "C", "covariance"))

    def difference(point: Point) -> Any:
        A, V = point["A"], point["V"]
        derived = (V.T @ (value(M, point) @ A - value(C, point)) @ value(Q, point)).trace()
        return slope(point, A, V) - derived

    return of_forms(difference, (M, C, Q), {**LAW, "A": "matrix", "V": "matrix"}, 2 + max(Q.degree(), 1))


def equation_obligation(forms: Forms) -> Identity:
    left, right = forms.expression(EQUATION, "left"), forms.expression(EQUATION, "right")

    def difference(point: Point) -> Any:
        A, V, Lambda = point["A"], point["V"], point["Lambda"]
        derived = (V.T @ Lambda @ (value(left, point) @ A - value(right, point)) @ Lambda).trace()
        return slope(point, A, V) - derived

    return of_forms(difference, (left, right), {**LAW, "A": "matrix", "V": "matrix"}, 4)


def closed_form_obligation(forms: Forms) -> Identity:
    left, right = forms.expression(EQUATION, "left"), forms.expression(EQUATION, "right")
    inverse = forms.expression(CLOSED_FORM, "inverse")
    return inverse_identity(left, right, inverse, LAW)


def inverse_identity(left: Expression, right: Expression, inverse: Expression, law: dict[str, Kind]) -> Identity:
    """right inverse = left where inverse letters cancel, and the transpose of `inverse` is itself."""
    product = times(right, inverse)
    letters: dict[str, Kind] = {**law, "Psi^-1": "symmetric"}

    def difference(point: Point) -> list[Any]:
        at = value(inverse, point)
        return [value(product, point) - value(left, point), at - at.T]

    forms = (left, product, inverse)
    return of_forms(difference, forms, letters, 0)


def minimum_obligation(forms: Forms) -> Identity:
    M, C, minimum = forms.expression(GRADIENT, "M"), forms.expression(GRADIENT, "C"), forms.expression(MINIMUM, "right")

    def difference(point: Point) -> Any:
        B = point["B"]
        residual = value(M, point) @ B - value(C, point)
        at_B = value(minimum, point, **{"A_*": B}) + half((B.T @ residual @ point["Lambda"]).trace())
        return reduced_loss(point, B) - at_B

    return of_forms(difference, (M, C, minimum), {**LAW, "B": "matrix"}, 3)


def stable_obligation(forms: Forms) -> Identity:
    left, right = forms.expression(EQUATION, "left"), forms.expression(EQUATION, "right")
    remainder, minimum = forms.expression(STABLE, "remainder"), forms.expression(MINIMUM, "right")

    def difference(point: Point) -> list[Any]:
        B, eye, Lambda, Psi = (point[name] for name in ("B", "I", "Lambda", "Psi"))
        R = eye - B @ Lambda  # left^-1 remainder, where left B = right
        L, residual = value(left, point), value(right, point) - value(left, point) @ B
        shape = L @ R - value(remainder, point) - residual @ Lambda
        loss = value(minimum, point, **{"A_*": B}) - half((Lambda @ R @ Psi).trace())
        return [shape, loss]

    return of_forms(difference, (left, right, remainder, minimum), {**LAW, "B": "matrix"}, 3)


def completed(point: Point, M: Expression, C: Expression, minimum: Expression, A: Matrix, B: Matrix) -> Any:
    """min L + 1/2 tr((A - B)^T M (A - B) Lambda), and what remains of it where M B differs from C."""
    Lambda, at, gap = point["Lambda"], value(M, point), A - B
    residual = at @ B - value(C, point)
    square = half((gap.T @ at @ gap @ Lambda).trace())
    remains = (gap.T @ residual @ Lambda).trace() + half((B.T @ residual @ Lambda).trace())
    return value(minimum, point, **{"A_*": B}) + square + remains


def square_obligation(forms: Forms) -> Identity:
    M, C, minimum = forms.expression(GRADIENT, "M"), forms.expression(GRADIENT, "C"), forms.expression(MINIMUM, "right")

    def difference(point: Point) -> Any:
        A, B = point["A"], point["B"]
        return reduced_loss(point, A) - completed(point, M, C, minimum, A, B)

    return of_forms(difference, (M, C, minimum), {**LAW, "A": "matrix", "B": "matrix"}, 3)


def global_obligation(forms: Forms) -> Identity:
    M, C, minimum = forms.expression(GRADIENT, "M"), forms.expression(GRADIENT, "C"), forms.expression(MINIMUM, "right")

    def difference(point: Point) -> Any:
        loss = half_mean_square(point, layer(point), 1) - half_mean_square(point, even_part(point), 0)
        return loss - completed(point, M, C, minimum, effective_preconditioner(point), point["B"])

    return of_forms(difference, (M, C, minimum), {**LAW, **WEIGHTS, "B": "matrix"}, 3, factors=5)


def positive_obligation(forms: Forms) -> SumOfSquares:
    return SumOfSquares(forms.expression(GRADIENT, "M"), definite=True)


# The readings


def isotropic_identity(left: Expression, right: Expression, gain: Quotient, in_length: bool) -> Identity:
    """left gain = right at Lambda = lam I, Psi = psi I: both sides are c(d) I, with c a polynomial in d."""
    letters: dict[str, Kind] = {name: "scalar" for name in ("lam", "psi", "sigma2")}
    letters |= {"N": "scalar"} if in_length else {"m1": "scalar"}
    loops = max(len(term.closed) for form in (left, right) for term in form.terms)
    power = loops + max(part.largest_power("d") for part in gain) + powers_of_d(left, right)
    exponents = (abs(p) for form in (left, right) for term in form.terms for s, p in term.powers if s == "N")
    length_power = max(exponents, default=0)

    def difference(point: Point) -> Any:
        isotropic = point.with_values({"Lambda": point["I"] * point["lam"], "Psi": point["I"] * point["psi"]})
        at_left, at_right = (
            evaluate(cleared(form, length_power if in_length else 0), isotropic.values, point.one)
            for form in (left, right)
        )
        top, bottom = (evaluate(part, point.values, point.one) for part in gain)
        return at_left * top - at_right * bottom

    degree = max(left.degree(), right.degree()) + max(part.degree() for part in gain) + length_power
    return Identity(difference, letters, {}, 1, max(DEGREE, degree), power, (1, 2, 3, 4))


def cleared(form: Expression, power: int) -> Expression:
    """The form times N^power, without 1/N."""
    if not power:
        return form
    terms = []
    for term in form.terms:
        powers = dict(term.powers)
        powers["N"] = powers.get("N", 0) + power
        terms.append(term._replace(powers=tuple(sorted((s, p) for s, p in powers.items() if p))))
    return Expression(form.rows, form.cols, tuple(terms))


def isotropic_obligation(forms: Forms) -> Identity:
    left, right = forms.expression(EQUATION, "left"), forms.expression(EQUATION, "right")
    return isotropic_identity(left, right, forms.quotient(ISOTROPIC, "gain"), in_length=True)


def at_infinite_length(form: Expression) -> Expression:
    """The terms without 1/N; a positive power of N has no limit."""
    if form.largest_power("N") > 0:
        raise UnreadableError("a positive power of N has no limit as N grows")
    kept = tuple(term for term in form.terms if not any(symbol == "N" for symbol, _ in term.powers))
    return Expression(form.rows, form.cols, kept)


def limit_obligation(forms: Forms) -> Identity:
    """left limit = right at 1/N = 0, inverse letters cancelled; left is continuous in 1/N and invertible there."""
    left, right = (at_infinite_length(forms.expression(EQUATION, name)) for name in ("left", "right"))
    product = times(left, forms.expression(LIMIT, "limit"))
    letters: dict[str, Kind] = {**LAW, "Lambda^-1": "symmetric", "Psi^-1": "symmetric"}
    return of_forms(lambda point: value(product, point) - value(right, point), (product, right), letters, 1)


def ridge_obligation(forms: Forms) -> Identity:
    """inverse = (1 + 1/N) Lambda + ridge Psi^-1, with Psi^-1 as a letter of its own."""
    inverse, ridge = forms.expression(CLOSED_FORM, "inverse"), forms.expression(RIDGE, "ridge")
    ridge_matrix = without_cancelling_pairs(
        Expression("d", "d", tuple(term._replace(open=(Factor("Psi", False, True, 0),)) for term in ridge.terms))
    )

    def difference(point: Point) -> Any:
        rest = point["Lambda"] * (point.one + point["1/N"])
        return value(inverse, point) - rest - value(ridge_matrix, point)

    letters: dict[str, Kind] = {**LAW, "Psi^-1": "symmetric"}
    return of_forms(difference, (inverse, ridge_matrix), letters, 1)


UNIQUENESS_IN_WORDS = (
    f"The step {UNIQUE!r} for d > 3 and for singular Psi: its proof in words. Checked here is the case of d = 2 and "
    "d = 3 with Psi definite, with every weight a real unknown."
)
LENGTHS = "Where M B = C, the remainder terms with M B - C vanish: that is the step from an identity to A* = B."


def obligations() -> ClaimObligations:
    """The eleven steps."""
    return ClaimObligations(
        "fixed-point",
        (*ASSUMPTIONS, "Lambda positive definite, Psi positive semi-definite and not zero"),
        {
            GRADIENT: {"M": of_law(), "C": of_law(), "covariance": of_law()},
            EQUATION: {"left": of_law(), "right": of_law()},
            CLOSED_FORM: {"inverse": of_law("Psi^-1")},
            MINIMUM: {"right": of_law("A_*", square=False)},
            STABLE: {"remainder": of_law()},
            SQUARE: {}, GLOBAL: {}, UNIQUE: {},
            ISOTROPIC: {"gain": Rational(frozenset({"lam", "psi", "sigma2", "d", "N"}))},
            LIMIT: {"limit": of_law("Lambda^-1", "Psi^-1")},
            RIDGE: {"ridge": of_law(square=False)},
        },
        (
            Obligation(GRADIENT, "d reduced(A) along V = tr(V^T (M A - C) covariance)", gradient_obligation),
            Obligation(EQUATION, "d reduced(A) along V = tr(V^T Lambda (left A - right) Lambda)", equation_obligation),
            Obligation(CLOSED_FORM, "right inverse = left, inverse = inverse^T", closed_form_obligation),
            Obligation(MINIMUM, "reduced(B) = min L + 1/2 tr(B^T (M B - C) Lambda) at A_* = B", minimum_obligation),
            Obligation(
                STABLE,
                "left (I - B Lambda) = remainder + (right - left B) Lambda, min L = 1/2 tr(Lambda (I - B Lambda) Psi)",
                stable_obligation,
            ),
            Obligation(
                SQUARE,
                "reduced(A) = min L + 1/2 tr((A - B)^T M (A - B) Lambda) + terms with the factor M B - C",
                square_obligation,
            ),
            Obligation(
                GLOBAL,
                "L - 1/2 E yhat_even^2 = min L + 1/2 tr((A - B)^T M (A - B) Lambda) + terms with the factor M B - C, "
                "at A = u U + u12 u21^T",
                global_obligation,
            ),
            Obligation(GLOBAL, "M is a sum of squares and at least a positive multiple of Lambda", positive_obligation),
            *small_instances(GLOBAL, UNIQUE),
            Obligation(ISOTROPIC, "left gain = right at Lambda = lam I, Psi = psi I", isotropic_obligation),
            Obligation(LIMIT, "left limit = right at 1/N = 0", limit_obligation),
            Obligation(RIDGE, "inverse = (1 + 1/N) Lambda + ridge Psi^-1", ridge_obligation),
        ),
        (*TRUSTED, LENGTHS, UNIQUENESS_IN_WORDS),
    )  # fmt: skip
