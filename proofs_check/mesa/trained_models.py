r"""The trainings that mesa-compressed-depth and mesa-probing share, and the verdicts that count their replicas.

Domain. Autoregressive training of causal linear attention on constructed tokens (0, s_t, s_{t-1}), s_{t+1} = W s_t
with a fresh Haar W for each sequence, first states on the sphere, no noise, no 1/t. Quick: n = 4, T = 10, one or two
layers with one or two heads, keys and values of the token's width. Full: n = 10, T = 50, 1 to 6 layers with four heads,
keys and values of size 20: the sizes of [vonoswald2023uncovering].
Error rates. A replica is a training with its own start, sequences and test sequences; it hits or not, and the share of
hits is bounded by Clopper and Pearson (`verdicts.replicas`) at the rate FALSE_ALARM for each of the five counts of both
claims, so 5e-4 for all together. Layers and heads are taken in turn from DEPTHS, not drawn: the share is the mean over
that mixture, of which eight in ten have two layers; the binomial bound holds for such a mean too
[hoeffding1956distribution]. No law of the trained weights is assumed. A training that diverges misses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..claims.claim import AlterationCost, Budget, Run, Values
from ..claims.replica_verdict import replica_verdict
from ..records.tasks import Task
from ..verdicts.verdict import Verdict

MEASUREMENT = "iclcheck.numerics.reverse_engineering.reverse_engineering:reverse_engineered"
REQUIRED, FALSE_ALARM = 0.5, 1e-4
DEPTHS = ((2, 1), (2, 2), (1, 1), (2, 1), (2, 1), (2, 1), (2, 2), (1, 2), (2, 1), (2, 1))  # (layers, heads), in turn
QUICK_REPLICAS, QUICK_STEPS = 20, 700
SEEDS, LAYERS = 5, (1, 2, 3, 4, 5, 6)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
DIVERGED = 1e9  # in the place of an error: the numbers of a verdict are finite
EARLY = 1.5  # t/n up to which preconditioned inputs are probed for the claim


@dataclass(frozen=True)
class Sizes:
    """What a profile trains and measures."""

    runs: tuple[dict[str, Any], ...]
    test_sequences: int
    fit_sequences: int
    fit_steps: int
    positions: tuple[int, ...]
    seconds: float


def quick(budget: Budget) -> Sizes:
    """Twenty trainings of a few seconds each; fewer and shorter ones where the budget has less."""
    task = {"size": 4, "length": 10, "initial": "sphere"}
    runs = []
    for replica in range(min(QUICK_REPLICAS, budget.replicas)):
        layers, heads = DEPTHS[replica % len(DEPTHS)]
        shape = {"size": 4, "layers": layers, "heads": heads}
        plain = {"steps": min(QUICK_STEPS, budget.training_steps), "batch_size": 64, "learning_rate": 0.01}
        runs.append({"task": task, "shape": shape, **plain, "replica": 1000 * budget.seed + replica})
    return Sizes(tuple(runs), 2048, 512, 50, (3, 6, 9), 4.0)


def full(seed: int) -> Sizes:
    """The sizes of the paper, for a GPU; every training is a task of its own, so that a run can be taken up again."""
    task = {"size": 10, "length": 50, "initial": "sphere"}
    runs = []
    for replica in range(SEEDS):
        for layers in LAYERS:
            shape = {"size": 10, "layers": layers, "heads": 4, "key_size": 20, "value_size": 20, "scale": 0.1}
            plain = {"steps": 20_000, "batch_size": 512, "learning_rate": 0.002}
            runs.append({"task": task, "shape": shape, **plain, "replica": 1000 * seed + replica})
    return Sizes(tuple(runs), 4096, 1024, 300, (5, 10, 15, 20, 25), 600.0)


def sizes_of(budget: Budget) -> Sizes:
    return full(budget.seed) if budget.profile == "full" else quick(budget)


def tasks_of(budget: Budget) -> list[Task]:
    """One task for each training; both claims ask for the same ones."""
    sizes = sizes_of(budget)
    further = {
        "test_sequences": sizes.test_sequences, "fit_sequences": sizes.fit_sequences, "fit_steps": sizes.fit_steps,
        "positions": list(sizes.positions), "regulariser": 1.0, "shares": list(SHARES),
    }  # fmt: skip
    return [Task(MEASUREMENT, {"run": run, **further}, budget.device, cost=sizes.seconds) for run in sizes.runs]


ErrorOf = Callable[[Mapping[str, Any], Values, tuple[int, ...]], float | None]


@dataclass(frozen=True)
class CountedTrainings:
    """Replicas that hit, out of those that the statement speaks of.

    error(run, values, positions) -> what has to be at most `margin`; None where the statement says nothing of a run
    unit, further    words; further(values) -> a number for the details, by name
    """

    name: str
    error: ErrorOf
    margin: float
    unit: str
    further: Mapping[str, Callable[[Values], float]]
    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run: the margin and the largest error of a hit."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return tasks_of(budget)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        sizes, found = sizes_of(budget), run(self.tasks(budget))
        rows = [self.error_of(one, values, sizes.positions) for one, values in zip(sizes.runs, found, strict=True)]
        errors = np.array([row for row in rows if row is not None])
        depths = sorted({run["shape"]["layers"] for run, row in zip(sizes.runs, rows, strict=True) if row is not None})
        ran = f"trainings of {', '.join(map(str, depths))} layers, {sizes.test_sequences} test sequences each"
        verdict = replica_verdict(self.name, errors, self.margin, REQUIRED, FALSE_ALARM, self.unit, ran, signed=True)
        ended = [values for values in found if "diverged" not in values]
        verdict.details["diverged"] = len(found) - len(ended)
        for name, number in self.further.items():
            verdict.details[name] = float(np.median([number(values) for values in ended])) if ended else None
        return verdict

    def error_of(self, run: Mapping[str, Any], values: Values, positions: tuple[int, ...]) -> float | None:
        """That of the statement; a training that diverged misses it."""
        return DIVERGED if "diverged" in values else self.error(run, values, positions)


def loss(values: Values, name: str) -> float:
    """The mean loss of one of the models of a run."""
    return float(values["losses"][name]["sum"] / values["losses"][name]["count"])
