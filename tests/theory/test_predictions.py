"""The numbers that theory hands out, against enumeration, product quadrature and plain NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iclcheck.theory.algebra.evaluation import evaluate
from iclcheck.theory.algebra.trace_polynomials import scalar
from iclcheck.theory.one_layer import (
    fixed_point,
    gradient_step,
    population_loss,
    random_context_length,
    stationarity,
    uniform_covariates,
)
from iclcheck.theory.one_layer.population_loss import LossOnWeights, noiseless_loss, numbers
from iclcheck.theory.one_layer.prompt_law import PromptLaw

Quadrature = Callable[..., float]
Isserlis = Callable[..., Any]
Array = Any
Weights = tuple[Any, Any]

# Covariances below have eigenvalues in [1/2, 3] times a scale. E[s s^T] is at most 2 x 27 + 72 x 3 < 300, and
# with a Psi of rank 1 and N = 24 at least 1/2 x 1/4 / 24: a condition number below 6e4. Solving with it in
# float64 gives about 6e4 x 8 x 2.2e-16 = 1e-10 at worst.
RELATIVE = 1e-9


def random_covariance(draw: np.random.Generator, d: int, rank: int | None = None) -> Array:
    rotation, _ = np.linalg.qr(draw.normal(size=(d, d)))
    eigenvalues = draw.uniform(0.5, 3.0, size=d)
    eigenvalues[rank if rank is not None else d :] = 0
    covariance = (rotation * eigenvalues) @ rotation.T
    return (covariance + covariance.T) / 2


# The reduced loss by tensor moments.


def moments_of_s(Lambda: Array, Psi: Array, noise: float, n: int) -> tuple[Array, Array]:
    """E[s s^T] and E[s w^T], s = (1/N) sum_i (w.x_i + eps_i) x_i: a double sum over samples, Isserlis' fourth
    moments E[x_a x_b x_c x_d] as a tensor."""
    same = (
        np.einsum("ab,cd->abcd", Lambda, Lambda)
        + np.einsum("ac,bd->abcd", Lambda, Lambda)
        + np.einsum("ad,bc->abcd", Lambda, Lambda)
    )
    different = np.einsum("ab,cd->abcd", Lambda, Lambda)
    second = np.zeros_like(Lambda)
    for i, j in product(range(n), repeat=2):
        second += np.einsum("abcd,bc->ad", same if i == j else different, Psi)
        second += noise * Lambda if i == j else 0
    return second / n**2, Lambda @ Psi


def quadratic_loss(A: Array, M: Array, C: Array, Lambda: Array, Psi: Array) -> float:
    """1/2 E (s^T A x_q - w.x_q)^2 with x_q of covariance Lambda."""
    return float(np.trace(A.T @ M @ A @ Lambda) / 2 - np.trace(A.T @ C @ Lambda) + np.trace(Psi @ Lambda) / 2)


def brute_fixed_point(Lambda: Array, Psi: Array, noise: float, n: int) -> tuple[Array, float]:
    """The A whose slope M A Lambda - C Lambda vanishes, and the loss there."""
    M, C = moments_of_s(Lambda, Psi, noise, n)
    A = np.linalg.solve(M, C)
    return A, quadratic_loss(A, M, C, Lambda, Psi)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    d=st.integers(1, 8),
    n=st.integers(1, 24),
    noise=st.sampled_from([0.0, 0.3, 5.0]),
    rank=st.integers(1, 8),
    exponent=st.integers(-6, 6),
    seed=st.integers(0, 10**6),
)
def test_the_fixed_point_is_the_stationary_point_of_the_enumerated_loss(
    d: int, n: int, noise: float, rank: int, exponent: int, seed: int
) -> None:
    """Non-commuting Lambda and Psi, singular Psi, N < d, overall scales of Lambda from 1e-6 to 1e6."""
    draw = np.random.default_rng(seed)
    scale = 10.0**exponent
    Lambda, Psi = scale * random_covariance(draw, d), random_covariance(draw, d, min(rank, d))
    found = fixed_point.fixed_point(Lambda.tolist(), n, Psi.tolist(), noise * scale)
    A, loss = brute_fixed_point(Lambda, Psi, noise * scale, n)
    assert np.linalg.norm(found.preconditioner - A) <= RELATIVE * np.linalg.norm(A)
    assert np.array_equal(found.preconditioner, found.preconditioner.T)
    # The loss is tr(Psi Lambda)/2 minus a part of it; at N <= 24 at least a 26th of it is left.
    assert found.loss == pytest.approx(loss, rel=RELATIVE)
    assert np.linalg.matrix_rank(A, tol=1e-6 * np.linalg.norm(A, 2)) == min(rank, d)


def test_defaults_are_the_identity_task_covariance_and_no_noise() -> None:
    Lambda = [[2.0, 0.5], [0.5, 1.0]]
    default = fixed_point.fixed_point(Lambda, 3)
    explicit = fixed_point.fixed_point(Lambda, 3, [[1, 0], [0, 1]], 0)
    assert np.array_equal(default.preconditioner, explicit.preconditioner)
    assert default.loss == explicit.loss


@settings(max_examples=20, deadline=None, derandomize=True)
@given(d=st.integers(1, 6), n=st.integers(1, 9), seed=st.integers(0, 10**6))
def test_the_balanced_weights_have_the_minimal_loss_of_the_full_layer(d: int, n: int, seed: int) -> None:
    Lambda = random_covariance(np.random.default_rng(seed), d)
    found = fixed_point.fixed_point(Lambda, n)
    u, U = found.value_weights[d, d], found.key_query_weights[:d, :d]
    np.testing.assert_allclose(u * U, found.preconditioner, rtol=RELATIVE, atol=0)
    assert u == pytest.approx(np.linalg.norm(U), rel=RELATIVE)
    assert u > 0
    assert np.count_nonzero(found.value_weights) == 1
    assert not found.key_query_weights[d].any()
    assert not found.key_query_weights[:, d].any()
    weights = (found.value_weights, found.key_query_weights)
    assert population_loss.loss_at(Lambda, n, *weights) == pytest.approx(found.loss, rel=RELATIVE)
    slopes = noiseless_loss().gradients(Lambda, n, weights)
    # gradients are differences of terms of size |Lambda|^3 (1 + d) u < 1e3
    assert max(np.abs(slope).max() for slope in slopes) < 1e-12 * 1e3
    for _ in range(5):  # and no other weights near by have a lower loss
        moved = tuple(w + 0.1 * np.random.default_rng([seed, _]).normal(size=w.shape) for w in weights)
        assert population_loss.loss_at(Lambda, n, *moved) > found.loss


@pytest.mark.parametrize("d", [1, 3])
def test_for_rank_one_the_second_family_is_a_global_minimum_too(d: int) -> None:
    """u = 0, U = 0, u12 u21^T = A*: d = 1, or Psi of rank 1 in more dimensions."""
    draw = np.random.default_rng(d)
    Lambda, Psi = random_covariance(draw, d), random_covariance(draw, d, rank=1)
    found = fixed_point.fixed_point(Lambda, 4, Psi, 0.7)
    left, values, right = np.linalg.svd(found.preconditioner)
    W_PV, W_KQ = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d + 1))
    W_PV[d, :d], W_KQ[d, :d] = values[0] * left[:, 0], right[0]
    there = {**numbers(Lambda, 4, (W_PV, W_KQ)), "Psi": Psi, "sigma2": 0.7}
    assert evaluate(population_loss.population_loss(PromptLaw()), there) == pytest.approx(found.loss, rel=RELATIVE)


# The loss on all parameters.


def layer_error(weights: Weights, root: Array, d: int, n: int) -> Callable[[Array], Array]:
    """(yhat - w.x_q)^2 of the literal layer as a function of standardised (x_1 .. x_N, x_q, w), batched."""
    W_PV, W_KQ = weights

    def squared_error(z: Array) -> Array:
        points = z.shape[1]
        columns = np.einsum("ab,ibp->pai", root, z[: d * (n + 1)].reshape(n + 1, d, points))  # (p, d, N + 1)
        w = z[d * (n + 1) :]
        labels = np.einsum("ap,pai->pi", w, columns)
        target = labels[:, n].copy()
        labels[:, n] = 0
        E = np.concatenate([columns, labels[:, None, :]], axis=1)  # (p, d + 1, N + 1)
        scores = np.einsum("pai,ab,pb->pi", E, W_KQ, E[:, :, n], optimize=True)
        update = np.einsum("a,pai,pi->p", W_PV[d], E, scores, optimize=True) / n
        error: Array = E[:, d, n] + update - target
        return error**2

    return squared_error


def loss_by_quadrature(mean: Quadrature, weights: Weights, Lambda: Array, n: int) -> float:
    """yhat is of degree 2 in each x_i and in w, 3 in x_q: 3, 3 and 4 nodes are exact for its square."""
    d = len(Lambda)
    nodes = [3] * (d * n) + [4] * d + [3] * d
    return mean(layer_error(weights, np.linalg.cholesky(Lambda), d, n), nodes) / 2


def random_weights(draw: np.random.Generator, d: int) -> Weights:
    return draw.normal(size=(d + 1, d + 1)), draw.normal(size=(d + 1, d + 1))


@pytest.mark.parametrize("d,n", [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_loss_on_all_parameters_is_the_integral_over_prompts(
    d: int, n: int, seed: int, quadrature_mean: Quadrature
) -> None:
    """N^2 E yhat^2 is a quadratic in N (pairs of samples are equal or not), so few N settle all."""
    draw = np.random.default_rng([d, n, seed])
    Lambda, weights = random_covariance(draw, d), random_weights(draw, d)
    found = population_loss.loss_at(Lambda, n, *weights)
    # product rules have positive weights, so their rounding is that of a mean of positive terms
    assert found == pytest.approx(loss_by_quadrature(quadrature_mean, weights, Lambda, n), rel=1e-11)


@pytest.mark.parametrize("d,n", [(1, 1), (1, 4), (2, 1), (2, 2)])
def test_the_general_loss_is_the_sum_over_pairings(
    d: int, n: int, random_column: Callable[[str, int, int], Any], isserlis: Isserlis
) -> None:
    """Any Psi and noise, exactly: the layer multiplied out in components, its mean over all pairings."""
    draw = np.random.default_rng([d, n, 17])

    def entries(rows: int, cols: int) -> Any:
        drawn = draw.integers(-2, 3, size=(rows, cols))
        return np.array([Fraction(int(e)) for e in drawn.reshape(-1)], dtype=object).reshape(rows, cols)

    Lambda, Psi = (root @ root.T for root in (entries(d, d), entries(d, d)))
    u12, U, u21, u, sigma2 = entries(d, 1), entries(d, d), entries(d, 1), Fraction(3), Fraction(2, 3)
    query, task = random_column("q", 0, d), random_column("w", 0, d)
    yhat: Any = (u12.T @ query)[0, 0] * (query.T @ U @ query)[0, 0]
    for i in range(n):
        x, eps = random_column("x", i, d), random_column("eps", i, 1)
        y = (task.T @ x + eps)[0, 0]
        yhat = yhat + ((u12.T @ x)[0, 0] + u * y) * ((x.T @ U @ query)[0, 0] + y * (u21.T @ query)[0, 0])
    error = yhat * Fraction(1, n) - (task.T @ query)[0, 0]
    covariances = {"x": Lambda, "q": Lambda, "w": Psi, "eps": [[sigma2]]}
    values = {"Lambda": Lambda, "Psi": Psi, "sigma2": sigma2, "N": Fraction(n)}
    weights = {"u12": u12, "u": u, "U": U, "u21": u21}
    assert (
        evaluate(population_loss.population_loss(PromptLaw()), {**values, **weights})
        == isserlis(error * error, covariances) / 2
    )


@pytest.mark.parametrize("d", [3, 4, 6])
def test_the_loss_does_not_change_when_the_prompt_is_rotated(d: int) -> None:
    """x -> R x and w -> R w leave the prompt's labels, in dimensions that the quadrature does not reach."""
    draw = np.random.default_rng(d)
    Lambda, (W_PV, W_KQ) = random_covariance(draw, d), random_weights(draw, d)
    rotation, _ = np.linalg.qr(draw.normal(size=(d, d)))
    full = np.eye(d + 1)
    full[:d, :d] = rotation
    rotated = population_loss.loss_at(rotation @ Lambda @ rotation.T, 5, full @ W_PV @ full.T, full @ W_KQ @ full.T)
    assert rotated == pytest.approx(population_loss.loss_at(Lambda, 5, W_PV, W_KQ), rel=RELATIVE)


@pytest.mark.parametrize("d,n", [(1, 1), (1, 2), (2, 1)])
def test_the_gradients_are_the_slopes_of_the_integral(d: int, n: int, quadrature_mean: Quadrature) -> None:
    """L is a quartic along each line, so (f(-2) - 8 f(-1) + 8 f(1) - f(2))/12 is its slope, without error."""
    draw = np.random.default_rng([d, n, 5])
    Lambda, weights = random_covariance(draw, d), random_weights(draw, d)
    slopes = noiseless_loss().gradients(Lambda, n, weights)
    for which, position in [(k, p) for k in (0, 1) for p in np.ndindex(d + 1, d + 1)]:

        def along(t: float, which: int = which, position: tuple[int, ...] = position) -> float:
            moved = (weights[0].copy(), weights[1].copy())
            moved[which][position] += t
            return loss_by_quadrature(quadrature_mean, moved, Lambda, n)

        slope = (along(-2) - 8 * along(-1) + 8 * along(1) - along(2)) / 12
        size = along(-2) + along(2)  # rounding: some 1e2 eps of the largest value
        assert slopes[which][position] == pytest.approx(slope, abs=1e-13 * 100 * (1 + size))


def test_values_gradients_and_steps_are_batched() -> None:
    draw = np.random.default_rng(3)
    d, loss = 3, noiseless_loss()
    Lambda = np.stack([random_covariance(draw, d) for _ in range(4)])
    lengths = np.array([1.0, 2.0, 5.0, 30.0])
    weights = (draw.normal(size=(4, d + 1, d + 1)), draw.normal(size=(4, d + 1, d + 1)))
    values, slopes = loss.value(Lambda, lengths, weights), loss.gradients(Lambda, lengths, weights)
    moved = loss.descend(Lambda, lengths, weights, np.array([1e-3, 0, 2e-3, 1e-3]), steps=2)
    for k, rate in enumerate([1e-3, 0, 2e-3, 1e-3]):
        one = (weights[0][k], weights[1][k])
        np.testing.assert_allclose(values[k], loss.value(Lambda[k], lengths[k], one), rtol=1e-12)
        for _ in range(2):
            slope = loss.gradients(Lambda[k], lengths[k], one)
            one = (one[0] - rate * slope[0], one[1] - rate * slope[1])
        for whole, part in zip(moved, one, strict=True):
            np.testing.assert_allclose(whole[k], part, rtol=1e-11, atol=1e-11)
        assert slopes[0][k].shape == (d + 1, d + 1)
    assert not slopes[0][:, :d].any()
    assert not slopes[1][..., d].any()


def test_descent_reaches_the_fixed_point_from_a_small_balanced_start() -> None:
    Lambda = np.array([[1.0, 0.3], [0.3, 0.5]])
    start = (np.diag([0, 0, 0.1]), np.diag([0.1, 0.1, 0]))
    found = fixed_point.fixed_point(Lambda, 10)
    W_PV, W_KQ = noiseless_loss().descend(Lambda, 10, start, 0.2, steps=1500)
    np.testing.assert_allclose(W_PV[2, 2] * W_KQ[:2, :2], found.preconditioner, rtol=1e-9)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(d=st.integers(1, 4), n=st.integers(1, 9), exponent=st.integers(-2, 2), seed=st.integers(0, 10**6))
def test_the_rounding_bounds_hold_against_exact_values(d: int, n: int, exponent: int, seed: int) -> None:
    """The floats are rational numbers: evaluating at them exactly shows the rounding error itself."""
    draw = np.random.default_rng(seed)
    Lambda = 10.0**exponent * random_covariance(draw, d)
    weights = random_weights(draw, d)
    (value, bound), slopes, bounds = noiseless_loss().with_rounding(Lambda, n, weights)
    exact: dict[str, Any] = {
        name: np.array([Fraction(e) for e in np.reshape(array, -1)], dtype=object).reshape(np.shape(array))
        for name, array in numbers(Lambda, n, weights).items()
    }
    exact |= {name: Fraction(float(exact[name])) for name in ("u", "N")}
    assert abs(Fraction(value) - evaluate(noiseless_loss().loss, exact)) <= bound
    assert bound < 1e-10 * max(abs(value), 1e-300) * 1e3
    blocks = population_loss.weights_from_blocks(
        {
            name: evaluate(s, exact).astype(float) if np.ndim(evaluate(s, exact)) else float(evaluate(s, exact))
            for name, s in noiseless_loss().slopes.items()
        },
        weights,
    )
    for slope, allowed, true in zip(slopes, bounds, blocks, strict=True):
        # the exact slope is itself rounded once, to half an ulp
        assert (np.abs(slope - true) <= allowed + 2.3e-16 * np.abs(true)).all()


def test_an_altered_loss_gives_other_numbers() -> None:
    loss = noiseless_loss()
    altered = LossOnWeights(loss.loss * Fraction(101, 100))
    weights = (np.eye(3), np.eye(3))
    assert altered.value(np.eye(2), 3, weights) == pytest.approx(1.01 * loss.value(np.eye(2), 3, weights), rel=1e-12)


# One gradient step, random lengths, uniform covariates.


@settings(max_examples=20, deadline=None, derandomize=True)
@given(d=st.integers(1, 5), examples=st.integers(1, 7), n=st.integers(1, 9), seed=st.integers(0, 10**6))
def test_the_gradient_step_predicts_what_one_step_gives(d: int, examples: int, n: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    Lambda, Psi = random_covariance(draw, d), random_covariance(draw, d)
    X, y, query = draw.normal(size=(examples, d)), draw.normal(size=examples), draw.normal(size=d)
    found = gradient_step.predict_for(X, y, query, Lambda, n, Psi, 0.4)
    A, _ = brute_fixed_point(Lambda, Psi, 0.4, n)
    w = np.zeros(d)
    gradient = X.T @ (X @ w - y) / examples
    # a sum of up to 35 terms of size O(|A| |x|^2 |y|) < 1e2
    assert found == pytest.approx(query @ (w - A @ gradient), rel=RELATIVE, abs=1e-11)


@pytest.mark.parametrize(
    "X,y,query,message",
    [
        (
            [[1.0]],
            [1.0],
            [1.0, 2.0],
            r"X needs shape \(examples, 2\) with at least one example, got \(1, 1\)",
        ),
        ([1.0, 2.0], [1.0], [1.0, 2.0], r"X needs shape \(examples, 2\)"),
        (np.zeros((0, 2)), [], [1.0, 2.0], "at least one example"),
        ([[1.0, 2.0]], [1.0, 2.0], [1.0, 2.0], r"y needs one label for each of the 1 rows of X, got shape \(2,\)"),
        ([[1.0, 2.0]], [1.0], [1.0], r"x_query needs shape \(2,\), got \(1,\)"),
        ([[1.0, 2.0]], ["1"], [1.0, 2.0], "y is not an array of real numbers"),
    ],
)
def test_examples_that_do_not_fit_are_refused(X: Any, y: Any, query: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gradient_step.predict_for(X, y, query, np.eye(2).tolist(), 3, None, 0.0)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    d=st.integers(1, 5),
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    noise=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 10**6),
)
def test_random_lengths_average_the_moments_of_each_length(d: int, lengths: list[int], noise: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    Lambda, Psi = random_covariance(draw, d), random_covariance(draw, d)
    moments = [moments_of_s(Lambda, Psi, noise, n) for n in lengths]
    M, C = (np.mean([pair[k] for pair in moments], axis=0) for k in (0, 1))
    expected = np.linalg.solve(M, C)
    found = random_context_length.preconditioner(Lambda.tolist(), lengths, Psi.tolist(), noise)
    assert np.linalg.norm(found - expected) <= RELATIVE * np.linalg.norm(expected)
    one = fixed_point.fixed_point(Lambda, lengths[0], Psi, noise).preconditioner
    alone = random_context_length.preconditioner(Lambda, lengths[:1], Psi, noise)
    np.testing.assert_allclose(alone, one, rtol=RELATIVE)


def uniform_moments(d: int, n: int, a: Fraction) -> tuple[Fraction, Fraction]:
    """(m, l): E[s s^T] = m I and E[x x^T] = l I for x ~ U(-a, a)^d, w ~ N(0, I), all sums written out."""

    def moment(names: list[tuple[int, int]]) -> Fraction:
        value = Fraction(1)
        for name in set(names):
            order = names.count(name)
            value *= a**order / (order + 1) if order % 2 == 0 else 0
        return value

    def entry(p: int, q: int) -> Fraction:  # E s_p s_q, with E w_b w_c = delta_bc
        sums = (moment([(i, p), (i, b), (j, b), (j, q)]) for i, j, b in product(range(n), range(n), range(d)))
        return sum(sums, Fraction(0)) / n**2

    assert all(entry(p, q) == (entry(0, 0) if p == q else 0) for p in range(d) for q in range(d))
    return entry(0, 0), moment([(0, 0), (0, 0)])


@pytest.mark.parametrize("d,n", list(product((1, 2, 3), (1, 2, 3, 4))))
def test_the_uniform_learning_rate_minimises_the_exact_risk(d: int, n: int) -> None:
    for a in (Fraction(1), Fraction(3, 2), Fraction(1, 1000)):
        m, lam = uniform_moments(d, n, a)
        # E (eta s.x_q - w.x_q)^2 = lam d (eta^2 m - 2 eta lam + 1), least at eta = lam/m
        eta, risk = uniform_covariates.learning_rate_and_risk(d, n, float(a))
        exact = lam / m
        assert eta == pytest.approx(float(exact), rel=1e-12)  # rational in three floats: some eps
        assert risk == pytest.approx(float(lam * d * (1 - exact * lam)), rel=1e-11)  # 1 - ... cancels a digit
        assert exact.denominator  # the plain mean of squares is positive, so the minimum exists


@pytest.mark.parametrize("kurtosis_law", ["two points", "uniform"])
def test_any_kurtosis_is_linear_in_kappa_and_exact_at_two_laws(kurtosis_law: str) -> None:
    """M for diagonal Lambda and standardised components with E z^4 = 1 or 9/5, entry by entry."""
    fourth = {"two points": Fraction(1), "uniform": Fraction(9, 5)}[kurtosis_law]
    scales, n = [Fraction(2), Fraction(1, 3), Fraction(5)], 3
    d = len(scales)
    system = fixed_point.stationary_system(uniform_covariates.any_kurtosis())
    diagonal = np.array([[scales[p] if p == q else Fraction(0) for q in range(d)] for p in range(d)], dtype=object)
    values: dict[str, Any] = {
        "Lambda": diagonal,
        "sigma2": Fraction(1, 7),
        "N": Fraction(n),
        "kappa": fourth - 3,
    }

    def moment(names: list[tuple[int, int]]) -> Fraction:
        value = Fraction(1)
        for name in set(names):
            order = names.count(name)
            value *= {2: Fraction(1), 4: fourth}.get(order, Fraction(0)) * scales[name[1]] ** (order // 2)
        return value

    def entry(p: int, q: int) -> Fraction:
        pairs = product(range(n), repeat=2)
        clean = sum((moment([(i, p), (i, b), (j, b), (j, q)]) for i, j in pairs for b in range(d)), Fraction(0))
        noise = n * Fraction(1, 7) * moment([(0, p), (0, q)])
        return (clean + noise) / n**2

    expected = np.array([[entry(p, q) for q in range(d)] for p in range(d)], dtype=object)
    assert np.array_equal(evaluate(system.second_moment, values), expected)


@pytest.mark.parametrize(
    "arguments,message",
    [
        ((0, 3), "dimension needs a whole number of at least 1, got 0"),
        ((2, 2.5), "context_length needs a whole number of at least 1, got 2.5"),
        ((2, 3, 0.0), "half_width needs a number above 0, got 0"),
        ((2, 3, -1.0), "half_width needs a number above 0, got -1"),
        ((2, 3, [1.0]), r"half_width needs one number, got shape \(1,\)"),
    ],
)
def test_uniform_parameters_outside_the_statement_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        uniform_covariates.learning_rate_and_risk(*arguments)


# What a sampled gradient may fluctuate by.


def gradient_draws(
    A: Array, V: Array, root: Array, task_root: Array, noise: float, d: int, n: int, power: int
) -> Callable[[Array], Array]:
    """(mean over the query of (x_q^T A^T s - w.x_q) (s^T V x_q))^power as a function of standardised variables.

    The mean over z_q in {-1, 1}^d is exact up to degree 3 in each z_q, for any law of unit variance.
    """
    queries = root @ np.array(list(itertools.product((-1.0, 1.0), repeat=d))).T

    def draws(z: Array) -> Array:
        x = np.einsum("ab,ibp->iap", root, z[: d * n].reshape(n, d, -1))
        w = task_root @ z[d * n : d * (n + 1)]
        labels = np.einsum("ap,iap->ip", w, x)
        if noise:
            labels = labels + noise**0.5 * z[d * (n + 1) :]
        s = np.einsum("ip,iap->ap", labels, x) / n
        errors = np.einsum("ap,ab,bq->pq", s, A, queries) - w.T @ queries
        slope: Array = (errors * np.einsum("ap,ab,bq->pq", s, V, queries)).mean(axis=1)
        return slope**power

    return draws


@pytest.mark.parametrize("d,n,noise", [(1, 1, 0.6), (1, 2, 0.6), (1, 3, 0.0), (2, 1, 0.6), (2, 2, 0.0)])
def test_the_plan_has_the_exact_means_and_second_moments(
    d: int, n: int, noise: float, quadrature_mean: Quadrature
) -> None:
    """Z^2 is of degree 8 in each x_i, 4 in w and eps: five and three nodes are exact."""
    draw = np.random.default_rng([d, n])
    Lambda, Psi = random_covariance(draw, d), random_covariance(draw, d)
    A = draw.normal(size=(d, d))
    A_star, _ = brute_fixed_point(Lambda, Psi, noise, n)
    plan = stationarity.plan(A, Lambda, [n], Psi, noise)
    assert plan.directions.shape == (d * d, d, d)
    nodes = [5] * (d * n) + [3] * d + ([3] * n if noise else [])
    roots = (np.linalg.cholesky(Lambda), np.linalg.cholesky(Psi))
    gaps = []
    for V, second in zip(plan.directions, plan.second_moments, strict=True):
        mean = quadrature_mean(gradient_draws(A, V, *roots, noise, d, n, 1), nodes)
        square = quadrature_mean(gradient_draws(A, V, *roots, noise, d, n, 2), nodes)
        assert second == pytest.approx(square, rel=RELATIVE)
        gaps.append(mean)
    # E Z_k = <W_k, A - A*> with W_k orthonormal: W_1 along A, and all of them see all of the gap
    along = float(np.sum(A * (A - A_star)) / np.linalg.norm(A))
    assert gaps[0] == pytest.approx(along, rel=RELATIVE, abs=1e-11)
    assert np.linalg.norm(gaps) == pytest.approx(np.linalg.norm(A - A_star), rel=RELATIVE)


def test_the_plan_averages_over_context_lengths(quadrature_mean: Quadrature) -> None:
    """At A = 1.3 in d = 1: the mean over lengths of the gradient is the gap, that of its square is given."""
    Lambda, Psi, A = np.array([[0.8]]), np.array([[1.7]]), np.array([[1.3]])
    lengths = [1, 2, 2]
    plan = stationarity.plan(A, Lambda, lengths, Psi, 0.0)
    roots = (Lambda**0.5, Psi**0.5)

    def averaged(power: int) -> float:
        return float(
            np.mean(
                [
                    quadrature_mean(gradient_draws(A, plan.directions[0], *roots, 0.0, 1, n, power), [5] * n + [3])
                    for n in lengths
                ]
            )
        )

    A_star = random_context_length.preconditioner(Lambda, lengths, Psi)
    assert averaged(1) == pytest.approx(float((A - A_star)[0, 0]), rel=RELATIVE)
    assert plan.second_moments[0] == pytest.approx(averaged(2), rel=RELATIVE)


@pytest.mark.parametrize("d,n", [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)])
def test_the_uniform_plan_has_the_exact_mean_and_second_moment(d: int, n: int, quadrature_mean: Quadrature) -> None:
    """Covariates uniform: five Legendre nodes for degree 8, three Hermite nodes for degree 4 in w."""
    half_width, gain = 1.4, 1.1
    plan = stationarity.uniform_plan(gain, d, n, half_width)
    root = half_width / 3**0.5 * np.eye(d)
    nodes = [5] * (d * n) + [3] * d
    uniform = frozenset(range(d * n))

    def mean(power: int) -> float:
        draws = gradient_draws(gain * np.eye(d), plan.directions[0], root, np.eye(d), 0.0, d, n, power)
        return quadrature_mean(draws, nodes, uniform)

    eta, _ = uniform_covariates.learning_rate_and_risk(d, n, half_width)
    assert mean(1) == pytest.approx(d**0.5 * (gain - eta), rel=RELATIVE)  # <I/sqrt(d), (gain - eta) I>
    assert plan.second_moments[0] == pytest.approx(mean(2), rel=RELATIVE)


def test_the_plans_directions_come_from_an_orthonormal_basis_that_starts_along_the_weights() -> None:
    for d in (1, 2, 3):
        first = np.random.default_rng(d).normal(size=(d, d))
        for matrix in (first, np.eye(d), -np.eye(d)):
            basis = stationarity.orthonormal_matrices(matrix)
            gram = np.einsum("kab,lab->kl", basis, basis)
            np.testing.assert_allclose(gram, np.eye(d * d), atol=1e-13)
            np.testing.assert_allclose(basis[0], matrix / np.linalg.norm(matrix), atol=1e-13)


# Random lengths in the loss on all parameters.


def test_random_lengths_turn_powers_of_one_over_n_into_their_means() -> None:
    draw = np.random.default_rng(11)
    Lambda, weights, lengths = random_covariance(draw, 2), random_weights(draw, 2), [1, 3, 8]
    law = replace(population_loss.NOISELESS, random_length=True)
    values = numbers(Lambda, 1, weights)
    del values["N"]
    moments = {f"m{k}": float(np.mean([n**-k for n in np.array(lengths, dtype=float)])) for k in (1, 2)}
    averaged = evaluate(population_loss.population_loss(law), values | moments)
    each = [population_loss.loss_at(Lambda, n, *weights) for n in lengths]
    assert averaged == pytest.approx(np.mean(each), rel=1e-12)
    with pytest.raises(ValueError, match=r"non-positive powers of N to average over its law, got N\^1"):
        law.mean(scalar("N"))
