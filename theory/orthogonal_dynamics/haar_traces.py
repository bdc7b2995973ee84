r"""Joint moments of tr W^k for an orthogonal matrix W drawn from Haar measure, exactly and for every size.

Main statements
    components   O(n) is two cosets, det W = 1 and det W = -1, of probability 1/2 each. On each, some eigenvalues are
                 fixed (+1 or -1) and the others are pairs exp(+-i theta) whose angles are a determinantal process: by
                 Weyl's integration formula their density is a squared Vandermonde determinant in cos(theta), times
                 sin^2(theta), 1 - cos(theta), 1 + cos(theta) or 1, so the kernel projects on the span of
                     cos(nu theta) or sin(nu theta), nu = 0, 1, 2, .. or 1/2, 3/2, ..        [mehta2004random]
    cumulants    for linear statistics sum_a f(theta_a) of a determinantal process with projection P
                 [soshnikov2000central]
                     kappa(f) = tr P f,  kappa(f, g) = tr P f g - tr P f P g,
                     kappa(f, g, h) = tr P f g h - sum_3 tr P f g P h + tr P f P g P h + tr P f P h P g
    whole numbers   2 cos(k theta) maps a basis function to the sum of the two that are k away, folded at 0, so every
                 trace above is a whole number, and so is every joint moment
The module knows no limit of large n: where the sizes of the indices pass n, the traces are not Gaussian.
References
    [mehta2004random] for the integration formulas, [soshnikov2000central] for the cumulants; [diaconis1994eigenvalues]
    has the moments for small indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.float64]  # whole numbers below 2^53: products of float64 matrices are exact, and fast


@dataclass(frozen=True)
class Coset:
    """det W = 1 or det W = -1.

    even           whether the basis is cos(nu theta) rather than sin(nu theta)
    frequencies    the doubled nu of the basis, (m,)
    fixed          the eigenvalues that all matrices of the coset have
    """

    even: bool
    frequencies: tuple[int, ...]
    fixed: tuple[int, ...]

    def multiplication(self, k: int) -> Whole:
        """P 2cos(k theta) P in the basis, (m, m): columns are images. The constant function stands for 2 cos 0."""
        place = {nu: row for row, nu in enumerate(self.frequencies)}
        matrix = np.zeros((len(place), len(place)), dtype=np.float64)
        for column, nu in enumerate(self.frequencies):
            for image, factor in self.images(nu, 2 * k):
                if image in place:
                    matrix[place[image], column] += factor
        return matrix

    def images(self, nu: int, shift: int) -> list[tuple[int, int]]:
        """Frequencies and factors of 2cos times a basis function; 2 cos 0 is twice the constant function 1."""
        if nu == 0:
            return [(shift, 1)] if shift else [(0, 2)]
        down, sign = nu - shift, 1
        if down < 0:
            down, sign = -down, (1 if self.even else -1)
        if down == 0:
            sign = 2 if self.even else 0
        return [(nu + shift, 1), (down, sign)]

    def of_fixed(self, k: int) -> int:
        """sum of the k-th powers of the fixed eigenvalues."""
        return sum(one**k for one in self.fixed)


def cosets(n: int) -> tuple[Coset, Coset]:
    """The two cosets of O(n): det W = 1, then det W = -1.

    >>> [coset.fixed for coset in cosets(3)]
    [(1,), (-1,)]
    """
    m = n // 2
    if n % 2:
        half = tuple(range(1, 2 * m, 2))
        return Coset(False, half, (1,)), Coset(True, half, (-1,))
    return Coset(True, tuple(range(0, 2 * m, 2)), ()), Coset(False, tuple(range(2, 2 * m, 2)), (1, -1))


class TracesOnCoset:
    """Moments of p_k = tr W^k on one coset, from its cumulants; indices k >= 0."""

    def __init__(self, coset: Coset) -> None:
        self.coset = coset
        self.matrices: dict[int, Whole] = {}

    def matrix(self, k: int) -> Whole:
        if k not in self.matrices:
            self.matrices[k] = self.coset.multiplication(k)
        return self.matrices[k]

    def trace(self, k: int) -> int:
        """tr P 2cos(k theta): the first cumulant without the fixed eigenvalues."""
        return int(np.trace(self.matrix(abs(k))))

    def of_two(self, i: int, j: int) -> int:
        """tr P f P g."""
        return int(np.sum(self.matrix(abs(i)) * self.matrix(abs(j)).T))

    def mean(self, i: int) -> int:
        return self.trace(i) + self.coset.of_fixed(i)

    def covariance(self, i: int, j: int) -> int:
        """2cos(i theta) 2cos(j theta) = 2cos((i + j) theta) + 2cos((i - j) theta)."""
        return self.trace(i + j) + self.trace(i - j) - self.of_two(i, j)

    def third_cumulant(self, i: int, j: int, k: int) -> int:
        f, g, h = (self.matrix(index) for index in (i, j, k))
        product = sum(self.trace(i + s * j + t * k) for s in (1, -1) for t in (1, -1))
        pairs = sum(self.of_two(a + s * b, c) for a, b, c in ((i, j, k), (i, k, j), (j, k, i)) for s in (1, -1))
        return product - pairs + int(np.sum((f @ g) * h.T)) + int(np.sum((f @ h) * g.T))

    def moment(self, indices: Sequence[int]) -> int:
        """E of the product of at most three p_k."""
        means = [self.mean(k) for k in indices]
        if len(indices) < 2:
            return means[0] if indices else 1
        if len(indices) == 2:
            return means[0] * means[1] + self.covariance(*indices)
        i, j, k = indices
        mixed = means[0] * self.covariance(j, k) + means[1] * self.covariance(i, k) + means[2] * self.covariance(i, j)
        return means[0] * means[1] * means[2] + mixed + self.third_cumulant(i, j, k)


@dataclass(frozen=True)
class HaarTraces:
    """E prod_k tr W^k over W ~ Haar(O(n)), for products of at most three."""

    n: int

    @cached_property
    def on_cosets(self) -> tuple[TracesOnCoset, ...]:
        return tuple(TracesOnCoset(coset) for coset in cosets(self.n))

    @cached_property
    def known(self) -> dict[tuple[int, ...], int]:
        return {}

    def moment(self, *indices: int) -> int:
        """The joint moment, a whole number; tr W^-k = tr W^k, as W is real. Raises ValueError for four and more.

        >>> [HaarTraces(2).moment(k, k) for k in (1, 2, 9)]
        [1, 3, 1]
        """
        if len(indices) > 3:
            raise ValueError(f"need a product of at most three traces, got {len(indices)}; higher ones are not derived")
        key = tuple(sorted(abs(k) for k in indices))
        if key not in self.known:
            doubled = sum(one.moment(key) for one in self.on_cosets)
            self.known[key] = exact_half(doubled)
        return self.known[key]


def exact_half(doubled: int) -> int:
    """Half of an even number. Raises AssertionError for an odd one: a moment of O(n) counts invariants."""
    half, rest = divmod(doubled, 2)
    assert rest == 0, f"the two cosets add up to the odd number {doubled}"
    return half


def rim_hook_moment(n: int, indices: Sequence[int]) -> int:
    r"""The same moment by another route: E prod tr W^k = sum over lambda of chi^lambda(k_1, k_2, ..).

    The sum is over partitions with even rows, at most n of them: E s_lambda(W) is 1 for these and 0 for all others
    [macdonald1995symmetric, chapter VII]. The Murnaghan-Nakayama rule gives the characters: a rim hook of k cells is a
    bead that moves k places on a line with n beads, with a sign for each bead that it passes.

    >>> rim_hook_moment(2, (2, 2))
    3
    """
    beads = {tuple(range(n)): 1}
    for k in indices:
        beads = {place: n * count for place, count in beads.items()} if k == 0 else moved(beads, abs(k))
    return sum(count for place, count in beads.items() if has_even_rows(place))


Beads = dict[tuple[int, ...], int]


def moved(beads: Beads, k: int) -> Beads:
    """Every way to move one bead by k places to a free one, with signs."""
    found: Beads = {}
    for place, count in beads.items():
        taken = set(place)
        for bead in place:
            if bead + k not in taken:
                passed = sum(bead < other < bead + k for other in place)
                target = tuple(sorted(taken - {bead} | {bead + k}))
                found[target] = found.get(target, 0) + (-count if passed % 2 else count)
    return found


def has_even_rows(place: tuple[int, ...]) -> bool:
    return all((bead - row) % 2 == 0 for row, bead in enumerate(place))


@cache
def haar_traces(n: int) -> HaarTraces:
    """One table for each size."""
    return HaarTraces(n)
