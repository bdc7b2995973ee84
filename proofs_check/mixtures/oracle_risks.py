"""Risks and prices of the Bayes predictors of a dense and sparse mixture, prefix by prefix, for users' parameters.

The risk of a Bayes predictor is its mean variance of the value plus that of the noise, and the price of not knowing the
class a mean squared distance (model-selection): both are averaged over fresh prompts, which follow from the parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..claims.parameters import UsageError

if TYPE_CHECKING:
    from ...numerics.mixtures.prompt_laws import PromptLaw

MOST_SUPPORTS, LONGEST, LARGEST = 5000, 64, 20
LEAST_NOISE = 1e-8  # what the Bayes predictor is computed for without loss of digits
NAMES = ("dense", "sparse")


def predicted_risks(
    dimension: Any,
    nonzeros: Any,
    length: Any,
    noise_variance: Any,
    probability: Any = 0.5,
    dense_variance: Any = 1.0,
    sparse_variance: Any = 1.0,
    prompts: Any = 1000,
) -> dict[str, list[float]]:
    """For each class: the oracle's risk on labels, the mixture's price, and its standard error. Raises UsageError."""
    d = whole(dimension, "dimension", 1, LARGEST)
    k = whole(nonzeros, "nonzeros", 1, d)
    if math.comb(d, k) > MOST_SUPPORTS:
        raise UsageError(f"nonzeros needs at most {MOST_SUPPORTS} supports, got {math.comb(d, k)}; take fewer or more")
    law = mixture_law(
        d, k, whole(length, "length", 1, LONGEST), number(noise_variance, "noise_variance", LEAST_NOISE, 1e6),
        number(probability, "probability", 1e-12, 1 - 1e-12), number(dense_variance, "dense_variance", 1e-6, 1e6),
        number(sparse_variance, "sparse_variance", 1e-6, 1e6),
    )  # fmt: skip
    return oracle_risks(law, whole(prompts, "prompts", 100, 20_000))


def mixture_law(
    d: int, k: int, length: int, noise: float, probability: float, dense: float = 1.0, sparse: float = 1.0
) -> PromptLaw:
    """The mixture of dense and sparse functions with these parameters."""
    from ...numerics.mixtures.prompt_laws import PromptLaw

    kinds = ({"kind": "dense", "variance": dense}, {"kind": "sparse", "nonzeros": k, "variance": sparse})
    return PromptLaw(d, length, kinds, (probability, 1 - probability), noise)


def oracle_risks(law: PromptLaw, prompts: int) -> dict[str, list[float]]:
    """Of both classes of the law, over fresh prompts of each."""
    from ...numerics.decoders.evaluations import evaluated

    found: dict[str, list[float]] = {}
    for label, name in enumerate(NAMES):
        alone = replace(law, classes=(law.classes[label],), weights=(1.0,))
        oracles = {"class": alone, "mixture": law}
        values = evaluated(alone, {}, oracles, prompts, f"oracle risks/{law.key}/{name}", 1.0)
        price, error = mean_and_error(values["distance"]["mixture"]["class"], prompts)
        risk = [one / prompts + law.noise_variance for one in values["variance"]["class"]["sum"]]
        found |= {f"oracle_risk_{name}": risk, f"price_{name}": price, f"price_error_{name}": error}
    return found


def mean_and_error(sums: Mapping[str, Sequence[float]], count: int) -> tuple[list[float], list[float]]:
    """Means, and the standard deviation of each over the root of the count."""
    means = [one / count for one in sums["sum"]]
    pairs = zip(means, sums["squares"], strict=True)
    return means, [math.sqrt(max(square / count - mean**2, 0.0) / count) for mean, square in pairs]


def whole(value: Any, name: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(f"{name} needs a whole number from {low} to {high}, got {value!r}")
    return value


def number(value: Any, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UsageError(f"{name} needs a number from {low:g} to {high:g}, got {value!r}")
    return float(value)
