r"""Every critical point of the loss on all parameters, its kind, and for which Lambda and N a wrong one is stable.

By `reduced_landscape` the critical points with (u12, u) != 0 are those of F on a simplex with the coordinates
t_i = v_i^2 (the leak into the i-th eigenspace of Lambda) and u^2. On its
    corners     u alone: the fixed point, the global minimum. A leak alone: A = v v^T/Gamma_i, of rank one
    edges       one leak and u, all of u12, u, U and u21 different from zero: "leaking in part"
    faces       two leaks and u
The zeros inside each face are isolated by `simplex_zeros`, which leaves no part of the face unsearched: the list is
complete where Lambda has at most two different eigenvalues, of any multiplicities. For more the corners and edges (for
three: the triangles too) are listed and the list is not claimed to be complete.
Assumptions
    Those of `PromptLaw` with Psi = I, sigma = 0.
References
    Ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from typing import Any, Literal

import numpy as np

from ..algebra.simplex_zeros import Interval, UnsearchedError, Vertex, common_zeros, partial, range_on
from .assumptions import FloatArray, check_context_length, check_covariance
from .reduced_landscape import Eigenspaces, ReducedLoss

Kind = Literal["global-minimum", "local-minimum", "saddle", "undecided"]
SAME_EIGENVALUE = 1e-9  # relative: eigenvalues nearer than that are taken for one
ROUNDED_EIGENVALUE = 10**7  # largest denominator: a float is moved by less than 1e-14
MOST_FOR_TRIANGLES = 3  # different eigenvalues up to which faces with two leaks are searched


@dataclass(frozen=True)
class CriticalPoint:
    """A critical point up to the scale (c W_PV, W_KQ/c) and the rotations and reflections that keep Lambda.

    loss            L, with its half
    multiplicity    1; None where the points form a further continuum
    value_weights, key_query_weights    (d+1, d+1), |W_PV| = |W_KQ|: one of them
    leaking         indices of the eigenspaces (ascending eigenvalues) that u12 has a part in
    index           in how many independent directions the loss falls; None where that is not decided
    """

    kind: Kind
    loss: float
    multiplicity: int | None
    description: str
    value_weights: FloatArray
    key_query_weights: FloatArray
    leaking: tuple[int, ...] = ()
    index: int | None = None


@dataclass(frozen=True)
class CriticalPoints:
    """The list, ascending in the loss, and whether it is proved to be complete; `searched` says it in words."""

    points: tuple[CriticalPoint, ...]
    complete: bool
    searched: str


@dataclass(frozen=True)
class Landscape:
    """The critical points of one law with rational eigenvalues.

    basis    (d, d): eigenvectors in columns, in the order of `eigenspaces` with their dimensions
    """

    eigenspaces: Eigenspaces
    context_length: int
    basis: FloatArray

    def face(self, leaking: tuple[int, ...]) -> ReducedLoss:
        """F on a face."""
        return face_of(self.eigenspaces, self.context_length, leaking)

    @property
    def different(self) -> int:
        """How many different eigenvalues there are."""
        return len(self.eigenspaces.values)

    def listed(self) -> CriticalPoints:
        """All corners, and the zeros inside edges and triangles."""
        found = [self.without_values(), self.fixed_point()]
        found += [self.leak(i) for i in range(self.different)]
        largest = 2 if self.different <= MOST_FOR_TRIANGLES else 1
        complete, searched = self.different <= 2, self.in_words(largest)
        for size in range(1, largest + 1):
            for leaking in combinations(range(self.different), size):
                try:
                    found += [self.inner_point(leaking, zero.vertices) for zero in self.zeros(leaking)]
                except UnsearchedError as error:
                    complete, searched = False, f"{searched}; leaks {leaking}: {error}"
        complete = complete and all(point.kind != "undecided" for point in found)
        return CriticalPoints(tuple(sorted(found, key=lambda point: point.loss)), complete, searched)

    def zeros(self, leaking: tuple[int, ...]) -> list[Any]:
        return common_zeros(self.face(leaking).slopes, len(leaking))

    def in_words(self, largest: int) -> str:
        """What has been searched."""
        if self.different <= 2:
            return "every face of the simplex of leaks, so every critical point up to scale, rotation and reflection"
        kept = "one or two eigenspaces" if largest == 2 else "one eigenspace"
        return f"leaks into {kept}; with more different eigenvalues there may be further points, which are not searched"

    def without_values(self) -> CriticalPoint:
        """p = 0: the layer that predicts 0."""
        d = len(self.basis)
        zero = np.zeros((d + 1, d + 1))
        description = "u12 = 0, u = 0, u21 = 0, tr(Lambda^2 U) = 0: the layer predicts 0"
        return CriticalPoint(
            "saddle", float(self.eigenspaces.trace / 2), 1 if d == 1 else None, description, zero, zero
        )

    def fixed_point(self) -> CriticalPoint:
        """The corner u."""
        corner = (Fraction(0), Fraction(1))
        name = "u12 = 0, u21 = 0, u U = A*: the fixed point"
        return self.point([1], (0,), corner, name, kind="global-minimum", listed=())

    def leak(self, i: int) -> CriticalPoint:
        """The corner of one leak; with d = 1 it is a global minimum as well, for A = A* there."""
        corner = (Fraction(1), Fraction(0))
        name = f"u = 0, U = 0, u12 and u21 along {self.eigenvector(i)}: A has rank one"
        if len(self.basis) == 1:
            return self.point([1], (i,), corner, name, kind="global-minimum")
        signs = [sign(range_on(self.face((i,)).slopes[1], (corner,)))]
        for j in range(self.different):
            signs += [self.sign_at_corner(i, j)] * self.eigenspaces.dimensions[j] * int(j != i)
        return self.point(signs, (i,), corner, name)

    def sign_at_corner(self, i: int, j: int) -> int:
        """The sign of dF/dt_j at the leak into i."""
        pair = tuple(sorted((i, j)))
        corner = (*(Fraction(int(k == i)) for k in pair), Fraction(0))
        return sign(range_on(self.face(pair).slopes[pair.index(j)], (corner,)))

    def inner_point(self, leaking: tuple[int, ...], vertices: tuple[Vertex, ...]) -> CriticalPoint:
        """A zero inside a face, by its enclosure."""
        signs = self.signs_within(leaking, vertices)
        for j in range(self.different):
            if j not in leaking:
                signs += [self.sign_across(leaking, j, vertices)] * self.eigenspaces.dimensions[j]
        centre = tuple(sum(column, start=Fraction(0)) / len(vertices) for column in zip(*vertices, strict=True))
        into = " and ".join(self.eigenvector(i) for i in leaking)
        name = f"u12, u, U and u21 all different from zero, u12 and u21 with a part along {into}"
        return self.point(signs, leaking, centre, name)

    def signs_within(self, leaking: tuple[int, ...], vertices: tuple[Vertex, ...]) -> list[int]:
        """The signs of the eigenvalues of F's second derivatives in a face, with u kept.

        The slopes are Q^2 dF/dt_i, so at a zero their derivatives are Q^2 times the second derivatives of F.
        """
        k, slopes = len(leaking), self.face(leaking).slopes
        return signs_of_eigenvalues([[range_on(partial(slopes[i], j), vertices) for j in range(k)] for i in range(k)])

    def sign_across(self, leaking: tuple[int, ...], j: int, vertices: tuple[Vertex, ...]) -> int:
        """The sign of dF/dt_j at t_j = 0; not decided for faces with two leaks."""
        wider = tuple(sorted((*leaking, j)))
        place = wider.index(j)
        lifted = tuple((*vertex[:place], Fraction(0), *vertex[place:]) for vertex in vertices)
        if len(wider) > 2:
            return 0
        return sign(range_on(self.face(wider).slopes[place], lifted))

    def eigenvector(self, i: int) -> str:
        """The eigenvector in words."""
        one = "the eigenvector" if self.eigenspaces.dimensions[i] == 1 else "an eigenvector"
        return f"{one} of {float(self.eigenspaces.values[i]):.6g}"

    def point(
        self,
        signs: list[int],
        face: tuple[int, ...],
        t: Vertex,
        description: str,
        kind: Kind | None = None,
        listed: tuple[int, ...] | None = None,
    ) -> CriticalPoint:
        """A point with its weights, from t on a face and the signs of the second derivatives."""
        reduced = self.face(face)
        index = None if 0 in signs else signs.count(-1)
        leaking = face if listed is None else listed
        loss, found = float(reduced.value(t)), kind or kind_of(signs)
        return CriticalPoint(found, loss, 1, description, *self.weights(reduced, t), leaking, index)

    def weights(self, reduced: ReducedLoss, t: Vertex) -> tuple[FloatArray, FloatArray]:
        """(W_PV, W_KQ) at t, in the coordinates of the covariance, |W_PV| = |W_KQ|."""
        p, K = reduced.weights(t)
        u12, U, u21 = self.basis @ p[:-1], self.basis @ K[:-1] @ self.basis.T, self.basis @ K[-1]
        # fsum, so that the numbers, and the keys of what is measured at them, do not depend on a linear algebra kernel
        scale = (math.fsum(K.ravel() ** 2) / math.fsum(p**2)) ** 0.25
        W_PV, W_KQ = np.zeros((len(p), len(p))), np.zeros((len(p), len(p)))
        W_PV[-1, :-1], W_PV[-1, -1] = scale * u12, scale * p[-1]
        W_KQ[:-1, :-1], W_KQ[-1, :-1] = U / scale, u21 / scale
        return W_PV, W_KQ


def signs_of_eigenvalues(H: list[list[Interval]]) -> list[int]:
    """Of a symmetric matrix with one or two rows, each entry within its interval; 0 where they do not decide.

    >>> one, two = (Fraction(1),) * 2, (Fraction(2),) * 2
    >>> signs_of_eigenvalues([[one, two], [two, one]])
    [1, -1]
    """
    first = sign(H[0][0])
    if len(H) == 1:
        return [first]
    determinant = sign(minus(times(H[0][0], H[1][1]), times(H[0][1], H[1][0])))
    if determinant < 0:
        return [1, -1]
    return [first, first * determinant]


@lru_cache(maxsize=64)
def face_of(eigenspaces: Eigenspaces, context_length: int, leaking: tuple[int, ...]) -> ReducedLoss:
    """F on a face of one law; its polynomials are made once."""
    return ReducedLoss(eigenspaces, context_length, leaking)


def sign(interval: Interval) -> int:
    """1, -1, or 0 where the interval holds 0."""
    low, high = interval
    return 1 if low > 0 else -1 if high < 0 else 0


def times(a: Interval, b: Interval) -> Interval:
    products = [x * y for x in a for y in b]
    return min(products), max(products)


def minus(a: Interval, b: Interval) -> Interval:
    return a[0] - b[1], a[1] - b[0]


def kind_of(signs: list[int]) -> Kind:
    """A minimum where every second derivative is positive, a saddle where one is negative."""
    if -1 in signs:
        return "saddle"
    return "undecided" if 0 in signs else "local-minimum"


def eigenspaces_of(covariance: FloatArray) -> tuple[Eigenspaces, FloatArray]:
    """The eigenvalues as rationals of small denominators (moved by less than 1e-14), and the eigenvectors."""
    found, basis = np.linalg.eigh(covariance)
    values, dimensions = [float(found[0])], [1]
    for eigenvalue in found[1:]:
        if eigenvalue - values[-1] <= SAME_EIGENVALUE * found[-1]:
            dimensions[-1] += 1
        else:
            values.append(float(eigenvalue))
            dimensions.append(1)
    return Eigenspaces(tuple(as_rational(value) for value in values), tuple(dimensions)), basis


def as_rational(value: float) -> Fraction:
    """A rational within 1e-14 of the value, relatively."""
    power = Fraction(2) ** int(np.floor(np.log2(value)))
    return (Fraction(value) / power).limit_denominator(ROUNDED_EIGENVALUE) * power


def critical_points(covariance: object, context_length: object) -> CriticalPoints:
    """The critical points of L on all parameters for w ~ N(0, I) without noise. Raises AssumptionError.

    covariance (d, d); context_length N >= 1.

    >>> found = critical_points([[1.0, 0.0], [0.0, 1.0]], 1)
    >>> [(point.kind, round(point.loss, 4)) for point in found.points], found.complete
    ([('global-minimum', 0.75), ('local-minimum', 0.875), ('saddle', 0.9346), ('saddle', 1.0)], True)
    """
    Lambda, N = check_covariance(covariance), check_context_length(context_length)
    eigenspaces, basis = eigenspaces_of(Lambda)
    return Landscape(eigenspaces, N, basis).listed()
