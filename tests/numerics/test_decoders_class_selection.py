"""Readings of predictors between two oracles; the prompts that are kept; files that are refused."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from iclcheck.numerics.decoders.class_selection import (
    line_between,
    oracle_slopes,
    prompts_in,
    read_model,
    readings_of,
)
from iclcheck.numerics.mixtures.posterior import posterior
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw
from iclcheck.numerics.training.random_streams import stream

CLASSES = ({"kind": "dense", "variance": 1.0}, {"kind": "sparse", "nonzeros": 1, "variance": 1.0})
LAW = PromptLaw(3, 6, CLASSES, (0.3, 0.7), 0.2)
LIMITS = (-0.5, 1.5)


class Following(torch.nn.Module):
    """A predictor that follows one class, or mixes them with a share that is no posterior."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, xs: Tensor, ys: Tensor) -> Tensor:
        line = line_between(posterior(replace(LAW, length=xs.shape[1]), xs, ys))
        return line.second + self.share * line.gap


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_predictor_between_the_oracles_is_read_where_it_stands(share: float) -> None:
    found = readings_of(LAW, Following(share), 3, (-1.0, 2.0), 300, "test", 0.5, LIMITS, "cpu")  # type: ignore[arg-type]
    read = (found["sums"]["model"] + found["sums"]["posterior"]) / found["sums"]["weight"]
    # inputs go through float32: predictions are off by some 1e-6, beside gaps that count from a tenth of `reach` on
    assert read == pytest.approx(share, abs=1e-4)
    assert abs(found["sums"]["mixture"]) < 300 * 1e-14
    assert found["count"] == 300


def test_prompts_lie_in_the_interval_after_their_examples() -> None:
    for prompts, line in prompts_in(LAW, 2, (-0.5, 0.5), 100, "test", "cpu"):
        assert prompts.xs.shape[1] == 3
        again = line_between(posterior(replace(LAW, length=3), prompts.xs, prompts.ys))
        # the same sums in another grouping; B is of size one
        assert torch.allclose(again.log_bayes_factor[:, -1], line.log_bayes_factor, rtol=0, atol=1e-13)
        assert bool((line.log_bayes_factor.abs() <= 0.5).all())


def test_an_interval_that_nothing_reaches_is_refused() -> None:
    with pytest.raises(ValueError, match="need prompts with a log Bayes factor in"):
        next(prompts_in(LAW, 1, (500.0, None), 10, "test", "cpu"))


def test_a_law_of_one_class_has_no_line() -> None:
    one = replace(LAW, classes=CLASSES[:1], weights=(1.0,))
    prompts = one.sample(2, stream("one class"))
    with pytest.raises(ValueError, match="need a mixture of two classes, got 1"):
        line_between(posterior(one, prompts.xs, prompts.ys))


def test_a_shipped_model_is_read_only_if_it_is_the_recorded_file() -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        read_model(LAW.plain(), "mixture", "0" * 64, 3, (None, None), 10, "test", 0.5, LIMITS, "cpu")


def test_slopes_of_least_squares_are_those_of_numpy() -> None:
    (bins,) = oracle_slopes([LAW.plain()], 40, "test", [(-1.0, 0.5)], "cpu")["laws"]
    prompts = LAW.sample(40, stream(f"test/{LAW.key}"))
    line = line_between(posterior(LAW, prompts.xs, prompts.ys))
    B = line.log_bayes_factor[:, 1:]
    inside = (B >= -1.0) & (B < 0.5)
    D, pulled = line.gap[:, 1:][inside], (line.mixture - line.second)[:, 1:][inside]
    slope = torch.linalg.lstsq(D[:, None], pulled[:, None]).solution.item()
    assert bins[0]["slope"] == pytest.approx(slope, rel=1e-12)
    assert sum(bins[0]["squares"]) == pytest.approx(1.0, rel=1e-14)
    assert bins[0]["rounding"] < 1e-11
