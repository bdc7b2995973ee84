"""The layer on text against loops, its flow against differences, and its training."""

import math

import numpy as np
import pytest
import torch

from iclcheck.numerics.scan_on_text import text_attention as layer
from iclcheck.numerics.scan_on_text.text_corpus import corpus_of
from iclcheck.numerics.scan_on_text.text_embeddings import TextTraining, relative_entropies, trained_on
from iclcheck.numerics.training.random_streams import standard_normals, stream

M = 6


def weights_and_windows(key: str, count: int = 5, length: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = stream(f"scan text tests/{key}")
    Y, Z = (standard_normals((M, M), draw, torch.float64) for _ in range(2))
    return Y, Z, torch.randint(M, (count, length + 1), generator=draw)


def loss_by_loops(Y: np.ndarray, Z: np.ndarray, windows: np.ndarray) -> float:
    total = 0.0
    for row in windows:
        *keys, query, following = row
        scores = np.array([math.exp(Z[query, key]) for key in keys])
        output = np.zeros(M)
        for key, score in zip(keys, scores / scores.sum(), strict=True):
            output[key] += score
        logits = Y.T @ (output / np.linalg.norm(output))
        total += math.log(np.exp(logits).sum()) - logits[following]
    return total / len(windows)


def test_the_loss_is_that_of_plain_loops() -> None:
    Y, Z, windows = weights_and_windows("loops")
    # some hundred operations on numbers of order one
    assert float(layer.mean_loss(Y, Z, windows)) == pytest.approx(
        loss_by_loops(Y.numpy(), Z.numpy(), windows.numpy()), rel=1e-13
    )


def test_the_order_of_the_keys_says_nothing() -> None:
    Y, Z, windows = weights_and_windows("order")
    turned = torch.cat([windows[:, :-2].flip(-1), windows[:, -2:]], -1)
    assert float(layer.mean_loss(Y, Z, turned)) == pytest.approx(float(layer.mean_loss(Y, Z, windows)), rel=1e-14)
    swapped = windows.clone()
    swapped[:, [0, -2]] = swapped[:, [-2, 0]]  # the query is no key
    assert abs(float(layer.mean_loss(Y, Z, swapped) - layer.mean_loss(Y, Z, windows))) > 1e-3


def test_attention_starts_uniform_with_the_loss_of_guessing() -> None:
    _, _, windows = weights_and_windows("start")
    Y, Z = layer.zeros(M)
    assert torch.all(layer.attention(Z, windows) == 1 / 6)
    assert layer.entropies(Z, windows).tolist() == pytest.approx(5 * [math.log(6)], rel=1e-15)
    assert float(layer.mean_loss(Y, Z, windows)) == pytest.approx(math.log(M), rel=1e-15)


def test_the_second_derivative_is_the_change_of_the_velocity_along_the_flow() -> None:
    Y, Z, windows = weights_and_windows("second")
    rates, h = (0.7, 1.3), 1e-4
    moving = layer.velocity(Y, Z, windows, rates)
    ahead, behind = (layer.velocity(Y + s * h * moving[0], Z + s * h * moving[1], windows, rates) for s in (1.0, -1.0))
    for one, up, down in zip(layer.acceleration(Y, Z, windows, rates), ahead, behind, strict=True):
        # a central difference errs by h^2/6 = 2e-9 times a third derivative, and by rounding 1e-16/h = 1e-12
        assert torch.allclose(one, (up - down) / (2 * h), rtol=0, atol=1e-7)
        assert one.abs().max() > 1e-3


def test_the_flow_lowers_the_loss_and_its_steps_are_fine_enough() -> None:
    _, _, windows = weights_and_windows("flow")
    start = layer.mean_loss(*layer.zeros(M), windows)
    fine, coarse = (layer.flow(windows, M, (1.0, 2.0), 0.5, steps) for steps in (20, 10))
    assert layer.mean_loss(*fine, windows) < start
    # of fourth order: steps of 1/20 of a time in which nothing moves fast
    assert torch.allclose(fine[1], coarse[1], rtol=0, atol=1e-8)
    assert fine[1].abs().max() > 1e-4


def test_lost_entropy_is_right_for_large_and_for_tiny_logits() -> None:
    _, Z, windows = weights_and_windows("lost")
    lost = layer.lost_entropies(Z, windows)
    assert torch.allclose(math.log(6) - layer.entropies(Z, windows), lost, rtol=1e-12, atol=1e-14)
    tiny = layer.lost_entropies(1e-6 * Z, windows)
    variance = layer.key_logits(1e-6 * Z, windows).var(-1, correction=0)
    # the next term is smaller by the logits, 1e-6, and rounding by 1e-16/1e-6
    assert torch.allclose(tiny, variance / 2, rtol=1e-5, atol=0)


def test_texts_train_alike_alone_and_together() -> None:
    given = {"vocabulary": 30, "length": 8, "articles": 1, "steps": 12, "batch": 8, "records": 3, "device": "cpu"}
    both = layer.trained_attention(["made-up/a", "made-up/b"], [[1.0, 1.0], [8.0, 8.0]], keys=["k", "l"], **given)  # type: ignore[arg-type]
    alone = layer.trained_attention(["made-up/b"], [[8.0, 8.0]], keys=["l"], **given)  # type: ignore[arg-type]
    # sums in another order, over 12 steps
    assert both["entropy"][1][1] == pytest.approx(alone["entropy"][0][0], rel=1e-10)
    assert both["steps"] == [0, 4, 8, 12]
    mass = np.array(both["mass"])
    assert mass.shape == (2, 2, 4, 3)
    assert np.allclose(mass.sum(-1), 1)
    assert both["entropy"][0][0][-1] != both["entropy"][0][1][-1]
    other = layer.trained_attention(["made-up/b"], [[8.0, 8.0]], keys=["k"], **given)  # type: ignore[arg-type]
    assert other["entropy"][0][0][-1] != alone["entropy"][0][0][-1]


def test_the_model_with_embeddings_records_entropy_movement_and_maps() -> None:
    text = corpus_of("a b c a b d . " * 20, 10)
    run = TextTraining(3, 0.5, size=8, length=6, steps=6, batch=4)
    found = trained_on(text, run, records=3, shown=(0, 6))
    assert np.shape(found["entropy"]) == np.shape(found["moved"]) == (4, 3)
    assert found["moved"][0] == [0.0, 0.0, 0.0]
    assert min(found["moved"][-1]) > 0
    assert found["loss"][-1] < found["loss"][0]
    weights = np.array(found["maps"][6])
    assert weights.shape == (6, 6)
    assert np.allclose(weights[1:].sum(-1), 1)
    assert np.all(np.triu(weights) == 0)
    again = trained_on(text, run, records=3)
    assert again["loss"] == found["loss"]
    assert again["maps"] == {}


def test_relative_entropy_is_one_for_uniform_attention_and_zero_for_a_single_key() -> None:
    weights = torch.stack([torch.full((2, 4), 0.25), torch.eye(4)[:2]]).double()
    assert relative_entropies(weights).tolist() == pytest.approx([1.0, 0.0], abs=1e-15)
