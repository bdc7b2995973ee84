"""The decoder without overlap: the law against 50 digits and a literal flow, gamma's two ends, and refusals."""

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import softmax

from iclcheck.theory.one_layer.assumptions import AssumptionError
from iclcheck.theory.scan_decoder import decoder
from iclcheck.theory.scan_decoder.decoder import crossing, derivation, for_user


def test_every_step_holds_at_four_random_instances() -> None:
    assert derivation().failures(seeds=(0, 1, 2, 3)) == []


@pytest.mark.parametrize("M", [2, 3, 30, 1000, 10**6])
def test_the_decoder_is_right_to_float64_at_any_time(M: int) -> None:
    with mpmath.workdps(60):
        for exponent in range(-12, 13):
            t = 3.3 * 10.0**exponent
            found = for_user(M, 1, 1.0, t)
            u = mpmath.lambertw(mpmath.e ** ((1 + M * mpmath.mpf(t)) / (M - 1)) / (M - 1)) if t * M < 1e6 else None
            if u is not None:
                u = (1 + M * mpmath.mpf(t)) / (M - 1) - u
            else:  # the exponential leaves even mpmath's patience: fixed-point form of the same law
                u = mpmath.mpf(found["lead"])
                for _ in range(5):
                    u -= (mpmath.expm1(u) + (M - 1) * u - M * mpmath.mpf(t)) / (mpmath.exp(u) + M - 1)
            below = mpmath.exp(u) + M - 1
            exact = {
                "h": u / M, "error": (M - 1) / below, "gamma": (M - 1) ** 2 * u / M / below,
                "gamma_integral": ((M - 1) * u / M) ** 2 / 2,
            }  # fmt: skip
            for name, value in exact.items():
                # Newton ends within an ulp or two of u; e^u carries |u| of them, and u < 45 here.
                assert abs(found[name] / value - 1) < 50 * 2.3e-16, (name, t)


def test_the_decoder_is_the_literal_flow_of_five_logits() -> None:
    K, eta, times = 3, 0.7, [0.5, 4.0, 20.0, 300.0]
    right = np.eye(5)[2]
    found = solve_ivp(
        lambda _, w: eta / K * (right - softmax(w)), (0, 300), np.zeros(5), "DOP853", times, rtol=1e-12, atol=1e-14
    )
    for t, w in zip(times, found.y.T, strict=True):
        one = for_user(5, K, eta, t)
        # local errors below 1e-12 of w over some hundred steps
        assert np.allclose(w, one["h"] * (5 * right - 1), rtol=1e-9, atol=0)
        assert abs(1 - softmax(w)[2] - one["error"]) < 1e-9


@pytest.mark.parametrize("M", [2, 30, 10**6])
def test_gamma_keeps_below_its_bounds(M: int) -> None:
    q = (M - 1) / M
    for tau in np.logspace(-6, 9, 61):
        gamma = for_user(M, 1, 1.0, tau)["gamma"]
        assert gamma <= q**2 * tau * (1 + 1e-12)  # equal up to rounding at early times
        if tau >= 2 * math.log(M):
            assert gamma <= 3 * math.log(1 + M * tau) / tau


@pytest.mark.parametrize("M", [2, 30, 10**6])
def test_gamma_is_largest_where_it_is_said_to_be(M: int) -> None:
    K, eta = 4, 0.5
    said = for_user(M, K, eta, 1.0)
    t, largest = said["time_of_largest_gamma"], said["largest_gamma"]
    assert for_user(M, K, eta, t)["gamma"] == pytest.approx(largest, rel=1e-13)
    for factor in (0.5, 0.99, 1.01, 2.0):
        assert for_user(M, K, eta, factor * t)["gamma"] < largest
    lead, tau = crossing(M)
    assert math.exp(lead) * (lead - 1) == pytest.approx(M - 1, rel=1e-13)
    assert tau == pytest.approx(t * eta / K)


def test_the_integral_of_gamma_is_its_integral() -> None:
    # Simpson's rule with 2000 panels of length .02 on a smooth function: error below (.02)^4 * 40 times 1e-2
    times = np.linspace(0, 40, 2001)
    gammas = [for_user(30, 2, 1.0, t)["gamma"] for t in times]
    simpson = (gammas[0] + 4 * sum(gammas[1:-1:2]) + 2 * sum(gammas[2:-1:2]) + gammas[-1]) * (times[1] / 3)
    assert for_user(30, 2, 1.0, 40.0)["gamma_integral"] == pytest.approx(simpson, rel=1e-6)


def test_the_transition_is_sharp_for_many_tokens() -> None:
    M = 10**140
    log_M = math.log(M)
    for c in (0.3, 0.6, 0.9):
        # (tau - u) <= M^(c - 1), q = 1 in float64, gamma = u/(1 + tau - u)
        assert for_user(M, 1, 1.0, c * log_M)["gamma"] / log_M == pytest.approx(c, rel=1e-12)
    for c in (2.0, 4.0):
        # u = ln M + O(ln ln M): gamma differs from 1/(c - 1) by a few ln(322)/322
        assert for_user(M, 1, 1.0, c * log_M)["gamma"] == pytest.approx(1 / (c - 1), rel=0.06)


def test_a_late_bound_without_M_in_its_logarithm_is_exceeded_without_limit() -> None:
    ratios = []
    for exponent in (3, 20, 140):
        tau = 2 * math.log(10.0**exponent)
        ratios.append(for_user(10**exponent, 1, 1.0, tau)["gamma"] / (math.log(tau) / tau))
    assert ratios[0] > 3
    assert ratios[1] > 2 * ratios[0]
    assert ratios[2] > 2 * ratios[1]


def test_steps_are_ahead_of_the_flow_by_no_more_than_the_bound() -> None:
    for M in (2, 7, 300):
        for eta in (0.05, 0.5, 4 * (M - 1) / M):
            h = 0.0
            for count in range(1, 200):
                h += eta / (math.exp(M * h) + M - 1)
                lead = for_user(M, 1, eta, float(count))["lead"]
                assert -1e-12 <= M * h - lead <= decoder.ahead(lead, M, eta) + 1e-12  # the bound at the flow's own lead


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"classes": 1}, "vocabulary size M"),
        ({"classes": 1}, "got 1; with one token there is nothing"),
        ({"classes": 3.5}, "got 3.5; give one such as 1000"),
        ({"frequency": 0}, "number K of classes"),
        ({"learning_rate": 0.0}, "learning_rate needs a number above 0"),
        ({"time": -1.0}, "flow starts at time 0"),
        ({"time": [1.0]}, "time needs one number"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(AssumptionError, match=said):
        for_user(**{"classes": 5, "frequency": 2, "learning_rate": 1.0, "time": 1.0, **changed})
