"""A scale of the inputs is a noise: the derivation at instances, and the risks that follow from it."""

import numpy as np
import pytest

from iclcheck.theory.one_layer.assumptions import AssumptionError
from iclcheck.theory.prompt_risks import covariate_shift as theory


def test_every_step_holds_at_random_rational_instances() -> None:
    assert theory.derivation().failures(range(6)) == []


def test_the_scaled_density_is_that_of_a_smaller_noise() -> None:
    assert theory.scaled_joint() == theory.noisier_joint()


def test_the_risk_scales_with_the_noise() -> None:
    for c in (0.5, 4.0, 9.0):
        for n in (0, 3, 10):
            assert theory.oracle_risk(5, n, c, 0.1 * c) == pytest.approx(c * theory.oracle_risk(5, n, 1.0, 0.1))


def test_the_risk_in_one_dimension_is_an_integral() -> None:
    """One example, d = 1: E c v s2/(s2 + c v g^2), g ~ N(0, 1), by the trapezoidal rule: smooth, and 0 at the ends."""
    c, s2, v = 4.0, 0.5, 2.0
    g = np.linspace(-12, 12, 200_001)
    density = np.exp(-(g**2) / 2) / np.sqrt(2 * np.pi)
    integral = np.trapezoid(density * c * v * s2 / (s2 + c * v * g**2), g)
    assert theory.oracle_risk(1, 1, c, s2, v) == pytest.approx(float(integral), rel=1e-9)


def test_the_layer_is_worse_than_predicting_zero_at_large_scales() -> None:
    """d = 5, n = 10: its gain is fixed by training at c = 1, and its risk grows like c^3."""
    risks = [theory.for_user(5, 10, c)["layer_risk"] for c in (1.0, 4.0, 9.0)]
    assert risks[0] < 5 < risks[1] / 4 < risks[2] / 9
    for c, risk in zip((1.0, 4.0, 9.0), risks, strict=True):
        a = 10 / (10 + 5 + 1 + 0.1)
        by_hand = c * 5 * ((1 - a * c) ** 2 + a**2 * c / 10 * ((5 + 1) * c + 0.1))
        assert risk == pytest.approx(by_hand, rel=1e-12)


def test_without_examples_everything_predicts_zero() -> None:
    assert theory.for_user(3, 0, 2.0, variance=1.5) == {
        "effective_noise": 0.05, "bayes_risk": 9.0, "layer_risk": 9.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dimension": 41, "examples": 2}, "need dimension at most 40"),
        ({"dimension": 2, "examples": -1}, "need examples as a whole number from 0 to 200"),
        ({"dimension": 2, "examples": 2, "input_scale": 0.0}, "input_scale"),
        ({"dimension": 2, "examples": 2, "noise_variance": -1.0}, "noise_variance"),
    ],
)
def test_settings_outside_of_the_assumptions_are_refused(given: dict[str, float], said: str) -> None:
    with pytest.raises(AssumptionError, match=said):
        theory.for_user(**given)
