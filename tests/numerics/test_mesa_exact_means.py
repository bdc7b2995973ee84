"""Means over O(n) without sampling, the layer with given merged weights, and bounded draws."""

from itertools import product

import numpy as np
import pytest
import torch

from iclcheck.numerics.orthogonal_dynamics.exact_means import (
    enumerated_losses,
    layer_with,
    losses,
    sequences,
    transitions,
)
from iclcheck.numerics.orthogonal_dynamics.sampled_losses import (
    directions,
    largest_loss,
    sampled_losses,
    squared_lengths,
)
from iclcheck.numerics.training.random_streams import stream


def step_weights(n: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    W_KQ, W_PV = np.zeros((1, 3 * n, 3 * n)), np.zeros((1, 3 * n, 3 * n))
    W_KQ[0, 2 * n :, n : 2 * n] = rate * np.eye(n)
    W_PV[0, :n, n : 2 * n] = np.eye(n)
    return W_KQ, W_PV


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_nodes_are_orthogonal_and_their_moments_those_of_haar_measure(n: int) -> None:
    # E W_ij W_kl = delta delta/n and, for n > 1, E W_11^4 = 3/(n (n + 2)): rounding of sums of some thousand terms
    rule = transitions(n, 6)
    eye = np.eye(n)
    assert np.abs(rule.nodes @ rule.nodes.transpose(0, 2, 1) - eye).max() < 1e-14
    assert abs(rule.weights.sum() - 1) < 1e-13
    pairs = np.einsum("a,aij,akl->ijkl", rule.weights, rule.nodes, rule.nodes)
    assert np.abs(pairs - np.einsum("ik,jl->ijkl", eye, eye) / n).max() < 1e-13
    assert abs(rule.weights @ rule.nodes[:, 0, 0] ** 4 - 3 / (n * (n + 2))) < 1e-13


def test_a_finer_rule_changes_nothing_and_a_coarser_one_does() -> None:
    def fourth(degree: int) -> float:
        rule = transitions(3, degree)
        power = np.linalg.matrix_power(rule.nodes, 3)[:, 0, 1] ** 2  # degree 6 in the entries
        return float(rule.weights @ power)

    assert abs(fourth(6) - fourth(12)) < 1e-14
    assert abs(fourth(3) - fourth(12)) > 1e-3


def test_more_than_three_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 3 dimensions"):
        transitions(4, 2)


def test_the_layer_has_the_merged_weights_that_it_was_given() -> None:
    W_KQ, W_PV = (torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(k), dtype=torch.float64) for k in (0, 1))
    found = layer_with(W_KQ, W_PV).merged_weights()
    assert torch.equal(found[0], W_KQ)
    assert torch.equal(found[1], W_PV)


def test_in_one_dimension_the_loss_is_that_of_eight_sequences() -> None:
    # W = 1: s_t = s, the step predicts rate (t - 1) s^3 at t; W = -1 alternates and gives the same errors.
    # E s^2, s^4, s^6 = 1, 3, 15.
    rate, length = 0.1, 4
    W_KQ, W_PV = step_weights(1, rate)
    found = enumerated_losses([{"size": 1, "length": length, "W_KQ": W_KQ.tolist(), "W_PV": W_PV.tolist()}], "cpu")
    expected = np.mean([0.5 * (1 - 2 * rate * k * 3 + (rate * k) ** 2 * 15) for k in range(length - 1)])
    assert abs(found["loss"][0] - expected) <= found["loss_rounding"][0] < 1e-12


def test_the_gradient_is_that_of_differences() -> None:
    W_KQ, W_PV = step_weights(2, 0.2)
    h = 1e-4
    cases = []
    for place in [None, *product((0, 1), range(6), range(6))]:
        for sign in (1, -1):
            weights = [W_KQ.copy(), W_PV.copy()]
            if place is not None:
                weights[place[0]][0, place[1], place[2]] += sign * h
            cases.append({"size": 2, "length": 3, "W_KQ": weights[0].tolist(), "W_PV": weights[1].tolist()})
    found = enumerated_losses(cases, "cpu")
    values = np.array(found["loss"]).reshape(-1, 2)
    by_differences = np.linalg.norm((values[1:, 0] - values[1:, 1]) / (2 * h))
    # the loss is quadratic in each weight: differences are exact up to rounding, 72 of 1e-12/h
    assert abs(by_differences - found["gradient"][0]) < 1e-6


def test_the_lengths_have_the_moments_of_a_chi_squared_law() -> None:
    for n in (1, 4, 10):
        squares, weights = map(np.array, squared_lengths(n, 2))
        for power, moment in ((0, 1), (1, n), (2, n * (n + 2)), (3, n * (n + 2) * (n + 4))):
            assert abs(weights @ squares**power / moment - 1) < 1e-12


def test_no_sequence_has_a_loss_above_the_bound() -> None:
    """The bound is met up to a factor where W = I, the worst case, and no draw passes it."""
    n, T = 2, 6
    W_KQ, W_PV = step_weights(n, 0.3)
    layer = layer_with(torch.tensor(W_KQ), torch.tensor(W_PV))
    squares, weights = squared_lengths(n, 4)
    still = torch.zeros(1, T, n, dtype=torch.float64)
    still[..., 0] = 1.0
    drawn = torch.cat([still, directions(500, n, T, stream("bound"))])
    with torch.no_grad():
        values = np.sum([w * losses(layer, drawn * r2**0.5).numpy() for r2, w in zip(squares, weights, strict=True)], 0)
    bound = largest_loss(W_KQ, W_PV, n, T)
    assert bound / 4 < values[0] <= np.max(values) <= bound


def test_sampled_and_enumerated_losses_agree() -> None:
    """n = 2, T = 4: six standard errors; the draws are bounded, and far from the bound."""
    W_KQ, W_PV = step_weights(2, 0.15)
    given = {"size": 2, "length": 4, "W_KQ": W_KQ.tolist(), "W_PV": W_PV.tolist()}
    (exact,) = enumerated_losses([given], "cpu")["loss"]
    found = sampled_losses(**given, sequences=4000, stream_key="agree", device="cpu")
    mean = found["sum"] / found["count"]
    spread = np.sqrt(found["sum_of_squares"] / found["count"] - mean**2)
    assert abs(mean - exact) < 6 * spread / np.sqrt(found["count"])


def test_the_rule_of_sequences_follows_the_dynamics() -> None:
    rule = sequences(2, 3)
    steps = rule.nodes[:, 1:] - rule.nodes[:, :-1]
    assert np.allclose(np.linalg.norm(rule.nodes, axis=-1).std(axis=1), 0, atol=1e-13)
    assert np.abs(steps).max() > 0.1
    assert abs(rule.weights.sum() - 1) < 1e-13
