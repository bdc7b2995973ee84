r"""The claim scan-decoder: the decoder's logits without overlap, in one law for every vocabulary and time.

Three checks
    the flow of the full vector of M logits by autograd of the cross-entropy, against law, error, gamma and its integral
    the flow of the whole decoder of classes with distinct tokens, against the law
    stochastic gradient descent on the decoder: ahead of the law by no more than finite steps make
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.scan_decoder import decoder as theory
from ..claims.alterable import Alterable
from ..claims.claim import Budget, Claim, Parameter, Values
from ..claims.exact_checks import ExactCheck, Row
from ..records.tasks import Task
from . import quantities

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENT = "iclcheck.numerics.scan_decoder.class_logits"
EPS = float(np.finfo(np.float64).eps)
# M, K, eta_Y: from two tokens to a thousand
SIZES = ((2, 1, 1.0), (3, 3, 0.5), (10, 4, 2.0), (30, 2, 1.0), (200, 10, 5.0), (1000, 10, 0.7))
TIMES = (0.001, 0.1, 0.5, 1.0, 1.5, 3.0, 20.0)  # in units of K ln M/eta_Y
WHOLE = ((2, 30, 10, 1.0), (4, 12, 3, 2.0), (5, 15, 2, 0.5))  # K, M, distinct tokens of a class, eta_Y
STEPS = ((2, 30, 0.1, 1500), (3, 12, 0.05, 3000))  # K, M, eta_Y, steps
TOKENS = 4
PARAMETERS = (
    Parameter(
        "classes", "M, the number of tokens; not the number of classes K, which is frequency: a whole number from 2"
    ),
    Parameter("frequency", "K, the number of sequence classes, each with probability 1/K: a whole number from 1"),
    Parameter("learning_rate", "eta_Y, above 0"),
    Parameter("time", "t, at least 0, one unit being one step of batch size 1 at the rate eta_Y"),
)

Made = Callable[[], "Formula"]


def times_of(M: int, K: int, eta: float) -> list[float]:
    return [factor * K * math.log(M) / eta for factor in TIMES]


def later_times(M: int, K: int, eta: float) -> list[float]:
    """Those at which a lead is not small beside the largest one, in units of which the whole flow states its error."""
    return times_of(M, K, eta)[1:]


def letters_of(lead: float, M: int, K: int, eta: float) -> dict[str, Any]:
    """The formula's letters at a measured lead u."""
    return {"X": math.exp(lead), "u": lead, "h": lead / M, "M": float(M), "K": float(K), "eta": eta}


def logits_task(budget: Budget) -> Task:
    cases = [{"vocabulary": M, "classes": K, "learning_rate": eta, "times": times_of(M, K, eta)} for M, K, eta in SIZES]
    return Task(f"{MEASUREMENT}:logit_flows", {"cases": cases}, budget.device, cost=3.0)


def rows_of_logits(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """The formula at the measured lead: time, error, gamma and its integral, each relative to the measured one."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        del budget
        result = []
        columns = (found[name] for name in ("numbers", "error", "rounding"))
        for (M, K, eta), numbers, errors, rounding in zip(SIZES, *columns, strict=True):
            for t, one, error in zip(times_of(M, K, eta), numbers, errors, strict=True):
                lead, wrong, force, integral, uneven, total = one
                q = (M - 1) / M
                measured = np.array([eta * t / K, wrong, q * force, q * integral])
                derived = np.asarray(formula().value(letters_of(lead, M, K, eta)), dtype=float)
                allowed = sensitivity(lead, M, eta * t / K) * error
                result.append((float(np.max(np.abs(derived / measured - 1))), allowed))
                # The others are sums of equal slopes, one rounding each; their sizes add up to that of the right one.
                result.append((max(uneven, total), 2 * rounding))
        return result

    return rows


def sensitivity(lead: float, M: int, reached: float) -> float:
    """By how much relative errors of lead and numbers grow in the comparison.

    A relative error e of u moves the law by u (X + M - 1) e, error and gamma by at most u e and (u + 1) e, the
    integral by 2 e; each measured number has an error e of its own.
    """
    return lead * (math.exp(lead) + M - 1) / (M * reached) + 2 * lead + 4


def logits_in_words(found: Values) -> str:
    return f"{len(SIZES)} sizes, M = 2 to 1000, {len(TIMES)} times each"


def whole_task(budget: Budget) -> Task:
    cases = [
        {"classes": K, "vocabulary": M, "tokens": D, "learning_rate": eta, "times": later_times(M, K, eta)}
        for K, M, D, eta in WHOLE
    ]
    parameters = {"cases": cases, "stream_key": f"scan-decoder/{budget.seed}"}
    return Task(f"{MEASUREMENT}:decoder_leads", parameters, budget.device, cost=2.0)


def rows_of_whole(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """The time by the formula at every measured lead, relative to the time."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        del budget
        result = []
        for (K, M, _, eta), leads, error in zip(WHOLE, found["lead"], found["error"], strict=True):
            largest = float(np.max(leads))
            for t, at_time in zip(later_times(M, K, eta), leads, strict=True):
                reached = eta * t / K
                for lead in np.ravel(at_time):
                    derived = time_by(formula(), float(lead), M, K, eta)
                    # The error is relative to the largest entry of Y: w_n = Y^T f_n has at most sqrt(M) of it.
                    of_lead = 2 * math.sqrt(M) * error * largest / float(lead)
                    result.append((abs(derived / reached - 1), sensitivity(float(lead), M, reached) * of_lead))
        return result

    return rows


def time_by(formula: Formula, lead: float, M: int, K: int, eta: float) -> float:
    """tau at a lead, by a formula's law."""
    return float(formula.value(letters_of(lead, M, K, eta))[0])


def steps_task(budget: Budget) -> Task:
    cases = [
        {"classes": K, "vocabulary": M, "tokens": TOKENS, "learning_rate": eta, "steps": steps}
        for K, M, eta, steps in STEPS
    ]
    parameters = {"cases": cases, "stream_key": f"scan-decoder/steps/{budget.seed}"}
    return Task(f"{MEASUREMENT}:descent_leads", parameters, budget.device, cost=1.0)


def rows_of_steps(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """The law at the lead u* of N steps, and at u* less what steps can be ahead: eta N lies between, relative to it."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        del budget
        result = []
        for (K, M, eta, _), visits, leads in zip(STEPS, found["visits"], found["lead"], strict=True):
            for count, at_class in zip(visits, leads, strict=True):
                for lead in at_class:
                    behind = lead - theory.ahead(lead, M, eta)
                    latest, earliest = (time_by(formula(), one, M, K, eta) for one in (lead, behind))
                    middle, half = (latest + earliest) / 2, (latest - earliest) / 2
                    rounding = count * EPS * sensitivity(lead, M, eta * count)
                    result.append((abs(middle / (eta * count) - 1), abs(half) / (eta * count) + rounding))
        return result

    return rows


def steps_in_words(found: Values) -> str:
    counts = "; ".join(", ".join(str(count) for count in visits) for visits in found["visits"])
    return f"batch size 1, {counts} visits of the classes, rates {', '.join(str(one[2]) for one in STEPS)}"


def letters_of_checks(seed: int) -> list[Mapping[str, Any]]:
    """The letters at the times of the first check, to say how far an altered formula is from the original."""
    del seed
    return [letters_of(theory.lead_at(M, eta * t / K), M, K, eta) for M, K, eta in SIZES for t in times_of(M, K, eta)]


def decoder_claim(formula: Made = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "scan-decoder",
        theory.derivation,
        PARAMETERS,
        lambda parameters: theory.for_user(**parameters),
        (
            ExactCheck("flow of M logits", logits_task, rows_of_logits(formula), logits_in_words,
                       "as a relative difference", resolution=1e-8),
            ExactCheck("flow of the whole decoder", whole_task, rows_of_whole(formula),
                       lambda found: f"{len(found['lead'])} tasks with distinct tokens only, every class and column",
                       "in units of the time", cost_of_alteration="judged again"),
            ExactCheck("stochastic gradient descent on the decoder", steps_task, rows_of_steps(formula),
                       steps_in_words, "in units of the time", resolution=0.1, cost_of_alteration="judged again"),
        ),
        "no overlap of the class vectors, attention not trained: M = 2 to 1000 tokens, K = 1 to 10 classes, times from "
        "0.001 to 20 K ln M/eta_Y; single steps of rates 0.05 and 0.1. The limits are proved in words",
        (
            Alterable(
                theory.formula,
                theory.points,
                letters_of_checks,
                lambda altered: decoder_claim(lambda: altered),
            ),
        ),
        quantities=quantities.DECODER,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claim."""
    return (decoder_claim(),)
