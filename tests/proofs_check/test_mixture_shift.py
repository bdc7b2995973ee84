"""The claim covariate-shift: its controls, its certificate, and how quotients of excesses are judged."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from iclcheck.numerics.mixtures.scaled_prompts import at_both_scales
from iclcheck.proofs_check.claims.alterable import mutants_of
from iclcheck.proofs_check.claims.claim import Budget
from iclcheck.proofs_check.claims.registry import find
from iclcheck.proofs_check.decoders import covariate_shift
from iclcheck.proofs_check.decoders.selected_models import Interval
from iclcheck.proofs_check.verdicts.verdict import Verdict


@cache
def measured() -> dict[str, Any]:
    return at_both_scales(covariate_shift.cases(0), "cpu")


def verdict_of(claim: Any) -> Verdict:
    """Of the check of scaled prompts."""
    found: Verdict = claim.checks[0].judge(lambda tasks: [measured()], Budget())
    return found


def test_at_least_twenty_altered_statements_count_and_all_are_refused() -> None:
    claim = find("covariate-shift")
    assert verdict_of(claim).outcome == "agrees"
    mutants = mutants_of(claim, 0)
    assert len(mutants.counted) >= 20
    assert sum(one.kind == "equal" for one in mutants.mutants) <= len(mutants.mutants) / 3
    assert all(verdict_of(one.claim).outcome == "contradicts" for one in mutants.counted)


def test_no_altered_form_of_the_shift_is_certified(every_forged_form_is_refused: Callable[..., None]) -> None:
    every_forged_form_is_refused("covariate-shift", least=20)


@pytest.mark.parametrize(
    ("quotient", "above", "below"),
    [
        (Interval(2.1, 3.0, 4.0), "agrees", "contradicts"),
        (Interval(1.0, 1.5, 1.9), "contradicts", "agrees"),
        (Interval(1.0, 2.5, 4.0), "inconclusive", "inconclusive"),
        (Interval(0.0, 2.5, math.inf), "inconclusive", "inconclusive"),
    ],
)
def test_a_quotient_is_judged_by_its_whole_interval(quotient: Interval, above: str, below: str) -> None:
    for said, expected in ((True, above), (False, below)):
        check = covariate_shift.ExcessQuotient("name", ("a", "b"), ("c", "d"), 2.0, above=said)
        assert check.outcome_of(quotient) == expected


def test_the_excess_is_a_capped_mean_in_units_of_the_scale() -> None:
    n, places = 10_000, 11
    sums = {"averaged": {"capped": 9 * 0.5 * n, "capped_squares": (9 * 0.5) ** 2 * n}}
    values = {"count": n, "cap": [9.0] * places, "distance": {"dense": {"oracle": sums}}}
    found = covariate_shift.excess({"c = 9": values}, ("c = 9", "dense"), 1e-3)
    assert found.mean == pytest.approx(0.5)
    assert 0.5 - found.low == pytest.approx(found.high - 0.5)
    # no spread: only the bound's own term is left, (7/3) L/n over 1 - sqrt(2 L/n), with L = log 3000
    L = math.log(3 / 1e-3)
    assert found.high - 0.5 == pytest.approx(7 / 3 * L / n / (1 - math.sqrt(2 * L / n)))
