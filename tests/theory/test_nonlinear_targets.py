"""Nonlinear targets: moments of links by quadrature, the linear case against fixed-point, and networks by kernel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from iclcheck.theory.algebra.evaluation import evaluate
from iclcheck.theory.one_layer import fixed_point, link_moments, nonlinear_targets, target_formulas
from iclcheck.theory.one_layer.assumptions import AssumptionError
from iclcheck.theory.one_layer.fixed_point import instance_of

PHI: dict[str, Callable[[Any], Any]] = {
    "linear": lambda t: t,
    "relu": lambda t: np.maximum(t, 0),
    "cubic": lambda t: t**3,
    "sine": np.sin,
    "sign": np.sign,
}
# Gauss-Legendre on half-lines cut at 14, where the densities are below 1e-40 times any polynomial met here; the
# integrands are analytic on each half, and 160 nodes leave an error near rounding: 1e-11 relative in what follows.
CUT, NODES = 14.0, 160


def half_line() -> tuple[Any, Any]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return (nodes + 1) * CUT / 2, weights * CUT / 2


def integrated_moments(link: str, d: int, task_law: str) -> tuple[float, float, float]:
    """(E |m|^2, E g^2 |x|^2, E g^2) from products of rules in |w| and in the part of x along w."""
    points, weights = half_line()
    z, density = np.concatenate([-points, points]), np.exp(-(points**2) / 2) / math.sqrt(2 * math.pi)
    of_z = np.concatenate([weights * density, weights * density])
    r, of_r = np.array([1.0]), np.array([1.0])
    if task_law == "gaussian":
        r, log_norm = points, (d / 2 - 1) * math.log(2) + math.lgamma(d / 2)
        of_r = weights * np.exp((d - 1) * np.log(points) - points**2 / 2 - log_norm)
    g = PHI[link](r[:, None] * z)
    along, second, fourth = ((g**k * z**j) @ of_z for k, j in ((1, 1), (2, 0), (2, 2)))
    return float(along**2 @ of_r), float((fourth + (d - 1) * second) @ of_r), float(second @ of_r)


@pytest.mark.parametrize("task_law", link_moments.TASK_LAWS)
@pytest.mark.parametrize("link", link_moments.LINKS)
def test_the_moments_of_a_link_are_those_of_quadrature(link: str, task_law: str) -> None:
    found = link_moments.link_moments(link, task_law)
    for d in (1, 2, 5, 12):
        expected = integrated_moments(link, d, task_law)
        numbers = {"d": d, "sigma2": 0.3}
        values = [
            float(part.subs({s: numbers[s.name] for s in part.free_symbols}))
            for part in (found.alpha, found.beta, found.tau)
        ]
        values[1] -= 0.3 * d
        np.testing.assert_allclose(values, expected, rtol=1e-9)


@pytest.mark.parametrize("d", [2, 3, 7])
def test_a_random_relu_network_has_the_moments_of_its_kernel(d: int) -> None:
    """E g(x) g(x') = |x||x'| (sin t + (pi - t) cos t)/(2 pi) at the angle t, of density
    sin(t)^(d - 2); |x|^2 has mean d: alpha = E K(x, x') x.x' and beta = E K(x, x) |x|^2."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    t, share = (nodes + 1) * math.pi / 2, weights * math.pi / 2
    density = np.sin(t) ** (d - 2) * share
    kernel = (np.sin(t) + (math.pi - t) * np.cos(t)) / (2 * math.pi)
    alpha = d * d * float(density @ (kernel * np.cos(t)) / density.sum())
    beta = d * (d + 2) / 2
    n, noise = 6, 0.2
    eta, risk = nonlinear_targets.rate_and_risk(d, n, link_moments.NETWORK, noise)
    expected = n * alpha / ((n - 1) * alpha + beta + d * noise)
    assert eta == pytest.approx(expected, rel=1e-9)  # 400 nodes: sin(t)^(d - 2) is smooth for d = 2 and above
    assert risk == pytest.approx(d / 2 - expected * alpha, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_linear_labels_give_the_fixed_point_of_any_law(seed: int) -> None:
    draw, d, n, noise = np.random.default_rng(seed), 3, 4, 0.3
    roots = [draw.normal(size=(d, d)) + 2 * np.eye(d) for _ in range(2)]
    Lambda, Psi = (root @ root.T for root in roots)
    law = {"Lambda": Lambda, "Psi": Psi, "sigma2": noise, "N": n}
    P, Q, tau = (evaluate(part, law) for part in link_moments.moments_for("linear"))
    values = {**law, "P": P, "Q": Q, "tau": tau}
    A = target_formulas.moments_fixed_point().value(values)
    best = fixed_point.fixed_point(Lambda, n, Psi, noise)
    # Two solves at condition numbers below 1e4: far below 1e-9.
    np.testing.assert_allclose(A, best.preconditioner, rtol=0, atol=1e-9 * float(np.linalg.norm(A)))
    assert float(target_formulas.moments_risk().value({**values, "A": A})) == pytest.approx(2 * best.loss, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_cubic_moments_at_any_covariance_are_those_of_components(seed: int) -> None:
    given = instance_of((seed, False))
    traces = [np.trace(evaluate(part, given.values())) for part in link_moments.cubic_moments()]
    assert traces == link_moments.cubic_traces(given)


def test_cubic_labels_are_one_plain_step_only_where_the_tasks_are_whitened() -> None:
    Lambda = np.array([[1.25, 0.5], [0.5, 1.0]])

    def step(Psi: Any) -> Any:
        values = {"Lambda": Lambda, "Psi": Psi, "sigma2": 0.2, "N": 3}
        return target_formulas.cubic_fixed_point().value(values) @ Lambda

    whitened, plain = step(np.linalg.inv(Lambda)), step(np.eye(2))
    eta, _ = nonlinear_targets.rate_and_risk(2, 3, "cubic", 0.2)
    np.testing.assert_allclose(whitened, eta * np.eye(2), rtol=0, atol=1e-12)
    assert abs(plain[0, 1]) > 0.01


def test_twice_the_samples_help_and_the_rate_tends_to_one() -> None:
    for link in link_moments.LINKS:
        rates, risks = zip(*(nonlinear_targets.rate_and_risk(4, n, link, 0.1) for n in (4, 8, 10**6)), strict=True)
        assert 0 < rates[0] < rates[1] < rates[2] < 1
        assert risks[0] > risks[1] > risks[2] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3, "relu"), "dimension needs a whole number"),
        ((2, 2.5, "relu"), "context_length needs a whole number"),
        ((2, 3, "tanh"), "link needs one of linear, relu"),
        ((2, 3, 1), "link needs one of linear, relu"),
        ((2, 3, "relu", -1), "noise_variance needs a number of at least 0"),
        ((2, 3, "relu", 0, "cube"), "task_law needs one of gaussian, sphere"),
    ],
)
def test_bad_settings_are_refused_by_name(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(AssumptionError, match=message):
        nonlinear_targets.rate_and_risk(*arguments)
