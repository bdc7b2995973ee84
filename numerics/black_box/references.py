r"""Known predictors on whole prompts, to put a user's model beside: one step, least squares, ridge, Bayes.

Main statements, for xs X (N, d), labels y = X w + eps, w ~ N(0, Psi), eps ~ N(0, sigma^2)
    step            s^T A x_q with s = (1/N) X^T y: one step of gradient descent from 0, preconditioned by A^T
    averaging       the same with A = I
    least squares   the interpolator or minimiser of least norm
    ridge           (X^T X + r I)^-1 X^T y
    Bayes           the mean of w given the prompt, Psi X^T (X Psi X^T + sigma^2 I)^-1 y; without noise with the
                    pseudo-inverse, its limit
By singular values throughout, in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .asked import Array

Reference = Callable[[Array, Array, Array], Array]


def step(A: Array) -> Reference:
    """s^T A x_q.

    >>> one = np.ones((1, 1, 1))
    >>> step(np.array([[0.5]]))(2 * one, 3 * one[0], 5 * one[0]).tolist()
    [15.0]
    """
    return lambda xs, ys, q: np.asarray(np.einsum("bn,bni,ik,bk->b", ys, xs, A, q, optimize=True)) / xs.shape[1]


def zero(xs: Array, ys: Array, q: Array) -> Array:
    """0."""
    return np.zeros(len(q))


def least_squares(xs: Array, ys: Array, q: Array) -> Array:
    """x_q . X^+ y."""
    return _read(np.linalg.pinv(xs) @ ys[..., None], q)


def ridge(penalty: float) -> Reference:
    """x_q . (X^T X + penalty I)^-1 X^T y."""
    root = penalty**0.5

    def predict(xs: Array, ys: Array, q: Array) -> Array:
        # least squares on d further examples root e_j with label 0: no X^T X, which would square the condition number
        further = np.broadcast_to(root * np.eye(xs.shape[2]), (len(xs), xs.shape[2], xs.shape[2]))
        return least_squares(np.concatenate([xs, further], 1), np.concatenate([ys, np.zeros_like(xs[:, 0])], 1), q)

    return predict


def bayes(task_covariance: Array, noise_variance: float) -> Reference:
    """The posterior mean of w.x_q: ridge, or least squares, for w = R v with v ~ N(0, I), R R^T = Psi."""
    eigenvalues, vectors = np.linalg.eigh(task_covariance)
    root = vectors * np.sqrt(np.clip(eigenvalues, 0, None))
    white = ridge(noise_variance) if noise_variance > 0 else least_squares
    return lambda xs, ys, q: white(xs @ root, ys, q @ root)


def turned(A: Array, seed: int) -> Array:
    """A with its covariates' side turned by a random rotation: a wrong preconditioner of the same size."""
    d = len(A)
    turn, triangle = np.linalg.qr(np.random.default_rng([seed, d]).normal(size=(d, d)))
    return np.asarray(turn * np.sign(np.diag(triangle)) @ A)


def known_predictors(task_covariance: Array, noise_variance: float, dimension: int) -> Mapping[str, Reference]:
    """By name, those that need no prediction of a theory. Ridge has the penalty sigma^2 d/tr Psi, and is left out where
    it is Bayes (Psi a multiple of I) or has none (no noise)."""
    size = float(np.trace(task_covariance)) / dimension
    found: dict[str, Reference] = {"zero": zero, "averaging": step(np.eye(dimension)), "least squares": least_squares}
    if noise_variance > 0 and not np.array_equal(task_covariance, size * np.eye(dimension)):
        found["ridge"] = ridge(noise_variance / size)
    return {**found, "Bayes": bayes(task_covariance, noise_variance)}


def _read(weights: Array, q: Array) -> Array:
    return np.asarray(np.einsum("bi,bi->b", weights[..., 0], q))
