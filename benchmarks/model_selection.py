"""Risks of the shipped dense, sparse and mixture models on each class, prefix by prefix, beside their Bayes predictors.

    python benchmarks/model_selection.py                        # prints the numbers
    python benchmarks/model_selection.py --output evidence/model_selection.json --pictures docs/pictures
    python benchmarks/model_selection.py --from evidence/model_selection.json --pictures docs/pictures

Three parts: the shipped models with d = 5 (every one on the same fresh prompts of each class); the Bayes predictors
alone at the sizes of [yadlowsky2023pretraining], d = 20 and two nonzero coefficients; the sweep of the mixture's
weight. Risks are on labels; those of a Bayes predictor are its mean variance plus that of the noise (at d = 20 its mean
squared error).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from iclcheck.numerics.decoders.evaluations import evaluated, shipped_predictor
from iclcheck.numerics.decoders.shipped import shipped_digest, shipped_names
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw
from iclcheck.proofs_check.decoders.shipped_models import trained_law
from written_files import add_numbers_and_pictures, asked_for

CLASSES = ("dense", "sparse")
MIXTURES = {0.1: "mixture-10", 0.5: "mixture", 0.9: "mixture-90"}
WEIGHTS = (0.01, 0.1, 0.5, 0.9, 0.99)
COLOURS = {"dense": "#1f6f8b", "sparse": "#a3284f", "mixture": "#e08a1e"}
MARKS = {"oracle": "", "model": "o"}
LARGE, NOISES = 41, (0.1, 1e-6)


def law_of(name: str) -> PromptLaw:
    """The law that a shipped model was trained on."""
    return PromptLaw.from_plain(trained_law(name))


def mixture_law(weight: float) -> PromptLaw:
    return replace(law_of("mixture"), weights=(weight, 1 - weight))


def means(sums: dict[str, Any], count: int, add: float = 0.0) -> dict[str, list[float]]:
    """Mean and standard error per prefix."""
    mean = [one / count for one in sums["sum"]]
    error = [(max(square / count - m**2, 0.0) / count) ** 0.5 for m, square in zip(mean, sums["squares"], strict=True)]
    return {"mean": [m + add for m in mean], "error": error}


def on_class(name: str, prompts: int) -> dict[str, Any]:
    """Distances of all models and oracles to the oracle of the class, and its risk."""
    law = law_of(name)
    names = [one for one in (*CLASSES, *MIXTURES.values()) if one in shipped_names()]
    predictors = {f"model {one}": shipped_predictor(one, shipped_digest(one)) for one in names}
    other = CLASSES[1 - CLASSES.index(name)]
    oracles = {"class": law, "other class": law_of(other)}
    oracles |= {f"oracle {weight:g}": mixture_law(weight) for weight in WEIGHTS}
    found = evaluated(law, predictors, oracles, prompts, f"model selection/{name}", 16.0)
    return {
        "risk": means(found["variance"]["class"], prompts, law.noise_variance),
        **{one: means(by["class"], prompts) for one, by in found["distance"].items() if "class" in by},
    }


def at_large_size(noise: float, prompts: int) -> dict[str, Any]:
    """Squared errors of the three Bayes predictors on each class, d = 20, k = 2, without the label's noise."""
    kinds = ({"kind": "dense", "variance": 1.0}, {"kind": "sparse", "nonzeros": 2, "variance": 1.0})
    mixture = PromptLaw(20, LARGE, kinds, (0.5, 0.5), noise)
    alone = {name: replace(mixture, classes=(kinds[k],), weights=(1.0,)) for k, name in enumerate(CLASSES)}
    found = {}
    for name, law in alone.items():
        values = evaluated(law, {}, {**alone, "mixture": mixture}, prompts, f"large/{name}/{noise}", 16.0)
        found[name] = {one: means(sums, prompts) for one, sums in values["loss"].items()}
    return found


def rows_of_weights(small: dict[str, Any]) -> list[dict[str, Any]]:
    """Per weight and class, averaged over prefixes: risks of oracle and model over that of the class's oracle."""
    rows = []
    for weight in WEIGHTS:
        row: dict[str, Any] = {"weight": weight}
        for law in CLASSES:
            at = small[law]
            risk = sum(at["risk"]["mean"])
            row[f"oracle on {law}"] = 1 + sum(at[f"oracle {weight:g}"]["mean"]) / risk
            for label, model in (("model", MIXTURES.get(weight)), ("class model", law)):
                if f"model {model}" in at:
                    row[f"{label} on {law}"] = 1 + sum(at[f"model {model}"]["mean"]) / risk
        rows.append(row)
    return rows


def measured(prompts: int, large_prompts: int) -> dict[str, Any]:
    small = {name: on_class(name, prompts) for name in CLASSES}
    return {
        "prompts": prompts,
        "large prompts": large_prompts,
        "digests": {name: shipped_digest(name) for name in shipped_names() if name in (*CLASSES, *MIXTURES.values())},
        "small": small,
        "large": {f"{noise:g}": at_large_size(noise, large_prompts) for noise in NOISES},
        "weights": rows_of_weights(small),
    }


# Pictures


def draw_small(found: dict[str, Any], path: Path) -> None:
    """Risk over that of the class's oracle: models solid, Bayes predictors dashed."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for axis, law in zip(axes, CLASSES, strict=True):
        at = found["small"][law]
        risk = at["risk"]["mean"]
        other = CLASSES[1 - CLASSES.index(law)]
        curves = [(f"model {name}", name, "-", f"{name} model") for name in COLOURS]
        curves += [
            ("oracle 0.5", "mixture", "--", "mixture oracle"),
            ("other class", other, "--", f"{other} oracle"),
        ]
        for key, colour, style, label in curves:
            if key in at:
                ratio = [1 + e / r for e, r in zip(at[key]["mean"], risk, strict=True)]
                axis.plot(ratio, style, color=COLOURS[colour], marker="o" if style == "-" else "", ms=3, label=label)
        axis.axhline(1, color="0.6", lw=0.8)
        axis.set(title=f"{law} prompts", xlabel="examples before the query", yscale="log")
        axis.set_ylabel(f"risk over that of the {law} oracle")
        axis.legend(fontsize=8)
    finish(figure, path)


def draw_large(found: dict[str, Any], path: Path) -> None:
    """The Bayes predictors alone, d = 20, k = 2."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for axis, law in zip(axes, CLASSES, strict=True):
        for noise, width in zip(found["large"], (2.0, 1.0), strict=True):
            for name, style in (("mixture", "-"), ("dense", "--"), ("sparse", ":")):
                curve = found["large"][noise][law][name]["mean"]
                label = f"{name} oracle, noise {noise}"
                axis.plot(curve, style, color=COLOURS[name], lw=width, label=label)
        axis.set(
            title=f"{law} prompts, d = 20, 2 nonzeros when sparse", xlabel="examples before the query", yscale="log"
        )
        axis.set_ylabel("squared error without noise")
        axis.set_ylim(1e-6, 3e2)
        axis.legend(fontsize=7)
    finish(figure, path)


def draw_weights(found: dict[str, Any], path: Path) -> None:
    """Risks averaged over prefixes against the weight, over those of the class's oracle."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    rows = found["weights"]
    places = range(len(rows))
    for axis, law in zip(axes, CLASSES, strict=True):
        for label, style in (("oracle", "--"), ("model", "-")):
            points = [(k, row[f"{label} on {law}"]) for k, row in enumerate(rows) if f"{label} on {law}" in row]
            axis.plot(
                *zip(*points, strict=True),
                style,
                marker=MARKS[label],
                color=COLOURS["mixture"],
                label=f"mixture {label}",
            )
        if f"class model on {law}" in rows[0]:
            axis.axhline(rows[0][f"class model on {law}"], color=COLOURS[law], label=f"{law} model")
        axis.axhline(1, color="0.6", lw=0.8, label=f"{law} oracle")
        axis.set_xticks(places, [f"{row['weight']:g}" for row in rows])
        axis.set(title=f"{law} prompts", xlabel="weight of the dense class in pretraining")
        axis.set_ylabel(f"risk over that of the {law} oracle, averaged")
        axis.legend(fontsize=8)
    finish(figure, path)


def finish(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def draw(found: dict[str, Any], folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    draw_small(found, folder / "model_selection.png")
    draw_large(found, folder / "model_selection_oracles.png")
    draw_weights(found, folder / "model_selection_weights.png")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=16384, help="prompts of each class at d = 5")
    parser.add_argument("--large-prompts", type=int, default=2000, help="prompts of each class at d = 20")
    only = "draw what this file holds, measure nothing"
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help=only)
    add_numbers_and_pictures(parser)
    asked = asked_for(parser, arguments)
    found = json.loads(asked.source.read_text()) if asked.source else measured(asked.prompts, asked.large_prompts)
    if asked.output:
        asked.output.write_text(json.dumps(found, indent=1) + "\n")
    if asked.pictures:
        draw(found, asked.pictures)
    print(json.dumps(found["weights"], indent=1))


if __name__ == "__main__":
    main()
