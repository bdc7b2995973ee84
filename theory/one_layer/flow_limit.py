r"""Where the flow without leak ends, from any start: the global minimum, with its scale and its sign.

Main statements
    descent     at u = 0 the loss is L(0), that of zero weights, whatever U is; L falls, so u keeps its sign from any
                time on at which L < L(0). The same holds for c = u^2 - |U|_F^2 > 0, since u^2 >= c
    limit       from a start with L < L(0) or c > 0 the flow converges: by `pl_inequality` its path has finite length
                and L tends to min L. The limit has u U = A*, and c fixes its scale: u^2 = (c + sqrt(c^2 + 4
                |A*|_F^2))/2
    the rest    other starts have c <= 0 and L >= L(0): the statement holds from the time on at which L < L(0). The
                starts whose loss never falls that far are not excluded here; a flow that stays bounded among them ends
                where u = 0 and tr(U^T C Lambda) = 0, a saddle with one descending direction. They are refused
    start of [zhang2024trained, Theorem 4.1]      L < L(0) there, already for sigma_0^2 |Gamma| < 2
Assumptions
    Those of `PromptLaw`; u12 = u21 = 0 at the start; the flow of all parameters.
References
    [zhang2024trained, Theorem 4.1] for their start (balanced, c = 0), Psi = I, sigma = 0; the rest is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import Array, evaluate
from ..algebra.printing import to_latex
from ..algebra.trace_polynomials import TracePolynomial, trace
from ..symbols import U, u
from .assumptions import AssumptionError, FloatArray
from .decoupled_flow import DecoupledFlow, conserved, decoupled_flow, start_of
from .enumeration import InstanceKey
from .fixed_point import exact_fixed_point, stationary_system
from .gradient_flow import key_query_flow, loss_at, value_flow, without_leak
from .pl_inequality import enumerated_gain, gain_over_zero_weights, theorem_start_steps, value_from_the_product
from .population_loss import value_at
from .prompt_law import PromptLaw

# Starts that close to one another, relative to their size, have to end alike: far more than the flow's numerical error.
SAFETY = 1e-8


def conserved_without_leak() -> TracePolynomial:
    """c = u^2 - |U|_F^2."""
    return u * u - trace(U * U.T)


@dataclass(frozen=True)
class FlowLimit:
    """The end of the flow: u with its sign, and U (d, d)."""

    value_gain: float
    key_query: FloatArray


def flow_limit(
    covariance: Any,
    context_length: Any,
    value_gain_0: Any,
    key_query_0: Any,
    task_covariance: Any = None,
    noise_variance: Any = 0.0,
) -> FlowLimit:
    """The limit of gradient flow from u12 = u21 = 0, u = value_gain_0, U = key_query_0 (d, d).

    The law is given as for `fixed_point`. Raises AssumptionError, also for starts that flow to u = 0, and for those
    whose sign a change of SAFETY of their size would turn.

    >>> flow_limit([[1.0]], 1, -1.0, [[0.0]]).value_gain < 0
    True
    """
    flow = decoupled_flow(covariance, context_length, task_covariance, noise_variance)
    row = flow.coordinates(start_of(value_gain_0, key_query_0, len(flow.pull)))
    end = flow.state(flow.limit(conserved(row), sign_of_the_limit(flow, row)))
    return FlowLimit(end.u, end.U)


def sign_of_the_limit(flow: DecoupledFlow, row: FloatArray) -> float:
    """1 or -1: the sign of u in the end. Raises AssumptionError where the start flows to u = 0, or nearly does."""
    if row[0] == 0 and flow.pull_along(row) == 0:
        raise AssumptionError(
            "the start has u = 0 and tr(U^T C Lambda) = 0, where the gradient vanishes, so the flow stays there; move "
            "value_gain_0 away from 0"
        )
    if conserved(row) > 0 or flow.gain(row) > 0:
        return math.copysign(1.0, row[0])
    signs = {sign_below_zero_weights(flow, start) for start in (row, *nearby(flow, row))}
    if len(signs) != 1 or None in signs:
        raise AssumptionError(
            "the start flows to u = 0, or so near that a change of 1e-8 of it decides the sign of the limit; move "
            "value_gain_0 or key_query_0 by more"
        )
    (sign,) = signs
    assert sign is not None
    return sign


def nearby(flow: DecoupledFlow, row: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The start moved by SAFETY of its size along (1, B/|B|), the direction that leaves u = 0, and against it."""
    direction = np.concatenate([[1.0], flow.pull.reshape(-1) / np.linalg.norm(flow.pull)]) / math.sqrt(2)
    step = SAFETY * float(np.linalg.norm(row)) * direction
    return row + step, row - step


def sign_below_zero_weights(flow: DecoupledFlow, row: FloatArray) -> float | None:
    """The sign of u at the time at which the loss falls below L(0); None where it does not in a long time.

    L(0) - L = u (tr(U^T C Lambda) - u tr(U^T M U Lambda)/2), so that from there on u has the sign of the first trace;
    at that time itself u may be 0.
    """
    end, reached = flow.integrated(row, long_time(flow, row), lambda at: flow.gain(at) > 0)
    return None if reached else math.copysign(1.0, flow.pull_along(end))


def long_time(flow: DecoupledFlow, row: FloatArray) -> float:
    """A hundred times 1/rate, rate = sqrt(h^2/4 + |B|^2) - h/2 with h = tr(U^T M U Lambda): how fast u = 0 is left.

    A displacement from u = 0 grows as e^(rate t), from SAFETY to 1 in 19/rate.
    """
    h = float(np.sum(flow.curvature.reshape(-1) * row[1:] ** 2))
    b = float(np.linalg.norm(flow.pull))
    return 100 * (math.hypot(h / 2, b) + h / 2) / b**2


# The instances: those of gradient-flow


def velocity_at_the_limit(key: InstanceKey) -> tuple[Any, Any]:
    """u' and U' at u, U = A*/u for a rational u; and u^4 - c u^2 - |A*|_F^2 there: all of them are zero."""
    instance, law = without_leak(key), PromptLaw()
    star = exact_fixed_point(stationary_system(law), instance)
    value = Fraction(instance.u, 2)
    values = {**instance.values(), "u": value, "U": star / value}
    moved = [evaluate(value_flow(law), values), *evaluate(key_query_flow(law), values).reshape(-1)]
    c = evaluate(conserved_without_leak(), values)
    return [*moved, value**4 - c * value**2 - np.sum(star**2)], [0] * (len(moved) + 1)


def change_of_c(key: InstanceKey) -> tuple[Any, Any]:
    """dc/dt = 2 u u' - 2 tr(U^T U') of the flow without leak, and zero."""
    instance, law = without_leak(key), PromptLaw()
    value, key_query = value_at(value_flow(law), instance), value_at(key_query_flow(law), instance)
    return 2 * instance.u * value - 2 * np.trace(instance.U.T @ key_query), 0


def loss_at_no_value(key: InstanceKey) -> tuple[Any, Any]:
    """The enumerated loss at u = 0 and any U, and at zero weights."""
    instance = without_leak(key)
    return loss_at(instance, 0, instance.U), loss_at(instance, 0, 0 * instance.U)


def mixed_differences(key: InstanceKey) -> tuple[Any, Any]:
    """tr(V^T d^2 L/du dU) at u = 0 by enumeration, for V = I and the instance's U transposed; and -tr(V^T C Lambda).

    The part of the loss that is odd in u is bilinear in u and U: the mixed difference over (+-1, +-V) is exact.
    """
    instance = without_leak(key)
    C = value_at(stationary_system(PromptLaw()).cross_moment, instance)
    pull = C @ instance.values()["Lambda"]
    directions: list[Array] = [np.eye(instance.dimension, dtype=int).astype(object), instance.U.T]
    found = []
    for V in directions:
        corners = [s * t * loss_at(instance, s, instance.U + t * V) for s in (1, -1) for t in (1, -1)]
        found.append(sum(corners) / 4)
    return found, [-np.trace(V.T @ pull) for V in directions]


@cache
def derivation() -> Derivation:
    """From the loss at u = 0 to the limit of the flow."""
    steps = (*descent_steps(), *limit_steps(), theorem_start_steps()[0])
    system = stationary_system(PromptLaw())
    results = {"conserved": conserved_without_leak(), "left": system.left, "right": system.right}
    return Derivation(STATEMENT, steps, results, lambda seed: (seed, False))


def descent_steps() -> tuple[Step, ...]:
    """Why u keeps its sign, and what is conserved."""
    return (
        Step(
            "the loss at u = 0",
            "L(0, 0, U, 0)",
            "L(0), the loss of zero weights",
            r"L(0, 0, U, 0) = L(0)",
            "without leak the prediction is a multiple of u; so u cannot vanish from a time on at which L < L(0)",
            loss_at_no_value,
        ),
        Step(
            "gain over zero weights",
            "L(0) - L",
            repr(gain_over_zero_weights()),
            rf"L(0) - L = {to_latex(gain_over_zero_weights())}",
            "u tr(U^T C Lambda) less a square: where L < L(0), u and tr(U^T C Lambda) have one sign",
            enumerated_gain,
            forms={"gain": gain_over_zero_weights()},
        ),
        Step(
            "the conserved quantity without leak",
            "d/dt c, c = u^2 - |U|_F^2",
            "0",
            rf"\frac{{d}}{{dt}}\bigl({to_latex(conserved_without_leak())}\bigr) = 0",
            "conservation-law at u12 = u21 = 0",
            change_of_c,
            forms={"conserved": conserved_without_leak()},
        ),
        Step(
            "u from A and c",
            "u^4",
            "c u^2 + |A|_F^2",
            r"u^4 = c\,u^2 + |A|_F^2",
            "A = u U; so u^2 = (c + sqrt(c^2 + 4 |A|_F^2))/2 >= c, and u keeps its sign for c > 0",
            value_from_the_product,
        ),
    )


def limit_steps() -> tuple[Step, ...]:
    """Convergence, the limit, and the starts that are left out."""
    system = stationary_system(PromptLaw())
    return (
        Step(
            "convergence",
            "the length of the path from a start with L < L(0) or c > 0",
            "at most 2 sqrt((L - min L)/mu), and L - min L <= e^(-mu t) (L(start) - min L)",
            r"\int |\dot\theta|\,dt \le 2\sqrt{(L - \min L)/\mu}",
            "the inequality of pl-inequality with its mu > 0, in words",
            proof=(
                "mu > 0 there. The path has finite length, so the flow exists for all times and converges; L tends to "
                "min L, so A tends to A*, the only A without leak at which L = min L (M and Lambda are definite)."
            ),
        ),
        Step(
            "the limit",
            "(u', U') at u U = A*, and u^4 - c u^2 - |A*|_F^2",
            "0",
            r"uU = A^*,\quad u^2 = \tfrac12\bigl(c + \sqrt{c^2 + 4|A^*|_F^2}\bigr)",
            "c is that of the start; the sign of u is its sign at any time at which L < L(0), or at the start for c > "
            "0",
            velocity_at_the_limit,
            forms={"left": system.left, "right": system.right},
        ),
        Step(
            "second derivatives at u = 0",
            "d^2 L/du dU",
            "-C Lambda",
            r"\partial_u\partial_U L\,\big|_{u=0} = -C\Lambda",
            "the gradient at u = 0 is (-tr(U^T C Lambda), 0)",
            mixed_differences,
            proof=(
                "The other critical points without leak have u = 0 and tr(U^T C Lambda) = 0: for u != 0 dL/dU = 0 "
                "gives A = A*. The second derivatives there are [[h, -b^T], [-b, 0]] with h = tr(U^T M U Lambda) and b "
                "= C Lambda, not zero (Psi is not): eigenvalues h/2 +- sqrt(h^2/4 + |b|^2) and zeros, so one direction "
                "goes down. That almost every start leaves these saddles is not proved here; starts that do not are "
                "refused."
            ),
            forms={"C": system.cross_moment},
        ),
    )


STATEMENT = Statement(
    identifier="gradient-flow-limit",
    title="The limit of gradient flow without leak, from any start below the loss of zero weights",
    latex=r"u U = A^*,\quad u^2 = \tfrac12\bigl(c + \sqrt{c^2 + 4|A^*|_F^2}\bigr),\quad c = u_0^2 - |U_0|_F^2",
    text=(
        "From every start without leak whose loss is below that of zero weights, or with u^2 > |U|_F^2, balanced or "
        "not, the gradient flow of all parameters converges to the global minimum u U = A* with u^2 = (c + sqrt(c^2 + "
        "4 |A*|_F^2))/2, c = u_0^2 - |U_0|_F^2, and the sign of u_0. Any other start reaches it from the time on at "
        "which its loss falls below that of zero weights, with the sign that u has then. The start of ZFB Theorem 4.1 "
        "is among the first."
    ),
    assumptions=(
        "x_i, x_q ~ N(0, Lambda), Lambda positive definite; w ~ N(0, Psi), Psi not zero, eps_i ~ N(0, sigma^2), "
        "independent",
        "the flow theta' = -dL/dtheta of all parameters starts at u12 = u21 = 0",
        "the start does not flow to u = 0 (no start with L < L(0) or u^2 > |U|_F^2 does)",
        "theorem's start: Psi = I, sigma = 0, u = sigma_0 > 0, U = sigma_0 P, P = Theta Theta^T, |P|_F = 1, Lambda "
        "Theta not zero, sigma_0^2 |Gamma| < 2",
    ),
    conventions=(
        "query column included in E E^T, 1/N over the context, L = 1/2 E(yhat - w.x_q)^2; L(0) = tr(Lambda Psi)/2"
    ),
    sources=(
        Source("zhang2024trained", "Theorem 4.1 (their start, Psi = I, sigma = 0)"),
        Source("ours", "any start, any law, the scale and the sign"),
    ),
    uses=("gradient-flow", "conservation-law", "pl-inequality", "fixed-point"),
)
