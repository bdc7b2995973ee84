r"""Population quantities of the layer without sampling: exact cubature of polynomials.

The prediction is a polynomial in the prompt's variables (the examples' covariates, the query, the task w, the
noise), so a product Gauss rule with enough nodes gives the expectation of the loss, of its gradient and of
their squares exactly: what is left is rounding, and a bound on it is returned beside each value. The layer
itself is evaluated at the nodes; no formula for its loss enters.

Degrees, and the nodes they need
    yhat = E_dN + (u12, u) . [S + x_q x_q^T/N, s; s^T, r] (U x_q; u21.x_q),
    S = (1/N) sum x x^T, s = (1/N) sum y x,
    r = (1/N) sum y^2, y = w.x + eps, has in one example's covariates, the query, the task, one example's
    noise
        u12 (S + x_q x_q^T/N) U x_q    2, 3, 0, 0
        u s U x_q, u12 s u21.x_q       2, 1, 1, 1
        u r u21.x_q                    2, 1, 2, 2
    so at most (2, 3, 2, 2), and (2, 1, 1, 1) where u12 = u21 = 0; the target w.x_q has (0, 1, 1, 0). Labels
    of degree p in x and w (`label_laws`) make that (max(2, 2p), max(3, p), 2p, 2), (p + 1, p, p, 1) and
    (0, p, p, 0).
    Degrees add under multiplication: the loss has twice those of the residual, the gradient those of the
    residual and of a derivative of yhat, second moments twice as much again. Degree 4 takes 3 nodes, 6
    takes 4, 8 takes 5, 12 takes 7.

Rounding
    Each quantity is evaluated a second time with absolute values of all nodes and weights and the target's
    sign turned, where every monomial of (yhat - target) and of its derivatives counts with a plus sign.
    Then |error| <= eps * (roundings that one monomial passes through) * (that second value).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..training.threads import one_thread
from .gauss_rules import Degrees, GaussRule
from .gradient_step import step_derivatives
from .gradients import directional_derivatives, preconditioner_derivatives, prompt_losses
from .prompts import PromptDistribution, Prompts

Array = NDArray[np.float64]

Quantity = Callable[..., torch.Tensor]
"""quantity(prompts, *parameters) -> K numbers per prompt, (K, B)."""


def leaking(p: int) -> Degrees:
    """Degrees of yhat and of the target on all weights, for labels of degree p."""
    return Degrees(max(2, 2 * p), max(3, p), 2 * p, 2)


def tight(p: int) -> Degrees:
    """The same where u12 = u21 = 0."""
    return Degrees(p + 1, p, p, 1)


LEAKING, TIGHT = leaking(1), tight(1)


@dataclass(frozen=True)
class Expectation:
    """Expected values, a bound on the rounding error of each, and the number of nodes that were evaluated."""

    value: Array
    rounding: Array
    nodes: int


@dataclass(frozen=True)
class PopulationGradient:
    """The gradient of the population loss, (d + 1, d + 1) each, and bounds on the rounding of each entry."""

    W_PV: Array
    W_KQ: Array
    rounding_PV: Array  # noqa: N815, the papers' letters
    rounding_KQ: Array  # noqa: N815
    nodes: int


def prediction_degrees(W_PV: ArrayLike, W_KQ: ArrayLike, label_degree: int = 1) -> Degrees:
    """The degrees of yhat, and of yhat minus its target, at weights or directions (..., d + 1, d + 1)."""
    u12, u21 = np.asarray(W_PV)[..., -1, :-1], np.asarray(W_KQ)[..., -1, :-1]
    return leaking(label_degree) if np.any(u12) or np.any(u21) else tight(label_degree)


def population_loss(distribution: PromptDistribution, W_PV: ArrayLike, W_KQ: ArrayLike) -> Expectation:
    """L = E (yhat - g(x_q))^2 / 2, value (1,)."""
    residual = prediction_degrees(W_PV, W_KQ, distribution.labels.degree())
    return expectation(_losses, distribution, (W_PV, W_KQ), residual + residual)


def population_loss_moments(distribution: PromptDistribution, W_PV: ArrayLike, W_KQ: ArrayLike) -> Expectation:
    """E l and E l^2 of the per-prompt loss l = (yhat - w.x_q)^2 / 2, value (2,)."""
    residual = prediction_degrees(W_PV, W_KQ, distribution.labels.degree())
    loss = residual + residual
    return expectation(_with_squares(_losses), distribution, (W_PV, W_KQ), loss + loss)


def population_gradient(distribution: PromptDistribution, W_PV: ArrayLike, W_KQ: ArrayLike) -> PopulationGradient:
    """dL/dW_PV and dL/dW_KQ on all entries, by automatic differentiation of the layer at the nodes."""
    p = distribution.labels.degree()
    degrees = prediction_degrees(W_PV, W_KQ, p) + leaking(p)
    result = _integrate(_loss_gradient, distribution, (W_PV, W_KQ), degrees)
    (W_PV_slope, W_KQ_slope), (W_PV_rounding, W_KQ_rounding) = result.value, result.rounding
    return PopulationGradient(W_PV_slope, W_KQ_slope, W_PV_rounding, W_KQ_rounding, result.nodes)


def preconditioner_derivative_means(
    distribution: PromptDistribution, W_PV: ArrayLike, W_KQ: ArrayLike, directions: ArrayLike
) -> Expectation:
    """E Z_k alone, of the Z_k of `preconditioner_derivative_moments`, with far fewer nodes; value (K,)."""
    residual = prediction_degrees(W_PV, W_KQ, distribution.labels.degree())
    return expectation(preconditioner_derivatives, distribution, (W_PV, W_KQ, directions), residual + residual)


def step_derivative_means(distribution: PromptDistribution, P: ArrayLike, directions: ArrayLike) -> Expectation:
    """E Z_k for the Z_k of `gradient_step.step_risk_gradient_sums`; value (K,).

    The step's prediction x_q.w_1 has the degrees of a layer's without leak.
    """
    step = tight(distribution.labels.degree())
    return expectation(step_derivatives, distribution, (P, directions), step + step)


def preconditioner_derivative_moments(
    distribution: PromptDistribution, W_PV: ArrayLike, W_KQ: ArrayLike, directions: ArrayLike
) -> Expectation:
    """E Z_k, then E Z_k^2, of the loss's derivatives along directions V_k (K, d, d) of A; value (2 K,).

    These are what `gradients.directional_gradient_sums` samples without `over_queries`; see there for the direction.
    """
    residual = prediction_degrees(W_PV, W_KQ, distribution.labels.degree())  # yhat[V] leaks no more than yhat does
    derivative = residual + residual
    quantity = _with_squares(preconditioner_derivatives)
    return expectation(quantity, distribution, (W_PV, W_KQ, directions), derivative + derivative)


def directional_derivative_moments(
    distribution: PromptDistribution, W_PV: ArrayLike, W_KQ: ArrayLike, dW_PV: ArrayLike, dW_KQ: ArrayLike
) -> Expectation:
    """E Z_k, then E Z_k^2, of the loss's derivatives along K directions of the weights; value (2 K,).

    dW_PV, dW_KQ: (K, d + 1, d + 1).
    """
    p = distribution.labels.degree()
    residual = prediction_degrees(W_PV, W_KQ, p)
    leaks = leaking(p) in (residual, prediction_degrees(dW_PV, dW_KQ, p))
    derivative = residual + (leaking(p) if leaks else tight(p))
    quantity = _with_squares(directional_derivatives)
    return expectation(quantity, distribution, (W_PV, W_KQ, dW_PV, dW_KQ), derivative + derivative)


def expectation(
    quantity: Quantity,
    distribution: PromptDistribution,
    parameters: Sequence[ArrayLike],
    degrees: Degrees,
) -> Expectation:
    """The expectation, (K,), of quantity(prompts, *parameters), (K, B), a polynomial of the given degrees.

    The quantity must not depend on the order of the examples, and at non-negative prompts and parameters it
    must bound the sum of its monomials' absolute values, as products and sums of yhat - target, yhat and
    its derivatives do. Random context lengths are averaged exactly.

    Raises ValueError where a rule would have more than `gauss_rules.LARGEST_RULE` nodes, before any work.
    """

    def mean(weights: torch.Tensor, prompts: Prompts, *tensors: torch.Tensor) -> torch.Tensor:
        return quantity(prompts, *tensors) @ weights

    return _integrate(mean, distribution, parameters, degrees)


@one_thread()
def _integrate(
    weighted_sum: Callable[..., torch.Tensor],
    distribution: PromptDistribution,
    parameters: Sequence[ArrayLike],
    degrees: Degrees,
) -> Expectation:
    """Add weighted_sum(weights, prompts, *parameters) over the rule's chunks."""
    rules = [GaussRule(distribution, length, degrees) for length in distribution.context_lengths]
    exact = [torch.as_tensor(parameter, dtype=torch.float64) for parameter in parameters]
    absolute = [tensor.abs() for tensor in exact]
    value, magnitude = _Total(), _Total()
    for rule in rules:
        for weights, prompts, bounds in rule.chunks():
            share = weights / len(rules)
            value.add(weighted_sum(share, prompts, *exact))
            magnitude.add(weighted_sum(share, bounds, *absolute))
    rounding = _rounding_unit(distribution, degrees) * magnitude.result()
    return Expectation(value.result(), rounding, sum(rule.size for rule in rules))


class _Total:
    """A running sum of arrays with one compensation term (Neumaier)."""

    def __init__(self) -> None:
        self._sum: Array = np.zeros(())
        self._lost: Array = np.zeros(())

    def add(self, term: torch.Tensor) -> None:
        values = term.numpy()
        total = self._sum + values
        larger = np.abs(self._sum) >= np.abs(values)
        self._lost = self._lost + np.where(larger, (self._sum - total) + values, (values - total) + self._sum)
        self._sum = total

    def result(self) -> Array:
        total: Array = self._sum + self._lost
        return total


def _losses(prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor) -> torch.Tensor:
    return prompt_losses(prompts, W_PV, W_KQ).unsqueeze(0)


def _with_squares(quantity: Quantity) -> Quantity:
    """The quantity and its square, (2 K, B)."""

    def both(prompts: Prompts, *parameters: torch.Tensor) -> torch.Tensor:
        values = quantity(prompts, *parameters)
        return torch.cat([values, values.square()])

    return both


def _loss_gradient(weights: torch.Tensor, prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor) -> torch.Tensor:
    """The gradient of sum_b weights_b l_b in W_PV and W_KQ, stacked (2, d + 1, d + 1)."""
    value, key_query = W_PV.clone().requires_grad_(), W_KQ.clone().requires_grad_()
    loss = prompt_losses(prompts, value, key_query) @ weights
    return torch.stack(torch.autograd.grad(loss, (value, key_query)))


def _rounding_unit(distribution: PromptDistribution, degrees: Degrees) -> float:
    """eps times the number of roundings that one monomial of the sum passes through, counted generously.

    A monomial has at most `degrees.total` factors from the query, the task and the examples that it
    touches. Each factor is a node (right to 8 eps), times a root, summed over d entries, carried through
    sums over d + 1 rows and N + 1 tokens. To that come the weights of N (d + 1) + 2 d variables, and 64 for
    the compensated sum of chunks.
    """
    d, length = distribution.dimension, distribution.longest_context
    factors = degrees.total * (16 + 3 * d + length)
    weights = _weight_roundings(degrees) * (length * (d + 1) + 2 * d)
    return float(np.finfo(np.float64).eps) * (factors + weights + 64)


def _weight_roundings(degrees: Degrees) -> int:
    """Roundings in one variable's Gauss weight, with its product: NumPy's rules compared with 40 digits.

    Up to 7 nodes, which second moments need, the weights are right to 8 eps; from 8 to 13 nodes to 41 eps.
    """
    nodes = degrees.nodes()
    return 9 if max(nodes.context, nodes.query, nodes.task, nodes.noise) <= 7 else 42
