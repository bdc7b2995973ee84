"""The Bayes predictor of the mixture in theory/: its derivation, exactness, and what it refuses."""

import math
from fractions import Fraction
from itertools import combinations
from typing import Any

import mpmath
import numpy as np
import pytest

from iclcheck.theory.mixtures import mixture_posterior
from iclcheck.theory.mixtures.exact_elimination import determinant, independent_columns, rational, solution
from iclcheck.theory.mixtures.mixture_posterior import for_user
from iclcheck.theory.one_layer.assumptions import AssumptionError

LAW: dict[str, Any] = {
    "dense_variance": 1.5, "sparse_variance": 0.5, "dense_probability": 0.25, "noise_variance": 0.1,
}  # fmt: skip


def prompt(seed: int, examples: int, d: int, nonzeros: int, noise: float) -> tuple[list[Any], list[Any], list[Any]]:
    draw = np.random.default_rng(seed)
    X, query, w = draw.normal(size=(examples, d)), draw.normal(size=d), draw.normal(size=d)
    w[nonzeros:] = 0
    return X.tolist(), (X @ w + math.sqrt(noise) * draw.normal(size=examples)).tolist(), query.tolist()


def by_enumeration(X: Any, y: Any, query: Any, k: int, law: dict[str, Any]) -> tuple[float, float]:
    """Bayes' rule on densities N(0, K) of every support, to 120 digits: no completed square, no residual."""
    with mpmath.workdps(120):
        n, d = len(y), len(query)
        labels, s2 = mpmath.matrix(y or [0]), mpmath.mpf(law["noise_variance"])
        supports = [tuple(range(d)), *combinations(range(d), k)]
        share = mpmath.mpf(law["dense_probability"])
        priors = [share, *[(1 - share) / (len(supports) - 1)] * (len(supports) - 1)]
        logs, means = [], []
        for place, support in enumerate(supports):
            v = mpmath.mpf(law["dense_variance" if place == 0 else "sparse_variance"])
            if not n:
                logs.append(mpmath.mpf(0))
                means.append(mpmath.mpf(0))
                continue
            R = mpmath.matrix([[row[j] for j in support] for row in X])
            K = s2 * mpmath.eye(n) + v * R * R.T
            a = mpmath.lu_solve(K, labels)
            logs.append(-(labels.T * a)[0] / 2 - mpmath.log(mpmath.det(K)) / 2)
            means.append((mpmath.matrix([[query[j] for j in support]]) * (v * R.T * a))[0])
        top = max(logs)
        joint = [p * mpmath.exp(one - top) for p, one in zip(priors, logs, strict=True)]
        total = sum(joint)
        return float(joint[0] / total), float(sum(p * m for p, m in zip(joint, means, strict=True)) / total)


def test_every_step_of_the_derivation_holds() -> None:
    assert mixture_posterior.derivation().failures(range(4)) == []


@pytest.mark.parametrize("noise", [1.0, 1e-2, 1e-8, 1e-30])
@pytest.mark.parametrize(("d", "k", "examples", "nonzeros"), [(2, 1, 2, 1), (4, 2, 3, 4), (6, 3, 4, 3), (6, 3, 8, 6)])
def test_it_is_the_enumeration_of_densities_of_y_to_120_digits(
    d: int, k: int, examples: int, nonzeros: int, noise: float
) -> None:
    X, y, query = prompt(d + examples, examples, d, nonzeros, noise)
    law = {**LAW, "noise_variance": noise}
    found = for_user(X, y, query, k, **law)
    # both are exact but for the last rounding to a float
    assert tuple(found) == pytest.approx(by_enumeration(X, y, query, k, law), rel=1e-15, abs=0)


def test_without_examples_it_is_the_prior() -> None:
    assert tuple(for_user([], [], [1.0, 2.0], 1, **LAW)) == (0.25, 0.0)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_class_of_probability_0_stays_out(share: float) -> None:
    X, y, query = prompt(1, 3, 3, 3, 0.1)
    found = for_user(X, y, query, 1, **{**LAW, "dense_probability": share})
    assert found.dense_posterior == share
    if share == 1.0:
        ridge = np.linalg.solve(np.array(X).T @ X + 0.1 / 1.5 * np.eye(3), np.array(X).T @ y)
        assert found.prediction == pytest.approx(ridge @ query, rel=1e-12)


def test_one_support_of_all_coordinates_and_equal_variances_leave_the_prior() -> None:
    X, y, query = prompt(2, 3, 3, 3, 0.1)
    found = for_user(X, y, query, 3, **{**LAW, "sparse_variance": 1.5})
    assert found.dense_posterior == pytest.approx(0.25, rel=1e-15)


def test_the_order_of_coordinates_and_of_examples_does_not_matter() -> None:
    X, y, query = prompt(3, 4, 4, 2, 0.1)
    there = for_user(X, y, query, 2, **LAW)
    turned = for_user([row[::-1] for row in X[::-1]], y[::-1], query[::-1], 2, **LAW)
    assert tuple(turned) == pytest.approx(tuple(there), rel=1e-15)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"X": [[1.0]]}, "need X of shape"),
        ({"y": [1.0, 2.0]}, "need X of shape"),
        ({"x_query": []}, "need x_query"),
        ({"sparsity": 3}, "from 1 to d = 2"),
        ({"sparsity": 1.5}, "whole number"),
        ({"noise_variance": 0}, "above 0"),
        ({"dense_probability": 1.1}, "between 0 and 1"),
        ({"sparse_variance": -1.0}, "above 0"),
        ({"x_query": [0.0] * 41}, "1 to 40 numbers"),
    ],
)
def test_other_input_is_refused_with_its_reason(changed: dict[str, Any], said: str) -> None:
    parameters: dict[str, Any] = {"X": [[1.0, 2.0]], "y": [1.0], "x_query": [1.0, 0.0], "sparsity": 1, **LAW}
    with pytest.raises(AssumptionError, match=said):
        for_user(**{**parameters, **changed})


def test_too_many_supports_are_refused() -> None:
    with pytest.raises(AssumptionError, match="at most 5000 supports, got 15504"):
        for_user([], [], [0.0] * 20, 5, **LAW)


# Elimination


@pytest.mark.parametrize("seed", range(4))
def test_elimination_gives_determinant_solution_and_rank(seed: int) -> None:
    import sympy as sp

    draw = np.random.default_rng(seed)
    numbers = rational([[Fraction(int(x), 7) for x in row] for row in draw.integers(-3, 4, size=(4, 4))])
    numbers[3] = numbers[0] * 2 if seed % 2 else numbers[3]
    exact = sp.Matrix(4, 4, [sp.Rational(x.numerator, x.denominator) for x in numbers.reshape(-1)])
    assert str(determinant(numbers)) == str(exact.det())
    assert tuple(independent_columns(numbers)) == exact.rref()[1]
    if seed % 2:
        with pytest.raises(ValueError, match="singular"):
            solution(numbers, numbers[:, :1])
    else:
        assert (numbers @ solution(numbers, numbers[:, :1]) == numbers[:, :1]).all()


def test_the_empty_determinant_is_1() -> None:
    assert determinant([]) == 1
