r"""The loss of any sum of layers on one prompt as a quadratic form: second moments of the layer's features.

With p = (u12, u), K = (U; u21^T) and G = E E^T/N, a layer predicts yhat = sum_abc p_a K_bc phi_abc with
phi_abc = G_ab x_q,c: it is linear in the tensor p (x) K. So for heads h
    L = 1/2 E (w.x_q)^2 - <l, m> + 1/2 <m, T m>,   m = sum_h p_h (x) K_h,   T = E phi phi^T,   l = E phi (w.x_q)
Main statement
    feature_moments    T and l, from the mean of the product of two layers' predictions as a trace polynomial in both
                       layers' parameters, evaluated at pairs of unit parameters
Assumptions
    Those of `PromptLaw` with Psi = I, sigma = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..algebra.evaluation import evaluate
from ..algebra.trace_polynomials import TracePolynomial, matrix, scalar, vector
from .assumptions import FloatArray, check_context_length, check_covariance
from .layer import Weights, prediction, target
from .population_loss import NOISELESS

OTHER_LAYER = Weights(vector("u12'"), scalar("u'"), matrix("U'"), vector("u21'"))


@cache
def product_of_two_layers() -> TracePolynomial:
    """E yhat yhat' for the letters u12, u, U, u21 and u12', u', U', u21'."""
    return NOISELESS.mean(prediction(NOISELESS) * prediction(NOISELESS, weights=OTHER_LAYER))


@cache
def pull_of_a_layer() -> TracePolynomial:
    """E yhat (w.x_q)."""
    return NOISELESS.mean(prediction(NOISELESS) * target())


@dataclass(frozen=True)
class FeatureMoments:
    """constant 1/2 E (w.x_q)^2;  linear (n,);  quadratic (n, n): the index runs over (a, b, c), n = (d+1)^2 d."""

    constant: float
    linear: FloatArray
    quadratic: FloatArray


def feature_moments(covariance: object, context_length: object) -> FeatureMoments:
    """T and l for one law; covariance (d, d). Raises AssumptionError.

    >>> feature_moments([[1.0]], 1).linear.tolist()  # (a, b) = (x, x), (x, y), (y, x), (y, y)
    [0.0, 1.0, 1.0, 0.0]
    """
    Lambda, N = check_covariance(covariance), check_context_length(context_length)
    units = unit_parameters(len(Lambda))
    law = {"Lambda": Lambda, "N": float(N)}
    linear = np.asarray(evaluate(pull_of_a_layer(), {**law, **units}), dtype=np.float64)
    n = len(linear)
    left = {name: np.repeat(value, n, axis=0) for name, value in units.items()}
    right = {f"{name}'": np.tile(value, (n,) + (1,) * (value.ndim - 1)) for name, value in units.items()}
    quadratic = np.asarray(evaluate(product_of_two_layers(), {**law, **left, **right})).reshape(n, n)
    return FeatureMoments(float(np.trace(Lambda)) / 2, linear, quadratic)


def unit_parameters(d: int) -> dict[str, FloatArray]:
    """The letters of p = e_a, K = e_b e_c^T for all (a, b, c), along the first axis."""
    a, b, c = (index.ravel() for index in np.indices((d + 1, d + 1, d)))
    p, K = np.zeros((len(a), d + 1)), np.zeros((len(a), d + 1, d))
    p[np.arange(len(a)), a], K[np.arange(len(a)), b, c] = 1.0, 1.0
    return {"u12": p[:, :d, None], "u": p[:, d], "U": K[:, :d], "u21": K[:, d, :, None]}
