r"""Searching a domain in batches: many draws train together, and a failing one shrinks within a time limit.

Main statements
    batches      Hypothesis draws lists of configurations; those of one list are measured together
    no repeats   an outcome is kept by the key of its configuration, so that taking draws out of a failing list costs
                 nothing: the list shrinks to one draw first, then that draw to small numbers
    time         once a draw has failed, new configurations are measured for `shrinking_seconds`, then no longer: what
                 was not measured counts as not failing, which ends the search; the failing draw that is reported was
                 measured, and is reported again at every run
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from ..records.plain_data import content_hash


class Judged(Protocol):
    """What a measurement of one draw comes to."""

    @property
    def holds(self) -> bool: ...


Outcome = TypeVar("Outcome", bound=Judged)
Draw = Mapping[str, Any]


@dataclass
class BatchSearch(Generic[Outcome]):
    """Outcomes of draws, measured in batches and kept.

    measure    configurations -> one outcome each
    """

    measure: Callable[[Sequence[Draw]], Sequence[Outcome]]
    shrinking_seconds: float = 40.0
    clock: Callable[[], float] = time.monotonic
    found: dict[str, tuple[Draw, Outcome]] = field(default_factory=dict)
    first_failure: float | None = None

    def outcomes(self, draws: Sequence[Draw]) -> list[tuple[Draw, Outcome]]:
        """Each draw with its outcome; draws that are not measured for want of time are left out."""
        waiting = {content_hash(draw): draw for draw in draws if content_hash(draw) not in self.found}
        if waiting and not self.out_of_time():
            measured = self.measure(list(waiting.values()))
            self.found.update(zip(waiting, zip(waiting.values(), measured, strict=True), strict=True))
            if self.first_failure is None and not all(outcome.holds for outcome in measured):
                self.first_failure = self.clock()
        kept = (self.found.get(content_hash(draw)) for draw in draws)
        return [pair for pair in kept if pair is not None]

    def out_of_time(self) -> bool:
        """Whether a failure was found, and the time to make it smaller is over."""
        return self.first_failure is not None and self.clock() - self.first_failure > self.shrinking_seconds

    def all_outcomes(self) -> list[Outcome]:
        """Every outcome so far."""
        return [outcome for _, outcome in self.found.values()]
