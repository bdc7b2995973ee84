r"""Gradient flow of the layer without leak: the exact flow of u and U, for any law.

Main statements
    invariance     L is even in (u12, u21) together, so u12 = u21 = 0 is invariant under the gradient flow of L
    flow           on it, with M = E[s s^T] and C = E[s w^T] of fixed-point and A = u U,
                   U' = -u (M A - C) Lambda,   u' = -tr(U^T (M A - C) Lambda)
    Psi = I, no noise      M = Gamma Lambda and C = Lambda: the flow of [zhang2024trained, Lemma 5.2], as it is printed
    isotropic      Lambda = lam I, Psi = psi I and U = a I: the gain g = u a obeys g' = (pull - curvature g)(u^2 + d
                   a^2); where u^2 = d a^2 this is the logistic equation
    flow_after     the flow at a finite time in float64, with a stated error (`decoupled_flow`)
Assumptions
    Those of `PromptLaw`; u12 = u21 = 0 at the start.
References
    [zhang2024trained, Lemma 5.2] for Psi = I, sigma = 0; the rest is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate
from ..algebra.matrix_derivatives import derivative, gradient
from ..algebra.printing import to_latex, to_sympy
from ..algebra.trace_polynomials import TracePolynomial, degree, select, trace
from ..symbols import LAM, LAMBDA, PSI_SCALE, SIGMA2, ZERO, I, U, u
from .any_start import enumerated_loss, exact_identity
from .assumptions import FloatArray, check_non_negative
from .decoupled_flow import FlowState, decoupled_flow, start_of
from .enumeration import Instance, InstanceKey, random_instance
from .fixed_point import coefficient_of_identity, exact_value, fixed_point_inverse, latex_of, stationary_system
from .population_loss import enumerated, population_loss, value_at
from .prompt_law import PromptLaw

if TYPE_CHECKING:
    import sympy as sp

PLAIN = PromptLaw(task_covariance=I, noise_variance=ZERO)


@cache
def loss_without_leak(law: PromptLaw) -> TracePolynomial:
    """L at u12 = u21 = 0, in u and U."""
    return select(population_loss(law), lambda monomial: degree(monomial, "u12", "u21") == 0)


@cache
def key_query_flow(law: PromptLaw) -> TracePolynomial:
    """U' = -dL/dU at u12 = u21 = 0."""
    return -gradient(loss_without_leak(law), U)


@cache
def value_flow(law: PromptLaw) -> TracePolynomial:
    """u' = -dL/du at u12 = u21 = 0."""
    return -derivative(loss_without_leak(law), "u")


@cache
def flow_by_gamma() -> tuple[TracePolynomial, TracePolynomial]:
    """(-u^2 Gamma Lambda U Lambda + u Lambda^2, -tr(u Gamma Lambda U Lambda U^T - Lambda^2 U^T)), Gamma put in.

    Gamma is A*^-1 for Psi = I without noise.
    """
    slope = u * fixed_point_inverse(PLAIN) * LAMBDA * U * LAMBDA - LAMBDA * LAMBDA
    return -u * slope, -trace(slope * U.T)


@cache
def isotropic_rates() -> tuple[sp.Expr, sp.Expr]:
    """(pull, curvature) with G(g I) = (curvature g - pull) I for Lambda = lam I, Psi = psi I.

    >>> isotropic_rates()[0]
    lam**2*psi
    """
    import sympy as sp

    system = stationary_system(PromptLaw(LAM * I, PSI_SCALE * I, SIGMA2))
    M, C = (to_sympy(coefficient_of_identity(part)) for part in (system.second_moment, system.cross_moment))
    lam = to_sympy(LAM)
    return sp.factor(C * lam), sp.factor(M * lam)


@dataclass(frozen=True)
class Flow:
    """The flow at one time: u, U (d, d) and L."""

    value_gain: float
    key_query: FloatArray
    loss: float


def flow_after(
    covariance: Any,
    context_length: Any,
    value_gain_0: Any,
    key_query_0: Any,
    time: Any,
    task_covariance: Any = None,
    noise_variance: Any = 0.0,
) -> Flow:
    """Gradient flow of L from u12 = u21 = 0, u = value_gain_0, U = key_query_0 (d, d), at a time >= 0.

    The law is given as for `fixed_point`. Error: see `decoupled_flow`. Raises AssumptionError.

    >>> flow_after([[1.0]], 1, 1.0, [[0.0]], 0.0).loss  # the prediction is 0
    0.5
    """
    flow = decoupled_flow(covariance, context_length, task_covariance, noise_variance)
    start = start_of(value_gain_0, key_query_0, len(flow.pull))
    end = flow.after(start, check_non_negative(time, "time"))
    return Flow(end.u, end.U, flow.minimum + flow.excess(flow.coordinates(end)))


def path_by(
    key_query: TracePolynomial, value: TracePolynomial, law: Mapping[str, Any], start: FlowState, times: Sequence[float]
) -> list[FlowState]:
    """The flow of U' = key_query, u' = value (polynomials in u and U) at ascending times >= 0, law giving the other
    letters.

    For polynomials that are no gradient of a loss, too. DOP853 with local errors below 1e-10; a flow that leaves the
    range of floats on the way is infinite at all times.
    """
    from scipy.integrate import solve_ivp  # as in decoupled_flow

    d = len(start.U)

    def velocity(_: float, row: FloatArray) -> FloatArray:
        values = {**law, "u": row[0], "U": row[1:].reshape(d, d)}
        return np.concatenate([[evaluate(value, values)], np.ravel(evaluate(key_query, values))])

    row = np.concatenate([[start.u], start.U.reshape(-1)])
    found = solve_ivp(velocity, (0.0, times[-1]), row, "DOP853", times, rtol=1e-10, atol=1e-10 * np.linalg.norm(row))
    if not found.success:
        return [FlowState(np.inf, np.full((d, d), np.inf)) for _ in times]
    return [FlowState(float(at[0]), at[1:].reshape(d, d)) for at in found.y.T]


# The instances: those of population-loss, and their weights without leak


def with_weights(instance: Instance, u12: Array, value: Any, key_query: Array, u21: Array) -> Instance:
    """The instance with other weights."""
    return replace(instance, u12=u12, u=value, U=key_query, u21=u21)


@cache
def without_leak(key: InstanceKey) -> Instance:
    """The instance with u12 = u21 = 0."""
    given = random_instance(key)
    return with_weights(given, 0 * given.u12, given.u, given.U, 0 * given.u21)


def loss_at(instance: Instance, value: Any, key_query: Array) -> Fraction:
    """The enumerated loss without leak at other u and U."""
    return enumerated_loss(with_weights(instance, instance.u12, value, key_query, instance.u21))


@cache
def enumerated_without_leak(key: InstanceKey) -> Fraction:
    return enumerated_loss(without_leak(key))


def parity_in_the_leak(key: InstanceKey) -> tuple[Any, Any]:
    """The enumerated loss at (u12, u21) and at (-u12, -u21)."""
    given = random_instance(key)
    return enumerated(key)["loss"], enumerated_loss(with_weights(given, -given.u12, given.u, given.U, -given.u21))


@cache
def enumerated_key_query_slope(key: InstanceKey) -> Array:
    """dL/dU without leak, entry by entry: the central difference of a quadratic is exact."""
    instance = without_leak(key)
    d = instance.dimension
    slope = np.zeros((d, d), dtype=object)
    for place in np.ndindex(d, d):
        step = np.zeros((d, d), dtype=object)
        step[place] = 1
        up, down = (loss_at(instance, instance.u, instance.U + sign * step) for sign in (1, -1))
        slope[place] = (up - down) / 2
    return slope


@cache
def enumerated_value_slope(key: InstanceKey) -> Fraction:
    """dL/du without leak: the loss is quadratic in u too."""
    instance = without_leak(key)
    return (loss_at(instance, instance.u + 1, instance.U) - loss_at(instance, instance.u - 1, instance.U)) / 2


def plain_values(key: InstanceKey) -> dict[str, Any]:
    """The letters of `without_leak` with Psi = I and no noise."""
    values = without_leak(key).values()
    return {**values, "Psi": exact_identity(len(values["Psi"])), "sigma2": Fraction(0)}


def plain_flow(key: InstanceKey) -> tuple[Any, Any]:
    """(U', u') for Psi = I without noise: from the flow of any law, and by Gamma."""
    values, law = plain_values(key), PromptLaw()
    general = [evaluate(part, values) for part in (key_query_flow(law), value_flow(law))]
    special = [evaluate(part, values) for part in flow_by_gamma()]
    return [*general[0].reshape(-1), general[1]], [*special[0].reshape(-1), special[1]]


def isotropic_flow(key: InstanceKey) -> tuple[Any, Any]:
    """g' = u' a + u tr(U')/d at U = a I, from the flow, and as the product of the step."""
    values = without_leak(key).values()
    eye = exact_identity(len(values["U"]))
    a, numbers = values["U"][0, 0], {**values, "lam": 2, "psi": 3, "d": len(eye)}
    here = {**values, "Lambda": 2 * eye, "Psi": 3 * eye, "U": a * eye}
    moved = evaluate(key_query_flow(PromptLaw()), here)
    rate = evaluate(value_flow(PromptLaw()), here) * a + values["u"] * Fraction(np.trace(moved), len(eye))
    pull, curvature = (exact_value(part, numbers) for part in isotropic_rates())
    gain = values["u"] * a
    return rate, (pull - curvature * gain) * (values["u"] ** 2 + len(eye) * a**2)


@cache
def derivation() -> Derivation:
    """From the loss on all parameters to the flow without leak."""
    law = PromptLaw()
    statement = replace(STATEMENT, latex=rf"\dot U = {to_latex(key_query_flow(law))},\; \dot u = {latex_of_value()}")
    results = {
        "loss without leak": loss_without_leak(law),
        "key-query flow": key_query_flow(law),
        "value flow": value_flow(law),
    }
    return Derivation(statement, (*flow_steps(law), *reading_steps()), results, lambda seed: (seed, False))


def latex_of_value() -> str:
    return to_latex(value_flow(PromptLaw()))


def flow_steps(law: PromptLaw) -> tuple[Step, ...]:
    """The flow for any law."""
    return (
        Step(
            "the loss is even in (u12, u21) together",
            "L(-u12, u, U, -u21)",
            "L(u12, u, U, u21)",
            r"L(-u_{12}, u, U, -u_{21}) = L(u_{12}, u, U, u_{21})",
            "A = u U + u12 u21^T does not change and yhat_even changes its sign; so dL/du12 = dL/du21 = 0 at u12 = u21 "
            "= 0, and the flow stays there",
            parity_in_the_leak,
        ),
        equality(
            "the loss without leak",
            ("L(0, u, U, 0)", r"L(0, u, U, 0)"),
            loss_without_leak(law),
            "the terms of L without u12 and u21: reduced(u U), since yhat_even = 0",
            lambda key: (enumerated_without_leak(key), value_at(loss_without_leak(law), without_leak(key))),
        ),
        equality(
            "flow of the key-query block",
            ("U' = -dL/dU", r"\dot U"),
            key_query_flow(law),
            "d tr(U W) = tr(dU W), d tr(U^T W) = tr(dU^T W); it is -u (M A - C) Lambda at A = u U",
            lambda key: (-enumerated_key_query_slope(key), value_at(key_query_flow(law), without_leak(key))),
        ),
        equality(
            "flow of the value gain",
            ("u' = -dL/du", r"\dot u"),
            value_flow(law),
            "the derivative of a quadratic in u; it is -tr(U^T (M A - C) Lambda) at A = u U",
            lambda key: (-enumerated_value_slope(key), value_at(value_flow(law), without_leak(key))),
        ),
    )


def reading_steps() -> tuple[Step, ...]:
    """The flow as it is printed, and the isotropic gain."""
    key_query, value = flow_by_gamma()
    gamma = fixed_point_inverse(PLAIN)
    pull, curvature = isotropic_rates()
    return (
        Step(
            "Psi = I without noise",
            "(U', u')",
            f"(-u^2 Gamma Lambda U Lambda + u Lambda^2, -tr(u Gamma Lambda U Lambda U^T - Lambda^2 U^T)), Gamma = "
            f"{gamma!r}",
            r"\dot U = -u^2\Gamma\Lambda U\Lambda + u\Lambda^2,\; \dot u = -\operatorname{tr}(u\Gamma\Lambda U\Lambda "
            rf"U^\top - \Lambda^2 U^\top),\; \Gamma = {to_latex(gamma)}",
            "M = Gamma Lambda and C = Lambda; this is ZFB Lemma 5.2 as it is printed",
            plain_flow,
            forms={"key_query": key_query, "value": value},
        ),
        Step(
            "isotropic gain",
            "g' = (u a)' for Lambda = lam I, Psi = psi I, U = a I",
            f"({pull} - ({curvature}) g) (u^2 + d a^2)",
            rf"\dot g = \bigl({latex_of(pull)} - {latex_of(curvature)}\, g\bigr)(u^2 + d a^2)",
            "U stays a multiple of I. Where u^2 = d a^2 (balanced, and conserved) u^2 + d a^2 = 2 sqrt(d) g for g > 0, "
            "so g obeys the logistic equation: g = g0 g*/(g0 + (g* - g0) e^{-2 sqrt(d) pull t}) with g* = "
            "pull/curvature",
            isotropic_flow,
            forms={"pull": pull, "curvature": curvature},
        ),
    )


STATEMENT = Statement(
    identifier="gradient-flow",
    title="Gradient flow of the layer without leak, for any law",
    latex="",  # the derived flow, filled in by `derivation`
    text=(
        "u12 = u21 = 0 is invariant under the gradient flow of the loss on all parameters, and on it u and U obey "
        "U' = -u (M A - C) Lambda and u' = -tr(U^T (M A - C) Lambda) with A = u U, for any Lambda, Psi, sigma^2 and N; "
        "ZFB Lemma 5.2 is the case Psi = I, sigma = 0, and agrees with it."
    ),
    assumptions=(
        "x_i, x_q ~ N(0, Lambda), Lambda positive definite; w ~ N(0, Psi), eps_i ~ N(0, sigma^2), all independent",
        "the flow theta' = -dL/dtheta of all parameters starts at u12 = u21 = 0",
        "context length N >= 1, the same for every prompt",
    ),
    conventions=(
        "query column included in E E^T, 1/N over the context, L = 1/2 E(yhat - w.x_q)^2; time is that of theta' = "
        "-dL/dtheta, so that k steps of gradient descent at the rate h are about the time k h"
    ),
    sources=(Source("zhang2024trained", "Lemma 5.2 (Psi = I, sigma = 0)"), Source("ours", "any law")),
    uses=("population-loss", "fixed-point"),
)
