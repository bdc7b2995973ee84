r"""Moments of sequences of random orthogonal dynamics, counted: rim hooks, cycles and dot products.

Main statements
    traces      E prod_k tr W^k over Haar measure of O(n) is the number of ways, with signs, to build a partition with
                at most n rows, all even, from rim hooks of these sizes (Murnaghan and Nakayama; the Schur function of a
                partition has mean 1 over O(n) if its rows are even, else 0 [macdonald1995symmetric, chapter VII])
    c_k         c_k = s^T W^k s, s ~ N(0, I): E of a product given W is the sum over permutations, with a factor
                2^(m - cycles), of the traces over its cycles, each the mean over the signs of the powers in it
    features    sums over t' of vectors s_t' times dot products, kept as lists of (position, dot product)
Nothing here knows how theory/ comes to its numbers: there the traces come from determinantal processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from itertools import pairwise, permutations, product


@cache
def mean_of_traces(n: int, powers: tuple[int, ...]) -> int:
    """E prod tr W^k over O(n); powers of any sign."""
    rows: dict[tuple[int, ...], int] = {tuple(0 for _ in range(n)): 1}
    for power in powers:
        rows = with_hook(rows, abs(power), n) if power else {shape: n * count for shape, count in rows.items()}
    return sum(count for shape, count in rows.items() if all(row % 2 == 0 for row in shape))


def with_hook(shapes: dict[tuple[int, ...], int], size: int, n: int) -> dict[tuple[int, ...], int]:
    """Every shape with one rim hook of `size` cells more, the sign (-1)^(rows it covers - 1)."""
    found: dict[tuple[int, ...], int] = {}
    for shape, count in shapes.items():
        for bottom in range(n):
            for grown, height in hooks_ending_in(shape, bottom, size):
                found[grown] = found.get(grown, 0) + count * (-1) ** height
    return found


def hooks_ending_in(shape: tuple[int, ...], bottom: int, size: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """The shapes with a rim hook whose lowest row is `bottom`, and how many further rows it covers.

    A hook over the rows top .. bottom moves each row but the first one down: row i becomes one longer than row i - 1
    was, and the row `top` takes what is left.
    """
    for top in range(bottom, -1, -1):
        rows = list(shape)
        for row in range(top + 1, bottom + 1):
            rows[row] = shape[row - 1] + 1
        left = size - sum(rows[row] - shape[row] for row in range(top + 1, bottom + 1))
        rows[top] = shape[top] + left
        if left > 0 and all(upper >= lower for upper, lower in pairwise(rows)):
            yield tuple(rows), bottom - top


@cache
def mean_of_dot_products(n: int, lags: tuple[int, ...]) -> Fraction:
    """E prod c_k over W and s."""
    total = Fraction(0)
    for order in permutations(range(len(lags))):
        cycles = cycles_of(order)
        weight = Fraction(2) ** (len(lags) - len(cycles))
        for signs in product((1, -1), repeat=len(lags)):
            powers = tuple(sum(signs[place] * lags[place] for place in cycle) for cycle in cycles)
            total += weight * mean_of_traces(n, powers) / 2 ** len(lags)
    return total


def cycles_of(order: Sequence[int]) -> list[list[int]]:
    left, found = set(range(len(order))), []
    while left:
        place = min(left)
        cycle = []
        while place in left:
            left.remove(place)
            cycle.append(place)
            place = order[place]
        found.append(cycle)
    return found


Part = tuple[int, tuple[int, int]]  # s_i (s_j . s_k) as (i, (j, k))


def vector_feature(a: int, b: int, c: int, t: int) -> list[Part]:
    """sum over t' <= t of s_(t'-a) (s_(t'-b) . s_(t-c)), states before the first left out."""
    found = [(i - a, (i - b, t - c)) for i in range(1, t + 1)]
    return [part for part in found if min(part[0], *part[1]) >= 1]


def trace_feature(a: int, b: int, c: int, t: int) -> list[Part]:
    """sum over t' <= t of (s_(t'-a) . s_(t'-b)) s_(t-c)."""
    found = [(t - c, (i - a, i - b)) for i in range(1, t + 1)]
    return [part for part in found if min(part[0], *part[1]) >= 1]


def mean_product(n: int, left: Sequence[Part], right: Sequence[Part]) -> Fraction:
    """E of the dot product of two such sums."""
    total = Fraction(0)
    for i, (j, k) in left:
        for p, (q, r) in right:
            total += mean_of_dot_products(n, lags(i - p, j - k, q - r))
    return total


def mean_pull(n: int, parts: Sequence[Part], target: int) -> Fraction:
    """E of the dot product with the state at `target`."""
    return sum((mean_of_dot_products(n, lags(i - target, j - k)) for i, (j, k) in parts), Fraction(0))


def lags(*differences: int) -> tuple[int, ...]:
    """Without signs, in order: the moments do not depend on them."""
    return tuple(sorted(abs(k) for k in differences))
