"""Cross terms (f - f*)(t - f*) of evaluations beside 0, which their mean is where f* is the Bayes predictor.

Given what is seen they have the known variance (f - f*)^2 V, so that nothing is assumed of the tails of a trained f
(`verdicts.conditional_means`).
"""

from __future__ import annotations

import math

from ..claims.claim import Values
from ..verdicts.conditional_means import compare_with_zero
from ..verdicts.heavy_tails import MeanComparison
from .evaluations import mean_of

IN_DEVIATIONS = "in standard deviations of the cross term"


def gap_of_cross_terms(prompts: int) -> float:
    """About ten standard errors of a mean."""
    return 10.5 / math.sqrt(prompts)


def deviations(values: Values, predictor: str, oracle: str) -> list[float]:
    """The standard deviation of the cross term given what is seen, sqrt(E (f - f*)^2 V), per prefix."""
    return [math.sqrt(one) for one in mean_of(values, "cross_variance", predictor, oracle)]


def cross_terms(
    values: Values, predictor: str, oracle: str, false_alarm: float, miss: float
) -> dict[int, MeanComparison]:
    """Prefix -> the mean cross term beside 0, in units of its standard deviation, as the oracle has it.

    Left out is what never deviates: a prefix at which predictor and oracle say the same.
    """
    sums, variances = values["cross"][predictor][oracle], values["cross_variance"][predictor][oracle]["sum"]
    return {
        i: compare_with_zero(
            values["count"], sums["sum"][i], sums["squares"][i], variances[i], scale=unit, false_alarm=false_alarm,
            miss=miss,
        )
        for i, unit in enumerate(deviations(values, predictor, oracle))
        if unit > 1e-12
    }  # fmt: skip
