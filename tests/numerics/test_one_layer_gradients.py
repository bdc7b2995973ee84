"""Per-prompt derivatives are those of the real layer, and their sums estimate the exact population values."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.one_layer import cubature
from iclcheck.numerics.one_layer.gradients import (
    directional_derivatives,
    directional_gradient_sums,
    loss_sums,
    preconditioner_derivatives,
    prompt_losses,
)
from iclcheck.numerics.one_layer.layer import LinearAttention
from iclcheck.numerics.one_layer.power_sums import CHUNK, power_sums
from iclcheck.numerics.one_layer.prompts import PromptDistribution, Prompts, PromptSampler, sample_prompts
from iclcheck.numerics.training.random_streams import stream

MIX = np.array([[1.0, 0.4], [-0.3, 0.7]])
LAW = PromptDistribution(np.eye(2) + MIX @ MIX.T, (2,), np.eye(2) + MIX.T @ MIX, 0.3)
WEIGHTS = np.random.default_rng(0).normal(size=(2, 3, 3)) / 2
TIGHT = (
    np.diag([0.0, 0.0, 1.3]),
    np.diag([0.4, 0.2, 0.0]),
)  # no leak: far fewer nodes; d = 1 has the leak below
V = np.random.default_rng(1).normal(size=(3, 2, 2))


def tensors() -> Any:
    return torch.from_numpy(WEIGHTS[0].copy()), torch.from_numpy(WEIGHTS[1].copy())


def along_U() -> Any:
    dW_KQ = torch.zeros(3, 3, 3, dtype=torch.float64)
    dW_KQ[:, :2, :2] = torch.from_numpy(V) / WEIGHTS[0][-1, -1]
    return torch.zeros_like(dW_KQ), dW_KQ


def test_each_derivative_is_the_full_layers_autograd_of_that_prompt() -> None:
    prompts = sample_prompts(LAW, 5, stream("autograd"))
    W_PV, W_KQ = tensors()
    general = directional_derivatives(prompts, W_PV, W_KQ, *along_U())
    special = preconditioner_derivatives(prompts, W_PV, W_KQ, torch.from_numpy(V))
    layer = LinearAttention(W_PV, W_KQ)
    for b in range(5):
        loss = ((layer.prediction(prompts) - prompts.target).square() / 2)[b]
        (gradient,) = torch.autograd.grad(loss, layer.W_KQ)
        expected = (along_U()[1] * gradient).sum((1, 2))
        # sums of some dozen products of size below 1e3: 1e-10 is a thousand times their rounding
        torch.testing.assert_close(general[:, b], expected, atol=1e-10, rtol=1e-10)
        torch.testing.assert_close(special[:, b], expected, atol=1e-10, rtol=1e-10)


def test_derivatives_along_any_direction_are_difference_quotients() -> None:
    prompts = sample_prompts(LAW, 4, stream("difference"))
    (W_PV, W_KQ), t = tensors(), 1e-5
    dW_PV, dW_KQ = torch.from_numpy(np.random.default_rng(2).normal(size=(2, 2, 3, 3)))
    got = directional_derivatives(prompts, W_PV, W_KQ, dW_PV, dW_KQ)
    for k in range(2):
        above = prompt_losses(prompts, W_PV + t * dW_PV[k], W_KQ + t * dW_KQ[k])
        below = prompt_losses(prompts, W_PV - t * dW_PV[k], W_KQ - t * dW_KQ[k])
        # the loss is of degree 4 in t with coefficients of size below 1e4: truncation 1e4 t^2 = 1e-6,
        # rounding 1e4 * 2e-16 / t = 2e-7
        torch.testing.assert_close(got[k], (above - below) / (2 * t), atol=2e-6, rtol=1e-6)


def within_chebyshev(sums: Any, exact: Any, rate: Any = 1e-3) -> Any:
    """Are sampled means inside Chebyshev's bound (missed at most at `rate`), and how tight is it."""
    half, n = len(exact.value) // 2, sums["count"]
    mean, second = exact.value[:half], exact.value[half:]
    allowed = np.sqrt((second - mean**2) / (rate * n))
    return np.abs(np.array(sums["sum"]) / n - mean) <= allowed, allowed / np.sqrt(second)


def test_sums_estimate_the_exact_population_derivatives_and_losses() -> None:
    count = 300_000
    exact = cubature.preconditioner_derivative_moments(LAW, *TIGHT, V)
    inside, width = within_chebyshev(directional_gradient_sums(LAW, *TIGHT, V, count, "sampled"), exact)
    assert inside.all()
    assert np.all(width < 0.06)
    doubled = directional_gradient_sums(LAW, *TIGHT, V, count, "sampled")
    doubled["sum"] = [2 * value for value in doubled["sum"]]
    assert not within_chebyshev(doubled, exact)[0].all()  # a gradient without the half in the loss would show
    losses = loss_sums(LAW, *TIGHT, count, "sampled")
    assert within_chebyshev(losses, cubature.population_loss_moments(LAW, *TIGHT))[0].all()


@pytest.mark.parametrize("covariates", ["gaussian", "uniform"])
def test_random_lengths_and_uniform_covariates_are_sampled_as_enumerated(covariates: Any) -> None:
    def law(*lengths: Any) -> Any:
        return PromptDistribution([[1.3]], lengths, [[0.8]], 0.2, covariates)

    # leaks, but not with tails too heavy for Chebyshev to tell the lengths apart
    weights = (np.array([[0.0, 0.0], [0.2, 1.0]]), np.array([[0.6, 0.0], [0.1, 0.0]]))
    sums = loss_sums(law(1, 4), *weights, 1_500_000, "lengths")
    assert within_chebyshev(sums, cubature.population_loss_moments(law(1, 4), *weights))[0].all()
    for other in (law(1), law(4), law(2)):
        assert not within_chebyshev(sums, cubature.population_loss_moments(other, *weights))[0].all()


def test_sums_are_those_of_the_chunks_prompts() -> None:
    count = CHUNK + 5
    W_PV, W_KQ = tensors()
    generator, draw = stream("chunks"), PromptSampler(LAW)
    batches = [draw(CHUNK, generator), draw(5, generator)]
    values = torch.cat(
        [preconditioner_derivatives(batch, W_PV, W_KQ, torch.from_numpy(V)) for batch in batches], dim=-1
    )
    W = (WEIGHTS[0], WEIGHTS[1])
    sums = directional_gradient_sums(LAW, *W, V, count, "chunks")
    assert sums["count"] == count
    np.testing.assert_allclose(sums["sum"], values.sum(-1), rtol=1e-10, atol=1e-8)
    np.testing.assert_allclose(sums["sum_of_squares"], values.square().sum(-1), rtol=1e-10)


@pytest.mark.parametrize("covariates", ["gaussian", "uniform"])
def test_the_mean_over_the_d_queries_is_that_over_the_law_of_the_query(covariates: Any) -> None:
    """Against the product Gauss rule in the query: two nodes in each component are exact up to degree 3."""
    law = PromptDistribution(LAW.covariance, (2, 3), LAW.task_covariance, 0.0, covariates)
    W_PV, W_KQ = (torch.from_numpy(w) for w in TIGHT)
    draw, directions = PromptSampler(law), torch.from_numpy(V)

    def derivatives(prompts: Any) -> Any:
        return preconditioner_derivatives(prompts, W_PV, W_KQ, directions)

    found = [(p.embedding[:, :2, -1].clone(), p.target, derivatives(p)) for p in draw.over_queries(7, stream("same"))]
    tasks = torch.linalg.solve(torch.stack([query[0] for query, _, _ in found]), torch.stack([t for _, t, _ in found]))
    prompts = draw(7, stream("same"))
    x, y = prompts.embedding[:, :2, :-1], prompts.embedding[:, 2, :-1]
    # solves and sums of a few products of size below 1e2: 1e-11 is a thousand times their rounding
    torch.testing.assert_close((tasks.T.unsqueeze(-1) * x).sum(1), y, atol=1e-11, rtol=1e-11)
    over_the_law = torch.zeros(len(V), 7, dtype=torch.float64)
    for signs in itertools.product((-1.0, 1.0), repeat=2):
        query = draw.root @ torch.tensor(signs, dtype=torch.float64)
        embedding = prompts.embedding.clone()
        embedding[:, :2, -1] = query
        over_the_law += derivatives(Prompts(embedding, query @ tasks, prompts.context_length)) / 4
    over_the_queries = sum(values for _, _, values in found) / 2
    torch.testing.assert_close(over_the_queries, over_the_law, atol=1e-11, rtol=1e-11)


def test_leaking_weights_are_not_averaged_over_the_query() -> None:
    with pytest.raises(ValueError, match=r"need u12 = u21 = 0 to average over the query"):
        directional_gradient_sums(LAW, WEIGHTS[0], WEIGHTS[1], V, 10, "refused", over_queries=True)


def test_sums_do_not_lose_small_terms() -> None:
    ones = power_sums(lambda prompts: torch.full((1, len(prompts.target)), 0.1).double(), LAW, 100_000, "k")
    # float32 0.1 has 24 bits, so every chunk's sum is exact or off by an ulp of a chunk (1e-13)
    assert ones["sum"][0] == pytest.approx(float(torch.tensor(0.1)) * 100_000, abs=1e-11)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"W_PV": np.eye(2)}, r"W_PV and W_KQ of shape \(3, 3\)"),
        ({"directions": V[0]}, r"directions of shape \(K, 2, 2\)"),
        ({"count": 0}, "at least 1 prompt"),
        ({"W_PV": np.zeros((3, 3))}, "u different from 0"),
    ],
)
def test_unusable_arguments_are_refused(change: Any, message: Any) -> None:
    given = {"W_PV": WEIGHTS[0], "W_KQ": WEIGHTS[1], "directions": V, "count": 10, **change}
    with pytest.raises(ValueError, match=message):
        directional_gradient_sums(LAW, **given, seed_key="refused")
