"""Attention on text over training: one layer of (Y, Z), and the model with embeddings with one and three layers.

    python benchmarks/scan_on_text.py                  # made-up text; prints the numbers
    python benchmarks/scan_on_text.py --text FILE      # a UTF-8 file in WikiText's format; "datasets" for WikiText-2
    python benchmarks/scan_on_text.py --output evidence/scan_on_text.json --pictures docs/pictures

Plain SGD, windows of 24 words, the most frequent words up to --vocabulary. The (Y, Z) model predicts the word after a
window, from zero, eta_Y = eta_Z; the model with embeddings (d = 64, weights N(0, 1/4d)) every word of it, and all its
weights are trained. Every seed has batches of its own, the same for all rates, and with embeddings a start of its own.
Entropies are relative to the largest, ln(T - 1), at the last position of windows that stay the same.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from iclcheck.numerics.scan_on_text.made_up_text import SHA256
from iclcheck.numerics.scan_on_text.text_attention import corpus, kinds_of_words, spread_windows, trained_attention
from iclcheck.numerics.scan_on_text.text_embeddings import TextTraining, trained_on
from iclcheck.theory.scan_on_text.text_attention import formula, logits_of, score, scores_of
from iclcheck.theory.scan_on_text.text_windows import windows_of
from written_files import add_numbers_and_pictures, asked_for

LENGTH, RECORDS = 24, 40
RATES = {"Y, Z": (1.0, 4.0, 16.0), "1 layer": (0.5, 1.0, 2.0), "3 layers": (0.5, 1.0, 2.0)}
KINDS = ("function words", "general words", "words of topics")
SHADES = ("#1f6f8b", "#e08a1e", "#a3284f")


def of_decoder_and_attention(text: str, vocabulary: int, seeds: int, steps: int) -> list[dict[str, Any]]:
    """One row a rate: relative entropies (seeds, records + 1), mass on kinds of words, last losses."""
    pairs = [(rate, rate) for rate in RATES["Y, Z"]]
    runs = [
        trained_attention([text], pairs, vocabulary, LENGTH, None, steps, 32, RECORDS, [f"scan on text/{k}"], "cpu")
        for k in range(seeds)
    ]
    largest = math.log(LENGTH - 1)
    return [
        {
            "model": "Y, Z", "rate": rate, "steps": runs[0]["steps"],
            "entropy": [[h / largest for h in run["entropy"][0][place]] for run in runs],
            "mass": [run["mass"][0][place] for run in runs], "loss": [run["loss"][0][place] for run in runs],
        }
        for place, rate in enumerate(RATES["Y, Z"])
    ]  # fmt: skip


def of_embeddings(
    text: str, vocabulary: int, layers: int, seeds: int, steps: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """One row a rate: entropies (seeds, records + 1, layers) and movement; and maps of the middle rate's first seed."""
    read, name = corpus(text, vocabulary), f"{layers} layer{'s' * (layers > 1)}"
    rows, maps = [], {}
    for rate in RATES[name]:
        runs = []
        for replica in range(seeds):
            run = TextTraining(layers, rate, length=LENGTH, steps=steps, replica=replica)
            runs.append(trained_on(read, run, RECORDS, shown(steps) if rate == RATES[name][1] else ()))
        if rate == RATES[name][1]:
            maps = {"words": runs[0]["words"], "maps": runs[0]["maps"]}
        rows.append({
            "model": name, "rate": rate, "steps": runs[0]["steps"], "entropy": [run["entropy"] for run in runs],
            "moved": [run["moved"] for run in runs], "loss": [run["loss"][-1] for run in runs],
        })  # fmt: skip
    return rows, maps


def at_first(text: str, vocabulary: int) -> dict[str, dict[str, float]]:
    """What counts say of the start, by kind of word: how attention changes, over t^2 eta_Y eta_Z, and who gains.

    presence: the share of the windows with the same next word that have the word too; a mean over words of windows.
    """
    read = corpus(text, vocabulary)
    windows = windows_of(spread_windows(read, LENGTH, 2000).tolist(), len(read.vocabulary))
    z = logits_of(formula().parts, windows)[windows.queries[:, None], windows.words]
    weights = windows.counts / windows.keys[:, None]
    change = weights * (z - (weights * z).sum(1, keepdims=True))
    a, f = scores_of(score(), windows), windows.shares
    force = f * a - f**2 * (f * a).sum(1, keepdims=True)
    kinds = kinds_of_words(read.vocabulary).numpy()[windows.words]
    chances, seen = windows.chances(), np.zeros((windows.vocabulary, windows.vocabulary))
    rows = np.repeat(windows.following[:, None], windows.words.shape[1], 1)
    np.add.at(seen, (rows, windows.words), windows.counts > 0)
    presence = (seen / np.maximum(chances[:, None] * len(windows), 1))[rows, windows.words]
    found = {}
    for kind, name in enumerate(KINDS):
        here = (kinds == kind) & (windows.counts > 0)
        found[name] = {
            "change": float(np.where(here, change, 0).sum() / len(windows)), "gain": float((force[here] > 0).mean()),
            "presence": float(presence[here].mean()),
        }  # fmt: skip
    return found


def shown(steps: int) -> tuple[int, ...]:
    return (0, steps // 8, steps // 4, steps)


def first_layer(row: dict[str, Any], name: str = "entropy") -> list[list[float]]:
    """Of every seed by record."""
    return [[of_layers[0] for of_layers in seed] if row["model"] != "Y, Z" else seed for seed in row[name]]


def in_words(row: dict[str, Any]) -> dict[str, Any]:
    """What the page quotes: the entropy at the end, how much of the fall is late, and the movement early and late."""
    found = first_layer(row)
    half = len(row["steps"]) // 2
    late = [(one[half] - one[-1]) / (one[0] - one[-1]) if one[0] > one[-1] else None for one in found]
    said = {"last": [one[-1] for one in found], "late_share": late}
    if "moved" in row:
        moved = first_layer(row, "moved")
        said["most_moved"] = [max(one) for one in moved]
        said["moved_at_the_end"] = [sum(one[-5:]) / 5 for one in moved]
    return {name: [rounded(x) for x in values] for name, values in said.items()}


def rounded(number: float | None) -> float | None:
    """Four digits; None, which is null in the record, for a training that left the range of floats."""
    return round(number, 4) if number is not None and math.isfinite(number) else None


def draw(rows: list[dict[str, Any]], maps: dict[str, Any], place: Path, steps: int) -> None:
    """Both pictures."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(15, 3.6), constrained_layout=True)
    titles = {
        "Y, Z": "one layer in Y and Z",
        "1 layer": "embeddings, 1 layer",
        "3 layers": "embeddings, 3 layers: first",
    }
    for axis, (model, title) in zip(axes, titles.items(), strict=False):
        for shade, row in zip(SHADES, [row for row in rows if row["model"] == model], strict=True):
            for number, seed in enumerate(first_layer(row)):
                label = f"rate {row['rate']:g}" if number == 0 else None
                axis.plot(row["steps"], seed, color=shade, lw=1.2, alpha=0.85, label=label)
        axis.set(title=title, xlabel="steps", ylabel="entropy of attention / ln(T - 1)", ylim=(0, 1.03))
        axis.legend(frameon=False, loc="lower left")
    row = next(row for row in rows if row["model"] == "Y, Z" and row["rate"] == RATES["Y, Z"][1])
    for kind, shade, name in zip(range(3), SHADES, KINDS, strict=True):
        for number, seed in enumerate(row["mass"]):
            change = [record[kind] - seed[0][kind] for record in seed]
            axes[3].plot(row["steps"], change, color=shade, lw=1.2, alpha=0.85, label=name if number == 0 else None)
    axes[3].axhline(0, color="0.6", lw=0.8)
    axes[3].set(title=f"Y and Z, rate {row['rate']:g}: who gains", xlabel="steps", ylabel="attention less its start")
    axes[3].legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.36))
    figure.savefig(place / "scan_text_entropy.png", dpi=130)
    plt.close(figure)

    words = maps["words"][:-2]
    figure, axes = plt.subplots(2, 2, figsize=(13, 13), constrained_layout=True)
    for axis, step in zip(axes.flat, shown(steps), strict=True):
        weights = [row[: len(words)] for row in maps["maps"][step][1:]]
        picture = axis.imshow(weights, cmap="magma_r", vmin=0, vmax=0.5, interpolation="nearest")
        axis.set_xticks(range(len(words)), words, rotation=90, fontsize=9)
        axis.set_yticks(range(len(words)), maps["words"][1:-1], fontsize=9)
        axis.set(title=f"after {step} steps", xlabel="key", ylabel="query")
    figure.colorbar(picture, ax=axes, shrink=0.5, label="attention (0.5 and above alike)")
    figure.suptitle(f"one layer with embeddings, plain SGD at rate {RATES['1 layer'][1]:g}")
    figure.savefig(place / "scan_text_maps.png", dpi=110)
    plt.close(figure)


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description="entropy and maps of attention on text over training")
    text = 'a UTF-8 file in WikiText\'s format, "datasets" for WikiText-2, or "made-up" (default)'
    parser.add_argument("--text", default="made-up", metavar="FILE", help=text)
    words = "the most frequent words that are kept (default: %(default)s)"
    parser.add_argument("--vocabulary", type=int, default=207, metavar="WORDS", help=words)
    parser.add_argument("--seeds", type=int, default=3, help="trainings at each rate (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=2000, help="of each training (default: %(default)s)")
    add_numbers_and_pictures(parser)
    return asked_for(parser, arguments)


def main(arguments: list[str] | None = None) -> None:
    asked = options_of(arguments)
    torch.set_num_threads(1)
    start = time.process_time()
    first = at_first(asked.text, asked.vocabulary)
    for name, numbers in first.items():
        print(f"at first, {name}: " + ", ".join(f"{key} {number:.3g}" for key, number in numbers.items()), flush=True)
    rows = of_decoder_and_attention(asked.text, asked.vocabulary, asked.seeds, asked.steps)
    maps: dict[str, Any] = {}
    for layers in (1, 3):
        found, shown_maps = of_embeddings(asked.text, asked.vocabulary, layers, asked.seeds, asked.steps)
        rows, maps = rows + found, maps or shown_maps
    print(f"{'model':10} {'rate':>5}  last entropy / ln(T-1)   share of the fall in the second half   moved: most, end")
    for row in rows:
        said = in_words(row)
        parts = (said["last"], said["late_share"], said.get("most_moved", ""), said.get("moved_at_the_end", ""))
        print(f"{row['model']:10} {row['rate']:5g}  " + "  ".join(str(part) for part in parts), flush=True)
    took = round(time.process_time() - start)
    print(f"{took} CPU seconds")
    if asked.pictures:
        draw(rows, maps, asked.pictures, asked.steps)
    command = f"python benchmarks/scan_on_text.py --text {asked.text} --seeds {asked.seeds} --steps {asked.steps}"
    short = [
        {name: row[name] for name in ("model", "rate")}
        | {"loss": [rounded(x) for x in row["loss"]]}
        | in_words(row)
        | {
            "steps": row["steps"][::4],
            "first_layer_entropy": [[rounded(h) for h in one[::4]] for one in first_layer(row)],
        }
        for row in rows
    ]
    content = {
        "command": command, "torch": torch.__version__, "cpu_seconds": took,
        "text_sha256": SHA256 if asked.text == "made-up" else None, "at_first": first,
        "rows": short,
    }  # fmt: skip
    if asked.output:
        asked.output.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
