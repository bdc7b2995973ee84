"""Trained decoders under covariate shift, beside the Bayes predictor and linear attention, at every prefix.

    python benchmarks/covariate_shift.py [--prompts 8192] [--output FILE] [--picture FILE]

The setting of Section 4.3 of Zhang, Frei and Bartlett (2024), small: d = 5, at most 10 examples, noise of variance 0.1.
Two shipped decoders (numerics/decoders/shipped.py), trained on inputs N(0, I) (dense) and on random covariances, new in
each prompt, diagonal with Exp(1) entries (random-covariance). Prompts: inputs N(0, c I) at c = 1, 4, 9, and random
covariances. Risks E (prediction - w.x_q)^2 in units of c: the decoders' measured, with intervals for their squared
distances to the Bayes predictor where each counts at most c (empirical Bernstein, all together at the rate 1e-3); the
Bayes predictor's exact for N(0, c I), else the mean of its variances; one layer of linear attention, trained at N = 10
on either law of inputs, exact. Without --output the numbers are printed; a picture needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from iclcheck.numerics.decoders.evaluations import evaluated_models
from iclcheck.numerics.decoders.shipped import TRAININGS, shipped_digest
from iclcheck.proofs_check.verdicts.empirical_bernstein import deviation
from iclcheck.theory.one_layer import random_covariance
from iclcheck.theory.one_layer.fixed_point import exact_value, fixed_point
from iclcheck.theory.prompt_risks.covariate_shift import oracle_risk
from written_files import asked_for

Plain = dict[str, Any]
MODELS = {"dense": "decoder trained on N(0, I)", "random-covariance": "decoder trained on random covariances"}
RATE, TRAINED_AT = 1e-3, 10
COLOURS = {"oracle": "#000000", "dense": "#b2182b", "random-covariance": "#2166ac"}


def laws() -> dict[str, Plain]:
    base = dict(TRAININGS["dense"].law)
    scaled = {f"N(0, {c} I)".replace("1 I", "I"): {**base, "input_scale": float(c)} for c in (1, 4, 9)}
    return {**scaled, "random covariances": {**base, "covariance": "exponential"}}


def gains(d: int, noise: float) -> dict[str, float]:
    """Of one layer, A = a I, trained at N = 10 on either law."""
    numbers = {"d": d, "N": TRAINED_AT, "sigma2": noise}
    return {
        "dense": float(fixed_point(np.eye(d), TRAINED_AT, None, noise).preconditioner[0, 0]),
        "random-covariance": float(exact_value(random_covariance.exponential_gain(), numbers)),
    }


def layer_risk(law: Plain, a: float, n: int) -> float:
    """Of the layer A = a I on n examples, in units of c."""
    d, c, noise = law["dimension"], law["input_scale"], law["noise_variance"]
    if law["covariance"] == "exponential":
        numbers = {"a": a, "d": d, "M": n, "sigma2'": noise}
        return float(exact_value(random_covariance.exponential_risk(), numbers))
    return float(d * ((1 - a * c) ** 2 + a * a * c / n * ((d + 1) * c + noise)))


def rows_of(law: Plain, prompts: int, key: str) -> Plain:
    """All risks on one law at the prefixes 0 .. 10, in units of c."""
    d, c, noise, N = law["dimension"], law["input_scale"], law["noise_variance"], law["length"]
    models = {name: shipped_digest(name) for name in MODELS}
    oracle = {"oracle": dict(TRAININGS["dense"].law)}
    found = evaluated_models(law, models, [], oracle, prompts, key, [c] * N, "cpu", among=False)
    variances = [x / prompts / c for x in found["variance"]["oracle"]["sum"]]
    exact = law["covariance"] == "identity"
    rows: Plain = {"oracle": [oracle_risk(d, n, c, noise) / c for n in range(N)] if exact else variances}
    rows["oracle, mean of its variances"] = variances
    for name in MODELS:
        rows[name] = {
            "risk": [x / prompts / c for x in found["loss"][name]["sum"]],
            **excesses(found, name, prompts, c),
        }
        rows[name]["layer"] = [None, *(layer_risk(law, gains(d, noise)[name], n) for n in range(1, N))]
    return rows


def excesses(found: Plain, name: str, prompts: int, c: float) -> Plain:
    """Mean squared distance to the oracle; the same where each counts at most c, with its interval's half width."""
    sums = found["distance"][name]["oracle"]
    capped = [x / prompts / c for x in sums["capped"]]
    squares = [x / prompts / c**2 for x in sums["capped_squares"]]
    rate = RATE / (len(laws()) * len(MODELS) * len(capped))
    widths = [deviation(prompts, max(0.0, s - m * m), 1.0, rate) for m, s in zip(capped, squares, strict=True)]
    return {"excess": [x / prompts / c for x in sums["sum"]], "capped excess": capped, "half width": widths}


def measure(prompts: int) -> Plain:
    """The numbers of the picture."""
    found = {}
    for name, law in laws().items():
        found[name] = rows_of(law, prompts, f"covariate-shift/{name}")
        print(name, file=sys.stderr)
    return {
        "command": "python benchmarks/covariate_shift.py", "prompts": prompts, "rate": RATE, "laws": found,
        "sha256": {name: shipped_digest(name) for name in MODELS}, "trained_at": TRAINED_AT,
        "python": platform.python_version(), "torch": torch.__version__,
    }  # fmt: skip


def draw(found: Plain, path: Path) -> None:
    """A panel for each law of inputs."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(found["laws"]), figsize=(15, 4.6), sharey=True)
    for axes, (law, rows) in zip(panels, found["laws"].items(), strict=True):
        axes.semilogy(rows["oracle"], color=COLOURS["oracle"], label="Bayes predictor")
        for name, words in MODELS.items():
            colour, one = COLOURS[name], rows[name]
            risk = [r + e for r, e in zip(rows["oracle"], one["excess"], strict=True)]
            axes.semilogy(risk, "o-", ms=3, color=colour, label=words)
            layer = [np.nan if x is None else x for x in one["layer"]]
            axes.semilogy(layer, ":", color=colour, label=words.replace("decoder", "linear layer"))
        axes.axhline(5, color="grey", lw=0.8, label="predicting 0")
        axes.set_title(f"inputs: {law}", fontsize=10)
        axes.set_xlabel("examples before the query")
    panels[0].set_ylabel("risk / c")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=9, loc="lower center", ncol=3)
    figure.tight_layout(rect=(0, 0.13, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=8192, help="fresh prompts of each law")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the numbers there as JSON")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the picture there; needs matplotlib")
    parser.add_argument("--numbers", type=Path, metavar="FILE", help="draw from these, and measure nothing")
    wanted = asked_for(parser, given, "picture")
    found = json.loads(wanted.numbers.read_text()) if wanted.numbers else measure(wanted.prompts)
    if wanted.picture:
        draw(found, wanted.picture)
    if wanted.output:
        wanted.output.write_text(json.dumps(found, indent=1) + "\n")
    elif not wanted.picture:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
