r"""Finite laws of what is seen, of a class, and of a value t, with rational probabilities: where identities are tried.

At an atom of what is seen (examples and query) a class c has outcomes (mass, t); masses add up to 1 over everything.
Of an atom only three sums enter what is proved: Q = sum of masses, T = sum of mass t, S = sum of mass t^2.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.evaluation import evaluate
from ..algebra.trace_polynomials import TracePolynomial, map_scalars, scalar

Outcomes = tuple[tuple[Fraction, Fraction], ...]  # (mass, t)
Atom = tuple[Outcomes, ...]  # of each class
Q, T, S = (scalar(name) for name in "QTS")


@cache
def random_law(name: str, atoms: int = 3, classes: int = 2, values: int = 3) -> tuple[Atom, ...]:
    """Atoms with outcomes of every class."""
    draw = random.Random(f"finite law/{name}")
    weights = [draw.randint(1, 30) for _ in range(atoms * classes * values)]
    masses = iter([Fraction(weight, sum(weights)) for weight in weights])

    def outcomes() -> Outcomes:
        return tuple((next(masses), Fraction(draw.randint(-40, 40), 7)) for _ in range(values))

    return tuple(tuple(outcomes() for _ in range(classes)) for _ in range(atoms))


def all_outcomes(atom: Atom) -> Outcomes:
    """Of both classes together: what a predictor can tell apart."""
    return tuple(one for outcomes in atom for one in outcomes)


def total(outcomes: Outcomes, value: Callable[[Fraction], Any]) -> Any:
    """sum of mass value(t)."""
    return sum((mass * value(t) for mass, t in outcomes), Fraction(0))


def squared_loss(outcomes: Outcomes, answer: Fraction) -> Fraction:
    """sum of mass (answer - t)^2."""
    return Fraction(total(outcomes, lambda t: (answer - t) ** 2))


def best_answer(outcomes: Outcomes) -> Fraction:
    """Where the squared loss is least: the vertex of the parabola through three literal losses."""
    low, middle, high = (squared_loss(outcomes, Fraction(f)) for f in (-1, 0, 1))
    return Fraction((low - high) / (2 * (low - 2 * middle + high)))


def sums_of(outcomes: Outcomes) -> dict[str, Fraction]:
    """Q, T and S."""
    return {name: sum((q * t**k for q, t in outcomes), Fraction(0)) for k, name in enumerate("QTS")}


def summed(polynomial: TracePolynomial, sums: Sequence[TracePolynomial] = (Q, T, S)) -> TracePolynomial:
    """The sum over outcomes of a polynomial in the symbol t: t^k becomes the k-th of the sums."""

    def rule(powers: tuple[tuple[str, int], ...]) -> TracePolynomial:
        found = sums[dict(powers).get("t", 0)]
        for name, exponent in powers:
            found = found if name == "t" else found * scalar(name) ** exponent
        return found

    return map_scalars(polynomial, rule)


def random_letters(name: str, letters: str) -> list[dict[str, Any]]:
    """Rational letters at three atoms each, `atoms`: where altered formulas are told apart."""
    draw = random.Random(name)

    def atom() -> dict[str, Fraction]:
        return {letter: Fraction(draw.randint(2, 997), 97) for letter in letters}

    return [{"atoms": [atom() for _ in range(3)]} for _ in range(5)]


def at(polynomial: TracePolynomial, letters: Mapping[str, Any]) -> Any:
    """The value of a polynomial in numbers: exact at fractions."""
    if not all(isinstance(value, Fraction) for value in letters.values()):
        return evaluate(polynomial, letters)
    exact = {name: np.array(value, dtype=object) for name, value in letters.items()}
    return np.asarray(evaluate(polynomial, exact), dtype=object)[()]
