r"""Covariates with independent components that are not Gaussian: the fixed point through fourth moments.

Main statements
    any kurtosis     Lambda diagonal, Psi = I, components z with E z^4 = 3 + kappa:
                     A*^-1 = (1 + (1 + kappa)/N) Lambda + (tr Lambda + sigma^2)/N I
    uniform          x ~ U(-a, a)^d has Lambda = (a^2/3) I and kappa = -6/5; then A* = eta I, and the
                     prediction is x_q^T (eta/N) sum y_i x_i
    risk             E (prediction - w.x_q)^2, twice the minimal loss
Assumptions
    w ~ N(0, I), no noise in `learning_rate` and `risk`; the law is symmetric, so the parity argument of
    population-loss holds and the minimum is global over all parameters.
References
    Setting of [vonoswald2023transformers, Section 3] (x ~ U(-1, 1)^d); there a line search finds the rate.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.component_moments import uniform_moment
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import exact_inverse
from ..algebra.gaussian_moments import cumulants
from ..algebra.printing import to_latex, to_sympy, to_text
from ..algebra.trace_polynomials import identity, number, scalar, substitute
from ..symbols import KAPPA, LAM, ZERO, I
from .assumptions import AssumptionError, check_context_length, check_dimension, check_positive
from .enumeration import Instance, InstanceKey, context_mean, prompt
from .fixed_point import (
    StationarySystem,
    coefficient_of_identity,
    completed_square,
    enumerated_slope,
    exact_fixed_point,
    exact_value,
    fixed_point_inverse,
    instance_of,
    latex_of,
    minimal_loss,
    slope_from_the_system,
    stationary_system,
)
from .population_loss import enumerated, value_at
from .prompt_law import PromptLaw

if TYPE_CHECKING:
    import sympy as sp


def excess_kurtosis() -> Fraction:
    """E z^4 - 3 of a uniform variable with unit variance.

    >>> excess_kurtosis()
    Fraction(-6, 5)
    """
    return uniform_moment(4) - 3


UNIFORM_KURTOSIS = {"kappa": number(excess_kurtosis())}


def any_kurtosis() -> PromptLaw:
    """Independent components with excess kurtosis kappa in the eigenbasis of Lambda; Psi = I."""
    return PromptLaw(task_covariance=I, covariate_cumulants=((4, KAPPA),))


def uniform_law() -> PromptLaw:
    """x ~ U(-a, a)^d with lam = a^2/3, w ~ N(0, I), no noise."""
    return PromptLaw(LAM * identity(), I, ZERO, cumulants(uniform_moment, 8))


@cache
def learning_rate() -> sp.Expr:
    """eta as a SymPy expression in lam = a^2/3, d and N.

    >>> learning_rate()
    5*N/(lam*(5*N + 5*d - 1))
    """
    import sympy as sp

    system = stationary_system(uniform_law())
    quotient = to_sympy(coefficient_of_identity(system.right)) / to_sympy(coefficient_of_identity(system.left))
    return sp.factor(sp.cancel(quotient))


@cache
def risk() -> sp.Expr:
    """E (prediction - w.x_q)^2 at that rate: twice the minimal loss, in lam, d and N."""
    import sympy as sp

    gain = sp.Symbol("gain", positive=True)
    loss = substitute(minimal_loss(uniform_law()), {"A_*": scalar("gain") * identity()})
    return sp.factor(sp.cancel(2 * to_sympy(loss).subs(gain, learning_rate())))


def at_uniform(system: StationarySystem) -> StationarySystem:
    """The system with the kurtosis of the uniform law put in for kappa."""
    parts = (system.second_moment, system.cross_moment, system.covariance, system.left, system.right)
    return StationarySystem(*(substitute(part, scalars=UNIFORM_KURTOSIS) for part in parts))


def isotropic_instance(key: InstanceKey) -> Instance:
    """The instance with Lambda = lam I and without noise."""
    instance = instance_of(key)
    root = instance.covariance_root[0, 0] * np.eye(instance.dimension).astype(int).astype(object)
    return replace(instance, covariance_root=root, noise_root=0)


@cache
def enumerated_rate_and_risk(key: InstanceKey) -> tuple[Fraction, Fraction]:
    """The best multiple of x_q^T s as a prediction, and its risk, from the components of the prompt."""
    instance = isotropic_instance(key)
    drawn = prompt(instance)
    similarity = context_mean(instance, drawn.embedding) @ drawn.embedding[: instance.dimension, -1]
    rate = instance.mean(similarity * drawn.target) / instance.mean(similarity * similarity)
    error = rate * similarity - drawn.target
    return rate, instance.mean(error * error)


def at_isotropic(expression: sp.Expr, key: InstanceKey) -> Fraction:
    """A formula in lam, d and N at the same instance."""
    instance = isotropic_instance(key)
    lam = instance.covariance_root[0, 0] ** 2
    return exact_value(expression, {"lam": lam, "d": instance.dimension, "N": instance.context_length})


@cache
def derivation() -> Derivation:
    """From fourth moments to eta and its risk."""
    system = stationary_system(any_kurtosis())
    uniform, minimum = at_uniform(system), minimal_loss(any_kurtosis())
    inverse = fixed_point_inverse(any_kurtosis())
    steps = (
        Step(
            "second moment of s = (1/N) sum y_i x_i",
            "M = E[s s^T]",
            to_text(system.second_moment),
            rf"M = \mathbb{{E}}[s s^\top] = {to_latex(system.second_moment)}",
            "pairs (Isserlis), and kappa sum_a Lambda_aa^2 e_a^(x)4 of the independent components",
            lambda key: (enumerated_slope(key), slope_from_the_system(uniform, instance_of(key))),
            forms={"M": system.second_moment},
        ),
        Step(
            "fixed point for any kurtosis",
            "A*^-1",
            to_text(inverse),
            rf"(A^*)^{{-1}} = {to_latex(inverse)}",
            "M A* = C, divided by Lambda from the left (Lambda diagonal, Psi = I)",
            lambda key: (
                exact_inverse(exact_fixed_point(uniform, instance_of(key))),
                value_at(substitute(inverse, scalars=UNIFORM_KURTOSIS), instance_of(key)),
            ),
            forms={"left": system.left, "right": system.right, "inverse": inverse},
        ),
        Step(
            "completing the square",
            "reduced(A)",
            "min L + 1/2 tr((A - A*)^T M (A - A*) Lambda)",
            r"\ell(A) = \min L + \tfrac12\operatorname{tr}\bigl((A-A^*)^\top M (A-A^*)\Lambda\bigr)",
            "as in fixed-point; the law is symmetric, so the parity argument makes it global",
            lambda key: (
                enumerated(key)["odd loss"],
                completed_square(uniform, minimum, instance_of(key)),
            ),
            forms={"minimum": minimum},
        ),
        Step(
            "learning rate for x ~ U(-a, a)^d",
            "eta, with lam = a^2/3",
            str(learning_rate()),
            rf"\eta = {latex_of(learning_rate())},\quad \lambda = a^2/3",
            "Lambda = lam I, kappa = -6/5, no noise",
            lambda key: (enumerated_rate_and_risk(key)[0], at_isotropic(learning_rate(), key)),
            forms={"rate": learning_rate()},
        ),
        Step(
            "risk at that rate",
            "E (x_q^T (eta/N) sum y_i x_i - w.x_q)^2",
            str(risk()),
            r"\mathbb{E}\bigl(x_q^\top \tfrac{\eta}{N}\textstyle\sum_i y_i x_i - w^\top x_q\bigr)^2"
            rf" = {latex_of(risk())}",
            "twice the minimal loss",
            lambda key: (enumerated_rate_and_risk(key)[1], at_isotropic(risk(), key)),
            forms={"risk": risk()},
        ),
    )
    results = {"inverse": inverse, "learning rate": learning_rate(), "risk": risk()}
    statement = replace(STATEMENT, latex=steps[3].latex)
    return Derivation(statement, steps, results, lambda seed: (seed, True))


STATEMENT = Statement(
    identifier="uniform-covariates",
    title="Uniform covariates: the learning rate through fourth moments",
    latex="",  # the derived formula, filled in by `derivation`
    text=(
        "With covariates uniform on (-a, a)^d and w ~ N(0, I) the global minimum is one plain gradient step; "
        "its learning rate follows from the fourth moments of the covariates."
    ),
    assumptions=(
        "x_i, x_q with independent components uniform on (-a, a)",
        "w ~ N(0, I), no label noise",
        "context length N >= 1, the same for every prompt",
    ),
    conventions="as fixed-point; prediction x_q^T (eta/N) sum y_i x_i",
    sources=(Source("vonoswald2023transformers", "Section 3 (data; the rate is found there by line search)"),),
    uses=("population-loss", "fixed-point"),
)


def learning_rate_and_risk(dimension: Any, context_length: Any, half_width: Any = 1.0) -> tuple[float, float]:
    """(eta, risk) for x ~ U(-half_width, half_width)^dimension. Raises AssumptionError.

    >>> eta, risk = learning_rate_and_risk(1, 1)
    >>> round(eta, 12), round(risk, 12)  # E[x^4] eta = E[x^2]: eta = (1/3)/(1/5)
    (1.666666666667, 0.148148148148)
    """
    width = check_positive(half_width, "half_width")
    if not sys.float_info.min < width * width / 3 < math.inf:
        raise AssumptionError(
            f"half_width {width:g} leaves the range of double precision: uniform-covariates needs a^2/3; rescale x"
        )
    numbers = {
        "d": check_dimension(dimension),
        "N": check_context_length(context_length),
        "lam": width**2 / 3,
    }
    return value_of(learning_rate(), numbers), value_of(risk(), numbers)


def value_of(expression: sp.Expr, numbers: Mapping[str, float]) -> float:
    """A SymPy expression at numbers given by the names of its symbols."""
    return float(expression.subs({symbol: numbers[symbol.name] for symbol in expression.free_symbols}))
