r"""The claim scan-joint-flow: how attention leaves its start in the flow of the loss, and in the reparametrised one.

Two checks, on second derivatives of the real layer's loss by autograd
    the acceleration of every attention logit against the derived one, on random tables with several queries and
    common tokens
    how much faster the reparametrised flow moves the distinct tokens, at equal overlaps
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.scan_and_snap import early_attention as theory
from ..claims.alterable import Alterable
from ..claims.claim import Budget, Claim, Parameter, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.settings import generator
from ..records.tasks import Task
from . import quantities

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENT = "iclcheck.numerics.scan_and_snap.early_attention:accelerations"
RATES = (2.0, 3.0)  # eta_Y and eta_Z, so that one taken for the other shows
SHAPES = ((2, 9, 1, 1, 2), (3, 12, 1, 2, 3), (4, 20, 2, 3, 4), (6, 30, 3, 2, 3))  # K, M, queries, common, distinct
EQUAL = ((2, 8, 0.5, 3), (4, 60, 0.35, 3), (3, 40, 0.7, 5), (10, 1000, 0.2, 4))  # K, M, P of the common token, distinct
PARAMETERS = (
    Parameter("contexts", "P(l | n), one row for each class (K x M); next token n is token n"),
    Parameter("queries", "the query token of each class (K); left out: one query", required=False),
    Parameter("probabilities", "P_n (K); left out: equal", required=False),
    Parameter("decoder_rate", "eta_Y, a number", required=False, default=1.0),
    Parameter("attention_rate", "eta_Z, a number", required=False, default=1.0),
)

Made = Callable[[], "Formula"]
Table = dict[str, Any]


def shares(draw: np.random.Generator, count: int) -> list[float]:
    """Probabilities in proportion to whole numbers, so that they round alike everywhere."""
    weights = [int(w) for w in draw.integers(1, 10, size=count)]
    return [w / sum(weights) for w in weights]


def random_table(shape: tuple[int, ...], seed: int) -> Table:
    """A task with its common tokens first, then the distinct ones class by class, and its P_n."""
    K, M, queries, common, distinct = shape
    draw = generator(f"scan-joint-flow/{shape}", seed)
    rows = []
    for n in range(K):
        row, own = [0.0] * M, shares(draw, common + distinct)
        row[:common] = own[:common]
        row[common + n * distinct : common + (n + 1) * distinct] = own[common:]
        rows.append(row)
    return {"contexts": rows, "queries": [n % queries for n in range(K)], "probabilities": shares(draw, K)}


def equal_table(K: int, M: int, common: float, distinct: int) -> Table:
    """K classes alike, with one common token (token 0) and distinct ones in proportion to 1, 2, 3, ..."""
    total = distinct * (distinct + 1) // 2
    rows = []
    for n in range(K):
        row = [0.0] * M
        row[0] = common
        row[1 + n * distinct : 1 + (n + 1) * distinct] = [(1 - common) * k / total for k in range(1, distinct + 1)]
        rows.append(row)
    return {"contexts": rows, "queries": [0] * K, "probabilities": [1 / K] * K}


def tables(seed: int) -> list[Table]:
    return [random_table(shape, seed) for shape in SHAPES]


def task_of(chosen: Callable[[int], list[Table]]) -> Callable[[Budget], Task]:
    """The accelerations of these tables."""

    def task(budget: Budget) -> Task:
        parameters = {"tasks": chosen(budget.seed), "decoder_rate": RATES[0], "attention_rate": RATES[1]}
        return Task(MEASUREMENT, parameters, budget.device, cost=0.2)

    return task


def equal_tables(seed: int) -> list[Table]:
    """They do not depend on the seed."""
    del seed
    return [equal_table(*size) for size in EQUAL]


def letters(table: Mapping[str, Any]) -> dict[str, Any]:
    """The formula's letters at a table, in floats."""
    contexts = np.array(table["contexts"])
    rows = np.unique(np.array(table["queries"]), return_inverse=True)[1]
    vectors = theory.class_vectors(contexts, 0 * contexts)
    return theory.letters_of(vectors, np.array(table["probabilities"]), rows, *RATES)


def acceleration_rows(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """Measured less predicted, in units of a table's largest acceleration."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        made = []
        for table, measured, rounding in zip(tables(budget.seed), found["loss"], found["rounding"], strict=True):
            size = float(np.abs(measured).max())
            gap = float(np.abs(np.array(measured) - formula().value(letters(table))).max())
            made.append((gap / size, 2 * rounding / size))  # the derived sums round at most as often
        return made

    return rows


def size_of(table: Table) -> tuple[float, float, float]:
    """K, M and x = rho/(1 - rho) of a table with equal overlaps."""
    contexts = np.array(table["contexts"])
    first, second = theory.class_vectors(contexts, 0 * contexts)[:2]
    rho = float(first @ second)
    return float(len(contexts)), float(contexts.shape[1]), rho / (1 - rho)


def ratio_rows(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """The ratio of the two accelerations at the likeliest distinct token of class 0, relative to the predicted."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        made = []
        chosen = equal_tables(budget.seed)
        predicted = formula().value({"sizes": [size_of(table) for table in chosen]})
        for place, (_, _, _, distinct) in enumerate(EQUAL):
            own, other = (np.array(found[name][place])[0, distinct] for name in ("loss", "reparametrised"))
            relative = 2 * found["rounding"][place] / abs(own) * conditioning(chosen[place])
            made.append((float(abs(other / own / predicted[place] - 1)), float(relative)))
        return made

    return rows


def conditioning(table: Table) -> float:
    """What the solution with G may add: its condition number (1 + (K - 1) rho)/(1 - rho) = 1 + K x, 3 for the rest."""
    K, _, x = size_of(table)
    return 3 * (1 + K * x)


def described(found: Values) -> str:
    return f"{len(found['loss'])} tables, K <= 6, M <= 30, one to three queries and common tokens, every logit"


def described_ratios(found: Values) -> str:
    return f"{len(found['loss'])} tables with one common token, K <= 10, M <= 1000"


def ratio_settings(seed: int) -> list[dict[str, Any]]:
    return [{"sizes": [size_of(table) for table in equal_tables(seed)]}]


def flow_claim(formula: Made = theory.formula, ratio: Made = theory.ratio_formula) -> Claim:
    """Either formula can be altered, to see the same checks refuse it."""
    return Claim(
        "scan-joint-flow",
        theory.derivation,
        PARAMETERS,
        lambda parameters: theory.for_user(**parameters),
        (
            ExactCheck(
                "acceleration of attention at the start", task_of(tables), acceleration_rows(formula), described,
                "in units of the largest",
            ),
            ExactCheck(
                "the reparametrised flow beside the loss's own", task_of(equal_tables), ratio_rows(ratio),
                described_ratios, "of the ratio",
            ),
        ),
        "sequence classes at T -> infinity, Y = Z = 0: K <= 10 classes, M <= 1000 tokens, probabilities, queries and "
        "common tokens at random; the start of training alone. How far the two flows go apart later is measured in "
        "docs/scan_joint_flow.md",
        (
            Alterable(
                theory.formula, theory.points, lambda seed: [letters(table) for table in tables(seed)],
                lambda altered: flow_claim(lambda: altered, ratio),
            ),
            Alterable(
                theory.ratio_formula, theory.ratio_points, ratio_settings,
                lambda altered: flow_claim(formula, lambda: altered),
            ),
        ),
        quantities=quantities.JOINT_FLOW,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claim."""
    return (flow_claim(),)
