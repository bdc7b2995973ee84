"""Ratios of means of bounded draws: how far they may be off, and the verdict on several of them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from iclcheck.proofs_check.claims.sampled_verdicts import verdict_on_ratios
from iclcheck.proofs_check.verdicts.bounded_ratios import Ratio, Sums, ratio_of_means
from iclcheck.proofs_check.verdicts.empirical_bernstein import deviation


@pytest.mark.parametrize("share", [-1.5, 0.0, 0.25, 3.0])
def test_the_interval_holds_the_ratio_of_all_means_within_their_deviations_and_no_more(share: float) -> None:
    """The ratio is monotone in either mean, so that its farthest values are at the corners. Half of the rate each."""
    count = 10_000
    below, above = Sums(0.5 * count, 0.25 * count, 1.0), Sums(0.5 * share * count, 0.25 * share**2 * count, 2.0)
    a, b = deviation(count, 0.0, 2.0, 0.005), deviation(count, 0.0, 1.0, 0.005)
    found = ratio_of_means(count, above, below, 0.01)
    corners = [(0.5 * share + x) / (0.5 + y) for x in (-a, a) for y in (-b, b)]
    assert found.ratio == share
    assert found.error == pytest.approx(max(abs(one - share) for one in corners), rel=1e-12)  # ten roundings near 1


def test_a_denominator_that_may_be_zero_bounds_nothing() -> None:
    few = ratio_of_means(20, Sums(10.0, 5.0, 3.0), Sums(20.0, 20.0, 1.0), 1e-6)
    assert few == Ratio(0.5, float("inf"))
    assert ratio_of_means(1000, Sums(0.0, 0.0, 1.0), Sums(0.0, 0.0, 1.0), 1e-6) == Ratio(0.0, float("inf"))


@dataclass(frozen=True)
class Range:
    name: str = "a range"
    centre: float = 0.5
    margin: float = 0.1
    resolution: float = 0.4
    false_alarm: float = 1e-6
    miss: float = 1e-3


@pytest.mark.parametrize(
    ("ratios", "outcome", "measured", "gap"),
    [
        ([Ratio(0.7, 0.11), Ratio(0.5, 0.15)], "agrees", 0.7, 0.4),
        ([Ratio(0.7, 0.09), Ratio(0.5, 0.15)], "contradicts", 0.7, 0.4),
        ([Ratio(0.3, 0.09), Ratio(0.75, 0.3)], "contradicts", 0.3, 0.7),  # the nearer one is off by more than allowed
        ([Ratio(0.7, 0.11), Ratio(0.5, 0.16)], "inconclusive", 0.7, 0.42),
    ],
)
def test_one_interval_outside_of_the_range_contradicts(
    ratios: list[Ratio], outcome: str, measured: float, gap: float
) -> None:
    found = verdict_on_ratios(Range(), ratios, "as a share", "nothing", {})
    assert (found.outcome, found.measured) == (outcome, measured)
    assert found.detectable == pytest.approx(gap, rel=1e-12)  # three roundings
