"""The blocks of users' weights, and what is said about wrong shapes."""

import numpy as np
import pytest

from iclcheck.numerics.users_models.blocks import WeightsShapeError, split_weights


def test_the_blocks_are_the_last_row_and_the_first_columns() -> None:
    W_PV, W_KQ = np.arange(9.0).reshape(3, 3), 10 + np.arange(9.0).reshape(3, 3)
    parts = split_weights({"W_PV": W_PV, "W_KQ": W_KQ}, d=2)
    assert (parts.u12.tolist(), float(parts.u)) == ([6.0, 7.0], 8.0)
    assert (parts.U.tolist(), parts.u21.tolist()) == ([[10.0, 11.0], [13.0, 14.0]], [16.0, 17.0])


@pytest.mark.parametrize("name", ["W_PV", "W_KQ"])
@pytest.mark.parametrize(
    "shape, mend",
    [
        ((2, 2), "pad it with the label's row and column"),
        ((5, 5), r"belong to d = 4"),
        ((3, 4), "missing or transposed"),
        ((1, 3, 3), "one layer and one head"),
        ((9,), "pass the full matrix"),
        ((), "pass the full matrix"),
    ],
)
def test_a_wrong_shape_is_named_with_the_shape_needed(name: str, shape: tuple[int, ...], mend: str) -> None:
    weights = {"W_PV": np.eye(3), "W_KQ": np.eye(3), name: np.zeros(shape)}
    with pytest.raises(WeightsShapeError, match=rf"{name} must have shape \(d \+ 1, d \+ 1\) = \(3, 3\).*{mend}"):
        split_weights(weights, d=2)
