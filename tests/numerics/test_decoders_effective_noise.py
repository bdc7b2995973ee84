"""The effective noise of an oracle is its own; distances and readings in the sweep are those of the oracles."""

import math
from dataclasses import replace

import pytest
from torch import Tensor

from iclcheck.numerics.decoders.effective_noise import (
    effective_noise,
    golden_section,
    orthogonal_log_odds,
    sweep_of,
    sweep_of_model,
    with_noise,
    with_nonzeros,
)
from iclcheck.numerics.mixtures.posterior import posterior
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw
from iclcheck.numerics.training.random_streams import stream

LAW = PromptLaw(
    3, 5, ({"kind": "dense", "variance": 1.0}, {"kind": "sparse", "nonzeros": 1, "variance": 1.0}), (0.5, 0.5), 0.2
)


def noisy(xs: Tensor, ys: Tensor) -> Tensor:
    """The oracle of the law with four times its noise."""
    return posterior(with_noise(LAW, 0.8), xs, ys).prediction


def test_golden_section_finds_the_minimum() -> None:
    at, least = golden_section(lambda x: (x - 0.3) ** 2 + 1, -2.0, 5.0, 30)
    assert abs(at - 0.3) < 7 * 0.62**30 + 1e-7  # the interval, and the square root of rounding
    assert least == pytest.approx(1.0)


@pytest.mark.parametrize("noise", [0.05, 0.8])
def test_the_effective_noise_of_an_oracle_is_its_own(noise: float) -> None:
    prompts = LAW.sample(60, stream("effective noise"))
    predictions = posterior(with_noise(LAW, noise), prompts.xs, prompts.ys).prediction
    found, distance = effective_noise(LAW, prompts, predictions)
    # 14 steps leave ln(10/1e-3) 0.618^14 = 0.011 of the logarithm
    assert abs(math.log(found / noise)) < 0.012
    assert distance < 1e-4


def test_an_oracle_with_more_noise_is_explained_and_one_that_ignores_the_class_is_not() -> None:
    found = sweep_of(LAW, noisy, (1, 3), 60, 40, "test", 1.0, "cpu")
    for one in found["sweep"]:
        distances = {name: pair[0] for name, pair in one["distances"].items()}
        assert distances["effective"] < 0.01 * distances["true"]
        assert distances["explained"] == pytest.approx(distances["true"] - distances["effective"])
        assert one["readings"]["model"] == pytest.approx(one["readings"]["effective"], abs=0.02)
    dense = PromptLaw(3, 5, LAW.classes[:1], (1.0,), 0.2)
    found = sweep_of(LAW, lambda xs, ys: posterior(dense, xs, ys).prediction, (1,), 60, 40, "test", 1.0, "cpu")
    (one,) = found["sweep"]
    assert one["distances"]["first"][0] < 1e-20
    assert one["readings"]["model"] == pytest.approx(1.0)
    assert one["distances"]["effective"][0] > 0.3 * one["distances"]["true"][0]


def test_prompts_of_a_sweep_have_so_many_nonzeros_and_the_same_noise() -> None:
    swept = with_nonzeros(LAW, 2)
    assert swept == replace(LAW, classes=({"kind": "sparse", "nonzeros": 2, "variance": 1.0},), weights=(1.0,))
    dense, sparse = LAW.classes
    equal = replace(LAW, classes=(dense, {**sparse, "variance": 3.0}))
    assert [with_nonzeros(equal, m).classes[0]["variance"] for m in (1, 2, 3)] == [3.0, 1.5, 1.0]
    with pytest.raises(ValueError, match="need a dense and a sparse class"):
        with_nonzeros(swept, 1)


def test_log_odds_with_orthogonal_inputs_do_not_depend_on_which_coefficients_are_there() -> None:
    case = {
        "dimension": 4,
        "sparsity": 1,
        "repeats": 2,
        "noise_variance": 0.5,
        "size": 1.0,
        "dense_variance": 1.0,
        "sparse_variance": 2.0,
    }
    found = orthogonal_log_odds([{**case, "nonzeros": m} for m in range(5)], "cpu")
    assert found["log_bayes_factor"] == sorted(found["log_bayes_factor"])
    assert max(found["rounding"]) < 1e-10


def test_a_shipped_model_is_swept_only_if_it_is_the_recorded_file() -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        sweep_of_model(LAW.plain(), "mixture", "0" * 64, [1], 10, 10, "test", 1.0, "cpu")
