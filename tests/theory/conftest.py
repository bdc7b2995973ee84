"""Oracles of the theory tests: they share no code with theory/, and say so by their plainness."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from numpy.polynomial.legendre import leggauss

from iclcheck.theory.algebra.trace_polynomials import TracePolynomial, identity, matrix, scalar, trace, vector


def rationals(array: Any) -> Any:
    """An object array of rational numbers."""
    flat = [Fraction(value) for value in np.asarray(array, dtype=object).reshape(-1)]
    return np.array(flat, dtype=object).reshape(np.shape(array))


@pytest.fixture(scope="session")
def rational_values() -> Callable[[int, int], dict[str, Any]]:
    """Values of the letters A, B (invertible), S (symmetric), v, z and the symbols u, N at a seed."""

    def values(d: int, seed: int) -> dict[str, Any]:
        draw = random.Random(f"values {d} {seed}")

        def entries(rows: int, cols: int) -> Any:
            return rationals([[draw.randint(-3, 3) for _ in range(cols)] for _ in range(rows)])

        lower = np.tril(entries(d, d), -1) + rationals(np.eye(d, dtype=int))
        upper = np.triu(entries(d, d), 1) + rationals(np.eye(d, dtype=int))
        root = entries(d, d)
        return {
            "A": entries(d, d),
            "B": lower @ upper,  # determinant 1
            "B^-1": inverse_of_unit_triangular(upper) @ inverse_of_unit_triangular(lower),
            "S": root + root.T,
            "v": entries(d, 1),
            "z": entries(d, 1),
            "u": Fraction(draw.choice((-2, 3)), 5),
            "N": Fraction(draw.randint(1, 5)),
        }

    return values


def inverse_of_unit_triangular(matrix: Any) -> Any:
    """(I + K)^-1 = I - K + K^2 - ... for nilpotent K."""
    d = len(matrix)
    eye = rationals(np.eye(d, dtype=int))
    power, total = eye, eye
    for _ in range(d):
        power = power @ (eye - matrix)
        total = total + power
    return total


LEAVES: dict[str, TracePolynomial] = {
    "A": matrix("A"),
    "B": matrix("B"),
    "B^-1": matrix("B") ** -1,
    "S": matrix("S", symmetric=True),
    "v z^T": vector("v") * vector("z").T,
    "I": identity(),
}


@pytest.fixture(scope="session")
def run_programme() -> Callable[[Sequence[int], Mapping[str, Any]], tuple[TracePolynomial, Any]]:
    """Run one random programme of matrix operations twice: on trace polynomials, and on plain arrays.

    Codes 0..5 push a leaf, the others act on the top of the stack, so that any list of codes is a programme.
    """

    def run(codes: Sequence[int], values: Mapping[str, Any]) -> tuple[TracePolynomial, Any]:
        d = len(values["A"])
        eye = rationals(np.eye(d, dtype=int))
        arrays = {**values, "v z^T": values["v"] @ values["z"].T, "I": eye}
        v, z, u, N = vector("v"), vector("z"), scalar("u"), scalar("N")
        stack: list[tuple[TracePolynomial, Any]] = [(LEAVES["A"], arrays["A"])]
        for code in codes:
            if code < 6:
                name = list(LEAVES)[code]
                stack.append((LEAVES[name], arrays[name]))
                continue
            p, a = stack.pop()
            if code in (6, 7, 8) and stack:
                q, b = stack.pop()
                stack.append(((q + p, b + a), (q - p, b - a), (q * p, b @ a))[code - 6])
            elif code == 9:
                stack.append((p.T, a.T))
            elif code == 10:
                stack.append((trace(p) * LEAVES["S"], np.trace(a) * arrays["S"]))
            elif code == 11:
                stack.append((v.T * p * z * LEAVES["B"], (v_a := values["v"].T @ a @ values["z"])[0, 0] * arrays["B"]))
                assert v_a.shape == (1, 1)
            elif code == 12:
                stack.append((u**2 * p / 3 - N**-1 * identity(), a * values["u"] ** 2 / 3 - eye / values["N"]))
            else:
                stack.append((p, a))
        return reduce(lambda left, right: (left[0] * right[0], left[1] @ right[1]), stack)

    return run


class Components:
    """A polynomial in named components with rational coefficients: {sorted names: coefficient}."""

    def __init__(self, terms: Mapping[tuple[Any, ...], Fraction]) -> None:
        self.terms = {k: c for k, c in terms.items() if c}

    def __add__(self, other: Any) -> Components:
        if isinstance(other, np.ndarray):
            return NotImplemented  # an array works entry by entry
        total: defaultdict[tuple[Any, ...], Fraction] = defaultdict(Fraction, self.terms)
        for key, c in as_components(other).terms.items():
            total[key] += c
        return Components(total)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Components:
        if isinstance(other, np.ndarray):
            return NotImplemented  # an array works entry by entry
        total: defaultdict[tuple[Any, ...], Fraction] = defaultdict(Fraction)
        right = as_components(other).terms.items()
        for key, c in self.terms.items():
            for key_2, c_2 in right:
                total[tuple(sorted(key + key_2))] += c * c_2
        return Components(total)

    __rmul__ = __mul__

    def __sub__(self, other: Any) -> Components:
        if isinstance(other, np.ndarray):
            return NotImplemented  # an array works entry by entry
        return self + as_components(other) * -1

    def __rsub__(self, other: Any) -> Components:
        if isinstance(other, np.ndarray):
            return NotImplemented  # an array works entry by entry
        return as_components(other) - self

    def mean(self, mean_of_product: Callable[[tuple[Any, ...]], Fraction]) -> Fraction:
        return sum((c * mean_of_product(key) for key, c in self.terms.items()), Fraction(0))


def as_components(value: Any) -> Components:
    return value if isinstance(value, Components) else Components({(): Fraction(value)})


@pytest.fixture(scope="session")
def random_column() -> Callable[[str, int, int], Any]:
    """The column vector (d, 1) of the components of a named sample."""

    def column(name: str, sample: int, d: int) -> Any:
        entries = [[Components({((name, sample, a),): Fraction(1)})] for a in range(d)]
        return np.array(entries, dtype=object)

    return column


@pytest.fixture(scope="session")
def isserlis() -> Callable[[Any, Mapping[str, Any]], Any]:
    """E of an array of polynomials in Gaussian components, by the recursion over pairings.

    `covariances` gives one matrix for each name; other names and other samples are independent.
    """

    def mean(array: Any, covariances: Mapping[str, Any]) -> Any:
        known: dict[tuple[Any, ...], Fraction] = {(): Fraction(1)}

        def covariance(p: tuple[str, int, int], q: tuple[str, int, int]) -> Fraction:
            return Fraction(covariances[p[0]][p[2]][q[2]]) if p[:2] == q[:2] else Fraction(0)

        def product_mean(names: tuple[Any, ...]) -> Fraction:
            if names not in known:
                first, rest = names[0], names[1:]
                known[names] = sum(
                    (
                        c * product_mean(rest[:k] + rest[k + 1 :])
                        for k, other in enumerate(rest)
                        if (c := covariance(first, other))
                    ),
                    Fraction(0),
                )
            return known[names]

        flat = [as_components(entry).mean(product_mean) for entry in np.asarray(array, dtype=object).reshape(-1)]
        return np.array(flat, dtype=object).reshape(np.shape(array))

    return mean


@pytest.fixture(scope="session")
def independent_mean() -> Callable[[Any, Callable[[Any, int], Fraction]], Any]:
    """E of an array of polynomials in independent components with moments `moment(component, order)`."""

    def mean(array: Any, moment: Callable[[Any, int], Fraction]) -> Any:
        def product_mean(names: tuple[Any, ...]) -> Fraction:
            value = Fraction(1)
            for name in set(names):
                value *= moment(name, names.count(name))
            return value

        flat = [as_components(entry).mean(product_mean) for entry in np.asarray(array, dtype=object).reshape(-1)]
        return np.array(flat, dtype=object).reshape(np.shape(array))

    return mean


@pytest.fixture(scope="session")
def quadrature_mean() -> Callable[..., Any]:
    """E f(z) for independent standardised z by a product rule, exact for polynomials.

    `nodes` lists for each variable the number m of its nodes: degrees up to 2 m - 1 in it are exact.
    The variables named in `uniform` are uniform with unit variance, the others Gaussian. f takes an array
    (number of variables, points) and returns (points,).
    """

    def mean(f: Callable[[Any], Any], nodes: Sequence[int], uniform: frozenset[int] = frozenset()) -> float:
        axes, weights = [], []
        for k, m in enumerate(nodes):
            points, w = leggauss(m) if k in uniform else hermegauss(m)
            axes.append(points * 3**0.5 if k in uniform else points)
            weights.append(w / w.sum())
        grid = np.stack([g.reshape(-1) for g in np.meshgrid(*axes, indexing="ij")])
        weight = reduce(np.multiply.outer, weights).reshape(-1)
        return float(weight @ f(grid))

    return mean
