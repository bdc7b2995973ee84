"""Velocities of attention logits against differences of the loss, and the decoder by pseudo-inverse."""

from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.scan_and_snap.attention_forces import (
    attention_velocities,
    scan_trajectories,
    span_velocities,
    table_trajectories,
)
from iclcheck.numerics.scan_and_snap.flows import reparametrised_flow
from iclcheck.numerics.scan_and_snap.layer import class_vectors, population_loss
from iclcheck.numerics.scan_and_snap.sequence_classes import random_classes

TASK = random_classes(3, 10, 2, 2, 2, "attention forces")
DRAW = torch.Generator().manual_seed(3)
Z, Y, W = (torch.randn(*shape, generator=DRAW, dtype=torch.float64) for shape in ((2, 10), (10, 4), (3, 4)))


def loss(attention: torch.Tensor, decoder: torch.Tensor) -> float:
    tables = torch.tensor(TASK.contexts), torch.tensor(TASK.rows), torch.tensor(TASK.probabilities)
    return float(population_loss(*tables, decoder, attention))


def by_differences(decoder: torch.Tensor, rate: float) -> np.ndarray[Any, Any]:
    step = 1e-5
    found = np.zeros((2, 10))
    for place in np.ndindex(2, 10):
        moved = torch.zeros(2, 10, dtype=torch.float64)
        moved[place] = step
        found[place] = -rate * (loss(Z + moved, decoder) - loss(Z - moved, decoder)) / (2 * step)
    return found


def case(**more: Any) -> dict[str, Any]:
    return {"classes": TASK.plain(), "attention": Z.tolist(), "eta_Z": 0.7, **more}


def test_the_velocity_is_minus_the_slope_of_the_loss() -> None:
    (found,) = attention_velocities([case(decoder=Y.tolist())])["velocity"]
    # central differences of step 1e-5: h^2/6 times a third derivative of size one, and 1e-16/h of rounding
    assert np.allclose(found, by_differences(Y, 0.7), rtol=0, atol=1e-9)
    assert np.allclose(np.sum(found, 1), 0, rtol=0, atol=1e-14)


def test_the_decoder_by_pseudo_inverse_gives_the_classes_their_logits() -> None:
    found = span_velocities([case(logits=W.tolist())])
    f = class_vectors(torch.tensor(TASK.contexts), Z[TASK.rows])
    decoder = f.mT @ torch.linalg.solve(f @ f.mT, W)
    assert torch.allclose(f @ decoder, W, rtol=0, atol=1e-13)
    assert np.allclose(found["velocity"][0], by_differences(decoder, 0.7), rtol=0, atol=1e-9)
    assert found["condition"][0] == pytest.approx(float(torch.linalg.cond(f @ f.mT)), rel=1e-10)


def test_trajectories_are_those_of_the_flows() -> None:
    size = {"classes": 2, "vocabulary": 7, "queries": 1, "common": 1, "distinct": 2}
    found = scan_trajectories([size], ["one"], 2.0, 3.0, [0.5, 1.0])
    task = random_classes(**size, key="one")
    times = [0.5 * 2 * np.log(7) / 2.0, 2 * np.log(7) / 2.0]
    flow = reparametrised_flow([task], 2.0, 3.0, times)
    assert np.array_equal(found["reparametrised"][0]["Z"], flow["Z"][:, 0])
    assert found == table_trajectories([task.plain()], 2.0, 3.0, [0.5, 1.0])
    assert np.abs(np.array(found["joint"][0]["Z"]) - flow["Z"][:, 0]).max() > 0.01
