r"""The claim mesa-trained-layer: one trained head is below the best gradient step, at the loss of two blocks.

Two checks
    EnumeratedBlocks   the real layer at the two blocks and at the gradient step: both losses, averaged over O(n) and
                       s_1 without sampling
    TrainedHeads       heads trained on fresh sequences by Adam; the loss of the weights where each ends, averaged in
                       the same way, in units in which the two blocks have 0 and the best gradient step 1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...theory.mesa import learning_rate, one_layer_optimum, trained_head
from ...theory.mesa.one_step_rate import derived_step_loss
from ..claims.alterable import Alterable
from ..claims.claim import AlterationCost, Budget, Claim, Parameter, Run
from ..claims.loss_checks import enumerated_verdict
from ..claims.settings import ROUNDED
from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from .layer_of_features import merged_weights
from .learning_rate import EXACT, Size, described, values_of

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASURED = "iclcheck.numerics.mesa.trained_heads:trained_heads"
LossesPrediction = Callable[[Size], tuple[float, float]]  # -> (best gradient step, two blocks)
TRAINING: dict[str, Any] = {"steps": 600, "batch_size": 256, "learning_rate": 0.005}


def predicted_losses(size: Size) -> tuple[float, float]:
    """Of the best gradient step and of the two blocks."""
    return float(derived_step_loss(*size).least), float(trained_head.derived_two_blocks(*size).loss)


def losses_by(formula: Formula) -> LossesPrediction:
    """The prediction of an altered formula."""

    def predicted(size: Size) -> tuple[float, float]:
        step, two = formula.value(values_of(size))
        return float(step), float(two)

    return predicted


@dataclass(frozen=True)
class EnumeratedBlocks:
    """The real layer's loss at the derived weights, of the gradient step and of the two blocks."""

    predicted: LossesPrediction
    sizes: tuple[Size, ...] = ((2, 4), (2, 5), (2, 6))
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"
    name: str = "losses of both, enumerated"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(size, budget) for size in self.sizes]

    def task(self, size: Size, budget: Budget) -> Task:
        """At the derived coefficients, whatever the formula says: an altered one predicts other losses."""
        n, length = size
        step = {one_layer_optimum.GRADIENT_STEP: derived_step_loss(n, length).rate}
        two = trained_head.derived_two_blocks(n, length).coefficients
        cases = [{"size": n, "length": length, **merged_weights(chosen, n)} for chosen in (step, two)]
        return Task(f"{EXACT}:enumerated_losses", {"cases": cases}, budget.device, cost=0.1)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        rows = [
            (abs(loss / predicted - 1), rounding / predicted + ROUNDED)
            for size, values in zip(self.sizes, found, strict=True)
            for predicted, loss, rounding in zip(
                self.predicted(size), values["loss"], values["loss_rounding"], strict=True
            )
        ]
        ran = f"{sum(sum(values['nodes']) for values in found):.1e} sequences of nodes, {len(self.sizes)} sizes"
        return enumerated_verdict(
            self.name, self.resolution, rows, "in units of the loss", ran, [described(size) for size in self.sizes]
        )


@dataclass(frozen=True)
class TrainedHeads:
    """(L - L_two)/(L_step - L_two) of each trained head: 0 at the two blocks, 1 at the best gradient step.

    The margin holds what training leaves: it is stated of these runs, drawn by the seed, and of no others.
    """

    predicted: LossesPrediction
    sizes: tuple[Size, ...] = ((3, 5), (3, 5))
    margin: float = 0.2
    resolution: float = 0.5
    cost_of_alteration: AlterationCost = "exact"
    name: str = "loss where training ends, averaged without sampling"

    def expected_gap(self, budget: Budget) -> float | None:
        """Twice the margin; nothing is sampled after the training."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(size, place, budget) for place, size in enumerate(self.sizes)]

    def task(self, size: Size, replica: int, budget: Budget) -> Task:
        n, length = size
        run = {
            "task": {"kind": "linear", "size": n, "length": length},
            "shape": {"size": n},
            "replica": 1000 * budget.seed + replica,
            **TRAINING,
        }
        return Task(MEASURED, {"runs": [run]}, budget.device, cost=5.0)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        rows = [self.row(size, values) for size, values in zip(self.sizes, found, strict=True)]
        sequences = len(found) * TRAINING["steps"] * TRAINING["batch_size"]
        ran = f"{len(found)} trainings on {sequences:.1e} sequences, {sum(v['nodes'][0] for v in found):.1e} nodes"
        return enumerated_verdict(
            self.name, self.resolution, rows, "of the way from the two blocks (0) to the best gradient step (1)", ran,
            [described(size) for size in self.sizes],
        )  # fmt: skip

    def row(self, size: Size, values: Mapping[str, Any]) -> tuple[float, float]:
        """How far along a head ends, and the margin with what rounding allows."""
        step, two = self.predicted(size)
        rounding = values["loss_rounding"][0] + ROUNDED * values["loss"][0]
        return abs(values["loss"][0] - two) / abs(step - two), self.margin + rounding / abs(step - two)


def predict_trained_layer(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return trained_head.prediction(**parameters)._asdict()


def trained_layer_claim(predicted: LossesPrediction = predicted_losses) -> Claim:
    """`predicted` can be altered, to see the same check refuse other formulas."""
    return Claim(
        "mesa-trained-layer",
        trained_head.derivation,
        (
            Parameter("dimension", "n, the size of a state: a whole number from 2 to 100"),
            Parameter("length", "T, the states of a sequence: a whole number from 4 to 100; T - 1 are predicted"),
        ),
        predict_trained_layer,
        (EnumeratedBlocks(predicted), TrainedHeads(predicted)),
        "one head of linear attention trained by Adam from small random weights on noiseless orthogonal dynamics, "
        "n = 3, T = 5; both losses for n = 2 too. Larger sizes, more heads, and further minima: docs/mesa_training.md",
        (
            Alterable(
                trained_head.formula,
                learning_rate.points,
                lambda seed: [values_of(size) for size in (*EnumeratedBlocks(predicted).sizes, (3, 5))],
                lambda formula: trained_layer_claim(losses_by(formula)),
            ),
        ),
    )


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (trained_layer_claim(),)
