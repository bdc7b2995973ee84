r"""The claim mixture-weight: what the weight of a class in pretraining does to the price, and to trained models.

Three checks
    finite laws      both prices and the weighted one at seven weights, all outcomes added up
    order            more weight on a class makes it cheaper at every prefix, on the same fresh prompts, prompt
                     by prompt
    trained models   whether the shipped models with the weights 0.1, 0.5 and 0.9 of the dense class still have both
                     classes' own curves: the quotient of model-selection, averaged over prefixes, is at most 1.25
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ...theory.model_selection import mixture_weights as theory
from ..claims.alterable import Alterable
from ..claims.claim import AlterationCost, Budget, Claim, Run, Values
from ..claims.exact_checks import ExactCheck, Row
from ..records.tasks import Task
from ..verdicts.verdict import Verdict, decide
from .evaluations import evaluation_task, mean_of, prompts_of
from .finite_laws import ROUNDING, Atoms, class_letters, described, finite_laws, finite_task
from .model_selection import PARAMETERS, QUANTITIES, UNIT, predict
from .selected_models import (
    AVERAGED,
    CAPS,
    CLASS,
    CLASSES,
    FACTOR,
    MIXTURES,
    beyond_caps,
    detectable,
    outcome_of,
    selection_tasks,
    selections,
    table,
)
from .shipped_models import trained_law

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

WEIGHTS = tuple(MIXTURES)
FINITE_WEIGHTS = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
ORDERED = (0.01, 0.1, 0.5, 0.9, 0.99)
PROMPTS, PRICED = 4096, 1024


def finite_weights_task(budget: Budget) -> Task:
    return finite_task(budget, FINITE_WEIGHTS)


def weighted_laws(seed: int) -> list[tuple[float, Atoms]]:
    """(weight, atoms) in the order of the task."""
    return [(weight, atoms) for weight in FINITE_WEIGHTS for atoms in finite_laws(seed, weight)]


def letters_of(weight: float, atoms: Atoms) -> dict[str, Any]:
    """o, a, b, m and n at each z: the densities of the classes themselves."""
    found = []
    for atom in atoms:
        at_z = class_letters(atom)
        densities = {"a": at_z["A"] / weight, "b": at_z["B"] / (1 - weight)}
        found.append({"o": weight / (1 - weight), **densities, "m": at_z["m"], "n": at_z["n"]})
    return {"atoms": found}


def rows_by(formula: Callable[[], Formula]) -> Callable[[Budget, Values], list[Row]]:
    """Differences of both prices and of the weighted one, on prompts of the class."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for (weight, atoms), measured in zip(weighted_laws(budget.seed), found["prices"], strict=True):
            first, second = measured[-2] / weight, measured[-1] / (1 - weight)
            weighted = sum(measured[-2:]) / (1 - weight)
            predicted = formula().value(letters_of(weight, atoms))
            # a hundred times the rounding of the sums, for a class of weight 0.01
            result += [
                (abs(float(a) - b), 100 * ROUNDING) for a, b in zip(predicted, (first, second, weighted), strict=True)
            ]
        return result

    return rows


@dataclass(frozen=True)
class OrderedPrices:
    """Prices fall with the weight of their class: the largest rise between weights, over classes and prefixes.

    The squared distance to the class's oracle is (1 - p)^2 (m - n)^2 with p rising in the weight: it falls for each
    prompt, so that means over the same prompts do, up to rounding.
    """

    name: str = "order of prices"
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing but rounding."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        """The oracles of all weights on both classes of the law of the shipped mixture model."""
        mixture, found = trained_law("mixture"), []
        for label, law in enumerate(CLASSES):
            oracles = {CLASS: trained_law(law)}
            oracles |= {name_of(weight): {**mixture, "weights": [weight, 1 - weight]} for weight in ORDERED}
            own = {**mixture, "classes": [mixture["classes"][label]], "weights": [1.0]}
            prompts = prompts_of(budget, PRICED)
            found.append(evaluation_task(own, [], (), oracles, prompts, CAPS, budget))
        return found

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = dict(zip(CLASSES, run(self.tasks(budget)), strict=True))
        prices = {
            law: [mean_of(values, "distance", name_of(weight), CLASS) for weight in ORDERED]
            for law, values in found.items()
        }
        falls = (prices["dense"], prices["sparse"][::-1])
        steps = [pair for rows in falls for pair in pairwise(rows)]
        rises = [later - earlier for pair in steps for earlier, later in zip(*pair, strict=True)]
        # posteriors and predictions are good to 1e-9 at this noise; squares of them, of size 10, to 1e-8
        worst, allowed = max(rises), 1e-8
        gap = 2 * allowed
        return Verdict(
            self.name, decide(worst <= allowed, gap, self.resolution), max(worst, 0.0), 0.0, allowed, gap,
            "as the largest rise of a price with the weight of its class", 0.0, 0.0,
            f"{found['dense']['count']} prompts of each class at {len(ORDERED)} weights",
            {"weights": list(ORDERED), "prices": prices},
        )  # fmt: skip


def name_of(weight: float) -> str:
    """The name of the oracle of a weight."""
    return f"weight {weight:g}"


@dataclass(frozen=True)
class ModelsOfWeights:
    """Quotients of the models of several weights on both classes, averaged over prefixes: a number for each."""

    name: str = "models of several weights"
    resolution: float = 1.0
    false_alarm: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run: it depends on the spread of the models' errors."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return selection_tasks(WEIGHTS, PROMPTS, budget)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        rows = selections(WEIGHTS, (AVERAGED,), found, self.false_alarm)
        where, worst = max(rows.items(), key=lambda row: row[1].quotient.mean)
        gap = detectable(rows.values())
        tables = {f"{weight:g}": {law: table(rows, weight, law) for law in CLASSES} for weight in WEIGHTS}
        return Verdict(
            self.name, outcome_of(rows.values(), gap, self.resolution), worst.quotient.mean, 1.0, FACTOR - 1, gap,
            UNIT, self.false_alarm, self.false_alarm,
            f"{sum(v['count'] for v in found):.1e} prompts, worst: weight {where[0]:g}, {where[1]}",
            {"weights": list(WEIGHTS), "models": tables, "share beyond caps": beyond_caps(found)},
        )  # fmt: skip


def weight_claim(formula: Callable[[], Formula] = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "mixture-weight",
        theory.derivation,
        PARAMETERS,
        predict,
        (
            ExactCheck("finite laws", finite_weights_task, rows_by(formula),
                       lambda found: described([atoms for _, atoms in weighted_laws(0)]), "as a difference"),
            OrderedPrices(),
            ModelsOfWeights(),
        ),
        "trained: the shipped decoders mixture-10, mixture and mixture-90 beside dense and sparse (a statement about "
        "these files; d = 5, one nonzero coefficient, noise of variance 0.1), averaged over the prefixes 0 to 10, "
        "squared distances counted up to 20 at first and 1 in the end. At single prefixes the rarer class is missed by "
        "far (docs/model_selection.md). The prices: finite laws at weights 0.01 to 0.99; their order on fresh prompts",
        (
            Alterable(
                theory.formula,
                theory.points,
                lambda seed: [letters_of(*one) for one in weighted_laws(seed)],
                lambda altered: weight_claim(lambda: altered),
                most=60,
            ),
        ),
        quantities=QUANTITIES,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claim of this module."""
    return (weight_claim(),)
