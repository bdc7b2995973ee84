"""Obligations of mesa-trained-layer: the literal layer, normal equations by rim hooks, and that the gain is positive.

Why t = 1 .. 4 speaks for every t: layer and features at t are sums over the tokens t' <= t of one polynomial in
s_t', s_t'-1, s_t and s_t-1, and at t = 4 all ways in which these can coincide are there (t' = 1 with s_0 = 0,
t' = t - 1, t' = t, and one that is none of them).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from typing import Any

import flint

from ..engines.expressions import rational
from ..engines.identities import Identity
from ..engines.matrices import Matrix, stack
from ..engines.points import Kind, Point
from ..engines.relations import Relation, Relations
from .mesa_learning_rate import Name, Table, distance, gram, numbers, pull, vanishing
from .obligation import ClaimObligations, FormKind, Forms, Obligation, Rational

HEAD, TWO, BELOW = "one head", "two blocks", "below the step"
SIZES, LENGTHS = range(2, 7), range(4, 9)
STEP: Name = (0, 1, 0, "G")
SECOND: Name = (0, 0, 1, "G")


POSITIONS = (1, 2, 3, 4)
VALUES, SCORES = ("p_0", "p_1"), (("k_00", "k_01"), ("k_10", "k_11"))
# A term of the literal layer: p_a I, s_t'-a, s_t'-b, k_bc I, s_t-c: 7 legs and the open end, 5 letters and two I.
PAIRS, DEGREE = 4, 7


def state(point: Point, t: int) -> Matrix:
    """s_t as a column; 0 before the first."""
    found: Matrix = point[f"s[{t}]"] if t > 0 else point["s[1]"] * (point.one * 0)
    return found


def head(point: Point, t: int) -> Matrix:
    """sum_{t' <= t} V e_t' (e_t'^T G e_t), with V = (0, p_0 I, p_1 I) and blocks k_bc I of G; e_t = (0, s_t, s_t-1)."""
    eye, none = point["I"], point["I"] * (point.one * 0)
    V = stack([[none, *(eye * point[name] for name in VALUES)]])
    G = stack([[none] * 3, *([none, *(eye * point[name] for name in row)] for row in SCORES)])

    def token(place: int) -> Matrix:
        return stack([[state(point, 0)], [state(point, place)], [state(point, place - 1)]])

    found = state(point, 0)
    for seen in range(1, t + 1):
        found = found + (V @ token(seen)).scaled((token(seen).T @ G @ token(t))[0, 0])
    return found


def features(point: Point, t: int) -> Matrix:
    """sum of p_a k_bc s_(t'-a) (s_(t'-b) . s_(t-c))."""
    found = state(point, 0)
    for seen, a, b, c in product(range(1, t + 1), (0, 1), (0, 1), (0, 1)):
        weight = point[VALUES[a]] * point[SCORES[b][c]]
        found = found + state(point, seen - a).scaled(weight * (state(point, seen - b).T @ state(point, t - c))[0, 0])
    return found


def head_obligation(forms: Forms) -> Identity:
    """For every sequence, orthogonal or not."""
    del forms
    letters: dict[str, Kind] = {f"s[{t}]": "vector" for t in POSITIONS}
    letters |= {name: "scalar" for name in (*VALUES, *SCORES[0], *SCORES[1])}

    def differences(point: Point) -> list[Matrix]:
        return [head(point, t) - features(point, t) for t in POSITIONS]

    return Identity(differences, letters, {}, PAIRS, DEGREE, 0, (1, 2))


def loss_of(n: int, length: int, x: Fraction, y: Fraction) -> Fraction:
    """n/2 - (2 c.x - x^T G x)/(2 (T - 1)), at any coefficients."""
    names, weights = (STEP, SECOND), (x, y)
    pulls = sum((w * pull(n, length, name) for w, name in zip(weights, names, strict=True)), Fraction(0))
    squares = sum(
        (w * v * gram(n, length, f, g) for w, f in zip(weights, names, strict=True)
         for v, g in zip(weights, names, strict=True)),
        Fraction(0),
    )  # fmt: skip
    return Fraction(n, 2) - (2 * pulls - squares) / (2 * (length - 1))


def coefficients(forms: Forms, n: int) -> dict[int, tuple[Fraction, Fraction]]:
    """T -> (x, y) of the form."""
    table = numbers(forms, TWO, f"coefficients, n = {n}")
    return {T: (table.get((T, 1), Fraction(0)), table.get((T, 2), Fraction(0))) for T in LENGTHS}


def two_blocks_obligation(forms: Forms) -> Relations:
    """The normal equations at the coefficients, the loss there, and no entry outside the tables."""

    def distances() -> Iterator[tuple[str, Any]]:
        losses: Table = {}
        for n in SIZES:
            found, rest = coefficients(forms, n), Fraction(0)
            for T, (x, y) in found.items():
                for name in (STEP, SECOND):
                    slope = x * gram(n, T, name, STEP) + y * gram(n, T, name, SECOND) - pull(n, T, name)
                    rest += slope**2
                losses[n, T] = loss_of(n, T, x, y)
            yield f"normal equations of two features, n = {n}", rational(rest)
            shown = {(T, place): entry for T, both in found.items() for place, entry in enumerate(both, start=1)}
            yield f"other entries, n = {n}", distance(numbers(forms, TWO, f"coefficients, n = {n}"), shown)
        yield "loss at the coefficients", distance(numbers(forms, TWO, "loss"), losses)

    return Relations(lambda: vanishing(distances()))


def below_obligation(forms: Forms) -> Relations:
    """The gain is the loss of the best gradient step less that of the two blocks, and every one is positive."""

    def asked() -> list[Relation]:
        gains, expected = numbers(forms, BELOW, "gain"), {}
        for n in SIZES:
            for T, (x, y) in coefficients(forms, n).items():
                rate = pull(n, T, STEP) / gram(n, T, STEP, STEP)
                expected[n, T] = loss_of(n, T, rate, Fraction(0)) - loss_of(n, T, x, y)
        found = vanishing(iter([("gain - (loss of the step - loss of the two blocks)", distance(gains, expected))]))
        least = min(gains.get(place, Fraction(0)) for place in expected)
        return [*found, Relation("least gain of the table", flint.fmpq(0), "<", rational(least))]

    return Relations(asked)


TRUSTED = (
    "python-flint's rational arithmetic.",
    "Murnaghan and Nakayama's rule, and that the Schur function of a partition with at most n rows has mean 1 over O(n)"
    " if all rows are even and else 0 [macdonald1995symmetric, chapter VII].",
    "The tables are for n = 2 .. 6 and T = 4 .. 8; the code is the same for all n and T.",
    "That training ends near these two blocks, and not at another head, is measured and not derived.",
)


def obligations() -> ClaimObligations:
    """The three steps."""
    table = Rational(frozenset({"x", "y"}))
    two: dict[str, FormKind] = {"loss": table, **{f"coefficients, n = {n}": table for n in SIZES}}
    return ClaimObligations(
        "mesa-trained-layer",
        ("s_1 ~ N(0, I_n), W ~ Haar(O(n)), s_(t+1) = W s_t; T states, T - 1 of them predicted",),
        {HEAD: {}, TWO: two, BELOW: {"gain": table}},
        (
            Obligation(HEAD, "the literal layer = sum of p_a k_bc G(a, b, c), t = 1 .. 4", head_obligation),
            Obligation(TWO, "normal equations of G(0,1,0) and G(0,0,1), and the loss there", two_blocks_obligation),
            Obligation(BELOW, "the gain is the difference of both losses, and positive", below_obligation),
        ),
        TRUSTED,
    )
