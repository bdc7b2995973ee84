"""The verdict of a check that counts replicas: what it takes from the errors, and what it says that it would miss."""

import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from iclcheck.proofs_check.claims.replica_verdict import replica_verdict
from iclcheck.proofs_check.verdicts.replicas import count_replicas, detectable_share
from iclcheck.proofs_check.verdicts.verdict import Verdict

MARGIN = 0.25


def verdict_of(errors: list[float], required: float = 0.9, false_alarm: float = 1e-6) -> Verdict:
    return replica_verdict("convergence", np.array(errors), MARGIN, required, false_alarm, "of |A|", "192 trainings")


def test_an_error_of_just_the_margin_is_a_hit_and_any_larger_one_a_miss() -> None:
    assert verdict_of([MARGIN] * 192).details["hits"] == 192
    assert verdict_of([MARGIN] * 191 + [math.nextafter(MARGIN, 1)]).details["hits"] == 191


@pytest.mark.parametrize("misses, outcome", [(2, "agrees"), (3, "inconclusive"), (92, "contradicts")])
def test_the_outcome_is_that_of_the_count(misses: int, outcome: str) -> None:
    verdict = verdict_of([0.1] * (192 - misses) + [0.5] * misses)
    assert verdict.outcome == outcome
    assert verdict.details["replicas"] == 192


def test_the_probability_that_is_required_and_the_rate_are_those_that_were_asked_for() -> None:
    errors = [0.1] * 150 + [0.5] * 42
    verdict = verdict_of(errors, required=0.5, false_alarm=1e-3)
    count = count_replicas(150, 192, required=0.5, false_alarm=1e-3)
    assert verdict.outcome == "agrees"
    assert verdict_of(errors).outcome == "contradicts"  # at p >= 0.9 and 1e-6
    assert verdict.false_alarm == 1e-3
    assert (verdict.details["lower"], verdict.details["upper"]) == (count.lower, count.upper)
    share = detectable_share(192, 1e-3, required=0.5, false_alarm=1e-3)
    assert verdict.details["share of the domain"] == share
    assert verdict.miss == 1e-3


def test_a_shift_of_the_prediction_by_the_detectable_gap_turns_every_hit_into_a_miss() -> None:
    errors = [0.05, -0.2, 0.2, 0.24, 0.9]  # signed errors of one number
    verdict = verdict_of([abs(error) for error in errors])
    shift = math.nextafter(verdict.detectable, 1)
    shifted = verdict_of([abs(error + sign * shift) for error in errors[:4] for sign in (-1, 1)])
    assert verdict.detectable == MARGIN + 0.24
    assert shifted.details["hits"] == 0


def test_without_a_hit_the_margin_alone_is_detectable() -> None:
    assert verdict_of([0.5, 0.7]).detectable == MARGIN


def test_the_verdict_shows_the_median_and_the_largest_of_all_errors() -> None:
    verdict = verdict_of([0.1, 0.2, 0.7])
    shown = {field.name: getattr(verdict, field.name) for field in fields(verdict) if field.name != "details"}
    expected: dict[str, Any] = {
        "check": "convergence",
        "outcome": "inconclusive",
        "measured": 0.2,
        "predicted": 0.0,
        "allowed": MARGIN,
        "detectable": MARGIN + 0.2,
        "unit": "of |A| (median over replicas)",
        "false_alarm": 1e-6,
        "miss": 1e-3,
        "ran": f"{count_replicas(2, 3)}; 192 trainings",
    }
    assert shown == expected
    assert (verdict.details["median"], verdict.details["largest"]) == (0.2, 0.7)
    assert verdict.details["share of the domain"] is None  # three replicas never agree
