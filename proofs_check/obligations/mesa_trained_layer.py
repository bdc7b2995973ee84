"""Obligations of mesa-trained-layer and its audit: slopes and second derivatives of one head from counted moments."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any

import flint

from ..engines.expressions import rational
from ..engines.identities import Identity
from ..engines.inertia import inertia
from ..engines.orthogonal_dynamics import mean_of_dot_products, mean_of_traces
from ..engines.points import Kind, Point
from ..engines.relations import Relation, Relations
from .mesa_learning_rate import ALL, TRUSTED, Name, Table, distance, feature, gram, numbers, pull, vanishing
from .obligation import ClaimObligations, FormKind, Forms, Obligation, Rational

HEAD, START, SECOND, MINIMUM, SADDLE, ORDER = (
    "one head",
    "no start",
    "second block",
    "minimum",
    "saddle in the plane",
    "order",
)
COUNTEREXAMPLE = "counterexample"
SIZES, LENGTHS = range(2, 7), range(4, 9)
VECTORS: tuple[Name, ...] = tuple((a, b, c, "G") for a, b, c in product((0, 1), repeat=3))
STEP, OTHER = (0, 1, 0, "G"), (0, 0, 1, "G")


@cache
def of_head(n: int, length: int) -> tuple[list[list[Fraction]], list[Fraction]]:
    """The products of the eight vector features, and their pulls."""
    return [[gram(n, length, f, g) for g in VECTORS] for f in VECTORS], [pull(n, length, f) for f in VECTORS]


Numbers = tuple[Fraction, ...]  # p_0, p_1, k_00, k_01, k_10, k_11


def head_numbers(x: Fraction, y: Fraction) -> Numbers:
    return Fraction(1), Fraction(0), Fraction(0), y, x, Fraction(0)


def coefficients(at: Numbers) -> list[Fraction]:
    """x_abc = p_a k_bc."""
    return [at[a] * at[2 + 2 * b + c] for a, b, c, _ in VECTORS]


def loss(n: int, length: int, at: Numbers) -> Fraction:
    """Half the square minus the pull: the loss of one head up to a constant and the factor T - 1."""
    G, right = of_head(n, length)
    x = coefficients(at)
    square = sum((x[i] * G[i][j] * x[j] for i in range(8) for j in range(8)), Fraction(0))
    return square / 2 - sum((a * b for a, b in zip(x, right, strict=True)), Fraction(0))


def moved(at: Numbers, *places: tuple[int, int]) -> Numbers:
    """The numbers with whole steps added."""
    found = list(at)
    for place, by in places:
        found[place] += by
    return tuple(found)


def slopes(n: int, length: int, at: Numbers) -> list[Fraction]:
    """Central differences: the loss is quadratic in each number alone."""
    return [
        (loss(n, length, moved(at, (k, 1))) - loss(n, length, moved(at, (k, -1)))) / 2 for k in range(6)
    ]  # fmt: skip


def second_derivatives(n: int, length: int, at: Numbers) -> list[list[Any]]:
    """Differences of differences, exact: along p_a and k_bc the loss has degree 2 in each."""
    rows: list[list[Any]] = [[None] * 6 for _ in range(6)]
    middle = loss(n, length, at)
    for i, j in product(range(6), repeat=2):
        if i == j:
            beside = [loss(n, length, moved(at, (i, sign))) for sign in (1, -1)]
            rows[i][j] = rational(beside[0] + beside[1] - 2 * middle)
        else:
            corners = {(s, t): loss(n, length, moved(at, (i, s), (j, t))) for s in (1, -1) for t in (1, -1)}
            total = sum((s * t * value for (s, t), value in corners.items()), Fraction(0))
            rows[i][j] = rational(total / 4)
    return rows


def tables(forms: Forms) -> tuple[Table, Table, Table]:
    first, second, losses = (numbers(forms, SECOND, name) for name in ("first block", "second block", "loss"))
    return first, second, losses


def head_obligation(forms: Forms) -> Identity:
    """The sum over t' of the head's value times its score is the sum of p_a k_bc G(a, b, c), at t = 1 .. 4."""
    del forms
    states: dict[str, Kind] = {f"s{t}": "vector" for t in range(1, 5)}
    letters: dict[str, Kind] = {**states, **dict.fromkeys(("p0", "p1", "k00", "k01", "k10", "k11"), "scalar")}

    def difference(point: Point) -> list[Any]:
        s = [point["s1"] * 0, *(point[name] for name in states)]
        found = []
        for t in range(1, 5):
            total = s[0]
            for other in range(1, t + 1):
                key, before = s[other], s[other - 1]
                value = key * point["p0"] + before * point["p1"]
                reads_now = key * point["k00"] + before * point["k10"]
                reads_before = key * point["k01"] + before * point["k11"]
                total = total + value * ((reads_now.T @ s[t])[0, 0] + (reads_before.T @ s[t - 1])[0, 0])
            for a, b, c, _ in VECTORS:
                for i, (j, k) in feature((a, b, c, "G"), t):
                    total = total - s[i] * ((s[j].T @ s[k])[0, 0] * point[f"p{a}"] * point[f"k{b}{c}"])
            found.append(total)
        return found

    return Identity(difference, letters, {}, 2, 5, 0, components=(1, 2))


def start_obligation(forms: Forms) -> Relations:
    """Odd powers of phi: E s_t.s_(t+1), E s_t.G(0,1,0), E G(1,1,0).s_(t+1), E G(1,1,0).G(0,1,0)."""
    del forms
    values = (1, 1, 0, "G")

    def distances() -> Iterator[tuple[str, Any]]:
        for n, T in product((2, 3, 5), (4, 6)):
            total = Fraction(mean_of_traces(n, (1,))) ** 2 + pull(n, T, values) ** 2 + gram(n, T, values, STEP) ** 2
            for t in range(1, T):
                for i, (j, k) in feature(STEP, t):
                    total += mean_of_dot_products(n, tuple(sorted((abs(i - t), abs(j - k))))) ** 2
            yield f"odd powers of phi, n = {n}, T = {T}", rational(total)

    return Relations(lambda: vanishing(distances()))


def slope_obligation(forms: Forms) -> Relations:
    """No slope in the six numbers, and the loss n/2 + (what the head takes)/(T - 1)."""

    def distances() -> Iterator[tuple[str, Any]]:
        first, second, losses = tables(forms)
        for n in SIZES:
            rest, right = Fraction(0), {}
            for T in LENGTHS:
                at = head_numbers(first.get((n, T), Fraction(0)), second.get((n, T), Fraction(0)))
                rest += sum((slope**2 for slope in slopes(n, T, at)), Fraction(0))
                right[n, T] = Fraction(n, 2) + loss(n, T, at) / (T - 1)
            yield f"slopes in six numbers, n = {n}", rational(rest)
            yield f"loss, n = {n}", distance({k: v for k, v in losses.items() if k[0] == n}, right)

    return Relations(lambda: vanishing(distances()))


def signs(forms: Forms, places: list[tuple[int, int]], expected: tuple[int, int, int]) -> list[Relation]:
    """The numbers of positive, zero and negative eigenvalues at every n and T of the list."""
    first, second, _ = tables(forms)
    found = []
    for n, T in places:
        at = head_numbers(first[n, T], second[n, T])
        counted = inertia(second_derivatives(n, T, at))
        for name, one, other in zip(("positive", "zero", "negative"), counted, expected, strict=True):
            found.append(Relation(f"{name}, n = {n}, T = {T}", flint.fmpq(one), "=", flint.fmpq(other)))
    return found


def minimum_obligation(forms: Forms) -> Relations:
    return Relations(lambda: signs(forms, list(product(range(3, 7), LENGTHS)), (5, 1, 0)))


def saddle_obligation(forms: Forms) -> Relations:
    return Relations(lambda: signs(forms, [(2, 6), (2, 7), (2, 8)], (4, 1, 1)))


def order_obligation(forms: Forms) -> Relations:
    """The second block is not 0, and some feature has a slope at the head: both orders are strict."""

    def asked() -> list[Relation]:
        first, second, _ = tables(forms)
        found = []
        for n, T in product(SIZES, LENGTHS):
            x, y = first[n, T], second[n, T]
            found.append(Relation(f"second block, n = {n}, T = {T}", rational(y), "!=", flint.fmpq(0)))
            rest = Fraction(0)
            for name in ALL:
                rest += (x * gram(n, T, name, STEP) + y * gram(n, T, name, OTHER) - pull(n, T, name)) ** 2
            found.append(Relation(f"slope in all features, n = {n}, T = {T}", flint.fmpq(0), "<", rational(rest)))
        return found

    return Relations(asked)


TABLES = "The tables are for n = 2 .. 6 and T = 4 .. 8; the code is the same for all n and T."
NOT_SAID = (
    "The step 'second block': the law is invariant under O(n), so that the slope at multiples of the identity is one "
    "too, and in every further entry of the head it vanishes."
)
CONVEX = (
    "The step 'no start': for a given rate the loss is convex in Phi_0 and invariant under O(n), so phi I suffices."
)
ASSUMED = ("s_1 ~ N(0, I_n), W ~ Haar(O(n)), s_(t+1) = W s_t; one head whose blocks are multiples of the identity",)


def obligations() -> ClaimObligations:
    """The six steps."""
    table: FormKind = Rational(frozenset({"x", "y"}))
    return ClaimObligations(
        "mesa-trained-layer",
        ASSUMED,
        {
            HEAD: {}, START: {}, SECOND: {"first block": table, "second block": table, "loss": table},
            MINIMUM: {}, SADDLE: {}, ORDER: {},
        },
        (
            Obligation(HEAD, "value times score, added up, is sum p_a k_bc G(a, b, c)", head_obligation),
            Obligation(START, "the loss of a step from phi I has no odd power of phi", start_obligation),
            Obligation(SECOND, "no slope in p and k, and the loss", slope_obligation),
            Obligation(MINIMUM, "five positive eigenvalues and one that is zero, n = 3 .. 6", minimum_obligation),
            Obligation(SADDLE, "one negative eigenvalue at n = 2, T = 6, 7, 8", saddle_obligation),
            Obligation(ORDER, "strictly between the best step and the best layer", order_obligation),
        ),
        (*TRUSTED[:2], TABLES, NOT_SAID, CONVEX),
    )  # fmt: skip


# The statement as it is told


def counterexample_obligation(forms: Forms) -> Relations:
    """At n = 3, T = 4: the least loss of a step is `step`; some head has the loss `head`, which is lower."""

    def asked() -> list[Relation]:
        n, T = 3, 4
        G, right = of_head(n, T)
        i, j = VECTORS.index(STEP), VECTORS.index(OTHER)
        determinant = G[i][i] * G[j][j] - G[i][j] ** 2
        x = (right[i] * G[j][j] - right[j] * G[i][j]) / determinant
        y = (right[j] * G[i][i] - right[i] * G[i][j]) / determinant
        head = Fraction(n, 2) + loss(n, T, head_numbers(x, y)) / (T - 1)
        step = Fraction(n, 2) - right[i] ** 2 / (2 * G[i][i] * (T - 1))
        given = {name: numbers(forms, COUNTEREXAMPLE, name)[0, 0] for name in ("step", "head")}
        return [
            Relation("least loss of a step", rational(step), "=", rational(given["step"])),
            Relation("loss of the head", rational(head), "=", rational(given["head"])),
            Relation("head and step", rational(head), "<", rational(step)),
        ]

    return Relations(asked)


def refutation() -> ClaimObligations:
    """Three steps."""
    number: FormKind = Rational(frozenset())
    return ClaimObligations(
        "audit-mesa-one-step",
        ASSUMED,
        {HEAD: {}, START: {}, COUNTEREXAMPLE: {"step": number, "head": number}},
        (
            Obligation(HEAD, "value times score, added up, is sum p_a k_bc G(a, b, c)", head_obligation),
            Obligation(START, "the loss of a step from phi I has no odd power of phi", start_obligation),
            Obligation(
                COUNTEREXAMPLE, "a head is below every gradient step at n = 3, T = 4", counterexample_obligation
            ),
        ),
        (*TRUSTED[:2], CONVEX, "That the statement is told as quoted."),
    )
