r"""The claim mesa-gradient-step: causal linear attention takes one gradient step on the pairs seen so far.

Two checks, on sequences of random rotations with noise
    the real layer with the derived weights against the gradient step by automatic differentiation, at every t
    the derived predictions against the same step, evaluated on the sequences that were measured
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.mesa import gradient_step as theory
from ..claims.alterable import Alterable
from ..claims.claim import Budget, Claim, Parameter, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.settings import FloatArray, generator
from ..records.tasks import Task

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENT = "iclcheck.numerics.mesa.gradient_steps:layer_against_step"
SIZES = ((1, 2, 0.0), (1, 6, 0.3), (2, 5, 0.0), (3, 8, 0.1), (4, 12, 0.2), (6, 20, 0.0))  # n, T, noise variance
SEQUENCES = 4
PARAMETERS = (
    Parameter("sequence", "s_1 .. s_T, one row for each (T x n)"),
    Parameter("learning_rate", "eta, a number"),
    Parameter("initial_weights", "Phi_0 (n x n); left out: 0", required=False),
)

Made = Callable[[], "Formula"]


def letters(seed: int) -> list[dict[str, Any]]:
    """For each size Phi_0, eta, and what they may be mistaken for."""
    found = []
    for n, length, noise in SIZES:
        draw = generator(f"mesa-gradient-step/{n}/{length}/{noise}", seed)
        eta, other = (float(x) for x in draw.uniform(0.05, 0.5, size=2))
        found.append({
            "Phi_0": draw.uniform(-1, 1, size=(n, n)), theory.OTHER: draw.uniform(-1, 1, size=(n, n)),
            "eta": eta, "lambda": other,
        })  # fmt: skip
    return found


def case(size: tuple[int, int, float], values: Mapping[str, Any], formula: Formula) -> dict[str, Any]:
    n, length, noise = size
    value, key_query = theory.weights_of_parts(formula.parts, values)
    return {
        "task": {"kind": "linear", "size": n, "length": length, "noise_variance": noise},
        "initial_map": values["Phi_0"].tolist(),
        "learning_rate": values["eta"],
        "value_weights": theory.plain(value),
        "key_query_weights": theory.plain(key_query),
    }


def task_by(formula: Made) -> Callable[[Budget], Task]:
    """Sequences, the layer with a formula's weights, and the step."""

    def task(budget: Budget) -> Task:
        cases = [case(*pair, formula()) for pair in zip(SIZES, letters(budget.seed), strict=True)]
        parameters = {"cases": cases, "sequences": SEQUENCES, "stream_key": f"mesa-gradient-step/{budget.seed}"}
        return Task(MEASUREMENT, parameters, budget.device, cost=0.3)

    return task


def rows_of(differences: FloatArray, bounds: FloatArray, step: FloatArray) -> Row:
    """The largest difference beside its bound, in units of the root mean square of the step."""
    size = float(np.sqrt(np.mean(step**2)))
    place = np.unravel_index(np.argmax(np.abs(differences) / bounds), bounds.shape)
    return float(abs(differences[place])) / size, float(bounds[place]) / size


def rows_of_layer(budget: Budget, found: Values) -> list[Row]:
    del budget
    rows = []
    for layer, step, bounds in zip(found["layer"], found["step"], found["rounding"], strict=True):
        a, b = np.array(layer), np.array(step)
        rows.append(rows_of(a - b, np.array(bounds), b))
    return rows


def rows_by(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """The predictions of a formula on the sequences that were measured, against the step."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for place, values in enumerate(letters(budget.seed)):
            step, sequences = np.array(found["step"][place]), np.array(found["sequence"][place])
            derived = np.array([formula().value({**values, "sequence": one}) for one in sequences], dtype=float)
            # The derived sums have the terms of the layer's and fewer roundings: its bound, added to the step's, holds.
            result.append(rows_of(derived - step, np.array(found["rounding"][place]), step))
        return result

    return rows


def described(found: Values) -> str:
    return f"{len(found['sequence'])} sizes, n <= 6, T <= 20, {SEQUENCES} sequences each, every t"


def points_of_checks(seed: int) -> list[dict[str, Any]]:
    """Letters with sequences of their own, to say how far an altered formula is from the original."""
    found = []
    for (n, length, _), values in zip(SIZES, letters(seed), strict=True):
        sequence = generator(f"mesa-gradient-step/sequence/{n}/{length}", seed).uniform(-1, 1, size=(length, n))
        found.append({**values, "sequence": sequence})
    return found


UNIT = "in units of the step's root mean square"


def step_claim(formula: Made = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "mesa-gradient-step",
        theory.derivation,
        PARAMETERS,
        lambda parameters: theory.for_user(**parameters),
        (
            ExactCheck("layer with the derived weights = step", task_by(formula), rows_of_layer, described, UNIT),
            ExactCheck("derived predictions = step", task_by(theory.formula), rows_by(formula), described, UNIT),
        ),
        "sequences s_{t+1} = W s_t + noise with random rotations W, n <= 6, T <= 20, t = 1 included, six random Phi_0 "
        "and eta in (0.05, 0.5); the identity is proved for every sequence. That no other weights do it is proved in "
        "words, not measured",
        (
            Alterable(
                theory.formula,
                theory.points,
                points_of_checks,
                lambda altered: step_claim(lambda: altered),
            ),
        ),
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claim."""
    return (step_claim(),)
