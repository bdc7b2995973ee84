"""Comparing plain data leaf by leaf, numbers beside the largest number of their neighbourhood."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LONGEST = 60  # characters of a value that are shown
JUDGED = ("measured", "predicted", "allowed", "detectable")
RATES = ("false_alarm", "miss")  # far below the numbers beside them, and compared by themselves


@dataclass(frozen=True)
class Difference:
    """Two leaves that are not equal; `relative` is infinite unless both are numbers."""

    place: str
    recorded: Any
    present: Any
    relative: float

    def __str__(self) -> str:
        return f"{self.place} is {shown(self.recorded)} in the file, and {shown(self.present)} here"


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def largest_difference(recorded: Any, present: Any) -> Difference | None:
    """The worst of all differences; None where there is none."""
    return max(differences(recorded, present), key=lambda one: one.relative, default=None)


def differences(recorded: Any, present: Any, place: str = "", scale: float = 0.0) -> Iterator[Difference]:
    """Every pair of leaves that differ.

    scale    numbers are compared beside it, or beside the larger of the two: in a list of numbers it is the largest of
             them, in a verdict the largest of measured, predicted, allowed and detectable, but for its error rates
    """
    if isinstance(recorded, Mapping) and isinstance(present, Mapping):
        within = max(scale, *(magnitude(one.get(name)) for one in (recorded, present) for name in JUDGED))
        for name in sorted({*recorded, *present}):
            if name not in recorded or name not in present:
                yield Difference(f"{place}.{name}".lstrip("."), recorded.get(name), present.get(name), math.inf)
            else:
                beside = 0.0 if name in RATES else within
                yield from differences(recorded[name], present[name], f"{place}.{name}".lstrip("."), beside)
    elif isinstance(recorded, list) and isinstance(present, list) and len(recorded) == len(present):
        within = max([scale, *map(magnitude, recorded), *map(magnitude, present)])
        for index, (one, other) in enumerate(zip(recorded, present, strict=True)):
            yield from differences(one, other, f"{place}[{index}]", within)
    elif is_number(recorded) and is_number(present):
        if recorded != present:
            beside = max(scale, abs(recorded), abs(present))
            yield Difference(place, recorded, present, abs(recorded - present) / beside)
    elif type(recorded) is not type(present) or recorded != present:
        yield Difference(place, recorded, present, math.inf)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def magnitude(value: Any) -> float:
    return abs(float(value)) if is_number(value) else 0.0
