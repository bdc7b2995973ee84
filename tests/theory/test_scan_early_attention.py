from fractions import Fraction

import numpy as np
import pytest

from iclcheck.theory.one_layer.assumptions import AssumptionError
from iclcheck.theory.scan_and_snap import early_attention as theory


def test_every_step_holds_at_rational_instances() -> None:
    assert theory.derivation().failures(range(4)) == []


def test_the_ratio_of_the_flows_at_plain_numbers() -> None:
    # K = 2, M = 4, rho = 1/2: G^-1 (e_1 - o/4) = (4/3)(3/4 + 1/8, -1/4 - 3/8) = (7/6, -5/6); xi = 5/12 against 1/8
    assert theory.at_overlap(theory.speed_up(), 2, 4, Fraction(1)) == Fraction(5, 12) / Fraction(1, 8)


def test_without_overlap_both_flows_leave_attention_alone() -> None:
    found = theory.for_user([[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    assert np.abs(found["acceleration"]).max() == 0
    assert found["pull"] == [0.0, 0.0]
    assert found["reparametrised_pull"] == pytest.approx([0.0, 0.0], abs=1e-15)


def test_row_sums_of_the_acceleration_vanish() -> None:
    found = theory.for_user([[0.2, 0.3, 0.5, 0.0], [0.4, 0.0, 0.1, 0.5], [0.1, 0.2, 0.3, 0.4]], [0, 1, 0])
    # sums of at most twelve numbers below one tenth
    assert np.abs(np.sum(found["acceleration"], axis=1)).max() < 1e-16


def test_equal_classes_have_no_reparametrised_flow() -> None:
    found = theory.for_user([[0.5, 0.5], [0.5, 0.5]])
    assert found["reparametrised_pull"] is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (([[0.5, 0.4], [0.5, 0.5]],), "rows of probabilities with sum 1"),
        (([[1.0], [1.0]],), "1 <= K <= M"),
        (([[1.0, 0.0]], [2]), "one token 0..1"),
        (([[1.0, 0.0]], [True]), "one token 0..1"),
        (([[1.0, 0.0], [0.0, 1.0]], None, [0.5, 0.6]), "2 probabilities with sum 1"),
        (([[1.0, 0.0], [0.0, 1.0]], None, None, -1.0), "decoder_rate"),
    ],
)
def test_what_is_no_task_is_refused(arguments: tuple[object, ...], sentence: str) -> None:
    with pytest.raises(AssumptionError, match=sentence):
        theory.for_user(*arguments)
