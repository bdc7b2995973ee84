r"""Least squares on the prompts of a training run: what the same number of prompts could tell at best.

Without leak the layer predicts s^T A x_q with s = (1/N) sum_i y_i x_i, which is linear in A. The minimiser over A of
the mean of (s^T A x_q - w.x_q)^2 over the very prompts that a training run sees is ordinary least squares with d^2
features. It is a yardstick for the error of training, never part of it.

Main statement
    least_squares_preconditioners    that minimiser for each of several configurations that share their draws
    least_squares_halves             the same on either half of the prompts, to see its error without a prediction
The sums are made in the draws' standard coordinates, batch by batch in float64, and mapped back by R^-1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..one_layer.gram_matrices import GramPrompts, LawMaps
from .configurations import TrainingConfiguration
from .shared_draws import SharedFeed, draws_key
from .threads import one_thread


@one_thread()
def least_squares_preconditioners(
    configurations: Sequence[TrainingConfiguration],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[NDArray[np.float64]]:
    """The minimiser A (d, d) for each configuration, over the prompts of its own training run.

    dtype names the draws, as it does in `train`: the runs in float32 and in float64 see different prompts. Raises
    ValueError unless all configurations share one stream of draws and have equal steps.
    """
    return _solutions(configurations, device, dtype, parts=1)[0]


def least_squares_halves(
    configurations: Sequence[TrainingConfiguration],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The same for the prompts of every second step, and for those of the others: two independent solutions each.

    Half of their difference is as large as the error of the solution on all prompts, and knows of no prediction.
    """
    first, second = _solutions(configurations, device, dtype, parts=2)
    return list(zip(first, second, strict=True))


def _solutions(
    configurations: Sequence[TrainingConfiguration], device: str | torch.device, dtype: torch.dtype, parts: int
) -> list[list[NDArray[np.float64]]]:
    """The minimisers over the prompts of every parts-th step, for each part and configuration."""
    if len({(draws_key(one), one.steps) for one in configurations}) != 1 or draws_key(configurations[0]) is None:
        raise ValueError(
            "need configurations with the same shared draws and steps, got several or none; call once each"
        )
    feed = SharedFeed(configurations, torch.device(device), dtype)
    sums = [[_NormalEquations(len(group.places), group.d, device) for group in feed.groups] for _ in range(parts)]
    for step in range(configurations[0].steps):
        feed.draw()
        for total, group in zip(sums[step % parts], feed.groups, strict=True):
            total.add(group.prompts, group.maps)
    return [[found for _, found in sorted(_by_place(one, feed).items())] for one in sums]


def _by_place(sums: Sequence[_NormalEquations], feed: SharedFeed) -> dict[int, NDArray[np.float64]]:
    """The solution A (d, d) of each configuration, by its place."""
    return {
        place: A
        for total, group in zip(sums, feed.groups, strict=True)
        for place, A in zip(group.places.tolist(), total.solve(group.maps), strict=True)
    }


class _NormalEquations:
    """Sums of f f^T and f (w.x_q) for the features f = R^-1 s (R^-1 x_q)^T of C laws."""

    def __init__(self, laws: int, d: int, device: str | torch.device) -> None:
        self.left = torch.zeros(laws, d * d, d * d, dtype=torch.float64, device=device)
        self.right = torch.zeros(laws, d * d, 1, dtype=torch.float64, device=device)

    def add(self, prompts: GramPrompts, maps: LawMaps) -> None:
        """Count one batch."""
        s, target = standard_moments(prompts, maps)
        features = (s.unsqueeze(2) * prompts.query).flatten(1, 2)  # (C, d * d, B)
        self.left += features @ features.mT
        self.right += features @ target.unsqueeze(-1)

    def solve(self, maps: LawMaps) -> NDArray[np.float64]:
        """A (C, d, d) in the covariates' own coordinates."""
        d = maps.root.shape[-1]
        inverse = torch.linalg.inv(maps.root.double())
        standard = torch.linalg.solve(self.left, self.right).view(-1, d, d)
        A: NDArray[np.float64] = (inverse @ standard @ inverse).cpu().numpy()
        return A


def standard_moments(prompts: GramPrompts, maps: LawMaps) -> tuple[torch.Tensor, torch.Tensor]:
    """R^-1 s (C, d, B) and the target w.x_q (C, B), from G: R^-1 s = G_zz b + sigma G_z,eps."""
    b = maps.task_root @ prompts.task
    s = maps.noise * prompts.gram[:, 1:, 0]
    for place in range(b.shape[1]):
        s.addcmul_(prompts.gram[:, 1:, place + 1], b[:, place : place + 1])
    return s, (b * prompts.query).sum(1)
