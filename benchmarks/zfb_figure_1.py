"""The linear part of Figure 1 of Zhang, Frei and Bartlett (2024), from our own runs: docs/pictures/zfb_figure_1.png.

    python benchmarks/zfb_figure_1.py [prompts]
    python benchmarks/zfb_figure_1.py draw      the picture alone, from the numbers of an earlier run

One layer of linear attention, trained on prompts of length N in 40, 70, 100 with d = 20 and covariances diag(lambda),
lambda_k ~ Exp(1) (its least risk over all weights, claim exponential-variances), is run on prompts of length M with
covariances c diag(lambda) at c = 1, 4, 9. Curves: the exact risk divided by d. Marks: the real layer on fresh prompts,
with intervals that miss with probability at most 1 % each, whatever the tails (the second moment is exact). Black: the
limits N, M -> oo of a layer trained at scale 1 (full) and at scale c (dotted); grey: the zero predictor; the shaded
part lies above what the panels of the paper's figure show, by their tick labels.
Writes evidence/zfb_figure_1.json and the picture, which needs matplotlib.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from iclcheck.numerics.audits.exponential_variances import sampled_statistics
from iclcheck.proofs_check.verdicts.heavy_tails import compare_mean
from iclcheck.theory.audits import exponential_variances as theory

Plain = dict[str, Any]

CHECKOUT = Path(__file__).parent.parent
PICTURE, NUMBERS = CHECKOUT / "docs/pictures/zfb_figure_1.png", CHECKOUT / "evidence/zfb_figure_1.json"
DIMENSION, PROMPTS, RATE = 20, 40_000, 0.01
SCALES, TRAINED, TESTED = (1, 4, 9), (40, 70, 100), (5, 10, 20, 40, 70, 100)
TOPS = {1: 1.2, 4: 5.0, 9: 10.0}  # the next tick above those that the paper's panels show
RED, BLUE, GREEN = "#b2182b", "#2166ac", "#1b7837"


def gain(length: int) -> float:
    """Of training at scale 1."""
    return theory.at_numbers(theory.gain(), {"d": DIMENSION, "N": length, "c_0": 1.0})


def exact_risk(scale: int, trained: int, tested: float) -> float:
    """The risk divided by d."""
    numbers = {"a": gain(trained), "c": float(scale), "M": tested, "d": float(DIMENSION)}
    return theory.at_numbers(theory.risk(), numbers)


def sampled_risk(scale: int, trained: int, tested: int, prompts: int) -> Plain:
    """The real layer's risk divided by d on fresh prompts, and the half width of its interval."""
    case = {"dimension": DIMENSION, "length": tested, "scale": float(scale), "gain": gain(trained)}
    found = sampled_statistics([case], prompts, f"figure/{scale}/{trained}/{tested}", "cpu")
    predicted = exact_risk(scale, trained, float(tested))
    second = theory.at_numbers(
        theory.second_moments()[1], {"a": gain(trained), "c": scale, "M": tested, "d": DIMENSION}
    )
    # E (Z - p)^2 <= E Z^2 + p^2, since no risk is negative
    result = compare_mean(
        prompts, found["sum"][0][1], found["sum_of_squares"][0][1], second / DIMENSION**2 + predicted**2,
        predicted=predicted, false_alarm=RATE,
    )  # fmt: skip
    return {
        "scale": scale, "trained": trained, "tested": tested, "exact": predicted, "measured": result.measured,
        "half_width": result.allowed,
    }  # fmt: skip


def measure(prompts: int) -> Plain:
    """All marks of the picture, and the limits."""
    points = []
    for scale in SCALES:
        for trained in TRAINED:
            points += [sampled_risk(scale, trained, tested, prompts) for tested in TESTED]
            print(f"scale {scale}, trained at N = {trained}", file=sys.stderr)
    limits = {
        str(c): {"trained at 1": float(theory.limit_at(c)), "trained at c": float(theory.limit_at(c, c))}
        for c in SCALES
    }
    return {
        "dimension": DIMENSION, "prompts": prompts, "rate": RATE, "points": points, "limits": limits,
        "python": platform.python_version(), "torch": torch.__version__,
    }  # fmt: skip


def draw(found: Plain) -> None:
    """Three panels, one for each scale."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(SCALES), figsize=(13, 4.8))
    for axes, scale in zip(panels, SCALES, strict=True):
        draw_panel(axes, scale, found)
    panels[0].set_ylabel("risk / d")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=9, loc="lower center", ncol=4)
    figure.suptitle("One linear layer trained under random Exp(1) variances (scale 1), d = 20", fontsize=11)
    figure.tight_layout(rect=(0, 0.13, 1, 1))
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=150)


def draw_panel(axes: Any, scale: int, found: Plain) -> None:
    """Exact curves, measured marks, limits."""
    lengths = np.geomspace(4, 110, 80)
    for trained, colour in zip(TRAINED, (RED, BLUE, GREEN), strict=True):
        axes.plot(
            lengths,
            [exact_risk(scale, trained, m) for m in lengths],
            color=colour,
            label=f"trained at N = {trained}, exact",
        )
        rows = [one for one in found["points"] if (one["scale"], one["trained"]) == (scale, trained)]
        shift = {40: 0.97, 70: 1.0, 100: 1.03}[trained]  # so that intervals do not cover each other
        axes.errorbar(
            [shift * one["tested"] for one in rows], [one["measured"] for one in rows],
            yerr=[one["half_width"] for one in rows], fmt="o", ms=3, capsize=2, color=colour,
        )  # fmt: skip
    limits = found["limits"][str(scale)]
    axes.axhline(limits["trained at 1"], color="black", ls="-", lw=1, label="limit, trained at 1")
    axes.axhline(limits["trained at c"], color="black", ls=":", lw=1.4, label="limit, trained at c: c/3")
    axes.axhline(scale, color="grey", ls="--", lw=1, label="zero predictor: c")
    axes.set(xscale="log", yscale="log", xlabel="test length M", title=f"scale c = {scale}")
    axes.set_xticks(TESTED, [str(m) for m in TESTED])
    axes.minorticks_off()
    bottom, top = axes.get_ylim()
    axes.axhspan(
        TOPS[scale], max(top, TOPS[scale]), color="black", alpha=0.06, lw=0, label="not shown in the paper's panel"
    )
    axes.set_ylim(bottom, max(top, 1.15 * TOPS[scale]))


def main(arguments: list[str]) -> None:
    if arguments == ["draw"]:
        draw(json.loads(NUMBERS.read_text()))
        return
    found = measure(int(arguments[0]) if arguments else PROMPTS)
    NUMBERS.write_text(json.dumps(found, indent=1) + "\n")
    draw(found)
    outside = [one for one in found["points"] if abs(one["measured"] - one["exact"]) > one["half_width"]]
    print(f"{len(found['points'])} marks, {len(outside)} of them off the exact curve by more than their half width")


if __name__ == "__main__":
    main(sys.argv[1:])
