"""Trained scan and snap: attention over time beside the joint flow, the error budget, entropies, and embeddings.

    PYTHONPATH=src python benchmarks/scan_training.py PART [--output evidence/scan_training_PART.json] [--pictures DIR]

    attention    Syn-Small at eta_Y = eta_Z = 0.1, T = 32, 128, 512 and infinity, beside the joint flow
    budget       how far training is from the joint flow: step and momentum, batches, finite T, each apart
    rates        entropy of attention against eta_Y/eta_Z, Syn-Small and a task after Syn-Medium
    figure-4     Fig. 4 of Scan and Snap: c_n at the end at eta_Y = 1 and 10
    force        the derived force on attention at the start, against T and M
    embeddings   the layer with U, W_Q, W_K and W_V, and three of them: attention to distinct and common tokens

Momentum 0.9, batches of 128, Y = Z = 0. Intervals are the least and the largest of the seeds: with 10 seeds they hold
the median of such trainings but for 2 * 2^-10 = 0.2 %. Pictures need matplotlib; `--from FILE` draws recorded numbers.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from iclcheck.numerics.scan_and_snap.flows import joint_flow
from iclcheck.numerics.scan_and_snap.layer import attention_weights, entropies
from iclcheck.numerics.scan_and_snap.sequence_classes import SequenceClasses, syn_medium, syn_small
from iclcheck.numerics.scan_training.embedding_model import trained_embeddings
from iclcheck.numerics.scan_training.sampled_training import SampledTraining, train
from iclcheck.theory.scan_training.finite_sequences import force_of_means, limit_of_means
from iclcheck.theory.scan_training.means_over_counts import means_of_classes

MOMENTUM, SEEDS = 0.9, 10
LENGTHS = (32, 128, 512, None)
STEPS = (1, 2, 3, 5, 8, 12, 18, 25, 35, 50, 70, 100, 140, 200, 280, 400)
RATIOS = (0.1, 0.3, 1.0, 3.0, 10.0)
GROUPS = {"common": range(10), "rare distinct": range(10, 15), "frequent distinct": range(15, 20)}  # of class 0


def attention(task: SequenceClasses, Z: Any) -> torch.Tensor:
    """c_n, (..., K, M), at Z (..., Q, M)."""
    return attention_weights(torch.tensor(task.contexts), torch.as_tensor(Z)[..., task.rows, :])


def runs(task: SequenceClasses, eta_Y: float, eta_Z: float, recorded: Sequence[int], **more: Any) -> torch.Tensor:
    """Z of all seeds at the recorded steps, (records, seeds, Q, M)."""
    seeds = more.pop("seeds", SEEDS)
    trainings = [
        SampledTraining(task, eta_Y, eta_Z, tuple(recorded), momentum=MOMENTUM, replica=seed, **more)
        for seed in range(seeds)
    ]
    return train(trainings)[0]


def flow(task: SequenceClasses, eta_Y: float, eta_Z: float, recorded: Sequence[int]) -> Any:
    """Z of the joint flow at the times of the steps, (records, Q, M)."""
    times = [step / (1 - MOMENTUM) for step in recorded]
    return joint_flow([task], eta_Y, eta_Z, times, tolerance=1e-8)["Z"][:, 0]


def three(values: torch.Tensor) -> list[list[float]]:
    """Least, median and largest over the seeds (axis 1), record by record."""
    ordered = values.sort(dim=1).values
    return [[float(row[0]), float(row.median()), float(row[-1])] for row in ordered]


def part_attention() -> dict[str, Any]:
    task, rate = syn_small(), 0.1
    found: dict[str, Any] = {"steps": list(STEPS), "rate": rate, "runs": {}}
    for length in LENGTHS:
        c = attention(task, runs(task, rate, rate, STEPS, length=length))
        shares = {name: three(c[:, :, 0, list(tokens)].sum(-1)) for name, tokens in GROUPS.items()}
        found["runs"][str(length)] = {**shares, "entropy": three(entropies(c).mean(-1))}
        print(f"T = {length}: entropy {found['runs'][str(length)]['entropy'][-1]}", flush=True)
    c = attention(task, flow(task, rate, rate, STEPS))
    found["flow"] = {name: c[:, 0, list(tokens)].sum(-1).tolist() for name, tokens in GROUPS.items()}
    found["flow"]["entropy"] = entropies(c).mean(-1).tolist()
    steps = task.classes * math.log(task.vocabulary) / rate * (1 - MOMENTUM)
    return {**found, "crossing": steps, "t_0": 2 * steps}


def apart(first: Any, second: Any) -> float:
    """|first - second| / |second|, the mean over seeds."""
    a, b = (np.asarray(one).reshape(-1, np.asarray(one).shape[-1]) for one in (first, second))
    return float(np.mean(np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1)))


def part_budget() -> dict[str, Any]:
    """At eta_Y t = K ln M and 3 K ln M, for three step sizes."""
    task, rows = syn_small(), []
    unit = task.classes * math.log(task.vocabulary)
    for steps in (12, 120, 1200):
        rate = 3 * unit * (1 - MOMENTUM) / steps
        recorded = (steps // 3, steps)
        expected = flow(task, rate, rate, recorded)
        mean = runs(task, rate, rate, recorded, length=None, batch_size=None, seeds=1)
        long = runs(task, rate, rate, recorded, length=None)
        for place, step in enumerate(recorded):
            row = {"rate": rate, "steps": step, "time": 3 * unit * step / steps / unit}
            row["step and momentum"] = apart(mean[place], expected[place])
            row["batches"] = apart(long[place], mean[place].expand_as(long[place]))
            rows.append(row)
        for length in (32, 128, 512) if steps < 1000 else ():
            finite = runs(task, rate, rate, recorded, length=length)
            for place in (0, 1):
                rows[place - 2][f"T = {length}"] = apart(finite[place], long[place])
        for row in rows[-2:]:
            print("  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
    return {"rows": rows}


def part_rates() -> dict[str, Any]:
    tasks = {"Syn-Small": syn_small(), "after Syn-Medium": syn_medium(3, 200, 20, 20, "benchmark")}
    found: dict[str, Any] = {"ratios": list(RATIOS), "steps": 300}
    for name, task in tasks.items():
        rows = []
        for eta_Y in RATIOS:
            entropy = entropies(attention(task, runs(task, eta_Y, 1.0, (300,), length=128))).mean(-1)
            of_flow = float(entropies(attention(task, flow(task, eta_Y, 1.0, (300,)))).mean())
            start = float(entropies(torch.tensor(task.contexts)).mean())
            rows.append({"trained": three(entropy)[0], "flow": of_flow, "start": start})
            print(name, eta_Y, rows[-1], flush=True)
        found[name] = rows
    return found


def part_figure_4() -> dict[str, Any]:
    """c_n after 400 steps at eta_Z = 1, the mean of the seeds, beside the joint flow; entropies on the way."""
    task, steps = syn_small(), (10, 25, 50, 100, 200, 400)
    found: dict[str, Any] = {"steps": list(steps), "start": task.contexts.tolist()}
    for eta_Y in (1.0, 10.0):
        trained = attention(task, runs(task, eta_Y, 1.0, steps, length=128))
        of_flow = attention(task, flow(task, eta_Y, 1.0, steps))
        found[f"eta_Y = {eta_Y:g}"] = {
            "trained": trained[-1].mean(0).tolist(),
            "flow": of_flow[-1].tolist(),
            "entropy": three(entropies(trained).mean(-1)),
            "entropy of the flow": entropies(of_flow).mean(-1).tolist(),
        }
        for place, step in enumerate(steps):
            own, other = (found[f"eta_Y = {eta_Y:g}"][name][place] for name in ("entropy", "entropy of the flow"))
            print(f"eta_Y = {eta_Y:g}, step {step}: entropy {own[1]:.4f}, of the flow {other:.4f}", flush=True)
    return found


def part_embeddings() -> dict[str, Any]:
    """Attention of the last position on fresh sequences, relative to frequency: distinct and common tokens."""
    task, rows = syn_small(), []
    settings = [(1, "sgd", 0.5), (1, "adam", 0.01), (3, "sgd", 0.5), (3, "adam", 0.01)]
    for layers, optimiser, rate in settings:
        shares = []
        for seed in range(5):
            plain = {"classes": task.plain(), "size": 32, "layers": layers, "length": 64, "steps": 200,
                     "learning_rate": rate, "optimiser": optimiser, "replica": seed}  # fmt: skip
            measured = trained_embeddings([plain], "cpu")
            c = np.array(measured["attention"][0])
            distinct = (c[:, 0, 10:20].sum(-1) + c[:, 1, 20:].sum(-1)) / 2
            shares.append([*distinct.tolist(), measured["losses"][0][-1]])
        spread = np.array(shares)
        rows.append({
            "layers": layers, "optimiser": optimiser, "rate": rate,
            "distinct share by layer": [[float(x.min()), float(np.median(x)), float(x.max())] for x in spread.T[:-1]],
            "last loss": float(np.median(spread[:, -1])),
        })  # fmt: skip
        print(rows[-1], flush=True)
    return {"rows": rows, "share at the start": 0.5}


def part_force() -> dict[str, Any]:
    """The first force on the most frequent and the rarest distinct token of Syn-Small, in a vocabulary of M tokens."""
    rows = []
    for M in (30, 300, 3000):
        small = syn_small()
        contexts = np.zeros((2, M))
        contexts[:, :30] = small.contexts
        limit = force_of_means(*limit_of_means(contexts), [0, 0], small.probabilities)[0]
        for length in (32, 128, 512, 2048):
            means = means_of_classes(contexts, length - 1)
            force = force_of_means(*means, [0, 0], small.probabilities)[0]
            row = {"M": M, "T": length, "frequent": force[19], "rare": force[10], "common": force[0]}
            rows.append({**row, "frequent at T = infinity": limit[19], "rare at T = infinity": limit[10]})
            print("  ".join(f"{name} {value:.4g}" for name, value in rows[-1].items()), flush=True)
    return {"rows": [{name: float(value) for name, value in row.items()} for row in rows]}


# Pictures


def drawing() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def picture_attention(found: dict[str, Any], folder: Path) -> None:
    plt = drawing()
    figure, axes = plt.subplots(1, 4, figsize=(15, 3.8), constrained_layout=True)
    colours = dict(zip(found["runs"], ("#b2182b", "#ef8a62", "#67a9cf", "#2166ac"), strict=True))
    names = {"32": "T = 32", "128": "T = 128", "512": "T = 512", "None": "T = infinity"}
    for axis, name in zip(axes, (*GROUPS, "entropy"), strict=True):
        for length, values in found["runs"].items():
            low, middle, high = np.array(values[name]).T
            axis.plot(found["steps"], middle, color=colours[length], label=names[length])
            axis.fill_between(found["steps"], low, high, color=colours[length], alpha=0.2, lw=0)
        axis.plot(found["steps"], found["flow"][name], "k--", lw=1.2, label="joint flow")
        axis.axvspan(found["steps"][0], found["crossing"], color="0.93")
        axis.axvline(found["t_0"], color="0.5", ls=":")
        axis.set_xscale("log")
        axis.set_xlabel("step (momentum 0.9)")
        axis.set_title(f"share of the {name} tokens" if name in GROUPS else "entropy of attention, nats", fontsize=10)
    axes[1].legend(fontsize=8)
    axes[0].text(1.1, axes[0].get_ylim()[0], "scan", fontsize=8, va="bottom")
    axes[0].text(found["t_0"] * 1.1, axes[0].get_ylim()[1], " t_0, then snap", fontsize=8, va="top")
    figure.savefig(folder / "scan_training_attention.png", dpi=110)


def picture_rates(found: dict[str, Any], folder: Path) -> None:
    plt = drawing()
    names = [name for name in found if name not in ("ratios", "steps")]
    figure, axes = plt.subplots(1, len(names), figsize=(9, 3.6), constrained_layout=True)
    for axis, name in zip(axes, names, strict=True):
        low, middle, high = np.array([row["trained"] for row in found[name]]).T
        axis.errorbar(found["ratios"], middle, [middle - low, high - middle], fmt="o-", capsize=3, label="T = 128")
        axis.plot(found["ratios"], [row["flow"] for row in found[name]], "k--", label="joint flow")
        axis.axhline(found[name][0]["start"], color="0.6", ls=":", label="start")
        axis.set_xscale("log")
        axis.set_xlabel("eta_Y/eta_Z at eta_Z = 1")
        axis.set_title(f"{name}: entropy after {found['steps']} steps, nats", fontsize=10)
    axes[0].legend(fontsize=8)
    figure.savefig(folder / "scan_training_rates.png", dpi=110)


def picture_figure_4(found: dict[str, Any], folder: Path) -> None:
    plt = drawing()
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), sharey=True, constrained_layout=True)
    tokens = np.arange(len(found["start"][0]))
    for axis, name in zip(axes, ("eta_Y = 1", "eta_Y = 10"), strict=True):
        for n, colour in ((0, "#2166ac"), (1, "#b2182b")):
            axis.bar(
                tokens + 0.2 * (2 * n - 1), found[name]["trained"][n], 0.4, color=colour, label=f"class {n}, T = 128"
            )
            axis.plot(
                tokens + 0.2 * (2 * n - 1),
                found[name]["flow"][n],
                "_",
                color=colour,
                ms=9,
                label=f"class {n}, joint flow",
            )
            axis.plot(tokens, found["start"][n], "k.", ms=3, label="start" if n else None)
        axis.set_title(f"attention after 400 steps, {name}, eta_Z = 1", fontsize=10)
        axis.set_xlabel("token")
    axes[0].legend(fontsize=8)
    figure.savefig(folder / "scan_training_figure_4.png", dpi=110)


PARTS = {
    "attention": part_attention, "budget": part_budget, "rates": part_rates, "figure-4": part_figure_4,
    "embeddings": part_embeddings, "force": part_force,
}  # fmt: skip
PICTURES = {"attention": picture_attention, "rates": picture_rates, "figure-4": picture_figure_4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--output", type=Path, help="write the numbers to this JSON file")
    parser.add_argument("--from", type=Path, dest="recorded", help="numbers recorded before, instead of a run")
    parser.add_argument("--pictures", type=Path, help="draw into this folder")
    options = parser.parse_args()
    found = json.loads(options.recorded.read_text()) if options.recorded else PARTS[options.part]()
    if options.output:
        options.output.write_text(json.dumps(found, indent=1) + "\n")
    if options.pictures and options.part in PICTURES:
        PICTURES[options.part](found, options.pictures)


if __name__ == "__main__":
    main()
