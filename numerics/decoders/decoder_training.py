r"""Training a decoder on fresh prompts: the mean over prefixes of the squared error [garg2022can].

    loss = mean over prompts and prefixes of (prediction_i - y_i)^2, y_i with its noise
    step size: rises linearly for `warmup` steps, stays, and falls linearly to 0 over the last `decay` share of steps
    curriculum: training begins with some coordinates and points and adds more every `interval` steps

Each block of BLOCK steps draws its prompts from a stream of its own, named by the training and the block, so a
training that is taken up again at the end of a block goes on with the same numbers. On the CPU with one thread it ends
with the same weights, bit for bit. `RunningTraining.save` keeps it in a folder, `RunningTraining.resume` goes on there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from ..mixtures.prompt_laws import PromptLaw, Prompts
from ..training.random_streams import stream
from .checkpoints import checkpoint_of, read_checkpoint, restore, write_checkpoint
from .decoder import START_SCALE, Decoder, DecoderShape
from .soap_updates import SoapUpdates

Plain = Mapping[str, Any]
BLOCK = 100  # steps between two places where a training can be taken up


@dataclass(frozen=True)
class Growth:
    """A size that starts at `start` and grows by `step` every `interval` steps, up to `end`."""

    start: int
    end: int
    step: int = 1
    interval: int = 2000

    def at(self, done: int) -> int:
        """Its value after `done` steps."""
        return min(self.start + self.step * (done // self.interval), self.end)


@dataclass(frozen=True)
class DecoderTraining:
    """One training.

    law            plain description of the prompts (`mixtures.prompt_laws`)
    shape          plain description of the model
    optimiser      "adam" as in [garg2022can], or "soap" [vyas2024soap]
    start_scale    standard deviation of the kernels at the start
    coordinates, points   the curriculum (plain `Growth`), or None for all from the first step on
    replica        changes nothing but the random numbers
    """

    law: Plain
    shape: Plain
    steps: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup: int = 0
    decay: float = 0.0
    optimiser: Literal["adam", "soap"] = "adam"
    start_scale: float = START_SCALE
    coordinates: Plain | None = None
    points: Plain | None = None
    replica: int = 0

    @classmethod
    def from_plain(cls, plain: Plain) -> DecoderTraining:
        """The training that `plain` describes."""
        return cls(**plain)

    def plain(self) -> dict[str, Any]:
        """Itself as plain data."""
        return asdict(self)

    @property
    def key(self) -> str:
        """SHA-256 of the parameters."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()

    def model(self) -> Decoder:
        """The model where training starts."""
        return Decoder(DecoderShape.from_plain(self.shape), self.key, self.start_scale)

    def rate(self, step: int) -> float:
        """The step size of step number `step`, counted from 0."""
        rising = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        falling = min(1.0, (self.steps - step) / (self.decay * self.steps)) if self.decay else 1.0
        return self.learning_rate * rising * falling

    def batches(self, block: int, device: str | torch.device) -> Iterator[Prompts]:
        """The batches of steps BLOCK * block and following, in float32."""
        law, done = PromptLaw.from_plain(self.law), BLOCK * block
        generator = stream(f"{self.key}/prompts/{block}", device)
        used = Growth(**self.coordinates).at(done) if self.coordinates else None
        if self.points:
            law = replace(law, length=Growth(**self.points).at(done))
        for _ in range(min(BLOCK, self.steps - done)):
            yield law.sample(self.batch_size, generator, torch.float32, used)


@dataclass
class RunningTraining:
    """A training between two blocks: the model, its optimiser, the blocks done, and the mean loss of each block."""

    training: DecoderTraining
    model: Decoder
    optimiser: torch.optim.Optimizer
    blocks: int
    losses: list[float]

    @classmethod
    def begin(cls, training: DecoderTraining, device: str | torch.device = "cpu") -> RunningTraining:
        """A training before its first step."""
        model = training.model().to(device)
        kind = {"adam": torch.optim.Adam, "soap": SoapUpdates}[training.optimiser]
        return cls(training, model, kind(model.parameters(), training.learning_rate), 0, [])

    @classmethod
    def resume(cls, training: DecoderTraining, folder: Path, device: str | torch.device = "cpu") -> RunningTraining:
        """A training where its checkpoint in the folder stands; before its first step if there is none.

        Raises ValueError if the checkpoint is one of another training.
        """
        run = cls.begin(training, device)
        found = read_checkpoint(folder, training.key, device)
        if found is not None:
            restore(found, dict(run.model.named_parameters()), run.optimiser)
            run.blocks, run.losses = found.blocks, found.losses.tolist()
        return run

    def save(self, folder: Path) -> None:
        """Write its checkpoint into the folder, in place of an earlier one."""
        found = checkpoint_of(self.blocks, dict(self.model.named_parameters()), self.optimiser, self.losses)
        record = {"training": self.training.plain(), "steps": self.steps_done, "losses": self.losses}
        write_checkpoint(folder, self.training.key, found, record)

    @property
    def steps_done(self) -> int:
        return min(BLOCK * self.blocks, self.training.steps)

    @property
    def ended(self) -> bool:
        return self.blocks * BLOCK >= self.training.steps

    def advance(self) -> None:
        """One block of steps. Raises FloatingPointError where the loss is no number."""
        device = next(self.model.parameters()).device
        total, count = torch.zeros((), device=device), 0
        for prompts in self.training.batches(self.blocks, device):
            for group in self.optimiser.param_groups:
                group["lr"] = self.training.rate(BLOCK * self.blocks + count)
            loss = (self.model(prompts.xs, prompts.ys) - prompts.ys).square().mean()
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            total, count = total + loss.detach(), count + 1
        mean = float(total) / count
        if not mean < float("inf"):
            raise FloatingPointError(f"the loss is {mean} after {BLOCK * self.blocks + count} steps")
        self.blocks += 1
        self.losses.append(mean)
