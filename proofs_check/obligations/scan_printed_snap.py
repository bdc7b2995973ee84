"""Obligations of the two audits of the snap theorem: the printed forms, and the literal layer at plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flint

from ..engines.identities import Identity
from ..engines.points import Point, make_point
from ..engines.ratios import Ratio, difference
from ..engines.relations import Relation, Relations
from .obligation import ClaimObligations, Forms, Obligation
from .scan_snap import CLASSES, TRUSTED, exact, form_at, kinds, literal_velocities, over_one

PRINTED, EXAMPLE, LAYER = "as printed", "counterexample", "the layer"
QUOTED = "That the statement is printed as quoted."


def integral_obligation(forms: Forms) -> Identity:
    """y = e^{4B}, z = -B: y' = 4 y B' = 4/C0 in h, and y = 1 at h = 0; printed is C0 times the solution 1 + 4 h/C0."""

    def at(point: Point) -> list[Any]:
        (h,) = point.numbers["h"]
        right, printed = form_at(forms, PRINTED, "right", point), form_at(forms, PRINTED, "printed", point)
        return [
            difference(right.derivative((h, point.one)), Ratio(point.one * 4, point["C0"])),
            difference(form_at(forms, PRINTED, "right", point, h=point.one * 0), over_one(point, 1)),
            difference(printed, over_one(point, point["C0"] + point["h"] * 4)),
            difference(printed, right * point["C0"]),
        ]

    return exact(at, "C0", "h")


def velocities_at(K: int, M: int) -> tuple[Any, Any]:
    """z_C' and xi in units of c eta_Z/K at P_C = 1/10, P_1 = 9/10, in rational numbers."""
    point = make_point({}, 1, None, {})
    numbers = {"a": flint.fmpq(1, 10), "b1": flint.fmpq(9, 10), "b2": flint.fmpq(0), "m": flint.fmpq(M - 1)}
    common, distinct = literal_velocities(point.with_values({k: point.one * v for k, v in numbers.items()}), K)
    share = flint.fmpq(81, 82)
    return quotient_of(common), quotient_of(distinct) / share


def quotient_of(ratio: Ratio) -> Any:
    return ratio.top.leading_coefficient() / ratio.bottom.leading_coefficient()


def constant_obligation(forms: Forms) -> Relations:
    """C0 = gamma/xi with gamma = ((M - 1)/M)^2 c, K = 2, M = 1001; printed e^{4 B(0)} = C0."""

    def ask() -> list[Relation]:
        _, xi = velocities_at(2, 1001)
        found = flint.fmpq(1000, 1001) ** 2 / xi
        form = form_at(forms, EXAMPLE, "C0", make_point({}, 1, None, {}))
        return [
            Relation("gamma/xi of the layer", found, "=", quotient_of(form)),
            Relation("1 = e^(4 B(0)) below the printed C0", flint.fmpq(1), "<", quotient_of(form)),
        ]

    return Relations(ask)


def bound_refutation() -> ClaimObligations:
    """The printed integral."""
    return ClaimObligations(
        "audit-snap-bound",
        ("the hypotheses of Theorem 4 as printed; one task refutes it: K = 2, M = 1001, P_C = 1/10, P_1 = 9/10",),
        {PRINTED: kinds(printed="C0 h", right="C0 h"), EXAMPLE: kinds(C0="")},
        (
            Obligation(PRINTED, "right' = 4/C0, right = 1 at h = 0, printed = C0 right", integral_obligation),
            Obligation(EXAMPLE, "C0 = gamma/xi of the literal layer, above 1", constant_obligation),
        ),
        (TRUSTED[0], QUOTED),
    )


def ratio_obligation(K: int) -> Callable[[Forms], Identity]:
    """z_C' = ratio z_1' N/b_1^2, two distinct tokens a class."""

    def prepare(forms: Forms) -> Identity:
        def at(point: Point) -> Any:
            squares = [point[name] * point[name] for name in ("a", "b1", "b2")]
            there = {"C": squares[0], "S": squares[1] + squares[2], "K": point.one * K}
            ratio = form_at(forms, LAYER, "ratio", point, **there)
            common, distinct = literal_velocities(point, K)
            return difference(common, ratio * distinct * Ratio(squares[0] + squares[1] + squares[2], squares[1]))

        return exact(at, "a", "b1", "b2", "m")

    return prepare


def every_class_obligation(forms: Forms) -> Identity:
    """For every K: xi = own - (1 - 1/M) and z_C' = K rho (xi + (K - 1) other), own + (K - 1) rho other = 1 - 1/M.

    own and other are the entries of G^-1 (e_n - 1/M), and the equation is the n-th of G v = e_n - 1/M.
    """

    def at(point: Point) -> Any:
        K, rho, other = point["K"], Ratio(point["C"], point["C"] + point["S"]), point["other"]
        xi = -rho * (K - 1) * other
        common = rho * K * (xi + (K - 1) * other)
        return difference(common, form_at(forms, LAYER, "ratio", point) * xi)

    return exact(at, "C", "S", "K", "other")


def token_obligation(forms: Forms) -> Relations:
    """At K = 4 the layer's number is not the printed one."""

    def ask() -> list[Relation]:
        common, xi = velocities_at(4, 1001)
        printed = quotient_of(form_at(forms, PRINTED, "printed", make_point({}, 1, None, {})))
        return [
            Relation("z_C'/(eta_Z xi)", common / xi, "=", flint.fmpq(-162, 41)),
            Relation("z_C'/(eta_Z xi) and as printed", common / xi, "!=", printed),
        ]

    return Relations(ask)


def printed_obligation(forms: Forms) -> Relations:
    def ask() -> list[Relation]:
        form = form_at(forms, PRINTED, "printed", make_point({}, 1, None, {}))
        return [Relation("printed", quotient_of(form), "=", flint.fmpq(-1))]

    return Relations(ask)


def token_refutation() -> ClaimObligations:
    """The printed rate of the common token."""
    return ClaimObligations(
        "audit-snap-common-token",
        ("one common token of K classes alike; one task refutes it: K = 4, M = 1001, P_C = 1/10, P_1 = 9/10",),
        {PRINTED: kinds(printed=""), LAYER: kinds(ratio="C S K"), EXAMPLE: {}},
        (
            Obligation(PRINTED, "printed = -1", printed_obligation),
            *(
                Obligation(LAYER, f"z_C' = ratio xi in the literal layer, K = {K}", ratio_obligation(K))
                for K in CLASSES
            ),
            Obligation(LAYER, "z_C' = ratio xi from G v = e_n - 1/M, every K", every_class_obligation),
            Obligation(EXAMPLE, "the layer's number at K = 4 is -162/41", token_obligation),
        ),
        (TRUSTED[0], QUOTED),
    )
