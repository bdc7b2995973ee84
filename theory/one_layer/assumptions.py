"""The assumptions of the derivations, checked on numbers at the public door.

Each function returns what it checked, in the form that the formulas take, or raises
`AssumptionError` with one sentence: what was needed, what came, and the assumption or the mend.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# A matrix typed in with 10 digits is symmetric to 1e-10; a mixed-up one is off by far more.
SYMMETRY = 1e-9
LARGEST_FLOAT = int(np.finfo(np.float64).max)


class AssumptionError(ValueError):
    """An assumption of a statement does not hold for the given numbers."""


def real_array(value: Any, name: str) -> FloatArray:
    """Finite real numbers as a float64 array."""
    if value is None:
        raise AssumptionError(f"{name} is missing (null); give a number or nested lists of numbers")
    if contains_boolean(value):
        raise AssumptionError(f"{name} holds true/false where numbers are needed; write numbers")
    try:
        raw = np.asarray(value)
        if raw.dtype.kind not in "iufO":  # text, complex numbers, booleans; O: rationals and long integers
            raise TypeError
        array = raw.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise AssumptionError(
            f"{name} is not an array of real numbers with rows of equal length; write nested lists of numbers"
        ) from None
    if not np.isfinite(array).all():
        raise AssumptionError(f"{name} holds NaN or infinite entries; give finite numbers")
    return array


def contains_boolean(value: Any) -> bool:
    """JSON's true is no number here, though Python takes it for 1."""
    if isinstance(value, list | tuple):
        return any(contains_boolean(item) for item in value)
    return isinstance(value, bool | np.bool_)


def check_shape(value: Any, shape: tuple[int, ...], name: str) -> FloatArray:
    """Finite real numbers of one given shape."""
    array = real_array(value, name)
    if array.shape != shape:
        raise AssumptionError(f"{name} needs shape {shape}, got {array.shape}; check its rows against the dimension")
    return array


def check_covariance(value: Any, name: str = "covariance", *, definite: bool = True) -> FloatArray:
    """A symmetric positive definite matrix (positive semi-definite where `definite` is off)."""
    array = real_array(value, name)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] == 0:
        raise AssumptionError(
            f"{name} needs a square matrix, got shape {array.shape}; write nested lists, [[2.0]] for d = 1"
        )
    asymmetry = float(np.abs(array - array.T).max())
    if asymmetry > SYMMETRY * float(np.abs(array).max()):
        raise AssumptionError(
            f"{name} needs a symmetric matrix, got entries that differ by {asymmetry:.3g} from their "
            "mirror image; give (C + C^T)/2 if that is what is meant"
        )
    array = (array + array.T) / 2
    eigenvalues = np.linalg.eigvalsh(array)
    smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    rounding = array.shape[0] * np.finfo(float).eps * float(np.abs(array).max())
    if definite and 0 < smallest <= rounding:
        raise AssumptionError(
            f"{name} is singular in double precision (eigenvalues from {smallest:.3g} to {largest:.3g}); rescale the "
            "covariates to a condition number below 1e15"
        )
    if smallest < -rounding or (definite and smallest <= rounding):
        kind = "positive definite" if definite else "positive semi-definite"
        raise AssumptionError(
            f"{name} has eigenvalue {smallest:.6g}; the statement is derived for {kind} matrices, give one"
        )
    return array


def check_task_covariance(value: Any, dimension: int) -> FloatArray:
    """Psi: positive semi-definite, of the dimension of the covariates; None stands for the identity."""
    if value is None:
        return np.eye(dimension)
    array = check_semidefinite(value, dimension, "task_covariance")
    if not array.any():
        raise AssumptionError("task_covariance is zero, so there is nothing to predict; give a non-zero one")
    return array


def check_semidefinite(value: Any, dimension: int, name: str) -> FloatArray:
    """A positive semi-definite matrix of the dimension of the covariates."""
    array = check_covariance(value, name, definite=False)
    if array.shape[0] != dimension:
        raise AssumptionError(
            f"{name} needs shape ({dimension}, {dimension}) like the covariance, got {array.shape}; "
            "give both for the same dimension"
        )
    return array


def check_context_length(value: Any, name: str = "context_length") -> int:
    """A whole number N >= 1."""
    if not is_whole(value) or value < 1:
        raise AssumptionError(f"{name} needs a whole number of at least 1, got {value!r}; give one such as 20")
    return int(value)


def is_whole(value: Any) -> bool:
    """Whether a value is an integer (2.0 is, 2.5, true and "2" are not)."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return float(value).is_integer()
    except OverflowError:  # an integer beyond the range of floats
        return False


def check_context_lengths(value: Any) -> tuple[int, ...]:
    """A list of context lengths, not empty."""
    if not isinstance(value, list | tuple) or not value:
        raise AssumptionError(f"context_lengths needs a list of whole numbers, got {value!r}; write [4, 8, 16]")
    return tuple(check_context_length(item, "each of context_lengths") for item in value)


def check_dimension(value: Any) -> int:
    """A whole number d >= 1."""
    return check_context_length(value, "dimension")


def check_non_negative(value: Any, name: str) -> float:
    """A finite number >= 0."""
    number = check_number(value, name)
    if number < 0:
        raise AssumptionError(f"{name} needs a number of at least 0, got {number:g}; a variance is not negative")
    return number


def check_positive(value: Any, name: str) -> float:
    """A finite number > 0."""
    number = check_number(value, name)
    if number <= 0:
        raise AssumptionError(f"{name} needs a number above 0, got {number:g}; give a positive one")
    return number


def check_number(value: Any, name: str) -> float:
    """A finite real number."""
    if isinstance(value, str):
        raise AssumptionError(f"{name} needs a number, got {value[:40]!r}; write it without quotes")
    if isinstance(value, int) and abs(value) > LARGEST_FLOAT:
        raise AssumptionError(f"{name} needs a number that floats hold, got one beyond 1e308; give a smaller one")
    array = real_array(value, name)
    if array.ndim:
        raise AssumptionError(f"{name} needs one number, got shape {array.shape}; give a scalar")
    return float(array)
