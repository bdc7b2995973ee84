r"""Trained layers whose loss is averaged over all sequences without sampling, for states of at most three dimensions.

trained_heads   trains one-layer models, and gives for each the exact loss of its end weights with a bound on the
                rounding, its coefficients of the 14 features, and the share of its weights that these hold
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..mesa.autoregressive_training import AutoregressiveTraining, train
from ..training.threads import one_thread
from .bilinear_features import invariant_part
from .exact_means import BATCH, layer_with, losses, majorant_layer, majorants, roundings, sequences
from .trained_layer import merged, model_predictor

Array = NDArray[np.float64]


def trained_heads(runs: Sequence[Mapping[str, Any]], device: str) -> dict[str, Any]:
    """Per run: exact loss, bound on its rounding, nodes, coefficients of the features, and the share they hold.

    Raises ValueError for models of more than one linear layer, and for tasks that are no noiseless ones with s_1 ~
    N(0, I): the nodes are of that law.
    """
    found: dict[str, Any] = {name: [] for name in ("loss", "loss_rounding", "nodes", "coefficients", "share")}
    for plain in runs:
        run = AutoregressiveTraining.from_plain(plain)
        task = run.task
        if (task.kind, task.noise_variance, task.initial) != ("linear", 0, "gaussian"):
            raise ValueError(f"need noiseless linear sequences with Gaussian first states, got {task}")
        model, _ = train(run, device)
        model_predictor(model)  # refuses other models
        W_PV, W_KQ = merged(model)
        part = invariant_part(W_PV, W_KQ, task.size)
        loss, rounding, nodes = exact_loss(task.size, task.length, W_PV, W_KQ)
        row = (loss, rounding, nodes, part.coefficients.tolist(), part.share)
        for name, entry in zip(found, row, strict=True):
            found[name].append(entry)
    return found


@one_thread()
@torch.no_grad()
def exact_loss(n: int, length: int, W_PV: Array, W_KQ: Array) -> tuple[float, float, int]:
    """The layer's mean loss over O(n) and s_1 ~ N(0, I), a bound on its rounding, and the number of nodes."""
    rule = sequences(n, length)
    layer = layer_with(torch.from_numpy(W_KQ), torch.from_numpy(W_PV))
    positive = majorant_layer(layer)
    total = above = 0.0
    for first in range(0, len(rule.weights), BATCH):
        states, shares = (torch.from_numpy(part[first : first + BATCH]) for part in (rule.nodes, rule.weights))
        total += float((shares * losses(layer, states)).sum())
        above += float((shares * majorants(positive, states)).sum())
    return total, roundings(length, layer.W_Q.shape[-1]) * above, len(rule.weights)
