"""The claim on trained layers: its domain, and checks that refuse what is wrong."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iclcheck.proofs_check.claims.claim import Budget, budget_for
from iclcheck.proofs_check.scan_and_snap import trained, trained_phases
from iclcheck.proofs_check.scan_and_snap.trained import FiniteGaps, LongSequences, extrapolated
from iclcheck.proofs_check.scan_and_snap.trained_phases import LENGTH, CountedRuns, tables_of
from iclcheck.theory.scan_training.finite_sequences import force_of_means
from iclcheck.theory.scan_training.means_over_counts import means_of_classes

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


def answers(check: CountedRuns, change: float, budget: Budget = QUICK) -> Any:
    """Trainings that move each token by `change` times the predicted force, and stop."""

    def run(tasks: Any) -> Any:
        del tasks
        found = []
        for part in check.parts(budget):
            records, one = len(part[0]["recorded"]), tables_of(part[0]["classes"])
            means = means_of_classes(one[0], LENGTH - 1)
            moved = change * force_of_means(*means, one[1], one[2])
            share = np.minimum(np.arange(records) / 4, 1)[:, None]
            Z = share[:, None, :, None] * np.stack([moved] * len(part))
            found.append({"Z": Z, "entropy": np.broadcast_to(3 - share[..., None], (records, len(part), 2))})
        return found

    return run


@pytest.fixture
def one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """All replicas on one table: the answers above are made once."""
    half_common = trained_phases.half_common
    monkeypatch.setattr(trained_phases, "half_common", lambda name, *rest: half_common("small 0", *rest))


@pytest.mark.usefixtures("one_table")
@pytest.mark.parametrize(("change", "outcome"), [(100.0, "agrees"), (-100.0, "contradicts"), (0.0, "contradicts")])
def test_gains_in_the_contrary_order_are_refused(change: float, outcome: str) -> None:
    check = trained_phases.CHECKS[0]
    assert check.judge(answers(check, change), QUICK).outcome == outcome


@pytest.mark.usefixtures("one_table")
def test_attention_that_goes_on_moving_or_collapses_is_refused() -> None:
    check = trained_phases.CHECKS[1]
    stopped = answers(check, 1.0)(None)
    assert check.judge(lambda _: stopped, QUICK).outcome == "agrees"
    recorded = np.array(check.parts(QUICK)[0][0]["recorded"])
    moving: list[Any] = [{**one, "entropy": one["entropy"] - 0.01 * recorded[:, None, None]} for one in stopped]
    assert check.judge(lambda _: moving, QUICK).outcome == "contradicts"
    taken: list[Any] = [{**one, "entropy": one["entropy"] * (recorded < 30)[:, None, None]} for one in stopped]
    assert check.judge(lambda _: taken, QUICK).outcome == "contradicts"


def test_the_full_profile_adds_ten_seeds_at_each_rate_of_a_larger_task() -> None:
    check = trained_phases.CHECKS[0]
    assert check.medium(QUICK) == []
    runs = check.medium(budget_for("full"))
    assert len(runs) == 40
    assert {run["decoder_rate"] for run in runs} == {0.5, 1.0, 2.0, 5.0}
    shape = np.array(runs[0]["classes"]["contexts"]).shape
    assert shape == (10, 1000)
    assert len(set(runs[0]["classes"]["queries"])) == 5
    parts = check.parts(budget_for("full"))
    assert sum(map(len, parts)) == len(check.runs(budget_for("full")))
    assert all(len({np.array(run["classes"]["contexts"]).shape for run in part}) == 1 for part in parts)


def test_every_replica_has_tables_and_batches_of_its_own() -> None:
    """Clopper-Pearson's rates are those of independent draws from the domain."""
    check, gaps, full = trained_phases.CHECKS[0], FiniteGaps(), budget_for("full")
    for runs in (check.runs(QUICK), check.runs(full), LongSequences().runs(QUICK)):
        assert len({str(run["classes"]) for run in runs}) == len(runs)
    replicas = range(len(gaps.lengths(QUICK)))
    assert len({str(gaps.table_of(replica, QUICK)) for replica in replicas}) == len(replicas) == 96
