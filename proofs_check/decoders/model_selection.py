r"""The claim model-selection: on each class a mixture's model is as good as the class's, but for the price of not
knowing it.

Four checks
    finite laws      the mixture's answers and both prices, all outcomes added up
    prices           of the Bayes predictors on fresh prompts: the risk of the mixture's beyond that of the class's is
                     their mean squared distance
    averaged         the shipped mixture model beside the shipped models of the classes: the quotient of their risks
                     over that of the oracles, averaged over prefixes, is at most 1.25
    each prefix      the same at every prefix of dense prompts, with wider intervals. Of sparse prompts nothing is
                     claimed there: from three to ten examples the quotient is above 1.25 (docs/model_selection.md)
The two on trained models count each prompt's squared distance up to a cap (`selected_models`). The averaged one also
judges the three decoders of the papers' setting, which the full profile trains on a GPU (`paper_models`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...theory.model_selection import class_price as theory
from ...theory.model_selection import oracle_risks
from ..claims.alterable import Alterable
from ..claims.claim import AlterationCost, Budget, Claim, Parameter, Quantity, Run, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.sampled_verdicts import verdict_on_means
from ..records.tasks import Task
from ..verdicts.verdict import Outcome, Verdict
from .cross_terms import IN_DEVIATIONS, cross_terms, gap_of_cross_terms
from .evaluations import mean_of, prompts_of
from .finite_laws import ROUNDING, Atoms, class_letters, described, finite_laws, finite_task
from .paper_models import Reached, paper_selections, paper_tasks
from .selected_models import (
    AVERAGED,
    CAPS,
    CLASS,
    CLASSES,
    FACTOR,
    MIXTURE,
    Selection,
    beyond_caps,
    detectable,
    outcome_of,
    selection_tasks,
    selections,
    table,
)

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

PROMPTS = 6144
WEIGHT = 0.5
TASKS = 2 * len(CLASSES)  # of the shipped models
PREFIXES = tuple(range(len(CAPS)))
UNIT = "as the quotient of risks over that of the oracles, at most 1.25"


def letters_of(atoms: Atoms) -> dict[str, Any]:
    """A, B, m and n at each z."""
    return {"atoms": [class_letters(atom) for atom in atoms]}


def rows_by(formula: Callable[[], Formula]) -> Callable[[Budget, Values], list[Row]]:
    """Differences of the answers, of both prices and of their sum."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for atoms, measured in zip(finite_laws(budget.seed), found["prices"], strict=True):
            both = sum(measured[-2:])
            pairs = zip(formula().value(letters_of(atoms)), [*measured, both], strict=True)
            result += [(abs(float(a) - b), ROUNDING) for a, b in pairs]
        return result

    return rows


@dataclass(frozen=True)
class OraclePrice:
    """On prompts of a class the mixture's oracle loses its mean squared distance to the class's: a cross term is 0."""

    name: str = "prices of the oracles on fresh prompts"
    resolution: float = 0.35
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float | None:
        return gap_of_cross_terms(prompts_of(budget, PROMPTS))

    def tasks(self, budget: Budget) -> list[Task]:
        """Those of the mixture's model: the last two of the selection's."""
        return selection_tasks((WEIGHT,), PROMPTS, budget)[-2:]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        rate = self.false_alarm / (len(found) * len(CAPS))
        compared = [one for values in found for one in cross_terms(values, MIXTURE, CLASS, rate, self.miss).values()]
        prices = {law: mean_of(values, "distance", MIXTURE, CLASS) for law, values in zip(CLASSES, found, strict=True)}
        ran = f"{sum(v['count'] for v in found):.1e} prompts of two classes"
        return verdict_on_means(self, compared, IN_DEVIATIONS, ran, {"prices": prices})


@dataclass(frozen=True)
class SelectedModel:
    """Quotients of the shipped mixture model: none is shown to be above FACTOR.

    places, classes    prefixes, or AVERAGED; the classes of the prompts
    papers             whether the models of the papers' setting are judged too, where a profile trains them
    """

    name: str
    places: tuple[int, ...]
    classes: tuple[str, ...]
    resolution: float
    papers: bool = False
    false_alarm: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run: it depends on the spread of the models' errors."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [*selection_tasks((WEIGHT,), PROMPTS, budget), *(paper_tasks(budget) if self.papers else [])]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        values = run(self.tasks(budget))
        found, papers = values[:TASKS], values[TASKS:]
        rate = self.false_alarm / (1 + len(papers))
        every = selections((WEIGHT,), self.places, found, rate)
        rows = {key: row for key, row in every.items() if key[1] in self.classes}
        where, worst = max(rows.items(), key=lambda row: row[1].quotient.mean)
        large = [(Reached.of(one), paper_selections(one, rate)) for one in papers]
        gap = detectable([*rows.values(), *(row for _, some in large for row in some.values())])
        place = "averaged over prefixes" if where[2] == AVERAGED else f"prefix {where[2]}"
        details: dict[str, Any] = {law: table(rows, WEIGHT, law) for law in self.classes}
        return Verdict(
            self.name, self.outcome(rows.values(), large, gap), worst.quotient.mean, 1.0,
            FACTOR - 1, gap, UNIT,
            self.false_alarm, self.false_alarm,
            f"{sum(v['count'] for v in found):.1e} prompts, worst: {where[1]}, {place}"
            + "".join(f"; {in_words(*one)}" for one in large),
            {
                **details, "lowest": [row.quotient.low for row in rows.values()],
                "highest": [row.quotient.high for row in rows.values()], "share beyond caps": beyond_caps(found),
                **{str(reached): {law: intervals_of(row) for law, row in some.items()} for reached, some in large},
            },
        )  # fmt: skip

    def outcome(self, rows: Iterable[Selection], large: Sequence[Large], gap: float) -> Outcome:
        """Of the shipped files and of what else was trained; trainings that have not ended cannot contradict."""
        ended = [row for reached, some in large for row in some.values() if reached.ended]
        others = [row for reached, some in large for row in some.values() if not reached.ended]
        return outcome_of([*rows, *ended], gap, self.resolution, others)


Large = tuple[Reached, Mapping[str, Selection]]


def intervals_of(row: Selection) -> dict[str, list[float]]:
    """Low, mean and high of everything, for the record."""
    parts = {"risk": row.risk, "price": row.price, "excess": row.excess, "excess of the class's model": row.of_class}
    return {name: list(part) for name, part in {**parts, "quotient": row.quotient}.items()}


def in_words(reached: Reached, found: Mapping[str, Selection]) -> str:
    """How far the large models are, and their quotients."""
    return f"{reached}: " + ", ".join(f"{law} {row.quotient.mean:.3g}" for law, row in found.items())


PARAMETERS = (
    Parameter("dimension", "d, a whole number from 1 to 20"),
    Parameter(
        "sparsity", "k, nonzero coefficients of a sparse function: a whole number from 1 to d, at most 5,000 supports"
    ),
    Parameter("length", "N, points of a prompt: a whole number from 1 to 64"),
    Parameter("noise_variance", "sigma^2, at least 1e-4 of the coefficients' variances"),
    Parameter("dense_probability", "pi, of the dense class: between 0 and 1", required=False, default=0.5),
    Parameter("dense_variance", "of a dense coefficient, above 0", required=False, default=1.0),
    Parameter("sparse_variance", "of a nonzero sparse coefficient, above 0", required=False, default=1.0),
    Parameter("prompts", "how many are sampled: a whole number from 100 to 20,000", required=False, default=500),
)
QUANTITIES = tuple(
    Quantity(f"{name}_{law}", f"{words} on {law} prompts, with N numbers for the prefixes 0 .. N - 1")
    for law in CLASSES
    for name, words in (
        ("oracle_risk", "risk on labels of the class's Bayes predictor"),
        ("price", "the mixture's Bayes predictor's risk beyond it"),
        ("price_error", "a standard error of the price, from the sample"),
    )
)


def selection_claim(formula: Callable[[], Formula] = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "model-selection",
        theory.derivation,
        PARAMETERS,
        predict,
        (
            ExactCheck("finite laws", finite_task, rows_by(formula), lambda found: described(finite_laws(0)),
                       "as a difference"),
            OraclePrice(),
            SelectedModel("models averaged over prefixes", (AVERAGED,), CLASSES, 0.75, papers=True),
            SelectedModel("models at each prefix, dense prompts", PREFIXES, CLASSES[:1], 1.0),
        ),
        "trained: the shipped decoders mixture, dense and sparse (a statement about these files; d = 5, one nonzero "
        "coefficient, noise of variance 0.1, half of the prompts dense), prefixes 0 to 10 of fresh prompts of each "
        "class, risks on labels, squared distances counted up to 20 at first and 1 in the end. The factor 1.25 was set "
        "before these models were there; at single prefixes of sparse prompts the model misses it, and nothing is "
        "claimed there. In the full profile on a GPU also three decoders of the papers' size (d = 20), trained for 25 "
        "minutes; they can contradict only if that ends their training. The prices: finite laws with 3 to 20 values of "
        "what is seen, and the same prompts",
        (
            Alterable(
                theory.formula,
                theory.points,
                lambda seed: [letters_of(atoms) for atoms in finite_laws(seed)],
                lambda altered: selection_claim(lambda: altered),
                most=60,
            ),
        ),
        quantities=QUANTITIES,
    )  # fmt: skip


def predict(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Risks and prices of the Bayes predictors, sampled."""
    return {**oracle_risks.predict(**parameters)}


def claims() -> tuple[Claim, ...]:
    """The claim of this module."""
    return (selection_claim(),)
