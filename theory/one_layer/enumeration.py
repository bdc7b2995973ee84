"""The layer in components at a rational instance: the plain witness of every expectation.

Statement
    At an instance (d, N and integer or rational entries for everything) the layer is multiplied out
    literally, f(E) = E + W_PV E (E^T W_KQ E)/N, with polynomials in standardised components as the
    entries of E; its means are exact rational numbers. Nothing of the trace algebra is used.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..algebra.component_moments import ComponentPolynomial, constant, gaussian_moment, mean, uniform_moment, variable
from ..algebra.evaluation import Array


@dataclass(frozen=True)
class Instance:
    """Numbers for every letter. Covariances are given by roots: Lambda = L L^T, Psi = K K^T, sigma = tau.

    `uniform` takes covariates with independent uniform components (L must then be diagonal).
    """

    dimension: int
    context_length: int
    covariance_root: Array
    task_root: Array
    noise_root: int
    u12: Array
    u: int
    U: Array
    u21: Array
    uniform: bool = False

    def values(self) -> dict[str, Any]:
        """The same instance for `evaluate`: exact object arrays and rationals."""
        exact = {"U": self.U, "u12": self.u12, "u21": self.u21}
        return {
            "Lambda": self.covariance_root @ self.covariance_root.T,
            "Psi": self.task_root @ self.task_root.T,
            **exact,
            "u": Fraction(self.u),
            "N": Fraction(self.context_length),
            "sigma2": Fraction(self.noise_root) ** 2,
            "A": self.u * self.U + self.u12 @ self.u21.T,
        }

    def weights(self) -> tuple[Array, Array]:
        """(W_PV, W_KQ); the entries that do not enter the prediction are set to 7 to show that."""
        d = self.dimension
        W_PV, W_KQ = (np.full((d + 1, d + 1), 7, dtype=object) for _ in range(2))
        W_PV[d, :d], W_PV[d, d] = self.u12[:, 0], self.u
        W_KQ[:d, :d], W_KQ[d, :d] = self.U, self.u21[:, 0]
        return W_PV, W_KQ

    def moment(self, k: int, order: int) -> Fraction:
        """The moments of the k-th standardised component; the covariates come first."""
        covariates = self.dimension * (self.context_length + 1)
        return uniform_moment(order) if self.uniform and k < covariates else gaussian_moment(order)

    def mean(self, polynomial: ComponentPolynomial) -> Fraction:
        """E over prompts."""
        return mean(polynomial, self.moment)


@dataclass(frozen=True)
class Prompt:
    """E ((d+1) x (N+1), entries polynomials), the task w and the target w.x_q."""

    embedding: Array
    task: Array
    target: ComponentPolynomial


def prompt(instance: Instance) -> Prompt:
    """The prompt in standardised components z: x = L z, w = K z, eps = tau z."""
    d, n = instance.dimension, instance.context_length
    z = np.array([variable(k) for k in range(d * (n + 1) + d + n)], dtype=object)
    columns = [instance.covariance_root @ z[d * i : d * (i + 1)] for i in range(n + 1)]
    w = instance.task_root @ z[d * (n + 1) : d * (n + 2)]
    noise = z[d * (n + 2) :]
    labels = [w @ columns[i] + instance.noise_root * noise[i] for i in range(n)]
    embedding = np.array([[*x, y] for x, y in zip(columns, [*labels, constant(0)], strict=True)], dtype=object).T
    return Prompt(embedding, w, w @ columns[n])


def layer_prediction(instance: Instance, E: Array) -> ComponentPolynomial:
    """f(E)[d, N] by literal matrix products (only the entries that are read are computed)."""
    W_PV, W_KQ = instance.weights()
    scores = E.T @ (W_KQ @ E[:, -1])
    update: ComponentPolynomial = (W_PV[-1] @ E) @ scores
    result: ComponentPolynomial = E[-1, -1] + update * Fraction(1, instance.context_length)
    return result


def context_mean(instance: Instance, E: Array) -> Array:
    """s = (1/N) sum y_i x_i, shape (d,), in components."""
    d, n = instance.dimension, instance.context_length
    total: Array = E[:d, :n] @ E[d, :n] * Fraction(1, n)
    return total


InstanceKey = tuple[int, bool]  # (seed, whether the covariates are uniform)


def random_instance(key: InstanceKey) -> Instance:
    """A random instance with small integer entries; d and N vary with the seed over 1..2 and 1..3.

    With uniform covariates Lambda is diagonal and Psi = I, as their derivation assumes.
    """
    seed, uniform = key
    draw = random.Random(f"instance {seed} {uniform}")
    d = (2, 2, 1)[seed % 3]
    n = (2, 1, 3)[seed % 3]

    def entries(rows: int, cols: int) -> Array:
        return np.array([[draw.choice((-3, -2, -1, 1, 2, 3)) for _ in range(cols)] for _ in range(rows)], dtype=object)

    root, task_root = (invertible(lambda: entries(d, d)) for _ in range(2))
    if uniform:
        root, task_root = np.diag(np.diag(root)), np.diag([1] * d).astype(object)
    return Instance(
        d, n, root, task_root, draw.choice((1, 2)), entries(d, 1), draw.choice((1, 2, -3)), entries(d, d),
        entries(d, 1), uniform,
    )  # fmt: skip


def invertible(draw: Callable[[], Array]) -> Array:
    """The first draw with a non-zero determinant."""
    while True:
        matrix = draw()
        if abs(np.linalg.det(matrix.astype(float))) > 0.5:
            return matrix
