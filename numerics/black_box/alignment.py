r"""How far a model is from another predictor: distances of predictions, and of sensitivities to the query.

Main statements, for predictors f and g on prompts drawn from a law [vonoswald2023transformers, Section 3]
    prediction difference   E |f - g|
    cosine                  E cos(df/dx_q, dg/dx_q)
    model difference        E |df/dx_q - dg/dx_q|
    distance                E (f - g)^2, and E (f - t)^2 for the target t = w.x_q: a squared distance and a risk
    Beside a model's stand those of predictors that are wrong on purpose, since the three numbers have no scale of their
    own: a gain of 10 % too much has a cosine of 1.
Sensitivities are central differences with the step c = (3 u)^(1/3), u the unit roundoff of the answers: for f of size
1 with third derivatives of size 1 the error is of the order u/c + c^2/6 = u^(2/3), 4e-11 in float64, 2e-5 in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..one_layer.prompts import PromptDistribution, sample_prompts
from ..training.random_streams import stream
from ..training.threads import one_thread
from .asked import Array, AskedModel
from .references import Reference

SENSITIVE = 100  # prompts at which sensitivities are taken: each asks 2 d more


@dataclass(frozen=True)
class DrawnPrompts:
    """xs (P, N, d), ys (P, N), queries (P, d) and the noiseless targets (P,)."""

    xs: Array
    ys: Array
    queries: Array
    targets: Array

    def first(self, count: int) -> DrawnPrompts:
        return DrawnPrompts(self.xs[:count], self.ys[:count], self.queries[:count], self.targets[:count])


@one_thread()
def drawn_prompts(law: PromptDistribution, count: int, key: str) -> DrawnPrompts:
    """`count` fresh prompts of a law from the stream of this key."""
    prompts = sample_prompts(law, count, stream(key))
    E = prompts.embedding.numpy()
    context = np.ascontiguousarray(E[:, :, :-1].swapaxes(1, 2))
    return DrawnPrompts(context[..., :-1], context[..., -1], E[:, :-1, -1].copy(), prompts.target.numpy())


@dataclass(frozen=True)
class Alignment:
    """The three metrics of a predictor against another, means over the prompts; None where a gradient is 0."""

    prediction_difference: float
    cosine: float | None
    model_difference: float

    def as_plain(self) -> dict[str, Any]:
        return dict(vars(self))


def alignment(values: Array, slopes: Array, others: Array, other_slopes: Array) -> Alignment:
    """values, others (P,); slopes, other_slopes (S, d) at the first S prompts."""
    lengths = np.linalg.norm(slopes, axis=1) * np.linalg.norm(other_slopes, axis=1)
    cosine = float(np.mean((slopes * other_slopes).sum(1) / lengths)) if (lengths > 0).all() else None
    return Alignment(
        float(np.mean(np.abs(values - others))), cosine, float(np.mean(np.linalg.norm(slopes - other_slopes, axis=1)))
    )


def sensitivities(predict: Callable[[Array, Array, Array], Array], prompts: DrawnPrompts, unit: float) -> Array:
    """d yhat/d x_q (P, d) by central differences."""
    count, d = prompts.queries.shape
    c = (3 * unit) ** (1 / 3)
    moved = c * np.concatenate([np.eye(d), -np.eye(d)])  # (2 d, d)
    queries = (prompts.queries[:, None] + moved).reshape(-1, d)
    xs, ys = np.repeat(prompts.xs, 2 * d, 0), np.repeat(prompts.ys, 2 * d, 0)
    values = predict(xs, ys, queries).reshape(count, 2, d)
    return np.asarray((values[:, 0] - values[:, 1]) / (2 * c))


@dataclass(frozen=True)
class Sides:
    """A predictor's values (P,) and sensitivities (S, d)."""

    values: Array
    slopes: Array


def sides_of_reference(reference: Reference, prompts: DrawnPrompts) -> Sides:
    return Sides(
        reference(prompts.xs, prompts.ys, prompts.queries),
        sensitivities(reference, prompts.first(SENSITIVE), 2.0**-53),
    )


def sides_of_model(model: AskedModel, prompts: DrawnPrompts) -> list[Sides]:
    """One for each layer."""
    answers, few = model(prompts.xs, prompts.ys, prompts.queries), prompts.first(SENSITIVE)
    return [
        Sides(
            answers.values[:, layer],
            sensitivities(at_layer(model, layer), few, answers.unit),
        )
        for layer in range(answers.values.shape[1])
    ]


def at_layer(model: AskedModel, layer: int) -> Reference:
    """The answers after one layer."""
    return lambda xs, ys, q: model(xs, ys, q).values[:, layer]


def mean_square(differences: Array) -> tuple[float, float]:
    """The mean of the squares and its standard error."""
    squares = differences**2
    return float(squares.mean()), float(squares.std() / np.sqrt(len(squares)))


def capped_sums(differences: Array, unit: float, cap: float) -> dict[str, float]:
    """Of the squares in units of `unit`: mean, and mean and variance of what is cut at `cap`."""
    shares = differences**2 / unit
    cut = np.minimum(shares, cap)
    return {"mean": float(shares.mean()), "capped": float(cut.mean()), "variance": float(cut.var())}


def distances(model: Array, references: Mapping[str, Array]) -> dict[str, tuple[float, float]]:
    """E (f - g)^2 to each reference, with its standard error."""
    return {name: mean_square(model - values) for name, values in references.items()}


def names_of(layers: Sequence[object]) -> list[str]:
    """What the layers are called in a report."""
    return [f"after layer {number}" for number in range(1, len(layers) + 1)]
