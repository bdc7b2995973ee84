"""What the checks catch, beside what they say that they would catch: the curves of docs/calibration.md.

    python benchmarks/power_curves.py [runs]
    python benchmarks/power_curves.py draw      the picture alone, from the numbers of an earlier run

Sampled stationarity: the weights A are displaced from the fixed point A* by multiples of the gap that the check states
at A*, and judged as fixed-point judges them, at a rate of 1e-6; the share of refusals comes with its 95 %
Clopper-Pearson interval. What a check says that it would catch is for the weights that it is given, so the curves are
drawn over the displacement in units of the gap that is stated there, the median over the runs.
Counted replicas: exact binomial probabilities.
Writes evidence/power_curves.json and docs/pictures/power_curve.png; the picture needs matplotlib, which nothing else of
the project does.
"""

from __future__ import annotations

import json
import math
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binom

from iclcheck.numerics.one_layer.sampled_measurements import sampled_stationarity
from iclcheck.numerics.training.random_streams import standard_normals, stream
from iclcheck.proofs_check.verdicts.heavy_tails import compare_mean
from iclcheck.proofs_check.verdicts.replicas import count_replicas, detectable_share
from iclcheck.theory.one_layer import stationarity
from iclcheck.theory.one_layer.fixed_point import balanced_weights, fixed_point

Array = NDArray[np.float64]
Plain = dict[str, Any]

CHECKOUT = Path(__file__).parent.parent
PICTURE, NUMBERS = CHECKOUT / "docs/pictures/power_curve.png", CHECKOUT / "evidence/power_curves.json"
RUNS = 300
MULTIPLES = (0.0, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.6, 2.0)
FALSE_ALARM, MISS, REQUIRED = 1e-6, 1e-3, 0.9
REPLICAS = (132, 192, 1024)
COMMON: Plain = {"covariates": "gaussian"}
SETTINGS: dict[str, tuple[Plain, int]] = {  # the law of the prompt, and prompts per run
    "d = 1, N = 1, no noise": (
        {"covariance": [[1.0]], "context_lengths": [1], "task_covariance": [[1.0]], "noise_variance": 0.0, **COMMON},
        65_536,
    ),
    "d = 2, N = 4, noise 0.25": (
        {
            "covariance": [[0.8, 0.4], [0.4, 1.4]],
            "context_lengths": [4],
            "task_covariance": [[1.0, 0.0], [0.0, 1.0]],
            "noise_variance": 0.25,
            **COMMON,
        },
        32_768,
    ),
}
DIRECTIONS = ("along A", "against A", "random")


class Check:
    """Sampled stationarity in one setting."""

    def __init__(self, law: Plain, prompts: int) -> None:
        self.law, self.prompts = law, prompts
        self.covariance, self.task = np.array(law["covariance"]), np.array(law["task_covariance"])
        self.predicted = fixed_point(
            self.covariance, law["context_lengths"][0], self.task, law["noise_variance"]
        ).preconditioner

    def __call__(self, A: Array, key: str) -> tuple[bool, float]:
        """Whether these weights are refused, and the displacement that the check says it would catch."""
        plan = stationarity.plan(A, self.covariance, self.law["context_lengths"], self.task, self.law["noise_variance"])
        W_PV, W_KQ = (weights.tolist() for weights in balanced_weights(A))
        sums = sampled_stationarity(self.law, W_PV, W_KQ, plan.directions.tolist(), self.prompts, key, "cpu")
        share = len(plan.directions)
        found = [
            compare_mean(sums["count"], total, square, moment, false_alarm=FALSE_ALARM / share, miss=MISS / share)
            for total, square, moment in zip(
                sums["sum"], sums["sum_of_squares"], plan.second_moments.tolist(), strict=True
            )
        ]
        return not all(one.holds for one in found), math.hypot(*(one.detectable for one in found))

    def stated_gap(self) -> float:
        """The gap stated at A*, the median over 21 runs."""
        return float(np.median([self(self.predicted, f"power/stated/{run}")[1] for run in range(21)]))


def unit_displacement(direction: str, A: Array, key: str) -> Array:
    """A matrix of Frobenius norm 1; for "random" uniform on that sphere, another for each key."""
    if direction == "random":
        normal = standard_normals(A.shape, stream(f"{key}/direction"), torch.float64).numpy()
        return np.asarray(normal / np.linalg.norm(normal))
    return np.asarray((1 if direction == "along A" else -1) * A / np.linalg.norm(A))


def curve(check: Check, direction: str, gap: float, runs: int) -> list[Plain]:
    """Refusals at each multiple of the stated gap."""
    points = []
    for multiple in MULTIPLES:
        keys = [f"power/{direction}/{multiple}/{run}" for run in range(runs)]
        found = [
            check(check.predicted + multiple * gap * unit_displacement(direction, check.predicted, key), key)
            for key in keys
        ]
        refused = sum(refusal for refusal, _ in found)
        displacement, stated = multiple * gap, float(np.median([own for _, own in found]))
        interval = count_replicas(refused, runs, false_alarm=0.025)
        points.append(
            {
                "multiple": multiple,
                "in stated gaps": displacement / stated,
                "refused": refused,
                "runs": runs,
                "lower": interval.lower,
                "upper": interval.upper,
                "passed though stated": sum(not refusal and own <= displacement for refusal, own in found),
                "stated": sum(own <= displacement for _, own in found),
            }
        )
        print(
            f"  {direction:<10} {multiple:4.2f} {displacement / stated:6.3f}  {refused:4d}/{runs}  "
            f"{interval.lower:.3f} to {interval.upper:.3f}  "
            f"{points[-1]['passed though stated']} of {points[-1]['stated']}"
        )
    return points


def sampled(runs: int) -> list[Plain]:
    """The curves of all settings and directions."""
    found = []
    for name, (law, prompts) in SETTINGS.items():
        check = Check(law, prompts)
        gap, size = check.stated_gap(), float(np.linalg.norm(check.predicted))
        print(f"{name}: {prompts} prompts, stated gap {gap / size:.3f} |A*|_F")
        # for d = 1 a random direction is one of the other two
        directions = [one for one in DIRECTIONS if len(check.predicted) > 1 or one != "random"]
        curves = {direction: curve(check, direction, gap, runs) for direction in directions}
        found.append({"setting": name, "law": law, "prompts": prompts, "gap": gap / size, "curves": curves})
    return found


def disagreement(replicas: int, shares: Array) -> tuple[Array, Array]:
    """P(not agrees) and P(contradicts) if a share of the domain turns hits into misses and all else hits."""
    said = np.array(
        [count_replicas(k, replicas, required=REQUIRED, false_alarm=FALSE_ALARM).outcome for k in range(replicas + 1)]
    )
    weights = binom.pmf(np.arange(replicas + 1), replicas, 1 - shares[:, None])
    return weights[:, said != "agrees"].sum(1), weights[:, said == "contradicts"].sum(1)


def counted() -> list[Plain]:
    """Exact power of the count against the share of the domain that is wrong."""
    shares = np.linspace(0, 0.12, 61)
    found = []
    for replicas in REPLICAS:
        caught, contradicted = disagreement(replicas, shares)
        share = detectable_share(replicas, MISS, required=REQUIRED, false_alarm=FALSE_ALARM)
        print(f"{replicas} replicas: detectable share {share:.4f}, caught there {exact_power(replicas, share):.6f}")
        found.append(
            {
                "replicas": replicas,
                "detectable share": share,
                "shares": shares.round(6).tolist(),
                "not agrees": caught.round(6).tolist(),
                "contradicts": contradicted.round(6).tolist(),
            }
        )
    return found


def exact_power(replicas: int, share: float | None) -> float:
    return math.nan if share is None else float(disagreement(replicas, np.array([share]))[0][0])


COLOURS = ("#0072B2", "#D55E00", "#009E73")  # told apart with any colour vision
MARKERS = ("o", "s", "^")


def draw_sampled(axes: Any, result: Plain) -> None:
    """Share of refusals against the displacement in units of the gap stated there."""
    for colour, marker, (direction, points) in zip(COLOURS, MARKERS, result["curves"].items(), strict=False):
        x = np.array([point["in stated gaps"] for point in points])
        share = np.array([point["refused"] / point["runs"] for point in points])
        bars = np.array([[s - p["lower"], p["upper"] - s] for s, p in zip(share, points, strict=True)]).T
        axes.errorbar(
            x, share, bars.clip(0), color=colour, marker=marker, markersize=4, capsize=2, linewidth=1.2, label=direction
        )
    every = [point for points in result["curves"].values() for point in points]
    passed, stated = (sum(point[key] for point in every) for key in ("passed though stated", "stated"))
    axes.axvline(1, color="black", linestyle="--", linewidth=1)
    axes.text(
        1.03,
        0.5,
        f"stated gap\n\nof {stated:,} runs that\nstated a gap below\nthe true one,\n{passed} passed",
        fontsize=8,
    )
    axes.set_xlim(-0.03, 1.6)
    at_star = f"gap stated at A*: {100 * result['gap']:.0f} % of |A*|"
    axes.set_title(f"{result['setting']}, {result['prompts']:,} prompts a run\n{at_star}", fontsize=9)
    axes.set_xlabel("displacement / gap stated there (median)")
    axes.set_ylabel("share of runs that refuse")
    axes.legend(loc="lower right", fontsize=8, frameon=False, title="displaced", title_fontsize=8)


def draw_counted(axes: Any, results: list[Plain]) -> None:
    """Probability that a count does not agree, with the detectable share of each number of replicas."""
    for colour, result in zip(COLOURS, results, strict=True):
        axes.plot(result["shares"], result["not agrees"], color=colour, label=f"{result['replicas']} replicas")
        axes.axvline(result["detectable share"], color=colour, linestyle="--", linewidth=1)
    axes.set_xlim(0, 0.12)
    axes.set_title("counted replicas, exact\ndashed: detectable share (missed 1 in 1000)", fontsize=9)
    axes.set_xlabel("share of the domain where the statement is wrong")
    axes.set_ylabel("probability that the check does not agree")
    axes.legend(loc="lower right", fontsize=8, frameon=False)


def draw(results: Plain, pyplot: Any) -> None:
    figure, axes = pyplot.subplots(1, 3, figsize=(12.5, 3.9), layout="constrained")
    for one, result in zip(axes, results["sampled"], strict=False):
        draw_sampled(one, result)
    draw_counted(axes[-1], results["counted"])
    for one in axes:
        one.set_ylim(-0.03, 1.03)
        one.spines[["top", "right"]].set_visible(False)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=120, metadata={"Software": None})


def measured(runs: int) -> Plain:
    """All numbers, with what they were made by."""
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    rates = {"false_alarm": FALSE_ALARM, "miss": MISS, "required": REQUIRED}
    command = f"python benchmarks/power_curves.py {runs}"
    return {"command": command, "versions": versions, **rates, "sampled": sampled(runs), "counted": counted()}


def main() -> None:
    try:
        import matplotlib
    except ImportError:
        sys.exit("need matplotlib to draw the curves; python -m pip install matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    if sys.argv[1:] != ["draw"]:
        results = measured(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
        NUMBERS.write_text(json.dumps(results, indent=1) + "\n")
    draw(json.loads(NUMBERS.read_text()), pyplot)


if __name__ == "__main__":
    main()
