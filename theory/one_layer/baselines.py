r"""What other predictors reach on the same prompts: least squares, ridge and Bayes beside the layer, at every length.

Covariates N(0, I_d), tasks N(0, I_d), noise sigma^2, n samples X (n, d), y = X w + eps; risk E (w_hat.x_q - w.x_q)^2 =
E |w_hat - w|^2.
Main statements
    least squares    w_hat of least norm. n >= d + 2: sigma^2 d/(n - d - 1); n <= d - 2: d - n + sigma^2 n/(d - n - 1);
                     without noise max(d - n, 0) for every n; with noise infinite for n = d - 1, d, d + 1
    ridge            w_hat = (X^T X + r I)^-1 X^T y: E sum_i (r^2 + sigma^2 lam_i)/(lam_i + r)^2 over the d eigenvalues
                     of X^T X
    Bayes            the mean of w given the prompt, ridge at r = sigma^2: sigma^2 E sum_i 1/(lam_i + sigma^2); no
                     predictor has a smaller risk. Without noise it is least squares
    layer            linear attention trained at N and run on n samples: `risk.trained_risk`
Derivation
    X^T X = W. Given X, w_hat - w = -(I - W^+ W) w + W^+ X^T eps. The first part is the projection on the kernel of X,
    of dimension d - min(n, d): its mean square over w is that dimension. The second has the mean square sigma^2 tr W^+,
    whose mean is over the k = min(n, d) positive eigenvalues: those of a Wishart matrix of m = max(n, d) samples in k
    dimensions. An entry (W^-1)_11 is one over the square of the part of one column of m standard normals that is
    orthogonal to the k - 1 others, chi^2 with m - k + 1 degrees of freedom, and E 1/chi^2_q = 1/(q - 2) for q > 2,
    infinite for q <= 2. So E tr W^+ = k/(m - k - 1). For ridge, w_hat - w = -r (W + r)^-1 w + (W + r)^-1 X^T eps, and
    the squares add. The posterior of w is N((W + sigma^2)^-1 X^T y, sigma^2 (W + sigma^2)^-1).
References
    Least squares: [garg2022can] plots it; ridge and Bayes by `wishart`, at every penalty. Ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .assumptions import (
    AssumptionError,
    FloatArray,
    check_context_length,
    check_covariance,
    check_dimension,
    check_non_negative,
    check_semidefinite,
    check_task_covariance,
)
from .fixed_point import exact_value
from .risk import trained_risk
from .wishart import mean_over_eigenvalues

if TYPE_CHECKING:
    import sympy as sp


@dataclass(frozen=True)
class BaselineRisks:
    """E (prediction - w.x_q)^2 of each predictor; math.inf where it is infinite."""

    least_squares: float
    bayes: float
    layer: float


@cache
def mean_inverse_chi_square() -> sp.Expr:
    """E 1/chi^2_q for q > 2, by integration.

    >>> mean_inverse_chi_square()
    1/(q - 2)
    """
    import sympy as sp

    t, p = sp.Symbol("t", positive=True), sp.Symbol("p", positive=True)
    gamma = sp.integrate(t ** (p - 1) * sp.exp(-t / 2), (t, 0, sp.oo))  # the density of chi^2_q is t^(q/2 - 1) e^(-t/2)
    q = sp.Symbol("q", positive=True)
    return sp.factor(sp.gammasimp(gamma.subs(p, q / 2 - 1) / gamma.subs(p, q / 2)))


def mean_trace_of_inverse(samples: int, dimension: int) -> float:
    """E tr (X^T X)^+ for X (samples, dimension) standard normal; infinite where its sides differ by less than two.

    >>> mean_trace_of_inverse(8, 3), mean_trace_of_inverse(3, 8), mean_trace_of_inverse(3, 4)
    (0.75, 0.75, inf)
    """
    m, k = max(samples, dimension), min(samples, dimension)
    freedom = m - k + 1
    return k * float(exact_value(mean_inverse_chi_square(), {"q": freedom})) if freedom > 2 else math.inf


def least_squares_risk(dimension: Any, samples: Any, noise_variance: Any = 0.0) -> float:
    """The risk of least squares of least norm. Raises AssumptionError.

    >>> least_squares_risk(5, 2), least_squares_risk(5, 8, 0.5), least_squares_risk(5, 5, 0.5)
    (3.0, 1.25, inf)
    """
    d, n = check_dimension(dimension), check_context_length(samples)
    noise = check_non_negative(noise_variance, "noise_variance")
    return max(d - n, 0) + (noise * mean_trace_of_inverse(n, d) if noise else 0.0)


def ridge_risk(dimension: Any, samples: Any, noise_variance: Any, ridge: Any) -> float:
    """The risk of ridge regression with penalty ridge |w|^2, to 1e-12 of it. Raises AssumptionError.

    >>> round(ridge_risk(20, 20, 1e-8, 1e-8), 15)
    0.000693558845703
    """
    d, n = check_dimension(dimension), check_context_length(samples)
    noise, r = check_non_negative(noise_variance, "noise_variance"), check_non_negative(ridge, "ridge")
    if r == 0:
        return least_squares_risk(d, n, noise)
    # no r^2, which leaves the range of floats before r does
    positive = mean_over_eigenvalues(n, d, lambda t: (r / (t + r)) ** 2 + noise * (t / (t + r)) / (t + r), r)
    return max(d - n, 0) + positive


def bayes_risk(dimension: Any, samples: Any, noise_variance: Any = 0.0) -> float:
    """The least risk of any predictor. Raises AssumptionError.

    >>> round(bayes_risk(1, 2, 1.0), 9)  # E 1/(chi^2_2 + 1): the integral of e^(-t/2)/(2 (t + 1))
    0.461455316
    """
    return ridge_risk(dimension, samples, noise_variance, noise_variance)


def layer_risk(dimension: Any, samples: Any, noise_variance: Any = 0.0, training_length: Any = None) -> float:
    """The risk of the layer trained at `training_length` (that of the prompt if None) with the same noise."""
    d = check_dimension(dimension)
    trained = samples if training_length is None else training_length
    return trained_risk(np.eye(d), trained, None, noise_variance, samples)


def baseline_risks(
    dimension: Any, samples: Any, noise_variance: Any = 0.0, training_length: Any = None
) -> BaselineRisks:
    """All three on one law. Raises AssumptionError."""
    law = (dimension, samples, noise_variance)
    return BaselineRisks(least_squares_risk(*law), bayes_risk(*law), layer_risk(*law, training_length))


def beside_the_layer(
    covariance: Any,
    context_length: Any,
    task_covariance: Any = None,
    noise_variance: Any = 0.0,
    test_length: Any = None,
    test_covariance: Any = None,
    test_noise_variance: Any = None,
    test_task_covariance: Any = None,
    test_query_covariance: Any = None,
) -> tuple[float, float]:
    """(least squares, Bayes) on the test law of `risk.trained_risk`; Lambda' = c I, Psi' = psi I, Q = q I.

    In units of c psi the labels are those of this module with the noise sigma'^2/(c psi); in units of psi so are the
    squared errors of w, which queries of covariance q I multiply by q. Raises AssumptionError.

    >>> least_squares, bayes = beside_the_layer([[2.0]], 3, [[3.0]], 6.0)
    >>> least_squares, round(bayes / bayes_risk(1, 3, 1.0), 9)  # in units of 6, the noise is 1
    (6.0, 6.0)
    """
    Lambda = check_covariance(covariance if test_covariance is None else test_covariance, "test_covariance")
    d = len(Lambda)
    c = scale(Lambda, "test_covariance")
    if test_task_covariance is None:
        psi = scale(check_task_covariance(task_covariance, d), "task_covariance")
    else:
        psi = scale(check_semidefinite(test_task_covariance, d, "test_task_covariance"), "test_task_covariance")
    query = Lambda if test_query_covariance is None else test_query_covariance
    q = scale(check_semidefinite(query, d, "test_query_covariance"), "test_query_covariance")
    n = check_context_length(context_length if test_length is None else test_length, "test_length")
    given = noise_variance if test_noise_variance is None else test_noise_variance
    noise = check_non_negative(given, "test_noise_variance") / (c * psi)
    return q * psi * least_squares_risk(d, n, noise), q * psi * bayes_risk(d, n, noise)


def scale(matrix: FloatArray, name: str) -> float:
    """c of c I, c > 0."""
    c = float(matrix[0, 0])
    if c == 0 or not np.array_equal(matrix, c * np.eye(len(matrix))):
        raise AssumptionError(
            f"baselines need {name} = c I, for which their risks are known; give a positive multiple of I"
        )
    return c
