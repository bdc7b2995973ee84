"""Obligations of out-of-distribution: literal prompts, every turn of a group and P as it is, for d = 1, 2, 3.

P = (G + kappa)^{-1} is a free symmetric matrix here, and G = P^{-1} - kappa enters as the polynomial det(P) G =
adj(P) - kappa det(P) I. The mean over the d 2^d signed cyclic permutations stands for every law that no turn changes:
both give E Q w w^T Q^T = |w|^2 I/d. Beyond d = 3 the statements are the same lines with more components: P G P = P -
kappa P^2 is all that they use, and signs and shifts do there what they do here; in words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from ..engines.identities import Identity
from ..engines.matrices import Matrix, total
from ..engines.points import Kind, Point
from .fixed_point import value
from .obligation import ClaimObligations, FormKind, Forms, Obligation, Polynomial
from .population_loss import TRUSTED

ERROR, NOISE, BIAS = "error of the predictor", "the part of the noise", "the part of the function"
DENSE, SPARSE = "dense prompts", "sparse prompts"
COMPONENTS = (1, 2, 3)
LENGTHS = (1, 2, 3)
DEGREE = 30  # of any product here: det(P) has 3 factors, a form at most 7, a prompt 6


def in_components(difference: Callable[[Point], Any], letters: Mapping[str, Kind]) -> Identity:
    """An identity in the entries of matrices for d = 1, 2, 3, each of them exact."""
    return Identity(difference, letters, {}, 1, DEGREE, 0, COMPONENTS)


def minor(M: Matrix, i: int, j: int) -> Matrix:
    """Without row i and column j."""
    rows = [row for place, row in enumerate(M.rows) if place != i]
    return Matrix(tuple(tuple(one for place, one in enumerate(row) if place != j) for row in rows))


def determinant(M: Matrix, one: Any) -> Any:
    """By the first row."""
    if not M.rows:
        return one
    signed = [M[0, j] * determinant(minor(M, 0, j), one) * (-1) ** j for j in range(len(M.rows))]
    return total(iter(signed))


def gram_times_determinant(point: Point) -> Matrix:
    """det(P) G = adj(P) - kappa det(P) I."""
    P, d = point.matrix("P"), point.dimension
    adjugate = Matrix.build(d, d, lambda i, j: determinant(minor(P, j, i), point.one) * (-1) ** (i + j))
    return adjugate - point.matrix("I").scaled(point["kappa"] * determinant(P, point.one))


def error_obligation(forms: Forms) -> Identity:
    """r^2 (G + kappa)(w - w_hat) from the normal equations of x = r z, y = x.w + e, for 1 to 3 examples."""
    del forms
    letters: dict[str, Kind] = dict.fromkeys((f"z{i}" for i in LENGTHS), "vector")
    letters |= dict.fromkeys((f"e{i}" for i in LENGTHS), "scalar")

    def difference(point: Point) -> list[Any]:
        found, r, kappa, w = [], point["r"], point["kappa"], point.matrix("w")
        for length in LENGTHS:
            inputs = [point.matrix(f"z{i}").scaled(r) for i in range(1, length + 1)]
            moment = total(x @ x.T for x in inputs)
            labels = [(x.T @ w)[0, 0] + point[f"e{i}"] for i, x in enumerate(inputs, start=1)]
            right = total(x.scaled(y) for x, y in zip(inputs, labels, strict=True))  # = (moment + r^2 kappa) w_hat
            left = (moment + point["I"].scaled(r * r * kappa)) @ w - right
            errors = total(x.scaled(point[f"e{i}"]) for i, x in enumerate(inputs, start=1))
            found.append(left - w.scaled(r * r * kappa) + errors)
        return found

    return in_components(difference, {**letters, "w": "vector", "r": "scalar", "kappa": "scalar"})


def noise_obligation(forms: Forms) -> Identity:
    """det(P) sigma2 tr(P G P) = det(P) noise: the mean of |P Z^T e|^2 over E e e^T = sigma2 I."""
    form = forms.expression(NOISE, "noise")

    def difference(point: Point) -> Any:
        P = point.matrix("P")
        literal = (P @ gram_times_determinant(point) @ P).trace() * point["sigma2"]
        return literal - determinant(P, point.one) * value(form, point)

    return in_components(difference, {"P": "symmetric", "kappa": "scalar", "sigma2": "scalar"})


def turned(w: Matrix, shift: int, signs: Sequence[int]) -> Matrix:
    """w shifted, then with its signs changed."""
    d = len(w.rows)
    return Matrix(tuple((w[(i - shift) % d, 0] * signs[i],) for i in range(d)))


def bias_obligation(forms: Forms) -> Identity:
    """d times the sum over turns of c kappa^2 |P Q w|^2 = (number of turns) bias at W = |w|^2."""
    form = forms.expression(BIAS, "bias")

    def difference(point: Point) -> Any:
        d, P, w = point.dimension, point.matrix("P"), point.matrix("w")
        turns = [turned(w, shift, signs) for shift in range(d) for signs in product((1, -1), repeat=d)]
        squares = total(((P @ one).T @ (P @ one))[0, 0] for one in turns)
        literal = squares * point["c"] * point["kappa"] * point["kappa"] * d
        at = point.with_values({"W": (w.T @ w)[0, 0]})
        return literal - value(form, at) * len(turns)

    return in_components(difference, {"P": "symmetric", "w": "vector", "c": "scalar", "kappa": "scalar"})


def whole(forms: Forms, point: Point, square: Any) -> Any:
    """d times the risk, at W = square and sigma2 = kappa c v."""
    noise, bias = forms.expression(NOISE, "noise"), forms.expression(BIAS, "bias")
    at = point.with_values({"W": square, "sigma2": point["kappa"] * point["c"] * point["v"]})
    return value(bias, at) + value(noise, at) * point.dimension


LETTERS: dict[str, Kind] = {"P": "symmetric", **dict.fromkeys(("c", "kappa", "v", "k", "s"), "scalar")}


def dense_obligation(forms: Forms) -> Identity:
    form = forms.expression(DENSE, "bayes")

    def difference(point: Point) -> Any:
        square = point["v"] * point.dimension
        return whole(forms, point, square) - value(form, point) * point.dimension

    return in_components(difference, LETTERS)


def sparse_obligation(forms: Forms) -> Identity:
    form = forms.expression(SPARSE, "excess")

    def difference(point: Point) -> Any:
        sparse, dense = point["k"] * point["s"], point["v"] * point.dimension
        return whole(forms, point, sparse) - whole(forms, point, dense) - value(form, point)

    return in_components(difference, LETTERS)


def share_obligation(forms: Forms) -> Identity:
    """The bias at W = k s times d v is that at W = d v times k s."""
    form = forms.expression(BIAS, "bias")

    def difference(point: Point) -> Any:
        sparse, dense = point["k"] * point["s"], point["v"] * point.dimension
        at = [value(form, point.with_values({"W": square})) for square in (sparse, dense)]
        return at[0] * dense - at[1] * sparse

    return in_components(difference, LETTERS)


def of_resolvent(**powers: tuple[int, ...]) -> Polynomial:
    """The kind of a polynomial in traces of P, of two letters at most.

    tr P^2, (tr P)^2 and tr P are independent functions of P in d = 2 and in d = 3, so both fix coefficients a + b d.
    With three letters (d - 3) times the third elementary symmetric function of the eigenvalues is 0 in COMPONENTS.
    """
    return Polynomial("1", "1", frozenset({"P"}), powers, most_letters=2)


ONE = (1,)
KINDS: dict[str, dict[str, FormKind]] = {
    ERROR: {},
    NOISE: {"noise": of_resolvent(sigma2=ONE, kappa=ONE)},
    BIAS: {"bias": of_resolvent(W=ONE, c=ONE, kappa=(2,))},
    DENSE: {"bayes": of_resolvent(kappa=ONE, c=ONE, v=ONE)},
    SPARSE: {"excess": of_resolvent(c=ONE, kappa=(2,), v=ONE, k=ONE, s=ONE, d=ONE)},
}


def obligations() -> ClaimObligations:
    """The five steps."""
    return ClaimObligations(
        "out-of-distribution",
        (
            "x = sqrt(c) z, y = w.x + e; E e e^T = sigma2 I, e independent of w and z; no turn changes the law of z",
            "kappa = sigma2/(c v) > 0",
        ),
        KINDS,
        (
            Obligation(ERROR, "c (G + kappa)(w - w_hat) = c kappa w - X^T e, N <= 3", error_obligation),
            Obligation(NOISE, "sigma2 tr(P G P) = noise, G = P^-1 - kappa", noise_obligation),
            Obligation(BIAS, "d sum_Q c kappa^2 |P Q w|^2 = d 2^d bias, Q the signed cyclic permutations",
                       bias_obligation),
            Obligation(DENSE, "bias + d noise at W = d v is d times bayes", dense_obligation),
            Obligation(SPARSE, "d (risk at W = k s - risk at W = d v) = excess", sparse_obligation),
            Obligation(SPARSE, "bias at W = k s over bias at W = d v is k s/(d v)", share_obligation),
        ),
        (
            TRUSTED[0], *TRUSTED[2:],
            "d > 3: the same lines with more components, in words.",
            "What is said of trained decoders is measured, not derived.",
        ),
    )  # fmt: skip
