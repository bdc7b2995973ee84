"""Obligations of merged-heads-fixed-points: slopes of two heads from the layer's own loss, and the audit's point."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import flint

from ..engines.expressions import Expression
from ..engines.identities import Identity
from ..engines.layer import DEGREE, LAW, PROMPT, reduced_loss
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from ..engines.relations import Relation, Relations
from .fixed_point import of_forms, value
from .obligation import INVERSE_LENGTH, ClaimObligations, Forms, Obligation, Polynomial, of_law
from .population_loss import ASSUMPTIONS, TRUSTED
from .small_instances import Law, fractions, number

SLOPE, HEADS, FIXED, SADDLES = "slope in A", "slopes in a head", "fixed points", "saddles"
COUNTEREXAMPLE = "counterexample"
LETTERS: dict[str, Kind] = {
    **LAW, "U1": "matrix", "U2": "matrix", "v1": "scalar", "v2": "scalar", "V": "matrix",
}  # fmt: skip
# A prediction of heads has the degree of one head's, and a factor v more.
MORE = 4


def identity(difference: Callable[[Point], Any], forms: tuple[Expression, ...], letters: dict[str, Kind]) -> Identity:
    made = of_forms(difference, forms, letters, MORE)
    return Identity(
        difference, letters, PROMPT, made.pairs, max(made.degree, DEGREE + MORE), made.powers_of_d, components=(1, 2)
    )


def heads(point: Point, U1: Matrix, v1: Any) -> Any:
    """The loss at A = v1 U1 + v2 U2."""
    return reduced_loss(point, U1 * v1 + point["U2"] * point["v2"])


def slope_obligation(forms: Forms) -> Identity:
    form = forms.expression(SLOPE, "right")

    def difference(point: Point) -> Any:
        A, V = point["A"], point["V"]
        slope = (reduced_loss(point, A + V) - reduced_loss(point, A - V)) * flint.fmpq(1, 2)
        return slope - (V.T @ value(form, point)).trace()

    return identity(difference, (form,), {**LAW, "A": "matrix", "V": "matrix"})


def head_obligation(forms: Forms) -> Identity:
    """Central differences in U1 along V and in v1: the loss is quadratic in each."""
    of_U, of_v = forms.expression(HEADS, "U1"), forms.expression(HEADS, "v1")

    def difference(point: Point) -> list[Any]:
        U1, v1, V, half = point["U1"], point["v1"], point["V"], flint.fmpq(1, 2)
        along_U = (heads(point, U1 + V, v1) - heads(point, U1 - V, v1)) * half
        along_v = (heads(point, U1, v1 + point.one) - heads(point, U1, v1 - point.one)) * half
        return [along_U - (V.T @ value(of_U, point)).trace(), along_v - value(of_v, point)]

    return identity(difference, (of_U, of_v), LETTERS)


def chain_obligation(forms: Forms) -> Identity:
    """dL/dU1 = v1 slope and dL/dv1 = <U1, slope>, with the slope at A = v1 U1 + v2 U2."""
    slope, of_U, of_v = (
        forms.expression(SLOPE, "right"), forms.expression(HEADS, "U1"), forms.expression(HEADS, "v1")
    )  # fmt: skip

    def difference(point: Point) -> list[Any]:
        at = value(slope, point, A=point["U1"] * point["v1"] + point["U2"] * point["v2"])
        return [value(of_U, point) - at * point["v1"], value(of_v, point) - (point["U1"].T @ at).trace()]

    return identity(difference, (slope, of_U, of_v), LETTERS)


def fixed_obligation(forms: Forms) -> Identity:
    """slope = Lambda (left A - right) Lambda: it vanishes where left A = right only, Lambda being invertible."""
    slope, left, right = (
        forms.expression(SLOPE, "right"), forms.expression(FIXED, "left"), forms.expression(FIXED, "right")
    )  # fmt: skip

    def difference(point: Point) -> Any:
        A, Lambda = point["A"], point["Lambda"]
        return value(slope, point) - Lambda @ (value(left, point) @ A - value(right, point)) @ Lambda

    return identity(difference, (slope, left, right), {**LAW, "A": "matrix"})


def saddle_obligation(forms: Forms) -> Identity:
    """At v = 0 the slope in v1 is -<U1, pull>: its derivative along U1 + t pull is -|pull|^2."""
    pull = forms.expression(SADDLES, "pull")

    def difference(point: Point) -> Any:
        V = point["V"]
        slope = (reduced_loss(point, V) - reduced_loss(point, -V)) * flint.fmpq(1, 2)
        return slope + (V.T @ value(pull, point)).trace()

    return identity(difference, (pull,), {**LAW, "V": "matrix"})


HEAD_KINDS = {
    "U1": of_law("U1", "U2", powers={**INVERSE_LENGTH, "v1": (1, 2), "v2": (1,)}),
    "v1": of_law("U1", "U2", square=False, powers={**INVERSE_LENGTH, "v1": (1,), "v2": (1,)}),
}
IN_A: Polynomial = of_law("A")
INVERTIBLE = (
    "The step 'fixed points': left is invertible, as the certificate of fixed-point has M a sum of squares and at "
    "least a positive multiple of Lambda; then v_i slope = 0 for all i leaves v = 0 or A = A*."
)
FURTHER_HEADS = "More than two heads: A is a sum over heads, and the others enter as v2 U2 does."


def obligations() -> ClaimObligations:
    """The four steps."""
    return ClaimObligations(
        "merged-heads-fixed-points",
        (*ASSUMPTIONS, "yhat = sum_i v_i s^T U_i x_q with s = (1/N) sum y_j x_j"),
        {
            SLOPE: {"right": IN_A},
            HEADS: HEAD_KINDS,
            FIXED: {"left": of_law(), "right": of_law()},
            SADDLES: {"pull": of_law()},
        },
        (
            Obligation(SLOPE, "(L(A + V) - L(A - V))/2 = tr(V^T right)", slope_obligation),
            Obligation(HEADS, "central differences of L(v1 U1 + v2 U2) in U1 and v1 are the forms", head_obligation),
            Obligation(HEADS, "U1 = v1 slope and v1 = <U1, slope>", chain_obligation),
            Obligation(FIXED, "slope = Lambda (left A - right) Lambda", fixed_obligation),
            Obligation(SADDLES, "(L(V) - L(-V))/2 = -tr(V^T pull)", saddle_obligation),
        ),
        (*TRUSTED, INVERTIBLE, FURTHER_HEADS),
    )  # fmt: skip


# The printed list

AT = Law(fractions("1 0", "0 1"), fractions("1 0", "0 1"), 1, Fraction(0))


def counterexample_obligation(forms: Forms) -> Relations:
    """v = 0, U = diag(1, -1) at d = 2, Lambda = Psi = I, N = 1: no slope, U is not 0, and the loss is not the least."""
    of_U, of_v = forms.expression(HEADS, "U1"), forms.expression(HEADS, "v1")

    def ask() -> list[Relation]:
        point = AT.at({})
        zero, one = point.one * 0, point.one
        U = Matrix(((one, zero), (zero, -one)))
        point = point.with_values({"U1": U, "U2": U * 0, "v1": zero, "v2": zero})
        slopes = [number(entry) for entry in value(of_U, point).entries()]
        best = number(reduced_loss(point, point["I"] * flint.fmpq(1, 4)))
        return [
            Relation("dL/dv", number(value(of_v, point)), "=", flint.fmpq(0)),
            Relation("sum of squares of dL/dU", sum((s * s for s in slopes), flint.fmpq(0)), "=", flint.fmpq(0)),
            Relation("|U|^2", number((U.T @ U).trace()), "!=", flint.fmpq(0)),
            Relation("the loss at A = I/4 and there", best, "<", number(reduced_loss(point, U * 0))),
        ]

    return Relations(ask)


def refutation() -> ClaimObligations:
    """The slopes, and one point."""
    return ClaimObligations(
        "audit-zsls-fixed-points",
        (*ASSUMPTIONS, "heads with u12 = u21 = 0; one point refutes the list: d = 2, Lambda = Psi = I, N = 1"),
        {HEADS: HEAD_KINDS, COUNTEREXAMPLE: {}},
        (
            Obligation(HEADS, "central differences of L(v1 U1 + v2 U2) in U1 and v1 are the forms", head_obligation),
            Obligation(
                COUNTEREXAMPLE, "no slope at v = 0, U = diag(1, -1), which is in neither set", counterexample_obligation
            ),
        ),
        (*TRUSTED, "That the statement is printed as quoted."),
    )
