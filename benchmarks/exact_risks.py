"""Baselines at every prefix, for dense and sparse functions: exact risks as lines, measured ones as dots.

    python benchmarks/exact_risks.py [--prompts 400] [--output docs/pictures] [--evidence evidence/exact_risks.json]
    python benchmarks/exact_risks.py --draw    draws again what the record holds

d = 20, dense w ~ N(0, I), sparse w with 2 nonzero coefficients of variance 1, labels with noise of variance 0.1. Lines
are `predict baseline-risks` and `predict ridge-risk`; dots are means over prompts of the squared error at the next
point, without its noise, in units of E |w|^2. The lasso (scikit-learn) and 3 nearest neighbours are measured only.
Bars are two standard errors: for the eye, not for a verdict; least squares near N = d has no finite variance.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch

from iclcheck.numerics.mixtures.baselines import at_every_prefix, baseline
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw
from iclcheck.numerics.training.random_streams import stream
from iclcheck.theory.prompt_risks import baseline_risks, ridge_risk

DIMENSION, NONZEROS, NOISE, LENGTH = 20, 2, 0.1, 41
CLASSES: dict[str, dict[str, Any]] = {
    "dense": {"kind": "dense", "variance": 1.0},
    "sparse": {"kind": "sparse", "nonzeros": NONZEROS, "variance": 1.0},
}
LASSO = 0.1  # its penalty: one value for all prefixes, not tuned


def squared_norm(name: str) -> float:
    return float(DIMENSION if name == "dense" else NONZEROS)


def exact(name: str) -> dict[str, list[float | None]]:
    """The derived curves in units of E |w|^2; None where infinite."""
    W = squared_norm(name)
    law = {"dimension": DIMENSION, "lengths": LENGTH - 1, "squared_norm": W, "noise_variance": NOISE}
    found = {**baseline_risks.prediction(**law), **ridge_risk.prediction(**law)}
    curves = ("zero", "averaging", "one_step", "least_squares", "ridge")
    return {curve: [None if value is None else value / W for value in found[curve]] for curve in curves}


def measured_baselines(name: str) -> dict[str, dict[str, Any]]:
    """What is measured, by the names of the curves; the penalty of ridge is the best one of the class."""
    penalty = NOISE * DIMENSION / squared_norm(name)
    return {
        "zero": {"kind": "zero"}, "averaging": {"kind": "averaging"}, "least_squares": {"kind": "least-squares"},
        "ridge": {"kind": "ridge", "penalty": penalty}, "lasso": {"kind": "lasso", "penalty": LASSO},
        "nearest neighbours": {"kind": "nearest-neighbours", "count": 3},
    }  # fmt: skip


def measured(name: str, prompts: int) -> dict[str, dict[str, list[float]]]:
    """Mean squared errors and their standard errors at every prefix, in units of E |w|^2."""
    W = squared_norm(name)
    law = PromptLaw(DIMENSION, LENGTH, (CLASSES[name],), (1.0,), NOISE)
    drawn = law.sample(prompts, stream(f"exact risks/{name}"))
    found = {}
    for curve, kind in measured_baselines(name).items():
        errors = (at_every_prefix(baseline(kind), drawn.xs, drawn.ys) - drawn.targets).square() / W
        spread = errors.std(0) / math.sqrt(prompts)
        found[curve] = {"mean": errors.mean(0).tolist(), "standard_error": spread.tolist()}
    return found


COLOURS = {
    "zero": "0.6", "averaging": "tab:brown", "one_step": "tab:olive", "least_squares": "tab:blue", "ridge": "tab:red",
    "lasso": "tab:green", "nearest neighbours": "tab:purple",
}  # fmt: skip
LABELS = {
    "one_step": "one step, best rate", "least_squares": "least squares", "ridge": "ridge, best penalty",
    "lasso": f"lasso, penalty {LASSO} (measured)", "nearest neighbours": "3 nearest neighbours (measured)",
}  # fmt: skip


def draw(record: dict[str, Any], path: Path) -> None:
    """One panel for each class."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.8), sharey=True, layout="constrained")
    for axis, name in zip(axes, CLASSES, strict=True):
        panel = record["classes"][name]
        for curve, values in panel["exact"].items():
            line = [math.nan if value is None else value for value in values]
            axis.plot(line, color=COLOURS[curve], linewidth=1.4, label=LABELS.get(curve, curve))
        for curve, dots in panel["measured"].items():
            bars = [2 * one for one in dots["standard_error"]]
            measured_only = curve not in panel["exact"]
            axis.errorbar(
                range(LENGTH), dots["mean"], bars, fmt=".", markersize=4 if measured_only else 3,
                linewidth=0.5, color=COLOURS[curve], label=LABELS[curve] if measured_only else None,
            )  # fmt: skip
        axis.axvspan(DIMENSION - 1, DIMENSION + 1, color="0.93", zorder=0)
        axis.set(title=f"{name} functions", xlabel="examples seen N", xlim=(-0.5, LENGTH - 0.5), ylim=(1e-3, 20))
        axis.set_yscale("log")
    axes[0].set_ylabel("squared error of the noiseless target / E|w|²")
    axes[0].text(DIMENSION, 12, "least squares:\ninfinite", fontsize=7, ha="center", va="center")
    figure.legend(*axes[1].get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=7)
    figure.suptitle(f"d = {DIMENSION}, noise variance {NOISE}: lines exact, dots measured", fontsize=11)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, write the record, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--output", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--evidence", type=Path, default=Path("evidence/exact_risks.json"))
    parser.add_argument("--draw", action="store_true", help="draw the record that is there")
    given = parser.parse_args()
    if given.draw:
        draw(json.loads(given.evidence.read_text()), given.output / "exact_risks.png")
        return
    torch.set_num_threads(1)
    started = time.process_time()
    classes = {name: {"exact": exact(name), "measured": measured(name, given.prompts)} for name in CLASSES}
    record = {
        "command": f"python benchmarks/exact_risks.py --prompts {given.prompts}",
        "dimension": DIMENSION, "nonzeros": NONZEROS, "noise_variance": NOISE, "lasso_penalty": LASSO,
        "prompts": given.prompts, "seconds": round(time.process_time() - started, 1), "torch": torch.__version__,
        "classes": classes,
    }  # fmt: skip
    given.evidence.write_text(json.dumps(record, indent=1) + "\n")
    draw(record, given.output / "exact_risks.png")
    print(f"{given.prompts} prompts of each class, {record['seconds']} s of CPU time")


if __name__ == "__main__":
    main()
