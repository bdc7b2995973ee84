r"""The claim mesa-compressed-depth: what rotations leave of a layer, and what compression costs a trained model.

Three checks
    mean of the real layer over rotations, against the derived coefficients: exact up to rounding
    loss of the fitted compressed algorithm of the same depth, over trained replicas
    loss of the one a layer shallower: it has to be larger
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.mesa import equivariance as theory
from ..claims.alterable import Alterable
from ..claims.claim import Budget, Claim, Parameter, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.settings import FloatArray, generator
from ..records.tasks import Task
from .trained_models import CountedTrainings, loss

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

LAYER_MEANS = "iclcheck.numerics.reverse_engineering.rotation_means:layer_means"
MARGIN = 0.05
SIZES = (2, 3, 2, 3)
TOKENS = 3
# A rotation of the groups is a product of at most 12 matrices of dimension 3, each good to 10 eps: off by less than
# 360 eps = 8e-14. Four of them enter a term, and the sums of a layer have fewer than 100 further roundings.
ROUNDING = 5e-13


def blocks(case: int, seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """P, K (d, d) and tokens (T, 3, d)."""
    d = SIZES[case]
    draw = generator(f"rotation means/{case}", seed)
    P, K = draw.uniform(-1, 1, size=(2, d, d))
    return P, K, draw.uniform(-1, 1, size=(TOKENS, 3, d))


def means_task(budget: Budget) -> Task:
    cases = [
        {"P": P.tolist(), "K": K.tolist(), "tokens": tokens.tolist()}
        for P, K, tokens in (blocks(case, budget.seed) for case in range(len(SIZES)))
    ]
    return Task(LAYER_MEANS, {"cases": cases}, cost=0.2)


def rows_by(formula: Callable[[], Formula]) -> Callable[[Budget, Values], list[Row]]:
    """Distances of the measured mean from the combination of contractions, in units of the terms' sizes."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for case, (mean, parts, size) in enumerate(
            zip(found["mean"], found["contractions"], found["size"], strict=True)
        ):
            P, K, _ = blocks(case, budget.seed)
            coefficients = np.asarray(formula().value({"P": P, "K": K}), dtype=float)
            off = np.tensordot(coefficients, np.asarray(parts), 1) - np.asarray(mean)
            result.append((float(np.linalg.norm(off)) / size, ROUNDING))
        return result

    return rows


def in_words(found: Values) -> str:
    return f"{sum(found['rotations'])} rotations of {len(found['mean'])} layers"


def letters(seed: int) -> list[Mapping[str, Any]]:
    """Values of the letters where the means are measured."""
    return [dict(zip("PK", blocks(case, seed)[:2], strict=True)) for case in range(len(SIZES))]


def lost(run: Mapping[str, Any], values: Values, positions: tuple[int, ...]) -> float:
    """The share of the loss that the fitted compressed algorithm loses; negative where it gains."""
    del run, positions
    return loss(values, "fitted") / loss(values, "trained") - 1


def over_shallower(run: Mapping[str, Any], values: Values, positions: tuple[int, ...]) -> float:
    """How much 1 + MARGIN times the trained loss is above that of the algorithm one layer shallower, relative to it.

    The shallower one is fitted from the last layers of the trained model; one trained by itself may be better.
    """
    del run, positions
    return (1 + MARGIN) * loss(values, "trained") / loss(values, "shallower") - 1


DETAILS: dict[str, Callable[[Values], float]] = {
    "difference of predictions": lambda values: float(values["distance"]) / loss(values, "trained"),
    "lost by projection alone": lambda values: loss(values, "projected") / loss(values, "trained") - 1,
    "largest loss on the line": lambda values: max(values["line"]["losses"]) / loss(values, "trained") - 1,
    "outside of key-query": lambda values: float(np.mean(np.sum(values["outside"]["KQ"], axis=(-2, -1)))),
    "outside of value-projection": lambda values: float(np.mean(np.sum(values["outside"]["PV"], axis=(-2, -1)))),
    "antisymmetric in key-query": lambda values: float(np.mean(values["antisymmetric"]["KQ"])),
}


def compressed_depth_claim(formula: Callable[[], Formula] = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "mesa-compressed-depth",
        theory.derivation,
        (
            Parameter("value_projection", "P, one block of P W_V (d x d, d >= 2)"),
            Parameter("key_query", "K, one block of W_K^T W_Q (d x d)"),
        ),
        lambda parameters: theory.block_pair(**parameters),
        (
            ExactCheck("mean of the layer over rotations", means_task, rows_by(formula), in_words,
                       "in units of the terms' sizes"),
            CountedTrainings("loss of the compressed algorithm, trained", lost, MARGIN,
                             "as the share of the trained loss that is lost", DETAILS),
            CountedTrainings("one layer less, trained", over_shallower, 0.0,
                             "as 1.05 times the trained loss over that of one layer less, minus 1", {}),
        ),
        "the layer's mean at random blocks with d = 2, 3. Trained: noiseless s_{t+1} = W s_t with first states on the "
        "sphere, tokens (0, s_t, s_{t-1}), no 1/t; quick n = 4, T = 10, 1 or 2 layers, 1 or 2 heads; full n = 10, "
        "T = 50, 1 to 6 layers, 4 heads. A hit loses at most 5 % of the loss, in at least half of the trainings "
        "of a stated mixture of depths; one layer less is fitted from the last layers of the same model; "
        "learned tokens and softmax are not covered",
        (
            Alterable(
                theory.formula,
                theory.points,
                letters,
                lambda altered: compressed_depth_claim(lambda: altered),
            ),
        ),
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (compressed_depth_claim(),)
