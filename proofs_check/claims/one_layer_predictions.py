"""What the claims on one layer predict: at a setting of a check, and for the parameters of a user.

predicted_...          A for a setting, from the derived closed form
..._plan               directions and second moments of a check of stationarity
predictor_of           A for a setting from a formula, which may be an altered one
predict_...            the quantities of the verb predict
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.one_layer import (
    fixed_point,
    formulas,
    gradient_step,
    population_loss,
    random_context_length,
    stationarity,
    uniform_covariates,
)
from ...theory.symbols import NEXT_LENGTH
from .settings import FloatArray, Setting, dimension_of

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula
    from ...theory.one_layer.stationarity import StationarityPlan
    from .loss_checks import Case
    from .stationarity import Predictor


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
    return stationarity.plan(weights, *gaussian_law(setting))


def gaussian_directions(setting: Setting, weights: FloatArray) -> FloatArray:
    return stationarity.gaussian_directions(weights, *gaussian_law(setting))


def gaussian_law(setting: Setting) -> tuple[FloatArray, list[int], FloatArray, float]:
    """Lambda, the lengths, Psi and sigma^2."""
    covariance, task = np.array(setting["covariance"]), np.array(setting["task_covariance"])
    return covariance, setting["context_lengths"], task, setting["noise_variance"]


def uniform_plan(setting: Setting, weights: FloatArray) -> StationarityPlan:
    (length,) = setting["context_lengths"]
    return stationarity.uniform_plan(float(weights[0, 0]), dimension_of(setting), length, half_width_of(setting))


def uniform_directions(setting: Setting, weights: FloatArray) -> FloatArray:
    """All d^2 directions, the first along I, as the predicted A is."""
    (length,) = setting["context_lengths"]
    return stationarity.uniform_directions(dimension_of(setting), length, half_width_of(setting))


def predictor_of(formula: Formula) -> Predictor:
    """A for a setting by a formula in the letters of the law."""

    def predicted(setting: Setting) -> FloatArray:
        return np.asarray(formula.value(letters_of_law(setting)), dtype=float)

    return predicted


def letters_of_law(setting: Setting) -> dict[str, Any]:
    """Values in float64 for the letters of a law, those of mistaken formulas included."""
    lengths = setting["context_lengths"]
    values = {
        "Lambda": np.array(setting["covariance"]),
        "Psi": np.array(setting["task_covariance"]),
        "sigma2": setting["noise_variance"],
        **formulas.moments(lengths),
        **formulas.kurtosis(),
    }
    if len(lengths) == 1:
        values |= {"N": lengths[0], NEXT_LENGTH: lengths[0] + 1}
    return values


def letters_of_case(case: Case) -> dict[str, Any]:
    """Values for the letters of the population loss at a case's weights."""
    covariance, length = case.law()
    setting = case.setting
    law = {"Psi": np.array(setting["task_covariance"]), "sigma2": setting["noise_variance"]}
    return {**population_loss.numbers(covariance, length, case.weights), **law}


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
