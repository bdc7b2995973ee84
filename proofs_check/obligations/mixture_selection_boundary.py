"""Obligations of selection-boundary: a projection, one coefficient, and sums over supports by enumeration.

The forms are of degree at most two in D (which stands for d) and in m: their kinds say so, so that literal supports of
up to six coefficients speak for every number of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

from ..engines.identities import Identity
from ..engines.points import Point
from .fixed_point import value
from .obligation import ClaimObligations, FormKind, Forms, Obligation
from .population_loss import TRUSTED
from .scan_decoder import in_scalars, scalars

INVERSE, COEFFICIENT, COUNTED = "covariance of the labels", "one coefficient", "sums over supports"
STRENGTH, BOUNDARY = "strength of a nonzero", "where the odds are even"
NAMES = {1: "one", 2: "two"}


def inverse_obligation(forms: Forms) -> Identity:
    """(1 + g P) inverse = 1 + g + g^2 (P - P^2), so 1 + g for a projection."""
    form = forms.expression(INVERSE, "inverse")

    def difference(point: Point) -> Any:
        g, P, one = point["g"], point["P"], point.one
        return (one + g * P) * value(form, point) - one - g - g * g * (P - P * P)

    return in_scalars(difference, "g P")


def coefficient_obligation(forms: Forms) -> Identity:
    """raised = (1 + g) z2 - inverse z2 at P = 1."""
    inverse, form = forms.expression(INVERSE, "inverse"), forms.expression(COEFFICIENT, "raised")

    def difference(point: Point) -> Any:
        left = value(inverse, point.with_values({"P": point.one}))
        return (point.one + point["g"] - left) * point["z2"] - value(form, point)

    return in_scalars(difference, "g z2")


def enumerated(point: Point, d: int, m: int, k: int) -> Any:
    """The sum over k-subsets of d coefficients of u to the number of them among the first m."""
    total = point.one * 0
    for support in combinations(range(d), k):
        term = point.one
        for j in support:
            term = term * (point["u"] if j < m else point.one)
        total = total + term
    return total


def counted_obligation(forms: Forms) -> Identity:
    """The sums by enumeration for up to six coefficients; C(d, k) q U beside them."""

    def difference(point: Point) -> list[Any]:
        found = []
        for k, name in NAMES.items():
            sums = forms.expression(COUNTED, f"supports of {name}")
            dense = forms.expression(COUNTED, f"dense beside {name}")
            for d in range(1, 7):
                for m in range(d + 1):
                    there = point.with_values({"D": point.one * d, "m": point.one * m})
                    found.append(value(sums, there) - enumerated(point, d, m, k))
                    found.append(value(dense, there) - point["q"] * point["U"] * math.comb(d, k))
        return found

    return in_scalars(difference, "u U q")


def strength_obligation(forms: Forms) -> Identity:
    """strength = raised at z2 = g r; twice = 2 (1 + g)."""
    raised = forms.expression(COEFFICIENT, "raised")
    strength, twice = (forms.expression(STRENGTH, name) for name in ("strength", "twice"))

    def difference(point: Point) -> list[Any]:
        there = point.with_values({"z2": point["g"] * point["r"]})
        return [
            value(strength, point) - value(raised, there),
            value(twice, point) - (point.one + point["g"]) * 2,
        ]

    return in_scalars(difference, "g r")


def boundary_obligation(forms: Forms) -> Identity:
    """At u = 1 the sums do not depend on m, and are what stands with q U in the dense class."""

    def difference(point: Point) -> list[Any]:
        found = []
        for name in NAMES.values():
            sums = forms.expression(COUNTED, f"supports of {name}")
            dense = forms.expression(COUNTED, f"dense beside {name}")
            there = point.with_values(dict.fromkeys(("u", "U", "q"), point.one))
            found.append(value(sums, there) - value(dense, there))
        return found

    return in_scalars(difference, "D m")


IN_WORDS = (
    "In words: that an inverse on a projection and its complement is the inverse, and the determinant the product of "
    "its eigenvalues; exp and log; any k from k = 1, 2; the bounds C(m, k) u^k and C(d, k) u^k, and limits from them."
)


def obligations() -> ClaimObligations:
    """The five steps."""
    one, upto = (1,), (1, 2)
    kinds: Mapping[str, Mapping[str, FormKind]] = {
        INVERSE: {"inverse": scalars(g=one, P=one)},
        COEFFICIENT: {"raised": scalars(g=one, z2=one)},
        COUNTED: {
            "supports of one": scalars(D=one, m=one, u=one), "supports of two": scalars(D=upto, m=upto, u=upto),
            "dense beside one": scalars(D=one, q=one, U=one), "dense beside two": scalars(D=upto, q=one, U=one),
        },
        STRENGTH: {"strength": scalars(g=(2,), r=one), "twice": scalars(g=one)},
        BOUNDARY: {},
    }  # fmt: skip
    return ClaimObligations(
        "selection-boundary",
        ("orthogonal inputs X^T X = n I; K_S = s2 (1 + g P), P the projection on the columns of S; g = n v/s2",
         "t = tau u for m of d coefficients, tau for the others, tau_d and u_d in the dense class; q = tau_d^d/tau^k, "
         "U = u_d^m, D = d"),
        kinds,
        (
            Obligation(INVERSE, "(1 + g P) inverse = 1 + g + g^2 (P - P^2)", inverse_obligation),
            Obligation(COEFFICIENT, "raised = (1 + g) z2 - inverse z2 at P = 1", coefficient_obligation),
            Obligation(COUNTED, "the sums over supports by enumeration, d <= 6, every m", counted_obligation),
            Obligation(STRENGTH, "strength = raised at z2 = g r; twice = 2 (1 + g)", strength_obligation),
            Obligation(BOUNDARY, "at u = 1 the sum over supports is C(d, k), for every m", boundary_obligation),
        ),
        (TRUSTED[0], TRUSTED[3], IN_WORDS),
    )  # fmt: skip
