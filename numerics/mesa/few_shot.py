r"""Few-shot regression by models that were trained on sequences only, and what one tuned token adds.

The prompt is x_1, y_1, x_2, y_2, .. with y_i = W x_i, W Haar, fed as if it were a sequence of states: the model
predicts y_i where it reads x_i. Nobody trained it for that, and every second pair of neighbours, (y_i, x_{i+1}), is
none of the task [vonoswald2023uncovering, section 5]. Two elements of the state space may be put in. They are all that
is then trained, with all weights frozen:

    separator   e after every pair: x_1, y_1, e, x_2, y_2, e, ..
    prefix      p before the first

A model that rotates its predictions with its states does not tell e from U e: e = 0 is a stationary point, and takes
the pairs (y_i, x_{i+1}) out of every sum of products. What a tuned token can do beyond is for models without symmetry.

Main statements
    few_shot_prompts    the states, and where y_i is predicted
    tuned               separator and prefix after Adam on fresh prompts
    few_shot_losses     the measurement: trains a model, and gives the loss at every shot without and with either

A loss is 1/2 |y_i - prediction|^2, cut at CUT n, twice CUT times the loss n/2 of predicting 0: bounded draws, whatever
the model. The uncut mean stands beside it, without an interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..training.optimisers import Adam
from ..training.random_streams import standard_normals, stream
from ..training.threads import one_thread
from .attention import AutoregressiveModel
from .autoregressive_training import AutoregressiveTraining, clipped, train
from .sequences import apply, haar_orthogonal, on_sphere

Plain = Mapping[str, Any]
FORMATS = ("pairs", "zero separator", "random separator", "tuned separator", "tuned prefix", "tuned both")
CUT = 2.0
PILOT_SHARE = 0.25
BATCH = 2048


@dataclass(frozen=True)
class FewShotTask:
    """Prompts of `shots` pairs in R^size; covariates N(0, I), or on the sphere of squared radius `size`."""

    size: int
    shots: int
    initial: str = "sphere"

    def pairs(self, count: int, generator: torch.Generator, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """x and y, (count, shots, size) each."""
        W = haar_orthogonal(count, self.size, generator, dtype)
        x = standard_normals((count, self.shots, self.size), generator, dtype)
        x = x if self.initial == "gaussian" else on_sphere(x)
        return x, apply(W.unsqueeze(1), x)


Extras = dict[str, torch.Tensor]


def few_shot_prompts(
    x: torch.Tensor, y: torch.Tensor, extras: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, slice]:
    """The states (B, L, n), and the places of x_1 .. x_k in them.

    extras: "separator" and "prefix", each (n,), or neither.

    >>> x, y = torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[10.0], [20.0]]])
    >>> states, places = few_shot_prompts(x, y, {"separator": torch.tensor([-1.0]), "prefix": torch.tensor([7.0])})
    >>> states.flatten().tolist(), states[:, places].flatten().tolist()
    ([7.0, 1.0, 10.0, -1.0, 2.0, 20.0, -1.0], [1.0, 2.0])
    """
    batch, _, n = x.shape
    blocks = [x, y]
    if "separator" in extras:
        blocks.append(extras["separator"].expand_as(x))
    states = torch.stack(blocks, 2).flatten(1, 2)
    start = 0
    if "prefix" in extras:
        states, start = torch.cat([extras["prefix"].expand(batch, 1, n), states], 1), 1
    return states, slice(start, None, len(blocks))


def shot_losses(
    model: AutoregressiveModel, x: torch.Tensor, y: torch.Tensor, extras: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """1/2 |y_i - prediction|^2, (B, shots)."""
    states, places = few_shot_prompts(x, y, extras)
    predictions: torch.Tensor = model(states)
    return (predictions[:, places] - y).square().sum(-1) / 2


@one_thread()
def tuned(
    model: AutoregressiveModel,
    task: FewShotTask,
    names: Sequence[str],
    key: str,
    *,
    steps: int = 300,
    batch_size: int = 128,
    learning_rate: float = 0.03,
) -> Extras:
    """The named extras after Adam on the mean loss of fresh prompts.

    They start as N(0, I), from streams named by `key`. The learning rate falls to 0 as a straight line; gradients are
    cut at norm 1, as in training.
    """
    weight = next(model.parameters())
    extras = {name: started(task.size, name, key, weight) for name in names}
    optimiser = Adam([extra.data for extra in extras.values()])
    for step in range(steps):
        x, y = task.pairs(batch_size, stream(f"{key}/tuning/{step}", weight.device), weight.dtype)
        loss = shot_losses(model, x, y, extras).mean()
        gradients = torch.autograd.grad(loss, list(extras.values()))
        rate = torch.full((1,), learning_rate * (1 - step / steps), dtype=weight.dtype, device=weight.device)
        optimiser.step(clipped(list(gradients), 1.0), rate)
    return {name: extra.detach() for name, extra in extras.items()}


def started(size: int, name: str, key: str, like: torch.Tensor) -> torch.Tensor:
    """N(0, I_size), where the tuning of an extra starts."""
    draw = standard_normals((size,), stream(f"{key}/{name}"), torch.float64)
    return draw.to(like.device, like.dtype).requires_grad_()


def few_shot_losses(
    runs: Sequence[Plain], shots: int, tuning_steps: int, test_prompts: int, stream_key: str, device: str
) -> dict[str, Any]:
    """Per run: loss sums at every shot for each of FORMATS, the tuned elements, and the bound of a cut loss."""
    found = []
    for plain in runs:
        run = AutoregressiveTraining.from_plain(plain)
        model, _ = train(run, device)
        task = FewShotTask(run.task.size, shots, run.task.initial)
        formats = all_formats(model, task, f"{stream_key}/{run.key}", tuning_steps)
        found.append(
            {
                "losses": {
                    name: loss_sums_by_shot(model, task, extras, test_prompts, f"{stream_key}/{run.key}/test")
                    for name, extras in formats.items()
                },
                "tuned": {
                    name: {which: extra.tolist() for which, extra in extras.items()} for name, extras in formats.items()
                },
            }
        )
    return {"runs": found, "cut": CUT}


def all_formats(model: AutoregressiveModel, task: FewShotTask, key: str, steps: int) -> dict[str, Extras]:
    """What is put into the prompts in each of FORMATS."""
    like = next(model.parameters())
    zero = torch.zeros(task.size, dtype=like.dtype, device=like.device)
    return {
        "pairs": {},
        "zero separator": {"separator": zero},
        "random separator": {"separator": started(task.size, "separator", key, like).detach()},
        "tuned separator": tuned(model, task, ["separator"], key, steps=steps),
        "tuned prefix": tuned(model, task, ["prefix"], key, steps=steps),
        "tuned both": tuned(model, task, ["separator", "prefix"], key, steps=steps),
    }


@one_thread()
@torch.no_grad()
def loss_sums_by_shot(
    model: AutoregressiveModel, task: FewShotTask, extras: Extras, count: int, stream_key: str
) -> dict[str, Any]:
    """Of the cut loss, at every shot and of its mean over shots (last): count, sums and sums of squares.

    Apart for a pilot and for the rest of the draws; `uncut` is the mean over all. `bound` is the largest cut loss.
    """
    weight, cut = next(model.parameters()), CUT * task.size
    pilot = max(1, int(PILOT_SHARE * count))
    found: dict[str, Any] = {"bound": cut}
    uncut = torch.zeros(task.shots, dtype=torch.float64)
    for part, (start, end) in {"pilot": (0, pilot), "main": (pilot, count)}.items():
        sums = torch.zeros(2, task.shots + 1, dtype=torch.float64)
        for place, begin in enumerate(range(start, end, BATCH)):
            generator = stream(f"{stream_key}/{part}/{place}", weight.device)
            x, y = task.pairs(min(BATCH, end - begin), generator, weight.dtype)
            losses = shot_losses(model, x, y, extras).double().cpu()
            uncut += losses.sum(0)
            losses = losses.clamp(max=cut)
            losses = torch.cat([losses, losses.mean(-1, keepdim=True)], -1)
            sums += torch.stack([losses.sum(0), losses.square().sum(0)])
        found[part] = {"count": end - start, "sums": sums[0].tolist(), "sums_of_squares": sums[1].tolist()}
    return {**found, "uncut": (uncut / count).tolist()}
