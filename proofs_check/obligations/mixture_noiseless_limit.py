"""Obligations of mixture-noiseless-limit: a design in independent columns, powers of s2 counted, and the risk.

B and C are letters of their own, R = B C; a = B^T B b and t = kappa a + s2 b are then polynomials in the letters, so
that no inverse enters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import flint

from ..engines.expressions import Expression
from ..engines.gaussian_means import gaussian_mean
from ..engines.identities import Identity
from ..engines.matrices import Matrix, stack
from ..engines.points import Kind, Point
from ..engines.relations import Relation, Relations
from .fixed_point import value
from .mixture_baseline_risks import in_scalars
from .mixture_posterior import RECTANGULAR, determinant, dot, in_numbers, of_examples
from .obligation import ClaimObligations, FormKind, Forms, Obligation, Rational
from .population_loss import TRUSTED

EXPONENT, DETERMINANT, RATE = "exponent", "determinant", "rate"
OPEN, RISK = "supports that fit", "risk on dense functions"
LETTERS: dict[str, Kind] = {"B": "matrix", "C": "matrix", "b": "vector", "s2": "scalar", "v": "scalar"}
VECTORS = frozenset({"a", "b", "e"})
PAIRS, DEGREE = 10, 24  # of the literal products: at most eight matrices and two vectors, and five numbers


def in_letters(
    difference: Callable[[Point], Any], forms: tuple[Expression, ...], further: Mapping[str, Kind]
) -> Identity:
    """An identity for all B, C, b, s2, v and further letters; every form enters at most twice."""
    pairs = PAIRS + 2 * sum(form.pairs_of_legs(VECTORS) for form in forms)
    degree = DEGREE + 2 * sum(form.degree() for form in forms)
    return Identity(difference, {**LETTERS, **further}, {}, pairs, degree, 0, (1, 2))


def of_design(forms: Forms) -> tuple[Expression, Expression]:
    """kappa in the letter X for C, and M in the letter X for B."""
    return forms.expression(EXPONENT, "kernel"), forms.expression(EXPONENT, "left")


def kernel_and_gram(forms: Forms, point: Point) -> tuple[Matrix, Matrix]:
    kernel, left = of_design(forms)
    return value(kernel, point, X=point["C"]), value(left, point, X=point["B"])


def covariance(point: Point) -> Matrix:
    """s2 I + v R R^T, R = B C."""
    R = point["B"] @ point["C"]
    found: Matrix = point["I"] * point["s2"] + R @ R.T * point["v"]
    return found


def exponent_obligation(forms: Forms) -> Identity:
    """K B b = B t; K e = s2 e + v B C C^T B^T e; v R^T B b = v C^T a: with B^T e = 0 all that the step says."""

    def difference(point: Point) -> list[Any]:
        kernel, gram = kernel_and_gram(forms, point)
        B, C, b, e, s2 = (point[name] for name in ("B", "C", "b", "e", "s2"))
        K, a = covariance(point), gram @ b
        t = kernel @ a + b * s2
        along = B @ b
        return [
            K @ along - B @ t,
            K @ e - e * s2 - B @ kernel @ B.T @ e,
            (B @ C).T @ along * point["v"] - C.T @ a * point["v"],
            dot(B @ t, along) - dot(t, a),
        ]

    return in_letters(difference, of_design(forms), {"e": "vector"})


def determinant_obligation(forms: Forms) -> Identity:
    """[[s2 I, B], [-kappa B^T, I]] is [[I, B], [0, I]] [[K, 0], [-kappa B^T, I]]; times [[I, -B], [0, s2 I]] it is
    block triangular with s2 I and s2 I + kappa M."""

    def difference(point: Point) -> list[Any]:
        kernel, gram = kernel_and_gram(forms, point)
        B, eye, s2 = point["B"], point["I"], point["s2"]
        zero, below = eye * (point.one * 0), -(kernel @ B.T)
        whole = stack([[eye * s2, B], [below, eye]])
        factored = stack([[eye, B], [zero, eye]]) @ stack([[covariance(point), zero], [below, eye]])
        triangular = stack([[eye * s2, zero], [below, eye * s2 + kernel @ gram]])
        return [whole - factored, whole @ stack([[eye, -B], [zero, eye * s2]]) - triangular]

    return in_letters(difference, of_design(forms), {})


SMALL = ((1, 1), (2, 1), (3, 1), (2, 2), (3, 2))


def order_obligation(forms: Forms) -> Identity:
    """det(s2 I + v X X^T) has no power of s2 below N - r at r = k, and there the coefficient det(X^T X) det(v I)."""
    kernel, left = of_design(forms)
    power = forms.expression(DETERMINANT, "power")

    def difference(point: Point) -> list[Any]:
        found = []
        for N, k in SMALL:
            X = Matrix.build(N, k, lambda i, j: point[f"x{i + 1}{j + 1}"])
            eye, eye_k = (Matrix.build(n, n, lambda i, j: point.one * int(i == j)) for n in (N, k))
            K = eye * point["s2"] + X @ X.T * point["v"]
            sizes = point.with_values({"N": point.one * N, "r": point.one * k})
            here = int(str(value(power, sizes)))
            low, at = coefficients_of_noise(determinant(K), point, here)
            inner = value(kernel, point.with_values({"X": eye_k, "I": eye_k}))
            outer = value(left, point.with_values({"X": X, "I": eye_k}))
            found += [low, at - determinant(outer) * determinant(inner)]
        return found

    return in_numbers(difference, [f"x{i}{j}" for i, j in product((1, 2, 3), (1, 2))] + ["v"], ("s2",))


def coefficients_of_noise(polynomial: Any, point: Point, power: int) -> tuple[Any, Any]:
    """The sum of the terms below that power of s2 (s2 put to 1 there), and the coefficient of the power."""
    (place,) = point.numbers["s2"]
    low, here = point.one * 0, point.one * 0
    generators = polynomial.context().gens()
    for powers, coefficient in polynomial.to_dict().items():
        term = point.one * coefficient
        for k, generator in enumerate(generators):
            if k != place:
                term = term * generator ** int(powers[k])
        if int(powers[place]) < power:
            low = low + term
        elif int(powers[place]) == power:
            here = here + term
    return low, here


def rate_obligation(forms: Forms) -> Identity:
    """t.(a_0 - a) = remainder at (a_0, b), plus a.(kappa a_0 - t)."""
    remainder = forms.expression(RATE, "remainder")

    def difference(point: Point) -> Any:
        kernel, gram = kernel_and_gram(forms, point)
        b, start = point["b"], point["a_0"]
        a = gram @ b
        t = kernel @ a + b * point["s2"]
        return dot(t, start - a) - value(remainder, point, a=start) - dot(a, kernel @ start - t)

    return in_letters(difference, (*of_design(forms), remainder), {"a_0": "vector"})


FITTING = ((1, 6, 3), (2, 6, 1), (3, 6, 0), (4, 6, 0))  # nonzeros of 4; k = 2-supports that fit 2 and 3 examples


def fits_obligation(forms: Forms) -> Relations:
    """At X_ij = (i + 1)^(j + 1) + (j + 1)^3, generic: how many of the six 2-supports fit 2 and 3 examples."""
    del forms

    def asked() -> list[Relation]:
        found = []
        X = [[(i + 1) ** (j + 1) + (j + 1) ** 3 for j in range(4)] for i in range(3)]
        for nonzeros, at_k, beyond in FITTING:
            w = [j + 2 if j < nonzeros else 0 for j in range(4)]
            y = [sum(x * c for x, c in zip(row, w, strict=True)) for row in X]
            for N, expected in ((2, at_k), (3, beyond)):
                counted = sum(fits(X[:N], y[:N], (i, j)) for j in range(4) for i in range(j))
                name = f"2-supports that fit {N} examples of {nonzeros} nonzeros"
                found.append(Relation(name, flint.fmpq(counted), "=", flint.fmpq(expected)))
        return found

    return Relations(asked)


def fits(X: list[list[int]], y: list[int], support: tuple[int, int]) -> bool:
    """Whether the rank of the columns stays when y is put beside them."""
    used = [[row[j] for j in support] for row in X]
    beside = [[*row, label] for row, label in zip(used, y, strict=True)]
    return bool(flint.fmpq_mat(flint.fmpz_mat(used)).rank() == flint.fmpq_mat(flint.fmpz_mat(beside)).rank())


def risk_obligation(forms: Forms) -> Identity:
    """det^2 times E (x . (I - P) w)^2 = det^2 risk, P = X^T adj(X X^T) X/det, for d up to 3 and N < d, every entry."""
    top, bottom = forms.quotient(RISK, "risk")

    def difference(point: Point) -> list[Any]:
        found = []
        for N, d in ((1, 1), (1, 2), (1, 3), (2, 2), (2, 3)):
            mean, det = mean_outside(point, N, d)
            sizes = point.with_values({"N": point.one * N, "d": point.one * d})
            found.append(mean * value(bottom, sizes) - det * det * value(top, sizes))
        return found

    entries = [f"x{i}{j}" for i, j in product((1, 2), (1, 2, 3))]
    return in_numbers(difference, [*entries, "v_d"], tuple(f"{kind}{j}" for kind in "wq" for j in (1, 2, 3)))


def trace_obligation(forms: Forms) -> Identity:
    """risk = v_d (d - N) for all N and d: the few sizes above leave powers of N open."""
    risk = forms.quotient(RISK, "risk")

    def difference(point: Point) -> Any:
        top, bottom = (value(part, point) for part in risk)
        return top - bottom * point["v_d"] * (point["d"] - point["N"])

    return in_scalars(difference, (*risk,), ("v_d", "N"), 2)


def mean_outside(point: Point, N: int, d: int) -> tuple[Any, Any]:
    """det^2 E (x . (I - P) w)^2 over x ~ N(0, I), w ~ N(0, v_d I), and det = det X X^T."""
    X = Matrix.build(N, d, lambda i, j: point[f"x{i + 1}{j + 1}"])
    whole = X @ X.T
    det = determinant(whole)
    outside = Matrix.build(d, d, lambda i, j: det * int(i == j)) - X.T @ adjugate(whole) @ X
    names = [f"{kind}{j}" for kind in "wq" for j in range(1, d + 1)]
    variances = [point["v_d"]] * d + [point.one] * d
    law = Matrix.build(2 * d, 2 * d, lambda i, j: variances[i] * int(i == j))
    w, q = (Matrix.build(d, 1, lambda i, _, first=first: point[names[first + i]]) for first in (0, d))  # type: ignore[misc]
    error = dot(q, outside @ w)
    return gaussian_mean(error * error, [point.numbers[name][0] for name in names], law), det


def adjugate(matrix: Matrix) -> Matrix:
    """Of one or two rows."""
    if matrix.shape == (1, 1):
        return Matrix(((matrix[0, 0] * 0 + 1,),))
    return Matrix(((matrix[1, 1], -matrix[0, 1]), (-matrix[1, 0], matrix[0, 0])))


KINDS: dict[str, dict[str, FormKind]] = {
    EXPONENT: {"kernel": of_examples("d", "d", "X", v=(1,)), "left": of_examples("d", "d", "X")},
    DETERMINANT: {"power": of_examples("1", "1", "", N=(1,), r=(1,))},
    RATE: {"remainder": of_examples("1", "1", "a b", s2=(1,))},
    OPEN: {},
    RISK: {"risk": Rational(frozenset({"v_d", "d", "N"}))},
}
WORDS = (
    f"The step {OPEN!r}: that inputs with a density are generic is proved in words; counted is one generic prompt.",
    "That the posterior is continuous in s2 where the factors are; exp(-|e|^2/(2 s2)) beats every power of s2.",
    f"The step {RISK!r} beyond d = 3: the trace of a projection is its rank.",
)


def obligations() -> ClaimObligations:
    """The five steps."""
    return ClaimObligations(
        "mixture-noiseless-limit",
        ("y = B t + e, B^T e = 0, R = B C of rank r; s2 -> 0; inputs with a density where it says so",),
        KINDS,
        (
            Obligation(EXPONENT, "K B b = B t, K e = s2 e, v R^T B b = v C^T a at a = M b", exponent_obligation),
            Obligation(DETERMINANT, "a block matrix of K, and of s2 I + kappa M, factored", determinant_obligation),
            Obligation(DETERMINANT, "det K starts at s2^power with det M det kappa, N, k up to 3, 2", order_obligation),
            Obligation(RATE, "t.(a_0 - a) = remainder where kappa a_0 = t", rate_obligation),
            Obligation(OPEN, "2-supports of 4 that fit 2 and 3 examples, counted by ranks", fits_obligation),
            Obligation(RISK, "E (x.(I - P) w)^2 = risk, every entry of X a letter", risk_obligation),
            Obligation(RISK, "risk = v_d (d - N)", trace_obligation),
        ),
        (TRUSTED[0], TRUSTED[3], RECTANGULAR, *WORDS),
    )
