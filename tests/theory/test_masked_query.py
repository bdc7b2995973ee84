"""The layer with a masked query: its odd part is that of the full layer, its even part is another."""

from typing import Any

import numpy as np

from iclcheck.theory.algebra.evaluation import evaluate
from iclcheck.theory.one_layer.layer import odd_and_even, prediction
from iclcheck.theory.one_layer.masked_query import masked_even_loss, masked_prediction, query_column
from iclcheck.theory.one_layer.population_loss import general_even_loss
from iclcheck.theory.one_layer.prompt_law import PromptLaw
from iclcheck.theory.symbols import ZERO

LAW = PromptLaw()


def test_the_odd_part_does_not_know_the_mask() -> None:
    assert odd_and_even(masked_prediction(LAW))[0] - odd_and_even(prediction(LAW))[0] == ZERO
    assert odd_and_even(query_column(LAW))[0] == ZERO
    assert query_column(LAW) != ZERO


ONE = np.array([[1.0]])


def scalar(polynomial: Any, **changed: Any) -> float:
    """The value at d = N = 1 with all weights 1, Psi = Lambda = 1: sums of small whole numbers, exact in floats."""
    letters = {
        "Lambda": ONE,
        "Psi": ONE,
        "N": 1.0,
        "N+1": 2.0,
        "sigma2": 0.0,
        "u": 1.0,
        "u12": ONE,
        "U": ONE,
        "u21": ONE,
    }
    return float(np.asarray(evaluate(polynomial, {**letters, **changed})).reshape(()))


def test_at_one_example_in_one_dimension_it_is_a_moment_of_normal_numbers() -> None:
    """With y = w x the even part is x_q x^2 (1 + w^2), and E x_q^2 x^4 (1 + w^2)^2 = 3 (1 + 2 + 3); with the query's
    column there is x_q^3 besides: E (x_q x^2 (1 + w^2) + x_q^3)^2 = 18 + 2 * 3 * 1 * 2 + 15."""
    assert scalar(masked_even_loss()) == 18 / 2
    assert scalar(general_even_loss()) == (18 + 12 + 15) / 2


def test_noise_enters_through_the_squared_labels() -> None:
    """With y = w x + eps, Var eps = 2: at u12 = 0 the even part is y^2 x_q, E y^4 = 9 + 6 * 2 + 3 * 4."""
    assert scalar(masked_even_loss(), u12=0 * ONE, sigma2=2.0) == (9 + 12 + 12) / 2
