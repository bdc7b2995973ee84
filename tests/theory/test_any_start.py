"""The leaking points: where they are, what they cost, and when training stays at them."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy as sp

from iclcheck.theory.algebra.trace_polynomials import TracePolynomial
from iclcheck.theory.one_layer import any_start
from iclcheck.theory.one_layer.fixed_point import exact_value, fixed_point
from iclcheck.theory.one_layer.population_loss import general_loss, noiseless_loss
from iclcheck.theory.one_layer.prompt_law import PromptLaw

EYE = np.eye(2)


def law(d: int, seed: int) -> Any:
    """Lambda, Psi and sigma^2, the first two with bases of their own."""
    draw = np.random.default_rng(seed)
    roots = draw.normal(size=(2, d, d))
    return roots[0] @ roots[0].T + np.eye(d) / 2, roots[1] @ roots[1].T + np.eye(d) / 2, 0.3 * seed


def flat(weights: Any) -> Any:
    """The entries that enter: last row of W_PV, all but the last column of W_KQ."""
    return np.concatenate([weights[0][-1], weights[1][:, :-1].ravel()])


def unflat(values: Any, d: int) -> Any:
    W_PV, W_KQ = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d + 1))
    W_PV[-1], W_KQ[:, :-1] = values[: d + 1], values[d + 1 :].reshape(d + 1, d)
    return W_PV, W_KQ


def hessian(loss: Any, Lambda: Any, n: int, weights: Any) -> Any:
    """Second derivatives by central differences of the gradient."""
    d, base, step = len(Lambda), flat(weights), 1e-4
    rows = []
    for k in range(len(base)):
        moved = step * np.eye(len(base))[k]
        up, down = (flat(loss.gradients(Lambda, n, unflat(base + s * moved, d))) for s in (1, -1))
        rows.append((up - down) / (2 * step))
    return np.array(rows)


def test_every_step_holds_at_three_instances() -> None:
    assert any_start.derivation().failures(range(3)) == []


def test_every_step_has_a_check() -> None:
    assert all(step.check is not None for step in any_start.derivation().steps)


def altered_terms(polynomial: TracePolynomial) -> Iterator[TracePolynomial]:
    for monomial, value in polynomial.terms.items():
        terms = {**polynomial.terms, monomial: value * Fraction(8, 7)}
        yield TracePolynomial(polynomial.rows, polynomial.cols, terms)


def test_an_altered_loss_on_the_slice_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    for altered in altered_terms(any_start.loss_on_the_slice(PromptLaw())):
        monkeypatch.setattr(any_start, "loss_on_the_slice", lambda _, altered=altered: altered)
        step = next(one for one in any_start.slice_steps() if one.name == "the loss on the slice")
        assert not all(step.holds_at(seed) for seed in (0, 1))


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)])
def test_an_altered_second_derivative_is_caught(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    altered = any_start.second_derivatives().copy()
    for i, j in {place, place[::-1]}:
        altered[i, j] = altered[i, j] * sp.Rational(8, 7)
    monkeypatch.setattr(any_start, "second_derivatives", lambda: altered)
    found, derived = any_start.probed_second_differences(1)
    assert found != derived


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_leaking_point_is_stationary_for_any_law(d: int, n: int) -> None:
    for seed in range(3):
        Lambda, Psi, sigma2 = law(d, seed)
        point, best = any_start.leaking_point(Lambda, n, Psi, sigma2), fixed_point(Lambda, n, Psi, sigma2)
        loss, weights = general_loss().for_task(Psi, sigma2), (point.value_weights, point.key_query_weights)
        # rounding of a truncation of condition numbers below 1e3, and of values below 1e3
        assert np.abs(flat(loss.gradients(Lambda, n, weights))).max() < 1e-10 * np.linalg.norm(Lambda) ** 2
        assert loss.value(Lambda, n, weights) == pytest.approx(point.loss, rel=1e-11)
        np.testing.assert_allclose(np.outer(weights[0][-1, :d], weights[1][-1, :d]), point.preconditioner, rtol=1e-12)
        assert (point.loss > best.loss * (1 + 1e-6)) == (d > 1)


def test_at_dimension_one_the_leaking_point_has_the_predicted_preconditioner() -> None:
    point, best = any_start.leaking_point([[2.0]], 3, [[0.7]], 0.2), fixed_point([[2.0]], 3, [[0.7]], 0.2)
    np.testing.assert_allclose(point.preconditioner, best.preconditioner, rtol=1e-14)
    assert point.loss == pytest.approx(best.loss, rel=1e-14)


@pytest.mark.parametrize("d", [2, 3, 4])
def test_the_discriminant_tells_minima_from_saddles(d: int) -> None:
    for n in range(1, 9):
        point = any_start.leaking_point(np.eye(d), n)
        weights = (point.value_weights, point.key_query_weights)
        eigenvalues = np.linalg.eigvalsh(hessian(noiseless_loss(), np.eye(d), n, weights))
        # scale and d - 1 rotations are flat; differences of step 1e-4 err by about 1e-7, the others are above 5e-3
        flat_ones = np.sum(np.abs(eigenvalues) < 1e-5)
        assert flat_ones == d
        assert (eigenvalues[0] > -1e-5) == any_start.leaking_point_is_a_local_minimum(d, n)


def test_the_leaking_point_is_a_local_minimum_up_to_these_lengths() -> None:
    longest = {d: max(n for n in range(1, 30) if any_start.leaking_point_is_a_local_minimum(d, n)) for d in range(2, 6)}
    assert longest == {2: 4, 3: 3, 4: 2, 5: 2}


def counterexample() -> Any:
    """d = 2: u12 = u21 = (1/2, 0), u = 1/4, U = I/4."""
    W_PV, W_KQ = np.zeros((3, 3)), np.zeros((3, 3))
    W_PV[-1] = [0.5, 0, 0.25]
    W_KQ[:2, :2], W_KQ[2, 0] = EYE / 4, 0.5
    return W_PV, W_KQ


def with_neighbours(start: Any) -> Any:
    """The start, and 20 more with every entry moved by normal numbers of standard deviation 1/20."""
    noise = np.random.default_rng(0).normal(size=(20, 9)) / 20
    moved = [start, *(unflat(flat(start) + one, 2) for one in noise)]
    return np.stack([one[0] for one in moved]), np.stack([one[1] for one in moved])


@pytest.mark.parametrize("rate, steps", [(0.05, 800), (0.02, 2000)])
def test_the_smallest_counterexample_descends_to_the_leaking_point_with_its_neighbours(rate: float, steps: int) -> None:
    loss, start = noiseless_loss(), counterexample()
    W_PV, W_KQ = loss.descend(EYE, 1, with_neighbours(start), rate, steps)
    assert loss.value(EYE, 1, start) == 1.484375
    assert fixed_point(EYE, 1).loss == 3 / 4
    # the smallest curvature that is not flat is 0.38 there: errors fall like exp(-0.38 * 40) < 3e-7, losses like its
    # square
    np.testing.assert_allclose(loss.value(EYE, 1, (W_PV, W_KQ)), 7 / 8, atol=1e-9)
    A = W_PV[0, -1, -1] * W_KQ[0, :2, :2] + np.outer(W_PV[0, -1, :2], W_KQ[0, -1, :2])
    np.testing.assert_allclose(A, np.array([[0.25, 0], [0, 0]]), atol=1e-6)


def test_the_general_loss_is_the_noiseless_one_without_noise() -> None:
    loss, weights = general_loss().for_task(EYE, 0.0), counterexample()
    Lambda = np.array([[2.0, 0.5], [0.5, 1.0]])
    assert loss.value(Lambda, 3, weights) == pytest.approx(noiseless_loss().value(Lambda, 3, weights), rel=1e-14)
    assert loss.for_task(2 * EYE, 0.3).value(Lambda, 3, weights) != loss.value(Lambda, 3, weights)
    assert general_loss().task == {}


def test_the_discriminant_at_length_one_is_positive_in_every_dimension() -> None:
    numerator, denominator = sp.fraction(any_start.at_length_one())
    for part in (numerator, denominator):
        assert all(coefficient > 0 for coefficient in sp.Poly(part).coeffs())
    assert exact_value(any_start.discriminant(), {"d": 2, "N": 1}) > 0
