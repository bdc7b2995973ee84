"""Verdicts: which outcome a comparison has, how several combine, and what is written of them."""

import json
import math
from dataclasses import asdict, replace
from typing import Any

import pytest

from iclcheck.proofs_check.verdicts.verdict import Outcome, Verdict, combine, decide

VERDICT = Verdict(
    check="closed form",
    outcome="agrees",
    measured=0.18232,
    predicted=0.18201,
    allowed=0.0222,
    detectable=0.0341,
    unit="of |A|",
    false_alarm=1e-6,
    miss=1e-3,
    ran="1.0e6 prompts",
    details={"draws": 1000000},
)


def test_a_difference_that_is_not_allowed_contradicts_whatever_else_would_have_been_seen() -> None:
    assert decide(False, 0.01, 0.05) == "contradicts"
    assert decide(False, math.inf, 0.05) == "contradicts"


def test_a_check_agrees_only_if_it_would_have_caught_a_gap_of_interest() -> None:
    assert decide(True, 0.01, 0.05) == "agrees"
    assert decide(True, 0.05, 0.05) == "agrees"
    assert decide(True, 0.06, 0.05) == "inconclusive"
    assert decide(True, math.inf, 0.05) == "inconclusive"
    assert decide(True, math.nan, 0.05) == "inconclusive"


@pytest.mark.parametrize(
    "outcomes, together",
    [
        (["agrees"], "agrees"),
        (["agrees", "inconclusive", "agrees"], "inconclusive"),
        (["inconclusive", "contradicts", "agrees"], "contradicts"),
        (["agrees", "contradicts"], "contradicts"),
        ([], "inconclusive"),
    ],
)
def test_one_contradiction_decides_then_one_inconclusive_check(outcomes: list[Outcome], together: Outcome) -> None:
    assert combine(outcomes) == together


def test_a_verdict_prints_itself_with_what_it_would_have_caught() -> None:
    assert str(VERDICT) == (
        "closed form: measured 0.182 agrees with predicted 0.182 of |A|: allowed 0.022 (1.0e6 prompts, rate 1e-06); "
        "this check would have caught a gap of 0.034"
    )
    assert "measured 0.182 contradicts predicted" in str(replace(VERDICT, outcome="contradicts"))
    undecided = str(replace(VERDICT, outcome="inconclusive", detectable=math.inf))
    assert "measured 0.182 does not decide predicted" in undecided
    assert undecided.endswith("this check would have caught no gap of any size")


@pytest.mark.parametrize("field", ["measured", "predicted", "allowed", "detectable"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_verdict_is_strict_json_with_null_for_what_is_not_finite(field: str, value: float) -> None:
    changed: dict[str, Any] = {field: value}
    written = json.loads(json.dumps(replace(VERDICT, **changed).as_plain(), allow_nan=False))
    assert written == {**asdict(VERDICT), field: None}


def test_details_are_strict_json_too() -> None:
    """As of ratios from too few prompts, which have no bound."""
    details = {"error": [0.1, math.inf], "cells": {"first": (math.nan, "words", 3, None, True)}}
    written = json.loads(json.dumps(replace(VERDICT, details=details).as_plain(), allow_nan=False))
    assert written["details"] == {"error": [0.1, None], "cells": {"first": [None, "words", 3, None, True]}}
