"""The sinusoid's Gaussian models: the scale mixture behind them, their quadrature, and combinations."""

import math
from typing import Any

import pytest
import torch

from iclcheck.numerics.mixtures.posterior import ClassModels, class_evidence, class_models, posterior
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw
from iclcheck.numerics.mixtures.sinusoid_measurements import quadrature_errors
from iclcheck.numerics.mixtures.sinusoid_models import FINE, NODES, combined_models, frequency_nodes, sinusoid_models
from iclcheck.numerics.training.random_streams import stream

DENSE = {"kind": "dense", "variance": 1.0}
SINUSOID = {"kind": "sinusoid", "lowest": 1.0, "highest": 4.0, "variance": 2.0}
LAW = PromptLaw(1, 16, (DENSE, SINUSOID), (0.5, 0.5), 0.1)


def test_the_scale_has_the_moments_that_make_two_normals_an_amplitude() -> None:
    """E a^(2k) = (2 k - 1)!! v^k, and E (v beta |g|^2)^k = v^k E beta^k 2^k k!; n nodes are exact below k = 2 n."""
    _, log_weights = sinusoid_models(SINUSOID, (3, 8))
    theta = math.pi / 2 * (torch.arange(8, dtype=torch.float64) + 0.5) / 8
    for k in range(1, 13):
        beta = float((theta.sin() ** (2 * k)).mean())
        double_factorial = math.prod(range(1, 2 * k, 2))
        assert math.isclose(beta * 2**k * math.factorial(k), double_factorial, rel_tol=1e-13)
    assert math.isclose(float(log_weights.exp().sum()), 1.0, rel_tol=1e-13)


def test_the_models_have_the_covariance_of_the_sinusoid() -> None:
    """E f(x) f(x') = (v/2) E cos(omega (x - x')), to rounding: 64 Gauss nodes are exact far beyond this cosine."""
    rows, log_weights = sinusoid_models(SINUSOID)
    x = torch.tensor([[0.3], [1.1]], dtype=torch.float64)
    values = rows(x)
    assert values.shape == (2, NODES[0] * NODES[1], 2)
    found = float((log_weights.exp() * (values[0] * values[1]).sum(-1)).sum())
    assert abs(found - (math.sin(4 * 0.8) - math.sin(0.8)) / (3 * 0.8)) < 1e-13


def by_phase(kind: Any, nodes: tuple[int, int]) -> ClassModels:
    """The same class by a quadrature over the phase, with the amplitude integrated alone."""
    frequencies, weights = frequency_nodes(kind["lowest"], kind["highest"], nodes[0])
    phases = math.pi * torch.arange(nodes[1], dtype=torch.float64) / nodes[1]
    omega, phi = frequencies.repeat_interleave(nodes[1]), phases.repeat(nodes[0])
    log_weights = weights.log().repeat_interleave(nodes[1]) - math.log(nodes[1])
    return ClassModels(lambda x: math.sqrt(2.0) * torch.sin(omega * x[:, :1] + phi)[..., None], log_weights)


def test_the_quadrature_over_the_phase_gives_the_same_predictor_and_the_stated_errors() -> None:
    prompts = LAW.sample(12, stream("phase"))
    exact, evidence = class_evidence(by_phase(SINUSOID, (256, 128)), prompts.xs, prompts.ys, 0.1)
    # ten times the errors that the module states, which come from 48 other prompts
    for nodes, largest in ((NODES, 6e-2), (FINE, 3e-4)):
        found, _ = class_evidence(ClassModels(*sinusoid_models(SINUSOID, nodes)), prompts.xs, prompts.ys, 0.1)
        assert float((found - exact).abs().max()) < largest, nodes
    assert torch.isfinite(evidence).all()


def test_doubling_the_nodes_tells_where_they_are_not_enough() -> None:
    prompts = LAW.sample(6, stream("doubling"))
    enough = quadrature_errors(LAW, prompts.xs, prompts.ys, NODES)
    few = quadrature_errors(LAW, prompts.xs, prompts.ys, (8, 4))
    assert enough.shape == (6, 16)
    assert float(enough.square().mean().sqrt()) < 3e-3 < 3e-2 < float(few.square().mean().sqrt())


def test_a_combination_of_two_dense_classes_is_one_dense_class() -> None:
    """c w + (1 - c) w' with variances 1 and 4 is dense with c^2 + 4 (1 - c)^2, by another set of coefficients."""
    both = {"kind": "combination", "share": 0.3, "first": DENSE, "second": {"kind": "dense", "variance": 4.0}}
    one = {"kind": "dense", "variance": 0.3**2 + 4 * 0.7**2}
    laws = [PromptLaw(2, 6, (kind, {"kind": "sparse", "nonzeros": 1, "variance": 1.0}), (0.5, 0.5), 0.2)
            for kind in (both, one)]  # fmt: skip
    prompts = laws[1].sample(20, stream("two dense"))
    found = [posterior(law, prompts.xs, prompts.ys) for law in laws]
    for first, second in zip(*found, strict=True):
        # six rotations of rows of four numbers
        torch.testing.assert_close(first, second, rtol=0, atol=1e-12)


@pytest.mark.parametrize("share, alone", [(0.0, SINUSOID), (1.0, DENSE)])
def test_a_combination_with_all_of_one_class_is_that_class(share: float, alone: Any) -> None:
    kind = {"kind": "combination", "share": share, "first": DENSE, "second": SINUSOID}
    assert class_models(kind, 1).rows(torch.ones(3, 1).double()).shape == (3, NODES[0] * NODES[1], 3)
    prompts = LAW.sample(5, stream("all of one"))
    found = posterior(PromptLaw(1, 16, (kind,), (1.0,), 0.1), prompts.xs, prompts.ys).prediction
    expected = posterior(PromptLaw(1, 16, (alone,), (1.0,), 0.1), prompts.xs, prompts.ys).prediction
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)  # some hundred rotations of numbers below ten


def test_combined_weights_are_products() -> None:
    first = (lambda x: x[:, None, :].expand(-1, 2, 1), torch.tensor([0.25, 0.75]).log())
    second = (lambda x: x[:, None, :].expand(-1, 3, 1), torch.tensor([0.5, 0.3, 0.2]).log())
    rows, log_weights = combined_models(0.5, first, second)
    torch.testing.assert_close(log_weights.exp()[:3], 0.25 * torch.tensor([0.5, 0.3, 0.2]))
    assert rows(torch.ones(4, 1)).shape == (4, 6, 2)
