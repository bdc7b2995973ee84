"""The checks of critical-points: what they refuse."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from iclcheck.proofs_check.claims import critical_points
from iclcheck.proofs_check.claims.claim import Budget
from iclcheck.proofs_check.claims.critical_points import EndsOfFlow, SlopeAlongTheLeak, listed, rows_at
from iclcheck.proofs_check.records.tasks import measured_unrecorded

LAW = ((1.0, 1.0), 1)


@pytest.fixture(scope="module")
def measured() -> Any:
    """The points of one law with what the layer shows there."""
    tasks = [task for task in critical_points.ListedPoints().tasks(Budget()) if task.parameters["distribution"] ==
             critical_points.diagonal_setting(*LAW)]  # fmt: skip
    return list(zip(listed(*LAW).points, measured_unrecorded(tasks), strict=True))


def agrees(rows: Any) -> Any:
    return all(measured <= allowed for measured, allowed in rows)


def test_every_listed_point_is_confirmed(measured: Any) -> None:
    assert len(measured) == 4
    assert all(agrees(rows_at(LAW, point, values)) for point, values in measured)


def test_a_wrong_index_and_a_wrong_loss_are_refused(measured: Any) -> None:
    for point, values in measured:
        if point.index is not None:
            assert not agrees(rows_at(LAW, replace(point, index=point.index + 1), values))
        assert not agrees(rows_at(LAW, replace(point, loss=point.loss + 1e-10), values))


def test_a_point_beside_a_critical_one_is_refused(measured: Any) -> None:
    point, _ = measured[1]
    task = critical_points.ListedPoints().tasks(Budget())[0]
    W_PV = point.value_weights + 1e-8 * np.eye(3)[[2]].T @ np.ones((1, 3))
    parameters = {
        "distribution": critical_points.diagonal_setting(*LAW), "W_PV": W_PV.tolist(),
        "W_KQ": point.key_query_weights.tolist(),
    }  # fmt: skip
    (beside,) = measured_unrecorded([replace(task, parameters=parameters)])
    assert not agrees(rows_at(LAW, point, beside))


def test_a_quartic_that_is_off_by_one_part_in_ten_thousand_is_refused() -> None:
    check = SlopeAlongTheLeak(lambda d, N, t: critical_points.predicted_quartic(d, N, t) * Fraction(10001, 10000))
    assert check.judge(measured_unrecorded, Budget()).outcome == "contradicts"


def test_runs_that_have_not_ended_or_ended_elsewhere_count_as_misses() -> None:
    check, best = EndsOfFlow(), listed(*LAW).points[0].loss
    values = {"loss": [best, best, 0.9], "ended": [True, False, True]}
    assert (check.errors(LAW, values) <= check.margin).tolist() == [True, False, False]
