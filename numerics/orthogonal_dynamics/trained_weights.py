r"""Trained layers of linear attention by their weights, and their losses beside given coefficients.

Main statements
    trained_weights  merged weights of runs, each with its own task, and the sequences that they saw
    trained_gaps     paired differences of a trained layer's loss from those of given feature coefficients, over the
                     same fresh sequences, each averaged over the radius: bounded draws (`trained_layer`)
    distance         of a layer from given coefficients, as tensors in (output, value, key, query): what the map depends
                     on, so that no scale between the weights has to be fixed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..mesa.autoregressive_training import AutoregressiveTraining, train
from ..training.batched_training import DivergedTrainingError
from .bilinear_features import feature_tensor, layer_tensor
from .trained_layer import compared, feature_predictor, merged, model_predictor

Plain = Mapping[str, Any]


def trained_weights(runs: Sequence[Plain], device: str) -> dict[str, Any]:
    """Per run: W_PV and W_KQ (H, D, D) in float64, None for both if it diverged, and the number of its sequences."""
    found: dict[str, list[Any]] = {"W_PV": [], "W_KQ": [], "sequences": []}
    for plain in runs:
        run = AutoregressiveTraining.from_plain(plain)
        weights = end_of(run, device)
        found["W_PV"].append(weights and weights[0])
        found["W_KQ"].append(weights and weights[1])
        found["sequences"].append(run.steps * run.batch_size)
    return found


def end_of(run: AutoregressiveTraining, device: str) -> tuple[list[Any], list[Any]] | None:
    """W_PV and W_KQ where the run ends; None where it diverges."""
    try:
        W_PV, W_KQ = merged(train(run, device)[0])
    except DivergedTrainingError:
        return None
    return W_PV.tolist(), W_KQ.tolist()


def trained_gaps(
    run: Plain, coefficients: Mapping[str, Sequence[float]], count: int, stream_key: str, device: str
) -> dict[str, Any]:
    """Per name: pilot and main sums of loss(trained) - loss(coefficients), with a bound on each draw.

    coefficients: 14 numbers in the order of `bilinear_features.NAMES`, by name.
    """
    training = AutoregressiveTraining.from_plain(run)
    model, _ = train(training, device)
    others = {
        name: feature_predictor(np.array(x, dtype=float), training.task.size, device)
        for name, x in coefficients.items()
    }
    return compared(model_predictor(model), others, training.task, count, stream_key, device)


def distance(W_PV: ArrayLike, W_KQ: ArrayLike, coefficients: ArrayLike, n: int) -> float:
    """|trained - given| / |given| of the tensors; infinite for coefficients that are all 0."""
    trained = layer_tensor(np.asarray(W_PV), np.asarray(W_KQ), n)
    given = feature_tensor(np.asarray(coefficients, dtype=float), n)
    size = float(np.linalg.norm(given))
    return float(np.linalg.norm(trained - given)) / size if size else float("inf")
