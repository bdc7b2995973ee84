"""A trained layer beside the gradient step: losses against direct means, and what one head ends at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.mesa.attention import AutoregressiveModel, ModelShape
from iclcheck.numerics.mesa.autoregressive_training import AutoregressiveTraining, train
from iclcheck.numerics.mesa.bilinear_features import NAMES
from iclcheck.numerics.mesa.exact_means import enumerated_losses
from iclcheck.numerics.mesa.sequences import SequenceTask
from iclcheck.numerics.mesa.trained_heads import exact_loss, trained_heads
from iclcheck.numerics.mesa.trained_layer import (
    averaged_losses,
    compared,
    feature_predictor,
    largest_difference,
    merged,
    model_predictor,
    reference_losses,
    trained_layers,
)
from iclcheck.numerics.training.random_streams import standard_normals, stream
from iclcheck.proofs_check.verdicts.bounded_means import compare_bounded_mean

TASK = SequenceTask(size=3, length=6)
SHORT = AutoregressiveTraining(TASK, ModelShape(size=3, heads=2), steps=5, batch_size=8)


def test_the_averaged_loss_is_the_loss_of_sequences_of_that_radius() -> None:
    """On the sphere r^2 = n there is nothing to average: 1/2 |s_{t+1} - f(s)|^2 with s = sqrt(n) u, f of degree 3."""
    task = SequenceTask(size=3, length=6, initial="sphere")
    states = standard_normals((4, 6, 3), stream("any states"), torch.float64)
    states /= states.norm(dim=-1, keepdim=True)
    predictor = model_predictor(AutoregressiveModel(ModelShape(size=3, heads=2), stream("model")))
    found = averaged_losses(predictor.predict(states), states, task)
    scaled = states * 3**0.5
    direct = (predictor.predict(scaled)[:, :-1] - scaled[:, 1:]).square().sum(-1).mean(-1) / 2
    np.testing.assert_allclose(found.detach(), direct.detach(), rtol=1e-12)


def test_no_draw_leaves_its_bound() -> None:
    first = model_predictor(AutoregressiveModel(ModelShape(size=3, heads=2, scale=1.0), stream("wild")))
    second = feature_predictor(np.linspace(-0.2, 0.3, 14), 3, "cpu")
    found = compared(first, {"second": second}, TASK, 400, "bound", "cpu")["second"]
    assert found["bound"] == largest_difference(first, second, TASK)
    count, total, squares = (sum(pair) for pair in zip(found["pilot"], found["main"], strict=True))
    assert count == 400
    assert 0 < squares / count <= found["bound"] ** 2
    assert abs(total) / count <= found["bound"]


def test_the_bound_is_reached_in_one_dimension() -> None:
    """n = 1, f = x V_000 = x t s_t: at W = -1 the target is -s_t, and the difference from the prediction 0 is
    E r^4 x t + E r^6 x^2 t^2/2 at every t, which is the bound."""
    task = SequenceTask(size=1, length=6)
    first, zero = (feature_predictor(x * np.eye(14)[0], 1, "cpu") for x in (0.5, 0.0))
    states = torch.tensor([(-1.0) ** t for t in range(6)], dtype=torch.float64).view(1, 6, 1)
    gap = averaged_losses(first.predict(states), states, task) - averaged_losses(zero.predict(states), states, task)
    assert float(gap) == pytest.approx(largest_difference(first, zero, task), rel=1e-12)


def test_a_model_of_the_reference_weights_has_no_gap() -> None:
    one = feature_predictor(np.eye(14)[2], 3, "cpu")
    found = compared(one, {"same": one}, TASK, 50, "none", "cpu")
    assert found["same"]["bound"] == found["same"]["main"][1] == 0


def test_the_learning_rate_is_the_ratio_of_its_moments() -> None:
    found = reference_losses(TASK.to_plain(), 500, "ratio", "cpu")
    top, bottom = found["numerator"]["sum"], found["denominator"]["sum"]
    assert found["learning_rate"] == pytest.approx(top / bottom, rel=1e-12)
    assert found["losses"]["gradient step"] == pytest.approx(1.5 - top**2 / bottom / 500 / 2, rel=1e-12)
    assert top**2 <= 500 * found["numerator"]["sum_of_squares"] <= (500 * found["bounds"][0]) ** 2
    assert bottom**2 <= 500 * found["denominator"]["sum_of_squares"] <= (500 * found["bounds"][1]) ** 2


def test_models_of_another_kind_are_refused() -> None:
    for shape in (ModelShape(size=3, layers=2), ModelShape(size=3, kind="softmax"), ModelShape(size=3, observations=2)):
        with pytest.raises(ValueError, match="need one linear layer"):
            model_predictor(AutoregressiveModel(shape, stream("other")))


def test_runs_of_several_tasks_are_refused() -> None:
    other = AutoregressiveTraining(SequenceTask(size=3, length=7), ModelShape(size=3), steps=5)
    with pytest.raises(ValueError, match="need runs of one task"):
        trained_layers([SHORT.to_plain(), other.to_plain()], 10, 10, "several", "cpu")


def test_the_measurement_is_plain_data_and_the_same_again() -> None:
    def measured() -> dict[str, Any]:
        return trained_layers([SHORT.to_plain()], 100, 100, "again", "cpu")

    assert measured() == measured()
    assert set(measured()["runs"][0]["gaps"]) == {"gradient step", "two blocks", "best layer", "zero"}


def test_the_exact_loss_is_that_of_the_enumerated_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two routes through the same nodes, in pieces too; and by hand at zero weights, where the loss is n/2."""
    W_PV, W_KQ = (np.random.default_rng(k).normal(size=(2, 6, 6)) / 6 for k in (0, 1))
    loss, rounding, nodes = exact_loss(2, 4, W_PV, W_KQ)
    other = enumerated_losses([{"size": 2, "length": 4, "W_PV": W_PV.tolist(), "W_KQ": W_KQ.tolist()}], "cpu")
    assert loss == pytest.approx(other["loss"][0], abs=rounding)
    assert nodes == other["nodes"][0]
    monkeypatch.setattr("iclcheck.numerics.mesa.trained_heads.BATCH", 99)
    assert exact_loss(2, 4, W_PV, W_KQ)[:2] == pytest.approx((loss, rounding), rel=1e-10)  # sums in another order
    nothing, rounding, _ = exact_loss(2, 4, 0 * W_PV, W_KQ)
    assert nothing == pytest.approx(1.0, abs=rounding)
    assert rounding < 1e-9


def test_heads_are_trained_and_measured_on_their_own_task() -> None:
    shape = ModelShape(size=2)
    run = AutoregressiveTraining(SequenceTask(size=2, length=4), shape, steps=3, batch_size=8)
    found = trained_heads([run.to_plain()], "cpu")
    model, _ = train(run)
    assert found["loss"][0] == exact_loss(2, 4, *merged(model))[0]
    assert len(found["coefficients"][0]) == 14
    for task in (SequenceTask(size=2, length=4, initial="sphere"), SequenceTask(size=2, length=4, noise_variance=0.1)):
        with pytest.raises(ValueError, match="need noiseless linear sequences"):
            trained_heads([AutoregressiveTraining(task, shape, steps=1).to_plain()], "cpu")


@pytest.mark.slow
def test_one_trained_head_is_not_the_gradient_step_but_the_two_blocks() -> None:
    """At rates of 1e-6: the loss is below that of the best gradient step, and within 0.01 of the best two blocks."""
    task = SequenceTask(size=3, length=10, initial="sphere")
    run = AutoregressiveTraining(task, ModelShape(size=3), steps=1500, batch_size=128, replica=1)
    found = trained_layers([run.to_plain()], 20_000, 60_000, "slow", "cpu")["runs"][0]
    gaps = {name: compare_bounded_mean(one["pilot"], one["main"], one["bound"]) for name, one in found["gaps"].items()}
    assert gaps["gradient step"].measured + gaps["gradient step"].allowed < 0
    assert abs(gaps["two blocks"].measured) + gaps["two blocks"].allowed < 0.01
    assert gaps["best layer"].measured - gaps["best layer"].allowed > 0
    assert found["invariant_share"] > 0.99
    assert dict(zip(NAMES, found["coefficients"], strict=True))["V_010"] > 0.1
