r"""Random context lengths: what replaces 1/N.

Main statement
    If N is random and each prompt is normalised by its own N, the fixed point keeps its form with
    E[1/N] in the place of 1/N:   A* = ((1 + m1) Lambda + m1 (tr(Lambda Psi) + sigma^2) Psi^-1)^-1.
Assumptions
    N is independent of the rest of the prompt; otherwise those of `fixed_point`.
References
    Ours; a fixed length is [zhang2024trained, Theorem 4.1].
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import evaluate
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial
from .assumptions import FloatArray, check_context_lengths, check_covariance, check_non_negative, check_task_covariance
from .fixed_point import (
    fixed_point_inverse,
    instance_of,
    isotropic_check,
    isotropic_gain,
    latex_of,
    solve_at,
    stationary_system,
)
from .population_loss import reduced_loss
from .prompt_law import PromptLaw


def random_length_law() -> PromptLaw:
    """The general law with a random context length."""
    return PromptLaw(random_length=True)


def average_over_lengths(polynomial: TracePolynomial, lengths: tuple[int, ...], values: dict[str, Any]) -> Any:
    """The mean of a polynomial's value over equally likely context lengths."""
    total = sum(evaluate(polynomial, {**values, "N": Fraction(n)}) for n in lengths)
    return total * Fraction(1, len(lengths))


def with_moments(lengths: tuple[int, ...], values: dict[str, Any]) -> dict[str, Any]:
    """The values with m1 = E[1/N] in the place of N."""
    mean = sum((Fraction(1, n) for n in lengths), Fraction(0)) / len(lengths)
    return {name: value for name, value in values.items() if name != "N"} | {"m1": mean}


@cache
def system_to_solve() -> tuple[TracePolynomial, TracePolynomial]:
    """(left, right) for the random length, to be evaluated."""
    system = stationary_system(random_length_law())
    return system.left, system.right


@cache
def derivation() -> Derivation:
    """The loss is linear in 1/N where it depends on A, so the mean over N replaces 1/N by E[1/N]."""
    lengths = (1, 2, 5)
    fixed, averaged = reduced_loss(PromptLaw()), reduced_loss(random_length_law())
    system = stationary_system(random_length_law())
    inverse = fixed_point_inverse(random_length_law())
    gain = isotropic_gain(random_length_law())

    def numbers(key: Any) -> dict[str, Any]:
        return with_moments(lengths, instance_of(key).values())

    steps = (
        Step(
            "the loss averaged over context lengths",
            "E_N reduced(A)",
            to_text(averaged),
            rf"\mathbb{{E}}_N\,\ell(A) = {to_latex(averaged)}",
            "every N^-1 of the loss at fixed N becomes m1 = E[1/N]",
            lambda key: (
                average_over_lengths(fixed, lengths, instance_of(key).values()),
                evaluate(averaged, numbers(key)),
            ),
            forms={"averaged": averaged},
        ),
        Step(
            "fixed point",
            "A*^-1",
            to_text(inverse),
            rf"(A^*)^{{-1}} = {to_latex(inverse)}",
            "the derivation of fixed-point under the averaged law",
            lambda key: (
                evaluate(system.left, numbers(key)),
                evaluate(system.right, numbers(key)) @ evaluate(inverse, numbers(key)),
            ),
            forms={"left": system.left, "right": system.right, "inverse": inverse},
        ),
        Step(
            "isotropic case",
            "A* for Lambda = lam I, Psi = psi I",
            f"({gain}) I",
            rf"A^* = {latex_of(gain)}\, I",
            "substitution",
            lambda key: isotropic_check(inverse, gain, numbers(key)),
            forms={"gain": gain},
        ),
    )
    return Derivation(replace(STATEMENT, latex=steps[1].latex), steps, {"inverse": inverse}, lambda seed: (seed, False))


STATEMENT = Statement(
    identifier="random-context-length",
    title="Random context lengths: E[1/N] in the place of 1/N",
    latex="",  # the derived formula, filled in by `derivation`
    text=(
        "If the context length is random and each prompt is normalised by its own N, the fixed point is that "
        "of fixed-point with E[1/N] in the place of 1/N, not that of the mean length."
    ),
    assumptions=("as fixed-point, with N random and independent of the rest of the prompt",),
    conventions=("as fixed-point; the lengths of `context_lengths` are equally likely, each prompt has 1/N of its own"),
    sources=(Source("ours", ""), Source("zhang2024trained", "Theorem 4.1 (fixed N)")),
    uses=("population-loss", "fixed-point"),
)


def preconditioner(
    covariance: Any, context_lengths: Any, task_covariance: Any = None, noise_variance: Any = 0.0
) -> FloatArray:
    """A* for equally likely context lengths. Raises AssumptionError.

    >>> preconditioner([[1.0]], [1, 1])  # N/(N + d + 1) at N = 1
    array([[0.33333333]])
    """
    Lambda = check_covariance(covariance)
    lengths = check_context_lengths(context_lengths)
    values = {
        "Lambda": Lambda,
        "Psi": check_task_covariance(task_covariance, Lambda.shape[0]),
        "sigma2": check_non_negative(noise_variance, "noise_variance"),
        "m1": float(np.mean([1 / n for n in lengths])),
    }
    return solve_at(values, system_to_solve()).preconditioner
