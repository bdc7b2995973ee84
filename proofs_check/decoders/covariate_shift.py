r"""The claim covariate-shift: the Bayes predictor is one function under every law of the inputs; a decoder is not.

Checks
    dense class            the real predictor on scaled prompts against the derived numbers of inputs g and noise s2/c
    mixture                the real predictor of a mixture on a scaled prompt, and on that prompt at scale 1, noise s2/c
    Bayes under a shift    on prompts of every shifted law, the error of the training law's predictor is orthogonal to
                           how far a trained decoder is from it: the predictor is still Bayes there
    three quotients        of what shipped decoders lose to it. Squared distances are in units of c, count at most CAP,
                           and are averaged over prefixes; the intervals hold whatever the tails are
The first and the third rule on shipped decoders were fixed before a look at any, the second and CAP after one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.prompt_risks import covariate_shift as theory
from ..claims.alterable import Alterable
from ..claims.claim import AlterationCost, Budget, Claim, Parameter, Quantity, Run, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.sampled_verdicts import verdict_on_means
from ..claims.settings import generator
from ..records.tasks import Task
from ..verdicts.verdict import Outcome, Verdict
from .cross_terms import IN_DEVIATIONS, cross_terms, gap_of_cross_terms
from .evaluations import evaluation_task, mean_of, prompts_of
from .selected_models import AVERAGED, Interval, interval
from .shipped_models import trained_law

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENT = "iclcheck.numerics.mixtures.scaled_prompts:at_both_scales"
FormulaMaker = Callable[[], "Formula"]
SIZES = ((1, 1, 2.0), (1, 3, 3.0), (2, 1, 0.5), (2, 2, 1.5), (3, 2, 3.0), (3, 5, 2.0))  # d, N, r
# R u = z by rotations, at most 5 examples and 3 coefficients: fewer than 300 roundings of 2e-16, in a triangular system
# whose condition number is at most (|X|^2 + s2/v)/(s2/v) to the power 1/2, below 1e2 here, and exponents below 1e3.
ROUNDING = 1e-10
PROMPTS, RATE, CAP = 2048, 1e-3, 1.0
FIXED, RANDOM = "dense", "random-covariance"  # the shipped decoders, by the covariance of their training
ORACLE = "oracle"


# Prompts at a scale


def cases(seed: int) -> list[dict[str, Any]]:
    """Prompts in short dyadic numbers, whose inputs and labels are exactly r times shorter ones."""
    found = []
    for d, N, r in SIZES:
        draw = generator(f"covariate-shift/{d}/{N}", seed)
        G, z, g = (np.round(16 * draw.normal(size=shape)) / 16 for shape in ((N, d), (N,), (d,)))
        s2, v = (float(x) for x in draw.integers(4, 13, size=2) / 8)
        found.append({
            "X": (r * G).tolist(), "y": (r * z).tolist(), "x_query": (r * g).tolist(), "scale": r, "noise_variance": s2,
            "variance": v,
        })  # fmt: skip
    return found


def letters(seed: int) -> list[dict[str, Any]]:
    """G, z, g at scale 1, s2, v and r, exact."""
    found = []
    for case in cases(seed):
        r = Fraction(case["scale"])
        columns = {"G": case["X"], "z": [[y] for y in case["y"]], "g": [[x] for x in case["x_query"]]}
        numbers = {"s2": case["noise_variance"], "v": case["variance"], "r": r}
        found.append({
            **{name: theory.exact(rows) / r for name, rows in columns.items()},
            **{name: np.array(Fraction(x), dtype=object) for name, x in numbers.items()},
        })  # fmt: skip
    return found


def scales_task(budget: Budget) -> Task:
    return Task(MEASUREMENT, {"cases": cases(budget.seed)}, budget.device, cost=0.1)


def rows_by(formula: FormulaMaker) -> Callable[[Budget, Values], list[Row]]:
    """Differences of mean, variance and log evidence of the dense class, relative to 1 and their size."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for values, measured in zip(letters(budget.seed), found["dense"], strict=True):
            mean, variance, squared, volume = (float(x) for x in formula().value(values))
            evidence = -(squared + math.log(volume)) / 2 if volume > 0 else math.inf
            pairs = zip((mean, variance, evidence), measured, strict=True)
            result += [(abs(a - b) / (1 + abs(b)), ROUNDING) for a, b in pairs]
        return result

    return rows


def rows_of_mixture(budget: Budget, found: Values) -> list[Row]:
    """Prediction and posterior of the mixture as it is, and at scale 1."""
    del budget
    return [(abs(a - b) / (1 + abs(a)), ROUNDING) for pair in found["mixture"] for a, b in zip(*pair, strict=True)]


def in_words(found: Values) -> str:
    return f"{len(found['dense'])} prompts, d <= 3, N <= 5, c from 1/4 to 9"


# Trained decoders


def laws() -> dict[str, dict[str, Any]]:
    """The laws of the prompts, by name: that of the training of `dense`, and shifted ones."""
    base = trained_law(FIXED)
    scaled = {f"c = {c}": {**base, "input_scale": float(c)} for c in (1, 4, 9)}
    return {**scaled, SHIFTED: {**base, "covariance": "exponential"}}


def shift_tasks(budget: Budget) -> list[Task]:
    """Both decoders on each law, beside the Bayes predictor of the training of `dense`."""
    oracle, prompts = {ORACLE: trained_law(FIXED)}, prompts_of(budget, PROMPTS)
    return [
        evaluation_task(law, [FIXED, RANDOM], (), oracle, prompts, scaled_caps(law), budget, among=False)
        for law in laws().values()
    ]


def scaled_caps(law: Mapping[str, Any]) -> list[float]:
    """CAP in units of c, at each prefix."""
    return [law["input_scale"] * CAP] * law["length"]


@dataclass(frozen=True)
class OrthogonalErrors:
    """At each law and prefix, the mean of (decoder - oracle)(target - oracle) is 0, as the oracle is Bayes there."""

    name: str = "still the Bayes predictor under a shift"
    resolution: float = 0.5
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float | None:
        return gap_of_cross_terms(prompts_of(budget, PROMPTS))

    def tasks(self, budget: Budget) -> list[Task]:
        return shift_tasks(budget)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        prefixes = len(found[0]["variance"][ORACLE]["sum"])
        rate = self.false_alarm / (2 * len(found) * prefixes)
        compared = [
            one
            for values in found
            for model in (FIXED, RANDOM)
            for one in cross_terms(values, model, ORACLE, rate, self.miss).values()
        ]
        ran = f"{sum(values['count'] for values in found):.1e} prompts of {len(found)} laws, every prefix"
        return verdict_on_means(self, compared, IN_DEVIATIONS, ran, {})


Place = tuple[str, str]  # a law, and a decoder


@dataclass(frozen=True)
class ExcessQuotient:
    """What one decoder loses on one law over what one loses on another, beside a factor.

    above    whether the quotient is said to be above the factor; else below
    """

    name: str
    top: Place
    bottom: Place
    factor: float
    above: bool
    false_alarm: float = RATE
    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run: it depends on the spread of the decoders' errors."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return shift_tasks(budget)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = dict(zip(laws(), run(self.tasks(budget)), strict=True))
        top, bottom = (excess(found, place, self.false_alarm / 2) for place in (self.top, self.bottom))
        quotient = Interval(
            divided(top.low, bottom.high), divided(top.mean, bottom.mean), divided(top.high, bottom.low)
        )
        width = quotient.mean - quotient.low if self.above else quotient.high - quotient.mean
        return Verdict(
            self.name, self.outcome_of(quotient), quotient.mean, self.factor, width, width,
            f"as a quotient of excesses, {'above' if self.above else 'below'} {self.factor:g}", self.false_alarm,
            self.false_alarm, f"{sum(values['count'] for values in found.values()):.1e} prompts",
            {"low": quotient.low, "high": quotient.high if math.isfinite(quotient.high) else None, **tables(found)},
        )  # fmt: skip

    def outcome_of(self, quotient: Interval) -> Outcome:
        """Shown or refuted by the whole interval; else undecided."""
        shown = quotient.low > self.factor if self.above else quotient.high < self.factor
        refuted = quotient.high < self.factor if self.above else quotient.low > self.factor
        return "agrees" if shown else "contradicts" if refuted else "inconclusive"


def divided(top: float, bottom: float) -> float:
    """A quotient of numbers that are not negative; infinite where the lower one is 0 or the upper one is infinite."""
    return top / bottom if bottom > 0 and math.isfinite(top) else math.inf


def excess(found: Mapping[str, Values], place: Place, rate: float) -> Interval:
    """Capped squared distance to the oracle, in units of c, averaged over prefixes."""
    law, model = place
    scale = laws()[law]["input_scale"]
    low, mean, high = interval(found[law], ("distance", model, ORACLE), AVERAGED, rate)
    return Interval(low / scale, mean / scale, high / scale)


def tables(found: Mapping[str, Values]) -> dict[str, Any]:
    """By law, in units of c and at each prefix: the oracle's risk, and what the decoders lose to it."""
    rows: dict[str, Any] = {}
    for law, values in found.items():
        c = laws()[law]["input_scale"]
        by_model = {model: [x / c for x in mean_of(values, "distance", model, ORACLE)] for model in (FIXED, RANDOM)}
        rows[law] = {ORACLE: [x / c for x in mean_of(values, "variance", ORACLE)], **by_model}
    return rows


SHIFTED = "random covariances"
RULES = (
    ExcessQuotient("trained on N(0, I): c = 9 against c = 1", ("c = 9", FIXED), ("c = 1", FIXED), 2.0, above=True),
    ExcessQuotient("trained on N(0, I): random covariances", (SHIFTED, FIXED), ("c = 9", FIXED), 0.25, above=False),
    ExcessQuotient("trained on random covariances: c = 9", ("c = 9", RANDOM), ("c = 9", FIXED), 1.0, above=False),
)
UNIT = "as a difference, relative to 1"
PARAMETERS = (
    Parameter("dimension", "d, a whole number from 1 to 40"),
    Parameter("examples", "n before the query, a whole number from 0 to 200"),
    Parameter("input_scale", "c > 0: inputs N(0, c I)", required=False, default=1.0),
    Parameter("noise_variance", "s2 > 0 of the labels", required=False, default=0.1),
    Parameter("variance", "v > 0: coefficients w ~ N(0, v I)", required=False, default=1.0),
)
QUANTITIES = (
    Quantity("effective_noise", "s2/c: the noise that the scale is"),
    Quantity("bayes_risk", "E (prediction - w.x_q)^2 of the Bayes predictor, c R(1; s2/c)"),
    Quantity("layer_risk", "the same of one layer of linear attention trained at c = 1 on n examples; of 0 for n = 0"),
)


def shift_claim(formula: FormulaMaker = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "covariate-shift",
        theory.derivation,
        PARAMETERS,
        lambda parameters: theory.for_user(**parameters),
        (
            ExactCheck("scaled prompts, dense class", scales_task, rows_by(formula), in_words, UNIT),
            ExactCheck("scaled prompts, mixture", scales_task, rows_of_mixture, in_words, UNIT),
            OrthogonalErrors(),
            *RULES,
        ),
        "scaled prompts with d <= 3, N <= 5, c from 1/4 to 9. Trained: the shipped decoders dense and "
        "random-covariance, two files (d = 5, at most 10 examples, noise 0.1), on inputs N(0, I), N(0, 4 I), N(0, 9 I) "
        "and random diagonal covariances with Exp(1) entries; squared distances to the Bayes predictor count at most 1 "
        "in units of c and are averaged over prefixes. Fixed beforehand: c = 9 costs more than twice what c = 1 does; "
        "training on random covariances helps there. After a look: random covariances cost below a quarter of c = 9",
        (
            Alterable(
                theory.formula, theory.points, lambda seed: letters(seed)[:3],
                lambda altered: shift_claim(lambda: altered), most=60,
            ),
        ),
        quantities=QUANTITIES,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (shift_claim(),)
