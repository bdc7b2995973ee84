"""Obligations of linear-sinusoid-posterior: literal prompts of 1 to 4 examples against the forms in their sums.

Why these lengths speak for every N: each statement but the determinant is, for fixed letters, a polynomial of degree at
most 4 in the examples that depends on them through sums over one or two of them; the terms of such sums all occur with
two examples and those after repeat them. The determinant's form sigma2 + v sum r^2 gains v r_N^2 with each example, as
det(M + v r r^T) does (one step of the elimination), in words beyond N = 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..engines.identities import Identity
from ..engines.matrices import total
from ..engines.points import Kind, Point
from .fixed_point import value
from .obligation import ClaimObligations, FormKind, Forms, Obligation, Polynomial
from .population_loss import TRUSTED

SQUARE, EVIDENCE, PHASE = "completing the square", "evidence of one coefficient", "sums by phase"
TURN, MIXTURE = "half a turn of the phase", "posterior mean of a mixture"
LENGTHS = (1, 2, 3, 4)
DEGREE = 40  # of any product here: the determinant at N = 4 has 12, a form at most 9 in each of three factors
EXAMPLES = " ".join(f"{name}{i}" for name in "rySK" for i in LENGTHS)


def in_scalars(difference: Callable[[Point], Any], names: str) -> Identity:
    """An identity between polynomials in numbers."""
    letters: dict[str, Kind] = dict.fromkeys(names.split(), "scalar")
    return Identity(difference, letters, {}, 1, DEGREE, 0, (1,))


def sum_of(point: Point, left: str, right: str, length: int) -> Any:
    """sum_i left_i right_i over the first examples."""
    return total(point[f"{left}{i}"] * point[f"{right}{i}"] for i in range(1, length + 1))


def sums_of(point: Point, pairs: Mapping[str, str], length: int) -> Point:
    """The point with the sums of products, named by the two letters of an example."""
    return point.with_values({name: sum_of(point, pair[0], pair[1], length) for name, pair in pairs.items()})


def with_sums(point: Point, length: int) -> Point:
    """The letters R, C and Y of a literal prompt."""
    return sums_of(point, {"R": "rr", "C": "ry", "Y": "yy"}, length)


def with_phase_sums(point: Point, length: int) -> Point:
    """The letters A, B, G, c_1 and c_2 of a literal prompt."""
    return sums_of(point, {"A": "SS", "B": "SK", "G": "KK", "c_1": "Sy", "c_2": "Ky"}, length)


def square_obligation(forms: Forms) -> Identity:
    precision, mean, left = (forms.expression(SQUARE, name) for name in ("precision", "mean", "left"))

    def difference(point: Point) -> list[Any]:
        found, u, v = [], point["u"], point["v"]
        for length in LENGTHS:
            at = with_sums(point, length)
            errors = [point[f"y{i}"] - u * point[f"r{i}"] for i in range(1, length + 1)]
            literal = v * total(one * one for one in errors) + point["sigma2"] * u * u
            D, rest = value(precision, at), value(precision, at) * u - value(mean, at)
            found.append(D * literal - rest * rest - v * value(left, at))
        return found

    return in_scalars(difference, f"u v sigma2 {EXAMPLES}")


def same_obligation(forms: Forms) -> Identity:
    """The evidence uses the forms of the square."""
    pairs = (("determinant", "precision"), ("vector", "mean"), ("exponent", "left"))
    read = [(forms.expression(EVIDENCE, one), forms.expression(SQUARE, other)) for one, other in pairs]
    return in_scalars(lambda point: [value(one, point) - value(other, point) for one, other in read], "v sigma2 R C Y")


def covariance(point: Point, length: int) -> list[list[Any]]:
    """sigma2 I + v r r^T."""
    places = range(1, length + 1)
    return [
        [point["v"] * point[f"r{i}"] * point[f"r{j}"] + point["sigma2"] * int(i == j) for j in places] for i in places
    ]


def determinant(rows: list[list[Any]]) -> Any:
    """By the first row."""
    if len(rows) == 1:
        return rows[0][0]
    minors = [determinant([[*row[:k], *row[k + 1 :]] for row in rows[1:]]) for k in range(len(rows))]
    return total(minor * rows[0][k] * (-1) ** k for k, minor in enumerate(minors))


def determinant_obligation(forms: Forms) -> Identity:
    form = forms.expression(EVIDENCE, "determinant")

    def difference(point: Point) -> list[Any]:
        found, power = [], point.one
        for length in LENGTHS:
            found.append(determinant(covariance(point, length)) - power * value(form, with_sums(point, length)))
            power = power * point["sigma2"]
        return found

    return in_scalars(difference, f"v sigma2 {EXAMPLES}")


def inverse_obligation(forms: Forms) -> Identity:
    """(sigma2 I + v r r^T)(D y - vector r) = sigma2 D y, and y.(D y - vector r) = exponent."""
    D_form, vector, exponent = (forms.expression(EVIDENCE, name) for name in ("determinant", "vector", "exponent"))

    def difference(point: Point) -> list[Any]:
        found = []
        for length in LENGTHS:
            at, places = with_sums(point, length), range(1, length + 1)
            D, M = value(D_form, at), value(vector, at)
            z = [D * point[f"y{i}"] - M * point[f"r{i}"] for i in places]
            for row, i in zip(covariance(point, length), places, strict=True):
                image = total(entry * one for entry, one in zip(row, z, strict=True))
                found.append(image - point["sigma2"] * D * point[f"y{i}"])
            found.append(total(point[f"y{i}"] * one for i, one in zip(places, z, strict=True)) - value(exponent, at))
        return found

    return in_scalars(difference, f"v sigma2 {EXAMPLES}")


def phase_obligation(forms: Forms) -> Identity:
    squares, products = (forms.expression(PHASE, name) for name in ("squares", "products"))

    def difference(point: Point) -> list[Any]:
        found = []
        for length in LENGTHS:
            places, at = range(1, length + 1), with_phase_sums(point, length)
            rows = [point[f"S{i}"] * point["p"] + point[f"K{i}"] * point["q"] for i in places]
            found.append(total(row * row for row in rows) - value(squares, at))
            labels = [row * point[f"y{i}"] for row, i in zip(rows, places, strict=True)]
            found.append(total(iter(labels)) - value(products, at))
        return found

    return in_scalars(difference, f"p q {EXAMPLES}")


def turn_obligation(forms: Forms) -> Identity:
    """(p, q) -> (-p, -q): R stays and C turns its sign; so do the precision, the exponent, and the mean."""
    squares, products = (forms.expression(PHASE, name) for name in ("squares", "products"))
    precision, mean, left = (forms.expression(SQUARE, name) for name in ("precision", "mean", "left"))

    def model(point: Point) -> list[Any]:
        at = point.with_values({"R": value(squares, point), "C": value(products, point)})
        return [value(form, at) for form in (precision, left, mean)]

    def difference(point: Point) -> list[Any]:
        here, there = model(point), model(point.with_values({"p": -point["p"], "q": -point["q"]}))
        return [here[0] - there[0], here[1] - there[1], here[2] + there[2]]

    return in_scalars(difference, "v sigma2 Y A B G c_1 c_2 p q")


def mixture_obligation(forms: Forms) -> Identity:
    weight, weighted = (forms.expression(MIXTURE, name) for name in ("weight", "weighted"))

    def difference(point: Point) -> Any:
        a, b, m, n, f = (point[name] for name in "abmnf")
        W, rest = value(weight, point), value(weight, point) * f - value(weighted, point)
        cost = a * (m - f) * (m - f) + b * (n - f) * (n - f)
        return W * cost - rest * rest - a * b * (m - n) * (m - n)

    return in_scalars(difference, "a b m n f")


def scalars(**powers: tuple[int, ...]) -> Polynomial:
    """The kind of a polynomial in numbers, with these powers."""
    return Polynomial("1", "1", frozenset(), powers)


ONE = (1,)
PRECISION, MEAN = scalars(v=ONE, R=ONE, sigma2=ONE), scalars(v=ONE, C=ONE)
LEFT = scalars(v=ONE, R=ONE, Y=ONE, sigma2=ONE, C=(2,))
KINDS: dict[str, dict[str, FormKind]] = {
    SQUARE: {"precision": PRECISION, "mean": MEAN, "left": LEFT},
    EVIDENCE: {"determinant": PRECISION, "vector": MEAN, "exponent": LEFT},
    PHASE: {
        "squares": scalars(A=ONE, B=ONE, G=ONE, p=(1, 2), q=(1, 2)),
        "products": scalars(c_1=ONE, c_2=ONE, p=ONE, q=ONE),
    },
    TURN: {},
    MIXTURE: {"weight": scalars(a=ONE, b=ONE), "weighted": scalars(a=ONE, b=ONE, m=ONE, n=ONE)},
}


def obligations() -> ClaimObligations:
    """The five steps."""
    return ClaimObligations(
        "linear-sinusoid-posterior",
        (
            "y_i = u r_i + e_i, u ~ N(0, v), e_i ~ N(0, sigma2), independent; any r_1 .. r_N; the row of a sinusoid is "
            "sin(omega x + phi) = sin(omega x) cos(phi) + cos(omega x) sin(phi)",
        ),
        KINDS,
        (
            Obligation(SQUARE, "D (v sum (y - u r)^2 + sigma2 u^2) = (D u - mean)^2 + v left, N <= 4",
                       square_obligation),
            Obligation(EVIDENCE, "determinant, vector and exponent are precision, mean and left", same_obligation),
            Obligation(EVIDENCE, "det(sigma2 I + v r r^T) = sigma2^(N-1) determinant, N <= 4", determinant_obligation),
            Obligation(EVIDENCE, "(sigma2 I + v r r^T)(D y - vector r) = sigma2 D y; y.(..) = exponent, N <= 4",
                       inverse_obligation),
            Obligation(PHASE, "sum (S p + K q)^2 = squares, sum (S p + K q) y = products, N <= 4", phase_obligation),
            Obligation(TURN, "precision and left are even in (p, q), mean is odd", turn_obligation),
            Obligation(MIXTURE, "weight times the cost of f = (weight f - weighted)^2 + a b (m - n)^2",
                       mixture_obligation),
        ),
        (
            TRUSTED[0], *TRUSTED[2:],
            "The density of a normal vector, Bayes' rule and the addition theorem of the sine.",
            "The integral over omega and phi is a quadrature with an error estimated by doubling, not certified.",
        ),
    )  # fmt: skip
