r"""The claim merged-heads-fixed-points, and the audit of the printed list of fixed points.

Two checks
    slopes of two real heads over Gauss nodes at random weights, against the derived ones
    slopes at points of both sets: none beyond rounding
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.algebra.evaluation import evaluate
from ...theory.algebra.formulas import SingularSystemError, left_divided
from ...theory.audits import merged_heads as theory
from ..records.tasks import Task
from .alterable import Alterable
from .audit import Audit
from .claim import Budget, Claim, Parameter, Values
from .exact_checks import ExactCheck, PrintedNumber, Row
from .one_layer_predictions import letters_of_law
from .settings import ROUNDED, FloatArray, Setting, gaussian_setting, generator, rounded

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENT = "iclcheck.numerics.audits.merged_heads:head_slopes"
SIZES = ((1, 1, True), (2, 1, True), (2, 2, True), (2, 2, False), (1, 3, True))
PARAMETERS = (
    Parameter("covariance", "Lambda, symmetric positive definite (d x d)"),
    Parameter("context_length", "N, a whole number of at least 1"),
    Parameter("value_gains", "v_1 .. v_H, one number for each head"),
    Parameter("key_queries", "U_1 .. U_H (H x d x d)"),
    Parameter("task_covariance", "Psi, symmetric positive semi-definite (d x d)", required=False),
    Parameter("noise_variance", "sigma^2, at least 0", required=False, default=0.0),
)


def settings(seed: int) -> list[Setting]:
    return [gaussian_setting(f"heads/{d}/{n}/{noise}", seed, d, [n], noise=noise) for d, n, noise in SIZES]


def heads(setting: Setting, seed: int) -> tuple[FloatArray, FloatArray]:
    """Random gains (2,) and key-query matrices (2, d, d)."""
    d = len(setting["covariance"])
    draw = generator(f"heads/weights/{d}/{setting['context_lengths']}/{setting['noise_variance'] > 0}", seed)
    return draw.uniform(-1, 1, size=2), draw.uniform(-1, 1, size=(2, d, d))


def letters(setting: Setting, gains: FloatArray, key_queries: FloatArray) -> dict[str, Any]:
    """Values of the letters of the law and of two heads."""
    return {
        **letters_of_law(setting),
        "v1": float(gains[0]), "v2": float(gains[1]), "U1": key_queries[0], "U2": key_queries[1],
    }  # fmt: skip


def case(setting: Setting, gains: Any, key_queries: Any) -> dict[str, Any]:
    plain = {"gains": np.asarray(gains).tolist(), "key_queries": np.asarray(key_queries).tolist()}
    return {"distribution": setting, **plain}


def task_of(cases: list[dict[str, Any]]) -> Task:
    return Task(MEASUREMENT, {"cases": cases}, cost=0.2)


def random_task(budget: Budget) -> Task:
    return task_of([case(one, *heads(one, budget.seed)) for one in settings(budget.seed)])


def rows_by(formula: Callable[[], Formula]) -> Callable[[Budget, Values], list[Row]]:
    """Differences of all slopes from a formula, relative to the slopes."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for setting, slopes, bounds in zip(settings(budget.seed), found["slopes"], found["rounding"], strict=True):
            derived = np.asarray(formula().value(letters(setting, *heads(setting, budget.seed))), dtype=float)
            size = float(np.linalg.norm(slopes))
            # The derived slopes are sums of fewer products than the measured means: their bound stands for both.
            result.append((float(np.linalg.norm(derived - slopes)) / size, 2 * float(np.linalg.norm(bounds)) / size))
        return result

    return rows


def quiet_heads(formula: Formula, setting: Setting, seed: int) -> list[tuple[FloatArray, FloatArray]]:
    """Heads on the continuum, and heads that add up to A*, by a formula's M and C."""
    gains, U = heads(setting, seed)
    values = letters_of_law(setting)
    M, C = (np.asarray(evaluate(formula.parts[name], values), dtype=float) for name in ("M", "C"))
    pull = C @ values["Lambda"]
    if not pull.any():
        raise SingularSystemError("need C different from 0 for a direction of descent, got 0")
    orthogonal = U - np.tensordot((U * pull).sum((1, 2)) / np.sum(pull * pull), pull, 0)
    star = left_divided(M, C)
    whole = np.stack([U[0], (star - gains[0] * U[0]) / gains[1]])
    return [(np.zeros_like(gains), rounded(orthogonal)), (gains, rounded(whole))]


def quiet_laws(seed: int) -> list[Setting]:
    """Those of dimension 2: in one dimension the continuum is the zero point."""
    return [one for one in settings(seed) if len(one["covariance"]) > 1]


def quiet_task(formula: Callable[[], Formula]) -> Callable[[Budget], Task]:
    def task(budget: Budget) -> Task:
        return task_of(
            [case(one, *pair) for one in quiet_laws(budget.seed) for pair in quiet_heads(formula(), one, budget.seed)]
        )

    return task


# A slope is a polynomial of degree at most 3 in the weights, whose entries are rounded to ROUNDED of the largest one
# (`settings`): with d <= 2 it moves by at most 3 * 4 ROUNDED of the sum of its terms' sizes.
MOVED = 12 * ROUNDED
UNITS = 100  # a bound on the rounding of a mean is at least so many eps times the sum of its terms' sizes (`cubature`)


def quiet_rows(budget: Budget, found: Values) -> list[Row]:
    """Slopes in units of (at least) the sum of their terms' sizes."""
    del budget
    result = []
    for slopes, bounds in zip(found["slopes"], found["rounding"], strict=True):
        bound = float(np.linalg.norm(bounds))
        size = bound / (UNITS * float(np.finfo(float).eps))
        result.append((float(np.linalg.norm(slopes)) / size, MOVED + bound / size))
    return result


def nodes_in_words(found: Values) -> str:
    return f"{sum(found['nodes']):.1e} Gauss nodes at {len(found['nodes'])} points"


def fixed_points_claim(formula: Callable[[], Formula] = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "merged-heads-fixed-points",
        theory.derivation,
        PARAMETERS,
        lambda parameters: theory.slopes_for_user(**parameters),
        (
            ExactCheck("slopes of two heads, enumerated", random_task, rows_by(formula), nodes_in_words,
                       "as a relative difference"),
            ExactCheck("no slope on both sets, enumerated", quiet_task(formula), quiet_rows, nodes_in_words,
                       "as |slope| in units of the sum of its terms"),
        ),
        "two heads under five laws (d <= 2, N <= 3, with and without noise), at random weights and at points of both "
        "sets; more heads enter as the second does. That there are no other fixed points is proved, not measured",
        (
            Alterable(
                theory.formula,
                theory.points,
                letters_of_cases,
                lambda altered: fixed_points_claim(lambda: altered),
            ),
        ),
    )  # fmt: skip


def letters_of_cases(seed: int) -> list[Mapping[str, Any]]:
    return [letters(setting, *heads(setting, seed)) for setting in settings(seed)]


# The printed list


def counterexample_task(budget: Budget) -> Task:
    del budget
    law = {
        "covariance": [[1.0, 0.0], [0.0, 1.0]], "context_lengths": [1], "task_covariance": [[1.0, 0.0], [0.0, 1.0]],
        "noise_variance": 0.0, "covariates": "gaussian",
    }  # fmt: skip
    return task_of([case(law, [0.0], np.asarray(theory.U_AT, dtype=float)[None])])


def compare_with_printed(found: Values) -> tuple[float, float, float, bool]:
    """How far a point without slope lies from the printed sets; one with a slope refutes nothing."""
    slope, allowed = np.linalg.norm(found["slopes"][0]), np.linalg.norm(found["rounding"][0])
    distance = theory.distance_to_printed(theory.U_AT)
    return distance, 0.0, float(allowed), bool(slope > allowed or distance <= allowed)


AUDIT = Audit(
    printed=(
        "There are two manifolds of fixed points in this dynamical system: one is the unstable fixed point at zero, "
        "M_0 = {v = 0, U = 0}, and the other is a manifold of stable fixed points at the global minimum, "
        "M_* = {v, U | sum_i v_i U_i = A*}."
    ),
    reading=(
        "As a list of all fixed points of the flow of H heads with u12 = u21 = 0 (the paper's w_2 is v, its W_1 has "
        "the rows vec(U_i)). If M_0 is read as all weights that predict 0, it holds too many points: with v = 0 and "
        "<U_i, Lambda^2> not 0 the flow moves. In one dimension the list is complete. Text: Eq. 9 of the paper."
    ),
    counterexample=theory.counterexample,
    corrected="merged-heads-fixed-points",
    correction=(
        "Besides M_* the fixed points are {v = 0, <U_i, Lambda^2> = 0 for all i} (Psi = I): a continuum of dimension "
        "H (d^2 - 1) that holds the zero point, all saddles with the loss of the zero layer."
    ),
    survives=(
        "There are two values of the loss at fixed points, and no fixed point but those of M_* is a minimum. The time "
        "courses of the paper are not audited here."
    ),
)


def audit_claim() -> Claim:
    """The printed list at one point."""
    return Claim(
        "audit-zsls-fixed-points",
        theory.refutation,
        PARAMETERS,
        lambda parameters: theory.slopes_for_user(**parameters),
        (
            PrintedNumber(
                "fixed point off the printed sets", counterexample_task, compare_with_printed,
                lambda found: f"slopes of 1 head at d = 2, {found['nodes'][0]} Gauss nodes", "in the space of weights",
            ),
        ),
        "one head at d = 2, Lambda = I, N = 1; no formula of its own is altered: those of "
        "merged-heads-fixed-points are",
        audit=AUDIT,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claim, and the printed statement that it corrects."""
    return fixed_points_claim(), audit_claim()
