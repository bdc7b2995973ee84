"""The decoder at equal overlaps: orbit and time against a literal flow, the force, both ends, the printed remark."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.special import softmax

from iclcheck.theory.algebra.printing import to_text
from iclcheck.theory.one_layer.assumptions import AssumptionError
from iclcheck.theory.scan_decoder import equal_overlaps, printed_remark
from iclcheck.theory.scan_decoder.decoder import for_user as decoder_for_user
from iclcheck.theory.scan_decoder.decoder import lead_at
from iclcheck.theory.scan_decoder.equal_overlaps import (
    Setting,
    for_user,
    leads_at,
    log_time,
    numbers_at,
    phase_at,
    phase_of,
    ratios,
)

Array = NDArray[np.float64]
CASES = [(5, 2, 0.5), (60, 4, 0.43), (6, 6, 0.3), (20, 3, 0.0), (30, 5, 0.95)]


@pytest.mark.parametrize("derivation", [equal_overlaps.derivation, printed_remark.derivation])
def test_every_step_holds_at_six_random_instances(derivation: Any) -> None:
    assert derivation().failures(seeds=range(6)) == []


def literal_flow(M: int, K: int, rho: float, times: list[float]) -> Array:
    """W (times, K, M) of w_n' = sum_j (f_n.f_j)(e_j - softmax(w_j)) by scipy, every logit on its own."""
    G = (1 - rho) * np.eye(K) + rho

    def velocity(_: float, state: Array) -> Array:
        pulled = np.eye(K, M) - softmax(state.reshape(K, M), axis=1)
        return np.asarray((G @ pulled).ravel())

    found = solve_ivp(velocity, (0, times[-1]), np.zeros(K * M), "DOP853", times, rtol=1e-12, atol=1e-15)
    return np.asarray(found.y.T.reshape(len(times), K, M))


@pytest.mark.parametrize("M, K, rho", CASES)
def test_the_solved_flow_is_the_literal_one(M: int, K: int, rho: float) -> None:
    times = [0.01, 0.5, 3.0, 10.0, 100.0]
    for w, (A, B) in zip(literal_flow(M, K, rho, times), leads_at(Setting(M, K, rho), times), strict=True):
        # local errors of 1e-12 over some hundred steps, on logits up to 10
        for n in range(K):
            others = [k for k in range(K) if k != n]
            assert np.allclose(w[n, n] - w[n, others], A - B, rtol=0, atol=1e-9)
            if K < M:
                assert np.allclose(w[n, others] - w[n, -1], B, rtol=0, atol=1e-9)
                assert np.allclose(w[n, K:], w[n, -1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("M, K, rho", CASES)
def test_phase_and_time_are_inverse_to_each_other(M: int, K: int, rho: float) -> None:
    at = Setting(M, K, rho)
    for tau in 10.0 ** np.arange(-12, 13, 3):
        phi = phase_at(at, float(tau))
        assert log_time(at, phi) == pytest.approx(np.log(tau), abs=1e-12)
        if rho and 1e-3 < tau < 10:  # later e^B is too near its limit to be inverted
            assert phase_of(at, equal_overlaps.class_lead(at, phi)) == pytest.approx(phi, rel=1e-9)


def test_without_overlap_it_is_the_decoder_of_one_law() -> None:
    for tau in (1e-6, 0.3, 7.0, 1e5):
        lead = decoder_for_user(20, 3, 3.0, tau)["lead"]
        assert leads_at(Setting(20, 3, 0.0), [tau])[0] == pytest.approx((lead, 0.0), rel=1e-12)


def test_the_force_is_that_of_literal_class_vectors() -> None:
    # f_n = (sqrt(rho), sqrt(1 - rho) at a token of its own): z' of that token by central differences of the loss in z
    M, K, rho, tau = 9, 3, 0.4, 2.5
    A, B = leads_at(Setting(M, K, rho), [tau])[0]
    G = (1 - rho) * np.eye(K) + rho
    leads = np.full((K, M), 0.0)
    leads[:, :K] = B
    leads[np.arange(K), np.arange(K)] = A
    c = np.zeros((K, M))
    c[:, 0], c[np.arange(K), 1 + np.arange(K)] = np.sqrt(rho), np.sqrt(1 - rho)
    Y = c.T @ np.linalg.solve(G, leads)

    def loss(z: float) -> float:
        scores = c.copy()
        scores[:, 1] *= np.exp(z)  # the distinct token of the first class
        f = scores / np.linalg.norm(scores, axis=1, keepdims=True)
        return float(-np.mean(np.log(softmax(f @ Y, axis=1))[np.arange(K), np.arange(K)]))

    step = 1e-4  # error step^2 of a smooth function, rounding 1e-16/step
    slope = -(loss(step) - loss(-step)) / (2 * step)
    assert slope == pytest.approx((1 - rho) / K * numbers_at(Setting(M, K, rho), tau)["force"], rel=1e-6)


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 1e-12, 1e-15])
def test_forces_keep_their_digits_where_the_classes_are_nearly_one(gap: float) -> None:
    """To leading order in d = 1 - rho, all w move alike by the mean slope and apart by d times the own one."""
    K, M, tau = 4, 60, 2.5
    at = Setting(M, K, 1 - gap)
    d = 1 - at.rho

    def velocity(_: float, state: Array) -> Array:
        B, apart = state  # B, and (A - B)/d
        S = K * np.exp(B) + M - K
        return np.array([M / S, 1 - 0 * apart])

    B, apart = solve_ivp(velocity, (0, tau), [0.0, 0.0], "DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    S = K * np.exp(B) + M - K
    # (K - 1) rho (Z (a - b) - (M - K) b)/S with a - b = (A - B)/d and (a - b) + K b = B
    force = (K - 1) * (np.exp(B) * apart - (M - K) * (B - apart) / K) / S
    found = numbers_at(at, tau)
    assert found["class_lead"] == pytest.approx(B, rel=1e-11 + 10 * d)
    assert found["force"] == pytest.approx(force, rel=1e-9 + 10 * d)
    lead = lead_at(M, tau)
    there = (K - 1) * M * lead / (d * K) / (np.exp(lead) + M - 1)
    assert found["reparametrised_force"] == pytest.approx(there, rel=1e-12 + 10 * d)
    assert ratios(at)["early_ratio"] == pytest.approx(d * K / M, rel=1e-12 + 10 * d)


def test_both_ratios_are_reached() -> None:
    at = Setting(60, 4, 0.1)
    early = numbers_at(at, 1e-5)
    assert early["force"] / early["reparametrised_force"] == pytest.approx(ratios(at)["early_ratio"], rel=1e-4)
    # A and u are ln tau + constants: the gap shrinks as 1/ln tau
    gaps = []
    for tau in (1e20, 1e80, 1e280):
        late = numbers_at(at, tau)
        gaps.append(ratios(at)["late_ratio"] - late["force"] / late["reparametrised_force"])
    assert 0 < gaps[2] < 0.3 * gaps[1] < 0.1 * gaps[0]


def test_the_printed_remark_holds_for_as_many_classes_as_tokens_only() -> None:
    assert [to_text(part) for part in printed_remark.sums()] == ["-K + M", "-K"]
    found = printed_remark.for_user(60, 4, 0.43, 1.0, 4e-6)
    assert found["class_lead"] == pytest.approx(0.43e-6, rel=1e-5)
    assert found["printed_own_lead"] == pytest.approx((1 - 0.43) * found["own_lead"], rel=1e-5)


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"overlap": 1.0}, "0 <= rho < 1"),
        ({"overlap": -0.1}, "0 <= rho < 1"),
        ({"frequency": 1}, "2 <= K <= M"),
        ({"frequency": 9}, "2 <= K <= M"),
        ({"classes": 10**9, "frequency": 10**8}, "at most 1000000 classes"),
        ({"learning_rate": 1e300, "time": 1e10}, "below 1e300"),
        ({"time": -1.0}, "flow starts at time 0"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(changed: dict[str, Any], said: str) -> None:
    setting = {"classes": 8, "frequency": 3, "overlap": 0.2, "learning_rate": 1.0, "time": 2.0}
    with pytest.raises(AssumptionError, match=said):
        for_user(**{**setting, **changed})
