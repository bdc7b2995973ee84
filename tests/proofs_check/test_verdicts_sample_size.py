"""How many draws a gap takes, before any of them is made."""

import pytest

from iclcheck.proofs_check.verdicts.heavy_tails import compare_mean
from iclcheck.proofs_check.verdicts.sample_size import draws_needed, expected_gap

RATES = {"false_alarm": 1e-6, "miss": 1e-3}


def test_the_planned_draws_have_the_gap_and_one_less_has_not() -> None:
    moments = [3.0, 0.2, 1.1]
    for gap in (0.5, 0.01, 1e-4):
        n = draws_needed(gap, moments, **RATES)
        assert expected_gap(n, moments, **RATES) <= gap < expected_gap(n - 1, moments, **RATES)


@pytest.mark.parametrize("draws", [64, 100])  # one at which the doubling stops, one between two of its steps
def test_the_gap_of_a_number_of_draws_needs_just_that_number(draws: int) -> None:
    found = draws_needed(expected_gap(draws, [2.0, 0.3], **RATES), [2.0, 0.3], **RATES)
    assert found == draws
    assert isinstance(found, int)  # a number of prompts to draw


def test_the_expected_gap_is_what_the_comparison_states_for_draws_that_spread_as_their_law() -> None:
    n, v = 40_000, 2.5
    stated = compare_mean(n, 0.0, n * v, v, **RATES).detectable
    assert expected_gap(n, [v], **RATES) == pytest.approx(stated, rel=1e-12)


def test_a_gap_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="need a gap above 0"):
        draws_needed(0.0, [1.0], **RATES)
    with pytest.raises(ValueError, match=r"needs more than 1e\+15 draws"):
        draws_needed(1e-9, [1.0], **RATES)
