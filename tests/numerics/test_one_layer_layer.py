"""The layer's fast path, its closed-form gradient and its plain-loop reference are one function."""

from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.one_layer import reference
from iclcheck.numerics.one_layer.gradients import batch_gradient, prompt_losses
from iclcheck.numerics.one_layer.layer import LinearAttention, attend, fast_prediction
from iclcheck.numerics.one_layer.prompts import PromptDistribution, sample_padded_prompts, sample_prompts
from iclcheck.numerics.training.random_streams import stream

# Each value below is a sum of at most some hundred products of numbers of size below 1e3, so two orders of
# summation differ by less than 1e2 * 1e3 * 2.2e-16 = 2e-11 of its scale.
ROUNDING = 1e-10


def law(d: Any, lengths: Any, noise: Any = 0.3, covariates: Any = "gaussian") -> Any:
    mix = np.fromfunction(lambda i, j: 1.0 / (1 + i + 2 * j), (d, d))
    return PromptDistribution(np.eye(d) + mix @ mix.T, lengths, np.eye(d) + mix.T @ mix, noise, covariates)


def weights(*shape: Any, seed: Any = 0) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(2, *shape)))


@pytest.mark.parametrize("d, lengths", [(1, (1,)), (2, (3,)), (3, (2, 5))])
def test_fast_path_full_layer_and_plain_loops_agree(d: Any, lengths: Any) -> None:
    prompts = sample_prompts(law(d, lengths), 6, stream("layer"))
    W_PV, W_KQ = weights(d + 1, d + 1)
    full = LinearAttention(W_PV, W_KQ).prediction(prompts).detach()
    torch.testing.assert_close(fast_prediction(prompts, W_PV, W_KQ), full, atol=ROUNDING, rtol=ROUNDING)
    for b in range(6):
        N = int(prompts.context_length[b])
        columns = [*range(N), -1]  # the padding columns do not exist in the formula
        E = prompts.embedding[b].numpy()[:, columns]
        expected = reference.attend(E, N, W_PV.numpy(), W_KQ.numpy())
        got = attend(prompts.embedding, prompts.context_length, W_PV, W_KQ)[b].numpy()[:, columns]
        np.testing.assert_allclose(got, expected, atol=ROUNDING, rtol=ROUNDING)
        assert float(full[b]) == pytest.approx(reference.prediction(E, N, W_PV.numpy(), W_KQ.numpy()), abs=ROUNDING)


def test_closed_form_batch_gradient_is_the_full_layers_autograd() -> None:
    laws = [law(1, (4,)), law(3, (2, 5)), law(2, (3,), 0.0)]
    prompts = sample_padded_prompts(laws, 7, [stream(f"gradient {c}") for c in range(3)])
    W_PV, W_KQ = weights(3, 4, 4)
    layer = LinearAttention(W_PV, W_KQ)
    losses = (layer.prediction(prompts) - prompts.target).square() / 2
    expected_PV, expected_KQ = torch.autograd.grad(losses.mean(-1).sum(), [layer.W_PV, layer.W_KQ])
    loss, got_PV, got_KQ = batch_gradient(prompts, W_PV, W_KQ)
    torch.testing.assert_close(loss, losses.mean(-1).detach(), atol=ROUNDING, rtol=ROUNDING)
    torch.testing.assert_close(got_PV, expected_PV[:, -1], atol=ROUNDING, rtol=ROUNDING)
    torch.testing.assert_close(got_KQ, expected_KQ, atol=ROUNDING, rtol=ROUNDING)
    assert not expected_PV[:, :-1].any()  # the other rows do not reach the prediction
    assert not expected_KQ[..., -1].any()  # the query carries no label


def test_fast_path_gradients_are_the_full_layers() -> None:
    prompts = sample_prompts(law(2, (2, 4)), 9, stream("fast gradients"))
    layer = LinearAttention(*weights(3, 3))
    full = ((layer.prediction(prompts) - prompts.target).square() / 2).sum()
    fast = prompt_losses(prompts, layer.W_PV, layer.W_KQ).sum()
    for one, other in zip(
        torch.autograd.grad(full, list(layer.parameters())),
        torch.autograd.grad(fast, list(layer.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=ROUNDING, rtol=ROUNDING)


def test_a_configuration_predicts_alike_alone_and_padded() -> None:
    laws = [law(1, (4,)), law(3, (2, 5))]
    together = sample_padded_prompts(laws, 5, [stream("pad 0"), stream("pad 1")])
    assert together.embedding.shape == (2, 5, 4, 6)
    W_PV, W_KQ = weights(4, 4)
    alone = sample_prompts(laws[0], 5, stream("pad 0"))
    kept = [0, 3]
    small = [matrix[kept][:, kept] for matrix in (W_PV, W_KQ)]
    got = fast_prediction(together, W_PV.expand(2, 4, 4), W_KQ.expand(2, 4, 4))[0]
    torch.testing.assert_close(got, fast_prediction(alone, *small), atol=ROUNDING, rtol=ROUNDING)
