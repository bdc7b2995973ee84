"""Layers with given weights, models of several, and fitted maps of delays: known answers, and bounds on rounding."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.mesa import delay_maps, gradient_steps, iterated_layers
from iclcheck.numerics.training.random_streams import standard_normals, stream

EPS = float(np.finfo(float).eps)


def draw(name: str, *shape: int) -> torch.Tensor:
    return standard_normals(shape, stream(f"test/mesa steps/{name}"), torch.float64)


# One layer


def test_the_step_by_differentiation_is_the_one_written_out() -> None:
    """Sums of at most 4 products of numbers of size 10: 1e4 eps is far above their rounding."""
    states, start, eta = draw("states", 2, 5, 3), draw("start", 3, 3), 0.3
    found = gradient_steps.gradient_step(states, start, eta)
    for b in range(2):
        for t in range(5):
            Phi = start.clone()
            for seen in range(t):
                Phi += eta * torch.outer(states[b, seen + 1] - start @ states[b, seen], states[b, seen])
            np.testing.assert_allclose(found[b, t], Phi @ states[b, t], rtol=0, atol=1e4 * EPS)


def layer_case(shift: float) -> dict[str, Any]:
    """The weights of a step with eta = 0.4 from Phi_0 = 2 on numbers, one of them off by `shift`."""
    return {
        "task": {"kind": "linear", "size": 1, "length": 6}, "initial_map": [[2.0]], "learning_rate": 0.4,
        "value_weights": [[0.0, 0.4, -0.8 + shift], [0.0] * 3, [0.0] * 3],
        "key_query_weights": [[0.0] * 3, [0.0] * 3, [0.0, 1.0, 0.0]],
    }  # fmt: skip


@pytest.mark.parametrize(("shift", "within"), [(0.0, True), (1e-11, False)])
def test_layer_and_step_differ_within_rounding_only_for_the_weights_of_the_step(shift: float, within: bool) -> None:
    found = gradient_steps.layer_against_step([layer_case(shift)], 3, "test", "cpu")
    difference = np.abs(np.array(found["layer"]) - np.array(found["step"]))
    assert bool((difference <= np.array(found["rounding"])).all()) is within


# Several layers


def test_blocks_stand_where_their_names_say() -> None:
    full = iterated_layers.from_blocks([["iterate", "previous", [[2.0]]], ["position", "position", "I"]], 6, 1)
    expected = np.zeros((6, 6))
    expected[3, 2], expected[4, 4], expected[5, 5] = 2, 1, 1
    assert np.array_equal(full, expected)


def model_case(layers: int) -> dict[str, Any]:
    """p <- p + omega (s - A p) on numbers, lambda = 2, omega = 1/3, written by hand."""
    omega, own = 1 / 3, {"key_query": [["position", "position", "I"]]}
    seen = {"key_query": [["previous", "iterate", [[1.0]]]]}
    layer = [
        {**seen, "value": [["iterate", "previous", [[-omega]]]]},
        {**own, "value": [["iterate", "iterate", [[-omega / 2]]], ["iterate", "state", [[omega]]]]},
    ]
    readout = [{**seen, "value": [["prediction", "state", [[1.0]]]]}]
    sequence = [[[0.5], [-1.0], [0.75], [1.0]]]
    return {
        "sequence": sequence,
        "regulariser": 2.0,
        "start": [[omega]],
        "layers": [layer] * layers,
        "readout": readout,
    }


def exact_model(layers: int) -> tuple[list[Fraction], list[Fraction]]:
    """Predictions of the same model and of least squares in rational numbers, omega as the float it is."""
    s, omega = [Fraction(x[0]) for x in model_case(0)["sequence"][0]], Fraction(1 / 3)
    models, squares = [], []
    for t, now in enumerate(s):
        a = sum((x * x for x in s[:t]), Fraction(1, 2))
        p = omega * now
        for _ in range(layers):
            p = p + omega * (now - a * p)
        c = sum((y * x for x, y in pairwise(s[: t + 1])), Fraction(0))
        models.append(c * p)
        squares.append(c * now / a)
    return models, squares


@pytest.mark.parametrize("layers", [0, 1, 6, 25])
def test_a_model_is_off_its_exact_value_by_less_than_its_bound(layers: int) -> None:
    found = iterated_layers.iterated_predictions([model_case(layers)], "not drawn", "cpu")
    for name, exact, bounds in zip(
        ("model", "least_squares"), exact_model(layers), ("model_rounding", "solve_rounding"), strict=True
    ):
        errors = [abs(float(Fraction(x[0]) - y)) for x, y in zip(found[name][0][0], exact, strict=True)]
        allowed = np.array(found[bounds][0][0])
        assert (np.array(errors) <= allowed).all()
        assert allowed.max() < 1e-12  # sharp enough to see what a check has to see


def test_a_layer_multiplies_what_is_rounded_before_it_by_its_norm() -> None:
    """Numbers: p <- (1 - omega A_t) p + ..., with A_t = 1/2 + the squares of the states before."""
    case = model_case(1)
    states = torch.tensor(case["sequence"], dtype=torch.float64)
    tokens = iterated_layers.stream_tokens(states, torch.tensor(case["start"], dtype=torch.float64))
    layer = iterated_layers.real_layer(case["layers"][0], tokens, 1)
    with torch.no_grad():
        norms = iterated_layers.norm_in_iterate(layer, tokens, 1, slice(3, 4))
    a = 0.5 + np.concatenate([[0.0], np.cumsum(np.array([0.25, 1.0, 0.5625]))])
    np.testing.assert_allclose(norms[0], np.abs(1 - a / 3), atol=100 * EPS)


def test_sequences_are_scaled_to_their_energy() -> None:
    case = {"task": {"kind": "linear", "size": 2, "length": 5}, "sequences": 3, "energy": 0.7}
    states = iterated_layers.states_of(case, "test", "cpu")
    np.testing.assert_allclose(states.square().sum((1, 2)), 0.7, rtol=20 * EPS)


# Delays


@pytest.mark.parametrize("variance", [0.0, 0.3])
def test_enumerated_sequences_have_the_second_moments_of_the_law(variance: float) -> None:
    W, C = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64), torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    inputs, targets = delay_maps.enumerated_pairs(W, C, 2, variance)
    O = torch.cat([C @ W, C])  # noqa: E741  the newest observation first
    G = C @ W @ W
    np.testing.assert_allclose(inputs.mT @ inputs / len(inputs), O @ O.T + variance * torch.eye(2), atol=100 * EPS)
    np.testing.assert_allclose(targets.mT @ inputs / len(inputs), G @ O.T, atol=100 * EPS)
    np.testing.assert_allclose(targets.mT @ targets / len(inputs), G @ G.T + variance, atol=100 * EPS)


def test_too_few_delays_leave_an_error_on_fresh_sequences() -> None:
    task = {"kind": "partial", "size": 1, "hidden_size": 4, "length": 2}
    found = delay_maps.held_out_errors([{"task": task, "delays": k} for k in (3, 4)], "test", "cpu")
    assert found["error"][0] > 1e-3 * found["size"][0]
    assert found["error"][1] <= found["rounding"][1]
