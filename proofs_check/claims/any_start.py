r"""From any start of all parameters: does training reach the prediction, and if not, where does it end?

Two checks on the same runs
    ReachesPrediction    replicas counted as in `convergence`, from starts of u12, u, U and u21
    EndsAreStationary    the population gradient at the end of a run is no larger than the noise of the average
What "ended" means
    The returned weights are an average over n prompts' steps. For averaged stochastic gradient descent around a
    stationary point [polyak1992acceleration] theta_bar - theta* = -H^-1 (mean of n gradient noises) to first order,
    so that grad L(theta_bar) = -(that mean) and E |grad L(theta_bar)|^2 = tr Cov(g)/n, with g the gradient of one
    prompt: a run cannot be asked for less. We measure
        r^2 = |grad L(theta_bar)|^2 / (E |g|^2 / n),
    whose mean is at most one for such a run, and by Markov's inequality r^2 <= 10 with probability at least 0.9
    whatever the law of r. Hence the margin sqrt(10) and the required probability 0.9. A transient that has not died
    out, and a saddle that is being left, have a gradient that does not fall with n, and r grows like sqrt(n).
    With few prompts the noise hides everything, so the gradient has to be small on a scale of its own as well: moving
    balanced weights by a share e of their size changes L by e |grad L| |theta| at most, to first order, and
    |grad L| |theta| / L(0) is to be at most 0.2 (1 % of the weights' size moves L by 0.2 % of L(0) at most).
    L and its gradient are theory's polynomial on all parameters; E |g|^2 is sampled from the layer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...theory.one_layer import any_start, fixed_point, formulas, population_loss
from ...theory.one_layer.population_loss import LossOnWeights
from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from .alterable import Alterable
from .claim import AlterationCost, Budget, Claim, Run, Values
from .convergence import TRAINING_SECONDS, Convergence
from .loss_checks import EnumeratedLoss, loss_cases
from .one_layer import LAW, TRAINING
from .one_layer_predictions import letters_of_case, predicted_fixed_point
from .replica_verdict import replica_verdict
from .settings import FloatArray, Setting, gaussian_setting, generator
from .stationarity import Predictor

if TYPE_CHECKING:
    from .loss_checks import Case

TRAINED_ENDS = "iclcheck.numerics.training.ends:trained_ends"
NOISE_PROMPTS = 16_384
STEPS_PER_BUDGETED = 4  # as many prompts as the other convergence checks see, in smaller batches: transients need steps
REPLICAS_PER_BUDGETED = 2  # saddles are left late now and then: 384 replicas forgive 13 misses, 192 only 2
REPLICAS_PER_TASK = 64  # runs of equal d and N train together: the more there are, the cheaper each
# Half of the run is left to the transient, which from a large start takes longer than from the theorem's.
ANY_START: dict[str, Any] = {**TRAINING, "start": "all-parameters", "batch_size": 128, "averaging": 0.5}

Kind = Literal["prediction", "leaking", "leaking in part", "not ended"]
Loss = Callable[[], "LossOnWeights"]


@dataclass(frozen=True)
class End:
    """Where one run ended.

    error       as `Convergence.error`: the distance from the prediction relative to |A*|_F
    gradient    r, the size of the population gradient in units of its sampling error over the averaged prompts
    size        |grad L| |theta| / L(0) at balanced weights
    excess      the larger of gradient and size, each in units of its margin: at most 1 for a run that has ended
    kind        "prediction"; "leaking": u U is negligible, so A = u12 u21^T is of rank one; "leaking in part": any
                other point; "not ended": excess above 1
    """

    error: float
    gradient: float
    size: float
    excess: float
    kind: Kind


@dataclass(frozen=True)
class EndJudge:
    """Judges the end of a run from plain data.

    gradient_margin, size_margin    largest r and size of a run that has ended
    near    relative distances that count as zero in naming an end: |A - A*|_F and the leak, or the distance in the
            geometry of the loss, for the prediction; |u| |U|_F for a point that leaks
    """

    predicted: Predictor = predicted_fixed_point
    loss: Loss = population_loss.general_loss
    gradient_margin: float = math.sqrt(10)
    size_margin: float = 0.2
    near: float = 0.1

    def __call__(self, setting: Setting, W_PV: Any, W_KQ: Any, averaged_prompts: int, squared_gradient: float) -> End:
        """The end at balanced weights (d + 1, d + 1); squared_gradient is E |g|^2 of one prompt there."""
        weights = (np.array(W_PV, dtype=float), np.array(W_KQ, dtype=float))
        error = Convergence(self.predicted, replica_law, {}).error(setting, *weights)
        slope, at_zero = self.population_gradient(setting, weights)
        gradient = slope / math.sqrt(squared_gradient / averaged_prompts)
        size = slope * math.hypot(*(float(np.linalg.norm(W)) for W in weights)) / at_zero
        excess = max(gradient / self.gradient_margin, size / self.size_margin)
        return End(error, gradient, size, excess, self.kind(setting, weights, error, excess))

    def population_gradient(self, setting: Setting, weights: tuple[FloatArray, FloatArray]) -> tuple[float, float]:
        """|grad L| over both weights, and L at zero weights, by the polynomial."""
        (length,) = setting["context_lengths"]
        covariance, task = np.array(setting["covariance"]), np.array(setting["task_covariance"])
        loss = self.loss().for_task(task, setting["noise_variance"])
        slope = float(np.linalg.norm(loss.gradients(covariance, length, weights)))
        return slope, float(loss.value(covariance, length, (0 * weights[0], 0 * weights[1])))

    def left_over(self, setting: Setting, weights: tuple[FloatArray, FloatArray]) -> float:
        """(L - min L)/(L(0) - min L): the square of a relative distance in the geometry of the loss."""
        (length,) = setting["context_lengths"]
        covariance, task, noise = (setting[name] for name in ("covariance", "task_covariance", "noise_variance"))
        least = fixed_point.fixed_point(covariance, length, task, noise).loss
        loss = self.loss().for_task(np.array(task), noise)
        nothing = (0 * weights[0], 0 * weights[1])
        at_end, at_zero = (float(loss.value(np.array(covariance), length, one)) for one in (weights, nothing))
        return (at_end - least) / (at_zero - least)

    def kind(self, setting: Setting, weights: tuple[FloatArray, FloatArray], error: float, excess: float) -> Kind:
        # The verbs that only derive and predict never load numerics.
        from ...numerics.one_layer.observables import blocks

        if excess > 1:
            return "not ended"
        if error <= self.near or self.left_over(setting, weights) <= self.near**2:
            return "prediction"
        parts = blocks(*weights)
        without_leak = abs(float(parts.u)) * float(np.linalg.norm(parts.U))
        rank_one = without_leak <= self.near * float(np.linalg.norm(self.predicted(setting)))
        return "leaking" if rank_one else "leaking in part"


@dataclass(frozen=True)
class AnyStartRuns:
    """Replicas with laws and scales of their own, started at random u12, u, U and u21.

    law(seed, replica) draws the prompts' law, scale(seed, replica) the standard deviation of the start's entries.
    """

    judge_end: EndJudge
    law: Callable[[int, int], Setting]
    scale: Callable[[int, int], float]
    training: Mapping[str, Any]

    def configurations(self, budget: Budget) -> list[dict[str, Any]]:
        common = {**self.training, "steps": STEPS_PER_BUDGETED * budget.training_steps, "seed": budget.seed}
        return [
            {
                **common,
                "distribution": self.law(budget.seed, replica),
                "scale": self.scale(budget.seed, replica),
                "replica": replica,
            }
            for replica in range(REPLICAS_PER_BUDGETED * budget.replicas)
        ]

    def tasks(self, budget: Budget) -> list[Task]:
        wanted = self.configurations(budget)
        parts = (wanted[first : first + REPLICAS_PER_TASK] for first in range(0, len(wanted), REPLICAS_PER_TASK))
        return [self.task(part, budget) for part in parts]

    def task(self, configurations: list[dict[str, Any]], budget: Budget) -> Task:
        cost = TRAINING_SECONDS * sum(one["steps"] * one["batch_size"] for one in configurations)
        parameters = {"configurations": configurations, "noise_prompts": NOISE_PROMPTS}
        return Task(TRAINED_ENDS, parameters, budget.device, cost=cost)

    def ends(self, run: Run, budget: Budget) -> tuple[list[End], str]:
        """One end per replica, and what was run in words."""
        found = run(self.tasks(budget))
        laws = [one["distribution"] for one in self.configurations(budget)]
        names = ("W_PV", "W_KQ", "averaged_prompts", "squared_gradient")
        rows = [row for values in found for row in zip(*(values[name] for name in names), strict=True)]
        ends = [self.judge_end(law, *row) for law, row in zip(laws, rows, strict=True)]
        return ends, f"{prompts_of(found):.1e} prompts; ends: {in_words(ends)}"


def prompts_of(found: list[Values]) -> int:
    return sum(sum(values["prompts"]) for values in found)


def in_words(ends: list[End]) -> str:
    """How many runs ended where."""
    return ", ".join(f"{count} {kind}" for kind, count in kinds_of(ends).items())


def kinds_of(ends: list[End]) -> dict[str, int]:
    """Counts by kind, the most frequent first."""
    return dict(Counter(end.kind for end in ends).most_common())


def quantiles(values: list[float]) -> dict[str, float]:
    """Median, 95 % quantile and largest."""
    return {name: float(np.quantile(values, q)) for name, q in (("median", 0.5), ("95 %", 0.95), ("largest", 1.0))}


@dataclass(frozen=True)
class ReachesPrediction:
    """The claim as it stands: a run from any start ends within the margin of the prediction."""

    runs: AnyStartRuns
    margin: float = 0.05
    required: float = 0.9
    false_alarm: float = 1e-6
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "any start reaches the prediction"

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run: what it shows is that many runs end elsewhere."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return self.runs.tasks(budget)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        ends, ran = self.runs.ends(run, budget)
        errors = np.array([end.error for end in ends])
        unit = "as a relative error of A"
        verdict = replica_verdict(self.name, errors, self.margin, self.required, self.false_alarm, unit, ran)
        return replace(verdict, details={**verdict.details, "ends": kinds_of(ends)})


@dataclass(frozen=True)
class EndsAreStationary:
    """What is left of the claim: a run from any start ends where the population gradient vanishes."""

    runs: AnyStartRuns
    required: float = 0.9
    false_alarm: float = 1e-6
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "any start ends at a stationary point"

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run: the margin, and the largest gradient of a run that ended."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return self.runs.tasks(budget)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        ends, ran = self.runs.ends(run, budget)
        errors = np.array([end.excess for end in ends])
        unit = "as |grad L| in units of what it may be"
        verdict = replica_verdict(self.name, errors, 1.0, self.required, self.false_alarm, unit, ran)
        found = {
            "ends": kinds_of(ends),
            "gradient": quantiles([end.gradient for end in ends]),
            "size": quantiles([end.size for end in ends]),
        }
        return replace(verdict, details={**verdict.details, **found})


def replica_law(seed: int, replica: int) -> Setting:
    """d in 1..3, N in 1..8 (N < d included), condition numbers up to 3, with and without noise."""
    draw = generator(f"any start/{replica}", seed)
    d, length = int(draw.integers(1, 4)), int(draw.integers(1, 9))
    return gaussian_setting(f"any start/{replica}/law", seed, d, [length], noise=bool(draw.integers(2)))


def replica_scale(seed: int, replica: int) -> float:
    """The standard deviation of the start's entries, uniform in 0.1..1."""
    return float(generator(f"any start/{replica}/scale", seed).uniform(0.1, 1.0))


def predict_any_start(parameters: Mapping[str, Any]) -> dict[str, Any]:
    best, leaking = fixed_point.fixed_point(**parameters), any_start.leaking_point(**parameters)
    return {
        "preconditioner": best.preconditioner.tolist(),
        "loss": best.loss,
        "leaking_preconditioner": leaking.preconditioner.tolist(),
        "leaking_loss": leaking.loss,
    }


def any_start_claim(predicted: Predictor = predicted_fixed_point, loss: Loss = population_loss.general_loss) -> Claim:
    """`predicted` and `loss` can be altered, to see the same checks refuse other statements."""
    runs = AnyStartRuns(EndJudge(predicted, loss), replica_law, replica_scale, ANY_START)
    return Claim(
        "fixed-point-any-start",
        any_start.derivation,
        LAW,
        predict_any_start,
        (ReachesPrediction(runs), EndsAreStationary(runs), EnumeratedLoss(loss, general_loss_cases)),
        "training from independent Gaussian entries of u12, u, U and u21, their scale drawn from 0.1 to 1; d in 1..3, "
        "N in 1..8, condition numbers of Lambda and Psi up to 3, noise variance below 0.5. At d = 1 A alone counts. "
        "Loss and gradients by Gauss rules at random weights, d <= 2, N <= 2, with Psi and noise",
        (
            Alterable(
                formulas.general_loss,
                formulas.weight_points,
                lambda seed: [letters_of_case(case) for case in general_loss_cases(seed)],
                lambda formula: any_start_claim(loss=cache(lambda: LossOnWeights(formula.parts["loss"]))),
            ),
        ),
    )


def general_loss_cases(seed: int) -> list[Case]:
    """Random weights under laws with Psi and noise."""
    return loss_cases(((1, 1), (1, 2), (2, 1)), 0.4, "loss/general", seed, noise=True)


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (any_start_claim(),)
