"""Prompts from outside of the pretraining mixture: trained decoders beside the Bayes predictors, curve by curve.

    python benchmarks/out_of_distribution.py
    python benchmarks/out_of_distribution.py --output evidence/out_of_distribution.json --pictures docs/pictures

Prints the numbers; writes files only if asked. Only the pictures need matplotlib. Five parts: the two classes at the
paper's size (Bayes predictors alone), the two classes at d = 5 with the shipped decoders, convex combinations, scales
of the inputs, and frequencies. A part whose decoder is not shipped is left out, and named.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from iclcheck.numerics.decoders.out_of_distribution import groups_of_settings
from iclcheck.numerics.decoders.shipped import shipped_digest, shipped_names
from iclcheck.numerics.mixtures.posterior import posterior
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw
from iclcheck.numerics.training.random_streams import stream
from iclcheck.proofs_check.decoders.shipped_models import trained_law
from iclcheck.theory.prompt_risks import cross_class
from written_files import add_numbers_and_pictures, asked_for

PAPER = {"dimension": 20, "length": 41, "noise_variance": 0.01}
PAPER_CLASSES = {
    "dense": {"kind": "dense", "variance": 1.0},
    "sparse": {"kind": "sparse", "nonzeros": 2, "variance": 1.0},
}
PROMPTS, WAVES = 2048, 384  # of five coordinates, and of sinusoids
PAPER_PROMPTS = 600
SHARES = (0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)
SCALES = (0.1, 0.3, 1.0, 2.0, 4.0, 9.0, 25.0)
FREQUENCIES = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 4.5, 5.0, 6.0, 8.0)
LATE = 8  # of 16 points: means over the positions after at least so many examples


def one_class(law: Mapping[str, Any], kind: Mapping[str, Any]) -> dict[str, Any]:
    return {**law, "classes": [dict(kind)], "weights": [1.0]}


# Bayes predictors alone


def paper_curves() -> dict[str, Any]:
    """Risks by position at d = 20, k = 2: each class's predictor and the mixture's on prompts of either class."""
    laws = {name: PromptLaw.from_plain(one_class(PAPER, kind)) for name, kind in PAPER_CLASSES.items()}
    both = PromptLaw.from_plain({**PAPER, "classes": list(PAPER_CLASSES.values()), "weights": [0.5, 0.5]})
    found: dict[str, Any] = {}
    for name, law in laws.items():
        chunks = [law.sample(50, stream(f"out of distribution/paper/{name}/{k}")) for k in range(PAPER_PROMPTS // 50)]
        for expected, oracle in {**laws, "mixture": both}.items():
            errors = [(posterior(oracle, one.xs, one.ys).prediction - one.targets).square() for one in chunks]
            found[f"{expected} oracle on {name} prompts"] = torch.cat(errors).mean(0).tolist()
        found[f"derived: dense oracle on {name} prompts"] = derived_curve(law, torch.cat([one.xs for one in chunks]))
    return found


def derived_curve(law: PromptLaw, xs: torch.Tensor) -> list[float]:
    """The derived risk after n examples, in the mean over the inputs that were drawn, n = 0 .. N - 1."""
    (kind,) = law.classes
    square = kind.get("nonzeros", law.dimension) * kind["variance"]
    curve = [float(square)]
    for n in range(1, law.length):
        letters = [cross_class.letters_at(x[:n], 1.0, law.noise_variance, square, 1.0) for x in xs.numpy()]
        curve.append(float(np.mean([cross_class.formula().value(one) for one in letters])))
    return curve


# Decoders


def measured(name: str, settings: Mapping[str, Mapping[str, Any]], prompts: int) -> dict[str, Any]:
    """Mean squared distances by position, (N, P, P) under the names of what answers, for each setting."""
    model = {"shipped": name, "sha256": shipped_digest(name)}
    plain = [{**one, "first": 0, "size": prompts // 8} for one in settings.values()]
    found = groups_of_settings(model, plain, 8, f"out of distribution/benchmark/{name}", "cpu")
    return {
        key: {"names": one["names"], "by_position": np.array(one["by_position"])}
        for key, one in zip(settings, found["settings"], strict=True)
    }


def curves(found: Mapping[str, Any]) -> dict[str, list[float]]:
    """Risks by position."""
    return {name: found["by_position"][:, k, -1].tolist() for k, name in enumerate(found["names"][:-1])}


def late(found: Mapping[str, Any], first: int) -> dict[str, float]:
    """Mean risks from a position on, and the distances between decoder, own and right."""
    names, means = found["names"], found["by_position"][first:].mean(0)
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    return {f"{names[i]} - {names[j]}": float(means[i, j]) for i, j in pairs}


def class_curves() -> dict[str, Any]:
    """Shipped decoders at d = 5 on prompts of both classes."""
    found: dict[str, Any] = {}
    if not {"dense", "sparse"} <= set(shipped_names()):
        return found
    kinds = {label: trained_law(label)["classes"][0] for label in ("dense", "sparse")}
    for name in ("dense", "sparse", "mixture"):
        if name not in shipped_names():
            continue
        own = trained_law(name)
        settings = {
            label: {"prompts": one_class(own, kind), "oracles": {"own": own, "right": one_class(own, kind)}}
            for label, kind in kinds.items()
        }
        for label, one in measured(name, settings, PROMPTS).items():
            found[f"{name} decoder on {label} prompts"] = {"risk": curves(one), "late": late(one, 1)}
    return found


def scale_rows() -> list[dict[str, Any]]:
    """Risks after at least five examples over c, the expected square of a target being about c."""
    rows = []
    for name in ("dense", "sparse", "mixture"):
        if name not in shipped_names():
            continue
        own = trained_law(name)
        settings = {str(c): {"prompts": {**own, "input_scale": c}, "oracles": {"own": own}} for c in SCALES}
        for c, one in measured(name, settings, PROMPTS // 2).items():
            rows.append({"decoder": name, "scale": float(c), **late(one, 5)})
    return rows


def combination_rows() -> list[dict[str, Any]]:
    """c line + (1 - c) sinusoid: decoder, its own Bayes predictor, and the one that expects the combination."""
    own = trained_law("linear-sinusoid")
    line, wave = own["classes"]
    settings = {}
    for share in SHARES:
        law = one_class(own, {"kind": "combination", "share": share, "first": line, "second": wave})
        settings[str(share)] = {"prompts": law, "oracles": {"own": own, "right": law}}
    found = measured("linear-sinusoid", settings, WAVES)
    return [{"share": float(c), "risk": curves(one), "late": late(one, LATE)} for c, one in found.items()]


def frequency_rows() -> list[dict[str, Any]]:
    """Sinusoids of one frequency: decoder, its own Bayes predictor, and the one that knows the frequency."""
    own = trained_law("linear-sinusoid")
    wave = own["classes"][1]
    settings = {}
    for omega in FREQUENCIES:
        law = one_class(own, {**wave, "lowest": omega, "highest": omega})
        settings[str(omega)] = {"prompts": law, "oracles": {"own": own, "right": law}}
    found = measured("linear-sinusoid", settings, WAVES)
    return [{"frequency": float(omega), "late": late(one, LATE)} for omega, one in found.items()]


# Pictures


def axes_of(plt: Any, count: int, titles: tuple[str, ...]) -> tuple[Any, Any]:
    figure, axes = plt.subplots(1, count, figsize=(4.8 * count, 4.0))
    for axis, title in zip(np.atleast_1d(axes), titles, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_yscale("log")
        axis.grid(alpha=0.3)
        axis.set_ylabel("risk (noiseless target)")
    return figure, np.atleast_1d(axes)


def saved(figure: Any, axes: Any, path: Path) -> None:
    for axis in axes:
        axis.legend(frameon=False, fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def draw_paper(plt: Any, found: Mapping[str, Any], path: Path) -> None:
    figure, axes = axes_of(plt, 2, ("dense prompts, d = 20", "sparse prompts, 2 of 20"))
    for axis, name in zip(axes, PAPER_CLASSES, strict=True):
        for expected, style in (("dense", "C0-"), ("sparse", "C1-"), ("mixture", "k--")):
            axis.plot(found[f"{expected} oracle on {name} prompts"], style, label=f"{expected} oracle")
        axis.plot(found[f"derived: dense oracle on {name} prompts"], "C0.", markersize=4, label="dense oracle, derived")
        axis.set_xlabel("examples before the query")
    saved(figure, axes, path)


def draw_classes(plt: Any, found: Mapping[str, Any], path: Path) -> None:
    figure, axes = axes_of(plt, 2, ("dense prompts, d = 5", "sparse prompts, 1 of 5"))
    for axis, label in zip(axes, ("dense", "sparse"), strict=True):
        for name, colour in (("dense", "C0"), ("sparse", "C1"), ("mixture", "k")):
            key = f"{name} decoder on {label} prompts"
            if key in found:
                axis.plot(found[key]["risk"]["own"], colour + "-", linewidth=1, label=f"{name} oracle")
                axis.plot(found[key]["risk"]["decoder"], colour + "o", markersize=4, label=f"{name} decoder")
        axis.set_xlabel("examples before the query")
    saved(figure, axes, path)


def draw_combinations(plt: Any, rows: list[dict[str, Any]], path: Path) -> None:
    figure, axes = axes_of(plt, 2, (f"after at least {LATE} examples", "half line, half sinusoid"))
    shares, (half,) = [row["share"] for row in rows], [row for row in rows if row["share"] == 0.5]
    for name, style, label in (
        ("decoder", "C3o", "decoder"), ("own", "C3-", "its own oracle (line or sinusoid)"),
        ("right", "k--", "oracle that expects the combination"),
    ):  # fmt: skip
        axes[0].plot(shares, [row["late"][f"{name} - target"] for row in rows], style, markersize=4, label=label)
        axes[1].plot(half["risk"][name], style, markersize=4, label=label)
    axes[0].set_xlabel("share of the line")
    axes[1].set_xlabel("examples before the query")
    saved(figure, axes, path)


def draw_extremes(plt: Any, scales: list[dict[str, Any]], frequencies: list[dict[str, Any]], path: Path) -> None:
    figure, axes = axes_of(plt, 2, ("scale of the inputs, after at least 5 examples", "frequency of a sinusoid"))
    for name, colour in (("dense", "C0"), ("sparse", "C1"), ("mixture", "k")):
        rows = [row for row in scales if row["decoder"] == name]
        axes[0].plot(
            [row["scale"] for row in rows], [row["own - target"] for row in rows], colour + "-", label=f"{name} oracle"
        )
        axes[0].plot(
            [row["scale"] for row in rows],
            [row["decoder - target"] for row in rows],
            colour + "o",
            markersize=4,
            label=f"{name} decoder",
        )
    axes[0].set_xscale("log")
    axes[0].set_xlabel("c, the variance of an input's coordinate (trained at 1)")
    for one, style, label in (
        ("decoder", "C3o", "decoder"), ("own", "C3-", "its own oracle"), ("right", "k--", "oracle that knows it"),
    ):  # fmt: skip
        axes[1].plot(
            [row["frequency"] for row in frequencies],
            [row["late"][f"{one} - target"] for row in frequencies],
            style,
            markersize=4,
            label=label,
        )
    axes[1].axvspan(1, 4, color="gray", alpha=0.12)
    axes[1].set_xlabel("frequency (trained on 1 to 4)")
    saved(figure, axes, path)


def draw(result: Mapping[str, Any], folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    draw_paper(plt, result["paper"], folder / "out_of_distribution_paper.png")
    draw_classes(plt, result["classes"], folder / "out_of_distribution_classes.png")
    draw_extremes(plt, result["scales"], result["frequencies"], folder / "out_of_distribution_extremes.png")
    if result["combinations"]:
        draw_combinations(plt, result["combinations"], folder / "out_of_distribution_combinations.png")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_numbers_and_pictures(parser)
    asked = asked_for(parser, arguments)
    torch.set_num_threads(1)
    started, waves = time.process_time(), "linear-sinusoid" in shipped_names()
    result = {
        "command": "python benchmarks/out_of_distribution.py",
        "machine": f"shared 2-core {platform.machine()} machine, Python {platform.python_version()}",
        "torch": torch.__version__,
        "files": {name: shipped_digest(name) for name in ("dense", "sparse", "mixture", "linear-sinusoid")
                  if name in shipped_names()},
        "paper": paper_curves(), "classes": class_curves(), "scales": scale_rows(),
        "combinations": combination_rows() if waves else [], "frequencies": frequency_rows() if waves else [],
    }  # fmt: skip
    result["cpu_seconds"] = round(time.process_time() - started)
    text = json.dumps(rounded(result), indent=1)
    print(text)
    if asked.output:
        asked.output.write_text(text + "\n")
    if asked.pictures:
        draw(result, asked.pictures)


def rounded(value: Any) -> Any:
    """Numbers to four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
