r"""What one training run is: prompts, start, optimiser. The key of all of it names its random numbers.

Starts
    "theorem"         u = scale, U = scale Theta Theta^T / |Theta Theta^T|_F with Theta (d, d) of independent
                      N(0, 1) entries, u12 = u21 = 0: the start of [zhang2024trained, Theorem 4.1]
    "no-leak"         u and U with independent N(0, scale^2) entries, u12 = u21 = 0
    "all-parameters"  u12, u, U and u21 with independent N(0, scale^2) entries
The entries of W_PV above its last row and the last column of W_KQ never reach a prediction and start at 0.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..one_layer.prompts import PromptDistribution
from .random_streams import standard_normals, stream
from .shared_draws import SharedDraws

STARTS = ("theorem", "no-leak", "all-parameters")
OPTIMISERS = ("adam", "sgd", "soap")
SCHEDULES = ("constant", "linear", "cosine", "triangle")


@dataclass(frozen=True)
class TrainingConfiguration:
    """One training run of the layer by a first-order method on fresh prompts.

    distribution: of the prompts, fresh ones at each of `steps` steps, `batch_size` each.
    start, scale: see the module. optimiser: "adam", "sgd" or "soap"; learning_rate: its largest.
    schedule: the learning rate over the run: "constant", "linear" (to 0), "cosine" (to 0), "triangle" (rises from 0
    over the first fifth, then falls to 0).
    averaging: the returned weights are the mean over this last fraction of the steps; 0 returns the last
    weights. seed, replica: change nothing but the random numbers. shared_draws: read the prompts from draws that
    other configurations read too (`shared_draws`); None, the default, draws prompts of the configuration's own.
    early_batch_size: the batch of the steps that are not averaged over, with shared draws only; None takes batch_size.
    """

    distribution: PromptDistribution
    start: str = "theorem"
    scale: float = 0.4
    optimiser: str = "adam"
    learning_rate: float = 0.02
    steps: int = 768
    batch_size: int = 512
    schedule: str = "linear"
    averaging: float = 0.7
    seed: int = 0
    replica: int = 0
    shared_draws: SharedDraws | None = None
    early_batch_size: int | None = None

    def __post_init__(self) -> None:
        _check_choice("start", self.start, STARTS)
        _check_choice("optimiser", self.optimiser, OPTIMISERS)
        _check_choice("schedule", self.schedule, SCHEDULES)
        for name, kind in _NUMBERS.items():
            object.__setattr__(self, name, _number(name, getattr(self, name), kind))
        for name in ("scale", "learning_rate", "steps", "batch_size"):
            if getattr(self, name) <= 0:
                raise ValueError(f"need a positive {name}, got {getattr(self, name)}")
        if not 0 <= self.averaging <= 1:
            raise ValueError(f"need averaging as a fraction of the steps in [0, 1], got {self.averaging}")
        self._check_early_batch_size()
        if self.shared_draws is not None:
            self.shared_draws.check_serves(self.distribution)

    def _check_early_batch_size(self) -> None:
        if self.early_batch_size is None:
            return
        object.__setattr__(self, "early_batch_size", _number("early_batch_size", self.early_batch_size, int))
        if self.shared_draws is None or self.early_batch_size <= 0:
            raise ValueError(
                f"need a positive early_batch_size and shared_draws beside it, got {self.early_batch_size} and "
                f"{self.shared_draws}; leave it out for prompts of the configuration's own"
            )

    @property
    def prompts(self) -> int:
        """The number of prompts that the run sees."""
        early = self.batch_size if self.early_batch_size is None else self.early_batch_size
        return self.averaged_steps * self.batch_size + (self.steps - self.averaged_steps) * early

    @property
    def averaged_steps(self) -> int:
        """The number of last steps whose weights are averaged; 1 returns the last weights."""
        return max(1, round(self.averaging * self.steps))

    def batch_size_at(self, step: int) -> int:
        """The number of prompts at this step, from 0."""
        early = step < self.steps - self.averaged_steps and self.early_batch_size is not None
        return self.early_batch_size or self.batch_size if early else self.batch_size

    @property
    def key(self) -> str:
        """SHA-256 of the configuration's plain data; names its random numbers."""
        text = json.dumps(self.to_plain(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_plain(self) -> dict[str, Any]:
        """Numbers, strings and lists that `from_plain` turns back into this configuration."""
        plain = {**asdict(self), "distribution": self.distribution.to_plain()}
        # what is left at None needs no word: keys from before there was a choice stand
        return {name: entry for name, entry in plain.items() if entry is not None}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> TrainingConfiguration:
        """The configuration with these parameters; unknown names are refused by name (TypeError)."""
        distribution, draws = PromptDistribution.from_plain(plain["distribution"]), plain.get("shared_draws")
        shared = None if draws is None else SharedDraws.from_plain(draws)
        return cls(**{**plain, "distribution": distribution, "shared_draws": shared})


def initial_weights(
    configuration: TrainingConfiguration,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """W_PV and W_KQ, (d + 1, d + 1) each, where this training starts; the same at every call."""
    d, scale = configuration.distribution.dimension, configuration.scale
    W_PV, W_KQ = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d + 1))
    generator = stream(configuration.key + "/start")
    draws = standard_normals((d + 2, d + 1), generator, torch.float64).numpy()
    W_KQ[:, :d] = scale * draws[:-1, :d]
    W_PV[-1] = scale * draws[-1]
    if configuration.start == "theorem":
        W_KQ[:d, :d] = _theorem_key_query(draws[:d, :d], scale)
        W_PV[-1, -1] = scale
    if configuration.start != "all-parameters":
        W_KQ[-1] = 0.0
        W_PV[-1, :d] = 0.0
    return W_PV, W_KQ


def _theorem_key_query(Theta: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """scale Theta Theta^T / |Theta Theta^T|_F."""
    product = Theta @ Theta.T
    result: NDArray[np.float64] = scale * product / np.linalg.norm(product)
    return result


_NUMBERS: dict[str, type[int] | type[float]] = {
    "scale": float,
    "learning_rate": float,
    "averaging": float,
    "steps": int,
    "batch_size": int,
    "seed": int,
    "replica": int,
}


def _number(name: str, given: float, kind: type[int] | type[float]) -> float:
    """The plain number, so that equal configurations have equal keys whatever number type they came with."""
    try:
        value = kind(given)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"need {name} as a number, got {given!r}") from error
    if value != given or not math.isfinite(value):
        raise ValueError(f"need {name} as a finite {kind.__name__}, got {given!r}")
    return value


def _check_choice(name: str, given: str, choices: tuple[str, ...]) -> None:
    if given not in choices:
        raise ValueError(f"need {name} out of {choices}, got {given!r}")
