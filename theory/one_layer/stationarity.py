r"""Mean and second moment of one prompt's gradient: what a sampled gradient may fluctuate by.

Main statements
    prompt_gradient   Z = (s^T A - w^T) Lambda V^T s, the mean over the query x_q, context and task given, of
                      (x_q^T A^T s - w.x_q) (s^T V x_q): the derivative of one prompt's loss in the direction V of A
    mean              E Z = tr(V^T (M A - C) Lambda)
    second_moment     E Z^2, a trace polynomial in A, V, Lambda, Psi, sigma^2 and 1/N (eighth moments of the
                      covariates), exact; an error bound that holds for heavy tails needs no more
Assumptions
    Those of `PromptLaw`, with u12 = u21 = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..algebra.evaluation import evaluate
from ..algebra.trace_polynomials import TracePolynomial, identity, scalar, sum_over_samples
from ..symbols import A, N, V, W, X
from .assumptions import FloatArray
from .fixed_point import coefficient_of_identity, stationary_system
from .layer import label
from .prompt_law import PromptLaw
from .uniform_covariates import uniform_law


def prompt_gradient(law: PromptLaw, weights: TracePolynomial = A, direction: TracePolynomial = V) -> TracePolynomial:
    """Z for one prompt: of x_q it needs E x_q x_q^T = Lambda alone, whatever the law of the covariates."""
    s = N**-1 * sum_over_samples(label(law) * X, ("x", "eps"))
    return (s.T * weights - W.T) * law.covariance * direction.T * s


@cache
def second_moment(law: PromptLaw) -> TracePolynomial:
    """E Z^2 in the letters A and V."""
    gradient = prompt_gradient(law)
    return law.mean(gradient * gradient)


@cache
def uniform_second_moment() -> TracePolynomial:
    """E Z^2 for uniform covariates at A = gain I, V = step I (with general A it is no trace polynomial)."""
    gradient = prompt_gradient(uniform_law(), scalar("gain") * identity(), scalar("step") * identity())
    return uniform_law().mean(gradient * gradient)


@dataclass(frozen=True)
class StationarityPlan:
    """What to sample at given weights A, and how much it may fluctuate.

    directions (K, d, d)     V_k with E Z_k = <W_k, A - A*>, W_k orthonormal, W_1 along A
    second_moments (K,)      E Z_k^2 at A
    """

    directions: FloatArray
    second_moments: FloatArray


def orthonormal_matrices(first: FloatArray) -> FloatArray:
    """d^2 orthonormal d x d matrices, the first along the given one (not zero), shape (d^2, d, d)."""
    d = first.shape[0]
    columns = np.concatenate([first.reshape(-1, 1), np.eye(d * d)], axis=1)
    basis, _ = np.linalg.qr(columns)
    return np.asarray(basis.T.reshape(d * d, d, d) * np.sign(basis[:, 0] @ first.reshape(-1)))


def plan(
    preconditioner: FloatArray,
    covariance: FloatArray,
    context_lengths: Sequence[int],
    task_covariance: FloatArray,
    noise_variance: float,
) -> StationarityPlan:
    """Directions that see every displacement of A equally, and what is sampled there, for Gaussian covariates."""
    values = {"Lambda": covariance, "Psi": task_covariance, "sigma2": noise_variance, "A": preconditioner}
    directions = gaussian_directions(preconditioner, covariance, context_lengths, task_covariance, noise_variance)
    moments = mean_over_lengths(second_moment(PromptLaw()), {**values, "V": directions}, context_lengths)
    return StationarityPlan(directions, moments)


def gaussian_directions(
    preconditioner: FloatArray,
    covariance: FloatArray,
    context_lengths: Sequence[int],
    task_covariance: FloatArray,
    noise_variance: float,
) -> FloatArray:
    """V_k = M^-1 W_k Lambda^-1, (d^2, d, d): they turn tr(V^T M (A - A*) Lambda) into <W_k, A - A*>.

    Lengths are equally likely.
    """
    values = {"Lambda": covariance, "Psi": task_covariance, "sigma2": noise_variance}
    curvature = mean_over_lengths(stationary_system(PromptLaw()).second_moment, values, context_lengths)
    return np.asarray(np.linalg.solve(curvature, orthonormal_matrices(preconditioner)) @ np.linalg.inv(covariance))


def uniform_plan(gain: float, dimension: int, context_length: int, half_width: float) -> StationarityPlan:
    """The direction along A = gain I, for covariates uniform on (-half_width, half_width)."""
    values: dict[str, Any] = {"lam": half_width**2 / 3, "d": dimension, "N": context_length}
    step = dimension**-0.5 / uniform_curvature(dimension, context_length, half_width)
    moment = evaluate(uniform_second_moment(), {**values, "gain": gain, "step": step})
    return StationarityPlan(step * np.eye(dimension)[None], np.array([moment]))


def uniform_directions(dimension: int, context_length: int, half_width: float) -> FloatArray:
    """V_k = W_k/(m lam) for all d^2 directions W_k, the first along I: M = m I for the uniform law."""
    return orthonormal_matrices(np.eye(dimension)) / uniform_curvature(dimension, context_length, half_width)


def uniform_curvature(dimension: int, context_length: int, half_width: float) -> float:
    """m lam, where M = E[s s^T] = m I."""
    values: dict[str, Any] = {"lam": half_width**2 / 3, "d": dimension, "N": context_length}
    moment = evaluate(coefficient_of_identity(stationary_system(uniform_law()).second_moment), values)
    return float(moment * values["lam"])


def mean_over_lengths(polynomial: TracePolynomial, values: dict[str, Any], lengths: Sequence[int]) -> FloatArray:
    """The mean of a polynomial's value over equally likely context lengths."""
    return np.asarray(np.mean([evaluate(polynomial, {**values, "N": n}) for n in lengths], axis=0))
