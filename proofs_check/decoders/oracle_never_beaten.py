r"""The claim oracle-never-beaten: no predictor beats the Bayes predictor of the law of its prompts.

Three checks
    finite laws       losses, distances and the variance of the cross term, all outcomes added up
    cross term        E (f - f*)(t - f*) = 0 at every prefix, for every shipped model on the law that it was trained on,
                      and there for predictors without training and for the Bayes predictors of the classes
    risk              E (f - t)^2 - E (f* - t)^2 is not below 0 for any of the models
In the full profile on a GPU the three decoders of the papers' setting are among the models (`paper_models`).
The last two are judged by `verdicts.conditional_means`: given what is seen, the cross term has the known variance
(f - f*)^2 V, so that nothing is assumed of the tails of a trained model.
Altered oracles (other variances, noise, weights and numbers of nonzero coefficients, a class left out) are put to the
same two checks, on the same prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ...theory.model_selection import orthogonality as theory
from ..claims.alterable import Alterable, Mutant, described_in_words
from ..claims.claim import AlterationCost, Budget, Claim, Parameter, Quantity, Run, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.sampled_verdicts import relative_distance, verdict_on_means
from ..records.tasks import Task
from ..verdicts.heavy_tails import MeanComparison
from ..verdicts.verdict import Verdict, decide
from .cross_terms import IN_DEVIATIONS, cross_terms, deviations, gap_of_cross_terms
from .evaluations import evaluation_task, mean_of, noisy_risks, prompts_of
from .finite_laws import ROUNDING, Atoms, described, finite_laws, finite_task, sums_of
from .paper_models import MIXED, Reached, paper_tasks
from .selected_models import CLASS, MIXTURE
from .shipped_models import trained_law

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

Plain = dict[str, Any]
MODELS = ("dense", "sparse", "mixture", "mixture-10", "mixture-90", "random-covariance")
SLOW = ("linear-sinusoid",)  # its oracle is a quadrature: half a minute for 2,000 prompts, in the full profile alone
UNTRAINED = ("zero", "averaging")
OWN = "own"  # the name of the oracle that the claim is about
# More where the oracle's error is large beside its risk, so that gaps are alike.
PROMPTS = {
    "dense": 1024, "sparse": 5120, "mixture": 4096, "mixture-10": 5120, "mixture-90": 3072, "random-covariance": 1024,
}  # fmt: skip
CROSS, RISK = "cross term on fresh prompts", "risk not below the oracle's"
CAP = 16.0  # the claim needs no capped sums; other claims do

# Oracles


def of_class(law: Plain, label: int) -> Plain:
    """The law with one of its classes alone."""
    return {**law, "classes": [law["classes"][label]], "weights": [1.0]}


def oracles_of(name: str) -> dict[str, Plain]:
    """The law of a model's training, and those of its classes where it has several."""
    law = trained_law(name)
    classes = {kind["kind"]: of_class(law, k) for k, kind in enumerate(law["classes"])}
    return {OWN: law, **(classes if len(classes) > 1 else {})}


Alter = Callable[[Plain], Plain]


def with_kind(law: Plain, label: int, **further: Any) -> Plain:
    """The law with something else in one of its classes."""
    kinds = [dict(kind) for kind in law["classes"]]
    kinds[label] |= further
    return {**law, "classes": kinds}


def with_variance(factor: float) -> Alter:
    """The coefficients of the first class with another variance."""
    return lambda law: with_kind(law, 0, variance=factor * law["classes"][0]["variance"])


def with_noise(factor: float) -> Alter:
    return lambda law: {**law, "noise_variance": factor * law["noise_variance"]}


def with_weight(weight: float) -> Alter:
    return lambda law: {**law, "weights": [weight, 1 - weight]}


def with_nonzeros(count: int) -> Alter:
    return lambda law: with_kind(law, 0, nonzeros=count)


ALTERED: dict[str, dict[str, Alter]] = {
    "dense": {
        "coefficients of four times the variance": with_variance(4.0),
        "coefficients of a quarter of the variance": with_variance(0.25),
        "noise of four times the variance": with_noise(4.0),
        "noise of a quarter of the variance": with_noise(0.25),
    },
    "sparse": {
        "coefficients of nine times the variance": with_variance(9.0),
        "coefficients of a ninth of the variance": with_variance(1 / 9),
        "two nonzero coefficients for one": with_nonzeros(2),
        "four nonzero coefficients for one": with_nonzeros(4),
    },
    "mixture": {
        "weight 0.99 for 0.5": with_weight(0.99),
        "weight 0.01 for 0.5": with_weight(0.01),
        "the first class alone": lambda law: of_class(law, 0),
        "the second class alone": lambda law: of_class(law, 1),
        "noise of four times the variance": with_noise(4.0),
        "noise of a quarter of the variance": with_noise(0.25),
    },
}


# The measurement


@dataclass(frozen=True)
class OwnLaw:
    """What was measured on a trained model's own law.

    model     its name among the predictors
    words     what a reader calls the law
    noise     the noise's variance
    oracle    the name of the oracle that is claimed to be the law's Bayes predictor
    values    the sums
    """

    model: str
    words: str
    noise: float
    oracle: str
    values: Values


def of_the_papers(found: Values) -> list[OwnLaw]:
    """The three laws of the papers' setting, each with the model that was trained on it."""
    noise = found["setting"]["noise_variance"]
    return [
        OwnLaw(name, f"{name} prompts at d = 20", noise, MIXTURE if name == MIXED else CLASS, values)
        for name, values in found["laws"].items()
    ]


def task_of(name: str, budget: Budget) -> Task:
    """A model and predictors without training on the model's own law, beside its oracle and altered ones."""
    law = trained_law(name)
    altered = {words: alter(law) for words, alter in ALTERED.get(name, {}).items()}
    oracles = {**oracles_of(name), **altered}
    prompts = 4096 if name in SLOW else prompts_of(budget, PROMPTS[name])
    return evaluation_task(law, [name], UNTRAINED, oracles, prompts, CAP, budget, among=not altered)


def comparisons(values: Values, oracle: str, false_alarm: float, miss: float) -> dict[tuple[str, int], MeanComparison]:
    """(predictor, prefix) -> the mean cross term beside 0."""
    return {
        (name, i): one
        for name, crosses in values["cross"].items()
        if oracle in crosses
        for i, one in cross_terms(values, name, oracle, false_alarm, miss).items()
    }


@dataclass(frozen=True)
class BesideOracle:
    """What the two sampled checks share: the models, their tasks, the oracle that is claimed, the rates.

    oracle      the name of the oracle that is claimed to be the Bayes predictor; another one in an altered claim
    only        the name of one shipped model, in an altered claim; else all of them, each on the law of its training
    """

    name: str
    only: str | None = None
    oracle: str = OWN
    resolution: float = 0.75
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float | None:
        """At the smallest number of prompts."""
        return gap_of_cross_terms(prompts_of(budget, min(PROMPTS.values())))

    def tasks(self, budget: Budget) -> list[Task]:
        further = [] if self.only is not None else paper_tasks(budget)
        return [*(task_of(name, budget) for name in self.models(budget)), *further]

    def laws(self, found: Sequence[Values], budget: Budget) -> list[OwnLaw]:
        """Those of the shipped models, and of the papers' where they were trained."""
        names = self.models(budget)
        shipped = [
            OwnLaw(name, f"law of {name}", trained_law(name)["noise_variance"], self.oracle, values)
            for name, values in zip(names, found, strict=False)
        ]
        return shipped + [law for values in found[len(names) :] for law in of_the_papers(values)]

    def models(self, budget: Budget) -> tuple[str, ...]:
        if self.only is not None:
            return (self.only,)
        return (*MODELS, *SLOW) if budget.profile == "full" else MODELS

    def compared(self, laws: Sequence[OwnLaw]) -> list[dict[tuple[str, int], MeanComparison]]:
        """Per law; the false alarms of all comparisons add up to the rate."""
        number = sum(len(law.values["cross"]) * len(law.values["variance"][law.oracle]["sum"]) for law in laws)
        rate = self.false_alarm / number
        return [comparisons(law.values, law.oracle, rate, self.miss) for law in laws]

    def ran(self, found: Sequence[Values], laws: Sequence[OwnLaw], comparisons: int, budget: Budget) -> str:
        count = sum(law.values["count"] for law in laws)
        reached = "".join(f"; {Reached.of(values)}" for values in found[len(self.models(budget)) :])
        return f"{count:.1e} prompts of {len(laws)} laws, {comparisons} predictors and prefixes{reached}"


@dataclass(frozen=True)
class CrossTerm(BesideOracle):
    """The mean of (f - f*)(t - f*) is 0: the worst of all predictors and prefixes, as a correlation."""

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        laws = self.laws(found, budget)
        rows = {
            (law.words, *key): one
            for law, some in zip(laws, self.compared(laws), strict=True)
            for key, one in some.items()
        }
        where = max(rows, key=lambda key: relative_distance(rows[key]))
        ran = self.ran(found, laws, len(rows), budget)
        details = {"worst": f"{where[0]}, {where[1]}, prefix {where[2]}"}
        return verdict_on_means(self, list(rows.values()), IN_DEVIATIONS, ran, details)


@dataclass(frozen=True)
class RiskNotBelow(BesideOracle):
    """A model's mean of (f - t)^2 - (f* - t)^2 is not below 0: the lowest, in units of the model's risk on labels.

    It is (f - f*)^2, which is known from what is seen, minus twice the cross term: the interval is twice as wide.
    The unit is R + E (f - f*)^2 with R the oracle's risk, in which the interval stays as narrow as that of the cross
    term, about 2 sqrt(d R) <= R + d, also where a model errs a thousand times as much as its oracle.
    """

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        laws = self.laws(found, budget)
        compared = self.compared(laws)
        rows = [row for law, some in zip(laws, compared, strict=True) for row in self.rows(law, some)]
        lowest = min(rows, key=lambda row: row.excess / row.allowed)
        gap = max(row.detectable for row in rows)
        return Verdict(
            self.name, decide(all(row.excess >= -row.allowed for row in rows), gap, self.resolution), lowest.excess,
            0.0, lowest.allowed, gap, "as the least excess in units of the model's risk", self.false_alarm, self.miss,
            self.ran(found, laws, sum(map(len, compared)), budget),
            {"lowest": lowest.words, "risk over oracle's": {law.words: quotients(law) for law in laws}},
        )  # fmt: skip

    def rows(self, law: OwnLaw, compared: Mapping[tuple[str, int], MeanComparison]) -> list[Excess]:
        """Of the law's own model at each prefix."""
        values, name = law.values, law.model
        risks = noisy_risks(values, law.oracle, law.noise)
        distance = mean_of(values, "distance", name, law.oracle)
        loss, least = mean_of(values, "loss", name), mean_of(values, "loss", law.oracle)
        deviation = deviations(values, name, law.oracle)
        result = []
        for i in range(len(risks)):
            if (name, i) in compared:
                one, unit = compared[name, i], risks[i] + distance[i]
                width = 2 * deviation[i] / unit
                words = f"{law.words}, {name}, prefix {i}"
                result.append(Excess(words, (loss[i] - least[i]) / unit, width * one.allowed, width * one.detectable))
        return result


class Excess(NamedTuple):
    """A model's risk beyond its oracle's at one prefix, in units of its own."""

    words: str
    excess: float
    allowed: float
    detectable: float


def quotients(law: OwnLaw) -> list[float]:
    """The model's risk over its oracle's, per prefix."""
    risks = noisy_risks(law.values, law.oracle, law.noise)
    distance = mean_of(law.values, "distance", law.model, law.oracle)
    return [1 + d / risk for d, risk in zip(distance, risks, strict=True)]


# Finite laws


def letters_of(atoms: Atoms) -> dict[str, Any]:
    """Q, T, S and f at each z."""
    found = []
    for atom in atoms:
        Q, T, S = sums_of([one for some in atom["classes"] for one in some])
        found.append({"Q": Q, "T": T, "S": S, "f": atom["answer"]})
    return {"atoms": found}


def rows_by(formula: Callable[[], Formula]) -> Callable[[Budget, Values], list[Row]]:
    """Differences of the four sums, absolute, and the cross term itself, which is 0."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for atoms, (loss, distance, least, square, cross) in zip(
            finite_laws(budget.seed), found["losses"], strict=True
        ):
            predicted = formula().value(letters_of(atoms))
            pairs = zip(predicted, (loss, distance, least, square), strict=True)
            result += [(abs(float(a) - b), ROUNDING) for a, b in pairs]
            result += [(abs(cross), ROUNDING), (abs(loss - distance - least), ROUNDING)]
        return result

    return rows


def never_beaten_claim(formula: Callable[[], Formula] = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    claim = Claim(
        "oracle-never-beaten",
        theory.derivation,
        (
            Parameter("risk", "E (f - y)^2 of a predictor at one prefix, at least 0"),
            Parameter("oracle_risk", "E (f* - y)^2 of the Bayes predictor there, at least 0"),
            Parameter("distance", "E (f - f*)^2, where it was measured; at least 0", required=False),
        ),
        lambda parameters: theory.predict(**parameters),
        (
            ExactCheck("finite laws", finite_task, rows_by(formula),
                       lambda found: described(finite_laws(0)), "as a difference"),
            CrossTerm(CROSS),
            RiskNotBelow(RISK),
        ),
        "every shipped decoder (a statement about these files) on the law of its own training, at every prefix, and "
        "there the predictors 0 and averaging, and the Bayes predictors of the single classes; in the full profile on "
        "a GPU also three decoders of the papers' size, trained for 25 minutes. The identities at finite laws with 3 "
        "to 20 values of what is seen",
        (
            Alterable(
                theory.formula,
                theory.points,
                lambda seed: [letters_of(atoms) for atoms in finite_laws(seed)],
                lambda altered: never_beaten_claim(lambda: altered),
                most=60,
            ),
        ),
        quantities=(
            Quantity("excess", "E (f - y)^2 - E (f* - y)^2, a number; below 0: f* is not the Bayes predictor"),
            Quantity("distance", "E (f - f*)^2: as given, or the excess, which it is if f* is the Bayes predictor"),
            Quantity("cross_term", "E (f - f*)(y - f*) = (distance - excess)/2; 0 if f* is the Bayes predictor"),
        ),
    )  # fmt: skip
    return replace(claim, further_mutants=altered_oracles(claim))


def altered_oracles(claim: Claim) -> tuple[Mutant, ...]:
    """The claim that another law's Bayes predictor is that of the prompts' law."""

    def checks(model: str, oracle: str) -> tuple[CrossTerm, RiskNotBelow]:
        return CrossTerm(CROSS, model, oracle), RiskNotBelow(RISK, model, oracle)

    return tuple(
        described_in_words(
            "oracle",
            f"the oracle of the law of {model} with {words}",
            replace(claim, checks=checks(model, words), alterables=()),
            1.0,
        )
        for model, altered in ALTERED.items()
        for words in altered
    )


def claims() -> tuple[Claim, ...]:
    """The claim of this module."""
    return (never_beaten_claim(),)
