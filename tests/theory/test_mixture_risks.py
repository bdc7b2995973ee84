"""Exact risks of baselines and of ridge regression: against quadrature, limits and the one-layer baselines."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

from iclcheck.theory.audits import decoder_parameters
from iclcheck.theory.one_layer import baselines
from iclcheck.theory.one_layer.assumptions import AssumptionError
from iclcheck.theory.one_layer.wishart import mean_over_eigenvalues
from iclcheck.theory.prompt_risks import baseline_risks, ridge_risk, wishart_resolvent
from iclcheck.theory.prompt_risks.wishart_resolvent import by_quadrature, mean_resolvent_powers, means_over_positive

DERIVATIONS = (
    baseline_risks.derivation, ridge_risk.derivation, decoder_parameters.derivation, decoder_parameters.refutation,
)  # fmt: skip
SIZES = ((1, 1), (2, 1), (1, 4), (2, 2), (4, 2), (3, 6), (7, 4), (20, 20), (37, 20))
# The quadrature of `one_layer.wishart` is right to 1e-12, and so are the recursions.
RELATIVE = 2e-12


@pytest.mark.parametrize(
    "derivation", DERIVATIONS, ids=lambda one: f"{one.__module__.rpartition('.')[2]}.{one.__name__}"
)
def test_every_step_holds_at_rational_instances(derivation: Any) -> None:
    assert derivation().failures((0, 1, 2, 3, 4)) == []


def density_mean(n: int, d: int, penalty: float, power: int) -> float:
    return mean_over_eigenvalues(n, d, lambda t: (t + penalty) ** -power, penalty)


@pytest.mark.parametrize(("n", "d"), SIZES)
@pytest.mark.parametrize("penalty", [1e-100, 1e-8, 0.3, 1.0, 50.0])
def test_resolvent_means_are_those_of_the_density(n: int, d: int, penalty: float) -> None:
    """Against Gauss quadrature of the density of eigenvalues, which shares de Bruijn's formula and no recursion."""
    found, null = mean_resolvent_powers(n, d, penalty), d - min(n, d)
    for r, value in ((1, found.first), (2, found.second)):
        density = density_mean(n, d, penalty, r) + null / penalty**r
        assert value == pytest.approx(density, rel=RELATIVE), (n, d, r)


@pytest.mark.parametrize(("count", "difference"), [(1, 41), (5, 100), (20, 60), (5, 40), (20, 1)])
@pytest.mark.parametrize("penalty", [1e-12, 1.0, 999.0])
def test_quadrature_takes_over_where_recursions_need_hundreds_of_digits(
    count: int, difference: int, penalty: float
) -> None:
    """On both sides of where it does: T_1, T_2 and their difference, against recursions with 300 digits."""
    lam = Fraction(penalty)
    far, exact = (
        by_quadrature(count, difference, penalty),
        wishart_resolvent.evaluated(count, difference, penalty, 300),
    )
    for name, (first, second) in (("T_1", (far[0], exact[0])), ("T_2", (far[1], exact[1]))):
        assert abs(first / second - 1) < RELATIVE, name
    assert abs((far[0] - lam * far[1]) / (exact[0] - lam * exact[1]) - 1) < RELATIVE


@pytest.mark.parametrize("penalty", [1e-250, 1e-3, 1.0, 1e9, 1e200])
def test_ridge_has_a_risk_after_any_number_of_examples(penalty: float) -> None:
    """Between those of least squares and of predicting 0 where both parts are, in less than a second."""
    lengths = [46, 85, 250, 1000, 10_000, 10**6]
    found = ridge_risk.prediction(5, lengths, squared_norm=5.0, noise_variance=0.1, penalty=penalty)
    for n, risk, of_noise in zip(lengths, found["ridge"], found["of_noise"], strict=True):
        least_squares = baselines.least_squares_risk(5, n, 0.1)
        assert of_noise <= least_squares * (1 + RELATIVE)
        assert risk == pytest.approx(baselines.ridge_risk(5, n, 0.1, penalty), rel=RELATIVE)
        if penalty < 1e-200:
            assert risk == pytest.approx(least_squares, rel=RELATIVE)
        if penalty > 1e100:
            assert risk == pytest.approx(5.0, rel=RELATIVE)


@pytest.mark.parametrize(("n", "d"), [(2, 2), (5, 3), (6, 5), (12, 4)])
@pytest.mark.parametrize("penalty", [1e-9, 1e-3, 0.4, 7.0, 3e3])
def test_the_second_power_is_minus_the_slope_of_the_first(n: int, d: int, penalty: float) -> None:
    """By a central difference of step h = 1e-4 in ln lambda: its error is h^2/6 times the third derivative of T_1 in
    ln lambda, at most 6 sum (1 + ..) < 30 T_1 for sums of lambda/(t + lambda); the recursions add 1e-12/h."""
    h = 1e-4
    above, below = (mean_resolvent_powers(n, d, penalty * math.exp(sign * h)).first for sign in (1, -1))
    found = mean_resolvent_powers(n, d, penalty)
    assert -penalty * found.second == pytest.approx((above - below) / (2 * h), abs=(30 * h * h + 1e-8) * found.first)


@pytest.mark.parametrize(("n", "d"), [(4, 1), (1, 4), (10, 20), (23, 20)])
def test_without_penalty_it_is_the_mean_inverse(n: int, d: int) -> None:
    """T_1 over positive eigenvalues: sum 1/t - lambda sum 1/t^2 + .., with E sum 1/t^2 finite for |n - d| > 3 and like
    ln(1/lambda) for |n - d| = 3: 1e-9 is above 1e-12 times 28 and its size."""
    first, _ = means_over_positive(min(n, d), abs(n - d), 1e-12)
    assert first == pytest.approx(baselines.mean_trace_of_inverse(n, d), rel=1e-9)


@pytest.mark.parametrize("penalty", [1e-16, 1e-30, 1e-200])
def test_noise_has_its_own_risk_at_any_penalty_with_fewer_examples(penalty: float) -> None:
    """Least squares of least norm for n < d - 3: W (1 - n/d) + sigma^2 n/(d - n - 1), but for terms like lambda."""
    found = ridge_risk.prediction(20, [10], noise_variance=0.01, penalty=penalty)
    assert found["of_noise"][0] == pytest.approx(0.01 * 10 / 9, rel=1e-12)
    assert found["ridge"][0] == pytest.approx(20 / 2 + 0.01 * 10 / 9, rel=1e-12)


def test_noise_has_its_own_risk_at_large_penalties() -> None:
    """sigma^2 E tr G/lambda^2 = sigma^2 n d/lambda^2, but for 2 E tr G^2/lambda^3."""
    found = ridge_risk.prediction(20, [10], noise_variance=0.01, penalty=1e12)
    assert found["of_noise"][0] == pytest.approx(0.01 * 200 / 1e24, rel=1e-9, abs=0)


def test_moments_come_back_from_large_penalties() -> None:
    """lambda T_1 = m - E tr W/lambda + E tr W^2/lambda^2 - ..; the next term is below (E tr W^3)/lambda^3 < 1e-9."""
    n, d, penalty = 7, 4, 1e5
    scaled = penalty * mean_resolvent_powers(n, d, penalty).first
    assert scaled == pytest.approx(d - n * d / penalty + n * d * (n + d + 1) / penalty**2, abs=1e-9)


@pytest.mark.slow
def test_it_takes_less_than_five_seconds_for_forty_prefixes_in_twenty_dimensions() -> None:
    import time

    means_over_positive.cache_clear()
    started = time.process_time()
    ridge_risk.prediction(20, 40, noise_variance=0.1, nonzeros=2)
    assert time.process_time() - started < 8  # 3 s as measured


@pytest.mark.parametrize("penalty", [1e-9, 0.2, 1.0, 4.0, 1e5])
def test_ridge_is_that_of_the_one_layer_baselines(penalty: float) -> None:
    """There with tasks N(0, I), W = d, and by quadrature."""
    for n, d, noise in ((3, 2, 0.5), (5, 8, 1.0), (12, 5, 0.1)):
        direct = baselines.ridge_risk(d, n, noise, penalty)
        assert ridge_risk.ridge_risk(d, n, float(d), noise, penalty) == pytest.approx(direct, rel=RELATIVE)


def test_the_best_penalty_is_better_than_others_and_than_every_other_baseline() -> None:
    d, W, noise = 5, 2.0, 0.3
    best = ridge_risk.best_penalty_at(d, W, noise)
    for n in (1, 4, 5, 6, 12):
        least = ridge_risk.ridge_risk(d, n, W, noise, best)
        others = [ridge_risk.ridge_risk(d, n, W, noise, best * factor) for factor in (0.5, 0.99, 1.01, 3.0)]
        curves = baseline_risks.prediction(d, [n], squared_norm=W, noise_variance=noise)
        others += [
            value for name in ("zero", "averaging", "one_step", "least_squares") for value in curves[name] if value
        ]
        assert all(least < other for other in others), n


def test_least_squares_is_that_of_the_one_layer_baselines() -> None:
    for d, n, noise in product((1, 2, 5, 20), (1, 2, 3, 6, 20, 40), (0.0, 0.4)):
        direct = baselines.least_squares_risk(d, n, noise)
        assert baseline_risks.least_squares_risk(d, n, float(d), noise) == pytest.approx(direct, rel=1e-14)


def test_infinite_risks_are_null_with_a_reason_and_only_with_noise() -> None:
    found = baseline_risks.prediction(4, [0, 2, 3, 4, 5, 6], noise_variance=0.1)
    assert [value is None for value in found["least_squares"]] == [False, False, True, True, True, False]
    assert "infinite" in found["least_squares_infinite"]
    without = baseline_risks.prediction(4, [3, 4, 5])
    assert without["least_squares"] == [1.0, 0.0, 0.0]
    assert without["least_squares_infinite"] is None


def test_a_sparse_law_has_the_risks_of_a_dense_one_with_the_same_norm() -> None:
    sparse = baseline_risks.prediction(20, [5, 30], nonzeros=2, variance=3.0, noise_variance=0.2)
    assert sparse == baseline_risks.prediction(20, [5, 30], squared_norm=6.0, noise_variance=0.2)


@pytest.mark.parametrize(
    ("made", "given", "said"),
    [
        (baseline_risks.prediction, {"dimension": 3, "nonzeros": 4}, "nonzeros"),
        (baseline_risks.prediction, {"dimension": 3, "squared_norm": 1.0, "nonzeros": 1}, "got both"),
        (baseline_risks.prediction, {"dimension": 3, "lengths": []}, "numbers of examples"),
        (baseline_risks.prediction, {"dimension": 3, "lengths": [1.5]}, "whole number"),
        (baseline_risks.prediction, {"dimension": 3, "lengths": -1}, "lengths"),
        (ridge_risk.prediction, {"dimension": 3}, "penalty"),
        (ridge_risk.prediction, {"dimension": 50, "lengths": [60], "noise_variance": 1.0}, "at most 40"),
        (ridge_risk.prediction, {"dimension": 3, "penalty": 0}, "penalty"),
        (decoder_parameters.prediction, {"width": 0}, "width"),
    ],
)
def test_what_the_statements_do_not_cover_is_refused(made: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(AssumptionError, match=said):
        made(**given)


def test_the_papers_model_has_nine_and_a_half_million_parameters() -> None:
    assert decoder_parameters.prediction()["parameters"] == 9_534_977
    assert decoder_parameters.reported()["largest_gpt_2"] == 1_557_611_200


def test_a_wrong_recursion_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    right = mean_resolvent_powers(5, 4, 1.0)
    means_over_positive.cache_clear()
    monkeypatch.setattr(wishart_resolvent, "factorials", lambda count: [max(1, k) for k in range(count)])
    wrong = mean_resolvent_powers(5, 4, 1.0)
    means_over_positive.cache_clear()
    assert not np.isclose(right.first, wrong.first, rtol=1e-6)
