"""The claims on one layer of linear attention, with the settings that their checks are made at.

The optimiser's settings were chosen by how close trained weights came to the prediction; no other use is made of it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from ...theory.one_layer import (
    fixed_point,
    formulas,
    gradient_step,
    population_loss,
    random_context_length,
    uniform_covariates,
)
from ...theory.one_layer.population_loss import LossOnWeights
from .alterable import Alterable, Mutant, described_in_words
from .claim import Claim, Parameter
from .convergence import Convergence
from .loss_checks import DescentPath, EnumeratedLoss, SampledLoss
from .one_layer_predictions import (
    gaussian_directions,
    gaussian_plan,
    letters_of_case,
    letters_of_law,
    predict_fixed_point,
    predict_population_loss,
    predict_random_length,
    predict_step,
    predict_uniform,
    predicted_fixed_point,
    predicted_random_length,
    predicted_uniform,
    predictor_of,
    uniform_directions,
    uniform_plan,
)
from .one_layer_settings import (
    descent_replica,
    enumerated_loss_cases,
    enumerated_settings,
    random_length_enumerated,
    random_length_replica,
    random_length_sampled,
    replica_setting,
    sampled_loss_cases,
    sampled_settings,
    uniform_enumerated,
    uniform_replica,
    uniform_sampled,
)
from .stationarity import EnumeratedLeakGradient, EnumeratedStationarity, Planner, Predictor, SampledStationarity
from .step_checks import LayerIsDerivedStep, LayerIsStep, TrainedLayerIsStep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ...theory.algebra.formulas import Formula
    from .settings import Setting

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


def letters_at(*settings: Callable[[int], Sequence[Setting]]) -> Callable[[int], list[Mapping[str, Any]]]:
    """Values of the letters at the settings of several checks."""
    return lambda seed: [letters_of_law(setting) for made in settings for setting in made(seed)]


def fixed_point_claim(predicted: Predictor = predicted_fixed_point, plan: Planner = gaussian_plan) -> Claim:
    """`predicted` can be altered, to see the same checks refuse another formula."""
    claim = Claim(
        "fixed-point",
        fixed_point.derivation,
        LAW,
        predict_fixed_point,
        (
            SampledStationarity(predicted, plan, sampled_settings, variant=False),
            EnumeratedStationarity(predicted, gaussian_directions, enumerated_settings),
            Convergence(predicted, replica_setting, TRAINING),
            EnumeratedLeakGradient(predicted, enumerated_settings),
        ),
        "stationarity: three sampled laws (d = 2, N = 2, 4, 8) and five enumerated ones (d = 1, 2; N = 1, 2, 3) with "
        "random Lambda and Psi of condition numbers up to 3 and noise variance below 0.5. Convergence: a law of its "
        "own for each replica, d in 1..3, N in d..8, condition numbers up to 3; training starts at u = 0.4, "
        "U = 0.4 Theta Theta^T / |Theta Theta^T|_F with random Theta, u12 = u21 = 0 (the start of ZFB Theorem 4.1)",
        (FIXED_POINT_ALTERED,),
    )
    return replace(claim, further_mutants=leaking_mutants(claim, predicted))


FIXED_POINT_ALTERED = Alterable(
    formulas.fixed_point,
    formulas.rational_points,
    letters_at(sampled_settings, enumerated_settings),
    lambda formula: fixed_point_claim(predictor_of(formula)),
)


def leaking_mutants(claim: Claim, predicted: Predictor) -> tuple[Mutant, ...]:
    """u12 or u21 a tenth in its first entry instead of 0: statements that leave A as it is."""
    leaks = {"u12": (0.1, 0.0), "u21": (0.0, 0.1)}
    return tuple(
        described_in_words(
            "leak",
            f"{name} = (1/10, 0, ...) for {name} = 0",
            replace(claim, checks=(EnumeratedLeakGradient(predicted, enumerated_settings, leak),)),
            0.1,
        )
        for name, leak in leaks.items()
    )


def preconditioned_gradient_step_claim(
    predicted: Predictor = predicted_fixed_point,
    plan: Planner = gaussian_plan,
    step: Callable[[], Formula] = formulas.gradient_step,
) -> Claim:
    """`predicted` is the preconditioner of the step, `step` the formula of its prediction."""
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
            EnumeratedStationarity(predicted, gaussian_directions, enumerated_settings, through="step"),
            LayerIsStep(sampled_settings),
            LayerIsDerivedStep(sampled_settings, step),
            TrainedLayerIsStep(Convergence(predicted, replica_setting, TRAINING)),
        ),
        "as fixed-point; the identity of layer and step holds for every prompt",
        (
            replace(
                FIXED_POINT_ALTERED, claim=lambda formula: preconditioned_gradient_step_claim(predictor_of(formula))
            ),
            Alterable(
                formulas.gradient_step,
                formulas.prompt_points,
                lambda seed: formulas.prompt_points(f"settings/{seed}"),
                lambda formula: preconditioned_gradient_step_claim(step=lambda: formula),
            ),
        ),
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
            EnumeratedStationarity(predicted, gaussian_directions, random_length_enumerated),
            Convergence(predicted, random_length_replica, TRAINING),
        ),
        "stationarity: two sampled and two enumerated laws, d in 1..2, two or three equally likely lengths between "
        "1 and 12; convergence: d in 1..2, three lengths between d and 10; condition numbers up to 3",
        (
            Alterable(
                formulas.random_length,
                formulas.random_length_points,
                letters_at(random_length_sampled, random_length_enumerated),
                lambda formula: random_context_length_claim(predictor_of(formula)),
            ),
        ),
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
            EnumeratedStationarity(predicted, uniform_directions, uniform_enumerated),
            Convergence(predicted, uniform_replica, TRAINING),
        ),
        "stationarity: three sampled laws (d = 1, 2, 4; N = 2, 6, 8) along multiples of the identity, four enumerated "
        "ones (d <= 3, N <= 3) along all directions; convergence: d in 1..3, N in d..8, half-widths 1.4 to 2",
        (
            Alterable(
                formulas.uniform,
                formulas.uniform_points,
                letters_at(uniform_sampled, uniform_enumerated),
                lambda formula: uniform_covariates_claim(predictor_of(formula)),
            ),
        ),
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
        (
            Alterable(
                formulas.population_loss,
                formulas.weight_points,
                lambda seed: [letters_of_case(case) for case in enumerated_loss_cases(seed)],
                lambda formula: population_loss_claim(cache(lambda: LossOnWeights(formula.parts["loss"]))),
            ),
        ),
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
