"""Prompts with labels of other laws: sampled and enumerated alike, by hand in one dimension, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.one_layer.cubature import population_gradient, population_loss, population_loss_moments
from iclcheck.numerics.one_layer.gradients import loss_sums, prompt_losses
from iclcheck.numerics.one_layer.gram_matrices import check_linear_image
from iclcheck.numerics.one_layer.label_laws import LabelLaw
from iclcheck.numerics.one_layer.prompts import PromptDistribution, PromptSampler, sample_prompts
from iclcheck.numerics.one_layer.relu_attention import relu_risk
from iclcheck.numerics.one_layer.sampled_links import sampled_link_loss, second_moment_bound
from iclcheck.numerics.training.random_streams import stream
from iclcheck.proofs_check.verdicts.heavy_tails import compare_mean

Labels = dict[str, Any]
FIXED: Labels = {"link": "linear", "linear": [0.7], "quadratic": [[0.5]]}


def law(labels: Labels, d: int = 1, n: int = 2, noise: float = 0.0, task: float = 1.0) -> PromptDistribution:
    return PromptDistribution(np.eye(d), (n,), task * np.eye(d), noise, labels=labels)


def weights(u: float, U: list[list[float]]) -> tuple[Any, Any]:
    d = len(U)
    W_PV, W_KQ = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d + 1))
    W_PV[d, d], W_KQ[:d, :d] = u, U
    return W_PV, W_KQ


def test_labels_and_target_are_the_function_of_their_covariates() -> None:
    labels: Labels = {"link": "relu", "linear": [0.5, -1.0], "quadratic": [[1.0, 2.0], [0.0, -0.3]]}
    plain, other = (sample_prompts(law(one, 2, 3), 40, stream("labels")) for one in ({"link": "linear"}, labels))
    x = torch.cat([plain.embedding[:, :2, :3], plain.embedding[:, :2, 3:]], 2)
    linear = torch.cat([plain.embedding[:, 2, :3], plain.target[:, None]], 1)
    B = torch.tensor(labels["quadratic"], dtype=torch.float64)
    b = torch.tensor(labels["linear"], dtype=torch.float64)
    expected = torch.relu(linear) + torch.einsum("i,bin->bn", b, x) + torch.einsum("bin,ij,bjn->bn", x, B, x)
    # A few products and sums of numbers below 100.
    torch.testing.assert_close(other.embedding[:, 2, :3], expected[:, :3], rtol=0, atol=1e-12)
    torch.testing.assert_close(other.target, expected[:, 3], rtol=0, atol=1e-12)
    assert not other.embedding[:, 2, 3].any()


def test_linear_labels_leave_the_plain_parameters_as_they_were() -> None:
    """Random streams are named by them."""
    assert "labels" not in law({"link": "linear"}).to_plain()
    again = PromptDistribution.from_plain(law(FIXED).to_plain())
    assert again == law(FIXED)
    assert again.labels == LabelLaw(**FIXED)


@pytest.mark.parametrize(
    ("labels", "alpha", "square", "tau"),
    [({"link": "relu"}, 1 / 4, 3 / 2, 1 / 2), ({"link": "cubic"}, 9 * 15, 15 * 105, 15 * 15)],
)
@pytest.mark.parametrize("n", [1, 2])
def test_one_dimension_by_hand(labels: Labels, alpha: float, square: float, tau: float, n: int) -> None:
    """d = 1, w and x standard normal: m = w/2 and 3 w^3, so E m^2 = 1/4 and 9 E w^6; E y^2 x^2 = E w^2 E x^4/2 and
    E w^6 E x^8, so that risk = g^2 (square/N + (1 - 1/N) alpha) - 2 g alpha + tau."""
    found = population_loss(law(labels, n=n), *weights(0.9, [[0.4]]))
    g = 0.9 * 0.4
    by_hand = g**2 * (square / n + (1 - 1 / n) * alpha) - 2 * g * alpha + tau
    assert 2 * found.value[0] == pytest.approx(by_hand, abs=2 * found.rounding[0])
    assert found.rounding[0] < 1e-8


@pytest.mark.parametrize("labels", [{"link": "relu"}, FIXED])
def test_the_exact_loss_is_that_of_samples(labels: Labels) -> None:
    """At a rate of 1e-6 for any tails (`heavy_tails`), with the exact second moment."""
    one = law(labels, noise=0.2)
    W = weights(0.8, [[0.5]])
    exact, second = population_loss_moments(one, *W).value
    found = loss_sums(one, *W, 200_000, "labels test")
    compared = compare_mean(found["count"], found["sum"][0], found["sum_of_squares"][0], second, predicted=exact)
    assert compared.holds
    assert compared.detectable < 0.2 * exact


def test_a_fixed_function_pulls_at_the_leak_and_a_mirrored_one_does_not() -> None:
    """g(x) = 0.7 x + x^2/2 alone has no mirror image in its law: du12 and du21 move; a ReLU of w.x, w ~ -w, has one."""
    W = weights(1.0, [[0.4]])
    fixed = population_gradient(law(FIXED, task=0.0), *W)
    assert min(abs(fixed.W_PV[1, 0]), abs(fixed.W_KQ[1, 0])) > 0.05
    mirrored = population_gradient(law({"link": "relu"}), *W)
    assert abs(mirrored.W_PV[1, 0]) <= mirrored.rounding_PV[1, 0] < 1e-10
    assert abs(mirrored.W_KQ[1, 0]) <= mirrored.rounding_KQ[1, 0] < 1e-10


def test_the_pull_of_a_fixed_function_by_hand() -> None:
    """d = N = 1, y = b x + q x^2, A = a: dL/du21 = u E (a y x x_q - g(x_q)) y^2 x_q = u (a E y^3 x - b E y^2), with
    E y^3 x = 3 b^3 + 45 b q^2 and E y^2 = b^2 + 3 q^2."""
    (b,), ((q,),), u, a = FIXED["linear"], FIXED["quadratic"], 0.9, 0.9 * 0.4
    found = population_gradient(law(FIXED, n=1, task=0.0), *weights(u, [[0.4]]))
    by_hand = u * (a * (3 * b**3 + 45 * b * q * q) - b * (b * b + 3 * q * q))
    assert found.W_KQ[1, 0] == pytest.approx(by_hand, abs=found.rounding_KQ[1, 0])
    assert found.rounding_KQ[1, 0] < 1e-10


@pytest.mark.parametrize("link", ["sine", "sign"])
def test_the_second_moment_of_a_bounded_link_stays_below_its_bound(link: str) -> None:
    """The bound holds for every law; 2e5 samples of l^2 <= (a bounded-degree polynomial) would show it broken."""
    one, W = law({"link": link}, d=2, n=3, noise=0.3), weights(0.9, [[0.6, 0.1], [-0.2, 0.5]])
    prompts = sample_prompts(one, 200_000, stream("bounded"))
    value, key_query = (torch.from_numpy(part) for part in W)
    losses = prompt_losses(prompts, value, key_query)
    bound = second_moment_bound(one, *W)
    assert float((losses * losses).mean()) < bound < 1e3
    W_PV, W_KQ = (part.tolist() for part in W)
    assert sampled_link_loss(one.to_plain(), W_PV, W_KQ, 100, "bounded", "cpu")["second_moment"] == bound


def test_what_cannot_be_integrated_is_refused() -> None:
    W = weights(1.0, [[0.4]])
    with pytest.raises(ValueError, match="polynomial or ReLU labels"):
        population_loss(law({"link": "sine"}), *W)
    with pytest.raises(ValueError, match="ReLU labels alone"):
        population_loss(law({"link": "relu", "linear": [1.0]}), *W)
    with pytest.raises(ValueError, match=r"labels w\.x"):
        relu_risk(law({"link": "cubic"}), *W)
    with pytest.raises(ValueError, match=r"labels w\.x"):
        check_linear_image(law({"link": "cubic"}))
    with pytest.raises(ValueError, match=r"labels w\.x"):
        next(PromptSampler(law(FIXED)).over_queries(2, stream("labels")))
    with pytest.raises(ValueError, match="need labels out of"):
        second_moment_bound(law({"link": "cubic"}), *W)
    leaking = np.array(W[0])
    leaking[-1, 0] = 0.1
    with pytest.raises(ValueError, match="u12 = u21 = 0"):
        second_moment_bound(law({"link": "sign"}), leaking, W[1])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"link": "tanh"}, "need a link out of"),
        ({"linear": [1.0, 2.0]}, "coefficients of dimension 1"),
        ({"quadratic": [[1.0], [2.0]]}, "coefficients of dimension 1"),
        ({"linear": [float("nan")]}, "finite numbers"),
    ],
)
def test_labels_that_name_no_function_are_refused(labels: Labels, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        law(labels)
