r"""Numbers with a bound on what float64 has lost of them: a bound on the rounding of any short computation.

Main statement
    A ball (v, e) holds the exact result of the operations so far to within e of v. Sums, products and quotients of
    balls add what the operation itself rounds, u |result|, to what its operands pass on. Sums of n products, which
    libraries take in any order, get n u sum |a b| more.
Every bound is an upper one; where a divisor's ball holds 0, it is infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

U = float(np.finfo(np.float64).eps)  # twice the unit roundoff: pays for the rounding of the bounds themselves


@dataclass(frozen=True)
class Ball:
    """A number and a bound on its error."""

    value: float
    error: float = 0.0

    def __add__(self, other: Ball) -> Ball:
        value = self.value + other.value
        return Ball(value, self.error + other.error + U * abs(value))

    def __neg__(self) -> Ball:
        return Ball(-self.value, self.error)

    def __sub__(self, other: Ball) -> Ball:
        return self + -other

    def __mul__(self, other: Ball) -> Ball:
        value = self.value * other.value
        passed = abs(self.value) * other.error + self.error * (abs(other.value) + other.error)
        return Ball(value, passed + U * abs(value))

    def __truediv__(self, other: Ball) -> Ball:
        least = abs(other.value) - other.error
        if least <= 0:
            return Ball(math.nan, math.inf)
        value = self.value / other.value
        return Ball(value, (self.error + abs(value) * other.error) / least + U * abs(value))


Vector = list[Ball]
Rows = list[Vector]


def balls(numbers: Sequence[float]) -> Vector:
    """Exact numbers."""
    return [Ball(float(number)) for number in numbers]


def dot(left: Vector, right: Vector) -> Ball:
    """left.right, the sum taken in any order."""
    products = [a * b for a, b in zip(left, right, strict=True)]
    total = Ball(0.0)
    for product in products:
        total = total + product
    return Ball(total.value, total.error + len(left) * U * sum(abs(one.value) + one.error for one in products))


def scaled(factor: Ball, vector: Vector) -> Vector:
    """a x."""
    return [factor * entry for entry in vector]


def added(left: Vector, right: Vector) -> Vector:
    """x + y."""
    return [a + b for a, b in zip(left, right, strict=True)]


def conjugate_gradients(product: Callable[[Vector], Vector], q: Vector, start: Vector, steps: int) -> Vector:
    """The steps of `conjugate_gradients.conjugate_gradients` in balls; `product` maps p to A p."""
    x, r = start, added(q, scaled(Ball(-1.0), product(start)))
    p, size = r, dot(r, r)
    for _ in range(steps):
        if not size.value:
            break
        Ap = product(p)
        a = size / dot(p, Ap)
        x, r = added(x, scaled(a, p)), added(r, scaled(-a, Ap))
        size, before = dot(r, r), size
        p = added(r, scaled(size / before, p))
    return x


def combined(factors: Vector, vectors: Rows) -> Vector:
    """sum_s a_s x_s, the sum taken in any order."""
    return [dot(factors, [vector[i] for vector in vectors]) for i in range(len(vectors[0]))]
