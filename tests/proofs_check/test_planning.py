"""Plans: what a gap takes is known before anything is spent, and right within a factor of 2."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iclcheck.proofs_check import planning
from iclcheck.proofs_check.checking import RecordedRun, check_claims
from iclcheck.proofs_check.claims.claim import Budget
from iclcheck.proofs_check.claims.registry import all_claims
from iclcheck.proofs_check.planning import Rates, budget_to_detect, pilots, plan, planned
from iclcheck.proofs_check.records.store import RecordStore
from iclcheck.proofs_check.records.tasks import Task


@pytest.mark.parametrize("identifier", ["fixed-point", "random-context-length", "uniform-covariates"])
def test_the_planned_gap_is_what_the_verdict_states(identifier: str, tmp_path: Path) -> None:
    """The spread of some thousand draws is that of their law up to a half; the gap goes with its root."""
    budget = budget_to_detect(0.1, Budget())
    check = all_claims()[identifier].checks[0]
    with RecordStore(tmp_path / "records.sqlite") as store:
        verdict = check.judge(RecordedRun(store), budget)
    expected = check.expected_gap(budget)
    assert expected is not None
    assert expected <= 0.1
    assert 0.75 < verdict.detectable / expected < 1.25


def test_halving_the_gap_takes_four_times_the_prompts() -> None:
    check, rates = all_claims()["fixed-point"].checks[0], Rates()
    rates.found = {task.measurement: [1.0] * 3 for task in check.tasks(Budget())}  # no pilots
    once, twice = (planned(check, budget_to_detect(g, Budget()), rates).prompts for g in (0.02, 0.01))
    assert 3.7 < twice / once < 4.3  # prompts are rounded up to two digits


def test_pilots_are_small_and_those_of_short_tasks_are_the_tasks() -> None:
    long = Task("a.b:c", {"prompts": 10**9, "stream_key": "k"})
    (few, a), (more, b), units = pilots(long)
    assert (few.parameters["prompts"], more.parameters["prompts"], units) == (a, b, 10**9)
    short = Task("a.b:c", {"prompts": 10, "stream_key": "k"})
    assert pilots(short) == ((short, 10), (short, 10), 10)
    training = Task("a.b:c", {"configurations": [{"steps": 5000, "batch_size": 2}]})
    (few, a), (more, b), units = pilots(training)
    assert few.parameters["configurations"][0]["steps"] == a < b < units == 5000


@pytest.mark.slow
@pytest.mark.parametrize("identifier,gap", [("fixed-point", 0.2), ("uniform-covariates", 0.2)])
def test_the_planned_time_is_right_within_a_factor_of_two(identifier: str, gap: float, tmp_path: Path) -> None:
    """In this process, in CPU time, since other processes may share the machine."""
    claim, budget = all_claims()[identifier], budget_to_detect(gap, Budget())
    found = plan(claim, budget, workers=1)
    ratios = []
    for attempt in range(3):
        with RecordStore(tmp_path / f"{attempt}.sqlite") as store:
            started = time.process_time()
            run = check_claims([claim], budget, store, workers=1)
            ratios.append((time.process_time() - started) / found.seconds)
    assert 0.5 < float(np.median(ratios)) < 2.0, (ratios, found)
    stated: dict[str, Any] = {one.check: one for one in run.verdicts[0].verdicts}
    for row in found.checks:
        if row.gap is not None and row.prompts:
            assert 0.5 < stated[row.check].detectable / row.gap < 2.0, row


def test_altered_statements_that_ask_for_the_same_measurement_do_not_measure_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[str] = []

    def counted(tasks: Any) -> Any:
        measured.extend(task.key for task in tasks)
        return [{"value": 1.0} for _ in tasks]

    monkeypatch.setattr(planning, "measured_unrecorded", counted)
    run = planning.remembering()
    one, other = (Task("somewhere:something", {"case": k}) for k in (1, 2))
    assert run([one, other, one]) == [{"value": 1.0}] * 3
    assert run([other]) == [{"value": 1.0}]
    assert measured == [one.key, other.key]
