r"""The fixed point of one layer of linear attention: its global minimum over all parameters.

Main statements
    stationary_system   reduced(A) has gradient (M A - C) Lambda with M = E[s s^T], C = E[s w^T]; both sides
                        divided by Lambda from the left give   left A = right   with
                        left = (1 + 1/N) Psi Lambda + rho I,  right = Psi,  rho = (tr(Lambda Psi) + sigma^2)/N
    fixed_point         A* = left^-1 right = ((1 + 1/N) Lambda + rho Psi^-1)^-1: any Lambda, Psi, sigma^2, N
    optimality          L = min L + 1/2 tr((A - A*)^T M (A - A*) Lambda) + 1/2 E yhat_even^2, so A = A* with
                        u12 = u21 = 0 is a global minimum over all parameters; for rank A* >= 2 the only
                        one up to the scale u -> c u, U -> U/c
    isotropic, N -> oo, effective ridge      read off the same formula
Assumptions
    Those of `PromptLaw`; Lambda positive definite, Psi positive semi-definite and not zero.
References
    Psi = I, sigma = 0: [zhang2024trained, Theorem 4.1], [ahn2023transformers, Theorem 1]; Lambda = I with
    noise: [mahankali2024one, Theorems 1 and 2]; Gamma itself as preconditioner: [wu2024pretraining,
    Theorem 3.1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.matrix_derivatives import gradient
from ..algebra.printing import to_latex, to_sympy, to_text
from ..algebra.trace_polynomials import (
    Monomial,
    TracePolynomial,
    degree,
    identity,
    inverse_of_monomial,
    select,
    substitute,
)
from ..symbols import A_STAR, LAM, LAMBDA, PSI_SCALE, A
from .assumptions import FloatArray, check_context_length, check_covariance, check_non_negative, check_task_covariance
from .enumeration import Instance, InstanceKey, context_mean
from .population_loss import enumerated, reduced_loss, value_at
from .prompt_law import PromptLaw

if TYPE_CHECKING:
    import sympy as sp


@dataclass(frozen=True)
class StationarySystem:
    """Where the gradient of the reduced loss vanishes.

    gradient = (M A - C) covariance;  left A = right after division by the covariance from the left.
    """

    second_moment: TracePolynomial
    cross_moment: TracePolynomial
    covariance: TracePolynomial
    left: TracePolynomial
    right: TracePolynomial


def stationary_system(law: PromptLaw) -> StationarySystem:
    """Read M and C off the gradient of the reduced loss; raises ValueError if it has another shape."""
    inverse = inverse_of_monomial(law.covariance)
    difference = gradient(reduced_loss(law), A) * inverse  # M A - C
    linear = select(difference, lambda monomial: degree(monomial, "A") == 1)
    second_moment, cross_moment = factor_before_A(linear), linear - difference
    return StationarySystem(
        second_moment, cross_moment, law.covariance, inverse * second_moment, inverse * cross_moment
    )


def factor_before_A(polynomial: TracePolynomial) -> TracePolynomial:
    """P with polynomial = P A."""
    ((last, _),) = A.terms.items()
    if any(monomial.word[-1:] != last.word or degree(monomial, "A") != 1 for monomial in polynomial.terms):
        raise ValueError(f"need a polynomial P A, got {polynomial!r}")
    terms = {m._replace(word=m.word[:-1]): value for m, value in polynomial.terms.items()}
    return TracePolynomial("d", "d", terms)


def fixed_point_inverse(law: PromptLaw) -> TracePolynomial:
    """A*^-1 = right^-1 left, for invertible Psi: ((1 + 1/N) Lambda + rho Psi^-1)."""
    system = stationary_system(law)
    return inverse_of_monomial(system.right) * system.left


def minimal_loss(law: PromptLaw) -> TracePolynomial:
    """min L = reduced(0) + half of the linear part at A*, in the letter A_*.

    A quadratic c + l(A) + q(A) with stationary point A* has the value c + l(A*)/2 there.
    """
    loss = reduced_loss(law)
    constant = select(loss, lambda monomial: degree(monomial, "A") == 0)
    linear = select(loss, lambda monomial: degree(monomial, "A") == 1)
    return constant + substitute(linear, {"A": A_STAR}) / 2


def isotropic_gain(law: PromptLaw) -> sp.Expr:
    """a with A* = a I for Lambda = lam I, Psi = psi I, as a SymPy expression.

    >>> from iclcheck.theory.symbols import ZERO
    >>> isotropic_gain(PromptLaw(noise_variance=ZERO))
    N/(lam*(N + d + 1))
    """
    import sympy as sp

    isotropic = PromptLaw(
        LAM * identity(),
        PSI_SCALE * identity(),
        law.noise_variance,
        law.covariate_cumulants,
        law.random_length,
    )
    system = stationary_system(isotropic)
    quotient = to_sympy(coefficient_of_identity(system.right)) / to_sympy(coefficient_of_identity(system.left))
    return sp.factor(sp.cancel(quotient))


def coefficient_of_identity(polynomial: TracePolynomial) -> TracePolynomial:
    """c for a polynomial c I."""
    if any(monomial.word for monomial in polynomial.terms):
        raise ValueError(f"need a multiple of the identity, got {polynomial!r}")
    return TracePolynomial("1", "1", polynomial.terms)


def infinite_context_limit(polynomial: TracePolynomial) -> TracePolynomial:
    """N -> oo: terms with negative powers of N vanish."""
    if any(degree(monomial, "N") > 0 for monomial in polynomial.terms):
        raise ValueError("need a polynomial in 1/N for the limit N -> oo")
    return select(polynomial, lambda monomial: degree(monomial, "N") == 0)


def effective_ridge(law: PromptLaw) -> TracePolynomial:
    """rho, the coefficient of Psi^-1 in A*^-1 = (1 + 1/N) Lambda + rho Psi^-1."""
    inverse_task = next(iter(inverse_of_monomial(law.task_covariance).terms)).word
    ridge = select(fixed_point_inverse(law), lambda monomial: monomial.word == inverse_task)
    return TracePolynomial("1", "1", {Monomial(m.scalars, m.traces): v for m, v in ridge.terms.items()})


@cache
def preconditioner_system() -> tuple[TracePolynomial, TracePolynomial]:
    """(left, right) for the general law, to be evaluated."""
    system = stationary_system(PromptLaw())
    return system.left, system.right


@cache
def general_second_moment() -> TracePolynomial:
    """M = E[s s^T] for the general law."""
    return stationary_system(PromptLaw()).second_moment


@dataclass(frozen=True)
class FixedPoint:
    """The global minimum at given numbers.

    preconditioner (d, d): A*;  loss: 1/2 E(yhat - w.x_q)^2;  value_weights, key_query_weights
    (d+1, d+1): the balanced representative with |u| = |U|_F and u > 0.
    """

    preconditioner: FloatArray
    loss: float
    value_weights: FloatArray
    key_query_weights: FloatArray


def fixed_point(
    covariance: Any, context_length: Any, task_covariance: Any = None, noise_variance: Any = 0.0
) -> FixedPoint:
    """The fixed point for x ~ N(0, covariance), w ~ N(0, task_covariance), label noise, N samples.

    covariance (d, d) positive definite; task_covariance (d, d) positive semi-definite, I if None.
    Raises AssumptionError. Source: the derivation of this module.

    >>> fixed_point([[1.0, 0.0], [0.0, 1.0]], 3).preconditioner  # N/(N + d + 1) I
    array([[0.5, 0. ],
           [0. , 0.5]])
    """
    Lambda = check_covariance(covariance)
    values = {
        "Lambda": Lambda,
        "Psi": check_task_covariance(task_covariance, Lambda.shape[0]),
        "N": check_context_length(context_length),
        "sigma2": check_non_negative(noise_variance, "noise_variance"),
    }
    return solve_at(values, preconditioner_system())


def solve_at(values: dict[str, Any], system: tuple[TracePolynomial, TracePolynomial]) -> FixedPoint:
    """Evaluate left A* = right and the minimal loss, the latter in its form without cancellation."""
    left, right = system
    preconditioner = np.linalg.solve(evaluate(left, values), evaluate(right, values))
    # A* is symmetric: (c Psi Lambda + rho I)^-1 Psi = Psi (c Lambda Psi + rho I)^-1, for singular Psi too.
    # The solver leaves an asymmetry of the size of its rounding.
    preconditioner = (preconditioner + preconditioner.T) / 2
    remainder = np.linalg.solve(evaluate(left, values), evaluate(left - right * LAMBDA, values))
    minimum = float(np.trace(values["Lambda"] @ remainder @ values["Psi"])) / 2
    return FixedPoint(preconditioner, minimum, *balanced_weights(preconditioner))


def balanced_weights(preconditioner: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(W_PV, W_KQ) with u U = A, u12 = u21 = 0, u = |U|_F > 0."""
    d = preconditioner.shape[0]
    u = float(np.linalg.norm(preconditioner)) ** 0.5
    value_weights, key_query_weights = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d + 1))
    value_weights[d, d] = u
    key_query_weights[:d, :d] = preconditioner / u
    return value_weights, key_query_weights


STATEMENT = Statement(
    identifier="fixed-point",
    title="Fixed point of one layer of linear attention: the global minimum over all parameters",
    latex="",  # the derived formula, filled in by `derivation`
    text=(
        "The population loss has a global minimum over all parameters where u U = A* and u12 = u21 = 0, with "
        "A* in closed form for any Lambda, Psi, sigma^2 and N; for rank A* >= 2 it is the only one up to "
        "scale. That training reaches it from the start of ZFB Theorem 4.1 is measured here, not derived."
    ),
    assumptions=(
        "x_i, x_q ~ N(0, Lambda), Lambda positive definite",
        "w ~ N(0, Psi), Psi positive semi-definite (the inverse form needs Psi invertible), not zero",
        "y_i = w.x_i + eps_i, eps_i ~ N(0, sigma^2); noiseless target w.x_q",
        "context length N >= 1, the same for every prompt",
        "convergence: training starts at u = c > 0, U = c Theta Theta^T / |Theta Theta^T|_F, u12 = u21 = 0",
    ),
    conventions=(
        "query column included in E E^T, 1/N over the context, L = 1/2 E(yhat - w.x_q)^2; "
        "weights are compared through u U + u12 u21^T, which the scale (c W_PV, W_KQ/c) leaves unchanged"
    ),
    sources=(
        Source("zhang2024trained", "Theorem 4.1 (Psi = I, sigma = 0)"),
        Source("ahn2023transformers", "Theorem 1 (query masked, minus sign, no 1/2)"),
        Source("mahankali2024one", "Theorems 1 and 2 (Lambda = I, noise, no 1/N)"),
        Source("wu2024pretraining", "Theorem 3.1"),
    ),
    uses=("population-loss",),
)


def instance_of(key: InstanceKey) -> Instance:
    """The instance that the means of `enumerated` belong to."""
    found: Instance = enumerated(key)["instance"]
    return found


def exact_fixed_point(system: StationarySystem, instance: Instance) -> Array:
    """A* at an instance, in rational numbers."""
    star: Array = exact_inverse(value_at(system.left, instance)) @ value_at(system.right, instance)
    return star


def random_direction(instance: Instance) -> Array:
    """Some rational matrix to test linear statements with: the instance's U."""
    return instance.U


def enumerated_slope(key: InstanceKey) -> Any:
    """d/dt of the enumerated reduced loss at A + t V: the difference quotient of a quadratic is exact."""
    base, direction = instance_of(key).values()["A"], random_direction(instance_of(key))
    return (enumerated_loss(key, base + direction) - enumerated_loss(key, base - direction)) / 2


def enumerated_loss(key: InstanceKey, preconditioner: Array) -> Fraction:
    """1/2 E (s^T A x_q - w.x_q)^2 from the components of the prompt."""
    instance, drawn = instance_of(key), enumerated(key)["prompt"]
    s = context_mean(instance, drawn.embedding)
    error = s @ preconditioner @ drawn.embedding[: instance.dimension, -1] - drawn.target
    return instance.mean(error * error) / 2


def slope_from_the_system(system: StationarySystem, instance: Instance) -> Any:
    """tr(V^T (M A - C) covariance) at the instance."""
    M, C, Q = (value_at(p, instance) for p in (system.second_moment, system.cross_moment, system.covariance))
    return np.trace(random_direction(instance).T @ (M @ instance.values()["A"] - C) @ Q)


def completed_square(system: StationarySystem, minimum: TracePolynomial, instance: Instance) -> Any:
    """min L + 1/2 tr((A - A*)^T M (A - A*) covariance) at the instance."""
    values = instance.values()
    star = exact_fixed_point(system, instance)
    M, Q = value_at(system.second_moment, instance), value_at(system.covariance, instance)
    gap = values["A"] - star
    return evaluate(minimum, {**values, "A_*": star}) + np.trace(gap.T @ M @ gap @ Q) / 2


def loss_without_cancellation(system: StationarySystem, instance: Instance) -> Any:
    """1/2 tr(Lambda left^-1 (left - right Lambda) Psi) at the instance."""
    values = instance.values()
    remainder = exact_inverse(value_at(system.left, instance)) @ value_at(system.left - system.right * LAMBDA, instance)
    return np.trace(values["Lambda"] @ remainder @ values["Psi"]) / 2


def loss_at_the_fixed_point(system: StationarySystem, minimum: TracePolynomial, key: InstanceKey) -> tuple[Any, Any]:
    """The enumerated loss at A*, and min L."""
    star = exact_fixed_point(system, instance_of(key))
    return enumerated_loss(key, star), evaluate(minimum, {**instance_of(key).values(), "A_*": star})


def isotropic_check(inverse: TracePolynomial, gain: sp.Expr, values: Mapping[str, Any]) -> tuple[Any, Any]:
    """The closed form at Lambda = 2 I, Psi = 3 I against the gain."""
    eye = evaluate(identity(), values)
    isotropic = {**values, "Lambda": 2 * eye, "Psi": 3 * eye}
    numbers = {**values, "lam": 2, "psi": 3, "d": len(eye)}
    return exact_inverse(evaluate(inverse, isotropic)), exact_value(gain, numbers) * eye


def exact_value(expression: sp.Expr, values: Mapping[str, Any]) -> Fraction:
    """A SymPy expression at rational values given by the names of its symbols."""
    import sympy as sp

    value = expression.subs({s: sp.Rational(values[s.name]) for s in expression.free_symbols})
    return Fraction(int(value.p), int(value.q))


def infinite_context_check(
    inverse: TracePolynomial, limit: TracePolynomial, values: Mapping[str, Any]
) -> tuple[Any, Any]:
    """N (A*^-1 - limit^-1) is the same at every N, so A*^-1 -> limit^-1 at the rate 1/N."""

    def scaled_gap(n: Fraction) -> Any:
        at_n = {**values, "N": n}
        return n * (evaluate(inverse, at_n) - exact_inverse(evaluate(limit, at_n)))

    return scaled_gap(values["N"]), scaled_gap(1000 * values["N"])


@cache
def derivation(law: PromptLaw | None = None) -> Derivation:
    """From the reduced loss to the global minimum over all parameters, with its readings."""
    law = law or PromptLaw()
    system, minimum = stationary_system(law), minimal_loss(law)
    inverse, ridge = fixed_point_inverse(law), effective_ridge(law)
    limit = inverse_of_monomial(infinite_context_limit(system.left)) * infinite_context_limit(system.right)
    steps = (
        *solution_steps(system, inverse),
        *optimality_steps(system, minimum),
        *reading_steps(law, inverse, ridge, limit),
    )
    results = {
        "second moment": system.second_moment,
        "cross moment": system.cross_moment,
        "left": system.left,
        "right": system.right,
        "inverse": inverse,
        "minimal loss": minimum,
        "effective ridge": ridge,
        "infinite context": limit,
    }
    statement = replace(STATEMENT, latex=rf"u U = A^*,\; u_{{12}} = u_{{21}} = 0,\quad {steps[2].latex}")
    return Derivation(statement, steps, results, lambda seed: (seed, False))


def solution_steps(system: StationarySystem, inverse: TracePolynomial) -> tuple[Step, ...]:
    """The gradient, its zero, and the closed form."""
    return (
        Step(
            "gradient of the reduced loss",
            "d reduced(A)/dA",
            f"(M A - C) {system.covariance!r} with M = {system.second_moment!r}, C = {system.cross_moment!r}",
            rf"\nabla\ell(A) = (M A - C){to_latex(system.covariance)},"
            rf"\; M = {to_latex(system.second_moment)},\; C = {to_latex(system.cross_moment)}",
            "since d tr(A W) = tr(dA W), d tr(A^T W) = tr(dA^T W); the words behind A are all equal",
            lambda key: (enumerated_slope(key), slope_from_the_system(system, instance_of(key))),
            forms={"M": system.second_moment, "C": system.cross_moment, "covariance": system.covariance},
        ),
        Step(
            "the stationary equation divided by the covariance",
            f"({system.left!r}) A*",
            to_text(system.right),
            rf"\bigl({to_latex(system.left)}\bigr) A^* = {to_latex(system.right)}",
            "M A* = C multiplied by the inverse covariance from the left; both factors are positive definite",
            lambda key: (
                value_at(system.second_moment, instance_of(key)) @ exact_fixed_point(system, instance_of(key)),
                value_at(system.cross_moment, instance_of(key)),
            ),
            forms={"left": system.left, "right": system.right},
        ),
        Step(
            "closed form",
            "A*^-1",
            to_text(inverse),
            rf"(A^*)^{{-1}} = {to_latex(inverse)}",
            "multiplying by right^-1 (Psi invertible); the sum is symmetric, so A* is",
            lambda key: (
                exact_inverse(exact_fixed_point(system, instance_of(key))),
                value_at(inverse, instance_of(key)),
            ),
            forms={"inverse": inverse},
        ),
    )


def optimality_steps(system: StationarySystem, minimum: TracePolynomial) -> tuple[Step, ...]:
    """The completed square, and why it makes the point a global minimum over all parameters."""
    remainder = system.left - system.right * LAMBDA
    return (
        equality(
            "the loss at the fixed point",
            ("min L", r"\min L"),
            minimum,
            "a quadratic c + l(A) + q(A) has the value c + l(A*)/2 at its stationary point",
            lambda key: loss_at_the_fixed_point(system, minimum, key),
        ),
        Step(
            "the same without cancellation",
            "min L",
            f"1/2 tr(Lambda left^-1 ({remainder!r}) Psi)",
            rf"\min L = \tfrac12\operatorname{{tr}}\bigl(\Lambda\,({to_latex(system.left)})^{{-1}}"
            rf"({to_latex(remainder)})\Psi\bigr)",
            "I - A* Lambda = left^-1 (left - right Lambda), where the terms of order 1 cancel as words",
            lambda key: (
                enumerated_loss(key, exact_fixed_point(system, instance_of(key))),
                loss_without_cancellation(system, instance_of(key)),
            ),
            forms={"remainder": remainder},
        ),
        Step(
            "completing the square",
            "reduced(A)",
            "min L + 1/2 tr((A - A*)^T M (A - A*) Lambda)",
            r"\ell(A) = \min L + \tfrac12\operatorname{tr}\bigl((A-A^*)^\top M (A-A^*)\Lambda\bigr)",
            "the quadratic part of reduced(A) is 1/2 tr(A^T M A Lambda) and its gradient vanishes at A*",
            lambda key: (
                enumerated(key)["odd loss"],
                completed_square(system, minimum, instance_of(key)),
            ),
        ),
        Step(
            "global optimality over all parameters",
            "L(u12, u, U, u21) - min L",
            "1/2 |M^(1/2) (A - A*) Lambda^(1/2)|_F^2 + 1/2 E yhat_even^2 >= 0",
            r"L - \min L = \tfrac12\bigl|M^{1/2}(A-A^*)\Lambda^{1/2}\bigr|_F^2"
            r" + \tfrac12\mathbb{E}\,\hat y_{\rm even}^2 \;\ge\; 0",
            "the decomposition of population-loss and the completed square",
            lambda key: (
                enumerated(key)["loss"],
                completed_square(system, minimum, instance_of(key)) + enumerated(key)["even loss"],
            ),
            proof=(
                "M = E[s s^T] is positive definite, since v.s is a polynomial in the prompt that is not zero "
                "for v != 0 (Lambda positive definite, Psi != 0); so is Lambda. The sum is zero exactly "
                "where A = A* and yhat_even = 0 almost surely; u U = A*, u12 = u21 = 0 does both."
            ),
        ),
        Step(
            "uniqueness up to scale for rank A* >= 2",
            "{u U + u12 u21^T = A*, yhat_even = 0}",
            "{u U = A*, u12 = u21 = 0}",
            r"\{uU + u_{12}u_{21}^\top = A^*,\ \hat y_{\rm even} \equiv 0\}"
            r" = \{uU = A^*,\ u_{12} = u_{21} = 0\}",
            "comparing coefficients of the polynomial yhat_even",
            proof=(
                "yhat_even = u12^T (S + x_q x_q^T/N) U x_q + u v u21^T x_q with v = (1/N) sum y_i^2 vanishes "
                "as a polynomial in x_i, x_q, eps_i and w in the range of Psi (these are the support of the "
                "law). Its part linear in x_q is U^T S u12 + u v u21 = 0; scaling w with the x_i fixed "
                "changes v alone, so u u21 = 0 and U^T S u12 = 0 for every S; with all x_i = x this is "
                "(x.u12) U^T x = 0 for all x, so u12 = 0 or U = 0. If u12 = 0 then u U = A* is not 0, so u "
                "is not 0 and u21 = 0. If U = 0 then A* = u12 u21^T has rank 1. Rank A* = rank Psi: where it "
                "is 1 (as for d = 1) the second family u = 0, U = 0, u12 u21^T = A* is a global minimum too."
            ),
        ),
    )


def reading_steps(
    law: PromptLaw, inverse: TracePolynomial, ridge: TracePolynomial, limit: TracePolynomial
) -> tuple[Step, ...]:
    """Isotropic case, infinite context and effective ridge, read off the closed form."""
    gain = isotropic_gain(law)
    inverse_task = inverse_of_monomial(law.task_covariance)
    return (
        Step(
            "isotropic case",
            "A* for Lambda = lam I, Psi = psi I",
            f"({gain}) I",
            rf"A^* = {latex_of(gain)}\, I",
            "substitution; for lam = psi = 1 without noise it is N/(N + d + 1)",
            lambda key: isotropic_check(inverse, gain, instance_of(key).values()),
            forms={"gain": gain},
        ),
        Step(
            "infinite context",
            "lim A* as N -> oo",
            to_text(limit),
            rf"\lim_{{N\to\infty}} A^* = {to_latex(limit)}",
            "terms in 1/N vanish and Psi (invertible) cancels: the prediction tends to least squares",
            lambda key: infinite_context_check(inverse, limit, instance_of(key).values()),
            forms={"limit": limit},
        ),
        Step(
            "effective ridge",
            "A*^-1 - (1 + 1/N) Lambda",
            f"rho {inverse_task!r} with rho = {ridge!r}",
            rf"\rho = {to_latex(ridge)}",
            "the coefficient of Psi^-1: ridge regression has S + (sigma^2/N) Psi^-1 in the place of "
            "(1 + 1/N) Lambda + rho Psi^-1, so a finite context acts like noise of variance tr(Lambda Psi)",
            lambda key: (
                value_at(inverse - ridge * inverse_task, instance_of(key)),
                value_at(LAMBDA, instance_of(key)) * (1 + Fraction(1, instance_of(key).context_length)),
            ),
            forms={"ridge": ridge},
        ),
    )


def latex_of(expression: Any) -> str:
    """LaTeX of a SymPy expression, with the library's symbols."""
    import sympy as sp

    names = {
        "sigma2": r"\sigma^{2}",
        "sigma2'": r"\sigma'^{2}",
        "lam": r"\lambda",
        "psi": r"\psi",
        "m1": r"\mathbb{E}[N^{-1}]",
    }
    return str(
        sp.latex(expression, symbol_names={s: names[s.name] for s in expression.free_symbols if s.name in names})
    )
