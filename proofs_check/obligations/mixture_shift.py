"""Obligations of covariate-shift: Bayes' rule with the density of the inputs, and scaled examples entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..engines.expressions import Expression
from ..engines.identities import Identity
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from .fixed_point import value
from .obligation import ClaimObligations, FormKind, Forms, Obligation, Polynomial, Rational
from .population_loss import TRUSTED

RULE, SCALE, COMPLETED = "one function for every law of the inputs", "a scale is a noise", "completing the square"
EVIDENCE, ERROR = "evidence", "risk"
VECTORS = frozenset({"z", "w", "m", "g"})
PAIRS, DEGREE = 4, 12  # of the literal products: at most three letters and r^2 s2 v; forms come with theirs
EXAMPLES: dict[str, Kind] = {"G": "matrix", "z": "vector", "s2": "scalar", "v": "scalar", "r": "scalar"}


def cleared(form: Expression, *symbols: str) -> Expression:
    """The form times the product of these symbols: no negative power is left."""
    terms = []
    for term in form.terms:
        powers = dict(term.powers)
        for symbol in symbols:
            powers[symbol] = powers.get(symbol, 0) + 1
        terms.append(term._replace(powers=tuple(sorted((s, p) for s, p in powers.items() if p))))
    return Expression(form.rows, form.cols, tuple(terms))


def in_letters(
    difference: Callable[[Point], Any], forms: tuple[Expression, ...], letters: Mapping[str, Kind]
) -> Identity:
    """An identity for all G, z, s2, v, r and further letters."""
    pairs = PAIRS + 2 * max(form.pairs_of_legs(VECTORS) for form in forms)
    degree = DEGREE + 2 * max(form.degree() for form in forms)
    return Identity(difference, {**EXAMPLES, **letters}, {}, pairs, degree, 0, (1, 2))


def dot(a: Matrix, b: Matrix) -> Any:
    return (a.T @ b)[0, 0]


def literal(point: Point, w: Matrix) -> Any:
    """v s2 (sum_i (r z_i - r g_i . w)^2/s2 + sum_j w_j^2/v), entry by entry."""
    r, found = point["r"], point.one * 0
    for i, row in enumerate(point["G"].rows):
        error = r * point["z"][i, 0]
        for j, x in enumerate(row):
            error = error - r * x * w[j, 0]
        found = found + point["v"] * error * error
    for entry in w.entries():
        found = found + point["s2"] * entry * entry
    return found


def rule_obligation(forms: Forms) -> Identity:
    """Crosswise, with the density p of the inputs in both joint densities."""
    posterior, prediction = (forms.quotient(RULE, name) for name in ("posterior", "prediction"))

    def difference(point: Point) -> list[Any]:
        first, second = point["p"] * point["pi"] * point["D"], point["p"] * point["rho"] * point["E"]
        weighted = first * point["f_d"] + second * point["f_s"]
        found = []
        for quotient, top in ((posterior, first), (prediction, weighted)):
            above, below = (value(part, point) for part in quotient)
            found.append(above * (first + second) - below * top)
        return found

    letters: dict[str, Kind] = dict.fromkeys(["p", "pi", "rho", "D", "E", "f_d", "f_s"], "scalar")
    return Identity(difference, letters, {}, 1, 40, 0, (1,))


def scale_obligation(forms: Forms) -> Identity:
    """v r^2 right = v s2 times the density at scale r; at s2 = t r^2 it is r^2 times that at scale 1 with noise t."""
    form = cleared(forms.expression(SCALE, "right"), "v", "r", "r")

    def difference(point: Point) -> list[Any]:
        at_one = point.with_values({"r": point.one})
        scaled = point.with_values({"s2": point["s2"] * point["r"] * point["r"]})
        return [
            literal(point, point["w"]) - value(form, point),
            value(form, scaled) - point["r"] * point["r"] * literal(at_one, point["w"]),
        ]

    return in_letters(difference, (form,), {"w": "vector"})


def square_obligation(forms: Forms) -> Identity:
    """The density at w and at any m, with what is left where m does not solve the equations."""
    left = cleared(forms.expression(COMPLETED, "left"), "v", "r", "r")
    right = cleared(forms.expression(COMPLETED, "right"), "v", "r", "r")

    def difference(point: Point) -> Any:
        w, m, A = point["w"], point["m"], value(left, point)
        gap = w - m
        squared = dot(gap, A @ gap) + dot(gap, A @ m - value(right, point)) * 2
        return literal(point, w) - literal(point, m) - squared

    return in_letters(difference, (left, right), {"w": "vector", "m": "vector"})


def evidence_obligation(forms: Forms) -> Identity:
    """s2 v square is the density at m; s2 volume = v r^2 left with left of the square's completion."""
    square = cleared(forms.expression(EVIDENCE, "square"), "s2", "v")
    volume = cleared(forms.expression(EVIDENCE, "volume"), "s2")
    left = cleared(forms.expression(COMPLETED, "left"), "v", "r", "r")

    def difference(point: Point) -> list[Any]:
        return [literal(point, point["m"]) - value(square, point), value(volume, point) - value(left, point)]

    return in_letters(difference, (square, volume, left), {"m": "vector"})


def error_obligation(forms: Forms) -> Identity:
    """(sum_j w_j r g_j - sum_j m_j r g_j)^2."""
    form = forms.expression(ERROR, "error")

    def difference(point: Point) -> Any:
        query = [point["r"] * entry for entry in point["g"].entries()]
        error = point.one * 0
        for x, w, m in zip(query, point["w"].entries(), point["m"].entries(), strict=True):
            error = error + w * x - m * x
        return error * error - value(form, point)

    return in_letters(difference, (form,), {"w": "vector", "m": "vector", "g": "vector"})


PRIOR = {"r": (-2,), "s2": (1,), "v": (-1,)}
KINDS: dict[str, dict[str, FormKind]] = {
    RULE: {
        "posterior": Rational(frozenset({"pi", "rho", "D", "E"})),
        "prediction": Rational(frozenset({"pi", "rho", "D", "E", "f_d", "f_s"})),
    },
    SCALE: {"right": Polynomial("1", "1", frozenset({"G", "z", "w"}), PRIOR)},
    COMPLETED: {
        "left": Polynomial("d", "d", frozenset({"G"}), PRIOR), "right": Polynomial("d", "1", frozenset({"G", "z"}), {}),
    },
    EVIDENCE: {
        "square": Polynomial("1", "1", frozenset({"G", "z", "m"}), {"r": (2,), "s2": (-1,), "v": (-1,)}),
        "volume": Polynomial("d", "d", frozenset({"G"}), {"r": (2,), "s2": (-1,), "v": (1,)}),
    },
    ERROR: {"error": Polynomial("1", "1", frozenset({"g", "w", "m"}), {"r": (2,)})},
}  # fmt: skip
RECTANGULAR = (
    "The identities in letters are tested with as many examples as dimensions. They are sums of pairings of legs, and "
    "independent as such as soon as both numbers are large enough: so they hold for any N and d."
)
INTEGRAL = "The Gaussian integral over w, which makes the evidence of the completed square."
SUPPORTS = "A sparse class given its support is a dense one on fewer coordinates."


def obligations() -> ClaimObligations:
    """The five steps."""
    return ClaimObligations(
        "covariate-shift",
        ("the law of the inputs knows neither function nor noise; y = r z, x = r g, w ~ N(0, v I); s2, v, r > 0",),
        KINDS,
        (
            Obligation(RULE, "form (sum of joint densities) = joint density, each with the factor p", rule_obligation),
            Obligation(SCALE, "v r^2 right = v s2 (-2 log density) at scale r, and at noise s2/r^2", scale_obligation),
            Obligation(
                COMPLETED,
                "density(w) - density(m) = (w - m)^T left (w - m) + 2 (w - m)^T (left m - right)",
                square_obligation,
            ),
            Obligation(EVIDENCE, "s2 v square = density(m), s2 volume = v r^2 left", evidence_obligation),
            Obligation(ERROR, "error = (w.(r g) - m.(r g))^2, entry by entry", error_obligation),
        ),
        (TRUSTED[0], TRUSTED[3], RECTANGULAR, INTEGRAL, SUPPORTS),
    )
