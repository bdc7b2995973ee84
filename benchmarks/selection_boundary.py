"""Class selection of the shipped mixture model, its sweep of nonzeros, and the oracle's sweep at the paper's size.

    python benchmarks/selection_boundary.py                  # prints the numbers
    python benchmarks/selection_boundary.py --output evidence/selection_boundary.json --pictures docs/pictures
    python benchmarks/selection_boundary.py --model mixture-10 --prompts 8000 --oracle-prompts 200

Three parts. Readings: inside bins of the log Bayes factor B, after 2, 4, 7 and 10 examples, least squares of the
model's predictions less f_s on f_d - f_s (`iclcheck show class-selection`), beside the posterior p; all bins together
give the nearest sigmoid(a B + b). Sweep: distances and readings of the model on prompts with 1, 2, .. d nonzeros beside
four oracles, the effective noise fitted on the model's own law. Paper: d = 20, k = 2, 40 examples, oracles only, at
noise variances of 1e-8 to 3: for prompts with 1 .. 20 nonzeros N(0, 1) the mean of p, the reading of the mixture's own
predictions, and the share of prompts with 0.05 < p < 0.95.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import curve_fit

from iclcheck.numerics.decoders.class_selection import line_between
from iclcheck.numerics.decoders.effective_noise import answers, sweep_of, with_nonzeros
from iclcheck.numerics.decoders.shipped import ShippedModel, shipped_model
from iclcheck.numerics.mixtures.posterior import posterior
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw, Prompts
from iclcheck.numerics.training.random_streams import stream
from iclcheck.theory.model_selection.selection_boundary import for_user
from written_files import asked_for

EXAMPLES, EDGES = (2, 4, 7, 10), (-7.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 5.0, 9.0)
PARTS = ("readings", "sweep", "paper", "orthogonal")
FEWEST = 20  # prompts in a bin that is shown
NOISES = (1e-8, 1e-4, 1e-2, 0.1, 0.3, 1.0, 3.0)
SEEN = (3, 5, 10, 20, 40)
SHADES = ("#1f6f8b", "#e08a1e", "#a3284f", "#5b7f3a", "#6b4fa0", "#888888", "#222222", "#c0a000")


def readings(shipped: ShippedModel, prompts: int) -> dict[str, Any]:
    """For each number of examples and bin: mean B, posterior and reading with weights D^2, two standard errors."""
    law = PromptLaw.from_plain(shipped.training.law)
    drawn = law.sample(prompts, stream(f"selection boundary/readings/{law.key}"))
    f = answers(lambda xs, ys: shipped.model(xs.float(), ys.float()), drawn)
    line = line_between(posterior(law, drawn.xs, drawn.ys))
    rows = []
    for n in (one for one in EXAMPLES if one < law.length):
        B, D, p = (part[:, n].numpy() for part in (line.log_bayes_factor, line.gap, line.probability))
        pulled = (f - line.second)[:, n].numpy()
        for low, high in pairwise(EDGES):
            inside = (low <= B) & (high > B)
            if inside.sum() < FEWEST:
                continue
            square = D[inside] @ D[inside]
            slope = float(D[inside] @ pulled[inside] / square)
            error = float(np.linalg.norm(D[inside] * (pulled[inside] - slope * D[inside])) / square)
            rows.append({
                "examples": n, "count": int(inside.sum()), "B": float(np.mean(B[inside])),
                "posterior": float(D[inside] ** 2 @ p[inside] / square), "reading": slope, "twice_error": 2 * error,
            })  # fmt: skip
    (a, b), _ = curve_fit(
        lambda B, a, b: 1 / (1 + np.exp(-(a * B + b))), [row["B"] for row in rows], [row["reading"] for row in rows],
        (1.0, 0.0), sigma=[row["twice_error"] for row in rows],
    )  # fmt: skip
    return {"rows": rows, "slope_of_log_odds": float(a), "shift_of_log_odds": float(b)}


def sweep(shipped: ShippedModel, prompts: int) -> dict[str, Any]:
    """Distances and readings at every number of nonzeros."""
    law = PromptLaw.from_plain(shipped.training.law)
    nonzeros = range(1, law.dimension + 1)
    key = f"selection boundary/{law.key}"
    return sweep_of(
        law, lambda xs, ys: shipped.model(xs.float(), ys.float()), nonzeros, 2000, prompts, key, 1e9, "cpu"
    )  # fmt: skip


def paper(prompts: int, noises: tuple[float, ...] = NOISES) -> list[dict[str, Any]]:
    """The oracle's posterior and reading against nonzeros, by noise and examples seen; the same inputs for all."""
    classes = ({"kind": "dense", "variance": 1.0}, {"kind": "sparse", "nonzeros": 2, "variance": 1.0})
    law, counts, rows = PromptLaw(20, 41, classes, (0.5, 0.5), 1.0), range(1, 21), []
    for noise in noises:
        at = replace(law, noise_variance=noise)
        parts = [
            with_nonzeros(at, m).sample(prompts, stream(f"selection boundary/paper/{m}")) for m in counts
        ]  # fmt: skip
        joined = Prompts(*(torch.cat(part) for part in zip(*parts, strict=True)))
        line = line_between(posterior(at, joined.xs, joined.ys))
        for n in SEEN:
            p = line.probability[:, n].view(len(counts), prompts)
            D = line.gap[:, n].view(len(counts), prompts)
            pulled = (line.mixture - line.second)[:, n].view(len(counts), prompts)
            between = ((p > 0.05) & (p < 0.95)).double().mean(-1)
            rows.append({
                "noise_variance": noise, "examples": n, "posterior": p.mean(-1).tolist(),
                "reading": ((D * pulled).sum(-1) / D.square().sum(-1).clamp(min=1e-300)).tolist(),
                "share_undecided": between.tolist(),
            })  # fmt: skip
    return rows


def orthogonal() -> list[dict[str, Any]]:
    """The boundary for orthogonal inputs with 40 examples, from the closed form."""
    rows = []
    for noise in NOISES[2:]:
        found = for_user(20, 2, 40, noise)
        rows.append({"noise_variance": noise, **{name: found[name] for name in ("boundary_lower", "boundary_upper")}})
    return rows


def picture_of_readings(found: dict[str, Any], folder: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5))
    B = np.linspace(-7, 9, 200)
    axes.plot(B, 1 / (1 + np.exp(-B)), color="black", label="Bayes, prior 1/2")
    a, b = found["slope_of_log_odds"], found["shift_of_log_odds"]
    axes.plot(B, 1 / (1 + np.exp(-(a * B + b))), color="gray", ls="--", label=f"sigmoid({a:.2f} B + {b:.2f})")
    for n, shade in zip(EXAMPLES, SHADES, strict=False):
        rows = [row for row in found["rows"] if row["examples"] == n]
        columns = {name: [row[name] for row in rows] for name in ("B", "reading", "twice_error")}
        axes.errorbar(columns["B"], columns["reading"], columns["twice_error"], color=shade, marker="o", ms=4, lw=1,
                      label=f"{n} examples")  # fmt: skip
    axes.set(
        xlabel="log Bayes factor of dense against sparse",
        ylabel="reading: 0 sparse oracle, 1 dense",
        title=f"shipped model {found['model']}",
    )
    axes.set_ylim(-0.3, 1.5)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(folder / "class_selection.png", dpi=120)
    plt.close(figure)


def picture_of_sweep(found: dict[str, Any], folder: Path) -> None:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    nonzeros = [one["nonzeros"] for one in found["sweep"]]
    labels = {"model": "model", "true": "oracle", "effective": f"oracle, noise {found['effective_noise']:.2f}"}
    shades = dict(zip(("true", "effective", "first", "second", "model"), SHADES, strict=False))
    for name, label in labels.items():
        readings = [one["readings"][name] for one in found["sweep"]]
        left.plot(nonzeros, readings, "o-", color=shades[name], label=label)
    left.set(
        xlabel="nonzero coefficients of the prompt",
        ylabel="reading: 0 sparse oracle, 1 dense",
        title=f"shipped model {found['model']}",
    )
    names = {
        "true": "oracle",
        "effective": "oracle, effective noise",
        "first": "dense oracle",
        "second": "sparse oracle",
    }
    for name, label in names.items():
        values = [one["distances"][name][0] / one["count"] / one["scale"] for one in found["sweep"]]
        right.plot(nonzeros, values, "o-", color=shades[name], label=label)
    right.set(xlabel="nonzero coefficients of the prompt", ylabel="squared distance of the model / mean square target")
    right.set_yscale("log")
    for axes in (left, right):
        axes.set_xticks(nonzeros)
        axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(folder / "selection_boundary.png", dpi=120)
    plt.close(figure)


def picture_of_paper(found: dict[str, Any], folder: Path) -> None:
    import matplotlib.pyplot as plt

    shown = (5, 10, 20, 40)
    figure, panels = plt.subplots(1, len(shown), figsize=(14, 3.8), sharey=True)
    for axes, n in zip(panels, shown, strict=True):
        for row, shade in zip([one for one in found["rows"] if one["examples"] == n], SHADES, strict=False):
            axes.plot(range(1, 21), row["posterior"], color=shade, lw=1.3, label=f"noise {row['noise_variance']:g}")
        axes.axvspan(3, 7, color="gray", alpha=0.15)
        axes.set(xlabel="nonzero coefficients", title=f"{n} examples seen")
    panels[0].set_ylabel("P(dense | examples), mean")
    panels[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(folder / "selection_boundary_paper.png", dpi=120)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="NAME", default="mixture", help="a shipped model trained on two classes")
    parser.add_argument("--prompts", metavar="N", type=int, default=3000, help="of the readings, and of each number")
    parser.add_argument("--oracle-prompts", metavar="N", type=int, default=16, help="of each number at d = 20")
    parser.add_argument("--parts", metavar="PART", nargs="+", default=list(PARTS), choices=PARTS, help=", ".join(PARTS))
    parser.add_argument("--output", metavar="FILE", type=Path, help="write the numbers there as JSON; other parts stay")
    parser.add_argument("--pictures", metavar="FOLDER", type=Path, help="write the pictures there")
    given = asked_for(parser, arguments)
    torch.set_num_threads(1)

    def measured(part: Callable[[ShippedModel, int], dict[str, Any]]) -> dict[str, Any]:
        shipped = shipped_model(given.model)
        about = {"model": given.model, "sha256": shipped.digest, "law": shipped.training.law, "prompts": given.prompts}
        return {**about, **part(shipped, given.prompts)}

    made: dict[str, Callable[[], Any]] = {
        "readings": lambda: measured(readings),
        "sweep": lambda: measured(sweep),
        "paper": lambda: {"prompts": given.oracle_prompts, "rows": paper(given.oracle_prompts)},
        "orthogonal": orthogonal,
    }
    found = json.loads(given.output.read_text()) if given.output and given.output.exists() else {}
    with torch.no_grad():
        found |= {part: made[part]() for part in given.parts}
    text = json.dumps(found, indent=1) + "\n"
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    if given.pictures:
        for part in given.parts:
            if part in PICTURES:
                PICTURES[part](found[part], given.pictures)


PICTURES: dict[str, Callable[[Any, Path], None]] = {
    "readings": picture_of_readings, "sweep": picture_of_sweep, "paper": picture_of_paper,
}  # fmt: skip


if __name__ == "__main__":
    main()
