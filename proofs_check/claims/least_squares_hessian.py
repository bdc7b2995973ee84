r"""The claim least-squares-hessian, and the audit of the printed Hessian.

One check
    the gradient of a prompt's squared loss and its Hessian times a vector, by automatic differentiation, against the
    derived polynomials on the same saved prompts; the audit puts the printed matrix to the second of them
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.audits import least_squares_hessian as theory
from ..records.tasks import Task
from .alterable import Alterable
from .audit import Audit
from .claim import Budget, Claim, Parameter, Values
from .exact_checks import ExactCheck, PrintedNumber, Row
from .settings import FloatArray, gaussian_setting, generator

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENT = "iclcheck.numerics.audits.second_derivatives:risk_derivatives"
PROMPTS = 4  # per case: two polynomials that agree on a few random prompts are equal
SIZES = ((1, 1), (1, 3), (2, 2), (3, 2), (2, 5))
EXAMPLES = Parameter("X", "the examples of one prompt, one per row (N x d)")
CASE = {"embedding": [[[1.0, 0.0], [0.0, 0.0]]], "beta": [0.0], "v": [1.0]}  # d = n = 1, x = 1, y = 0


def cases(seed: int) -> list[dict[str, Any]]:
    """Laws with noise, and random beta and v."""
    found = []
    for d, n in SIZES:
        draw = generator(f"hessian of R/{d}/{n}", seed)
        law = gaussian_setting(f"hessian of R/{d}/{n}", seed, d, [n], noise=True)
        vectors = {name: draw.uniform(-1, 1, size=d).tolist() for name in ("beta", "v")}
        found.append({"distribution": law, **vectors})
    return found


def task(budget: Budget) -> Task:
    parameters = {"cases": cases(budget.seed), "prompts": PROMPTS, "stream_key": f"hessian of R/{budget.seed}"}
    return Task(MEASUREMENT, parameters, budget.device, cost=0.05)


def measured_prompts(budget: Budget, found: Values) -> list[tuple[FloatArray, FloatArray, FloatArray, dict[str, Any]]]:
    """(gradient over product, its rounding, E, case) of every prompt."""
    rows = []
    for place, case in enumerate(cases(budget.seed)):
        names = ("gradient", "product", "rounding", "embedding")
        for one in zip(*(found[name][place] for name in names), strict=True):
            gradient, product, rounding, E = (np.array(part) for part in one)
            rows.append((np.append(gradient, product), rounding, E, case))
    return rows


def rows_by(formula: Callable[[], Formula]) -> Callable[[Budget, Values], list[Row]]:
    """Relative differences from a formula."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for measured, rounding, E, case in measured_prompts(budget, found):
            letters = theory.letters_of_prompt(E, case["beta"], case["v"])
            derived = np.asarray(formula().value(letters), dtype=float).reshape(-1)
            size = float(np.linalg.norm(measured))
            result.append((float(np.linalg.norm(measured - derived)) / size, float(np.linalg.norm(rounding)) / size))
        return result

    return rows


def prompts_in_words(found: Values) -> str:
    return f"{sum(len(one) for one in found['gradient'])} prompts of {len(found['gradient'])} laws"


def hessian_claim(formula: Callable[[], Formula] = theory.formula) -> Claim:
    """`formula` can be altered, to see the same check refuse it."""
    return Claim(
        "least-squares-hessian",
        theory.derivation,
        (EXAMPLES,),
        lambda parameters: theory.hessian(**parameters),
        (ExactCheck("gradient and Hessian", task, rows_by(formula), prompts_in_words, "as a relative difference"),),
        "prompts of five laws (d <= 3, N <= 5, with noise), at random beta and v",
        (
            Alterable(
                theory.formula,
                theory.points,
                letters_of_cases,
                lambda altered: hessian_claim(lambda: altered),
            ),
        ),
    )


def letters_of_cases(seed: int) -> list[Mapping[str, Any]]:
    """Letters at which altered formulas are compared: small whole numbers in the sizes of the cases."""
    found: list[Mapping[str, Any]] = []
    for d, n in SIZES:
        draw = generator(f"letters of R/{d}/{n}", seed)
        E, beta, v = (draw.uniform(-1, 1, size=size) for size in ((d + 1, n + 1), (d,), (d,)))
        found.append(theory.letters_of_prompt(E, beta, v))
    return found


def counterexample_task(budget: Budget) -> Task:
    return Task(MEASUREMENT, {"cases": [CASE], "prompts": 1, "stream_key": "none"}, budget.device, cost=0.02)


def compare_with_printed(found: Values) -> tuple[float, float, float, bool]:
    """The second derivative at d = n = 1, x = 1 beside the printed one."""
    printed, _ = theory.at_counterexample()
    measured, allowed = found["product"][0][0][0], found["rounding"][0][0][-1]
    return measured, float(printed), allowed, abs(measured - float(printed)) <= allowed


AUDIT = Audit(
    printed="The Hessian of R(w) = (1/2n) (w - w*)^T X X^T (w - w*) is X X^T/(2n).",
    reading=(
        "The statement of Section 4.2 in our notation; the columns of X are the n examples. The text of the paper was "
        "not at hand when this page was written."
    ),
    counterexample=theory.counterexample,
    corrected="least-squares-hessian",
    correction="The Hessian of R is X X^T/n, for every prompt; R has the factor 1/2, its second derivative has not.",
    survives="Whatever uses the Hessian up to a factor: a factor 2 in it is a factor in a step size.",
)


def audit_claim() -> Claim:
    """The printed Hessian at one number."""
    return Claim(
        "audit-acds-hessian",
        theory.refutation,
        (EXAMPLES,),
        lambda parameters: theory.printed_hessian(**parameters),
        (
            PrintedNumber(
                "Hessian at d = n = 1, x = 1", counterexample_task, compare_with_printed,
                lambda found: "1 prompt, differentiated twice", "as the second derivative of R",
            ),
        ),
        "one prompt; no formula of its own is altered: those of least-squares-hessian are",
        audit=AUDIT,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claim, and the printed statement that it corrects."""
    return hessian_claim(), audit_claim()
