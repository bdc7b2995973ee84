r"""Property (i): from the theorem's start, trained weights converge to the prediction, wherever the law lies.

What is asserted of each draw
    distance    |A - A*| <= max(2 %, 1.5 times the error of least squares on the same number of prompts), relative
                to |A*|. Least squares knows the features s x_q^T and solves for A at once: a training is asked to be
                as good as that up to a half, or right to 2 %.
    norm        the geometry of the loss, |M^(1/2) (.) Lambda^(1/2)|_F, for every draw; where N >= d and Lambda has a
                condition number up to 10, the Frobenius norm as well
    leak        |u12| |u21|, |u12| |U|_F and |u| |u21| at most the same share of |A*|_F, for d > 1; at d = 1 A alone
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
    leak         the largest leaking product, relative to |A*|_F
    """

    distances: dict[str, tuple[float, float]]
    leak: float

    @property
    def holds(self) -> bool:
        return all(ours <= allowed(least) for ours, least in self.distances.values()) and self.leak <= self.bar

    @property
    def bar(self) -> float:
        """What is allowed in the first norm."""
        return allowed(next(iter(self.distances.values()))[1])

    def __str__(self) -> str:
        parts = [
            f"{norm}: {ours:.2%} (least squares {least:.2%}, allowed {allowed(least):.2%})"
            for norm, (ours, least) in self.distances.items()
        ]
        return "; ".join([*parts, f"leak {self.leak:.2%}"])


def allowed(least_squares: float) -> float:
    """The bar beside least squares."""
    return max(MARGIN, OVER_LEAST_SQUARES * least_squares)


def theorem_ends(draws: Sequence[Draw], steps: int, device: str) -> list[TheoremEnd]:
    """Train all draws together, and compare each with its prediction."""
    from ...numerics.training.batched_training import train

    configurations = [configuration_of(draw, steps) for draw in draws]
    trained = train(configurations, device)
    reference = least_squares_of(configurations, device)
    return [
        end_of(draw["distribution"], one.W_PV, one.W_KQ, least)
        for draw, one, least in zip(draws, trained, reference, strict=True)
    ]


def configuration_of(draw: Draw, steps: int) -> TrainingConfiguration:
    """The training of one draw; its random numbers follow from it, whatever trains beside it."""
    from ...numerics.training.configurations import TrainingConfiguration

    d, (length,) = dimension_of(draw["distribution"]), draw["distribution"]["context_lengths"]
    small = d <= SMALL_DRAWS[0] and length <= SMALL_DRAWS[1]
    dimension, context_length = SMALL_DRAWS if small else LARGE_DRAWS
    draws = {"name": "properties", "dimension": dimension, "context_length": context_length}
    return TrainingConfiguration.from_plain({**TRAINING, **draw, "steps": steps, "shared_draws": draws})


def least_squares_of(configurations: Sequence[TrainingConfiguration], device: str) -> list[FloatArray]:
    """The least squares solution on the prompts of each training."""
    from ...numerics.training.least_squares import least_squares_preconditioners
    from ...numerics.training.shared_draws import draws_key

    found: dict[int, FloatArray] = {}
    for key in {draws_key(one) for one in configurations}:
        places = [place for place, one in enumerate(configurations) if draws_key(one) == key]
        solutions = least_squares_preconditioners([configurations[place] for place in places], device)
        found.update(zip(places, solutions, strict=True))
    return [found[place] for place in range(len(configurations))]


def end_of(setting: Setting, W_PV: FloatArray, W_KQ: FloatArray, least_squares: FloatArray) -> TheoremEnd:
    """The end of one training of a law."""
    from ...numerics.one_layer.observables import blocks, effective_preconditioner

    expected, trained = predicted_fixed_point(setting), effective_preconditioner(W_PV, W_KQ)
    norms = {"geometry of the loss": geometry_of_loss(setting)}
    if setting["context_lengths"][0] >= dimension_of(setting) and condition(setting) <= FROBENIUS_UP_TO_CONDITION:
        norms["Frobenius"] = (np.eye(len(expected)), np.eye(len(expected)))
    leaks = leaking_products(blocks(W_PV, W_KQ)) if dimension_of(setting) > 1 else (0.0,)
    return TheoremEnd(
        {name: (distance(trained, expected, *n), distance(least_squares, expected, *n)) for name, n in norms.items()},
        max(leaks) / float(np.linalg.norm(expected)),
    )


def condition(setting: Setting) -> float:
    """The condition number of Lambda, up to the rounding of its making."""
    return round(float(np.linalg.cond(setting["covariance"])), 6)


def distance(A: FloatArray, expected: FloatArray, left: FloatArray, right: FloatArray) -> float:
    """|left (A - A*) right|_F / |left A* right|_F."""
    return float(np.linalg.norm(left @ (A - expected) @ right) / np.linalg.norm(left @ expected @ right))


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
