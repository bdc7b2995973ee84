"""Few-shot prompts of models trained on sequences: what stands where, and what tuning a token changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from iclcheck.numerics.mesa.attention import AutoregressiveModel, CausalAttention, ModelShape
from iclcheck.numerics.mesa.autoregressive_training import AutoregressiveTraining, train
from iclcheck.numerics.mesa.few_shot import (
    FORMATS,
    FewShotTask,
    few_shot_losses,
    few_shot_prompts,
    loss_sums_by_shot,
    shot_losses,
    tuned,
)
from iclcheck.numerics.mesa.sequences import SequenceTask
from iclcheck.numerics.training.random_streams import stream
from iclcheck.proofs_check.verdicts.bounded_means import compare_bounded_mean

TASK = FewShotTask(size=2, shots=4)


def gradient_step_model(n: int, eta: float) -> AutoregressiveModel:
    """One head with value s_t', key s_{t'-1} and query s_t: the sum of eta s_t' (s_{t'-1} . s_t)."""
    model = AutoregressiveModel(ModelShape(size=n, key_size=n, value_size=n), stream("step"), torch.float64)
    layer = model.layers[0]
    assert isinstance(layer, CausalAttention)
    eye = np.eye(n)
    with torch.no_grad():
        layer.W_K.copy_(torch.from_numpy(np.kron([[0, 0, 1]], eye)))
        layer.W_Q.copy_(torch.from_numpy(np.kron([[0, 1, 0]], eye)))
        layer.W_V.copy_(torch.from_numpy(np.kron([[0, 1, 0]], eye)))
        layer.P.copy_(torch.from_numpy(np.kron([[eta], [0], [0]], eye)))
    return model


def test_labels_are_rotated_covariates() -> None:
    x, y = TASK.pairs(5, stream("pairs"), torch.float64)
    np.testing.assert_allclose(y.norm(dim=-1), 2**0.5, rtol=1e-13)
    np.testing.assert_allclose(x @ x.mT, y @ y.mT, rtol=0, atol=1e-13)


def test_with_a_zero_separator_the_gradient_step_sees_the_pairs_alone() -> None:
    model, zero = gradient_step_model(2, 0.3), torch.zeros(2, dtype=torch.float64)
    x, y = TASK.pairs(6, stream("alone"), torch.float64)
    states, places = few_shot_prompts(x, y, {"separator": zero})
    predictions = model(states)[:, places].detach()
    for i in range(4):
        expected = 0.3 * torch.einsum("bjn,bjm,bm->bn", y[:, :i], x[:, :i], x[:, i])
        np.testing.assert_allclose(predictions[:, i], expected, rtol=0, atol=1e-13)
    without = shot_losses(model, x, y, {}) - shot_losses(model, x, y, {"separator": zero})
    assert float(without.detach().abs().max()) > 0.1


def test_loss_sums_are_of_cut_losses() -> None:
    model = gradient_step_model(2, 3.0)  # far too long a step
    found = loss_sums_by_shot(model, TASK, {}, 200, "cut")
    assert found["bound"] == 4.0
    assert found["pilot"]["count"] + found["main"]["count"] == 200
    assert found["uncut"][3] > 4.0 >= found["main"]["sums"][3] / 150
    assert found["main"]["sums"][0] / 150 == pytest.approx(1.0, abs=1e-12)  # nothing is known at the first shot: n/2
    assert found["main"]["sums"][4] == pytest.approx(sum(found["main"]["sums"][:4]) / 4, rel=1e-12)


def test_tuning_moves_a_separator_to_zero_where_the_model_has_symmetry() -> None:
    """All rotations of e have the same loss, and 0 is its minimum here; 200 steps of 0.03 falling to 0 reach as far as
    3. Within 0.2 the loss is that of 0 but for terms of order |e|^2."""
    model = gradient_step_model(2, 0.2)
    extras = tuned(model, TASK, ["separator"], "tuned", steps=200, batch_size=64)
    assert float(extras["separator"].norm()) < 0.2
    assert not any(weight.grad is not None for weight in model.parameters())


def test_the_measurement_gives_every_format() -> None:
    run = AutoregressiveTraining(SequenceTask(size=2, length=6, initial="sphere"), ModelShape(size=2), steps=3)
    found = few_shot_losses([run.to_plain()], 3, 2, 40, "formats", "cpu")["runs"][0]
    assert tuple(found["losses"]) == tuple(found["tuned"]) == FORMATS
    assert set(found["tuned"]["tuned both"]) == {"separator", "prefix"}
    assert found["tuned"]["pairs"] == {}


@pytest.mark.slow
def test_a_tuned_separator_lowers_the_loss_of_a_trained_model() -> None:
    """At a rate of 1e-6 each: two layers trained on sequences learn in context (the loss falls with the shots), and the
    mean over shots falls with a tuned separator by more than 0.1."""
    shape = ModelShape(size=3, layers=2)
    run = AutoregressiveTraining(SequenceTask(size=3, length=20, initial="sphere"), shape, steps=800, batch_size=128)
    model, _ = train(run)
    task = FewShotTask(size=3, shots=8)
    extras = tuned(model, task, ["separator"], "slow", steps=150)
    interval = {}
    for name, given in (("before", {}), ("after", extras)):
        found = loss_sums_by_shot(model, task, given, 20_000, "test")
        for which, place in (("first", 0), ("last", 7), ("mean", 8)):
            pilot, main = (
                [part["count"], part["sums"][place], part["sums_of_squares"][place]]
                for part in (found["pilot"], found["main"])
            )
            compared = compare_bounded_mean(pilot, main, found["bound"])
            interval[name, which] = (compared.measured - compared.allowed, compared.measured + compared.allowed)
    assert interval["before", "last"][1] < interval["before", "first"][0] - 0.5
    assert interval["after", "mean"][1] < interval["before", "mean"][0] - 0.1
