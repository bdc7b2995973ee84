"""The noiseless limit in theory/: its derivation, its numbers beside those at little noise, and what it refuses."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from iclcheck.theory.mixtures import mixture_posterior, noiseless_limit
from iclcheck.theory.mixtures.noiseless_limit import limits, points
from iclcheck.theory.mixtures.noiseless_predictions import for_user
from iclcheck.theory.one_layer.assumptions import AssumptionError

LAW: dict[str, Any] = {"dense_variance": 1.5, "sparse_variance": 0.5, "dense_probability": 0.25}


def whole(seed: int, N: int, d: int, nonzeros: int) -> tuple[list[Any], list[Any], list[Any]]:
    """A prompt of whole numbers without noise."""
    draw = np.random.default_rng(seed)
    X, query, w = draw.integers(-9, 10, size=(N, d)), draw.integers(-9, 10, size=d), draw.integers(1, 4, size=d)
    w[nonzeros:] = 0
    return X.tolist(), (X @ w).tolist(), query.tolist()


def test_every_step_of_the_derivation_holds() -> None:
    assert noiseless_limit.derivation().failures(range(4)) == []


@pytest.mark.parametrize(
    ("N", "d", "k", "nonzeros"), [(1, 2, 1, 2), (2, 3, 2, 3), (2, 3, 1, 1), (3, 3, 1, 3), (3, 4, 2, 1), (5, 3, 2, 3)]
)
def test_at_noise_1e_40_the_predictor_with_noise_is_the_limit(N: int, d: int, k: int, nonzeros: int) -> None:
    X, y, query = whole(N + 10 * d, N, d, nonzeros)
    found = for_user(X, y, query, k, **LAW)
    near = mixture_posterior.for_user(X, y, query, k, **LAW, noise_variance=1e-40)
    # the rate is s2^(1/2) or faster: 1e-20 times a slope, far below what a float holds
    assert found[:2] == pytest.approx(tuple(near), rel=1e-13, abs=1e-15)


def test_columns_that_depend_on_each_other_are_of_lower_rank() -> None:
    X, query = [[1, 2, 0], [2, 4, 1], [0, 0, 1]], [1, 1, 1]
    y = [1, 2, 0]  # the first column; the second is twice that
    found = for_user(X, y, query, 1, **LAW)
    near = mixture_posterior.for_user(X, y, query, 1, **LAW, noise_variance=1e-40)
    assert found.supports_left == 2
    assert found[:2] == pytest.approx(tuple(near), rel=1e-13, abs=1e-15)


def test_k_plus_1_examples_identify_the_class_and_k_do_not() -> None:
    for nonzeros, identified in ((2, "sparse"), (3, "dense"), (4, "dense"), (5, "dense")):
        X, y, query = whole(7, 3, 5, nonzeros)
        assert for_user(X[:2], y[:2], query, 2).identified == "neither"
        assert for_user(X, y, query, 2).identified == identified


def test_functions_with_more_nonzeros_are_predicted_by_least_squares_of_least_norm() -> None:
    X, y, query = whole(11, 3, 5, 3)
    least_norm = np.linalg.lstsq(np.array(X, dtype=float), np.array(y, dtype=float))[0]
    assert for_user(X, y, query, 2).prediction == pytest.approx(query @ least_norm, rel=1e-12)


def test_the_factor_of_order_1_moves_by_no_more_than_the_slope_allows() -> None:
    for values in points("rate"):
        for s2 in (Fraction(1, 1000), Fraction(1, 10**9)):
            at_noise = mixture_posterior.formula().value({**values, "s2": s2})
            for row, limit in zip(at_noise, limits(noiseless_limit.formula().parts, values), strict=True):
                if limit.left_over:
                    continue
                N = len(values["X"])
                log = float(row[1]) if limit.rank == N else None
                moved = float(row[2] - limit.square)
                assert -float(s2 * limit.slope) <= moved <= 0
                if log is not None:  # det(I + (v/s2) X^T X) s2^r beside the volume
                    assert 1 <= float(row[1] * s2**limit.rank / limit.volume) <= np.exp(float(s2 * limit.slope))


def test_without_examples_it_is_the_prior() -> None:
    assert tuple(for_user([], [], [1, 2], 1, **LAW)) == (0.25, 0.0, 2, "neither")


def test_texts_are_rational_numbers_and_floats_the_dyadic_ones() -> None:
    tenths = [["0.1", "0.2"], ["0.3", "1/7"], ["0.5", "2"]]
    y = ["0.3", "0.9", "1.5"]  # three times the first column
    assert for_user(tenths, y, [1, 1], 1) == (0.0, 3.0, 1, "sparse")
    with pytest.raises(AssumptionError, match="that some function of the mixture fits"):
        for_user([[0.1, 0.2], [0.3, 1 / 7], [0.5, 2.0]], [0.1 * 3, 0.9, 1.5], [1, 1], 1)
    with_tolerance = for_user([[0.1, 0.2], [0.3, 1 / 7], [0.5, 2.0]], [0.1 * 3, 0.9, 1.5], [1, 1], 1, tolerance=1e-9)
    assert with_tolerance.identified == "sparse"
    assert with_tolerance.prediction == pytest.approx(3.0, rel=1e-12)


@pytest.mark.parametrize(("N", "nonzeros"), [(1, 2), (2, 4), (3, 2), (3, 4), (5, 2), (5, 4)])
def test_a_tolerance_gives_what_exact_ranks_give(N: int, nonzeros: int) -> None:
    X, y, query = whole(20 + N, N, 4, nonzeros)
    exact, rounded = (for_user(X, y, query, 2, **LAW, tolerance=allowed) for allowed in (0, 1e-9))
    assert rounded.identified == exact.identified
    assert rounded[:2] == pytest.approx(exact[:2], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"y": [1.0, 2.0, 4.0]}, "need examples that some function of the mixture fits"),
        ({"X": [["1/0", 1], [1, 1], [1, 1]]}, "division by 0"),
        ({"X": [["one", 1], [1, 1], [1, 1]]}, "write a rational number"),
        ({"X": [[1, 1], [1], [1, 1]]}, "rows of equal length"),
        ({"tolerance": 0.1}, "between 0 and 0.001"),
        ({"sparsity": 3}, "from 1 to d = 2"),
    ],
)
def test_other_input_is_refused_with_its_reason(changed: dict[str, Any], said: str) -> None:
    parameters: dict[str, Any] = {"X": [[1, 0], [0, 1], [1, 1]], "y": [1, 2, 3], "x_query": [1, 0], "sparsity": 1}
    with pytest.raises(AssumptionError, match=said):
        for_user(**{**parameters, **changed})
