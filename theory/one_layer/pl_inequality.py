r"""A Polyak-Lojasiewicz inequality along the flow without leak, with a constant for every law and start.

With A = u U, M and C of fixed-point, m and l the least eigenvalues of M and Lambda, c = u^2 - |U|_F^2 (conserved), and
delta = L(0) - L(start), how far the start is below the loss of zero weights:
Main statements
    gradient       |dL/dU|^2 = u^2 |M (A - A*) Lambda|_F^2 >= 2 m l u^2 (L - min L)
    size of A      delta <= |C Lambda|_F |A|_F - (m l/2) |A|_F^2 from the start on, so |A|_F >= r, the smaller root
                   (r = 0 where delta <= 0)
    size of u      u^2 = (c + sqrt(c^2 + 4 |A|_F^2))/2 >= v with v = (c + sqrt(c^2 + 4 r^2))/2
    inequality     |grad L|^2 >= mu (L - min L) from the start on, with mu = 2 m l v, which is positive for every start
                   with delta > 0 or c > 0
    printed        for the start of [zhang2024trained, Theorem 4.1], Psi = I, sigma = 0, the constant of Lemma 5.4 is
                   never larger than ours: each of its factors is a bound on one of ours
Assumptions
    Those of `PromptLaw`; u12 = u21 = 0 at the start; the flow of all parameters.
References
    [zhang2024trained, Lemma 5.4] with their start; [karimi2016linear] for the kind of inequality; the rest is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.printing import to_latex
from ..algebra.trace_polynomials import TracePolynomial, degree, matrix, scalar, select, substitute
from .assumptions import AssumptionError, FloatArray, check_positive, check_shape
from .decoupled_flow import DecoupledFlow, FlowState, decoupled_flow
from .enumeration import InstanceKey
from .fixed_point import exact_fixed_point, fixed_point_inverse, minimal_loss, stationary_system
from .gradient_flow import (
    PLAIN,
    enumerated_key_query_slope,
    enumerated_without_leak,
    key_query_flow,
    loss_at,
    loss_without_leak,
    plain_values,
    without_leak,
)
from .population_loss import value_at
from .prompt_law import PromptLaw

P, SCALE = matrix("P"), scalar("s")  # the start u = sigma_0, U = sigma_0 P, so that A = s P with s = sigma_0^2


@cache
def gain_over_zero_weights() -> TracePolynomial:
    """L(0) - L without leak: every term has a factor u."""
    return -select(loss_without_leak(PromptLaw()), lambda monomial: degree(monomial, "u") > 0)


@cache
def gain_of_the_start() -> TracePolynomial:
    """L(0) - L at u = sigma_0, U = sigma_0 P for Psi = I without noise, s = sigma_0^2."""
    gain = -select(loss_without_leak(PLAIN), lambda monomial: degree(monomial, "u") > 0)
    return substitute(in_product(gain), {"U": P}, {"u": SCALE})


def in_product(polynomial: TracePolynomial) -> TracePolynomial:
    """A polynomial in u U, with u once for each U, is one in A = u U: read at u = s, U = P it is that at A = s P."""
    if any(degree(monomial, "u") != degree(monomial, "U") for monomial in polynomial.terms):
        raise ValueError("need as many factors u as U")
    return polynomial


def derived_constant(flow: DecoupledFlow, start: FlowState) -> float:
    """mu = 2 m l v of the module, from a start on; 0 where the start has neither delta > 0 nor c > 0."""
    return 2 * float(flow.curvature.min()) * flow.least_square_of_value(flow.coordinates(start))


@dataclass(frozen=True)
class PLConstants:
    """mu of [zhang2024trained, Lemma 5.4] as it is printed, and the derived one, for one start."""

    printed: float
    derived: float


def pl_constants(covariance: Any, context_length: Any, scale: Any, theta: Any) -> PLConstants:
    """Both constants for Psi = I without noise, at u = scale, U = scale P with P = Theta Theta^T/|Theta Theta^T|_F.

    theta (d, d). Raises AssumptionError, also where scale^2 |Gamma| sqrt(d) >= 2, which the printed constant excludes.

    >>> pl_constants([[1.0]], 1, 0.5, [[1.0]]).printed  # Gamma = 3
    0.9375
    """
    flow = decoupled_flow(covariance, context_length, None, 0.0)
    d, sigma_0 = len(flow.pull), check_positive(scale, "scale")
    start = theorem_start(sigma_0, check_shape(theta, (d, d), "theta"))
    Lambda = np.asarray(covariance, dtype=np.float64)
    return PLConstants(printed_constant(Lambda, int(context_length), start), derived_constant(flow, start))


def theorem_start(scale: float, theta: FloatArray) -> FlowState:
    """u = scale, U = scale Theta Theta^T/|Theta Theta^T|_F. Raises AssumptionError for Theta = 0."""
    product = theta @ theta.T
    size = float(np.linalg.norm(product))
    if size == 0:
        raise AssumptionError(
            "theta is zero, and the theorem's start has |Theta Theta^T|_F = 1; give a theta that is not"
        )
    return FlowState(scale, scale * product / size)


def printed_constant(covariance: FloatArray, context_length: int, start: FlowState) -> float:
    """sigma_0^2 |Lambda Theta|_F^2 (2 - sqrt(d) sigma_0^2 |Gamma|)/(sqrt(d) |Lambda|^2 tr(Gamma^-1 Lambda^-1)
    tr(Lambda^-1)).

    Typed as it is printed, to be compared with the derivation. |Lambda Theta|_F^2 = tr(P Lambda^2).
    """
    d, s = len(covariance), start.u**2
    Gamma = np.asarray(evaluate(fixed_point_inverse(PLAIN), {"Lambda": covariance, "N": context_length}))
    room = 2 - math.sqrt(d) * s * np.linalg.norm(Gamma, 2)
    if room <= 0:
        raise AssumptionError(
            f"scale^2 |Gamma| sqrt(d) is {2 - room:.6g}, and the printed constant needs it below 2; give a smaller "
            f"scale"
        )
    pulled = s * np.trace(start.U / start.u @ covariance @ covariance)
    inverse = np.linalg.inv(covariance)
    spread = np.trace(np.linalg.inv(Gamma) @ inverse) * np.trace(inverse)
    return float(pulled * room / (math.sqrt(d) * np.linalg.norm(covariance, 2) ** 2 * spread))


# The instances: those of gradient-flow


def moments_at(key: InstanceKey) -> tuple[Array, Array, Array]:
    """M, A - A* and Lambda at the instance without leak."""
    system, instance = stationary_system(PromptLaw()), without_leak(key)
    gap = instance.values()["A"] - exact_fixed_point(system, instance)
    return value_at(system.second_moment, instance), gap, instance.values()["Lambda"]


def squared_gradient_in_the_gap(key: InstanceKey) -> tuple[Any, Any]:
    """|dL/dU|^2 by enumeration, and u^2 |M (A - A*) Lambda|_F^2."""
    M, gap, Lambda = moments_at(key)
    image = M @ gap @ Lambda
    return np.sum(enumerated_key_query_slope(key) ** 2), without_leak(key).u ** 2 * np.sum(image**2)


def excess_in_the_gap(key: InstanceKey) -> tuple[Any, Any]:
    """L by enumeration, and min L + 1/2 tr((A - A*)^T M (A - A*) Lambda)."""
    law, instance = PromptLaw(), without_leak(key)
    star = exact_fixed_point(stationary_system(law), instance)
    M, gap, Lambda = moments_at(key)
    least = evaluate(minimal_loss(law), {**instance.values(), "A_*": star})
    return enumerated_without_leak(key), least + np.trace(gap.T @ M @ gap @ Lambda) / 2


def gradient_bounds_the_excess(key: InstanceKey) -> tuple[Any, Any]:
    """Whether |dL/dU|^2 tr(M^-1) tr(Lambda^-1) >= 2 u^2 (L - min L): the rational part of the step."""
    M, gap, Lambda = moments_at(key)
    traces = np.trace(exact_inverse(M)) * np.trace(exact_inverse(Lambda))
    twice = np.trace(gap.T @ M @ gap @ Lambda)
    return bool(np.sum(enumerated_key_query_slope(key) ** 2) * traces >= without_leak(key).u ** 2 * twice), True


def enumerated_gain(key: InstanceKey) -> tuple[Any, Any]:
    """L(0) - L by enumeration, and the polynomial."""
    instance = without_leak(key)
    at_zero = loss_at(instance, 0, 0 * instance.U)
    return at_zero - enumerated_without_leak(key), value_at(gain_over_zero_weights(), instance)


def gain_bounds_the_size(key: InstanceKey) -> tuple[Any, Any]:
    """Whether (gain + 1/2 tr(A^T M A Lambda))^2 <= |A|^2 |C Lambda|^2, in rational numbers."""
    system, instance = stationary_system(PromptLaw()), without_leak(key)
    M, C = value_at(system.second_moment, instance), value_at(system.cross_moment, instance)
    A, Lambda = instance.values()["A"], instance.values()["Lambda"]
    linear = value_at(gain_over_zero_weights(), instance) + np.trace(A.T @ M @ A @ Lambda) / 2
    return bool(linear**2 <= np.sum(A**2) * np.sum((C @ Lambda) ** 2)), True


def value_from_the_product(key: InstanceKey) -> tuple[Any, Any]:
    """u^4 and c u^2 + |u U|_F^2."""
    instance = without_leak(key)
    square, size = Fraction(instance.u) ** 2, np.sum(instance.U**2)
    return square**2, (square - size) * square + square * size


def gain_of_the_start_at(key: InstanceKey) -> tuple[Any, Any]:
    """L(0) - L of the enumerated loss for Psi = I without noise at A = u U, and the polynomial at s = u, P = U."""
    values, instance = plain_values(key), without_leak(key)
    plain = replace(instance, task_root=values["Psi"], noise_root=0)
    gain = loss_at(plain, 0, 0 * plain.U) - loss_at(plain, plain.u, plain.U)
    return gain, evaluate(gain_of_the_start(), {**values, "P": plain.U, "s": values["u"]})


@cache
def derivation() -> Derivation:
    """From the flow without leak to the inequality, and to the constant as it is printed."""
    steps = (*gradient_steps(), *size_steps(), *theorem_start_steps())
    results = {
        "key-query flow": key_query_flow(PromptLaw()),
        "gain": gain_over_zero_weights(),
        "gain of the start": gain_of_the_start(),
    }
    return Derivation(STATEMENT, steps, results, lambda seed: (seed, False))


def gradient_steps() -> tuple[Step, ...]:
    """The gradient by U against the excess."""
    system, flow = stationary_system(PromptLaw()), key_query_flow(PromptLaw())
    return (
        Step(
            "squared gradient by U",
            "|dL/dU|_F^2",
            f"|F|_F^2 with F = U' = {flow!r}",
            rf"|\partial_U L|_F^2 = |\dot U|_F^2,\; \dot U = {to_latex(flow)}",
            "U' = -dL/dU, of gradient-flow",
            lambda key: (np.sum(enumerated_key_query_slope(key) ** 2), np.sum(value_at(flow, without_leak(key)) ** 2)),
            forms={"flow": flow},
        ),
        Step(
            "squared gradient in the distance from A*",
            "|dL/dU|_F^2",
            "u^2 |M (A - A*) Lambda|_F^2",
            r"|\partial_U L|_F^2 = u^2 |M (A - A^*)\Lambda|_F^2",
            "C = M A*",
            squared_gradient_in_the_gap,
            forms={"M": system.second_moment, "C": system.cross_moment},
        ),
        Step(
            "excess in the distance from A*",
            "L(0, u, U, 0)",
            "min L + 1/2 tr((A - A*)^T M (A - A*) Lambda)",
            r"L = \min L + \tfrac12\operatorname{tr}\bigl((A-A^*)^\top M (A-A^*)\Lambda\bigr)",
            "the completed square of fixed-point",
            excess_in_the_gap,
            forms={"minimum": minimal_loss(PromptLaw())},
        ),
        Step(
            "the gradient bounds the excess",
            "|dL/dU|_F^2 >= 2 m l u^2 (L - min L)",
            "true",
            r"|\partial_U L|_F^2 \ge 2\, m\, l\, u^2 (L - \min L)",
            "m and l are the least eigenvalues of M and Lambda; checked with 1/tr(M^-1) and 1/tr(Lambda^-1) in their "
            "places, which are smaller",
            gradient_bounds_the_excess,
            proof=(
                "With D = M^(1/2) (A - A*) Lambda^(1/2) the excess is |D|_F^2/2, and the gradient is u^2 |M^(1/2) D "
                "Lambda^(1/2)|_F^2 >= u^2 m l |D|_F^2."
            ),
        ),
    )


def size_steps() -> tuple[Step, ...]:
    """Why u stays away from 0, and the inequality."""
    return (
        equality(
            "gain over zero weights",
            ("L(0) - L", r"L(0) - L"),
            gain_over_zero_weights(),
            "the terms of L with u; it is tr(A^T C Lambda) - 1/2 tr(A^T M A Lambda)",
            enumerated_gain,
        ),
        Step(
            "the gain bounds A from below",
            "L(0) - L <= |C Lambda|_F |A|_F - (m l/2) |A|_F^2",
            "true",
            r"L(0) - L \le |C\Lambda|_F\,|A|_F - \tfrac{m l}{2}|A|_F^2",
            "Cauchy and Schwarz for the linear part, tr(A^T M A Lambda) >= m l |A|_F^2 for the other",
            gain_bounds_the_size,
            proof=(
                "L falls along the flow, so L(0) - L >= delta from the start on, and |A|_F is at least the smaller "
                "root r = 2 delta/(b + sqrt(b^2 - 2 m l delta)) of b a - (m l/2) a^2 = delta, b = |C Lambda|_F; r >= "
                "delta/b."
            ),
        ),
        Step(
            "u from A and c",
            "u^4",
            "c u^2 + |A|_F^2 with c = u^2 - |U|_F^2",
            r"u^4 = c\,u^2 + |A|_F^2",
            "A = u U; c is conserved, so u^2 = (c + sqrt(c^2 + 4 |A|_F^2))/2, which grows with |A|_F and is at least c",
            value_from_the_product,
        ),
        Step(
            "the inequality",
            "|grad L|^2 >= mu (L - min L), mu = 2 m l v, v = (c + sqrt(c^2 + 4 r^2))/2",
            "true from the start on",
            r"|\nabla L|^2 \ge \mu\,(L - \min L),\; \mu = m\,l\,\bigl(c + \sqrt{c^2 + 4 r^2}\bigr)",
            "the steps before, with |grad L|^2 >= |dL/dU|^2; r = 0 where delta <= 0, and mu is positive then for c > 0 "
            "only",
            proof=(
                "So L - min L <= e^(-mu t) (L(start) - min L), and since d/dt sqrt(L - min L) = -|grad L|^2/(2 sqrt(L "
                "- min L)) <= -(sqrt(mu)/2) |grad L|, the path from any time on is at most 2 sqrt((L - min L)/mu) long."
            ),
        ),
    )


def theorem_start_steps() -> tuple[Step, ...]:
    """The start of ZFB Theorem 4.1, and their constant."""
    gain = gain_of_the_start()
    return (
        Step(
            "the theorem's start",
            "L(0) - L at u = sigma_0, U = sigma_0 P, Psi = I, no noise, s = sigma_0^2",
            repr(gain),
            rf"L(0) - L = {to_latex(gain)}",
            "the gain at A = s P; here P = Theta Theta^T with |P|_F = 1, and c = 0",
            gain_of_the_start_at,
            proof=(
                "The part in s^2 is -(s^2/2) tr(Q Gamma Q) with Q = Lambda^(1/2) P Lambda^(1/2), and tr(Q Gamma Q) <= "
                "|Gamma| tr(P Lambda P Lambda) <= |Gamma| |P| tr(P Lambda^2) <= |Gamma| tr(P Lambda^2). So delta >= s "
                "tr(P Lambda^2) (1 - s |Gamma|/2), which is positive already for s |Gamma| < 2: the sqrt(d) of the "
                "theorem is not needed."
            ),
            forms={"gain": gain},
        ),
        Step(
            "the constant as it is printed",
            "mu of ZFB Lemma 5.4 <= mu",
            "true for s |Gamma| sqrt(d) < 2",
            r"\mu_{\rm printed} = \frac{\sigma_0^2|\Lambda\Theta|_F^2 (2 - \sqrt d\,\sigma_0^2|\Gamma|)}"
            r"{\sqrt d\,|\Lambda|^2 \operatorname{tr}(\Gamma^{-1}\Lambda^{-1})\operatorname{tr}(\Lambda^{-1})} \le \mu",
            "each factor is a bound on one of ours",
            proof=(
                "c = 0, so v = r >= delta/|Lambda^2|_F, and |Lambda^2|_F <= sqrt(d) |Lambda|^2; delta >= s |Lambda "
                "Theta|_F^2 (2 - s |Gamma|)/2 >= s |Lambda Theta|_F^2 (2 - sqrt(d) s |Gamma|)/2; M = Gamma Lambda has "
                "m >= 1/tr(Gamma^-1 Lambda^-1), and l >= 1/tr(Lambda^-1). The product 2 m l v is then at least the "
                "printed constant."
            ),
        ),
    )


STATEMENT = Statement(
    identifier="pl-inequality",
    title="A Polyak-Lojasiewicz inequality along the flow without leak",
    latex=r"|\nabla L|^2 \ge \mu\,(L - \min L)",
    text=(
        "From every start without leak whose loss is below that of zero weights, or with u^2 > |U|_F^2, |grad L|^2 >= "
        "mu (L - min L) along the gradient flow with an explicit mu, for any Lambda, Psi, sigma^2 and N. For the start "
        "of ZFB Theorem 4.1 it is at least the constant of their Lemma 5.4, which therefore holds as it is printed."
    ),
    assumptions=(
        "x_i, x_q ~ N(0, Lambda), Lambda positive definite; w ~ N(0, Psi), Psi not zero, eps_i ~ N(0, sigma^2), "
        "independent",
        "the flow theta' = -dL/dtheta of all parameters starts at u12 = u21 = 0",
        "printed constant: Psi = I, sigma = 0, u = sigma_0 > 0, U = sigma_0 Theta Theta^T, |Theta Theta^T|_F = 1, "
        "sigma_0^2 |Gamma| sqrt(d) < 2",
    ),
    conventions=(
        "query column included in E E^T, 1/N over the context, L = 1/2 E(yhat - w.x_q)^2; |.| of a matrix is its "
        "largest singular value, |.|_F its Frobenius norm"
    ),
    sources=(
        Source("zhang2024trained", "Lemma 5.4 (their start, Psi = I, sigma = 0)"),
        Source("ours", "any law, any start, the constant"),
    ),
    uses=("gradient-flow", "conservation-law", "fixed-point"),
)
