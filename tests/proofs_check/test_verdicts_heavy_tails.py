"""The bound on means: its inequality, its rates on heavy tails, and what it can detect."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from iclcheck.proofs_check.verdicts.heavy_tails import (
    MeanComparison,
    compare_mean,
    exponent,
    far_probability,
    half_width,
    largest_deviation,
)

ALARM = 1e-2  # a rate that a simulation can see


@settings(derandomize=True, deadline=None, max_examples=500)
@given(x=st.floats(-700, 700))
def test_the_inequality_of_the_proof_holds_for_all_real_x(x: Any) -> None:
    # exp(x - x^2/6) <= 1 + x + x^2/3, compared in logarithms so that nothing overflows; near 0 both sides are
    # 1 + x + x^2/3 + x^4/36 + ..., so rounding (4 eps of numbers near 1) is all that is allowed.
    left, right = x - x * x / 6, math.log1p(x + x * x / 3)
    assert left <= right + 4 * np.finfo(float).eps * max(1.0, abs(left))


def draws_of(law: str, runs: int, count: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """(runs, count) draws with mean 0 and their exact variance."""
    if law == "rare giants":  # +a with probability p, else -p a/(1 - p): kurtosis about 1/p
        p, a = 1e-3, 30.0
        values = np.where(rng.random((runs, count)) < p, a, -p * a / (1 - p))
        return values, p * a**2 + (p * a) ** 2 / (1 - p)
    if law == "product of Gaussians":  # degree 8 in Gaussians, kurtosis 3.4e4
        z = rng.normal(size=(runs, count, 2))
        return z[..., 0] ** 3 * z[..., 1] ** 5, 15.0 * 945.0
    if law == "negative giants":
        values, variance = draws_of("rare giants", runs, count, rng)
        return -values, variance
    return rng.normal(size=(runs, count)), 1.0


@pytest.mark.parametrize("law", ["rare giants", "negative giants", "product of Gaussians", "normal"])
def test_false_alarms_stay_below_their_rate_on_heavy_tails(law: Any) -> None:
    # 4,000 runs. By the proof at most 40 alarms are expected; a bound with twice the rate would show at most 40
    # with probability below exp(-80 (1/2)^2 / 2) = 4.5e-5 (Chernoff), so this refuses it.
    rng = np.random.default_rng(12)
    alarms = runs = 0
    for _ in range(8):
        values, variance = draws_of(law, 500, 1000, rng)
        totals, squares = values.sum(1), (values**2).sum(1)
        for total, square in zip(totals, squares, strict=True):
            alarms += not compare_mean(1000, total, square, variance, false_alarm=ALARM).holds
            runs += 1
    assert alarms <= ALARM * runs, f"{alarms} alarms in {runs} runs at rate {ALARM}"


def test_a_student_t_interval_alarms_far_more_often_on_the_same_draws() -> None:
    # The control: the same simulation refuses the usual test, so it could have refused ours.
    rng = np.random.default_rng(12)
    values, _ = draws_of("rare giants", 2000, 200, rng)
    t = values.mean(1) / (values.std(1, ddof=1) / math.sqrt(200) + 1e-300)
    assert (np.abs(t) > 2.6).mean() > 10 * ALARM


@pytest.mark.parametrize("gap_in_errors", [4.0, 6.0, 9.0, 12.0])
def test_a_gap_above_the_detectable_one_is_refused(gap_in_errors: Any) -> None:
    rng = np.random.default_rng(5)
    passed_though_detectable = 0
    for _ in range(2000):
        values = rng.normal(size=400) + gap_in_errors / math.sqrt(400)
        total, squares = values.sum(), (values**2).sum()
        found = compare_mean(400, total, squares, 1.0 + gap_in_errors**2 / 400, false_alarm=1e-3, miss=1e-2)
        passed_though_detectable += found.holds and gap_in_errors / math.sqrt(400) >= found.detectable
    assert passed_though_detectable <= 20  # 2000 runs at miss rate 1e-2; the proof makes it an upper bound


def test_the_cost_is_close_to_that_of_a_normal_interval() -> None:
    # sqrt(2 log(2/1e-6)) = 5.387 standard errors when the second moment is as known
    width = half_width(10**6, 1.0, 1.0, math.log(2 / 1e-6)) * math.sqrt(10**6)
    assert width == pytest.approx(math.sqrt(2 * math.log(2 / 1e-6)), rel=1e-12)


def test_a_monstrous_draw_widens_the_interval_instead_of_alarming() -> None:
    quiet = compare_mean(1000, 0.0, 1000.0, 1.0)
    monstrous = compare_mean(1000, 300.0, 1000.0 + 300.0**2, 1.0)
    assert monstrous.measured > quiet.allowed
    assert monstrous.holds


def test_the_excluded_gap_solves_its_equation() -> None:
    count, spread, variance, L = 5000, 2.0, 2.5, math.log(1e3)
    gap = largest_deviation(count, spread, variance, L)
    assert gap == pytest.approx(half_width(count, spread + gap**2, variance, L), rel=1e-9)  # a root, to rounding


@pytest.mark.parametrize("false_alarm, miss", [(1e-6, 1e-3), (1e-2, 0.2)])
@pytest.mark.parametrize("variance", [0.3, 20.0])
def test_at_what_is_allowed_and_at_what_is_detectable_the_inequality_of_the_module_is_an_equality(
    variance: float, false_alarm: float, miss: float
) -> None:
    draws = np.random.default_rng(7).normal(3.0, 0.5, size=400)
    n, mean = len(draws), float(draws.mean())
    found = compare_mean(n, draws.sum(), (draws**2).sum(), variance, predicted=2.0, false_alarm=false_alarm, miss=miss)
    # Two sides share the rate of a false alarm; a miss has one side.
    sides = ((found.allowed, math.log(2 / false_alarm)), (found.detectable - found.allowed, math.log(1 / miss)))
    for deviation, L in sides:
        rate = math.sqrt(2 * L / (n * variance))
        squares = float(((draws - (mean - deviation)) ** 2).sum())
        # rounding: sums of 400 terms, and a root whose discriminant is above 0.8: below 1e3 eps
        assert n * deviation == pytest.approx(L / rate + rate / 6 * (squares + 2 * n * variance), rel=1e-12)


def test_a_mean_is_compared_with_its_prediction_wherever_that_lies() -> None:
    total, squares = 5000.0, 26.0 * 1000  # a thousand draws with mean 5 and variance 1
    assert compare_mean(1000, total, squares, 1.0, predicted=5.0).holds
    assert not compare_mean(1000, total, squares, 101.0, predicted=-5.0).holds
    assert compare_mean(1000, -total, squares, 1.0, predicted=-5.0).holds


def test_a_difference_of_just_what_is_allowed_is_allowed() -> None:
    assert MeanComparison(1.5, 1.0, 0.5, 1.0, 1e-6, 1e-3, 10).holds
    assert not MeanComparison(1.5, 1.0, math.nextafter(0.5, 0), 1.0, 1e-6, 1e-3, 10).holds


def test_a_comparison_names_its_rates_and_its_number_of_draws() -> None:
    found = compare_mean(1000, 0.0, 1000.0, 1.0, false_alarm=1e-4, miss=1e-2)
    assert (found.false_alarm, found.miss, found.draws) == (1e-4, 1e-2, 1000)
    default = compare_mean(1000, 0.0, 1000.0, 1.0)
    assert (default.predicted, default.false_alarm, default.miss) == (0.0, 1e-6, 1e-3)


def test_too_small_a_sample_excludes_nothing() -> None:
    assert largest_deviation(3, 1.0, 1.0, math.log(1e3)) == math.inf
    found = compare_mean(20, 0.0, 20.0, 1.0, false_alarm=1e-6)
    assert found.allowed == found.detectable == math.inf


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("rate", [0.5, 1e-2, 1e-6, 1e-9])
def test_the_two_ways_to_deviate_together_keep_the_rate(rate: float, sides: int) -> None:
    for count in (1, 5, 10, 20, 30, 50, 3000, 10**9):
        L = exponent(count, rate, sides=sides)
        # log and exp lose 2 eps L of the first term
        spent = sides * math.exp(-L) + far_probability(count) if math.isfinite(L) else 0.0
        assert spent <= rate * (1 + 100 * np.finfo(float).eps), (count, spent)
    assert math.isinf(exponent(1, rate, sides=sides))
    assert exponent(3000, rate, sides=sides) == pytest.approx(math.log(sides / rate), rel=1e-15)


def test_a_rate_that_far_deviations_use_up_leaves_nothing_to_exclude() -> None:
    assert exponent(20, far_probability(20), sides=1) == math.inf
    assert math.isfinite(exponent(20, math.nextafter(far_probability(20), 1), sides=1))


@pytest.mark.parametrize("count", [1, 2, 20, 300])
def test_far_deviations_cost_no_more_than_the_events_of_their_proof(count: int) -> None:
    # n levels to either side, and one more pair for what is beyond them; more would take rate from small samples.
    events = 2 * count + 2
    assert far_probability(count) <= events * math.exp(-0.75 * count) * (1 + 4 * np.finfo(float).eps)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(
    count=st.integers(1, 10_000),
    L=st.floats(0.01, 40),
    fraction=st.floats(0, 1),
    level=st.integers(0, 40),
    place=st.floats(1, 2, exclude_max=True),
)
def test_a_deviation_beyond_the_larger_root_is_an_event_of_the_main_statement(
    count: int, L: float, fraction: float, level: int, place: float
) -> None:
    # At v = 1, which fixes the unit. The spread is any that leaves two roots, the deviation any above 3/lambda.
    rate = math.sqrt(2 * L / count)
    most = 9 / rate**2 * (1 - 2 * L / (3 * count)) - 2
    assume(most > 0)
    spread, deviation = fraction * most, 3 * 2.0**level * place / rate
    other, enough = rate / 2.0 ** (level + 1), 0.75 * count
    bound = enough / (count * other) + other / 6 * (spread + deviation**2 + 2)
    assert deviation >= bound * (1 - 10 * np.finfo(float).eps)  # equality in the corner; a dozen roundings
    # that event for each of n levels and either side, and Chebyshev's inequality beyond the last level
    assert far_probability(count) >= 2 * count * math.exp(-enough) + math.exp(-count * math.log(4))


def test_a_single_draw_excludes_nothing() -> None:
    assert compare_mean(1, 0.5, 0.25, 1.0).allowed == math.inf


def test_where_the_two_roots_meet_nothing_is_excluded() -> None:
    # delta - delta^2/6 <= 3/2 holds for all delta, with equality at 3; here float64 gives the discriminant exactly 0.
    assert half_width(2, 4.0, 1.0, 1.0) == 1.5
    assert largest_deviation(2, 4.0, 1.0, 1.0) == math.inf
    assert largest_deviation(2, 3.99, 1.0, 1.0) < 3


@pytest.mark.parametrize("gap", [3.0, 300.0, 3e6])
def test_no_gap_is_too_large_to_be_refused(gap: float) -> None:
    draws = 1000
    found = compare_mean(draws, gap * draws, (1 + gap**2) * draws, 1.0)
    assert not found.holds, found


@pytest.mark.parametrize(
    "arguments",
    [
        dict(count=0),
        dict(variance=0.0),
        dict(variance=math.nan),
        dict(variance=math.inf),
        dict(false_alarm=0.0),
        dict(false_alarm=1.0),
        dict(miss=0.0),
        dict(miss=1.0),
    ],
)
def test_what_the_bound_does_not_cover_is_refused(arguments: Any) -> None:
    given_ = {"count": 10, "variance": 1.0, "false_alarm": 1e-6, "miss": 1e-3, **arguments}
    with pytest.raises(ValueError, match="need"):
        compare_mean(given_.pop("count"), 0.0, 1.0, given_.pop("variance"), **given_)
