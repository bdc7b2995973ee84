"""Where descent from random starts of all parameters ends: shares of starts at the global and at wrong minima.

    python benchmarks/basins.py [starts]     measures, writes evidence/basins.json and draws
    python benchmarks/basins.py draw         draws docs/pictures/basins.png from that file

Each start has entries N(0, scale^2) of u12, u, U and u21. The exact loss is theory's (moments of the layer's features);
what is trained on sampled prompts is the real layer. An end is called by the minimum that gradient flow on the exact
loss reaches from it. Intervals are Clopper and Pearson's at 99.9 %.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from iclcheck.numerics.training.configurations import TrainingConfiguration, initial_weights
from iclcheck.numerics.training.exact_descent import (
    Ends,
    MomentLoss,
    Tensor,
    adam,
    gradient_descent,
    gradient_flow,
    random_starts,
)
from iclcheck.numerics.training.measurements import trained_weights
from iclcheck.proofs_check.claims.critical_points import diagonal_setting, listed
from iclcheck.proofs_check.verdicts.replicas import count_replicas
from iclcheck.theory.one_layer.feature_moments import feature_moments

Plain = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent
NUMBERS, PICTURE = ROOT / "evidence" / "basins.json", ROOT / "docs" / "pictures" / "basins.png"
STARTS, FLAT, STEPS, RATE = 2000, 1e-5, 4000, 5e-4
NEAR = 1e-4  # of L(0): some minimum and some saddle differ by 7e-4 (eigenvalues 1, 2, N = 20)
LENGTHS = {2: (1, 2, 4, 8, 16, 32, 64, 128, 256), 3: (1, 2, 4, 8, 16, 32, 64, 128, 256), 5: (2, 16, 64, 256)}
SCALES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def loss_of(eigenvalues: tuple[float, ...], context_length: int) -> MomentLoss:
    found = feature_moments(np.diag(eigenvalues).tolist(), context_length)
    return MomentLoss(found.constant, torch.tensor(found.linear), torch.tensor(found.quadratic))


def polished(loss: MomentLoss, p: Tensor, K: Tensor) -> Ends:
    """The ends of gradient flow from there."""
    return gradient_flow(loss, p, K, FLAT, STEPS)


def called(eigenvalues: tuple[float, ...], context_length: int, ends: Ends) -> Plain:
    """How many runs are at the global minimum, at each other listed minimum, elsewhere, and not finite."""
    found = listed(eigenvalues, context_length)
    minima = [(point.kind, point.loss) for point in found.points if point.kind.endswith("minimum")]
    at_zero = sum(eigenvalues) / 2
    losses, finite = ends.loss.numpy(), ends.finite.numpy()
    near = {
        kind_and_loss: np.abs(losses - kind_and_loss[1]) <= NEAR * at_zero for kind_and_loss in dict.fromkeys(minima)
    }
    best = minima[0]
    rows = [{"kind": kind, "loss": loss, "runs": int(np.sum(hit & finite))} for (kind, loss), hit in near.items()]
    known = sum(row["runs"] for row in rows)
    hits = int(np.sum(near[best] & finite))
    count = count_replicas(hits, len(losses), false_alarm=RATE)
    return {
        "eigenvalues": list(eigenvalues), "context_length": context_length, "starts": len(losses),
        "global": hits, "lower": count.lower, "upper": count.upper, "ends": rows,
        "elsewhere": int(finite.sum()) - known, "not finite": int((~finite).sum()), "list complete": found.complete,
    }  # fmt: skip


def flow(eigenvalues: tuple[float, ...], context_length: int, scale: float, starts: int) -> Plain:
    """Gradient flow on the exact loss."""
    loss = loss_of(eigenvalues, context_length)
    p, K = random_starts(starts, 1, len(eigenvalues), scale, seed=1)
    return {"method": "flow", "scale": scale, **called(eigenvalues, context_length, polished(loss, p, K))}


def other_methods(eigenvalues: tuple[float, ...], context_length: int, scale: float, starts: int) -> list[Plain]:
    """Steps of finite size, Adam and weight decay on the exact loss, from the same starts."""
    loss = loss_of(eigenvalues, context_length)
    p, K = random_starts(starts, 1, len(eigenvalues), scale, seed=1)
    runs = {
        "gradient descent, rate 0.01": lambda: gradient_descent(loss, p, K, 0.01, 2000),
        "gradient descent, rate 0.1": lambda: gradient_descent(loss, p, K, 0.1, 1000),
        "gradient descent, rate 0.05, weight decay 0.01": lambda: gradient_descent(loss, p, K, 0.05, 2000, 0.01),
        "gradient descent, rate 0.05, weight decay 0.1": lambda: gradient_descent(loss, p, K, 0.05, 2000, 0.1),
        "Adam, rate 0.02": lambda: adam(loss, p, K, 0.02, 2000),
        "Adam, rate 0.2": lambda: adam(loss, p, K, 0.2, 2000),
    }
    rows = []
    for name, run in runs.items():
        ends = run()
        p_end, K_end = (torch.where(torch.isfinite(part), part, torch.zeros(())) for part in (ends.p, ends.K))
        after = polished(loss, p_end, K_end)
        after = Ends(after.p, after.K, after.loss, after.slope, ends.finite, [])
        rows.append({"method": name, "scale": scale, **called(eigenvalues, context_length, after)})
    return rows


def two_heads(eigenvalues: tuple[float, ...], context_length: int, scale: float, starts: int) -> Plain:
    """Flow of the sum of two layers: how many runs end at or below the least loss of one."""
    loss = loss_of(eigenvalues, context_length)
    p, K = random_starts(starts, 2, len(eigenvalues), scale, seed=1)
    losses = polished(loss, p, K).loss.numpy()
    least = min(point.loss for point in listed(eigenvalues, context_length).points)
    hits = int(np.sum(losses <= least + NEAR * sum(eigenvalues) / 2))
    count = count_replicas(hits, starts, false_alarm=RATE)
    values, counts = np.unique(losses.round(3), return_counts=True)
    common = sorted(zip(counts.tolist(), values.tolist(), strict=True), reverse=True)[:5]
    return {
        "method": "flow, two heads", "scale": scale, "eigenvalues": list(eigenvalues), "context_length": context_length,
        "starts": starts, "least loss of one head": least, "at or below": hits, "lower": count.lower,
        "upper": count.upper, "most frequent losses": [[value, count] for count, value in common],
    }  # fmt: skip


def sampled(eigenvalues: tuple[float, ...], context_length: int, scale: float, starts: int, method: Plain) -> Plain:
    """The real layer on fresh prompts."""
    setting = diagonal_setting(eigenvalues, context_length)
    wanted = [
        {"distribution": setting, "start": "all-parameters", "scale": scale, "averaging": 0.2, **method, "replica": k}
        for k in range(starts)
    ]
    found = trained_weights(wanted, "cpu")
    p = torch.tensor(np.array(found["W_PV"])[:, None, -1])
    K = torch.tensor(np.array(found["W_KQ"])[:, None, :, :-1])
    at_start = [initial_weights(TrainingConfiguration.from_plain(one)) for one in wanted]
    p_0 = torch.tensor(np.array([W_PV[None, -1] for W_PV, _ in at_start]))
    K_0 = torch.tensor(np.array([W_KQ[None, :, :-1] for _, W_KQ in at_start]))
    loss = loss_of(eigenvalues, context_length)
    after, flowed = polished(loss, p, K), polished(loss, p_0, K_0)
    same = int(torch.sum((after.loss - flowed.loss).abs() <= NEAR * sum(eigenvalues) / 2))
    name = f"sampled {method['optimiser']}, {method['steps']} steps of {method['batch_size']} prompts"
    return {"method": name, "scale": scale, **called(eigenvalues, context_length, after), "same end as flow": same}


SAMPLED = (
    {"optimiser": "sgd", "learning_rate": 0.02, "steps": 1500, "batch_size": 64, "schedule": "linear"},
    {"optimiser": "adam", "learning_rate": 0.02, "steps": 1000, "batch_size": 64, "schedule": "linear"},
)


def curves(eigenvalues: tuple[float, ...], context_length: int) -> Plain:
    """Loss against steps of gradient descent from 40 starts."""
    loss = loss_of(eigenvalues, context_length)
    p, K = random_starts(40, 1, len(eigenvalues), 0.5, seed=3)
    ends = gradient_descent(loss, p, K, 0.02, 3000, curve_points=150)
    return {
        "eigenvalues": list(eigenvalues), "context_length": context_length, "rate": 0.02,
        "steps": [step for step, _ in ends.curves], "losses": [values.tolist() for _, values in ends.curves],
        "minima": [point.loss for point in listed(eigenvalues, context_length).points if "minimum" in point.kind],
    }  # fmt: skip


def report(row: Plain) -> Plain:
    share = row.get("global", row.get("at or below", 0)) / row["starts"]
    print(
        f"{row['method']}, scale {row['scale']}, eigenvalues {row['eigenvalues']}, N = {row['context_length']}: "
        f"{share:.1%} [{row['lower']:.1%}, {row['upper']:.1%}], elsewhere {row.get('elsewhere', 0)}, "
        f"not finite {row.get('not finite', 0)}",
        flush=True,
    )
    return row


def measured(starts: int) -> Plain:
    began = time.process_time()
    by_length = [report(flow((1.0,) * d, n, 0.5, starts)) for d, lengths in LENGTHS.items() for n in lengths]
    by_scale = [report(flow((1.0, 1.0), n, scale, starts)) for n in (1, 8, 64) for scale in SCALES]
    by_spectrum = [report(flow((1.0, r), n, 0.5, starts)) for r in (1.5, 2.0, 5.0) for n in (2, 8, 32)]
    wider = [report(flow((1.0, 2.0, 3.0), n, 0.5, starts)) for n in (2, 8, 32)]
    methods = [report(row) for row in other_methods((1.0, 1.0), 8, 0.5, starts)]
    heads = [report(two_heads((1.0, 1.0), n, 0.5, starts)) for n in (1, 8, 64)]
    flows = time.process_time() - began
    on_prompts = [report(sampled((1.0, 1.0), 8, 0.5, starts, method)) for method in SAMPLED]
    return {
        "command": f"python benchmarks/basins.py {starts}",
        "machine": "shared 2-core x86-64 machine",
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "cpu_seconds": {"exact loss": round(flows), "sampled": round(time.process_time() - began - flows)},
        "by_length": by_length, "by_scale": by_scale, "by_spectrum": by_spectrum, "three_eigenvalues": wider,
        "methods": methods, "two_heads": heads, "sampled": on_prompts,
        "curves": [curves((1.0, 1.0), 8), curves((1.0, 1.0), 64)],
    }  # fmt: skip


def draw_shares(axes: Any, rows: list[Plain], x: str, key: str, label: str) -> None:
    """Share at the global minimum with intervals, one line for each value of `key`."""
    for colour, value in zip(COLOURS, sorted({named(row, key) for row in rows}), strict=False):
        chosen = [row for row in rows if named(row, key) == value]
        share = np.array([row["global"] / row["starts"] for row in chosen])
        bars = np.array([[s - row["lower"], row["upper"] - s] for s, row in zip(share, chosen, strict=True)]).T
        axes.errorbar(
            [row[x] for row in chosen], share, bars.clip(0), color=colour, marker="o", markersize=4, capsize=2,
            linewidth=1.2, label=f"{label} = {value}",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_ylim(-0.03, 1.05)
    axes.set_ylabel("share of starts at the global minimum")
    axes.legend(fontsize=8, frameon=False)


def named(row: Plain, key: str) -> Any:
    return len(row["eigenvalues"]) if key == "dimension" else row[key]


def draw_curves(axes: Any, found: Plain) -> None:
    losses, best = np.array(found["losses"]), min(found["minima"])
    worst = max(found["minima"])
    for run in losses.T:
        reached = abs(run[-1] - best) < abs(run[-1] - worst)
        axes.plot(found["steps"], run, color=COLOURS[0] if reached else COLOURS[1], linewidth=0.8, alpha=0.6)
    for loss, colour, name in ((best, COLOURS[0], "global minimum"), (worst, COLOURS[1], "wrong minimum")):
        axes.axhline(loss, color=colour, linestyle="--", linewidth=1, label=f"{name}, L = {loss:.4g}")
    axes.set_xlim(0, 1500)
    axes.set_ylim(0, 1.6)
    axes.set_xlabel("steps of gradient descent on the exact loss, rate 0.02")
    axes.set_ylabel("L")
    axes.set_title(f"d = 2, Lambda = I, N = {found['context_length']}: 40 starts of scale 0.5", fontsize=9)
    axes.legend(fontsize=8, frameon=False)


def draw(results: Plain, pyplot: Any) -> None:
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7.6), layout="constrained")
    for one, found in zip(axes[0], results["curves"], strict=True):
        draw_curves(one, found)
    draw_shares(axes[1, 0], results["by_length"], "context_length", "dimension", "d")
    axes[1, 0].set_xlabel("context length N")
    axes[1, 0].set_title("gradient flow, Lambda = I, scale 0.5", fontsize=9)
    draw_shares(axes[1, 1], results["by_scale"], "scale", "context_length", "N")
    axes[1, 1].set_xlabel("standard deviation of the start's entries")
    axes[1, 1].set_title("gradient flow, d = 2, Lambda = I", fontsize=9)
    for one in axes.ravel():
        one.spines[["top", "right"]].set_visible(False)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=120, metadata={"Software": None})


def main() -> None:
    try:
        import matplotlib
    except ImportError:
        sys.exit("need matplotlib to draw the shares; python -m pip install matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    torch.set_num_threads(1)
    if sys.argv[1:] != ["draw"]:
        results = measured(int(sys.argv[1]) if len(sys.argv) > 1 else STARTS)
        NUMBERS.write_text(json.dumps(results, indent=1) + "\n")
    draw(json.loads(NUMBERS.read_text()), pyplot)


if __name__ == "__main__":
    main()
