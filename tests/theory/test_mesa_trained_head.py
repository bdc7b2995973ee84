"""One head on random orthogonal dynamics: its features, the two blocks by another route, and what they gain."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from iclcheck.theory.mesa.one_layer_optimum import GRADIENT_STEP, derived_optimum
from iclcheck.theory.mesa.one_step_rate import derived_step_loss
from iclcheck.theory.mesa.trained_head import SECOND, derivation, derived_two_blocks, gain, prediction
from iclcheck.theory.one_layer.assumptions import AssumptionError


def test_every_step_holds_at_random_instances() -> None:
    assert derivation().failures(range(3)) == []


def test_in_one_dimension_both_features_fit_two_positions_exactly() -> None:
    """n = 1: with e = W = +-1, G_010 = (t - 1) e^t s^3 and G_001 = t e^t s^3 for t >= 2, both 0 at t = 1; the target is
    e^t s, whose best multiple of e^t s^3 is E s^4/E s^6 = 1/5. T = 4: x + 2 y = 1/5 at t = 2 and 2 x + 3 y = 1/5 at
    t = 3."""
    found = derived_two_blocks(1, 4)
    assert found.coefficients == {GRADIENT_STEP: Fraction(-1, 5), SECOND: Fraction(1, 5)}
    # 1/2 (E s^2 - (E s^4)^2/E s^6) = 1/2 (1 - 9/15) = 1/5 at t = 2, 3 and 1/2 at t = 1
    assert found.loss == (Fraction(1, 2) + 2 * Fraction(1, 5)) / 3


@pytest.mark.parametrize(("n", "length"), [(2, 4), (3, 6), (5, 8), (10, 12)])
def test_two_blocks_are_between_the_step_and_the_best_layer(n: int, length: int) -> None:
    step, two, best = derived_step_loss(n, length), derived_two_blocks(n, length), derived_optimum(n, length)
    assert best.loss < two.loss < step.least
    assert gain(n, length) == step.least - two.loss
    assert two.coefficients[GRADIENT_STEP] > 0 > two.coefficients[SECOND]


def test_the_numbers_are_those_of_sampled_sequences() -> None:
    """n = 2 by angles: the mean over 400 rotations and 400 mirror images is exact for polynomials of degree below 400,
    so that the direction of s_1 needs no mean; the radius has E r^4 = 8 and E r^6 = 48. Sums of some 10^4 products of
    order 1 have errors of order 1e-12, at a condition number below 100."""
    T, rows, targets = 5, [], []
    angles = 2 * np.pi * np.arange(400) / 400
    turns = [np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in angles]
    for W in [*turns, *(turn @ np.diag([1.0, -1.0]) for turn in turns)]:
        for first in np.eye(2):
            states = [first]
            for _ in range(T - 1):
                states.append(W @ states[-1])
            for t in range(1, T):
                step = sum((states[u - 1] * (states[u - 2] @ states[t - 1]) for u in range(2, t + 1)), np.zeros(2))
                other = states[t - 2] if t > 1 else np.zeros(2)
                second = sum((states[u - 1] * (states[u - 1] @ other) for u in range(1, t + 1)), np.zeros(2))
                rows += list(zip(step, second, strict=True))
                targets += list(states[t])
    X, y = np.array(rows), np.array(targets)
    found = np.linalg.solve(48 * X.T @ X, 8 * X.T @ y)
    expected = [float(derived_two_blocks(2, T).coefficients[feature]) for feature in (GRADIENT_STEP, SECOND)]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_settings_outside_the_assumptions_are_refused() -> None:
    for n, length in ((1, 5), (2, 3), (2.5, 5)):
        with pytest.raises(AssumptionError, match="need "):
            prediction(n, length)
