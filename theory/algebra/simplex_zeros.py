r"""All common zeros of rational homogeneous polynomials on a simplex, each isolated, with nothing left unsearched.

A homogeneous polynomial of degree D in t_0..t_k has on the simplex with vertices V_0..V_k the values
    p(V s) = sum_alpha b_alpha (D choose alpha) s^alpha,    s_i >= 0, sum s_i = 1,
and lies between its least and its largest Bernstein coefficient b_alpha.
Main statements
    sign          coefficients of one sign leave p no zero on the simplex
    halving       the coefficients on both halves of an edge follow by de Casteljau's rule, exactly
    uniqueness    let f = Y (p_1..p_k) in the coordinates s_1..s_k, with any matrix Y. If |df - I|_oo <= q < 1 on the
                  simplex, f is injective on it: |f(s) - f(s')|_oo >= (1 - q)|s - s'|_oo
    existence     if further |f(c)|_oo <= (1 - q) r at the centroid c, r = 1/(k (k+1)), then s -> s - f(s) maps the box
                  of radius r about c into itself and contracts it: one zero in that box, which lies in the simplex
So halving until every part has a sign, or one zero proved to be the only one, is a proof of completeness. All numbers
are integers and rationals; no rounding enters.
References
    The bound by Bernstein coefficients and halving: [farouki2012bernstein]; contraction: Banach.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from itertools import combinations
from math import comb, factorial, lcm, prod

import numpy as np

from .evaluation import exact_inverse

Exponents = tuple[int, ...]
Polynomial = Mapping[Exponents, Fraction]  # homogeneous, without zero coefficients
Vertex = tuple[Fraction, ...]
Coefficients = dict[Exponents, int]
Interval = tuple[Fraction, Fraction]
Slopes = list[dict[Exponents, int]]  # of one polynomial: coefficients of its derivatives by s_1..s_k

BITS_OF_AN_ENCLOSURE = 60


class UnsearchedError(Exception):
    """Some part of the simplex could be neither excluded nor shown to hold one zero, within the parts allowed."""


@dataclass(frozen=True)
class Zero:
    """A common zero: the only one of the polynomials in the simplex with these vertices, whose width is about 2^-60."""

    vertices: tuple[Vertex, ...]

    @property
    def centre(self) -> Vertex:
        return centroid(self.vertices)


@dataclass(frozen=True)
class Part:
    """A simplex with the Bernstein coefficients of the polynomials on it, each up to one positive factor."""

    vertices: tuple[Vertex, ...]
    coefficients: tuple[Coefficients, ...]

    def has_no_zero(self) -> bool:
        """Whether one of the polynomials keeps its sign."""
        return any(sign_of(values.values()) for values in self.coefficients)

    def halves(self) -> tuple[Part, Part]:
        """Both halves at the middle of the longest edge."""
        i, j = longest_edge(self.vertices)
        middle = tuple((a + b) / 2 for a, b in zip(self.vertices[i], self.vertices[j], strict=True))
        pairs = [halved(values, i, j) for values in self.coefficients]
        return tuple(
            Part(tuple(middle if k == moved else v for k, v in enumerate(self.vertices)), tuple(p[side] for p in pairs))
            for side, moved in ((0, j), (1, i))
        )  # type: ignore[return-value]  # two of them


def common_zeros(polynomials: Sequence[Polynomial], dimension: int, parts: int = 6_000) -> list[Zero]:
    """Every common zero in the open simplex {t >= 0, sum t = 1} of that dimension k.

    There are k+1 polynomials with sum_i t_i p_i = 0 (Euler's identity for the derivatives of a function of degree 0),
    so k of them decide where all t_i > 0. Raises UnsearchedError where more than `parts` parts would be looked at.
    """
    found = zeros_in_the_middle([stretched(p) for p in polynomials], dimension, parts)
    return sorted(
        (Zero(tuple(tuple(w * x for w, x in zip(STRETCH, v, strict=False)) for v in zero.vertices)) for zero in found),
        key=lambda zero: zero.centre,
    )


# Halving never separates a zero whose coordinates are dyadic, such as (1/2, 1/2), from a corner of some part. So the
# search is done in s with t_i = STRETCH_i s_i, where such a zero is like any other.
STRETCH = (Fraction(1), Fraction(1009, 1013), Fraction(1031, 1033), Fraction(1049, 1051))


def stretched(polynomial: Polynomial) -> Polynomial:
    """The polynomial in s."""
    return {e: c * prod(w**a for w, a in zip(STRETCH, e, strict=False)) for e, c in polynomial.items()}


def zeros_in_the_middle(polynomials: Sequence[Polynomial], dimension: int, parts: int) -> list[Zero]:
    """The same for zeros that are no corner of a part."""
    corners = tuple(tuple(Fraction(int(i == j)) for j in range(dimension + 1)) for i in range(dimension + 1))
    pending = [(Part(corners, tuple(as_integers(bernstein(p, corners)) for p in polynomials)), 0)]
    found: list[Zero] = []
    looked_at = 0
    while pending:
        part, depth = pending.pop()
        looked_at += 1
        if looked_at > parts:
            raise UnsearchedError(f"{parts} parts of the simplex do not decide where the polynomials vanish")
        if part.has_no_zero():
            continue
        local = LocalSystem.of(part) if depth >= 2 * dimension else None
        if local is not None and local.has_no_zero():
            continue
        zero = local.only_zero(polynomials) if local is not None else None
        if zero is None:
            pending.extend((half, depth + 1) for half in part.halves())
        else:
            found.append(zero)
    return found


@dataclass(frozen=True)
class LocalSystem:
    """Y (p_1..p_k) on a part in its coordinates s_1..s_k, with Y the inverse of the derivative at the centroid."""

    part: Part
    chosen: tuple[int, ...]
    slopes: tuple[Slopes, ...]
    Y: Scaled

    @classmethod
    def of(cls, part: Part) -> LocalSystem | None:
        """None where the derivative at the centroid is singular."""
        k = len(part.vertices) - 1
        chosen = tuple(chosen_system(part.vertices))
        slopes = tuple(slopes_of(part.coefficients[i], k) for i in chosen)
        Y = inverse(centre_of_slopes(slopes, k))
        return None if Y is None else cls(part, chosen, slopes, Y)

    def has_no_zero(self) -> bool:
        """Whether a row of Y (p_1..p_k) keeps its sign, as it does between curves p_i = 0 that almost touch."""
        values = [list(self.part.coefficients[i].values()) for i in self.chosen]  # all in the same order
        return any(sign_of(row) for row in self.Y.rows_times(values))

    def only_zero(self, polynomials: Sequence[Polynomial]) -> Zero | None:
        """The zero of the part if there is exactly one and it can be shown, else None."""
        part, k = self.part, len(self.chosen)
        if distance_from_identity(self.Y, self.slopes) >= 1:
            return None
        step = self.Y.times([value_at_centroid(part.coefficients[i], k) for i in self.chosen])
        # An approximate zero by Newton's method; nothing rests on it but where the existence is tried.
        start = moved_from_centroid(part.vertices, step)
        place = newton([polynomials[i] for i in self.chosen], start, part.vertices)
        if place is None or not inside(place, part.vertices):
            return None
        small = shrunk(part.vertices, place, BITS_OF_AN_ENCLOSURE)
        if not all(inside(vertex, part.vertices) for vertex in small):
            return None
        return Zero(small) if holds_a_zero(polynomials, self.chosen, small, k) else None


def holds_a_zero(
    polynomials: Sequence[Polynomial], chosen: Sequence[int], vertices: tuple[Vertex, ...], k: int
) -> bool:
    """The test for existence, on a simplex."""
    coefficients = [as_integers(bernstein(polynomials[i], vertices)) for i in chosen]
    slopes = [slopes_of(values, k) for values in coefficients]
    Y = inverse(centre_of_slopes(slopes, k))
    if Y is None:
        return False
    q = distance_from_identity(Y, slopes)
    step = Y.times([value_at_centroid(values, k) for values in coefficients])
    return q < 1 and max(abs(entry) for entry in step) <= (1 - q) / (k * (k + 1))


def range_on(polynomial: Polynomial, vertices: tuple[Vertex, ...]) -> Interval:
    """Bounds on the values of a polynomial on a simplex; (0, 0) for the polynomial 0."""
    values = bernstein(polynomial, vertices).values()
    return (min(values), max(values)) if polynomial else (Fraction(0), Fraction(0))


# Bernstein coefficients


def bernstein(polynomial: Polynomial, vertices: tuple[Vertex, ...]) -> dict[Exponents, Fraction]:
    """b_alpha of p(V s), for all alpha of the degree; the simplex may be a face, or one point."""
    size, degree = len(vertices), degree_of(polynomial)
    scale = lcm(*(x.denominator for vertex in vertices for x in vertex))  # whole numbers are many times as fast
    rows = [
        {unit(size, j): int(x * scale) for j, x in enumerate(column) if x} for column in zip(*vertices, strict=True)
    ]
    powers: list[list[Coefficients]] = [[{(0,) * size: 1}] for _ in rows]
    for row, table in zip(rows, powers, strict=True):
        for _ in range(degree):
            table.append(product(table[-1], row))
    common = lcm(*(c.denominator for c in polynomial.values()))
    total: dict[Exponents, int] = defaultdict(int)
    for exponents, coefficient in polynomial.items():
        term = {(0,) * size: int(coefficient * common)}
        for table, power in zip(powers, exponents, strict=True):
            term = product(term, table[power])
        for alpha, value in term.items():
            total[alpha] += value
    below = common * scale**degree
    return {alpha: Fraction(total[alpha], below * multinomial(alpha)) for alpha in exponents_of_degree(degree, size)}


def degree_of(polynomial: Polynomial) -> int:
    return sum(next(iter(polynomial))) if polynomial else 0


def product(left: Coefficients, right: Coefficients) -> Coefficients:
    found: Coefficients = defaultdict(int)
    for a, x in left.items():
        for b, y in right.items():
            found[tuple(i + j for i, j in zip(a, b, strict=True))] += x * y
    return found


def unit(size: int, place: int) -> Exponents:
    return tuple(int(i == place) for i in range(size))


def multinomial(alpha: Exponents) -> int:
    return factorial(sum(alpha)) // prod(factorial(a) for a in alpha)


@cache
def exponents_of_degree(degree: int, size: int) -> tuple[Exponents, ...]:
    if size == 1:
        return ((degree,),)
    return tuple((a, *rest) for a in range(degree + 1) for rest in exponents_of_degree(degree - a, size - 1))


def as_integers(values: Mapping[Exponents, Fraction]) -> Coefficients:
    """The coefficients times a common denominator, in the order of `exponents_of_degree`."""
    common = lcm(*(value.denominator for value in values.values()))
    return {alpha: int(value * common) for alpha, value in values.items()}


def sign_of(values: Iterable[int]) -> int:
    """1 or -1 where all numbers have that sign, else 0."""
    listed = list(values)
    return 1 if min(listed) > 0 else -1 if max(listed) < 0 else 0


def halved(values: Coefficients, i: int, j: int) -> tuple[Coefficients, Coefficients]:
    """The coefficients, times 2^degree, with the middle of edge (i, j) in the place of vertex j, and of vertex i."""
    alphas = tuple(values)
    listed = list(values.values())
    near_i, near_j = (
        [sum(weight * listed[place] for weight, place in row) for row in rows] for rows in rule_of_halving(alphas, i, j)
    )
    return dict(zip(alphas, near_i, strict=True)), dict(zip(alphas, near_j, strict=True))


Row = tuple[tuple[int, int], ...]  # (weight, place of a coefficient)


@lru_cache(maxsize=64)
def rule_of_halving(alphas: tuple[Exponents, ...], i: int, j: int) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """De Casteljau's rule on each row along the edge: with a_j = k, the new coefficient near vertex i is the mean of
    those with 0..k in the place of k, with binomial weights, and likewise near vertex j."""
    degree, places = sum(alphas[0]), {alpha: place for place, alpha in enumerate(alphas)}

    def row(alpha: Exponents, kept: int, moved: int) -> Row:
        k = alpha[moved]
        return tuple(
            (comb(k, m) << (degree - k), places[placed(alpha, kept, alpha[kept] + k - m, moved, m)])
            for m in range(k + 1)
        )

    return tuple(row(alpha, i, j) for alpha in alphas), tuple(row(alpha, j, i) for alpha in alphas)


def placed(rest: Exponents, i: int, at_i: int, j: int, at_j: int) -> Exponents:
    found = list(rest)
    found[i], found[j] = at_i, at_j
    return tuple(found)


# The system in the coordinates s_1..s_k of a simplex, s_0 = 1 - s_1 - .. - s_k


def slopes_of(values: Coefficients, k: int) -> Slopes:
    """The Bernstein coefficients of the k derivatives: degree (b_{alpha + e_i} - b_{alpha + e_0})."""
    degree = sum(next(iter(values)))
    lower = exponents_of_degree(degree - 1, k + 1)
    return [
        {alpha: degree * (values[raised(alpha, i)] - values[raised(alpha, 0)]) for alpha in lower}
        for i in range(1, k + 1)
    ]


def raised(alpha: Exponents, place: int) -> Exponents:
    return tuple(a + int(i == place) for i, a in enumerate(alpha))


def value_at_centroid(values: Coefficients, k: int) -> Fraction:
    degree = sum(next(iter(values)))
    return Fraction(sum(multinomial(alpha) * value for alpha, value in values.items()), (k + 1) ** degree)


def centre_of_slopes(slopes: Sequence[Slopes], k: int) -> list[list[Fraction]]:
    return [[value_at_centroid(one, k) for one in row] for row in slopes]


@dataclass(frozen=True)
class Scaled:
    """The matrix entries / 2^bits."""

    entries: list[list[int]]
    bits: int

    def times(self, values: Sequence[Fraction]) -> list[Fraction]:
        one = Fraction(2) ** self.bits
        return [sum((y * v for y, v in zip(row, values, strict=True)), start=Fraction(0)) / one for row in self.entries]

    def rows_times(self, values: Sequence[Sequence[int]]) -> list[list[int]]:
        """2^bits times the product with a matrix of integers."""
        columns = list(zip(*values, strict=True))
        return [[sum(y * x for y, x in zip(row, column, strict=True)) for column in columns] for row in self.entries]


def inverse(matrix: list[list[Fraction]]) -> Scaled | None:
    """The inverse with entries rounded to about 40 bits (any matrix will do); None for a singular one."""
    try:
        exact = exact_inverse(np.array(matrix, dtype=object)).tolist()
    except ValueError:
        return None
    largest = max(abs(entry) for row in exact for entry in row)
    bits = 40 + largest.denominator.bit_length() - largest.numerator.bit_length()
    return Scaled([[round(entry * Fraction(2) ** bits) for entry in row] for row in exact], bits)


def distance_from_identity(Y: Scaled, slopes: Sequence[Slopes]) -> Fraction:
    """A bound on |Y df - I|_oo over the simplex: the largest over the Bernstein coefficients."""
    k, one, largest = len(slopes), Fraction(2) ** Y.bits, Fraction(0)
    for alpha in slopes[0][0]:
        rows = Y.rows_times([[slope[alpha] for slope in row] for row in slopes])
        for i in range(k):
            off = sum((abs(rows[i][j] - one * int(i == j)) for j in range(k)), start=Fraction(0))
            largest = max(largest, off)
    return largest / one


def chosen_system(vertices: tuple[Vertex, ...]) -> list[int]:
    """The indices of k polynomials: all but the one whose coordinate is largest, which is positive."""
    middle = centroid(vertices)
    dropped = max(range(len(middle)), key=lambda i: middle[i])
    return [i for i in range(len(middle)) if i != dropped]


# Places


def centroid(vertices: tuple[Vertex, ...]) -> Vertex:
    return tuple(sum(column, start=Fraction(0)) / len(vertices) for column in zip(*vertices, strict=True))


def longest_edge(vertices: tuple[Vertex, ...]) -> tuple[int, int]:
    def length(edge: tuple[int, int]) -> Fraction:
        pairs = zip(vertices[edge[0]], vertices[edge[1]], strict=True)
        return sum(((a - b) ** 2 for a, b in pairs), start=Fraction(0))

    return max(combinations(range(len(vertices)), 2), key=length)


def moved_from_centroid(vertices: tuple[Vertex, ...], step: Sequence[Fraction]) -> Vertex:
    """The point with coordinates 1/(k+1) - step in the simplex."""
    k = len(vertices) - 1
    local = [Fraction(1, k + 1) - entry for entry in step]
    weights = [1 - sum(local, start=Fraction(0)), *local]
    return tuple(
        sum((w * v[i] for w, v in zip(weights, vertices, strict=True)), start=Fraction(0)) for i in range(k + 1)
    )


def newton(system: Sequence[Polynomial], start: Vertex, vertices: tuple[Vertex, ...], steps: int = 12) -> Vertex | None:
    """An approximate zero near the start, rounded to a binary fraction; None where the iteration leaves the plane."""
    place = start
    for _ in range(steps):
        edges = [tuple(a - b for a, b in zip(v, vertices[0], strict=True)) for v in vertices[1:]]
        slopes = [[directional(p, place, edge) for edge in edges] for p in system]
        Y = inverse(slopes)
        if Y is None:
            return None
        step = Y.times([value(p, place) for p in system])
        moved = [place[i] - sum((s * e[i] for s, e in zip(step, edges, strict=True)), start=Fraction(0)) for i in
                 range(len(place))]  # fmt: skip
        place = on_the_plane([Fraction(round(x * 2**100), 2**100) for x in moved])
        if max(abs(x) for x in place) > 2:
            return None
        if max(abs(s) for s in step) < Fraction(1, 2**90):
            break
    return place


def on_the_plane(point: Sequence[Fraction]) -> Vertex:
    """sum t = 1 after rounding: the first coordinate takes what is missing."""
    return (1 - sum(point[1:], start=Fraction(0)), *point[1:])


def value(polynomial: Polynomial, place: Vertex) -> Fraction:
    return sum(
        (c * prod(x**e for x, e in zip(place, exponents, strict=True)) for exponents, c in polynomial.items()),
        start=Fraction(0),
    )


def directional(polynomial: Polynomial, place: Vertex, edge: Vertex) -> Fraction:
    """The derivative along an edge."""
    return sum((value(partial(polynomial, i), place) * e for i, e in enumerate(edge) if e), start=Fraction(0))


def partial(polynomial: Polynomial, place: int) -> dict[Exponents, Fraction]:
    """The derivative by one variable."""
    return {
        tuple(e - int(i == place) for i, e in enumerate(exponents)): c * exponents[place]
        for exponents, c in polynomial.items()
        if exponents[place]
    }


def shrunk(vertices: tuple[Vertex, ...], place: Vertex, bits: int) -> tuple[Vertex, ...]:
    """A simplex of the same shape about `place`, 2^-bits as large."""
    middle = centroid(vertices)
    return tuple(
        tuple(p + (x - c) / 2**bits for p, x, c in zip(place, vertex, middle, strict=True)) for vertex in vertices
    )


def inside(point: Vertex, vertices: tuple[Vertex, ...]) -> bool:
    """Whether all barycentric coordinates of the point are not negative."""
    matrix = np.array([list(column) for column in zip(*vertices, strict=True)], dtype=object)
    weights = exact_inverse(matrix) @ np.array(point, dtype=object)
    return all(w >= 0 for w in weights)
