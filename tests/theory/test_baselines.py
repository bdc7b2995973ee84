"""Least squares, ridge and Bayes beside the layer: closed forms, Wishart means, and their order at every length."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad

from iclcheck.theory.one_layer import baselines
from iclcheck.theory.one_layer.assumptions import AssumptionError
from iclcheck.theory.one_layer.wishart import mean_over_eigenvalues
from iclcheck.theory.prompt_risks.wishart_resolvent import exact_resolvent_powers

SIZES = (
    (1, 1), (2, 1), (3, 2), (3, 8), (7, 3), (20, 20), (25, 20), (40, 40), (10_000, 5), (10_000, 40), (10**6, 40),
    (40, 10**12),
)  # fmt: skip
# What the quadrature is said to reach; the largest of all errors seen here is 3e-14.
RELATIVE = 1e-12


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_wishart_means_are_those_of_moments(n: int, d: int) -> None:
    """E tr W = n d and E tr W^2 = n d (n + d + 1), by Isserlis; E tr W^+ = k/(m - k - 1), by inverse chi-square."""
    assert mean_over_eigenvalues(n, d, lambda t: t) == pytest.approx(n * d, rel=RELATIVE)
    assert mean_over_eigenvalues(n, d, lambda t: t * t) == pytest.approx(n * d * (n + d + 1), rel=RELATIVE)
    if abs(n - d) > 1:
        inverse = mean_over_eigenvalues(n, d, lambda t: 1 / t)
        assert inverse == pytest.approx(baselines.mean_trace_of_inverse(n, d), rel=RELATIVE)


def scaled_exponential_integral(n: int, r: float) -> float:
    """x e^x E_a(x), a = n/2, x = r/2: from a = 1/2 or 1 up by a E_(a+1) = e^-x - x E_a, which loses log10 x digits a
    step for a large x and none for a small one."""
    with mpmath.workdps(40 + math.ceil(n * max(0.0, math.log10(r)))):
        x, a = mpmath.mpf(r) / 2, mpmath.mpf(2 - n % 2) / 2
        value = mpmath.exp(x) * (mpmath.sqrt(mpmath.pi / x) * mpmath.erfc(mpmath.sqrt(x)) if n % 2 else mpmath.e1(x))
        while a < mpmath.mpf(n) / 2:
            value, a = (1 - x * value) / a, a + 1
        return float(x * value)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9, 100])
@pytest.mark.parametrize("r", [1e-300, 1e-30, 1e-12, 1e-8, 1e-3, 1.0, 40.0, 1e6])
def test_bayes_in_one_dimension_is_an_exponential_integral(n: int, r: float) -> None:
    """E r/(chi^2_n + r) in 40 digits, by substitution t = r u in the density of chi^2_n."""
    assert baselines.bayes_risk(1, n, r) == pytest.approx(scaled_exponential_integral(n, r), rel=RELATIVE, abs=0)


@pytest.mark.parametrize("penalty", [1e-300, 1e-30, 1e-12, 1e-8, 1e-5, 1e-2, 1.0, 100.0, 1e6])
@pytest.mark.parametrize(("d", "n"), [(2, 2), (5, 4), (5, 6), (20, 10), (20, 19), (20, 20), (20, 21), (20, 40)])
def test_ridge_is_right_at_every_penalty(d: int, n: int, penalty: float) -> None:
    """Against recursions in many digits, which share no integral with the quadrature: its bias, its noise and Bayes.

    With nodes that do not gather at 0 Bayes is off by 0.8 % for d = n = 20 at 1e-8."""
    first, second = exact_resolvent_powers(n, d, penalty)
    lam = Fraction(penalty)
    bias, passed = lam**2 * second, first - lam * second
    for noise in (0.0, 0.3, penalty):
        known = float(bias + Fraction(noise) * passed)
        assert baselines.ridge_risk(d, n, noise, penalty) == pytest.approx(known, rel=RELATIVE, abs=0)
    assert baselines.bayes_risk(d, n, penalty) == pytest.approx(float(lam * first), rel=RELATIVE, abs=0)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [1e-300, 1e-12, 1e-6, 1.0, 1e3])
@pytest.mark.parametrize(("d", "n"), [(39, 39), (40, 38), (40, 40), (40, 41), (40, 80)])
def test_ridge_is_right_with_forty_eigenvalues(d: int, n: int, penalty: float) -> None:
    test_ridge_is_right_at_every_penalty(d, n, penalty)


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("noise", [0.1, 2.0])
def test_bayes_in_one_dimension_is_an_integral_over_chi_square(n: int, noise: float) -> None:
    """With t = s^2 the density is s^(n - 1) e^(-s^2/2) up to a constant, smooth for n = 1 too."""
    norm = 2 ** (n / 2 - 1) * math.gamma(n / 2)
    value, error = quad(lambda s: s ** (n - 1) * math.exp(-s * s / 2) / norm * noise / (s * s + noise), 0, 40)
    assert baselines.bayes_risk(1, n, noise) == pytest.approx(value, abs=10 * error + 1e-11)


@pytest.mark.parametrize(("d", "n"), [(2, 2), (3, 5), (5, 3)])
def test_bayes_is_the_mean_trace_of_the_posterior(d: int, n: int) -> None:
    """4000 draws in [0, d]: by Hoeffding's inequality their mean is off by more than d sqrt(log(2e9)/8000) = 0.052 d
    with probability at most 1e-9."""
    draw, noise = np.random.default_rng([d, n]), 0.5
    X = draw.normal(size=(4000, n, d))
    posterior = np.linalg.inv(np.swapaxes(X, 1, 2) @ X + noise * np.eye(d))
    sampled = noise * float(np.trace(posterior, axis1=1, axis2=2).mean())
    assert abs(baselines.bayes_risk(d, n, noise) - sampled) < 0.052 * d


def test_no_predictor_beats_bayes_and_more_samples_help_it() -> None:
    d, noise = 5, 0.4
    last = math.inf
    for n in (1, 3, 4, 5, 6, 8, 20):
        bayes = baselines.bayes_risk(d, n, noise)
        others = [baselines.ridge_risk(d, n, noise, r) for r in (0.1, 0.39, 0.41, 3.0)]
        others += [baselines.least_squares_risk(d, n, noise)]
        others += [baselines.layer_risk(d, n, noise, trained) for trained in (1, n, 50)]
        assert all(bayes < other for other in others)
        assert bayes < last
        last = bayes


def test_least_squares_without_noise_misses_what_the_samples_do_not_span() -> None:
    assert [baselines.least_squares_risk(4, n) for n in (1, 3, 4, 5, 9)] == [3, 1, 0, 0, 0]
    assert [baselines.bayes_risk(4, n) for n in (1, 3, 4, 5, 9)] == [3, 1, 0, 0, 0]


def test_least_squares_with_noise_is_infinite_next_to_the_dimension() -> None:
    risks = [baselines.least_squares_risk(4, n, 0.1) for n in (2, 3, 4, 5, 6)]
    assert [math.isinf(risk) for risk in risks] == [False, True, True, True, False]
    assert risks[0] == 2 + 0.1 * 2 / 1
    assert risks[-1] == 0.1 * 4 / 1


def test_ridge_tends_to_least_squares_and_to_zero_prediction() -> None:
    assert baselines.ridge_risk(3, 9, 0.5, 1e-9) == pytest.approx(baselines.least_squares_risk(3, 9, 0.5), rel=1e-6)
    assert baselines.ridge_risk(3, 9, 0.5, 1e9) == pytest.approx(3, rel=1e-6)


def test_shifts_of_task_and_query_rescale_the_baselines() -> None:
    """Labels in units of c psi = 6 have the noise 1; the error of w, in units of psi = 3, counts q = 5 times."""
    at_one = 3 * 5 * baselines.least_squares_risk(2, 6, 1.0), 3 * 5 * baselines.bayes_risk(2, 6, 1.0)
    found = baselines.beside_the_layer(np.eye(2), 6, None, 6.0, None, 2 * np.eye(2), None, 3 * np.eye(2), 5 * np.eye(2))
    assert found == pytest.approx(at_one, rel=1e-12)  # a handful of products


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: baselines.bayes_risk(0, 3), "dimension needs a whole number"),
        (lambda: baselines.bayes_risk(2, 0), "context_length needs a whole number"),
        (lambda: baselines.ridge_risk(2, 3, 0.1, -1), "ridge needs a number of at least 0"),
        (lambda: baselines.bayes_risk(50, 60, 0.1), "up to 40 of them, got 50"),
        (lambda: baselines.bayes_risk(5, 10**13, 0.1), "up to 1e\\+12 examples or dimensions, got 1e\\+13"),
        (lambda: baselines.bayes_risk(5, 6, 1e-301), "a penalty of 0 or at least 1e-300, got 1e-301"),
        (lambda: baselines.ridge_risk(5, 5, 1e10, 1e-300), "values below 1e308 at every eigenvalue"),
        (lambda: baselines.beside_the_layer([[1.0, 0.0], [0.0, 2.0]], 3), "baselines need test_covariance = c I"),
        (
            lambda: baselines.beside_the_layer([[1.0, 0.0], [0.0, 1.0]], 3, test_query_covariance=[[1, 0], [0, 0]]),
            "baselines need test_query_covariance = c I",
        ),
        (
            lambda: baselines.beside_the_layer([[1.0]], 3, test_task_covariance=[[0.0]]),
            "baselines need test_task_covariance = c I",
        ),
    ],
)
def test_bad_settings_are_refused_by_name(call: Any, message: str) -> None:
    with pytest.raises(AssumptionError, match=message):
        call()
