"""Obligations of mesa-trained-layer: normal equations of two features by rim hooks, and that the gain is positive."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import flint

from ..engines.expressions import rational
from ..engines.relations import Relation, Relations
from .mesa_learning_rate import Name, Table, distance, gram, numbers, pull, vanishing
from .obligation import ClaimObligations, FormKind, Forms, Obligation, Rational

HEAD, TWO, BELOW = "one head", "two blocks", "below the step"
SIZES, LENGTHS = range(2, 7), range(4, 9)
STEP: Name = (0, 1, 0, "G")
SECOND: Name = (0, 0, 1, "G")


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
    "The step 'one head' is not a form: a layer of multiples of the identity is read as a sum of features.",
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
            Obligation(TWO, "normal equations of G(0,1,0) and G(0,0,1), and the loss there", two_blocks_obligation),
            Obligation(BELOW, "the gain is the difference of both losses, and positive", below_obligation),
        ),
        TRUSTED,
    )
