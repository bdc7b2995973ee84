"""The training of decoders: its curriculum and step sizes, its loss, and what does not depend on interruptions."""

from typing import Any

import pytest
import torch

from iclcheck.numerics.decoders.decoder_training import BLOCK, DecoderTraining, Growth, RunningTraining
from iclcheck.numerics.mixtures.prompt_laws import Prompts

LAW = {
    "dimension": 4, "length": 6, "classes": [{"kind": "dense", "variance": 1.0}], "weights": [1.0],
    "noise_variance": 0.1, "input_scale": 1.0, "covariance": "identity",
}  # fmt: skip
SHAPE = {"dimension": 4, "positions": 6, "width": 8, "layers": 1, "heads": 2}


def training(**further: Any) -> DecoderTraining:
    return DecoderTraining(LAW, SHAPE, **{"steps": 250, "batch_size": 4, **further})


def weights_of(run: RunningTraining) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def test_the_curriculum_of_garg_et_al() -> None:
    coordinates, points = Growth(5, 20, 1, 2000), Growth(11, 41, 2, 2000)
    assert [coordinates.at(done) for done in (0, 1999, 2000, 4000, 29_999, 30_000, 500_000)] == [5, 5, 6, 7, 19, 20, 20]
    assert [points.at(done) for done in (0, 1999, 2000, 4000, 29_999, 30_000, 500_000)] == [11, 11, 13, 15, 39, 41, 41]


def test_a_curriculum_uses_the_coordinates_and_points_of_its_block() -> None:
    one = training(coordinates={"start": 2, "end": 4, "interval": 100}, points={"start": 3, "end": 5, "interval": 100})
    for block, (used, points) in enumerate(((2, 3), (3, 4), (4, 5))):
        batch: Prompts = next(one.batches(block, "cpu"))
        assert batch.xs.shape == (4, points, 4)
        assert batch.ys.shape == (4, points)
        assert batch.xs[..., :used].ne(0).all()
        assert not batch.xs[..., used:].any()


def test_the_step_size_rises_stays_and_falls() -> None:
    one = training(steps=1000, learning_rate=0.5, warmup=10, decay=0.5)
    assert [one.rate(step) for step in (0, 4, 9, 500)] == [0.05, 0.25, 0.5, 0.5]
    assert one.rate(750) == 0.25
    assert one.rate(999) == pytest.approx(0.5 / 500)
    assert {training(steps=1000, learning_rate=0.5).rate(step) for step in range(1000)} == {0.5}


def test_blocks_cover_the_steps_once() -> None:
    one = training()
    assert [sum(1 for _ in one.batches(block, "cpu")) for block in (0, 1, 2)] == [BLOCK, BLOCK, 50]


def test_a_block_draws_its_own_prompts() -> None:
    one = training()
    first, again, second = (next(one.batches(block, "cpu")).xs for block in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(first, next(training(replica=1).batches(0, "cpu")).xs)


def test_a_training_keeps_its_parameters_as_plain_data() -> None:
    one = training(coordinates={"start": 2, "end": 4}, decay=0.25)
    assert DecoderTraining.from_plain(one.plain()) == one
    assert DecoderTraining.from_plain(one.plain()).key == one.key
    assert training().key != one.key


def test_a_block_is_adam_on_the_mean_squared_error_over_prefixes() -> None:
    one = training(steps=2, warmup=2)
    run = RunningTraining.begin(one)
    model = one.model()
    adam, by_prefix = torch.optim.Adam(model.parameters()), []
    for step, prompts in enumerate(one.batches(0, "cpu")):
        errors = (model(prompts.xs, prompts.ys) - prompts.ys) ** 2
        by_prefix.append([float(errors[:, i].detach().mean()) for i in range(6)])
        adam.param_groups[0]["lr"] = 1e-3 * (step + 1) / 2
        adam.zero_grad()
        errors.mean().backward()
        adam.step()
    run.advance()
    assert run.ended
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), model.parameters(), strict=True))
    # sums of 24 positive float32 numbers: 24 * 6e-8
    assert run.losses == [pytest.approx(sum(sum(row) for row in by_prefix) / 12, rel=2e-6)]


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    run = RunningTraining.begin(training(steps=3))
    with torch.no_grad():
        run.model._read_out.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="the loss is nan after 3 steps"):
        run.advance()
    assert run.blocks == 0


def test_two_runs_of_one_training_end_with_the_same_bits() -> None:
    first, second = (RunningTraining.begin(training(steps=20)) for _ in range(2))
    for run in (first, second):
        run.advance()
    assert first.losses == second.losses
    assert all(torch.equal(a, b) for a, b in zip(weights_of(first).values(), weights_of(second).values(), strict=True))
