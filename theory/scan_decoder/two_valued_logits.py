r"""Cross-entropy of logits of few values: its slopes with a symbol M for the number of tokens.

The logits w in R^M have one value at the token to be predicted and another one at each of the rest; the letters X and y
are the exponentials of the two, and z that of one of the rest, singled out. Only one rule of calculus is put in: the
exponential is its own derivative, d/dw = z d/dz.
Main statements
    partition    S = X + z + (M - 2) y
    slopes       -d/dw of ln S - w_own:  (S - X)/S at the token to be predicted and -z/S at another one; at z = y the
                 numerators (M - 1) y and -y, over X + (M - 1) y
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import NamedTuple

from ..algebra.matrix_derivatives import derivative
from ..algebra.trace_polynomials import TracePolynomial, scalar, substitute

M, X, y, z = scalar("M"), scalar("X"), scalar("y"), scalar("z")


class Slopes(NamedTuple):
    """Numerators of -dl/dw over the partition function: at the token to be predicted, at each of the rest."""

    own: TracePolynomial
    other: TracePolynomial
    partition: TracePolynomial


def by_logit(polynomial: TracePolynomial, exponential: str) -> TracePolynomial:
    """d/dw of a polynomial in e^w."""
    return scalar(exponential) * derivative(polynomial, exponential)


@cache
def slopes() -> Slopes:
    """Minus the gradient of the cross-entropy, on logits of two values."""
    S = X + z + (M - 2) * y
    own, other = S - by_logit(S, "X"), -by_logit(S, "z")
    return Slopes(*(substitute(part, scalars={"z": y}) for part in (own, other, S)))


# Literal tokens


def literal_slopes(exponentials: Sequence[Fraction], own: int) -> list[Fraction]:
    """-dl/dw_k for every token k, from the exponentials of all logits; S is linear in each: exact differences."""

    def total(values: Sequence[Fraction]) -> Fraction:
        return sum(values, Fraction(0))

    found = []
    for k, value in enumerate(exponentials):
        moved = [*exponentials[:k], value + 1, *exponentials[k + 1 :]]
        of_logarithm = value * (total(moved) - total(exponentials)) / total(exponentials)
        found.append(Fraction(int(k == own)) - of_logarithm)
    return found


def random_exponentials(draw: random.Random, count: int) -> list[Fraction]:
    """Positive rational numbers."""
    return [Fraction(draw.randint(1, 90), draw.randint(1, 9)) for _ in range(count)]
