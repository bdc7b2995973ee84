"""class-selection: every step holds, the posterior is the sigmoid, and what a user gives is checked."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iclcheck.theory.model_selection.class_selection import derivation, for_user, formula, letters_at
from iclcheck.theory.one_layer.assumptions import AssumptionError

GIVEN: dict[str, Any] = {
    "log_bayes_factors": [0.0, 1.0, -2.0], "dense_predictions": [1.0, 2.0, 3.0], "sparse_predictions": [0.0, 1.0, -1.0],
    "dense_probability": 0.3,
}  # fmt: skip


def test_every_step_holds_at_four_random_instances() -> None:
    assert derivation().failures(seeds=(0, 1, 2, 3)) == []


@settings(max_examples=50, deadline=None, derandomize=True)
@given(B=st.floats(-700, 700), pi=st.floats(0.001, 0.999))
def test_the_posterior_is_the_sigmoid_of_log_odds(B: float, pi: float) -> None:
    z = B + math.log(pi / (1 - pi))
    sigmoid = 1 / (1 + math.exp(-z)) if z > 0 else math.exp(z) / (1 + math.exp(z))
    # exp loses |z| roundings of its argument, and |B| < 700 loses one itself
    assert abs(float(formula().value(letters_at(B, pi))) - sigmoid) <= 1500 * 2.3e-16 * sigmoid


def test_bayes_factors_beyond_the_range_of_exp_give_zero_and_one() -> None:
    assert for_user([-1e4, 1e4], [1.0, 1.0], [0.0, 0.0])["dense_posterior"] == [0.0, 1.0]


def test_the_slope_of_given_predictions_is_that_of_least_squares() -> None:
    predictions = [0.3, 1.9, 0.2]
    found = for_user(**GIVEN, predictions=predictions)
    D = np.subtract(GIVEN["dense_predictions"], GIVEN["sparse_predictions"])
    pulled = np.subtract(predictions, GIVEN["sparse_predictions"])
    (slope,), *_ = np.linalg.lstsq(D[:, None], pulled, rcond=None)
    assert found["slope"] == pytest.approx(slope, rel=1e-14)
    assert abs(found["slope"] - found["expected_slope"]) <= found["largest_departure"]
    own = for_user(**GIVEN)
    assert own["slope"] == pytest.approx(own["expected_slope"], rel=1e-15)
    assert own["largest_departure"] == 0


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"dense_probability": 1.0}, "dense_probability needs a number between 0 and 1"),
        ({"dense_predictions": [1.0]}, "dense_predictions needs a list of 3 numbers"),
        ({"log_bayes_factors": 2.0}, "log_bayes_factors needs a list of at least one number"),
        ({"predictions": [[1.0, 2.0, 3.0]]}, "predictions needs a list of 3 numbers"),
        ({"sparse_predictions": [1.0, 2.0, 3.0]}, "equal everywhere"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(AssumptionError, match=words):
        for_user(**{**GIVEN, **changed})
