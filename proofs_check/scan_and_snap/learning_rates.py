"""The claim scan-learning-rates: what the two learning rates do to attention at a given time.

Three checks on the reparametrised flow of the real layer
    elasticities    logits differentiated by ln eta_Y and ln eta_Z (differences of whole flows): their ratio
    same drive      three pairs of rates that have the same drive at one time: the same logits
    order           entropies of attention on distinct tokens at larger rates, against the sign that the drive predicts;
                    the same signs in the flow of the loss itself are counted beside and not judged
and one on layers trained by samples (`trained_rates`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.scan_and_snap import attention_rates as theory
from ...theory.scan_and_snap.symmetric_task import decoder_logit, drive, entropy
from ..claims.alterable import Alterable
from ..claims.claim import Budget, Claim, Values
from ..claims.exact_checks import ExactCheck, ExactCount, Row
from ..records.tasks import Task
from . import quantities
from .symmetric_runs import DERIVED, RATES, TASK, TIME, Case, Pair, runs_of, runs_task
from .trained_rates import RatesOfTraining

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

STEP = 1 / 32  # in ln eta
STEPS = (1, 2, 4)
BASES = (
    Case(3, 20, 0.35, (1, 2, 3), (Pair(1.0, 0.5),), (0.5, 3.0, 8.0)),
    Case(2, 12, 0.4, (1, 2), (Pair(1.0, 2.0),), (0.3, 2.0, 10.0)),
)


def doubled(eta_Z: float) -> Case:
    """eta_Y = 1 and eta_Z; eta_Y doubled, both doubled, eta_Z doubled."""
    pairs = (Pair(1.0, eta_Z), Pair(2.0, eta_Z), Pair(2.0, 2 * eta_Z), Pair(1.0, 2 * eta_Z))
    return Case(3, 20, 0.35, (1, 2, 3), pairs, (0.1, 0.3, 3.0, 12.0))


ORDERED, SLOW = doubled(0.5), doubled(0.01)  # attention almost as fast as the decoder, and much slower
# (classes, vocabulary, eta_Y, eta_Z, time) -> (drive, elasticity by eta_Y)
Predicted = Callable[[int, int, float, float, float], tuple[float, float]]


def derived(classes: int, vocabulary: int, eta_Y: float, eta_Z: float, time: float) -> tuple[float, float]:
    """That of `predict`."""
    tau = eta_Y * time / classes
    return eta_Z / eta_Y * decoder_logit(tau, vocabulary) ** 2, theory.elasticity(tau, vocabulary)


def predicted_by(formula: Formula) -> Predicted:
    """That of a formula, which may be altered."""
    return lambda *setting: theory.drive_and_elasticity_by(formula.parts, *setting)


# Elasticities


def varied(case: Case) -> Case:
    """The case at rates e^(+-k h) times its own, eta_Y first."""
    (base,) = case.rates
    factors = [math.exp(sign * k * STEP) for k in STEPS for sign in (1, -1)]
    pairs = [Pair(base.decoder * f, base.attention) for f in factors] + [
        Pair(base.decoder, base.attention * f) for f in factors
    ]
    return Case(case.classes, case.vocabulary, case.common, case.profile, tuple(pairs), case.scaled_times)


def elasticity_task(budget: Budget) -> Task:
    del budget  # nothing is sampled
    return runs_task(runs_of([varied(case) for case in BASES], "reparametrised"))


def slope(values: Any, noise: float) -> tuple[float, float]:
    """The derivative at 0 from values at (h, -h, 2h, -2h, 4h, -4h), and what it may be off by.

    Central differences have errors in h^2, h^4, ..: two steps of Richardson's extrapolation leave h^6, and the second
    step's change bounds it. Errors of the values come with a factor of at most 3/h.
    """
    first = [(values[2 * k] - values[2 * k + 1]) / (2 * STEPS[k] * STEP) for k in range(3)]
    second = [(4 * first[k] - first[k + 1]) / 3 for k in range(2)]
    best = (16 * second[0] - second[1]) / 15
    return best, abs(best - second[0]) + 3 / STEP * noise


def elasticity_rows(predicted: Predicted) -> Callable[[Budget, Values], list[Row]]:
    def rows(budget: Budget, found: Values) -> list[Row]:
        del budget
        return [
            row
            for case, run in zip(BASES, found["runs"], strict=True)
            for i, time in enumerate(case.times)
            for row in elasticity_row(case, run, i, predicted(case.classes, case.vocabulary, *case.rates[0], time)[1])
        ]

    return rows


def elasticity_row(case: Case, run: Values, i: int, predicted: float) -> list[Row]:
    """For the common token and the most probable distinct one of class 0: |slope_Y/slope_Z - e|."""
    del case
    noise = run["error"] * float(np.abs(run["common"]).max())
    logits = [np.array(run["common"][i]), np.array(run["distinct"][i])[:, 0, -1]]
    found = []
    for values in logits:
        (by_Y, wrong_Y), (by_Z, wrong_Z) = slope(values[:6], noise), slope(values[6:], noise)
        allowed = (wrong_Y + abs(by_Y / by_Z) * wrong_Z) / abs(by_Z) + DERIVED
        found.append((abs(float(by_Y / by_Z) - predicted), float(allowed)))
    return found


def flows_in_words(found: Values) -> str:
    evaluations = sum(run["evaluations"] for run in found["runs"])
    return f"{sum(len(run['common'][0]) for run in found['runs'])} flows, {evaluations} velocities"


# The same drive


def same_drive() -> Case:
    """Three pairs of rates with the drive of the first one at one time, rounded to 12 digits."""
    base = Case(3, 20, 0.35, (1, 2, 3), (Pair(1.0, 1.0),), (1.5,))
    (time,) = base.times
    driven = drive(base.task, 1.0, 1.0, time)
    others = [Pair(eta_Y, float(f"{driven / drive(base.task, eta_Y, 1.0, time):.12g}")) for eta_Y in (0.5, 4.0)]
    return Case(base.classes, base.vocabulary, base.common, base.profile, (*base.rates, *others), base.scaled_times)


def same_drive_task(budget: Budget) -> Task:
    del budget  # nothing is sampled
    return runs_task(runs_of([same_drive()], "reparametrised"))


def same_drive_rows(predicted: Predicted) -> Callable[[Budget, Values], list[Row]]:
    """Logits apart from those of the first pair, relative; and the drives as the formula has them."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        del budget
        case, (run,) = same_drive(), found["runs"]
        drives = [predicted(case.classes, case.vocabulary, *pair, case.times[0])[0] for pair in case.rates]
        logits = [np.append(run["common"][0][j], np.ravel(run["distinct"][0][j])) for j in range(len(case.rates))]
        allowed = 2 * run["error"] + DERIVED
        found_rows = []
        for j in (1, 2):
            apart = float(np.abs(logits[j] - logits[0]).max() / np.abs(logits[0]).max())
            found_rows += [(apart, allowed), (relative_gap(drives[j], drives[0]), DERIVED)]
        return found_rows

    return rows


def relative_gap(a: float, b: float) -> float:
    """|a/b - 1|; infinite for a drive that is no number, or 0: attention has moved."""
    return abs(a / b - 1) if b and math.isfinite(a) and math.isfinite(b) else math.inf


# The order of entropies


def ordered_task(budget: Budget) -> Task:
    del budget  # nothing is sampled
    return runs_task(
        [ORDERED.run("reparametrised"), ORDERED.run("joint"), SLOW.run("reparametrised"), SLOW.run("joint")]
    )


def signs(run: Values) -> list[int]:
    """Whether attention on the distinct tokens is sparser (+1) or denser (-1) than at the first rates."""
    found = []
    for row in run["weights"]:
        entropies = [entropy(np.array(w[1:]) / sum(w[1:])) for w in row]
        found += [1 if one < entropies[0] else -1 for one in entropies[1:]]
    return found


def predicted_signs(case: Case, predicted: Predicted) -> list[int]:
    """+1 where the drive is larger than at the first rates."""
    found = []
    for time in case.times:
        drives = [predicted(case.classes, case.vocabulary, *pair, time)[0] for pair in case.rates]
        found += [1 if one > drives[0] else -1 for one in drives[1:]]
    return found


def apart(left: list[int], right: list[int]) -> int:
    """How many differ."""
    return sum(a != b for a, b in zip(left, right, strict=True))


def wrong_signs(predicted: Predicted) -> Callable[[Budget, Values], list[int]]:
    """How many signs of the reparametrised flow the prediction misses."""

    def count(budget: Budget, found: Values) -> list[int]:
        del budget
        runs = found["runs"][::2]
        return [
            apart(predicted_signs(case, predicted), signs(run)) for case, run in zip((ORDERED, SLOW), runs, strict=True)
        ]

    return count


def signs_in_words(found: Values) -> str:
    """What was run, and in how many signs the flow of the loss itself is like the reparametrised one."""
    fast, joint_fast, slow, joint_slow = (signs(run) for run in found["runs"])
    alike = [len(fast) - apart(fast, joint_fast), len(slow) - apart(slow, joint_slow)]
    return (
        f"eta_Y, both and eta_Z doubled at {len(ORDERED.times)} times; not judged: the flow of the loss itself has "
        f"{alike[0]} of {len(fast)} signs alike at eta_Z = eta_Y/2, {alike[1]} at eta_Z = eta_Y/100"
    )


def letters_of_cases(seed: int) -> list[Mapping[str, Any]]:
    """Letters of the formula at the second time of each base."""
    del seed
    return [theory.letters_at(case.classes, case.vocabulary, *case.rates[0], case.times[1]) for case in BASES]


def learning_rates_claim(predicted: Predicted = derived) -> Claim:
    """`predicted` can be that of an altered formula, to see the same checks refuse it."""
    return Claim(
        "scan-learning-rates",
        theory.derivation,
        (*TASK, *RATES, TIME),
        lambda parameters: theory.rates_prediction(**parameters),
        (
            ExactCheck(
                "elasticities of attention", elasticity_task, elasticity_rows(predicted), flows_in_words,
                "as a difference of the ratio of two derivatives",
            ),
            ExactCheck(
                "same drive, same attention", same_drive_task, same_drive_rows(predicted), flows_in_words,
                "as a difference of logits, relative, or of drives",
            ),
            ExactCount(
                "order of entropies", ordered_task, wrong_signs(predicted), signs_in_words, "as signs that differ"
            ),
            RatesOfTraining(),
        ),
        "the reparametrised flow at tasks with K = 2 and 3, M = 12 and 20; eta_Z/eta_Y from 0.005 to 2, and where "
        "drives are equal, times from 0.1 to 12 K ln M. By samples: "
        "K = 2, M = 30, T = 128, momentum 0.9, at the end of 120 steps, the sign alone",
        (
            Alterable(
                theory.formula, theory.points, letters_of_cases,
                lambda formula: learning_rates_claim(predicted_by(formula)), most=50,
            ),
        ),
        quantities=quantities.LEARNING_RATES,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (learning_rates_claim(),)
