"""The claim on trained layers: its domain, and checks that refuse what is wrong."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iclcheck.proofs_check.claims.claim import Budget, budget_for
from iclcheck.proofs_check.scan_and_snap import trained
from iclcheck.proofs_check.scan_and_snap.trained import FiniteGaps, LongSequences, extrapolated

QUICK = budget_for("quick")


def test_richardson_finds_the_limit_of_a_polynomial_in_one_over_the_length() -> None:
    values = [np.array([3.0 + 2 / keys - 7 / keys**2 + 50 / keys**3]) for keys in trained.KEYS]
    limit, _ = extrapolated(values)
    assert limit[0] == pytest.approx(3.0, abs=1e-12)


def answering(check: FiniteGaps, factor: float) -> Any:
    """Runs whose gaps are `factor` times the predicted ones."""

    def run(tasks: Any) -> Any:
        lengths = check.lengths(QUICK)
        found: list[Any] = [{"Z": [np.zeros((len(lengths), 1, 30))]}]
        for length in sorted(set(lengths)):
            mine = [k for k, own in enumerate(lengths) if own == length]
            found.append({"Z": [[factor * check.predicted(k, length, QUICK) for k in mine]]})
        assert len(tasks) == len(found)
        return found

    return run


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "agrees"), (0.0, "contradicts"), (2.0, "contradicts")])
def test_gaps_of_another_size_are_refused(factor: float, outcome: str) -> None:
    check = FiniteGaps()
    assert check.judge(answering(check, factor), QUICK).outcome == outcome


def test_a_flow_at_twice_the_time_is_refused() -> None:
    check = LongSequences()
    early, late = np.ones((2, 96, 1, 30)), 2 * np.ones((2, 96, 1, 30))
    assert check.judge(lambda _: [{"Z": early}, {"Z": early}], QUICK).outcome == "agrees"
    assert check.judge(lambda _: [{"Z": early}, {"Z": late}], QUICK).outcome == "contradicts"


def test_a_tiny_budget_leaves_one_short_replica() -> None:
    tiny = replace(QUICK, replicas=1, training_steps=1)
    assert LongSequences().recorded(tiny) == [1, 3]
    assert len(LongSequences().runs(tiny)) == len(FiniteGaps().lengths(tiny)) == 1


def test_every_length_is_among_the_replicas() -> None:
    assert set(FiniteGaps().lengths(QUICK)) == set(trained.LENGTHS)
    assert isinstance(QUICK, Budget)
