r"""The blocks of users' weights that enter a prediction, after their shapes are judged.

With d covariates and one label per token, W_PV and W_KQ are (d + 1, d + 1), the label's row and column
last: W_PV[d, :] = (u12^T, u) and W_KQ[:, :d] = (U; u21^T).

Main statements
    split_weights   the blocks, or an error that names the parameter, its shape and the shape needed
Limits
    A transposed matrix of the right shape cannot be told from its shape.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..one_layer.observables import Blocks, blocks

Array = NDArray[np.float64]


class WeightsShapeError(ValueError):
    """Weights whose shape does not belong to the given number of covariates."""


def split_weights(weights: Mapping[str, Array], d: int) -> Blocks:
    """The blocks u12 (d,), u (), U (d, d), u21 (d,) of weights["W_PV"] and weights["W_KQ"].

    Raises WeightsShapeError unless both are (d + 1, d + 1).

    >>> parts = split_weights({"W_PV": np.diag([0.0, 2.0]), "W_KQ": np.diag([3.0, 0.0])}, d=1)
    >>> float(parts.u), parts.U.tolist()
    (2.0, [[3.0]])
    """
    for name in ("W_PV", "W_KQ"):
        _judge_shape(name, weights[name].shape, d)
    return blocks(weights["W_PV"], weights["W_KQ"])


def _judge_shape(name: str, shape: tuple[int, ...], d: int) -> None:
    if shape != (d + 1, d + 1):
        raise WeightsShapeError(
            f"{name} must have shape (d + 1, d + 1) = ({d + 1}, {d + 1}) for d = {d}, got {shape}; " + _mend(shape, d)
        )


def _mend(shape: tuple[int, ...], d: int) -> str:
    if len(shape) > 2 and shape[-2:] == (d + 1, d + 1):
        return "pass one layer and one head, as W[0]"
    if shape == (d, d):
        return "pad it with the label's row and column (zeros for W_KQ, u in the corner for W_PV)"
    if len(shape) == 2 and shape[0] == shape[1] and shape[0] > 1:
        return f"these weights belong to d = {shape[0] - 1}: give the covariance of that many covariates"
    if len(shape) == 2 and shape[0] != shape[1]:
        return "pass the merged square matrices W_P W_V and W_K^T W_Q (is one factor missing or transposed?)"
    return "pass the full matrix"
