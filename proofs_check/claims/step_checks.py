r"""Checks that the layer's prediction is one explicit preconditioned gradient step, on the same prompts.

Three checks
    LayerIsStep           for random A, layer and explicit step agree on the sampled prompts up to rounding
    LayerIsDerivedStep    for random u, U, the layer's prediction is the derived polynomial on the same saved prompts
    TrainedLayerIsStep    a trained layer predicts what one step with the predicted preconditioner predicts, within a
                          margin in root mean square over fresh prompts; replicas are counted as in `convergence`
The explicit step is numerics' own: the gradient of the prompt's squared loss by automatic differentiation. The derived
polynomial is theory's: it is evaluated on the prompts that the layer saw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.tasks import Task
from ..verdicts.verdict import Verdict, decide
from .claim import AlterationCost, Budget, Run, Values
from .convergence import Convergence
from .replica_verdict import replica_verdict
from .settings import ROUNDED, FloatArray, Setting, dimension_of, generator
from .stationarity import layer_weights

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

STEPS = "iclcheck.numerics.one_layer.step_measurements"
PROMPTS_PER_CASE = 2000
SAVED_PROMPTS = 12  # two polynomials that agree on a few random prompts are equal; the prompts go into the record


@dataclass(frozen=True)
class LayerIsStep:
    """Layer with u U = A for random A, not symmetric, against the explicit step preconditioned with A^T.

    It tests the identity of the two functions, transpose included, and nothing about A*.
    step    the preconditioner that the explicit step takes for A; a control leaves out the transpose
    """

    settings: Callable[[int], list[Setting]]
    step: Callable[[FloatArray], FloatArray] = np.transpose
    cost_of_alteration: AlterationCost = "exact"
    name: str = "layer equals step"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        cases = [
            {"distribution": setting, **layer_weights(A), "preconditioner": self.step(A).tolist()}
            for setting, A in random_layers(self.name, self.settings(budget.seed), budget.seed)
        ]
        return [steps_task(cases, PROMPTS_PER_CASE, f"{self.name}/{budget.seed}", budget)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (values,) = run(self.tasks(budget))
        settings = self.settings(budget.seed)
        # u and U are rounded before they enter a task, each by ROUNDED at most.
        allowed = 2 * ROUNDED
        measured = max(d / s for d, s in zip(values["difference"], values["step"], strict=True))
        return Verdict(
            self.name, decide(measured <= allowed, 2 * allowed, 1e-6), measured, 0.0, allowed, 2 * allowed,
            "as a relative root mean square over prompts", 0.0, 0.0,
            f"{len(settings) * PROMPTS_PER_CASE} prompts, {len(settings)} random A",
            {"largest in units of its rounding bound": max(values["largest_rounding"])},
        )  # fmt: skip


@dataclass(frozen=True)
class LayerIsDerivedStep:
    """The layer with random u, U against the derived step, a polynomial in the letters of the prompt.

    step    the formula whose value is the step's prediction on one prompt
    """

    settings: Callable[[int], list[Setting]]
    step: Callable[[], Formula]
    cost_of_alteration: AlterationCost = "exact"
    name: str = "layer equals the derived step"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        layers = random_layers(self.name, self.settings(budget.seed), budget.seed)
        cases = [{"distribution": setting, **layer_weights(A)} for setting, A in layers]
        parameters = {"cases": cases, "prompts": SAVED_PROMPTS, "stream_key": f"{self.name}/{budget.seed}"}
        return [Task(f"{STEPS}:layer_predictions", parameters, budget.device, cost=0.05)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (task,) = self.tasks(budget)
        (found,) = run([task])
        rows = [row for place, case in enumerate(task.parameters["cases"]) for row in self.rows(case, found, place)]
        measured, allowed = max(rows, key=lambda row: row[0] / row[1])
        gap = 2 * max(row[1] for row in rows)
        return Verdict(
            self.name, decide(all(m <= a for m, a in rows), gap, 1e-6), measured, 0.0, allowed, gap,
            "as a relative root mean square over prompts", 0.0, 0.0,
            f"{len(rows)} random u, U with {SAVED_PROMPTS} prompts each", {},
        )  # fmt: skip

    def rows(self, case: dict[str, Any], found: Values, place: int) -> list[tuple[float, float]]:
        """Root mean squares of the difference and of its rounding bound, relative to that of the prediction."""
        layer = np.array(found["prediction"][place])
        step = np.array([self.on_prompt(case, np.array(E)) for E in found["embedding"][place]])
        size = root_mean_square(layer)
        return [(root_mean_square(layer - step) / size, root_mean_square(found["rounding"][place]) / size)]

    def on_prompt(self, case: dict[str, Any], E: FloatArray) -> float:
        """The derived prediction on one prompt E (d + 1, N + 1)."""
        from ...theory.one_layer.formulas import letters_of_prompt

        return float(self.step().value(letters_of_prompt(E, np.array(case["W_PV"]), np.array(case["W_KQ"]))))


def random_layers(name: str, settings: list[Setting], seed: int) -> list[tuple[Setting, FloatArray]]:
    """Each setting with a random A (d, d), not symmetric, that follows from the name of the check and the place."""
    sizes = [(dimension_of(setting),) * 2 for setting in settings]
    draws = [generator(f"{name}/{place}", seed).uniform(-1, 1, size=size) for place, size in enumerate(sizes)]
    return list(zip(settings, draws, strict=True))


def root_mean_square(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


@dataclass(frozen=True)
class TrainedLayerIsStep:
    """Trained layers, the same runs as the convergence check of fixed-point, against the explicit step."""

    trained: Convergence
    required: float = 0.9
    false_alarm: float = 1e-6
    cost_of_alteration: AlterationCost = "measured anew"
    name: str = "trained layer predicts the step"

    def expected_gap(self, budget: Budget) -> float:
        """As for the weights of the same trainings."""
        return self.trained.expected_gap(budget)

    def tasks(self, budget: Budget) -> list[Task]:
        return self.trained.tasks(budget)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.trained.tasks(budget))
        settings = [one["distribution"] for one in self.trained.configurations(budget)]
        weights = [pair for v in found for pair in zip(v["W_PV"], v["W_KQ"], strict=True)]
        cases = [
            {
                "distribution": s,
                "W_PV": W_PV,
                "W_KQ": W_KQ,
                "preconditioner": self.trained.predicted(s).tolist(),
            }
            for s, (W_PV, W_KQ) in zip(settings, weights, strict=True)
        ]
        (values,) = run([steps_task(cases, PROMPTS_PER_CASE, f"{self.name}/{budget.seed}", budget)])
        errors = np.array(values["difference"]) / np.array(values["step"])
        return replica_verdict(
            self.name, errors, budget.margin, self.required, self.false_alarm,
            "as a relative root mean square over prompts", f"{PROMPTS_PER_CASE} prompts each",
        )  # fmt: skip


def steps_task(cases: list[dict[str, Any]], prompts: int, stream_key: str, budget: Budget) -> Task:
    parameters = {"cases": cases, "prompts": prompts, "stream_key": stream_key}
    return Task(f"{STEPS}:layers_against_steps", parameters, budget.device, cost=0.5)
