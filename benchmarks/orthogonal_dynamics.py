"""One layer on random orthogonal dynamics: exact losses against length, what each feature is worth, a trained layer.

    python benchmarks/orthogonal_dynamics.py              # exact numbers and the picture: seconds
    python benchmarks/orthogonal_dynamics.py trained      # layers of 1 and 4 heads at n = 10, T = 50 too: CPU minutes

Writes evidence/orthogonal_dynamics.json and docs/pictures/orthogonal_dynamics.png. Intervals of trained layers hold at a
rate of 1e-6 each, for bounded draws (`proofs_check/verdicts/bounded_means.py`); what was trained before is kept.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch

from iclcheck.numerics.orthogonal_dynamics.trained_weights import trained_gaps, trained_weights
from iclcheck.proofs_check.mesa.trained_layer import on_sphere
from iclcheck.proofs_check.verdicts.bounded_means import compare_bounded_mean
from iclcheck.theory.orthogonal_dynamics.autocorrelations import autocorrelations
from iclcheck.theory.orthogonal_dynamics.one_head import one_head
from iclcheck.theory.orthogonal_dynamics.one_layer_optimum import derived_optimum, least_loss, vector_features, worth
from iclcheck.theory.orthogonal_dynamics.one_step_rate import derived_step_loss, limits_at

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parent.parent
SIZES, LENGTHS = (3, 10), (4, 6, 8, 11, 15, 20, 30, 40, 50)
PAPER = (10, 50)
HEADS = (1, 4)
STEPS, BATCH, FRESH = 1500, 64, 20_000


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


def against_the_limit(ratio: Fraction) -> list[dict[str, float]]:
    """n eta* and the share of the loss that the step takes, beside the limits at T = tau n."""
    rate, share = limits_at(ratio)
    rows = []
    for n in (5, 10, 20, 40):
        step = derived_step_loss(n, int(ratio * n))
        rows.append({"n": n, "n eta": float(n * step.rate), "share": float(1 - 2 * step.least / n)})
    return [*rows, {"n": float("inf"), "n eta": float(rate), "share": float(share)}]


def trained(heads: int) -> dict[str, Any]:
    """A layer at n = 10, T = 50: its loss beside those of the exact optima, on the same fresh sequences."""
    n, length = PAPER
    run = {
        "task": {"size": n, "length": length, "initial": "sphere"}, "shape": {"size": n, "heads": heads},
        "steps": STEPS, "batch_size": BATCH, "learning_rate": 0.01, "warmup": 0.1, "clip": 1.0, "dtype": "float32",
        "replica": 1,
    }  # fmt: skip
    started = time.process_time()
    blocks = one_head(n, length).coefficients
    step = derived_step_loss(n, length).rate
    references = {
        "gradient step": on_sphere((float(step), 0.0), n),
        "one head": on_sphere(tuple(float(x) for x in blocks.values()), n),
        "zero": [0.0] * 14,
    }
    gaps = trained_gaps(run, references, FRESH, f"orthogonal dynamics/{heads}", "cpu")
    row: dict[str, Any] = {"heads": heads, "run": run}
    for name, gap in gaps.items():
        found = compare_bounded_mean(gap["pilot"], gap["main"], gap["bound"])
        row[f"loss - {name}"] = [2 * found.measured / n, 2 * found.allowed / n]
    row["weights"] = shares(trained_weights([run], "cpu"), n)
    row["cpu_seconds"] = time.process_time() - started
    return row


def shares(weights: dict[str, Any], n: int) -> dict[str, Any]:
    """Coefficients of the features in the trained map, and the share of its squared norm that they hold."""
    from iclcheck.numerics.orthogonal_dynamics.bilinear_features import NAMES, invariant_part

    part = invariant_part(*(torch.tensor(weights[name][0]).double().numpy() for name in ("W_PV", "W_KQ")), n)
    kept = {name: float(x) for name, x in zip(NAMES, part.coefficients, strict=True) if abs(x) > 1e-4}
    return {"coefficients": kept, "share of features": float(part.share)}


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
    torch.set_num_threads(1)
    path = ROOT / "evidence" / "orthogonal_dynamics.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    started = time.process_time()
    losses = {str(n): [exact_losses(n, length) for length in LENGTHS] for n in SIZES}
    result = {
        "command": "python benchmarks/orthogonal_dynamics.py trained",
        "machine": f"shared 2-core {platform.machine()} machine, Python {platform.python_version()}",
        "torch": torch.__version__, "lengths": LENGTHS, "losses": losses,
        "on the sphere, n = 10, T = 50": exact_losses(*PAPER, "sphere"),
        "worth at n = 10, T = 50": worth_of_features(*PAPER),
        "limits": {str(ratio): against_the_limit(ratio) for ratio in (Fraction(1), Fraction(5))},
        "cpu_seconds": time.process_time() - started, "trained": before.get("trained", []),
    }  # fmt: skip
    if "trained" in sys.argv[1:]:
        result["trained"] = [trained(heads) for heads in HEADS]
    path.write_text(json.dumps(result, indent=1).replace("Infinity", "null") + "\n")
    picture(losses, ROOT / "docs" / "pictures" / "orthogonal_dynamics.png")
    print(json.dumps({k: v for k, v in result.items() if k != "losses"}, indent=1))


if __name__ == "__main__":
    main()
