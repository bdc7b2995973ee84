r"""Strategies: laws of the prompt and starts of training, over the whole domain of a statement.

What is drawn
    law      d in 1..10, N in 1..100 (from the theorem's start: 2..100; N < d included), Lambda and Psi with spectra
             of a given condition number in random bases of their own, label noise
    start    the scale of a start: for the theorem's start a share of the bound sigma_0^2 |Gamma|_op sqrt(d) < 2 of
             [zhang2024trained, Theorem 4.1], for any start the standard deviation of all entries
Everything is made from small whole numbers, so that a failing draw shrinks to a plain one (d = 1, N = 1, Lambda = Psi =
I, no noise), and no random seed is drawn: the random numbers of a training follow from its configuration. Nothing is
rejected by `assume`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..claims.settings import FloatArray, Setting, generator, rotate

LARGEST_DIMENSION, LONGEST_CONTEXT = 10, 100
STEPS_OF_SPECTRUM = 6  # eigenvalues are condition^(k/12), k = -6..6
BASES = 1000
TASK_CONDITION = 3.0
NOISE_STEPS = 4


def laws(condition: float, shortest: int = 1) -> st.SearchStrategy[Setting]:
    """Laws of the prompt with condition numbers of Lambda up to `condition`, N from `shortest` on."""
    return st.integers(1, LARGEST_DIMENSION).flatmap(lambda d: laws_of_dimension(d, condition, shortest))


def laws_of_dimension(d: int, condition: float, shortest: int) -> st.SearchStrategy[Setting]:
    """Laws of the prompt in d dimensions."""
    return st.builds(
        law,
        st.integers(shortest, LONGEST_CONTEXT),
        covariances(d, condition, "covariates"),
        covariances(d, TASK_CONDITION, "tasks"),
        st.integers(0, NOISE_STEPS).map(lambda k: k / (2 * NOISE_STEPS)),
    )


def law(length: int, covariance: FloatArray, task: FloatArray, noise: float) -> Setting:
    """The plain data of a law."""
    return {
        "covariance": covariance.tolist(),
        "context_lengths": [length],
        "task_covariance": task.tolist(),
        "noise_variance": noise,
        "covariates": "gaussian",
    }


def covariances(d: int, condition: float, name: str) -> st.SearchStrategy[FloatArray]:
    """Matrices (d, d) with eigenvalues in [condition^-1/2, condition^1/2]; shrinks to the identity."""
    spectrum = st.lists(st.integers(-STEPS_OF_SPECTRUM, STEPS_OF_SPECTRUM), min_size=d, max_size=d)
    return st.builds(lambda steps, basis: covariance_of(steps, basis, condition, name), spectrum, st.integers(0, BASES))


def covariance_of(steps: list[int], basis: int, condition: float, name: str) -> FloatArray:
    """Eigenvalues condition^(k/12), to twelve decimals, in one of the random bases; basis 0 is the plain one."""
    d = len(steps)
    values = [round(condition ** (k / (2 * STEPS_OF_SPECTRUM)), 12) for k in steps]
    rows = [[value if i == j else 0.0 for j in range(d)] for i, value in enumerate(values)]
    if basis:
        draw = generator(f"{name}/basis/{d}", basis)
        for i in range(d):
            for j in range(i):
                rotate(rows, i, j, 2.0 * float(draw.uniform()) - 1.0)
    return np.array([[(rows[i][j] + rows[j][i]) / 2 for j in range(d)] for i in range(d)])


def theorem_starts(condition: float) -> st.SearchStrategy[dict[str, Any]]:
    """A law with N >= 2 and the theorem's start at a tenth to nine tenths of the bound on its scale.

    At N = 1 the property was found to fail (`theorem_start`), so it is not stated there.
    """
    return st.builds(theorem_start, laws(condition, shortest=2), st.integers(1, 9))


def theorem_start(setting: Setting, tenths: int) -> dict[str, Any]:
    """The part of a training configuration that is drawn."""
    scale = round(tenths / 10 * largest_scale(setting), 9)
    return {"distribution": setting, "start": "theorem", "scale": scale}


def largest_scale(setting: Setting) -> float:
    """sigma_0 with sigma_0^2 |Gamma|_op sqrt(d) = 2, Gamma = (1 + 1/N) Lambda + (tr Lambda/N) I."""
    covariance, (length,) = np.array(setting["covariance"]), setting["context_lengths"]
    gamma = (1 + 1 / length) * float(np.linalg.norm(covariance, 2)) + float(np.trace(covariance)) / length
    return float((2 / (gamma * len(covariance) ** 0.5)) ** 0.5)


def any_starts(condition: float) -> st.SearchStrategy[dict[str, Any]]:
    """A law and a start of all of u12, u, U, u21, their standard deviation 0.1 to 1."""
    return st.builds(any_start, laws(condition), st.integers(1, 10))


def any_start(setting: Setting, tenths: int) -> dict[str, Any]:
    """The part of a training configuration that is drawn."""
    return {"distribution": setting, "start": "all-parameters", "scale": tenths / 10}
