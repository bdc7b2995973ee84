"""The Bayes predictor of linear functions and sinusoids against dense linear algebra and nested quadrature."""

import math
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest

from iclcheck.theory.mixtures import sinusoid_posterior
from iclcheck.theory.mixtures.sinusoid_posterior import derivation, for_user
from iclcheck.theory.one_layer.assumptions import AssumptionError

GIVEN: dict[str, Any] = {
    "x": [0.3, -1.0], "y": [0.5, -1.2], "x_query": 0.8, "slope_variance": 0.7, "amplitude_variance": 2.0,
    "lowest": 1.0, "highest": 2.5, "linear_probability": 0.4, "noise_variance": 0.5,
}  # fmt: skip


def density_and_mean(row: Any, query: Any, variance: float, given: dict[str, Any]) -> tuple[Any, Any]:
    """N(y; 0, sigma2 I + v r r^T) and E[f(x_q) | y], by the inverse matrix."""
    y = mpmath.matrix(given["y"])
    cov = variance * row * row.T + given["noise_variance"] * mpmath.eye(len(y))
    solved = mpmath.lu_solve(cov, y)
    exponent = (y.T * solved)[0] / 2
    return mpmath.exp(-exponent) / mpmath.sqrt(mpmath.det(2 * mpmath.pi * cov)), variance * query * (row.T * solved)[0]


def brute_force(given: dict[str, Any]) -> tuple[float, float]:
    """Both quantities with the integral over frequency and phase by adaptive nested quadrature."""

    @cache
    def wave(omega: Any, phi: Any) -> tuple[Any, Any]:
        row = mpmath.matrix([mpmath.sin(omega * x + phi) for x in given["x"]])
        return density_and_mean(row, mpmath.sin(omega * given["x_query"] + phi), given["amplitude_variance"], given)

    def integral(of: Any) -> Any:
        ranges = ([given["lowest"], given["highest"]], [0, mpmath.pi])
        found = mpmath.quad(lambda omega, phi: of(*wave(omega, phi)), *ranges, maxdegree=4)
        return found / (mpmath.pi * (given["highest"] - given["lowest"]))

    linear, mean = density_and_mean(mpmath.matrix(given["x"]), given["x_query"], given["slope_variance"], given)
    pi = given["linear_probability"]
    evidence = integral(lambda density, _: density)
    total = pi * linear + (1 - pi) * evidence
    weighted = pi * linear * mean + (1 - pi) * integral(lambda density, one: density * one)
    return float(pi * linear / total), float(weighted / total)


def test_every_step_holds_at_six_random_instances() -> None:
    assert derivation().failures(seeds=range(6)) == []


@pytest.mark.slow
def test_the_predictor_is_that_of_dense_matrices_and_nested_quadrature() -> None:
    with mpmath.workdps(12):
        posterior, prediction = brute_force(GIVEN)
    found = for_user(**GIVEN)
    assert found["quadrature_error"] < 1e-10
    # mpmath's tanh-sinh rule of degree 4, some 50 points a side, doubles its digits with each degree: 1e-9 are left
    assert abs(found["linear_posterior"] - posterior) < 1e-8
    assert abs(found["prediction"] - prediction) < 1e-8


def test_one_frequency_and_one_class_leave_one_sum_over_the_phase() -> None:
    """Equal bounds fix omega, probability 0 leaves the sinusoids: the phase alone, by a plain sum of 4,000 terms."""
    given = {**GIVEN, "highest": 1.0, "linear_probability": 0.0}
    x, y, v, noise = np.array(given["x"]), np.array(given["y"]), given["amplitude_variance"], given["noise_variance"]
    weights, means = [], []
    for phi in 2 * math.pi * np.arange(4000) / 4000:
        row = np.sin(x + phi)
        cov = v * np.outer(row, row) + noise * np.eye(2)
        solved = np.linalg.solve(cov, y)
        weights.append(np.exp(-y @ solved / 2) / np.sqrt(np.linalg.det(cov)))
        means.append(v * np.sin(given["x_query"] + phi) * row @ solved)
    found = for_user(**given)
    assert found["linear_posterior"] == 0
    # sums of 4,000 positive terms, each from 2 x 2 systems of condition number below 20
    assert abs(found["prediction"] - np.dot(weights, means) / np.sum(weights)) < 1e-12


def test_without_examples_the_prior_is_left() -> None:
    found = for_user(**{**GIVEN, "x": [], "y": []})
    assert abs(found["linear_posterior"] - 0.4) < 1e-14
    assert abs(found["prediction"]) < 1e-14


def test_the_predictor_is_odd_in_the_labels_and_in_the_inputs() -> None:
    here = for_user(**GIVEN)
    turned = for_user(**{**GIVEN, "y": [-one for one in GIVEN["y"]]})
    mirrored = for_user(**{**GIVEN, "x": [-one for one in GIVEN["x"]], "x_query": -0.8})
    for other, sign in ((turned, -1), (mirrored, 1)):
        assert abs(other["linear_posterior"] - here["linear_posterior"]) < 1e-12
        assert abs(other["prediction"] - sign * here["prediction"]) < 1e-12


def off_the_line(noise: float) -> dict[str, Any]:
    """Two examples 7.5 standard deviations off any line; sinusoids through both lie in a strip as narrow as noise."""
    return {
        "x": [1.0, 2.0], "y": [1.0, 2.0 + 7.5 * math.sqrt(5 * noise)], "x_query": 0.5, "slope_variance": 1.0,
        "amplitude_variance": 2.0, "lowest": 1.0, "highest": 4.0, "linear_probability": 0.5, "noise_variance": noise,
    }  # fmt: skip


def test_nodes_that_all_miss_the_sinusoids_are_no_evidence_for_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line's posterior is about 6e-6; the bound on rounding would refuse this first."""
    monkeypatch.setattr(sinusoid_posterior, "ROUNDED", 1.0)
    with pytest.raises(AssumptionError, match="too narrow for a quadrature"):
        for_user(**off_the_line(1e-12))


def test_one_example_is_answered_until_rounding_decides() -> None:
    """Without noise, y = x = 1: the line has the density N(1; 0, b), sinusoids the mean of N(1; 0, v sin^2) over u =
    omega + phi, uniform as phi is: with v = 2 and t = cot u, exp(-1/4) int exp(-t^2/4)/sqrt(1 + t^2) dt/(pi sqrt(4 pi))
    = exp(-1/8) K_0(1/8)/(pi sqrt(4 pi)). At a noise of 1e-7 either is off by a few times that, relative."""
    given = {**off_the_line(1e-7), "x": [1.0], "y": [1.0]}
    line = math.exp(-1 / 2) / math.sqrt(2 * math.pi)
    wave = math.exp(-1 / 8) * float(mpmath.besselk(0, 1 / 8)) / (math.pi * math.sqrt(4 * math.pi))
    assert for_user(**given)["linear_posterior"] == pytest.approx(line / (line + wave), abs=1e-6)
    with pytest.raises(AssumptionError, match=r"noise_variance needs at least 2.89e-09 with these labels, got 1e-20"):
        for_user(**{**given, "noise_variance": 1e-20})


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no noise": ({"noise_variance": 0}, "noise_variance needs a number above 0"),
    "too little noise": (
        {"noise_variance": 3e-8, "x": [0.1, 0.5, -0.8, 1.2], "y": [1.0, 0.4, -0.3, 2.0]},
        "too narrow for a quadrature",
    ),
    "unequal lengths": ({"x": [1.0]}, "x and y need one number for each example"),
    "frequencies upside down": ({"lowest": 5.0}, "need 0 <= lowest <= highest, got 5 and 2.5"),
    "a probability above 1": ({"linear_probability": 1.2}, "linear_probability needs a number from 0 to 1, got 1.2"),
    "no amplitude": ({"amplitude_variance": 0.0}, "amplitude_variance needs a number above 0"),
    "a query of two numbers": ({"x_query": [1.0, 2.0]}, "x_query needs one number"),
}


@pytest.mark.parametrize(
    "changed, words", [pytest.param(*one, marks=pytest.mark.slow) if k == "too little noise" else one
                       for k, one in REFUSED.items()], ids=REFUSED,
)  # fmt: skip
def test_a_setting_without_a_predictor_is_refused_in_one_sentence(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(AssumptionError, match=words) as refusal:
        for_user(**{**GIVEN, **changed})
    assert "\n" not in str(refusal.value)
