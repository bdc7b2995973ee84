import numpy as np
import pytest

from iclcheck.numerics.scan_and_snap.flows import joint_flow
from iclcheck.numerics.scan_and_snap.sequence_classes import SequenceClasses, random_classes
from iclcheck.proofs_check.scan_and_snap import joint_flow as claims
from iclcheck.theory.scan_and_snap import early_attention as theory


def relative_gap(task: SequenceClasses, time: float) -> float:
    """How far z(t)/(t^2/2) is from the derived acceleration."""
    predicted = theory.predicted_accelerations(task.plain(), 1.0, 1.0)
    moved = joint_flow([task], 1.0, 1.0, [time], tolerance=1e-12)["Z"][0, 0]
    return float(np.abs(2 * moved / time**2 - predicted).max() / np.abs(predicted).max())


def test_the_flow_starts_with_the_derived_acceleration() -> None:
    task = random_classes(4, 20, 2, 3, 4, "early")
    late, early = (relative_gap(task, time) for time in (0.1, 0.05))
    # z = z'' t^2/2 + O(t^3): the gap halves with t, up to the next order, here t times a number of size one
    assert early < 0.05
    assert early / late == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("size", claims.EQUAL)
def test_tables_with_equal_overlaps_have_them(size: tuple[int, int, float, int]) -> None:
    table = np.array(claims.equal_table(*size)["contexts"])
    f = theory.class_vectors(table, 0 * table)
    gram = f @ f.T
    others = gram[~np.eye(len(gram), dtype=bool)]
    assert others.max() - others.min() < 1e-15
    assert np.allclose(table.sum(1), 1, rtol=0, atol=1e-15)
