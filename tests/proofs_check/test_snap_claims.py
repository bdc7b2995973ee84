"""The claims on one common token: their checks judge what they say, and refuse the other flow and other numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iclcheck.numerics.scan_and_snap import symmetric_flows
from iclcheck.proofs_check.claims.claim import Budget, Claim, Values
from iclcheck.proofs_check.records.tasks import Task
from iclcheck.proofs_check.scan_and_snap import learning_rates, printed_snap, snap
from iclcheck.proofs_check.scan_and_snap.symmetric_runs import rows_of_run

CASE = snap.CASES[0]


@pytest.fixture(scope="module")
def runs() -> dict[str, Values]:
    """One task under both flows."""
    found = symmetric_flows.symmetric_paths([CASE.run("reparametrised"), CASE.run("joint")])["runs"]
    return dict(zip(("reparametrised", "joint"), found, strict=True))


def test_the_reparametrised_flow_is_the_closed_form_within_its_error(runs: dict[str, Values]) -> None:
    rows = rows_of_run(CASE, runs["reparametrised"], snap.derived_path)
    assert len(rows) == 3 * 6
    assert all(difference <= allowed < 1e-7 for difference, allowed in rows)


def test_the_flow_of_the_loss_is_not_mistaken_for_it(runs: dict[str, Values]) -> None:
    rows = rows_of_run(CASE, runs["joint"], snap.derived_path)
    assert max(difference for difference, _ in rows) > 0.5


def test_the_formula_itself_passes_where_altered_ones_are_put(runs: dict[str, Values]) -> None:
    from iclcheck.theory.scan_and_snap.snap import formula

    rows = rows_of_run(CASE, runs["reparametrised"], snap.path_by(formula()))
    assert all(difference <= allowed for difference, allowed in rows)


def test_attention_that_is_off_by_a_millionth_is_refused(runs: dict[str, Values]) -> None:
    run = runs["reparametrised"]
    moved = {**run, "common": (np.array(run["common"]) * (1 + 1e-6)).tolist()}
    assert any(difference > allowed for difference, allowed in rows_of_run(CASE, moved, snap.derived_path))


@pytest.mark.parametrize(
    ("compare", "key", "value"),
    [(printed_snap.compare_token, "common", -1.0), (printed_snap.compare_bound, "logit", 2.2)],
)
def test_an_audit_would_agree_if_the_layer_were_as_printed(compare: Any, key: str, value: float) -> None:
    if key == "common":
        found: Values = {"reparametrised": {"common": -1.0, "distinct": [0.5]}, "squares": [0.5]}
    else:
        # chi = e^{2 z} above the printed 74.7
        found = {"runs": [{"distinct": [[[[value]]]], "common": [[-value]], "error": 0.0}]}
    assert compare(found)[3]


def test_slopes_by_richardson_are_exact_for_polynomials_of_degree_four() -> None:
    steps = [sign * k * learning_rates.STEP for k in learning_rates.STEPS for sign in (1, -1)]
    values = np.array([2 + 3 * x - x**2 + 5 * x**3 - 7 * x**4 for x in steps])
    found, allowed = learning_rates.slope(values, 0.0)
    assert found == pytest.approx(3, abs=1e-11)
    assert allowed < 1e-10


def test_drives_that_differ_by_a_millionth_are_told_apart() -> None:
    (task,) = learning_rates.learning_rates_claim().checks[1].tasks(Budget())
    found = measured(task)
    right = learning_rates.same_drive_rows(learning_rates.derived)(Budget(), found)
    assert all(difference <= allowed for difference, allowed in right)

    def wrong(classes: int, vocabulary: int, eta_Y: float, eta_Z: float, time: float) -> tuple[float, float]:
        drive, elasticity = learning_rates.derived(classes, vocabulary, eta_Y, eta_Z, time)
        return drive * eta_Y**1e-6, elasticity

    rows = learning_rates.same_drive_rows(wrong)(Budget(), found)
    assert any(difference > allowed for difference, allowed in rows)


def measured(task: Task) -> Values:
    found: Values = symmetric_flows.symmetric_paths(**task.parameters)
    return found


@pytest.mark.slow
def test_all_checks_of_both_claims_agree_and_the_order_of_entropies_has_teeth() -> None:
    def run(tasks: Any) -> list[Values]:
        return [measured(task) for task in tasks]

    def outcomes(claim: Claim) -> list[str]:
        # trained layers have tests of their own
        return [check.judge(run, Budget()).outcome for check in claim.checks if check.cost_of_alteration == "exact"]

    assert outcomes(snap.snap_claim()) == ["agrees"]
    assert outcomes(learning_rates.learning_rates_claim()) == ["agrees"] * 3
    turned = learning_rates.learning_rates_claim(lambda *setting: (-learning_rates.derived(*setting)[0], 0.0))
    assert outcomes(turned)[::2] == ["contradicts"] * 2
