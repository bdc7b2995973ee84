"""Prompts have the law that their distribution states."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.one_layer.gram_matrices import check_linear_image
from iclcheck.numerics.one_layer.prompts import PromptDistribution, PromptSampler, sample_prompts
from iclcheck.numerics.training.random_streams import stream

LAMBDA, PSI = [[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.3], [-0.3, 0.5]]
LAMBDA9 = [[18.0, 4.5], [4.5, 9.0]]
COUNT = 100_000
# Chebyshev: a mean of n draws is farther than sqrt(variance * 1000 / n) from its expectation with probability
# at most 1e-3, for any law. The seeds are fixed; the rate is that of an unlucky choice of seed.
RATE = 1e-3


def assert_mean(values: Any, expected: Any, variance: Any) -> Any:
    allowed = np.sqrt(variance / RATE / len(values))
    assert abs(float(values.mean()) - expected) <= allowed
    return allowed


@pytest.mark.parametrize("covariates, fourth, eighth", [("gaussian", 3.0, 105.0), ("uniform", 9 / 5, 9.0)])
def test_covariates_have_the_stated_covariance_and_fourth_moments(covariates: Any, fourth: Any, eighth: Any) -> None:
    law = PromptDistribution(LAMBDA, (3,), PSI, 0.2, covariates)
    prompts = sample_prompts(law, COUNT, stream("moments"))
    values, vectors = np.linalg.eigh(LAMBDA)
    root_inverse = torch.from_numpy(vectors / np.sqrt(values) @ vectors.T)
    for column in (0, 2, 3):  # two examples and the query
        z = prompts.embedding[:, :2, column] @ root_inverse
        assert_mean(z[:, 0] * z[:, 1], 0.0, 1.0)
        assert_mean(z[:, 0] ** 2, 1.0, fourth - 1)
        allowed = assert_mean(z[:, 1] ** 4, fourth, eighth - fourth**2)
        assert allowed < 1.2  # the other law's fourth moment would show


def test_labels_are_the_task_times_the_covariates_plus_noise() -> None:
    law = PromptDistribution(LAMBDA, (2,), PSI, 0.2)
    prompts = sample_prompts(law, COUNT, stream("labels"))
    x, y = prompts.embedding[:, :2], prompts.embedding[:, 2]
    assert not y[:, -1].any()  # the query's label is hidden
    # y_1 given x_1 is N(0, x^T Psi x + sigma^2), so the ratio is the square of a normal, of variance 2
    for column in (0, 1):
        spread = torch.einsum("bi,ij,bj->b", x[..., column], torch.tensor(PSI, dtype=x.dtype), x[..., column])
        assert_mean(y[:, column] ** 2 / (spread + 0.2), 1.0, 2.0)
    query = x[..., -1]
    spread = torch.einsum("bi,ij,bj->b", query, torch.tensor(PSI, dtype=x.dtype), query)
    assert_mean(prompts.target**2 / spread, 1.0, 2.0)  # without noise
    # the same task stands behind all labels: E[y_1 y_2 | x] = x_1^T Psi x_2; 4 bounds the normalised variance
    cross = torch.einsum("bi,ij,bj->b", x[..., 0], torch.tensor(PSI, dtype=x.dtype), query)
    size = (spread.sqrt() + 1) * (x[..., 0].norm(dim=-1) + 1)
    assert_mean((y[:, 0] * prompts.target - cross) / size**2, 0.0, 4.0)


def test_noiseless_labels_of_one_dimension_are_exactly_proportional() -> None:
    prompts = sample_prompts(PromptDistribution([[2.0]], (3,), [[1.0]]), 10, stream("exact"))
    x, y = prompts.embedding[:, 0], prompts.embedding[:, 1]
    slope = prompts.target / x[:, -1]
    torch.testing.assert_close(y[:, :-1], slope[:, None] * x[:, :-1])


def test_random_lengths_are_equally_likely_and_leave_empty_columns() -> None:
    prompts = sample_prompts(PromptDistribution(LAMBDA, (1, 4), PSI, 0.5), COUNT, stream("lengths"))
    short = prompts.context_length == 1
    assert set(prompts.context_length.tolist()) == {1.0, 4.0}
    assert_mean(short.double(), 0.5, 0.25)
    assert not prompts.embedding[short][:, :, 1:4].any()
    assert prompts.embedding[short][:, :2, -1].all()
    assert prompts.embedding[~short][:, :, :4].all()


def test_a_query_covariance_changes_the_query_and_nothing_else() -> None:
    """Q = 9 Lambda has the root 3 Lambda^(1/2): the same draws give thrice the query and thrice the target."""
    plain, shifted = (PromptDistribution(LAMBDA, (1, 4), PSI, 0.5, query_covariance=Q) for Q in (None, LAMBDA9))
    ours, theirs = (sample_prompts(law, 50, stream("query")) for law in (plain, shifted))
    assert torch.equal(ours.embedding[..., :-1], theirs.embedding[..., :-1])
    torch.testing.assert_close(theirs.embedding[..., -1], 3 * ours.embedding[..., -1])  # two roots by eigenvectors
    torch.testing.assert_close(theirs.target, 3 * ours.target)


def test_averages_over_the_query_use_its_own_second_moments() -> None:
    Q = [[1.0, -2.0], [-2.0, 4.0]]
    draw = PromptSampler(PromptDistribution(LAMBDA, (2,), PSI, query_covariance=Q))
    queries = [batch.embedding[0, :2, -1].clone() for batch in draw.over_queries(1, stream("queries"))]
    mean = sum(torch.outer(x, x) for x in queries) / 2
    torch.testing.assert_close(mean, torch.tensor(Q, dtype=torch.float64))


def test_draws_that_laws_share_are_refused_for_a_query_of_another_law() -> None:
    with pytest.raises(ValueError, match="got a query_covariance"):
        check_linear_image(PromptDistribution(LAMBDA, (2,), PSI, query_covariance=LAMBDA))


def test_a_law_without_query_covariance_has_the_plain_data_that_it_had() -> None:
    """Random streams are named by this text."""
    law = PromptDistribution([[2.0]], (3,), [[1.0]], 0.5)
    assert json.dumps(law.to_plain()) == (
        '{"covariance": [[2.0]], "context_lengths": [3], "task_covariance": [[1.0]], "noise_variance": 0.5, '
        '"covariates": "gaussian"}'
    )
    shifted = PromptDistribution([[2.0]], (3,), [[1.0]], 0.5, query_covariance=[[4.0]])
    assert shifted.to_plain() == {**law.to_plain(), "query_covariance": [[4.0]]}
    assert PromptDistribution.from_plain(shifted.to_plain()) == shifted != law


def test_plain_data_survives_json() -> None:
    law = PromptDistribution(LAMBDA, (2, 5), PSI, 0.1, "uniform")
    again = PromptDistribution.from_plain(json.loads(json.dumps(law.to_plain())))
    assert again == law
    assert hash(again) == hash(law)
    assert again != PromptDistribution(LAMBDA, (2, 5), PSI, 0.2, "uniform")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"covariance": [[1.0, 0.0], [0.0, -1.0]]}, "positive definite covariance, got the eigenvalue -1"),
        ({"covariance": [[1.0, 0.0], [0.0, 0.0]]}, "positive definite"),
        ({"covariance": [[1.0, 0.5], [0.0, 1.0]]}, "symmetric covariance"),
        ({"covariance": [1.0, 2.0]}, r"shape \(d, d\)"),
        ({"covariance": [[float("nan")]]}, "finite"),
        ({"covariance": [["a"]]}, "array of numbers"),
        ({"task_covariance": [[1.0]]}, "task_covariance of the covariance's shape"),
        ({"task_covariance": [[1.0, 0.0], [0.0, -1.0]]}, "semidefinite task_covariance"),
        ({"query_covariance": [[1.0]]}, "query_covariance of the covariance's shape"),
        ({"query_covariance": [[1.0, 0.0], [0.0, -1.0]]}, "semidefinite query_covariance"),
        ({"query_covariance": [[1.0, 0.5], [0.0, 1.0]]}, "symmetric query_covariance"),
        ({"context_lengths": ()}, "at least one"),
        ({"context_lengths": (0,)}, "at least 1"),
        ({"context_lengths": (2.5,)}, "at least 1"),
        ({"context_lengths": 3}, "list of whole numbers"),
        ({"noise_variance": -0.1}, "noise_variance of at least 0"),
        ({"noise_variance": "much"}, "noise_variance as a number"),
        ({"covariates": "cauchy"}, "gaussian"),
    ],
)
def test_what_is_no_law_is_refused_with_the_reason(change: Any, message: Any) -> None:
    plain = {"covariance": LAMBDA, "context_lengths": (2,), "task_covariance": PSI}
    with pytest.raises(ValueError, match=message):
        PromptDistribution.from_plain({**plain, **change})


def test_a_singular_task_covariance_is_a_law() -> None:
    law = PromptDistribution(LAMBDA, (2,), [[1.0, 0.0], [0.0, 0.0]])
    assert sample_prompts(law, 3, stream("singular")).target.isfinite().all()
