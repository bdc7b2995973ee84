"""Sums over fresh prompts of predictors beside Bayes predictors, and the variances that go with them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import mpmath
import pytest
import torch

from iclcheck.numerics.decoders import evaluations
from iclcheck.numerics.decoders.evaluations import averaging, evaluated, zero
from iclcheck.numerics.mixtures.posterior import posterior
from iclcheck.numerics.mixtures.predictive_variances import predictive_law
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw
from iclcheck.numerics.training.random_streams import stream

CLASSES = ({"kind": "dense", "variance": 1.0}, {"kind": "sparse", "nonzeros": 2, "variance": 0.5})
MIXTURE = PromptLaw(3, 5, CLASSES, (0.3, 0.7), 0.1)
DENSE = replace(MIXTURE, classes=CLASSES[:1], weights=(1.0,))


def test_the_mean_of_the_predictive_law_is_that_of_the_posterior() -> None:
    batch = MIXTURE.sample(200, stream("predictive law"))
    found = predictive_law(MIXTURE, batch.xs, batch.ys)
    # the normal equations have a condition number of at most about 1 + 5 * 20/0.1 = 1e3, twice
    assert torch.allclose(found.mean, posterior(MIXTURE, batch.xs, batch.ys).prediction, rtol=0, atol=1e-9)


def test_the_variance_of_one_class_is_that_of_exact_regression_in_one_dimension() -> None:
    law = PromptLaw(1, 4, ({"kind": "dense", "variance": 2.0},), (1.0,), 0.5)
    xs = torch.tensor([[[1.0], [2.0], [-1.0], [3.0]]], dtype=torch.float64)
    found = predictive_law(law, xs, torch.zeros(1, 4, dtype=torch.float64)).variance[0].tolist()
    # Var w = 1/(1/v + sum x^2/sigma^2)
    squares = [0, 1, 5, 6]
    exact = [float(x * x / (Fraction(1, 2) + 2 * Fraction(s))) for x, s in zip((1, 2, -1, 3), squares, strict=True)]
    assert found == pytest.approx(exact, rel=1e-13)


def test_the_variance_between_classes_counts() -> None:
    """One class of weight 0 has no say; with two certain and different answers the variance is p (1 - p) (a - b)^2."""
    law = PromptLaw(1, 2, ({"kind": "dense", "variance": 1e-6}, {"kind": "dense", "variance": 4.0}), (0.5, 0.5), 1e-3)
    xs, ys = torch.ones(1, 2, 1, dtype=torch.float64), torch.full((1, 2), 0.1, dtype=torch.float64)
    (inside, _), (p, _) = (
        [float(predictive_law(replace(law, weights=w), xs, ys).variance[0, 1]) for w in ((1.0, 0.0), (0.0, 1.0))],
        posterior(law, xs, ys).classes[0, 1].tolist(),
    )
    outside = float(predictive_law(replace(law, weights=(0.0, 1.0)), xs, ys).variance[0, 1])
    between = p * (1 - p) * float(posterior(law, xs, ys).by_class[0, 1].diff() ** 2)
    found = float(predictive_law(law, xs, ys).variance[0, 1])
    assert found == pytest.approx(p * inside + (1 - p) * outside + between, rel=1e-9)
    assert between > 0.01 * found


def test_sums_are_those_of_the_prompts_themselves() -> None:
    count = evaluations.CHUNK + 7
    found = evaluated(MIXTURE, {"zero": zero}, {"dense": DENSE}, count, "sums", 0.5)
    generator = stream("sums")
    batches = [MIXTURE.sample(size, generator) for size in (evaluations.CHUNK, 7)]
    targets = torch.cat([batch.targets for batch in batches])
    answers = torch.cat([posterior(DENSE, batch.xs, batch.ys).prediction for batch in batches])
    variances = torch.cat([predictive_law(DENSE, batch.xs, batch.ys).variance for batch in batches])
    expected = {
        ("loss", "zero"): targets**2,
        ("loss", "dense"): (answers - targets) ** 2,
        ("variance", "dense"): variances,
        ("distance", "zero", "dense"): answers**2,
        ("cross", "zero", "dense"): -answers * (targets - answers),
        ("cross_variance", "zero", "dense"): answers**2 * variances,
    }
    for path, values in expected.items():
        sums = found
        for name in path:
            sums = sums[name]
        # adding up 519 numbers in another order
        for name, wanted in (("sum", values), ("squares", values**2), ("capped", values.clamp(-0.5, 0.5))):
            assert sums[name] == pytest.approx(wanted.sum(0).tolist(), rel=1e-9, abs=1e-9), (path, name)
        assert sums["capped_squares"] == pytest.approx((values.clamp(-0.5, 0.5) ** 2).sum(0).tolist(), rel=1e-9)
    assert found["count"] == count


def test_averaging_is_the_moment_of_the_examples_before() -> None:
    xs = torch.tensor([[[1.0, 2.0], [3.0, 0.0], [1.0, 1.0]]])
    ys = torch.tensor([[2.0, -1.0, 5.0]])
    assert averaging(xs, ys).tolist() == [[0.0, 6.0, 0.5 * (2 * 3 - 3)]]


def test_a_predictor_that_answers_otherwise_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prediction at each prefix of each prompt from short, \(4, 5\)"):
        evaluated(MIXTURE, {"short": lambda xs, ys: ys[:, 1:]}, {}, 4, "short", 1.0)
    with pytest.raises(ValueError, match="finite predictions from log"):
        evaluated(MIXTURE, {"log": lambda xs, ys: (0 * ys).log()}, {}, 4, "log", 1.0)
    with pytest.raises(ValueError, match="names of predictors that no oracle has, got dense"):
        evaluated(MIXTURE, {"dense": zero}, {"dense": DENSE}, 4, "twice", 1.0)
    with pytest.raises(ValueError, match="at least 1 prompt"):
        evaluated(MIXTURE, {}, {}, 0, "none", 1.0)
    with pytest.raises(ValueError, match="positive noise variance"):
        predictive_law(replace(DENSE, noise_variance=0.0), torch.ones(1, 2, 3), torch.ones(1, 2))


def posterior_in_fifty_digits(law: PromptLaw, xs: list[list[int]], ys: list[mpmath.mpf]) -> tuple[float, float]:
    """Mean and variance of f at the last x, from the normal equations of each dense or one-sparse model."""
    sigma2, found = mpmath.mpf(law.noise_variance), []
    for kind, weight in zip(law.classes, law.weights, strict=True):
        supports = [range(law.dimension)] if kind["kind"] == "dense" else [[j] for j in range(law.dimension)]
        for S in supports:
            R = mpmath.matrix([[mpmath.sqrt(kind["variance"]) * x[j] for j in S] for x in xs])
            seen, row, y = R[: len(ys), :], R[len(ys), :], mpmath.matrix(ys)
            C = sigma2 * mpmath.eye(len(ys)) + seen * seen.T
            gain = (mpmath.inverse(C) * seen) * row.T
            evidence = mpmath.exp(-(y.T * mpmath.inverse(C) * y)[0] / 2) / mpmath.sqrt(mpmath.det(C))
            mean, variance = (y.T * gain)[0], (row * row.T)[0] - (row * seen.T * gain)[0]
            found.append((mpmath.mpf(weight) / len(supports) * evidence, mean, variance))
    total = mpmath.fsum(p for p, _, _ in found)
    mean = mpmath.fsum(p * m for p, m, _ in found) / total
    return float(mean), float(mpmath.fsum(p * (v + (m - mean) ** 2) for p, m, v in found) / total)


@pytest.mark.parametrize("noise", [0.1, 1e-4, 1e-8])
def test_the_predictive_variance_keeps_its_digits_however_small_the_noise(noise: float) -> None:
    """Beside 50 digits, on whole numbers. What is lost is 2.2e-16/sigma, 2.2e-12 at most, some ten times."""
    law = PromptLaw(2, 5, ({"kind": "dense", "variance": 1.0}, {"kind": "sparse", "nonzeros": 1, "variance": 4.0}),
                    (0.5, 0.5), noise)  # fmt: skip
    xs, w = [[1, 2], [3, -1], [2, 2], [-1, 4], [2, 1]], (0.0, 3.0)
    with mpmath.workdps(50):
        ys = [mpmath.mpf(w[0] * x[0] + w[1] * x[1]) for x in xs]
        expected = [posterior_in_fifty_digits(law, xs[: n + 1], ys[:n]) for n in range(1, 5)]
    found = predictive_law(
        law, torch.tensor([xs], dtype=torch.float64), torch.tensor([[float(y) for y in ys]], dtype=torch.float64)
    )
    means, variances = (torch.tensor(column, dtype=torch.float64) for column in zip(*expected, strict=True))
    torch.testing.assert_close(found.mean[0, 1:], means, rtol=1e-10, atol=0)
    torch.testing.assert_close(found.variance[0, 1:], variances, rtol=1e-10, atol=0)
