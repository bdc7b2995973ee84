"""The snap law beside the flows of the real layer: B and the pull over time, attention over time, and when it freezes.

    python benchmarks/snap.py
    python benchmarks/snap.py --output evidence/snap.json --picture docs/pictures/snap.png

Prints the numbers; writes files only if asked. Only the picture needs matplotlib. Curves: the exact law. Marks: the
real layer's reparametrised flow (circles) and the flow of the loss itself (crosses).
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from iclcheck.numerics.scan_and_snap.symmetric_flows import symmetric_paths
from iclcheck.theory.scan_and_snap import snap
from iclcheck.theory.scan_and_snap.attention_rates import crossing_logit
from iclcheck.theory.scan_and_snap.symmetric_task import (
    Attention,
    attention_at,
    decoder_logit,
    drive,
    entropy,
    symmetric_task,
)
from written_files import asked_for

K, M, COMMON, PROFILE = 4, 60, 0.35, (1, 2, 3)
TASK = symmetric_task(K, M, COMMON, list(PROFILE))
PLAIN = {"classes": K, "vocabulary": M, "common": COMMON, "profile": list(PROFILE)}
UNIT = K * math.log(M)  # K ln M/eta_Y at eta_Y = 1
RATES = [[1.0, 1.0], [1.0, 0.01]]
TIMES = [UNIT * c for c in (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 4.0, 10.0, 40.0)]
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)


def flows() -> dict[str, dict[str, Any]]:
    names = ("reparametrised", "joint")
    runs = [{"task": PLAIN, "flow": flow, "rates": RATES, "times": TIMES} for flow in names]
    return dict(zip(names, symmetric_paths(runs)["runs"], strict=True))


def strength_of(logits: np.ndarray[Any, Any]) -> float:
    """B of the law at the common token's logit: what a flow has moved, in one number."""
    low, high = 0.0, 60.0
    for _ in range(200):
        middle = (low + high) / 2
        deeper = float(Attention(TASK, np.asarray(middle)).common_logit) < float(logits)
        low, high = (low, middle) if deeper else (middle, high)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    return float(low / 2 * weights @ Attention(TASK, low * (nodes + 1) / 2).strength_rate)


def pull(u: float) -> float:
    """gamma = (M - 1)^2 h/(M - 1 + e^{Mh}) at u = M h."""
    return (M - 1) ** 2 / M * u / (M - 1 + math.exp(u))


def logarithm_of_time(share: float, eta_Z: float) -> dict[str, float]:
    """When the most probable token has a share of the attention: u and log10 t, eta_Y = 1. t = K/M (e^u + ..)."""
    low, high = -20.0, 60.0  # ln of the drive
    for _ in range(100):
        middle = (low + high) / 2
        reached = attention_at(TASK, math.exp(middle)).attention.weights[-1] > share
        low, high = (low, middle) if reached else (middle, high)
    u = math.exp(low / 2) / math.sqrt(eta_Z)
    inside = K / M * (math.expm1(u) + (M - 1) * u) if u < 600 else math.inf
    log10_t = math.log10(inside) if math.isfinite(inside) else (u + math.log(K / M)) / math.log(10)
    return {"share": share, "u": u, "log10 t": log10_t}


def rows(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """At each time and rate: B of the laws and of both flows, entropy, the dominant share."""
    result = []
    for i, t in enumerate(TIMES):
        for j, (eta_Y, eta_Z) in enumerate(RATES):
            driven = drive(TASK, eta_Y, eta_Z, t)
            exact = attention_at(TASK, driven)
            logits = {name: run["common"][i][j] for name, run in found.items()}
            result.append(
                {
                    "t/(K ln M)": t / UNIT, "eta_Z/eta_Y": eta_Z / eta_Y, "B": exact.strength,
                    "B at small overlap": snap.strength_at_small_overlap(TASK, driven),
                    "z_C": float(exact.logits[0]), "z_C of the flows": logits,
                    "largest difference of logits": float(
                        np.abs(np.append(
                            logits["reparametrised"] - exact.logits[0],
                            np.ravel(np.array(found["reparametrised"]["distinct"][i][j]) - exact.logits[1:]),
                        )).max()
                    ),
                    "dominant share": float(exact.attention.weights[-1]),
                    "dominant share of the joint flow": found["joint"]["weights"][i][j][-1],
                    "entropy": entropy(exact.attention.weights),
                    "entropy of the joint flow": entropy(np.array(found["joint"]["weights"][i][j])),
                }
            )  # fmt: skip
    return result


def rate_rows() -> list[dict[str, Any]]:
    """Entropy of attention on distinct tokens minus that at the base rates, in both flows: K = 3, M = 20."""
    task = {"classes": 3, "vocabulary": 20, "common": COMMON, "profile": list(PROFILE)}
    unit, scaled = 3 * math.log(20), (0.1, 0.3, 1.0, 3.0, 12.0, 100.0)
    names = ("eta_Y doubled", "both doubled", "eta_Z doubled")
    result = []
    for eta_Z in (0.01, 0.1, 0.5):
        pairs = [[1.0, eta_Z], [2.0, eta_Z], [2.0, 2 * eta_Z], [1.0, 2 * eta_Z]]
        for flow in ("reparametrised", "joint"):
            run = {"task": task, "flow": flow, "rates": pairs, "times": [unit * c for c in scaled]}
            (found,) = symmetric_paths([run])["runs"]
            for c, row in zip(scaled, found["weights"], strict=True):
                base, *others = (entropy(np.array(w[1:]) / sum(w[1:])) for w in row)
                changes = {name: one - base for name, one in zip(names, others, strict=True)}
                result.append({"eta_Z/eta_Y": eta_Z, "flow": flow, "t/(K ln M)": c, "entropy": base, **changes})
    return result


def mark_times(axis: Any) -> None:
    slowing = snap.time_of_logit(snap.slowing_logit(M), TASK, 1.0)
    for at, label, style in (
        (slowing, "t*", ":"), (UNIT, r"$K\ln M/\eta_Y$", "--"), (2 * UNIT, r"$2K\ln M/\eta_Y$", "-."),
    ):  # fmt: skip
        axis.axvline(at, color="gray", linestyle=style, linewidth=1, label=label)
    axis.set_xscale("log")
    axis.set_xlabel(r"$t$ ($\eta_Y = \eta_Z = 1$)")
    axis.grid(alpha=0.3)


def picture(found: dict[str, dict[str, Any]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.2))
    grid = np.geomspace(TIMES[0], TIMES[-1], 160)
    exact = [attention_at(TASK, drive(TASK, 1.0, 1.0, t)) for t in grid]
    left.plot(grid, [one.strength for one in exact], label="exact law")
    small = [snap.strength_at_small_overlap(TASK, drive(TASK, 1.0, 1.0, t)) for t in grid]
    left.plot(grid, small, linestyle="--", label="small-overlap law")
    for name, marker in (("reparametrised", "o"), ("joint", "x")):
        values = [strength_of(np.asarray(row[0])) for row in found[name]["common"]]
        left.plot(TIMES, values, marker, markersize=5, label=f"{name} flow, at its common logit")
    mark_times(left)
    left.set_title("B: how far attention has moved")
    middle.plot(grid, [pull(decoder_logit(t / K, M)) for t in grid], label=r"$\gamma$, closed form")
    measured = [pull(row[0][0]) for row in found["reparametrised"]["decoder"]]
    middle.plot(TIMES, measured, "o", markersize=5, label="flow")
    mark_times(middle)
    middle.set_title(r"$\gamma$: the decoder's pull")
    names = ("common token", *(f"distinct, {p} of 6" for p in PROFILE))
    for place, name in enumerate(names):
        (line,) = right.plot(grid, [one.attention.weights[place] for one in exact], label=name)
        for flow, marker in (("reparametrised", "o"), ("joint", "x")):
            values = [row[0][place] for row in found[flow]["weights"]]
            right.plot(TIMES, values, marker, markersize=4, color=line.get_color())
    mark_times(right)
    right.axvspan(TIMES[0], UNIT, color="tab:blue", alpha=0.06)
    right.axvspan(UNIT, TIMES[-1], color="tab:orange", alpha=0.08)
    right.text(TIMES[0] * 1.3, 0.015, "scan", color="tab:blue")
    right.text(UNIT * 4, 0.015, "snap", color="tab:orange")
    right.set_ylim(0, 0.72)
    right.set_title("attention (o reparametrised, x joint)")
    for axis in (left, middle, right):
        axis.legend(frameon=False, fontsize=7, ncols=2 if axis is right else 1, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the numbers to this JSON file")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw into this file; needs matplotlib")
    asked = asked_for(parser, arguments, "picture")
    started = time.process_time()
    found = flows()
    result = {
        "command": "python benchmarks/snap.py",
        "machine": f"shared 2-core {platform.machine()} machine, Python {platform.python_version()}",
        "task": PLAIN, "rates": RATES,
        "times": {
            "t*": snap.time_of_logit(snap.slowing_logit(M), TASK, 1.0),
            "crossing": snap.time_of_logit(crossing_logit(M), TASK, 1.0),
            "K ln M": UNIT, "2 K ln M": 2 * UNIT,
        },
        "rows": rows(found), "learning rates": rate_rows(),
        "when the most probable token has a share": {
            str(eta_Z): [logarithm_of_time(share, eta_Z) for share in SHARES] for eta_Z in (1.0, 0.01)
        },
        "cpu_seconds": time.process_time() - started,
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    if asked.output:
        asked.output.write_text(json.dumps(result, indent=1) + "\n")
    if asked.picture:
        picture(found, asked.picture)


if __name__ == "__main__":
    main()
