r"""Fixed points of H heads of linear attention with merged key and query: a global manifold, and one with v = 0.

The layer predicts sum_i v_i s^T U_i x_q, with s = (1/N) sum y_j x_j: one head of linear attention each, u12 = u21 = 0.
Its loss depends on A = sum_i v_i U_i alone; with M = E s s^T, C = E s w^T = Lambda Psi:
Main statements
    slope           dL/dA = (M A - C) Lambda
    heads           dL/dU_i = v_i (M A - C) Lambda  and  dL/dv_i = <U_i, (M A - C) Lambda>
    fixed points    either A = A* = M^-1 C, where L is least; or all v_i = 0 and <U_i, C Lambda> = 0 for every i, where
                    L = L(0). The second set has dimension H (d^2 - 1): a continuum for d > 1, the point 0 for d = 1
    saddles         every point of the second set is a saddle: along v_i and U_i -> U_i + t C Lambda the mixed second
                    derivative is -|C Lambda|^2, and that in U_i alone is 0
Assumptions
    Those of `PromptLaw`; Psi C Lambda does not vanish. Gradient flow, at any time scale.
Audited
    [zhang2025training, Eq. 9] has two manifolds, {v = 0, U = 0} and {A = A*}; its "fixed point at zero" is one point of
    the continuum. From the small starts of that paper's analysis the flow passes near zero, and what follows stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.formulas import Formula, Values
from ..algebra.matrix_derivatives import derivative, gradient
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, matrix, scalar, substitute
from ..one_layer import formulas
from ..one_layer.assumptions import AssumptionError, check_shape, real_array
from ..one_layer.enumeration import InstanceKey
from ..one_layer.fixed_point import enumerated_loss, fixed_point, instance_of, stationary_system
from ..one_layer.population_loss import reduced_loss
from ..one_layer.prompt_law import PromptLaw
from ..symbols import NEXT_LENGTH, A

FIRST, SECOND = matrix("U1"), matrix("U2")
v1, v2 = scalar("v1"), scalar("v2")


@cache
def slope() -> TracePolynomial:
    """dL/dA of the loss without leak."""
    return gradient(reduced_loss(PromptLaw()), A)


@cache
def loss_of_two_heads() -> TracePolynomial:
    """L at A = v1 U1 + v2 U2."""
    return substitute(reduced_loss(PromptLaw()), {"A": v1 * FIRST + v2 * SECOND})


def head_slopes() -> tuple[TracePolynomial, TracePolynomial]:
    """dL/dU1 and dL/dv1."""
    return gradient(loss_of_two_heads(), FIRST), derivative(loss_of_two_heads(), "v1")


# Instances


def heads_at(key: InstanceKey) -> dict[str, Any]:
    """Rational letters of a law with two heads."""
    instance, other = instance_of(key), instance_of((key[0] + 3, False))
    return {**instance.values(), "v1": Fraction(3, 2), "v2": Fraction(-2), "U1": instance.U, "U2": other.U}


def loss_at(key: InstanceKey, heads: list[tuple[Any, Any]]) -> Fraction:
    """The loss of heads (v_i, U_i), every prompt in components."""
    return enumerated_loss(key, sum(v * U for v, U in heads))


def slopes_by_differences(key: InstanceKey, heads: list[tuple[Any, Any]]) -> Array:
    """(dL/dv_1 .. dL/dv_H, dL/dU_1 .. dL/dU_H), by central differences: L is quadratic in each entry."""
    found = []
    for i, (v, U) in enumerate(heads):
        found.append(half_difference(key, heads, i, (1, 0 * U)))
        found += [half_difference(key, heads, i, (0, unit)) for unit in units(len(U))]
        del v
    return np.array(found, dtype=object)


def half_difference(key: InstanceKey, heads: list[tuple[Any, Any]], i: int, step: tuple[Any, Any]) -> Fraction:
    ends = []
    for sign in (1, -1):
        moved = list(heads)
        moved[i] = (heads[i][0] + sign * step[0], heads[i][1] + sign * step[1])
        ends.append(loss_at(key, moved))
    return (ends[0] - ends[1]) / 2


def units(d: int) -> list[Array]:
    """The d^2 matrices with a single one, row by row."""
    found = []
    for place in range(d * d):
        flat = np.zeros(d * d, dtype=object)
        flat[place] = 1
        found.append(flat.reshape(d, d))
    return found


def derived_slopes(values: Mapping[str, Any]) -> Array:
    """The same from the forms."""
    of_U, of_v = head_slopes()
    exchanged = {**values, "v1": values["v2"], "v2": values["v1"], "U1": values["U2"], "U2": values["U1"]}
    found: list[Any] = []
    for letters in (values, exchanged):
        found.append(evaluate(of_v, letters))
        found += list(evaluate(of_U, letters).reshape(-1))
    return np.array(found, dtype=object)


def without_slope(values: Mapping[str, Any], U: Array) -> Array:
    """U minus its part along C Lambda: then <U, C Lambda> = 0."""
    pull = -evaluate(slope(), {**values, "A": 0 * U})
    found: Array = U - pull * (np.sum(U * pull) / np.sum(pull * pull))
    return found


def minimiser(values: Mapping[str, Any]) -> Array:
    """A* at rational letters."""
    system = stationary_system(PromptLaw())
    star: Array = exact_inverse(evaluate(system.left, values)) @ evaluate(system.right, values)
    return star


def two_sets(key: InstanceKey) -> list[Array]:
    """Slopes by differences at a point of each set: v = 0 with U_i on the continuum, and heads that add up to A*."""
    values = heads_at(key)
    quiet = [(Fraction(0), without_slope(values, values[name])) for name in ("U1", "U2")]
    rest = minimiser(values) - values["v1"] * values["U1"]
    optimal = [(values["v1"], values["U1"]), (values["v2"], rest / values["v2"])]
    return [slopes_by_differences(key, heads) for heads in (quiet, optimal)]


def mixed_derivative(key: InstanceKey) -> tuple[Any, Any]:
    """d^2 L/dv_1 dt at v = 0 along U_1 + t C Lambda, by differences, and -|C Lambda|^2."""
    values = heads_at(key)
    pull = -evaluate(slope(), {**values, "A": 0 * values["U"]})
    start = without_slope(values, values["U1"])
    ends = [half_difference(key, [(Fraction(0), start + sign * pull)], 0, (1, 0 * start)) for sign in (1, -1)]
    return (ends[0] - ends[1]) / 2, -np.sum(pull * pull)


@cache
def derivation() -> Derivation:
    """Slopes, the two sets, and what kind of points they are."""
    of_U, of_v = head_slopes()
    system = stationary_system(PromptLaw())
    steps = (
        equality(
            "slope in A",
            ("dL/dA", r"\frac{\partial L}{\partial A}"),
            slope(),
            "the loss without leak is quadratic in A",
            lambda key: (
                slopes_by_differences(key, [(Fraction(1), heads_at(key)["U1"])])[1:],
                evaluate(slope(), {**heads_at(key), "A": heads_at(key)["U1"]}).reshape(-1),
            ),
        ),
        Step(
            "slopes in a head",
            "dL/dU1 and dL/dv1 of two heads",
            f"{to_text(of_U)}; {to_text(of_v)}",
            rf"\frac{{\partial L}}{{\partial U_1}} = {to_latex(of_U)}",
            "A = v1 U1 + v2 U2; the other head by exchange, further heads as the second",
            lambda key: (
                slopes_by_differences(
                    key, [(heads_at(key)[v], heads_at(key)[U]) for v, U in (("v1", "U1"), ("v2", "U2"))]
                ),
                derived_slopes(heads_at(key)),
            ),
            forms={"U1": of_U, "v1": of_v},
        ),
        Step(
            "fixed points",
            "{all slopes vanish}",
            "{A = A*} and {v = 0, <U_i, C Lambda> = 0 for all i}, with left A* = right",
            (
                r"\{\textstyle\sum_i v_i U_i = A^*\} \,\cup\, \{v = 0,\ \langle U_i, \Lambda\Psi\Lambda\rangle = 0\ "
                r"\forall i\}"
            ),
            (
                "v_i (M A - C) Lambda = 0 for all i: all v_i = 0, or M A = C; where v = 0 the slope in v_i is -<U_i, C "
                "Lambda>"
            ),
            lambda key: (two_sets(key), [0 * one for one in two_sets(key)]),
            proof=(
                "M and Lambda are invertible, so that M A = C at A* only. L depends on A alone: it is L(0) where v = 0."
            ),
            forms={"left": system.left, "right": system.right},
        ),
        Step(
            "saddles",
            "d^2 L/dv_1 dt at v = 0, along U_1 + t C Lambda",
            "-|C Lambda|^2, and d^2 L/dt^2 = 0",
            r"\frac{\partial^2 L}{\partial v_1\,\partial t} = -\lVert \Lambda\Psi\Lambda \rVert_F^2 < 0,\quad "
            r"\frac{\partial^2 L}{\partial t^2} = 0",
            "a symmetric matrix with a zero on its diagonal and another entry beside it has a negative eigenvalue",
            mixed_derivative,
            forms={"pull": -substitute(slope(), {"A": 0 * A})},
        ),
    )
    results = {"slope": slope(), "U1": of_U, "v1": of_v}
    return Derivation(replace(STATEMENT, latex=steps[2].latex), steps, results, lambda seed: (seed, False))


STATEMENT = Statement(
    identifier="merged-heads-fixed-points",
    title="Merged heads: all fixed points, a global manifold and a continuum of saddles with v = 0",
    latex="",  # that of the step `fixed points`, filled in by `derivation`
    text=(
        "Of H heads with merged key and query and u12 = u21 = 0 the fixed points of gradient flow are those where the "
        "heads add up to the global minimum, and those with all v_i = 0 and every U_i orthogonal to Lambda Psi "
        "Lambda: for d > 1 a continuum of saddles of dimension H (d^2 - 1), all with the loss of the zero layer."
    ),
    assumptions=(
        "x_i, x_q ~ N(0, Lambda), w ~ N(0, Psi), eps ~ N(0, sigma^2); Lambda positive definite, Psi not zero",
        "yhat = sum_i v_i s^T U_i x_q; loss 1/2 E (yhat - w.x_q)^2 or any multiple of it",
    ),
    conventions="query column has label 0; with u12, u21 as parameters there are more critical points",
    sources=(Source("zhang2025training", "Eqs. 8-9 (loss landscape: two fixed points)"), Source("ours", "")),
    uses=("fixed-point",),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """All slopes of two heads by M and C: quantities of the letters v1, v2, U1, U2 and of the law."""
    system = stationary_system(PromptLaw())
    parts = {"M": system.second_moment, "C": system.cross_moment}
    vocabulary = Vocabulary({"N": (NEXT_LENGTH, "d")}, formulas.COVARIANCES)
    return Formula(parts, slopes_by_parts, vocabulary)


def slopes_by_parts(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """(dL/dv_i, dL/dU_i) head by head."""
    heads = [(values["v1"], values["U1"]), (values["v2"], values["U2"])]
    A_at = heads[0][0] * heads[0][1] + heads[1][0] * heads[1][1]
    remains = (evaluate(parts["M"], values) @ A_at - evaluate(parts["C"], values)) @ values["Lambda"]
    found: list[Any] = []
    for v, U_at in heads:
        found.append(np.sum(U_at * remains))
        found += list((v * remains).reshape(-1))
    return np.array(found)


def points(name: str) -> list[dict[str, Any]]:
    """Rational laws with two heads."""
    import random

    found = []
    for k, law in enumerate(formulas.rational_points(name)):
        draw, d = random.Random(f"{name}/heads/{k}"), len(law["Lambda"])
        numbers = {one: formulas.fraction(draw) for one in ("v1", "v2")}
        found.append({**law, **numbers, **{one: formulas.fractions(draw, d, d) for one in ("U1", "U2")}})
    return found


# The printed statement

U_AT = np.array([[1, 0], [0, -1]], dtype=object)


def counterexample() -> dict[str, Any]:
    """Plain numbers: one head in two dimensions."""
    slopes, _ = at_counterexample()
    return {
        "d": 2, "H": 1, "N": 1, "Lambda": "I", "v": "0", "U": U_AT.tolist(),
        "dL/dv": str(slopes[0]), "dL/dU": [[int(value) for value in row] for row in slopes[1:].reshape(2, 2)],
    }  # fmt: skip


def values_at_counterexample() -> dict[str, Any]:
    eye = np.array([[Fraction(int(i == j)) for j in range(2)] for i in range(2)], dtype=object)
    return {
        "Lambda": eye, "Psi": eye, "sigma2": Fraction(0), "N": Fraction(1), "v1": Fraction(0), "v2": Fraction(0),
        "U1": U_AT, "U2": 0 * U_AT,
    }  # fmt: skip


def at_counterexample() -> tuple[Array, Fraction]:
    """All slopes of the head there, and |A*|^2."""
    values = values_at_counterexample()
    star = minimiser(values)
    return derived_slopes(values)[:5], np.sum(star * star)


def distance_to_printed(U: Any) -> float:
    """How far the head (0, U), with <U, A*> = 0, lies from {v = 0, U = 0} and from {v U = A*}: the smaller, |U|.

    To the second it is the least sqrt(v^2 + |U - A*/v|^2) = sqrt(v^2 + |U|^2 + |A*|^2/v^2), which is more than |U|.
    """
    return float(np.linalg.norm(np.asarray(U, dtype=float)))


@cache
def refutation() -> Derivation:
    """A point without slope outside the printed sets."""
    of_U, of_v = head_slopes()
    slopes, size = at_counterexample()
    steps = (
        Step(
            "slopes in a head",
            "dL/dU1 and dL/dv1",
            f"{to_text(of_U)}; {to_text(of_v)}",
            rf"\frac{{\partial L}}{{\partial U_1}} = {to_latex(of_U)}",
            "as in merged-heads-fixed-points",
            lambda key: (slopes_by_differences(key, head_list(key)), derived_slopes(heads_at(key))),
            forms={"U1": of_U, "v1": of_v},
        ),
        Step(
            "counterexample",
            "slopes at d = 2, H = 1, N = 1, Lambda = I, v = 0, U = diag(1, -1)",
            "all 0; U is not 0, and v U = 0 is not A*",
            r"v = 0,\ U = \operatorname{diag}(1, -1):\quad \frac{\partial L}{\partial v} = -\operatorname{tr} U = 0,\ "
            r"\frac{\partial L}{\partial U} = 0",
            "<U, Lambda^2> = tr U = 0",
            lambda key: (
                [*slopes, int(np.sum(U_AT * U_AT) > 0), int(size > 0)],
                [*(0 * slopes), 1, 1],
            ),
        ),
    )
    return Derivation(PRINTED, steps, {}, lambda seed: (seed, False))


def head_list(key: InstanceKey) -> list[tuple[Any, Any]]:
    values = heads_at(key)
    return [(values["v1"], values["U1"]), (values["v2"], values["U2"])]


PRINTED = Statement(
    identifier="audit-zsls-fixed-points",
    title="As printed: merged heads have two manifolds of fixed points, zero and the global minimum",
    latex=r"\mathcal{M}_0 = \{v = 0,\ U = 0\},\quad \mathcal{M}_* = \{\textstyle\sum_i v_i U_i = A^*\}:\quad "
    r"\{\text{fixed points}\} \overset{?}{=} \mathcal{M}_0 \cup \mathcal{M}_*",
    text=(
        "There are two manifolds of fixed points: the unstable fixed point at zero, M_0 = {v = 0, U = 0}, and a "
        "manifold of stable fixed points at the global minimum, M_* = {sum_i v_i U_i = A*}."
    ),
    assumptions=("H heads with merged key and query, u12 = u21 = 0; gradient flow",),
    conventions="as printed, with v for the second layer w_2 and U_i for the rows of the first layer W_1",
    sources=(Source("zhang2025training", "Eq. 9 (loss landscape: two fixed points)"),),
    uses=("merged-heads-fixed-points",),
)


def slopes_for_user(
    covariance: Any,
    context_length: Any,
    value_gains: Any,
    key_queries: Any,
    task_covariance: Any = None,
    noise_variance: Any = 0.0,
) -> dict[str, Any]:
    """The slopes of H heads and whether they vanish up to rounding. Raises AssumptionError."""  # fmt: skip
    best = fixed_point(covariance, context_length, task_covariance, noise_variance)
    Lambda = real_array(covariance, "covariance")
    d = len(best.preconditioner)
    v = real_array(value_gains, "value_gains")
    if v.ndim != 1 or not len(v):
        raise AssumptionError(f"value_gains needs one number for each head, got shape {v.shape}; write [0.5]")
    U = check_shape(key_queries, (len(v), d, d), "key_queries")
    Psi = np.eye(d) if task_covariance is None else real_array(task_covariance, "task_covariance")
    law = {"Lambda": Lambda, "Psi": Psi, "sigma2": float(noise_variance), "N": float(context_length)}
    remains = np.asarray(evaluate(slope(), {**law, "A": np.tensordot(v, U, 1)}), dtype=float)
    pull = np.asarray(-evaluate(slope(), {**law, "A": np.zeros((d, d))}), dtype=float)
    gains = [float(np.sum(one * remains)) for one in U]
    return {
        "value_gain_slopes": gains,
        "key_query_slopes": [(one * remains).tolist() for one in v],
        "loss": 0.5 * float(np.trace(Psi @ Lambda) + np.sum((remains - pull) * np.tensordot(v, U, 1))),
        "minimal_loss": best.loss,
        "preconditioner": best.preconditioner.tolist(),
        "continuum_dimension": len(v) * (d * d - 1),
    }
