r"""Property (i): from the theorem's start, trained weights converge to the prediction, wherever the law lies.

What is asserted of each draw
    distance    |A - A*| <= max(2 %, 1.5 times the error of least squares on the same number of prompts), relative
                to |A*|. Least squares knows the features s x_q^T and solves for A at once: a training is asked to be
                as good as that up to a half, or right to 2 %. The error of least squares is seen from two halves of
                its prompts, not from the prediction, which would widen its own bar where it is wrong.
    norm        the geometry of the loss for every draw: (|M^(1/2) (A - A*) Lambda^(1/2)|_F^2 + E yhat_even^2)^(1/2)
                relative to |M^(1/2) A* Lambda^(1/2)|_F, so that a leak counts by what it adds to L. Where N >= d and
                Lambda has a condition number up to 10, the Frobenius norm as well, of A - A* and of the products
                |u12| |u21|, |u12| |U|_F, |u| |u21|. At d = 1 A alone is compared.
The draws of a batch read shared prompts through their own laws: their outcomes are dependent, and each is asserted for
itself; nothing is counted as independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..claims.convergence import leaking_products
from ..claims.one_layer_predictions import predicted_fixed_point
from ..claims.settings import FloatArray, Setting, dimension_of
from .search import Draw

if TYPE_CHECKING:
    from ...numerics.training.configurations import TrainingConfiguration

MARGIN, OVER_LEAST_SQUARES = 0.02, 1.5
FROBENIUS_UP_TO_CONDITION = 10.0
SMALL_DRAWS, LARGE_DRAWS = (3, 10), (10, 100)  # (d, N) that a shared stream serves: small laws train in no time
TRAINING: dict[str, Any] = {
    "optimiser": "soap",
    "schedule": "triangle",
    "learning_rate": 0.04,
    "batch_size": 512,
    "early_batch_size": 128,
    "averaging": 0.75,
}


@dataclass(frozen=True)
class TheoremEnd:
    """How far a training ended from the prediction, in each norm that is asserted, beside what is allowed.

    distances    (relative distance, relative distance of least squares) by the name of the norm
    """

    distances: dict[str, tuple[float, float]]

    @property
    def holds(self) -> bool:
        return all(ours <= allowed(least) for ours, least in self.distances.values())

    def __str__(self) -> str:
        return "; ".join(
            f"{norm}: {ours:.2%} (least squares {least:.2%}, allowed {allowed(least):.2%})"
            for norm, (ours, least) in self.distances.items()
        )


def allowed(least_squares: float) -> float:
    """The bar beside least squares."""
    return max(MARGIN, OVER_LEAST_SQUARES * least_squares)


def theorem_ends(draws: Sequence[Draw], steps: int, device: str, replica: int = 0) -> list[TheoremEnd]:
    """Train all draws together, and compare each with its prediction; replicas see other prompts and starts."""
    from ...numerics.training.batched_training import train

    configurations = [configuration_of({**draw, "replica": replica}, steps) for draw in draws]
    trained = train(configurations, device)
    errors = least_squares_errors(configurations, device)
    return [
        end_of(draw["distribution"], one.W_PV, one.W_KQ, error)
        for draw, one, error in zip(draws, trained, errors, strict=True)
    ]


def configuration_of(draw: Draw, steps: int) -> TrainingConfiguration:
    """The training of one draw; its random numbers follow from it, whatever trains beside it."""
    from ...numerics.training.configurations import TrainingConfiguration

    d, (length,) = dimension_of(draw["distribution"]), draw["distribution"]["context_lengths"]
    small = d <= SMALL_DRAWS[0] and length <= SMALL_DRAWS[1]
    dimension, context_length = SMALL_DRAWS if small else LARGE_DRAWS
    draws = {"name": "properties", "dimension": dimension, "context_length": context_length}
    return TrainingConfiguration.from_plain({**TRAINING, **draw, "steps": steps, "shared_draws": draws})


def least_squares_errors(configurations: Sequence[TrainingConfiguration], device: str) -> list[FloatArray]:
    """A matrix as large as the error of least squares on the prompts of each training, seen without the prediction.

    Half the difference of the solutions on two halves of the prompts: a wrong prediction does not widen its own bar.
    """
    from ...numerics.training.least_squares import least_squares_halves
    from ...numerics.training.shared_draws import draws_key

    found: dict[int, FloatArray] = {}
    for key in {draws_key(one) for one in configurations}:
        places = [place for place, one in enumerate(configurations) if draws_key(one) == key]
        halves = least_squares_halves([configurations[place] for place in places], device)
        found.update((place, (first - second) / 2) for place, (first, second) in zip(places, halves, strict=True))
    return [found[place] for place in range(len(configurations))]


def end_of(setting: Setting, W_PV: FloatArray, W_KQ: FloatArray, least_squares_error: FloatArray) -> TheoremEnd:
    """The end of one training of a law."""
    from ...numerics.one_layer.observables import effective_preconditioner

    expected, trained = predicted_fixed_point(setting), effective_preconditioner(W_PV, W_KQ)
    geometry = geometry_of_loss(setting)
    off = trained - expected
    leak = leak_in_loss(setting, W_PV, W_KQ) / norm(expected, *geometry)
    distances = {
        "geometry of the loss": (
            float(np.hypot(relative(off, expected, *geometry), leak)),
            relative(least_squares_error, expected, *geometry),
        )
    }
    if setting["context_lengths"][0] >= len(expected) and condition(setting) <= FROBENIUS_UP_TO_CONDITION:
        plain = (np.eye(len(expected)), np.eye(len(expected)))
        ours = max(relative(off, expected, *plain), largest_leak(W_PV, W_KQ) / norm(expected, *plain))
        distances["Frobenius"] = (ours, relative(least_squares_error, expected, *plain))
    return TheoremEnd(distances)


def largest_leak(W_PV: FloatArray, W_KQ: FloatArray) -> float:
    """The largest of the products that leak; 0 at d = 1, where A alone is compared."""
    from ...numerics.one_layer.observables import blocks

    return max(leaking_products(blocks(W_PV, W_KQ))) if len(W_PV) > 2 else 0.0


def leak_in_loss(setting: Setting, W_PV: FloatArray, W_KQ: FloatArray) -> float:
    """(E yhat_even^2)^(1/2): what a leak adds to the distance in the geometry of the loss; 0 at d = 1.

    L - min L = 1/2 |M^(1/2) (A - A*) Lambda^(1/2)|_F^2 + 1/2 E yhat_even^2 (the derivation of population-loss).
    """
    from ...theory.algebra.evaluation import evaluate
    from ...theory.one_layer.population_loss import general_even_loss, numbers

    if dimension_of(setting) == 1:
        return 0.0
    covariance, (length,) = np.array(setting["covariance"]), setting["context_lengths"]
    law = {"Psi": np.array(setting["task_covariance"]), "sigma2": setting["noise_variance"]}
    even = float(evaluate(general_even_loss(), {**numbers(covariance, length, (W_PV, W_KQ)), **law}))
    return float(np.sqrt(2 * max(0.0, even)))  # rounding may leave some eps below 0


def condition(setting: Setting) -> float:
    """The condition number of Lambda, up to the rounding of its making."""
    return round(float(np.linalg.cond(setting["covariance"])), 6)


def norm(A: FloatArray, left: FloatArray, right: FloatArray) -> float:
    """|left A right|_F."""
    return float(np.linalg.norm(left @ A @ right))


def relative(off: FloatArray, expected: FloatArray, left: FloatArray, right: FloatArray) -> float:
    """|left off right|_F / |left A* right|_F."""
    return norm(off, left, right) / norm(expected, left, right)


def geometry_of_loss(setting: Setting) -> tuple[FloatArray, FloatArray]:
    """(M^(1/2), Lambda^(1/2)), M = E[s s^T]: the loss is min L + 1/2 |M^(1/2) (A - A*) Lambda^(1/2)|_F^2."""
    from ...theory.algebra.evaluation import evaluate
    from ...theory.one_layer.fixed_point import general_second_moment
    from ..claims.one_layer_predictions import letters_of_law

    moment = evaluate(general_second_moment(), letters_of_law(setting))
    return symmetric_root(moment), symmetric_root(np.array(setting["covariance"]))


def symmetric_root(matrix: FloatArray) -> FloatArray:
    """The symmetric square root of a positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    root: FloatArray = (vectors * np.sqrt(values)) @ vectors.T
    return root
