"""Numbers outside a statement's assumptions are refused, with what was needed, what came and what to do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from iclcheck.theory.one_layer import fixed_point, population_loss, random_context_length
from iclcheck.theory.one_layer.assumptions import check_covariance

GOOD = [[2.0, 0.5], [0.5, 1.0]]


@pytest.mark.parametrize(
    "covariance,message",
    [
        (
            [[1.0, 0.2], [0.1, 1.0]],
            r"covariance needs a symmetric matrix.*differ by 0.1 .*give \(C \+ C\^T\)/2",
        ),
        (
            [[1.0, 2.0], [2.0, 1.0]],
            "covariance has eigenvalue -1; the statement is derived for positive definite",
        ),
        ([[1.0, 1.0], [1.0, 1.0]], "derived for positive definite matrices, give one"),
        ([[0.0]], "has eigenvalue 0; the statement is derived for positive definite"),
        ([[math.nan, 0.0], [0.0, 1.0]], "covariance holds NaN or infinite entries; give finite numbers"),
        ([[math.inf]], "covariance holds NaN or infinite entries"),
        ([[None]], "covariance holds NaN or infinite entries"),
        (
            [[True, False], [False, True]],
            "covariance holds true/false where numbers are needed; write numbers",
        ),
        (np.array([[True]]), "covariance is not an array of real numbers"),
        ("identity", "covariance is not an array of real numbers"),
        ([["1.0"]], "covariance is not an array of real numbers"),
        ([["a", 1.0], [1.0, 2.0]], "write nested lists of numbers"),
        ([[1j]], "covariance is not an array of real numbers"),
        ([[10**400]], "covariance is not an array of real numbers"),
        ([[1.0, 2.0], [1.0]], "with rows of equal length; write nested lists of numbers"),
        ({"a": 1}, "covariance is not an array of real numbers"),
        ([1.0, 2.0], r"covariance needs a square matrix, got shape \(2,\); write nested lists, \[\[2.0\]\]"),
        (2.0, r"covariance needs a square matrix, got shape \(\)"),
        ([[1.0, 2.0]], r"covariance needs a square matrix, got shape \(1, 2\)"),
        ([], r"covariance needs a square matrix, got shape \(0,\)"),
        ([[]], r"covariance needs a square matrix, got shape \(1, 0\)"),
        (np.zeros((0, 0)), r"covariance needs a square matrix, got shape \(0, 0\)"),
    ],
)
def test_covariances_outside_the_statement_are_refused(covariance: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fixed_point.fixed_point(covariance, 3)
    with pytest.raises(ValueError, match=message):
        random_context_length.preconditioner(covariance, [3])
    with pytest.raises(ValueError, match=message):
        population_loss.loss_at(covariance, 3, np.eye(3), np.eye(3))


@pytest.mark.parametrize("length", [0, -1, 2.5, True, np.True_, "3", None, math.nan, math.inf, [3], 1j, 10**400])
def test_context_lengths_that_are_no_whole_numbers_are_refused(length: Any) -> None:
    with pytest.raises(
        ValueError, match=r"context_length needs a whole number of at least 1, got .*give one such as 20"
    ):
        fixed_point.fixed_point(GOOD, length)
    with pytest.raises(ValueError, match="each of context_lengths needs a whole number of at least 1"):
        random_context_length.preconditioner(GOOD, [2, length])


@pytest.mark.parametrize("lengths", [[], 3, "34", None, {3: 4}])
def test_context_lengths_that_are_no_list_are_refused(lengths: Any) -> None:
    with pytest.raises(ValueError, match=r"context_lengths needs a list of whole numbers, got .*write \[4, 8, 16\]"):
        random_context_length.preconditioner(GOOD, lengths)


@pytest.mark.parametrize("length", [3, 3.0, np.int64(3), np.float64(3)])
def test_whole_numbers_of_any_type_are_taken(length: Any) -> None:
    assert fixed_point.fixed_point(GOOD, length).loss == fixed_point.fixed_point(GOOD, 3).loss


@pytest.mark.parametrize(
    "noise,message",
    [
        (-0.1, "noise_variance needs a number of at least 0, got -0.1; a variance is not negative"),
        (math.nan, "noise_variance holds NaN or infinite entries"),
        (True, "noise_variance holds true/false"),
        ("0.1", "noise_variance needs a number, got '0.1'"),
        ([0.1], r"noise_variance needs one number, got shape \(1,\); give a scalar"),
    ],
)
def test_noise_variances_outside_the_statement_are_refused(noise: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fixed_point.fixed_point(GOOD, 3, None, noise)


@pytest.mark.parametrize(
    "task,message",
    [
        (
            [[0.0, 0.0], [0.0, 0.0]],
            "task_covariance is zero, so there is nothing to predict; give a non-zero one",
        ),
        (
            [[1.0]],
            r"task_covariance needs shape \(2, 2\) like the covariance, got \(1, 1\); give both for the same",
        ),
        ([[1.0, 0.0], [0.0, -1.0]], "task_covariance has eigenvalue -1; .* positive semi-definite matrices"),
        ([[1.0, 0.1], [0.0, 1.0]], "task_covariance needs a symmetric matrix"),
        ([[1.0, "x"], [0.0, 1.0]], "task_covariance is not an array of real numbers"),
    ],
)
def test_task_covariances_outside_the_statement_are_refused(task: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fixed_point.fixed_point(GOOD, 3, task)


@pytest.mark.parametrize(
    "value_weights,key_query_weights,message",
    [
        (
            np.eye(2),
            np.eye(3),
            r"value_weights needs shape \(3, 3\), got \(2, 2\); check its rows against the dimension",
        ),
        (np.eye(3), np.ones((3, 2)), r"key_query_weights needs shape \(3, 3\), got \(3, 2\)"),
        (np.eye(3) * math.nan, np.eye(3), "value_weights holds NaN"),
    ],
)
def test_weights_of_another_shape_are_refused(value_weights: Any, key_query_weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        population_loss.loss_at(GOOD, 3, value_weights, key_query_weights)


def test_a_covariance_typed_with_ten_digits_counts_as_symmetric() -> None:
    typed = [[2.0, 0.3333333333], [0.33333333333, 1.0]]
    taken = check_covariance(typed)
    assert np.array_equal(taken, taken.T)
    assert taken[0, 1] == pytest.approx(1 / 3, abs=1e-10)
    assert fixed_point.fixed_point(typed, 3).preconditioner.shape == (2, 2)
