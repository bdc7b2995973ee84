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
    """Random eigenbasis; eigenvalues log-uniform in [condition^-1/2, condition^1/2]."""
    basis, _ = np.linalg.qr(draw.normal(size=(dimension, dimension)))
    eigenvalues = condition ** draw.uniform(-0.5, 0.5, size=dimension)
    matrix = (basis * eigenvalues) @ basis.T
    return np.asarray((matrix + matrix.T) / 2)


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
