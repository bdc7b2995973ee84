r"""Training of autoregressive models on fresh sequences, step by step, and from a checkpoint on.

The loss of a batch is the mean over sequences and positions t = 1 .. T - 1 of 1/2 |s_{t+1} - prediction_t|^2. Adam with
the weights (0.9, 0.99), gradients of a global norm above `clip` scaled down to it, a learning rate that rises over the
first `warmup` of the steps and falls to 0 as a cosine. Nothing that is known about the solution enters.

Main statements
    train                 from the start, or from a checkpoint: the sequences of step k come from a stream named by the
                          configuration and k, so that a run in pieces is the run in one piece, bit by bit on a CPU
    save, load            a checkpoint as a safetensors file, for runs that take longer than one call
    trained_models        the measurement: plain data in; weights, curves, and losses on fresh sequences out
    loss_sums             count, sums and sums of squares of the loss at each position and of its mean over positions
The population loss of linear attention has heavy tails under Gaussian first states (`sequences`): what a batch shows of
it is far below it from 2 layers on. `initial="sphere"` has none.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ..training.batched_training import DivergedTrainingError
from ..training.optimisers import Adam
from ..training.random_streams import stream
from ..training.threads import one_thread
from .attention import AutoregressiveModel, ModelShape
from .sequences import SequenceTask, sample_sequences

Plain = Mapping[str, Any]
DTYPES = {"float32": torch.float32, "float64": torch.float64}
CURVE_POINTS = 50
STEPS_BETWEEN_CHECKS = 100
TEST_BATCH = 4096


@dataclass(frozen=True)
class AutoregressiveTraining:
    """One training run.

    task, shape: what is learned, and by what. steps of `batch_size` fresh sequences each. learning_rate: its largest.
    warmup: fraction of the steps over which it rises. clip: of the gradient's norm. dtype: "float32" or "float64".
    replica: changes nothing but the random numbers.

    Raises ValueError where these name no training.
    """

    task: SequenceTask
    shape: ModelShape
    steps: int = 2000
    batch_size: int = 256
    learning_rate: float = 0.01
    warmup: float = 0.1
    clip: float = 1.0
    dtype: str = "float32"
    replica: int = 0

    def __post_init__(self) -> None:
        if self.task.size != self.shape.size:
            raise ValueError(f"need a model of the task's size {self.task.size}, got one of size {self.shape.size}")
        if self.dtype not in DTYPES:
            raise ValueError(f"need dtype out of {tuple(DTYPES)}, got {self.dtype!r}")
        if min(self.steps, self.batch_size, self.learning_rate, self.clip) <= 0 or not 0 <= self.warmup < 1:
            raise ValueError(
                "need positive steps, batch_size, learning_rate and clip, and a warmup in [0, 1), got "
                f"{self.steps}, {self.batch_size}, {self.learning_rate}, {self.clip}, {self.warmup}"
            )

    @property
    def key(self) -> str:
        """SHA-256 of the plain parameters; names the random numbers of the run."""
        text = json.dumps(self.to_plain(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_plain(self) -> dict[str, Any]:
        """Numbers, strings and dicts that `from_plain` turns back into this run."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Plain) -> AutoregressiveTraining:
        """The run with these parameters; unknown names are refused by name (TypeError)."""
        task, shape = SequenceTask.from_plain(plain["task"]), ModelShape.from_plain(plain["shape"])
        return cls(**{**plain, "task": task, "shape": shape})

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of this step, from 0."""
        rise = self.warmup * self.steps
        if step + 1 < rise:
            return self.learning_rate * (step + 1) / rise
        return self.learning_rate * (1 + math.cos(math.pi * (step - rise) / (self.steps - rise))) / 2


@dataclass
class Checkpoint:
    """A run after `step` steps: its weights, Adam's two running means, and the loss of every batch so far."""

    step: int
    weights: dict[str, torch.Tensor]
    means: list[torch.Tensor]
    squares: list[torch.Tensor]
    losses: list[float]


def new_model(run: AutoregressiveTraining, device: str | torch.device = "cpu") -> AutoregressiveModel:
    """The model where this run starts; the same at every call and on every device."""
    return AutoregressiveModel(run.shape, stream(run.key + "/start"), DTYPES[run.dtype]).to(device)


@one_thread()
def train(
    run: AutoregressiveTraining,
    device: str | torch.device = "cpu",
    start: Checkpoint | None = None,
    until: int | None = None,
) -> tuple[AutoregressiveModel, Checkpoint]:
    """Train from `start` (the beginning if None) up to step `until` (the last if None).

    Raises DivergedTrainingError when the loss stops being finite.
    """
    model = new_model(run, device)
    parameters = list(model.parameters())
    optimiser, losses = _restored(model, parameters, start)
    step = len(losses)
    pending: list[torch.Tensor] = []
    for step in range(len(losses), run.steps if until is None else min(until, run.steps)):
        pending.append(_step(run, model, parameters, optimiser, step, device))
        if len(pending) == STEPS_BETWEEN_CHECKS:
            losses += _finite(run, pending)
    losses += _finite(run, pending)
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return model, Checkpoint(len(losses), weights, optimiser.means, optimiser.squares, losses)


def _restored(
    model: AutoregressiveModel, parameters: list[torch.nn.Parameter], start: Checkpoint | None
) -> tuple[Adam, list[float]]:
    optimiser = Adam([parameter.data for parameter in parameters])
    if start is None:
        return optimiser, []
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(start.weights[name])
    optimiser.steps = start.step
    for kept, given in zip(optimiser.means + optimiser.squares, start.means + start.squares, strict=True):
        kept.copy_(given)
    return optimiser, list(start.losses)


def _step(
    run: AutoregressiveTraining,
    model: AutoregressiveModel,
    parameters: list[torch.nn.Parameter],
    optimiser: Adam,
    step: int,
    device: str | torch.device,
) -> torch.Tensor:
    """One update; the loss before it."""
    generator = stream(f"{run.key}/{step}", device)
    states = sample_sequences(run.task, run.batch_size, generator, DTYPES[run.dtype]).observed
    loss = position_losses(model(states), states).mean()
    gradients = clipped(list(torch.autograd.grad(loss, parameters)), run.clip)
    optimiser.step(gradients, torch.full((1,), run.learning_rate_at(step), dtype=loss.dtype, device=loss.device))
    return loss.detach()


def position_losses(predictions: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """1/2 |s_{t+1} - prediction_t|^2 at t = 1 .. T - 1, (B, T - 1), from two arrays (B, T, n)."""
    return (predictions[:, :-1] - states[:, 1:]).square().sum(-1) / 2


def clipped(gradients: list[torch.Tensor], largest: float) -> list[torch.Tensor]:
    """The gradients, scaled down to the global norm `largest` where it is more."""
    norm = torch.sqrt(torch.stack([gradient.square().sum() for gradient in gradients]).sum())
    share = largest / norm.clamp(min=largest)
    return [gradient * share for gradient in gradients]


def _finite(run: AutoregressiveTraining, pending: list[torch.Tensor]) -> list[float]:
    losses = torch.stack(pending).tolist() if pending else []
    pending.clear()
    if not all(map(math.isfinite, losses)):
        raise DivergedTrainingError(
            f"need finite losses in training, got others in the run with key {run.key[:12]}: {run.shape.layers} "
            f"{run.shape.kind} layers, learning_rate {run.learning_rate:g}, replica {run.replica}; lower the learning "
            "rate or the scale of the first weights"
        )
    return list(losses)


def save(checkpoint: Checkpoint, path: str | Path, run: AutoregressiveTraining) -> None:
    """Write a checkpoint of `run` as a safetensors file, in the run's own precision."""
    tensors = {f"weights/{name}": value for name, value in checkpoint.weights.items()}
    tensors |= {f"means/{place}": value for place, value in enumerate(checkpoint.means)}
    tensors |= {f"squares/{place}": value for place, value in enumerate(checkpoint.squares)}
    tensors["losses"] = torch.tensor(checkpoint.losses, dtype=torch.float64)
    save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, path, {"key": run.key})


def load(path: str | Path, run: AutoregressiveTraining, device: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint of `run`.

    Raises ValueError if the file holds a checkpoint of another run.
    """
    with safe_open(path, "pt", device=str(device)) as file:
        key = (file.metadata() or {}).get("key")
        if key != run.key:
            raise ValueError(f"need a checkpoint of the run {run.key[:12]}, got one of {str(key)[:12]}; train anew")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no iterator of its own
    losses = tensors["losses"].tolist()
    weights = {name.partition("/")[2]: value for name, value in tensors.items() if name.startswith("weights/")}
    places = range(sum(name.startswith("means/") for name in tensors))
    means, squares = ([tensors[f"{kind}/{place}"] for place in places] for kind in ("means", "squares"))
    return Checkpoint(len(losses), weights, means, squares, losses)


def trained_models(
    runs: Sequence[Plain], test_sequences: int, device: str, keep_weights: bool = True
) -> dict[str, Any]:
    """Per run: its weights as nested lists by name, its loss curve, and `loss_sums` on fresh test sequences.

    The test sequences come from streams named by the run, apart from those of the training.
    """
    found: dict[str, list[Any]] = {"weights": [], "curve": [], "losses": [], "parameters": []}
    for plain in runs:
        run = AutoregressiveTraining.from_plain(plain)
        model, end = train(run, device)
        if keep_weights:
            found["weights"].append({name: value.cpu().tolist() for name, value in end.weights.items()})
        found["curve"].append(curve(end.losses))
        found["losses"].append(loss_sums(model, run.task, test_sequences, run.key + "/test", device))
        found["parameters"].append(model.parameter_count)
    return found


def model_of(run: AutoregressiveTraining, weights: Mapping[str, Any], device: str = "cpu") -> AutoregressiveModel:
    """The model of a run with the weights of a record (nested lists by name)."""
    model = new_model(run, device)
    dtype = DTYPES[run.dtype]
    model.load_state_dict({name: torch.tensor(value, dtype=dtype, device=device) for name, value in weights.items()})
    return model


@one_thread()
@torch.no_grad()
def loss_sums(
    model: torch.nn.Module, task: SequenceTask, count: int, stream_key: str, device: str | torch.device = "cpu"
) -> dict[str, Any]:
    """Over `count` fresh sequences: sum and sum of squares of the loss at t = 1 .. T - 1, and of its mean over t.

    Sums in float64; the model computes in its own precision.
    """
    dtype = next(model.parameters()).dtype
    total = torch.zeros(2, task.length, dtype=torch.float64)
    for place, start in enumerate(range(0, count, TEST_BATCH)):
        generator = stream(f"{stream_key}/{place}", device)
        states = sample_sequences(task, min(TEST_BATCH, count - start), generator, dtype).observed
        losses = position_losses(model(states), states).double()
        losses = torch.cat([losses, losses.mean(-1, keepdim=True)], -1)
        total += torch.stack([losses.sum(0), losses.square().sum(0)]).cpu()
    sums, squares = total.tolist()
    return {
        "count": count,
        "sum": sums[-1],
        "sum_of_squares": squares[-1],
        "position_sums": sums[:-1],
        "position_sums_of_squares": squares[:-1],
    }


def curve(losses: Sequence[float]) -> list[tuple[int, float]]:
    """Pairs (steps done, mean batch loss since the pair before) at about CURVE_POINTS places."""
    edges = sorted({round(len(losses) * place / CURVE_POINTS) for place in range(CURVE_POINTS + 1)})
    return [(end, sum(losses[start:end]) / (end - start)) for start, end in pairwise(edges)]
