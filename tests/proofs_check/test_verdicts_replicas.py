"""Clopper-Pearson counts: exact rates, and the number of replicas that the statement needs."""

from math import comb
from typing import Any

import pytest

from iclcheck.proofs_check.verdicts.replicas import count_replicas


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


@pytest.mark.parametrize("hits, n", [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(hits: Any, n: Any) -> None:
    with pytest.raises(ValueError, match="need"):
        count_replicas(hits, n)
