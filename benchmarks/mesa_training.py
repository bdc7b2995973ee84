"""Trained layers beside the gradient step and the best layer; few-shot prompts: numbers of docs/mesa_training.md.

    python benchmarks/mesa_training.py [layers] [prompts] [tails] [plane]

Writes what is named, all if nothing is, to evidence/mesa_training_layers.json, and so on.
Intervals hold at a rate of 1e-6 each, for bounded draws (`proofs_check/verdicts/bounded_means.py`).
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from iclcheck.numerics.mesa.attention import ModelShape
from iclcheck.numerics.mesa.autoregressive_training import AutoregressiveTraining, loss_sums, train
from iclcheck.numerics.mesa.few_shot import few_shot_losses
from iclcheck.numerics.mesa.sequences import SequenceTask
from iclcheck.numerics.orthogonal_dynamics.bilinear_features import NAMES
from iclcheck.numerics.orthogonal_dynamics.trained_heads import trained_heads
from iclcheck.numerics.orthogonal_dynamics.trained_layer import trained_layers
from iclcheck.proofs_check.verdicts.bounded_means import compare_bounded_mean

EVIDENCE = Path(__file__).parent.parent / "evidence"
# first state, n, T, heads, runs, steps, batch size
LAYERS = [
    ("sphere", 3, 10, 1, 3, 1500, 128),
    ("sphere", 3, 10, 4, 3, 1500, 128),
    ("gaussian", 3, 10, 1, 3, 3000, 256),
    ("sphere", 5, 20, 1, 2, 1500, 128),
    ("sphere", 5, 20, 4, 2, 1500, 128),
]
REFERENCE, TEST = 20_000, 60_000
# kind, layers, heads, learning rate
PROMPTED = [("linear", 1, 1, 0.01), ("linear", 2, 1, 0.01), ("linear", 3, 1, 0.005), ("softmax", 2, 2, 0.005)]
SHOTS, TUNING_STEPS, PROMPTS = 8, 300, 40_000


def interval(pilot: list[float], main: list[float], bound: float) -> tuple[float, float]:
    """Mean and half-width."""
    found = compare_bounded_mean(pilot, main, bound)
    return found.measured, found.allowed


def shown(pair: tuple[float, float]) -> str:
    return f"{pair[0]:+.4f} +- {pair[1]:.4f}"


def measured_layers() -> list[dict[str, Any]]:
    """One row for each setting."""
    rows = []
    for initial, n, T, heads, runs, steps, batch in LAYERS:
        started = time.process_time()
        task, shape = SequenceTask(size=n, length=T, initial=initial), ModelShape(size=n, heads=heads)
        wanted = [
            AutoregressiveTraining(
                task, shape, steps=steps, batch_size=batch, learning_rate=0.01, replica=replica
            ).to_plain()
            for replica in range(runs)
        ]
        found = trained_layers(wanted, REFERENCE, TEST, "mesa training", "cpu")
        references = found["references"]
        row: dict[str, Any] = {
            "initial": initial, "n": n, "T": T, "heads": heads, "steps": steps, "batch_size": batch,
            "references": references["losses"], "rank": references["rank"],
            "one_head_minima": [loss for loss, _ in references["one_head"]],
            "added": references["added"], "dropped": references["dropped"],
            "runs": [],
        }  # fmt: skip
        for one in found["runs"]:
            gaps = {name: interval(g["pilot"], g["main"], g["bound"]) for name, g in one["gaps"].items()}
            kept = {name: x for name, x in zip(NAMES, one["coefficients"], strict=True) if abs(x) > 1e-3}
            shares = {name: x for name, x in one["identity_shares"].items() if x > 1e-3}
            row["runs"].append({"gaps": gaps, "coefficients": kept, "invariant_share": one["invariant_share"],
                                "identity_shares": shares})  # fmt: skip
        row["cpu_seconds"] = time.process_time() - started
        rows.append(row)
        show_layers(row)
    return rows


def show_layers(row: dict[str, Any]) -> None:
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in row["references"].items())
    minima = ", ".join(f"{loss:.5f}" for loss in row["one_head_minima"])
    print(
        f"{row['initial']}, n = {row['n']}, T = {row['T']}, {row['heads']} heads, {row['cpu_seconds']:.0f} s: {losses}"
    )
    print(f"   minima of one head: {minima}; rank {row['rank']}")
    for one in row["runs"]:
        print(
            "   trained - " + "; ".join(f"{name} {shown(gap)}" for name, gap in one["gaps"].items() if name != "zero")
        )
        print(f"      in the features {one['invariant_share']:.4f}, {rounded(one['identity_shares'])}")
        print(f"      coefficients {rounded(one['coefficients'])}")


def rounded(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items())


def measured_prompts() -> list[dict[str, Any]]:
    """One row for each model."""
    rows = []
    for kind, layers, heads, rate in PROMPTED:
        started = time.process_time()
        shape = ModelShape(size=3, layers=layers, kind=kind, heads=heads, scale=0.5 if kind == "softmax" else 0.2)
        task = SequenceTask(size=3, length=20, initial="sphere")
        run = AutoregressiveTraining(task, shape, steps=1500, batch_size=128, learning_rate=rate)
        found = few_shot_losses([run.to_plain()], SHOTS, TUNING_STEPS, PROMPTS, "mesa training", "cpu")["runs"][0]
        row: dict[str, Any] = {"kind": kind, "layers": layers, "heads": heads, "formats": {}}
        for name, sums in found["losses"].items():
            each = [
                interval(*([part["count"], part["sums"][k], part["sums_of_squares"][k]]
                           for part in (sums["pilot"], sums["main"])), sums["bound"])
                for k in range(SHOTS + 1)
            ]  # fmt: skip
            lengths = {which: float(np.linalg.norm(e)) for which, e in found["tuned"][name].items()}
            row["formats"][name] = {"shots": each[:-1], "mean": each[-1], "lengths": lengths, "uncut": sums["uncut"]}
        row["cpu_seconds"] = time.process_time() - started
        rows.append(row)
        show_prompts(row)
    return rows


def show_prompts(row: dict[str, Any]) -> None:
    print(f"{row['layers']} {row['kind']} layers, {row['cpu_seconds']:.0f} s")
    for name, one in row["formats"].items():
        shots = " ".join(f"{mean:.3f}" for mean, _ in one["shots"])
        lengths = ", ".join(f"|{which}| = {length:.3f}" for which, length in one["lengths"].items())
        print(f"   {name:17} mean {one['mean'][0]:.3f} +- {one['mean'][1]:.3f}   at shots 1 .. 8: {shots}   {lengths}")


def measured_tails() -> list[dict[str, Any]]:
    """Deep linear attention under Gaussian first states: what batches showed last, and the mean over more sequences."""
    rows = []
    for layers in (1, 2, 3):
        shape = ModelShape(size=3, layers=layers)
        run = AutoregressiveTraining(SequenceTask(size=3, length=10), shape, 1000, 128, 0.003)
        model, end = train(run)
        sums = loss_sums(model, run.task, TEST, "tails")
        row = {"layers": layers, "last_100_batches_median": float(np.median(end.losses[-100:]))}
        row["mean_over_fresh_sequences"] = sums["sum"] / sums["count"]
        rows.append(row)
        print(row)
    return rows


def measured_plane() -> list[dict[str, Any]]:
    """One head at n = 2, T = 6, ten runs: the loss where each ends, averaged without sampling."""
    task, shape = SequenceTask(size=2, length=6), ModelShape(size=2)
    runs = [AutoregressiveTraining(task, shape, 600, 128, 0.01, replica=replica).to_plain() for replica in range(10)]
    found = trained_heads(runs, "cpu")
    rows = [{"loss": loss, "share": share} for loss, share in zip(found["loss"], found["share"], strict=True)]
    print("; ".join(f"{row['loss']:.4f} ({row['share']:.2f} in the features)" for row in rows))
    return rows


def main() -> None:
    parts = {"layers": measured_layers, "prompts": measured_prompts, "tails": measured_tails, "plane": measured_plane}
    unknown = [name for name in sys.argv[1:] if name not in parts]
    if unknown:
        sys.exit(f"need parts out of {', '.join(parts)}, got {', '.join(unknown)}")
    for name in sys.argv[1:] or parts:
        record = {
            "command": f"python benchmarks/mesa_training.py {name}",
            "machine": f"shared 2-core {platform.machine()} machine, one thread, torch {torch.__version__}",
            "rows": parts[name](),
        }
        (EVIDENCE / f"mesa_training_{name}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
