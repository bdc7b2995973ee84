"""The layer through Gram matrices is the layer on written-out prompts."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.one_layer.gradients import batch_gradient
from iclcheck.numerics.one_layer.gram_matrices import (
    GramPrompts,
    LawMaps,
    StandardDraws,
    gram_gradient,
    literal_prompts,
)
from iclcheck.numerics.one_layer.layer import LinearAttention
from iclcheck.numerics.one_layer.prompts import PromptDistribution
from iclcheck.numerics.training.random_streams import standard_normals, stream

B, LONGEST, WIDEST = 40, 12, 5


def law(d: int, N: int, noise: float) -> PromptDistribution:
    mix = np.fromfunction(lambda i, j: 1.0 / (2 + i + 2 * j), (d, d))
    return PromptDistribution(0.3 * np.eye(d) + mix @ mix.T, (N,), np.eye(d) + mix.T @ mix, noise)


def draws() -> StandardDraws:
    generator = stream("draws of the Gram tests")
    sizes = ((LONGEST, WIDEST + 1, B), (WIDEST, B), (WIDEST, B))
    return StandardDraws(*(standard_normals(size, generator, torch.float64) for size in sizes))


def gram_prompts(laws: list[PromptDistribution]) -> GramPrompts:
    """Each law's Gram matrices as one sum over its columns."""
    d, given = laws[0].dimension, draws()
    columns = [given.columns[: one.longest_context, : d + 1] for one in laws]
    grams = [torch.einsum("nib,njb->ijb", some, some) / len(some) for some in columns]
    return GramPrompts(torch.stack(grams), given.task[:d], given.query[:d])


def weights(laws: int, d: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = stream("weights of the Gram tests")
    return (
        standard_normals((laws, d + 1), generator, torch.float64),
        standard_normals((laws, d + 1, d), generator, torch.float64),
    )


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    # Sums of at most B (N + 1) (d + 1)^3 products of about ten factors each, all of size 1: their rounding is below
    # 1e5 terms * 1e-16 of the largest in the worst case; what is compared is of that size up to cancellation.
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10 * float(expected.abs().max()))


@pytest.mark.parametrize("d", [1, 2, 5])
def test_loss_and_gradient_equal_those_of_the_layer_on_the_written_out_prompts(d: int) -> None:
    laws = [law(d, N, noise) for N, noise in ((d, 0.0), (7, 0.3), (LONGEST, 0.5))]
    value, key_query = weights(len(laws), d)
    found = gram_gradient(gram_prompts(laws), LawMaps(laws, torch.device("cpu"), torch.float64), value, key_query)
    for c, one in enumerate(laws):
        prompts = literal_prompts(draws(), one)
        W_PV, W_KQ = torch.zeros(2, d + 1, d + 1, dtype=torch.float64)
        W_PV[-1], W_KQ[:, :d] = value[c], key_query[c]
        loss, value_slope, key_query_slope = batch_gradient(prompts, W_PV, W_KQ)
        close(found[0][c], loss)
        close(found[1][c], value_slope)
        close(found[2][c], key_query_slope[:, :d])
        layer = LinearAttention(W_PV, W_KQ)
        literal = (layer.prediction(prompts) - prompts.target).square().mean() / 2
        literal.backward()  # type: ignore[no-untyped-call]
        assert layer.W_PV.grad is not None
        assert layer.W_KQ.grad is not None
        close(found[0][c], literal.detach())
        close(found[1][c], layer.W_PV.grad[-1])
        close(found[2][c], layer.W_KQ.grad[:, :d])


def test_written_out_prompts_have_the_laws_moments() -> None:
    one, given = law(2, 3, 0.4), 200_000
    generator = stream("moments")
    sizes = ((3, 3, given), (2, given), (2, given))
    prompts = literal_prompts(StandardDraws(*(standard_normals(s, generator, torch.float64) for s in sizes)), one)
    x, y = prompts.embedding[:, :-1, 0].numpy(), prompts.embedding[:, -1, 0].numpy()
    x_q = prompts.embedding[:, :-1, -1].numpy()
    label_variance = np.trace(one.covariance @ one.task_covariance) + one.noise_variance
    # Chebyshev at 1e-3 each: a product of two Gaussians of variance a and b has variance at most 2 a b, and a squared
    # label, which is a sum of products of two Gaussians, has fourth moment at most 9 times its second one squared
    for pair, expected in ((x, one.covariance), (x_q, one.covariance)):
        sizes_ = np.sqrt(2 * np.outer(np.diag(expected), np.diag(expected)) / (1e-3 * given))
        assert np.all(np.abs(pair.T @ pair / given - expected) < sizes_)
    assert abs(np.mean(y**2) - label_variance) < label_variance * np.sqrt(9 / (1e-3 * given))
    assert np.all(prompts.embedding[:, -1, -1].numpy() == 0)


@pytest.mark.parametrize(
    "change, message", [({"covariates": "uniform"}, "uniform covariates"), ({"context_lengths": (3, 4)}, r"\(3, 4\)")]
)
def test_a_law_that_is_no_linear_image_of_gaussian_draws_is_refused(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        literal_prompts(draws(), dataclasses.replace(law(2, 3, 0.0), **change))
    with pytest.raises(ValueError, match=message):
        LawMaps([dataclasses.replace(law(2, 3, 0.0), **change)], torch.device("cpu"), torch.float64)
