r"""The claim attention-hessian-inertia, and the audit of the printed number of negative eigenvalues.

Three checks
    the prediction, and its second derivatives by automatic differentiation, against the derived squares at random
    parameters; signs of the eigenvalues of the measured second derivatives, counted exactly at prompts of whole
    numbers (where floating point makes no error), and at sampled prompts up to rounding
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.audits import attention_hessian as theory
from ..engines.inertia import Inertia, inertia
from ..records.tasks import Task
from .alterable import Alterable
from .audit import Audit
from .claim import Budget, Claim, Parameter, Values
from .exact_checks import ExactCheck, ExactCount, PrintedNumber, Row
from .settings import FloatArray, gaussian_setting, generator

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENT = "iclcheck.numerics.audits.second_derivatives:layer_hessians"
PROMPTS = 3
SIZES = ((1, 1), (2, 1), (2, 2), (3, 2), (2, 4), (3, 1))
WHOLE_SIZES = ((1, 1), (1, 2), (2, 1), (2, 2), (2, 4), (3, 1), (3, 2), (3, 4))  # N a power of 2: 1/N is exact
FEWER = ("all labels 0", "equal examples")  # ways to lower the rank
PARAMETERS = (
    Parameter("X", "the examples of one prompt, one per row (N x d)"),
    Parameter("y", "their labels (N)"),
    Parameter("x_query", "the query (d), not 0"),
)


def cases(seed: int) -> list[dict[str, Any]]:
    """Laws with and without noise, random parameters V."""
    found = []
    for d, n in SIZES:
        draw = generator(f"quadratic form/{d}/{n}", seed)
        law = gaussian_setting(f"quadratic form/{d}/{n}", seed, d, [n], noise=n == 2)
        found.append({"distribution": law, "V": draw.uniform(-1, 1, size=(d + 1, d + 1)).tolist()})
    return found


def task(budget: Budget) -> Task:
    parameters = {"cases": cases(budget.seed), "prompts": PROMPTS, "stream_key": f"quadratic form/{budget.seed}"}
    return Task(MEASUREMENT, parameters, budget.device, cost=0.2)


def other_parameters(size: int, seed: int) -> FloatArray:
    """V' of the polar form."""
    return generator(f"quadratic form/other/{size}", seed).uniform(-1, 1, size=(size, size))


def measured_prompts(found: Values) -> list[tuple[int, dict[str, Any]]]:
    """(case number, values of one prompt), all prompts."""
    return [
        (place, {name: np.array(values[place][k]) for name, values in found.items()})
        for place in range(len(found["embedding"]))
        for k in range(len(found["embedding"][place]))
    ]


def rows_by(formula: Callable[[], Formula]) -> Callable[[Budget, Values], list[Row]]:
    """The prediction, and half the second derivative along V and V', against a formula."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for place, one in measured_prompts(found):
            V = np.array(cases(budget.seed)[place]["V"])
            other = other_parameters(len(V), budget.seed)
            letters = theory.letters_of_prompt(one["embedding"], V, other)
            prediction, polar = np.asarray(formula().value(letters), dtype=float)
            left, right = V.T.reshape(-1), other.T.reshape(-1)
            curvature = float(left @ one["hessian"] @ right) / 2
            bound = float(np.abs(left) @ one["rounding"] @ np.abs(right)) / 2
            # The derived squares cancel each other, and the polar form takes them at V + V' and V - V': the sum of the
            # absolute values of all that is added is below that of the layer at |V| + |V'|, for which 8 bounds stand.
            whole = np.abs(left) + np.abs(right)
            allowed = 8 * float(whole @ one["rounding"] @ whole)
            result += [
                (abs(float(one["prediction"]) - prediction), allowed + float(one["prediction_rounding"])),
                (abs(curvature - polar), allowed + bound),
            ]
        return result

    return rows


def in_words(found: Values) -> str:
    return f"{sum(len(one) for one in found['embedding'])} prompts of {len(found['embedding'])} kinds"


# Signs


@cache
def whole_prompts(seed: int) -> list[FloatArray]:
    """Prompts of whole numbers: general ones, ones without labels, and ones with equal examples."""
    found = []
    for d, n in WHOLE_SIZES:
        draw = generator(f"whole numbers/{d}/{n}", seed)
        E = draw.integers(-4, 5, size=(d + 1, n + 1)).astype(float)
        E[d, n], E[0, n] = 0.0, 1.0 + abs(E[0, n])  # the query's label is 0, the query is not
        unlabelled, equal = E.copy(), E.copy()
        unlabelled[d] = 0.0
        equal[:, :n] = equal[:, :1]
        found += [E, unlabelled, equal]
    return found


def whole_task(budget: Budget) -> Task:
    """Prompts one by one, so that their sizes may differ."""
    made = [{"embedding": [E.tolist()], "V": np.eye(len(E)).tolist()} for E in whole_prompts(budget.seed)]
    return Task(MEASUREMENT, {"cases": made, "prompts": 1, "stream_key": "none"}, budget.device, cost=0.3)


def exact_signs(hessian: FloatArray) -> Inertia:
    """The inertia of a measured matrix, its entries taken as the rationals that they are."""
    return inertia([[Fraction(float(value)) for value in row] for row in hessian])


def sign_differences(budget: Budget, found: Values) -> list[int]:
    """|measured - rank(E)| for positive and for negative eigenvalues of each prompt."""
    del budget
    differences = []
    for _, one in measured_prompts(found):
        signs, rank = exact_signs(one["hessian"]), theory.rank(one["embedding"])
        differences += [abs(signs.positive - rank), abs(signs.negative - rank)]
    return differences


def sampled_differences(budget: Budget, found: Values) -> list[int]:
    """The same in floating point, where y_i = w.x_i or with noise: an eigenvalue counts where it is beyond rounding."""
    differences = []
    for place, one in measured_prompts(found):
        d, n = SIZES[place]
        noisy = cases(budget.seed)[place]["distribution"]["noise_variance"] > 0
        expected = min(d + 1 if noisy else d, n) + (not noisy or n <= d)
        hessian = one["hessian"]
        # Weyl: eigenvalues move by at most the norm of the error; eigvalsh itself adds a few eps of the matrix' norm.
        level = float(np.linalg.norm(one["rounding"]) + 64 * np.finfo(float).eps * np.linalg.norm(hessian))
        values = np.linalg.eigvalsh(hessian)
        differences += [abs(int(np.sum(values < -level)) - expected), abs(int(np.sum(values > level)) - expected)]
    return differences


UNIT = "as a number of eigenvalues"


def inertia_claim(formula: Callable[[], Formula] = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "attention-hessian-inertia",
        theory.derivation,
        PARAMETERS,
        lambda parameters: theory.eigenvalue_counts(**parameters),
        (
            ExactCheck("prediction and second derivatives", task, rows_by(formula), in_words, "as a difference"),
            ExactCount("signs at whole numbers", whole_task, sign_differences, in_words, UNIT),
            ExactCount("signs at sampled prompts", task, sampled_differences, in_words, UNIT),
        ),
        "prompts of six laws (d <= 3, N <= 4) at random parameters; 24 prompts of whole numbers, a third of them "
        "without labels and a third with equal examples, so that the rank is lower",
        (
            Alterable(
                theory.formula,
                theory.points,
                letters_of_cases,
                lambda altered: inertia_claim(lambda: altered),
                most=60,
            ),
        ),
    )


def letters_of_cases(seed: int) -> list[Mapping[str, Any]]:
    """Letters at which altered formulas are compared, in the sizes of the cases."""
    found: list[Mapping[str, Any]] = []
    for d, n in SIZES:
        draw = generator(f"letters of the form/{d}/{n}", seed)
        E = draw.uniform(-1, 1, size=(d + 1, n + 1))
        E[d, n] = 0.0
        V, other = (draw.uniform(-1, 1, size=(d + 1, d + 1)) for _ in range(2))
        found.append(theory.letters_of_prompt(E, V, other))
    return found


# The printed number


def counterexample_task(budget: Budget) -> Task:
    E = np.asarray(theory.COUNTEREXAMPLE, dtype=float)
    case = {"embedding": [E.tolist()], "V": np.eye(len(E)).tolist()}
    return Task(MEASUREMENT, {"cases": [case], "prompts": 1, "stream_key": "none"}, budget.device, cost=0.05)


def compare_with_printed(found: Values) -> tuple[float, float, float, bool]:
    """Negative eigenvalues of the layer's second derivatives at the counterexample, beside the printed least number."""
    negative = exact_signs(np.array(found["hessian"][0][0])).negative
    least = theory.printed_count(theory.COUNTEREXAMPLE)
    return float(negative), float(least), 0.0, negative >= least


AUDIT = Audit(
    printed=(
        "H = 1/2 X (x) (E E^T/N), X = [[0, x_q], [x_q^T, 0]]. Almost surely X has one negative eigenvalue; thus H has "
        "at least d + 1 negative eigenvalues, and hence the quadratic form is non-convex."
    ),
    reading=(
        "For every N, as no lower bound on N is printed; (x) is the Kronecker product. E E^T has at most N + 1 "
        "eigenvalues that are not 0. Text: Section 5.1 of the preprint."
    ),
    counterexample=theory.counterexample,
    corrected="attention-hessian-inertia",
    correction=(
        "H has exactly rank(E) negative eigenvalues where x_q is not 0: almost surely min(d, N) + 1 for noiseless "
        "labels, which is d + 1 for N >= d and N + 1 for N < d."
    ),
    survives="The conclusion: H has a negative eigenvalue for every prompt with x_q != 0, and the form is not convex.",
)


def audit_claim() -> Claim:
    """The printed number at one prompt."""
    return Claim(
        "audit-zfb-hessian",
        theory.refutation,
        PARAMETERS,
        lambda parameters: theory.printed_counts(**parameters),
        (
            PrintedNumber(
                "negative eigenvalues at d = 2, N = 1", counterexample_task, compare_with_printed,
                lambda found: "1 prompt, signs counted in rational arithmetic", "eigenvalues at least",
                finest=1.0,
            ),
        ),
        "one prompt; no formula of its own is altered: those of attention-hessian-inertia are",
        audit=AUDIT,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claim, and the printed statement that it corrects."""
    return inertia_claim(), audit_claim()
