"""One layer on random orthogonal dynamics: exact least losses against length, what each feature is worth, the limits.

    python benchmarks/orthogonal_dynamics.py

Writes evidence/orthogonal_dynamics.json and docs/pictures/orthogonal_dynamics.png. Trained layers beside these numbers:
benchmarks/mesa_training.py.
"""

from __future__ import annotations

import json
import platform
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import matplotlib as mpl

from iclcheck.theory.orthogonal_dynamics.autocorrelations import autocorrelations
from iclcheck.theory.orthogonal_dynamics.one_head import one_head
from iclcheck.theory.orthogonal_dynamics.one_layer_optimum import derived_optimum, least_loss, vector_features, worth
from iclcheck.theory.orthogonal_dynamics.one_step_rate import derived_step_loss, limits_at

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parent.parent
SIZES, LENGTHS = (3, 10), (4, 6, 8, 11, 15, 20, 30, 40, 50)
PAPER = (10, 50)


def exact_losses(n: int, length: int, initial: str = "gaussian") -> dict[str, float]:
    """Least losses in units of n/2, the loss of predicting 0."""
    moments = autocorrelations(n, initial)
    found = {
        "gradient step": derived_step_loss(n, length, initial).least,
        "one head": one_head(n, length, initial).loss,
        "features of two heads": least_loss(vector_features(), n, length, moments).loss,
        "best layer": derived_optimum(n, length, initial).loss,
    }
    return {name: float(2 * loss / n) for name, loss in found.items()}


def worth_of_features(n: int, length: int) -> list[dict[str, Any]]:
    """Losses in units of n/2: of the gradient step with the feature, and of the best layer without it."""
    return [
        {"feature": str(feature), "with the step": float(2 * added / n), "best without": float(2 * dropped / n)}
        for feature, (added, dropped) in worth(n, length).items()
    ]


def against_the_limit(ratio: Fraction) -> list[dict[str, Any]]:
    """n eta* and the share of the loss that the step takes, beside the limits at T = tau n."""
    rate, share = limits_at(ratio)
    rows: list[dict[str, Any]] = []
    for n in (5, 10, 20, 40):
        step = derived_step_loss(n, int(ratio * n))
        rows.append({"n": n, "n eta": float(n * step.rate), "share": float(1 - 2 * step.least / n)})
    return [*rows, {"n": "limit", "n eta": float(rate), "share": float(share)}]


def picture(rows: dict[str, list[dict[str, float]]], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axis, n in zip(axes, SIZES, strict=True):
        for name in ("gradient step", "one head", "features of two heads", "best layer"):
            axis.plot(LENGTHS, [row[name] for row in rows[str(n)]], marker="o", markersize=3, label=name)
        axis.set_title(f"n = {n}")
        axis.set_xlabel("states T of a sequence")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("least loss, in units of n/2")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main() -> None:
    started = time.process_time()
    losses = {str(n): [exact_losses(n, length) for length in LENGTHS] for n in SIZES}
    result = {
        "command": "python benchmarks/orthogonal_dynamics.py",
        "machine": f"shared 2-core {platform.machine()} machine, Python {platform.python_version()}",
        "lengths": LENGTHS, "losses": losses, "on the sphere, n = 10, T = 50": exact_losses(*PAPER, "sphere"),
        "worth at n = 10, T = 50": worth_of_features(*PAPER),
        "limits": {str(ratio): against_the_limit(ratio) for ratio in (Fraction(1), Fraction(5))},
        "cpu_seconds": time.process_time() - started,
    }  # fmt: skip
    (ROOT / "evidence" / "orthogonal_dynamics.json").write_text(json.dumps(result, indent=1) + "\n")
    picture(losses, ROOT / "docs" / "pictures" / "orthogonal_dynamics.png")
    print(json.dumps({name: part for name, part in result.items() if name != "losses"}, indent=1))


if __name__ == "__main__":
    main()
