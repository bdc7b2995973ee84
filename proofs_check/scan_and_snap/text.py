r"""The claim scan-text: where the attention of one layer goes first on a text, and what it does later.

Two checks of what is derived, without sampling
    the real layer's second derivatives at time 0 of the flow, by automatic differentiation, beside the sums over counts
    the real layer's flow for a short time, within the proved remainder
Three checks of what the paper observes, by counting trainings; these have no prediction but the direction
    entropy falls; most of the fall comes in the first half of training; a larger learning rate ends lower
Domain of the counts. Each replica is a text of its own from the grammar of `made_up_text`, another key each, and trains
by plain SGD from zero at both learning rates of RATES on the same batches, drawn by a key of that text alone, eta_Y =
eta_Z. So replicas are independent,
and the shares of hits have binomial bounds (`verdicts.replicas`) at FALSE_ALARM each, whatever the law of trained
weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.scan_on_text import text_attention as theory
from ...theory.scan_on_text.text_windows import Windows, windows_of
from ..claims.alterable import Alterable
from ..claims.claim import AlterationCost, Budget, Claim, Parameter, Run, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.replica_verdict import replica_verdict
from ..claims.settings import FloatArray
from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from . import quantities

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASURED = "iclcheck.numerics.scan_on_text.text_attention"
EPS = float(np.finfo(np.float64).eps)
TEXT_WORDS, TEXT_LENGTH, TEXT_WINDOWS = 64, 16, 250
TEXT = {"text": "made-up", "vocabulary": TEXT_WORDS, "length": TEXT_LENGTH, "count": TEXT_WINDOWS}
SHORT_WORDS, SHORT_RATES, SHORT_TIME = 40, (1.0, 1e4), 1e-5
SHORT = {
    "text": "made-up", "vocabulary": SHORT_WORDS, "length": 8, "count": 250, "rates": list(SHORT_RATES),
    "time": SHORT_TIME, "steps": 8,
}  # fmt: skip
REQUIRED, FALSE_ALARM = 0.5, 1e-4
RATES = [[2.0, 2.0], [16.0, 16.0]]
TEXTS_IN_A_TASK = 6
UNDEFINED = 1e9  # in the place of an error that is none: the numbers of a verdict are finite


def predicted(formula: Formula, windows: Windows) -> tuple[FloatArray, float]:
    """kappa (M, M), and the drop of entropy at z = kappa."""
    found = formula.value({"windows": windows}).astype(float)
    return found[:-1].reshape(windows.vocabulary, windows.vocabulary), float(found[-1])


def early_rows(formula: Formula, values: Values) -> list[Row]:
    """kappa against half of the second derivative, and the entropy: its value, slope and curvature there.

    Rounding: an entry of kappa is a mean over S windows of sums of at most M + T products of numbers below 1, each
    rounded once, with absolute values that add up to at most 2: below 2 (S + M + T + 100) eps on either side. If the
    logits of a window are off by at most D, its variance is off by at most 2 sqrt(variance) D + D^2, and so are the
    means, by Cauchy and Schwarz. The curvature itself is a sum over the keys of terms of the size ln(T - 1) z^2.
    """
    windows = windows_of(values["windows"], len(values["vocabulary"]))
    measured = np.array(values["second_derivative"]) / 2
    table, drop = predicted(formula, windows)
    size = float(np.abs(measured).max())
    terms = len(windows) + windows.vocabulary + windows.words.shape[1] + 100
    lost = 4 * terms * EPS / size
    half_variance = values["curvature"] / 2
    off = lost * size
    of_drop = (math.sqrt(2 * half_variance) * off + off**2 / 2 + terms * EPS * 4 * size**2) / half_variance
    return [
        (float(np.abs(measured - table).max()) / size, lost),
        (abs(values["start"] - math.log(float(windows.keys[0]))), terms * EPS),
        (abs(values["slope"]) / size, lost),
        (abs(half_variance - drop) / half_variance, of_drop),
    ]


def flow_rows(formula: Formula, values: Values) -> list[Row]:
    """|Z(t) - t^2 eta_Y eta_Z kappa| over all queries, and the root of the mean drop of entropy, each relative.

    sqrt(2 (ln(T - 1) - H)) is a deviation of logits up to R^2/6 in units of itself for logits that spread by R, as
    |d Var/d eps| <= R Var; and the deviations of two sets of logits differ by at most their largest difference.
    """
    windows = windows_of(values["windows"], SHORT_WORDS)
    (eta_Y, eta_Z), t = SHORT_RATES, SHORT_TIME
    scale = t**2 * eta_Y * eta_Z
    table, drop = predicted(formula, windows)
    Z, chances = np.array(values["Z"]), windows.query_chances().astype(float)
    size = float(np.linalg.norm(Z))
    bound = remainder_at(eta_Y, eta_Z, float(chances.max()), t)
    # halving the steps of the integrator changes its error by a factor of about 16; rounding as in `early_rows`
    integrated = values["halved"] + 4 * (len(windows) + SHORT_WORDS + 200) * EPS * scale
    measured = math.sqrt(2 * values["lost_entropy"])
    keys, spread = float(windows.keys[0]), float(values["spread"])
    # a mean of logits whose mean is 0 has a rounding error of keys * eps * spread
    rounding = keys * EPS * spread / measured**2 + spread
    root = math.sqrt(2 * drop) if drop > 0 else 0.0
    return [
        (
            float(np.linalg.norm(Z - scale * table)) / size,
            (bound * float(np.linalg.norm(chances)) + integrated) / size,
        ),
        (
            abs(measured - scale * root) / measured,
            (bound * float(chances.max()) + integrated) / measured + rounding,
        ),
    ]


def remainder_at(eta_Y: float, eta_Z: float, p: float, t: float) -> float:
    """The bound on |z_m(t) - t^2 eta_Y eta_Z kappa_m|/p_m."""
    return sum(float(c) * eta_Y**i * eta_Z**j * p**k * t**m for (i, j, k, m), c in theory.remainder().items())


def early_check(formula: Formula) -> ExactCheck:
    return ExactCheck(
        "coefficient of t^2 and entropy",
        lambda budget: Task(f"{MEASURED}:early_attention", TEXT, budget.device, cost=0.6),
        lambda budget, values: early_rows(formula, values),
        lambda values: f"{len(values['windows'])} windows of the made-up text, T = 16, 64 words",
        "in units of the largest coefficient and of the drop of entropy",
    )


def flow_check(formula: Formula) -> ExactCheck:
    return ExactCheck(
        "flow for a short time, within its remainder",
        lambda budget: Task(f"{MEASURED}:early_flow", SHORT, budget.device, cost=0.6),
        lambda budget, values: flow_rows(formula, values),
        lambda values: f"{len(values['windows'])} windows, T = 8, 40 words, eta_Y t = {SHORT_TIME}",
        "in units of all logits and of the root of the drop of entropy",
        resolution=0.02,
    )


# Trainings


@dataclass(frozen=True)
class Sizes:
    """What a profile trains."""

    replicas: int
    training: Mapping[str, Any]
    seconds: float


def sizes_of(budget: Budget) -> Sizes:
    """Quick: short texts and 96 words; full: texts of 50 kB with all their words, longer windows and trainings."""
    if budget.profile == "full":
        plain = {"vocabulary": 207, "length": 32, "articles": 32, "batch": 64, "records": 40}
        return Sizes(min(48, budget.replicas), {**plain, "steps": budget.training_steps}, 60.0)
    plain = {"vocabulary": 96, "length": 16, "articles": 16, "batch": 32, "records": 20}
    return Sizes(min(18, budget.replicas), {**plain, "steps": min(700, budget.training_steps)}, 2.0)


def training_tasks(budget: Budget) -> list[Task]:
    """The trainings of all three counts, TEXTS_IN_A_TASK texts in a task."""
    sizes = sizes_of(budget)
    texts = [f"made-up/{budget.seed}/{replica}" for replica in range(sizes.replicas)]
    found = []
    for first in range(0, len(texts), TEXTS_IN_A_TASK):
        part = texts[first : first + TEXTS_IN_A_TASK]
        keys = [f"scan on text/{budget.seed}/{first + place}" for place in range(len(part))]
        given = {"texts": part, "rates": RATES, **sizes.training, "keys": keys}
        found.append(Task(f"{MEASURED}:trained_attention", given, budget.device, cost=sizes.seconds))
    return found


ErrorOf = Callable[[FloatArray], float]  # entropies (rates, records + 1) of one text -> what has to be at most `margin`


@dataclass(frozen=True)
class CountedTexts:
    """Texts on which trainings do what the paper observes."""

    name: str
    error: ErrorOf
    margin: float
    unit: str
    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run: the margin and the least error of a hit."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return training_tasks(budget)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        entropies = [np.array(text) for values in run(self.tasks(budget)) for text in values["entropy"]]
        errors = np.array([self.error(one) if np.isfinite(one).all() else UNDEFINED for one in entropies])
        steps = sizes_of(budget).training["steps"]
        ran = f"texts of their own, {steps} steps at rates {RATES[0][0]:g} and {RATES[1][0]:g}"
        verdict = replica_verdict(self.name, errors, self.margin, REQUIRED, FALSE_ALARM, self.unit, ran, signed=True)
        for place, name in enumerate(("smaller", "larger")):
            verdict.details[f"last entropy, {name} rate"] = float(np.median([one[place, -1] for one in entropies]))
        return verdict


def share_left(entropies: FloatArray) -> float:
    """The last entropy in units of the first, the larger of both rates."""
    return float((entropies[:, -1] / entropies[:, 0]).max())


def late_share(entropies: FloatArray) -> float:
    """How much of its way down entropy does in the second half of training, the larger of both rates."""
    first, half, last = entropies[:, 0], entropies[:, entropies.shape[1] // 2], entropies[:, -1]
    return float(((half - last) / (first - last)).max()) if (first > last).all() else UNDEFINED


def larger_less_smaller(entropies: FloatArray) -> float:
    """The last entropy at the larger rate less that at the smaller one."""
    return float(entropies[1, -1] - entropies[0, -1])


TRAINED = (
    CountedTexts("entropy falls", share_left, 0.95, "as the last entropy over the first"),
    CountedTexts("entropy slows down", late_share, 0.4, "as the share of the fall in the second half of training"),
    CountedTexts("larger rate, lower entropy", larger_less_smaller, -0.1, "in nats, larger rate less smaller one"),
)


def settings(seed: int) -> list[Mapping[str, Any]]:
    """The windows of the exact check; they are the same for every seed."""
    del seed
    return [{"windows": windows_of_check()}]


@cache
def windows_of_check() -> Windows:
    # The verbs that only derive and predict never load numerics.
    from ...numerics.scan_on_text.text_attention import corpus, spread_windows

    found = corpus("made-up", TEXT_WORDS)
    rows = spread_windows(found, TEXT_LENGTH, TEXT_WINDOWS).tolist()
    return windows_of(rows, len(found.vocabulary))


def scan_text_claim(formula: Callable[[], Formula] = theory.formula) -> Claim:
    """The formula can be altered, to see the same checks refuse other ones."""
    chosen = formula()
    return Claim(
        "scan-text",
        theory.derivation,
        (
            Parameter("windows", "rows of T + 1 words from 0 to M - 1: keys x_1 .. x_(T-1), query x_T, next word"),
            Parameter("vocabulary_size", "M, a whole number from 2 to 200"),
            Parameter("time", "of the flow from zero, at least 0"),
            Parameter("decoder_rate", "eta_Y > 0", False, 1.0),
            Parameter("attention_rate", "eta_Z > 0", False, 1.0),
        ),
        lambda parameters: theory.for_user(**parameters),
        (early_check(chosen), flow_check(chosen), *TRAINED),
        "derived part: full-batch gradient flow from zero on 250 windows of the shipped made-up text (T = 16 and 8, 64 "
        "and 40 words). Measured part: plain SGD from zero on made-up texts of their own (about 24 kB, 96 words, T = "
        "16, 700 steps of 32 windows), eta_Y = eta_Z = 2 and 16",
        (
            Alterable(
                theory.formula,
                theory.points,
                settings,
                lambda altered: scan_text_claim(lambda: altered),
            ),
        ),
        quantities=quantities.TEXT,
    )


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (scan_text_claim(),)
