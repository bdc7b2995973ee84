"""The risk of the dense Bayes predictor on other linear functions: its derivation, special cases, and refusals."""

from typing import Any

import numpy as np
import pytest

from iclcheck.theory.one_layer.assumptions import AssumptionError
from iclcheck.theory.prompt_risks.cross_class import derivation, for_user, formula, letters_at

Z = [[0.3, -1.0, 0.2], [1.2, 0.4, -0.7]]
GIVEN: dict[str, Any] = {
    "inputs": Z, "dense_variance": 0.7, "noise_variance": 0.2, "nonzeros": 1, "sparse_variance": 1.5,
}  # fmt: skip


def test_every_step_holds_at_six_random_instances() -> None:
    assert derivation().failures(seeds=range(6)) == []


def test_on_dense_prompts_the_risk_is_that_of_bayes() -> None:
    """sigma2 tr (Z^T Z + sigma2/v)^-1, by the eigenvalues."""
    eigenvalues = np.linalg.eigvalsh(np.array(Z).T @ np.array(Z))
    # two inversions at condition numbers below 20
    assert abs(for_user(**GIVEN)["risk_on_dense"] - 0.2 * np.sum(1 / (eigenvalues + 0.2 / 0.7))) < 1e-14


def test_functions_of_the_expected_size_cost_the_same_however_sparse() -> None:
    found = for_user(**{**GIVEN, "sparse_variance": 3 * 0.7})
    assert found["bias_ratio"] == pytest.approx(1, abs=1e-15)
    assert found["risk_on_sparse"] == pytest.approx(found["risk_on_dense"], abs=1e-15)


def test_inputs_that_are_larger_are_functions_that_are_larger() -> None:
    scaled = for_user(**GIVEN, input_scale=4.0)
    larger = for_user(**{**GIVEN, "dense_variance": 2.8, "sparse_variance": 6.0})
    for name, value in scaled.items():
        assert value == pytest.approx(larger[name], rel=1e-13), name


def test_the_risk_is_that_of_sampled_turns() -> None:
    """20,000 Haar turns of the same inputs, E over noise done in closed form: mean and its error by 5 standard errors
    of a bounded statistic (at most c |w|^2), whose rate is 2 exp(-2 n t^2/range^2) by Hoeffding."""
    draw, w = np.random.default_rng(7), np.array([1.5**0.5, 0.0, 0.0])
    ridge, n = 0.2 / 0.7, 20_000
    P = np.linalg.inv(np.array(Z).T @ np.array(Z) + ridge * np.eye(3))
    directions = draw.normal(size=(n, 3))
    directions *= np.linalg.norm(w) / np.linalg.norm(directions, axis=1, keepdims=True)
    bias = np.sum((ridge * directions @ P) ** 2, axis=1)
    allowed = 1.5 * np.sqrt(np.log(2 / 1e-6) / (2 * n))  # kappa P is at most 1
    risk = float(formula().value(letters_at(Z, 0.7, 0.2, 1.5, 1.0)))
    assert abs(bias.mean() + 0.2 * (np.trace(P) - ridge * np.trace(P @ P)) - risk) < allowed < 0.04 * risk * 3


@pytest.mark.parametrize("noise", [1e-10, 1e-16, 1e-18, 1e-40])
def test_what_the_inputs_do_not_see_costs_its_variance_at_any_noise(noise: float) -> None:
    """One example of two coefficients: v for the direction beside it, noise/t in its own but for (noise/t)^2."""
    found = for_user([[0.3, -1.0]], 1.0, noise, 1, 0.0)
    assert found["risk_on_dense"] == pytest.approx(1 + noise / 1.09, rel=1e-14)
    assert found["risk_on_sparse"] == pytest.approx(noise / 1.09, rel=1e-9)


def test_inputs_that_rounding_alone_tells_apart_are_refused_below_its_noise() -> None:
    near = [[0.3, -1.0], [0.6, -2.0 + 1e-15]]
    assert for_user(near, 1.0, 1e-3, 1, 2.0)["risk_on_dense"] == pytest.approx(1 + 1e-3 / 5.45, rel=1e-6)
    with pytest.raises(AssumptionError, match=r"noise_variance needs at least .* nearly dependent, got 1e-28"):
        for_user(near, 1.0, 1e-28, 1, 2.0)


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"inputs": [1.0, 2.0]}, r"inputs needs the shape \(N, d\)"),
        ({"inputs": []}, r"inputs needs the shape \(N, d\)"),
        ({"nonzeros": 4}, "nonzeros needs a whole number from 1 to 3, the width of inputs, got 4"),
        ({"nonzeros": 0}, "nonzeros needs a whole number from 1 to 3"),
        ({"nonzeros": "two"}, "nonzeros needs a whole number from 1 to 3"),
        ({"noise_variance": 0.0}, "noise_variance needs a number above 0"),
        ({"sparse_variance": -1.0}, "sparse_variance needs a number of at least 0"),
        ({"input_scale": 0.0}, "input_scale needs a number above 0"),
    ],
)
def test_a_setting_without_a_risk_is_refused_in_one_sentence(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(AssumptionError, match=words) as refusal:
        for_user(**{**GIVEN, **changed})
    assert "\n" not in str(refusal.value)
