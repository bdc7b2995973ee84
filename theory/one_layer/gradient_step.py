r"""The fixed point's prediction is one step of preconditioned gradient descent.

Main statements
    least_squares_gradient    R(w) = (1/2N) sum (w.x_i - y_i)^2 has grad R(0) = -s, s = (1/N) sum y_i x_i
    layer as step             with u12 = u21 = 0 the layer predicts x_q^T A^T s = x_q^T w_1, where
                              w_1 = 0 - A^T grad R(0); at the fixed point A^T = A* is symmetric
    infinite context          A* -> Lambda^-1 and s -> Lambda w, so w_1 -> w: least squares
Assumptions
    Those of `fixed_point`; the identity of layer and step holds for every prompt, without a law.
References
    [ahn2023transformers, Lemma 1], [vonoswald2023transformers, Proposition 1].
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import evaluate_over_samples
from ..algebra.matrix_derivatives import gradient
from ..algebra.trace_polynomials import TracePolynomial, degree, letter, select, sum_over_samples
from ..algebra.words import LINE, Letter
from ..symbols import X_Q, N, U, X, u
from .assumptions import AssumptionError, check_shape, real_array
from .enumeration import Instance, random_instance
from .fixed_point import fixed_point
from .layer import prediction
from .prompt_law import PromptLaw

BETA = letter(Letter("beta", cols=LINE))  # the weights of the regression, to tell them from the task w
Y = letter(Letter("y", rows=LINE, cols=LINE))  # a label as a letter of its own


def least_squares_risk() -> TracePolynomial:
    """R(beta) = (1/2N) sum_i (beta.x_i - y_i)^2."""
    error = BETA.T * X - Y
    return N**-1 * sum_over_samples(error * error, ("x", "y")) / 2


def least_squares_gradient() -> TracePolynomial:
    """grad R(0), the part of grad R that is free of beta."""
    slope = gradient(least_squares_risk(), BETA)
    return select(slope, lambda monomial: degree(monomial, "beta") == 0)


def layer_without_leak() -> TracePolynomial:
    """The layer's prediction at u12 = u21 = 0, the label y_i as a letter."""
    context = (X, Y)
    full = prediction(PromptLaw(), context)
    return select(full, lambda monomial: degree(monomial, "u12", "u21") == 0)


def step_prediction() -> TracePolynomial:
    """x_q^T (0 - (u U)^T grad R(0))."""
    step = -((u * U).T * least_squares_gradient())
    return X_Q.T * step


def numbers_at(seed: int) -> tuple[Instance, dict[str, Any], dict[str, list[Any]]]:
    """Integer values for one prompt: the identity holds for every prompt, so no law is needed."""
    instance, other = random_instance((seed, False)), random_instance((seed + 3, False))
    n = instance.context_length
    columns = [(i + 1) * other.covariance_root @ instance.u12 + instance.u21 for i in range(n)]
    labels = [np.array([[3 * i - 1]], dtype=object) for i in range(n)]
    values = {**instance.values(), "x_q": other.u21}
    return instance, values, {"x": columns, "y": labels}


def risk_gradient(seed: int) -> Any:
    """grad R(0) by differences of R along the axes, which are exact for a quadratic; shape (d, 1)."""
    instance, _, samples = numbers_at(seed)

    def risk(beta: Any) -> Any:
        errors = [(x.T @ beta - y)[0, 0] for x, y in zip(samples["x"], samples["y"], strict=True)]
        return Fraction(sum(error**2 for error in errors)) / (2 * instance.context_length)

    axes = np.eye(instance.dimension).astype(int).astype(object)[:, :, None]
    return np.array([[(risk(axis) - risk(-axis)) / 2] for axis in axes], dtype=object)


def literal_layer(seed: int) -> Any:
    """f(E)[d, N] at u12 = u21 = 0 by matrix products."""
    instance, values, samples = numbers_at(seed)
    d, n = instance.dimension, instance.context_length
    E = np.zeros((d + 1, n + 1), dtype=object)
    for i in range(n):
        E[:d, i], E[d, i] = samples["x"][i][:, 0], samples["y"][i][0, 0]
    E[:d, n] = values["x_q"][:, 0]
    W_PV, W_KQ = instance.weights()
    W_PV[d, :d], W_KQ[d, :d] = 0, 0
    return (E * values["N"] + W_PV @ E @ (E.T @ W_KQ @ E))[d, n] / values["N"]


@cache
def derivation() -> Derivation:
    """The layer at u12 = u21 = 0 is one step of gradient descent, for every prompt."""

    def at(polynomial: TracePolynomial, seed: int) -> Any:
        _, values, samples = numbers_at(seed)
        return evaluate_over_samples(polynomial, values, samples)

    steps = (
        equality(
            "gradient of the in-context risk at 0",
            ("grad R(0), R(beta) = (1/2N) sum_i (beta.x_i - y_i)^2", r"\nabla R(0)"),
            least_squares_gradient(),
            "since d tr(A W) = tr(dA W); the terms free of beta",
            lambda seed: (risk_gradient(seed), at(least_squares_gradient(), seed)),
        ),
        equality(
            "the layer at u12 = u21 = 0",
            ("f(E)[d, N]", r"f(E)_{d,N}"),
            layer_without_leak(),
            "the query column has label 0 and drops out",
            lambda seed: (literal_layer(seed), at(layer_without_leak(), seed)),
        ),
        Step(
            "layer = one preconditioned step",
            "f(E)[d, N]",
            "x_q^T w_1 with w_1 = 0 - (u U)^T grad R(0)",
            r"f(E)_{d,N} = x_q^\top w_1,\quad w_1 = 0 - (uU)^\top \nabla R(0)",
            "comparing the two; at the fixed point (u U)^T = A* (closed form of fixed-point, symmetric)",
            lambda seed: (literal_layer(seed), at(step_prediction(), seed)),
            forms={"step": step_prediction()},
        ),
        Step(
            "infinite context",
            "lim w_1 as N -> oo",
            "Lambda^-1 Lambda w = w",
            r"\lim_{N\to\infty} w_1 = \Lambda^{-1}\Lambda w = w",
            "A* -> Lambda^-1 (fixed-point, Psi invertible) and s -> E[x y] = Lambda w, law of large numbers",
            proof=(
                "The least squares solution S^-1 s has the same limit; at finite N the two differ by (A* - S^-1) s."
            ),
        ),
    )
    return Derivation(STATEMENT, steps, {"gradient": least_squares_gradient()}, lambda seed: seed)


STATEMENT = Statement(
    identifier="preconditioned-gradient-step",
    title="The fixed point predicts with one step of preconditioned gradient descent",
    latex=r"\hat y = x_q^\top w_1,\quad w_1 = 0 - A^*\,\nabla R(0),\quad "
    r"R(w) = \tfrac{1}{2N}\sum_i (w^\top x_i - y_i)^2",
    text=(
        "At the fixed point the layer predicts x_q^T w_1, where w_1 is one step of gradient descent from 0 "
        "on the prompt's squared loss R(w) = (1/2N) sum (w.x_i - y_i)^2, preconditioned with A*."
    ),
    assumptions=("as fixed-point; the identity of layer and step holds for every prompt",),
    conventions="as fixed-point; the step is normalised by the number of the prompt's own examples",
    sources=(
        Source("ahn2023transformers", "Lemma 1"),
        Source("vonoswald2023transformers", "Proposition 1 (query excluded, loss without 1/2)"),
    ),
    uses=("fixed-point",),
)


def predict_for(
    X: Any,
    y: Any,
    x_query: Any,
    covariance: Any,
    context_length: Any,
    task_covariance: Any,
    noise_variance: Any,
) -> float:
    """x_q^T A* (1/M) sum_i y_i x_i for one prompt of M examples; A* is that of training at context_length.

    X (M, d) with examples as rows, y (M,), x_query (d,). Raises AssumptionError.
    """
    preconditioner = fixed_point(covariance, context_length, task_covariance, noise_variance).preconditioner
    d = preconditioner.shape[0]
    examples = real_array(X, "X")
    if examples.ndim != 2 or examples.shape[1] != d or examples.shape[0] == 0:
        raise AssumptionError(
            f"X needs shape (examples, {d}) with at least one example, got {examples.shape}; rows are examples"
        )
    labels = real_array(y, "y")
    if labels.shape != examples.shape[:1]:
        raise AssumptionError(
            f"y needs one label for each of the {examples.shape[0]} rows of X, got shape {labels.shape}; give both for "
            "the same examples"
        )
    query = check_shape(x_query, (d,), "x_query")
    return float(query @ preconditioner @ (labels @ examples) / examples.shape[0])
