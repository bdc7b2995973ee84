"""Flows on K classes alike: what symmetry and conservation say without any closed form."""

from __future__ import annotations

import numpy as np
import pytest

from iclcheck.numerics.scan_and_snap.symmetric_flows import first_slopes, symmetric_paths

TASK = {"classes": 3, "vocabulary": 12, "common": 0.4, "profile": [1.0, 2.0]}


@pytest.mark.parametrize("flow", ["reparametrised", "joint"])
def test_classes_stay_alike_and_the_row_sum_of_logits_is_kept(flow: str) -> None:
    run = {"task": TASK, "flow": flow, "rates": [[1.0, 0.5], [2.0, 2.0]], "times": [2.0, 20.0]}
    (found,) = symmetric_paths([run])["runs"]
    common, distinct = np.array(found["common"]), np.array(found["distinct"])  # (times, rates), (times, rates, K, D)
    allowed = 10 * found["error"] + 1e-12  # of the largest entry, itself below 10
    assert np.abs(distinct - distinct[..., :1, :]).max() <= allowed
    assert np.abs(common + distinct.sum((-1, -2))).max() <= 12 * allowed
    weights = np.array(found["weights"])
    assert weights.sum(-1) == pytest.approx(np.ones((2, 2)), abs=1e-12)
    assert (np.diff(common, axis=0) < 0).all()
    assert (np.array(found["decoder"]) > 0).all()


def test_without_a_common_token_nothing_moves() -> None:
    run = {"task": {**TASK, "common": 0.0}, "flow": "joint", "rates": [[1.0, 1.0]], "times": [5.0]}
    (found,) = symmetric_paths([run])["runs"]
    # classes are orthogonal: a distinct token's output is its own class's, and f_n is where the loss wants it
    assert np.abs(found["distinct"]).max() < 1e-12


def test_first_slopes_are_those_of_a_short_flow() -> None:
    slopes, time = first_slopes(TASK), 1e-3
    run = {"task": TASK, "flow": "joint", "rates": [[1.0, 1.0]], "times": [time]}
    (found,) = symmetric_paths([run])["runs"]
    # Y = t times the first step, so z = slope t^2/2 (1 + O(t))
    assert found["common"][0][0] == pytest.approx(slopes["joint"]["common"] * time**2 / 2, rel=5 * time)
    assert found["distinct"][0][0][0] == pytest.approx(
        np.array(slopes["joint"]["distinct"]) * time**2 / 2, rel=5 * time
    )
    assert slopes["reparametrised"]["common"] < slopes["joint"]["common"] < 0
