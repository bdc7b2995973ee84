r"""The claim mesa-learning-rate: the best gradient step and the best single layer on random orthogonal dynamics.

Three checks
    EnumeratedStep       the real layer's loss at three rates, averaged over O(n) and s_1 without sampling: the rate
                         at which the parabola through them is least, and its value there
    EnumeratedOptimum    the real layer with the predicted best weights: its loss, and no slope in any weight
    SampledStep          the loss at the predicted rate over fresh sequences, up to n = 10 and T = 50
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...theory.orthogonal_dynamics import learning_rate, one_layer_optimum
from ...theory.orthogonal_dynamics.one_step_rate import derived_step_loss
from ..claims.alterable import Alterable
from ..claims.claim import AlterationCost, Budget, Claim, Parameter, Run, Values
from ..claims.loss_checks import sampled_verdict
from ..claims.settings import ROUNDED
from ..records.plain_data import content_hash
from ..records.tasks import Task
from ..verdicts.empirical_bernstein import compare_mean_in_interval
from ..verdicts.verdict import Verdict
from .enumerated_means import EnumeratedMeans, Size, described, slope_row, values_of
from .layer_of_features import merged_weights

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

SAMPLED = "iclcheck.numerics.orthogonal_dynamics.sampled_losses"
StepPrediction = Callable[[Size], tuple[float, float]]  # -> (rate, loss)
# At T = 3 only one pair is seen before the last target; four states let all moments of the formula enter.
ENUMERATED: tuple[Size, ...] = ((1, 4), (1, 6), (2, 4), (2, 6), (3, 4))
LARGE: tuple[Size, ...] = ((4, 12), (10, 21), (10, 50))


def predicted_step(size: Size) -> tuple[float, float]:
    """eta* and the loss there."""
    step = derived_step_loss(*size)
    return float(step.rate), float(step.least)


def step_by(formula: Formula) -> StepPrediction:
    """The prediction of an altered formula."""

    def predicted(size: Size) -> tuple[float, float]:
        rate, loss = formula.value(values_of(size))
        return float(rate), float(loss)

    return predicted


def case(size: Size, rate: float) -> dict[str, Any]:
    """The layer of one gradient step."""
    weights = merged_weights({one_layer_optimum.GRADIENT_STEP: rate}, size[0])
    return {"size": size[0], "length": size[1], **weights}


def rate_beside(size: Size) -> float:
    """A round rate of the size of eta*, which no formula has to know."""
    doublings = (size[0] + size[1]).bit_length()
    return float(0.5**doublings)


@dataclass(frozen=True)
class EnumeratedStep(EnumeratedMeans):
    """Where the parabola of the real layer's loss is least, and how low: both relative to the prediction."""

    predicted: StepPrediction = predicted_step

    def cases(self, size: Size) -> list[dict[str, Any]]:
        """Rates 0, h and 2h."""
        return [case(size, k * rate_beside(size)) for k in (0, 1, 2)]

    def rows(self, size: Size, values: Values) -> list[tuple[float, float]]:
        """Differences of rate and loss, with what rounding allows.

        L(k h) = l_0 - k p + k^2 q with q = (l_0 - 2 l_1 + l_2)/2 and p = (3 l_0 - 4 l_1 + l_2)/2: least at p/(2 q),
        where it is l_0 - p^2/(4 q). An error of e in each l makes at most 2 e in q and 4 e in p.
        """
        at_0, at_1, at_2 = values["loss"]
        error = max(values["loss_rounding"])
        q, p = (at_0 - 2 * at_1 + at_2) / 2, (3 * at_0 - 4 * at_1 + at_2) / 2
        vertex, least = p / (2 * q), at_0 - p**2 / (4 * q)
        of_vertex = 4 * error / (2 * q) + vertex * 2 * error / q
        of_least = error + vertex * 4 * error + vertex**2 * 2 * error
        rate, loss = self.predicted(size)
        return [
            (abs(rate / (vertex * rate_beside(size)) - 1), of_vertex / vertex + ROUNDED),
            (abs(loss / least - 1), of_least / least + ROUNDED),
        ]


def enumerated_step(predicted: StepPrediction) -> EnumeratedStep:
    return EnumeratedStep(
        "rate and loss, enumerated", ENUMERATED, "in units of the rate and of the loss", predicted=predicted
    )


@dataclass(frozen=True)
class EnumeratedOptimum(EnumeratedMeans):
    """The real layer at the predicted best weights: its loss, and its gradient beside that at half of W_KQ."""

    def cases(self, size: Size) -> list[dict[str, Any]]:
        """The best weights, and half of W_KQ."""
        best = one_layer_optimum.derived_optimum(*size).coefficients
        halves = {feature: x / 2 for feature, x in best.items()}
        sizes = {"size": size[0], "length": size[1]}
        return [{**sizes, **merged_weights(chosen, size[0])} for chosen in (best, halves)]

    def rows(self, size: Size, values: Values) -> list[tuple[float, float]]:
        """The loss against the predicted one, in which rounded weights are of the second order, and the slope."""
        loss = float(one_layer_optimum.derived_optimum(*size).loss)
        return [
            (abs(values["loss"][0] / loss - 1), values["loss_rounding"][0] / loss + ROUNDED),
            slope_row(values, ROUNDED),
        ]


BEST_LAYER = EnumeratedOptimum(
    "best layer, enumerated",
    ((1, 4), (2, 4), (2, 5), (3, 3)),
    "in units of the loss and of the slope at half the weights",
)


@dataclass(frozen=True)
class SampledStep:
    """The loss at the predicted rate over fresh sequences, in units of the predicted loss; bounded draws."""

    predicted: StepPrediction
    sizes: tuple[Size, ...] = LARGE
    resolution: float = 0.1
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "loss, sampled"

    def expected_gap(self, budget: Budget) -> float:
        """As measured for n = 10, T = 50 at 25,000 sequences, where the range of the draws rules: 1/sequences."""
        return 0.083 * 25_000 / self.sequences(budget)

    def sequences(self, budget: Budget) -> int:
        """One for 320 prompts of a claim on prompts, at about the same cost."""
        return max(8, budget.prompts // 320)

    def tasks(self, budget: Budget) -> list[Task]:
        """At the derived rate, whatever the formula says: an altered one predicts another loss."""
        return [self.task(size, budget) for size in self.sizes]

    def task(self, size: Size, budget: Budget) -> Task:
        parameters = case(size, predicted_step(size)[0])
        key = f"orthogonal dynamics/{budget.seed}/{content_hash(parameters)}"
        sampled = {**parameters, "sequences": self.sequences(budget), "stream_key": key}
        return Task(f"{SAMPLED}:sampled_losses", sampled, budget.device, cost=2.5e-6 * size[1] * sampled["sequences"])

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        compared = []
        for size, values in zip(self.sizes, found, strict=True):
            scale = 1 / self.predicted(size)[1]
            compared.append(
                compare_mean_in_interval(
                    values["count"], scale * values["sum"], scale**2 * values["sum_of_squares"],
                    scale * values["largest"], predicted=1.0, false_alarm=self.false_alarm / len(self.sizes),
                    miss=self.miss,
                )
            )  # fmt: skip
        where = f"at {len(self.sizes)} sizes"
        unit = "in units of the predicted loss"
        return sampled_verdict(self, compared, unit, where, [described(size) for size in self.sizes], "sequences")


def predict_learning_rate(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return learning_rate.prediction(**parameters)._asdict()


def learning_rate_claim(predicted: StepPrediction = predicted_step) -> Claim:
    """`predicted` can be altered, to see the same checks refuse other formulas."""
    return Claim(
        "mesa-learning-rate",
        learning_rate.derivation,
        (
            Parameter("dimension", "n, the size of a state: a whole number from 1 to 100"),
            Parameter("length", "T, the states of a sequence: a whole number from 3 to 100; T - 1 are predicted"),
            Parameter("initial", "the law of s_1: gaussian, or sphere (|s_1|^2 = n)", False, "gaussian", word=True),
        ),
        predict_learning_rate,
        (enumerated_step(predicted), BEST_LAYER, SampledStep(predicted)),
        "random orthogonal dynamics without noise: every sequence of nodes on O(n) for n <= 3 and T <= 6, and the loss "
        "at eta* over fresh sequences for n = 4, 10 and T = 12, 21, 50. Training is the subject of mesa-trained-layer",
        (
            Alterable(
                learning_rate.formula,
                learning_rate.points,
                lambda seed: [values_of(size) for size in ENUMERATED],
                lambda formula: learning_rate_claim(step_by(formula)),
            ),
        ),
    )


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (learning_rate_claim(),)
