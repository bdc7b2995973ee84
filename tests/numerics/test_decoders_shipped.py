"""The shipped decoders are the recorded ones, and their records are the trainings that the package names."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from iclcheck.numerics.decoders import shipped
from iclcheck.numerics.decoders.decoder_training import BLOCK, DecoderTraining

LAW = {
    "dimension": 2, "length": 3, "classes": [{"kind": "dense", "variance": 1.0}], "weights": [1.0],
    "noise_variance": 0.1, "input_scale": 1.0, "covariance": "identity",
}  # fmt: skip
TRAINING = DecoderTraining(LAW, {"dimension": 2, "positions": 3, "width": 4, "layers": 1, "heads": 1}, steps=5)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one small model, `tiny`."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    shipped.write_shipped(tmp_path, "tiny", TRAINING.model(), TRAINING, {"losses": [1.5]})
    return tmp_path


def test_a_written_model_is_read_back(folder: Path) -> None:
    assert shipped.shipped_names() == ("tiny",)
    found = shipped.shipped_model("tiny")
    assert found.training == TRAINING
    assert found.losses == (1.5,)
    assert found.digest == json.loads((folder / "tiny.json").read_text())["sha256"]
    weights, read = TRAINING.model().state_dict(), found.model.state_dict()
    assert all(torch.equal(read[name], weights[name]) for name in weights)
    assert not found.model.training


def test_weights_of_another_hash_are_refused(folder: Path) -> None:
    other = replace(TRAINING, replica=1)
    shipped.write_shipped(folder, "other", other.model(), other, {"losses": []})
    (folder / "other.safetensors").replace(folder / "tiny.safetensors")
    with pytest.raises(ValueError, match=r"need the weights that tiny.json records, got a file of another SHA-256"):
        shipped.shipped_model("tiny")


def test_a_name_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="need one of the shipped models tiny, got 'large'"):
        shipped.shipped_model("large")


@pytest.mark.parametrize("name", sorted(shipped.TRAININGS))
def test_every_training_that_is_named_draws_prompts_and_fits_its_model(name: str) -> None:
    one = shipped.TRAININGS[name]
    prompts = next(one.batches(0, "cpu"))
    assert one.model()(prompts.xs, prompts.ys).shape == (one.batch_size, one.law["length"])


@pytest.mark.parametrize("name", shipped.shipped_names())
def test_a_shipped_model_is_that_of_the_training_of_its_name(name: str) -> None:
    found = shipped.shipped_model(name)
    assert found.training == shipped.TRAININGS[name]
    assert len(found.losses) * BLOCK == found.training.steps
    assert (shipped.FOLDER / f"{name}.safetensors").stat().st_size < 1_000_000
    assert all(value.isfinite().all() for value in found.model.state_dict().values())
