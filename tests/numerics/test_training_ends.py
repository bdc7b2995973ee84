"""The noise of one training step is that of the layer's own gradient, at the balanced end of a run."""

from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.one_layer.gradient_noise import squared_gradient_sums, squared_gradients
from iclcheck.numerics.one_layer.layer import LinearAttention
from iclcheck.numerics.one_layer.observables import balance, effective_preconditioner
from iclcheck.numerics.one_layer.prompts import PromptDistribution, sample_prompts
from iclcheck.numerics.training.configurations import TrainingConfiguration
from iclcheck.numerics.training.ends import averaged_prompts, trained_ends
from iclcheck.numerics.training.measurements import trained_weights
from iclcheck.numerics.training.random_streams import stream

LAW = PromptDistribution([[2.0, 0.4], [0.4, 1.0]], (1, 3), [[1.0, 0.2], [0.2, 0.5]], 0.3)


def weights() -> Any:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 3)) / 2)


def test_the_squared_gradient_is_that_of_automatic_differentiation() -> None:
    prompts = sample_prompts(LAW, 6, stream("noise"))
    W_PV, W_KQ = weights()
    layer = LinearAttention(W_PV, W_KQ)
    found = squared_gradients(prompts, W_PV, W_KQ)
    for b in range(6):
        loss = ((layer.prediction(prompts) - prompts.target).square() / 2)[b]
        gradients = torch.autograd.grad(loss, (layer.W_PV, layer.W_KQ))
        # both sum a few dozen products in float64
        torch.testing.assert_close(found[b], sum(g.square().sum() for g in gradients), rtol=1e-11, atol=0)


def test_sums_add_up_the_stream() -> None:
    W_PV, W_KQ = weights()
    sums = squared_gradient_sums(LAW, W_PV, W_KQ, 50, "key")
    values = squared_gradients(sample_prompts(LAW, 50, stream("key")), W_PV, W_KQ)
    assert sums["count"] == 50
    assert sums["sum"][0] == pytest.approx(float(values.sum()), rel=1e-12)
    assert sums["sum_of_squares"][0] == pytest.approx(float(values.square().sum()), rel=1e-12)


def test_an_end_is_the_trained_layer_balanced() -> None:
    runs = [
        TrainingConfiguration(LAW, start="all-parameters", steps=6, batch_size=8, averaging=0.5, replica=k).to_plain()
        for k in range(2)
    ]
    ends, plain = trained_ends(runs, 40, "cpu"), trained_weights(runs, "cpu")
    assert ends["averaged_prompts"] == [24, 24]
    assert ends["prompts"] == plain["prompts"] == [48, 48]
    for k in range(2):
        W_PV, W_KQ = np.array(ends["W_PV"][k]), np.array(ends["W_KQ"][k])
        assert balance(W_PV, W_KQ) == pytest.approx(0, abs=1e-14)
        np.testing.assert_allclose(effective_preconditioner(W_PV, W_KQ), plain["preconditioner"][k], rtol=1e-12)
        key = TrainingConfiguration.from_plain(runs[k]).key
        sums = squared_gradient_sums(LAW, W_PV, W_KQ, 40, f"{key}/noise at the end")
        assert ends["squared_gradient"][k] == sums["sum"][0] / 40


def test_without_averaging_the_last_step_counts() -> None:
    assert averaged_prompts(TrainingConfiguration(LAW, steps=10, batch_size=8, averaging=0.0)) == 8
