"""A checkpoint of a training: its tensors in one file, which is there whole or not at all, and a record to read.

`checkpoint.safetensors` holds all that the training needs to go on: weights, the optimiser's means of each, its steps,
and the losses so far, with the name of the training in its header, and whatever else is to be kept. It is written
beside the old one and renamed, so a training that is killed at any time finds one of the two, and loses what came after
it. `training.json` says the same to a person; nothing is read from it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from .soap_updates import SoapUpdates

CHECKPOINT, RECORD = "checkpoint.safetensors", "training.json"
MEANS = ("exp_avg", "exp_avg_sq")  # of Adam, by torch's names


@dataclass(frozen=True)
class Checkpoint:
    """After `blocks` blocks: weights by name, the optimiser's tensors by name, its steps, and the losses (blocks, ...).

    further: plain data of whoever trains, kept as it is
    """

    blocks: int
    weights: dict[str, Tensor]
    states: dict[str, dict[str, Tensor]]
    steps: int
    losses: Tensor
    further: Mapping[str, Any] = field(default_factory=dict)


def checkpoint_of(
    blocks: int,
    weights: Mapping[str, Tensor],
    optimiser: torch.optim.Optimizer,
    losses: list[Any],
    further: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """That of a training whose optimiser holds the weights in this order."""
    steps, states = _state_of(optimiser, list(weights.values()))
    named = dict(zip(weights, states, strict=True)) if steps else {}
    return Checkpoint(blocks, dict(weights), named, steps, torch.tensor(losses, dtype=torch.float64), further or {})


def _state_of(optimiser: torch.optim.Optimizer, weights: list[Tensor]) -> tuple[int, list[dict[str, Tensor]]]:
    """The steps taken, and the tensors of each weight."""
    if isinstance(optimiser, SoapUpdates):
        return optimiser.soap.steps, optimiser.tensors()
    states = [optimiser.state[value] for value in weights]
    if not all(states):
        return 0, []
    return int(states[0]["step"]), [{kind: state[kind] for kind in MEANS} for state in states]


def restore(found: Checkpoint, weights: Mapping[str, Tensor], optimiser: torch.optim.Optimizer) -> None:
    """Put the numbers of a checkpoint into weights and their optimiser."""
    with torch.no_grad():
        for name, value in weights.items():
            value.copy_(found.weights[name])
    if not found.steps:
        return
    states = [found.states[name] for name in weights]
    if isinstance(optimiser, SoapUpdates):
        optimiser.restore(found.steps, states)
        return
    step = torch.tensor(float(found.steps))
    by_place = {place: {"step": step.clone(), **state} for place, state in enumerate(states)}
    optimiser.load_state_dict({**optimiser.state_dict(), "state": by_place})


def write_checkpoint(folder: Path, key: str, found: Checkpoint, record: Mapping[str, Any]) -> None:
    """Write a checkpoint of the training named by `key`, then its record."""
    tensors = {f"weights/{name}": value.detach() for name, value in found.weights.items()}
    tensors |= {f"{kind}/{name}": value for name, held in found.states.items() for kind, value in held.items()}
    plain = {name: value.cpu().contiguous() for name, value in {**tensors, "losses": found.losses}.items()}
    header = {"key": key, "blocks": str(found.blocks), "steps": str(found.steps)}
    header["further"] = json.dumps(found.further)
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{CHECKPOINT}"
    save_file(plain, beside, header)
    _put(beside, folder / CHECKPOINT)
    beside = folder / f".{RECORD}"
    beside.write_text(json.dumps({**record, **found.further}, indent=1) + "\n")
    _put(beside, folder / RECORD)


def _put(written: Path, target: Path) -> None:
    """Rename once the bytes are on the disk: a reader sees the old file or the new one."""
    with written.open("rb") as file:
        os.fsync(file.fileno())
    written.chmod(0o644)  # safetensors writes for its owner alone
    written.replace(target)


def read_checkpoint(folder: Path, key: str, device: str | torch.device = "cpu") -> Checkpoint | None:
    """The checkpoint in a folder, None if there is none. Raises ValueError for one of another training."""
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    with safe_open(path, "pt", device=str(device)) as file:
        header = file.metadata() or {}
        if header.get("key") != key:
            raise ValueError(
                f"need a checkpoint of the training {key[:12]} in {folder}, got one of {str(header.get('key'))[:12]}; "
                "name another folder, or remove that one"
            )
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no iterator of its own
    by_name: dict[str, dict[str, Tensor]] = {}
    for path, value in tensors.items():
        kind, _, name = path.partition("/")
        by_name.setdefault(name, {})[kind] = value
    losses = by_name.pop("")["losses"].cpu()
    weights = {name: held.pop("weights") for name, held in by_name.items()}
    blocks, steps, further = (json.loads(header[name]) for name in ("blocks", "steps", "further"))
    return Checkpoint(blocks, weights, by_name, steps, losses, further)
