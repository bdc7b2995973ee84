"""Baselines of the mixtures: each against its definition, at every prefix, and their exact measurements."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch

from iclcheck.numerics.decoders.parameter_counts import counted_parameters
from iclcheck.numerics.mixtures import baseline_measurements as measurements
from iclcheck.numerics.mixtures.baselines import at_every_prefix, baseline, estimator
from iclcheck.numerics.training.random_streams import standard_normals, stream

KINDS: list[dict[str, Any]] = [
    {"kind": "zero"}, {"kind": "averaging"}, {"kind": "one-step", "rate": 0.3}, {"kind": "least-squares"},
    {"kind": "ridge", "penalty": 0.7}, {"kind": "lasso", "penalty": 0.1}, {"kind": "nearest-neighbours", "count": 3},
]  # fmt: skip


def prompts(B: int, N: int, d: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = stream(f"test of baselines/{B}/{N}/{d}")
    xs = standard_normals((B, N, d), generator, torch.float64)
    return xs, standard_normals((B, N), generator, torch.float64)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["kind"])
def test_a_prediction_sees_the_examples_before_it_alone(kind: dict[str, Any]) -> None:
    xs, ys = prompts(3, 6, 4)
    whole = at_every_prefix(baseline(kind), xs, ys)
    changed = ys.clone()
    changed[:, 3:] = 100.0
    assert whole.shape == (3, 6)
    assert torch.equal(whole[:, 0], torch.zeros(3, dtype=torch.float64))
    assert torch.equal(at_every_prefix(baseline(kind), xs, changed)[:, :4], whole[:, :4])


@pytest.mark.parametrize("n", [2, 4, 7])
def test_least_squares_fits_as_well_as_it_can_with_the_least_norm(n: int) -> None:
    """Residuals are orthogonal to the examples, w lies in their span: 1e-11 is 5e4 eps, conditions are below 1e4."""
    xs, ys = prompts(5, n, 4)
    w = estimator({"kind": "least-squares"})(xs, ys)
    residual = (xs @ w[:, :, None])[..., 0] - ys
    assert float((xs.mT @ residual[:, :, None]).abs().max()) < 1e-11
    projector = torch.linalg.pinv(xs) @ xs
    assert torch.allclose((projector @ w[:, :, None])[..., 0], w, rtol=0, atol=1e-11)


def test_ridge_solves_its_normal_equations_and_a_tiny_penalty_is_least_squares() -> None:
    xs, ys = prompts(5, 6, 3)
    w = estimator({"kind": "ridge", "penalty": 0.4})(xs, ys)
    left = (xs.mT @ xs + 0.4 * torch.eye(3, dtype=torch.float64)) @ w[:, :, None]
    assert torch.allclose(left, xs.mT @ ys[:, :, None], rtol=0, atol=1e-11)
    near = estimator({"kind": "ridge", "penalty": 1e-12})(xs, ys)
    assert torch.allclose(near, estimator({"kind": "least-squares"})(xs, ys), rtol=0, atol=1e-9)


def test_the_lasso_is_optimal() -> None:
    """|X^T (y - X w)|/n <= lambda, with equality and the sign of w where w is not 0: the conditions for a minimum."""
    xs, ys = prompts(6, 9, 5)
    w, penalty = estimator({"kind": "lasso", "penalty": 0.1})(xs, ys), 0.1
    slope = (xs.mT @ (ys - (xs @ w[:, :, None])[..., 0])[:, :, None])[..., 0] / 9
    assert float(slope.abs().max()) <= penalty * (1 + 1e-9)
    active = w.abs() > 1e-12  # a coefficient that leaves the path ends within rounding of 0
    assert active.any()
    assert not active.all()
    assert torch.allclose(slope[active], penalty * w[active].sign(), rtol=0, atol=1e-9)


def test_the_lasso_without_scikit_learn_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ValueError, match=r'pip install "iclcheck\[baselines\]"'):
        estimator({"kind": "lasso", "penalty": 0.1})


def test_neighbours_are_the_nearest_ones() -> None:
    xs = torch.tensor([[[0.0], [1.0], [5.0], [1.5]]], dtype=torch.float64)
    ys = torch.tensor([[1.0, 2.0, 70.0, 6.0]], dtype=torch.float64)
    query = torch.tensor([[1.2]], dtype=torch.float64)
    assert float(baseline({"kind": "nearest-neighbours", "count": 3})(xs, ys, query)) == 3.0
    assert float(baseline({"kind": "nearest-neighbours", "count": 1})(xs, ys, query)) == 2.0


def test_unknown_baselines_and_penalties_are_refused() -> None:
    with pytest.raises(ValueError, match="baseline among"):
        baseline({"kind": "magic"})
    with pytest.raises(ValueError, match="positive penalty"):
        baseline({"kind": "ridge", "penalty": 0.0})
    with pytest.raises(ValueError, match="at least 1 neighbour"):
        baseline({"kind": "nearest-neighbours", "count": 0})


def test_a_design_has_the_second_moments_of_the_law() -> None:
    over = measurements.design(4, 6, 2.0, 0.3)
    count = len(over.tasks)
    assert torch.allclose(over.tasks.mT @ over.tasks / count, 0.5 * torch.eye(4, dtype=torch.float64))
    assert torch.allclose(over.noises.mT @ over.noises / count, 0.3 * torch.eye(6, dtype=torch.float64))
    assert float((over.tasks.mT @ over.noises).abs().max()) < 1e-15


def test_two_valued_matrices_have_mean_zero_and_variance_one() -> None:
    ((entries, probability),) = measurements.two_valued_matrices(2, 3)
    assert float(probability.sum()) == pytest.approx(1.0, abs=1e-15)
    assert float((probability[:, None, None] * entries).sum(0).abs().max()) < 1e-15
    assert torch.allclose((probability[:, None, None] * entries**2).sum(0), torch.ones(2, 3, dtype=torch.float64))


def test_least_squares_with_one_example_is_an_integral_over_chi_square() -> None:
    """d = 4, N = 1: W 3/4 + sigma^2 E 1/chi^2_4 = 3/4 + sigma^2/2."""
    case = {"dimension": 4, "length": 1, "squared_norm": 1.0, "noise_variance": 0.6}
    found = measurements.enumerated_least_squares([case])
    assert abs(found["risk"][0] - 1.05) <= found["rounding"][0]
    assert found["rounding"][0] < 1e-9


def test_sizes_that_cannot_be_enumerated_are_refused() -> None:
    case = {"dimension": 4, "length": 4, "squared_norm": 1.0, "noise_variance": 0.6}
    with pytest.raises(ValueError, match="differ by two"):
        measurements.enumerated_least_squares([case])
    with pytest.raises(ValueError, match="at most 2"):
        measurements.integrated_ridge([{**case, "penalty": 1.0, "nodes": 9}])


def test_ridge_with_one_example_in_one_dimension() -> None:
    """At lambda = sigma^2/W = 1 it is E 1/(chi^2_1 + 1) = sqrt(pi/2) e^(1/2) erfc(1/sqrt 2)."""
    case = {"dimension": 1, "length": 1, "squared_norm": 1.0, "noise_variance": 1.0, "penalty": 1.0, "nodes": 80}
    expected = math.sqrt(math.pi / 2) * math.exp(0.5) * math.erfc(math.sqrt(0.5))
    assert measurements.integrated_ridge([case])["risk"][0] == pytest.approx(
        expected, abs=1e-10
    )  # mass beyond the ends


def test_sampled_errors_are_reproduced_by_their_key() -> None:
    given: dict[str, Any] = {
        "baseline": {"kind": "ridge", "penalty": 1.0}, "length": 3, "task": [1.0, 0.0], "noise_variance": 0.1,
        "noise": "signs", "prompts": 50,
    }  # fmt: skip
    first, again, other = (measurements.sampled_errors(**given, stream_key=key) for key in ("a", "a", "b"))
    assert first == again != other
    assert first["count"] == 50


def test_parameters_are_counted_on_the_real_model() -> None:
    """One layer of width 2: 12 * 4 + 13 * 2 = 74; positions 2 * 3 * 2, norm 4, read-in 5 * 2 + 2, read-out 3."""
    shape = {"dimension": 5, "positions": 3, "width": 2, "layers": 1, "heads": 1}
    assert counted_parameters([shape]) == {"parameters": [74 + 12 + 4 + 12 + 3], "positions": [12]}
