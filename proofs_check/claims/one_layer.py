"""The claims on one layer of linear attention, with the settings that their checks are made at.

Settings of the sampled checks are small in d and N, where formulas that differ in 1/N, in the trace or in N + 1 differ
most; those of the enumerated checks are small enough for a Gauss rule. Both are the same in all profiles. The
optimiser's settings were chosen by how close trained weights came to the prediction; no other use is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.one_layer import (
    fixed_point,
    gradient_step,
    population_loss,
    random_context_length,
    stationarity,
    uniform_covariates,
)
from .claim import Claim, Parameter
from .convergence import Convergence
from .loss_checks import Case, DescentPath, EnumeratedLoss, SampledLoss, random_weights
from .settings import FloatArray, Setting, dimension_of, gaussian_setting, generator, uniform_setting
from .stationarity import EnumeratedLeakGradient, EnumeratedStationarity, Planner, Predictor, SampledStationarity
from .step_checks import LayerIsStep, TrainedLayerIsStep

if TYPE_CHECKING:
    from ...theory.one_layer.stationarity import StationarityPlan

COVARIANCE = Parameter("covariance", "Lambda, d x d, symmetric positive definite")
CONTEXT_LENGTH = Parameter("context_length", "N, a whole number of at least 1")
TASK_COVARIANCE = Parameter("task_covariance", "Psi, d x d, symmetric positive semi-definite", False)
NOISE_VARIANCE = Parameter("noise_variance", "sigma^2, at least 0", False, 0.0)
LAW = (COVARIANCE, CONTEXT_LENGTH, TASK_COVARIANCE, NOISE_VARIANCE)

# Found by trying (docs/training.md): the cheapest runs that end near the statistical limit of their prompts.
TRAINING: dict[str, Any] = {
    "start": "theorem",
    "scale": 0.4,
    "optimiser": "adam",
    "learning_rate": 0.02,
    "batch_size": 512,
    "schedule": "linear",
    "averaging": 0.7,
}
DESCENT: dict[str, Any] = {
    "start": "all-parameters",
    "scale": 0.3,
    "optimiser": "sgd",
    "learning_rate": 0.02,
    "batch_size": 8192,
    "schedule": "constant",
    "averaging": 0.0,
    "steps": 50,
}


def predicted_fixed_point(setting: Setting) -> FloatArray:
    (length,) = setting["context_lengths"]
    law = (setting["covariance"], length, setting["task_covariance"], setting["noise_variance"])
    return fixed_point.fixed_point(*law).preconditioner


def predicted_random_length(setting: Setting) -> FloatArray:
    law = (
        setting["covariance"],
        setting["context_lengths"],
        setting["task_covariance"],
        setting["noise_variance"],
    )
    return random_context_length.preconditioner(*law)


def half_width_of(setting: Setting) -> float:
    """a for covariance (a^2/3) I."""
    return float((3 * setting["covariance"][0][0]) ** 0.5)


def predicted_uniform(setting: Setting) -> FloatArray:
    d, (length,) = dimension_of(setting), setting["context_lengths"]
    eta, _ = uniform_covariates.learning_rate_and_risk(d, length, half_width_of(setting))
    return eta * np.eye(d)


def gaussian_plan(setting: Setting, weights: FloatArray) -> StationarityPlan:
    law = (np.array(setting["covariance"]), setting["context_lengths"], np.array(setting["task_covariance"]))
    return stationarity.plan(weights, *law, setting["noise_variance"])


def uniform_plan(setting: Setting, weights: FloatArray) -> StationarityPlan:
    (length,) = setting["context_lengths"]
    return stationarity.uniform_plan(float(weights[0, 0]), dimension_of(setting), length, half_width_of(setting))


def uniform_enumeration_plan(setting: Setting, weights: FloatArray) -> StationarityPlan:
    """All d^2 directions; no second moments, since nothing is sampled."""
    (length,) = setting["context_lengths"]
    directions = stationarity.uniform_directions(dimension_of(setting), length, half_width_of(setting))
    return stationarity.StationarityPlan(directions, np.full(len(directions), np.nan))


def sampled_settings(seed: int) -> list[Setting]:
    sizes = ((2, 2, True), (2, 4, False), (2, 8, True))
    return [gaussian_setting(f"sampled/{d}/{n}", seed, d, [n], noise=noise) for d, n, noise in sizes]


def enumerated_settings(seed: int) -> list[Setting]:
    sizes = ((1, 1, True), (1, 3, True), (2, 1, True), (2, 2, True), (2, 3, False))
    return [gaussian_setting(f"enumerated/{d}/{n}", seed, d, [n], noise=noise) for d, n, noise in sizes]


def random_length_sampled(seed: int) -> list[Setting]:
    return [
        gaussian_setting("lengths/1", seed, 2, [1, 2, 6], noise=True),
        gaussian_setting("lengths/2", seed, 2, [3, 12], noise=False),
    ]


def random_length_enumerated(seed: int) -> list[Setting]:
    return [
        gaussian_setting("lengths/3", seed, 1, [1, 2, 4], noise=True),
        gaussian_setting("lengths/4", seed, 2, [1, 3], noise=False),
    ]


def uniform_sampled(seed: int) -> list[Setting]:
    return [uniform_setting(2, 2, 1.0), uniform_setting(1, 6, 1.0), uniform_setting(4, 8, 0.5)]


def uniform_enumerated(seed: int) -> list[Setting]:
    return [
        uniform_setting(1, 1, 1.0),
        uniform_setting(1, 3, 0.5),
        uniform_setting(2, 2, 1.0),
        uniform_setting(3, 1, 1.0),
    ]


def replica_setting(seed: int, replica: int) -> Setting:
    """The domain of convergence: d in 1..3, N in d..8, condition numbers up to 3, with and without noise."""
    draw = generator(f"replica/{replica}", seed)
    d = int(draw.integers(1, 4))
    length = int(draw.integers(d, 9))
    return gaussian_setting(f"replica/{replica}/law", seed, d, [length], noise=bool(draw.integers(2)))


def random_length_replica(seed: int, replica: int) -> Setting:
    draw = generator(f"lengths/replica/{replica}", seed)
    d = int(draw.integers(1, 3))
    lengths = sorted(int(n) for n in draw.choice(np.arange(d, 11), size=3, replace=False))
    return gaussian_setting(f"lengths/replica/{replica}/law", seed, d, lengths, noise=bool(draw.integers(2)))


def uniform_replica(seed: int, replica: int) -> Setting:
    draw = generator(f"uniform/replica/{replica}", seed)
    d = int(draw.integers(1, 4))
    # The half-width keeps Lambda = (a^2/3) I of order 1, the scale that the optimiser is set for.
    return uniform_setting(d, int(draw.integers(d, 9)), float(draw.uniform(1.4, 2.0)))


def descent_replica(seed: int, replica: int) -> Setting:
    draw = generator(f"descent/replica/{replica}", seed)
    d = int(draw.integers(1, 3))
    length = int(draw.integers(1, 7))
    return gaussian_setting(f"descent/replica/{replica}/law", seed, d, [length], noise=False, plain_task=True)


def loss_cases(sizes: tuple[tuple[int, int], ...], scale: float, name: str, seed: int) -> list[Case]:
    return [
        Case(
            gaussian_setting(f"{name}/{d}/{n}", seed, d, [n], noise=False, plain_task=True),
            random_weights(f"{name}/{d}/{n}", seed, d, scale),
        )
        for d, n in sizes
    ]


def sampled_loss_cases(seed: int) -> list[Case]:
    return loss_cases(((1, 3), (2, 1), (2, 2)), 0.4, "loss/sampled", seed)


def enumerated_loss_cases(seed: int) -> list[Case]:
    return loss_cases(((1, 1), (1, 4), (2, 1), (2, 2), (2, 3), (3, 1)), 1.0, "loss/enumerated", seed)


def predict_fixed_point(parameters: Mapping[str, Any]) -> dict[str, Any]:
    found = fixed_point.fixed_point(**parameters)
    return {
        "preconditioner": found.preconditioner.tolist(),
        "loss": found.loss,
        "value_weights": found.value_weights.tolist(),
        "key_query_weights": found.key_query_weights.tolist(),
    }


def predict_population_loss(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"loss": population_loss.loss_at(**parameters)}


def predict_step(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"prediction": gradient_step.predict_for(**parameters)}


def predict_random_length(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"preconditioner": random_context_length.preconditioner(**parameters).tolist()}


def predict_uniform(parameters: Mapping[str, Any]) -> dict[str, Any]:
    eta, risk = uniform_covariates.learning_rate_and_risk(**parameters)
    return {"learning_rate": eta, "risk": risk}


def fixed_point_claim(predicted: Predictor = predicted_fixed_point, plan: Planner = gaussian_plan) -> Claim:
    """`predicted` can be altered, to see the same checks refuse another formula."""
    return Claim(
        "fixed-point",
        fixed_point.derivation,
        LAW,
        predict_fixed_point,
        (
            SampledStationarity(predicted, plan, sampled_settings),
            EnumeratedStationarity(predicted, plan, enumerated_settings),
            Convergence(predicted, replica_setting, TRAINING),
            EnumeratedLeakGradient(predicted, enumerated_settings),
        ),
        "stationarity: three sampled laws (d = 2, N = 2, 4, 8) and five enumerated ones (d = 1, 2; N = 1, 2, 3) with "
        "random Lambda and Psi of condition numbers up to 3 and noise variance below 0.5. Convergence: a law of its "
        "own for each replica, d in 1..3, N in d..8, condition numbers up to 3; training starts at u = 0.4, "
        "U = 0.4 Theta Theta^T / |Theta Theta^T|_F with random Theta, u12 = u21 = 0 (the start of ZFB Theorem 4.1)",
    )


def preconditioned_gradient_step_claim(
    predicted: Predictor = predicted_fixed_point, plan: Planner = gaussian_plan
) -> Claim:
    """`predicted` is the preconditioner of the step."""
    return Claim(
        "preconditioned-gradient-step",
        gradient_step.derivation,
        (
            Parameter("X", "examples as rows, M x d"),
            Parameter("y", "labels, M numbers"),
            Parameter("x_query", "query, d numbers"),
            *LAW,
        ),
        predict_step,
        (
            SampledStationarity(predicted, plan, sampled_settings, through="step"),
            LayerIsStep(sampled_settings),
            TrainedLayerIsStep(Convergence(predicted, replica_setting, TRAINING)),
        ),
        "as fixed-point; the identity of layer and step holds for every prompt",
    )


def random_context_length_claim(predicted: Predictor = predicted_random_length, plan: Planner = gaussian_plan) -> Claim:
    return Claim(
        "random-context-length",
        random_context_length.derivation,
        (
            COVARIANCE,
            Parameter("context_lengths", "list of equally likely N"),
            TASK_COVARIANCE,
            NOISE_VARIANCE,
        ),
        predict_random_length,
        (
            SampledStationarity(predicted, plan, random_length_sampled),
            EnumeratedStationarity(predicted, plan, random_length_enumerated),
            Convergence(predicted, random_length_replica, TRAINING),
        ),
        "stationarity: two sampled and two enumerated laws, d in 1..2, two or three equally likely lengths between "
        "1 and 12; convergence: d in 1..2, three lengths between d and 10; condition numbers up to 3",
    )


def uniform_covariates_claim(predicted: Predictor = predicted_uniform, plan: Planner = uniform_plan) -> Claim:
    return Claim(
        "uniform-covariates",
        uniform_covariates.derivation,
        (
            Parameter("dimension", "d, a whole number of at least 1"),
            CONTEXT_LENGTH,
            Parameter("half_width", "a for x ~ U(-a, a)^d, above 0", False, 1.0),
        ),
        predict_uniform,
        (
            SampledStationarity(predicted, plan, uniform_sampled),
            EnumeratedStationarity(predicted, uniform_enumeration_plan, uniform_enumerated),
            Convergence(predicted, uniform_replica, TRAINING),
        ),
        "stationarity: three sampled laws (d = 1, 2, 4; N = 2, 6, 8) along multiples of the identity, four enumerated "
        "ones (d <= 3, N <= 3) along all directions; convergence: d in 1..3, N in d..8, half-widths 1.4 to 2",
    )


def population_loss_claim(loss: Any = population_loss.noiseless_loss) -> Claim:
    """`loss` makes the `LossOnWeights` that the checks are made against."""
    return Claim(
        "population-loss",
        population_loss.derivation,
        (
            COVARIANCE,
            CONTEXT_LENGTH,
            Parameter("value_weights", "W_PV, (d+1) x (d+1)"),
            Parameter("key_query_weights", "W_KQ, (d+1) x (d+1)"),
        ),
        predict_population_loss,
        (
            SampledLoss(loss, sampled_loss_cases),
            EnumeratedLoss(loss, enumerated_loss_cases),
            DescentPath(loss, descent_replica, DESCENT),
        ),
        "w ~ N(0, I), no noise; value and gradients at random weights (all of u12, u, U, u21 different from zero), "
        "d <= 3, N <= 4; descent from random starts of all parameters, d in 1..2, N in 1..6",
    )


def claims() -> tuple[Claim, ...]:
    """The claims of this module, in the order in which they build on each other."""
    return (
        population_loss_claim(),
        fixed_point_claim(),
        preconditioned_gradient_step_claim(),
        uniform_covariates_claim(),
        random_context_length_claim(),
    )
