"""Obligations of mesa-learning-rate: moments counted by rim hooks, normal equations, and integrals."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from typing import Any

import flint

from ..engines.expressions import rational
from ..engines.gaussian_means import gaussian_mean
from ..engines.identities import Identity
from ..engines.orthogonal_dynamics import (
    Part,
    mean_of_dot_products,
    mean_of_traces,
    mean_product,
    mean_pull,
    trace_feature,
    vector_feature,
)
from ..engines.points import Kind, Point
from ..engines.refusals import UnreadableError
from ..engines.relations import Relation, Relations
from .fixed_point import of_forms, value
from .obligation import ClaimObligations, FormKind, Forms, Obligation, Polynomial, Rational

GIVEN, POWERS, HAAR = "autocorrelations given W", "power traces", "Haar moments"
STEP, UNSEEN, BEST, LARGE = "gradient step", "twins and parity", "best layer", "large n"
SIZES, LENGTHS, INDICES = range(1, 7), range(3, 9), range(1, 7)
COLUMNS = ((0, 0, 1, "G"), (0, 1, 0, "G"), (1, 0, 0, "G"), (0, 1, 0, "tr"), (0, 0, 1, "tr"), (1, 1, 1, "tr"))
ALL = (
    *((a, b, c, "G") for a, b, c in product((0, 1), repeat=3)),
    *((a, b, c, "tr") for c in (0, 1) for a, b in ((0, 0), (0, 1), (1, 1))),
)
Name = tuple[int, int, int, str]


def given_obligation(forms: Forms) -> Identity:
    """E s^T A s s^T B s s^T C s over s ~ N(0, I) is the form."""
    form = forms.expression(GIVEN, "right")
    letters: dict[str, Kind] = {name: "symmetric" for name in ("A", "B", "C")}

    def difference(point: Point) -> Any:
        s, mean = point["s"], point.one
        for name in ("A", "B", "C"):
            mean = mean * (s.T @ point[name] @ s)[0, 0]
        return gaussian_mean(mean, point.numbers["s"], point["I"]) - value(form, point)

    made = of_forms(difference, (form,), letters, 0)
    return Identity(difference, letters, {"s": "vector"}, 3, made.degree + 3, 0, components=(1, 2))


# Tables of rational numbers, as generating polynomials

Table = dict[tuple[int, int], Fraction]


def numbers(forms: Forms, step: str, name: str) -> Table:
    """(i, j) -> the coefficient of x^i y^j."""
    top, bottom = forms.quotient(step, name)
    if bottom.symbols():
        raise UnreadableError(f"{name} of step {step!r} is a polynomial in x and y")
    unit = sum((term.coefficient for term in bottom.terms), Fraction(0))
    found: Table = {}
    for term in top.terms:
        powers = dict(term.powers)
        place = powers.get("x", 0), powers.get("y", 0)
        found[place] = found.get(place, Fraction(0)) + term.coefficient / unit
    return found


def distance(left: Table, right: Table) -> Any:
    """The sum of squares of the differences."""
    places = left.keys() | right.keys()
    return rational(sum(((left.get(at, Fraction(0)) - right.get(at, Fraction(0))) ** 2 for at in places), Fraction(0)))


def vanishing(named: Iterator[tuple[str, Any]]) -> list[Relation]:
    return [Relation(name, distance, "=", flint.fmpq(0)) for name, distance in named]


def haar_obligation(forms: Forms) -> Relations:
    """The tables of E p_i p_j and E p_i p_j p_(i+j), counted by rim hooks."""

    def distances() -> Iterator[tuple[str, Any]]:
        places = list(product(INDICES, INDICES))
        for n in SIZES:
            pairs = {at: Fraction(mean_of_traces(n, at)) for at in places}
            triples = {at: Fraction(mean_of_traces(n, (*at, sum(at)))) for at in places}
            yield f"pairs, n = {n}", distance(numbers(forms, HAAR, f"pairs, n = {n}"), pairs)
            yield f"triples, n = {n}", distance(numbers(forms, HAAR, f"triples, n = {n}"), triples)

    return Relations(lambda: vanishing(distances()))


def powers_obligation(forms: Forms) -> Relations:
    """The tables of E c_i c_j and E c_i c_j c_(i+j), by sums over permutations and signs."""

    def distances() -> Iterator[tuple[str, Any]]:
        places = list(product(INDICES, INDICES))
        for n in SIZES:
            pairs = {at: mean_of_dot_products(n, tuple(sorted(at))) for at in places}
            triples = {at: mean_of_dot_products(n, tuple(sorted((*at, sum(at))))) for at in places}
            yield f"pairs of c, n = {n}", distance(numbers(forms, POWERS, f"pairs, n = {n}"), pairs)
            yield f"triples of c, n = {n}", distance(numbers(forms, POWERS, f"triples, n = {n}"), triples)

    return Relations(lambda: vanishing(distances()))


def feature(name: Name, t: int) -> list[Part]:
    a, b, c, kind = name
    return (vector_feature if kind == "G" else trace_feature)(a, b, c, t)


def gram(n: int, length: int, left: Name, right: Name) -> Fraction:
    """The sum over positions of E of a product of features."""
    places = range(1, length)
    return sum((mean_product(n, feature(left, t), feature(right, t)) for t in places), Fraction(0))


def pull(n: int, length: int, name: Name) -> Fraction:
    return sum((mean_pull(n, feature(name, t), t + 1) for t in range(1, length)), Fraction(0))


def step_obligation(forms: Forms) -> Relations:
    """rate = B/D and loss = n/2 - B^2/(2 D (T - 1)), with B and D of the feature s_t' (s_(t'-1) . s_t)."""
    step, places = COLUMNS[1], list(product(SIZES, LENGTHS))

    def distances() -> Iterator[tuple[str, Any]]:
        B = {(n, T): pull(n, T, step) for n, T in places}
        D = {(n, T): gram(n, T, step, step) for n, T in places}
        rates = {at: B[at] / D[at] for at in places}
        losses = {(n, T): Fraction(n, 2) - B[n, T] * rates[n, T] / (2 * (T - 1)) for n, T in places}
        yield "rate - B/D", distance(numbers(forms, STEP, "rate"), rates)
        yield "loss - (n/2 - B^2/(2 D (T - 1)))", distance(numbers(forms, STEP, "loss"), losses)

    return Relations(lambda: vanishing(distances()))


def unseen_obligation(forms: Forms) -> Relations:
    """At every n and T of the tables: |G(1,0,0) - G(1,1,1)|^2 has mean 0, and the wrong parity has no product."""
    del forms

    def distances() -> Iterator[tuple[str, Any]]:
        one, other = (1, 0, 0, "G"), (1, 1, 1, "G")
        for n, T in ((1, 8), (2, 6), (3, 5), (6, 4)):
            squared = gram(n, T, one, one) - 2 * gram(n, T, one, other) + gram(n, T, other, other)
            yield f"E |G(1,0,0) - G(1,1,1)|^2, n = {n}, T = {T}", rational(squared)
            wrong = [name for name in ALL if sum(name[:3]) % 2 == 0]
            total = sum((pull(n, T, name) ** 2 for name in wrong), Fraction(0))
            total += sum((gram(n, T, name, right) ** 2 for name in wrong for right in COLUMNS), Fraction(0))
            yield f"products of features of the wrong parity, n = {n}, T = {T}", rational(total)

    return Relations(lambda: vanishing(distances()))


def best_obligation(forms: Forms) -> Relations:
    """The normal equations of all fourteen features at the coefficients, and the loss there: a convex problem."""

    def distances() -> Iterator[tuple[str, Any]]:
        losses = numbers(forms, BEST, "loss")
        for n in SIZES:
            table, rest, least = numbers(forms, BEST, f"coefficients, n = {n}"), Fraction(0), {}
            for T in LENGTHS:
                used = {name: table.get((T, place), Fraction(0)) for place, name in enumerate(COLUMNS, start=1)}
                right = {name: pull(n, T, name) for name in ALL}
                for name in ALL:
                    found = sum((x * gram(n, T, name, other) for other, x in used.items() if x), Fraction(0))
                    rest += (found - right[name]) ** 2
                explained = sum((x * right[other] for other, x in used.items()), Fraction(0))
                least[n, T] = Fraction(n, 2) - explained / (2 * (T - 1))
            yield f"normal equations of 14 features, n = {n}", rational(rest)
            of_size = {place: loss for place, loss in losses.items() if place[0] == n}
            yield f"loss - (n/2 - explained/(2 (T - 1))), n = {n}", distance(of_size, least)

    return Relations(lambda: vanishing(distances()))


# Large n


def poly(*coefficients: Any) -> Any:
    """A polynomial in x from its coefficients, lowest first."""
    return flint.fmpq_poly([flint.fmpq(c) if isinstance(c, int) else c for c in coefficients])


def integrals() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """(I_1, I_2) for tau <= 1 in tau, and for tau = 1 + e in e: both integrated twice, smooth at tau = 1."""
    densities = (poly(1, 1), poly(0, 1, 1)), (poly(2), poly(2, 3))  # 1 + m and x + 2 int m; at x = 1 + e: 2 and 2 + 3e
    first = tuple(density.integral().integral() for density in densities[0])
    found = []
    for below, density in zip(first, densities[1], strict=True):
        start, slope = below(flint.fmpq(1)), below.derivative()(flint.fmpq(1))
        found.append(poly(start, slope) + density.integral().integral())
    return (first[0], first[1]), (found[0], found[1])


def in_one_symbol(forms: Forms, name: str, symbol: str) -> tuple[Any, Any]:
    """Numerator and denominator of a form as polynomials."""
    parts = []
    for part in forms.quotient(LARGE, name):
        coefficients = [flint.fmpq(0)] * (part.largest_power(symbol) + 1)
        for term in part.terms:
            coefficients[dict(term.powers).get(symbol, 0)] += rational(term.coefficient)
        parts.append(poly(*coefficients))
    return parts[0], parts[1]


def large_obligation(forms: Forms) -> Relations:
    """rate (I_1 + 4 I_2) = I_1 and share tau (I_1 + 4 I_2) = I_1^2, on both pieces; 1/2 - share > 0."""

    def asked() -> list[Relation]:
        found = []
        pieces = (("", "tau", poly(0, 1)), ("later ", "e", poly(1, 1)))
        for (prefix, symbol, tau), (first, second) in zip(pieces, integrals(), strict=True):
            whole = first + second * 4
            for name, left, right in (("rate", first, whole), ("share", first * first, tau * whole)):
                top, bottom = in_one_symbol(forms, prefix + name, symbol)
                rest = top * right - bottom * left
                found.append(Relation(f"{prefix}{name}, crosswise", size_of(rest), "=", flint.fmpq(0)))
            room = visible(tau * whole - first * first * 2, symbol)
            found.append(Relation(f"{prefix}room below 1/2", flint.fmpq(0), "<", sum(room)))
            negative = flint.fmpq(sum(1 for c in room if c < 0))
            found.append(Relation(f"negative coefficients of the {prefix}room", negative, "=", flint.fmpq(0)))
        return found

    return Relations(asked)


def size_of(polynomial: Any) -> Any:
    return sum((c * c for c in polynomial.coeffs()), flint.fmpq(0))


def visible(room: Any, symbol: str) -> list[Any]:
    """Coefficients whose signs show that of tau (I_1 + 4 I_2) - 2 I_1^2: in e, or in z with tau = 1/(1 + z) <= 1."""
    coefficients = room.coeffs()
    if symbol == "e":
        return list(coefficients)
    degree = len(coefficients) - 1
    powers = [poly(1, 1) ** (degree - k) * c for k, c in enumerate(coefficients)]
    return list(sum(powers[1:], powers[0]).coeffs())


TRUSTED = (
    "python-flint's rational arithmetic.",
    "Murnaghan and Nakayama's rule, and that the Schur function of a partition with at most n rows has mean 1 over O(n)"
    " if all rows are even and else 0 [macdonald1995symmetric, chapter VII].",
    "The step 'best layer': the loss is convex in the sum over heads of W_PV (x) W_KQ and invariant under O(n), so "
    "that maps that commute with O(n) suffice, and those of degree (1, 1, 1) are contractions [brauer1937algebras].",
    "The tables are for n = 1 .. 6 and T = 3 .. 8; the code is the same for all n and T.",
    "The step 'large n': the orders of magnitude of the moments, proved in words in the derivation.",
)


def obligations() -> ClaimObligations:
    """The seven steps."""
    table = Rational(frozenset({"x", "y"}))
    haar: dict[str, FormKind] = {f"{kind}, n = {n}": table for n in SIZES for kind in ("pairs", "triples")}
    best: dict[str, FormKind] = {"loss": table, **{f"coefficients, n = {n}": table for n in SIZES}}
    letters = frozenset({"A", "B", "C"})
    return ClaimObligations(
        "mesa-learning-rate",
        ("s_1 ~ N(0, I_n), W ~ Haar(O(n)), s_(t+1) = W s_t; T states, T - 1 of them predicted",),
        {
            GIVEN: {"right": Polynomial("1", "1", letters, {})},
            POWERS: haar,
            HAAR: haar,
            STEP: {"rate": table, "loss": table},
            UNSEEN: {},
            BEST: best,
            LARGE: {
                "rate": Rational(frozenset({"tau"})), "share": Rational(frozenset({"tau"})),
                "later rate": Rational(frozenset({"e"})), "later share": Rational(frozenset({"e"})),
            },
        },
        (
            Obligation(GIVEN, "E s^T A s s^T B s s^T C s over s ~ N(0, I) = right", given_obligation),
            Obligation(POWERS, "the tables of means of two and three c, by permutations and signs", powers_obligation),
            Obligation(HAAR, "the tables of joint moments of tr W^k, by rim hooks", haar_obligation),
            Obligation(STEP, "rate = B/D and the loss there", step_obligation),
            Obligation(UNSEEN, "twins coincide and the wrong parity is uncorrelated", unseen_obligation),
            Obligation(BEST, "normal equations of all 14 features, and the loss", best_obligation),
            Obligation(LARGE, "the limits are quotients of I_1 and I_2, and the share is below 1/2", large_obligation),
        ),
        TRUSTED,
    )  # fmt: skip
