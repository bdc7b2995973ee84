r"""The claim gradient-flow-limit: where the flow without leak ends, with its scale and its sign.

Two checks
    IntegratedLimit     the flow of the real layer's enumerated gradient, followed until the gradient has died out, from
                        random unbalanced starts, some of which change the sign of u on the way
    TrainedLimit        replicas of plain stochastic gradient descent on the real layer from random starts without leak
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.one_layer import flow_limit, formulas
from ...theory.one_layer.assumptions import AssumptionError
from ...theory.one_layer.decoupled_flow import FlowState, larger_root
from ...theory.one_layer.pl_inequality import derived_constant
from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from .alterable import Alterable
from .claim import AlterationCost, Budget, Claim, Run, Values
from .convergence import replicas_of, training_tasks
from .gradient_flow import FLOWS, START, ended, flow_of, measured_row, random_starts, row_of
from .loss_checks import enumerated_verdict
from .one_layer import NOISE_VARIANCE, TASK_COVARIANCE
from .one_layer_predictions import letters_of_law
from .replica_verdict import replica_verdict
from .settings import FloatArray, Setting, dimension_of, gaussian_setting, generator
from .stationarity import described

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

Limit = Callable[[Setting, FlowState], FlowState]


def derived_limit(setting: Setting, start: FlowState) -> FlowState:
    """What `predict` gives. Raises AssumptionError for starts that it refuses."""
    return limit_of_text(json.dumps([setting, start.u, start.U.tolist()]))


@cache  # an altered limit takes the sign from here, for the same starts as every other one
def limit_of_text(text: str) -> FlowState:
    """The same, for a setting and a start as JSON."""
    setting, u, U = json.loads(text)
    (length,) = setting["context_lengths"]
    law = (setting["task_covariance"], setting["noise_variance"])
    found = flow_limit.flow_limit(setting["covariance"], length, u, U, *law)
    return FlowState(found.value_gain, found.key_query)


def limit_of(formula: Formula) -> Limit:
    """The limit by a formula for c and A*, with the sign that the flow reaches."""

    def limit(setting: Setting, start: FlowState) -> FlowState:
        sign = math.copysign(1.0, derived_limit(setting, start).u)
        values = {**letters_of_law(setting), "u": start.u, "U": start.U}
        c, *entries = np.asarray(formula.value(values), dtype=float)
        best = np.reshape(entries, (dimension_of(setting),) * 2)
        u = sign * larger_root(float(c), float(np.linalg.norm(best))) ** 0.5
        return FlowState(u, best / u)

    return limit


@dataclass(frozen=True)
class IntegratedLimit:
    """Where the integrated flow of the real layer has come to rest, against the predicted u and U.

    The allowance is the whole difference between two tolerances of the integrator, and the rest of the path: at most 2
    |grad L|/mu, with the mu of pl-inequality at that point.
    """

    limit: Limit
    settings: Callable[[int], list[Setting]]
    starts: int = 4
    gradient: float = 1e-6
    longest: float = 100.0
    tolerance: float = 1e-7
    resolution: float = 1e-3
    cost_of_alteration: AlterationCost = "exact"
    name: str = "limit of the flow, integrated"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled; the error of the integration is known after the run."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(setting, budget.seed) for setting in self.settings(budget.seed)]

    def task(self, setting: Setting, seed: int) -> Task:
        starts = [{"u": one.u, "U": one.U.tolist()} for one in random_starts(setting, seed, self.starts, SCALE)]
        parameters = {
            "distribution": setting, "starts": starts, "gradient": self.gradient, "longest": self.longest,
            "tolerance": self.tolerance,
        }  # fmt: skip
        return Task(f"{FLOWS}:enumerated_limits", parameters, cost=2.0)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        settings = self.settings(budget.seed)
        found = run(self.tasks(budget))
        judged = [
            (self.row(setting, start, values, k), values["fine"]["u"][k] * start.u < 0)
            for setting, values in zip(settings, found, strict=True)
            for k, start in enumerate(random_starts(setting, budget.seed, self.starts, SCALE))
        ]
        crossed = sum(turned for _, turned in judged)
        ran = (
            f"{sum(v['evaluations'] for v in found)} gradients over Gauss nodes from {len(judged)} starts, {crossed} "
            f"of which "
            "change the sign of u"
        )
        unit = "as a distance in units of the weights' size"
        rows = [row for row, _ in judged]
        return enumerated_verdict(self.name, self.resolution, rows, unit, ran, [described(one) for one in settings])

    def row(self, setting: Setting, start: FlowState, values: Values, place: int) -> tuple[float, float]:
        fine, coarse = (measured_row(values[name], place) for name in ("fine", "coarse"))
        predicted = row_of(self.limit(setting, start))
        size, d = float(np.linalg.norm(fine)), dimension_of(setting)
        mu = derived_constant(flow_of(setting), FlowState(float(fine[0]), fine[1:].reshape(d, d)))
        rest = 2 * (values["fine"]["gradient"][place] + values["coarse"]["gradient"][place]) / mu
        allowed = (float(np.linalg.norm(fine - coarse)) + rest) / size
        return float(np.linalg.norm(fine - predicted)) / size, allowed


@dataclass(frozen=True)
class TrainedLimit:
    """Replicas of plain stochastic gradient descent from random starts without leak.

    The error of a replica is |W_end - W_limit| / |W_limit| over both weights, the leak included; another sign, or
    another scale between u and U, is an error of order one. Runs that pass near u = 0 take longer than any budget: they
    are counted as misses, as are starts that the prediction refuses.
    """

    limit: Limit
    setting: Callable[[int, int], Setting]
    training: dict[str, Any] = field(default_factory=dict)
    margin: float = 0.25
    required: float = 0.8
    false_alarm: float = 1e-6
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "limit of descent"

    def configurations(self, budget: Budget) -> list[dict[str, Any]]:
        return replicas_of(self.training, self.setting, budget)

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run: the margin, and how far runs on fresh prompts stray."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return training_tasks(self.configurations(budget), budget)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        laws = [one["distribution"] for one in self.configurations(budget)]
        errors = np.array([self.error(law, found, k) for k, law in enumerate(laws)])
        return replica_verdict(
            self.name, errors, self.margin, self.required, self.false_alarm,
            "as a distance from the limit in units of its size",
            f"{sum(sum(v['prompts']) for v in found):.1e} prompts",
        )  # fmt: skip

    def error(self, setting: Setting, found: list[Values], replica: int) -> float:
        d = dimension_of(setting)
        start, end = ended(found, "start_", replica), ended(found, "", replica)
        try:
            state = self.limit(setting, FlowState(float(start[0]), start[1 : 1 + d * d].reshape(d, d)))
        except AssumptionError:
            return REFUSED
        predicted: FloatArray = np.concatenate([row_of(state), np.zeros(2 * d)])
        return float(np.linalg.norm(end - predicted) / np.linalg.norm(predicted))


REFUSED = 10.0  # the error of a run whose start has no prediction: larger than that of any other sign


SCALE = 0.7  # of the integrated starts: the larger |U| beside u, the stiffer the flow


def limit_settings(seed: int) -> list[Setting]:
    sizes = ((1, 2, True), (1, 3, True), (2, 2, False), (2, 3, False))
    return [gaussian_setting(f"limit/{d}/{n}/{noise}", seed, d, [n], noise=noise) for d, n, noise in sizes]


def replica_law(seed: int, replica: int) -> Setting:
    """d in 1..2, N in 4, 8, condition numbers up to 3, with and without noise."""
    draw = generator(f"limit/replica/{replica}", seed)
    d, length = (
        int(draw.integers(1, 3)),
        (4, 8)[int(draw.integers(2))],
    )  # few shapes: runs of equal d and N train together
    return gaussian_setting(f"limit/replica/{replica}/law", seed, d, [length], noise=bool(draw.integers(2)))


# Plain steps, since others do not conserve c; small ones, since each adds h^2 (|g_p|^2 - |g_K|^2) to it.
DESCENT: dict[str, Any] = {
    "start": "no-leak", "scale": 0.5, "optimiser": "sgd", "learning_rate": 0.03, "batch_size": 256,
    "schedule": "linear", "averaging": 0.5, "steps": 768,
}  # fmt: skip


def predict_limit(parameters: Mapping[str, Any]) -> dict[str, Any]:
    found = flow_limit.flow_limit(**parameters)
    return {"value_gain": found.value_gain, "key_query": found.key_query.tolist()}


def letters_of_starts(seed: int) -> list[Mapping[str, Any]]:
    """Values of the letters where the limit is integrated."""
    return [
        {**letters_of_law(setting), "u": start.u, "U": start.U}
        for setting in limit_settings(seed)
        for start in random_starts(setting, seed, 4, SCALE)
    ]


def flow_limit_claim(limit: Limit = derived_limit) -> Claim:
    """`limit` can be altered, to see the same checks refuse other limits."""
    return Claim(
        "gradient-flow-limit",
        flow_limit.derivation,
        (*START, TASK_COVARIANCE, NOISE_VARIANCE),
        predict_limit,
        (IntegratedLimit(limit, limit_settings), TrainedLimit(limit, replica_law, DESCENT)),
        "random starts without leak, entries uniform in (-0.7, 0.7), not balanced, under four enumerated laws (d <= 2, "
        "N <= 3); descent from independent Gaussian entries of standard deviation 0.5, d in 1..2, N = 4 or 8. "
        "Condition numbers up to 3, noise variance below 0.5",
        (
            Alterable(
                formulas.flow_limit,
                formulas.weight_points,
                letters_of_starts,
                lambda formula: flow_limit_claim(limit_of(formula)),
            ),
        ),
    )


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (flow_limit_claim(),)
