r"""The trained decoders that come with the package, and the trainings that made them.

Each is a file of float32 weights beside a record of its training: `python benchmarks/train_decoders.py NAME` trains it
again. They are small (d = 5, six layers of width 32) and were trained for minutes on a CPU, by SOAP, which takes fewer
steps than Adam. They stand for themselves: a statement about one of them is a statement about that file. Prompts of the
five-dimensional ones have at most 11 points, noise of variance 0.1, and linear functions: dense ones with w ~ N(0, I),
sparse ones with one nonzero coefficient of variance 5, so that both classes have the same E y^2.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch

from .decoder import Decoder, DecoderShape
from .decoder_training import DecoderTraining

FOLDER = Path(__file__).parent / "trained_models"
DENSE, SPARSE = {"kind": "dense", "variance": 1.0}, {"kind": "sparse", "nonzeros": 1, "variance": 5.0}
SINUSOID = {"kind": "sinusoid", "lowest": 1.0, "highest": 4.0, "variance": 2.0}


HEADS, RATE = 4, 4e-3  # what comes nearer to the oracle of a sparse class in the same time


def _training(
    classes: list[dict[str, Any]],
    weights: list[float],
    heads: int = 2,
    learning_rate: float = 2e-3,
    steps: int = 12_000,
    **law: Any,
) -> DecoderTraining:
    prompts = {
        "dimension": 5, "length": 11, "classes": classes, "weights": weights, "noise_variance": 0.1,
        "input_scale": 1.0, "covariance": "identity", **law,
    }  # fmt: skip
    shape = {
        "dimension": prompts["dimension"], "positions": prompts["length"], "width": 32, "layers": 6, "heads": heads,
    }  # fmt: skip
    return DecoderTraining(
        prompts, shape, steps, 64, learning_rate, warmup=200, decay=0.6, optimiser="soap", start_scale=32**-0.5
    )


def _mixture(probability: float, steps: int) -> DecoderTraining:
    """The training on a mixture with that probability of the dense class."""
    return _training([DENSE, SPARSE], [probability, 1 - probability], HEADS, RATE, steps)


TRAININGS: dict[str, DecoderTraining] = {
    "dense": _training([DENSE], [1.0]),
    "sparse": _training([SPARSE], [1.0], HEADS, RATE, 48_000),
    "mixture": _mixture(0.5, 72_000),
    "mixture-10": _mixture(0.1, 16_000),
    "mixture-90": _mixture(0.9, 16_000),
    "random-covariance": _training([DENSE], [1.0], covariance="exponential"),
    "linear-sinusoid": _training([DENSE, SINUSOID], [0.5, 0.5], dimension=1, length=16),
}


@dataclass(frozen=True)
class ShippedModel:
    """A trained decoder, its training, the mean loss of each block of steps, and the SHA-256 of its file."""

    model: Decoder
    training: DecoderTraining
    losses: tuple[float, ...]
    digest: str


def shipped_names() -> tuple[str, ...]:
    """The names of the models that are there."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.safetensors")))


def shipped_digest(name: str) -> str:
    """SHA-256 of the file of weights. Raises ValueError for a name that is not there."""
    if name not in shipped_names():
        raise ValueError(f"need one of the shipped models {', '.join(shipped_names())}, got {name!r}")
    return hashlib.sha256((FOLDER / f"{name}.safetensors").read_bytes()).hexdigest()


def shipped_model(name: str) -> ShippedModel:
    """The shipped decoder of that name. Raises ValueError if there is none, or if it is not the recorded one."""
    digest, record = shipped_digest(name), json.loads((FOLDER / f"{name}.json").read_text())
    if digest != record["sha256"]:
        raise ValueError(f"need the weights that {name}.json records, got a file of another SHA-256 ({digest})")
    training = DecoderTraining.from_plain(record["training"])
    model = Decoder(DecoderShape.from_plain(training.shape))
    safetensors.torch.load_model(model, FOLDER / f"{name}.safetensors")
    return ShippedModel(model.eval(), training, tuple(record["losses"]), digest)


def write_shipped(folder: Path, name: str, model: Decoder, training: DecoderTraining, further: dict[str, Any]) -> None:
    """Write the weights and their record; `further` holds the losses, and how they were made."""
    path = folder / f"{name}.safetensors"
    safetensors.torch.save_model(model, str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    record = {"training": training.plain(), "sha256": digest, **further}
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
