"""The symmetric scan: closed forms by independent routes, limits, what learning rates do, and refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import lambertw

from iclcheck.theory.one_layer.assumptions import AssumptionError
from iclcheck.theory.scan_and_snap import attention_rates, snap, snap_bounds
from iclcheck.theory.scan_and_snap.symmetric_task import (
    Attention,
    SymmetricTask,
    attention_at,
    decoder_logit,
    drive,
    entropy,
    symmetric_task,
)

DERIVATIONS = {
    "snap": snap.derivation,
    "rates": attention_rates.derivation,
    "bound": snap_bounds.bound_refutation,
    "token": snap_bounds.token_refutation,
}
tasks = st.builds(
    lambda K, profile, more, common: symmetric_task(K, K * len(profile) + 1 + more, common, profile),
    st.integers(2, 6),
    st.lists(st.floats(0.2, 3.0), min_size=1, max_size=4),
    st.integers(0, 60),
    st.floats(0.05, 0.8),
)


@pytest.mark.parametrize("name", DERIVATIONS)
def test_every_step_holds_at_rational_instances(name: str) -> None:
    assert DERIVATIONS[name]().failures(range(6)) == []


def test_a_force_without_the_term_in_one_over_m_fails_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    right = snap.force_forms()
    (m,) = (symbol for symbol in right["force"].free_symbols if symbol.name == "m")
    wrong = {name: form.subs(m, 10**6) for name, form in right.items()}
    monkeypatch.setattr(snap, "force_forms", lambda: wrong)
    left, found = snap.force_check(snap.instance(0))
    assert (left != found).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(tau=st.floats(1e-6, 1e12), M=st.integers(2, 10**6))
def test_the_decoder_logit_is_a_lambert_function(tau: float, M: int) -> None:
    u, s = decoder_logit(tau, M), (1 + M * tau) / (M - 1)
    if s < 500:  # the exponential of the closed form overflows later
        closed = s - float(lambertw(math.exp(s) / (M - 1)).real)
        # u is a difference of two numbers near s, each with a rounding error of some eps s and of W's own 1e-15
        assert u == pytest.approx(closed, abs=1e-14 * (1 + s))
    assert math.expm1(u) + (M - 1) * u == pytest.approx(M * tau, rel=1e-12 * (1 + u))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(task=tasks, driven=st.floats(0.01, 200.0))
def test_the_clock_solves_the_law_as_an_adaptive_rule_integrates_it(task: SymmetricTask, driven: float) -> None:
    found = attention_at(task, driven)
    again, error = quad(lambda y: float(Attention(task, np.asarray(y)).drive_rate), 0, found.y, epsrel=1e-11, limit=200)
    assert again == pytest.approx(driven, rel=1e-9, abs=10 * error)
    # quad is asked for 1e-11; the row sum of logits is conserved: z_C = -K sum z_l
    assert found.logits[0] == pytest.approx(-task.classes * found.logits[1:].sum(), rel=1e-12)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(task=tasks, eta_Z=st.floats(0.05, 5.0), time=st.floats(0.5, 300.0))
def test_the_path_by_the_polynomials_is_the_closed_one(task: SymmetricTask, eta_Z: float, time: float) -> None:
    (path,) = snap.path_by(snap.formula().parts, task, 1.0, eta_Z, [time])
    closed = attention_at(task, drive(task, 1.0, eta_Z, time)).logits
    assert path[1:] == pytest.approx(closed, rel=1e-8, abs=1e-9)  # DOP853 with local errors of 1e-11


@pytest.mark.parametrize(("profile", "winners"), [([1, 2, 3], 1), ([1, 2, 2], 2), ([1, 1], 2)])
def test_late_attention_goes_to_the_winners_with_the_derived_power(profile: list[int], winners: int) -> None:
    task = symmetric_task(2, 40, 0.3, profile)
    assert task.winners == winners
    drives = (1e40, 1e42)  # (constant) u^2; corrections are of the order of e^{-2 z}, below 1e-8 here
    rates = [-attention_at(task, one).y for one in drives]
    slope = (rates[1] - rates[0]) / (math.log(drives[1] / drives[0]) / 2)
    exponent = snap.prediction(2, 40, 0.3, profile, 1, 1, 1)["late_exponent"]
    assert slope == pytest.approx(-exponent, rel=1e-6)
    weights = attention_at(task, drives[1]).attention.weights
    # what is left to the others is of the order of e^{-z} of the winners: (1e42)^(-1/(2 k K + 2)) and less
    assert weights[-winners:] == pytest.approx(np.full(winners, 1 / winners), abs=1e-3)


def test_the_law_for_small_overlap_is_the_exact_one_up_to_its_stated_factors() -> None:
    task = symmetric_task(3, 10**7, 0.001, [1.0])
    for driven in (1e6, 1e10):
        exact, small = attention_at(task, driven).strength, snap.strength_at_small_overlap(task, driven)
        rho = float(attention_at(task, driven).attention.overlap)
        # phi is (K-1) rho^2 times a number between 1 and 1 + 1/(M rho), up to factors 1 + O(K rho_0); rho_0 = 1e-6
        assert 1 - 1e-4 < exact / small < 1 + 1 / (1e7 * rho)


def test_growth_slows_for_good_after_the_slowing_time() -> None:
    task = symmetric_task(4, 60, 0.35, [1, 2, 3])
    start = snap.time_of_logit(snap.slowing_logit(60), task, 1.0)
    for eta_Z in (0.01, 1.0, 100.0):
        strengths = [attention_at(task, drive(task, 1.0, eta_Z, t)).strength for t in np.linspace(start, 5 * start, 40)]
        assert (np.diff(strengths, 2) < 0).all()
    slow = [attention_at(task, drive(task, 1.0, 1e-6, t)).strength for t in np.linspace(0, start, 20)]
    assert (np.diff(slow, 2) > 0).all()  # until then it grows faster and faster where attention hardly moves


@settings(max_examples=25, deadline=None, derandomize=True)
@given(M=st.integers(2, 10**6), share=st.floats(0.02, 0.9))
def test_the_elasticity_changes_its_sign_once_at_the_crossing(M: int, share: float) -> None:
    u = attention_rates.crossing_logit(M)

    def tau(logit: float) -> float:
        return (math.expm1(logit) + (M - 1) * logit) / M

    assert attention_rates.elasticity(tau(u * share), M) > 0 > attention_rates.elasticity(tau(u / share), M)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(task=tasks, driven=st.floats(0.01, 50.0), factor=st.floats(1.05, 4.0))
def test_a_larger_drive_makes_distinct_tokens_more_unequal(task: SymmetricTask, driven: float, factor: float) -> None:
    before, after = (attention_at(task, driven * f).attention for f in (1.0, factor))
    shares = [np.sort(one.weights[1:] / one.weights[1:].sum()) for one in (before, after)]
    assert (np.cumsum(shares[1]) <= np.cumsum(shares[0]) + 1e-12).all()  # majorisation, up to rounding
    assert entropy(shares[1]) <= entropy(shares[0]) + 1e-12
    assert after.overlap < before.overlap


def test_the_entropy_of_all_attention_rises_while_the_common_token_leads() -> None:
    early, later = (snap.prediction(2, 9, 0.9, [1, 1], 1, 1, time) for time in (0.0, 10.0))
    assert early["entropy"] == pytest.approx(0.39, abs=0.005)
    assert later["entropy"] == pytest.approx(1.09, abs=0.005)
    assert later["entropy_of_distinct"] == pytest.approx(early["entropy_of_distinct"], rel=1e-12)


def test_the_printed_strength_is_too_large_by_a_constant_under_its_own_hypotheses() -> None:
    forms = snap_bounds.integral_forms()
    ratio = (forms["printed"] / forms["right"]).simplify()
    assert str(ratio) == "C0"
    found = snap_bounds.printed_prediction(2, 1001, 0.1, [1], 1.0, 1.0, 0.0)
    assert found["printed_strength"] == pytest.approx(math.log(found["C0"]) / 4, rel=1e-12)
    assert found["C0"] == pytest.approx(float(snap_bounds.bound_at_start()), rel=1e-12)


@pytest.mark.parametrize("driven", [1e-280, 1e-100, 1e-30, 1e-18, 1e-12, 1e-6])
def test_small_drives_keep_their_digits(driven: float) -> None:
    task = symmetric_task(4, 60, 0.35, [1, 2, 3])
    found, start = attention_at(task, driven), Attention(task, np.asarray(0.0))
    sigma = driven * float(start.force) / float(start.common_square + start.distinct_square)
    # the next order is some ten times the drive
    assert found.logits[1:] == pytest.approx(sigma * task.squares / 2, rel=1e-13 + 10 * driven, abs=0)
    assert found.logits[0] == pytest.approx(-task.classes * float(found.logits[1:].sum()), rel=1e-13, abs=0)
    assert found.strength == pytest.approx(float(start.force) * driven / 2, rel=1e-13 + 10 * driven, abs=0)


def test_a_profile_may_have_any_scale() -> None:
    huge, small = (snap.prediction(**{**GIVEN, "distinct_profile": [s, s, s / 2]}) for s in (1e308, 1e-300))
    assert huge["distinct_attention"] == pytest.approx(small["distinct_attention"], rel=1e-12)


GIVEN: dict[str, Any] = {
    "classes": 4, "vocabulary": 60, "common_probability": 0.35, "distinct_profile": [1, 2, 3], "eta_Y": 1, "eta_Z": 1,
    "time": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"classes": 1}, "classes"),
        ({"vocabulary": 12}, "at least 13 tokens"),
        ({"common_probability": 1.0}, "between 0 and 1"),
        ({"common_probability": [0.1]}, "one number"),
        ({"distinct_profile": [1, 0]}, "positive"),
        ({"distinct_profile": []}, "positive"),
        ({"eta_Y": 0}, "eta_Y needs a number above 0, got 0; give a positive one"),
        ({"eta_Y": "x"}, "eta_Y needs a number, got 'x'"),
        ({"time": 10**400}, "time needs a number that floats hold"),
        ({"distinct_profile": [0, 1]}, "positive numbers, got 0; leave"),
        ({"distinct_profile": [[1], [1]]}, r"got shape \(2, 1\)"),
        ({"eta_Z": "a"}, "eta_Z"),
        ({"time": -1}, "at least 0, got -1; the flow starts at time 0"),
        ({"common_probability": 1e-200}, "no digits left"),
        ({"eta_Y": 1e-300, "eta_Z": 1e300, "time": 0}, "smaller eta_Z/eta_Y"),
        ({"time": 1e307, "eta_Y": 100}, "floats hold"),
        ({"eta_Z": 1e200}, "smaller eta_Z/eta_Y"),
    ],
)
def test_what_the_law_does_not_cover_is_refused(wrong: dict[str, Any], words: str) -> None:
    for predict in (snap.prediction, attention_rates.rates_prediction, snap_bounds.printed_prediction):
        with pytest.raises(AssumptionError, match=words):
            predict(**{**GIVEN, **wrong})
