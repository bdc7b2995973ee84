"""Settings: the laws of the prompt that checks are made at, drawn from their own names.

A setting is plain data, the parameters of numerics' `PromptDistribution`. Its random matrices come
from a hash of its name and the seed, so that it is the same in every process and on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Setting = dict[str, Any]
FloatArray = NDArray[np.float64]


def generator(name: str, seed: int) -> np.random.Generator:
    """Random numbers that follow from a name."""
    digest = hashlib.sha256(f"{name}/{seed}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def random_covariance(draw: np.random.Generator, dimension: int, condition: float) -> FloatArray:
    """Random eigenbasis; eigenvalues uniform in [condition^-1/2, condition^1/2].

    Only +, -, * and / of uniform draws: these round alike on every processor, where linear algebra libraries and
    elementary functions differ in the last bit, and one bit would change every key and every stream.
    """
    low, high = condition**-0.5, condition**0.5
    rows = [[0.0] * dimension for _ in range(dimension)]
    for k in range(dimension):
        rows[k][k] = low + (high - low) * float(draw.uniform())
    for i in range(dimension):
        for j in range(i):
            rotate(rows, i, j, 2.0 * float(draw.uniform()) - 1.0)
    return np.array([[(rows[i][j] + rows[j][i]) / 2 for j in range(dimension)] for i in range(dimension)])


def rotate(matrix: list[list[float]], i: int, j: int, t: float) -> None:
    """matrix <- R matrix R^T for the rotation by 2 arctan(t) in the plane of i and j, in place."""
    c, s = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    for row in matrix:
        row[i], row[j] = c * row[i] - s * row[j], s * row[i] + c * row[j]
    matrix[i], matrix[j] = (
        [c * a - s * b for a, b in zip(matrix[i], matrix[j], strict=True)],
        [s * a + c * b for a, b in zip(matrix[i], matrix[j], strict=True)],
    )


def rounded(array: FloatArray) -> FloatArray:
    """To 11 decimal places of its largest entry, so that a task does not carry the last bits of a linear solve."""
    exponent = int(f"{float(np.abs(array).max()):.0e}".partition("e")[2])
    entries = [round(float(entry), 11 - exponent) + 0.0 for entry in array.reshape(-1)]  # + 0.0 makes -0.0 plain
    return np.array(entries).reshape(array.shape)


# |rounded(A) - A|_F <= ROUNDED |A|_F for d <= 4: each of d^2 entries moves by at most 5e-12 of the largest.
ROUNDED = 2e-11


def gaussian_setting(
    name: str,
    seed: int,
    dimension: int,
    context_lengths: Sequence[int],
    *,
    noise: bool,
    plain_task: bool = False,
    condition: float = 3.0,
) -> Setting:
    """Lambda and Psi with independent random eigenbases (they do not commute), noise variance in (0, 0.5)."""
    draw = generator(name, seed)
    covariance = random_covariance(draw, dimension, condition)
    task = np.eye(dimension) if plain_task else random_covariance(draw, dimension, condition)
    return {
        "covariance": covariance.tolist(),
        "context_lengths": list(context_lengths),
        "task_covariance": task.tolist(),
        "noise_variance": float(draw.uniform(0.0, 0.5)) if noise else 0.0,
        "covariates": "gaussian",
    }


def uniform_setting(dimension: int, context_length: int, half_width: float) -> Setting:
    """x ~ U(-a, a)^d, w ~ N(0, I), no noise."""
    return {
        "covariance": (np.eye(dimension) * half_width**2 / 3).tolist(),
        "context_lengths": [context_length],
        "task_covariance": np.eye(dimension).tolist(),
        "noise_variance": 0.0,
        "covariates": "uniform",
    }


def dimension_of(setting: Setting) -> int:
    return len(setting["covariance"])
