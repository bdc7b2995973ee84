r"""A mixture's model beside the models of its classes, and the same for the oracles: what both claims on weights
measure.

On prompts of class c, at one prefix, with R the risk of the class's oracle on labels, its mean variance and the noise:
    price     p, the mean squared distance of the mixture's oracle to that of the class: its risk is R + p
    excess    e of the mixture's model and e_c of the class's model, the mean squared distances to the oracle of the
    class
    quotient  [(R + e)/(R + e_c)] / [(R + p)/R]: how much worse the mixture's model is than the class's, over the
    oracles
All are means of what is known from what is seen (oracle-never-beaten), and every squared distance and variance counts
at most `CAPS`, so that intervals hold whatever the tails are (`verdicts.empirical_bernstein`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from ..claims.claim import Budget, Values
from ..records.tasks import Task
from ..verdicts.empirical_bernstein import deviation
from ..verdicts.verdict import Outcome, decide
from .evaluations import evaluation_task, prompts_of
from .shipped_models import trained_law

Plain = dict[str, Any]
Key = tuple[float, str, int]  # weight, class, prefix or AVERAGED
CLASSES = ("dense", "sparse")  # names of a class and of its model
CLASS, MIXTURE = "oracle of the class", "oracle of the mixture"
MIXTURES = {0.1: "mixture-10", 0.5: "mixture", 0.9: "mixture-90"}
AVERAGED = -1  # in the place of a prefix: the mean over all of them, as in the loss of the training
# Four times what least squares leaves of five dense coefficients without noise, 5 - i, then 2 and 1: from the fifth on
# they were lowered from 4, once, after a look at the widths of intervals of earlier models.
CAPS = (20.0, 16.0, 12.0, 8.0, 4.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0)
FACTOR = 1.25  # fixed before these models were there
LEARNED = 1.5  # how many times the oracle's risk a class's model may have: untrained models are all as good as another


class Interval(NamedTuple):
    """A mean with bounds that hold together at the rate of all intervals."""

    low: float
    mean: float
    high: float


@dataclass(frozen=True)
class Selection:
    """One class, one prefix: all means with their intervals."""

    risk: Interval
    price: Interval
    excess: Interval
    of_class: Interval

    @property
    def learned(self) -> bool:
        """Whether the class's model is known to be within LEARNED of its own oracle: else there is none to match."""
        return self.risk.low + self.of_class.high <= LEARNED * self.risk.low

    @property
    def quotient(self) -> Interval:
        """How much worse than the class's model, over how much worse the mixture's oracle is than the class's.

        It rises with e and falls with e_c and p, so that its ends lie at theirs; for those of R see `extremes`.
        """
        low = min(extremes(self.risk, self.excess.low, self.of_class.high, self.price.high))
        high = max(extremes(self.risk, self.excess.high, self.of_class.low, self.price.low))
        return Interval(low, quotient_at(self.risk.mean, self.excess.mean, self.of_class.mean, self.price.mean), high)


def quotient_at(R: float, e: float, c: float, p: float) -> float:
    """(R + e) R/((R + c)(R + p))."""
    return (R + e) * R / ((R + c) * (R + p))


def extremes(risk: Interval, e: float, c: float, p: float) -> list[float]:
    """The quotient at both ends of R's interval, and where its slope in R vanishes in between.

    The slope has the sign of a R^2 + 2 c p R + e c p with a = c + p - e: no positive root for a >= 0, else one.
    """
    places, a = [risk.low, risk.high], c + p - e
    if a < 0:
        places.append(min(max((c * p + math.sqrt(c * p * (c * p - a * e))) / -a, risk.low), risk.high))
    return [quotient_at(R, e, c, p) for R in places]


def class_task(law: str, model: str, weight: float, prompts: int, budget: Budget) -> Task:
    """A shipped model on prompts of a class, beside the oracle of the class and that of the mixture of a weight."""
    oracles = {CLASS: trained_law(law), MIXTURE: trained_law(MIXTURES[weight])}
    return evaluation_task(trained_law(law), [model], (), oracles, prompts_of(budget, prompts), CAPS, budget)


def selection_tasks(weights: Sequence[float], prompts: int, budget: Budget) -> list[Task]:
    """The models of the mixtures, and those of the classes, on both classes."""
    alone = [class_task(law, law, 0.5, prompts, budget) for law in CLASSES]
    mixed = [(MIXTURES[weight], weight, law) for weight in weights for law in CLASSES]
    return [*alone, *(class_task(law, model, weight, prompts, budget) for model, weight, law in mixed)]


def interval(values: Values, path: tuple[str, ...], i: int, rate: float, shift: float = 0.0) -> Interval:
    """Of a capped mean at prefix i, or averaged over the prefixes, plus a constant."""
    sums: Any = values
    for name in path:
        sums = sums[name]
    total, squares = (
        sums["averaged"][kind] if i == AVERAGED else sums[kind][i] for kind in ("capped", "capped_squares")
    )  # fmt: skip
    count, largest = values["count"], fmean(values["cap"]) if i == AVERAGED else values["cap"][i]
    mean = total / count
    width = deviation(count, max(0.0, squares / count - mean**2), largest, rate)
    return Interval(max(mean - width, 0.0) + shift, mean + shift, min(mean + width, largest) + shift)


def selections(
    weights: Sequence[float], places: Sequence[int], found: Sequence[Values], rate: float
) -> dict[Key, Selection]:
    """(weight, class, place) -> the means; all intervals miss together with probability at most `rate`.

    places    prefixes, or AVERAGED;  found: the values of `selection_tasks`
    """
    alone, mixed = dict(zip(CLASSES, found, strict=False)), found[len(CLASSES) :]
    keys = [(weight, law) for weight in weights for law in CLASSES]
    each = rate / (4 * len(keys) * len(places))
    return {
        (weight, law, i): selection(law, MIXTURES[weight], values, alone[law], i, each)
        for (weight, law), values in zip(keys, mixed, strict=True)
        for i in places
    }


def outcome_of(
    rows: Iterable[Selection], gap: float, resolution: float, unfinished: Iterable[Selection] = ()
) -> Outcome:
    """Whether quotients are at most FACTOR: an interval above it contradicts, too large a gap decides nothing.

    Nothing is decided beside a class's model that has not learned its class. A model whose training is unfinished can
    agree; where it does not, that says nothing against the finished one.
    """
    settled, others = list(rows), list(unfinished)
    if any(row.learned and row.quotient.low > FACTOR for row in settled):
        return decide(False, gap, resolution)
    undecided = any(not row.learned for row in (*settled, *others)) or any(row.quotient.low > FACTOR for row in others)
    return "inconclusive" if undecided else decide(True, gap, resolution)


def detectable(rows: Iterable[Selection]) -> float:
    """How far above 1 a quotient has to be that its interval would have been above FACTOR.

    An interval that holds it reaches from it down by at most the ratio of its ends.
    """
    return FACTOR * max(row.quotient.high / max(row.quotient.low, 1e-300) for row in rows) - 1


def selection(law: str, model: str, values: Values, alone: Values, i: int, rate: float) -> Selection:
    noise = trained_law(law)["noise_variance"]
    return Selection(
        risk=interval(values, ("variance", CLASS), i, rate, noise),
        price=interval(values, ("distance", MIXTURE, CLASS), i, rate),
        excess=interval(values, ("distance", model, CLASS), i, rate),
        of_class=interval(alone, ("distance", law, CLASS), i, rate),
    )


def beyond_caps(found: Sequence[Values]) -> float:
    """The share of a model's excesses, added up over prefixes, that lies beyond the caps: the largest of all models."""
    shares: list[float] = []
    for values in found:
        for model, by_oracle in values["distance"].items():
            if model not in values["variance"]:
                shares.append(1 - sum(by_oracle[CLASS]["capped"]) / sum(by_oracle[CLASS]["sum"]))
    return max(shares)


def table(found: Mapping[Key, Selection], weight: float, law: str) -> dict[str, list[float]]:
    """Means at each place, for the record."""
    rows = [row for (w, name, _), row in found.items() if (w, name) == (weight, law)]
    return {
        "oracle risk": [row.risk.mean for row in rows],
        "price": [row.price.mean for row in rows],
        "excess of the mixture's model": [row.excess.mean for row in rows],
        "excess of the class's model": [row.of_class.mean for row in rows],
        "quotient": [row.quotient.mean for row in rows],
    }
