"""What the claims on one common token measure: runs of the flows on K classes alike, and how paths are compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...theory.scan_and_snap.symmetric_task import SymmetricTask, symmetric_task
from ..claims.claim import Parameter, Values
from ..claims.exact_checks import Row
from ..claims.settings import FloatArray
from ..records.tasks import Task

FLOWS = "iclcheck.numerics.scan_and_snap.symmetric_flows"
# Of the derived path: integrals by Gauss's rule near 1e-13, an altered formula's path by DOP853 at 1e-11, times ten.
DERIVED = 1e-10

TASK = (
    Parameter("classes", "K, a whole number from 2 to 1000; each with probability 1/K"),
    Parameter("vocabulary", "M, the number of tokens: from K D + 1 for D distinct tokens a class, to 10^9"),
    Parameter("common_probability", "P_C of the one common token, between 0 and 1"),
    Parameter(
        "distinct_profile",
        "1 to 1000 positive numbers: the probabilities of the D distinct tokens of a class are in this proportion",
    ),
)
RATES = (
    Parameter("eta_Y", "learning rate of the decoder, above 0"),
    Parameter("eta_Z", "learning rate of the attention, above 0; in the velocity it goes with P(n) = 1/K"),
)
TIME = Parameter("time", "t, at least 0: steps of batch size 1, in expectation")


class Pair(NamedTuple):
    """Learning rates eta_Y and eta_Z."""

    decoder: float
    attention: float


@dataclass(frozen=True)
class Case:
    """One task at several pairs of rates and times; the times are in units of K ln M."""

    classes: int
    vocabulary: int
    common: float
    profile: tuple[float, ...]
    rates: tuple[Pair, ...]
    scaled_times: tuple[float, ...]

    @property
    def times(self) -> list[float]:
        unit = self.classes * math.log(self.vocabulary)
        return [round(unit * time, 6) for time in self.scaled_times]

    @property
    def task(self) -> SymmetricTask:
        return symmetric_task(self.classes, self.vocabulary, self.common, list(self.profile))

    def run(self, flow: str) -> dict[str, Any]:
        """As `numerics` reads it."""
        task = {
            "classes": self.classes, "vocabulary": self.vocabulary, "common": self.common,
            "profile": list(self.profile),
        }  # fmt: skip
        return {"task": task, "flow": flow, "rates": [list(pair) for pair in self.rates], "times": self.times}

    def points(self) -> Iterator[tuple[int, int, float, Pair]]:
        """(place of the time, place of the rates, time, rates)."""
        for i, time in enumerate(self.times):
            for j, pair in enumerate(self.rates):
                yield i, j, time, pair


def runs_of(cases: Sequence[Case], flow: str) -> list[dict[str, Any]]:
    return [case.run(flow) for case in cases]


def runs_task(runs: Sequence[Mapping[str, Any]]) -> Task:
    return Task(f"{FLOWS}:symmetric_paths", {"runs": list(runs)}, cost=0.5 * len(runs))


# (task, eta_Y, eta_Z, times) -> (u, z_C, z_1, .., z_D) at each time
Path = Callable[[SymmetricTask, float, float, Sequence[float]], Sequence[Any]]


def rows_of_run(case: Case, run: Values, path: Path) -> list[Row]:
    """Differences of decoder, logits and attention from a path, each with what the integration allows."""
    rows = []
    predicted = [path(case.task, *pair, case.times) for pair in case.rates]
    largest = max(np.abs(run["common"]).max(), np.abs(run["distinct"]).max())
    for i, j, _, _ in case.points():
        u, common, *distinct = (float(x) for x in predicted[j][i])
        decoder = np.array(run["decoder"][i][j])
        logits = np.concatenate([[run["common"][i][j] - common], np.ravel(np.array(run["distinct"][i][j]) - distinct)])
        size = max(abs(run["common"][i][j]), np.abs(run["distinct"][i][j]).max())
        # `error` is relative to the largest entry of the whole run, W's being up to u
        wrong, allowed = np.abs(logits).max() / size, run["error"] * largest / size + DERIVED
        weights = softmax_weights(case.task, np.array([common, *distinct]))
        rows += [
            (float(np.abs(decoder / u - 1).max()), run["error"] * np.abs(run["decoder"]).max() / decoder[0] + DERIVED),
            (float(wrong), float(allowed)),
            # a weight moves by at most its logits' largest difference
            (float(np.abs(weights - run["weights"][i][j]).max()), 2 * float(allowed * size) + DERIVED),
        ]
    return rows


def softmax_weights(task: SymmetricTask, logits: FloatArray) -> FloatArray:
    """Attention of one class."""
    with np.errstate(all="ignore"):
        raw = np.append(task.common, task.distinct) * np.exp(logits)
        return np.asarray(raw / raw.sum())
