r"""A trained layer of linear attention beside the gradient step and beside the best layer there is.

Main statements
    reference_losses     of least squares on the features: the gradient step V_010, the two blocks V_010 and V_001, all
                         (the best layer), each added to the gradient step, each dropped from all, and the minima of
                         one head of scalar blocks
    trained_layers       trains, and gives for each run the paired differences of its loss from those references on
                         fresh sequences, the coefficients of its features, and shares of its weights' norm

A layer without layers before it is homogeneous of degree 3 in the first state, so that with f its prediction for the
unit sequence u the loss averaged over the radius is (E r^2 - 2 E r^4 f.u_{t+1} + E r^6 |f|^2)/2: a bounded quantity,
whatever the tails of r. Its mean over t is one draw, bounded through norms of the weights (`growth`). Sums over a first
part of the draws (the pilot) and over the rest come apart, so that the first can bound the second moment of the others
(`iclcheck.proofs_check.verdicts.bounded_means`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..mesa.attention import AutoregressiveModel, CausalAttention
from ..mesa.autoregressive_training import AutoregressiveTraining, train
from ..mesa.sequences import SequenceTask
from ..training.random_streams import stream
from ..training.threads import one_thread
from .bilinear_features import (
    BATCH,
    GRADIENT_STEP,
    NAMES,
    ODD,
    TWO_BLOCKS,
    FeatureMoments,
    best_coefficients,
    feature_moments,
    feature_tensor,
    features,
    growth,
    invariant_part,
    layer_tensor,
    one_head_minima,
    radial_moments,
    unit_sequences,
)

Array = NDArray[np.float64]
Plain = Mapping[str, Any]
REFERENCES = ("gradient step", "two blocks", "best layer")
IDENTIFIED = tuple(name for name in ODD if name != "V_100")
PILOT_SHARE = 0.25


def reference_coefficients(moments: FeatureMoments) -> dict[str, Array]:
    """The 14 coefficients of the references: V_010; V_010 and V_001; all odd ones but V_100, which is V_111."""
    return {
        name: _placed(best_coefficients(moments, names), names)
        for name, names in zip(REFERENCES, (GRADIENT_STEP, TWO_BLOCKS, IDENTIFIED), strict=True)
    }


def _placed(x: Array, names: Sequence[str]) -> Array:
    all_ = np.zeros(14)
    all_[[NAMES.index(name) for name in names]] = x
    return all_


def reference_losses(task: Plain, count: int, stream_key: str, device: str) -> dict[str, Any]:
    """Least-squares losses over `count` sequences, and what each feature adds to the gradient step or takes from all.

    The coefficients are fitted on the sequences that the losses are means over, which makes these too low by some
    14/(count (T - 1) n) of themselves. `learning_rate` comes with the sums that an interval for it needs.
    """
    law = SequenceTask.from_plain(task)
    moments = feature_moments(law, count, stream_key, device)
    found = reference_coefficients(moments)
    place = NAMES.index(*GRADIENT_STEP)
    return {
        "losses": {name: moments.loss(x) for name, x in found.items()},
        "coefficients": {name: x.tolist() for name, x in found.items()},
        "zero_loss": moments.y / 2,
        "added": {name: _least(moments, [*GRADIENT_STEP, name]) for name in NAMES if name not in GRADIENT_STEP},
        "dropped": {name: _least(moments, [other for other in NAMES if other != name]) for name in NAMES},
        "one_head": [[moments.loss(x, NAMES[:8]), x.tolist()] for x in one_head_minima(moments)],
        "rank": rank(moments),
        "learning_rate": float(found["gradient step"][place]),
        "numerator": _entry(moments.c[place], moments.c_squares[place], count),
        "denominator": _entry(moments.G[place, place], moments.G_squares[place, place], count),
        "bounds": _entry_bounds(law),
        "feature_names": list(NAMES),
    }


def _least(moments: FeatureMoments, names: Sequence[str]) -> float:
    return moments.loss(best_coefficients(moments, names), names)


def _entry(mean: float, square: float, count: int) -> dict[str, float]:
    return {"count": count, "sum": float(mean * count), "sum_of_squares": float(square * count)}


def _entry_bounds(task: SequenceTask) -> list[float]:
    """Bounds on each draw of c_010 and G_010,010: E r^4 and E r^6 times the means of t - 1 and (t - 1)^2."""
    _, r4, r6 = radial_moments(task)
    past = np.arange(task.length - 1)  # terms of V_010 at t = 1 .. T - 1: the one at t' = 1 is 0
    return [r4 * float(past.mean()), r6 * float((past**2).mean())]


def rank(moments: FeatureMoments) -> int:
    """Of G, with singular values below 1e-12 of the largest counted as 0: those of exact zeros are some 14 eps."""
    values = np.linalg.svd(moments.G, compute_uv=False)
    return int((values > 1e-12 * values[0]).sum())


@dataclass(frozen=True)
class Predictor:
    """Predictions (B, T, n) for unit sequences, and the tensor that they come from (`bilinear_features`)."""

    predict: Callable[[torch.Tensor], torch.Tensor]
    tensor: Array


def model_predictor(model: AutoregressiveModel) -> Predictor:
    """Of a one-layer linear model without normalisation, in float64.

    Raises ValueError for other models: their predictions are not homogeneous of degree 3, or not so bounded.
    """
    shape = model.shape
    needed = (1, "linear", "none", "constructed", 1, "first")
    if (shape.layers, shape.kind, shape.normalisation, shape.tokens, shape.observations, shape.readout) != needed:
        raise ValueError(f"need one linear layer without normalisation on constructed tokens, got {shape}")
    exact = copy.deepcopy(model).double()
    return Predictor(exact, layer_tensor(*merged(exact), shape.size))


def merged(model: AutoregressiveModel) -> tuple[Array, Array]:
    """W_PV and W_KQ (H, D, D) of the first layer, in float64."""
    layer = model.layers[0]
    assert isinstance(layer, CausalAttention)
    W_KQ, W_PV = (weight.detach().double().cpu().numpy() for weight in layer.merged_weights())
    return W_PV, W_KQ


def feature_predictor(x: Array, n: int, device: str) -> Predictor:
    """Of 14 coefficients; only those features that have one are computed."""
    used = [name for name, entry in zip(NAMES, x, strict=True) if entry]
    coefficients = torch.tensor([entry for entry in x if entry], dtype=torch.float64, device=device)
    return Predictor(lambda states: features(states, used) @ coefficients, feature_tensor(x, n))


def averaged_losses(predictions: torch.Tensor, states: torch.Tensor, task: SequenceTask) -> torch.Tensor:
    """1/2 |s_{t+1} - f|^2 averaged over the radius and over t = 1 .. T - 1, (B,), from unit sequences (B, T, n)."""
    r2, r4, r6 = radial_moments(task)
    f, u = predictions[:, :-1], states[:, 1:]
    return ((r2 - 2 * r4 * (f * u).sum(-1) + r6 * f.square().sum(-1)) / 2).mean(-1)


def largest_difference(first: Predictor, second: Predictor, task: SequenceTask) -> float:
    """A bound on the difference of their averaged losses for every sequence: with D = f - g it is
    -E r^4 D.u + E r^6 D.(f + g)/2 at t, and `growth` bounds |D| and |f + g|."""
    _, r4, r6 = radial_moments(task)
    difference = growth(first.tensor - second.tensor, task.length - 1)
    total = growth(first.tensor + second.tensor, task.length - 1)
    return float((r4 * difference + r6 / 2 * difference * total).mean())


@one_thread()
@torch.no_grad()
def compared(
    first: Predictor, others: Mapping[str, Predictor], task: SequenceTask, count: int, stream_key: str, device: str
) -> dict[str, Any]:
    """Sums of loss(first) - loss(other) over the same fresh sequences, for the pilot and for the rest; with a bound."""
    pilot = max(1, int(PILOT_SHARE * count))
    parts = {"pilot": (0, pilot), "main": (pilot, count)}
    found: dict[str, Any] = {
        name: {"bound": largest_difference(first, other, task), "pilot": [0, 0.0, 0.0], "main": [0, 0.0, 0.0]}
        for name, other in others.items()
    }
    for part, (start, end) in parts.items():
        for place, begin in enumerate(range(start, end, BATCH)):
            generator = stream(f"{stream_key}/{part}/{place}", device)
            states = unit_sequences(task, min(BATCH, end - begin), generator)
            own = averaged_losses(first.predict(states), states, task)
            for name, other in others.items():
                gap = own - averaged_losses(other.predict(states), states, task)
                sums = found[name][part]
                found[name][part] = [
                    sums[0] + len(gap),
                    sums[1] + float(gap.sum()),
                    sums[2] + float(gap.square().sum()),
                ]
    return found


def trained_layers(
    runs: Sequence[Plain], reference_count: int, test_count: int, stream_key: str, device: str
) -> dict[str, Any]:
    """Runs of one task: references, and per run what the module says. Test sequences are apart from all others."""
    trainings = [AutoregressiveTraining.from_plain(plain) for plain in runs]
    if len({one.task for one in trainings}) != 1:
        raise ValueError("need runs of one task, whose references they share, got several; measure each task alone")
    task = trainings[0].task
    references = reference_losses(task.to_plain(), reference_count, stream_key + "/reference", device)
    others = {name: feature_predictor(np.array(x), task.size, device) for name, x in references["coefficients"].items()}
    others["zero"] = feature_predictor(np.zeros(14), task.size, device)
    return {
        "references": references,
        "runs": [_one(run, others, test_count, f"{stream_key}/test/{run.key}", device) for run in trainings],
    }


def _one(
    run: AutoregressiveTraining, others: Mapping[str, Predictor], count: int, stream_key: str, device: str
) -> dict[str, Any]:
    model, _ = train(run, device)
    W_PV, W_KQ = merged(model)
    part = invariant_part(W_PV, W_KQ, run.task.size)
    return {
        "gaps": compared(model_predictor(model), others, run.task, count, stream_key, device),
        "coefficients": part.coefficients.tolist(),
        "invariant_share": part.share,
        "identity_shares": dict(zip(NAMES[:8], part.identity_shares.tolist(), strict=True)),
        "W_PV": W_PV.tolist(),
        "W_KQ": W_KQ.tolist(),
    }
