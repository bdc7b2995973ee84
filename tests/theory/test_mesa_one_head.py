"""One head on orthogonal dynamics: slopes, second derivatives, the order of losses, and steps from other starts."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from iclcheck.theory.mesa.autocorrelations import autocorrelations, radial_factor
from iclcheck.theory.mesa.one_head import (
    BLOCKS,
    HeadLoss,
    derivation,
    head_loss,
    negative_and_zero_pivots,
    numbers_of_head,
    one_head,
    prediction,
    refutation,
)
from iclcheck.theory.mesa.one_layer_optimum import GRADIENT_STEP, Feature, inner_product, least_loss, positions
from iclcheck.theory.mesa.one_step_rate import derived_step_loss
from iclcheck.theory.one_layer.assumptions import AssumptionError


def test_every_step_holds_at_its_instances() -> None:
    assert derivation().failures(range(4)) == []
    assert refutation().failures(range(2)) == []


def value(loss: HeadLoss, numbers: Any) -> Fraction:
    x = loss.coefficients(numbers)
    total: Fraction = x @ loss.gram @ x / 2 - loss.right @ x
    return total


def test_slopes_and_second_derivatives_are_those_of_differences() -> None:
    """At a point of no symmetry: the loss has degree 2 in each number, so central differences are exact."""
    loss = head_loss(2, 5)
    at = np.array([Fraction(k, 7) for k in (3, -2, 1, 4, -5, 2)], dtype=object)
    slope, hessian = loss.slope(at), loss.hessian(at)
    unit = np.array([[Fraction(int(i == j)) for j in range(6)] for i in range(6)], dtype=object)
    for i in range(6):
        up, down = value(loss, at + unit[i]), value(loss, at - unit[i])
        assert slope[i] == (up - down) / 2
        assert hessian[i, i] == up + down - 2 * value(loss, at)
        for j in range(i):
            corners = [value(loss, at + s * unit[i] + t * unit[j]) * s * t for s in (1, -1) for t in (1, -1)]
            assert hessian[i, j] == hessian[j, i] == sum(corners) / 4


def test_a_head_at_other_blocks_has_a_slope() -> None:
    numbers = numbers_of_head(3, 5)
    numbers[3] = numbers[3] * Fraction(21, 20)
    assert any(head_loss(3, 5).slope(numbers))


def test_signs_are_counted_exactly() -> None:
    matrix = np.array([[Fraction(x) for x in row] for row in ((2, 1, 0), (1, -3, 0), (0, 0, 0))], dtype=object)
    assert negative_and_zero_pivots(matrix) == (1, 1)
    swap = np.array([[Fraction(0), Fraction(1)], [Fraction(1), Fraction(0)]], dtype=object)
    with pytest.raises(ArithmeticError, match="pivot"):
        negative_and_zero_pivots(swap)


@pytest.mark.parametrize(("n", "length", "negative"), [(2, 5, 0), (2, 6, 1), (2, 9, 1), (3, 9, 0), (5, 6, 0)])
def test_the_head_is_a_minimum_but_for_long_sequences_in_the_plane(n: int, length: int, negative: int) -> None:
    found = negative_and_zero_pivots(head_loss(n, length).hessian(numbers_of_head(n, length)))
    assert found == (negative, 1)


def test_the_descending_direction_in_the_plane_does_descend() -> None:
    """At n = 2, T = 6: along the eigenvector of the negative eigenvalue the exact loss falls on both sides."""
    loss, at = head_loss(2, 6), numbers_of_head(2, 6)
    values, vectors = np.linalg.eigh(loss.hessian(at).astype(float))
    assert values[0] < 0
    step = np.array([Fraction(round(1e6 * x), 10**8) for x in vectors[:, 0]], dtype=object)
    assert value(loss, at + step) < value(loss, at) > value(loss, at - step)


def test_a_step_from_another_start_is_worse_by_a_square() -> None:
    """yhat = phi s_t + eta sum (s_t' - phi s_(t'-1)) (s_(t'-1) . s_t), from the features and the state itself."""
    n, T = 3, 5
    moments, rate = autocorrelations(n), derived_step_loss(n, T).rate
    values = Feature("G", 1, 1, 0)
    state = sum(moments.moment(j, k) * count for terms in positions(values, T) for (j, k), count in terms.items())
    square = (T - 1) * n - 2 * rate * state + rate**2 * inner_product(values, values, T, moments)
    assert square > 0  # |s_t - eta G(1,1,0)|^2, what phi^2 comes with


def test_the_sphere_has_the_moments_of_its_radius() -> None:
    for n, count in ((1, 2), (3, 3), (5, 2)):
        chi_squared = np.prod([n + 2 * k for k in range(count)])
        assert radial_factor(n, count, "sphere") * int(chi_squared) == n**count
        assert radial_factor(n, count, "gaussian") == 1
    gaussian, sphere = one_head(4, 6), one_head(4, 6, "sphere")
    for feature, x in gaussian.coefficients.items():
        assert sphere.coefficients[feature] == x * Fraction(4 + 4, 4)


def test_blocks_are_listed_as_their_numbers() -> None:
    loss = head_loss(2, 4)
    numbers = np.array([Fraction(k) for k in (2, 3, 5, 7, 11, 13)], dtype=object)
    found = dict(zip(BLOCKS, loss.coefficients(numbers), strict=True))
    assert (found[0, 1, 0], found[1, 0, 1]) == (2 * 11, 3 * 7)


def test_losses_are_ordered_and_the_second_block_is_small_at_the_paper_s_size() -> None:
    found = prediction(10, 50)
    assert found.optimum_loss < found.loss < found.gradient_step_loss < 5
    assert 0 < -found.second_block / found.first_block < 0.1
    assert least_loss([GRADIENT_STEP], 10, 50).loss == derived_step_loss(10, 50).least


@pytest.mark.parametrize("given", [(1, 5), (3, 3), (3, 5, "cube")])
def test_heads_that_are_not_derived_are_refused(given: tuple[Any, ...]) -> None:
    with pytest.raises(AssumptionError, match="need"):
        prediction(*given)
