"""The Bayes predictor of numerics/ at every prefix: right, stable, fast, and the same in pieces."""

import math
import time
from itertools import combinations

import mpmath
import pytest
import torch

from iclcheck.numerics.mixtures import posterior as module
from iclcheck.numerics.mixtures.posterior import class_evidence, class_models, posterior
from iclcheck.numerics.mixtures.posterior_by_quadrature import integrals
from iclcheck.numerics.mixtures.posterior_measurements import bayes_predictions
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw, Prompts
from iclcheck.numerics.training.random_streams import stream


def law(d: int, length: int, k: int, noise: float) -> PromptLaw:
    kinds = ({"kind": "dense", "variance": 1.5}, {"kind": "sparse", "nonzeros": k, "variance": 0.5})
    return PromptLaw(d, length, kinds, (0.375, 0.625), noise)


def drawn(made: PromptLaw, count: int) -> Prompts:
    return made.sample(count, stream(f"test of the posterior/{made.key}"))


@pytest.mark.parametrize(("d", "k"), [(1, 1), (4, 1), (4, 2), (5, 3)])
def test_at_moderate_noise_it_is_bayes_rule_on_densities_of_y(d: int, k: int) -> None:
    made = law(d, d + 3, k, 0.5)
    prompts = drawn(made, 3)
    found = posterior(made, prompts.xs, prompts.ys)
    for b in range(3):
        for n in range(d + 3):
            X, y, query = prompts.xs[b, :n], prompts.ys[b, :n], prompts.xs[b, n]
            by_class = []
            for supports, v in (([tuple(range(d))], 1.5), (list(combinations(range(d), k)), 0.5)):
                logs, means = [], []
                for support in supports:
                    R = X[:, support]
                    K = 0.5 * torch.eye(n, dtype=torch.float64) + v * R @ R.T
                    logs.append(-(y @ torch.linalg.solve(K, y) + torch.logdet(2 * math.pi * K)) / 2)
                    means.append(query[list(support)] @ (v * R.T @ torch.linalg.solve(K, y)))
                weights = torch.stack(logs)
                by_class.append(
                    (weights.logsumexp(0) - math.log(len(supports)), weights.softmax(0) @ torch.stack(means))
                )
            evidence = torch.stack([one[0] for one in by_class])
            shares = (torch.tensor(made.weights, dtype=torch.float64).log() + evidence).softmax(0)
            # condition numbers of K are below 1e3, so that solving loses three digits of sixteen at most
            torch.testing.assert_close(found.log_evidence[b, n], evidence, rtol=1e-11, atol=1e-11)
            torch.testing.assert_close(found.classes[b, n], shares, rtol=1e-11, atol=1e-11)
            mean = shares @ torch.stack([one[1] for one in by_class])
            torch.testing.assert_close(found.prediction[b, n], mean, rtol=1e-11, atol=1e-11)


def in_many_digits(made: PromptLaw, prompts: Prompts, b: int, n: int) -> tuple[float, float]:
    """P(dense) and the prediction to 60 digits, K being inverted in 60 digits."""
    with mpmath.workdps(60):
        X, y = prompts.xs[b, :n].tolist(), mpmath.matrix(prompts.ys[b, :n].tolist())
        query, d, k = prompts.xs[b, n].tolist(), made.dimension, made.classes[1]["nonzeros"]
        supports, logs, means = [tuple(range(d)), *combinations(range(d), k)], [], []
        for place, support in enumerate(supports):
            v = mpmath.mpf(made.classes[min(place, 1)]["variance"])
            prior = mpmath.mpf(made.weights[min(place, 1)]) / (1 if place == 0 else len(supports) - 1)
            R = mpmath.matrix([[row[j] for j in support] for row in X])
            K = mpmath.mpf(made.noise_variance) * mpmath.eye(n) + v * R * R.T
            a = mpmath.lu_solve(K, y)
            logs.append(mpmath.log(prior) - (y.T * a)[0] / 2 - mpmath.log(mpmath.det(K)) / 2)
            means.append((mpmath.matrix([[query[j] for j in support]]) * (v * R.T * a))[0])
        shares = [mpmath.exp(one - max(logs)) for one in logs]
        mean = mpmath.fsum(p * m for p, m in zip(shares, means, strict=True)) / mpmath.fsum(shares)
        return float(shares[0] / mpmath.fsum(shares)), float(mean)


@pytest.mark.parametrize("noise", [1e-4, 1e-8])
def test_at_little_noise_it_keeps_nine_digits_at_every_prefix(noise: float) -> None:
    made = law(5, 7, 2, noise)
    prompts = drawn(made, 4)
    found = posterior(made, prompts.xs, prompts.ys)
    for b in range(4):
        for n in range(1, 7):
            share, mean = in_many_digits(made, prompts, b, n)
            # what is promised is nine digits; the bounds of `posterior_rounding` are larger, rotations err by less
            assert float(found.classes[b, n, 0]) == pytest.approx(share, abs=1e-9)
            assert float(found.prediction[b, n]) == pytest.approx(mean, abs=1e-9)


def test_the_bounds_on_rounding_hold_and_grow_as_the_noise_shrinks() -> None:
    bounds = []
    for noise in (1e-2, 1e-8):
        made = law(3, 3, 1, noise)
        prompts = drawn(made, 1)
        case = {
            "X": prompts.xs[0, :2].tolist(), "y": prompts.ys[0, :2].tolist(), "x_query": prompts.xs[0, 2].tolist(),
            "sparsity": 1, "dense_variance": 1.5, "sparse_variance": 0.5, "dense_probability": 0.375,
            "noise_variance": noise,
        }  # fmt: skip
        found = bayes_predictions([case], "cpu")
        exact = in_many_digits(made, prompts, 0, 2)
        for value, bound, right in zip(found["values"][0], found["rounding"][0], exact, strict=False):
            assert abs(value - right) <= bound
        bounds.append(found["rounding"][0][1])
    assert bounds[1] > 10 * bounds[0]
    assert bounds[1] < 1e-8


def test_prompts_in_pieces_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    made = law(4, 6, 2, 0.1)
    prompts = drawn(made, 50)
    whole = posterior(made, prompts.xs, prompts.ys)
    monkeypatch.setattr(module, "IN_CACHE", 1)  # one prompt at a time
    pieces = posterior(made, prompts.xs, prompts.ys)
    # the order of additions inside a prompt does not depend on its neighbours, but vector units may fuse differently
    torch.testing.assert_close(pieces.prediction, whole.prediction, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(pieces.classes, whole.classes, rtol=1e-12, atol=1e-13)


def test_threads_of_torch_are_as_before() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        made = law(2, 2, 1, 0.1)
        prompts = drawn(made, 2)
        posterior(made, prompts.xs, prompts.ys)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_a_thousand_prompts_with_190_supports_take_under_two_seconds_of_one_core() -> None:
    kinds = ({"kind": "dense", "variance": 1.0}, {"kind": "sparse", "nonzeros": 2, "variance": 1.0})
    made = PromptLaw(20, 40, kinds, (0.5, 0.5), 0.1)
    prompts = drawn(made, 1_000)
    times = []
    for _ in range(3):
        start = time.process_time()
        posterior(made, prompts.xs, prompts.ys)
        times.append(time.process_time() - start)
    assert min(times) < 2


def test_a_grid_integrates_a_gaussian() -> None:
    X, y = torch.tensor([[2.0]], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)
    total, moment = integrals(X, y, torch.ones(1, dtype=torch.float64), 1.0, 0.5, 361)
    # y ~ N(0, 4.5), E[w | y] = 2/4.5; the step is 1/20, the narrowest deviation 1/3: exp(-2 pi^2 (20/3)^2) is nothing
    density = math.exp(-1 / 9) / math.sqrt(2 * math.pi * 4.5)
    assert total == pytest.approx(density, rel=1e-13)
    assert moment == pytest.approx(density * 2 / 4.5, rel=1e-13)


def test_no_noise_and_other_classes_are_refused() -> None:
    made = law(2, 2, 1, 0.0)
    with pytest.raises(ValueError, match="positive noise variance"):
        posterior(made, torch.zeros(1, 2, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="Gaussian in its coefficients"):
        class_models({"kind": "relu"}, 2)


def test_the_evidence_of_a_class_without_examples_is_1() -> None:
    models = class_models({"kind": "sparse", "nonzeros": 2, "variance": 0.5}, 4)
    _, evidence = class_evidence(models, torch.ones(2, 1, 4, dtype=torch.float64), torch.ones(2, 1).double(), 1e-8)
    torch.testing.assert_close(evidence, torch.zeros(2, 1).double(), rtol=0, atol=1e-14)
