"""selection-boundary: steps hold, any sparsity agrees with enumeration, the boundary is bracketed, limits, refusals."""

import math
from fractions import Fraction
from itertools import combinations
from typing import Any

import mpmath
import pytest

from iclcheck.theory.model_selection.selection_boundary import (
    derivation,
    for_user,
    formula,
    log_bayes_factor,
    log_odds_by,
)
from iclcheck.theory.one_layer.assumptions import AssumptionError

GIVEN: dict[str, Any] = {"dimension": 6, "sparsity": 3, "examples": 8, "noise_variance": 0.7}


def test_every_step_holds_at_six_random_instances() -> None:
    """Six, so that every number of nonzeros from 0 to 5 occurs."""
    assert derivation().failures(seeds=range(6)) == []


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_any_sparsity_is_the_sum_over_supports(k: int) -> None:
    d, dense, sparse = 6, (Fraction(4), Fraction(1, 2)), (Fraction(9), Fraction(2, 9))
    u_d, u_s = math.exp(16 * 0.5 / 10), math.exp(81 * 2 / 9 / 20)
    for m in range(d + 1):
        terms = [10 ** (-k / 2) * u_s ** sum(j < m for j in one) for one in combinations(range(d), k)]
        factor = u_d**m * 5 ** (-d / 2) * len(terms)
        # sums of at most twenty positive terms
        found = log_bayes_factor(d, m, k, dense, sparse)
        assert found == pytest.approx(math.log(factor / sum(terms)), abs=1e-13)


@pytest.mark.parametrize("k", [1, 2])
def test_the_formula_is_the_function_for_a_user(k: int) -> None:
    found = for_user(5, k, 6, 0.75, sparse_variance=3.0, strength=1.5)["log_odds"]
    for m, odds in enumerate(found):
        assert log_odds_by(formula(), 5, m, k, (8.0, 1.5), (24.0, 0.5)) == pytest.approx(odds, abs=1e-12)


@pytest.mark.parametrize("noise", [0.05, 0.5, 5.0, 20.0])
def test_even_odds_lie_between_the_two_bounds(noise: float) -> None:
    found = for_user(20, 2, 40, noise)
    below = [m for m, p in enumerate(found["dense_posterior"]) if p < 0.5]
    above = [m for m, p in enumerate(found["dense_posterior"]) if p >= 0.5 and m >= 2]
    assert max(below) <= found["boundary_upper"]
    if above:
        assert min(above) >= found["boundary_lower"]


def test_without_noise_the_class_changes_between_k_and_the_next() -> None:
    found = for_user(20, 2, 20, 1e-8)
    assert found["dense_posterior"][:3] == pytest.approx([0.0] * 3, abs=1e-60)
    assert found["dense_posterior"][3:] == [1.0] * 18
    assert found["boundary_upper"] - 2 < 1e-6


def odds_with_digits(d: int, k: int, m: int, g: float) -> Any:
    """Log Bayes factor at r = 1 by the sum over supports, with 60 digits."""
    u, found = mpmath.exp(mpmath.mpf(g) ** 2 / (2 * (1 + mpmath.mpf(g)))), mpmath.mpf(0)
    for one in combinations(range(d), k):
        found += u ** sum(j < m for j in one)
    return mpmath.log(math.comb(d, k) * mpmath.mpf(1 + g) ** (mpmath.mpf(k - d) / 2) * u**m / found)


@pytest.mark.parametrize("noise", [2.0**-40, 2.0**-66])
def test_odds_are_right_where_either_class_fits_without_noise(noise: float) -> None:
    found = for_user(5, 2, 10, noise)["log_odds"]
    with mpmath.workdps(60):
        for m in range(6):
            # a dozen roundings of terms that are no larger than the sum, but for log q of at most 80
            expected = float(odds_with_digits(5, 2, m, 10 / noise))
            assert found[m] == pytest.approx(expected, rel=1e-14, abs=1e-12), m


def test_there_are_no_bounds_where_no_number_of_nonzeros_has_even_odds() -> None:
    dense = for_user(5, 2, 5, 100.0, dense_probability=0.99)
    sparse = for_user(5, 2, 5, 100.0, dense_probability=0.01)
    assert min(dense["log_odds"]) > 0 > max(sparse["log_odds"])
    for found in (dense, sparse):
        assert found["boundary_lower"] is None
        assert found["boundary_upper"] is None


def test_odds_that_a_float_does_not_hold_are_refused() -> None:
    with pytest.raises(AssumptionError, match=r"noise_variance needs a size at which log odds stay below 1e308, got"):
        for_user(**{**GIVEN, "noise_variance": 1e-300, "strength": 1e10})


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"sparsity": 6}, "sparsity needs a number below the dimension 6, got 6"),
        ({"examples": 5}, "examples needs at least the dimension 6 for orthogonal inputs, got 5"),
        ({"dimension": 2.5}, "dimension needs a whole number from 1 to 1000, got 2.5"),
        ({"noise_variance": 0.0}, "noise_variance needs a number above 0"),
        ({"dense_probability": 0.0}, "dense_probability needs a number between 0 and 1"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(AssumptionError, match=words):
        for_user(**{**GIVEN, **changed})
