r"""The claim mesa-probing: the probe of features that turn with the sequence, and probes of trained models.

Four checks
    probe of all turned copies of random prompts, against the derived one: exact up to rounding
    s_{t+1}: the error falls with every layer, over trained replicas
    s_{t+1}: the error after the last layer falls from each position to the next
    preconditioned inputs: the error before the last layer is smaller than before the first, for t up to 1.5 n
Not claimed, because measured otherwise: that the error for preconditioned inputs, relative to their mean square, falls
with t, or in the last layer, or late in the sequence in shallow models (docs/mesa_reverse_engineering.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.mesa import linear_probes as theory
from ..claims.alterable import Alterable
from ..claims.claim import Budget, Claim, Parameter, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.settings import FloatArray, generator
from ..records.tasks import Task
from .trained_models import EARLY, CountedTrainings

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

PROBE_MEANS = "iclcheck.numerics.reverse_engineering.rotation_means:probe_means"
SIZES, PROMPTS, RIDGE = (2, 3), 6, 0.1
# The normal equations have a condition number of at most 1 + 2 d/RIDGE = 61; solving them and adding up at most
# 48 * 6 copies loses less than 61 * 300 eps.
ROUNDING = 1e-11


def prompts(case: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Features (B, 2, d) and targets (B, d)."""
    d = SIZES[case]
    draw = generator(f"probe means/{case}", seed)
    features = draw.uniform(-1, 1, size=(PROMPTS, 2, d))
    noise = draw.uniform(-1, 1, size=(PROMPTS, d))
    return features, features[:, 0] - 0.5 * features[:, 1] + 0.5 * noise


def probes_task(budget: Budget) -> Task:
    cases = [
        {"features": features.tolist(), "targets": targets.tolist(), "ridge": RIDGE}
        for features, targets in (prompts(case, budget.seed) for case in range(len(SIZES)))
    ]
    return Task(PROBE_MEANS, {"cases": cases}, cost=0.2)


def letters_of(features: FloatArray, targets: FloatArray) -> dict[str, Any]:
    """Second moments of the prompts, and kappa: the ridge times the mean square of a feature."""
    first, second, count = features[:, 0], features[:, 1], len(features)
    pairs = {
        "Q11": (first, first), "Q12": (first, second), "Q22": (second, second), "Y1": (targets, first),
        "Y2": (targets, second), "Y": (targets, targets),
    }  # fmt: skip
    moments = {name: a.T @ b / count for name, (a, b) in pairs.items()}
    return {**moments, "kappa": RIDGE * float(np.mean(features**2))}


def letters(seed: int) -> list[Mapping[str, Any]]:
    return [letters_of(*prompts(case, seed)) for case in range(len(SIZES))]


def rows_by(formula: Callable[[], Formula]) -> Callable[[Budget, Values], list[Row]]:
    """Differences of the probe and of its error, relative to both."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for values, W, error in zip(letters(budget.seed), found["probe"], found["error"], strict=True):
            first, second, left = np.asarray(formula().value(values), dtype=float)
            eye = np.eye(len(W))
            off = np.asarray(W) - np.hstack([first * eye, second * eye])
            result.append((float(np.linalg.norm(off) / np.linalg.norm(W)), ROUNDING))
            result.append((abs(float(left) / error - 1), ROUNDING))
        return result

    return rows


def in_words(found: Values) -> str:
    return f"{sum(found['copies'])} turned copies of {PROMPTS} prompts in {len(found['copies'])} dimensions"


def relative(values: Values, target: str) -> FloatArray:
    """Held-out errors (layers + 1, positions) over the mean square of the target."""
    return np.asarray(values["probes"][target]["relative"], dtype=np.float64)


def with_depth(run: Mapping[str, Any], values: Values, positions: tuple[int, ...]) -> float:
    """The largest relative change of the error by a layer, over layers and positions."""
    del run, positions
    errors = relative(values, "next")
    return float((errors[1:] / errors[:-1]).max()) - 1


def with_position(run: Mapping[str, Any], values: Values, positions: tuple[int, ...]) -> float:
    """The largest relative change of the error after the last layer, from one position to the next."""
    del run, positions
    return max(float(later / earlier) for earlier, later in pairwise(relative(values, "next")[-1])) - 1


def preconditioned(run: Mapping[str, Any], values: Values, positions: tuple[int, ...]) -> float | None:
    """The largest relative change, over early positions, of the error from the first layer to before the last."""
    if run["shape"]["layers"] < 2:
        return None
    errors = relative(values, "preconditioned")
    early = [k for k, t in enumerate(positions) if t <= EARLY * run["task"]["size"]]
    return float((errors[-2] / errors[0])[early].max()) - 1


def last_position(values: Values) -> float:
    """The relative change of the same error at the last position."""
    errors = relative(values, "preconditioned")
    return float(errors[-2, -1] / errors[0, -1]) - 1


def probing_claim(formula: Callable[[], Formula] = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    change = "as the largest relative change of the error"
    return Claim(
        "mesa-probing",
        theory.derivation,
        (
            Parameter("features", "E h^a . h^b, symmetric (c x c)"),
            Parameter("target", "E y . h^a (c numbers)"),
            Parameter("target_square", "E |y|^2"),
            Parameter("dimension", "d, a whole number of at least 1"),
            Parameter("ridge", "kappa, at least 0", required=False, default=0.0),
        ),
        lambda parameters: theory.block_probe(**parameters),
        (
            ExactCheck("probe of turned copies", probes_task, rows_by(formula), in_words, "as a relative difference"),
            CountedTrainings("next state with depth, trained", with_depth, 0.0, change, {}),
            CountedTrainings("next state with t, trained", with_position, 0.0, change, {}),
            CountedTrainings("preconditioned inputs before the last layer, trained", preconditioned, 0.0, change,
                             {"the same at the last position, all depths": last_position}),
        ),
        "the probe at random prompts with d = 2, 3. Trained: the models of mesa-compressed-depth; t = 3, 6, 9 in the "
        "quick profile (n = 4), 5 to 25 in the full one (n = 10), lambda = 1; preconditioned inputs for t <= 1.5 n and "
        "models of at least two layers; at least half of the trainings. These ranges of t, and the layer before the "
        "last, were set after a first look at where the statement fails beyond them (docs/mesa_reverse_engineering.md)",
        (Alterable(theory.formula, theory.points, letters, lambda altered: probing_claim(lambda: altered)),),
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (probing_claim(),)
