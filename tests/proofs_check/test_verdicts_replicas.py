"""Clopper-Pearson counts: exact rates, and the number of replicas that the statement needs."""

from math import comb
from typing import Any

import pytest

from iclcheck.proofs_check.verdicts.replicas import count_replicas, detectable_share


def tail(successes: int, n: int, p: float) -> float:
    """P(binomial(n, p) >= successes)."""
    return sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(successes, n + 1))


@pytest.mark.parametrize("hits, n", [(132, 132), (190, 192), (60, 132), (1, 10), (9, 10)])
def test_the_bounds_solve_their_defining_equations(hits: Any, n: Any) -> None:
    # At p = lower, seeing this many hits or more has probability 1e-6; at p = upper, this few or fewer has.
    # The quantile is found to 1e-9 relative or so; the tail probability moves by at most n/(p(1-p)) times that.
    count = count_replicas(hits, n)
    assert tail(hits, n, count.lower) == pytest.approx(1e-6, rel=1e-5)
    if hits < n:
        assert 1 - tail(hits + 1, n, count.upper) == pytest.approx(1e-6, rel=1e-5)


def test_132_replicas_without_a_miss_show_nine_in_ten_and_131_do_not() -> None:
    assert count_replicas(132, 132).outcome == "agrees"
    assert count_replicas(131, 131).outcome == "inconclusive"
    assert 0.9**132 < 1e-6 < 0.9**131


def test_a_share_of_misses_contradicts() -> None:
    assert count_replicas(100, 192).outcome == "contradicts"
    assert count_replicas(0, 192).outcome == "contradicts"


def test_the_quick_profile_forgives_two_misses_of_192() -> None:
    assert count_replicas(190, 192).outcome == "agrees"
    assert count_replicas(189, 192).outcome == "inconclusive"


def test_no_hit_gives_no_lower_bound_and_no_miss_no_upper_one() -> None:
    assert count_replicas(0, 192).lower == 0
    assert count_replicas(192, 192).upper == 1


def test_one_replica_is_a_count() -> None:
    # a hit at p: one of one has probability p
    assert count_replicas(1, 1).lower == pytest.approx(1e-6, rel=1e-9)
    assert count_replicas(0, 1).upper == pytest.approx(1 - 1e-6, rel=1e-9)


def test_a_bound_that_meets_what_is_required_shows_at_least_it_but_not_less() -> None:
    assert count_replicas(0, 5, required=0.0).outcome == "agrees"  # p >= 0 is known
    assert count_replicas(5, 5, required=1.0).outcome == "inconclusive"  # p < 1 is not


def test_a_count_names_its_rate_and_prints_what_it_shows() -> None:
    count = count_replicas(190, 192, required=0.8, false_alarm=1e-3)
    assert (count.hits, count.replicas, count.required, count.false_alarm) == (190, 192, 0.8, 1e-3)
    default = count_replicas(190, 192)
    assert (default.required, default.false_alarm) == (0.9, 1e-6)
    assert str(default) == f"190 of 192 replicas, p >= {default.lower:.3f}"


@pytest.mark.parametrize(
    "n, required, false_alarm, miss",
    [
        (132, 0.9, 1e-6, 1e-3),
        (192, 0.9, 1e-6, 1e-3),
        (192, 0.9, 1e-6, 0.2),
        (60, 0.5, 1e-3, 1e-2),
        (5, 1e-9, 1e-6, 0.1),
    ],
)
def test_at_the_detectable_share_the_check_agrees_with_the_rate_of_a_miss(
    n: int, required: float, false_alarm: float, miss: float
) -> None:
    agreeing = [
        misses
        for misses in range(n + 1)
        if count_replicas(n - misses, n, required=required, false_alarm=false_alarm).outcome == "agrees"
    ]
    share = detectable_share(n, miss, required=required, false_alarm=false_alarm)
    assert agreeing
    assert share is not None
    agrees = sum(comb(n, k) * share**k * (1 - share) ** (n - k) for k in agreeing)
    # the quantile is found to 1e-9 relative or so, as above
    assert agrees == pytest.approx(miss, rel=1e-5)


def test_the_fewest_replicas_that_can_agree_forgive_no_miss_and_fewer_detect_no_share() -> None:
    # Without a forgiven miss the check agrees with probability (1 - f)^132.
    assert detectable_share(132, 1e-3) == pytest.approx(1 - 1e-3 ** (1 / 132), rel=1e-9)
    assert detectable_share(131, 1e-3) is None
    assert detectable_share(1, 1e-3) is None


@pytest.mark.parametrize("hits, n", [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(hits: Any, n: Any) -> None:
    with pytest.raises(ValueError, match="need"):
        count_replicas(hits, n)
