r"""The claim class-selection: the posterior of the classes, read off predictions by regression.

Four checks
    slopes of the Bayes predictor inside bins of B, least squares over given prompts: the weighted mean of the derived p
    the class itself: inside bins of B dense functions are as frequent as p says, over fresh prompts of two laws
    the shipped mixture model where the dense class is the likelier one: its reading is near p
    the same model where the sparse class is: its reading is above p
The last two are about one file of weights. What they state was set after a first look at it (docs/class_selection.md):
the model selects softly, and stays too dense where the sparse class is the likelier one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...theory.model_selection import class_selection as theory
from ..claims.alterable import Alterable
from ..claims.claim import AlterationCost, Budget, Claim, Parameter, Quantity, Run, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.sampled_verdicts import verdict_on_ratios
from ..records.tasks import Task
from ..verdicts.bounded_ratios import Ratio, Sums, ratio_of_means
from ..verdicts.verdict import Verdict
from .shipped_models import recorded_digest, trained_law

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENT = "iclcheck.numerics.decoders.class_selection"
Made = Callable[[], "Formula"]
Interval = tuple[float | None, float | None]
EPS = float(np.finfo(np.float64).eps)
MODEL = "mixture"
# A reading is cut to these, and weighted with min(D^2, REACH^2)/REACH^2; REACH is below the deviation of the noise.
LIMITS, REACH = (-0.5, 1.5), 0.2
SPREAD = LIMITS[1] - LIMITS[0] + 1  # of a draw v (q - p)
# Centre and margin of the departures that are stated of the shipped model; a model that selects as Bayes has 0 and 0.
NEAR_BAYES, ABOVE_BAYES = (0.0, 0.25), (0.4, 0.25)


def two_classes(
    dimension: int, length: int, nonzeros: int, probability: float, noise: float, dense: float = 1.0
) -> dict[str, Any]:
    """A law with dense functions of that variance and sparse ones of variance 1."""
    classes = [
        {"kind": "dense", "variance": dense}, {"kind": "sparse", "nonzeros": nonzeros, "variance": 1.0}
    ]  # fmt: skip
    return {
        "dimension": dimension, "length": length, "classes": classes, "weights": [probability, 1 - probability],
        "noise_variance": noise, "input_scale": 1.0, "covariance": "identity",
    }  # fmt: skip


LAWS = (two_classes(5, 8, 1, 0.5, 0.1), two_classes(4, 6, 2, 0.2, 0.05, dense=0.5), two_classes(3, 8, 1, 0.9, 0.5))
FARTHEST = 30.0  # p is 0 or 1 up to rounding long before
BINS: tuple[Interval, ...] = ((-FARTHEST, -1.5), (-1.5, 0.0), (0.0, 1.5), (1.5, FARTHEST))
PROMPTS = 60


# The Bayes predictor, without sampling


def slopes_task(budget: Budget) -> Task:
    parameters = {
        "laws": list(LAWS), "prompts": PROMPTS, "intervals": [list(one) for one in BINS],
        "stream_key": f"class-selection/slopes/{budget.seed}",
    }  # fmt: skip
    return Task(f"{MEASUREMENT}:oracle_slopes", parameters, budget.device, cost=0.2)


def slopes_rows(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """Each slope against the mean of p with weights D^2, p by the formula at the prompts' B."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        del budget
        result = []
        for law, bins in zip(LAWS, found["laws"], strict=True):
            for one in bins:
                B = np.array(one["log_bayes_factors"])
                p = formula().value(theory.letters_at(B, law["weights"][0]))
                # exp(B) is off by |B| EPS of itself, which moves p by a quarter of that; a few roundings more
                of_formula = EPS * (float(np.abs(B).max()) + 8)
                result.append((abs(float(np.sum(one["squares"] * p)) - one["slope"]), one["rounding"] + of_formula))
        return result

    return rows


def slopes_in_words(found: Values) -> str:
    pairs = sum(len(one["squares"]) for bins in found["laws"] for one in bins)
    return f"{len(LAWS)} laws with priors 0.5, 0.2, 0.9; {len(BINS)} bins of B, {pairs} prompts and prefixes"


def settings_of_checks(seed: int) -> list[Mapping[str, Any]]:
    """The letters where the posterior is neither 0 nor 1, to say how far an altered formula is from the original."""
    del seed
    return [theory.letters_at(np.linspace(-4.0, 4.0, 9), law["weights"][0]) for law in LAWS]


# Sampled readings


class Cell(NamedTuple):
    """Prompts of a law (None: that of the model), after so many examples, with B in the interval."""

    law: Mapping[str, Any] | None
    examples: int
    interval: Interval

    def __str__(self) -> str:
        low, high = ("-inf" if self.interval[0] is None else f"{self.interval[0]:g}",
                     "inf" if self.interval[1] is None else f"{self.interval[1]:g}")  # fmt: skip
        return f"n = {self.examples}, B in [{low}, {high})"


def reading_task(cell: Cell, model: str | None, prompts: int, budget: Budget) -> Task:
    law = cell.law or trained_law(MODEL)
    key = f"class-selection/{budget.seed}/{model}/{cell}/{law['weights']}"
    parameters = {
        "law": law, "model": model, "sha256": recorded_digest(model) if model else None,
        "examples": cell.examples, "interval": list(cell.interval), "prompts": prompts, "stream_key": key,
        "reach": REACH, "limits": list(LIMITS),
    }  # fmt: skip
    return Task(f"{MEASUREMENT}:read_model", parameters, budget.device, cost=1.5e-4 * prompts)


def departure_of(values: Values, name: str, spread: float, false_alarm: float) -> Ratio:
    """The departure of one predictor's reading from p: the mean of v (q - p) over that of v."""
    above, below = (
        Sums(values["sums"][one], values["squares"][one], width) for one, width in ((name, spread), ("weight", 1.0))
    )
    return ratio_of_means(values["count"], above, below, false_alarm)


@dataclass(frozen=True)
class DeparturesInRange:
    """Departures of readings from p that have to lie within `margin` of `centre` in every cell.

    name_of        the predictor that is read: class, mixture or model
    spread         the width of the interval in which its draws lie
    prompts        of each cell, in the quick profile; sixteen times as many in the full one
    """

    name: str
    name_of: str
    model: str | None
    cells: tuple[Cell, ...]
    centre: float
    margin: float
    spread: float
    prompts: int
    resolution: float
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run: how far readings stray."""
        return None

    def drawn(self, budget: Budget) -> int:
        """As many as the budget of sampled prompts is of that of the quick profile."""
        return max(16, self.prompts * budget.prompts // 8_000_000)

    def tasks(self, budget: Budget) -> list[Task]:
        return [reading_task(cell, self.model, self.drawn(budget), budget) for cell in self.cells]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        departures = [departure_of(one, self.name_of, self.spread, self.false_alarm / len(found)) for one in found]
        of_oracle = max(abs(one["sums"]["mixture"] / one["sums"]["weight"]) for one in found)
        return verdict_on_ratios(
            self, departures, "as a reading less the posterior",
            f"{self.drawn(budget)} prompts in each of {len(found)} cells",
            {
                "cells": [str(cell) for cell in self.cells],
                "posterior": [one["sums"]["posterior"] / one["sums"]["weight"] for one in found],
                "departure": [one.ratio for one in departures], "error": [one.error for one in departures],
                "largest departure of the Bayes predictor itself": of_oracle,
            },
        )  # fmt: skip


FAR, NEAR = 3.0, 1.0
SPARSE_SIDE: tuple[tuple[int, Interval], ...] = (
    (4, (None, -FAR)), (4, (-FAR, -NEAR)), (7, (None, -FAR)),
)  # fmt: skip
DENSE_SIDE: tuple[tuple[int, Interval], ...] = (
    (2, (NEAR, FAR)), (2, (FAR, None)), (4, (NEAR, FAR)), (4, (FAR, None)), (7, (FAR, None)), (10, (FAR, None)),
)  # fmt: skip
SAMPLED = tuple((n, interval) for n in (3, 5) for interval in BINS[1:])


def frequency_of_class() -> DeparturesInRange:
    """The class itself, which is read without error: exactly p on average."""
    cells = tuple(Cell(law, *where) for law in LAWS[:2] for where in SAMPLED)
    return DeparturesInRange("frequency of the class, sampled", "class", None, cells, 0.0, 0.0, 2.0, 3000, 0.4)


def shipped_readings() -> tuple[DeparturesInRange, ...]:
    """The shipped mixture model on both sides; D^2 is larger where the dense class is likelier."""

    def check(
        name: str, places: tuple[tuple[int, Interval], ...], stated: tuple[float, float], prompts: int
    ) -> DeparturesInRange:
        cells, (centre, margin) = tuple(Cell(None, *where) for where in places), stated
        return DeparturesInRange(name, "model", MODEL, cells, centre, margin, SPREAD, prompts, margin + 0.5)

    return (
        check("shipped model, dense class likelier: near p", DENSE_SIDE, NEAR_BAYES, 2000),
        check("shipped model, sparse class likelier: above p", SPARSE_SIDE, ABOVE_BAYES, 8000),
    )


QUANTITIES = (
    Quantity("dense_posterior", "p = P(dense | examples) of each prompt, a list"),
    Quantity("mixture_prediction", "f* = p f_d + (1 - p) f_s of each prompt, a list"),
    Quantity("expected_slope", "sum of p D^2 over sum of D^2, the slope of least squares for f*, a number"),
    Quantity("slope", "that of the given predictions less f_s on D, a number"),
    Quantity("largest_departure", "sqrt(sum (f - f*)^2/sum D^2), what the two slopes can differ by at most, a number"),
)


def selection_claim(formula: Made = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "class-selection",
        theory.derivation,
        (
            Parameter("log_bayes_factors", "B of each prompt: log density of its labels, dense less sparse (a list)"),
            Parameter("dense_predictions", "f_d of each prompt, the posterior mean given the dense class (a list)"),
            Parameter("sparse_predictions", "f_s of each prompt, the same given the sparse class (a list)"),
            Parameter("dense_probability", "pi, between 0 and 1", False, 0.5),
            Parameter("predictions", "those of a model, to be read (a list); left out: the mixture's own", False),
        ),
        lambda parameters: theory.for_user(**parameters),
        (
            ExactCheck("slopes of the Bayes predictor", slopes_task, slopes_rows(formula), slopes_in_words,
                       "as a difference of posteriors", resolution=1e-9),
            frequency_of_class(),
            *shipped_readings(),
        ),
        "the Bayes predictor at given prompts of three laws with d = 3, 4, 5, k = 1, 2, priors 0.2, 0.5, 0.9, and the "
        "classes of fresh prompts of two of these after 3 and 5 examples, in bins of B. The shipped mixture model (d = "
        "5, k = 1, prior 1/2) on its own law after 2, 4, 7 and 10 examples: a statement about that one file, set after "
        "a first look at it. Not refuted, up to the gap that the verdict states: where the dense class is the likelier "
        "one its reading is within 0.25 of the posterior, and where the sparse class is, after 4 examples (7: B < -3), "
        "0.15 to 0.65 above it",
        (
            Alterable(
                theory.formula,
                theory.points,
                settings_of_checks,
                lambda altered: selection_claim(lambda: altered),
            ),
        ),
        quantities=QUANTITIES,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claim."""
    return (selection_claim(),)
