r"""Stationarity: the gradient of the real layer's loss at the predicted weights is zero, along A and along the leak.

Main statement
    With directions V_k such that E Z_k = <W_k, A - A*> for an orthonormal basis W_k, the mean of Z_k over prompts
    measures the displacement of the predicted A from the stationary point, in units of A itself. It is zero at the
    right prediction; unbiased for any number of prompts.
Three checks
    SampledStationarity       over fresh prompts, judged by `heavy_tails` with the exact second moment of Z_k
    EnumeratedStationarity    over Gauss nodes, exact up to rounding: no false alarms, but small d and N only
    EnumeratedLeakGradient    dL/du12 and dL/du21 at the predicted weights, over Gauss nodes: both are zero
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.plain_data import content_hash
from ..records.tasks import Task
from ..verdicts.heavy_tails import MeanComparison, compare_mean
from ..verdicts.sample_size import draws_needed, expected_gap
from ..verdicts.verdict import Verdict, decide
from .claim import AlterationCost, Budget, Run, Values
from .settings import ROUNDED, FloatArray, Setting, dimension_of, rounded

if TYPE_CHECKING:
    from ...theory.one_layer.stationarity import StationarityPlan

Predictor = Callable[[Setting], FloatArray]
Planner = Callable[[Setting, FloatArray], "StationarityPlan"]
Directions = Callable[[Setting, FloatArray], FloatArray]

SAMPLED = "iclcheck.numerics.one_layer.sampled_measurements"
ENUMERATED = "iclcheck.numerics.one_layer.enumerated_measurements"
UNIT = "as a displacement of A in units of |A|_F"


@dataclass(frozen=True)
class SampledStationarity:
    """The sampled gradient at the predicted weights, in several settings.

    through     "layer": the attention layer;  "step": an explicit preconditioned gradient step
    variant     whether the budget's gap for variants counts, or that for the main claim
    resolution  the largest displacement (relative to |A|_F) that a pass may have missed
    """

    predicted: Predictor
    plan: Planner
    settings: Callable[[int], list[Setting]]
    through: str = "layer"
    resolution: float = 0.05
    false_alarm: float = 1e-6
    miss: float = 1e-3
    variant: bool = True
    cost_of_alteration: AlterationCost = "measured anew"

    @property
    def name(self) -> str:
        return "stationarity, sampled" + ("" if self.through == "layer" else " (explicit step)")

    def task(self, setting: Setting, budget: Budget, settings: int) -> Task:
        """One of `settings` settings, with the prompts that the budget's gap needs there."""
        weights = self.predicted(setting)
        directions = rounded(self.plan(setting, weights).directions).tolist()
        common: dict[str, Any] = {
            "distribution": setting,
            "directions": directions,
            "prompts": self.prompts(setting, budget, settings),
            "stream_key": f"{self.name}/{budget.seed}/{content_hash(setting)}",
        }
        if self.through == "step":
            parameters = {**common, "preconditioner": rounded(weights).tolist()}
            measurement, cost = "sampled_step_stationarity", 4e-7
        else:
            parameters = {**common, **layer_weights(weights)}
            measurement, cost = "sampled_stationarity", 2.5e-7
        return Task(f"{SAMPLED}:{measurement}", parameters, budget.device, cost=cost * common["prompts"])

    def prompts(self, setting: Setting, budget: Budget, settings: int) -> int:
        """How many prompts have the budget's gap, rounded up to two digits with a tenth to spare.

        The spread of the draws is that of their law up to sampling: the tenth is for the gap that is found then.
        """
        moments = self.second_moments(setting)
        gap = budget.gap_of_variants if self.variant else budget.gap
        needed = 1.1 * draws_needed(gap, list(moments), **self.rates(settings, len(moments)))
        digits = 10 ** max(0, len(str(int(needed))) - 2)
        return int(digits * math.ceil(needed / digits))

    def second_moments(self, setting: Setting) -> FloatArray:
        """E Z_k^2 in units of |A|_F^2, from above: those of the rounded weights and directions, too."""
        weights = self.predicted(setting)
        moments = self.plan(setting, weights).second_moments / np.linalg.norm(weights) ** 2
        return np.asarray(moments * (1 + 100 * ROUNDED))

    def rates(self, settings: int, components: int) -> dict[str, float]:
        """Of one comparison: false alarms are shared among all, misses among the components of a setting."""
        return {"false_alarm": self.false_alarm / (settings * components), "miss": self.miss / components}

    def expected_gap(self, budget: Budget) -> float:
        """From the exact second moments and the planned prompts, the largest over the settings."""
        settings = self.settings(budget.seed)
        return max(self.gap_at(setting, budget, len(settings)) for setting in settings)

    def gap_at(self, setting: Setting, budget: Budget, settings: int) -> float:
        """The expected gap in one of `settings` settings."""
        moments = list(self.second_moments(setting))
        prompts = self.prompts(setting, budget, settings)
        return expected_gap(prompts, moments, **self.rates(settings, len(moments)))

    def tasks(self, budget: Budget) -> list[Task]:
        settings = self.settings(budget.seed)
        return [self.task(setting, budget, len(settings)) for setting in settings]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        settings = self.settings(budget.seed)
        found = run(self.tasks(budget))
        compared = [self.compare(s, v, len(settings)) for s, v in zip(settings, found, strict=True)]
        gaps = [frobenius([one.detectable for one in row]) for row in compared]
        worst = max((one for row in compared for one in row), key=lambda one: abs(one.measured) / one.allowed)
        holds = all(one.holds for row in compared for one in row)
        prompts = sum(row[0].draws for row in compared)
        return Verdict(
            self.name, decide(holds, max(gaps), self.resolution), worst.measured, 0.0, worst.allowed, max(gaps), UNIT,
            self.false_alarm, self.miss,
            f"{prompts:.1e} prompts in {len(settings)} settings",
            {"settings": [described(s) for s in settings], "detectable": [finite(g) for g in gaps]},
        )  # fmt: skip

    def compare(self, setting: Setting, values: Values, settings: int) -> list[MeanComparison]:
        """One comparison per direction, in units of |A|_F; the rates are shared among all of them."""
        moments = self.second_moments(setting)
        rates = self.rates(settings, len(moments))
        scale = 1 / float(np.linalg.norm(self.predicted(setting)))
        return [
            compare_mean(
                values["count"], scale * values["sum"][k], scale**2 * values["sum_of_squares"][k], float(moment),
                **rates,
            )
            for k, moment in enumerate(moments)
        ]  # fmt: skip


@dataclass(frozen=True)
class EnumeratedStationarity:
    """The exact gradient at the predicted weights, in settings small enough to enumerate.

    through     "layer" or "step", as in `SampledStationarity`
    """

    predicted: Predictor
    directions: Directions
    settings: Callable[[int], list[Setting]]
    through: str = "layer"
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"

    @property
    def name(self) -> str:
        return "stationarity, enumerated" + ("" if self.through == "layer" else " (explicit step)")

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        cases = [self.case(setting) for setting in self.settings(budget.seed)]
        measurement = "enumerated_stationarity" if self.through == "layer" else "enumerated_step_stationarity"
        return [Task(f"{ENUMERATED}:{measurement}", {"cases": cases}, cost=0.02)]

    def case(self, setting: Setting) -> dict[str, Any]:
        weights = self.predicted(setting)
        directions = rounded(self.directions(setting, weights)).tolist()
        if self.through == "step":
            return {"distribution": setting, "directions": directions, "preconditioner": rounded(weights).tolist()}
        return {"distribution": setting, "directions": directions, **layer_weights(weights)}

    def judge(self, run: Run, budget: Budget) -> Verdict:
        settings = self.settings(budget.seed)
        (found,) = run(self.tasks(budget))
        measured_in = zip(settings, found["mean"], found["rounding"], strict=True)
        rows = [self.displacement(setting, mean, rounding) for setting, mean, rounding in measured_in]
        measured, allowed = max(rows, key=lambda row: row[0] / row[1])
        gap = 2 * max(row[1] for row in rows)
        return Verdict(
            self.name, decide(all(m <= a for m, a in rows), gap, self.resolution), measured, 0.0, allowed, gap, UNIT,
            0.0, 0.0,
            f"{sum(found['nodes']):.1e} Gauss nodes in {len(settings)} settings",
            {"settings": [described(s) for s in settings], "displacements": [row[0] for row in rows]},
        )  # fmt: skip

    def displacement(self, setting: Setting, mean: list[float], rounding: list[float]) -> tuple[float, float]:
        """|A - A*|_F as measured, and the rounding errors of rule and prediction, relative to |A|_F."""
        size = float(np.linalg.norm(self.predicted(setting)))
        of_rule = frobenius(rounding) / size
        # u and U are rounded before they enter a task, each by ROUNDED at most
        return frobenius(mean) / size, of_rule + prediction_rounding(setting) + 2 * ROUNDED


@dataclass(frozen=True)
class EnumeratedLeakGradient:
    """dL/du12 and dL/du21 at the predicted weights, where u12 = u21 = 0; zero by parity for any A.

    leak     the first entries of u12 and u21 that the layer is given besides A; a control gives it some
    """

    predicted: Predictor
    settings: Callable[[int], list[Setting]]
    leak: tuple[float, float] = (0.0, 0.0)
    cost_of_alteration: AlterationCost = "exact"
    name: str = "gradient along the leak, enumerated"

    def task(self, setting: Setting) -> Task:
        weights = layer_weights(self.predicted(setting))
        weights["W_PV"][-1][0], weights["W_KQ"][-1][0] = self.leak
        return Task(f"{ENUMERATED}:enumerated_gradient", {"distribution": setting, **weights}, cost=0.1)

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(setting) for setting in self.settings(budget.seed)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        settings = self.settings(budget.seed)
        found = run([self.task(setting) for setting in settings])
        measured = max(self.largest(values) for values in found)
        return Verdict(
            self.name, decide(measured <= 1, 2, 2), measured, 0.0, 1.0, 2.0, "in units of its rounding bound", 0.0, 0.0,
            f"{sum(v['nodes'] for v in found):.1e} Gauss nodes in {len(settings)} settings",
            {"settings": [described(s) for s in settings]},
        )  # fmt: skip

    def largest(self, values: Values) -> float:
        """The largest entry of the two gradients, each in units of the bound on its rounding error."""
        by_value = np.abs(values["W_PV"][-1][:-1]) / np.array(values["W_PV_rounding"][-1][:-1])
        by_key_query = np.abs(values["W_KQ"][-1][:-1]) / np.array(values["W_KQ_rounding"][-1][:-1])
        return float(max(by_value.max(), by_key_query.max()))


def prediction_rounding(setting: Setting) -> float:
    """A bound on the relative rounding error of a predicted A.

    Gaussian elimination with partial pivoting solves a nearby system: relative backward error at most
    3 d^3 2^(d-1) eps [higham2002accuracy, Section 9.4], enlarged by the condition number of the system
    left = (1 + 1/N) Psi Lambda + rho I = Lambda^-1/2 ((1 + 1/N) Lambda^1/2 Psi Lambda^1/2 + rho I) Lambda^1/2,
    at most cond(Lambda)^2 cond(Psi), and by d between the norms of the two; 8 eps more for forming the system and the
    weights u, U.
    """
    d = dimension_of(setting)
    condition = np.linalg.cond(setting["covariance"]) ** 2 * np.linalg.cond(setting["task_covariance"])
    return float((3 * d**4 * 2 ** (d - 1) + 8) * np.finfo(float).eps * condition)


def layer_weights(preconditioner: FloatArray) -> dict[str, Any]:
    """W_PV and W_KQ, balanced and rounded, of the layer with this preconditioner and no leak."""
    from ...theory.one_layer.fixed_point import balanced_weights

    value_weights, key_query_weights = balanced_weights(preconditioner)
    return {"W_PV": rounded(value_weights).tolist(), "W_KQ": rounded(key_query_weights).tolist()}


def frobenius(entries: Any) -> float:
    return float(np.sqrt(np.sum(np.square(entries))))


def finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def described(setting: Setting) -> str:
    """A setting in a few words."""
    lengths = setting["context_lengths"]
    length = str(lengths[0]) if len(lengths) == 1 else f"one of {lengths}"
    return f"d = {dimension_of(setting)}, N = {length}, noise variance {setting['noise_variance']:.3g}"
