r"""The layer with its decoder in rational numbers: literal softmax, normalisation and loss, differentiated exactly.

A dual number a + b e with e^2 = 0 carries a value and its derivative, so the derivative of a rational function comes
out exact, and so does that of a square root of a square. Instances are rational class vectors f_n = c_n/|c_n| on the
unit sphere. Exponentials of logits are letters with their derivative (e^w)' = e^w w': any positive rational stands for
e^w, since an identity between derivatives does not know which number it is.

References
    [tian2023scan, sec. 3] for the layer.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..algebra.evaluation import Array

ZERO, ONE = Fraction(0), Fraction(1)


@dataclass(frozen=True)
class Dual:
    """value + slope e, e^2 = 0."""

    value: Fraction
    slope: Fraction = ZERO

    def __add__(self, other: Dual) -> Dual:
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other: Dual) -> Dual:
        return Dual(self.value * other.value, self.value * other.slope + self.slope * other.value)

    def __truediv__(self, other: Dual) -> Dual:
        quotient = self.value / other.value
        return Dual(quotient, (self.slope - quotient * other.slope) / other.value)

    def root(self) -> Dual:
        """The square root of the square of a rational number."""
        found = rational_root(self.value)
        return Dual(found, self.slope / (2 * found))


def rational_root(square: Fraction) -> Fraction:
    """The root of a rational square. Raises ValueError for any other number."""
    root = Fraction(math.isqrt(square.numerator), math.isqrt(square.denominator))
    if root * root != square:
        raise ValueError(f"need the square of a rational number, got {square}")
    return root


def summed(terms: Sequence[Dual]) -> Dual:
    """The sum of dual numbers."""
    total = Dual(ZERO)
    for term in terms:
        total = total + term
    return total


@dataclass(frozen=True)
class ExactTask:
    """Rational tables at Z = 0, or at a Z that is absorbed in them.

    weights          P(l|n) e^{z_ml} up to a factor of each class, (K, M), with rational lengths
    rows             of the attention logits that belong to the classes' queries, (K,)
    probabilities    P(n), (K,)
    """

    weights: Array
    rows: tuple[int, ...]
    probabilities: tuple[Fraction, ...]
    eta: Fraction = ONE

    @property
    def vectors(self) -> Array:
        """f_n, (K, M)."""
        return np.array([row / rational_root(np.sum(row * row)) for row in self.weights], dtype=object)

    def class_vector(self, n: int, query: int, token: int) -> list[Dual]:
        """f_n and its derivative along z_{query, token}: softmax over the tokens, then length one."""
        moved = [Dual(w, w if (self.rows[n], k) == (query, token) else ZERO) for k, w in enumerate(self.weights[n])]
        total = summed(moved)
        shares = [one / total for one in moved]
        length = summed([one * one for one in shares]).root()
        return [one / length for one in shares]

    def velocity(self, decoder: Array, exponentials: Array) -> Array:
        """Z' = -eta dL/dZ, (queries, M): the derivative of sum_n P(n) log softmax(Y^T f_n)_n, one logit at a time.

        decoder (M, C); exponentials (K, C) stand for e^w at the logits w_n = Y^T f_n.
        """
        places = [[(query, token) for token in range(self.weights.shape[1])] for query in sorted(set(self.rows))]
        slopes = [[self.slope(place, decoder, exponentials) for place in row] for row in places]
        found: Array = self.eta * np.array(slopes, dtype=object)
        return found

    def slope(self, place: tuple[int, int], decoder: Array, exponentials: Array) -> Fraction:
        """d/dz of sum_n P(n) log softmax(w_n)_n."""
        total = ZERO
        for n, probability in enumerate(self.probabilities):
            moved = np.array([one.slope for one in self.class_vector(n, *place)], dtype=object) @ decoder
            powers = [Dual(e, e * w) for e, w in zip(exponentials[n], moved, strict=True)]
            own = powers[n] / summed(powers)
            total += probability * own.slope / own.value
        return total


def softmax_of(exponentials: Array) -> Array:
    """alpha_n, (K, C)."""
    return np.array([row / sum(row) for row in exponentials], dtype=object)


# Random instances

COMMON, DISTINCT = (0, 1), ((2, 3), (4, 5), (6,))
TOKENS = 8  # the last one occurs nowhere


def random_task(seed: int | str) -> ExactTask:
    """Three classes, two of one query: two common tokens, of which the third class has one, and their own tokens."""
    draw = random.Random(f"scan and snap/{seed}")
    supports = [[*COMMON, *DISTINCT[0]], [*COMMON, *DISTINCT[1]], [COMMON[0], *DISTINCT[2]]]
    weights = np.array([on_the_sphere(draw, support) for support in supports], dtype=object)
    shares = [Fraction(draw.randint(1, 9)) for _ in supports]
    return ExactTask(
        weights, (0, 0, 1), tuple(share / sum(shares) for share in shares), Fraction(draw.randint(1, 9), 4)
    )


def on_the_sphere(draw: random.Random, support: Sequence[int]) -> Array:
    """A unit vector with positive rational entries on a support: 2 s/(1 + |s|^2) and (1 - |s|^2)/(1 + |s|^2)."""
    inner = [Fraction(draw.randint(1, 9), 20) for _ in support[1:]]
    square = sum(s * s for s in inner)
    found = np.array([ZERO] * TOKENS, dtype=object)
    found[support[0]] = (1 - square) / (1 + square)
    found[support[1:]] = [2 * s / (1 + square) for s in inner]
    return found


def random_fractions(draw: random.Random, *shape: int) -> Array:
    """Rational entries of both signs."""
    flat = [Fraction(draw.randint(-9, 9), draw.randint(1, 5)) for _ in range(math.prod(shape))]
    return np.array(flat, dtype=object).reshape(shape)


def random_exponentials(draw: random.Random, classes: int) -> Array:
    """Positive numbers that stand for e^w, (K, TOKENS)."""
    flat = [Fraction(draw.randint(1, 20), draw.randint(1, 5)) for _ in range(classes * TOKENS)]
    return np.array(flat, dtype=object).reshape(classes, TOKENS)
