"""Means of bounded draws: the bound on the second moment fails no more often than stated, and sees what it says."""

from __future__ import annotations

import numpy as np
import pytest

from iclcheck.proofs_check.verdicts.bounded_means import compare_bounded_mean, second_moment_bound
from iclcheck.proofs_check.verdicts.heavy_tails import compare_mean


def sums(draws: np.ndarray) -> list[float]:
    return [len(draws), float(draws.sum()), float((draws**2).sum())]


@pytest.mark.parametrize("p", [0.001, 0.02, 0.5])
def test_the_second_moment_is_below_its_bound(p: float) -> None:
    """Z = 1 with probability p: E Z^2 = p. At rate 0.01, of 4000 samples of 200 at most 40 + 6 sqrt(40) = 78 may fail
    (binomial, 6 standard deviations); where p = 0.02 the bound without g^2 fails in half of them."""
    counts = np.random.default_rng(int(1000 * p)).binomial(200, p, size=4000)
    failures = sum(second_moment_bound(200, float(k), 1.0, 0.01) < p for k in counts)
    assert failures <= 78
    if p == 0.02:
        assert sum(k / 200 < p for k in counts) > 1000


def test_the_bound_is_never_above_the_largest_square() -> None:
    assert second_moment_bound(3, 12.0, 2.0, 1e-6) == 4.0


def test_a_true_mean_holds_and_a_wrong_one_is_seen() -> None:
    draws = np.random.default_rng(0).uniform(-1, 1, size=40_000)
    found = compare_bounded_mean(sums(draws[:10_000]), sums(draws[10_000:]), 1.0)
    assert found.holds
    assert found.detectable < 0.04
    assert not compare_bounded_mean(sums(draws[:10_000]), sums(draws[10_000:]), 1.0, predicted=0.04).holds
    total, squares = sums(draws[10_000:])[1:]
    known = compare_mean(30_000, total, squares, 1 / 3)
    assert known.allowed < found.allowed < 1.3 * known.allowed  # the price of not knowing the second moment


@pytest.mark.parametrize("wrong", [{"count": 0}, {"rate": 0.0}, {"bound": 0.0}, {"bound": float("inf")}])
def test_what_gives_no_bound_is_refused(wrong: dict[str, float]) -> None:
    given: dict[str, float] = {"count": 5, "total_of_squares": 1.0, "bound": 1.0, "rate": 0.1, **wrong}
    with pytest.raises(ValueError, match="need at least 1 draw"):
        second_moment_bound(int(given["count"]), given["total_of_squares"], given["bound"], given["rate"])
