r"""The claim scan-equal-overlaps, and the audit of the remark that overlap is a smaller learning rate.

Three checks, on the real decoder's flow of the loss by autograd, attention frozen
    rates of the leads and force on distinct tokens at every state, and the orbit at every time, against the formulas
    the leads themselves at every time, against the solved flow
    as many classes as tokens, where overlap is a smaller learning rate
The audit puts the printed logits beside the real ones: at the first moment, and late.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.scan_decoder import equal_overlaps as theory
from ...theory.scan_decoder import printed_remark as remark
from ...theory.scan_decoder.decoder import lead_at
from ..claims.alterable import Alterable
from ..claims.audit import Audit
from ..claims.claim import Budget, Claim, Parameter, Values
from ..claims.exact_checks import ExactCheck, PrintedNumber, Row
from ..claims.settings import FloatArray
from ..records.tasks import Task
from . import quantities

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENT = "iclcheck.numerics.scan_decoder.overlapping_decoder"
EPS = float(np.finfo(np.float64).eps)
# K, M, and the classes' tokens; overlaps from 0.05 to 0.92
CASES: tuple[dict[str, Any], ...] = (
    {"classes": 2, "vocabulary": 8, "common": 0.5, "profile": [1.0]},
    {"classes": 4, "vocabulary": 60, "common": 0.35, "profile": [1.0, 2.0, 3.0]},
    {"classes": 3, "vocabulary": 30, "common": 0.7, "profile": [1.0, 1.0]},
    {"classes": 10, "vocabulary": 200, "common": 0.15, "profile": [1.0, 3.0]},
)
FULL: tuple[dict[str, Any], ...] = (
    {"classes": 3, "vocabulary": 3, "share": 0.6},
    {"classes": 6, "vocabulary": 6, "share": 0.5},
    {"classes": 5, "vocabulary": 5, "share": 0.1},
)
TIMES = (0.1, 0.5, 1.0, 2.0, 5.0, 20.0)  # in units of K ln M/eta_Y
RATE = 0.8
# A velocity and a force are sums of some M K products of Y's entries and probabilities, pairwise; a hundred roundings.
ROUNDINGS = 100 * EPS
PARAMETERS = (
    Parameter(
        "classes", "M, the number of tokens; not the number of classes K, which is frequency: a whole number from 2"
    ),
    Parameter("frequency", "K, the number of sequence classes, each with probability 1/K: from 2 to M, at most 10^6"),
    Parameter("overlap", "rho = f_n.f_j of different class vectors: from 0, below 1"),
    Parameter("learning_rate", "eta_Y, above 0"),
    Parameter("time", "t, at least 0, one unit being one step of batch size 1 at the rate eta_Y"),
)

Made = Callable[[], "Formula"]


def reached(case: Mapping[str, Any]) -> list[float]:
    """tau at the times."""
    return [factor * math.log(case["vocabulary"]) for factor in TIMES]


def with_times(case: Mapping[str, Any]) -> dict[str, Any]:
    return {**case, "learning_rate": RATE, "times": [tau * case["classes"] / RATE for tau in reached(case)]}


def task_by(cases: tuple[dict[str, Any], ...]) -> Callable[[Budget], Task]:
    """The flow of each case."""

    def task(budget: Budget) -> Task:
        parameters = {"cases": [with_times(case) for case in cases]}
        return Task(f"{MEASUREMENT}:overlapping_flows", parameters, budget.device, cost=2.0)

    return task


def leads(table: Any) -> tuple[FloatArray, FloatArray]:
    """Own and other classes' tokens over the rest, (..., K) and (..., K (K - 1)), of a table (..., K, K + 1)."""
    w = np.asarray(table, dtype=float)
    K = w.shape[-2]
    over_rest = w[..., :K] - w[..., K:]
    own = np.eye(K, dtype=bool)
    return over_rest[..., own], over_rest[..., ~own]


def setting_of(case: Mapping[str, Any], overlaps: Any) -> theory.Setting:
    """M, K and the overlap of the class vectors, as measured; all pairs have the same up to rounding."""
    return theory.Setting(float(case["vocabulary"]), float(case["classes"]), float(np.mean(overlaps)))


def letters_of(at: theory.Setting, A: float, B: float, tau: float) -> dict[str, Any]:
    """The formula's letters at measured leads, and the phase of the solved flow."""
    letters = {"X": math.exp(A), "Z": math.exp(B), "A": A, "B": B, "phi": theory.phase_at(at, tau)}
    return {**letters, "M": at.M, "K": at.K, "rho": at.rho}


def rows_of_states(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """Rates of the leads in units of that of A, the force and the orbit relative to themselves."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        del budget
        result = []
        for k, case in enumerate(CASES):
            at = setting_of(case, found["overlaps"][k])
            for j, tau in enumerate(reached(case)):
                (A, B), (A_rate, B_rate) = ([one.ravel() for one in leads(found[name][k][j])]
                                            for name in ("logits", "rates"))  # fmt: skip
                predicted = np.asarray(formula().value(letters_of(at, A[0], B[0], tau)), dtype=float)
                xi, size = np.array(found["force"][k][j]), found["size"][k][j]
                # A Runge-Kutta step keeps every linear relation that the velocity keeps: Y stays in the span of the
                # class vectors with three values, whatever the step's error, but for one rounding of each velocity.
                # Leads are sums of at most M entries with weights of norm 1; each quantity changes a few times as much.
                kept = math.sqrt(at.M) * found["rounding"][k] * size + ROUNDINGS * size
                lost = 2 * math.sqrt(at.M) * found["error"][k] * size
                result += [
                    (spread(A_rate, predicted[0]) / A_rate[0], 4 * kept),
                    (spread(B_rate, predicted[1]) / A_rate[0], 4 * kept),
                    (spread(xi, predicted[2]) / abs(xi[0]), 4 * kept / abs(xi[0]) / (1 - at.rho)),
                    (spread(A, predicted[3]) / A[0], (4 * lost + kept) / A[0]),
                ]
        return result

    return rows


def spread(measured: FloatArray, predicted: float) -> float:
    """The largest distance."""
    return float(np.max(np.abs(measured - predicted)))


def rows_of_leads(budget: Budget, found: Values) -> list[Row]:
    """Both leads at every time against the solved flow, relative to that of the own token."""
    del budget
    result = []
    for k, case in enumerate(CASES):
        at = setting_of(case, found["overlaps"][k])
        for j, (own, other) in enumerate(theory.leads_at(at, reached(case))):
            A, B = (one.ravel() for one in leads(found["logits"][k][j]))
            lost = 4 * math.sqrt(at.M) * found["error"][k] * found["size"][k][j] + ROUNDINGS * own
            result.append((max(spread(A, own), spread(B, other)) / own, lost / own))
    return result


def rows_of_full(budget: Budget, found: Values) -> list[Row]:
    """Own over other logits where every token is a class, against scan-decoder at (1 - rho) of the time."""
    del budget
    result = []
    for k, case in enumerate(FULL):
        M, rho = case["vocabulary"], float(np.mean(found["overlaps"][k]))
        for j, tau in enumerate(reached(case)):
            w = np.array(found["logits"][k][j])
            own = np.eye(M, dtype=bool)
            lead = lead_at(M, (1 - rho) * tau)
            apart = (w[own][:, None] - w[~own].reshape(M, M - 1)).ravel()
            lost = 4 * math.sqrt(M) * found["error"][k] * found["size"][k][j] + ROUNDINGS * lead
            result.append((spread(apart, lead) / lead, lost / lead))
    return result


def described(found: Values) -> str:
    overlaps = ", ".join(f"{float(np.mean(one)):.2f}" for one in found["overlaps"])
    return f"{len(found['logits'])} tasks with overlaps {overlaps}, {len(TIMES)} times, every class"


def letters_of_checks(seed: int) -> list[Mapping[str, Any]]:
    """The letters at the solved flow of like tasks, to say how far an altered formula is from the original."""
    del seed
    found: list[Mapping[str, Any]] = []
    for M, K, rho in ((8.0, 2.0, 0.5), (60.0, 4.0, 0.43), (30.0, 3.0, 0.9), (200.0, 10.0, 0.05)):
        at = theory.Setting(M, K, rho)
        taus = [factor * math.log(M) for factor in TIMES]
        found += [letters_of(at, *pair, tau) for pair, tau in zip(theory.leads_at(at, taus), taus, strict=True)]
    return found


def overlap_claim(formula: Made = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "scan-equal-overlaps",
        theory.derivation,
        PARAMETERS,
        lambda parameters: theory.for_user(**parameters),
        (
            ExactCheck("rates, force and orbit", task_by(CASES), rows_of_states(formula), described,
                       "as a relative difference"),
            ExactCheck("leads at every time", task_by(CASES), rows_of_leads, described,
                       "in units of the own token's lead", cost_of_alteration="judged again"),
            ExactCheck("as many classes as tokens", task_by(FULL), rows_of_full, described,
                       "in units of the own token's lead", cost_of_alteration="judged again"),
        ),
        "2 to 10 classes with one common token, 8 to 200 tokens, overlaps 0.05 to 0.92; as many classes as tokens with "
        "3 to 6; attention frozen, 0.1 to 20 times K ln M/eta_Y. The late ratio of the forces is derived, not "
        "measured: it is reached as 1/ln t",
        (
            Alterable(
                theory.formula,
                theory.points,
                letters_of_checks,
                lambda altered: overlap_claim(lambda: altered),
                most=60,
            ),
        ),
        quantities=quantities.EQUAL_OVERLAPS,
    )  # fmt: skip


# The printed remark

PRINTED_AT: dict[str, Any] = {"classes": 2, "vocabulary": 5, "common": 0.5, "profile": [1.0]}


def start_task(budget: Budget) -> Task:
    return Task(f"{MEASUREMENT}:slopes_at_rest", {"cases": [PRINTED_AT]}, budget.device, cost=0.05)


def late_task(budget: Budget) -> Task:
    return task_by((PRINTED_AT,))(budget)


def compare_at_start(found: Values) -> tuple[float, float, float, bool]:
    """dw_n/dtau at the other class's token."""
    measured = float(np.array(found["rates"][0])[0, 1])
    printed = float(remark.at_counterexample()[1][1])
    return measured, printed, ROUNDINGS, abs(measured - printed) <= ROUNDINGS


def compare_late(found: Values) -> tuple[float, float, float, bool]:
    """What the other class's token has over the rest at the last time; the printed logits are equal there."""
    _, other = leads(found["logits"][0][-1])
    allowed = 4 * math.sqrt(PRINTED_AT["vocabulary"]) * found["error"][0] * found["size"][0][-1]
    return float(other[0]), 0.0, allowed, bool(abs(other[0]) <= allowed)


AUDIT = Audit(
    printed=(
        "w_n(N) = (M-1) h*(N/K) (zeta_n + rho sum_{n' != n} zeta_n') = (1-rho)(M-1) h*(N/K) zeta_n, by sum_n zeta_n = "
        "M/(M-1) (sum_n e_n - 1) = 0; and after Theorem 1: we analyze the original dynamics with identical "
        "off-diagonal elements of E, and Theorem 1 still holds with a smaller effective learning rate."
    ),
    reading=(
        "For the flow of the loss in the decoder with attention frozen, f_n.f_n' = rho; zeta_n = M/(M-1) (e_n - 1/M), "
        "and the sum runs over the K classes, as e_n does in the paper. The comparison is at the first moment, where "
        "h* is eta_Y t/(M K) in every reading, and late. Text: a stored copy of arXiv v4, read by machine. If the "
        "print has K = M, or the sum over all M tokens, among the remark's assumptions, it is right up to the rate's "
        "place: h at the rate (1-rho) eta_Y, not (1-rho) h; then this audit falls."
    ),
    counterexample=remark.counterexample,
    corrected="scan-equal-overlaps",
    correction=(
        "The logits of a class have three values. The tokens of the other classes gain on the tokens of no class, up "
        "to ln((1 + rho (M-1))/(1 - rho)); the force on attention is at first smaller than the reparametrised one's by "
        "the factor (1-rho)(1+(K-1)rho)/(1+rho(M-1)), not by 1-rho, and larger in the end."
    ),
    survives=(
        "The own token's lead over the rest grows as ln t. For K = M overlap is a smaller learning rate exactly: "
        "(1-rho) eta_Y. What the paper derives in the reparametrised dynamics is not touched."
    ),
)


def audit_claim() -> Claim:
    """The printed logits at one setting."""
    return Claim(
        "audit-scan-remark",
        remark.derivation,
        PARAMETERS,
        lambda parameters: remark.for_user(**parameters),
        (
            PrintedNumber("another class's logit at the first moment", start_task, compare_at_start,
                          lambda found: "K = 2, M = 5, one common token, rho = 1/2, autograd at Y = 0", "as dw/dtau"),
            PrintedNumber("another class's logit over the rest, late", late_task, compare_late,
                          lambda found: f"the same, tau = {TIMES[-1]:g} ln M, the real decoder's flow", "as a logit"),
        ),
        "one setting: two classes over five tokens with overlap 1/2; no formula of its own is altered: those of "
        "scan-equal-overlaps are",
        audit=AUDIT,
        quantities=quantities.REMARK,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claim, and the printed remark that it corrects."""
    return overlap_claim(), audit_claim()
