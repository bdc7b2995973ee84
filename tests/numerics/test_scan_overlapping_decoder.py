"""Flows of the decoder on classes that overlap equally, at known answers."""

import numpy as np
import pytest

from iclcheck.numerics.scan_decoder.class_logits import vectors_of
from iclcheck.numerics.scan_decoder.overlapping_decoder import overlapping_flows, slopes_at_rest, task_of


def test_one_common_token_of_half_the_weight_overlaps_by_one_half() -> None:
    case = {"classes": 2, "vocabulary": 5, "common": 0.5, "profile": [1.0]}
    assert np.allclose((vectors_of(task_of(case)) @ vectors_of(task_of(case)).T).numpy(), [[1, 0.5], [0.5, 1]])


def test_slopes_at_rest_are_those_of_a_uniform_softmax() -> None:
    # dw_1 = (e_1 - 1/5) + (e_2 - 1/5)/2 at the class tokens and the rest
    found = slopes_at_rest([{"classes": 2, "vocabulary": 5, "common": 0.5, "profile": [1.0]}], "cpu")
    assert found["rates"][0][0] == pytest.approx([0.7, 0.2, -0.3], abs=1e-14)
    assert found["rates"][0][1] == pytest.approx([0.2, 0.7, -0.3], abs=1e-14)


def test_classes_that_share_all_tokens_overlap_equally() -> None:
    task = task_of({"classes": 4, "vocabulary": 4, "share": 0.4})
    G = (vectors_of(task) @ vectors_of(task).T).numpy()
    off = G[~np.eye(4, dtype=bool)]
    assert np.ptp(off) < 1e-14
    assert not any(task.distinct_tokens(n) for n in range(4))


def test_all_distinct_tokens_of_all_classes_feel_the_same_force() -> None:
    case = {"classes": 3, "vocabulary": 12, "common": 0.4, "profile": [1.0, 2.0], "learning_rate": 1.0}
    found = overlapping_flows([{**case, "times": [1.0, 8.0]}], "cpu")
    forces = np.array(found["force"][0])
    assert forces.shape == (2, 6)
    assert (forces > 0).all()
    assert np.allclose(forces, forces[:, :1], rtol=1e-9)
