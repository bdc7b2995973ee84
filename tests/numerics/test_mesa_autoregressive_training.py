"""Training of autoregressive models: in pieces as in one piece, checkpoints, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.mesa.attention import ModelShape
from iclcheck.numerics.mesa.autoregressive_training import (
    AutoregressiveTraining,
    clipped,
    load,
    loss_sums,
    model_of,
    new_model,
    position_losses,
    save,
    train,
    trained_models,
)
from iclcheck.numerics.mesa.sequences import SequenceTask, sample_sequences
from iclcheck.numerics.training.batched_training import DivergedTrainingError
from iclcheck.numerics.training.random_streams import stream

TASK = SequenceTask(size=2, length=6, initial="sphere")
SHORT = AutoregressiveTraining(TASK, ModelShape(size=2, layers=2), steps=24, batch_size=16)
SHAPES = [
    ModelShape(size=2, layers=2),
    ModelShape(size=2, kind="softmax", heads=2, readout="learned"),
    ModelShape(size=2, tokens="learned", channels=8, positions=4, copy_heads=1),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_run_in_pieces_is_the_run_in_one_piece(shape: ModelShape, tmp_path: Path) -> None:
    run = replace(SHORT, shape=shape)
    _, whole = train(run)
    _, first = train(run, until=7)
    save(first, tmp_path / "first.safetensors", run)
    _, second = train(run, start=load(tmp_path / "first.safetensors", run))
    assert second.losses == whole.losses
    assert whole.step == second.step == 24
    for name, value in whole.weights.items():
        assert torch.equal(value, second.weights[name])


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    _, end = train(SHORT, until=2)
    save(end, tmp_path / "end.safetensors", SHORT)
    with pytest.raises(ValueError, match="need a checkpoint of the run"):
        load(tmp_path / "end.safetensors", replace(SHORT, replica=1))


def test_an_update_is_that_of_the_gradient_of_the_loss() -> None:
    """At the first step Adam moves every weight by the learning rate against the sign of its gradient, but for the
    1e-8 beside the gradient's size, which takes less than 1e-3 of it where that is above 1e-5."""
    run = replace(SHORT, dtype="float64", warmup=0.0, clip=1e9)
    start, (end, _) = new_model(run), train(run, until=1)
    states = sample_sequences(TASK, 16, stream(f"{run.key}/0")).observed
    before = list(start.parameters())
    gradients = torch.autograd.grad(position_losses(start(states), states).mean(), before)
    for old, gradient, new in zip(before, gradients, end.parameters(), strict=True):
        large = gradient.abs() > 1e-5
        moved = (new - old).detach() / run.learning_rate_at(0)
        np.testing.assert_allclose(moved[large], -gradient[large].sign(), rtol=0, atol=1e-3)
    assert run.learning_rate_at(0) == run.learning_rate


def test_long_gradients_are_scaled_down_together() -> None:
    gradients = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])]
    assert [one.tolist() for one in clipped(gradients, 10.0)] == [[3.0, 0.0], [[4.0]]]
    short = clipped(gradients, 1.0)
    np.testing.assert_allclose(torch.cat([one.flatten() for one in short]), [0.6, 0.0, 0.8], rtol=1e-6)


def test_the_losses_are_those_of_a_loop_over_positions() -> None:
    model, _ = train(SHORT, until=3)
    found = loss_sums(model, TASK, 10, "losses")
    states = sample_sequences(TASK, 10, stream("losses/0"), torch.float32).observed
    predictions = model(states).detach()
    for t in range(5):
        each = (predictions[:, t] - states[:, t + 1]).double().square().sum(-1) / 2
        # float32: differences and squares of numbers of order 1, summed in another order
        assert found["position_sums"][t] == pytest.approx(float(each.sum()), rel=1e-5)
        assert found["position_sums_of_squares"][t] == pytest.approx(float(each.square().sum()), rel=1e-5)
    assert found["sum"] == pytest.approx(sum(found["position_sums"]) / 5, rel=1e-6)


def test_the_measurement_gives_back_the_model() -> None:
    run = replace(SHORT, steps=6)
    found = trained_models([run.to_plain()], 32, "cpu")
    model = model_of(run, found["weights"][0])
    assert loss_sums(model, TASK, 32, run.key + "/test") == found["losses"][0]
    assert found["curve"][0][-1][0] == 6
    assert found["parameters"] == [model.parameter_count]


def test_a_run_that_diverges_says_so() -> None:
    run = replace(SHORT, shape=ModelShape(size=2, layers=3, scale=1e4))
    with pytest.raises(DivergedTrainingError, match="need finite losses"):
        train(run)


@pytest.mark.parametrize(
    "wrong", [{"shape": ModelShape(size=3)}, {"dtype": "float16"}, {"steps": 0}, {"warmup": 1.0}, {"clip": 0.0}]
)
def test_runs_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need "):
        replace(SHORT, **wrong)


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "below"), [(1, 0.75), (2, 0.45)])
def test_depth_is_learned_at_quick_sizes(layers: int, below: float) -> None:
    """Without a model the loss is n/2 = 1.5; one gradient step cannot go below 0.70 (docs/mesa_training.md)."""
    run = AutoregressiveTraining(
        SequenceTask(size=3, length=10, initial="sphere"), ModelShape(size=3, layers=layers), steps=1000, batch_size=128
    )
    model, _ = train(run)
    found = loss_sums(model, run.task, 20_000, "learned")
    assert found["sum"] / found["count"] < below
