"""Sequences, tokens and autoregressive attention, against plain loops, exact moments and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.mesa import sequences
from iclcheck.numerics.mesa.attention import AutoregressiveModel, CausalAttention, ModelShape, positional_encodings
from iclcheck.numerics.mesa.sequences import (
    SequenceTask,
    haar_orthogonal,
    sample_sequences,
    variance_keeping_gain,
)
from iclcheck.numerics.mesa.tokens import constructed_tokens, delay_tokens, last_observations
from iclcheck.numerics.training.random_streams import stream
from iclcheck.proofs_check.verdicts.heavy_tails import compare_mean

TASKS = [
    SequenceTask(size=3, length=6),
    SequenceTask(size=3, length=6, noise_variance=0.1),
    SequenceTask("partial", size=2, length=6, hidden_size=5),
    SequenceTask("partial", size=2, length=6, hidden_size=5, observation="coordinates"),
    SequenceTask("nonlinear", size=3, length=6, hidden_size=8),
    SequenceTask(size=3, length=6, initial="sphere"),
]


def test_haar_matrices_are_orthogonal() -> None:
    Q = haar_orthogonal(50, 7, stream("orthogonal"), torch.float64)
    # 7 reflections of vectors of length 1, each with an error of a few 7 eps: below 1e-13.
    np.testing.assert_allclose(Q @ Q.mT, np.broadcast_to(np.eye(7), (50, 7, 7)), rtol=0, atol=1e-13)


def test_a_direction_that_is_drawn_as_zero_gives_a_rotation_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 a normal is exactly 0 once in 2^24: with k = 1 that was 0/0, and one batch in thousands NaN."""
    monkeypatch.setattr(sequences, "standard_normals", lambda shape, *_: torch.zeros(shape))
    Q = haar_orthogonal(2, 3, stream("zeros"), torch.float32)
    assert torch.equal(Q @ Q.mT, torch.eye(3).expand(2, 3, 3))


@pytest.mark.parametrize("n", [2, 3])
def test_moments_of_order_four_are_those_of_the_haar_law(n: int) -> None:
    """From the invariance alone: E W_ab^2 = 1/n, E W_ab^4 = 3/(n(n + 2)), E W_11^2 W_22^2 = (n + 1)/((n - 1)n(n + 2)),
    E W_11 W_12 W_21 W_22 = -1/((n - 1)n(n + 2)), E det W = 0. A rate of 1e-7 each, for any tails."""
    count = 100_000
    W = haar_orthogonal(count, n, stream(f"haar {n}"), torch.float64)
    whole = (n - 1) * n * (n + 2)
    expected = [
        *((W[:, a, b] ** 2, 1 / n) for a in range(n) for b in range(n)),
        *((W[:, a, b] ** 4, 3 / (n * (n + 2))) for a in range(n) for b in range(n)),
        (W[:, 0, 0] ** 2 * W[:, 1, 1] ** 2, (n + 1) / whole),
        (W[:, -1, -1] ** 2 * W[:, 0, 0] ** 2, (n + 1) / whole),
        (W[:, 0, 0] * W[:, 0, 1] * W[:, 1, 0] * W[:, 1, 1], -1 / whole),
        (torch.linalg.det(W), 0.0),
    ]
    for values, mean in expected:
        sums = float(values.sum()), float(values.square().sum())
        compared = compare_mean(count, *sums, 1.0, predicted=mean, false_alarm=1e-7)  # no entry exceeds 1
        assert compared.holds, compared
        assert compared.detectable < 0.05, compared


def test_a_fully_observed_sequence_follows_its_matrix() -> None:
    drawn = sample_sequences(TASKS[0], 20, stream("linear"))
    assert drawn.transition is not None
    for B in range(20):
        for t in range(5):
            moved = drawn.transition[B].numpy() @ drawn.observed[B, t].numpy()
            np.testing.assert_allclose(drawn.observed[B, t + 1], moved, rtol=0, atol=1e-14)


def test_a_first_state_on_the_sphere_has_its_radius() -> None:
    states = sample_sequences(TASKS[5], 20, stream("sphere")).observed
    np.testing.assert_allclose(states.square().sum(-1), 3.0, rtol=1e-13)


def test_noise_has_its_variance() -> None:
    """The k squares over v sum to a chi-square X, and P(|X - k| > 2 sqrt(k x) + 2 x) <= 2 exp(-x) (Laurent and Massart,
    2000): x = 15 gives 6e-7."""
    drawn = sample_sequences(TASKS[1], 4000, stream("noise"))
    assert drawn.transition is not None
    residual = drawn.observed[:, 1:] - (drawn.transition[:, None] @ drawn.observed[:, :-1, :, None]).squeeze(-1)
    k, x = residual.numel(), 15.0
    assert float(residual.square().sum() / 0.1) == pytest.approx(k, abs=2 * math.sqrt(k * x) + 2 * x)
    assert 2 * math.sqrt(k * x) + 2 * x < 0.04 * k  # a variance off by 4 % would show


def test_observations_are_read_through_the_matrix() -> None:
    for task in TASKS[2:4]:
        drawn = sample_sequences(task, 10, stream("partial"))
        assert drawn.observation is not None
        read = (drawn.observation[:, None] @ drawn.states[..., None]).squeeze(-1)
        np.testing.assert_allclose(drawn.observed, read, rtol=0, atol=1e-13)
        lengths = drawn.states.norm(dim=-1)
        np.testing.assert_allclose(lengths, lengths[:, :1].expand(10, 6), rtol=1e-13)


def test_a_fixed_observation_matrix_is_the_same_at_every_length_and_noise() -> None:
    tasks = [SequenceTask("partial", 2, length, noise, 5, "fixed") for length, noise in [(6, 0.0), (9, 0.1)]]
    found = [sample_sequences(task, 3, stream(task.key)).observation for task in tasks]
    assert found[0] is not None
    assert found[1] is not None
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0][0], found[0][2])


def test_the_gain_keeps_the_variance() -> None:
    assert variance_keeping_gain() == pytest.approx(variance_keeping_gain(240), abs=1e-12)


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_equal_streams_give_equal_sequences(task: SequenceTask) -> None:
    first, second = (sample_sequences(SequenceTask.from_plain(task.to_plain()), 4, stream("same")) for _ in range(2))
    assert torch.equal(first.observed, second.observed)
    assert first.observed.shape == (4, task.length, task.size)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kind": "cubic"}, "need kind out of"),
        ({"hidden_size": 4}, "0: the state is seen"),
        ({"kind": "partial", "hidden_size": 3}, "at least 4"),
        ({"noise_variance": -1.0}, "noise_variance >= 0"),
        ({"length": 1}, "length >= 2"),
    ],
)
def test_laws_that_are_none_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SequenceTask(**{"size": 3, **wrong})


def test_tokens_carry_the_present_and_the_last_state() -> None:
    states = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    expected = [[0, 0, 1, 2, 0, 0], [0, 0, 3, 4, 1, 2], [0, 0, 5, 6, 3, 4]]
    assert constructed_tokens(states)[0].tolist() == expected
    assert delay_tokens(states, 1)[0].tolist() == expected
    started = constructed_tokens(states, torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
    assert started[0, :, :2].tolist() == [[2, 2], [4, 6], [6, 10]]
    assert last_observations(states, 3)[0].tolist() == [[1, 2, 0, 0, 0, 0], [3, 4, 1, 2, 0, 0], [5, 6, 3, 4, 1, 2]]


def plain_layer(layer: CausalAttention, stream: Any) -> Any:
    """The formula of the module's docstring, one token after the other, in NumPy."""
    W_Q, W_K, W_V, P = (weight.detach().numpy() for weight in (layer.W_Q, layer.W_K, layer.W_V, layer.P))
    result = stream.copy()
    for t in range(len(stream)):
        for h in range(len(W_Q)):
            scores = np.array([(W_K[h] @ stream[s]) @ (W_Q[h] @ stream[t]) for s in range(t + 1)])
            if layer.kind == "softmax":
                powers = np.exp(scores / np.sqrt(W_Q.shape[1]))
                scores = powers / powers.sum()
            elif layer.normalisation != "none":
                scores = scores / {"position": t + 1, "length": len(stream)}[layer.normalisation]
            result[t] += P[h] @ sum(scores[s] * (W_V[h] @ stream[s]) for s in range(t + 1))
    return result


@pytest.mark.parametrize("kind", ["linear", "softmax"])
@pytest.mark.parametrize("normalisation", ["none", "position", "length"])
def test_a_layer_is_the_plain_loop(kind: str, normalisation: str) -> None:
    layer = CausalAttention(
        5,
        kind=kind,
        heads=2,
        key_size=3,
        value_size=4,
        normalisation=normalisation,
        scale=1.0,
        generator=stream("layer"),
        dtype=torch.float64,
    )
    draw = np.random.default_rng(0).normal(size=(2, 6, 5))
    found = layer(torch.from_numpy(draw)).detach().numpy()
    for B in range(2):  # sums of a few hundred products of order up to 100: 1e-11 is far above their rounding
        np.testing.assert_allclose(found[B], plain_layer(layer, draw[B]), rtol=0, atol=1e-11)


def test_merged_weights_give_the_same_layer() -> None:
    layer = CausalAttention(4, heads=2, key_size=3, scale=1.0, generator=stream("merged"), dtype=torch.float64)
    W_KQ, W_PV = layer.merged_weights()
    stream_ = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 5, 4)))
    scores = torch.einsum("bsi,hij,btj->bhts", stream_, W_KQ, stream_).tril()
    merged = stream_ + torch.einsum("bhts,hij,bsj->bti", scores, W_PV, stream_)
    np.testing.assert_allclose(layer(stream_).detach(), merged.detach(), rtol=0, atol=1e-11)


SHAPES = [
    ModelShape(size=3, layers=2),
    ModelShape(size=3, layers=2, kind="softmax", heads=2, key_size=4, readout="learned"),
    ModelShape(size=3, layers=1, observations=2, normalisation="position"),
    ModelShape(size=3, layers=2, tokens="learned", channels=9, positions=4, copy_heads=2),
    ModelShape(size=3, layers=2, kind="mesa", heads=2, key_size=3),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_prediction_does_not_see_the_future(shape: ModelShape) -> None:
    model = AutoregressiveModel(ModelShape.from_plain(shape.to_plain()), stream("causal"), torch.float64)
    states = torch.from_numpy(np.random.default_rng(2).normal(size=(2, 7, 3)))
    changed = states.clone()
    changed[:, 4] += 1
    before, after = model(states), model(changed)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not bool((before[:, 4:] == after[:, 4:]).any())
    assert len(model.streams(states)) == shape.layers + 1
    assert model.parameter_count == sum(weight.numel() for weight in model.state_dict().values())


def test_one_gradient_step_is_a_choice_of_weights() -> None:
    """W_K reads s_{t'-1}, W_Q reads s_t, W_V reads s_t', and P writes eta times it into the first block: the prediction
    is eta sum_{t' <= t} s_t' (s_{t'-1} . s_t), one step from Phi = 0 on 1/2 sum |s_t' - Phi s_{t'-1}|^2."""
    n, eta = 3, 0.4
    model = AutoregressiveModel(ModelShape(size=n, key_size=n, value_size=n), stream("step"), torch.float64)
    layer = model.layers[0]
    assert isinstance(layer, CausalAttention)
    eye, none = torch.eye(n, dtype=torch.float64), torch.zeros(n, n, dtype=torch.float64)
    with torch.no_grad():
        layer.W_K.copy_(torch.cat([none, none, eye], -1))
        layer.W_Q.copy_(torch.cat([none, eye, none], -1))
        layer.W_V.copy_(torch.cat([none, eye, none], -1))
        layer.P.copy_(torch.cat([eta * eye, none, none], 0))
    s = sample_sequences(SequenceTask(size=n, length=5), 1, stream("steps")).observed
    Phi = torch.stack([torch.outer(s[0, t], s[0, t - 1]) for t in range(1, 5)]).sum(0)
    np.testing.assert_allclose(model(s)[0, 4].detach(), eta * (Phi @ s[0, 4]), rtol=0, atol=1e-12)


def test_one_mesa_layer_is_ridge_regression() -> None:
    """Keys s_{t'-1}, values s_t', query s_t: Phi_t s_t with Phi_t = S Z^T (Z Z^T + I/lambda)^-1 of the pairs so far."""
    n = 3
    shape = ModelShape(size=n, kind="mesa", key_size=n, value_size=n)
    model = AutoregressiveModel(shape, stream("ridge"), torch.float64)
    layer = model.layers[0]
    assert isinstance(layer, CausalAttention)
    eye, lam = np.eye(n), 7.0
    with torch.no_grad():
        layer.W_K.copy_(torch.from_numpy(np.kron([[0, 0, 1]], eye)))
        layer.W_Q.copy_(torch.from_numpy(np.kron([[0, 1, 0]], eye)))
        layer.W_V.copy_(torch.from_numpy(np.kron([[0, 1, 0]], eye)))
        layer.P.copy_(torch.from_numpy(np.kron([[1], [0], [0]], eye)))
        layer.log_regulariser.fill_(math.log(lam))
    s = sample_sequences(SequenceTask(size=n, length=6), 1, stream("regression")).observed
    found = model(s)[0].detach().numpy()
    for t in range(6):
        S, Z = s[0, 1 : t + 1].numpy().T, s[0, :t].numpy().T
        expected = S @ Z.T @ np.linalg.inv(Z @ Z.T + eye / lam) @ s[0, t].numpy()
        np.testing.assert_allclose(found[t], expected, rtol=0, atol=1e-11)  # condition number below 1e3


def test_positions_are_turned_by_a_shift() -> None:
    p = positional_encodings(12, 6)
    turn = torch.linalg.lstsq(p[:-1], p[1:]).solution
    np.testing.assert_allclose(p[:-1] @ turn, p[1:], rtol=0, atol=1e-9)  # lstsq: condition number below 1e4
    np.testing.assert_allclose(turn @ turn.T, np.eye(6), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "wrong", [{"layers": 7}, {"kind": "gated"}, {"channels": 9}, {"tokens": "learned", "channels": 2}, {"scale": 0.0}]
)
def test_shapes_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need "):
        ModelShape(**{"size": 3, **wrong})
