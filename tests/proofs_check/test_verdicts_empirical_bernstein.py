"""The bound on means of bounded draws: its rates on the worst laws, and what it can detect."""

import math

import numpy as np
import pytest

from iclcheck.proofs_check.verdicts.empirical_bernstein import compare_mean_in_interval, deviation

ALARM = 1e-2  # a rate that a simulation can see


@pytest.mark.parametrize("share", [0.5, 0.05, 0.002, 1e-4], ids=lambda p: f"probability {p}")
def test_false_alarms_stay_below_their_rate(share: float) -> None:
    """Draws 0 or R: the law of the largest variance for a mean; rare ones make the sampled variance 0.

    20,000 runs of 1,000 draws; more than 1.5 times the rate would have probability below 1e-9 at the rate itself
    (Chernoff: exp(-200 (1.5 ln 1.5 - 0.5)) = 4e-10).
    """
    runs, count, R = 20_000, 1_000, 7.0
    hits = np.random.default_rng([4, int(1e4 * share)]).binomial(count, share, size=runs)
    alarms = 0
    for hit in hits:
        found = compare_mean_in_interval(count, R * hit, R**2 * hit, R, predicted=share * R, false_alarm=ALARM)
        alarms += not found.holds
    assert alarms <= 1.5 * ALARM * runs


def test_a_gap_that_is_stated_is_caught() -> None:
    """Of draws whose mean is off by the stated gap, at most `miss` pass: none of 2,000 at 1e-3 is what is seen."""
    count, R, share = 5_000, 1.0, 0.3
    hits = np.random.default_rng(5).binomial(count, share, size=2_000)
    passed = 0
    for hit in hits:
        gap = compare_mean_in_interval(count, float(hit), float(hit), R, predicted=0.5).detectable
        found = compare_mean_in_interval(count, float(hit), float(hit), R, predicted=share + gap, miss=1e-3)
        passed += found.holds
    assert passed <= 8  # expected at most 2; nine and more would have probability below 1e-3


def test_the_width_is_that_of_the_formula() -> None:
    n, V, R, rate = 10_000, 0.25, 3.0, 1e-6
    L = math.log(3 / rate)
    expected = (math.sqrt(2 * V * L / n) + 7 / 3 * R * L / n) / (1 - math.sqrt(2 * L / n))
    assert math.isclose(deviation(n, V, R, rate), expected, rel_tol=1e-12)


def test_too_few_draws_decide_nothing() -> None:
    found = compare_mean_in_interval(20, 10.0, 10.0, 1.0, predicted=0.9)
    assert found.holds
    assert found.allowed == found.detectable == math.inf


@pytest.mark.parametrize(
    ("count", "total", "largest", "rate"),
    [(0, 0.0, 1.0, 0.1), (5, 1.0, 0.0, 0.1), (5, 6.0, 1.0, 0.1), (5, 1.0, 1.0, 0)],
)
def test_what_the_bound_does_not_cover_is_refused(count: int, total: float, largest: float, rate: float) -> None:
    with pytest.raises(ValueError, match="need"):
        compare_mean_in_interval(count, total, total, largest, predicted=0.5, false_alarm=rate)
