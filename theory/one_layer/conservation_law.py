r"""The conserved quantity of the layer's gradient flow on all parameters, and what training does to it.

With p = (u12, u), the last row of W_PV, and K = (U; u21^T), the first d columns of W_KQ:
Main statements
    symmetry       the prediction is bilinear in p and K, so L(s p, K) = L(p, s K) and <p, dL/dp> = <K, dL/dK>: for
                   every law of the prompt and at all weights, and for the loss of every single prompt
    conserved      Q = |u12|^2 + u^2 - |U|_F^2 - |u21|^2 does not change under theta' = -dL/dtheta
    steps          a step theta - h g of gradient descent, g the gradient of any batch, changes Q by exactly
                   h^2 (|g_p|^2 - |g_K|^2): there is no term of first order
    weight decay   under theta' = -dL/dtheta - wd theta it is Q(t) = e^{-2 wd t} Q(0): decay balances the weights
Assumptions
    None on the law of the prompt, beyond the means that L takes. Methods that scale entries one by one (Adam) break the
    symmetry: nothing is conserved, and docs/training_dynamics.md says by how much.
References
    Ours; without leak it is what [zhang2024trained, Lemma 5.2 and after] use as |U|_F^2 = u^2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import evaluate
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, matrix, scalar, trace, vector
from ..symbols import U12, U21, U, u
from .any_start import enumerated_loss
from .assumptions import check_context_length, check_covariance, check_non_negative, check_shape, check_task_covariance
from .enumeration import Instance, InstanceKey, layer_prediction, prompt, random_instance
from .gradient_flow import with_weights
from .population_loss import WEIGHTS, general_loss, population_loss, value_at, weight_gradients
from .prompt_law import PromptLaw

# The gradients of any batch, as letters of their own, the learning rate and the decay.
G_U12, G_U, G_UU, G_U21 = vector("g_u12"), scalar("g_u"), matrix("g_U"), vector("g_u21")
RATE = scalar("h")
GRADIENTS = {"u12": G_U12, "u": G_U, "U": G_UU, "u21": G_U21}


def squares(
    u12: TracePolynomial, value: TracePolynomial, key_query: TracePolynomial, u21: TracePolynomial
) -> TracePolynomial:
    """|u12|^2 + u^2 - |U|_F^2 - |u21|^2 of any letters."""
    return u12.T * u12 + value * value - trace(key_query * key_query.T) - u21.T * u21


def conserved() -> TracePolynomial:
    """Q."""
    return squares(U12, u, U, U21)


def drift() -> TracePolynomial:
    """What a step at the rate h does to Q: the part of degree two in h of Q(theta - h g)."""
    return RATE * RATE * squares(G_U12, G_U, G_UU, G_U21)


def inner_product(left: dict[str, TracePolynomial], right: dict[str, TracePolynomial]) -> TracePolynomial:
    """<left, right> over u12, u, U and u21."""
    vectors = sum((left[name].T * right[name] for name in ("u12", "u21")), start=left["u"] * right["u"])
    return vectors + trace(left["U"].T * right["U"])


def rate_of_change() -> TracePolynomial:
    """dQ/dt along theta' = -g: -<dQ/dtheta, g> in the letters of the gradients."""
    return -inner_product(weight_gradients(conserved()), GRADIENTS)


@dataclass(frozen=True)
class Conserved:
    """Q at given weights, after one step of gradient descent on L, and at a time under the flow with weight decay."""

    conserved: float
    after_one_step: float
    at_time: float


def conserved_quantity(
    covariance: Any,
    context_length: Any,
    value_weights: Any,
    key_query_weights: Any,
    task_covariance: Any = None,
    noise_variance: Any = 0.0,
    learning_rate: Any = 0.0,
    weight_decay: Any = 0.0,
    time: Any = 0.0,
) -> Conserved:
    """Q at weights (d+1, d+1) each, what one full-batch step at this rate makes of it, and Q(time) under decay.

    Raises AssumptionError.

    >>> conserved_quantity([[1.0]], 1, [[0, 0], [0, 2]], [[1, 0], [0, 0]], weight_decay=0.0).conserved
    3.0
    """
    Lambda = check_covariance(covariance)
    size = (len(Lambda) + 1,) * 2
    weights = (
        check_shape(value_weights, size, "value_weights"),
        check_shape(key_query_weights, size, "key_query_weights"),
    )
    loss = general_loss().for_task(
        check_task_covariance(task_covariance, len(Lambda)), check_non_negative(noise_variance, "noise_variance")
    )
    slopes = loss.gradients(Lambda, check_context_length(context_length), weights)
    rate, decay = check_non_negative(learning_rate, "learning_rate"), check_non_negative(weight_decay, "weight_decay")
    now = float(evaluate(conserved(), letters_of_weights(weights)))
    step = float(evaluate(drift(), {**letters_of_gradients(slopes), "h": rate}))
    return Conserved(now, now + step, float(now * np.exp(-2 * decay * check_non_negative(time, "time"))))


def letters_of_weights(weights: tuple[Any, Any]) -> dict[str, Any]:
    """Values of the letters of Q at weights (..., d+1, d+1)."""
    W_PV, W_KQ = weights
    return {
        "u12": W_PV[..., -1, :-1, None],
        "u": W_PV[..., -1, -1],
        "U": W_KQ[..., :-1, :-1],
        "u21": W_KQ[..., -1, :-1, None],
    }


def letters_of_gradients(slopes: tuple[Any, Any]) -> dict[str, Any]:
    """Values of the letters of the drift at gradients (..., d+1, d+1)."""
    return {f"g_{name}": value for name, value in letters_of_weights(slopes).items()}


# The instances: those of population-loss


def scaled_losses(key: InstanceKey) -> tuple[Any, Any]:
    """The enumerated loss at (2 p, K) and at (p, 2 K)."""
    given = random_instance(key)
    value = with_weights(given, 2 * given.u12, 2 * given.u, given.U, given.u21)
    key_query = with_weights(given, given.u12, given.u, 2 * given.U, 2 * given.u21)
    return enumerated_loss(value), enumerated_loss(key_query)


def scaled_predictions(key: InstanceKey) -> tuple[Any, Any]:
    """The literal layer at (2 p, K) and at (p, 2 K), as polynomials in the prompt's components."""
    given = random_instance(key)
    E = prompt(given).embedding
    value = with_weights(given, 2 * given.u12, 2 * given.u, given.U, given.u21)
    key_query = with_weights(given, given.u12, given.u, 2 * given.U, 2 * given.u21)
    return layer_prediction(value, E), layer_prediction(key_query, E)


def enumerated_pulls(key: InstanceKey) -> tuple[Any, Any]:
    """d/ds L(s p, K) and d/ds L(p, s K) at s = 1 by enumeration.

    Both are quadratic in s: half of the central difference over 0 and 2 is the derivative.
    """
    given = random_instance(key)
    value, key_query = (
        [with_weights(given, s * given.u12, s * given.u, given.U, given.u21) for s in (2, 0)],
        [with_weights(given, given.u12, given.u, s * given.U, s * given.u21) for s in (2, 0)],
    )
    of_value, of_key_query = ((enumerated_loss(up) - enumerated_loss(down)) / 2 for up, down in (value, key_query))
    return of_value, of_key_query


def quadratic_at(values: Mapping[str, Any]) -> Any:
    """Q at values of the weights."""
    return evaluate(conserved(), dict(values))


def other_weights(instance: Instance) -> dict[str, Any]:
    """Rational stand-ins for a gradient: the instance's weights, mixed."""
    return {
        "g_u12": instance.u21 + 1, "g_u": Fraction(instance.u) - 5, "g_U": instance.U.T - 2, "g_u21": instance.u12 * 3,
    }  # fmt: skip


def step_change(key: InstanceKey) -> tuple[Any, Any]:
    """Q after a step at h = 1/7 along any gradient, less Q, plus 2 h (<p, g_p> - <K, g_K>); and the drift."""
    instance, h = random_instance(key), Fraction(1, 7)
    values, moved = instance.values(), other_weights(instance)
    stepped = {name: values[name] - h * moved[f"g_{name}"] for name in WEIGHTS}
    first = -h * evaluate(rate_of_change(), {**values, **moved})
    change = quadratic_at(stepped) - quadratic_at({name: values[name] for name in WEIGHTS})
    return change + first, evaluate(drift(), {**moved, "h": h})


def change_of_the_flow(key: InstanceKey) -> tuple[Any, Any]:
    """dQ/dt along -g at the derived gradients of L, and zero."""
    instance = random_instance(key)
    slopes = {
        f"g_{name}": value_at(slope, instance) for name, slope in weight_gradients(population_loss(PromptLaw())).items()
    }
    return evaluate(rate_of_change(), {**instance.values(), **slopes}), 0


def decay_of_the_flow(key: InstanceKey) -> tuple[Any, Any]:
    """dQ/dt along -wd theta at wd = 1/3, and -2 wd Q."""
    values, decay = random_instance(key).values(), Fraction(1, 3)
    decayed = {f"g_{name}": decay * values[name] for name in WEIGHTS}
    return evaluate(rate_of_change(), {**values, **decayed}), -2 * decay * quadratic_at(values)


@cache
def derivation() -> Derivation:
    """From the bilinear prediction to the conserved quantity, its drift and its decay."""
    Q, change = conserved(), drift()
    results = {"conserved": Q, "drift": change}
    statement = replace(STATEMENT, latex=rf"\frac{{d}}{{dt}}\bigl({to_latex(Q)}\bigr) = 0")
    return Derivation(statement, (*symmetry_steps(), *change_steps()), results, lambda seed: (seed, False))


def symmetry_steps() -> tuple[Step, ...]:
    """The scale symmetry of prediction and loss, and the identity of the pulls."""
    return (
        Step(
            "the prediction is bilinear",
            "yhat at (s p, K)",
            "yhat at (p, s K)",
            r"\hat y(s p, K) = \hat y(p, s K)",
            "yhat = E[d, N] + p^T (E E^T/N) K x_q, and E[d, N] = 0: for every prompt, whatever its law",
            scaled_predictions,
        ),
        Step(
            "scale symmetry of the loss",
            "L(s p, K)",
            "L(p, s K)",
            r"L(s p, K) = L(p, s K)",
            "the loss of every prompt, and so of every batch and every law, depends on p and K through yhat alone",
            scaled_losses,
        ),
        Step(
            "the pulls agree",
            "<p, dL/dp>",
            "<K, dL/dK>",
            r"\langle p, \partial_p L\rangle = \langle K, \partial_K L\rangle",
            "the derivative of the scale symmetry at s = 1",
            enumerated_pulls,
        ),
    )


def change_steps() -> tuple[Step, ...]:
    """What the flow, a step, and weight decay do to Q."""
    Q, change = conserved(), drift()
    return (
        Step(
            "conserved under the flow",
            "d/dt Q along theta' = -dL/dtheta",
            f"0 for Q = {Q!r}",
            rf"\frac{{d}}{{dt}} Q = 0,\; Q = {to_latex(Q)}",
            "dQ/dt = -2 <p, dL/dp> + 2 <K, dL/dK>, and the pulls agree",
            change_of_the_flow,
            forms={"conserved": Q},
        ),
        Step(
            "a step of gradient descent",
            "Q(theta - h g) - Q(theta) for the gradient g of any batch",
            to_text(change),
            rf"Q(\theta - h g) - Q(\theta) = {latex_of_drift()}",
            "Q is quadratic; the term of first order is -2 h (<p, g_p> - <K, g_K>), and the pulls agree for every "
            "batch",
            step_change,
            forms={"drift": change},
        ),
        Step(
            "weight decay",
            "d/dt Q along theta' = -dL/dtheta - wd theta",
            "-2 wd Q, so that Q(t) = e^{-2 wd t} Q(0)",
            r"\dot Q = -2\,\mathrm{wd}\, Q,\quad Q(t) = e^{-2\,\mathrm{wd}\, t} Q(0)",
            "Q is homogeneous of degree two",
            decay_of_the_flow,
        ),
    )


def latex_of_drift() -> str:
    return r"h^2\bigl(|g_{u_{12}}|^2 + g_u^2 - |g_U|_F^2 - |g_{u_{21}}|^2\bigr)"


STATEMENT = Statement(
    identifier="conservation-law",
    title="The conserved quantity of gradient flow on all parameters",
    latex="",  # the derived quantity, filled in by `derivation`
    text=(
        "Q = |u12|^2 + u^2 - |U|_F^2 - |u21|^2 is conserved by the gradient flow of all parameters, for every law of "
        "the prompt. A step of gradient descent at the rate h, on any batch, changes it by h^2 (|g_p|^2 - |g_K|^2) "
        "exactly; under weight decay wd it falls as e^{-2 wd t}."
    ),
    assumptions=(
        "any law of the prompt for which the loss has a mean; checked and certified for x ~ N(0, Lambda), w ~ N(0, "
        "Psi), eps ~ N(0, sigma^2)",
        "the flow theta' = -dL/dtheta, or steps of plain gradient descent, on all of u12, u, U and u21",
    ),
    conventions=(
        "query column included in E E^T, 1/N over the context, L = 1/2 E(yhat - w.x_q)^2; another factor before L "
        "changes the time, not Q; separate key and query matrices have further conserved quantities, which are not "
        "stated here"
    ),
    sources=(Source("ours", "all parameters, steps and weight decay"),),
    uses=("population-loss",),
)
