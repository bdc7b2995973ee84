"""Where identities are tested: dimensions with symbols for entries, and random whole numbers in higher ones.

Main statement
    A polynomial of degree k that is not zero vanishes at a point of independent uniform entries from a set of size s
    with probability at most k/s [schwartz1980fast; zippel1979probabilistic].
At a symbolic point equality is exact. At random points s = 2^BITS; the entries come from a seed, that of a certificate
being the hash of its statements, that of a re-check drawn afresh.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .matrices import Matrix

Kind = Literal["symmetric", "diagonal", "matrix", "vector", "scalar"]
BITS = 128


@dataclass(frozen=True)
class Point:
    """Values for all letters in one polynomial ring, whose further generators are the task w and the query x_q.

    values      letters as matrices (d, d) or (d, 1), symbols as ring elements; I, w and x_q too
    one         the ring's 1
    numbers     the generators' numbers: w[0], ... and x_q[0], ...
    """

    dimension: int
    values: dict[str, Any]
    one: Any
    numbers: dict[str, tuple[int, ...]]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def matrix(self, name: str) -> Matrix:
        """The value of a matrix or vector."""
        value: Matrix = self.values[name]
        return value

    def with_values(self, values: Mapping[str, Any]) -> Point:
        """The same point with some letters replaced."""
        return Point(self.dimension, {**self.values, **values}, self.one, self.numbers)

    def constant(self, value: Any) -> Any:
        """A rational number as ring element."""
        return self.one * value


def make_point(letters: Mapping[str, Kind], dimension: int, seed: str | None, variables: Mapping[str, Kind]) -> Point:
    """Letters with symbols for entries (seed None) or with random whole numbers; `variables` always get symbols."""
    import flint

    symbolic = {**(letters if seed is None else {}), **variables}
    names = [name for letter, kind in symbolic.items() for name in entry_names(letter, kind, dimension)]
    context = flint.fmpq_mpoly_ctx.get(names, flint.Ordering.degrevlex)
    generators = dict(zip(names, context.gens(), strict=True))
    one = context.constant(1)
    draw = random.Random(f"{seed}/{dimension}")
    drawn = {
        name: one * draw.randrange(1, 2**BITS + 1)
        for letter, kind in letters.items()
        for name in entry_names(letter, kind, dimension)
        if seed is not None
    }
    entries = {**drawn, **generators}
    values = {name: assemble(name, kind, dimension, entries, one) for name, kind in {**letters, **variables}.items()}
    numbers = {
        letter: tuple(names.index(name) for name in entry_names(letter, kind, dimension))
        for letter, kind in symbolic.items()
    }
    return Point(dimension, {"I": identity(dimension, one), "d": one * dimension, **values}, one, numbers)


def entry_names(letter: str, kind: Kind, d: int) -> list[str]:
    """The names of a letter's free entries."""
    if kind == "scalar":
        return [letter]
    if kind in ("vector", "diagonal"):
        return [f"{letter}_{i}" for i in range(d)]
    return [f"{letter}_{i}_{j}" for i in range(d) for j in range(d) if kind == "matrix" or j <= i]


def assemble(letter: str, kind: Kind, d: int, entries: Mapping[str, Any], one: Any) -> Any:
    """A letter's value from its entries."""
    if kind == "scalar":
        return entries[letter]
    if kind == "vector":
        return Matrix.build(d, 1, lambda i, _: entries[f"{letter}_{i}"])
    if kind == "diagonal":
        return Matrix.build(d, d, lambda i, j: entries[f"{letter}_{i}"] if i == j else one * 0)

    def entry(i: int, j: int) -> Any:
        first, second = (i, j) if kind == "matrix" or j <= i else (j, i)
        return entries[f"{letter}_{first}_{second}"]

    return Matrix.build(d, d, entry)


def identity(d: int, one: Any) -> Matrix:
    """I in the ring."""
    return Matrix.build(d, d, lambda i, j: one * int(i == j))
