"""Obligations of least-squares-hessian, for every prompt, and of the refutation of the printed Hessian."""

from __future__ import annotations

from typing import Any

import flint

from ..engines.expressions import Expression
from ..engines.identities import Identity
from ..engines.layer import DEGREE, PROMPT, dot
from ..engines.matrices import Matrix, total
from ..engines.points import Kind, Point, make_point
from ..engines.relations import Relation, Relations
from .gradient_step import LENGTHS, risk
from .obligation import ClaimObligations, Forms, Obligation, Polynomial
from .population_loss import TRUSTED, VECTORS, powers_of_d, summed_over_samples
from .small_instances import number

SLOPE, HESSIAN = "gradient of the in-context risk", "Hessian of the in-context risk"
PRINTED, COUNTEREXAMPLE = "as printed", "counterexample"
LETTERS: dict[str, Kind] = {
    **{f"x[{i}]": "vector" for i in LENGTHS}, **{f"y[{i}]": "scalar" for i in LENGTHS},
    "beta": "vector", "v": "vector", "z": "vector",
}  # fmt: skip
ALL_VECTORS = VECTORS | {"beta", "v", "z"}
IN_V = Polynomial("d", "1", frozenset({"x", "v"}), {"N": (-1,)}, frozenset({"x"}))


def for_every_prompt(difference: Any, form: Expression) -> Identity:
    """Both sides are (1/N) sum_i g(sample i), at most quadratic in beta: N = 1 and 2 would do."""
    pairs = max(3, form.pairs_of_legs(ALL_VECTORS) + 1)
    return Identity(
        lambda point: [difference(point, n) for n in LENGTHS],
        LETTERS, {}, pairs, max(DEGREE, form.degree() + 2), powers_of_d(form), (1, 2, 3),
    )  # fmt: skip


def slope_along(point: Point, at: Matrix, direction: Matrix, n: int) -> Any:
    """direction.grad R(at): the central difference of a quadratic is exact."""
    return (risk(point, at + direction, n) - risk(point, at - direction, n)) * flint.fmpq(1, 2)


def slope_obligation(forms: Forms) -> Identity:
    form = forms.expression(SLOPE, "right")

    def difference(point: Point, n: int) -> Any:
        return slope_along(point, point["beta"], point["z"], n) - dot(point["z"], summed_over_samples(form, point, n))

    return for_every_prompt(difference, form)


def hessian_obligation(forms: Forms) -> Identity:
    """z.(hess R) v is what z.grad R gains from 0 to v."""
    form = forms.expression(HESSIAN, "right")

    def difference(point: Point, n: int) -> Any:
        z, v = point["z"], point["v"]
        return (
            slope_along(point, v, z, n) - slope_along(point, v * 0, z, n) - dot(z, summed_over_samples(form, point, n))
        )

    return for_every_prompt(difference, form)


def obligations() -> ClaimObligations:
    """The two steps."""
    kinds = {"right": Polynomial("d", "1", frozenset({"x", "y", "beta"}), {"N": (-1,)}, frozenset({"x", "y"}))}
    return ClaimObligations(
        "least-squares-hessian",
        ("every prompt (x_1, y_1) .. (x_N, y_N)",),
        {SLOPE: kinds, HESSIAN: {"right": IN_V}},
        (
            Obligation(SLOPE, "(R(beta + z) - R(beta - z))/2 = z.right, for every prompt", slope_obligation),
            Obligation(HESSIAN, "z.grad R(v) - z.grad R(0) = z.right, for every prompt", hessian_obligation),
        ),
        (TRUSTED[0], *TRUSTED[2:]),
    )


# The printed matrix


def printed_obligation(forms: Forms) -> Identity:
    """The form is the printed X X^T/(2N) times v."""
    form = forms.expression(PRINTED, "printed")

    def difference(point: Point, n: int) -> Any:
        z, v = point["z"], point["v"]
        sums = total(dot(z, point[f"x[{i}]"]) * dot(point[f"x[{i}]"], v) for i in range(1, n + 1))
        return dot(z, summed_over_samples(form, point, n)) - sums * flint.fmpq(1, 2 * n)

    return for_every_prompt(difference, form)


def counterexample_obligation(forms: Forms) -> Relations:
    """At d = N = 1, x = 1, y = 0, v = z = 1."""
    form = forms.expression(PRINTED, "printed")

    def ask() -> list[Relation]:
        point = make_point({}, 1, None, PROMPT)
        one = Matrix(((point.one,),))
        point = point.with_values({"x[1]": one, "y[1]": point.one * 0, "v": one})
        found = number(slope_along(point, one, one, 1) - slope_along(point, one * 0, one, 1))
        printed = number(dot(one, summed_over_samples(form, point, 1)))
        return [Relation("hess R and as printed", found, "!=", printed), Relation("hess R", found, "=", flint.fmpq(1))]

    return Relations(ask)


def refutation() -> ClaimObligations:
    """The printed matrix, and one number."""
    return ClaimObligations(
        "audit-acds-hessian",
        ("every prompt", "one prompt refutes it: d = N = 1, x = 1"),
        {PRINTED: {"printed": IN_V}, COUNTEREXAMPLE: {}},
        (
            Obligation(PRINTED, "z.printed = z.(X X^T/(2N)) v, for every prompt", printed_obligation),
            Obligation(COUNTEREXAMPLE, "hess R differs from the printed matrix", counterexample_obligation),
        ),
        (TRUSTED[0], *TRUSTED[2:], "That the statement is printed as quoted."),
    )
