r"""One trained model taken apart: its compressed algorithm, the line to it, and probes at each layer and position.

Main statements
    reverse_engineered    trains one model and measures all of it on fresh sequences; plain data in, plain data out
Losses are those of training, 1/2 |s_{t+1} - prediction_t|^2 with the mean over t, as count, sum and sum of squares over
the same test sequences for all models:
    trained, projected, fitted      the model, its products with multiples of I, and these after the fit
    shallower                       a compressed algorithm of one layer less, fitted from the last layers' projection
    polynomial                      M_t q(G_t) s_t with the best q of degree layers - 1 (`polynomial_steps`): tuned
                                    gradient descent, of one step for one layer
    nothing                         the prediction 0
The fits see sequences of their own, and so do the test and the training: three streams, named by the run. Probes are
fitted to the first half of the test sequences, their errors are those of the second half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from ..mesa.attention import AutoregressiveModel
from ..mesa.autoregressive_training import AutoregressiveTraining, position_losses, train
from ..mesa.sequences import sample_sequences
from ..training.batched_training import DivergedTrainingError
from ..training.random_streams import stream
from ..training.threads import one_thread
from .compressed_algorithm import (
    Fit,
    Products,
    antisymmetric_shares,
    block_multiples,
    fitted_multiples,
    losses_of,
    model_of_products,
    outside_shares,
    products,
    projected,
    without_unread_blocks,
)
from .interpolation import losses_on_line
from .polynomial_steps import optimal_coefficients, predicted_vectors
from .probes import contrasts, next_states, preconditioned_inputs, probe_errors, relative_errors, target_sizes

Plain = Mapping[str, Any]


@one_thread()
def reverse_engineered(
    run: Plain,
    test_sequences: int,
    fit_sequences: int,
    fit_steps: int,
    positions: Sequence[int],
    regulariser: float,
    shares: Sequence[float],
    device: str,
) -> dict[str, Any]:
    """Everything about one run; positions count from 1 and are below T, regulariser is lambda, shares in [0, 1].

    A training that diverges is a result too: {"diverged": why}.
    """
    wanted = AutoregressiveTraining.from_plain(run)
    try:
        model, _ = train(wanted, device)
    except DivergedTrainingError as error:
        return {"diverged": str(error)}
    test, other = (fresh(wanted, name, count) for name, count in (("test", test_sequences), ("fit", fit_sequences)))
    return taken_apart(model.cpu().double(), test, other, fit_steps, positions, regulariser, shares)


def fresh(run: AutoregressiveTraining, name: str, count: int) -> torch.Tensor:
    """States (count, T, n) of a stream of the run's own, on the CPU in float64."""
    generator = stream(f"{run.key}/reverse engineering/{name}")
    return sample_sequences(run.task, count, generator, torch.float64).observed


@one_thread()
def taken_apart(
    model: AutoregressiveModel,
    test: torch.Tensor,
    other: torch.Tensor,
    fit_steps: int,
    positions: Sequence[int],
    regulariser: float,
    shares: Sequence[float],
) -> dict[str, Any]:
    """The same for a model in float64 and given sequences: `other` is what fits see."""
    whole = products(model)
    near = projected(whole)
    fit = fitted_multiples(near, other, steps=fit_steps)
    losses = {
        "trained": losses_of(model, test),
        "projected": losses_of(model_of_products(near), test),
        "fitted": losses_of(model_of_products(fit.products), test),
        "shallower": shallower_losses(near, test, other, fit_steps),
        "polynomial": polynomial_losses(other, test, model.shape.layers - 1),
        "nothing": position_losses(torch.zeros_like(test), test),
    }
    return {
        "losses": {name: sums(one) for name, one in losses.items()},
        "distance": distance(model, fit.products, test),
        "fit": {"loss": fit.loss, "gradient": fit.gradient, "evaluations": fit.evaluations},
        "line": on_line(losses_on_line(whole, fit.products, shares, test)),
        "line_to_projection": on_line(losses_on_line(whole, near, shares, test)),
        **structure(whole, fit),
        "probes": probes(model, test, positions, regulariser),
    }


def sums(losses: torch.Tensor) -> dict[str, Any]:
    """Count, sum and sum of squares over sequences, of the mean over t and at each t; losses (B, T - 1)."""
    means = losses.mean(1)
    return {
        "count": len(losses),
        "sum": float(means.sum()),
        "sum_of_squares": float(means.square().sum()),
        "position_sums": losses.sum(0).tolist(),
        "position_sums_of_squares": losses.square().sum(0).tolist(),
    }


def distance(model: AutoregressiveModel, compressed: Products, states: torch.Tensor) -> float:
    """The mean over sequences and t < T of 1/2 |difference of predictions|^2."""
    with torch.no_grad():
        apart = model(states) - model_of_products(compressed)(states)
    return float(apart[:, :-1].square().sum(-1).mean() / 2)


def shallower_losses(near: Products, test: torch.Tensor, other: torch.Tensor, steps: int) -> torch.Tensor:
    """Of the fitted algorithm of one layer less, (B, T - 1); of no layer: the prediction 0."""
    layers = near.shape.layers - 1
    if not layers:
        return position_losses(torch.zeros_like(test), test)
    start = Products(replace(near.shape, layers=layers), near.W_KQ[1:], near.W_PV[1:])
    fit = fitted_multiples(without_unread_blocks(start), other, steps=steps)
    return losses_of(model_of_products(fit.products), test)


def polynomial_losses(other: torch.Tensor, test: torch.Tensor, degree: int) -> torch.Tensor:
    """Of M_t q(G_t) s_t with the coefficients that are best on `other`, (B, T - 1)."""
    coefficients, _ = optimal_coefficients(other, degree)
    return position_losses(torch.tensordot(coefficients, predicted_vectors(test, degree), 1), test)


def structure(whole: Products, fit: Fit) -> dict[str, Any]:
    """Shares outside the multiples of I by layer, head and block, and the multiples, projected and fitted."""
    n = whole.shape.size
    named = {"KQ": (whole.W_KQ, fit.products.W_KQ), "PV": (whole.W_PV, fit.products.W_PV)}
    return {
        "outside": {name: outside_shares(W, n).tolist() for name, (W, _) in named.items()},
        "antisymmetric": {name: antisymmetric_shares(W, n).sum((-2, -1)).tolist() for name, (W, _) in named.items()},
        "projected_multiples": {name: block_multiples(W, n).tolist() for name, (W, _) in named.items()},
        "fitted_multiples": {name: block_multiples(W, n).tolist() for name, (_, W) in named.items()},
    }


def on_line(losses: torch.Tensor) -> dict[str, Any]:
    """Mean losses at the shares, and the contrasts of each with the start, sequence by sequence."""
    return {"losses": losses.mean(1).tolist(), "contrasts": moments(contrasts(losses, losses[:1].expand_as(losses)))}


def probes(
    model: AutoregressiveModel, states: torch.Tensor, positions: Sequence[int], regulariser: float
) -> dict[str, Any]:
    """By target: relative errors (layers + 1, positions), and the contrasts of depth and of t."""
    with torch.no_grad():
        streams = model.streams(states)
    targets = {"next": next_states(states), "preconditioned": preconditioned_inputs(states, regulariser)}
    found = {}
    for name, target in targets.items():
        errors = probe_errors(streams, target, positions)
        sizes = target_sizes(target, positions)
        found[name] = {
            "relative": relative_errors(errors, target, positions).tolist(),
            "mean_square": sizes.tolist(),
            "depth": moments(contrasts(errors[:-1], errors[1:])),
            "position": moments(contrasts(errors[-1, :-1] / sizes[:-1, None], errors[-1, 1:] / sizes[1:, None])),
        }
    return found


def moments(values: torch.Tensor) -> dict[str, Any]:
    """Count, sums and sums of squares over the last axis: of a pilot, its first quarter, and of the rest."""
    split = values.shape[-1] // 4
    parts = {"pilot": values[..., :split], "main": values[..., split:]}
    return {
        name: {
            "count": part.shape[-1],
            "sum": part.sum(-1).tolist(),
            "sum_of_squares": part.square().sum(-1).tolist(),
        }
        for name, part in parts.items()
    }
